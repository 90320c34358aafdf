"""Orders that a node changes without an event, transforms, links, and spawns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.model.enums import (
    ContingencyType,
    OrderSide,
    OrderType,
    TrailingOffsetType,
    TriggerType,
)
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, ExecAlgorithmId, PositionId, VenueOrderId
from nautilus_trader.model.orders import LimitOrder, MarketOrder, Order, OrderList

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import assert_reloaded, order_contents
from tests.support.nautilus.desk import Desk, desk_on
from tests.support.nautilus.instruments import EURUSD

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def price(text: str) -> Any:
    return EURUSD.make_price(float(text))


# -- emulated, transformed ------------------------------------------------------------------------------------------


def emulated_stop(desk: Desk) -> Order:
    order = desk.orders.stop_market(
        EURUSD.id, BUY, EURUSD.make_qty(1_000), price("1.2"), emulation_trigger=TriggerType.BID_ASK, tags=["one"]
    )
    desk.add(order, client_id=ClientId("SIM"))
    desk.emulate(order)
    return order


def emulated_limit_if_touched(desk: Desk) -> Order:
    order = desk.orders.limit_if_touched(
        EURUSD.id,
        BUY,
        EURUSD.make_qty(1_000),
        price("1.09"),
        price("1.1"),
        emulation_trigger=TriggerType.LAST_PRICE,
    )
    desk.add(order)
    desk.emulate(order)
    return order


def emulated_trailing_stop(desk: Desk) -> Order:
    order = desk.orders.trailing_stop_market(
        EURUSD.id,
        SELL,
        EURUSD.make_qty(1_000),
        Decimal("0.005"),
        trailing_offset_type=TrailingOffsetType.PRICE,
        emulation_trigger=TriggerType.BID_ASK,
    )
    desk.add(order)
    desk.emulate(order)
    for trigger in ("1.0950", "1.0951", "1.0975"):
        desk.update(order, trigger_price=price(trigger))
    return order


def test_an_emulated_order_that_waits(ours: Backing) -> None:
    desk, database = desk_on(ours)
    for make in (emulated_stop, emulated_limit_if_touched, emulated_trailing_stop):
        make(desk)
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert len(again.orders_emulated()) == 3


@pytest.mark.parametrize("make", [emulated_stop, emulated_trailing_stop], ids=lambda one: one.__name__)
@pytest.mark.parametrize("until", ["transformed", "released", "submitted", "filled"])
def test_an_emulated_order_becomes_a_market_order(ours: Backing, make: Any, until: str) -> None:
    """As NautilusTrader's emulator does it: transformed, added in its own place, released, submitted."""
    desk, database = desk_on(ours)
    order = make(desk)
    transformed = MarketOrder.transform_py(order, desk.now())
    desk.add(transformed, overwrite=True)
    steps = {
        "transformed": lambda: None,
        "released": lambda: desk.release(transformed, price("1.2001")),
        "submitted": lambda: desk.submit(transformed),
        "filled": lambda: desk.fill(transformed, EURUSD, "1.2002"),
    }
    for name, step in steps.items():
        step()
        if name == until:
            break
    assert transformed.order_type == OrderType.MARKET
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    back = again.order(order.client_order_id)
    assert type(back) is MarketOrder
    assert [event.id for event in back.events] == [event.id for event in transformed.events]


def test_an_emulated_order_becomes_a_limit_order(ours: Backing) -> None:
    desk, database = desk_on(ours)
    order = emulated_limit_if_touched(desk)
    transformed = LimitOrder.transform_py(order, desk.now(), price("1.0905"))
    desk.add(transformed, overwrite=True)
    desk.release(transformed, price("1.1"))
    desk.submit(transformed)
    desk.accept(transformed)
    desk.update(transformed, quantity=EURUSD.make_qty(900), price=price("1.0906"))
    desk.fill(transformed, EURUSD, "1.0906", EURUSD.make_qty(100))
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert type(again.order(order.client_order_id)) is LimitOrder


def test_a_transformed_order_goes_on_after_a_restart(ours: Backing) -> None:
    desk, database = desk_on(ours)
    order = emulated_stop(desk)
    transformed = MarketOrder.transform_py(order, desk.now())
    desk.add(transformed, overwrite=True)
    desk.release(transformed, price("1.2001"))
    ours.close(database)

    database = ours.open()
    second = Desk(Cache(database=database))
    second.clock.set_time(desk.clock.timestamp_ns())
    second.engine.load_cache()
    back = second.cache.order(order.client_order_id)
    second.submit(back)
    second.fill(back, EURUSD, "1.2002")
    assert back.is_closed
    assert_reloaded(ours.reload(database), second.cache)


# -- linked ---------------------------------------------------------------------------------------------------------


def bracket(desk: Desk, contingency_type: ContingencyType = ContingencyType.OUO) -> OrderList:
    """An entry, a stop behind it and a target before it."""
    orders = desk.orders.bracket(
        instrument_id=EURUSD.id,
        order_side=BUY,
        quantity=EURUSD.make_qty(1_000),
        entry_order_type=OrderType.LIMIT,
        entry_price=price("1.1"),
        sl_trigger_price=price("1.09"),
        tp_price=price("1.12"),
        contingency_type=contingency_type,
    )
    desk.cache.add_order_list(orders)
    for order in orders.orders:
        desk.add(order, client_id=ClientId("SIM"))
    return orders


