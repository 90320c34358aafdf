"""What a node changes on a live order without an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from eventstore.model.enums import LiquiditySide, TriggerType
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import PositionId
from eventstore.model.order_state import OrderState
from eventstore.model.values import Price, Quantity

Amendment = tuple[int, str, Any]
"""How many events the order had, which attribute was set, and to what."""


class AmendableOrder(OrderState):
    """The attributes of an order that can be set. It is a base of `Order`.

    NautilusTrader sets these without an event: the emulator, the matching engine and the order manager do. Each
    amendment is kept with the number of events that the order had, and has to be stored beside the events: made again
    between the same two events, it has the same effect.
    """

    __slots__ = ()

    AMENDABLE: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "emulation_trigger": (TriggerType,),
        "is_quote_quantity": (bool,),
        "liquidity_side": (LiquiditySide,),
        "position_id": (PositionId, type(None)),
        "quantity": (Quantity,),
    }
    """The attributes that can be set without an event, and the types of their values."""

    @property
    def emulation_trigger(self) -> TriggerType:
        """The market data that triggers the order in the node; NO_TRIGGER once it was released or has ended."""
        return self._emulation_trigger

    @emulation_trigger.setter
    def emulation_trigger(self, value: TriggerType) -> None:
        self.amend({"emulation_trigger": value})

    @property
    def is_quote_quantity(self) -> bool:
        """Whether the quantity is in units of the quote currency."""
        return self._is_quote_quantity

    @is_quote_quantity.setter
    def is_quote_quantity(self, value: bool) -> None:
        self.amend({"is_quote_quantity": value})

    @property
    def liquidity_side(self) -> LiquiditySide:
        """Whether it made or took liquidity in its last fill, or will."""
        return self._liquidity_side

    @liquidity_side.setter
    def liquidity_side(self, value: LiquiditySide) -> None:
        self.amend({"liquidity_side": value})

    @property
    def position_id(self) -> PositionId | None:
        """The position that its last fill changed, or that it is meant for."""
        return self._position_id

    @position_id.setter
    def position_id(self, value: PositionId | None) -> None:
        self.amend({"position_id": value})

    @property
    def quantity(self) -> Quantity:
        """How much is to be filled in all."""
        return self._quantity

    @quantity.setter
    def quantity(self, value: Quantity) -> None:
        self.amend({"quantity": value})

    @property
    def amendments(self) -> list[Amendment]:
        """What was set without an event, oldest first, each with the number of events before it."""
        return [] if self._amendments is None else list(self._amendments)

    def amend(self, changes: Mapping[str, Any]) -> None:
        """Set attributes of `AMENDABLE` without an event; all of them or none.

        A value that the attribute has already changes nothing.

        Raises
        ------
        TypeError
            If a value is of the wrong type.
        InvalidValue
            If an attribute can not be amended, or a quantity is zero.
        """
        for name, value in changes.items():
            kinds = self.AMENDABLE.get(name)
            if kinds is None:
                raise InvalidValue(
                    f"{self._label}: {name!r:.80} can not be set without an event, only {', '.join(self.AMENDABLE)}"
                )
            if not isinstance(value, kinds):
                wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
                raise TypeError(f"{self._label}.{name}: expected {wanted}, got {type(value).__name__} ({value!r:.80})")
            if isinstance(value, Quantity) and not value:
                raise InvalidValue(f"{self._label}: the quantity can not be amended to zero; cancel the order instead")
        for name, value in changes.items():
            if repr(getattr(self, name)) != repr(value):  # 1.5 and 1.50 are equal, and shown differently
                setattr(self, f"_{name}", value)
                if self._amendments is None:
                    self._amendments = []
                self._amendments.append((len(self._events), name, value))

    def amend_from_dict(self, values: Mapping[str, Any]) -> None:
        """Amend what is different in `values`, which is a `to_dict()` of this order after the same event.

        Raises
        ------
        TypeError, InvalidValue
            If a value can not be read.
        """
        changes = {}
        for name in self.AMENDABLE:
            if name in values:
                try:
                    changes[name] = _READ[name](values[name])
                except KeyError:
                    raise InvalidValue(f"{self._label}.{name}: no value is named {values[name]!r:.80}") from None
        self.amend(changes)

    @property
    def _label(self) -> str:
        return f"Order {self.client_order_id} ({self.order_type.name})"


_READ: Mapping[str, Callable[[Any], Any]] = {
    "activation_price": lambda value: None if value is None else Price(value),
    "emulation_trigger": lambda value: TriggerType[value],
    "is_quote_quantity": lambda value: value,
    "liquidity_side": lambda value: LiquiditySide[value],
    "position_id": lambda value: None if value is None else PositionId(value),
    "quantity": Quantity,
}
