"""What the bench says: figures, each beside its floor, and what they should be. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Figures = dict[str, float]

Of = Literal["figure", "ratio", "difference"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: itself, its ratio to the floor, or its difference from that."""

    bound: float
    of: Of = "figure"
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def said(self, unit: str) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.of == "ratio":
            return f"{sign} {self.bound:.3g} times the floor"
        return f"{sign} {'the floor + ' if self.of == 'difference' else ''}{self.bound:,g} {unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its floor, by the names that they have in what was measured; `beside` says what the floor is."""

    what: str
    figure: str
    floor: str
    beside: str
    unit: str
    target: Target | None = None

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")


@dataclass(frozen=True, slots=True)
class Subject:
    """Rows that are measured together, by `measure`, which gets the sizes and is run in a process of its own."""

    name: str
    title: str
    rows: tuple[Row, ...]
    measure: Callable[[Any], Figures]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some runs, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Result:
    """What a row came to. Ratio and difference are those of the runs, figure to floor; so are their medians."""

    row: Row
    figure: Spread
    floor: Spread
    ratio: Spread
    difference: Spread

    @property
    def met(self) -> bool | None:
        """Whether the median is as the target says; None without one."""
        target = self.row.target
        if target is None:
            return None
        spread: Spread = getattr(self, target.of)
        return target.met(spread.median)


def result(row: Row, runs: Sequence[Figures]) -> Result:
    """Put together what some runs found for `row`."""
    pairs = [(run[row.figure], run[row.floor]) for run in runs]
    return Result(
        row,
        Spread.of([figure for figure, _ in pairs]),
        Spread.of([floor for _, floor in pairs]),
        Spread.of([figure / floor if floor else float("inf") for figure, floor in pairs]),
        Spread.of([figure - floor for figure, floor in pairs]),
    )


def quantiles(times: Sequence[float]) -> tuple[float, float, float]:
    """p50, p99 and p99.9 of nanoseconds, in microseconds."""
    ordered = sorted(times)
    last = len(ordered) - 1
    p50, p99, p999 = (ordered[min(int(len(ordered) * q), last)] / 1000 for q in (0.5, 0.99, 0.999))
    return p50, p99, p999


def named_quantiles(name: str, times: Sequence[float]) -> Figures:
    """As `quantiles`, as figures of that name."""
    p50, p99, p999 = quantiles(times)
    return {f"{name}_p50_us": p50, f"{name}_p99_us": p99, f"{name}_p999_us": p999}
