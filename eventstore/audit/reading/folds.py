"""One order, position or account, folded command by command as the log has them. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventstore import commands as c
from eventstore.codec import Serializer
from eventstore.errors import CodecError
from eventstore.model.errors import InvalidValue
from eventstore.model.events import AccountState, OrderEvent, OrderFilled, OrderInitialized
from eventstore.model.order_amendments import Amendment
from eventstore.model.orders import Order
from eventstore.model.positions import Position, PositionBasis
from eventstore.states import unpack_amended, unpack_state

Shown = dict[str, Any]
"""A state by the names of its values: text, numbers, lists."""


class OrderFold:
    """An order, as the loader of a node would make it of the same commands.

    Attributes
    ----------
    order : Order or None
        None before it was added, and behind its deletion.
    life : int
        How often the id has begun.
    """

    def __init__(self) -> None:
        self.order: Order | None = None
        self.life = 0
        self._amendments: list[Amendment] = []
        self._amended = 0
        self._noted: str | None = None
        self._earlier = 0

    def _is_end(self, command: c.Command) -> bool:
        if isinstance(command, c.PurgeOrder):  # which is for the order as it was looked at
            order = self.order
            at = (self._earlier, 0 if order is None else order.event_count)
            return order is not None and order.is_closed and at == (command.lives, command.version)
        return isinstance(command, c.DeleteOrder)

    def shown(self) -> Shown:
        """Return the state as `to_dict` has it; empty if there is none."""
        if self.order is None:
            return {}
        values = self.order.to_dict()
        if values["position_id"] is None:
            values["position_id"] = self._noted
        return values

    @property
    def position_id(self) -> str | None:
        """The position that it belongs to, if that is known."""
        order = self.order
        return self._noted if order is None or order.position_id is None else str(order.position_id)

    def apply(self, command: c.Command, events: list[Any]) -> Iterator[OrderEvent | None]:
        """Apply a command on this order with its `events`; yields behind each event, and once if there is none.

        Raises
        ------
        ModelError
            If the events do not make an order.
        CodecError
            If what was set on it without an event can not be read.
        """
        if isinstance(command, c.AddOrder):
            self._amendments, self._amended = [], 0
            if command.version == 0:
                self._earlier += self.order is not None
                self.order = None
                self.life += 1
            self._noted = None
        amended = getattr(command, "amended", None)
        if amended is not None and (self.order is not None or isinstance(command, c.AddOrder)):
            self._amendments = unpack_amended(amended)
        if isinstance(command, c.IndexOrderPosition):
            if command.added and self.order is not None:
                self._noted = command.position_id
        elif self._is_end(command):
            self.order, self._earlier = None, 0
        self._amend()
        for event in events:
            if self.order is None:
                self.order = Order.create(event)
            elif isinstance(event, OrderInitialized):
                self.order = self.order.transform(event)
            else:
                self.order.apply(event)
            self._amend()
            yield event
        if not events:
            yield None

    def _amend(self) -> None:
        order = self.order
        if order is None:
            return
        while self._amended < len(self._amendments):
            count, name, value = self._amendments[self._amended]
            if count > order.event_count:
                return
            self._amended += 1
            if count == order.event_count:
                order.amend({name: value})
            else:  # it was told late, behind an event that came after it
                self.order = order = Order.from_events(order.events, self._amendments[: self._amended])


class PositionFold:
    """A position in its present cycle.

    Attributes
    ----------
    position : Position or None
        None before it was opened, and behind its deletion.
    cycle : int
        How often the id has begun.
    """

    def __init__(self) -> None:
        self.position: Position | None = None
        self.cycle = 0
        self._basis: PositionBasis | None = None
        self._earlier = 0

    def _is_end(self, command: c.Command) -> bool:
        if isinstance(command, c.PurgePosition):
            position = self.position
            at = (self._earlier, 0 if position is None else position.event_count)
            return position is not None and position.is_closed and at == (command.lives, command.version)
        return isinstance(command, c.DeletePosition)

    def shown(self) -> Shown:
        """Return the state as `to_dict` has it; empty if there is none."""
        return {} if self.position is None else self.position.to_dict()

    def apply(self, command: c.Command, events: list[Any], serializer: Serializer) -> Iterator[OrderFilled | None]:
        """Apply a command on this position with its fills; yields behind each of them, and once if there is none.

        Raises
        ------
        ModelError
            If the fills do not make a position.
        CodecError
            If what it has to know of its instrument can not be read.
        """
        if isinstance(command, c.WritePosition) and command.basis is not None:
            basis = serializer.deserialize(command.basis)
            if not isinstance(basis, PositionBasis):
                raise CodecError(f"a {type(basis).__name__} stands where a PositionBasis belongs")
            self._earlier += self.position is not None
            self._basis, self.position = basis, None
            self.cycle += 1
        elif self._is_end(command):
            self.position, self._earlier = None, 0
        for event in events:
            if self.position is not None:
                self.position.apply(event)
            elif self._basis is not None:
                self.position = Position(self._basis, event)
            else:
                raise InvalidValue(f"a fill of position {event.position_id} comes before the position was opened")
            yield event
        if not events:
            yield None


class AccountFold:
    """The balances and margins of an account: a state replaces the balances that it names, and all margins.

    One that names neither changes nothing.
    """

    def __init__(self) -> None:
        self._balances: Shown = {}
        self._margins: Shown = {}

    def shown(self) -> Shown:
        """Return the amounts by what they are, such as ``USD total``."""
        return self._balances | self._margins

    def apply(self, command: c.Command, events: list[Any]) -> Iterator[AccountState | None]:
        """Apply a command on this account with its states; yields behind each of them, and once if there is none."""
        if isinstance(command, c.WriteAccount) and command.version == 0:
            self._balances, self._margins = {}, {}
        for event in events:
            for balance in event.balances:
                code = balance.currency.code
                for name in ("total", "locked", "free"):
                    self._balances[f"{code} {name}"] = f"{getattr(balance, name).amount:f}"
            if not event.balances and not event.margins:
                yield event
                continue
            self._margins = {
                f"{margin.currency.code} {name} margin"
                + (f" {margin.instrument_id}" if margin.instrument_id is not None else ""): f"{amount.amount:f}"
                for margin in event.margins
                for name, amount in (("initial", margin.initial), ("maintenance", margin.maintenance))
            }
            yield event
        if not events:
            yield None


class StateFold:
    """The saved state of an actor or strategy."""

    def __init__(self) -> None:
        self._state: dict[str, bytes] = {}

    def shown(self) -> Shown:
        """Return each value in hexadecimal digits."""
        return {key: value.hex() for key, value in self._state.items()}

    def apply(self, command: c.Command) -> Iterator[None]:
        """Apply a command on this component; yields once. Raises `CodecError` if the state can not be read."""
        if isinstance(command, c.UpdateActor | c.UpdateStrategy):
            self._state = unpack_state(command.state)
        elif isinstance(command, c.DeleteActor | c.DeleteStrategy):
            self._state = {}
        yield None
