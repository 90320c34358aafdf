"""Commands that were accepted and can not be written any more: kept in a file, for people; never merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from eventstore import commands as c
from eventstore.chain import LogEntry
from eventstore.journal import JournalRecord, read_records, write_aside


def set_aside(directory: Path, trader_id: str, instance: str, records: Iterable[JournalRecord]) -> Path | None:
    """Write `records` to a file of their own in `directory`, and return it; None if there are none."""
    rest = iter(records)
    first = next(rest, None)
    if first is None:
        return None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{quote(trader_id, safe=' ')}-{instance}-{first.position}.seg"
    # What was set aside already, before something else went wrong, is set aside.
    if path.exists() and next(read_records(path), None) == first:
        return path
    write_aside(path, trader_id, c.VERSION, instance, chain([first], rest))
    return path


def diverged_at(records: Iterator[JournalRecord], log: Iterator[LogEntry]) -> int | None:
    """Return the position of the first of `records` that is not in `log`; None if all are.

    Both rise by position, and begin alike: it is where somebody else went on. A log that begins later with a flush that
    `records` have, too, had what came before it.
    """
    entry = next(log, None)
    begins_at = 0 if entry is None else entry.position
    deleted_from: int | None = None
    for record in records:
        if record.position < begins_at:
            deleted_from = deleted_from or record.position
            continue
        while entry is not None and entry.position < record.position:
            entry = next(log, None)
        if entry is None or entry.position != record.position or not _same(record.payload, entry.payload):
            return deleted_from or record.position
        if deleted_from is not None:
            if not isinstance(c.decode(record.payload), c.Flushed):
                return deleted_from
            deleted_from = None
    return deleted_from


def _same(accepted: bytes, written: bytes) -> bool:
    if accepted == written:
        return True
    # A flush says what it deleted only once that is known; what could not be written is there by name.
    command = c.decode(written)
    return isinstance(command, c.Quarantined) or (
        isinstance(command, c.Flushed) and isinstance(c.decode(accepted), c.Flushed)
    )
