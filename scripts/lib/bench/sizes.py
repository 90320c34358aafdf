"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """As it is by default; `QUICK` is to see in seconds whether the bench works, and `--compare` finds large things."""

    orders: int = 8_000
    """Orders whose calls are timed."""
    backlog: int = 200_000
    """Commands that the writer drains beside a host loop."""
    wakes: int = 3_000
    """Wakes of a host loop beside no writer, twice."""
    steady_s: float = 3.0
    """How long calls are made at a steady rate."""
    drained: int = 20_000
    """Orders that are drained."""
    latency_calls: int = 3_000
    loaded: int = 20_000
    """Orders that are loaded."""
    positions: int = 25
    fills: int = 2_000
    """Of each of these positions."""
    closed: int = 100_000
    still_open: int = 200
    """Orders of a node that starts."""
    weighed: int = 5_000
    """Orders that are weighed, and ten times as many."""
    recovered: int = 100_000
    """Commands in a journal."""
    outage_s: float = 3.0
    entries: int = 100_000
    """Of a log that is replayed and verified."""


FULL = Sizes()
QUICK = Sizes(
    orders=300,
    backlog=20_000,
    wakes=100,
    steady_s=0.3,
    drained=1_000,
    latency_calls=200,
    loaded=500,
    positions=2,
    fills=200,
    closed=1_000,
    still_open=20,
    weighed=200,
    recovered=2_000,
    outage_s=0.3,
    entries=3_000,
)
