"""Every call comes back: from the database that made it, and from one that is opened later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.currencies import BTC, EUR, USD
from eventstore.model.enums import AccountType, OrderSide, OrderType
from eventstore.model.events import (
    AccountBalance,
    AccountState,
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderEmulated,
    OrderFilled,
    OrderSubmitted,
)
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    VenueOrderId,
)
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Quantity
from tests.support.databases import TRADER
from tests.support.logs import check_log
from tests.support.node import INSTRUMENTS, TRADED, State
from tests.support.orders import happened, initialized
from tests.support.topology import Topology

KEYS = Keys(TRADER)
NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
P = PositionId("P:1 ü")

Check = Callable[[RedisCacheDatabase], None]


@pytest.fixture
def everywhere(topology: Topology, database: RedisCacheDatabase) -> Callable[[Check], None]:
    """Checks what loads give here, and in another database that takes over, which is closed then."""

    def check(of: Check) -> None:
        of(database)
        assert database.close() == 0
        with topology.open() as later:
            of(later)

    return check


def order_of(number: int, kind: OrderType, *events: type[Any]) -> Order:
    order_id = ClientOrderId(f"O-{number}")
    order = Order.create(initialized(kind, client_order_id=order_id))
    for event in events:
        order.apply(happened(event, client_order_id=order_id))
    return order


def fill(side: OrderSide, ts: int = 2_000) -> OrderFilled:
    event: OrderFilled = happened(
        OrderFilled,
        ts,
        trade_id=TradeId(str(UUID4())),
        order_side=side,
        last_qty=Quantity("10"),
        instrument_id=TRADED[0].id,
        position_id=P,
    )
    return event


def state(total: int) -> AccountState:
    money = Money(total, USD)
    balance = AccountBalance(money, Money(0, USD), money)
    return AccountState(UUID4(), total, total, AccountId("SIM-001"), AccountType.CASH, USD, (balance,))


def shown(objects: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): (one.to_dict(), one.events) for key, one in objects.items()}


def test_general_objects(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    values = {"key": b"value", "ü:*?[x]": bytes(range(256)), "large": b"x" * 1_000_000, "empty": b""}
    database.add("key", b"another, before")
    for key, value in values.items():
        database.add(key, value)

    def check(opened: RedisCacheDatabase) -> None:
        assert opened.load() == values

    everywhere(check)


def test_currencies_instruments_and_synthetics(
    database: RedisCacheDatabase, everywhere: Callable[[Check], None]
) -> None:
    currencies = {currency.code: currency for currency in (USD, EUR, BTC)}
    synthetic = SyntheticInstrument(
        symbol=Symbol("SUM"),
        price_precision=4,
        components=tuple(one.id for one in TRADED[:2]),
        formula=f"{TRADED[0].id} + {TRADED[1].id}",
        ts_event=1,
        ts_init=2,
    )
    for currency in currencies.values():
        database.add_currency(currency)
    for instrument in INSTRUMENTS.values():
        database.add_instrument(instrument)
    database.add_synthetic(synthetic)

    def check(opened: RedisCacheDatabase) -> None:
        assert opened.load_currencies() == currencies
        assert opened.load_currency("USD") == USD
        assert opened.load_instruments() == INSTRUMENTS
        assert opened.load_instrument(TRADED[0].id) == TRADED[0]
        assert opened.load_synthetics() == {synthetic.id: synthetic}
        assert opened.load_synthetic(synthetic.id) == synthetic

    everywhere(check)


def test_actors_strategies_and_the_heartbeat(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    actor, gone, strategy = ComponentId("Actor-1"), ComponentId("Actor-2"), StrategyId("S-001")
    for saved in ({"a": b"1"}, {"a": b"2", "ü": b"\x00"}):
        database.update_actor(State(actor, saved))
        database.update_strategy(State(strategy, saved))
    database.update_actor(State(gone, {"a": b"1"}))
    database.delete_actor(gone)
    database.update_strategy(State(StrategyId("S-002"), {"a": b"1"}))
    database.delete_strategy(StrategyId("S-002"))
    database.heartbeat(NOON)

    def check(opened: RedisCacheDatabase) -> None:
        assert opened.load_actor(actor) == {"a": b"2", "ü": b"\x00"}
        assert opened.load_strategy(strategy) == {"a": b"2", "ü": b"\x00"}
        assert opened.load_actor(gone) == {}
        assert opened.load_strategy(StrategyId("S-002")) == {}
        assert opened.load_heartbeat() == NOON

    everywhere(check)


def test_orders_of_every_type_in_every_state(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    orders = {order.client_order_id: order for order in (order_of(n, kind) for n, kind in enumerate(OrderType))}
    for order in orders.values():
        database.add_order(order)
        for kind in (OrderSubmitted, OrderAccepted):
            order.apply(happened(kind, client_order_id=order.client_order_id))
            database.update_order(order)
    lives: dict[str, tuple[type[Any], ...]] = {
        "new": (),
        "denied": (OrderDenied,),
        "emulated": (OrderEmulated,),
        "submitted": (OrderSubmitted,),
        "canceled": (OrderSubmitted, OrderAccepted, OrderCanceled),
        "filled in part": (OrderSubmitted, OrderAccepted, OrderFilled),
    }
    for number, events in enumerate(lives.values(), 100):
        order = order_of(number, OrderType.LIMIT, *events)
        database.add_order(order)
        orders[order.client_order_id] = order

    def check(opened: RedisCacheDatabase) -> None:
        assert shown(opened.load_orders()) == shown(orders)
        assert opened.load_orders(open_only=True).keys() == {i for i, one in orders.items() if not one.is_closed}
        for name in ("open", "closed", "inflight"):
            assert opened.load_order_ids(name) == {i for i, one in orders.items() if getattr(one, f"is_{name}")}
        assert opened.load_order_ids("emulated") == {"O-102"}
        one = opened.load_order(ClientOrderId("O-105"))
        assert one is not None
        assert one.to_dict() == orders[one.client_order_id].to_dict()
        assert opened.load_order(ClientOrderId("nothing")) is None

    everywhere(check)


def test_indexes_snapshots_and_what_is_deleted(
    database: RedisCacheDatabase, everywhere: Callable[[Check], None]
) -> None:
    first, second, gone = (order_of(number, OrderType.LIMIT, OrderSubmitted) for number in range(3))
    database.add_order(first, P, ClientId("SIM"))
    for order in (second, gone):
        database.add_order(order)
        database.index_order_position(order.client_order_id, P)
        database.index_venue_order_id(order.client_order_id, VenueOrderId("V-1"))
        database.snapshot_order_state(order)
    snapshot = second.to_dict()
    database.delete_order(gone.client_order_id)

    def check(opened: RedisCacheDatabase) -> None:
        assert opened.load_orders().keys() == opened.load_order_ids() == {"O-0", "O-1"}
        assert opened.load_index_order_position() == {"O-0": P, "O-1": P}
        assert opened.load_index_order_client() == {"O-0": "SIM"}
        assert opened.load_index_venue_order_id() == {"O-1": "V-1"}
        assert opened.load_order_snapshots() == {"O-1": snapshot}
        assert opened.load_order_snapshot(ClientOrderId("O-1")) == snapshot

    everywhere(check)


def test_positions_and_their_cycles(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    position = Position(TRADED[0], fill(OrderSide.BUY))
    database.add_position(position)
    for side in (OrderSide.BUY, OrderSide.SELL, OrderSide.SELL):
        position.apply(fill(side))
        database.update_position(position)
    closed = position.to_dict()
    position.apply(fill(OrderSide.SELL))
    database.update_position(position)
    database.snapshot_position_state(position, 5, Money("-1.25", USD))
    gone = Position(TRADED[1], fill(OrderSide.BUY).replace(position_id=PositionId("P-2"), instrument_id=TRADED[1].id))
    database.add_position(gone)
    database.delete_position(gone.id)

    def check(opened: RedisCacheDatabase) -> None:
        assert shown(opened.load_positions()) == shown({P: position})
        assert opened.load_positions(open_only=True).keys() == opened.load_position_ids("open") == {P}
        assert opened.load_position_ids("closed") == set()
        assert [cycle.to_dict() for cycle in opened.load_position_cycles(P)] == [closed]
        snapshot = opened.load_position_snapshot(P)
        assert snapshot == position.to_dict() | {"ts_snapshot": 5, "unrealized_pnl": "-1.25 USD"}
        assert opened.load_position(gone.id) is None

    everywhere(check)


def test_accounts(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    events = [state(total) for total in range(1, 5)]
    account = Account.create(events[0])
    database.add_account(account)
    for event in events[1:]:
        account.apply(event)
        database.update_account(account)
    database.delete_account_event(account.id, events[1].event_id)

    def check(opened: RedisCacheDatabase) -> None:
        loaded = opened.load_account(account.id)
        assert loaded is not None
        assert loaded.events == [events[0], *events[2:]]
        assert opened.load_accounts().keys() == {account.id}

    everywhere(check)


def test_everything_at_once(database: RedisCacheDatabase, everywhere: Callable[[Check], None]) -> None:
    """What a node that starts asks for: one load of one moment."""
    order, position = order_of(1, OrderType.MARKET, OrderSubmitted), Position(TRADED[0], fill(OrderSide.BUY))
    account = Account.create(state(1))
    database.add_currency(USD)
    database.add_instrument(TRADED[0])
    database.add_order(order)
    database.add_position(position)
    database.add_account(account)

    def check(opened: RedisCacheDatabase) -> None:
        loaded = opened.load_all()
        assert (loaded["currencies"], loaded["instruments"]) == ({"USD": USD}, {TRADED[0].id: TRADED[0]})
        assert shown(loaded["orders"]) == shown({order.client_order_id: order})
        assert shown(loaded["positions"]) == shown({position.id: position})
        assert {key: one.to_dict() for key, one in loaded["accounts"].items()} == {account.id: account.to_dict()}

    everywhere(check)


def test_what_is_purged_leaves_the_views_and_the_log_keeps_it(
    database: RedisCacheDatabase, client: Redis, everywhere: Callable[[Check], None]
) -> None:
    for number, events in enumerate([(OrderDenied,), (OrderSubmitted,)]):
        database.add_order(order_of(number, OrderType.LIMIT, *events))
    position = Position(TRADED[0], fill(OrderSide.BUY))
    position.apply(fill(OrderSide.SELL))
    database.add_position(position)
    purged = database.purge(datetime.now(UTC) + timedelta(days=1))
    assert (purged.orders, purged.positions) == (1, 1)

    def check(opened: RedisCacheDatabase) -> None:
        assert opened.load_orders().keys() == {"O-1"}
        assert opened.load_positions() == {}

    everywhere(check)
    kinds = [type(line.command) for line in check_log(client, KEYS)]
    assert kinds.count(c.AddOrder) == 2
    assert kinds.count(c.PurgeOrder) == kinds.count(c.PurgePosition) == 1


def test_a_load_sees_what_was_accepted_before_it(topology: Topology) -> None:
    """Read your own writes: without a sync, however long a batch may linger."""
    with topology.open(linger_ms=10_000.0) as database:
        for number in range(20):
            database.add("key", b"%d" % number)
            assert database.load() == {"key": b"%d" % number}
