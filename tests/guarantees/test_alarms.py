"""The page for the people who are called at night names everything that they may be called for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "operations.md"
LEVELS = {"warning", "error", "critical"}


def test_every_alarm_is_explained() -> None:
    alarms = {text for path in (ROOT / "eventstore").rglob("*.py") for text in _alarms(path.read_text())}
    assert len(alarms) > 20, "the search finds nothing any more"
    page = PAGE.read_text()
    assert not sorted(text for text in alarms if f"`{text}`" not in page)


def test_no_alarm_is_explained_that_is_none() -> None:
    alarms = {text for path in (ROOT / "eventstore").rglob("*.py") for text in _alarms(path.read_text())}
    rows = PAGE.read_text().partition("\n## Alarms\n")[2].partition("\n## ")[0].splitlines()
    named = {part for row in rows if row.startswith("| `") for part in row.split("|")[1].split("`")[1::2]}
    assert len(named) > 20
    assert named - alarms <= {"health", "too few replicas are in sync", "Fenced", "Diverged", "DataLoss", "kept"}


def _alarms(source: str) -> Iterator[str]:
    """Yield what is logged with a level of `LEVELS`: by ``say(level, text, …)``, or by a logger's method."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("say", "_say") and len(node.args) > 1:
            level, text = node.args[:2]
            if LEVELS & {part.value for part in ast.walk(level) if isinstance(part, ast.Constant)}:
                yield from _text(text)
        elif name in LEVELS and isinstance(node.func, ast.Attribute) and "log" in ast.unparse(node.func.value):
            yield from _text(node.args[0])


def _text(node: ast.expr) -> Iterator[str]:
    """What does not depend on anything: the rest of an f-string is shown as an ellipsis."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
