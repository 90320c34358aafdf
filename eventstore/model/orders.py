"""The nine types of order, and lists of orders that are submitted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from eventstore.model.enums import OrderType, TimeInForce, TrailingOffsetType, TriggerType
from eventstore.model.errors import EventMismatch, InvalidValue
from eventstore.model.events import OrderInitialized
from eventstore.model.identifiers import InstrumentId, OrderListId, StrategyId
from eventstore.model.order import Order
from eventstore.model.values import Price, Quantity

__all__ = [
    "LimitIfTouchedOrder",
    "LimitOrder",
    "MarketIfTouchedOrder",
    "MarketOrder",
    "MarketToLimitOrder",
    "Order",
    "OrderList",
    "StopLimitOrder",
    "StopMarketOrder",
    "TrailingStopLimitOrder",
    "TrailingStopMarketOrder",
]

_AT_AUCTION = (TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)


class _ExpiringOrder(Order):
    __slots__ = ()

    @property
    def expire_time_ns(self) -> int:
        """When it expires, in UNIX nanoseconds; 0 for never."""
        return self._init.expire_time_ns


class _PricedOrder(_ExpiringOrder):
    __slots__ = ()
    _takes_price = True
    _can_be_post_only = True
    _needs_price: ClassVar[bool] = True
    _limits_display: ClassVar[bool] = True

    @property
    def price(self) -> Price | None:
        """The limit price; None for an order that has none yet."""
        return self._price

    @property
    def display_qty(self) -> Quantity | None:
        """How much of it the market sees; None for all."""
        return self._init.display_qty

    def _check(self, init: OrderInitialized) -> None:
        super()._check(init)
        if self._needs_price and init.price is None:
            self._refuse_init(init, "it needs a price")
        if self._limits_display and init.display_qty is not None and init.display_qty > init.quantity:
            self._refuse_init(init, f"display_qty {init.display_qty} is over the quantity {init.quantity}")


class _UnauctionedOrder(_ExpiringOrder):
    __slots__ = ()

    def _check(self, init: OrderInitialized) -> None:
        super()._check(init)
        if init.time_in_force in _AT_AUCTION:
            self._refuse_init(init, f"it can not be {init.time_in_force.name}; use another time in force")


class _TriggeredOrder(_UnauctionedOrder):
    __slots__ = ()
    _takes_trigger_price = True
    _needs_trigger_price: ClassVar[bool] = True

    @property
    def trigger_price(self) -> Price | None:
        """The price that triggers it; None for a trailing order that has none yet."""
        return self._trigger_price

    @property
    def trigger_type(self) -> TriggerType:
        """Which price has to reach `trigger_price`."""
        return self._init.trigger_type

    def _check(self, init: OrderInitialized) -> None:
        super()._check(init)
        if self._needs_trigger_price and init.trigger_price is None:
            self._refuse_init(init, "it needs a trigger_price")
        if not init.trigger_type:
            self._refuse_init(init, "it needs a trigger_type")


class _TriggeredLimitOrder(_TriggeredOrder, _PricedOrder):
    __slots__ = ()
    _can_trigger = True

    @property
    def is_triggered(self) -> bool:
        """Whether the venue has triggered it."""
        return self._ts_triggered > 0

    @property
    def ts_triggered(self) -> int:
        """When the venue triggered it, in UNIX nanoseconds; 0 if it did not."""
        return self._ts_triggered


class _TrailingOrder(_TriggeredOrder):
    __slots__ = ("_activation_price",)
    _needs_trigger_price = False
    _activation_price: Price | None

    AMENDABLE: ClassVar[Mapping[str, tuple[type, ...]]] = {
        **Order.AMENDABLE,
        "activation_price": (Price, type(None)),
    }

    def __init__(self, init: OrderInitialized) -> None:
        super().__init__(init)
        self._activation_price = init.activation_price

    @property
    def activation_price(self) -> Price | None:
        """The price at which it starts to trail; None if the market's when it is submitted."""
        return self._activation_price

    @activation_price.setter
    def activation_price(self, value: Price | None) -> None:
        self.amend({"activation_price": value})

    @property
    def has_activation_price(self) -> bool:
        """Whether it has a price at which it starts to trail."""
        return self._activation_price is not None

    @property
    def trailing_offset(self) -> Decimal:
        """How far the trigger price trails the market, in units of `trailing_offset_type`."""
        offset: Any = self._init.trailing_offset
        return offset  # type: ignore[no-any-return] # the event of a trailing order has one

    @property
    def trailing_offset_type(self) -> TrailingOffsetType:
        """The unit of the offsets."""
        return self._init.trailing_offset_type

    def _check(self, init: OrderInitialized) -> None:
        super()._check(init)
        if not init.trailing_offset_type:
            self._refuse_init(init, "it needs a trailing_offset_type")


