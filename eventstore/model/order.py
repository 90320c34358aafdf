"""The order: a fold of its events. The nine types are in `eventstore.model.orders`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

from eventstore.model.enums import (
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
    TriggerType,
)
from eventstore.model.errors import DuplicateFill, EventMismatch, InvalidTransition, InvalidValue
from eventstore.model.events import (
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
from eventstore.model.order_amendments import AmendableOrder, Amendment
from eventstore.model.order_status import LOCAL, TRANSITIONS, legal_events
from eventstore.model.values import EXACT, Money

_ZERO = Decimal(0)
_NOTHING_FILLED = (0, _ZERO, 0.0)

# Enum members as globals: a member is a slow attribute, and every event of every loaded order passes here.
_NO_TRIGGER = TriggerType.NO_TRIGGER
_NO_LIQUIDITY_SIDE = LiquiditySide.NO_LIQUIDITY_SIDE
_NO_CONTINGENCY = ContingencyType.NO_CONTINGENCY
_NO_ORDER_SIDE = OrderSide.NO_ORDER_SIDE
_GTD = TimeInForce.GTD
_INITIALIZED = OrderStatus.INITIALIZED
_SUBMITTED = OrderStatus.SUBMITTED
_ACCEPTED = OrderStatus.ACCEPTED
_PENDING_UPDATE = OrderStatus.PENDING_UPDATE
_PENDING_CANCEL = OrderStatus.PENDING_CANCEL
_PARTIALLY_FILLED = OrderStatus.PARTIALLY_FILLED
_FILLED = OrderStatus.FILLED

# Where every order event has its trader, strategy, instrument and client order id.
_ID_NAMES = OrderEvent._fields[-4:]
_IDS = slice(len(OrderEvent._fields) - 4, len(OrderEvent._fields))


class Order(AmendableOrder):
    """An order: made by `create`, changed by `apply`, rebuilt by `from_events`.

    Orders are equal if their ids are.
    """

    __slots__ = ()

    _types: ClassVar[dict[OrderType, type[Order]]] = {}
    _takes_price: ClassVar[bool] = False
    _takes_trigger_price: ClassVar[bool] = False
    _can_trigger: ClassVar[bool] = False
    _can_be_emulated: ClassVar[bool] = True
    _can_be_replaced: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "order_type" in cls.__dict__:
            Order._types[cls.order_type] = cls

    def __init__(self, init: OrderInitialized) -> None:
        """Make the order that `init` describes; `create` finds the class by itself.

        Raises
        ------
        TypeError
            If `init` is no `OrderInitialized`.
        InvalidValue
            If it describes no possible order of this type.
        """
        if init.__class__ is not OrderInitialized:
            raise TypeError(f"{type(self).__name__}: expected an OrderInitialized, got {type(init).__name__}")
        self._check(init)
        self._init = init
        self._events = [init]
        self.trader_id, self.strategy_id, self.instrument_id, self.client_order_id = init[_IDS]
        self.status = self._status_before = _INITIALIZED
        self._quantity = init.quantity
        self._is_quote_quantity = init.quote_quantity
        self._price = init.price
        self._trigger_price = init.trigger_price
        self._emulation_trigger = init.emulation_trigger if self._can_be_emulated else _NO_TRIGGER
        self._liquidity_side = _NO_LIQUIDITY_SIDE
        self._amendments = self._commissions = self._trade_ids = self._venue_order_ids = None
        self._filled = self._overfilled = self._slippage_from = self._position_id = None
        self._notional = _ZERO
        self._float_average = _NOTHING_FILLED
        self.venue_order_id = self.account_id = self.last_trade_id = None
        self.ts_submitted = self.ts_accepted = self.ts_closed = self._ts_triggered = 0
        self.ts_init = self.ts_last = init.ts_init

    # -- making -------------------------------------------------------------------------------------------------------

    @staticmethod
    def create(init: OrderInitialized) -> Order:
        """Make the order that `init` describes, of the class for its type.

        Raises
        ------
        TypeError
            If `init` is no `OrderInitialized`.
        InvalidValue
            If it describes no possible order of its type.
        """
        if init.__class__ is not OrderInitialized:
            raise TypeError(f"Order: expected an OrderInitialized, got {type(init).__name__} ({init!r:.80})")
        return Order._types[init.order_type](init)

    @staticmethod
    def from_events(events: Sequence[OrderEvent], amendments: Sequence[Amendment] = ()) -> Order:
        """Fold `events`, with `amendments` between them; an `OrderInitialized` that is not the first is a `transform`.

        Raises
        ------
        TypeError
            If the first is no `OrderInitialized`, or another is no order event.
        InvalidValue
            If there are none, or as `apply` does.
        InvalidTransition, DuplicateFill, EventMismatch
            As `apply` does.
        """
        if not events:
            raise InvalidValue("Order: there are no events to build it from; the first has to be its OrderInitialized")
        first: Any = events[0]
        order = Order.create(first)
        if amendments:
            order._amend_at(1, amendments)
        ids, steps = first[_IDS], _STEPS
        for event in events[1:]:
            step = steps.get(event.__class__)
            if step is not None and event[_IDS] == ids:  # as `apply`, without its call
                step(order, event)
                order._events.append(event)
                order.ts_last = event.ts_event
            elif event.__class__ is OrderInitialized:
                order = order.transform(event)
            else:
                order.apply(event)  # which says what is wrong with it
            if amendments:
                order._amend_at(len(order._events), amendments)
        return order

    def _amend_at(self, count: int, amendments: Sequence[Amendment]) -> None:
        for after, name, value in amendments:
            if after == count:
                self.amend({name: value})

    def transform(self, init: OrderInitialized) -> Order:
        """Return the order that an emulated order becomes when it is released, with this order's history.

        It starts anew as `init` says; only `ts_init` stays that of the first event. This order is left as it is.

        Raises
        ------
        TypeError
            If `init` is no `OrderInitialized`.
        EventMismatch
            If it is of another order, or of the other side.
        InvalidTransition
            If this order was already sent to the venue, or is closed.
        InvalidValue
            If it describes no possible order.
        """
        order = Order.create(init)
        if init[_IDS] != self._init[_IDS]:
            self._refuse_foreign(init)
        if init.order_side is not self._init.order_side:
            raise EventMismatch(f"{self._label}: can not become a {init.order_side.name} order; the side has to stay")
        if self.status not in LOCAL:
            raise InvalidTransition(
                f"{self._label}: OrderInitialized is for an order that was not sent yet, and this one is "
                f"{self.status.name}. Possible now: {', '.join(legal_events(self.status))}"
            )
        order._events = [*self._events, init]
        order.ts_init = self.ts_init
        return order

    def _check(self, init: OrderInitialized) -> None:
        """Raise `InvalidValue` for what an order of this type can not be."""
        if init.order_type is not self.order_type:
            self._refuse_init(init, f"it can not be made as a {type(self).__name__}; use Order.create")
        if not init.quantity:
            self._refuse_init(init, "the quantity is zero; give it a positive one")
        if init.order_side is _NO_ORDER_SIDE:
            self._refuse_init(init, "it has no side; use BUY or SELL")
        if init.contingency_type is not _NO_CONTINGENCY and not init.linked_order_ids:
            self._refuse_init(init, f"contingency {init.contingency_type.name} needs linked_order_ids")
        if init.exec_algorithm_id is not None and init.exec_spawn_id is None:
            self._refuse_init(init, "exec_algorithm_id needs an exec_spawn_id; a primary order has its own id there")
        if init.time_in_force is _GTD:
            if not init.expire_time_ns:
                self._refuse_init(init, "time in force GTD needs an expire_time_ns")
        elif init.expire_time_ns:
            self._refuse_init(init, f"{init.time_in_force.name} has no expire_time_ns; use GTD, or set it to 0")

    @staticmethod
    def _refuse_init(init: OrderInitialized, problem: str) -> NoReturn:
        raise InvalidValue(f"Order {init.client_order_id} ({init.order_type.name}): {problem}")

    # -- applying -----------------------------------------------------------------------------------------------------

    def apply(self, event: OrderEvent) -> None:
        """Change the order as `event` says and add it to the events. If it raises, the order is as it was.

        Raises
        ------
        TypeError
            If `event` is no order event.
        EventMismatch
            If it is of another order.
        InvalidTransition
            If it is not possible in the present status.
        DuplicateFill
            If its trade was applied before.
        InvalidValue
            If it fills nothing, or updates the quantity to zero.
        """
        step = _STEPS.get(event.__class__)
        if step is None:
            self._refuse_class(event)
        if event[_IDS] != self._init[_IDS]:
            self._refuse_foreign(event)
        step(self, event)
        self._events.append(event)
        self.ts_last = event.ts_event

    def _next(self, asked: OrderStatus, event: OrderEvent) -> OrderStatus:
        """The status that follows when `asked` is asked for."""
        status = TRANSITIONS[self.status].get(asked)
        if status is None:
            raise InvalidTransition(
                f"{self._label}: {type(event).__name__} asks for {asked.name}, which does not follow "
                f"{self.status.name}. Possible now: {', '.join(legal_events(self.status))}"
            )
        return status

    def _check_venue(self, event: Any) -> None:
        mine, other = self.venue_order_id, event.venue_order_id
        if mine is not None and other is not None and mine != other:
            raise EventMismatch(
                f"{self._label}: {type(event).__name__} is of venue order {other}, and this one is {mine}; "
                "an OrderUpdated has to come first if the venue replaced it"
            )

    def _refuse_class(self, event: object) -> NoReturn:
        if isinstance(event, OrderInitialized):
            raise InvalidTransition(
                f"{self._label}: OrderInitialized can not be applied to an order that is {self.status.name}; "
                f"use transform. Possible now: {', '.join(legal_events(self.status))}"
            )
        raise TypeError(f"{self._label}: expected an order event, got {type(event).__name__} ({event!r:.80})")

    def _refuse_foreign(self, event: OrderEvent) -> NoReturn:
        differing = [
            f"its {name} is {theirs}, not {mine}"
            for name, theirs, mine in zip(_ID_NAMES, event[_IDS], self._init[_IDS], strict=True)
            if theirs != mine
        ]
        raise EventMismatch(
            f"{self._label}: {type(event).__name__} belongs to another order: {'; '.join(differing)}. Apply it there"
        )

    def _deny(self, event: OrderDenied) -> None:
        self.status = self._next(OrderStatus.DENIED, event)
        self.ts_closed = event.ts_event

    def _emulate(self, event: OrderEmulated) -> None:
        self.status = self._next(OrderStatus.EMULATED, event)

    def _release(self, event: OrderReleased) -> None:
        self.status = self._next(OrderStatus.RELEASED, event)
        self._end_emulation()

    def _end_emulation(self) -> None:
        self._emulation_trigger = _NO_TRIGGER

    def _submit(self, event: OrderSubmitted) -> None:
        self.status = self._next(_SUBMITTED, event)
        self.account_id = event.account_id
        self.ts_submitted = event.ts_event

    def _accept(self, event: OrderAccepted) -> None:
        self._check_venue(event)
        self.status = self._next(_ACCEPTED, event)
        self.venue_order_id = event.venue_order_id
        self.ts_accepted = event.ts_event

    def _reject(self, event: OrderRejected) -> None:
        self.status = self._next(OrderStatus.REJECTED, event)
        self.ts_closed = event.ts_event

    def _cancel(self, event: OrderCanceled) -> None:
        self._end(OrderStatus.CANCELED, event)

    def _expire(self, event: OrderExpired) -> None:
        self._end(OrderStatus.EXPIRED, event)

    def _end(self, asked: OrderStatus, event: OrderEvent) -> None:
        self._check_venue(event)
        self.status = self._next(asked, event)
        self.ts_closed = event.ts_event
        self._end_emulation()

    def _trigger(self, event: OrderTriggered) -> None:
        self._check_venue(event)
        if not self._can_trigger:
            raise InvalidTransition(
                f"{self._label}: OrderTriggered is for orders that a trigger makes limit orders, and this one is not; "
                f"it is {self.status.name}. Possible now: {', '.join(legal_events(self.status))}"
            )
        self.status = self._next(OrderStatus.TRIGGERED, event)
        self._ts_triggered = event.ts_event

    def _pend_update(self, event: OrderPendingUpdate) -> None:
        self._pend(_PENDING_UPDATE, event)

    def _pend_cancel(self, event: OrderPendingCancel) -> None:
        self._pend(_PENDING_CANCEL, event)

    def _pend(self, asked: OrderStatus, event: OrderEvent) -> None:
        self._check_venue(event)
        before = self.status
        self.status = self._next(asked, event)
        if before is not _PENDING_UPDATE and before is not _PENDING_CANCEL:
            self._status_before = before

    def _reject_modify(self, event: OrderModifyRejected) -> None:
        self._check_venue(event)
        if self.status is _PENDING_UPDATE:
            self.status = self._next(self._status_before, event)

    def _reject_cancel(self, event: OrderCancelRejected) -> None:
        self._check_venue(event)
        if self.status is _PENDING_CANCEL:
            self.status = self._next(self._status_before, event)

    def _update(self, event: OrderUpdated) -> None:
        if not event.quantity:
            raise InvalidValue(f"{self._label}: the quantity can not be updated to zero; cancel the order instead")
        if self.status is _PENDING_UPDATE:
            self.status = self._next(self._status_before, event)
        self._quantity = event.quantity
        if event.is_quote_quantity is not None:
            self._is_quote_quantity = event.is_quote_quantity
        if event.price is not None and self._takes_price:
            self._price = event.price
        if event.trigger_price is not None and self._takes_trigger_price:
            self._trigger_price = event.trigger_price
        # The venue may give a new id when it replaces the order; an order it never accepted gets none.
        mine, new = self.venue_order_id, event.venue_order_id
        if mine is not None and new is not None and mine != new and self._can_be_replaced:
            if self._venue_order_ids is None:
                self._venue_order_ids = []
            self._venue_order_ids.append(mine)
            self.venue_order_id = new

    def _fill(self, event: OrderFilled) -> None:
        self._check_venue(event)
        trade_id, last_qty, last_px, before = event.trade_id, event.last_qty, event.last_px, self._filled
        trades = self._trade_ids
        if trade_id == self.last_trade_id or (trades is not None and trade_id in trades):
            raise DuplicateFill(f"{self._label}: trade {trade_id} was applied before; leave this OrderFilled out")
        if event.order_side is not self._init.order_side:
            raise EventMismatch(f"{self._label}: trade {trade_id} is a {event.order_side.name}, the order is not")
        filled = last_qty if before is None else EXACT.add(before, last_qty)
        status = self._next(_PARTIALLY_FILLED if filled < self._quantity else _FILLED, event)
        if not last_qty:
            raise InvalidValue(f"{self._label}: trade {trade_id} fills nothing; a fill has to be more than zero")
        paid = event.commission if self._commissions is None else self._paid_with(self._commissions, event.commission)
        if filled > self._quantity:  # a venue may do so, and then it has happened
            excess = EXACT.subtract(filled, self._quantity)
            self._overfilled = excess if self._overfilled is None else EXACT.add(self._overfilled, excess)
        self._commissions = paid
        if trades is not None:
            trades[trade_id] = None
        elif self.last_trade_id is not None:
            self._trade_ids = {self.last_trade_id: None, trade_id: None}
        self._notional = EXACT.fma(last_px, last_qty, self._notional)
        self.status = status
        self._filled = filled
        self._slippage_from = self._price if self._takes_price else self._trigger_price
        self.venue_order_id = event.venue_order_id
        self.last_trade_id = trade_id
        self._position_id = event.position_id
        self._liquidity_side = event.liquidity_side
        if not self.ts_accepted:
            self.ts_accepted = event.ts_event
        if status is _FILLED:
            self.ts_closed = event.ts_event

    @staticmethod
    def _paid_with(paid: Money | dict[str, Money], commission: Money) -> Money | dict[str, Money]:
        """Return all that was `paid`, with `commission`."""
        code = commission.currency.code
        if isinstance(paid, Money):
            if paid.currency.code == code:
                return paid + commission
            return {paid.currency.code: paid, code: commission}
        return paid | {code: paid[code] + commission if code in paid else commission}


_STEPS: Mapping[type[OrderEvent], Callable[[Order, Any], None]] = {
    OrderDenied: Order._deny,
    OrderEmulated: Order._emulate,
    OrderReleased: Order._release,
    OrderSubmitted: Order._submit,
    OrderAccepted: Order._accept,
    OrderRejected: Order._reject,
    OrderCanceled: Order._cancel,
    OrderExpired: Order._expire,
    OrderTriggered: Order._trigger,
    OrderPendingUpdate: Order._pend_update,
    OrderPendingCancel: Order._pend_cancel,
    OrderModifyRejected: Order._reject_modify,
    OrderCancelRejected: Order._reject_cancel,
    OrderUpdated: Order._update,
    OrderFilled: Order._fill,
}
