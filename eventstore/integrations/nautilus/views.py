"""NautilusTrader's orders, positions and accounts from what the views hold. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_trader.model.events import AccountState, OrderEvent, OrderFilled, OrderUpdated

from eventstore.aggregates import events_from, record_from
from eventstore.codec import Serializer
from eventstore.errors import CodecError, DamagedRecord
from eventstore.integrations.nautilus.amendments import UPDATES_QUOTE
from eventstore.integrations.nautilus.conversion.decoding import FAULTS, quote_said, read_event
from eventstore.integrations.nautilus.folding import account_from_events, order_from_events, position_from_fills
from eventstore.integrations.nautilus.serializing import EventReader
from eventstore.model.identifiers import InstrumentId
from eventstore.model.instrument import Instrument
from eventstore.model.order_amendments import Amendment
from eventstore.model.positions import PositionBasis
from eventstore.place import place_in
from eventstore.projections import AMENDED, BASIS, POSITION
from eventstore.states import unpack_amended

Fields = Mapping[bytes, bytes]

_AMENDED = AMENDED.encode()
_EVENTS = EventReader()
_BASIS = BASIS.encode()
_NAMED = (_AMENDED, _BASIS, POSITION.encode())


class OrderFound(NamedTuple):
    """An order, and what was set on it without an event."""

    order: Any
    amendments: Sequence[Amendment]


class AccountFound(NamedTuple):
    """An account, and which version each of its events has in the view: some may have been deleted."""

    account: Any
    versions: dict[str, int]


def _events(key: str, fields: Fields, kind: Any) -> tuple[list[Any], int]:
    """Return the events of the hash `key` by version, all of them of `kind`, and the version behind the last."""
    count = len(fields) - sum([name in fields for name in _NAMED])
    place = place_in(key)
    try:
        events = [read_event(fields[b"%d" % version], place) for version in range(count)]
    except FAULTS:
        events = []
    if not events or not all([isinstance(event, kind) for event in events]):  # noqa: C419 # a list is faster
        return events_from(key, fields, kind, _EVENTS, gapless=True)  # which says what is wrong
    return events, count


def order_from(key: str, fields: Fields, serializer: Serializer) -> tuple[OrderFound, int]:
    """Return the order that the hash `key` holds, and the version of its next event. Raises `DamagedRecord`."""
    try:
        events, version = _events(key, fields, OrderEvent)
        amended = fields.get(_AMENDED)
        amendments: Sequence[Amendment] = () if amended is None else unpack_amended(amended)
        # Which position it was indexed with is not looked at: NautilusTrader sets that on an order when it is filled.
        order = order_from_events(events, amendments, _quotes(fields, events))
    except (CodecError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedRecord(key, "", f"the events make no order of NautilusTrader's: {error}") from error
    return OrderFound(order, amendments), version


def _quotes(fields: Fields, events: Sequence[Any]) -> dict[int, bool | None] | None:
    """Return what updates say of the quantity's unit that their events do not, by how many events there were."""
    quotes: dict[int, bool | None] | None = None
    for count, event in enumerate(events, 1):
        if event.__class__ is OrderUpdated:
            said = quote_said(fields[b"%d" % (count - 1)])
            if (said is None) is UPDATES_QUOTE:
                quotes = (quotes or {}) | {count: said}
    return quotes


def positions_with(
    instruments: Mapping[InstrumentId, Instrument],
) -> Callable[[str, Fields, Serializer], tuple[Any, int]]:
    """Return what gives the position that a hash holds, and the version of its next fill. It raises `DamagedRecord`."""
    bases: dict[bytes | None, PositionBasis] = {}  # most positions in an instrument have the same

    def position_from(key: str, fields: Fields, serializer: Serializer) -> tuple[Any, int]:
        stored = fields.get(_BASIS)
        basis = bases.get(stored)
        if basis is None:
            basis = bases[stored] = record_from(key, BASIS, stored, PositionBasis, serializer)
        try:
            fills, version = _events(key, fields, OrderFilled)
            return position_from_fills(instruments.get(basis.instrument_id), basis, fills), version
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise DamagedRecord(key, "", f"the fills make no position of NautilusTrader's: {error}") from error

    return position_from


def account_from(key: str, fields: Fields, serializer: Serializer) -> tuple[AccountFound, int]:
    """Return the account that the hash `key` holds, and the version of its next event. Raises `DamagedRecord`."""
    try:
        events, version = events_from(key, fields, AccountState, _EVENTS)
        account = account_from_events(events)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedRecord(key, "", f"the events make no account of NautilusTrader's: {error}") from error
    versions = sorted(int(name) for name in fields if name.isdigit())
    return AccountFound(account, {event.id.value: v for event, v in zip(events, versions, strict=True)}), version
