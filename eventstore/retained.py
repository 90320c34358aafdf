"""What was applied and is kept, in case the server loses it: in memory, or in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

from eventstore.errors import DataLoss
from eventstore.journal import Journal, JournalRecord, record_bytes
from eventstore.storage.appender import Entry
from workers.watermark import Watermark

ENTRY_BYTES = 120
"""What an entry takes in memory besides its payload, about."""


class MemoryWindow:
    """Keeps the last entries that were applied, `bytes_max` bytes of them."""

    def __init__(self, bytes_max: int, position: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._last = position
        # Side by side. Anything that holds both would be one object more for the collector of cycles, for each command
        # that is written: it would look through the whole process that much more often.
        self._times: deque[int] = deque()
        self._payloads: deque[bytes] = deque()

    @property
    def first(self) -> int:
        return self._last + 1 - len(self._payloads)

    def keep(self, last: int, entries: Sequence[Entry]) -> None:
        payloads = [entry[1] for entry in entries]
        self._payloads.extend(payloads)
        self._times.extend([entry[0] for entry in entries])
        self._last = last
        self._bytes += sum(map(len, payloads)) + len(payloads) * ENTRY_BYTES
        while self._bytes > self._bytes_max:
            self._times.popleft()
            self._bytes -= len(self._payloads.popleft()) + ENTRY_BYTES

    def since(self, position: int) -> Iterator[Entry]:
        # Taken now: `keep` goes on while it is read.
        skipped = position + 1 - self.first
        kept = zip(list(self._times)[skipped:], list(self._payloads)[skipped:], strict=True)
        return map(Entry._make, kept)


STEPS = 256
"""In so many parts what is retained of a journal is let go."""


class JournalWindow:
    """Lets the journal go once it is durable, but for the last `bytes_max` bytes of its files.

    Of these it lets go the oldest where there is no room otherwise.
    """

    def __init__(self, journal: Journal, bytes_max: int, applied: Watermark, durable: Watermark | None) -> None:
        self._journal = journal
        self._applied = applied
        self._bytes_max = bytes_max
        self._bytes = 0
        self._durable = durable
        self._steps: deque[tuple[int, int]] = deque()  # of what is within `bytes_max`: last position, bytes
        self._done = 0  # the last position before that
        journal.spare = self._spare

    @property
    def first(self) -> int:
        return self._journal.first

    def keep(self, last: int, entries: Sequence[Entry]) -> None:
        steps, enough = self._steps, self._bytes_max // STEPS
        self._journal.settled = last
        for position, (_, payload) in enumerate(entries, last + 1 - len(entries)):
            size = record_bytes(len(payload))
            self._bytes += size
            if steps and steps[-1][1] < enough:
                size += steps.pop()[1]
            steps.append((position, size))
        while steps and self._bytes - steps[0][1] >= self._bytes_max:
            self._done, size = steps.popleft()
            self._bytes -= size
        self._journal.trim(min(self._done, self._spare()))

    def _spare(self) -> int:
        applied = self._applied.position  # which goes back where the server lost something: that is needed again
        return applied if self._durable is None else min(applied, self._durable.position)

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
    return Entry(record.accepted_ns // 1_000_000, record.payload)
