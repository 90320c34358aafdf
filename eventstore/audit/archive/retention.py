"""Which entries may go from the server into the archive. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from eventstore.errors import ConfigError


class Cut(NamedTuple):
    """Where the part that may go ends: behind position `until`, or before what was accepted at `before_ms`."""

    until: int
    before_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Which entries may go. With several conditions, those for which all of them hold.

    Parameters
    ----------
    before_position : int, optional
        Those before this position.
    older_than_s : float, optional
        Those that were accepted longer ago than so many seconds.
    keep_entries : int, optional
        All but so many, the last ones of the log.
    keep_bytes : int, optional
        All but the last ones that together take so many bytes of the server's memory, at the mean size of an entry.

    Raises
    ------
    ConfigError
        If there is none, or one is negative.
    """

    before_position: int | None = None
    older_than_s: float | None = None
    keep_entries: int | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if all(value is None for value in given.values()):
            raise ConfigError(f"archive: say which entries may go, by at least one of {', '.join(given)}")
        for name, value in given.items():
            if value is not None and not value >= 0:
                raise ConfigError(f"archive: {name} is {value}, and can not be negative")

    def cut(self, last: int, now_ms: int, entries: int, size: int) -> Cut:
        """Return where the part that may go ends.

        Parameters
        ----------
        last : int
            The last position of the log.
        now_ms : int
            UNIX milliseconds.
        entries, size : int
            How many entries the stream has, and the bytes of memory that they take; only `keep_bytes` needs them.
        """
        until = last
        if self.before_position is not None:
            until = min(until, self.before_position - 1)
        if self.keep_entries is not None:
            until = min(until, last - self.keep_entries)
        if self.keep_bytes is not None and size:
            until = min(until, last - self.keep_bytes * entries // size)
        before_ms = None if self.older_than_s is None else int(now_ms - self.older_than_s * 1000)
        return Cut(max(until, 0), before_ms)
