"""How fast a node's orders and positions come back, beside the same bytes read and unpacked with nothing built."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgpack

from eventstore.keys import Keys
from eventstore.model import Position
from scripts.lib.bench import nodes
from scripts.lib.bench.places import Place, in_process, opened, own_garbage, served
from scripts.lib.bench.rows import Figures, Row, Subject, Target
from scripts.lib.bench.sizes import Sizes

PAGE = 500
_TURNS = 3
KEYS = Keys(nodes.TRADER)


def read_and_unpack(place: Place, members: str, key: Callable[[str], str]) -> int:
    """Read the hashes of all that a set names, and unpack each record; returns how many hashes that were."""
    with place.client() as client:
        names = [key(member.decode()) for member in client.smembers(members)]  # type: ignore[union-attr] # a set
        for i in range(0, len(names), PAGE):
            pipeline = client.pipeline(transaction=False)
            for name in names[i : i + PAGE]:
                pipeline.hgetall(name)
            for fields in pipeline.execute():
                for data in fields.values():
                    msgpack.unpackb(data)
    return len(names)


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    with own_garbage():
        start = time.perf_counter()
        found = work()
        return time.perf_counter() - start, found


def _load(place: Place, verb: str, count: int) -> float:
    """Seconds of a load by a database that knows nothing yet, in a process that has done nothing else."""
    with opened(place.url) as database:
        database.sync()
        took, loaded = _seconds(getattr(database, verb))
    if len(loaded) != count:
        raise SystemExit(f"{len(loaded)} came back of {count}")
    return took


def _floor(place: Place, kind: str) -> float:
    """Seconds in which what `kind` names is read and unpacked."""
    members, key = {"order": (KEYS.orders, KEYS.order), "position": (KEYS.positions, KEYS.position)}[kind]
    return _seconds(lambda: read_and_unpack(place, members, key))[0]


def _in_turns(place: Place, kind: str, count: int) -> tuple[float, float]:
    """Seconds of a load and of the floor, each the mean of some turns."""
    ours = floor = 0.0
    for turn in range(_TURNS):
        for is_ours in (True, False) if turn % 2 else (False, True):
            if is_ours:
                ours += in_process(_load, place, f"load_{kind}s", count)
            else:
                floor += in_process(_floor, place, kind)
    return ours / _TURNS, floor / _TURNS


def measure_orders(sizes: Sizes) -> Figures:
    """Orders of 4 events a second."""
    with served() as place:
        with opened(place.url) as database:
            nodes.trade(database, (nodes.history(i) for i in range(sizes.loaded)))
        took, floor = _in_turns(place, "order", sizes.loaded)
    return {"orders_per_s": sizes.loaded / took, "orders_read_per_s": sizes.loaded / floor}


def measure_positions(sizes: Sizes) -> Figures:
    """Events a second of positions with many fills."""
    with served() as place:
        with opened(place.url) as database:
            database.add_instrument(nodes.instrument())
            for number in range(sizes.positions):
                first, *others = nodes.fills(number, sizes.fills)
                position = Position(nodes.instrument(), first)
                database.add_position(position)
                for fill in others:
                    position.apply(fill)
                    database.update_position(position)
        took, floor = _in_turns(place, "position", sizes.positions)
    events = sizes.positions * sizes.fills
    return {"position_events_per_s": events / took, "position_events_read_per_s": events / floor}


def measure_start(sizes: Sizes) -> Figures:
    """Milliseconds to open a database and load its open orders, beside many closed ones, and where there are no others.

    An open order has lived through three of its four events.
    """
    still_open = [nodes.history(10**9 + i, events=3) for i in range(sizes.still_open)]
    with served() as crowded, served() as small:
        for place in (crowded, small):
            with opened(place.url) as database:
                if place is crowded:
                    nodes.trade(database, (nodes.history(i) for i in range(sizes.closed)))
                nodes.trade(database, still_open)
        took = {crowded: 0.0, small: 0.0}
        for turn in range(2 * _TURNS):
            for place in (crowded, small) if turn % 2 else (small, crowded):
                took[place] += _seconds(lambda place=place: _start(place, sizes.still_open))[0] / (2 * _TURNS)
    return {"start_ms": 1000 * took[crowded], "start_small_ms": 1000 * took[small]}


def _start(place: Place, count: int) -> None:
    with opened(place.url) as database:
        if len(database.load_orders(open_only=True)) != count:
            raise SystemExit("the open orders did not come back")


ORDERS = Subject(
    "loads",
    "What a node loads",
    (
        Row(
            "orders of 4 events",
            "orders_per_s",
            "orders_read_per_s",
            "only read and unpacked",
            "/s",
            Target(40_000, at_least=True),
        ),
    ),
    measure_orders,
)
POSITIONS = Subject(
    "positions",
    "What a node loads: long positions",
    (
        Row(
            "events of positions of 2,000 fills",
            "position_events_per_s",
            "position_events_read_per_s",
            "only read and unpacked",
            "/s",
            Target(150_000, at_least=True),
        ),
    ),
    measure_positions,
)
START = Subject(
    "start",
    "A node that starts",
    (
        Row(
            "opened, 200 open orders loaded and closed, beside 100,000 closed orders",
            "start_ms",
            "start_small_ms",
            "no closed orders",
            "ms",
            Target(1.5, "ratio"),
        ),
    ),
    measure_start,
)
