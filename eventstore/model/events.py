"""The events of orders and accounts: what happened, as facts that never change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from operator import itemgetter
from typing import Any, Self

from eventstore.model.currency import Currency
from eventstore.model.enums import (
    AccountType,
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderType,
    TimeInForce,
    TrailingOffsetType,
    TriggerType,
)
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
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
from eventstore.model.record import EMPTY_INFO, Info, Record
from eventstore.model.values import Money, Price, Quantity, parse_decimal


class Event(Record):
    """Base of all events: `ts_event` and `ts_init` are UNIX nanoseconds."""

    __slots__ = ()
    event_id: UUID4
    ts_event: int
    ts_init: int

    def __hash__(self) -> int:
        return hash((self.__class__, self.event_id))


class OrderEvent(Event):
    """Base of all order events."""

    __slots__ = ()
    trader_id: TraderId
    strategy_id: StrategyId
    instrument_id: InstrumentId
    client_order_id: ClientOrderId


# Which of the conditional fields an order type has, in the order in which `options` shows them.
ORDER_OPTIONS: dict[OrderType, tuple[str, ...]] = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("price", "display_qty", "expire_time_ns"),
    OrderType.STOP_MARKET: ("trigger_price", "trigger_type", "expire_time_ns"),
    OrderType.STOP_LIMIT: ("price", "trigger_price", "trigger_type", "expire_time_ns", "display_qty"),
    OrderType.MARKET_TO_LIMIT: ("display_qty", "expire_time_ns"),
    OrderType.MARKET_IF_TOUCHED: ("trigger_price", "trigger_type", "expire_time_ns"),
    OrderType.LIMIT_IF_TOUCHED: ("price", "trigger_price", "trigger_type", "expire_time_ns", "display_qty"),
    OrderType.TRAILING_STOP_MARKET: (
        "activation_price",
        "trigger_price",
        "trigger_type",
        "trailing_offset",
        "trailing_offset_type",
        "expire_time_ns",
    ),
    OrderType.TRAILING_STOP_LIMIT: (
        "activation_price",
        "price",
        "trigger_price",
        "trigger_type",
        "limit_offset",
        "trailing_offset",
        "trailing_offset_type",
        "expire_time_ns",
        "display_qty",
    ),
}

_OPTION_NAMES = frozenset(name for names in ORDER_OPTIONS.values() for name in names)


class OrderInitialized(OrderEvent):
    """An order was made. Which of the conditional fields it has is a matter of its type, see `ORDER_OPTIONS`.

    `expire_time_ns` is in UNIX nanoseconds, 0 for none. `tags` and `linked_order_ids` are None or not empty.
    """

    __slots__ = ()
    order_side: OrderSide
    order_type: OrderType
    quantity: Quantity
    time_in_force: TimeInForce
    post_only: bool = False
    reduce_only: bool = False
    quote_quantity: bool = False
    price: Price | None = None
    trigger_price: Price | None = None
    trigger_type: TriggerType = TriggerType.NO_TRIGGER
    activation_price: Price | None = None
    limit_offset: Decimal | None = None
    trailing_offset: Decimal | None = None
    trailing_offset_type: TrailingOffsetType = TrailingOffsetType.NO_TRAILING_OFFSET
    expire_time_ns: int = 0
    display_qty: Quantity | None = None
    emulation_trigger: TriggerType = TriggerType.NO_TRIGGER
    trigger_instrument_id: InstrumentId | None = None
    contingency_type: ContingencyType = ContingencyType.NO_CONTINGENCY
    order_list_id: OrderListId | None = None
    linked_order_ids: tuple[ClientOrderId, ...] | None = None
    parent_order_id: ClientOrderId | None = None
    exec_algorithm_id: ExecAlgorithmId | None = None
    exec_algorithm_params: Info | None = None
    exec_spawn_id: ClientOrderId | None = None
    tags: tuple[str, ...] | None = None
    reconciliation: bool = False

    def _validate(self) -> None:
        foreign = _FOREIGN_OPTIONS[self.order_type]
        if foreign.get(self) != foreign.defaults:
            name = next(name for name in foreign.names if getattr(self, name) != _OPTION_DEFAULTS[name])
            raise InvalidValue(
                f"OrderInitialized {self.client_order_id}: a {self.order_type.name} order has no {name}; leave it out"
            )
        for name in _OFFSETS[self.order_type]:
            offset = getattr(self, name)
            if offset is None:  # a trailing stop may start without its prices, not without these
                raise InvalidValue(
                    f"OrderInitialized {self.client_order_id}: a {self.order_type.name} order needs a {name}"
                )
            parse_decimal(f"OrderInitialized.{name}", offset)

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        options = {name: values[name] for name in ORDER_OPTIONS[self.order_type]}
        return {name: value for name, value in values.items() if name not in _OPTION_NAMES} | {"options": options}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        options = values.get("options") or {}
        unknown = set(options) - _OPTION_NAMES
        if unknown:
            raise InvalidValue(f"OrderInitialized: options {sorted(unknown)} are not known")
        given = {name: value for name, value in options.items() if value is not None}
        return super().from_dict({name: value for name, value in values.items() if name != "options"} | given)


_OPTION_DEFAULTS = dict(zip(OrderInitialized._fields[::-1], OrderInitialized._defaults[::-1], strict=False))


class _Foreign:
    """The conditional fields that an order of type `kind` does not have, and what is there then."""

    def __init__(self, kind: OrderType, names: Iterable[str]) -> None:
        self.names = sorted(names)
        # All at once, as every loaded order passes here; with the type, so that what is got is a tuple in any case.
        self.get = itemgetter(*map(OrderInitialized._fields.index, (*self.names, "order_type", "order_type")))
        self.defaults = (*(_OPTION_DEFAULTS[name] for name in self.names), kind, kind)


_FOREIGN_OPTIONS = {kind: _Foreign(kind, _OPTION_NAMES - set(names)) for kind, names in ORDER_OPTIONS.items()}
_OFFSETS = {
    kind: [name for name in ("trailing_offset", "limit_offset") if name in names]
    for kind, names in ORDER_OPTIONS.items()
}


class OrderDenied(OrderEvent):
    """The node itself refused the order before it was sent."""

    __slots__ = ()
    reason: str


class OrderEmulated(OrderEvent):
    """The node keeps the order and watches the market for its trigger."""

    __slots__ = ()


class OrderReleased(OrderEvent):
    """An emulated order was triggered and is about to be sent."""

    __slots__ = ()
    released_price: Price


class OrderSubmitted(OrderEvent):
    """The order was sent to the venue."""

    __slots__ = ()
    account_id: AccountId


class OrderAccepted(OrderEvent):
    """The venue took the order."""

    __slots__ = ()
    venue_order_id: VenueOrderId
    account_id: AccountId
    reconciliation: bool = False


class OrderRejected(OrderEvent):
    """The venue refused the order."""

    __slots__ = ()
    account_id: AccountId
    reason: str
    reconciliation: bool = False
    due_post_only: bool = False


class OrderCanceled(OrderEvent):
    """The order was canceled at the venue, or in the node while it was emulated."""

    __slots__ = ()
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderExpired(OrderEvent):
    """The order's time ran out."""

    __slots__ = ()
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderTriggered(OrderEvent):
    """The order's trigger price was reached at the venue."""

    __slots__ = ()
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderPendingUpdate(OrderEvent):
    """A change was asked of the venue."""

    __slots__ = ()
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderPendingCancel(OrderEvent):
    """A cancel was asked of the venue."""

    __slots__ = ()
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderModifyRejected(OrderEvent):
    """The venue refused a change."""

    __slots__ = ()
    reason: str
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderCancelRejected(OrderEvent):
    """The venue refused a cancel."""

    __slots__ = ()
    reason: str
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False


