"""How fast the writer drains what a node left behind, and how long a call takes until it is applied."""

from __future__ import annotations

import threading
import time

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from scripts.lib.bench import nodes, raw
from scripts.lib.bench.places import Place, opened, own_garbage, served
from scripts.lib.bench.rows import Figures, Row, Subject, Target
from scripts.lib.bench.sizes import Sizes

LATENCY_PER_S = 1_000
LINGER_MS = CacheDatabaseConfig().linger_ms
TURNS = 3
_POLL_S = 0.0001


def filled(place: Place, url: str, histories: list[nodes.History]) -> tuple[int, float]:
    """Commands that the writer drains from a full backlog, by the default settings, and the seconds that it takes.

    The server is stopped while the calls are made, so that the writer has sent two batches and waits.
    """
    with opened(url) as database, place.frozen() as thaw:
        calls = nodes.trade(database, histories)
        with own_garbage():
            start = time.perf_counter()
            thaw()
            database.sync()
            took = time.perf_counter() - start
    return calls, took


def measure_drain(sizes: Sizes) -> Figures:
    """Events a second, and the same requests over a bare socket, in turns."""
    histories = [nodes.history(i) for i in range(sizes.drained)]
    ours = bare = 0.0
    calls = 0
    with served() as place:
        with raw.recorded(place) as recording:
            filled(place, recording.url, histories)
        place.wipe()
        for turn in range(TURNS):
            for is_ours in (True, False) if turn % 2 else (False, True):
                if is_ours:
                    calls, took = filled(place, place.url, histories)
                    ours += took
                    place.wipe()
                else:
                    bare += recording.blast(place)
    return {"drained_per_s": TURNS * calls / ours, "blasted_per_s": TURNS * calls / bare}


class _Watch:
    """Notes when each position was seen to be applied, from a thread that looks every tenth of a millisecond."""

    def __init__(self, database: RedisCacheDatabase, count: int) -> None:
        self._database = database
        self._before = database.stats().applied
        self._count = count
        self.seen_s: list[float] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while len(self.seen_s) < self._count:
            time.sleep(_POLL_S)
            come = self._database.stats().applied - self._before
            self.seen_s += [time.perf_counter()] * (come - len(self.seen_s))

    def join(self) -> list[float]:
        """When each call was applied."""
        self._thread.join()
        return self.seen_s


def measure_latency(sizes: Sizes) -> Figures:
    """Milliseconds from a call to when it is applied, at a steady rate. The floor is how long the first one waits."""
    count = sizes.latency_calls // nodes.EVENTS * nodes.EVENTS
    histories = [nodes.history(i) for i in range(count // nodes.EVENTS)]
    called_s: list[float] = []
    with served() as place, opened(place.url) as database:
        database.sync()
        watch = _Watch(database, count)
        nodes.trade_at(_Noting(database, called_s), histories, LATENCY_PER_S)  # type: ignore[arg-type] # two calls of it
        applied_s = watch.join()
    late = sorted(1000 * (applied - called) for called, applied in zip(called_s, applied_s, strict=True))
    return {
        "latency_p50_ms": late[len(late) // 2],
        "latency_p99_ms": late[min(int(len(late) * 0.99), len(late) - 1)],
        "linger_ms": LINGER_MS,
    }


class _Noting:
    """Makes the calls, and notes when."""

    def __init__(self, database: RedisCacheDatabase, called_s: list[float]) -> None:
        self._database = database
        self._called_s = called_s

    def add_order(self, order: nodes.Order) -> None:
        self._called_s.append(time.perf_counter())
        self._database.add_order(order)

    def update_order(self, order: nodes.Order) -> None:
        self._called_s.append(time.perf_counter())
        self._database.update_order(order)


DRAIN = Subject(
    "throughput",
    "What the writer writes",
    (
        Row(
            "events of whole orders: log, views and indexes",
            "drained_per_s",
            "blasted_per_s",
            "the same requests, bare socket",
            "/s",
            Target(0.75, "ratio", at_least=True),
        ),
    ),
    measure_drain,
)
LATENCY = Subject(
    "latency",
    f"From a call to the log, at {LATENCY_PER_S:,} calls a second",
    (
        Row(
            "applied behind a call: p50",
            "latency_p50_ms",
            "linger_ms",
            "linger",
            "ms",
            Target(1, "difference"),
        ),
        Row("applied behind a call: p99", "latency_p99_ms", "linger_ms", "linger", "ms"),
    ),
    measure_latency,
)
