"""What is in the log and the views, whatever clocks, versions, sizes and readers do: rows 34, 36, 37 and 39."""

from __future__ import annotations

import itertools
import threading
import time
from itertools import pairwise

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore import intake, schema, upcasters
from eventstore.errors import DamagedRecord, TooLarge
from eventstore.model import events as e
from eventstore.model.identifiers import ClientOrderId, ComponentId
from eventstore.model.orders import Order
from eventstore.schema import TAGS
from tests.support.databases import open_database
from tests.support.effort import effort
from tests.support.logs import check_log, read_log
from tests.support.node import State
from tests.support.orders import happened, initialized, order_after
from tests.support.outages import KEYS, PATIENCE_S, Told, call, called, written
from tests.support.redis_server import RedisServer

# -- Row 34: the clock -------------------------------------------------------------------------------------------------

_NOW_NS = 1_800_000_000_000_000_000


@given(clocks=st.lists(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=20), min_size=1, max_size=3))
@example(clocks=[[0, -(10**15), 5], [-(10**15)], [10**15, 0]])
@effort(15)
def test_row_34_the_clock_jumps_back_and_positions_and_entry_ids_still_rise(
    redis_server: RedisServer, clocks: list[list[int]]
) -> None:
    """By nanoseconds or days, within a process and between two: positions are gapless, and an entry that was accepted
    on a clock behind the one before it gets the time of that one."""
    with redis_server.client() as client, pytest.MonkeyPatch.context() as patch:
        client.flushall()
        now_ns = [_NOW_NS]
        # The verbs, and the entries that begin and end an epoch, ask the clock of the host.
        patch.setattr(time, "time_ns", lambda: now_ns[0])
        patch.setattr(intake, "time_ns", lambda: now_ns[0])
        accepted: list[tuple[c.Command, int]] = []
        for times in clocks:
            now_ns[0] = _NOW_NS + times[0]
            with open_database(redis_server.url) as database:
                for offset in times:
                    now_ns[0] = _NOW_NS + offset
                    accepted.append((call(database, len(accepted)), now_ns[0] // 1_000_000))
        log = check_log(client, KEYS)
        assert called(log) == [command for command, _ in accepted]
        shown = [(before.ms, line.ms) for before, line in pairwise(log) if called([line])]
        assert [ms for _, ms in shown] == [
            max(before, at) for (before, _), (_, at) in zip(shown, accepted, strict=True)
        ]


# -- Row 36: versions --------------------------------------------------------------------------------------------------


def test_row_36_an_old_event_version_is_upcast_by_the_load(
    redis_server: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by a library whose acceptances had no venue order id yet, loaded by the next one: the order has all its
    events, goes on, and its new events are written in the new version."""
    order = order_after(e.OrderSubmitted, e.OrderAccepted)
    tag = TAGS[e.OrderAccepted]
    with open_database(redis_url) as database:
        database.add_order(order)
    place = e.OrderAccepted._fields.index("venue_order_id")
    now = dict(schema.VERSIONS)
    steps: dict[tuple[int, int], upcasters.Step] = dict.fromkeys(((each, now[each]) for each in TAGS.values()), list)
    steps[tag, now[tag]] = lambda fields: [*fields[:place], "OLD-1", *fields[place + 1 :]]
    monkeypatch.setattr(upcasters, "STEPS", steps)
    for each in TAGS.values():
        monkeypatch.setitem(schema.VERSIONS, each, now[each] + 1)
    with open_database(redis_url) as database:
        loaded = database.load_order(order.client_order_id)
        assert loaded is not None
        assert loaded.venue_order_id == "OLD-1"
        loaded.apply(happened(e.OrderCanceled))
        database.update_order(loaded)
        again = database.load_order(order.client_order_id)
        assert again is not None
        assert again.to_dict() == loaded.to_dict()
        database.sync()
        with redis_server.client() as client:
            stored = client.hgetall(KEYS.order(order.client_order_id))
    written = {field: msgpack.unpackb(stored[field])[1] for field in (b"2", b"3")}
    assert written == {b"2": now[tag], b"3": now[TAGS[e.OrderCanceled]] + 1}


def test_row_36_an_unknown_version_fails_by_name(redis_server: RedisServer, redis_url: str, told: Told) -> None:
    """A record that a newer library wrote: a strict load names key, field and version; another leaves that order out,
    and says so. Nothing is guessed."""
    with redis_server.client() as client:
        with open_database(redis_url) as database:
            for number in range(3):
                database.add_order(Order.create(initialized(client_order_id=ClientOrderId(f"O-{number}"))))
            database.sync()
            key = KEYS.order("O-1")
            record = msgpack.unpackb(client.hget(key, "0"))
            client.hset(key, "0", msgpack.packb([record[0], 99, *record[2:]]))
            with pytest.raises(DamagedRecord, match=r"schema version 99 is not known.*upgrade") as caught:
                database.load_orders()
            assert (caught.value.key, caught.value.field) == (key, "0")
        with open_database(redis_url, logger=told, strict_loads=False) as database:
            assert database.load_orders().keys() == {"O-0", "O-2"}
            assert [damage.key for damage in database.damaged] == [key]
        told.wait_for("left out a damaged record", "version 99")


# -- Row 37: a load while batches are applied --------------------------------------------------------------------------


def test_row_37_a_load_during_a_batch_is_a_consistent_cut(redis_url: str) -> None:
    """Another thread updates orders in turn, all the time, in batches that cut anywhere: each load gives, of each
    order, a whole history up to some event; no order is ahead of one whose turn was before; nothing is older than in
    the load before, and what this thread wrote is there."""
    orders = [Order.create(initialized(client_order_id=ClientOrderId(f"O-{n:02}"))) for n in range(15)]

    def trade() -> None:
        for number in range(60):
            for order in orders:
                kind = e.OrderUpdated if number % 2 else e.OrderPendingUpdate
                order.apply(happened(kind, client_order_id=order.client_order_id))
                database.update_order(order)
            done.wait(0.001)
        done.set()

    done = threading.Event()
    with open_database(redis_url, batch_count_max=7, linger_ms=0.0) as database:
        for order in orders:
            for kind in (e.OrderSubmitted, e.OrderAccepted):
                order.apply(happened(kind, client_order_id=order.client_order_id))
            database.add_order(order)
        trading = threading.Thread(target=trade)
        trading.start()
        seen = dict.fromkeys((order.client_order_id for order in orders), 3)
        between = 0
        for number in itertools.count():
            database.add("mine", b"%d" % number)
            ended = done.is_set()
            loaded = database.load_orders()
            assert loaded.keys() == seen.keys()
            counts = [len(loaded[order.client_order_id].events) for order in orders]
            assert counts == sorted(counts, reverse=True)
            assert counts[0] - counts[-1] <= 1
            for order in orders:
                events = loaded[order.client_order_id].events
                assert events == order.events[: len(events)]
                assert len(events) >= seen[order.client_order_id]
                seen[order.client_order_id] = len(events)
            between += 3 < max(seen.values()) < 63
            assert database.load()["mine"] == b"%d" % number
            if ended:
                break
        trading.join(PATIENCE_S)
        assert set(seen.values()) == {63}
        assert between


# -- Row 39: too large -------------------------------------------------------------------------------------------------


def test_row_39_a_batch_too_large_is_split_by_commands_and_by_bytes(redis_server: RedisServer, redis_url: str) -> None:
    """However much is waiting: no batch has more commands or bytes than allowed, but for a command that alone is over
    the bound. The order is kept over the seams."""
    sizes = [10] * 100 + [700] * 20 + [50_000] + [10] * 30
    settings = {"batch_count_max": 16, "batch_bytes_max": 2048, "linger_ms": 5000.0}
    with open_database(redis_url, **settings) as database:
        for number, size in enumerate(sizes):
            database.add(f"key-{number}", b"x" * size)
    assert len(written(redis_server)) == len(sizes)
    with redis_server.client() as client:
        batch: list[int] = []
        for line in read_log(client, KEYS):
            batch.append(len(line.payload))
            if line.head is not None:
                assert len(batch) <= 16
                assert len(batch) == 1 or sum(batch) <= 2048
                batch = []
        assert not batch


def test_row_39_one_huge_value_is_refused_at_the_call_with_its_size(redis_server: RedisServer, redis_url: str) -> None:
    """A general value, and the state of a component: what fits is written, a byte more is refused, and the log never
    heard of it."""
    with open_database(redis_url, value_bytes_max=1_000_000) as database:
        database.add("fits", b"x" * 1_000_000)
        with pytest.raises(TooLarge, match="add huge: 1000001 bytes, at most 1000000 are allowed"):
            database.add("huge", b"x" * 1_000_001)
        with pytest.raises(TooLarge, match=r"update_actor Actor-1: \d+ bytes, at most 1000000"):
            database.update_actor(State(ComponentId("Actor-1"), {"a": b"x" * 600_000, "b": b"x" * 400_001}))
        assert database.load().keys() == {"fits"}
    assert written(redis_server) == [c.Add("fits", b"x" * 1_000_000)]
