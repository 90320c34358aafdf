"""Two revisions in turns: the ratio of their figures, pair by pair.

Each turn is a new process with one revision's library and this bench, and one subject; the turns go A B, B A, A B, …
So both see the same machine, seconds apart, and neither always comes first.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.lib.bench.found import ROOT
from scripts.lib.bench.rows import Figures, Row, Subject
from scripts.lib.bench.subjects import say
from scripts.lib.bench.tables import number

LIBRARY = ("eventstore", "workers")
PAIRS_MIN = 3
"""Of fewer pairs, nothing is said to be beyond noise."""
HERE = "the working tree"


@dataclass(frozen=True, slots=True)
class Change:
    """How a figure changed: its ratio, new to old, in each pair."""

    row: Row
    old: float
    new: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_beyond_noise(self) -> bool:
        """Whether all pairs agree on the direction, and are closer to one another than their median is to 1."""
        logs = [math.log(ratio) for ratio in self.ratios]
        if len(logs) < PAIRS_MIN or not (min(logs) > 0 or max(logs) < 0):
            return False
        return abs(statistics.median(logs)) > max(logs) - min(logs)

    @property
    def verdict(self) -> str:
        if not self.is_beyond_noise:
            return ""
        return "better" if (self.ratio > 1) == self.row.more_is_better else "worse"


def export(revision: str | None, to: Path) -> None:
    """Put a revision's library into the directory `to`; None: what is in the working tree, as it is now."""
    to.mkdir()
    if revision is None:
        for name in LIBRARY:
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        return
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision, *LIBRARY]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: revision {revision}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(to, filter="data")


def compare(
    old: str, new: str | None, subjects: Sequence[Subject], pairs: int, quick: bool
) -> tuple[list[tuple[Figures, Figures]], dict[str, str]]:
    """Measure both in turns. Returns the figures of each pair, and what one of the two can not do, and why."""
    with tempfile.TemporaryDirectory(prefix="bench-compare-") as directory:
        at = Path(directory)
        export(old, at / "old")
        export(new, at / "new")
        # A copy, so that neither the working tree's library is found beside it, nor an edit changes what is compared.
        shutil.copytree(ROOT / "scripts", at / "bench" / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        found: list[tuple[Figures, Figures]] = []
        left_out: dict[str, str] = {}
        for pair in range(pairs):
            say(f"pair {pair + 1} of {pairs}")
            measured: dict[str, Figures] = {"old": {}, "new": {}}
            for subject in subjects:
                for side in ("old", "new") if pair % 2 == 0 else ("new", "old"):
                    if subject.name in left_out:
                        continue
                    figures, why = _measure(at, side, subject.name, quick)
                    measured[side] |= figures
                    if why is not None:
                        left_out[subject.name] = f"{old if side == 'old' else new or HERE}: {why}"
            found.append((measured["old"], measured["new"]))
    return found, left_out


def _measure(at: Path, side: str, subject: str, quick: bool) -> tuple[Figures, str | None]:
    """Measure one subject of one side; or return why it can not be measured."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.lib.bench.side", subject, "quick" if quick else "full"],
        cwd=at / "bench",
        env=os.environ | {"PYTHONPATH": str(at / side), "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"error: the bench of the {side} revision has failed")
    said = json.loads(done.stdout)
    if Path(said["library"]).resolve() != (at / side / "eventstore").resolve():
        raise SystemExit(f"error: measured {said['library']} in the place of the {side} revision")
    return said["figures"], said["left_out"]


def changes(subjects: Sequence[Subject], pairs: Sequence[tuple[Figures, Figures]]) -> Iterator[tuple[Subject, Change]]:
    """How each figure that both have changed."""
    for subject in subjects:
        once = {row.figure: row for row in reversed(subject.rows)}  # beside how many floors it may stand
        for row in reversed(once.values()):
            both = [(old[row.figure], new[row.figure]) for old, new in pairs if row.figure in old and row.figure in new]
            if both and all(old > 0 and new > 0 for old, new in both):
                middle = [statistics.median(values) for values in zip(*both, strict=True)]
                yield subject, Change(row, middle[0], middle[1], tuple(new / old for old, new in both))


def to_json(
    subjects: Sequence[Subject],
    pairs: Sequence[tuple[Figures, Figures]],
    left_out: dict[str, str],
    names: tuple[str, str],
) -> dict[str, Any]:
    rows = [
        {
            "subject": subject.name,
            "what": change.row.what,
            "figure": change.row.figure,
            "unit": change.row.unit,
            "old": change.old,
            "new": change.new,
            "ratio": change.ratio,
            "ratios": list(change.ratios),
            "verdict": change.verdict,
        }
        for subject, change in changes(subjects, pairs)
    ]
    return {"old": names[0], "new": names[1], "pairs": len(pairs), "rows": rows, "left_out": left_out}


def show(
    subjects: Sequence[Subject],
    pairs: Sequence[tuple[Figures, Figures]],
    left_out: dict[str, str],
    names: tuple[str, str],
    console: Console,
) -> None:
    """Print the ratios for people."""
    table = Table(title=f"{names[1]} beside {names[0]}, {len(pairs)} pairs")
    for name in ("", "old", "new", "ratio", "least to most", "beyond noise"):
        table.add_column(name, justify="right" if name not in ("", "beyond noise") else "left")
    last = None
    for subject, change in changes(subjects, pairs):
        if last not in (None, subject.name):
            table.add_section()
        last = subject.name
        unit = change.row.unit
        table.add_row(
            f"{subject.name}: {change.row.what}",
            f"{number(change.old)} {unit}",
            f"{number(change.new)} {unit}",
            f"{change.ratio:.3f}",
            f"{min(change.ratios):.3f} to {max(change.ratios):.3f}",
            change.verdict,
        )
    console.print(table)
    for name, why in left_out.items():
        console.print(f"left out: {name}: {why}", soft_wrap=True, markup=False)
