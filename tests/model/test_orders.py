"""Orders: what can be made, what is refused, what each attribute says, and that it is what NautilusTrader says."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from eventstore.model.currencies import JPY, USD
from eventstore.model.enums import (
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TimeInForce,
    TrailingOffsetType,
    TriggerType,
)
from eventstore.model.errors import DuplicateFill, EventMismatch, InvalidTransition, InvalidValue, ModelError
from eventstore.model.events import (
    ORDER_EVENTS,
    OrderAccepted,
    OrderCanceled,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderInitialized,
    OrderModifyRejected,
    OrderPendingCancel,
    OrderPendingUpdate,
    OrderReleased,
    OrderSubmitted,
    OrderTriggered,
    OrderUpdated,
)
from eventstore.model.identifiers import (
    ClientOrderId,
    ExecAlgorithmId,
    InstrumentId,
    OrderListId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.orders import (
    LimitIfTouchedOrder,
    LimitOrder,
    MarketIfTouchedOrder,
    MarketOrder,
    MarketToLimitOrder,
    Order,
    OrderList,
    StopLimitOrder,
    StopMarketOrder,
    TrailingStopLimitOrder,
    TrailingStopMarketOrder,
)
from eventstore.model.values import Money, Price, Quantity
from tests.support.orders import everything, happened, initialized, order_after

HISTORIES = Path(__file__).parent.parent / "data" / "order_histories.jsonl.gz"

CLASSES = {
    OrderType.MARKET: MarketOrder,
    OrderType.LIMIT: LimitOrder,
    OrderType.STOP_MARKET: StopMarketOrder,
    OrderType.STOP_LIMIT: StopLimitOrder,
    OrderType.MARKET_TO_LIMIT: MarketToLimitOrder,
    OrderType.MARKET_IF_TOUCHED: MarketIfTouchedOrder,
    OrderType.LIMIT_IF_TOUCHED: LimitIfTouchedOrder,
    OrderType.TRAILING_STOP_MARKET: TrailingStopMarketOrder,
    OrderType.TRAILING_STOP_LIMIT: TrailingStopLimitOrder,
}


def assert_same_dict(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(shown) == list(expected)
    for key, value in expected.items():
        assert (key, shown[key]) == (key, value)
        assert type(shown[key]) is type(value)


@pytest.mark.parametrize("order_type", OrderType)
def test_histories_recorded_from_nautilus_trader_end_as_they_did_there(order_type: OrderType) -> None:
    """Random histories with refused events between: the same are refused here, and `to_dict()` is the same."""
    compared = 0
    with gzip.open(HISTORIES, "rt") as lines:
        for history in map(json.loads, lines):
            init = OrderInitialized.from_dict(history["init"])
            if init.order_type is not order_type:
                continue
            if "refused" in history:
                with pytest.raises(InvalidValue):
                    Order.create(init)
                continue
            order = Order.create(init)
            assert type(order) is CLASSES[order_type]
            for step in history["steps"]:
                event = ORDER_EVENTS[step["event"]["type"]].from_dict(step["event"])
                if "refused" in step:
                    before = everything(order)
                    with pytest.raises(ModelError) as caught:
                        order.apply(event)
                    assert step["refused"] in (type(caught.value).__name__, "ModelError")
                    assert everything(order) == before
                else:
                    order.apply(event)
                    assert order.status.name == step["status"]
            assert_same_dict(order.to_dict(), history["order"])
            assert everything(Order.from_events(order.events)) == everything(order)
            compared += 1
    assert compared == 30


# -- making ------------------------------------------------------------------------------------------------------------

WITH_TRIGGER = [kind for kind in OrderType if kind not in (OrderType.MARKET, OrderType.LIMIT)]
ALGORITHM: dict[str, Any] = {"exec_algorithm_id": ExecAlgorithmId("TWAP")}


@pytest.mark.parametrize(
    ("order_type", "changes", "problem"),
    [
        (OrderType.MARKET, {"quantity": Quantity("0")}, "quantity is zero"),
        (OrderType.MARKET, {"order_side": OrderSide.NO_ORDER_SIDE}, "no side"),
        (OrderType.MARKET, {"time_in_force": TimeInForce.GTD}, "can not be GTD"),
        (OrderType.MARKET, {"contingency_type": ContingencyType.OCO}, "linked_order_ids"),
        (OrderType.MARKET, ALGORITHM, "exec_spawn_id"),
        (OrderType.LIMIT, {"price": None}, "needs a price"),
        (OrderType.LIMIT, {"time_in_force": TimeInForce.GTD}, "expire_time_ns"),
        (OrderType.LIMIT, {"expire_time_ns": 5}, "no expire_time_ns"),
        (OrderType.LIMIT, {"display_qty": Quantity("101")}, "display_qty"),
        (OrderType.STOP_LIMIT, {"price": None}, "needs a price"),
        (OrderType.STOP_LIMIT, {"trigger_price": None}, "needs a trigger_price"),
        (OrderType.STOP_MARKET, {"trigger_price": None}, "needs a trigger_price"),
        (OrderType.STOP_MARKET, {"trigger_type": TriggerType.NO_TRIGGER}, "needs a trigger_type"),
        (
            OrderType.TRAILING_STOP_MARKET,
            {"trailing_offset_type": TrailingOffsetType.NO_TRAILING_OFFSET},
            "needs a trailing_offset_type",
        ),
        *((kind, {"time_in_force": TimeInForce.AT_THE_OPEN}, "AT_THE_OPEN") for kind in WITH_TRIGGER),
    ],
)
def test_what_no_order_of_a_type_can_be_is_refused_with_what_to_do(
    order_type: OrderType, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidValue, match=problem) as caught:
        Order.create(initialized(order_type, **changes))
    assert "O-1" in str(caught.value)


def test_an_order_is_made_only_from_its_own_kind_of_event() -> None:
    with pytest.raises(TypeError, match="OrderInitialized"):
        Order.create(happened(OrderSubmitted))
    with pytest.raises(TypeError, match="OrderInitialized"):
        MarketOrder(happened(OrderSubmitted))
    with pytest.raises(InvalidValue, match=r"Order\.create"):
        MarketOrder(initialized(OrderType.LIMIT))
    with pytest.raises(InvalidValue, match="no events"):
        Order.from_events([])
    with pytest.raises(TypeError, match="OrderInitialized"):
        Order.from_events([happened(OrderSubmitted), initialized()])


def test_trailing_orders_may_start_without_prices() -> None:
    order = Order.create(initialized(OrderType.TRAILING_STOP_LIMIT, price=None, trigger_price=None))
    assert isinstance(order, TrailingStopLimitOrder)
    assert (order.price, order.trigger_price, order.activation_price) == (None, None, None)
    assert (order.has_price, order.has_trigger_price, order.has_activation_price) == (False, False, False)
    order.apply(happened(OrderUpdated, price=Price("1.5"), trigger_price=Price("1.4")))
    assert (order.price, order.trigger_price) == (Price("1.5"), Price("1.4"))
    assert (order.limit_offset, order.trailing_offset) == (Decimal("0.0005"), Decimal("0.001"))


def test_relations_say_what_the_first_event_said() -> None:
    parent = Order.create(
        initialized(contingency_type=ContingencyType.OTO, linked_order_ids=(ClientOrderId("O-2"),), tags=("ENTRY",))
    )
    child = Order.create(initialized(parent_order_id=ClientOrderId("O-9")))
    primary = Order.create(initialized(**ALGORITHM, exec_spawn_id=ClientOrderId("O-1")))
    spawned = Order.create(initialized(**ALGORITHM, exec_spawn_id=ClientOrderId("O-0")))
    assert (parent.is_contingency, parent.is_parent_order, parent.is_child_order) == (True, True, False)
    assert (child.is_contingency, child.is_parent_order, child.is_child_order) == (False, False, True)
    assert (primary.is_primary, primary.is_spawned, spawned.is_primary, spawned.is_spawned) == (
        True,
        False,
        False,
        True,
    )
    assert parent.tags == ("ENTRY",)
    assert parent.init_event.event_id == parent.init_id
    assert (parent.symbol, parent.venue) == ("AUD/USD", "SIM")


# -- refusing ----------------------------------------------------------------------------------------------------------


def test_an_illegal_transition_names_order_status_event_and_what_is_possible() -> None:
    order = order_after(OrderSubmitted, OrderAccepted, OrderCanceled)
    with pytest.raises(InvalidTransition) as caught:
        order.apply(happened(OrderAccepted))
    for text in ("O-1", "CANCELED", "OrderAccepted", "OrderFilled, OrderUpdated"):
        assert text in str(caught.value)


@pytest.mark.parametrize("order_type", OrderType)
def test_only_orders_that_become_limit_orders_can_be_triggered(order_type: OrderType) -> None:
    order = order_after(OrderSubmitted, OrderAccepted, order_type=order_type)
    if order_type in (OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED, OrderType.TRAILING_STOP_LIMIT):
        assert isinstance(order, StopLimitOrder | LimitIfTouchedOrder | TrailingStopLimitOrder)
        assert not order.is_triggered
        order.apply(happened(OrderTriggered, ts=7))
        assert (order.is_triggered, order.ts_triggered) == (True, 7)
    else:
        with pytest.raises(InvalidTransition, match="OrderTriggered"):
            order.apply(happened(OrderTriggered))


@pytest.mark.parametrize(
    "foreign",
    [
        {"client_order_id": ClientOrderId("O-2")},
        {"instrument_id": InstrumentId("EUR/USD.SIM")},
        {"strategy_id": StrategyId("S-002")},
        {"trader_id": TraderId("TRADER-002")},
        {"venue_order_id": VenueOrderId("V-2")},
        {"order_side": OrderSide.SELL},
    ],
)
def test_an_event_of_another_order_is_refused(foreign: dict[str, Any]) -> None:
    order = order_after(OrderSubmitted, OrderAccepted)
    before = everything(order)
    with pytest.raises(EventMismatch) as caught:
        order.apply(happened(OrderFilled, **foreign))
    assert str(next(iter(foreign.values())).name if "order_side" in foreign else next(iter(foreign.values()))) in str(
        caught.value
    )
    assert everything(order) == before


def test_what_is_no_order_event_is_refused() -> None:
    order = order_after()
    with pytest.raises(TypeError, match="order event"):
        order.apply("OrderSubmitted")  # type: ignore[arg-type] # what is tested
    with pytest.raises(InvalidTransition, match="transform"):
        order.apply(initialized())


def test_a_trade_is_applied_once() -> None:
    order = order_after(OrderSubmitted, OrderFilled)
    with pytest.raises(DuplicateFill, match="T-1"):
        order.apply(happened(OrderFilled))
    order.apply(happened(OrderFilled, trade_id=TradeId("T-2"), last_qty=Quantity("90")))
    with pytest.raises(DuplicateFill, match="T-2"):
        order.apply(happened(OrderFilled, trade_id=TradeId("T-2")))
    assert order.trade_ids == ["T-1", "T-2"]


def test_a_fill_of_nothing_is_refused() -> None:
    order = order_after(OrderSubmitted, OrderFilled)
    before = everything(order)
    with pytest.raises(InvalidValue, match="fills nothing"):
        order.apply(happened(OrderFilled, trade_id=TradeId("T-2"), last_qty=Quantity("0")))
    assert everything(order) == before


@pytest.mark.parametrize(("quantity", "excess"), [("90", "0"), ("91", "1"), ("90.5", "0.5"), ("1000000", "999910")])
def test_what_the_venue_fills_beyond_the_quantity_counts(quantity: str, excess: str) -> None:
    """It has happened: the order is filled, with what was filled, and nothing is left."""
    order = order_after(OrderSubmitted, OrderFilled)
    assert str(order.overfill_qty) == "0"
    order.apply(happened(OrderFilled, trade_id=TradeId("T-2"), last_qty=Quantity(quantity)))
    assert (order.status, order.quantity) == (OrderStatus.FILLED, Quantity("100"))
    assert order.filled_qty == 10 + Decimal(quantity)
    assert (order.leaves_qty, str(order.overfill_qty)) == (0, excess)
    assert order.to_dict()["filled_qty"] == str(order.filled_qty)
    assert everything(Order.from_events(order.events)) == everything(order)


def test_a_quantity_below_what_is_filled_leaves_nothing() -> None:
    """The venue's word counts, by an update or an amendment; what was filled beyond it is told by later fills alone."""
    for change in ("update", "amendment"):
        order = order_after(OrderSubmitted, OrderFilled)
        if change == "update":
            order.apply(happened(OrderUpdated, quantity=Quantity("9")))
        else:
            order.quantity = Quantity("9")
        assert (order.quantity, order.filled_qty, order.leaves_qty, order.overfill_qty) == (9, 10, 0, 0)
        assert order.status is OrderStatus.PARTIALLY_FILLED
        order.apply(happened(OrderFilled, trade_id=TradeId("T-2"), last_qty=Quantity("5")))
        assert (order.status, order.leaves_qty, order.overfill_qty) == (OrderStatus.FILLED, 0, 6)


