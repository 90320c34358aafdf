"""Everything that the bench measures, in order; and measuring it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.lib.bench.audits import REPLAY
from scripts.lib.bench.calls import CALLS, JOURNAL
from scripts.lib.bench.loads import ORDERS, POSITIONS, START
from scripts.lib.bench.outages import OUTAGE, RECOVERY
from scripts.lib.bench.places import in_process
from scripts.lib.bench.politeness import CPU, POLITE
from scripts.lib.bench.rows import Figures, Subject
from scripts.lib.bench.size import SIZE
from scripts.lib.bench.sizes import Sizes
from scripts.lib.bench.throughput import DRAIN, LATENCY

SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        CALLS,
        JOURNAL,
        POLITE,
        CPU,
        DRAIN,
        LATENCY,
        ORDERS,
        POSITIONS,
        START,
        SIZE,
        REPLAY,
        RECOVERY,
        OUTAGE,
    )
}


def run(subjects: Sequence[Subject], sizes: Sizes) -> Figures:
    """Measure each subject once, in a process of its own."""
    figures: Figures = {}
    for subject in subjects:
        say(f"  {subject.name}")
        figures |= in_process(subject.measure, sizes)
    return figures


def run_what_can(subjects: Sequence[Subject], sizes: Sizes) -> tuple[Figures, dict[str, str]]:
    """As `run`, for a library that may lack something: what can not be measured is left out, and why is returned."""
    figures: Figures = {}
    left_out: dict[str, str] = {}
    for subject in subjects:
        try:
            figures |= in_process(subject.measure, sizes)
        except Exception as error:  # noqa: BLE001 - whatever another revision can not do
            left_out[subject.name] = f"{type(error).__name__}: {error}"
    return figures, left_out


def say(text: str) -> None:
    """Tell whoever waits; what was measured goes to standard output alone."""
    print(text, file=sys.stderr, flush=True)
