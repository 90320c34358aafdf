"""Purging: what is closed leaves the views, the log keeps it, and nothing that goes on is lost."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore import ledger
from eventstore.audit import Log, state_at
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import AlreadyAdded, BacklogFull, Closed, ConfigError, Refused, StaleObject, UnknownId
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.currencies import USD
from eventstore.model.enums import AccountType, ContingencyType, OrderSide
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountBalance, AccountState, OrderCanceled, OrderDenied, OrderFilled
from eventstore.model.identifiers import UUID4, AccountId, ClientOrderId, PositionId, TradeId
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money, Quantity
from eventstore.purging import PAGE, Purged
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.logs import check_log, dump
from tests.support.node import TRADED
from tests.support.orders import happened, initialized
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PATIENCE_S = 30.0
P = PositionId("P-1")


def at(ts_ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_ns // 1000)


FUTURE = at(2**62)


def denied(order_id: str = "O-1", ts: int = 2_000, **changes: Any) -> Order:
    """An order that was closed at `ts`."""
    order = Order.create(initialized(client_order_id=ClientOrderId(order_id), **changes))
    order.apply(happened(OrderDenied, ts, client_order_id=ClientOrderId(order_id)))
    return order


def fill(side: OrderSide, ts: int = 2_000, position_id: PositionId = P) -> OrderFilled:
    event: OrderFilled = happened(
        OrderFilled,
        ts,
        trade_id=TradeId(str(UUID4())),
        order_side=side,
        last_qty=Quantity("10"),
        instrument_id=TRADED[0].id,
        position_id=position_id,
    )
    return event


def late_fill(ts: int) -> OrderFilled:
    """A fill of an order that was canceled before the venue knew."""
    event: OrderFilled = happened(OrderFilled, ts, trade_id=TradeId(str(UUID4())), last_qty=Quantity("1"))
    return event


def opened(ts: int = 1_000, position_id: PositionId = P) -> Position:
    return Position(TRADED[0], fill(OrderSide.BUY, ts, position_id))


def close(position: Position, ts: int = 2_000) -> Position:
    position.apply(fill(OrderSide.SELL, ts, position.id))
    return position


def account_state(ts: int) -> AccountState:
    money = Money(ts, USD)
    balance = AccountBalance(money, Money(0, USD), money)
    return AccountState(UUID4(), ts, ts, AccountId("SIM-001"), AccountType.CASH, USD, (balance,))


def the_log(database: RedisCacheDatabase) -> Log:
    return Log(TRADER, database._persister.reader)


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as connection:
        yield connection


@pytest.fixture
def database(redis_url: str) -> Iterator[RedisCacheDatabase]:
    with open_database(redis_url) as opened:
        yield opened


# -- What is purged ------------------------------------------------------------------------------------------------


def test_what_is_closed_leaves_the_views_and_the_log_keeps_it(database: RedisCacheDatabase, client: Redis) -> None:
    """The state before the purge has it, snapshot and all; the state behind it is what the views are."""
    database.add_order(denied(), P)
    database.snapshot_order_state(denied())
    position = close(opened())
    database.add_position(position)
    database.snapshot_position_state(position, 1)
    before = database.sync()
    assert database.purge(FUTURE) == Purged(1, 1, 0, 0)
    behind = database.sync()
    assert {type(line.command) for line in check_log(client, KEYS)[before:]} == {c.PurgeOrder, c.PurgePosition}
    views = {KEYS.log, KEYS.writer, KEYS.schema}
    assert dump(client).keys() == views
    assert database.load_orders() == database.load_positions() == {}
    then = state_at(the_log(database), before)
    assert [order.to_dict() for order in then.orders().values()] == [
        denied().to_dict() | {"init_id": then.orders()[ClientOrderId("O-1")].to_dict()["init_id"]}
    ]
    assert then.positions()[P].to_dict() == position.to_dict()
    assert then.order_snapshots().keys() == {"O-1"}
    now = state_at(the_log(database), behind)
    assert now.orders() == now.positions() == now.order_snapshots() == {}


@pytest.mark.parametrize("ts", [1_999_000, 2_000_000, 2_001_000])
def test_what_had_its_last_event_at_that_time_or_later_stays(database: RedisCacheDatabase, ts: int) -> None:
    """To the microsecond that a time has; and what was looked at and stays is found when it is due."""
    database.add_order(denied(ts=2_000_000))
    position = close(opened(), 2_000_000)
    database.add_position(position)
    gone = int(ts > 2_000_000)
    assert database.purge(at(ts)) == (gone, gone, 0, 0)
    assert len(database.load_orders()) == len(database.load_positions()) == 1 - gone
    assert database.purge(at(2_001_000)) == (1 - gone, 1 - gone, 0, 0)
    assert database.load_order_ids() == database.load_position_ids() == set()


def test_what_is_open_stays_however_old(database: RedisCacheDatabase) -> None:
    database.add_order(Order.create(initialized()))
    database.add_position(opened())
    assert database.purge(FUTURE, account_events=True) == (0, 0, 0, 0)
    assert len(database.load_orders()) == len(database.load_positions()) == 1


@pytest.mark.parametrize("relation", ["linked", "parent"])
def test_an_order_stays_until_those_that_it_belongs_to_are_closed(database: RedisCacheDatabase, relation: str) -> None:
    """A stop loss that was canceled, say, while its entry still works."""
    other = ClientOrderId("O-OTHER")
    changes: dict[str, Any] = {"parent_order_id": other}
    if relation == "linked":
        changes = {"contingency_type": ContingencyType.OCO, "linked_order_ids": (other,)}
    working = Order.create(initialized(client_order_id=other))
    database.add_order(working)
    database.add_order(denied(**changes))
    assert database.purge(FUTURE).orders == 0
    working.apply(happened(OrderDenied, client_order_id=other))
    database.update_order(working)
    assert database.purge(FUTURE).orders == 2


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 5])
def test_the_earlier_cycles_of_a_position_that_goes_on_are_purged(redis_url: str, client: Redis, count: int) -> None:
    """The old ones of them; those that are left keep their numbers, and cycles that come later go on from there."""
    with open_database(redis_url) as database:
        for number in range(count + 3):
            database.add_position(close(opened(number * 1_000), number * 1_000))
        database.add_position(opened(count * 1_000))
        assert database.purge(at(count * 1_000)) == (0, 0, count, 0)
        left = database.load_position_cycles(P)
        assert [cycle.ts_closed for cycle in left] == [number * 1_000 for number in range(count, count + 3)]
        key = KEYS.position(P)
        views = [name for name in dump(client) if name.startswith(key)]
        assert sorted(views) == sorted([key, *(f"{key}{{{count + n}}}" for n in (1, 2, 3))])
        assert database.keys() == sorted(dump(client))
        database.add_position(opened(9_000_000))
        assert len(database.load_position_cycles(P)) == 4
        assert database.purge(FUTURE) == (0, 0, 4, 0)
        assert database.load_position_cycles(P) == []
        database.add_position(opened(9_000_000))
        assert len(database.load_position_cycles(P)) == 1
        assert database.load_position(P) is not None
        before = database.sync()
        assert len(state_at(the_log(database), before).position_cycles(P)) == 1
        database.delete_position(P)
        database.sync()
    assert not [name for name in dump(client) if name.startswith(key)]
    assert {KEYS.lives, KEYS.lives_purged}.isdisjoint(dump(client))
    check_log(client, KEYS)


def test_old_events_of_accounts_are_purged_if_that_is_asked_for_but_never_the_last(
    database: RedisCacheDatabase,
) -> None:
    """The account goes on from there, whoever has it: the node's own, and one that is loaded."""
    account = Account.create(account_state(0))
    for number in range(1, 2 * PAGE + 3):
        account.apply(account_state(number * 1_000))
    database.add_account(account)
    assert database.purge(FUTURE) == (0, 0, 0, 0)
    assert database.purge(at(PAGE * 1_000), account_events=True) == (0, 0, 0, PAGE)
    account.apply(account_state(10**9))
    database.update_account(account)
    loaded = database.load_account(account.id)
    assert loaded is not None
    assert loaded.events == account.events[PAGE:]
    assert database.purge(FUTURE, account_events=True) == (0, 0, 0, PAGE + 3)
    account.apply(account_state(2 * 10**9))
    database.update_account(account)
    loaded = database.load_account(account.id)
    assert loaded is not None
    assert loaded.events == account.events[-2:]


