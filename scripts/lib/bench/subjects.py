"""Everything that the bench measures, in order; and measuring it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from scripts.lib.bench.places import in_process
from scripts.lib.bench.rows import Figures, Subject
from scripts.lib.bench.sizes import Sizes

# Where each is. Imported when it is asked for: another revision of the library may lack what some of them need.
_PLACES = {
    "calls": "calls:CALLS",
    "journal": "calls:JOURNAL",
    "polite": "politeness:POLITE",
    "cpu": "politeness:CPU",
    "throughput": "throughput:DRAIN",
    "latency": "throughput:LATENCY",
    "loads": "loads:ORDERS",
    "positions": "loads:POSITIONS",
    "start": "loads:START",
    "size": "size:SIZE",
    "replay": "audits:REPLAY",
    "recovery": "outages:RECOVERY",
    "outage": "outages:OUTAGE",
}
NAMES = tuple(_PLACES)


def subject(name: str) -> Subject:
    module, _, attribute = _PLACES[name].partition(":")
    found: Subject = getattr(import_module(f"scripts.lib.bench.{module}"), attribute)
    return found


def run(subjects: Sequence[Subject], sizes: Sizes) -> Figures:
    """Measure each subject once, in a process of its own."""
    figures: Figures = {}
    for each in subjects:
        say(f"  {each.name}")
        figures |= in_process(each.measure, sizes)
    return figures


def say(text: str) -> None:
    """Tell whoever waits; what was measured goes to standard output alone."""
    print(text, file=sys.stderr, flush=True)
