"""What tests of the command line share."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from tests.support.processes import ROOT

SESSIONS = ROOT / "eventstore" / "sessions"
NAMES = ("emacross", "trailing", "bracket")
TRADER = "RECORDER-001"

_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
    "any": (object,),
}


class Run(Protocol):
    """The fixture `eventstore`."""

    def __call__(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]: ...


def session(name: str) -> Path:
    return SESSIONS / f"{name}.jsonl.gz"


def final(name: str) -> Path:
    return SESSIONS / f"{name}.final.json.gz"


def write_session(path: Path, lines: Iterable[object]) -> Path:
    """Write a recording of `lines`: text as it is, the rest as JSON."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def first_lines(name: str, count: int) -> list[dict[str, Any]]:
    with gzip.open(session(name), "rt") as lines:
        return [json.loads(next(lines)) for _ in range(count)]


def assert_one_line_error(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    """The command failed with status 1, nothing on stdout, and one line that says everything `expected`."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in expected:
        assert part in lines[0]


def assert_wrong_usage(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    """The command was refused with status 2 before it did anything, and says everything `expected`."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in done.stderr


def documented_fields(verb: str) -> dict[str, str]:
    """The fields that docs/cli.md promises of the JSON of a verb, and their types."""
    text = (ROOT / "docs" / "cli.md").read_text()
    section = text.partition(f"## `eventstore {verb} ")[2].partition("\n## ")[0]
    fields = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|", section, re.MULTILINE)
    assert fields, f"docs/cli.md documents no fields of {verb}"
    return dict(fields)


def documented_commands(task: str) -> list[str]:
    """The commands that docs/redis-layout.md says a task needs at the server, as the rules of a user."""
    text = (ROOT / "docs" / "redis-layout.md").read_text()
    words = re.search(rf"^{task}: +(.*?)\n(?:\w+:|```)", text, re.MULTILINE | re.DOTALL)
    assert words is not None, f"docs/redis-layout.md does not say what {task} needs"
    return [f"+{command}" for command in words[1].split()]


def assert_documented(document: dict[str, Any], verb: str) -> None:
    """Every field of `document` is documented and of its type, and every documented one is there."""
    fields = documented_fields(verb)
    seen: set[str] = set()
    _walk(document, "", fields, seen)
    absent = {name for name in fields if name not in seen}
    # What is inside an object that may be null is there only when that is not.
    nullable = {name for name, kind in fields.items() if kind == "object or null"}
    assert {name for name in absent if not any(name.startswith(f"{each}.") for each in nullable)} == set()


def _walk(value: Any, path: str, fields: dict[str, str], seen: set[str]) -> None:
    if path:
        name = path if path in fields else re.sub(r"[^.]+$", "*", path)
        assert name in fields, f"{path} is not documented"
        seen.add(name)
        kinds = tuple(kind for each in fields[name].split(" or ") for kind in _TYPES[each])
        assert isinstance(value, kinds), f"{path}: {value!r} is no {fields[name]}"
        if object in kinds:
            return
        assert not isinstance(value, bool) or {bool, object} & set(kinds), f"{path}: {value!r} is no {fields[name]}"
    if fields.get(f"{path}.*") == "any":  # whatever is in it is documented elsewhere
        seen.add(f"{path}.*")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _walk(inner, f"{path}.{key}".lstrip("."), fields, seen)
    elif isinstance(value, list):
        for inner in value:
            for key, each in inner.items() if isinstance(inner, dict) else ():
                _walk(each, f"{path}[].{key}", fields, seen)
