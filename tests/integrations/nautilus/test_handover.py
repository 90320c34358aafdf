"""What a call hands over to be written later: it is what the objects were at the call, whatever becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgpack
import msgspec
import pytest

pytest.importorskip("nautilus_trader")

from hypothesis import example, given
from hypothesis import strategies as st
from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.facade import CacheDatabaseFacade
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import LiquiditySide, OmsType, OrderSide
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from eventstore import CacheDatabaseConfig
from eventstore import commands as c
from eventstore.errors import BacklogFull
from eventstore.integrations.nautilus import CacheDatabaseAdapter
from eventstore.integrations.nautilus.inside import set_inside
from eventstore.journal import read_records
from tests.support.effort import effort
from tests.support.nautilus.backings import TRADER, Backing, redis_config
from tests.support.nautilus.desk import Desk, desk_on
from tests.support.nautilus.instruments import EURUSD
from tests.support.nautilus.random_node import DO, Node
from tests.support.redis_server import RedisServer
from workers.backlog import Full

VERBS = [
    name for name in vars(CacheDatabaseAdapter) if name.startswith(("add", "update", "delete", "index", "snapshot"))
]


def _each(name: str) -> Callable[..., None]:
    def verb(self: Fan, *arguments: Any) -> None:
        for database in self.databases:
            getattr(database, name)(*arguments)
            if database is not self.held:
                database.store.sync()

    return verb


class Fan(CacheDatabaseFacade):  # type: ignore[misc] # it is compiled, and has no types
    """Calls several databases alike, and waits each time until all but one, which is held, have written it."""

    def __init__(self, databases: list[Any], held: Any) -> None:
        super().__init__()
        self.databases = databases
        self.held = held

    def flush(self) -> None:
        for database in self.databases:
            database.flush()

    def close(self) -> None:
        for database in self.databases:
            database.close()


for _name in VERBS:
    setattr(Fan, _name, _each(_name))


class Fans:
    """Opens such databases: one that is written later, one that is written at once, one with a journal."""

    def __init__(self, server: RedisServer, journal: Path) -> None:
        self.server = server
        self.journal = journal

    def open(self) -> Fan:
        config = redis_config(self.server.port, use_instance_id=True)
        arguments = MsgSpecSerializer(encoding=msgspec.msgpack), config
        databases = [
            CacheDatabaseAdapter(TRADER, UUID4(), *arguments, CacheDatabaseConfig(journal=journal))
            for journal in (None, None, self.journal)
        ]
        return Fan(databases, databases[0])


def amend(node: Node, a: int, b: int) -> None:
    """Set something on an order without an event, as NautilusTrader does."""
    orders = sorted(node.desk.cache.orders(), key=lambda one: one.client_order_id)
    if orders:
        order = orders[a % len(orders)]
        positions = node.desk.cache.position_ids()  # the cache looks them up
        values: dict[str, Any] = {
            "position_id": min(positions) if positions else order.position_id,
            "quantity": Quantity.from_int(100_000 + b),
            "liquidity_side": LiquiditySide.TAKER if b % 2 else LiquiditySide.MAKER,
            "is_quote_quantity": not order.is_quote_quantity,
        }
        if hasattr(order, "is_activated") and not order.is_activated:
            values["activation_price"] = Price(1 + b / 100, 5)
        name = list(values)[b % len(values)]
        if repr(getattr(order, name)) != repr(values[name]):
            changes = {name: values[name]} | ({"is_activated": True} if name == "activation_price" else {})
            set_inside(order, changes)
        node.database.update_order(order)


def tell_again(node: Node, a: int, b: int) -> None:
    """Tell of objects of which there is nothing new."""
    for order in node.desk.cache.orders()[: a % 4]:
        node.database.update_order(order)
    for position in node.desk.cache.positions()[: b % 4]:
        node.database.update_position(position)


def purge_fills(node: Node, a: int, _b: int) -> None:
    """Take the fills of an order out of a position."""
    for position in node.desk.cache.positions():
        orders = position.client_order_ids
        if len(orders) > 1:
            position.purge_events_for_order(orders[a % len(orders)])


def delete(node: Node, a: int, b: int) -> None:
    orders = node.desk.cache.orders()
    if orders:
        node.database.delete_order(orders[a % len(orders)].client_order_id)
    positions = node.desk.cache.positions()
    if positions and b % 2:
        node.database.delete_position(positions[a % len(positions)].id)


def purge(node: Node, a: int, b: int) -> None:
    """Purge an order, or try to, as somebody would who has looked at it just now or a while ago."""
    found = sorted(node.database.databases[1].store._orders.items())
    if not found:
        return
    order_id, life = found[a % len(found)]
    looked_at = vars(node).setdefault("looked_at", {})
    version, last_event_id = looked_at.setdefault((order_id, b % 3), (life.version, life.last_event_id))
    for database in node.database.databases:
        store = database.store
        store._purge(store._orders, c.PurgeOrder(order_id, 0, version), last_event_id)
        if database is not node.database.held:
            store.sync()


CHOICES = [step for times, step in DO for _ in range(times) if step != Node.restart]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*CHOICES, amend, amend, amend, tell_again, purge_fills, delete, purge]),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    min_size=5,
    max_size=60,
)


def log_of(server: RedisServer, database: Any) -> list[Any]:
    """The commands of a log, without those that say where it was opened and flushed."""
    with server.client() as client:
        entries = client.xrange(f"{database.store.prefix}log")
    commands = [msgpack.unpackb(fields[b"e"], strict_map_key=False) for _, fields in entries]
    return [command for command in commands if command[0] not in (1, 3)]


def views_of(server: RedisServer, database: Any) -> dict[str, Any]:
    """All that is stored of a database, but for the log and what says who wrote it."""
    prefix = database.store.prefix
    found: dict[str, Any] = {}
    with server.client() as client:
        for key in client.scan_iter(f"{prefix}*"):
            name = key.decode().removeprefix(prefix)
            if client.type(key) == b"hash" and name not in ("writer", "schema"):
                hashed = client.hgetall(key)
                found[name] = {field.removeprefix(prefix.encode()): value for field, value in hashed.items()}
            elif client.type(key) == b"set":
                found[name] = client.smembers(key)
    return found


@pytest.mark.parametrize("oms_type", [OmsType.NETTING, OmsType.HEDGING], ids=lambda one: one.name)
def test_what_is_written_later_is_what_it_was_at_the_call(wiped_server: RedisServer, oms_type: OmsType) -> None:
    """To the byte what is written at once, and what is encoded in the call, with a journal."""

    @effort(examples=25)
    @given(steps=STEPS)
    @example(steps=[(Node.order, 0, 0), (Node.order, 0, 0), (amend, 0, 2), (delete, 0, 0), (Node.go_on, 0, 0)])
    @example(steps=[(Node.order, 0, 0), (Node.order, 0, 0), (amend, 0, 2), (purge, 0, 0), (Node.go_on, 0, 0)])
    @example(steps=[(Node.order, 0, 0), (delete, 0, 0), (Node.go_on, 0, 0), (amend, 0, 2), (Node.go_on, 0, 0)])
    @example(steps=[(Node.go_on, 0, 0), (Node.trade, 0, 0), (amend, 0, 2), (Node.snapshot, 1, 0), (amend, 0, 1)])
    def run(steps: list[tuple[Callable[[Any, int, int], None], int, int]]) -> None:
        with TemporaryDirectory() as journal:
            node = Node(Fans(wiped_server, Path(journal)), oms_type)  # type: ignore[arg-type] # as far as it is needed
            fan: Any = node.database
            try:
                fan.held.store.sync()
                with fan.held.store._persister._writer.hold(60.0) as hold:  # nothing is encoded before all is changed
                    for step, a, b in steps:
                        step(node, a, b)
                    assert hold.reached
                fan.held.store.sync()
                later, at_once, with_journal = fan.databases
                expected = log_of(wiped_server, at_once)
                assert log_of(wiped_server, later) == expected
                assert log_of(wiped_server, with_journal) == expected
                assert views_of(wiped_server, later) == views_of(wiped_server, at_once)
            finally:
                fan.close()

    run()


# -- What is refused -------------------------------------------------------------------------------------------


@contextmanager
def refusing(database: Any) -> Iterator[None]:
    """Let nothing in."""

    def full(*_: Any) -> None:
        raise Full

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database.store._persister, "put", full)
        if not database.store._makes_at_once:
            patch.setattr(database.store, "_put", full)
        yield


@pytest.mark.parametrize("with_journal", [False, True], ids=["memory", "journal"])
def test_a_call_that_was_refused_is_made_good_by_the_next(
    wiped_server: RedisServer, tmp_path: Path, with_journal: bool
) -> None:
    """Whatever was not taken of orders and positions is written with what is taken next, and nothing twice."""
    numbers = iter(range(10**6))

    @effort(examples=30)
    @given(taken=st.lists(st.booleans(), min_size=12, max_size=60), parts=st.integers(2, 40))
    def run(taken: list[bool], parts: int) -> None:
        settings = CacheDatabaseConfig(journal=tmp_path / str(next(numbers)) if with_journal else None)
        config = redis_config(wiped_server.port, use_instance_id=True)
        serializer = MsgSpecSerializer(encoding=msgspec.msgpack)
        database = CacheDatabaseAdapter(TRADER, UUID4(), serializer, config, settings)
        try:
            database.add_instrument(EURUSD)
            desk = Desk(Cache())
            desk.cache.add_instrument(EURUSD)
            desk.open_account()
            order = desk.add(desk.orders.market(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(100 * parts)))
            choices = iter(taken)

            def tell(call: Callable[[Any], None], thing: Any, *, certainly: bool = False) -> None:
                if certainly or next(choices, True):
                    call(thing)
                else:
                    with refusing(database), pytest.raises(BacklogFull):
                        call(thing)

            tell(database.add_order, order)
            for step in (desk.submit, desk.accept):
                step(order)
                tell(database.update_order, order)
            for _ in range(parts):
                desk.fill(order, EURUSD, "1.1", EURUSD.make_qty(100))
                tell(database.update_order, order)
                tell(database.update_position, desk.only_position())
            tell(database.update_order, order, certainly=True)
            tell(database.update_position, desk.only_position(), certainly=True)
            position = desk.only_position()
            assert database.load_order(order.client_order_id).events == order.events
            assert database.load_position(position.id).events == position.events
            assert database.load_index_venue_order_id() == {order.client_order_id: order.venue_order_id}
            assert "lives" not in views_of(wiped_server, database)
        finally:
            database.close()

    run()


# -- From several threads --------------------------------------------------------------------------------------


def test_what_is_deleted_while_it_goes_on_begins_again_whole(ours: Backing) -> None:
    """A hash never lacks its first events: an update is of what was before the delete, or begins anew behind it."""
    desk, database = desk_on(ours)
    orders = []
    for _ in range(150):
        order = desk.add(desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1)))
        orders.append(order)
    ready = threading.Barrier(2)

    def remove() -> None:
        ready.wait(10.0)
        for order in orders:
            database.delete_order(order.client_order_id)

    thread = threading.Thread(target=remove)
    thread.start()
    ready.wait(10.0)
    for order in orders:
        desk.submit(order)
        desk.accept(order)
    thread.join(30.0)
    found = database.load_orders()
    for order in orders:
        loaded = found.get(order.client_order_id)
        assert loaded is None or loaded.events == order.events[: loaded.event_count]
    with ours.server.client() as client:
        for key in client.scan_iter(f"{database.store.prefix}order:*"):
            if not key.endswith(b"}"):
                versions = sorted(int(name) for name in client.hkeys(key) if name.isdigit())
                assert versions == list(range(len(versions))), key


# -- What is never taken ---------------------------------------------------------------------------------------


def test_what_the_writer_never_came_to_is_kept_as_commands(tmp_path: Path) -> None:
    """An update and the index of a venue order id are one call and two commands: `close` counts and keeps commands."""
    with RedisServer(tcp=True) as server:
        settings = CacheDatabaseConfig(aside=tmp_path, close_timeout_s=0.2, batch_count_max=7)
        serializer = MsgSpecSerializer(encoding=msgspec.msgpack)
        database = CacheDatabaseAdapter(TRADER, UUID4(), serializer, redis_config(server.port), settings)
        desk = Desk(Cache(database=database))
        desk.cache.add_instrument(EURUSD)
        desk.open_account()
        database.store.sync()
        server.stop()
        for _ in range(50):
            order = desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1))
            desk.submit(desk.add(order))
            desk.accept(order)
        assert database.store.close() == 50 * 4
    (kept,) = tmp_path.glob("*.seg")
    commands = [c.decode(record.payload) for record in read_records(kept)]
    expected = [c.AddOrder, c.UpdateOrder, c.UpdateOrder, c.IndexVenueOrderId]
    assert [type(command) for command in commands] == expected * 50


def test_what_a_writer_that_has_failed_never_came_to_is_kept_as_commands(tmp_path: Path) -> None:
    """Another node took over while this one traded on: the writer itself sets aside what came too late."""
    with RedisServer(tcp=True) as server:
        settings = CacheDatabaseConfig(aside=tmp_path)
        serializer = MsgSpecSerializer(encoding=msgspec.msgpack)
        database = CacheDatabaseAdapter(TRADER, UUID4(), serializer, redis_config(server.port), settings)
        desk = Desk(Cache(database=database))
        desk.cache.add_instrument(EURUSD)
        desk.open_account()
        database.store.sync()
        writer = database.store._persister._writer
        with writer.hold(10.0) as hold:
            assert hold.reached
            CacheDatabaseAdapter(TRADER, UUID4(), serializer, redis_config(server.port), settings).close()
            for _ in range(300):
                order = desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1))
                desk.submit(desk.add(order))
                desk.accept(order)
        assert writer.join(30.0)
        assert database.store.health.state == "failed"
        assert database.store.close() == 300 * 4
    (kept,) = tmp_path.glob("*.seg")
    commands = [c.decode(record.payload) for record in read_records(kept)]
    expected = [c.AddOrder, c.UpdateOrder, c.UpdateOrder, c.IndexVenueOrderId]
    assert [type(command) for command in commands] == expected * 300
