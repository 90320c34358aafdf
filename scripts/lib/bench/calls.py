"""What a call costs the thread that makes it, beside a bare append in its place.

For half of the things the call is timed; for the others, in its place, a tuple of ten fields that is built and appended
to a deque, between the same two readings of the clock: the least that any call could do that leaves something for
later. So both come right behind what happened to the thing, and see the same caches and the same writer beside them.
What the clock takes is in both.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from eventstore import RedisCacheDatabase
from eventstore.model import Account, Order, Position
from scripts.lib.bench import nodes
from scripts.lib.bench.places import Place, held, opened, own_garbage, served
from scripts.lib.bench.rows import Figures, Row, Subject, Target, named_quantiles
from scripts.lib.bench.sizes import Sizes

ORDERED = ("add_order", "update_order", "update_position", "heartbeat")
"""The verbs that have to be near the floor; the others do more: an account's state, a copy of all that a thing is."""
VERBS = (*ORDERED, "add_position", "update_account", "snapshot_order_state", "snapshot_position_state")
FILLS = 3

Call = Callable[..., None]
Turn = tuple[str, Call, Iterable[Any]]


def turns(database: RedisCacheDatabase, count: int) -> Iterator[Turn]:
    """The calls of a node with many orders at work, verb by verb: each call, and `count` things that it is given.

    What happens to a thing before it is given happens when it is asked for.
    """
    histories = [nodes.history(i) for i in range(count)]
    orders = [Order.create(each.init) for each in histories]
    yield "add_order", database.add_order, orders
    for step in range(nodes.EVENTS - 1):
        yield "update_order", database.update_order, _applied(orders, [each.later[step] for each in histories])
    instrument = nodes.instrument()
    fills = [nodes.fills(i, FILLS + 1) for i in range(count)]
    positions = [Position(instrument, each[0]) for each in fills]
    yield "add_position", database.add_position, positions
    for step in range(1, FILLS + 1):
        yield "update_position", database.update_position, _applied(positions, [each[step] for each in fills])
    states = list(nodes.account_states(count + 1))
    account = Account.create(states[0])
    database.add_account(account)
    yield "update_account", database.update_account, _applied([account] * count, states[1:])
    yield "snapshot_order_state", database.snapshot_order_state, orders
    at = positions[0].ts_last + 1
    yield "snapshot_position_state", lambda position: database.snapshot_position_state(position, at), positions
    yield "heartbeat", database.heartbeat, [datetime.fromtimestamp(i, UTC) for i in range(count)]


def _applied(things: list[Any], events: list[Any]) -> Iterator[Any]:
    for thing, event in zip(things, events, strict=True):
        thing.apply(event)
        yield thing


def timed(call: Call, things: Iterator[Any], count: int) -> list[int]:
    """Nanoseconds of so many calls."""
    clock = time.perf_counter_ns
    took: list[int] = []
    for thing in islice(things, count):
        start = clock()
        call(thing)
        took.append(clock() - start)
    return took


def timed_append(call: Call, things: Iterator[Any], count: int) -> list[int]:
    """Nanoseconds of a bare append in the place of so many calls, which are made all the same, behind it."""
    clock = time.perf_counter_ns
    took: list[int] = []
    queue = deque[Any]()  # dropped at the end: or the collector would look at its tuples during calls
    append = queue.append
    for thing in islice(things, count):
        start = clock()
        append(("update", thing, start, call, thing, 0, 1, False, thing, None))
        took.append(clock() - start)
        call(thing)
    return took


def measured(place: Place, count: int, is_idle: bool, settings: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Nanoseconds of each verb's calls and floors, beside a writer that sleeps, or one at its full rate."""
    times: dict[str, tuple[list[int], list[int]]] = {verb: ([], []) for verb in VERBS}
    calls_first = False
    with opened(place.url, **settings) as database:
        for verb, call, things in turns(database, count):
            with own_garbage(), held(database) if is_idle else nullcontext():
                if not is_idle:
                    _keep_busy(database, count)
                before = database.stats()
                each = iter(things)
                calls_first = not calls_first
                if calls_first:
                    calls = timed(call, each, count // 2)
                    floors = timed_append(call, each, count - count // 2)
                else:
                    floors = timed_append(call, each, count // 2)
                    calls = timed(call, each, count - count // 2)
                stats = database.stats()
            if is_idle and (stats.applied != before.applied or stats.in_doubt):
                raise SystemExit(f"{verb}: the writer that should sleep has worked")
            if not is_idle and not stats.waiting + stats.in_doubt:
                raise SystemExit(f"{verb}: the writer had nothing to do")
            times[verb][0].extend(calls)
            times[verb][1].extend(floors)
    place.wipe()
    return times


def _keep_busy(database: RedisCacheDatabase, count: int) -> None:
    for i in range(2_000 + count):
        database.add(f"key-{i}", b"something to write")


def measure(sizes: Sizes) -> Figures:
    """Each verb beside an idle writer and a busy one, in memory."""
    figures: Figures = {}
    with served() as place:
        for name, is_idle in (("idle", True), ("busy", False)):
            for verb, (calls, floors) in measured(place, sizes.orders, is_idle, {}).items():
                figures |= named_quantiles(f"{verb}_{name}", calls) | named_quantiles(f"{verb}_{name}_append", floors)
    return figures


def measure_journal(sizes: Sizes) -> Figures:
    """The same with a journal."""
    figures: Figures = {}
    with served() as place:
        for name, is_idle in (("journal_idle", True), ("journal_busy", False)):
            with tempfile.TemporaryDirectory(dir=place.directory) as journal:
                times = measured(place, sizes.orders, is_idle, {"journal": journal})
            for verb, (calls, floors) in times.items():
                figures |= named_quantiles(f"{verb}_{name}", calls) | named_quantiles(f"{verb}_{name}_append", floors)
    return figures


def _rows(verbs: tuple[str, ...], writer: str, said: str, targets: dict[str, Target]) -> Iterator[Row]:
    for verb in verbs:
        for quantile, title in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
            target = targets.get(quantile) if verb in ORDERED else None
            yield Row(
                f"`{verb}`, {said}: {title}",
                f"{verb}_{writer}_{quantile}_us",
                f"{verb}_{writer}_append_{quantile}_us",
                "bare append",
                "µs",
                target,
            )


CALLS = Subject(
    "calls",
    "On the caller's thread, in memory",
    (
        *_rows(VERBS, "idle", "writer idle", {"p50": Target(5, "ratio"), "p99": Target(3)}),
        *_rows(ORDERED, "busy", "writer at full rate", {"p999": Target(25)}),
    ),
    measure,
)
JOURNAL = Subject(
    "journal",
    "On the caller's thread, with a journal",
    (
        *_rows(ORDERED, "journal_idle", "writer idle", {}),
        *_rows(ORDERED, "journal_busy", "writer at full rate", {}),
    ),
    measure_journal,
)
