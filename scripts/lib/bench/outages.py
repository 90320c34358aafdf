"""What a journal that a killed process left costs the next one, and what a server that is away costs."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from eventstore import commands
from eventstore.keys import Keys
from scripts.lib.bench import nodes
from scripts.lib.bench.places import Place, held, in_process, killed, opened, own_memory_bytes, served
from scripts.lib.bench.rows import Figures, Row, Subject
from scripts.lib.bench.sizes import Sizes

CALLS_PER_S = 5_000
SPILL_COUNT_MAX = 1_000
_TITLES = {"memory": "from memory", "journal": "with a journal", "spill": "spilled to the journal"}


def check_order(place: Place, count: int) -> None:
    """End the bench unless the log has `count` calls: of as many orders as that makes, each event of them in order."""
    with place.client() as client:
        rows: Any = client.xrange(Keys(nodes.TRADER).log)
    ids: list[list[str]] = [[] for _ in range(nodes.EVENTS)]
    for _, fields in rows:
        command = commands.decode(fields[b"e"])
        if isinstance(command, commands.AddOrder | commands.UpdateOrder):
            ids[command.version].append(command.order_id)
    if ids != [[nodes.order_id(i) for i in range(count // nodes.EVENTS)]] * nodes.EVENTS:
        raise SystemExit("the log does not have the calls in the order in which they were made")


def _histories(count: int) -> list[nodes.History]:
    return [nodes.history(i) for i in range(count // nodes.EVENTS)]


def drained(place: Place, count: int) -> float:
    """Commands a second from memory."""
    histories = _histories(count)
    with opened(place.url) as database:
        with held(database):
            nodes.trade(database, histories)
        start = time.perf_counter()
        database.sync()
        took = time.perf_counter() - start
    check_order(place, count)
    place.wipe()
    return count / took


def _trade_and_die(place: Place, count: int, journal: str) -> None:
    """Make calls that come no further than to the journal."""
    histories = _histories(count)
    database = opened(place.url, journal=journal)
    with held(database), place.frozen():
        nodes.trade(database, histories)
        os.kill(os.getpid(), signal.SIGKILL)


def measure_recovery(sizes: Sizes) -> Figures:
    """Commands a second from a journal into the log, from opening it on; and of the same commands from memory."""
    count = sizes.recovered // nodes.EVENTS * nodes.EVENTS
    with served() as place, tempfile.TemporaryDirectory(dir=place.directory) as journal:
        from_memory = in_process(drained, place, count)
        with place.frozen() as thaw:  # only to let it go on, whoever was killed
            thaw()
            killed(_trade_and_die, place, count, journal)
        start = time.perf_counter()
        with opened(place.url, journal=journal) as database:
            database.sync()
            took = time.perf_counter() - start
        check_order(place, count)
    return {"recovered_per_s": count / took, "recovery_drain_per_s": from_memory}


def measure_outage(sizes: Sizes) -> Figures:
    """What a process that goes on trading needs while the server is away, and how fast it drains afterwards."""
    count = int(CALLS_PER_S * sizes.outage_s) // nodes.EVENTS * nodes.EVENTS
    figures: Figures = {}
    spills = {"on_full": "spill", "backlog_count_max": SPILL_COUNT_MAX}
    with served() as place:
        figures["outage_bare_drain_per_s"] = in_process(drained, place, count)
        for name, journals, settings in (("memory", False, {}), ("journal", True, {}), ("spill", True, spills)):
            with tempfile.TemporaryDirectory(dir=place.directory) as journal:
                endured = in_process(_endure, place, count, settings | ({"journal": journal} if journals else {}))
                figures |= {f"outage_{name}_{figure}": value for figure, value in endured.items()}
                check_order(place, count)
                place.wipe()
        figures["outage_events_b"] = in_process(_weigh_events, count)
    return figures


def _endure(place: Place, count: int, settings: dict[str, Any]) -> Figures:
    """Trade at a steady rate while the server is away, then let it come back."""
    with opened(place.url, timeout_s=5.0, **settings) as database:
        database.sync()
        before = own_memory_bytes()
        with place.frozen():
            nodes.trade_at(database, (nodes.history(i) for i in range(count // nodes.EVENTS)), CALLS_PER_S)
            most = own_memory_bytes()  # from here on it gets less
            applied = database.stats().applied
        # From the first answer on: how long the writer took to find that the server is back is another matter.
        while (begun := database.stats().applied) == applied:
            time.sleep(0.0001)
        start = time.perf_counter()
        behind = database.sync() - begun
        took = time.perf_counter() - start
    return {"drain_per_s": max(behind, 1) / took, "call_b": (most - before) / count}


def _weigh_events(count: int) -> float:
    """Bytes a call of the events themselves, which a backlog in memory has to keep."""
    before = own_memory_bytes()
    kept = _histories(count)
    return (own_memory_bytes() - before) / (len(kept) * nodes.EVENTS)


def _outage_rows() -> Iterator[Row]:
    for name, title in _TITLES.items():
        figure = f"outage_{name}_drain_per_s"
        yield Row(f"drained after an outage, {title}", figure, "outage_bare_drain_per_s", "without an outage", "/s")
    for name, title in _TITLES.items():
        figure = f"outage_{name}_call_b"
        yield Row(f"memory at the end of an outage, a call, {title}", figure, "outage_events_b", "the events", "B")


RECOVERY = Subject(
    "recovery",
    "After a process was killed",
    (
        Row(
            "commands of a journal, from opening it to the log",
            "recovered_per_s",
            "recovery_drain_per_s",
            "drained from memory",
            "/s",
        ),
    ),
    measure_recovery,
)
OUTAGE = Subject("outage", "While the server is away, and afterwards", tuple(_outage_rows()), measure_outage)
