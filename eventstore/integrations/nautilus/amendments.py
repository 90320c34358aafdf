"""What NautilusTrader sets on a live order without an event, and setting it again on one that was loaded.

The emulator takes the emulation trigger away before it cancels or transforms an order. The execution engine turns a
quantity in quote currency into one in base currency, gives the orders that depend on a filled one its position, and the
primary order of an execution algorithm that of what it spawned. The matching engine sets the liquidity side, and makes
trailing stops active. None of this is in an event, so it is kept beside them: as the number of events that the order
had, the attribute and the value. It is the form of `eventstore.model.order_amendments`, and means the same there.

An activated trailing stop always has an amendment of its `activation_price`, be it to the price that it has: that is
how a loaded one is known to be active.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model.objects import Quantity as NautilusQuantity

from eventstore.integrations.nautilus.capturing import TRAILING
from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.events import identifiers, nautilus_identifiers
from eventstore.integrations.nautilus.inside import set_inside
from eventstore.model.enums import LiquiditySide, OrderStatus, TriggerType
from eventstore.model.identifiers import PositionId
from eventstore.model.order_amendments import Amendment

_NO_TRIGGER = TriggerType.NO_TRIGGER
_FILLED = OrderStatus.FILLED
_NO_LIQUIDITY_SIDE = LiquiditySide.NO_LIQUIDITY_SIDE

_Initialized = nautilus_events.OrderInitialized
_Updated = nautilus_events.OrderUpdated
_Filled = nautilus_events.OrderFilled
_ENDS_EMULATION = frozenset(
    {nautilus_events.OrderReleased, nautilus_events.OrderCanceled, nautilus_events.OrderExpired}
)
UPDATES_QUOTE = hasattr(_Updated, "is_quote_quantity")
"""Whether the installed NautilusTrader's `OrderUpdated` says if the quantity is in quote currency."""

_position_ids = identifiers(PositionId)
_nautilus_position_ids = nautilus_identifiers(PositionId)


