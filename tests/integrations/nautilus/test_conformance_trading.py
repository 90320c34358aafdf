"""What a database behind NautilusTrader's cache has to do, its own and ours: orders, positions, and their indexes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.core.rust.model import OmsType
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import (
    OrderSide,
    TimeInForce,
    TrailingOffsetType,
    TriggerType,
)
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ExecAlgorithmId,
    InstrumentId,
    PositionId,
    VenueOrderId,
)
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Currency, Price, Quantity
from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import (
    assert_reloaded,
    order_contents,
    position_contents,
)
from tests.support.nautilus.desk import Desk, balance, desk_on
from tests.support.nautilus.instruments import AUDUSD, EURUSD, all_instruments, is_spread

# Nobody trades an index, and a spread's fills make positions in its legs.
TRADED = [one for one in all_instruments() if type(one).__name__ != "IndexInstrument" and not is_spread(one)]


def order_of(desk: Desk, kind: str) -> Order:
    """An order of one type with everything that can be said of one."""
    one = {"instrument_id": EURUSD.id, "order_side": OrderSide.SELL, "quantity": EURUSD.make_qty(100_000)}
    price, trigger = EURUSD.make_price(1.10251), EURUSD.make_price(1.1)
    until = {"time_in_force": TimeInForce.GTD, "expire_time": datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)}
    trailing = {
        "trailing_offset": Decimal("0.00105"),
        "trailing_offset_type": TrailingOffsetType.PRICE,
        "trigger_price": trigger,
        "trigger_type": TriggerType.BID_ASK,
    }
    made: dict[str, Callable[[], Order]] = {
        "market": lambda: desk.orders.market(**one, tags=["entry", "größe"], time_in_force=TimeInForce.IOC),
        "limit": lambda: desk.orders.limit(
            **one, price=price, **until, post_only=True, display_qty=EURUSD.make_qty(1_000)
        ),
        "stop market": lambda: desk.orders.stop_market(**one, trigger_price=trigger, reduce_only=True, **until),
        "stop limit": lambda: desk.orders.stop_limit(
            **one, price=price, trigger_price=trigger, trigger_type=TriggerType.MID_POINT
        ),
        "market to limit": lambda: desk.orders.market_to_limit(**one, **until),
        "market if touched": lambda: desk.orders.market_if_touched(**one, trigger_price=trigger),
        "limit if touched": lambda: desk.orders.limit_if_touched(**one, price=price, trigger_price=trigger, **until),
        "trailing stop market": lambda: desk.orders.trailing_stop_market(**one, **trailing),
        "trailing stop limit": lambda: desk.orders.trailing_stop_limit(
            **one, price=price, limit_offset=Decimal("0.00005"), **trailing
        ),
        "for an algorithm": lambda: desk.orders.market(
            **one,
            exec_algorithm_id=ExecAlgorithmId("TWAP"),
            exec_algorithm_params={"horizon_secs": 20, "interval_secs": 2.5},
        ),
    }
    return made[kind]()


ORDER_KINDS = [
    "market",
    "limit",
    "stop market",
    "stop limit",
    "market to limit",
    "market if touched",
    "limit if touched",
    "trailing stop market",
    "trailing stop limit",
    "for an algorithm",
]


PRICED = {"limit", "stop limit", "market to limit", "limit if touched", "trailing stop limit"}


@pytest.mark.parametrize("kind", ORDER_KINDS)
def test_an_order_of_each_type_comes_back_at_each_step(backing: Backing, kind: str) -> None:
    desk, database = desk_on(backing)
    order = order_of(desk, kind)
    for step in (
        lambda: desk.add(order),
        lambda: desk.submit(order),
        lambda: desk.accept(order),
        lambda: desk.update(order, price=EURUSD.make_price(1.1025) if kind in PRICED else None),
        lambda: desk.fill(order, EURUSD, "1.10255", EURUSD.make_qty(40_000)),
        lambda: desk.fill(order, EURUSD, "1.10261"),
    ):
        step()
        backing.settle(
            lambda: (back := database.load_order(order.client_order_id)) and back.event_count == order.event_count
        )
        back = database.load_order(order.client_order_id)
        assert type(back) is type(order)
        assert order_contents(back) == order_contents(order)
    assert list(database.load_orders()) == [order.client_order_id]


LIVES: dict[str, Callable[[Desk, Order], None]] = {
    "initialized": lambda desk, order: None,
    "denied": lambda desk, order: desk.deny(order),
    "submitted": lambda desk, order: desk.submit(order),
    "rejected": lambda desk, order: (desk.submit(order), desk.reject(order)),  # type: ignore[func-returns-value]
    "accepted": lambda desk, order: (desk.submit(order), desk.accept(order)),  # type: ignore[func-returns-value]
    "pending update": lambda desk, order: _accepted(desk, order, desk.pend_update),
    "updated": lambda desk, order: _accepted(
        desk,
        order,
        desk.pend_update,
        lambda one: desk.update(one, price=EURUSD.make_price(1.2), quantity=EURUSD.make_qty(7)),
    ),
    "update refused": lambda desk, order: _accepted(desk, order, desk.pend_update, desk.refuse_update),
    "pending cancel": lambda desk, order: _accepted(desk, order, desk.pend_cancel),
    "cancel refused": lambda desk, order: _accepted(desk, order, desk.pend_cancel, desk.refuse_cancel),
    "canceled": lambda desk, order: _accepted(desk, order, desk.pend_cancel, desk.cancel),
    "expired": lambda desk, order: _accepted(desk, order, desk.expire),
    "triggered": lambda desk, order: _accepted(desk, order, desk.trigger),
    "partly filled": lambda desk, order: _accepted(
        desk, order, lambda one: desk.fill(one, EURUSD, "1.1", EURUSD.make_qty(1))
    ),
    "filled": lambda desk, order: _accepted(desk, order, lambda one: desk.fill(one, EURUSD, "1.1")),
}


def _accepted(desk: Desk, order: Order, *steps: Callable[[Order], None]) -> None:
    desk.submit(order)
    desk.accept(order)
    for step in steps:
        step(order)


@pytest.mark.parametrize("life", list(LIVES))
def test_an_order_of_each_status_is_in_the_indexes_that_it_belongs_to(backing: Backing, life: str) -> None:
    desk, database = desk_on(backing)
    order = desk.add(order_of(desk, "stop limit"), client_id=ClientId("BROKER"))
    LIVES[life](desk, order)
    backing.settle(
        lambda: (back := database.load_order(order.client_order_id)) and back.event_count == order.event_count
    )
    backing.shows(database.load_index_order_client, {order.client_order_id: ClientId("BROKER")})
    if desk.cache.positions():
        backing.settle(database.load_positions)
        backing.settle(
            lambda: (
                database.load_account(desk.account_id).event_count == desk.cache.account(desk.account_id).event_count
            )
        )
    again = backing.reload(database)
    assert_reloaded(again, desk.cache)


def test_index_entries_come_back(backing: Backing) -> None:
    desk, database = desk_on(backing)
    first, second = (desk.add(order_of(desk, "limit")) for _ in range(2))
    database.index_order_position(first.client_order_id, PositionId("P-1"))
    database.index_order_position(second.client_order_id, PositionId("P-1"))
    database.index_order_position(second.client_order_id, PositionId("P-2"))
    database.index_venue_order_id(first.client_order_id, VenueOrderId("V-1"))
    third = order_of(desk, "market")
    database.add_order(third, PositionId("P-3"), ClientId("C-1"))
    backing.shows(
        database.load_index_order_position,
        {
            first.client_order_id: PositionId("P-1"),
            second.client_order_id: PositionId("P-2"),
            third.client_order_id: PositionId("P-3"),
        },
    )
    backing.shows(database.load_index_order_client, {third.client_order_id: ClientId("C-1")})


def test_order_lists_are_rebuilt_from_their_orders(backing: Backing) -> None:
    desk, database = desk_on(backing)
    bracket = desk.orders.bracket(
        instrument_id=EURUSD.id,
        order_side=OrderSide.BUY,
        quantity=EURUSD.make_qty(1_000),
        sl_trigger_price=EURUSD.make_price(1.0),
        tp_price=EURUSD.make_price(1.2),
    )
    desk.cache.add_order_list(bracket)
    for order in bracket.orders:
        desk.add(order)
    backing.shows(lambda: len(database.load_orders()), 3)
    again = backing.reload(database)
    assert_reloaded(again, desk.cache)
    assert again.order_list_exists(bracket.id)
    assert again.check_integrity()


def test_an_order_that_was_deleted_is_gone(backing: Backing) -> None:
    desk, database = desk_on(backing)
    kept, gone = (
        desk.add(order_of(desk, "limit"), client_id=ClientId("C"), position_id=PositionId("P")) for _ in range(2)
    )
    for order in (kept, gone):
        desk.submit(order)
        desk.reject(order)
    backing.shows(lambda: {one.event_count for one in database.load_orders().values()}, {3})
    database.delete_order(gone.client_order_id)
    backing.shows(lambda: list(database.load_orders()), [kept.client_order_id])
    assert database.load_order(gone.client_order_id) is None
    backing.shows(database.load_index_order_position, {kept.client_order_id: PositionId("P")})
    backing.shows(database.load_index_order_client, {kept.client_order_id: ClientId("C")})
    database.delete_order(ClientOrderId("never there"))


def test_a_position_comes_back_at_each_step(backing: Backing) -> None:
    desk, database = desk_on(backing)
    for side, quantity, price in (
        (OrderSide.BUY, 1_000, "1.1"),
        (OrderSide.BUY, 333, "1.23456"),
        (OrderSide.SELL, 1_000, "1.2"),
        (OrderSide.SELL, 333, "1.00001"),
    ):
        desk.trade(EURUSD, side, quantity, price)
        position = desk.only_position()
        backing.settle(
            lambda: (back := database.load_position(position.id)) and back.event_count == position.event_count  # noqa: B023
        )
        assert position_contents(database.load_position(position.id)) == position_contents(position)
    assert position.is_closed
    assert {key: position_contents(one) for key, one in database.load_positions().items()} == {
        position.id: position_contents(position)
    }


@pytest.mark.parametrize("instrument", TRADED, ids=lambda one: str(one.id))
def test_a_position_in_each_instrument_comes_back(backing: Backing, instrument: Instrument) -> None:
    database = backing.open()
    desk = Desk(Cache(database=database), account_id=AccountId(f"{instrument.id.venue}-001"))
    desk.cache.add_instrument(instrument)
    money = balance(1_000_000, instrument.quote_currency)
    desk.open_account(desk.account_state(money, base_currency=None))
    order = desk.trade(instrument, OrderSide.SELL, 3, "1.5")
    position = desk.only_position()
    backing.settle(lambda: database.load_position(position.id))
    assert position_contents(database.load_position(position.id)) == position_contents(position)
    assert order_contents(database.load_order(order.client_order_id)) == order_contents(order)


def test_positions_through_a_cache(backing: Backing) -> None:
    desk, database = desk_on(backing, oms_type=OmsType.HEDGING)
    desk.cache.add_instrument(AUDUSD)
    desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    desk.trade(EURUSD, OrderSide.SELL, 500, "1.2")
    desk.trade(AUDUSD, OrderSide.BUY, 500, "0.7")
    assert len(desk.cache.positions()) == 3
    backing.settle(lambda: len(database.load_positions()) == 3)
    backing.settle(lambda: len(database.load_index_order_position()) == 3)
    account = desk.cache.account(desk.account_id)
    backing.settle(lambda: database.load_account(desk.account_id).event_count == account.event_count)
    again = backing.reload(database)
    assert_reloaded(again, desk.cache)


def test_a_position_that_was_deleted_is_gone(backing: Backing) -> None:
    desk, database = desk_on(backing, oms_type=OmsType.HEDGING)
    for _ in range(2):
        desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    gone, kept = desk.cache.positions()
    backing.settle(lambda: len(database.load_positions()) == 2)
    database.delete_position(gone.id)
    backing.shows(lambda: list(database.load_positions()), [kept.id])
    assert database.load_position(gone.id) is None
    database.delete_position(PositionId("never there"))


def test_types(backing: Backing) -> None:
    desk, database = desk_on(backing)
    desk.cache.add_currency(USD)
    desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    backing.settle(database.load_positions)
    for found, key, value in (
        (database.load_currencies(), str, Currency),
        (database.load_instruments(), InstrumentId, Instrument),
        (database.load_orders(), ClientOrderId, Order),
        (database.load_positions(), PositionId, Position),
        (database.load_index_order_position(), ClientOrderId, PositionId),
    ):
        assert found
        assert all(isinstance(one, key) for one in found)
        assert all(isinstance(one, value) for one in found.values())
    order = next(iter(database.load_orders().values()))
    assert isinstance(order.quantity, Quantity)
    assert isinstance(order.last_event.last_px, Price)
