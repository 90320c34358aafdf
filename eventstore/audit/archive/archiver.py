"""Moving the beginning of a log into its archive: seal, verify, note, and only then trim."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from eventstore.audit.archive import manifest
from eventstore.audit.archive.check import check
from eventstore.audit.archive.directory import lock, own_directory, trader_directory
from eventstore.audit.archive.manifest import (
    UNFINISHED,
    Manifest,
    Segment,
    first_of,
    is_segment_name,
    segment_name,
)
from eventstore.audit.archive.retention import Criterion
from eventstore.audit.archive.segment import SegmentWriter
from eventstore.audit.decoding import flush_in
from eventstore.chain import BEGIN, Head, LogEntry, link, next_head
from eventstore.errors import ArchiveError, Diverged
from eventstore.journal.files import sync_directory
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.reader import Archived, Reader
from eventstore.storage.trimmer import Trimmer

SEGMENT_ENTRIES: Final = 65_536
"""Entries of one segment, if its last batch does not make it more."""

_PAGE: Final = 1000
_NEW: Final = f"segment{UNFINISHED}"


class Outcome(NamedTuple):
    """What a run did, or would do."""

    segments: tuple[Segment, ...]
    """Those that were sealed; of a run that only looks, none."""
    entries: int
    """How many entries were sealed, or would be."""
    trimmed: int
    """How many entries went from the server, some of them perhaps sealed by a run before that was interrupted."""
    end: Head
    """The end of the archive."""


Batch = tuple[Head, list[LogEntry]]
"""The place before a batch, and its entries."""


class Archiver:
    """Archives the log of one trader. A run that was interrupted at any point is completed by the next one.

    Parameters
    ----------
    directory : str or Path
        The archive's; it has one directory for each trader.
    trader_id : TraderId
    stream : Reader
    trimmer : Trimmer
    segment_entries : int, default 65,536
        How many entries a segment has at most, if one batch alone has not more.
    on_entries : callable, optional
        Is told how many more entries were read.
    on_step : callable, optional
        Is told the name of each step before it is made.
    """

    def __init__(
        self,
        directory: str | Path,
        trader_id: TraderId,
        stream: Reader,
        trimmer: Trimmer,
        *,
        segment_entries: int = SEGMENT_ENTRIES,
        on_entries: Callable[[int], object] = lambda count: None,
        on_step: Callable[[str], object] = lambda step: None,
    ) -> None:
        self._directory = directory
        self._trader_id = trader_id
        self._keys = Keys(trader_id)
        self._stream = stream
        self._trimmer = trimmer
        self._segment_entries = segment_entries
        self._on_entries = on_entries
        self._step = on_step

    def run(self, criterion: Criterion, ceiling: int | None = None, least: int = 1) -> Outcome:
        """Seal what may go by `criterion`, verify it, and trim the log up to there.

        Whole batches go, and never the last one of the log.

        Parameters
        ----------
        criterion : Criterion
        ceiling : int, optional
            The last position that may go, such as the last one that can not be lost any more.
        least : int, default 1
            Nothing is sealed unless so many entries may go: runs that come often would make a file each.

        Raises
        ------
        ArchiveError
            If the log does not go on where the archive ends, does not verify, or the files can not be written. Nothing
            was trimmed that is not in the archive.
        StorageError
            If the server can not be reached or refuses.
        """
        home = own_directory(self._directory, self._trader_id)
        with _naming(home), lock(home):
            found = self._found(home)
            leftovers = self._leftovers(home, found)
            resumable = self._resumable(found)
            for name in leftovers:
                self._step("remove a leftover")
                (home / name).unlink()
            trimmed = self._resume(home, found) if resumable else 0
            sealed: list[Segment] = []
            until = self._until(criterion, ceiling)
            if until - found.end.position < least:
                until = 0
            for segment in self._seal(home, found, until):
                found = found._replace(segments=(*found.segments, segment))
                self._step("write the manifest")
                if len(found.segments) == 1:
                    for parent in list(home.parents)[:2]:  # where it may just have been made
                        with suppress(PermissionError):  # one that may only be gone through was not made here
                            sync_directory(parent)
                manifest.store(home, found)
                sealed.append(segment)
                trimmed += self._trim(found)
            self._step("end")
        return Outcome(tuple(sealed), sum(segment.entries for segment in sealed), trimmed, found.end)

    def look(self, criterion: Criterion, ceiling: int | None = None) -> Outcome:
        """Return what `run` would do. Nothing is written. Raises as `run`."""
        home = trader_directory(self._directory, self._trader_id)
        with _naming(home):
            found = self._found(home)
            if home.is_dir():
                self._leftovers(home, found)
            self._resumable(found)
            end, count = found.end, 0
            for before, batch in self._batches(found, self._until(criterion, ceiling)):
                count += len(batch)
                end = Head(before.position + len(batch), batch[-1].chain or b"")
        return Outcome((), count, 0, end)

    def _found(self, home: Path) -> Manifest:
        found = manifest.load(home)
        if found is None:
            return Manifest(self._trader_id)
        if found.trader_id != self._trader_id:
            raise ArchiveError(f"{home / manifest.NAME} is of {found.trader_id}, and not of {self._trader_id}")
        for segment in found.segments:
            # What would be trimmed next goes on from these: nothing more goes before they are there again.
            path = home / segment.file
            size = path.stat().st_size if path.exists() else None
            if size != segment.size:
                is_so = "is missing" if size is None else f"has {size} bytes, and had {segment.size} when it was sealed"
                raise ArchiveError(f"{path} {is_so}: put a copy of it back before anything more is archived")
        return found

    def _leftovers(self, home: Path, found: Manifest) -> list[str]:
        """What a run left that did not come to its manifest: all of it is still in the log, or a flush deleted it.

        Raises if it is not: then the manifest is older than the files.
        """
        known = {segment.file for segment in found.segments}
        names = [name for name in sorted(os.listdir(home)) if name not in known]
        strange = [name for name in names if is_segment_name(name)]
        archived = self._stream.archived() if strange else None
        for name in strange:
            # The log is trimmed, and says so, only behind the manifest.
            if archived is not None and archived.position >= first_of(name):
                raise ArchiveError(
                    f"{home / name} is not in {manifest.NAME}, and the log was archived up to position "
                    f"{archived.position}: the manifest is older than this file, which may be all there is of these "
                    "entries. Put the newer manifest back; or move the file away if another archive has them"
                )
        return [name for name in names if name.endswith(UNFINISHED)] + strange

    # -- What goes ---------------------------------------------------------------------------------------------

    def _until(self, criterion: Criterion, ceiling: int | None) -> int:
        """The last position that may go."""
        fence = self._stream.fence()
        if fence is None:
            raise ArchiveError(f"{self._trader_id} has no log at the server, so there is nothing to archive")
        entries, size = (0, 0) if criterion.keep_bytes is None else self._stream.log_size()
        cut = criterion.cut(fence.position, time.time_ns() // 1_000_000, entries, size)
        # The last entry of the log stays: those who open it look there.
        until = min(cut.until, fence.position - 1, fence.position if ceiling is None else ceiling)
        if cut.before_ms is not None:
            last = self._stream.last_before(cut.before_ms)
            until = min(until, 0 if last is None else last.position)
        return until

    def _batches(self, found: Manifest, until: int) -> Iterator[Batch]:
        """Yield the whole batches behind the archive and up to `until`; raise at one that does not verify."""
        if until <= found.end.position:
            return
        log = self._keys.log
        before, batch, links = found.end, list[LogEntry](), list[bytes]()
        begun = False
        for entry in self._stream.log(before.position, _PAGE, found.segments[-1].last_ms if found.segments else None):
            expected = before.position + len(batch) + 1
            if entry.position != expected:
                flushed = flush_in(entry)
                if flushed is None or entry.position < expected:
                    raise ArchiveError(f"{log}: position {entry.position} stands where {expected} belongs")
                if begun:
                    return  # it was deleted while this was reading: what comes now is for the next run
                before = flushed
            begun = True
            if entry.position > until:
                return
            if not entry.payload:
                raise ArchiveError(f"{log}: {entry.entry_id} is no entry of a log: somebody else wrote it")
            batch.append(entry)
            links.append(link(entry.entry_id.encode(), entry.payload))
            if entry.chain is None:
                continue
            head = next_head(before.chain, links)
            if head != entry.chain:
                raise ArchiveError(
                    f"{log}: the chain head at position {entry.position} is {entry.chain.hex()}, and should be "
                    f"{head.hex()} behind position {before.position}: what stands between was changed, or is not of "
                    "the log that was archived. `eventstore verify` says more"
                )
            self._on_entries(len(batch))
            yield before, batch
            before, batch, links = Head(entry.position, head), [], []

    # -- Sealing -----------------------------------------------------------------------------------------------

    def _seal(self, home: Path, found: Manifest, until: int) -> Iterator[Segment]:
        """Yield new segments, each verified and in its place."""
        writer: SegmentWriter | None = None
        start = BEGIN
        try:
            for before, batch in self._batches(found, until):
                if writer is not None and writer.entries + len(batch) > self._segment_entries:
                    yield self._sealed(home, writer, start)
                    writer = None
                if writer is None:
                    self._step("begin a segment")
                    start = before
                    writer = SegmentWriter(home / _NEW, self._trader_id, before, time.time_ns())
                writer.append(batch)
            if writer is not None:
                yield self._sealed(home, writer, start)
                writer = None
        finally:
            if writer is not None:
                writer.close()
                with suppress(OSError):
                    (home / _NEW).unlink()

    def _sealed(self, home: Path, writer: SegmentWriter, before: Head) -> Segment:
        self._step("finish the segment")
        sealed = writer.finish()
        segment = Segment(
            file=segment_name(before.position + 1, sealed.after.position),
            first=before.position + 1,
            last=sealed.after.position,
            first_id=sealed.first_id,
            last_id=sealed.last_id,
            entries=sealed.entries,
            size=sealed.size,
            digest=sealed.digest,
            chain_before=before.chain,
            chain_after=sealed.after.chain,
            sealed_ns=time.time_ns(),
        )
        self._step("verify the segment")
        for problem in islice(check(home / _NEW, segment, self._trader_id), 1):
            raise ArchiveError(f"{problem}. That is not what was written a moment ago; nothing was trimmed")
        self._step("name the segment")
        (home / _NEW).rename(home / segment.file)
        self._step("sync the directory")
        sync_directory(home)
        return segment

    # -- Trimming ----------------------------------------------------------------------------------------------

    def _resume(self, home: Path, found: Manifest) -> int:
        """Trim what a run before this one has archived and did not trim; return how many entries went."""
        self._step("sync the directory")
        sync_directory(home)  # it may have ended before the name of its manifest was on the disk
        return self._trim(found)

    def _resumable(self, found: Manifest) -> bool:
        """Whether the log still has entries of the archive. Raises if it is not the log that was archived."""
        log, end = self._keys.log, found.end
        fence, first = self._stream.fence(), self._stream.first()
        if fence is None or first is None:
            if not found.segments:
                return False
            raise ArchiveError(f"{log} is empty, and the archive of {self._trader_id} ends at position {end.position}")
        if fence.position < end.position:
            raise ArchiveError(
                f"{log} ends at position {fence.position}, and its archive at {end.position}: the server was set back, "
                "or the archive is of another log. Name another directory for this one"
            )
        if first.position > end.position:
            self._check_begin(found, first)
            return False
        if not found.segments:
            return False
        there = next(self._stream.log(end.position - 1, 1, found.segments[-1].last_ms), None)
        if there is None or (there.entry_id, there.chain) != (found.last_id, end.chain):
            raise ArchiveError(
                f"{log} has another entry at position {end.position} than its archive, which ends there: the server "
                "was set back, or the archive is of another log. Name another directory for this one"
            )
        return True

    def _check_begin(self, found: Manifest, first: LogEntry) -> None:
        """Raise unless the log, which begins behind the archive, goes on there."""
        end = found.end
        if first.position == end.position + 1:
            return  # the chain of its first batch shows whether it does
        log = self._keys.log
        archived = self._stream.archived()
        mark = None if archived is None else Head(archived.position, archived.chain)
        if flush_in(first) is None:
            at = "" if mark is None else f"; it was archived up to position {mark.position}"
            raise ArchiveError(
                f"{log} begins at position {first.position}, and its archive ends at {end.position}{at}: what is "
                "between is in another archive, or lost. Name the directory where it is"
            )
        known = [found.start, *(segment.after for segment in found.segments)]
        if found.segments and mark not in known:
            raise ArchiveError(
                f"{log} was deleted before position {first.position}, and nothing there says that it is the log "
                f"whose archive ends at {end.position}. Name another directory for what comes from now on"
            )

    def _trim(self, found: Manifest) -> int:
        end = found.end
        trimmed = 0
        self._step("trim")
        try:
            for count in self._trimmer.trim(Archived(end.position, end.chain, found.last_id)):
                trimmed += count
                self._step("trim")
        except Diverged:
            first = self._stream.first()
            if first is None or first.position <= end.position:
                raise
            # A flush has deleted it meanwhile.
        return trimmed


@contextmanager
def _naming(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"{home}: archiving stopped: {error}. Nothing was trimmed that is not in the archive; the next run goes on"
        ) from error