class Watch:
    """Finds what was set on one live order without an event since it was last looked at.

    It is made when an order is added or loaded and asked with every update. An order that was transformed is another
    object, and needs another watch.

    Parameters
    ----------
    order : Order or Seen
        The live order of NautilusTrader, or as it was at a call.
    amendments : sequence of Amendment, optional
        Of an order that was loaded: what it was loaded with. None for one that is new here.
    """

    __slots__ = (
        "_activated",
        "_activation",
        "_count",
        "_emulation",
        "_is_quote",
        "_liquidity",
        "_position",
        "_quantity",
        "_trails",
        "_written",
        "amendments",
    )

    def __init__(self, order: Any, amendments: Sequence[Amendment] | None = None) -> None:
        self.amendments: tuple[Amendment, ...] = ()
        """All that was set without an event as far as this has seen, in the order of their counts."""
        self._written = True
        self._trails = getattr(order, "order", order).__class__ in TRAILING
        self._count = 0
        if amendments is not None:
            self._count = order.event_count
            self.amendments = tuple(amendments)
            self._remember(order)
            return
        self._quantity: Any = None
        self._position: Any = None
        self._is_quote: Any = None
        self._liquidity: Any = None
        self._emulation: Any = None
        self._activation, self._activated = None, False

    def begin(self, order: Any, init: Any, emulation: Any) -> bool:
        """Take `order`, which has no event but `init`, as it is; return whether `init` says all that it is."""
        quantity, is_quote = order.quantity, order.is_quote_quantity
        if (
            quantity is not init.quantity
            or is_quote is not init.quote_quantity
            or order.position_id is not None
            or self._trails
        ):
            return False
        self._quantity, self._is_quote, self._emulation = quantity, is_quote, emulation
        self._liquidity = _NO_LIQUIDITY_SIDE
        self._count = 1
        return True

    def is_explained(self, order: Any, event: Any, emulation: Any) -> bool:
        """Whether what `order` is now is what it was, but for what `event`, its last one, says. Costs next to nothing.

        The liquidity side is not looked at: fills say it, and what else sets it is found by a `look` in the end.
        """
        if (
            order.quantity is not self._quantity
            or emulation is not self._emulation
            or order.is_quote_quantity is not self._is_quote
            or self._trails
            or not self._written
        ):
            return False
        position = order.position_id
        if position is not self._position:
            if event.__class__ is not _Filled or event.position_id is not position:
                return False
            self._position = position
        return True

    def look(self, order: Any, since: int = 0) -> tuple[Amendment, ...] | None:
        """Return all amendments if there are new ones since the last look, else None.

        Whoever can not write what this returned says so with `again`.

        Parameters
        ----------
        order : Order or Seen
        since : int, optional
            How many events the order had at the last look, if the caller knows. A look that finds nothing does not
            count them; without this, an amendment is placed behind the last event that changed what is looked at.
        """
        if (
            order.quantity is self._quantity
            and order.position_id is self._position
            and order.is_quote_quantity is self._is_quote
            and order.liquidity_side in (self._liquidity, None)
            and order.emulation_trigger == self._emulation == _NO_TRIGGER  # an event may say that it ended, see below
            and self._written
            and not (self._trails and self._has_moved(order))
        ):
            return None
        return self._compare(order, max(self._count, since) if self._count else 0)

    def again(self) -> None:
        """Say that what `look` returned was not written: the next one returns it again."""
        self._written = False

    def _has_moved(self, order: Any) -> bool:
        return order.is_activated is not self._activated or order.activation_price is not self._activation

    def _remember(self, order: Any, explained: Any = None) -> None:
        self._quantity = order.quantity
        self._position = order.position_id
        self._is_quote = order.is_quote_quantity
        self._liquidity = order.liquidity_side
        if self._liquidity is None:  # not taken, see `Seen`: what else it is, is found when it is
            self._liquidity = _NO_LIQUIDITY_SIDE if explained is None else explained.liquidity[1]
        self._emulation = order.emulation_trigger
        if self._trails:
            self._activation, self._activated = order.activation_price, order.is_activated

    def _compare(self, order: Any, start: int) -> tuple[Amendment, ...] | None:
        """Look at each attribute: what is it by the events behind the `start` first, and what is it?"""
        count = order.event_count
        if count != start + 1:
            events = order.events
            if start == 0:  # begins anew with the last `OrderInitialized`
                start = max(i for i, event in enumerate(events) if event.__class__ is _Initialized)
            events = events[start:]
        else:
            events = (order.last_event,)
        explained = _Explained(start, self)
        for place, event in enumerate(events, start + 1):
            explained.take(place, event)
        new = explained.differing(order)
        if self._trails and order.is_activated and not self._activated:
            new.append((max(start, 1), "activation_price", values.price_from_nautilus(order.activation_price)))
        self._count = count
        self._remember(order, explained)
        if not new:
            if self._written:
                return None
        else:
            replaced = {(place, name) for place, name, _ in new}
            kept = [known for known in self.amendments if known[:2] not in replaced]
            self.amendments = tuple(sorted([*kept, *new], key=_count_of))
        self._written = True
        return self.amendments


def _count_of(amendment: Amendment) -> int:
    return amendment[0]


