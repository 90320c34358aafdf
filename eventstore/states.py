"""What is stored and is no record of the model: saved states, snapshots and amendments, as bytes. Pure: no I/O."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgpack

from eventstore.codec import Convert, check_plain, names_time, read_timestamp, unpack
from eventstore.errors import CodecError
from eventstore.model.enums import LiquiditySide, TriggerType
from eventstore.model.identifiers import PositionId
from eventstore.model.order_amendments import Amendment
from eventstore.model.values import Price, Quantity
from eventstore.schema import AMENDMENTS_TAG, SNAPSHOTS, STATE_TAG, VERSIONS, snapshot_tag
from eventstore.upcasters import upcast


def pack_state(state: dict[str, bytes]) -> bytes:
    """Return the saved state of an actor or strategy as bytes."""
    return msgpack.packb([STATE_TAG, VERSIONS[STATE_TAG], state])


def unpack_state(data: bytes) -> dict[str, bytes]:
    """Return the state that `pack_state` made `data` of. Raises `CodecError` for anything else."""
    row = unpack(data)
    if row.__class__ is not list or len(row) != 3 or row[0] != STATE_TAG or row[2].__class__ is not dict:
        raise CodecError("not the saved state of an actor or strategy")
    if row[1] != VERSIONS[STATE_TAG] or row[1].__class__ is not int:
        row[2] = upcast(STATE_TAG, row[1], [row[2]])[0]
    for key, value in row[2].items():
        if key.__class__ is not str or value.__class__ is not bytes:
            raise CodecError(f"not a saved state: {key!r:.40} is no text with bytes behind it")
    states: dict[str, bytes] = row[2]
    return states


def pack_snapshot(values: dict[str, Any], timestamps_as_str: bool) -> bytes:
    """Return the `to_dict()` of an order or position as bytes, without its keys: they are those of its kind."""
    tag = snapshot_tag(values)
    names = SNAPSHOTS[tag]
    try:
        row = [values[name] for name in names]
    except KeyError as e:
        raise CodecError(f"a snapshot of this kind needs a {e.args[0]}") from None
    if len(values) != len(names):
        raise CodecError(f"a snapshot of this kind has no {', '.join(sorted(set(values) - set(names)))}")
    if timestamps_as_str:
        for i in _times(names):
            if row[i] is not None:
                row[i] = str(row[i])
    return msgpack.packb([tag, VERSIONS[tag], *row])


def unpack_snapshot(data: bytes) -> dict[str, Any]:
    """Return the `to_dict()` that `pack_snapshot` made `data` of. Raises `CodecError` for anything else."""
    row = unpack(data)
    if row.__class__ is not list or len(row) < 2 or row[0].__class__ is not int or row[0] not in SNAPSHOTS:
        raise CodecError("not a snapshot of an order or position")
    tag, version, *fields = row
    if version != VERSIONS[tag] or version.__class__ is not int:
        fields = upcast(tag, version, fields)
    names = SNAPSHOTS[tag]
    if len(fields) != len(names):
        raise CodecError(f"this snapshot has {len(names)} fields, the stored one has {len(fields)}")
    check_plain("snapshot", fields)
    for i in _times(names):
        value = fields[i]
        if value is None:
            continue
        if value.__class__ not in (int, str):
            raise CodecError(f"snapshot: {names[i]} is no time")
        try:
            fields[i] = read_timestamp(value)
        except ValueError as e:
            raise CodecError(f"snapshot: {names[i]}: {e}") from None
    return dict(zip(names, fields, strict=True))


@functools.cache
def _times(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(names) if names_time(name))


def pack_amended(amendments: Sequence[Amendment]) -> bytes:
    """Return what was set on an order without an event as bytes: rows of event count, name and value."""
    rows = [
        (count, name, value if value is None or isinstance(value, int) else str(value))
        for count, name, value in amendments
    ]
    return msgpack.packb([AMENDMENTS_TAG, VERSIONS[AMENDMENTS_TAG], rows])


def unpack_amended(data: bytes) -> list[Amendment]:
    """Return the amendments that `pack_amended` made `data` of. Raises `CodecError` for anything else."""
    row = unpack(data)
    if row.__class__ is not list or len(row) != 3 or row[0] != AMENDMENTS_TAG or row[2].__class__ is not list:
        raise CodecError("not the amendments of an order")
    if row[1] != VERSIONS[AMENDMENTS_TAG] or row[1].__class__ is not int:
        row[2] = upcast(AMENDMENTS_TAG, row[1], [row[2]])[0]
    amendments: list[Amendment] = []
    for item in row[2]:
        if item.__class__ is not list or len(item) != 3 or item[0].__class__ is not int or item[1].__class__ is not str:
            raise CodecError(f"not an amendment of an order: {item!r:.80}")
        count, name, value = item
        if count < 0 or name not in _AMENDED or (value is None and name not in _AMENDED_TO_NONE):
            raise CodecError(f"not an amendment of an order: {item!r:.80}")
        try:
            amendments.append((count, name, None if value is None else _AMENDED[name](value)))
        except (TypeError, ValueError) as e:
            raise CodecError(f"amendment of an order: {name}: {e}") from e
    return amendments


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} is neither true nor false")
    return value


_AMENDED: dict[str, Convert] = {
    "activation_price": Price,
    "emulation_trigger": TriggerType,
    "is_quote_quantity": _flag,
    "liquidity_side": LiquiditySide,
    "position_id": PositionId,
    "quantity": Quantity,
}
_AMENDED_TO_NONE = frozenset({"activation_price", "position_id"})
