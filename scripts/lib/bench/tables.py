"""What was found, as tables: for people, and as Markdown for docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from scripts.lib.bench.fitting import growth
from scripts.lib.bench.found import Found
from scripts.lib.bench.growth import SERIES, Points, fits
from scripts.lib.bench.rows import Result

Cells = list[str]

COLUMNS = ("", "figure", "least to most", "floor", "what the floor is", "ratio", "of the runs", "asked for", "met")
GROWTH_COLUMNS = (
    "",
    "sizes",
    "grows as",
    "in the last step",
    "each, fitted",
    "each, at the smallest",
    "each, at the largest",
)
_TEXT = ("", "what the floor is", "met")

BEGIN = "<!-- Written by scripts/bench --write-docs: -->"
END = "<!-- until here. -->"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if not math.isfinite(value):
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def tables(found: Found) -> Iterator[tuple[str, Sequence[str], Iterable[Cells]]]:
    """Title, columns and rows of each."""
    for subject, results in found.subjects():
        yield subject.title, COLUMNS, map(_cells, results)
    if found.points:
        yield "How cost grows with size", GROWTH_COLUMNS, _growth_cells(found.points)


def beside(found: Sequence[Found]) -> Iterator[tuple[str, Sequence[str], Iterable[Cells]]]:
    """Figures, and their ratios to the floor, of several Pythons; not those that only the first one has."""
    columns = ("", *(each.environment["python"] for each in found))
    by_row = [{each.row: each for _, results in one.subjects() for each in results} for one in found]
    for subject, _ in found[0].subjects():
        rows = [row for row in subject.rows if any(row in each for each in by_row[1:])]
        if rows:
            yield subject.title, columns, [_beside_cells([each.get(row) for each in by_row]) for row in rows]


def _cells(each: Result) -> Cells:
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


def _growth_cells(points: Points) -> Iterator[Cells]:
    grown = fits(points)
    for series in SERIES:
        if series.figure not in grown:
            continue
        scale, unit = (1e6, "µs") if series.unit == "s" else (1, "B")
        measured = points[series.figure]
        (least, cost_least), before, (most, cost_most) = measured[0], measured[-2], measured[-1]
        yield [
            f"{series.thing}: {series.what}",
            f"{least:,} to {most:,}",
            f"n^{grown[series.figure].exponent:.2f}",
            f"n^{growth([before, (most, cost_most)]).exponent:.2f}",
            f"{number(scale * grown[series.figure].each)} {unit}",
            f"{number(scale * cost_least / least)} {unit}",
            f"{number(scale * cost_most / most)} {unit}",
        ]


def _beside_cells(each: Sequence[Result | None]) -> Cells:
    what = next(result.row.what for result in each if result is not None)
    return [
        what,
        *(
            ""
            if result is None
            else f"{number(result.figure.median)} {result.row.unit} ({number(result.ratio.median)})"
            for result in each
        ),
    ]


def show(found: Sequence[Found], console: Console) -> None:
    """Print everything of the first for people, and the others beside it."""
    first = found[0]
    console.print(_measured(first), soft_wrap=True)
    shown = [*tables(first), *(beside(found) if len(found) > 1 else ())]
    for title, columns, rows in shown:
        table = Table(title=title, title_justify="left")
        for name in columns:
            table.add_column(name, justify="left" if name in _TEXT else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def to_markdown(found: Sequence[Found]) -> str:
    """As `show`, as Markdown."""
    lines = [_measured(found[0]), ""]
    for title, columns, rows in tables(found[0]):
        lines += [f"### {title}", "", *_markdown(columns, rows), ""]
    if len(found) > 1:
        lines += ["### On other Pythons", "", "Figures, and in brackets their ratios to the floor there.", ""]
        for title, columns, rows in beside(found):
            lines += [*_markdown((title, *columns[1:]), rows), ""]
    return "\n".join(lines)


def _measured(found: Found) -> str:
    said = ", ".join(f"{name} {value}" for name, value in found.environment.items())
    return f"Medians of {len(found.runs)} runs; {said}."


def _markdown(columns: Sequence[str], rows: Iterable[Cells]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def insert(text: str, table: str) -> str:
    """Return a document with what is between its two markers replaced. Raises `ValueError` if it lacks them."""
    before, found, rest = text.partition(BEGIN)
    _, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}"
