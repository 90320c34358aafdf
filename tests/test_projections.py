"""The views are the fold of the log: in memory and at the server, in whatever batches it was written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.model import events as e
from eventstore.model.enums import OrderStatus
from eventstore.model.identifiers import TraderId
from eventstore.model.orders import Order
from eventstore.projections import MemoryViews, project
from eventstore.storage.appender import ARGUMENTS_MAX, Appender, called, claim
from eventstore.storage.connect import connect
from tests.support import specimens
from tests.support.effort import effort
from tests.support.histories import brief_histories, histories
from tests.support.logs import check_log, dump, views_of
from tests.support.orders import order_after
from tests.support.redis_server import RedisServer

KEYS = Keys(TraderId("TRADER-001"))


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as connection:
        yield connection


def write(server: RedisServer, client: Redis, batches: Sequence[Sequence[c.Command]]) -> dict[str, Any]:
    """Write `batches` as a log of its own on the emptied server, check the log, and return the views."""
    client.flushdb()
    own = connect(server.url, 10.0, "test")
    appender = Appender(own, KEYS, claim(own, KEYS, "test", 1))
    try:
        position = 1
        for batch in batches:
            made = [
                ("verb", "key", 10**15, called, lambda command=command: command, (), None, None) for command in batch
            ]
            sealed = appender.seal(position, [appender.encode(item) for item in made])
            appender.send(sealed)
            appender.receive(sealed)
            position = sealed.last + 1
    finally:
        appender.close()
        own.close()
    check_log(client, KEYS)
    return views_of(dump(client), KEYS)


def folded(commands: Sequence[c.Command]) -> dict[str, Any]:
    """The views of `commands` in memory, in the form of `dump`."""
    views = MemoryViews()
    for command in commands:
        project(KEYS, command, views)
    hashes = {name: {field.encode(): value for field, value in held.items()} for name, held in views.hashes.items()}
    return hashes | {name: {member.encode() for member in held} for name, held in views.sets.items()}


def cut(commands: Sequence[c.Command], at: set[int]) -> list[list[c.Command]]:
    """`commands` in batches that begin at those places; what flushes is alone in its batch, as the writer has it."""
    batches: list[list[c.Command]] = []
    for place, command in enumerate(commands):
        alone = isinstance(command, c.Flushed) or (place > 0 and isinstance(commands[place - 1], c.Flushed))
        if not batches or alone or place in at:
            batches.append([])
        batches[-1].append(command)
    return batches


# -- The server and the memory agree ---------------------------------------------------------------------------


@effort(120)
@given(histories(), st.sets(st.integers(0, 39)))
def test_the_views_are_the_fold_of_the_log_however_it_was_cut_into_batches(
    redis_server: RedisServer, client: Redis, commands: list[c.Command], at: set[int]
) -> None:
    """To the byte: as one batch, as batches of one, and cut anywhere, the fold of all commands is what is there."""
    wanted = folded(commands)
    assert write(redis_server, client, cut(commands, at)) == wanted
    entries = client.xrange(KEYS.log)
    assert write(redis_server, client, cut(commands, set())) == wanted
    if not any(isinstance(command, c.Flushed) for command in commands):
        assert [(name, data[b"e"]) for name, data in client.xrange(KEYS.log)] == [
            (name, data[b"e"]) for name, data in entries
        ]


@effort(60)
@given(brief_histories(), st.sets(st.integers(0, 39)))
def test_what_is_purged_is_what_the_fold_purges_wherever_it_stands_in_its_batch(
    redis_server: RedisServer, client: Redis, commands: list[c.Command], at: set[int]
) -> None:
    """Behind and before what adds, closes, begins anew and deletes the same thing, in the same batch or in another."""
    wanted = folded(commands)
    assert write(redis_server, client, [commands]) == wanted
    assert write(redis_server, client, cut(commands, at)) == wanted


@effort(80)
@given(brief_histories())
def test_nothing_that_is_open_is_ever_purged(commands: list[c.Command]) -> None:
    """Whatever a purge says: what it takes away was closed, and had come exactly as far as it says."""
    views = MemoryViews()
    for command in commands:
        before = deepcopy(views)
        project(KEYS, command, views)
        match command:
            case c.PurgeOrder(order_id, lives, version):
                key, closed, snapshots = KEYS.order(order_id), KEYS.orders_closed, KEYS.order_snapshots
            case c.PurgePosition(order_id, lives, version):
                key, closed, snapshots = KEYS.position(order_id), KEYS.positions_closed, KEYS.position_snapshots
            case _:
                continue
        if (before.hashes, before.sets) == (views.hashes, views.sets):
            continue
        assert order_id in before.sets[closed]
        assert int(before.hashes.get(KEYS.lives, {}).get(key, b"0")) == lives
        assert max(int(field) for field in before.hashes[key] if field.isdigit()) + 1 == version
        assert not [name for name in views.hashes if name.partition("{trader-TRADER-001}")[2].startswith(key)]
        assert order_id not in views.hashes.get(snapshots, {})
        assert order_id not in views.sets.get(closed, ())


@effort(25)
@given(histories(20))
def test_batches_of_one_give_the_same_views(
    redis_server: RedisServer, client: Redis, commands: list[c.Command]
) -> None:
    assert write(redis_server, client, [[command] for command in commands]) == folded(commands)


@effort(25)
@given(histories(25))
def test_nothing_is_left_of_what_was_flushed(
    redis_server: RedisServer, client: Redis, commands: list[c.Command]
) -> None:
    """Whatever was there, earlier lives too; the log then begins with the entry that says so."""
    assert write(redis_server, client, cut([*commands, c.Flushed(0, b"")], set())) == {}
    assert set(dump(client)) == {KEYS.log, KEYS.writer}
    assert client.xlen(KEYS.log) == 1


def order_added(n: int, version: int = 0) -> c.AddOrder:
    return c.AddOrder(f"O-{n}", version, OrderStatus.ACCEPTED, False, [b"%d" % n], f"P-{n}", None, None)  # noqa: FBT003


MANY = ARGUMENTS_MAX + 700
LARGE: dict[str, list[c.Command]] = {
    "fields of one hash": [c.Add(f"key-{n}", b"%d" % n) for n in range(MANY)],
    "the same field": [c.Add("key", b"%d" % n) for n in range(MANY)],
    "members of sets": [order_added(n) for n in range(MANY)],
    "fills of a position": [c.WritePosition("P-1", 0, True, [b"%d" % n for n in range(2 * MANY)], b"basis")],  # noqa: FBT003
    "cycles of a position": [c.WritePosition("P-1", 0, True, [b"%d" % n], b"basis") for n in range(MANY)],  # noqa: FBT003
    "added and deleted": [
        command for n in range(MANY) for command in (order_added(n), order_added(n), c.DeleteOrder(f"O-{n // 2}"))
    ],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_batch_may_be_larger_than_one_call_of_the_server_takes(
    name: str, redis_server: RedisServer, client: Redis
) -> None:
    """And a flush deletes as much."""
    commands = LARGE[name]
    assert write(redis_server, client, [commands]) == folded(commands)
    assert write(redis_server, client, [commands, [c.Flushed(0, b"")]]) == {}


# -- What the views say ----------------------------------------------------------------------------------------


def views_after(*commands: c.Command) -> MemoryViews:
    views = MemoryViews()
    for command in commands:
        project(KEYS, command, views)
    return views


HISTORIES: list[tuple[type[e.OrderEvent], ...]] = [
    (),
    (e.OrderDenied,),
    (e.OrderEmulated,),
    (e.OrderEmulated, e.OrderReleased),
    (e.OrderEmulated, e.OrderCanceled),
    (e.OrderSubmitted,),
    (e.OrderSubmitted, e.OrderRejected),
    (e.OrderSubmitted, e.OrderAccepted),
    (e.OrderSubmitted, e.OrderAccepted, e.OrderPendingUpdate),
    (e.OrderSubmitted, e.OrderAccepted, e.OrderPendingCancel),
    (e.OrderSubmitted, e.OrderAccepted, e.OrderCanceled),
    (e.OrderSubmitted, e.OrderAccepted, e.OrderExpired),
    (e.OrderSubmitted, e.OrderAccepted, e.OrderFilled),
]


@pytest.mark.parametrize("before", HISTORIES, ids=lambda kinds: "-".join(kind.__name__ for kind in kinds))
def test_the_sets_say_what_an_order_says_of_itself(before: tuple[type[e.OrderEvent], ...]) -> None:
    """Whatever it was before: a set has the orders for which the property of that name is true."""

    def said(order: Order) -> tuple[str, int, int, bool]:
        return str(order.client_order_id), 0, int(order.status), order.is_emulated

    earlier = order_after(*before)
    for after in HISTORIES:
        order = order_after(*after)
        views = views_after(
            c.AddOrder(*said(earlier), [b"1"], None, None, None), c.UpdateOrder(*said(order), [b"2"], None)
        )
        members = {name.removeprefix(KEYS.prefix) for name in views.sets}
        flags = ("open", "closed", "inflight", "emulated")
        assert members == {"orders"} | {f"orders_{flag}" for flag in flags if getattr(order, f"is_{flag}")}


def test_a_new_life_of_an_id_keeps_the_earlier_ones_apart() -> None:
    added = [order_added(1)._replace(events=[b"%d" % n]) for n in range(3)]
    views = views_after(*added)
    key = KEYS.order("O-1")
    assert [views.hashes[name] for name in (f"{key}{{1}}", f"{key}{{2}}", key)] == [
        {"0": b"0"},
        {"0": b"1"},
        {"0": b"2"},
    ]
    assert views.hashes[KEYS.lives] == {key: b"2"}
    project(KEYS, c.DeleteOrder("O-1"), views)
    assert not views.hashes
    assert not views.sets


def test_a_transformed_order_goes_on_in_the_same_hash() -> None:
    first = order_added(1)._replace(amended=b"amended")
    views = views_after(
        first,
        c.IndexOrderPosition("O-1", "P-9", True),  # noqa: FBT003
        first._replace(version=1, amended=None),
    )
    assert views.hashes[KEYS.order("O-1")] == {"0": b"1", "1": b"1"}


def test_a_command_touches_only_keys_of_its_trader() -> None:
    """Of any two traders, one's name the beginning of the other's too."""
    for one, other in itertools.permutations(("A-1", "A-11", "B-A-1", "A-1-1"), 2):
        views = MemoryViews()
        for command in specimens.commands().values():
            project(Keys(TraderId(one)), command, views)
        prefix = Keys(TraderId(other)).prefix
        assert not [name for name in [*views.hashes, *views.sets] if name.startswith(prefix)]


def test_what_each_command_leaves_in_the_views() -> None:
    """Written out, key by key, for a short history of everything: the other tests compare two ways of computing it."""
    views = MemoryViews()
    for command in (
        c.Opened(1, {}),
        c.Heartbeat(7),
        c.Heartbeat(8),
        c.Add("key", b"old"),
        c.Add("key", b"new"),
        c.AddCurrency("USD", b"usd"),
        c.AddInstrument("I-1", b"instrument"),
        c.AddSynthetic("S-1", b"synthetic"),
        c.WriteAccount("A-1", 0, [b"first", b"second"]),
        c.DeleteAccountEvent("A-1", 0, "id"),
        c.WriteAccount("A-2", 0, [b"first", b"second", b"third"]),
        c.PurgeAccountEvents("A-2", 0, 2),
        c.PurgeAccountEvents("A-2", 0, 3),  # there would be nothing left
        c.PurgeAccountEvents("A-2", 1, 2),
        c.AddOrder("O-1", 0, OrderStatus.INITIALIZED, False, [b"init"], "P-1", "C-1", b"amended"),  # noqa: FBT003
        c.UpdateOrder("O-1", 1, OrderStatus.SUBMITTED, False, [b"submitted"], None),  # noqa: FBT003
        c.AddOrder("O-2", 0, OrderStatus.EMULATED, True, [b"init"], None, None, None),  # noqa: FBT003
        c.AddOrder("O-3", 0, OrderStatus.FILLED, False, [b"init"], None, None, None),  # noqa: FBT003
        c.AddOrder("O-4", 0, OrderStatus.ACCEPTED, False, [b"init"], None, None, None),  # noqa: FBT003
        c.AddOrder("O-5", 0, OrderStatus.ACCEPTED, False, [b"init"], "P-5", "C-5", b"x"),  # noqa: FBT003
        c.SnapshotOrder("O-4", b"state", b"amended later"),
        c.SnapshotOrder("O-5", b"state", None),
        c.IndexVenueOrderId("O-4", "V-4"),
        c.IndexVenueOrderId("O-5", "V-5"),
        c.IndexOrderPosition("O-4", "P-1", True),  # noqa: FBT003
        c.DeleteOrder("O-5"),
        c.AddOrder("O-6", 0, OrderStatus.FILLED, False, [b"init", b"filled"], "P-6", "C-6", b"x"),  # noqa: FBT003
        c.SnapshotOrder("O-6", b"state", None),
        c.IndexVenueOrderId("O-6", "V-6"),
        c.PurgeOrder("O-6", 0, 2),
        c.PurgeOrder("O-1", 0, 2),  # open
        c.PurgeOrder("O-3", 0, 0),  # another version
        c.PurgeOrder("O-3", 0, 2),
        c.PurgeOrder("O-3", 1, 1),  # another life
        c.WritePosition("P-1", 0, True, [b"fill"], b"basis"),  # noqa: FBT003
        c.WritePosition("P-1", 1, False, [b"closing fill"], None),  # noqa: FBT003
        c.WritePosition("P-2", 0, False, [b"round trip"], b"basis 2"),  # noqa: FBT003
        c.WritePosition("P-2", 0, True, [b"again"], b"basis 3"),  # noqa: FBT003
        c.WritePosition("P-3", 0, True, [b"fill"], b"basis"),  # noqa: FBT003
        c.SnapshotPosition("P-1", b"state"),
        c.SnapshotPosition("P-3", b"state"),
        c.DeletePosition("P-3"),
        c.WritePosition("P-4", 0, False, [b"closed"], b"basis"),  # noqa: FBT003
        c.WritePosition("P-4", 0, False, [b"closed"], b"basis"),  # noqa: FBT003
        c.SnapshotPosition("P-4", b"state"),
        c.PurgePosition("P-4", 1, 1),
        c.PurgePosition("P-1", 1, 2),  # another cycle
        c.PurgePosition("P-2", 1, 1),  # open again
        c.WritePosition("P-5", 0, False, [b"cycle 1"], b"basis"),  # noqa: FBT003
        c.WritePosition("P-5", 0, False, [b"cycle 2"], b"basis"),  # noqa: FBT003
        c.WritePosition("P-5", 0, False, [b"cycle 3"], b"basis"),  # noqa: FBT003
        c.PurgePositionCycles("P-5", 2, 1),
        c.PurgePositionCycles("P-5", 1, 1),  # another cycle
        c.PurgePositionCycles("P-5", 2, 3),  # so many were never there
        c.UpdateActor("Actor", b"saved"),
        c.UpdateActor("Gone", b"saved"),
        c.DeleteActor("Gone"),
        c.UpdateStrategy("Strategy", b"saved"),
        c.UpdateStrategy("Gone", b"saved"),
        c.DeleteStrategy("Gone"),
        c.Quarantined("add", "key", "why"),
        c.ClosedWell(1, {}),
    ):
        project(KEYS, command, views)
    k = KEYS
    assert {key: fields for key, fields in views.hashes.items() if fields} == {
        k.heartbeat: {"timestamp": b"8"},
        k.general: {"key": b"new"},
        k.currencies: {"USD": b"usd"},
        k.instruments: {"I-1": b"instrument"},
        k.synthetics: {"S-1": b"synthetic"},
        k.account("A-1"): {"1": b"second"},
        k.account("A-2"): {"2": b"third"},
        k.order("O-1"): {"0": b"init", "1": b"submitted", "amended": b"amended"},
        k.order("O-2"): {"0": b"init"},
        k.order("O-3"): {"0": b"init"},
        k.order("O-4"): {"0": b"init", "amended": b"amended later", "position": b"P-1"},
        k.order_snapshots: {"O-4": b"state"},
        k.index_order_position: {"O-1": b"P-1", "O-4": b"P-1"},
        k.index_order_client: {"O-1": b"C-1"},
        k.index_venue_order_id: {"O-4": b"V-4"},
        k.position("P-1"): {"0": b"fill", "1": b"closing fill", "basis": b"basis"},
        k.position("P-2"): {"0": b"again", "basis": b"basis 3"},
        k.position("P-2") + "{1}": {"0": b"round trip", "basis": b"basis 2"},
        k.position("P-5"): {"0": b"cycle 3", "basis": b"basis"},
        k.position("P-5") + "{2}": {"0": b"cycle 2", "basis": b"basis"},
        k.position_snapshots: {"P-1": b"state"},
        k.actors: {"Actor": b"saved"},
        k.strategies: {"Strategy": b"saved"},
        k.lives: {k.position("P-2"): b"1", k.position("P-5"): b"2"},
        k.lives_purged: {k.position("P-5"): b"1"},
    }
    assert {key: set(members) for key, members in views.sets.items() if members} == {
        k.accounts: {"A-1", "A-2"},
        k.orders: {"O-1", "O-2", "O-3", "O-4"},
        k.orders_open: {"O-4"},
        k.orders_closed: {"O-3"},
        k.orders_inflight: {"O-1"},
        k.orders_emulated: {"O-2"},
        k.positions: {"P-1", "P-2", "P-5"},
        k.positions_open: {"P-2"},
        k.positions_closed: {"P-1", "P-5"},
    }
