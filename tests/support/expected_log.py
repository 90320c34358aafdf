"""What a log has to be, by position, as far as the calls that returned say; and what a journal's files hold."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from redis import Redis

from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.projections import MemoryViews, project
from tests.support.logs import Line, read_log

_SEGMENT_HEADER_BYTES = 4096
_RECORD = struct.Struct("<IIQQ")
_WHOLE = 1 << 31


def same(found: c.Command, expected: c.Command) -> bool:
    """Whether an entry is the one that was expected. What a writer says of itself and of a flush, only it knows."""
    if isinstance(expected, c.Opened):
        return isinstance(found, c.Opened) and expected.epoch in (0, found.epoch)
    if isinstance(expected, c.ClosedWell | c.Flushed):
        return type(found) is type(expected)
    return found == expected


OPENED, CLOSED = c.Opened(0, {}), c.ClosedWell(0, {})
"""An opening of whatever epoch, and an end."""


class Expected:
    """The commands that were accepted, by position, and what may have been behind the last one that is known.

    A call that a kill cut short may have been accepted: it is among the `doubtful` ones until somebody has looked.
    """

    def __init__(self) -> None:
        self.at: dict[int, c.Command] = {}
        self.last = 0
        self.doubtful: list[c.Command] = []

    def add(self, command: c.Command) -> None:
        """It was accepted, behind all others."""
        assert not self.doubtful, "nobody has looked what came before"
        self.last += 1
        self.at[self.last] = command

    def found(self, rest: Sequence[c.Command]) -> None:
        """Somebody has looked: `rest`, some of the doubtful, is what was accepted behind the last known one."""
        left = iter(self.doubtful)
        for command in rest:
            assert any(same(command, each) for each in left), f"nobody was doing {command}: {self.doubtful}"
        self.doubtful = []
        for command in rest:
            self.add(command)

    def behind(self, position: int) -> dict[int, c.Command]:
        """What is at the positions above `position`."""
        return {at: command for at, command in self.at.items() if at > position}

    def cut(self, position: int) -> None:
        """The log goes on behind `position`, without what was there."""
        assert position <= self.last
        self.at = {at: command for at, command in self.at.items() if at <= position}
        self.last = position

    def copy(self) -> Expected:
        other = Expected()
        other.at, other.last = dict(self.at), self.last
        return other

    def fold(self, keys: Keys) -> MemoryViews:
        """The views of all of it."""
        views = MemoryViews()
        for _, command in sorted(self.at.items()):
            project(keys, command, views)
        return views

    def check(self, log: list[Line]) -> None:
        """Assert that `log` is exactly this. It begins with the last flush."""
        flushes = [at for at, command in self.at.items() if isinstance(command, c.Flushed)]
        wanted = {at: command for at, command in sorted(self.at.items()) if at >= max(flushes, default=0)}
        assert [line.position for line in log] == list(wanted), "there is more in the log than was accepted, or less"
        for line, command in zip(log, wanted.values(), strict=True):
            assert same(line.command, command), f"position {line.position}: {line.command}, not {command}"


def logged(client: Redis, keys: Keys, above: int, until: int) -> list[c.Command]:
    """The commands at the positions in between, in the log at the server."""
    return [line.command for line in read_log(client, keys) if above < line.position <= until]


def journaled(directory: Path) -> dict[int, c.Command]:
    """All whole records in the files of a journal that nobody has open, by position."""
    return recorded(sorted(directory.glob("*.seg")))


def recorded(paths: Iterable[Path]) -> dict[int, c.Command]:
    """All whole records in such files. Reads them by the description of the format, not with the library's reader."""
    return {position: c.decode(payload) for path in paths for position, payload in _records(path.read_bytes())}


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = _SEGMENT_HEADER_BYTES
    while offset + _RECORD.size <= len(data):
        length, _, position, _ = _RECORD.unpack_from(data, offset)
        if not length & _WHOLE:
            return
        length ^= _WHOLE
        begin = offset + _RECORD.size
        yield position, data[begin : begin + length]
        offset = begin + (length + 7 & ~7)
