"""How cost grows with size: orders written and loaded, entries of a log replayed and verified, and their memory.

Each size has a server of its own, and each thing that is timed a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eventstore.keys import Keys
from scripts.lib import bench_audit, long_log
from scripts.lib.bench import nodes
from scripts.lib.bench.fitting import Growth, growth
from scripts.lib.bench.places import Place, in_process, opened, own_garbage, own_memory_bytes, served
from scripts.lib.bench.rows import Figures
from scripts.lib.bench.subjects import say

ORDER_BYTES = 10_000
ENTRY_BYTES = 800
"""What each may take, of the server, a copy of it that rewrites its file, and the processes together: generously."""
CHUNK = 10_000
"""Orders that a node has at work at the same time."""


class Series(NamedTuple):
    """A cost that is measured at several sizes: what of, in which unit, and whether it is time."""

    what: str
    figure: str
    thing: str
    unit: str


SERIES = (
    Series("made and written", "write_s", "order", "s"),
    Series("loaded", "load_s", "order", "s"),
    Series("memory at the server", "server_b", "order", "B"),
    Series("memory of who has loaded them", "loaded_b", "order", "B"),
    Series("replayed into state", "replay_s", "entry", "s"),
    Series("chain verified", "verify_s", "entry", "s"),
    Series("memory of the log at the server", "log_b", "entry", "B"),
)

Points = dict[str, list[tuple[float, float]]]


def _write_orders(place: Place, count: int) -> float:
    with opened(place.url, on_full="block", block_timeout_s=600.0) as database:
        database.sync()
        start = time.perf_counter()
        for i in range(0, count, CHUNK):
            nodes.trade(database, [nodes.history(j) for j in range(i, min(i + CHUNK, count))])
        database.sync()
        return time.perf_counter() - start


def _load_orders(place: Place, count: int) -> tuple[float, float]:
    with opened(place.url) as database:
        database.sync()
        with own_garbage():
            before = own_memory_bytes()
            start = time.perf_counter()
            orders = database.load_orders()
            took = time.perf_counter() - start
        if len(orders) != count:
            raise SystemExit(f"{len(orders)} orders came back of {count}")
        return took, own_memory_bytes() - before


def orders(count: int) -> Figures:
    """What so many orders of four events cost."""
    with served() as place:
        before = place.memory_bytes()
        write_s = in_process(_write_orders, place, count)
        server_b = place.memory_bytes() - before
        load_s, loaded_b = in_process(_load_orders, place, count)
    return {"write_s": write_s, "server_b": server_b, "load_s": load_s, "loaded_b": loaded_b}


def _write_log(place: Place, count: int) -> None:
    long_log.write(place.url, count, purge=True)


def entries(count: int) -> Figures:
    """What so many entries cost, of a log of which what is closed is purged."""
    with served() as place:
        in_process(_write_log, place, count)
        with place.client() as client:
            log_b: Any = client.memory_usage(Keys(long_log.TRADER).log, samples=0)
        figures = {"log_b": float(log_b)}
        for name, work in (("replay_s", bench_audit.replay), ("verify_s", bench_audit.verify_chain)):
            figures[name] = count / bench_audit.alone(work, place.url)["per_s"]
    return figures


def available_bytes() -> int:
    """The memory that this machine has left."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def measure(order_counts: Sequence[int], entry_counts: Sequence[int]) -> Points:
    """Cost by size, of each of `SERIES`. What does not fit into memory is left out."""
    points: Points = {}
    works = (("orders", orders, order_counts, ORDER_BYTES), ("entries", entries, entry_counts, ENTRY_BYTES))
    for name, each, counts, needed_bytes in works:
        for count in counts:
            if count * needed_bytes > available_bytes():
                say(f"  left out: {count:,} {name} need {count * needed_bytes / 1e9:,.0f} GB of memory")
                continue
            say(f"  {count:,} {name}")
            for figure, cost in each(count).items():
                points.setdefault(figure, []).append((count, cost))
    return points


def fits(points: Points) -> dict[str, Growth]:
    """How each grows."""
    return {series.figure: growth(points[series.figure]) for series in SERIES if len(points.get(series.figure, ())) > 1}
