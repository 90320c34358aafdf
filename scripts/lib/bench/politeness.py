"""How much later a host's loops wake because of the writer, and how much of a core the writer takes.

A backlog is filled while the server is stopped; the server goes on, and the loop runs until the writer has drained it.
The same loop runs in the same process before there is a writer, and behind it. The node has one core and the server the
others; once more, the loop that sleeps, with the cores shared by whoever wants to run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from eventstore import RedisCacheDatabase
from eventstore.model import Order
from scripts.lib.bench import nodes, raw
from scripts.lib.bench.loops import LOOPS, GoOn
from scripts.lib.bench.places import Place, cpu_clock, opened, own_garbage, served, writer
from scripts.lib.bench.rows import Figures, Row, Subject, Target, named_quantiles
from scripts.lib.bench.sizes import Sizes
from scripts.lib.bench.ticker import PERIOD_NS

STEADY_PER_S = 5_000
_LEFT = 512
"""Commands that are in flight when nothing waits any more."""
_LOOK = 16
"""Wakes between two looks at how much waits."""
_OTHERS = 10**9
"""The number of the first order that is not in the backlog."""
_TITLES = {
    "sleep": "a loop that sleeps",
    "socket": "a loop that waits for a socket",
    "asyncio": "a callback of asyncio",
    "shared": "a loop that sleeps, cores shared with the server",
}


def drained_beside(place: Place, histories: list[nodes.History], host: Callable[[RedisCacheDatabase, Any], Any]) -> Any:
    """Give `host` a database whose writer drains a backlog, and a function that tells it to go on until that is done.

    Returns what it returns, once nothing is left.
    """
    with opened(place.url) as database:
        with place.frozen() as thaw:
            nodes.trade(database, histories)

            def go_on(wakes: int) -> bool:
                return wakes % _LOOK > 0 or database.stats().waiting > _LEFT

            with own_garbage():
                thaw()
                found = host(database, go_on)
        database.sync()
    place.wipe()
    return found


def measure(sizes: Sizes) -> Figures:
    """How late each loop wakes, beside no writer and beside one at its full rate."""
    figures: Figures = {}
    histories = [nodes.history(i) for i in range(sizes.backlog // nodes.EVENTS)]
    with served() as place:
        for name, loop in (*LOOPS.items(), ("shared", LOOPS["sleep"])):
            with place.apart() if name != "shared" else nullcontext():
                alone = loop(lambda wakes: wakes < sizes.wakes)
                beside = drained_beside(place, histories, lambda _, go_on, loop=loop: loop(go_on))
                alone += loop(lambda wakes: wakes < sizes.wakes)
            figures |= named_quantiles(f"late_{name}", beside) | named_quantiles(f"late_{name}_alone", alone)
        calls = drained_beside(
            place,
            histories,
            lambda database, go_on: first_calls(go_on, database.add_order, database.update_order),
        )
        appends = first_calls(lambda wakes: wakes < sizes.wakes, lambda order: None, _appending())
        return figures | named_quantiles("woken_call", calls) | named_quantiles("woken_append", appends)


def _appending() -> Callable[[Order], None]:
    append = deque[Any]().append
    return lambda order: append(("update", order, 0, append, order, 0, 1, False, order, None))


def first_calls(go_on: GoOn, add: Callable[[Order], object], call: Callable[[Order], object]) -> list[int]:
    """What a call takes that is the first thing behind a sleep: code and data are out of the caches then."""
    clock, sleep = time.perf_counter_ns, time.sleep
    took: list[int] = []
    while go_on(len(took)):
        each = nodes.history(_OTHERS + len(took), events=2)
        order = Order.create(each.init)
        add(order)
        order.apply(each.later[0])
        sleep(PERIOD_NS / 1e9)
        start = clock()
        call(order)
        took.append(clock() - start)
    return took


def measure_cpu(sizes: Sizes) -> Figures:
    """Per cent of a core that the writer's thread takes at a steady rate, and while nothing happens.

    The floor at that rate: a thread that sends the same bytes, encoded before, when the writer's batches would be due.
    """
    histories = [nodes.history(i) for i in range(int(STEADY_PER_S * sizes.steady_s) // nodes.EVENTS)]
    with served() as place:
        with raw.recorded(place) as recording, opened(recording.url) as database:
            nodes.trade_at(database, histories, STEADY_PER_S)
            database.sync()
        place.wipe()
        with opened(place.url) as database:
            database.sync()
            idle = _share(writer(), lambda: time.sleep(sizes.steady_s))
            with own_garbage():
                steady = _share(writer(), lambda: nodes.trade_at(database, histories, STEADY_PER_S))
        place.wipe()
        asleep = threading.Event()
        bare = threading.Thread(target=asleep.wait)
        bare.start()
        nothing = _share(bare, lambda: time.sleep(sizes.steady_s))
        asleep.set()
        paced = recording.paced(place, sizes.steady_s)
    return {
        "writer_cpu_steady": steady,
        "writer_cpu_idle": idle,
        "bare_cpu_steady": paced,
        "bare_cpu_idle": nothing,
    }


def _share(thread: threading.Thread, meanwhile: Callable[[], object]) -> float:
    """Per cent of a core that `thread` takes meanwhile."""
    clock = cpu_clock(thread)
    before, start = time.clock_gettime(clock), time.perf_counter()
    meanwhile()
    took = time.perf_counter() - start
    return 100 * (time.clock_gettime(clock) - before) / took


def _late_rows() -> Iterator[Row]:
    asked = {"p99": Target(250, "difference"), "p999": Target(1000, "difference")}
    for loop, title in _TITLES.items():
        targets = asked if loop in LOOPS else {}
        for quantile, said in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
            yield Row(
                f"{title}, lateness: {said}",
                f"late_{loop}_{quantile}_us",
                f"late_{loop}_alone_{quantile}_us",
                "no writer",
                "µs",
                targets.get(quantile),
            )


POLITE = Subject(
    "polite",
    "A host's loop that wakes every 0.5 ms, writer at full rate",
    (
        *_late_rows(),
        *(
            Row(
                f"`update_order`, the first call behind a wake: {said}",
                f"woken_call_{quantile}_us",
                f"woken_append_{quantile}_us",
                "bare append",
                "µs",
            )
            for quantile, said in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
        ),
    ),
    measure,
)
CPU = Subject(
    "cpu",
    "What the writer's thread takes of a core",
    (
        Row(
            f"at {STEADY_PER_S:,} calls a second",
            "writer_cpu_steady",
            "bare_cpu_steady",
            "the same bytes, only sent",
            "%",
            Target(12),
        ),
        Row("idle", "writer_cpu_idle", "bare_cpu_idle", "a thread that waits", "%", Target(0.5)),
    ),
    measure_cpu,
)
