"""The log, folded into state or passed on entry by entry."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from eventstore import commands as c
from eventstore.audit.decoding import decoded, place_of
from eventstore.audit.log import Log
from eventstore.audit.state import State
from eventstore.chain import LogEntry, Run
from eventstore.codec import MsgPackSerializer, Serializer, read_at
from eventstore.errors import CodecError, DamagedRecord, LogGap
from eventstore.keys import Keys
from eventstore.loader import collector_paused
from eventstore.model.identifiers import TraderId
from eventstore.model.record import Record
from eventstore.projections import MemoryViews, project

NS_IN_MS = 1_000_000
MS_IN_S = 1000

_SERIALIZER = MsgPackSerializer()


class Fold:
    """The views, as far as entries were applied; without a look at gaps."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.views = MemoryViews()
        self.position = 0
        self.accepted_ms = 0

    def apply(self, entry: LogEntry) -> c.Command:
        """Apply the entry that comes next, and return its command. Raises as `eventstore.audit.decoding.decoded`."""
        command = decoded(self.keys, entry)
        project(self.keys, command, self.views)
        self.position = entry.position
        self.accepted_ms = entry.accepted_ms
        return command

    def apply_all(self, run: Run) -> None:
        """As `apply`, each entry of a run. Where it raises, those before it are applied."""
        keys, views, decode = self.keys, self.views, c.decode
        done = 0
        with suppress(CodecError):  # which comes again below, and then says where it stands
            for payload in run.payloads:
                project(keys, decode(payload), views)
                done += 1
        if done:
            self.position, self.accepted_ms = run.positions[done - 1], run.times[done - 1]
        if done < len(run):
            for entry in run.entries()[done:]:
                self.apply(entry)

    def state(self, serializer: Serializer | None = None, strict: bool = True) -> State:
        """Return the state now. It reads the views of this fold: it goes on as the fold does."""
        return State(self.keys, self.views, self.position, self.accepted_ms, serializer, strict)


def state_at(
    log: Log,
    position: int | None = None,
    time_ns: int | None = None,
    *,
    serializer: Serializer | None = None,
    strict: bool = True,
    on_entry: Callable[[LogEntry], object] | None = None,
) -> State:
    """Return what the trader had behind entry `position`, or behind all that was accepted up to `time_ns`.

    Parameters
    ----------
    position : int, optional
        Default: the end of the log.
    time_ns : int, optional
        UNIX nanoseconds. The log knows the millisecond in which something was accepted: what was accepted in the one
        that has begun counts.
    strict : bool, default True
        Whether a record that can not be read raises. The entries of the log have to be readable in any case.
    on_entry : callable, optional
        Is told of each entry before it is applied.

    Raises
    ------
    ValueError
        If both are given, or one is negative, or the log does not reach `position`.
    LogGap
        If entries are missing, or the log does not reach back to its beginning; or if that moment was before a flush,
        which deleted it.
    DamagedRecord
        If an entry can not be read.
    """
    end = log.end().position
    if position is not None and time_ns is not None:
        raise ValueError("state_at: give a position or a time, not both")
    if position is not None and not 0 <= position <= end:
        raise ValueError(f"state_at: position {position} is not in the log, which ends at {end}")
    if time_ns is not None and time_ns < 0:
        raise ValueError(f"state_at: the time {time_ns} is before 1970")
    until = end if position is None else position
    until_ms = None if time_ns is None else time_ns // NS_IN_MS
    fold = Fold(log.keys)
    next_position = until + 1
    with collector_paused():
        for found in log.runs(0, until):
            run = found
            if until_ms is not None and max(run.times) > until_ms:
                later = next(i for i, ms in enumerate(run.times) if ms > until_ms)
                next_position = run.positions[later]
                run = run.only(i < later for i in range(len(run)))
            if on_entry is None:
                fold.apply_all(run)
            else:
                for entry in run.entries():
                    on_entry(entry)
                    fold.apply(entry)
            if run is not found:
                break
    if next_position > fold.position + 1:  # a flush may stand there, and what was before it is gone
        log.refuse_archived(fold.position + 1)
        raise LogGap(
            f"{log.keys.log}: what was between positions {fold.position} and {next_position} is not there any more: "
            "the log was deleted by a flush since",
            fold.position + 1,
            next_position - 1,
        )
    return fold.state(serializer, strict)


