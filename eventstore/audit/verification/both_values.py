"""Two values of a view side by side, for people: records by the fields that differ. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from eventstore.audit.plain import plain
from eventstore.codec import MsgPackSerializer
from eventstore.errors import CodecError
from eventstore.keys import Keys
from eventstore.place import place_in
from eventstore.projections import AMENDED, POSITION
from eventstore.states import unpack_amended, unpack_snapshot, unpack_state

SHOWN_MAX: Final = 400
"""Letters of a value that are shown."""
_BEFORE: Final = 20


class BothValues:
    """Shows the values of the views of one trader."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._serializer = MsgPackSerializer()
        self._readers: dict[str, Callable[[bytes], Any]] = {
            keys.actors: unpack_state,
            keys.strategies: unpack_state,
            keys.order_snapshots: unpack_snapshot,
            keys.position_snapshots: unpack_snapshot,
            keys.general: _text,
            keys.heartbeat: _text,
            keys.index_order_position: _text,
            keys.index_order_client: _text,
            keys.index_venue_order_id: _text,
            keys.lives: _text,
            keys.lives_purged: _text,
        }

    def __call__(
        self, key: str, field: str, expected: bytes | None, found: bytes | None
    ) -> tuple[str | None, str | None]:
        """Return both as text: of two records, only what differs; of long values, the part that differs first."""
        one, other = self._read(key, field, expected), self._read(key, field, found)
        if isinstance(one, dict) and isinstance(other, dict):
            names = [name for name in one | other if one.get(name) != other.get(name)]
            if names:
                return _cut_both(*(_json({name: each.get(name) for name in names}) for each in (one, other)))
        if one == other and expected is not None and found is not None:  # other bytes that mean the same
            return _cut_both(expected.hex(), found.hex())
        return _cut_both(*(None if each is None else _json(each) for each in (one, other)))

    def _read(self, key: str, field: str, value: bytes | None) -> Any:
        if value is None:
            return None
        try:
            reader = self._readers.get(key)
            if reader is not None:
                return plain(reader(value))
            if field == AMENDED:
                return [[count, name, str(amended)] for count, name, amended in unpack_amended(value)]
            if field == POSITION:
                return _text(value)
            return plain(self._serializer.deserialize(value, place_in(key)).to_dict())
        except CodecError:
            return value.hex()


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut_both(one: str | None, other: str | None) -> tuple[str | None, str | None]:
    begin = 0
    if one is not None and other is not None:
        same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        begin = max(0, same - _BEFORE) if max(len(one), len(other)) > SHOWN_MAX else 0
    return _cut(one, begin), _cut(other, begin)


def _cut(text: str | None, begin: int) -> str | None:
    if text is None or (begin == 0 and len(text) <= SHOWN_MAX):
        return text
    end = begin + SHOWN_MAX
    before = f"…{begin} letters… " if begin else ""
    behind = f" …{len(text) - end} letters…" if len(text) > end else ""
    return f"{before}{text[begin:end]}{behind}"
