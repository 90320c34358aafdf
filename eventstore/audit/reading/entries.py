"""The entries of a log that fit a filter: from the beginning on, the last ones, and those to come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

from eventstore.audit.decoding import flush_in
from eventstore.audit.log import Log
from eventstore.audit.reading.facts import FactReader, Facts
from eventstore.audit.reading.filters import Filter
from eventstore.chain import LogEntry
from eventstore.codec import Serializer
from eventstore.errors import AuditError, Fatal, LogGap, StorageError

EVERYTHING = Filter()
_PAGE = 1000

OnEntry = Callable[[LogEntry], object]


def read(
    log: Log,
    wanted: Filter = EVERYTHING,
    *,
    serializer: Serializer | None = None,
    on_entry: OnEntry | None = None,
) -> Iterator[Facts]:
    """Yield the entries of `log` that fit, in order.

    Where it is asked for strategies or instruments, the log is read from its beginning, wherever the filter begins: an
    entry that does not say whose it is gets that from those before.

    Parameters
    ----------
    on_entry : callable, optional
        Is told of each entry that is read, whether it fits or not.

    Raises
    ------
    LogGap
        If entries are missing.
    DamagedRecord
        At something that no writer of this library wrote.
    """
    reader = FactReader(log.trader_id, serializer, remember=wanted.needs_memory)
    learns = wanted.needs_memory
    after, since_ms = log.start().position, None
    if not learns and wanted.since.position is not None:
        after = max(after, wanted.since.position - 1)
    elif not learns and wanted.since.time_ns is not None:
        since_ms = wanted.since.time_ns // 1_000_000
    for entry in log.entries(after, wanted.until.position, since_ms):
        if wanted.is_over(entry):
            return
        if on_entry is not None:
            on_entry(entry)
        if not learns and not wanted.may_fit(entry.payload):
            continue
        early = not wanted.begins_by(entry)
        if early and not learns:
            continue
        facts = reader.read(entry)
        if not early and wanted.fits(facts):
            yield facts


def last(
    log: Log,
    count: int,
    wanted: Filter = EVERYTHING,
    *,
    serializer: Serializer | None = None,
    on_entry: OnEntry | None = None,
) -> list[Facts]:
    """Return the last `count` entries of `log` that fit, in order. Reads no more of the log than it has to.

    Raises as `read`.
    """
    if count <= 0:
        return []
    if wanted.needs_memory:
        return list(deque(read(log, wanted, serializer=serializer, on_entry=on_entry), count))
    reader = FactReader(log.trader_id, serializer, remember=False)
    found: list[Facts] = []
    for entry in backwards(log):
        if not wanted.begins_by(entry):
            break
        if on_entry is not None:
            on_entry(entry)
        if wanted.is_over(entry) or not wanted.may_fit(entry.payload):
            continue
        facts = reader.read(entry)
        if wanted.fits(facts):
            found.append(facts)
            if len(found) == count:
                break
    return found[::-1]


def backwards(log: Log) -> Iterator[LogEntry]:
    """Yield the entries of `log`, the last one first. Raises as `Log.entries`, and `LogGap` where one is missing."""
    log.refuse_another()
    start = log.start().position
    at = log.end().position + 1
    for entry in _as_they_stand_backwards(log, start):
        if entry.position >= at:
            at = entry.position + 1  # written since its end was asked for
        if entry.position != at - 1:
            _refuse_gap(log, entry.position + 1, at - 1)
        yield entry
        at = entry.position
    if at > start + 1:
        _refuse_gap(log, start + 1, at - 1)


def _as_they_stand_backwards(log: Log, start: int) -> Iterator[LogEntry]:
    end = log.end().position
    if log.stream is not None:
        for entry in log.stream.back(_PAGE):
            if entry.position <= start:
                return
            yield entry
            end = entry.position - 1
    if log.archive is None:
        return
    log.archive.refresh()  # what was moved there while this was reading the rest
    while end > start:
        begin = max(start, end - _PAGE)
        yield from reversed(list(log.archive.entries(begin, end)))
        end = begin


def _refuse_gap(log: Log, first: int, last_one: int) -> NoReturn:
    raise LogGap(
        f"{log.keys.log}: positions {first} to {last_one} are not there: `eventstore verify` says what else is wrong",
        first,
        last_one,
    )


def follow(
    log: Log,
    behind: LogEntry | None,
    wanted: Filter = EVERYTHING,
    *,
    wait_s: float = 2.0,
    pause: Callable[[float], object],
    notice: Callable[[str], object],
    serializer: Serializer | None = None,
) -> Iterator[Facts]:
    """Yield the entries that come behind `behind` and fit, as they come; it does not end by itself.

    An outage is waited out, and reading goes on behind the last entry that was read.

    Parameters
    ----------
    behind : LogEntry or None
        None for an empty log.
    wait_s : float
        How long one question waits at the server, in seconds; below the time in which it has to answer.
    pause : callable
        Waits so many seconds before the server is asked again behind an outage.
    notice : callable
        Is told, for people, of outages, of a log that was set back and of entries that are missing.

    Raises
    ------
    AuditError
        If the log is only in an archive, which nobody writes into meanwhile.
    StorageError
        If the server refuses to be read.
    """
    stream = log.stream
    if stream is None:
        raise AuditError("an archive can not be followed; name the server that the log is written to")
    reader = FactReader(log.trader_id, serializer)
    position = 0 if behind is None else behind.position
    last_id = "0-0" if behind is None else behind.entry_id
    broken = False
    while True:
        try:
            if broken:
                fence = stream.fence()
                if fence is not None and fence.position < position:
                    notice(f"the log was set back from position {position} to {fence.position}")
                    position, last_id = fence.position, fence.last_id
                notice("connected again")
                broken = False
            entries = stream.behind(last_id, wait_s)
        except Fatal:
            raise
        except StorageError as error:
            if not broken:
                notice(f"{error}; trying again")
            broken = True
            pause(1.0)
            continue
        for entry in entries:
            if entry.position != position + 1 and flush_in(entry) is None:
                notice(
                    f"positions {position + 1} to {entry.position - 1} are not there: they were archived, or are lost"
                )
            position, last_id = entry.position, entry.entry_id
            if wanted.is_over(entry):
                return
            facts = reader.read(entry)
            if wanted.begins_by(entry) and wanted.fits(facts):
                yield facts