def test_the_views_stay_as_small_as_what_is_alive(database: RedisCacheDatabase, client: Redis) -> None:
    """However long a node trades: what there is of keys and fields does not grow with what was."""

    def size() -> int:
        content = dump(client)
        del content[KEYS.log]
        return sum(len(value) for value in content.values() if isinstance(value, dict | set))

    database.add_order(Order.create(initialized(client_order_id=ClientOrderId("OPEN"))))
    database.add_position(opened())
    sizes = []
    for turn in range(5):
        for number in range(20):
            database.add_order(denied(f"O-{turn}-{number}"), P)
            database.add_position(close(opened(position_id=PositionId(f"P-{turn}-{number}"))))
            database.add_position(close(opened()))
        database.add_position(opened())
        database.purge(FUTURE)
        database.sync()
        sizes.append(size())
    assert len(set(sizes[1:])) == 1


def test_what_another_process_wrote_is_purged_and_it_can_be_opened_again(redis_url: str, client: Redis) -> None:
    """Nothing has to be loaded for it; a node that begins behind a purge has what is left."""
    with open_database(redis_url) as first:
        first.add_order(denied())
        first.add_order(Order.create(initialized(client_order_id=ClientOrderId("OPEN"))))
        first.add_position(close(opened()))
        first.add_position(close(opened()))
    with open_database(redis_url) as second:
        assert second.purge(FUTURE) == (1, 1, 0, 0)
    with open_database(redis_url) as third:
        loaded = third.load_all()
        assert loaded["orders"].keys() == {"OPEN"}
        assert loaded["positions"] == {}
        third.add_position(opened())
        third.add_order(denied())
        assert third.load_orders().keys() == {"OPEN", "O-1"}
        assert third.load_position_cycles(P) == []
    check_log(client, KEYS)


