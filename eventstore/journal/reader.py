"""Reading the records of a journal while it is written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from eventstore.errors import JournalDamaged, JournalError
from eventstore.journal.header import HEADER_BYTES
from eventstore.journal.record import JournalRecord
from eventstore.journal.scan import read_window


class Extent(NamedTuple):
    """Where in which file the records behind a position are: up to `last`, which ends at the offset `stop`."""

    path: Path
    number: int
    start: int
    last: int
    stop: int


class Source(Protocol):
    """Says where to read next."""

    def extent(self, position: int) -> Extent | None:
        """Where the first record behind `position` is, with those behind it; None if there is none yet.

        Raises
        ------
        JournalError
            If that record was trimmed, or the journal is closed.
        """


class Reader(Iterator[JournalRecord]):
    """Yields the records behind a position, one after the other, up to the last one there is at each step.

    It may be asked again after it has ended, when more was appended. For one thread at a time, which need not be the
    one that appends. What is trimmed before it was read is gone: the next step raises `JournalError`. A file that it
    has begun is read to its end all the same.
    """

    def __init__(self, source: Source, position: int) -> None:
        self.position = position
        """The position of the last record that was yielded, or before the first."""
        self._source = source
        self._ready: deque[JournalRecord] = deque()
        self._number: int | None = None  # the segment that is being read
        self._offset = HEADER_BYTES
        self._fd = -1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JournalRecord:
        if not self._ready and not self._read():
            raise StopIteration
        record = self._ready.popleft()
        self.position = record.position
        return record

    def close(self) -> None:
        """Close the file that is being read; the next step opens it again."""
        self._number = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _read(self) -> bool:
        """Read the next records; return whether there are any."""
        extent = self._source.extent(self.position)
        if extent is None:
            return False
        if extent.number != self._number:
            self.close()
            try:
                self._fd = os.open(extent.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._source.extent(self.position)  # says that it was trimmed meanwhile
                raise JournalError(f"{extent.path} is gone: somebody else deleted it") from None
            except OSError as error:
                raise JournalError(f"{extent.path} can not be read: {error}") from error
            self._number = extent.number
            self._offset = HEADER_BYTES
        while not self._ready:
            try:
                found = read_window(self._fd, self._offset, extent.stop, extent.start, None)
            except OSError as error:
                raise JournalError(f"{extent.path} can not be read: {error}") from error
            if not found.records:
                raise JournalDamaged(extent.path, self._offset, found.reason or "the records end there")
            self._offset = found.offset
            self._ready.extend(record for record in found.records if self.position < record.position <= extent.last)
        return True