class OrderUpdated(OrderEvent):
    """The order's quantity or prices were changed; None leaves a price as it was.

    `is_quote_quantity` says whether the quantity is in units of the quote currency from here on. None says nothing and
    leaves that as it was: so it is in logs of schema version 1, and with NautilusTrader 1.221.
    """

    __slots__ = ()
    quantity: Quantity
    price: Price | None = None
    trigger_price: Price | None = None
    venue_order_id: VenueOrderId | None = None
    account_id: AccountId | None = None
    reconciliation: bool = False
    is_quote_quantity: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        if self.is_quote_quantity is None:
            del values["is_quote_quantity"]
        return values


class OrderFilled(OrderEvent):
    """A trade: part of the order, or all of it, was filled."""

    __slots__ = ()
    venue_order_id: VenueOrderId
    account_id: AccountId
    trade_id: TradeId
    order_side: OrderSide
    order_type: OrderType
    last_qty: Quantity
    last_px: Price
    currency: Currency
    commission: Money
    liquidity_side: LiquiditySide
    position_id: PositionId | None = None
    reconciliation: bool = False
    info: Info = EMPTY_INFO

    @property
    def is_buy(self) -> bool:
        """Whether the side is BUY."""
        return self.order_side is OrderSide.BUY

    @property
    def is_sell(self) -> bool:
        """Whether the side is SELL."""
        return self.order_side is OrderSide.SELL


