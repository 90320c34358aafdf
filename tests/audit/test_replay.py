"""`replay`: the calls of a log once more, in order; at full speed or paced by the times that were recorded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.audit import Replayed, drive, open_log, replay
from eventstore.errors import DamagedRecord, LogGap
from eventstore.model import events as e
from eventstore.model.identifiers import ClientOrderId
from eventstore.model.orders import Order
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.logs import read_log
from tests.support.orders import happened, initialized
from tests.support.outages import KEYS
from tests.support.redis_server import RedisServer

_NOW_MS = 1_800_000_000_000


def write(server: RedisServer, times_ms: list[int]) -> None:
    """A log, written by hand, whose entries were accepted at those times after `_NOW_MS`."""
    with server.client() as client:
        client.flushall()
        for position, ms in enumerate(times_ms, 1):
            payload = c.encode(c.Add(f"key-{position}", b"%d" % position))
            client.xadd(KEYS.log, {"e": payload}, id=f"{_NOW_MS + ms}-{position}")
        last = f"{_NOW_MS + times_ms[-1]}-{len(times_ms)}"
        fence = {"epoch": 1, "position": len(times_ms), "chain": bytes(32), "id": last, "owner": "", "claimed_ms": 1}
        client.hset(KEYS.writer, mapping=fence)


class Clock:
    """A clock that only moves where something takes time. Who sleeps wakes up a little late."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.late_s = late_s
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now_s += seconds + random.random() * self.late_s


def test_every_entry_comes_once_and_in_order(redis_server: RedisServer, redis_url: str) -> None:
    """With the command as it was written, into an iterator and into a callback."""
    with open_database(redis_url) as database:
        for number in range(2500):
            database.add(f"key-{number}", b"%d" % number)
    with redis_server.client() as client:
        log = [(line.position, line.ms, line.command) for line in read_log(client, KEYS)]
    assert len(log) == 2502
    told: list[Replayed] = []
    with open_log(redis_url, TRADER) as opened:
        assert [(each.position, each.accepted_ms, each.command) for each in replay(opened)] == log
        assert drive(opened, told.append) == len(log)
        assert told == list(replay(opened))
        assert [each.position for each in replay(opened, 100, 104)] == [101, 102, 103, 104]
        assert list(replay(opened, 2502)) == []


def test_the_events_of_a_call_are_those_that_happened(redis_url: str) -> None:
    """To each field; and a call that is about something else has none."""
    order = Order.create(initialized(client_order_id=ClientOrderId("O-1")))
    with open_database(redis_url) as database:
        database.add_order(order)
        database.add("key", b"value")
        for kind in (e.OrderSubmitted, e.OrderAccepted):
            order.apply(happened(kind, client_order_id=order.client_order_id))
            database.update_order(order)
    with open_log(redis_url, TRADER) as log:
        found = [(type(each.command).__name__, each.events()) for each in replay(log)]
    assert found == [
        ("Opened", []),
        ("AddOrder", order.events[:1]),
        ("Add", []),
        ("UpdateOrder", order.events[1:2]),
        ("UpdateOrder", order.events[2:]),
        ("ClosedWell", []),
    ]


def test_an_event_that_can_not_be_read_is_named_by_its_position(redis_server: RedisServer, redis_url: str) -> None:
    write(redis_server, [0, 1])
    with redis_server.client() as client:
        command = c.UpdateOrder("O-1", 1, 5, False, [b"no record"], None)  # noqa: FBT003
        client.xadd(KEYS.log, {"e": c.encode(command)}, id=f"{_NOW_MS + 5}-3")
    with open_log(redis_url, TRADER) as log, pytest.raises(DamagedRecord, match="position 3 events"):
        [each.events() for each in replay(log)]


@effort(60)
@given(
    steps=st.lists(st.integers(0, 20), min_size=1, max_size=30),
    since=st.integers(0, 300),
    until=st.integers(0, 300),
    micros=st.integers(0, 999_999),
)
def test_from_and_to_a_time_come_those_that_were_accepted_in_between(
    redis_server: RedisServer, steps: list[int], since: int, until: int, micros: int
) -> None:
    """To the millisecond, which is what the log knows: those in which the two times are count."""
    times = [sum(steps[: number + 1]) for number in range(len(steps))]
    write(redis_server, times)
    wanted = [position for position, ms in enumerate(times, 1) if since <= ms <= until]
    with open_log(redis_server.url, TRADER) as log:
        found = replay(
            log,
            since_ns=(_NOW_MS + since) * 1_000_000 + micros,
            until_ns=(_NOW_MS + until) * 1_000_000 + micros,
        )
        assert [each.position for each in found] == wanted


@effort(60)
@given(
    steps=st.lists(st.integers(0, 5000), min_size=1, max_size=30),
    speed=st.sampled_from((0.25, 1.0, 60.0)),
    late_s=st.sampled_from((0.0, 0.5)),
    work=st.lists(st.floats(0.0, 10.0), max_size=30),
)
def test_paced_entries_come_when_they_are_due_and_lateness_is_made_up_for(
    redis_server: RedisServer, steps: list[int], speed: float, late_s: float, work: list[float]
) -> None:
    """By the recorded times over the speed, counted from the first: none comes early, however long it takes to be taken
    or to wake up; one that is late comes at once; and what was late does not make those behind it late."""
    times = [sum(steps[: number + 1]) for number in range(len(steps))]
    write(redis_server, times)
    clock = Clock(late_s)
    with open_log(redis_server.url, TRADER) as log:
        found = replay(log, speed=speed, sleep=clock.sleep, clock=clock)
        free_s = clock.now_s
        for number, each in enumerate(found):
            due_s = 1000.0 + (times[number] - times[0]) / 1000 / speed
            assert clock.now_s >= due_s - 1e-6
            assert clock.now_s <= max(due_s, free_s) + late_s + 1e-6
            assert each.position == number + 1
            clock.now_s += work[number] if number < len(work) else 0.0
            free_s = clock.now_s
    if not work:
        assert len(clock.slept) <= sum(step > 0 for step in steps[1:])
        assert sum(clock.slept) <= (times[-1] - times[0]) / 1000 / speed + 1e-6


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused_at_the_call(redis_server: RedisServer, speed: float) -> None:
    write(redis_server, [0])
    with open_log(redis_server.url, TRADER) as log:
        with pytest.raises(ValueError, match="is not above 0"):
            replay(log, speed=speed)
        with pytest.raises(ValueError, match="before 1970"):
            replay(log, since_ns=-1)


def test_a_gap_raises_where_it_is(redis_server: RedisServer) -> None:
    """What is before it comes."""
    write(redis_server, [0, 1, 2, 3])
    with redis_server.client() as client:
        client.xdel(KEYS.log, f"{_NOW_MS + 2}-3")
    came = []
    with open_log(redis_server.url, TRADER) as log, pytest.raises(LogGap) as caught:
        drive(log, lambda each: came.append(each.position))
    assert came == [1, 2]
    assert (caught.value.first, caught.value.last) == (3, 3)
