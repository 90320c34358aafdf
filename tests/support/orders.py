"""Orders and their events for tests, with as little said as possible."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from eventstore.model.currencies import USD
from eventstore.model.enums import LiquiditySide, OrderSide, OrderType, TimeInForce, TrailingOffsetType, TriggerType
from eventstore.model.events import (
    ORDER_OPTIONS,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderEmulated,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderInitialized,
    OrderModifyRejected,
    OrderPendingCancel,
    OrderPendingUpdate,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
    OrderTriggered,
    OrderUpdated,
)
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientOrderId,
    InstrumentId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.orders import Order
from eventstore.model.values import Money, Price, Quantity

IDS: dict[str, Any] = {
    "trader_id": TraderId("TRADER-001"),
    "strategy_id": StrategyId("S-001"),
    "instrument_id": InstrumentId("AUD/USD.SIM"),
    "client_order_id": ClientOrderId("O-1"),
}

_OPTIONS: dict[str, Any] = {
    "price": Price("1.00010"),
    "trigger_price": Price("1.00000"),
    "trigger_type": TriggerType.BID_ASK,
    "limit_offset": Decimal("0.0005"),
    "trailing_offset": Decimal("0.001"),
    "trailing_offset_type": TrailingOffsetType.PRICE,
}

_DEFAULTS: dict[type[OrderEvent], dict[str, Any]] = {
    OrderDenied: {"reason": "no"},
    OrderEmulated: {},
    OrderReleased: {"released_price": Price("1.00000")},
    OrderSubmitted: {"account_id": AccountId("SIM-001")},
    OrderAccepted: {"venue_order_id": VenueOrderId("V-1"), "account_id": AccountId("SIM-001")},
    OrderRejected: {"account_id": AccountId("SIM-001"), "reason": "no"},
    OrderCanceled: {},
    OrderExpired: {},
    OrderTriggered: {},
    OrderPendingUpdate: {},
    OrderPendingCancel: {},
    OrderModifyRejected: {"reason": "no"},
    OrderCancelRejected: {"reason": "no"},
    OrderUpdated: {"quantity": Quantity("100")},
    OrderFilled: {
        "venue_order_id": VenueOrderId("V-1"),
        "account_id": AccountId("SIM-001"),
        "trade_id": TradeId("T-1"),
        "order_side": OrderSide.BUY,
        "order_type": OrderType.LIMIT,
        "last_qty": Quantity("10"),
        "last_px": Price("1.00000"),
        "currency": USD,
        "commission": Money("2.00", USD),
        "liquidity_side": LiquiditySide.TAKER,
    },
}


def initialized(order_type: OrderType = OrderType.LIMIT, **changes: Any) -> OrderInitialized:
    """The first event of a BUY of 100, GTC."""
    options = {name: _OPTIONS[name] for name in ORDER_OPTIONS[order_type] if name in _OPTIONS}
    fields = {
        "event_id": UUID4(),
        "ts_event": 1,
        "ts_init": 1,
        **IDS,
        "order_side": OrderSide.BUY,
        "order_type": order_type,
        "quantity": Quantity("100"),
        "time_in_force": TimeInForce.GTC,
    }
    return OrderInitialized(**{**fields, **options, **changes})


def happened(kind: type[OrderEvent], ts: int = 2, **changes: Any) -> Any:
    """An event of that kind for the same order, at time `ts`."""
    fields = {"event_id": UUID4(), "ts_event": ts, "ts_init": ts, **IDS}
    return kind(**{**fields, **_DEFAULTS[kind], **changes})


def order_after(*kinds: type[OrderEvent], order_type: OrderType = OrderType.LIMIT, **changes: Any) -> Order:
    """An order to which events of those kinds happened."""
    order = Order.create(initialized(order_type, **changes))
    for kind in kinds:
        order.apply(happened(kind))
    return order


def everything(order: Order) -> dict[str, Any]:
    """All that an order holds, to compare two of them or one with itself later; but for what is only a cache."""
    held = {}
    for base in type(order).__mro__:
        for name in set(getattr(base, "__slots__", ())) - {"_float_average"}:
            value = getattr(order, name)
            held[name] = value.copy() if isinstance(value, list | dict) else value
    return held