def test_what_can_not_be_read_stays_and_is_told_of(database: RedisCacheDatabase, client: Redis) -> None:
    """It is no reason to leave the rest."""
    for number in range(3):
        database.add_order(denied(f"O-{number}"))
    database.sync()
    client.hset(KEYS.order("O-1"), "1", b"\xc1")
    assert database.purge(FUTURE).orders == 2
    assert [damage.key for damage in database.damaged] == [KEYS.order("O-1")]
    assert database.load_order_ids() == {"O-1"}


# -- What goes on --------------------------------------------------------------------------------------------------


def test_an_update_of_an_order_that_was_purged_is_refused(database: RedisCacheDatabase) -> None:
    """As of one that was deleted; it can be added again."""
    order = denied()
    database.add_order(order)
    database.purge(FUTURE)
    for call in (database.update_order, database.snapshot_order_state):
        with pytest.raises(UnknownId, match="O-1: this process neither added nor loaded this order"):
            call(order)
    assert database.load_orders() == {}
    database.add_order(order)
    assert database.load_orders().keys() == {"O-1"}


def test_a_position_that_was_purged_begins_anew_when_the_node_opens_it_again(
    database: RedisCacheDatabase,
) -> None:
    """A node that nets positions keeps the object, and has one id for an instrument for as long as it trades."""
    position = close(opened())
    database.add_position(position)
    database.purge(FUTURE)
    with pytest.raises(UnknownId, match="snapshot_position_state P-1"):
        database.snapshot_position_state(position, 1)
    position.apply(fill(OrderSide.BUY, 3_000))
    database.update_position(position)
    position.apply(fill(OrderSide.BUY, 4_000))
    database.update_position(position)
    loaded = database.load_position(P)
    assert loaded is not None
    assert loaded.to_dict() == position.to_dict()
    database.delete_position(P)
    with pytest.raises(UnknownId, match="update_position P-1"):
        database.update_position(position)