def test_the_quantity_can_not_be_updated_to_zero() -> None:
    order = order_after(OrderSubmitted, OrderFilled)
    with pytest.raises(InvalidValue, match="zero"):
        order.apply(happened(OrderUpdated, quantity=Quantity("0")))
    with pytest.raises(InvalidValue, match="zero"):
        order.quantity = Quantity("0")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("said", [True, False, None])
def test_an_update_may_say_in_which_currency_the_quantity_is(before: bool, said: bool | None) -> None:
    """One that says nothing, as all of schema version 1, leaves that as it was, and does not show it."""
    order = order_after(OrderSubmitted, OrderAccepted, quote_quantity=before)
    update = happened(OrderUpdated, quantity=Quantity("50"), is_quote_quantity=said)
    order.apply(update)
    assert order.is_quote_quantity is (before if said is None else said)
    assert update.to_dict().get("is_quote_quantity", None) is said
    assert ("is_quote_quantity" in update.to_dict()) is (said is not None)
    assert OrderUpdated.from_dict(update.to_dict()) == update


# -- what the attributes say -------------------------------------------------------------------------------------------


def test_the_venue_may_replace_an_order_under_a_new_id() -> None:
    order = order_after(OrderSubmitted, OrderAccepted)
    for replaced in ("V-2", "V-2", "V-3"):
        order.apply(happened(OrderUpdated, venue_order_id=VenueOrderId(replaced)))
    assert (order.venue_order_id, order.venue_order_ids) == ("V-3", ["V-1", "V-2"])


