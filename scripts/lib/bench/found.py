"""What a bench has found: figures, growth, and where; to JSON and back."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Self

import eventstore
from eventstore.storage.embedded import find_server_binary
from scripts.lib.bench.growth import Points, fits
from scripts.lib.bench.rows import Figures, Result, Spread, Subject, result
from scripts.lib.bench.subjects import NAMES, subject

ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("redis", "hiredis", "msgpack", "structlog")


class Found(NamedTuple):
    """The figures of each run, how cost grows, and what was measured and where."""

    environment: dict[str, str]
    runs: list[Figures]
    points: Points

    def subjects(self) -> Iterator[tuple[Subject, list[Result]]]:
        """What each subject of which all was measured came to."""
        for each in map(subject, NAMES):
            if self.runs and all(row.figure in run and row.floor in run for run in self.runs for row in each.rows):
                yield each, [result(row, self.runs) for row in each.rows]

    def to_json(self) -> dict[str, Any]:
        """Every row with its floor and spread, each run's figures, and growth."""
        growth = {name: {"points": self.points[name], "fit": fit._asdict()} for name, fit in fits(self.points).items()}
        rows = [_row(each.name, found) for each, results in self.subjects() for found in results]
        return {"environment": self.environment, "rows": rows, "growth": growth, "runs": self.runs}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what `to_json` was written to a file from."""
        said = json.loads(path.read_text())
        points = {name: [(n, cost) for n, cost in each["points"]] for name, each in said["growth"].items()}
        return cls(said["environment"], said["runs"], points)


def _row(name: str, found: Result) -> dict[str, Any]:
    row = found.row
    return {
        "subject": name,
        "what": row.what,
        "figure": row.figure,
        "floor": row.floor,
        "beside": row.beside,
        "unit": row.unit,
        "measured": _plain(found.figure),
        "floor_measured": _plain(found.floor),
        "ratio": _plain(found.ratio),
        "difference": _plain(found.difference),
        "target": None if row.target is None else asdict(row.target),
        "met": found.met,
    }


def _plain(spread: Spread) -> dict[str, float | None]:
    """As JSON has it, which knows nothing infinite: the ratio to a floor that is nothing."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(spread).items()}


def environment(sizes: str) -> dict[str, str]:
    """What is measured, and where."""
    free = not getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "revision": _revision(),
        "python": f"{platform.python_implementation()} {platform.python_version()}" + " free-threaded" * free,
        "server": _server(),
        **{name: found for name in _PACKAGES if (found := _version(name))},
        "cores": str(len(os.sched_getaffinity(0))),
        "sizes": sizes,
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _server() -> str:
    said = subprocess.run([find_server_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    words = said.split()
    return f"{words[0]} {next((word[2:] for word in words if word.startswith('v=')), '')}"


def _revision() -> str:
    """The revision of the library that is measured, if its directory is one of git's."""
    command = ["git", "-C", str(Path(eventstore.__file__).parent), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        said = ""
    return said or "unknown"
