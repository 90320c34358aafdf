"""What was applied and is kept, in case the server loses it: in memory, or in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count

from eventstore import commands as c
from eventstore.errors import DataLoss
from eventstore.journal import Journal, JournalRecord
from eventstore.storage.appender import PIECE, Entry
from workers.turn import Turn
from workers.watermark import Watermark

ENTRY_BYTES = 120
"""What an entry takes in memory besides its payload, about."""


class MemoryWindow:
    """Keeps the last entries that were applied, `bytes_max` bytes of them. `turn` is that of the writer's thread."""

    def __init__(self, bytes_max: int, position: int, turn: Turn | None = None) -> None:
        self._turn = turn or Turn()
        self._bytes_max = bytes_max
        self._bytes = 0
        self._last = position
        self._kept: deque[tuple[int, bytes]] = deque()

    @property
    def first(self) -> int:
        return self._last + 1 - len(self._kept)

    def keep(self, last: int, entries: list[Entry]) -> None:
        kept, turn = self._kept, self._turn
        # The command is made again if it should be needed: it would take more room than the payload. To let go of it is
        # most of the work here.
        entries.reverse()
        while entries:
            for accepted_ms, _, payload in entries[-1 : -PIECE - 1 : -1]:
                kept.append((accepted_ms, payload))
                self._bytes += len(payload) + ENTRY_BYTES
            del entries[-PIECE:]
            self._last = last - len(entries)
            turn.check()
        while self._bytes > self._bytes_max:
            self._bytes -= len(kept.popleft()[1]) + ENTRY_BYTES

    def since(self, position: int) -> Iterator[Entry]:
        # Taken now: `keep` goes on while it is read.
        kept = list(self._kept)[position + 1 - self.first :]
        return (Entry(accepted_ms, c.decode(payload), payload) for accepted_ms, payload in kept)


class JournalWindow:
    """Lets the journal go once it is durable, but for the last `bytes_max` bytes."""

    def __init__(self, journal: Journal, bytes_max: int, durable: Watermark | None) -> None:
        self._journal = journal
        self._bytes_max = bytes_max
        self._durable = durable
        self._bytes = 0
        self._steps: deque[tuple[int, int]] = deque()  # of what is within `bytes_max`: last position, bytes

    @property
    def first(self) -> int:
        return self._journal.first

    def keep(self, last: int, entries: list[Entry]) -> None:
        self._journal.settled = last
        size = sum([len(entry.payload) for entry in entries])
        self._steps.append((last, size))
        self._bytes += size
        done = 0
        while self._bytes - self._steps[0][1] >= self._bytes_max:
            done, size = self._steps.popleft()
            self._bytes -= size
        if done:
            self._journal.trim(done if self._durable is None else min(done, self._durable.position))

    def since(self, position: int) -> Iterator[Entry]:
        return map(revived, self._journal.read(position), count(position + 1))


def revived(record: JournalRecord, position: int) -> Entry:
    """Return the entry that `record` was written for, which is that of `position`.

    Raises
    ------
    DataLoss
        If the journal goes on with a later one. It can be behind a log that outlived it, and that lost them since.
    """
    if record.position != position:
        raise DataLoss(
            f"write from the journal: positions {position} to {record.position - 1} are neither in the log nor in the "
            "journal",
            position,
            record.position - 1,
        )
    return Entry(record.accepted_ns // 1_000_000, c.decode(record.payload), record.payload)
