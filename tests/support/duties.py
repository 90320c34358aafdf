"""All that a writer, a reader, an auditor, an archiver and a rebuild do at a server, rare things included.

Each duty raises if its user is refused anything. It gets the URL of that user, a client that may do everything, to
prepare things with, and a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis

from eventstore import commands as c
from eventstore.aggregates import account_from, order_from, position_from
from eventstore.audit import (
    Rebuilt,
    anchor,
    diff,
    explain,
    export,
    follow,
    last,
    open_log,
    read,
    rebuild,
    state_at,
    verify,
)
from eventstore.audit.reading.entries import backwards
from eventstore.cli.status import trader_status
from eventstore.codec import MsgPackSerializer
from eventstore.database import RedisCacheDatabase
from eventstore.keys import Keys
from eventstore.loader import Loader
from eventstore.model.accounts import Account
from eventstore.model.currencies import USD
from eventstore.model.enums import AccountType, OrderSide
from eventstore.model.events import (
    AccountBalance,
    AccountState,
    OrderAccepted,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
)
from eventstore.model.identifiers import UUID4, AccountId, ClientOrderId, ComponentId, PositionId, TradeId
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money, Quantity
from eventstore.permissions import Task
from eventstore.storage.appender import Appender, Entry, claim
from eventstore.storage.connect import connect
from eventstore.storage.observer import observe
from tests.support.archives import EVERYTHING, archive
from tests.support.databases import TRADER, open_database
from tests.support.node import TRADED
from tests.support.orders import happened, initialized
from tests.support.outages import until

Duty = Callable[[str, Redis, Path], object]

_FUTURE = 2**62
_MANY = 300
"""Members and fields of a view that is not read at once."""


# -- A writer ------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(url: str, **settings: Any) -> Iterator[RedisCacheDatabase]:
    database = open_database(url, **settings)
    try:
        yield database
        settled(database)
        database.add("one", b"batch more")
        settled(database)
    except BaseException:
        database.close(0.0)
        raise
    assert database.close() == 0


def settled(database: RedisCacheDatabase, level: Any = "applied") -> None:
    """Wait until everything has come to `level`, and raise as soon as something is in the way."""
    end = database._persister._writer.taken + database.stats().waiting

    def done() -> bool:
        at = database.stats()
        return (at.applied if level == "applied" else at.durable) >= end and not at.waiting

    until(lambda: done() or database.health.state != "healthy")
    assert database.health.state == "healthy", database.health.reason


def _order(order_id: str, *happening: Any, ts: int = 2) -> Order:
    order = Order.create(initialized(client_order_id=ClientOrderId(order_id)))
    for kind in happening:
        order.apply(happened(kind, ts, client_order_id=ClientOrderId(order_id)))
    return order


def _fill(side: OrderSide, ts: int) -> OrderFilled:
    filled: OrderFilled = happened(
        OrderFilled,
        ts,
        trade_id=TradeId(str(UUID4())),
        order_side=side,
        last_qty=Quantity("10"),
        instrument_id=TRADED[0].id,
        position_id=PositionId("P-1"),
    )
    return filled


def _state(ts: int) -> AccountState:
    money = Money(ts, USD)
    balance = AccountBalance(money, Money(0, USD), money)
    return AccountState(UUID4(), ts, ts, AccountId("SIM-001"), AccountType.CASH, USD, (balance,))


def trade(database: RedisCacheDatabase) -> None:
    """Make calls of all families: what goes on, what is closed, what begins again, what is deleted."""
    database.add_currency(USD)
    database.add_instrument(TRADED[0])
    database.add("key", b"value")
    account = Account.create(_state(1))
    database.add_account(account)
    account.apply(_state(2))
    database.update_account(account)
    database.add_order(_order("O-1", OrderSubmitted, OrderAccepted))
    database.add_order(_order("O-2", OrderDenied))
    database.add_order(_order("O-3", OrderSubmitted))
    database.delete_order(ClientOrderId("O-3"))
    database.snapshot_order_state(_order("O-2", OrderDenied))
    position = Position(TRADED[0], _fill(OrderSide.BUY, 1))
    database.add_position(position)
    for ts, side in enumerate((OrderSide.SELL, OrderSide.BUY, OrderSide.SELL), 2):
        position.apply(_fill(side, ts))
        database.update_position(position)
    database.delete_actor(ComponentId("Actor-1"))
    database.heartbeat(datetime.now(UTC))


def _writes(url: str, admin: Redis, directory: Path) -> None:
    with _opened(url) as database:
        trade(database)


def _loads(url: str, admin: Redis, directory: Path) -> None:
    """An order is open and in flight at once, so sets have to be compared at the server."""
    with open_database(_admins(admin)) as database:
        trade(database)
    with _opened(url) as database:
        assert len(database.load_all()["orders"]) == 2
        assert database.load_order(ClientOrderId("O-1")) is not None
        assert [*database.load_orders(open_only=True)] == ["O-1"]
        admin.srem(Keys(TRADER).orders_open, "O-1")
        assert [*database.load_orders(open_only=True)] == ["O-1"]
        assert database.load_position(PositionId("P-1")) is not None
        assert database.keys()


def _purges(url: str, admin: Redis, directory: Path) -> None:
    with open_database(_admins(admin)) as database:
        trade(database)
    with _opened(url) as database:
        survey = database._survey
        due: list[Any] = [each.command for each in (*survey.orders(_FUTURE), *survey.positions(_FUTURE))]
        due += [command for find in (survey.cycles, survey.account_events) for command, _ in find(_FUTURE)]
        assert {type(command) for command in due} >= {c.PurgeOrder, c.PurgePosition, c.PurgeAccountEvents}
        for command in due:
            database._persister.accept("purge", command[0], type(command), tuple(command))
        settled(database)
        assert not admin.exists(Keys(TRADER).order("O-2"))


def _flushes(url: str, admin: Redis, directory: Path) -> None:
    with open_database(_admins(admin)) as database:
        trade(database)
    with _opened(url) as database:
        database._accept("flush", Keys(TRADER).namespace, c.Flushed, (0, b""))
        settled(database)
        assert not admin.exists(Keys(TRADER).orders)


def _is_overtaken(url: str, admin: Redis, directory: Path) -> None:
    """A journal has something that the log has not, and somebody else has gone on with the log."""
    journal = directory / "journal"
    with open_database(_admins(admin), journal=journal) as database:
        database.add("key", b"value")
        database.sync()
    kept = {name: admin.dump(name) for name in admin.scan_iter()}
    with open_database(_admins(admin), journal=journal) as database:
        database.add("key", b"only in the journal")
        database.sync()
    admin.flushall()
    for name, value in kept.items():
        admin.restore(name, 0, value)
    with open_database(_admins(admin)) as database:
        database.add("key", b"of somebody else")
        database.sync()
    with _opened(url, journal=journal) as database:
        assert [*journal.joinpath("aside").iterdir()]


def _is_set_back(url: str, admin: Redis, directory: Path) -> None:
    """The server lost what a writer wrote, which asks what is there, and claims the log again."""
    keys = Keys(TRADER)
    client = connect(url, 5.0, "test")
    try:
        claimed = claim(client, keys, "{}", 0)
        assert claimed is not None
        appender = Appender(client, keys, claimed)
        try:
            before = {name: admin.dump(name) for name in admin.scan_iter()}
            batch = appender.seal(claimed.position + 1, [Entry.of(10**18, c.Add("key", b"value"))])
            appender.send(batch)
            appender.receive(batch)
            admin.flushall()
            for name, value in before.items():
                admin.restore(name, 0, value)
            assert appender.rewind() == claimed.position
        finally:
            appender.close()
    finally:
        client.close()


def confirms(durability: str) -> Duty:
    def confirm(url: str, admin: Redis, directory: Path) -> None:
        with _opened(url, durability=durability) as database:
            database.add("key", b"value")
            settled(database, "durable")

    return confirm


# -- Who reads -----------------------------------------------------------------------------------------------------


def _reads_views(url: str, admin: Redis, directory: Path) -> None:
    with open_database(_admins(admin)) as database:
        trade(database)
    admin.srem(Keys(TRADER).orders_open, "O-1")
    with observe(url) as observer:
        loader = Loader(observer.reader(TRADER), Keys(TRADER), MsgPackSerializer(), strict=True, on_damage=_in_vain)
        assert [*loader.orders(order_from, open_only=True)] == ["O-1"]
        assert [*loader.orders(order_from, open_only=False)] == sorted(loader.orders(order_from, open_only=False))
        assert loader.order(order_from, "O-1") is not None
        assert loader.order(order_from, "never there") is None
        assert loader.positions(position_from, open_only=False)
        assert loader.accounts(account_from)
        assert trader_status(observer, TRADER).log_entries


def _reads_the_log(url: str, admin: Redis, directory: Path) -> None:
    with open_database(_admins(admin)) as database:
        trade(database)
    with open_log(url, TRADER) as log:
        assert [*read(log)]
        assert last(log, 3)
        assert [*explain(log, "O-1")]
        assert anchor(log).position
        assert state_at(log).orders()
        assert [*diff(state_at(log, 5), state_at(log))]
        assert export(log, ["orders", "log"], "jsonl", directory / "export")
        first = next(log.raw())
        assert [*backwards(log)][-1] == first
        coming = follow(log, first, pause=_in_vain, notice=_in_vain)
        assert next(coming).entry.position == 2
        coming.close()


def _verifies(url: str, admin: Redis, directory: Path) -> None:
    """Views so large that they are read in parts, and a key that no index knows."""
    with open_database(_admins(admin)) as database:
        trade(database)
        for number in range(_MANY * 4):
            database.add(f"key-{number}", b"value")
            database._persister.accept("o", "o", c.AddOrder, (f"O-{number + 9}", 0, 1, False, [], None, None, None))
    admin.sadd(Keys(TRADER).order("unknown"), "x")
    with open_log(url, TRADER) as log:
        found = verify(log)
        assert found.views
        assert [finding.kind for finding in found.findings if finding.key == Keys(TRADER).order("unknown")]


def _looks_for_traders(url: str, admin: Redis, directory: Path) -> None:
    open_database(_admins(admin)).close()
    with observe(url) as observer:
        assert observer.traders() == [TRADER]


def _in_vain(*what: object) -> None:
    raise AssertionError(what)


# -- Archiving, rebuilding -----------------------------------------------------------------------------------------


def _archives(url: str, admin: Redis, directory: Path) -> None:
    with open_database(_admins(admin)) as database:
        trade(database)
    with open_database(_admins(admin)) as database:
        trade(database)
    admin.script_flush()
    done = archive(url, directory / "archive", EVERYTHING)
    assert done.trimmed
    with observe(url) as observer:
        assert observer.reader(TRADER).log_size()[1]


def _rebuilds(url: str, admin: Redis, directory: Path) -> Rebuilt:
    keys = Keys(TRADER)
    with open_database(_admins(admin)) as database:
        trade(database)
    admin.hset(keys.order("O-1"), "0", b"?")
    admin.srem(keys.orders, "O-1")
    admin.set(keys.order("unknown"), b"?")
    with open_log(url, TRADER) as log:
        done = rebuild(log)
    assert done.swapped
    return done


def _admins(admin: Redis) -> str:
    return f"unix://{admin.connection_pool.connection_kwargs['path']}"


DUTIES: dict[Task, tuple[Duty, ...]] = {
    "writer": (_writes, _loads, _purges, _flushes, _is_overtaken, _is_set_back),
    "reader": (_reads_views,),
    "auditor": (_looks_for_traders, _reads_the_log, _verifies),
    "archive": (_archives,),
    "rebuild": (_rebuilds,),
}
