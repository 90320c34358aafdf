"""Reading an archive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from eventstore.audit.archive import manifest
from eventstore.audit.archive.check import Problem, check, read_checked
from eventstore.audit.archive.directory import trader_directory
from eventstore.audit.archive.manifest import Manifest, Segment
from eventstore.audit.archive.segment import SegmentReader
from eventstore.chain import Head, LogEntry, Run
from eventstore.errors import ArchiveDamaged, ArchiveError
from eventstore.model.identifiers import TraderId


class Archive:
    """The archived part of one trader's log. Made by `open`. Reading takes no lock: segments never change.

    Attributes
    ----------
    trader_id : TraderId
    directory : Path
        Of this trader.
    """

    def __init__(self, directory: Path, trader_id: TraderId, found: Manifest) -> None:
        self.trader_id = trader_id
        self.directory = directory
        self._manifest = found

    @classmethod
    def open(cls, directory: str | Path, trader_id: TraderId) -> Archive:
        """Open the archive of `trader_id` in `directory` for reading.

        Raises
        ------
        ArchiveError
            If there is none, or its manifest can not be read.
        """
        home = trader_directory(directory, trader_id)
        return cls(home, trader_id, cls._load(home, trader_id))

    @staticmethod
    def _load(home: Path, trader_id: TraderId) -> Manifest:
        found = manifest.load(home)
        if found is None:
            directory = home.parent
            lacks = f"has no archive of {trader_id}" if directory.is_dir() else "is no directory"
            raise ArchiveError(
                f"{directory} {lacks if directory.exists() else 'is not there'}; name the directory that "
                "`eventstore archive --to` was given"
            )
        if found.trader_id != trader_id:
            raise ArchiveError(f"{home / manifest.NAME} is of {found.trader_id}, and not of {trader_id}")
        return found

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, as the manifest had them when it was read."""
        return self._manifest.segments

    def path(self, segment: Segment) -> Path:
        """Return where the file of a segment is."""
        return self.directory / segment.file

    def start(self) -> Head:
        """Return the place before the first entry."""
        return self._manifest.start

    def end(self) -> Head:
        """Return the last position, and the chain head there."""
        return self._manifest.end

    def refresh(self) -> None:
        """See what was archived since. Raises `ArchiveError`."""
        self._manifest = self._load(self.directory, self.trader_id)

    def entries(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[LogEntry]:
        """As `runs`, one by one."""
        return chain.from_iterable(run.entries() for run in self.runs(after, until, since_ms))

    def runs(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[Run]:
        """Yield the entries behind `after` and up to `until`, as they stand, a block of a file at a time.

        `since_ms`, in UNIX milliseconds, leaves out what was accepted before.

        Raises
        ------
        ArchiveDamaged
            At a place that is not as it was sealed.
        ArchiveError
            If a file can not be read.
        """
        for segment in self._manifest.segments:
            if until is not None and segment.first > until:
                return
            if segment.last <= after or (since_ms is not None and segment.last_ms < since_ms):
                continue
            with SegmentReader(self.path(segment)) as reader:
                if (reader.before, reader.after, reader.size) != (segment.before, segment.after, segment.size):
                    raise ArchiveDamaged(reader.path, 0, "it is not the file that the manifest says")
                yield from reader.runs(after, until, since_ms)

    def check(self, segment: Segment) -> Iterator[Problem]:
        """Yield what is wrong with the file of `segment`: digests, checksums, positions, times, chain. Never raises."""
        return check(self.path(segment), segment, self.trader_id)

    def checked(self, segment: Segment) -> Iterator[Run | Problem]:
        """Yield the entries of `segment`, and what is wrong with its file, as `check` says it. Never raises."""
        return read_checked(self.path(segment), segment, self.trader_id)