def test_times_are_those_of_the_events() -> None:
    order = Order.create(initialized(ts_init=5, ts_event=5))
    for kind, ts in ((OrderSubmitted, 10), (OrderAccepted, 20), (OrderCanceled, 30)):
        order.apply(happened(kind, ts=ts))
    assert (order.ts_init, order.ts_submitted, order.ts_accepted, order.ts_closed, order.ts_last) == (5, 10, 20, 30, 30)
    order.apply(happened(OrderFilled, ts=40, last_qty=Quantity("100")))
    assert (order.ts_accepted, order.ts_closed, order.ts_last) == (20, 40, 40)


def test_a_fill_that_overtakes_the_acceptance_stands_for_it() -> None:
    order = order_after(OrderSubmitted)
    order.apply(happened(OrderFilled, ts=40))
    assert (order.ts_accepted, order.venue_order_id) == (40, "V-1")


def test_the_average_is_exact_and_slippage_is_against_the_own_price() -> None:
    order = order_after(OrderSubmitted, OrderAccepted, price=Price("1.00"), quantity=Quantity("3"))
    assert (order.avg_px, order.slippage) == (None, None)
    for trade, price in (("T-1", "1.01"), ("T-2", "1.02"), ("T-3", "1.02")):
        order.apply(happened(OrderFilled, trade_id=TradeId(trade), last_qty=Quantity("1"), last_px=Price(price)))
    average, slippage = order.avg_px, order.slippage
    assert average is not None
    assert slippage is not None
    assert abs(average - Decimal("3.05") / 3) < Decimal("1e-25")
    assert abs(slippage - Decimal("0.05") / 3) < Decimal("1e-25")
    assert order.to_dict()["slippage"] == pytest.approx(0.05 / 3)


