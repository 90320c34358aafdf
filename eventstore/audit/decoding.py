"""What an entry of a log says."""

from __future__ import annotations

from eventstore import commands as c
from eventstore.chain import Head, LogEntry
from eventstore.codec import Serializer, read_at
from eventstore.errors import CodecError, DamagedRecord, UnknownSchema
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.model.record import Record
from eventstore.place import Place


def flush_in(entry: LogEntry) -> Head | None:
    """Return where the log was that `entry` deleted, if it is one that says so: the log goes on from there."""
    try:
        command = c.decode(entry.payload)
    except CodecError:
        return None
    if isinstance(command, c.Flushed) and command.position == entry.position - 1:
        return Head(command.position, command.chain)
    return None


def decoded(keys: Keys, entry: LogEntry) -> c.Command:
    """Return the command of an entry. Raises `DamagedRecord`, or `UnknownSchema` for one of a newer version."""
    try:
        return c.decode(entry.payload)
    except UnknownSchema:
        raise
    except CodecError as error:
        raise DamagedRecord(keys.log, entry.entry_id, str(error)) from error


def place_of(command: c.Command, trader_id: TraderId) -> Place | None:
    """Return where the events in a command of the log of `trader_id` stand; None if they are no order's."""
    return (str(trader_id), command.order_id) if isinstance(command, c.AddOrder | c.UpdateOrder) else None


def event_in(command: c.Command, data: bytes, trader_id: TraderId, serializer: Serializer) -> Record:
    """Return the event that `data` is, one of those in `command`. Raises `CodecError`."""
    return read_at(serializer, data, place_of(command, trader_id))
