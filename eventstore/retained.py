"""What was applied and is kept, in case the server loses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from eventstore import commands as c
from eventstore.storage.appender import Entry

ENTRY_BYTES = 120
"""What an entry takes in memory besides its payload, about."""


class MemoryWindow:
    """Keeps the last entries that were applied, `bytes_max` bytes of them."""

    def __init__(self, bytes_max: int, position: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._last = position
        self._kept: deque[tuple[int, bytes]] = deque()

    @property
    def first(self) -> int:
        return self._last + 1 - len(self._kept)

    def keep(self, last: int, entries: list[Entry]) -> None:
        kept = self._kept
        for entry in entries:
            # The command is made again if it should be needed: it would take more room than the payload.
            kept.append((entry.accepted_ms, entry.payload))
            self._bytes += len(entry.payload) + ENTRY_BYTES
        self._last = last
        while self._bytes > self._bytes_max:
            self._bytes -= len(kept.popleft()[1]) + ENTRY_BYTES

    def since(self, position: int) -> Iterator[Entry]:
        # Taken now: `keep` goes on while it is read.
        kept = list(self._kept)[position + 1 - self.first :]
        return (Entry(accepted_ms, c.decode(payload), payload) for accepted_ms, payload in kept)