class _Explained:
    """What the attributes of an order are by its events, and behind which event they are so."""

    __slots__ = ("count", "emulation", "is_quote", "liquidity", "position", "quantity")

    def __init__(self, count: int, watch: Watch) -> None:
        self.count = count = max(count, 1)
        self.quantity: tuple[int, Any] = (count, watch._quantity)
        self.position: tuple[int, Any] = (count, watch._position)
        self.is_quote: tuple[int, Any] = (count, watch._is_quote)
        self.liquidity: tuple[int, Any] = (count, watch._liquidity)
        self.emulation: tuple[int, Any] = (count, watch._emulation)

    def take(self, count: int, event: Any) -> None:
        """Go on to `event`, the `count`-th of the order."""
        self.count = count
        kind = event.__class__
        if kind is _Filled:
            self.position = (count, event.position_id)
            self.liquidity = (count, event.liquidity_side)
        elif kind is _Updated:
            if event.quantity is not None:
                self.quantity = (count, event.quantity)
            if UPDATES_QUOTE:
                self.is_quote = (count, event.is_quote_quantity)
        elif kind in _ENDS_EMULATION:
            self.emulation = (count, _NO_TRIGGER)
        elif kind is _Initialized:
            self.quantity = (count, event.quantity)
            self.position = (count, None)
            self.is_quote = (count, event.quote_quantity)
            self.liquidity = (count, _NO_LIQUIDITY_SIDE)
            self.emulation = (count, event.emulation_trigger)

    def differing(self, order: Any) -> list[Amendment]:
        """Return what `order` has otherwise. It was set some time after that event: the earliest moment is taken.

        For a quantity that matters, as it decides whether a later fill was the last one; if it was not, although all of
        that quantity is filled, it was set later.
        """
        new: list[Amendment] = []
        count, quantity = self.quantity
        live = order.quantity
        if live is not quantity and (live.raw, live.precision) != (quantity.raw, quantity.precision):
            if order.filled_qty.raw >= live.raw and order.status != _FILLED:
                count = self.count
            new.append((count, "quantity", values.quantity_from_nautilus(live)))
        count, is_quote = self.is_quote
        if order.is_quote_quantity is not is_quote:
            new.append((count, "is_quote_quantity", order.is_quote_quantity))
        count, position = self.position
        live = order.position_id
        if live is not position and (live is None or position is None or live.value != position.value):
            new.append((count, "position_id", None if live is None else _position_ids[live]))
        count, liquidity = self.liquidity
        side = order.liquidity_side
        if side is not None and side != liquidity:
            new.append((count, "liquidity_side", LiquiditySide(int(side))))
        count, emulation = self.emulation
        if order.emulation_trigger != emulation:
            new.append((count, "emulation_trigger", TriggerType(int(order.emulation_trigger))))
        return new


def amended(order: Any) -> tuple[Amendment, ...]:
    """Return what was set on `order` without an event, as far as the order as it is now shows it."""
    return Watch(order).look(order) or ()


def amend(order: Any, name: str, value: Any) -> None:
    """Set what was amended on an order of NautilusTrader's.

    Raises
    ------
    TypeError, ValueError
        If the order has no such attribute, or it takes no such value.
    """
    changes: dict[str, Any]
    if name == "quantity":
        changes = _quantities(order, values.quantity_to_nautilus(value))
    elif name == "position_id":
        changes = {name: None if value is None else _nautilus_position_ids[value]}
    elif name == "activation_price":
        price = None if value is None else values.price_to_nautilus(value)
        changes = {name: price, "is_activated": price is not None}
    else:
        changes = {name: value}
    _set(order, changes)


def set_as(order: Any, seen: Any) -> None:
    """Set on `order`, made of the events of `seen`, whatever that has otherwise.

    Raises
    ------
    TypeError, ValueError
        If the order has no such attribute, or it takes no such value.
    """
    changes = {name: getattr(seen, name) for name in ("position_id", "is_quote_quantity", "emulation_trigger")}
    if seen.liquidity_side is not None:  # it was taken
        changes["liquidity_side"] = seen.liquidity_side
    if order.__class__ in TRAILING:
        changes |= {"is_activated": seen.is_activated, "activation_price": seen.activation_price}
    _set(order, changes | _quantities(order, seen.quantity))


def _quantities(order: Any, quantity: Any) -> dict[str, Any]:
    """What is another with another `quantity`, if it is one."""
    if _is_same(order.quantity, quantity):
        return {}
    left = max(quantity.raw - order.filled_qty.raw, 0)
    return {"quantity": quantity, "leaves_qty": NautilusQuantity.from_raw(left, quantity.precision)}


def _set(order: Any, changes: dict[str, Any]) -> None:
    differing = {key: made for key, made in changes.items() if not _is_same(getattr(order, key), made)}
    if differing:
        set_inside(order, differing)


def _is_same(live: Any, made: Any) -> bool:
    if live is made:
        return True
    if live is None or made is None:
        return False
    return bool(live == made and getattr(live, "precision", None) == getattr(made, "precision", None))


def end_emulation(order: Any) -> None:
    """Take the emulation trigger away, as the built-in model does when an order ends."""
    if order.emulation_trigger:
        set_inside(order, {"emulation_trigger": _NO_TRIGGER})
