"""Values as JSON has them, exactly: decimals as text, times as text to the nanosecond, bytes as hexadecimal digits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from eventstore import commands as c
from eventstore.audit.decoding import event_in
from eventstore.codec import Serializer
from eventstore.errors import CodecError
from eventstore.model.identifiers import TraderId
from eventstore.states import unpack_amended, unpack_snapshot, unpack_state

NS_IN_S = 1_000_000_000
NS_IN_MS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_ns(ns: int) -> str:
    """Return UNIX nanoseconds as ISO 8601 in UTC with nine decimals, such as ``2026-01-31T14:03:00.000250000Z``."""
    seconds, fraction = divmod(ns, NS_IN_S)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09}Z"


def iso_ms(ms: int) -> str:
    """Return UNIX milliseconds as ISO 8601 in UTC with three decimals."""
    return f"{iso_ns(ms * NS_IN_MS)[:23]}Z"


def plain(value: Any) -> Any:
    """Return `value`, of a decoded record or command, as JSON takes it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [plain(child) for child in value]
    return str(value)


def plain_command(command: c.Command, serializer: Serializer, trader_id: TraderId) -> dict[str, Any]:
    """Return the fields of a command of the log of `trader_id` by name, with the records inside them by name, too.

    A record that can not be read is shown as it stands, in hexadecimal digits.
    """
    fields: dict[str, Any] = command._asdict()
    for name, value in fields.items():
        if name in ("events", "record", "basis", "state", "amended"):
            fields[name] = (
                [_opened(name, data, command, serializer, trader_id) for data in value]
                if name == "events"
                else (None if value is None else _opened(name, value, command, serializer, trader_id))
            )
        else:
            fields[name] = plain(value)
    return fields


def _opened(name: str, data: bytes, command: c.Command, serializer: Serializer, trader_id: TraderId) -> Any:
    try:
        if name == "state":
            return plain(unpack_state(data))
        if name == "amended":
            return [
                {"after_events": count, "name": attribute, "value": _amendment(value)}
                for count, attribute, value in unpack_amended(data)
            ]
        if name == "record" and isinstance(command, c.SnapshotOrder | c.SnapshotPosition):
            return plain(unpack_snapshot(data))
        return plain(event_in(command, data, trader_id, serializer).to_dict())
    except CodecError:
        return data.hex()


def _amendment(value: Any) -> Any:
    return value.name if hasattr(value, "name") else value if value is None or isinstance(value, bool) else str(value)