def test_only_so_many_purged_positions_are_remembered(
    database: RedisCacheDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last ones. One that was forgotten is unknown, and can be added."""
    monkeypatch.setattr(ledger, "PURGED_POSITIONS_MAX", 2)
    positions = [close(opened(position_id=PositionId(f"P-{number}"))) for number in range(3)]
    for position in positions:
        database.add_position(position)
        database.purge(FUTURE)
    with pytest.raises(UnknownId, match="update_position P-0"):
        database.update_position(positions[0])
    for position in positions[1:]:
        database.update_position(position)
    database.add_position(positions[0])
    assert database.load_positions().keys() == {"P-0", "P-1", "P-2"}


def test_a_closed_database_purges_nothing(redis_url: str) -> None:
    with open_database(redis_url) as database:
        database.add_order(denied())
    with pytest.raises(Closed):
        database.purge(FUTURE)


BETWEEN: dict[str, Callable[[RedisCacheDatabase, Order, Position], object]] = {
    "nothing": lambda database, order, position: None,
    "the position is opened again": lambda database, order, position: (
        position.apply(fill(OrderSide.BUY, 3_000)),
        database.update_position(position),
    ),
    "and closed again": lambda database, order, position: (
        position.apply(fill(OrderSide.BUY, 3_000)),
        database.update_position(position),
        position.apply(fill(OrderSide.SELL, 3_000)),
        database.update_position(position),
    ),
    "another position of that id": lambda database, order, position: database.add_position(opened(3_000)),
    "a late fill of the order": lambda database, order, position: (
        order.apply(late_fill(3_000)),
        database.update_order(order),
    ),
    "both are deleted": lambda database, order, position: (
        database.delete_order(order.client_order_id),
        database.delete_position(P),
    ),
    "both are deleted and begun again": lambda database, order, position: (
        database.delete_order(order.client_order_id),
        database.add_order(canceled(3_000)),
        database.delete_position(P),
        database.add_position(close(opened(3_000), 3_000)),
    ),
    "everything is flushed": lambda database, order, position: database.flush(),
    "everything is loaded": lambda database, order, position: database.load_all(),
    "it is purged": lambda database, order, position: database.purge(at(3_000)),
}


def canceled(ts: int = 2_000) -> Order:
    order = Order.create(initialized())
    order.apply(happened(OrderCanceled, ts))
    return order


turns = st.lists(st.sampled_from(sorted(BETWEEN)), max_size=3)


@effort(80)
@given(turns, turns)
def test_what_goes_on_between_the_look_and_the_purge_stays_whole(
    redis_server: RedisServer, meanwhile: list[str], later: list[str]
) -> None:
    """Whatever happens in between: what is not any more as it was looked at stays. The views are the fold of the log,
    all of it can be loaded, and the node goes on with what it loads."""
    with redis_server.client() as client, open_database(emptied(client, redis_server)) as database:
        order, position = canceled(), close(opened())
        database.add_order(order)
        database.add_position(position)
        (due_order,) = database._survey.orders(3_000)
        (due_position,) = database._survey.positions(3_000)
        for name in meanwhile:
            attempt(database, name, order, position)
        before = database.load_all()
        accepted = [
            database._purge(database._orders, *due_order),
            database._purge(database._positions, *due_position),
        ]
        after = database.load_all()
        for name, due, was in zip(("orders", "positions"), (due_order, due_position), accepted, strict=True):
            stays = {key: held for key, held in before[name].items() if held.events[-1].event_id != due.last_event_id}
            assert after[name].keys() == stays.keys()
            assert was or after[name].keys() == before[name].keys()
        for name in later:
            attempt(database, name, order, position)
        loaded = database.load_all()
        for held in loaded["orders"].values():
            held.apply(late_fill(5_000))
            database.update_order(held)
        for held in loaded["positions"].values():
            held.apply(fill(OrderSide.BUY, 5_000))
            database.update_position(held)
        again = database.load_all()
        for name in ("orders", "positions"):
            assert {key: held.events for key, held in again[name].items()} == {
                key: held.events for key, held in loaded[name].items()
            }
        check_log(client, KEYS)


def emptied(client: Redis, server: RedisServer) -> str:
    client.flushall()
    return server.url


def attempt(database: RedisCacheDatabase, name: str, order: Order, position: Position) -> None:
    """What a node does; if it is not possible as things are, nothing."""
    with contextlib.suppress(UnknownId, AlreadyAdded, StaleObject, ModelError):
        BETWEEN[name](database, order, position)


# -- Together with what other threads do -----------------------------------------------------------------------------


def test_what_is_being_updated_is_not_purged(database: RedisCacheDatabase) -> None:
    """An update that has begun would be written behind the purge of what it continues."""
    order, position = canceled(), close(opened())
    database.add_order(order)
    database.add_position(position)
    (due_order,) = database._survey.orders(3_000)
    (due_position,) = database._survey.positions(3_000)
    put, purged = database._put, []

    def put_meanwhile(*item: Any) -> None:
        lives, due = (database._orders, due_order) if item[0] == "update_order" else (database._positions, due_position)
        other = threading.Thread(target=lambda: purged.append(database._purge(lives, *due)))
        other.start()
        other.join(PATIENCE_S)
        put(*item)

    database._put = database._persister.put = put_meanwhile
    order.apply(late_fill(3_000))
    database.update_order(order)
    database.update_position(position)
    database._put = database._persister.put = put
    assert purged == [False, False]
    loaded = database.load_all()
    assert [len(held.events) for held in loaded["orders"].values()] == [3]
    assert database.purge(FUTURE).positions == 1


@pytest.mark.parametrize("room", [True, False])
def test_an_update_that_begins_during_the_purge_waits_for_what_becomes_of_it(
    database: RedisCacheDatabase, room: bool
) -> None:
    """If that was accepted, the order is unknown and the position begins anew; if there was no room, both go on."""
    order, position = canceled(), close(opened())
    database.add_order(order)
    database.add_position(position)
    order.apply(late_fill(3_000))
    position.apply(fill(OrderSide.BUY, 3_000))
    accept, results, updates = database._accept, [], []

    def update(call: Callable[[], None]) -> None:
        try:
            call()
            results.append("updated")
        except UnknownId:
            results.append("unknown")

    def accept_meanwhile(operation: str, *rest: Any) -> None:
        if operation == "purge":
            call = database.update_order if rest[0] == "O-1" else database.update_position
            aggregate = order if rest[0] == "O-1" else position
            updates.append(threading.Thread(target=update, args=(lambda: call(aggregate),)))
            updates[-1].start()
            updates[-1].join(0.05)  # if it does not wait, it shows
            if not room:
                raise BacklogFull("no room")
        accept(operation, *rest)

    database._accept = accept_meanwhile
    for survey, lives in ((database._survey.orders, "_orders"), (database._survey.positions, "_positions")):
        (due,) = survey(3_000)
        with contextlib.nullcontext() if room else pytest.raises(BacklogFull):
            database._purge(getattr(database, lives), *due)
        updates[-1].join(PATIENCE_S)
    database._accept = accept
    assert results == (["unknown", "updated"] if room else ["updated", "updated"])
    loaded = database.load_all()
    assert loaded["orders"].keys() == (set() if room else {"O-1"})
    assert [held.events for held in loaded["positions"].values()] == [position.events]
    assert len(database.load_position_cycles(P)) == (0 if room else 1)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_signal_handler_that_raises_in_the_middle_of_a_purge_leaves_everything_whole(
    database: RedisCacheDatabase, client: Redis, accepted: bool
) -> None:
    """Nobody knows then whether it was accepted. What goes on must be right in either case."""
    order, position = canceled(), close(opened())
    database.add_order(order)
    database.add_position(position)
    accept = database._accept

    def interrupted(operation: str, *rest: Any) -> None:
        if operation == "purge" and accepted:
            accept(operation, *rest)
        raise KeyboardInterrupt

    for survey, lives in (
        (database._survey.orders, database._orders),
        (database._survey.positions, database._positions),
    ):
        (due,) = survey(3_000)
        database._accept = interrupted
        with pytest.raises(KeyboardInterrupt):
            database._purge(lives, *due)
        database._accept = accept
    order.apply(late_fill(3_000))
    with pytest.raises(UnknownId):
        database.update_order(order)
    position.apply(fill(OrderSide.BUY, 3_000))
    database.update_position(position)
    loaded = database.load_all()
    assert [len(held.events) for held in loaded["orders"].values()] == ([] if accepted else [2])
    assert [held.events for held in loaded["positions"].values()] == [position.events]
    check_log(client, KEYS)


def test_a_load_that_was_under_way_does_not_learn_what_was_purged_and_learns_the_rest(
    database: RedisCacheDatabase, redis_url: str
) -> None:
    """A node that loads everything at its start, while it purges in the background, can go on with what is open."""
    working = Order.create(initialized(client_order_id=ClientOrderId("OPEN")))
    database.add_order(working)
    database.add_order(denied())
    database.sync()
    with open_database(redis_url) as second:
        read, purges = second._persister.read, iter([None])

        def read_meanwhile(*args: Any, **settings: Any) -> Any:
            found = read(*args, **settings)
            for _ in purges:
                assert second.purge(FUTURE).orders == 1
            return found

        second._persister.read = read_meanwhile
        loaded = second.load_orders()
        assert loaded.keys() == {"OPEN", "O-1"}
        with pytest.raises(UnknownId, match="update_order O-1"):
            second.update_order(loaded[ClientOrderId("O-1")])
        loaded[ClientOrderId("OPEN")].apply(happened(OrderDenied, client_order_id=ClientOrderId("OPEN")))
        second.update_order(loaded[ClientOrderId("OPEN")])
        assert second.load_orders().keys() == {"OPEN"}


def test_a_node_that_trades_while_it_purges_all_the_time_loses_nothing(redis_url: str, client: Redis) -> None:
    """Positions that are closed and opened again at any moment, and purged as soon as they are seen to be closed."""
    with open_database(redis_url) as database:
        positions = {key: opened(1, key) for key in (PositionId(f"P-{number}") for number in range(5))}
        for position in positions.values():
            database.add_position(position)
        passes, ended, errors, purged = threading.Semaphore(0), threading.Event(), [], [0]

        def purge() -> None:
            try:
                while not ended.is_set():
                    purged[0] += database.purge(FUTURE).positions
                    passes.release()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is one
                errors.append(error)

        def turn_over(position: Position, ts: int) -> None:
            position.apply(fill(OrderSide.SELL if position.is_open else OrderSide.BUY, ts, position.id))
            database.update_position(position)

        purging = threading.Thread(target=purge)
        purging.start()
        for turn, position in zip(range(400), itertools.cycle(positions.values()), strict=False):
            turn_over(position, turn)
            if turn % 7 == 0:  # not with the turns of a position
                assert passes.acquire(timeout=PATIENCE_S)
        ended.set()
        purging.join(PATIENCE_S)
        assert errors == []
        assert purged[0] > 0
        for position in positions.values():
            if position.is_closed:
                turn_over(position, 400)
        loaded = database.load_positions()
        assert {key: held.events for key, held in loaded.items()} == {
            key: held.events for key, held in positions.items()
        }
        assert database.load_position_ids("open") == positions.keys()
    check_log(client, KEYS)


# -- In the background -----------------------------------------------------------------------------------------------


class Lines:
    """A logger that keeps what it is told, and lets others wait for it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.more = threading.Condition()

    def bind(self, **values: Any) -> Lines:
        return self

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level.startswith("_"):
            raise AttributeError(level)

        def log(event: str, **values: Any) -> None:
            with self.more:
                self.lines.append((event, values))
                self.more.notify_all()

        return log

    def wait_for(self, event: str) -> dict[str, Any]:
        with self.more:
            assert self.more.wait_for(lambda: any(said == event for said, _ in self.lines), PATIENCE_S), self.lines
            return next(values for said, values in self.lines if said == event)


def test_a_node_purges_by_itself_until_it_is_closed(redis_url: str, client: Redis) -> None:
    """What is closed for that long; and it logs how much."""
    with open_database(redis_url) as first:
        first.add_order(denied())
        first.add_order(Order.create(initialized(client_order_id=ClientOrderId("OPEN"))))
        first.add_position(close(opened()))
        first.add_position(opened())
        account = Account.create(account_state(1_000))
        account.apply(account_state(2_000))
        first.add_account(account)
    lines = Lines()
    settings = {"purge_closed_after_s": 86_400, "purge_interval_s": 0.01, "purge_account_events": True}
    with open_database(redis_url, logger=lines, **settings) as database:
        assert lines.wait_for("purged what is closed") == Purged(1, 0, 1, 1)._asdict()
        assert database.load_order_ids() == {"OPEN"}
        assert len(database.load_position_cycles(P)) == 0
        (worker,) = database._background._workers
    assert not worker._thread.is_alive()
    check_log(client, KEYS)


def test_it_goes_on_after_an_outage(fresh_server: RedisServer) -> None:
    """What can not be read or accepted now is purged later."""
    lines = Lines()
    settings = {"purge_closed_after_s": 86_400, "purge_interval_s": 0.01, "load_timeout_s": 0.05, "timeout_s": 0.2}
    with open_database(fresh_server.url, logger=lines, **settings) as database:
        fresh_server.kill()
        database.add_order(denied())
        lines.wait_for(f"eventstore-purge-{TRADER}: it is tried again")
        fresh_server.start()
        assert lines.wait_for("purged what is closed")["orders"] == 1


# -- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "error", "said"),
    [
        ({}, Refused, "give either"),
        ({"closed_before": FUTURE, "older_than_s": 1}, Refused, "give either"),
        ({"closed_before": 5}, TypeError, "closed_before: expected datetime, got int"),
        ({"closed_before": "2026-01-01"}, TypeError, "closed_before: expected datetime, got str"),
        ({"closed_before": FUTURE.replace(tzinfo=None)}, Refused, "no time zone"),
        ({"closed_before": EPOCH - timedelta(days=1)}, Refused, "before 1970"),
        ({"older_than_s": -1}, Refused, "older_than_s: -1 is not between"),
        ({"older_than_s": float("nan")}, Refused, "older_than_s: nan is not between"),
        ({"older_than_s": float("inf")}, Refused, "older_than_s: inf is not between"),
        ({"older_than_s": "1"}, TypeError, "older_than_s: expected a number of seconds, got str"),
        ({"older_than_s": True}, TypeError, "older_than_s: expected a number of seconds, got bool"),
        ({"older_than_s": timedelta(days=1)}, TypeError, "older_than_s: expected a number of seconds, got timedelta"),
        ({"older_than_s": 1, "account_events": 1}, TypeError, "account_events: expected bool, got int"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_and_nothing_is_purged(
    database: RedisCacheDatabase, given_: dict[str, Any], error: type[Exception], said: str
) -> None:
    database.add_order(denied())
    before = database.sync()
    with pytest.raises(error, match=f"^purge: .*{said}"):
        database.purge(**given_)
    assert database.sync() == before
    assert database.load_order_ids() == {"O-1"}


@pytest.mark.parametrize(
    "settings",
    [
        {"purge_closed_after_s": -1},
        {"purge_closed_after_s": True},
        {"purge_closed_after_s": float("nan")},
        {"purge_interval_s": 0},
        {"purge_account_events": True},
        {"purge_account_events": 1, "purge_closed_after_s": 1},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="purge_"):
        CacheDatabaseConfig(**settings)


@pytest.mark.parametrize("ago_s", [0, 3_600])
def test_older_than_is_by_this_hosts_clock(database: RedisCacheDatabase, ago_s: int) -> None:
    """What was closed that long ago, or longer, goes."""
    database.add_order(denied(ts=time.time_ns() - 1_800 * 10**9))
    assert database.purge(older_than_s=ago_s).orders == int(ago_s == 0)