@pytest.mark.parametrize(
    ("order_type", "side", "slippage"),
    [
        (OrderType.MARKET, OrderSide.BUY, "0"),
        (OrderType.LIMIT, OrderSide.BUY, "0.4999"),
        (OrderType.LIMIT, OrderSide.SELL, "-0.4999"),
        (OrderType.STOP_MARKET, OrderSide.BUY, "0.5"),
        (OrderType.STOP_MARKET, OrderSide.SELL, "-0.5"),
        (OrderType.MARKET_TO_LIMIT, OrderSide.BUY, "0"),
    ],
)
def test_slippage_is_what_the_fill_was_worse(order_type: OrderType, side: OrderSide, slippage: str) -> None:
    order = Order.create(initialized(order_type, order_side=side))
    order.apply(happened(OrderSubmitted))
    order.apply(happened(OrderFilled, order_side=side, last_px=Price("1.5")))
    assert order.slippage == Decimal(slippage)
    assert order.to_dict()["slippage"] == float(slippage)


def test_a_later_price_does_not_change_the_slippage_of_earlier_fills() -> None:
    order = order_after(OrderSubmitted, OrderAccepted, OrderFilled)
    before = order.slippage
    order.apply(happened(OrderUpdated, price=Price("0.5")))
    assert order.slippage == before


