"""Aggregates from what the views hold: the inverse of the projections. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from eventstore.codec import Serializer
from eventstore.errors import CodecError, DamagedRecord
from eventstore.model.accounts import Account
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountState, OrderEvent, OrderFilled
from eventstore.model.identifiers import PositionId
from eventstore.model.orders import Order
from eventstore.model.positions import Position, PositionBasis
from eventstore.model.record import Record
from eventstore.projections import AMENDED, BASIS, POSITION
from eventstore.states import unpack_amended

R = TypeVar("R", bound=Record)

_AMENDED = AMENDED.encode()
_BASIS = BASIS.encode()
_POSITION = POSITION.encode()
_NAMED = (_AMENDED, _BASIS, _POSITION)


def order_from(key: str, fields: Mapping[bytes, bytes], serializer: Serializer) -> tuple[Order, int]:
    """Return the order that the hash `key` holds, and the version of its next event.

    Raises
    ------
    DamagedRecord
        If a record can not be read, or the events do not make an order.
    """
    amended = fields.get(_AMENDED)
    events, version = events_from(key, fields, OrderEvent, serializer, gapless=True)
    try:
        order = Order.from_events(events, () if amended is None else unpack_amended(amended))
        indexed = fields.get(_POSITION)
        if indexed is not None and order.position_id is None:
            order.position_id = PositionId(indexed.decode())
    except (ModelError, CodecError, TypeError, UnicodeDecodeError) as error:
        raise DamagedRecord(key, "", f"the events make no order: {error}") from error
    return order, version


def position_from(key: str, fields: Mapping[bytes, bytes], serializer: Serializer) -> tuple[Position, int]:
    """Return the position that the hash `key` holds, and the version of its next fill. Raises `DamagedRecord`."""
    basis = record_from(key, BASIS, fields.get(_BASIS), PositionBasis, serializer)
    events, version = events_from(key, fields, OrderFilled, serializer, gapless=True)
    try:
        return Position.from_events(basis, events), version
    except (ModelError, TypeError) as error:
        raise DamagedRecord(key, "", f"the fills make no position: {error}") from error


def account_from(key: str, fields: Mapping[bytes, bytes], serializer: Serializer) -> tuple[Account, int]:
    """Return the account that the hash `key` holds, and the version of its next event. Raises `DamagedRecord`."""
    events, version = events_from(key, fields, AccountState, serializer)
    try:
        return Account.from_events(events), version
    except (ModelError, TypeError) as error:
        raise DamagedRecord(key, "", f"the events make no account: {error}") from error


def events_from(
    key: str, fields: Mapping[bytes, bytes], kind: type[R], serializer: Serializer, gapless: bool = False
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
    events = [record_from(key, str(v), fields.get(b"%d" % v), kind, serializer) for v in versions]
    return events, versions[-1] + 1


def record_from(key: str, field: str, data: bytes | None, kind: type[R], serializer: Serializer) -> R:
    """Return the record of `kind` that `data` is. Raises `DamagedRecord`, naming `key` and `field`."""
    if data is None:
        raise DamagedRecord(key, field, "it is missing")
    try:
        record = serializer.deserialize(data)
    except CodecError as error:
        raise DamagedRecord(key, field, str(error)) from error
    if not isinstance(record, kind):
        raise DamagedRecord(key, field, f"a {type(record).__name__} stands where a {kind.__name__} belongs")
    return record
