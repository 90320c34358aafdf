"""Reading segment files from the disk, without a map: a disk that fails raises an error then, and no signal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from eventstore.journal.header import HEADER_BYTES
from eventstore.journal.record import HEAD_BYTES, Parsed, candidates, parse

_WINDOW: Final = 1 << 18
_CHUNK: Final = 1 << 16
_ZEROS: Final = bytes(_CHUNK)
_POSITION_MAX: Final = (1 << 63) - 1


class Damage(NamedTuple):
    """A place in a file where no whole record is, and why."""

    offset: int
    reason: str


class Stretch(NamedTuple):
    """Consecutive whole records in a file, from offset `begin` to `end`."""

    first: int
    last: int
    begin: int
    end: int

    @property
    def total(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Scan(NamedTuple):
    """What the records of a file are: whole ones from its start on, and what comes behind them.

    `damage` is the first place that is not whole; None if there is nothing but zeros behind the records. `beyond` are
    whole records behind that: then records between were lost, and not only one that was never finished.
    """

    stretch: Stretch | None
    end: int
    damage: Damage | None
    beyond: list[Stretch]

    @property
    def stretches(self) -> list[Stretch]:
        """Everything whole."""
        return [*([self.stretch] if self.stretch else []), *self.beyond]


def read_block(fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`, or fewer at the end of the file."""
    parts = []
    while size:
        part = os.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_window(fd: int, offset: int, stop: int, start: int, expected: int | None, *, step: bool = True) -> Parsed:
    """Read the records at `offset`, some or, if there is only one left or it is large, one. Offsets are the file's.

    `stop` is where the file ends. The ending is "more" only if there are records, and more of them behind.
    """
    wanted = _WINDOW
    while True:
        data = read_block(fd, min(wanted, stop - offset), offset)
        found = parse(data, start, expected, step)
        if found.ending != "more" or found.records:
            return found._replace(offset=offset + found.offset)
        if offset + found.wanted > stop or len(data) < min(wanted, stop - offset):
            if len(data) < HEAD_BYTES and not any(data):
                return Parsed([], offset, "end", "", 0)
            return Parsed([], offset, "broken", "the record goes on beyond the end of the file", 0)
        wanted = max(found.wanted, _WINDOW)


def windows(fd: int, offset: int, stop: int, start: int, *, step: bool = True) -> Iterator[Parsed]:
    """Yield all records from `offset` on, window by window, until they end or break."""
    expected: int | None = None
    while True:
        found = read_window(fd, offset, stop, start, expected, step=step)
        yield found
        if found.ending != "more":
            return
        offset = found.offset
        expected = found.records[-1].position + 1


def scan(fd: int, stop: int, start: int, lowest: int) -> Scan:
    """Look at every record of a file of `stop` bytes. No record in it has a position below `lowest`."""
    stretch, found = _stretch(fd, HEADER_BYTES, stop, start)
    beyond: list[Stretch] = []
    damage = Damage(found.offset, found.reason) if found.ending == "broken" else None
    end = offset = found.offset
    lowest = stretch.last + 1 if stretch else lowest
    while True:
        following, soiled = _find(fd, offset, stop, start, lowest, bounded=bool(stretch or beyond))
        if soiled and damage is None:
            damage = Damage(end, "a record was begun there and not finished")
        if following is None:
            return Scan(stretch, end, damage, beyond)
        piece, found = _stretch(fd, following, stop, start)
        if piece is not None:
            beyond.append(piece)
            lowest = piece.last + 1
        offset = max(found.offset, following + 8)


def _stretch(fd: int, begin: int, stop: int, start: int) -> tuple[Stretch | None, Parsed]:
    first: int | None = None
    last = 0
    for found in windows(fd, begin, stop, start):
        if found.records:
            first = found.records[0].position if first is None else first
            last = found.records[-1].position
    return (None if first is None else Stretch(first, last, begin, found.offset)), found


def _find(fd: int, offset: int, stop: int, start: int, lowest: int, *, bounded: bool) -> tuple[int | None, bool]:
    """Find the next whole record of position `lowest` or higher: its offset, and whether anything but zeros is there.

    If `bounded`, positions are consecutive before it, so that the file's size bounds them.
    """
    soiled = False
    highest = lowest + (stop - offset) // HEAD_BYTES if bounded else _POSITION_MAX
    while offset < stop:
        chunk = read_block(fd, min(_CHUNK, stop - offset), offset)
        if not chunk:
            break
        if chunk != _ZEROS[: len(chunk)]:
            soiled = True
            # A record whose head goes over the end of the chunk is found in the next one, which begins before it.
            for candidate in candidates(chunk, lowest, highest):
                found = read_window(fd, offset + candidate, stop, start, None)
                if found.records:
                    return offset + candidate, soiled
        offset += max(len(chunk) - 8, 8)
    return None, soiled
