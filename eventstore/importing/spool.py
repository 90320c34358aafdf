"""What an import puts in order of time, on the disk: memory does not grow with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from eventstore import commands as c

FIRST: Final = 0
"""The time of what has none and comes before everything."""

LAST: Final = 2**63 - 1
"""The time of what has none and comes behind everything."""

_CACHE_KIB: Final = 16 << 10

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE commands (at INTEGER, rank INTEGER, name TEXT, seq INTEGER, payload BLOB);
CREATE TABLE fills (position TEXT, at INTEGER, seq INTEGER PRIMARY KEY, record BLOB);
"""


class Timed(NamedTuple):
    """A command, and when it has to come.

    Attributes
    ----------
    at : int
        UNIX nanoseconds, `FIRST` or `LAST`.
    rank : int
        Of several at one time, those of a lower rank come first, and then those of a lower name: a shorter one is
        lower. What has the same comes in the order in which it was put in.
    name : str
        What it is about.
    """

    at: int
    rank: int
    name: str
    command: c.Command


class Spool:
    """Takes commands in any order and gives them back in that of time; and fills, by position.

    It is a private file that the system deletes, in the directory that ``SQLITE_TMPDIR`` names, otherwise
    ``/var/tmp``.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def __len__(self) -> int:
        return self._count

    def put(self, timed: Timed) -> None:
        """Put in a command."""
        self._count += 1
        row = (min(timed.at, LAST), timed.rank, timed.name, self._count, c.encode(timed.command))
        self._database.execute("INSERT INTO commands VALUES (?, ?, ?, ?, ?)", row)

    def span(self) -> tuple[int, int] | None:
        """Return the first and the last time, UNIX nanoseconds; None if nothing has one."""
        found = self._database.execute(
            "SELECT min(at), max(at) FROM commands WHERE at > ? AND at < ?", (FIRST, LAST)
        ).fetchone()
        return None if found[0] is None else (found[0], found[1])

    def in_order(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield time, name and bytes of each command, in order."""
        yield from self._database.execute(
            "SELECT at, name, payload FROM commands ORDER BY at, rank, length(name), name, seq"
        )

    def put_fill(self, position_id: str, at: int, record: bytes) -> None:
        """Put in a fill of a position that an order has, the record's bytes."""
        self._database.execute(
            "INSERT INTO fills (position, at, record) VALUES (?, ?, ?)", (position_id, min(at, LAST), record)
        )

    def index_fills(self) -> None:
        """Say that all fills are in."""
        self._database.execute("CREATE INDEX fills_by_position ON fills (position, at, seq)")

    def fills(self, position_id: str) -> Iterator[bytes]:
        """Yield the fills of a position, in order of time."""
        found = self._database.execute("SELECT record FROM fills WHERE position = ? ORDER BY at, seq", (position_id,))
        return (row[0] for row in found)
