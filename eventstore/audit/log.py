"""The log of one trader as one sequence of entries, whether they are in the archive or still at the server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from eventstore.audit.archive import Archive
from eventstore.audit.decoding import flush_in
from eventstore.chain import BEGIN, Head, LogEntry, Run
from eventstore.errors import AuditError, DamagedRecord, LogGap
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.observer import Behind
from eventstore.storage.reader import Reader

_PAGE = 1000
_FEW = 100


class Log:
    """What there is of the log of `trader_id`: in an archive, at a server, or first the one and then the other.

    Reading it takes no lock and keeps nobody from writing or archiving. Made by `eventstore.audit.open_log`.

    Raises
    ------
    StorageError, ArchiveError
        By every method, if what it reads can not be read.
    """

    def __init__(
        self,
        trader_id: TraderId,
        stream: Reader | None,
        archive: Archive | None = None,
        behind: Behind | None = None,
    ) -> None:
        self.trader_id = trader_id
        self.keys = Keys(trader_id)
        self.stream = stream
        self.archive = archive
        self.behind = behind
        """The replica that is read instead of the primary, and how far it was behind; None if it is the primary."""
        self._fits = False

    def start(self) -> Head:
        """Return the place behind which the log has to be here: `BEGIN`, unless that was archived or deleted.

        Where the log was deleted by a flush, that is the place of the flush.
        """
        if self.archive is not None:
            return self.archive.start()
        return BEGIN if self.stream is None else self._start_of(self.stream)

    def _start_of(self, stream: Reader) -> Head:
        while True:
            archived = stream.archived()
            first = stream.first()
            if first is None:
                return self.end()
            head = BEGIN if archived is None else Head(archived.position, archived.chain)
            if first.position <= head.position + 1:
                return head
            flushed = flush_in(first)
            if flushed is not None:
                return flushed
            if stream.archived() == archived:  # otherwise something was archived between the two reads
                return head

    def end(self) -> Head:
        """Return where the log ends now: its last position, and the chain head there."""
        fence = None if self.stream is None else self.stream.fence()
        if fence is not None:
            return Head(fence.position, fence.chain)
        return BEGIN if self.archive is None else self.archive.end()

    def raw(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[LogEntry]:
        """As `raw_runs`, one by one."""
        return chain.from_iterable(run.entries() for run in self.raw_runs(after, until, since_ms))

    def raw_runs(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[Run]:
        """Yield what stands behind position `after` and up to `until`, as it stands, whole or not.

        Parameters
        ----------
        after : int, default 0
            The first position that comes is the one behind it.
        until : int, optional
            The last position. Default: the last there is when the reading comes to it.
        since_ms : int, optional
            UNIX milliseconds: what was accepted before does not come.

        Raises
        ------
        AuditError
            If the log at the server does not go on where the archive ends: one of them is of another log.
        """
        at = after
        if self.archive is not None:
            self.refuse_another()
            for run in self.archive.runs(at, until, since_ms):
                yield run
                at = run.positions[-1]
        if self.stream is None or (until is not None and at >= until):
            return
        if self.archive is None:
            archived = self.stream.archived()
            at = max(at, archived.position if archived is not None else 0)
        for page in self.stream.runs(at, _PAGE, since_ms):
            if page.is_behind(at) and (until is None or page.positions[-1] <= until):
                yield page
                at = page.positions[-1]
                continue
            for run in page.singly():
                [position] = run.positions
                if position > at + 1 and self.archive is not None:
                    # It was archived while this was reading; or is before `since_ms`, and then the archive has none.
                    self.archive.refresh()
                    last = position - 1
                    yield from self.archive.runs(at, last if until is None else min(last, until), since_ms)
                if until is not None and position > until:
                    return
                yield run
                at = position

    def entries(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[LogEntry]:
        """As `runs`, one by one."""
        return chain.from_iterable(run.entries() for run in self.runs(after, until, since_ms))

    def runs(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[Run]:
        """As `raw_runs`, without gaps but those that a flush left.

        Raises
        ------
        LogGap
            Where one is, or if the log does not reach back to `after`. Behind what stands before.
        DamagedRecord
            At something that no writer of this library wrote. Behind what stands before.
        """
        # What was accepted since some time may begin anywhere.
        expected = after + 1 if since_ms is None else None
        for found in self.raw_runs(after, until, since_ms):
            if found.is_behind(found.positions[0] - 1 if expected is None else expected - 1):
                yield found
                expected = found.positions[-1] + 1
                continue
            for run in found.singly():
                [entry] = run.entries()
                position = entry.position
                if position != expected and expected is not None:
                    flushed = flush_in(entry)
                    if flushed is None or position < expected:
                        raise self._gap(expected, position)
                if not entry.payload:
                    raise DamagedRecord(self.keys.log, entry.entry_id, "no entry of a log: somebody else wrote it")
                yield run
                expected = position + 1

    def archived_elsewhere(self) -> int:
        """Return up to which position the beginning of the log is in an archive that is not here; 0 if none is."""
        if self.archive is not None or self.stream is None:
            return 0
        archived, first = self.stream.archived(), self.stream.first()
        if archived is None or (first is not None and flush_in(first) is not None):
            return 0
        return archived.position

    def refuse_archived(self, position: int) -> None:
        """Raise `LogGap` if `position` was archived, and the archive is not here."""
        if self.archive is not None or self.stream is None:
            return
        archived = self.stream.archived()
        if archived is not None and archived.position >= position:
            raise LogGap(
                f"{self.keys.log} was archived up to position {archived.position}: positions from {position} on "
                "are in the archive; name it, too, with --archive",
                position,
                archived.position,
            )

    def refuse_another(self) -> None:
        """Raise `AuditError` if the log at the server can not go on where the archive ends. Looks only once."""
        archive, stream = self.archive, self.stream
        if self._fits or archive is None or stream is None or not archive.segments:
            return
        last, end = archive.segments[-1], archive.end()
        there = next(stream.log(end.position - 1, _FEW, last.last_ms), None)
        mark = stream.archived()
        fence = stream.fence()
        if there is not None and there.position == end.position:
            fits = there.entry_id == last.last_id
        elif mark is not None and mark.position == end.position:
            fits = mark.chain == end.chain
        else:
            fits = fence is None or fence.position >= end.position
        if not fits:
            raise AuditError(
                f"{self.keys.log} and the archive {archive.directory} do not fit together at position {end.position}, "
                "where the archive ends: one of them is of another log, or the server was set back. Read each by itself"
            )
        self._fits = True

    def _gap(self, expected: int, found: int) -> LogGap:
        try:
            self.refuse_archived(expected)
        except LogGap as gap:
            return gap
        archive = self.archive
        mark = None if self.stream is None else self.stream.archived()
        end = 0 if archive is None else archive.end().position
        if archive is not None and mark is not None and end < expected <= mark.position:
            return LogGap(
                f"the archive {archive.directory} ends at position {end}, and {self.keys.log} begins at {found}: what "
                "is between was archived later; name the newer copy of the archive",
                expected,
                found - 1,
            )
        return LogGap(
            f"{self.keys.log}: position {found} stands where {expected} belongs: `eventstore verify` says what else is "
            "wrong",
            expected,
            max(found - 1, expected),
        )
