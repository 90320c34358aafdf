"""The entries of a log as they stand, archive and server held against each other where both have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from eventstore import commands as c
from eventstore.audit.archive import Archive
from eventstore.audit.decoding import flush_in
from eventstore.audit.log import Log
from eventstore.audit.verification.findings import Finding
from eventstore.chain import BEGIN, LogEntry
from eventstore.errors import DamagedRecord
from eventstore.storage.reader import Archived, Reader

_PAGE = 1000
_FLUSHED = c.encode(c.Flushed(0, b""))[:2]
"""How the payload of a `Flushed` begins: with its number of fields, and its kind."""

Report = Callable[[Finding], None]


class Start(NamedTuple):
    """Where the entries begin. `chain` is None where nobody knows it; `whole` says whether nothing was before."""

    position: int
    chain: bytes | None
    last_id: str
    whole: bool


class Standing:
    """Reads a log as it stands: whatever is wrong with it is reported, and what can be read comes.

    Attributes
    ----------
    segments : int
        Files of the archive, all of which were read and checked when this was made.
    archive_is_sound : bool
        Whether they are what was sealed. If not, nothing of the archive is read but where it ends.
    archived : Archived or None
        The note how far the log was archived.
    shared : int
        Entries that both have, and that were compared.
    """

    def __init__(self, log: Log, report: Report, on_entries: Callable[[int], object]) -> None:
        self.segments = 0
        self.archive_is_sound = True
        self.shared = 0
        self._log = log
        self._report = report
        self.archived = None if log.stream is None else self._mark(log.stream)
        if log.archive is not None:
            log.archive.refresh()  # behind the note: what that says is sealed
            self._check_archive(log.archive, on_entries)
        self.begin = self._begin()

    def _mark(self, stream: Reader) -> Archived | None:
        try:
            return stream.archived()
        except DamagedRecord as error:
            self._report(Finding("archived", str(error.reason), key=error.key, field=error.field))
            return None

    def _check_archive(self, archive: Archive, on_entries: Callable[[int], object]) -> None:
        for segment in archive.segments:
            for problem in archive.check(segment):
                self.archive_is_sound = False
                where = {"file": str(problem.path), "offset": problem.offset}
                self._report(Finding("segment", str(problem), problem.position, **where))  # type: ignore[arg-type]
            self.segments += 1
            on_entries(segment.entries)
        mark, end = self.archived, archive.end()
        if mark is not None and mark.position > end.position:
            self._report(
                Finding(
                    "archived",
                    f"the log was archived up to position {mark.position}, and the archive ends at {end.position}",
                    end.position + 1,
                    mark.position,
                    file=str(archive.directory),
                )
            )

    def _begin(self) -> Start:
        archive, mark = self._log.archive, self.archived
        if archive is not None:
            if not self.archive_is_sound:
                return Start(archive.end().position, archive.end().chain, archive.segments[-1].last_id, whole=False)
            start = archive.start()
            first = next(archive.entries(), None)
            whole = start == BEGIN or (first is not None and flush_in(first) is not None)
            return Start(*start, "0-0", whole)
        stream = self._log.stream
        first = None if stream is None else next((entry for entry in stream.log(-1) if entry.payload), None)
        if first is not None:
            flushed = flush_in(first)
            if flushed is not None:
                return Start(*flushed, "0-0", whole=True)
            if mark is not None and 1 < first.position <= mark.position:
                return Start(first.position - 1, None, "0-0", whole=False)
            if first.position == 1:
                mark = None
        if mark is not None:
            return Start(mark.position, mark.chain, mark.last_id, whole=False)
        return Start(*BEGIN, "0-0", whole=True)

    def entries(self, until_id: str | None) -> Iterator[LogEntry]:
        """Yield the entries, at the server up to the one of that id."""
        archive = self._log.archive
        if archive is not None and self.archive_is_sound:
            yield from archive.entries()
        if self._log.stream is None:
            return
        end = 0 if archive is None else archive.end().position
        last = None if until_id is None else _order(until_id)
        shared = _Shared(archive, self._report) if archive is not None and self.archive_is_sound else None
        behind, first = archive is None, True
        for entry in self._log.stream.log(-1, _PAGE):
            if last is not None and (entry.accepted_ms, entry.position) > last:
                return
            if entry.payload.startswith(_FLUSHED) and not first:
                self._flush_inside(entry)
            first = False
            if behind or entry.position > end:
                behind = True  # what has a lower position now is astray
                yield entry
            elif shared is not None:
                shared.compare(entry)
                self.shared += 1

    def _flush_inside(self, entry: LogEntry) -> None:
        if flush_in(entry) is not None:
            message = f"the flush at position {entry.position} deleted all before it, and there is more at the server"
            self._report(Finding("flush", message, entry.position, None, entry.entry_id))


class _Shared:
    """Compares entries at the server, in their order, with those that the archive has at their positions."""

    def __init__(self, archive: Archive, report: Report) -> None:
        self._archive = archive
        self._report = report
        self._sealed: Iterator[LogEntry] | None = None

    def compare(self, entry: LogEntry) -> None:
        if self._sealed is None:
            self._sealed = self._archive.entries(entry.position - 1)
        sealed = next(self._sealed, None)
        if sealed == entry:
            return
        self._sealed = None  # and again from the next one on
        has = "which has none there" if sealed is None else f"where {sealed.entry_id} stands"
        self._report(
            Finding(
                "archive_differs",
                f"entry {entry.entry_id} at the server is not what is in the archive, {has}",
                entry.position,
                None,
                entry.entry_id,
                expected=None if sealed is None else _shown(sealed),
                found=_shown(entry),
            )
        )


def _shown(entry: LogEntry) -> str:
    chain = "" if entry.chain is None else f", chain head {entry.chain.hex()}"
    return f"{entry.entry_id}: {entry.payload[:200].hex()}{chain}"


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, position = entry_id.partition("-")
    return int(ms), int(position)