@pytest.mark.parametrize("contingency_type", [ContingencyType.OUO, ContingencyType.OCO], ids=lambda one: one.name)
@pytest.mark.parametrize("until", ["submitted", "entered in part", "entered", "left in part", "left"])
def test_a_bracket_at_each_step(ours: Backing, contingency_type: ContingencyType, until: str) -> None:
    desk, database = desk_on(ours)
    entry, stop, target = bracket(desk, contingency_type).orders

    def submitted() -> None:
        for order in (entry, stop, target):
            desk.submit(order)
        desk.accept(entry)

    def entered() -> None:
        desk.fill(entry, EURUSD, "1.1")
        for order in (stop, target):
            desk.accept(order)

    def left_in_part() -> None:
        desk.fill(target, EURUSD, "1.12", EURUSD.make_qty(300))
        desk.update(stop, quantity=EURUSD.make_qty(700), trigger_price=price("1.095"))

    def left() -> None:
        desk.fill(stop, EURUSD, "1.094")
        desk.cancel(target)

    for name, step in (
        ("submitted", submitted),
        ("entered in part", lambda: desk.fill(entry, EURUSD, "1.1", EURUSD.make_qty(400))),
        ("entered", entered),
        ("left in part", left_in_part),
        ("left", left),
    ):
        step()
        if name == until:
            break
    if until != "submitted":
        assert stop.position_id == entry.position_id
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert again.order_list(entry.order_list_id).first.client_order_id == entry.client_order_id


def test_an_order_whose_list_is_held_by_the_emulator(ours: Backing) -> None:
    desk, database = desk_on(ours)
    orders = desk.orders.bracket(
        instrument_id=EURUSD.id,
        order_side=SELL,
        quantity=EURUSD.make_qty(1_000),
        emulation_trigger=TriggerType.BID_ASK,
        sl_trigger_price=price("1.11"),
        tp_price=price("1.05"),
    )
    desk.cache.add_order_list(orders)
    for order in orders.orders:
        desk.add(order, position_id=PositionId("P-EMULATED"))
        if order.order_type != OrderType.MARKET:
            desk.emulate(order)
    assert_reloaded(ours.reload(database), desk.cache)


# -- spawned, quoted, amended ---------------------------------------------------------------------------------------


def test_orders_that_an_algorithm_spawned(ours: Backing) -> None:
    desk, database = desk_on(ours)
    primary = desk.orders.limit(
        EURUSD.id,
        BUY,
        EURUSD.make_qty(1_000),
        price("1.1"),
        exec_algorithm_id=ExecAlgorithmId("TWAP"),
        exec_algorithm_params={"horizon_secs": 20, "interval_secs": 2.5},
    )
    desk.add(primary)
    for number in range(3):
        spawned = MarketOrder(
            trader_id=primary.trader_id,
            strategy_id=primary.strategy_id,
            instrument_id=primary.instrument_id,
            client_order_id=ClientOrderId(f"{primary.client_order_id}-E{number}"),
            order_side=primary.side,
            quantity=EURUSD.make_qty(100),
            init_id=desk.account_state().id,
            ts_init=desk.now(),
            exec_algorithm_id=primary.exec_algorithm_id,
            exec_spawn_id=primary.client_order_id,
        )
        desk.add(spawned)
        desk.submit(spawned)
        desk.fill(spawned, EURUSD, "1.1")
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    spawn = again.orders_for_exec_spawn(primary.client_order_id)
    assert len(spawn) == len(desk.cache.orders_for_exec_spawn(primary.client_order_id))
    assert again.exec_spawn_total_filled_qty(primary.client_order_id) == EURUSD.make_qty(300)


def test_an_order_in_the_quote_currency(ours: Backing) -> None:
    desk, database = desk_on(ours)
    order = desk.orders.market(EURUSD.id, BUY, EURUSD.make_qty(1_100), quote_quantity=True)
    desk.add(order)
    desk.submit(order)
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert again.order(order.client_order_id).is_quote_quantity


def test_an_order_whose_venue_changes_its_id(ours: Backing) -> None:
    """Venues that replace an order to change it name it anew; both names lead to it while it is there."""
    desk, database = desk_on(ours)
    order = desk.add(desk.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1_000), price("1.1")))
    desk.submit(order)
    desk.accept(order, VenueOrderId("FIRST"))
    desk.update(order, price=price("1.11"), venue_order_id=VenueOrderId("SECOND"))
    assert order.venue_order_id == VenueOrderId("SECOND")
    assert database.load_index_venue_order_id() == {order.client_order_id: VenueOrderId("SECOND")}
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert again.client_order_id(VenueOrderId("SECOND")) == order.client_order_id


def test_events_that_came_between_two_calls(ours: Backing) -> None:
    """A database that is told of an order after several events has each of them."""
    desk, database = desk_on(ours)
    order = desk.add(desk.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1_000), price("1.1")))
    quiet = Desk(Cache(), account_id=desk.account_id)
    quiet.cache.add_instrument(EURUSD)
    quiet.open_account()
    quiet.cache.add_order(order)
    quiet.submit(order)
    quiet.accept(order)
    quiet.fill(order, EURUSD, "1.1", EURUSD.make_qty(10))
    database.update_order(order)
    assert order.event_count == 4
    ours.close(database)
    assert order_contents(ours.open().load_order(order.client_order_id)) == order_contents(order)


def test_an_update_of_an_order_that_was_never_added(ours: Backing) -> None:
    desk, database = desk_on(ours)
    quiet = Desk(Cache(), account_id=desk.account_id)
    order = quiet.add(quiet.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1_000), price("1.1")))
    quiet.submit(order)
    database.update_order(order)
    ours.close(database)
    assert order_contents(ours.open().load_order(order.client_order_id)) == order_contents(order)