class AccountBalance(Record):
    """A balance in one currency: what there is, what is locked and what is free."""

    __slots__ = ()
    total: Money
    locked: Money
    free: Money

    @property
    def currency(self) -> Currency:
        """The currency of all three."""
        return self.total.currency

    def _validate(self) -> None:
        if not self.total.currency == self.locked.currency == self.free.currency:
            raise InvalidValue(f"AccountBalance: {self.total}, {self.locked}, {self.free} are not in one currency")
        if self.total != self.locked + self.free:
            raise InvalidValue(f"AccountBalance: {self.total} is not {self.locked} locked and {self.free} free")

    def to_dict(self) -> dict[str, Any]:
        return {"type": "AccountBalance"} | _amounts(self) | {"currency": self.currency.code}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**_read_amounts(cls, values))


class MarginBalance(Record):
    """Margin held in one currency, for one instrument or (None) for all."""

    __slots__ = ()
    initial: Money
    maintenance: Money
    instrument_id: InstrumentId | None = None

    @property
    def currency(self) -> Currency:
        """The currency of both."""
        return self.initial.currency

    def _validate(self) -> None:
        if self.initial.currency != self.maintenance.currency:
            raise InvalidValue(f"MarginBalance: {self.initial} and {self.maintenance} are not in one currency")

    def to_dict(self) -> dict[str, Any]:
        shown = {"currency": self.currency.code, "instrument_id": self.instrument_id and str(self.instrument_id)}
        return {"type": "MarginBalance"} | _amounts(self) | shown

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        instrument_id = values.get("instrument_id")
        return cls(
            **_read_amounts(cls, values), instrument_id=None if instrument_id is None else InstrumentId(instrument_id)
        )


def _amounts(record: Record) -> dict[str, str]:
    return {
        name: format(value.amount, "f")
        for name, value in zip(record._fields, record, strict=True)
        if isinstance(value, Money)
    }


def _read_amounts(kind: type[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        currency = Currency.from_str(values["currency"])
        return {spec.name: Money(values[spec.name], currency) for spec in kind._specs if spec.kind is Money}
    except KeyError as e:
        raise InvalidValue(f"{kind.__name__}: no value for {e.args[0]}") from None


class AccountState(Event):
    """The state of an account at a time. `base_currency` is None for an account in several currencies."""

    __slots__ = ()
    account_id: AccountId
    account_type: AccountType
    base_currency: Currency | None
    balances: tuple[AccountBalance, ...]
    margins: tuple[MarginBalance, ...] = ()
    reported: bool = False
    info: Info = EMPTY_INFO


ORDER_EVENTS: dict[str, type[OrderEvent]] = {kind.__name__: kind for kind in OrderEvent.__subclasses__()}