def test_commissions_add_up_for_each_currency() -> None:
    order = order_after(OrderSubmitted)
    for trade, paid in enumerate((Money("2.00", USD), Money("5", JPY), Money("-0.50", USD))):
        order.apply(happened(OrderFilled, trade_id=TradeId(f"T-{trade}"), commission=paid))
    assert order.commissions() == [Money("5", JPY), Money("1.50", USD)]
    assert order.to_dict()["commissions"] == ["5 JPY", "1.50 USD"]


def test_a_market_to_limit_order_gets_its_price_from_an_update() -> None:
    order = order_after(OrderSubmitted, OrderAccepted, order_type=OrderType.MARKET_TO_LIMIT)
    assert isinstance(order, MarketToLimitOrder)
    assert (order.price, order.has_price, order.to_dict()["price"]) == (None, False, "None")
    order.apply(happened(OrderUpdated, price=Price("1.25")))
    assert (order.price, order.has_price, order.to_dict()["price"]) == (Price("1.25"), True, "1.25")


def test_what_would_only_reduce_a_position() -> None:
    order = order_after(OrderSubmitted, OrderFilled)
    assert order.would_reduce_only(PositionSide.SHORT, Quantity("90"))
    assert not order.would_reduce_only(PositionSide.SHORT, Quantity("89"))
    assert not order.would_reduce_only(PositionSide.LONG, Quantity("90"))
    assert not order.would_reduce_only(PositionSide.FLAT, Quantity("90"))
    assert order.signed_decimal_qty() == 90
    assert Order.create(initialized(order_side=OrderSide.SELL)).signed_decimal_qty() == -100


def test_events_are_a_copy() -> None:
    order = order_after(OrderSubmitted)
    order.events.clear()
    order.venue_order_ids.append(VenueOrderId("V-9"))
    assert order.event_count == 2
    assert isinstance(order.last_event, OrderSubmitted)
    assert order.venue_order_ids == []


def test_orders_are_equal_if_their_ids_are() -> None:
    one, same = order_after(), order_after(OrderSubmitted)
    other = Order.create(initialized(client_order_id=ClientOrderId("O-2")))
    assert one == same
    assert one != other
    assert len({one, same, other}) == 2
    assert one != "O-1"
    assert "O-1" in repr(one)


# -- emulation ---------------------------------------------------------------------------------------------------------

EMULATED: dict[str, Any] = {"emulation_trigger": TriggerType.BID_ASK}


@pytest.mark.parametrize("kind", [OrderReleased, OrderCanceled, OrderExpired])
def test_emulation_ends_when_the_order_is_released_or_ends(kind: type[OrderReleased]) -> None:
    order = order_after(OrderEmulated, **EMULATED)
    assert (order.is_emulated, order.emulation_trigger) == (True, TriggerType.BID_ASK)
    order.apply(happened(kind))
    assert (order.is_emulated, order.emulation_trigger) == (False, TriggerType.NO_TRIGGER)


