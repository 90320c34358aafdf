"""The log, folded into state or passed on entry by entry."""

from __future__ import annotations

from collections.abc import Callable

from eventstore.audit.log import Log, decoded
from eventstore.audit.state import State
from eventstore.chain import LogEntry
from eventstore.codec import Serializer
from eventstore.keys import Keys
from eventstore.projections import MemoryViews, project

NS_IN_MS = 1_000_000


class Fold:
    """The views, as far as entries were applied; without a look at gaps."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.views = MemoryViews()
        self.position = 0
        self.accepted_ms = 0

    def apply(self, entry: LogEntry) -> None:
        """Apply the entry that comes next. Raises as `eventstore.audit.log.decoded`."""
        project(self.keys, decoded(self.keys, entry), self.views)
        self.position = entry.position
        self.accepted_ms = entry.accepted_ms

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
        If entries are missing, or the log does not reach back to its beginning.
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
    for entry in log.entries(0, until):
        if until_ms is not None and entry.accepted_ms > until_ms:
            break
        if on_entry is not None:
            on_entry(entry)
        fold.apply(entry)
    return fold.state(serializer, strict)
