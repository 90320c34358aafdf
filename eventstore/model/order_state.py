"""What an order is at a moment: its attributes, and all that is derived from them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from eventstore.model.enums import (
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TimeInForce,
    TriggerType,
)
from eventstore.model.events import OrderEvent, OrderFilled, OrderInitialized
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientOrderId,
    ExecAlgorithmId,
    InstrumentId,
    OrderListId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from eventstore.model.order_dict import ORDER_KEYS, SHOW
from eventstore.model.order_status import CLOSED, INFLIGHT, LOCAL, OPEN
from eventstore.model.record import Info
from eventstore.model.values import EXACT, Money, Price, Quantity, to_double

_ZERO = Decimal(0)


class OrderState:
    """The attributes of an order. It is a base of `Order`, which says how they change.

    Prices and quantities are exact. What can be derived is derived when it is asked for, because far more orders are
    loaded than looked at. All times are UNIX nanoseconds, 0 for never.
    """

    __slots__ = (
        "_amendments",
        "_commissions",
        "_emulation_trigger",
        "_events",
        "_filled",
        "_float_average",
        "_init",
        "_is_quote_quantity",
        "_liquidity_side",
        "_notional",
        "_overfilled",
        "_position_id",
        "_price",
        "_quantity",
        "_slippage_from",
        "_status_before",
        "_trade_ids",
        "_trigger_price",
        "_ts_triggered",
        "_venue_order_ids",
        "account_id",
        "client_order_id",
        "instrument_id",
        "last_trade_id",
        "status",
        "strategy_id",
        "trader_id",
        "ts_accepted",
        "ts_closed",
        "ts_init",
        "ts_last",
        "ts_submitted",
        "venue_order_id",
    )

    order_type: ClassVar[OrderType]
    _can_be_post_only: ClassVar[bool] = False

    _amendments: list[tuple[int, str, Any]] | None
    _commissions: Money | dict[str, Money] | None  # one amount, or by currency if there are several
    _emulation_trigger: TriggerType
    _events: list[OrderEvent]
    _filled: Decimal | None
    _init: OrderInitialized
    _is_quote_quantity: bool
    _liquidity_side: LiquiditySide
    _float_average: tuple[int, Decimal, float]
    _notional: Decimal
    _overfilled: Decimal | None
    _position_id: PositionId | None
    _price: Price | None
    _quantity: Quantity
    _slippage_from: Price | None
    _status_before: OrderStatus
    _trade_ids: dict[TradeId, None] | None  # from the second on
    _trigger_price: Price | None
    _ts_triggered: int
    _venue_order_ids: list[VenueOrderId] | None
    account_id: AccountId | None
    client_order_id: ClientOrderId
    instrument_id: InstrumentId
    last_trade_id: TradeId | None
    status: OrderStatus
    strategy_id: StrategyId
    trader_id: TraderId
    ts_accepted: int
    ts_closed: int
    ts_init: int
    ts_last: int
    ts_submitted: int
    venue_order_id: VenueOrderId | None

    # -- what it was made with ----------------------------------------------------------------------------------------

    @property
    def init_event(self) -> OrderInitialized:
        """The first event."""
        first: Any = self._events[0]
        return first  # type: ignore[no-any-return] # the first event is an OrderInitialized by construction

    @property
    def init_id(self) -> UUID4:
        """The id of the event that made the order what it is: the first, or that of its transformation."""
        return self._init.event_id

    @property
    def side(self) -> OrderSide:
        """BUY or SELL."""
        return self._init.order_side

    @property
    def time_in_force(self) -> TimeInForce:
        """How long it stays in force."""
        return self._init.time_in_force

    @property
    def is_post_only(self) -> bool:
        """Whether it may only add liquidity; never so for a type that does not wait at a price."""
        return self._init.post_only and self._can_be_post_only

    @property
    def is_reduce_only(self) -> bool:
        """Whether it may only reduce a position."""
        return self._init.reduce_only

    @property
    def trigger_instrument_id(self) -> InstrumentId | None:
        """The instrument whose market triggers the emulated order; None for its own."""
        return self._init.trigger_instrument_id

    @property
    def contingency_type(self) -> ContingencyType:
        """How it depends on the linked orders."""
        return self._init.contingency_type

    @property
    def order_list_id(self) -> OrderListId | None:
        """The list it was submitted with."""
        return self._init.order_list_id

    @property
    def linked_order_ids(self) -> tuple[ClientOrderId, ...] | None:
        """The orders that it is contingent with."""
        return self._init.linked_order_ids

    @property
    def parent_order_id(self) -> ClientOrderId | None:
        """The order whose fill activates it."""
        return self._init.parent_order_id

    @property
    def exec_algorithm_id(self) -> ExecAlgorithmId | None:
        """The algorithm that executes it."""
        return self._init.exec_algorithm_id

    @property
    def exec_algorithm_params(self) -> Info | None:
        """The parameters of the algorithm."""
        return self._init.exec_algorithm_params

    @property
    def exec_spawn_id(self) -> ClientOrderId | None:
        """The primary order that the algorithm spawned it from; its own id for the primary order."""
        return self._init.exec_spawn_id

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Free text of the strategy's."""
        return self._init.tags

    @property
    def symbol(self) -> Symbol:
        """The instrument's symbol."""
        return self.instrument_id.symbol

    @property
    def venue(self) -> Venue:
        """The instrument's venue."""
        return self.instrument_id.venue

    # -- events -------------------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[OrderEvent]:
        """A copy of all events, the first first."""
        return self._events.copy()

    @property
    def event_count(self) -> int:
        """How many events there are."""
        return len(self._events)

    @property
    def last_event(self) -> OrderEvent:
        """The newest event."""
        return self._events[-1]

    @property
    def venue_order_ids(self) -> list[VenueOrderId]:
        """The ids that the venue had for it before the present one, as they were replaced."""
        return self._venue_order_ids.copy() if self._venue_order_ids else []

    @property
    def trade_ids(self) -> list[TradeId]:
        """The trades that filled it, in order."""
        if self._trade_ids is not None:
            return list(self._trade_ids)
        return [] if self.last_trade_id is None else [self.last_trade_id]

    # -- fills --------------------------------------------------------------------------------------------------------

    @property
    def filled_qty(self) -> Quantity:
        """How much is filled, exactly."""
        return Quantity.zero(self._quantity.precision) if self._filled is None else Quantity(self._filled)

    @property
    def leaves_qty(self) -> Quantity:
        """How much is left to fill, exactly: `quantity` less `filled_qty`; zero if that is more."""
        if self._filled is None:
            return self._quantity
        left = EXACT.subtract(self._quantity, self._filled)
        return Quantity(left) if left >= 0 else Quantity.zero(-int(left.as_tuple().exponent))

    @property
    def overfill_qty(self) -> Quantity:
        """How much the venue filled beyond the quantity that there was at the fill, exactly."""
        return Quantity.zero(self._quantity.precision) if self._overfilled is None else Quantity(self._overfilled)

    @property
    def avg_px(self) -> Decimal | None:
        """The average price of the fills, to 100 digits; None before the first. `to_dict` shows NautilusTrader's."""
        return None if self._filled is None else EXACT.divide(self._notional, self._filled)

    @property
    def slippage(self) -> Decimal | None:
        """How much worse than its own price (at the last fill) it was filled on average; negative is better.

        Zero for an order that had no price of its own; None before the first fill.
        """
        average = self.avg_px
        if average is None or self._slippage_from is None:
            return None if average is None else _ZERO
        worse = EXACT.subtract(average, self._slippage_from)
        return worse if self.side is OrderSide.BUY else -worse

    def _shown_average(self) -> float | None:
        """The average price as NautilusTrader has it: a running average of floats.

        How far the events were added up is kept, so showing an order costs the same however many fills it has.
        """
        if self._filled is None:
            return None
        count, filled, average = self._float_average
        for event in self._events[count:]:
            if isinstance(event, OrderFilled):
                last_qty = to_double(event.last_qty)
                filled = EXACT.add(filled, event.last_qty)
                total = to_double(filled)
                price = to_double(event.last_px)
                average = (average * (total - last_qty) + price * last_qty) / total if average else price
        self._float_average = (len(self._events), filled, average)
        return average

    def _shown_slippage(self) -> float | None:
        """The slippage as NautilusTrader has it: the difference of floats.

        Where prices are large and slippage small, that shows digits which the exact difference does not have.
        """
        average = self._shown_average()
        if average is None or self._slippage_from is None:
            return None if average is None else 0.0
        own = to_double(self._slippage_from)
        return average - own if self.side is OrderSide.BUY else own - average

    def commissions(self) -> list[Money]:
        """What was paid (negative: earned), one amount for each currency, sorted by its code."""
        paid = self._commissions
        if paid is None:
            return []
        return [paid] if isinstance(paid, Money) else [paid[code] for code in sorted(paid)]

    def signed_decimal_qty(self) -> Decimal:
        """How much is left to fill, negative for a SELL."""
        left = self.leaves_qty.as_decimal()
        return left if self.side is OrderSide.BUY else -left

    def would_reduce_only(self, position_side: PositionSide, position_qty: Quantity) -> bool:
        """Whether filling all that is left would only reduce a position of that side and quantity."""
        against = PositionSide.SHORT if self.side is OrderSide.BUY else PositionSide.LONG
        return position_side is against and self.leaves_qty <= position_qty

    def _shown_filled(self) -> str:
        # NautilusTrader shows the decimals of the order, or those of the fills if they have more.
        filled, precision = self._filled, self._init.quantity.precision
        if filled is None:
            return f"{_ZERO:.{precision}f}"
        exact = -int(filled.as_tuple().exponent)
        return f"{filled:f}" if precision <= exact else f"{filled:.{precision}f}"

    # -- status -------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it is at work at the venue."""
        return self.status in OPEN and not self._emulation_trigger

    @property
    def is_closed(self) -> bool:
        """Whether it is done: denied, rejected, canceled, expired or filled."""
        return self.status in CLOSED

    @property
    def is_inflight(self) -> bool:
        """Whether it waits for the venue's answer."""
        return self.status in INFLIGHT

    @property
    def is_emulated(self) -> bool:
        """Whether the node keeps it and watches the market for its trigger."""
        return self.status is OrderStatus.EMULATED

    @property
    def is_active_local(self) -> bool:
        """Whether it lives in the node and was not sent to the venue."""
        return self.status in LOCAL

    @property
    def is_canceled(self) -> bool:
        """Whether it was canceled."""
        return self.status is OrderStatus.CANCELED

    @property
    def is_pending_update(self) -> bool:
        """Whether the venue was asked for a change."""
        return self.status is OrderStatus.PENDING_UPDATE

    @property
    def is_pending_cancel(self) -> bool:
        """Whether the venue was asked for a cancel."""
        return self.status is OrderStatus.PENDING_CANCEL

    @property
    def is_buy(self) -> bool:
        """Whether the side is BUY."""
        return self.side is OrderSide.BUY

    @property
    def is_sell(self) -> bool:
        """Whether the side is SELL."""
        return self.side is OrderSide.SELL

    @property
    def is_aggressive(self) -> bool:
        """Whether it is a market order."""
        return self.order_type is OrderType.MARKET

    @property
    def is_passive(self) -> bool:
        """Whether it is no market order."""
        return self.order_type is not OrderType.MARKET

    @property
    def is_contingency(self) -> bool:
        """Whether it depends on other orders."""
        return self.contingency_type is not ContingencyType.NO_CONTINGENCY

    @property
    def is_parent_order(self) -> bool:
        """Whether its fill activates other orders."""
        return self.contingency_type is ContingencyType.OTO

    @property
    def is_child_order(self) -> bool:
        """Whether another order's fill activates it."""
        return self.parent_order_id is not None

    @property
    def is_primary(self) -> bool:
        """Whether an algorithm executes it and it is the order that was given to the algorithm."""
        return self.exec_algorithm_id is not None and self.exec_spawn_id == self.client_order_id

    @property
    def is_spawned(self) -> bool:
        """Whether an algorithm spawned it from a primary order."""
        return self.exec_algorithm_id is not None and self.exec_spawn_id != self.client_order_id

    @property
    def has_price(self) -> bool:
        """Whether it has a limit price."""
        return self._price is not None

    @property
    def has_trigger_price(self) -> bool:
        """Whether it has a trigger price."""
        return self._trigger_price is not None

    @property
    def has_activation_price(self) -> bool:
        """Whether it has a price at which it starts to trail."""
        return False

    # -- showing ------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The order as NautilusTrader shows it: text, numbers, lists and dicts; averages are floats."""
        return {key: SHOW[key](self) for key in ORDER_KEYS[self.order_type]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OrderState) and self.client_order_id == other.client_order_id

    def __hash__(self) -> int:
        return hash(self.client_order_id)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.side.name} {self._quantity} {self.instrument_id}, "
            f"client_order_id={self.client_order_id}, status={self.status.name})"
        )
