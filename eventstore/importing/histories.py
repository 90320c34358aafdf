"""The history of an order, position or account, folded from the values of its list. Pure: no I/O.

Each event is applied as it comes. One that can not be read, stands there twice or does not follow is left out and told
of; those behind it go on from what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from eventstore.importing.decoding import Unreadable, not_kept, read_event
from eventstore.importing.findings import Findings
from eventstore.model.accounts import Account
from eventstore.model.enums import OrderStatus, TriggerType
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountState, OrderEvent, OrderFilled, OrderInitialized
from eventstore.model.identifiers import PositionId, TraderId
from eventstore.model.order import Order
from eventstore.model.position_basis import PositionBasis
from eventstore.model.positions import Position

R = TypeVar("R", OrderEvent, OrderFilled, AccountState)


class Step(NamedTuple):
    """An event of an order, and what the order was behind it.

    Attributes
    ----------
    begins : bool
        Whether it makes the order, or transforms it.
    venue_order_id : str or None
        What the venue calls it now, if that is new.
    """

    event: OrderEvent
    begins: bool
    status: OrderStatus
    emulated: bool
    venue_order_id: str | None


class OrderHistory(NamedTuple):
    """An order, and how it came to be."""

    order: Order
    steps: list[Step]


class PositionHistory(NamedTuple):
    """A position: what it rests on, and its cycles, the last one of which is the present one."""

    basis: PositionBasis
    cycles: list[Position]


def order_history(
    key: str, order_id: str, trader_id: TraderId, values: Iterable[bytes], findings: Findings
) -> OrderHistory | None:
    """Return the order whose events `values` are, or None if they make none. Tells `findings` of what is left out."""
    order: Order | None = None
    steps: list[Step] = []
    known_to_venue: str | None = None
    for place, event in _events(key, values, OrderEvent, findings):
        begins = isinstance(event, OrderInitialized)
        try:
            if order is None:
                order = _first_of_order(event, order_id, trader_id)
            elif isinstance(event, OrderInitialized):
                order = order.transform(event)
            else:
                order.apply(event)
        except (ModelError, TypeError, ArithmeticError) as error:
            findings.add("refused", key, error, place)
            continue
        new = None if order.venue_order_id == known_to_venue else order.venue_order_id
        known_to_venue = order.venue_order_id
        emulated = order.emulation_trigger is not TriggerType.NO_TRIGGER
        steps.append(Step(event, begins, order.status, emulated, new))
    return None if order is None else OrderHistory(order, steps)


def _first_of_order(event: OrderEvent, order_id: str, trader_id: TraderId) -> Order:
    if not isinstance(event, OrderInitialized):
        raise ModelError(f"an order begins with its OrderInitialized, and this is an {type(event).__name__}")
    if event.client_order_id != order_id:
        raise ModelError(f"it is of order {event.client_order_id}")
    if event.trader_id != trader_id:
        raise ModelError(f"it is of trader {event.trader_id}")
    return Order.create(event)


def account_history(key: str, account_id: str, values: Iterable[bytes], findings: Findings) -> Account | None:
    """Return the account whose states `values` are, or None if they make none. Tells of what is left out."""
    account: Account | None = None
    for place, event in _events(key, values, AccountState, findings):
        try:
            if event.account_id != account_id:
                raise ModelError(f"it is of account {event.account_id}")
            if account is None:
                account = Account.create(event)
            else:
                account.apply(event)
        except (ModelError, TypeError, ArithmeticError) as error:
            findings.add("refused", key, error, place)
    return account


def position_history(
    key: str,
    position_id: str,
    trader_id: TraderId,
    values: Iterable[bytes],
    basis_of: Callable[[str], PositionBasis | None],
    findings: Findings,
) -> PositionHistory | None:
    """Return the position whose fills `values` are, cycle by cycle, or None if they make none. Tells of what is left.

    NautilusTrader appends the fills of a position that is opened again to those of the cycles before, or deletes those.
    """
    cycles: list[Position] = []
    basis: PositionBasis | None = None
    for place, fill in _events(key, values, OrderFilled, findings):
        if basis is None:
            basis = basis_of(fill.instrument_id)
            if basis is None:
                findings.add("missing", key, f"the instrument {fill.instrument_id}: without it, fills make no position")
                return None
        if fill.trader_id != trader_id:
            findings.add("refused", key, f"it is of trader {fill.trader_id}", place)
            continue
        try:
            add_fill(cycles, basis, owned(fill, position_id))
        except (ModelError, TypeError, ArithmeticError) as error:
            findings.add("refused", key, error, place)
    return None if basis is None or not cycles else PositionHistory(basis, cycles)


def owned(fill: OrderFilled, position_id: str) -> OrderFilled:
    """Return `fill` as one of that position."""
    if fill.position_id == position_id:
        return fill
    return fill.replace(position_id=PositionId(position_id))


def add_fill(cycles: list[Position], basis: PositionBasis, fill: OrderFilled) -> None:
    """Apply `fill` to the last of `cycles`, or begin another one with it if that is closed. Raises `ModelError`."""
    if cycles and cycles[-1].is_open:
        cycles[-1].apply(fill)
    else:
        if fill.instrument_id != basis.instrument_id:
            raise ModelError(f"it is of {fill.instrument_id}, the position of {basis.instrument_id}")
        cycles.append(Position(basis, fill))


def _events(key: str, values: Iterable[bytes], kind: type[R], findings: Findings) -> Iterator[tuple[int, R]]:
    """Yield the events that can be read, each once, with its place in the list."""
    seen: set[str] = set()
    for place, data in enumerate(values):
        try:
            event, given = read_event(data)
            if not isinstance(event, kind):
                raise Unreadable(f"a {type(event).__name__} does not belong here")
        except Unreadable as error:
            findings.add("unreadable", key, error, place)
            continue
        if event.event_id in seen:
            findings.add("repeated", key, f"{type(event).__name__} {event.event_id}", place)
            continue
        seen.add(event.event_id)
        for name in not_kept(given, event):
            findings.add("not_kept", key, f"{type(event).__name__}.{name}: {given[name]!r:.100}", place)
        yield place, event


def times_of(events: Sequence[Any]) -> list[int]:
    """Return when the node had each of the events, UNIX nanoseconds: its `ts_init`, never before the one before it."""
    times: list[int] = []
    for event in events:
        times.append(max(event.ts_init, times[-1]) if times else event.ts_init)
    return times
