"""docs/guarantees.md says of each row which tests show it: they exist, and none is left out."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict

from tests.support.processes import ROOT

DOCUMENT = ROOT / "docs" / "guarantees.md"
ROWS = 39


def rows() -> dict[int, str]:
    """The last cell of each row of the table of failures, by the row's number."""
    found = re.findall(r"^\| (\d+) \| .* \| ([^|]*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, ROWS + 1))
    return {int(number): shown for number, shown in found}


def defined() -> Counter[str]:
    """The names of all tests, and how often each is given."""
    return Counter(
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_test_that_is_named_exists() -> None:
    """By a name that only one test has; a row without any says that it is yet to come."""
    names = defined()
    for number, shown in rows().items():
        named = re.findall(r"`([^`]+)`", shown)
        assert named or shown.startswith("not yet"), f"row {number} says nothing"
        assert {name: names[name] for name in named} == dict.fromkeys(named, 1), f"row {number}"


def test_every_test_of_a_row_is_named_there() -> None:
    """A test whose name begins with the numbers of rows is named in each of them, and no other row's is."""
    expected: defaultdict[int, set[str]] = defaultdict(set)
    for name in defined():
        if (numbers := re.match(r"test_row((?:_\d\d)+)_", name)) is not None:
            for number in re.findall(r"\d\d", numbers[1]):
                expected[int(number)].add(name)
    for number, shown in rows().items():
        named = {name for name in re.findall(r"`([^`]+)`", shown) if name.startswith("test_row_")}
        assert named == expected[number], f"row {number}"