class Replayed(NamedTuple):
    """One entry of a log, and the command that it holds: what one call asked for."""

    entry: LogEntry
    command: c.Command
    trader_id: TraderId
    """Whose log it is."""

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self.entry.position

    @property
    def accepted_ms(self) -> int:
        """When the call was accepted, UNIX milliseconds."""
        return self.entry.accepted_ms

    def events(self, serializer: Serializer = _SERIALIZER) -> list[Record]:
        """Return the events that the call wrote, of an order, position or account; empty if it wrote none.

        Raises
        ------
        DamagedRecord
            If one can not be read.
        """
        try:
            place = place_of(self.command, self.trader_id)
            return [read_at(serializer, data, place) for data in getattr(self.command, "events", ())]
        except CodecError as error:
            raise DamagedRecord(f"position {self.position}", "events", str(error)) from error


def replay(
    log: Log,
    after: int = 0,
    until: int | None = None,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    speed: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Replayed]:
    """Yield the entries of `log` in order, as fast as they are taken or at the pace at which they were accepted.

    Parameters
    ----------
    after : int, default 0
        The first position that comes is the one behind it. Behind a flush, what it deleted does not come.
    until : int, optional
        The last position. Default: the last there is when the reading comes to it.
    since_ns, until_ns : int, optional
        UNIX nanoseconds: what was accepted before or later does not come. The log knows the millisecond; those in which
        these times are count.
    speed : float, optional
        How many times faster than it was. Each entry then comes when it is due, counted from the first one; if whoever
        takes them needs longer, those that are late come at once, until it has caught up. Default: no pace.
    sleep, clock : callable
        What waits, in seconds, and what says how late it is, in seconds from whenever.

    Raises
    ------
    ValueError
        If `speed` is not above 0, or a time is before 1970. At the call.
    LogGap
        If entries are missing.
    DamagedRecord
        If an entry can not be read.
    """
    if speed is not None and not (speed > 0 and math.isfinite(speed)):
        raise ValueError(f"replay: a speed of {speed} is not above 0")
    for at in (since_ns, until_ns):
        if at is not None and at < 0:
            raise ValueError(f"replay: the time {at} is before 1970")
    since_ms = None if since_ns is None else since_ns // NS_IN_MS
    until_ms = None if until_ns is None else until_ns // NS_IN_MS
    entries = _entries(log, after, until, since_ms, until_ms)
    return entries if speed is None else _paced(entries, speed, sleep, clock)


def _entries(log: Log, after: int, until: int | None, since_ms: int | None, until_ms: int | None) -> Iterator[Replayed]:
    for entry in log.entries(after, until, since_ms):
        if until_ms is not None and entry.accepted_ms > until_ms:
            return
        yield Replayed(entry, decoded(log.keys, entry), log.trader_id)


def _paced(
    entries: Iterator[Replayed], speed: float, sleep: Callable[[float], object], clock: Callable[[], float]
) -> Iterator[Replayed]:
    begun_ms, begun_s = None, 0.0
    for replayed in entries:
        if begun_ms is None:
            begun_ms, begun_s = replayed.accepted_ms, clock()
        # Counted from the beginning each time: what waits too long or too short once is made up for.
        wait_s = begun_s + (replayed.accepted_ms - begun_ms) / MS_IN_S / speed - clock()
        if wait_s > 0:
            sleep(wait_s)
        yield replayed


def drive(
    log: Log,
    callback: Callable[[Replayed], object],
    after: int = 0,
    until: int | None = None,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    speed: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Call `callback` with each entry; parameters and errors as `replay`. Returns how many there were."""
    count = 0
    for replayed in replay(
        log, after, until, since_ns=since_ns, until_ns=until_ns, speed=speed, sleep=sleep, clock=clock
    ):
        callback(replayed)
        count += 1
    return count
