"""The entries of a log as they stand, archive and server held against each other where both have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from eventstore import commands as c
from eventstore.audit.archive import Archive, Problem
from eventstore.audit.decoding import flush_in
from eventstore.audit.log import Log
from eventstore.audit.verification.findings import Finding
from eventstore.chain import BEGIN, LogEntry, Run
from eventstore.errors import ArchiveError, DamagedRecord
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


class Damaged(Exception):
    """A file of the archive is not what was sealed: nothing that came of it counts."""


class Standing:
    """Reads a log as it stands: whatever is wrong with it is reported, and what can be read comes.

    Parameters
    ----------
    suspicious : bool
        Whether something is wrong with a file of the archive. Then all of them are checked, and what is wrong with them
        is reported, before any entry comes. Otherwise the first thing that is wrong raises `Damaged` where it is.

    Attributes
    ----------
    segments : int
        Files of the archive that were read and checked: all of them when this was made, if `suspicious`; otherwise each
        one while its entries come.
    archive_is_sound : bool
        Whether they are what was sealed. If not, nothing of the archive is read but where it ends.
    archived : Archived or None
        The note how far the log was archived.
    shared : int
        Entries that both have, and that were compared.
    """

    def __init__(self, log: Log, report: Report, suspicious: bool) -> None:
        self.segments = 0
        self.archive_is_sound = True
        self.shared = 0
        self._log = log
        self._report = report
        self._suspicious = suspicious
        self.archived = None if log.stream is None else self._mark(log.stream)
        if log.archive is not None:
            log.archive.refresh()  # behind the note: what that says is sealed
            if suspicious:
                self._check_files(log.archive)
            self._check_mark(log.archive)
        self.begin = self._begin()

    def _mark(self, stream: Reader) -> Archived | None:
        try:
            return stream.archived()
        except DamagedRecord as error:
            self._report(Finding("archived", str(error.reason), key=error.key, field=error.field))
            return None

    def _check_files(self, archive: Archive) -> None:
        for segment in archive.segments:
            for problem in archive.check(segment):
                self.archive_is_sound = False
                where = {"file": str(problem.path), "offset": problem.offset}
                self._report(Finding("segment", str(problem), problem.position, **where))  # type: ignore[arg-type]
            self.segments += 1

    def _check_mark(self, archive: Archive) -> None:
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
            try:
                first = next(archive.entries(), None)
            except ArchiveError as error:
                if self._suspicious:
                    raise
                raise Damaged(str(error)) from error
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

    def runs(self, until_id: str | None) -> Iterator[Run]:
        """Yield the entries, at the server up to the one of that id. Raises `Damaged`."""
        archive = self._log.archive
        if archive is not None and self.archive_is_sound:
            yield from archive.runs() if self._suspicious else self._checked(archive)
        if self._log.stream is None:
            return
        end = 0 if archive is None else archive.end().position
        last = None if until_id is None else _order(until_id)
        shared = _Shared(archive, self._report) if archive is not None and self.archive_is_sound else None
        behind, first = archive is None, True
        for page in self._log.stream.runs(-1, _PAGE):
            if (
                behind
                and (last is None or (page.times[-1], page.positions[-1]) <= last)
                and not any(payload.startswith(_FLUSHED) for payload in page.payloads)
            ):
                first = False
                yield page
                continue
            for run in page.singly():
                [entry] = run.entries()
                if last is not None and (entry.accepted_ms, entry.position) > last:
                    return
                if entry.payload.startswith(_FLUSHED) and not first:
                    self._flush_inside(entry)
                first = False
                if behind or entry.position > end:
                    behind = True  # what has a lower position now is astray
                    yield run
                elif shared is not None:
                    shared.compare(entry)
                    self.shared += 1

    def _checked(self, archive: Archive) -> Iterator[Run]:
        for segment in archive.segments:
            for found in archive.checked(segment):
                if isinstance(found, Problem):
                    raise Damaged(str(found))
                yield found
            self.segments += 1

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
