"""What a call takes of NautilusTrader's objects: references to what may be another by the time it is written.

An order's events are only ever added to, so that how many there were says which; what is not its events, and may be set
without one, is taken at the call. A position's events are taken themselves: it begins again, and fills are purged.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model.enums import OrderStatus, TriggerType
from nautilus_trader.model.objects import Quantity
from nautilus_trader.model.orders import TrailingStopLimitOrder, TrailingStopMarketOrder

from eventstore.errors import Refused
from eventstore.integrations.nautilus.conversion import CapturedInit, to_record
from eventstore.model.identifiers import LENGTH_MAX, Identifier
from eventstore.model.record import TEXT_BYTES_MAX

NO_TRIGGER = TriggerType.NO_TRIGGER
FILLED, PARTIALLY_FILLED = OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED
TRAILING = frozenset({TrailingStopLimitOrder, TrailingStopMarketOrder})
_CLOSED = frozenset(
    {OrderStatus.DENIED, OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.FILLED}
)

Initialized = nautilus_events.OrderInitialized
Filled = nautilus_events.OrderFilled
_Submitted = nautilus_events.OrderSubmitted
_SKIPPED = (_Submitted, nautilus_events.OrderCancelRejected)

LEADS_TO = {
    nautilus_events.OrderEmulated: OrderStatus.EMULATED,
    nautilus_events.OrderReleased: OrderStatus.RELEASED,
    _Submitted: OrderStatus.SUBMITTED,
    nautilus_events.OrderAccepted: OrderStatus.ACCEPTED,
    nautilus_events.OrderPendingUpdate: OrderStatus.PENDING_UPDATE,
    nautilus_events.OrderPendingCancel: OrderStatus.PENDING_CANCEL,
    nautilus_events.OrderTriggered: OrderStatus.TRIGGERED,
}
"""The status of an order whose last event it is. To ask an order for its status takes as long as all the rest: an
enumeration's member is made. Events that are not here may lead to several; of a fill, whether it is closed says which.
"""

ENDS = {
    nautilus_events.OrderDenied: OrderStatus.DENIED,
    nautilus_events.OrderRejected: OrderStatus.REJECTED,
    nautilus_events.OrderCanceled: OrderStatus.CANCELED,
    nautilus_events.OrderExpired: OrderStatus.EXPIRED,
}
"""The same of events that close it. Then, what its liquidity side was set to without a fill is written."""

_STATUS = LEADS_TO | ENDS

Taken = tuple[Any, ...]

take_order = attrgetter(
    "client_order_id", "event_count", "last_event", "quantity", "position_id", "is_quote_quantity", "venue_order_id"
)
"""What may change of an order that is neither emulated nor trailing. One call, so that it is all of one moment."""

_REST = ("status", "emulation_trigger", "liquidity_side")
_take_rest = attrgetter(*_REST)
_take_trailing = attrgetter(*_REST, "is_activated", "activation_price")


class Seen:
    """An order of NautilusTrader's as it was at a call, with those of its attributes that are written or compared.

    Parameters
    ----------
    order : Order
    taken : tuple
        What `take_order` took.
    status : OrderStatus
    rest : tuple, optional
        Emulation trigger, liquidity side and, of a trailing order, whether it is active and from which price on. None
        for an order that is neither emulated nor trailing, if its liquidity side is not asked for: that is None then.
    frozen : mapping, optional
        Events that hold what their maker may change, by their `id`, as they were.
    """

    __slots__ = (
        "activation_price",
        "emulation_trigger",
        "event_count",
        "frozen",
        "is_activated",
        "is_quote_quantity",
        "last_event",
        "liquidity_side",
        "nautilus_id",
        "order",
        "position_id",
        "quantity",
        "status",
        "venue_order_id",
    )

    def __init__(
        self, order: Any, taken: Taken, status: Any, rest: Taken | None = None, frozen: dict[int, Any] | None = None
    ) -> None:
        self.order = order
        (
            self.nautilus_id,
            self.event_count,
            self.last_event,
            self.quantity,
            self.position_id,
            self.is_quote_quantity,
            self.venue_order_id,
        ) = taken
        self.status = status
        self.frozen = frozen
        self.liquidity_side: Any = None
        self.emulation_trigger: Any = NO_TRIGGER
        if rest is not None:
            self.emulation_trigger, self.liquidity_side = rest[:2]
            if len(rest) > 2:
                self.is_activated, self.activation_price = rest[2:]

    @classmethod
    def whole(cls, order: Any, frozen: dict[int, Any] | None = None) -> Seen:
        """Take all of `order` now."""
        taken = take_order(order)
        status, *rest = (_take_trailing if order.__class__ in TRAILING else _take_rest)(order)
        return cls(order, taken, status, tuple(rest), frozen)

    @classmethod
    def plain(cls, order: Any, taken: Taken, closed: bool | None, liquidity_side: Any = None) -> Seen:
        """Return an order that is neither emulated nor trailing, and of which `taken` was taken.

        `closed` says whether it was closed, if the last event is a fill; otherwise that is one of `LEADS_TO` or `ENDS`.
        """
        rest = None if liquidity_side is None else (NO_TRIGGER, liquidity_side)
        if closed is not None:
            return cls(order, taken, FILLED if closed else PARTIALLY_FILLED, rest)
        kind = taken[2].__class__
        seen = cls(order, taken, _STATUS[kind], rest)
        if kind is _Submitted and taken[1] > 2 and _is_updating(seen.events):
            seen.status = OrderStatus.PENDING_UPDATE
        return seen

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self.status in _CLOSED

    @property
    def events(self) -> list[Any]:
        """The events that it had."""
        events: list[Any] = self.order.events
        del events[self.event_count :]
        return events

    @property
    def filled_qty(self) -> Any:
        """How much of it was filled."""
        fills = [event.last_qty for event in self.events if event.__class__ is Filled]
        return Quantity.from_raw(sum(fill.raw for fill in fills), self.quantity.precision)

    def is_still(self) -> bool:
        """Whether the order is now as it was."""
        now = Seen.whole(self.order)
        return all(getattr(self, name, None) is getattr(now, name, None) for name in _COMPARED)


_COMPARED = (*(name for name in Seen.__slots__ if name not in ("order", "frozen", "event_count")),)


def _is_updating(events: list[Any]) -> bool:
    """Whether an order whose last event is an `OrderSubmitted` was about to be updated: then it still is."""
    kind = next((event.__class__ for event in reversed(events) if event.__class__ not in _SKIPPED), None)
    return kind is nautilus_events.OrderPendingUpdate


CHECKED_FILLS = 32
"""Up to so many fills of a position all are taken; to copy them costs little. Of more, only the last one, if there were
one less at the call before.
"""


class SeenPosition(NamedTuple):
    """A position of NautilusTrader's as it was at a call.

    Parameters
    ----------
    closed : bool
    fill_count : int
        How many fills it had.
    last : OrderFilled or None
        The last of them.
    fills : list of OrderFilled, optional
        All of them; None if only the last one is new.
    frozen : mapping, optional
        Fills that hold what their maker may change, by their `id`, as they were.
    """

    position: Any
    closed: bool
    fill_count: int
    last: Any
    fills: list[Any] | None
    frozen: dict[int, Any] | None

    @classmethod
    def of(cls, position: Any, closed: bool, fills: Any, frozen: dict[int, Any] | None) -> SeenPosition:
        """Return what was taken in a call: its `fills`, or how many there were and the last of them."""
        if fills.__class__ is list:
            return cls(position, closed, len(fills), fills[-1] if fills else None, fills, frozen)
        count, last = fills
        return cls(position, closed, count, last, None, frozen)

    def all_fills(self) -> list[Any]:
        """The fills that it had; if they were not taken, those that it has now, as far as that."""
        if self.fills is not None:
            return self.fills
        fills: list[Any] = self.position.events
        place = next((i for i in range(len(fills) - 1, -1, -1) if fills[i] is self.last), None)
        return [self.last] if place is None else fills[: place + 1]


# -- What is its maker's ---------------------------------------------------------------------------------------

_are_str = frozenset({str}).issuperset


def are_plain(tags: tuple[Any, ...]) -> bool:
    """Whether `tags` are text that can certainly be stored."""
    if not _are_str(map(type, tags)):
        return False
    text = "".join(tags)
    return text.isascii() and len(text) <= TEXT_BYTES_MAX


def freeze(operation: str, key: str, event: Any) -> Any:
    """Return `event`, or what stands for it if its maker may change something in it: as it is now.

    Raises
    ------
    Refused
        If that can not be stored.
    """
    kind = event.__class__
    if kind is Filled:
        if not event.info:
            return event
    elif kind is not Initialized:
        return event
    elif not event.exec_algorithm_params:
        tags = event.tags
        if not tags:
            return event
        taken = tuple(tags)
        if are_plain(taken):
            return CapturedInit(event, taken)
    try:
        return to_record(event)
    except (TypeError, ValueError) as error:
        raise Refused(f"{operation} {key}: it can not be stored ({error}); nothing was accepted") from error


def frozen(operation: str, key: str, events: Sequence[Any]) -> dict[int, Any] | None:
    """Return what stands for those of `events` for which something does, by their `id`. Raises as `freeze`."""
    found: dict[int, Any] | None = None
    for event in events:
        made = freeze(operation, key, event)
        if made is not event:
            found = {} if found is None else found
            found[id(event)] = made
    return found


def as_frozen(operation: str, key: str, events: Sequence[Any], known: dict[int, Any] | None) -> tuple[Any, ...]:
    """Return `events`, and what stands for some of them: what is `known`, or else as it is now. Raises as `freeze`."""
    known = known or {}
    return tuple([known.get(id(event)) or freeze(operation, key, event) for event in events])


def check_key(kind: type[Identifier], text: str) -> None:
    """Raise `InvalidIdentifier` for an id that can not be part of a key."""
    if not text.isprintable() or "{" in text or "}" in text or len(text) > LENGTH_MAX:
        kind(text)  # which says what is wrong with it
