"""Aggregates from what the views hold: the inverse of the projections. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

from eventstore.bulk import records_from
from eventstore.codec import Serializer, read_plain_identifiers, reads_at_places
from eventstore.errors import CodecError, DamagedRecord
from eventstore.model.accounts import Account
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountState, OrderEvent, OrderFilled
from eventstore.model.identifiers import ClientOrderId, PositionId
from eventstore.model.orders import Order
from eventstore.model.positions import Position, PositionBasis
from eventstore.model.record import Record
from eventstore.place import Place, place_in, places_in
from eventstore.projections import AMENDED, BASIS, POSITION
from eventstore.states import unpack_amended

A = TypeVar("A")
R = TypeVar("R", bound=Record)

_AMENDED = AMENDED.encode()
_BASIS = BASIS.encode()
_POSITION = POSITION.encode()
_NAMED = (_AMENDED, _BASIS, _POSITION)

Fields = Mapping[bytes, bytes]
Fold = Callable[[str, Fields, Serializer], tuple[A, int]]
"""Gives an aggregate from the fields of its hash, with the version of its next event. Raises `DamagedRecord`."""

_NOT_PLAIN = (ModelError, CodecError, LookupError, TypeError, ValueError)
_VERSIONS = [b"%d" % version for version in range(64)]


def order_from(key: str, fields: Fields, serializer: Serializer) -> tuple[Order, int]:
    """Return the order that the hash `key` holds, and the version of its next event.

    Raises
    ------
    DamagedRecord
        If a record can not be read, or the events do not make an order.
    """
    events, version = events_from(key, fields, OrderEvent, serializer, gapless=True)
    try:
        return _build_order(fields, events, serializer), version
    except (ModelError, CodecError, TypeError, UnicodeDecodeError) as error:
        raise DamagedRecord(key, "", f"the events make no order: {error}") from error


def _build_order(fields: Fields, events: Sequence[Any], serializer: Serializer) -> Order:
    amended = fields.get(_AMENDED)
    order = Order.from_events(events, () if amended is None else unpack_amended(amended))
    indexed = fields.get(_POSITION)
    if indexed is not None and order.position_id is None:
        order.position_id = PositionId(indexed.decode())
    return order


def position_from(key: str, fields: Fields, serializer: Serializer) -> tuple[Position, int]:
    """Return the position that the hash `key` holds, and the version of its next fill. Raises `DamagedRecord`."""
    basis = record_from(key, BASIS, fields.get(_BASIS), PositionBasis, serializer)
    events, version = events_from(key, fields, OrderFilled, serializer, gapless=True)
    try:
        return Position.from_events(basis, events), version
    except (ModelError, TypeError) as error:
        raise DamagedRecord(key, "", f"the fills make no position: {error}") from error


def account_from(key: str, fields: Fields, serializer: Serializer) -> tuple[Account, int]:
    """Return the account that the hash `key` holds, and the version of its next event. Raises `DamagedRecord`."""
    events, version = events_from(key, fields, AccountState, serializer)
    try:
        return Account.from_events(events), version
    except (ModelError, TypeError) as error:
        raise DamagedRecord(key, "", f"the events make no account: {error}") from error


def events_from(
    key: str, fields: Fields, kind: type[R], serializer: Serializer, gapless: bool = False
) -> tuple[list[R], int]:
    """Return the events of the hash `key` by version, and the version behind the last.

    Raises
    ------
    DamagedRecord
        If one can not be read, there is none, or, where they have to be `gapless`, one is missing.
    """
    versions = []
    for name in fields:
        if name.isdigit():
            versions.append(int(name))
        elif name not in _NAMED:
            raise DamagedRecord(key, repr(name), "a field that this library did not write")
    if not versions:
        raise DamagedRecord(key, "", "there are no events")
    versions.sort()
    if gapless and versions[-1] != len(versions) - 1:
        missing = next(i for i, version in enumerate(versions) if version != i)
        raise DamagedRecord(key, str(missing), f"the event is missing, and there are later ones up to {versions[-1]}")
    place = place_in(key) if reads_at_places(serializer.__class__) else None
    events = [record_from(key, str(v), fields.get(b"%d" % v), kind, serializer, place) for v in versions]
    return events, versions[-1] + 1


def record_from(
    key: str, field: str, data: bytes | None, kind: type[R], serializer: Serializer, place: Place | None = None
) -> R:
    """Return the record of `kind` that `data` is, at `place`. Raises `DamagedRecord`, naming `key` and `field`."""
    if data is None:
        raise DamagedRecord(key, field, "it is missing")
    try:
        read: Any = serializer.deserialize
        record = read(data) if place is None else read(data, place)
    except CodecError as error:
        raise DamagedRecord(key, field, str(error)) from error
    if not isinstance(record, kind):
        raise DamagedRecord(key, field, f"a {type(record).__name__} stands where a {kind.__name__} belongs")
    return record


# -- Many at once ----------------------------------------------------------------------------------------------


def many_from(
    page: Sequence[tuple[str, Fields | DamagedRecord]], fold: Callable[..., Any], serializer: Serializer
) -> Iterator[tuple[Any, int] | None]:
    """Yield what `fold` makes of each of these hashes, as far as that takes no second look; None for the others.

    Each hash comes with its key.

    Their events are read all at once, which takes a fraction of the time. For a `fold` that is not from this module all
    of them are None.
    """
    build = _BUILDERS.get(fold)
    if build is None:
        yield from repeat(None, len(page))
        return
    rows = [None if isinstance(fields, DamagedRecord) else _rows(fields) for _, fields in page]
    trader_id, order_ids = places_in([key for key, _ in page])
    if order_ids:
        order_ids = [*(read_plain_identifiers(ClientOrderId, order_ids) or order_ids)]
    owners = [order_id for order_id, row in zip(order_ids, rows, strict=False) for _ in row or ()]
    records = records_from([data for row in rows for data in row or ()], serializer, trader_id, owners)
    begin = 0
    for (_, fields), row in zip(page, rows, strict=True):
        found = None
        if row is not None:
            end = begin + len(row)
            events = records[begin:end]
            begin = end
            if all(events):
                try:
                    found = build(fields, events, serializer), len(events)
                except _NOT_PLAIN:
                    found = None
        yield found


def _rows(fields: Fields) -> list[bytes] | None:
    """Return the stored events by version; None if there are none, one is missing, or something else is there."""
    count = len(fields)
    while count > len(_VERSIONS):
        _VERSIONS.extend([b"%d" % version for version in range(len(_VERSIONS), 2 * len(_VERSIONS))])
    if count == 0 or _VERSIONS[count - 1] not in fields:
        count -= sum([name in fields for name in _NAMED])
    try:
        return [*map(fields.__getitem__, _VERSIONS[:count])] or None
    except KeyError:
        return None


def _build_position(fields: Fields, fills: list[Any], serializer: Serializer) -> Position:
    basis = record_from("", BASIS, fields.get(_BASIS), PositionBasis, serializer)
    return Position.from_events(basis, fills)


_BUILDERS: dict[Callable[..., Any], Callable[[Any, Any, Serializer], Any]] = {
    order_from: _build_order,
    position_from: _build_position,
}