@pytest.mark.parametrize("order_type", [OrderType.MARKET, OrderType.MARKET_TO_LIMIT])
def test_orders_without_a_trigger_or_price_are_never_emulated(order_type: OrderType) -> None:
    assert Order.create(initialized(order_type, **EMULATED)).emulation_trigger is TriggerType.NO_TRIGGER


def test_an_order_is_not_open_while_it_has_an_emulation_trigger() -> None:
    assert not order_after(OrderSubmitted, OrderAccepted, **EMULATED).is_open
    assert order_after(OrderSubmitted, OrderAccepted).is_open


def test_a_released_order_becomes_what_the_new_event_says_and_keeps_its_history() -> None:
    emulated = order_after(OrderEmulated, order_type=OrderType.STOP_MARKET, **EMULATED)
    emulated.apply(happened(OrderUpdated, quantity=Quantity("90")))
    before = everything(emulated)
    init = initialized(OrderType.MARKET, quantity=Quantity("90"), ts_init=50, ts_event=50)
    order = emulated.transform(init)
    assert everything(emulated) == before
    assert isinstance(order, MarketOrder)
    assert (order.status, order.init_id, order.ts_init, order.ts_last) == (
        OrderStatus.INITIALIZED,
        init.event_id,
        1,
        50,
    )
    assert order.init_event is emulated.init_event
    assert order.event_count == 4
    assert order.emulation_trigger is TriggerType.NO_TRIGGER
    for kind in (OrderReleased, OrderSubmitted, OrderFilled):
        order.apply(happened(kind))
    assert everything(Order.from_events(order.events)) == everything(order)


def test_a_transformation_has_to_be_of_the_same_order_that_was_not_sent() -> None:
    emulated = order_after(OrderEmulated, **EMULATED)
    with pytest.raises(EventMismatch, match="O-2"):
        emulated.transform(initialized(OrderType.MARKET, client_order_id=ClientOrderId("O-2")))
    with pytest.raises(EventMismatch, match="SELL"):
        emulated.transform(initialized(OrderType.MARKET, order_side=OrderSide.SELL))
    with pytest.raises(InvalidTransition, match="SUBMITTED"):
        order_after(OrderSubmitted).transform(initialized(OrderType.MARKET))
    with pytest.raises(TypeError, match="OrderInitialized"):
        emulated.transform(happened(OrderReleased))


# -- amendments --------------------------------------------------------------------------------------------------------


def trailing(**changes: Any) -> TrailingStopMarketOrder:
    order = order_after(OrderSubmitted, OrderAccepted, order_type=OrderType.TRAILING_STOP_MARKET, **changes)
    assert isinstance(order, TrailingStopMarketOrder)
    return order


def test_what_is_set_without_an_event_is_kept_to_be_stored() -> None:
    order = trailing()
    assert order.amendments == []
    order.activation_price = Price("1.5")
    order.emulation_trigger = TriggerType.LAST_PRICE
    order.apply(happened(OrderPendingUpdate))
    order.liquidity_side = LiquiditySide.MAKER
    order.position_id = PositionId("P-1")
    order.quantity = Quantity("90")
    order.is_quote_quantity = True
    assert order.amendments == [
        (3, "activation_price", Price("1.5")),
        (3, "emulation_trigger", TriggerType.LAST_PRICE),
        (4, "liquidity_side", LiquiditySide.MAKER),
        (4, "position_id", PositionId("P-1")),
        (4, "quantity", Quantity("90")),
        (4, "is_quote_quantity", True),
    ]
    assert everything(Order.from_events(order.events, order.amendments)) == everything(order)


def test_what_was_set_can_be_read_from_a_snapshot() -> None:
    order = trailing()
    order.amend(
        {"activation_price": Price("1.5"), "quantity": Quantity("100.0"), "liquidity_side": LiquiditySide.MAKER}
    )
    rebuilt = Order.from_events(order.events)
    rebuilt.amend_from_dict(order.to_dict())
    assert rebuilt.to_dict() == order.to_dict()
    assert sorted(map(str, rebuilt.amendments)) == sorted(map(str, order.amendments))


