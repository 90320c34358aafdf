"""The bench's table: for people, as Markdown, and as JSON."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eventstore.storage.embedded import find_server_binary
from scripts.lib.bench.growth import SERIES, Points, fits
from scripts.lib.bench.rows import Figures, Result, Spread, Subject, result

ROOT = Path(__file__).resolve().parents[3]

COLUMNS = ("", "figure", "least to most", "floor", "what the floor is", "ratio", "of the runs", "asked for", "met")


def environment() -> dict[str, str]:
    """What was measured, and where."""
    packages = {name: _version(name) for name in ("redis", "hiredis", "msgpack", "structlog")}
    return {
        "revision": revision(),
        "python": f"{platform.python_implementation()} {platform.python_version()}"
        + ("" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", free-threaded"),
        "server": _server_version(),
        **{name: found for name, found in packages.items() if found},
        "cores": str(len(os.sched_getaffinity(0))),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _server_version() -> str:
    said = subprocess.run([find_server_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    words = said.split()
    return f"{words[0]} {next((word[2:] for word in words if word.startswith('v=')), '')}"


def revision() -> str:
    """The revision of the library that is measured, if its directory is one of git's."""
    import eventstore

    where = Path(eventstore.__file__).parent
    try:
        said = subprocess.run(
            ["git", "-C", str(where), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "unknown"
    return said.stdout.strip() or "unknown"


def results(subjects: Sequence[Subject], runs: Sequence[Figures]) -> list[tuple[Subject, list[Result]]]:
    return [(subject, [result(row, runs) for row in subject.rows]) for subject in subjects]


def to_json(subjects: Sequence[Subject], runs: Sequence[Figures], points: Points) -> dict[str, Any]:
    """Every row with its floor and spread, each run's figures, and growth."""
    rows = [
        {
            "subject": subject.name,
            "what": each.row.what,
            "figure": each.row.figure,
            "floor": each.row.floor,
            "beside": each.row.beside,
            "unit": each.row.unit,
            "measured": _plain(each.figure),
            "floor_measured": _plain(each.floor),
            "ratio": _plain(each.ratio),
            "difference": _plain(each.difference),
            "target": None if each.row.target is None else asdict(each.row.target),
            "met": each.met,
        }
        for subject, found in results(subjects, runs)
        for each in found
    ]
    growth = {name: {"points": points[name], "fit": fit._asdict()} for name, fit in fits(points).items()}
    return {"environment": environment(), "rows": rows, "growth": growth, "runs": list(runs)}


def _plain(spread: Spread) -> dict[str, float | None]:
    """As JSON has it, which knows nothing infinite: the ratio to a floor that is nothing."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(spread).items()}


def cells(each: Result) -> list[str]:
    """A row of the table."""
    row, unit = each.row, each.row.unit
    return [
        row.what,
        f"{number(each.figure.median)} {unit}",
        f"{number(each.figure.least)} to {number(each.figure.most)}",
        f"{number(each.floor.median)} {unit}",
        row.beside,
        number(each.ratio.median),
        f"{number(each.ratio.least)} to {number(each.ratio.most)}",
        "" if row.target is None else row.target.said(unit),
        "" if each.met is None else "yes" if each.met else "no",
    ]


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"[:6].rstrip(".")


def show(subjects: Sequence[Subject], runs: Sequence[Figures], points: Points, console: Console) -> None:
    """Print the table for people."""
    for subject, found in results(subjects, runs):
        table = Table(title=f"{subject.title}: medians of {len(runs)} runs", title_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in ("", "what the floor is", "met") else "right")
        for each in found:
            table.add_row(*cells(each))
        console.print(table)
    if points:
        table = Table(title="How cost grows with size", title_justify="left")
        for name in GROWTH_COLUMNS:
            table.add_column(name, justify="right" if name else "left")
        for line in growth_cells(points):
            table.add_row(*line)
        console.print(table)


GROWTH_COLUMNS = ("", "sizes", "grows as", "each, fitted", "each, at the smallest", "each, at the largest")


def growth_cells(points: Points) -> Iterator[list[str]]:
    """A row for each series: its power, and what a thing costs."""
    for series in SERIES:
        if series.figure not in points or len(points[series.figure]) < 2:
            continue
        fit = fits(points)[series.figure]
        scale, unit = (1e6, "µs") if series.unit == "s" else (1, "B")
        (least, cost_least), (most, cost_most) = points[series.figure][0], points[series.figure][-1]
        yield [
            f"{series.thing}: {series.what}",
            f"{least:,} to {most:,}",
            f"n^{fit.exponent:.2f}",
            f"{number(scale * fit.each)} {unit}",
            f"{number(scale * cost_least / least)} {unit}",
            f"{number(scale * cost_most / most)} {unit}",
        ]


def to_markdown(subjects: Sequence[Subject], runs: Sequence[Figures], points: Points) -> str:
    """The table for docs/performance.md."""
    lines = [", ".join(f"{name} {value}" for name, value in environment().items()) + ".", ""]
    for subject, found in results(subjects, runs):
        lines += [f"### {subject.title}", "", *_markdown(COLUMNS, map(cells, found)), ""]
    if points:
        lines += ["### How cost grows with size", "", *_markdown(GROWTH_COLUMNS, growth_cells(points)), ""]
    return "\n".join(lines)


def _markdown(columns: Sequence[str], rows: Any) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


BEGIN = "<!-- Written by scripts/bench --write-docs: -->"
END = "<!-- until here. -->"


def insert(text: str, table: str) -> str:
    """Return a document with what is between its two markers replaced. Raises `ValueError` if it lacks them."""
    before, found, rest = text.partition(BEGIN)
    _, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}"
