"""What an entry of a log says."""

from __future__ import annotations

from eventstore import commands as c
from eventstore.chain import Head, LogEntry
from eventstore.errors import CodecError, DamagedRecord, UnknownSchema
from eventstore.keys import Keys


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