class MarketOrder(Order):
    """Filled at once at the best price there is."""

    __slots__ = ()
    order_type = OrderType.MARKET
    _can_be_emulated = False
    _can_be_replaced = False

    def _check(self, init: OrderInitialized) -> None:
        if init.time_in_force is TimeInForce.GTD:
            self._refuse_init(init, "it can not be GTD; use another time in force")
        super()._check(init)


class LimitOrder(_PricedOrder):
    """Filled at `price` or better."""

    __slots__ = ()
    order_type = OrderType.LIMIT


class StopMarketOrder(_TriggeredOrder):
    """A market order once the market has moved to `trigger_price`, against it."""

    __slots__ = ()
    order_type = OrderType.STOP_MARKET


class StopLimitOrder(_TriggeredLimitOrder):
    """A limit order once the market has moved to `trigger_price`, against it."""

    __slots__ = ()
    order_type = OrderType.STOP_LIMIT


class MarketToLimitOrder(_PricedOrder, _UnauctionedOrder):
    """Filled at the best price there is; what is left becomes a limit order at that price."""

    __slots__ = ()
    order_type = OrderType.MARKET_TO_LIMIT
    _can_be_emulated = False
    _can_be_post_only = False
    _needs_price = False
    _limits_display = False


class MarketIfTouchedOrder(_TriggeredOrder):
    """A market order once the market has moved to `trigger_price`, in its favour."""

    __slots__ = ()
    order_type = OrderType.MARKET_IF_TOUCHED


class LimitIfTouchedOrder(_TriggeredLimitOrder):
    """A limit order once the market has moved to `trigger_price`, in its favour."""

    __slots__ = ()
    order_type = OrderType.LIMIT_IF_TOUCHED


class TrailingStopMarketOrder(_TrailingOrder):
    """A stop market order whose trigger price follows the market."""

    __slots__ = ()
    order_type = OrderType.TRAILING_STOP_MARKET


class TrailingStopLimitOrder(_TrailingOrder, _TriggeredLimitOrder):
    """A stop limit order whose trigger price and price follow the market."""

    __slots__ = ()
    order_type = OrderType.TRAILING_STOP_LIMIT
    _needs_price = False

    @property
    def limit_offset(self) -> Decimal:
        """How far the price trails the market, in units of `trailing_offset_type`."""
        offset: Any = self._init.limit_offset
        return offset  # type: ignore[no-any-return] # the event of a trailing limit order has one


class OrderList:
    """Orders at one venue that are submitted together; `instrument_id` is that of the first.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    InvalidValue
        If there are no orders.
    EventMismatch
        If they are not all at one venue.
    """

    __slots__ = ("id", "instrument_id", "orders", "strategy_id")

    def __init__(self, order_list_id: OrderListId, orders: Sequence[Order]) -> None:
        if not isinstance(order_list_id, OrderListId):
            raise TypeError(f"OrderList: expected an OrderListId, got {type(order_list_id).__name__}")
        if not orders:
            raise InvalidValue(f"OrderList {order_list_id}: it has no orders; give it at least one")
        for order in orders:
            if not isinstance(order, Order):
                raise TypeError(f"OrderList {order_list_id}: expected an Order, got {type(order).__name__}")
            if order.venue != orders[0].venue:
                raise EventMismatch(
                    f"OrderList {order_list_id}: order {order.client_order_id} is of {order.instrument_id}, "
                    f"the first of {orders[0].instrument_id}; make one list for each venue"
                )
        self.id = order_list_id
        self.orders: list[Order] = list(orders)
        self.instrument_id: InstrumentId = orders[0].instrument_id
        self.strategy_id: StrategyId = orders[0].strategy_id

    @property
    def first(self) -> Order:
        """The first order."""
        return self.orders[0]

    @property
    def ts_init(self) -> int:
        """When the first order was made, in UNIX nanoseconds."""
        return self.orders[0].ts_init

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OrderList) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"OrderList(id={self.id}, instrument_id={self.instrument_id}, orders={self.orders})"
