"""One file of a journal: written through a map of memory, closed when it is full, and then only read."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path
from typing import Final

from eventstore.journal import files
from eventstore.journal.header import HEADER_BYTES, Header, encode
from eventstore.journal.record import start_value

_PAGE: Final = mmap.PAGESIZE
_WORD: Final = 8

# Writers of a record's position, time and payload, by the payload's length in words of 8 bytes. Each pads with zeros up
# to and over the next commit word, where an unfinished record may have left something.
WORDS_MAX: Final = 512
PACKERS: Final = [struct.Struct(f"<QQ{_WORD * words + _WORD}s").pack_into for words in range(WORDS_MAX + 1)]
COMMIT: Final = struct.Struct("<II").pack_into
NOTHING: Final = bytes(_WORD)
"""A commit word where no record is."""


class Segment:
    """A segment: the one that is written, one that is ready to be, or one that only is read."""

    __slots__ = (
        "after",
        "base",
        "before",
        "bytes",
        "end",
        "failed",
        "fd",
        "half",
        "last",
        "limit",
        "listed",
        "map",
        "number",
        "passed",
        "path",
        "room",
        "start",
        "synced",
    )

    def __init__(self, path: Path, number: int, size: int, before: int, after: int) -> None:
        self.path = path
        self.number = number
        self.bytes = size
        """Bytes that the file takes."""
        self.before = before
        """The position before its first record."""
        self.after = after
        """The position of the last record in the segments before it."""
        self.base = before
        """The last position that its header tells of."""
        self.last = before
        """The position of its last record; of the segment that is being written, the journal's tail knows."""
        self.end = HEADER_BYTES
        """The offset behind its last record; of the segment that is being written, the journal's tail knows."""
        self.synced = before
        """The position up to which its records are known to be on disk."""
        self.failed: str | None = None
        """Why it is never synced again."""
        self.listed = True
        """Whether the directory that names it is on disk."""
        self.start = start_value(number)
        """The start value of its checksums."""
        self.map: mmap.mmap = _NOT_MAPPED
        self.fd = -1
        self.room = 0
        """The offset that no record reaches beyond."""
        self.half = 0
        """The offset where half of that is used."""
        self.passed = False
        """Whether it was passed."""
        self.limit = 0
        """The offset that no record reaches beyond without a closer look: `room`, or less while there is a reason."""

    @classmethod
    def create(cls, directory: Path, header: Header, size: int) -> Segment:
        """Make the file of a new segment, of `size` bytes at least. Its name is there when it is whole.

        Raises
        ------
        OSError
            If there is no room; nothing is left behind.
        """
        size = -(-size // _PAGE) * _PAGE
        path = files.segment_path(directory, header.segment)
        unfinished = path.with_suffix(files.UNFINISHED)
        segment = cls(path, header.segment, size, header.base, header.base if header.after is None else header.after)
        try:
            segment.fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            files.allocate(segment.fd, size)
            files.write_all(segment.fd, encode(header), 0)
            segment.map = mmap.mmap(segment.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            segment.listed = False
            unfinished.rename(path)
        except BaseException:
            segment.release()
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        segment.room = size - _WORD
        segment.half = (HEADER_BYTES + segment.room) // 2
        return segment

    def sync(self) -> None:
        """Wait until what was written before the call is on disk. Raises `OSError`: then never call it again."""
        files.sync_file(self.fd)
        if not self.listed:
            files.sync_directory(self.path.parent)
            self.listed = True

    def release(self) -> None:
        """Unmap and close the file; it can still be read by its path."""
        self.limit = self.room = 0
        if self.map is not _NOT_MAPPED:
            self.map, mapped = _NOT_MAPPED, self.map
            mapped.close()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Delete the file. Raises `OSError`."""
        self.release()
        self.path.unlink(missing_ok=True)


_NOT_MAPPED: Final = mmap.mmap(-1, _PAGE)