def test_setting_what_is_already_so_is_no_amendment() -> None:
    order = trailing()
    order.quantity = Quantity("100")
    order.emulation_trigger = TriggerType.NO_TRIGGER
    order.amend_from_dict(order.to_dict())
    assert order.amendments == []


def test_an_event_has_the_last_word_over_an_earlier_amendment() -> None:
    order = Order.create(initialized(**EMULATED))
    order.emulation_trigger = TriggerType.MID_POINT
    for kind in (OrderEmulated, OrderReleased, OrderSubmitted, OrderAccepted):
        order.apply(happened(kind))
    order.amend({"quantity": Quantity("90"), "position_id": PositionId("P-1"), "liquidity_side": LiquiditySide.MAKER})
    order.apply(happened(OrderUpdated, quantity=Quantity("80")))
    order.apply(happened(OrderFilled))
    rebuilt = Order.from_events(order.events, order.amendments)
    assert everything(rebuilt) == everything(order)
    assert str(order.quantity) == "80"
    assert order.position_id is None
    assert order.liquidity_side is LiquiditySide.TAKER
    assert order.emulation_trigger is TriggerType.NO_TRIGGER


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status": OrderStatus.FILLED}, InvalidValue),
        ({"activation_price": Decimal("1.5")}, TypeError),
        ({"quantity": 90}, TypeError),
        ({"emulation_trigger": 5}, TypeError),
        ({"quantity": Quantity("0")}, InvalidValue),
    ],
)
def test_an_amendment_that_can_not_be_changes_nothing(changes: dict[str, Any], error: type[Exception]) -> None:
    order = trailing()
    before = everything(order)
    with pytest.raises(error):
        order.amend({"position_id": PositionId("P-1")} | changes)
    assert everything(order) == before


def test_only_trailing_orders_have_an_activation_price_to_amend() -> None:
    with pytest.raises(InvalidValue, match="activation_price"):
        order_after().amend({"activation_price": Price("1.5")})
    with pytest.raises(InvalidValue, match="liquidity_side"):
        order_after().amend_from_dict({"liquidity_side": "NEITHER"})


# -- lists -------------------------------------------------------------------------------------------------------------


def test_a_list_holds_orders_at_one_venue() -> None:
    """For one instrument or several: the legs of a strategy go together."""
    first = order_after()
    leg = {"client_order_id": ClientOrderId("O-2"), "instrument_id": InstrumentId("EUR/USD.SIM")}
    second = Order.create(initialized(**leg, ts_init=9, ts_event=9))
    orders = OrderList(OrderListId("OL-1"), [first, second])
    assert (orders.id, orders.instrument_id, orders.strategy_id, orders.ts_init) == ("OL-1", "AUD/USD.SIM", "S-001", 1)
    assert orders.first is first
    assert orders.orders == [first, second]
    assert orders == OrderList(OrderListId("OL-1"), [second])
    assert hash(orders) == hash(OrderListId("OL-1"))
    assert "OL-1" in repr(orders)


def test_a_list_of_nothing_or_of_different_venues_is_refused() -> None:
    other = Order.create(initialized(client_order_id=ClientOrderId("O-2"), instrument_id=InstrumentId("AUD/USD.X")))
    with pytest.raises(InvalidValue, match="no orders"):
        OrderList(OrderListId("OL-1"), [])
    with pytest.raises(EventMismatch, match="each venue"):
        OrderList(OrderListId("OL-1"), [order_after(), other])
    with pytest.raises(TypeError, match="OrderListId"):
        OrderList("OL-1", [order_after()])  # type: ignore[arg-type] # what is tested
    with pytest.raises(TypeError, match="Order"):
        OrderList(OrderListId("OL-1"), ["O-1"])  # type: ignore[list-item] # what is tested


def test_a_pending_order_asks_the_same_way_twice() -> None:
    order = order_after(OrderSubmitted, OrderAccepted, OrderPendingUpdate, OrderPendingUpdate, OrderPendingCancel)
    order.apply(happened(OrderModifyRejected))
    assert order.is_pending_cancel
    assert not order.is_pending_update
    assert order.is_inflight
    assert order.is_open
    order.apply(happened(OrderPendingCancel))
    order.apply(happened(OrderCanceled))
    assert order.is_canceled
    assert order.is_closed
