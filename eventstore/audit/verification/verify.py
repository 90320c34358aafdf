"""Verifying a log: that it is whole and as it was written, and that the views are what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from eventstore import commands as c
from eventstore import schema
from eventstore.audit.log import Log
from eventstore.audit.verification.anchor import Noted
from eventstore.audit.verification.chain_check import ChainCheck
from eventstore.audit.verification.disk_views import DiskViews
from eventstore.audit.verification.findings import Finding, Findings
from eventstore.audit.verification.known_heads import KnownHeads
from eventstore.audit.verification.report import Report
from eventstore.audit.verification.standing import Damaged, Standing, Start
from eventstore.audit.verification.view_check import ViewCheck
from eventstore.chain import Head, LogEntry, Run
from eventstore.errors import AuditError, CodecError, UnknownSchema
from eventstore.loader import collector_paused
from eventstore.projections import project
from eventstore.storage.moments import Moments
from eventstore.storage.reader import Reader

_ATTEMPTS_MAX: Final = 5
_STEP: Final = 1000
_ALONE: Final = frozenset((c.Opened, c.Flushed))
"""What says something of the log itself: such entries are looked at for themselves."""


def verify(
    log: Log,
    *,
    checkpoint: Head | None = None,
    anchors: Iterable[Noted] = (),
    views: bool = True,
    on_entries: Callable[[int], object] = lambda count: None,
    on_keys: Callable[[int], object] = lambda count: None,
) -> Report:
    """Verify a log as far as there is anything of it, and the views. A writer may be at work meanwhile.

    The log is read once, up to where it ended in the beginning, in memory that does not depend on its length. Only if a
    file of the archive is damaged, this begins anew behind the archive.

    Parameters
    ----------
    checkpoint : Head, optional
        A place, and the chain head there, that are known to be right: the chain is followed from there on.
    anchors : iterable of Noted
        Chain heads that were noted earlier, and were read before this began.
    views : bool, default True
        Whether to compare the views.
    on_entries, on_keys : callable
        Are told how many more entries were read, and keys compared.

    Raises
    ------
    AuditError
        If the log was deleted, trimmed or set back again and again while this was reading.
    StorageError, ArchiveError
        If it can not be read.
    """
    noted = list(anchors)
    suspicious = False
    for _ in range(_ATTEMPTS_MAX):
        attempt = _Verification(log, checkpoint, noted, views, on_entries, on_keys)
        try:
            # What this makes is let go of as it goes, and none of it is in a cycle.
            with collector_paused(), attempt.fold:
                return attempt.run(suspicious)
        except _Moved:
            continue
        except Damaged:
            suspicious = True
    raise AuditError(
        f"verify the log of {log.trader_id}: it was deleted, trimmed or set back {_ATTEMPTS_MAX} times while it was "
        "read. Verify it again when that is over"
    )


class _Moved(Exception):
    """What was read is not one log: it was deleted, trimmed or set back meanwhile."""


class _End(NamedTuple):
    """Where the fence says that the log ends."""

    head: Head
    last_id: str
    epoch: int
    rebuilt: bytes | None


class _Verification:
    """One reading of a log."""

    def __init__(
        self,
        log: Log,
        checkpoint: Head | None,
        anchors: list[Noted],
        views: bool,
        on_entries: Callable[[int], object],
        on_keys: Callable[[int], object],
    ) -> None:
        self.fold = DiskViews()
        self._log = log
        self._keys = log.keys
        self._checkpoint = checkpoint
        self._anchors = anchors
        self._on_entries = on_entries
        self._on_keys = on_keys
        self._found = Findings()
        self._moments = None if log.stream is None else Moments(log.stream.client, log.keys)
        self._because = None if views else "that was not asked for"
        self._position = 0  # of the fold
        self._ms = 0
        self._before: LogEntry | None = None  # the last one before the checkpoint, or at it

    def run(self, suspicious: bool) -> Report:
        shape = self._shape()
        end = None if self._moments is None else self._fenced(self._moments)
        standing = Standing(self._log, self._found.add, suspicious)
        begin = standing.begin
        position, chain = begin.position, begin.chain
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.position < begin.position:
            message = f"the log begins behind position {position}, and not at {checkpoint.position}"
            self._found.add(Finding("checkpoint", message, checkpoint.position))
        elif checkpoint is not None:
            position, chain = checkpoint
        known = KnownHeads(self._keys, self._anchors, standing.archived, self._found.add)
        check = ChainCheck(position, chain, self._found.add, known.at)
        check.last_id = begin.last_id
        self._decide_on_views(standing)
        self._read(standing, check, None if end is None else end.last_id)
        check.finish()
        last = Head(check.last, check.head.chain)
        if checkpoint is None or check.entries or self._reaches(checkpoint, begin):
            self._look_at_the_end(check, end)
        else:
            last = self._log.end() if end is None else end.head
        known.name_unmet(check, position)
        if self._found.total and (self._shape() != shape or self._went_back(end)):
            raise _Moved
        compared, leftovers = self._compare(end)
        return Report(
            trader_id=self._log.trader_id,
            begin=position,
            whole=begin.whole and checkpoint is None,
            end=last,
            entries=check.entries,
            batches=check.batches,
            segments=standing.segments,
            shared=standing.shared,
            anchors=len(self._anchors),
            findings=self._found.kept,
            counts=dict(self._found.counts),
            views=compared,
            views_because=self._because,
            leftovers=leftovers,
        )

    # -- Where it begins and ends ------------------------------------------------------------------------------

    def _shape(self) -> object:
        """What changes when entries are taken away: by a flush, by archiving."""
        stream = self._log.stream
        if stream is None:
            return None
        first = stream.first()
        return None if first is None else first.entry_id

    def _went_back(self, end: _End | None) -> bool:
        stream = self._log.stream
        fence = None if stream is None or end is None else stream.fence()
        return fence is not None and end is not None and fence.position < end.head.position

    def _fenced(self, moments: Moments) -> _End | None:
        """Read where the log ends, and name what stands behind that."""
        last_id, fence = moments.last_id()
        try:
            if not fence:
                raise ValueError("it is gone")
            end = _End(
                Head(int(fence[b"position"]), fence[b"chain"]),
                fence[b"id"].decode(),
                int(fence[b"epoch"]),
                fence.get(b"rebuilt"),
            )
            ordered = _order(end.last_id)
        except (KeyError, ValueError) as error:
            self._found.add(Finding("fence", f"{self._keys.writer}: not a fence ({error!r})", key=self._keys.writer))
            return None
        if last_id is not None and _order(last_id.decode()) > ordered:
            self._found.add(
                Finding(
                    "fence",
                    f"entry {last_id.decode()} stands behind {end.last_id}, where the log ends as the fence says",
                    _order(last_id.decode())[1],
                    None,
                    last_id.decode(),
                    expected=end.last_id,
                    found=last_id.decode(),
                )
            )
        return end

    def _reaches(self, checkpoint: Head, begin: Start) -> bool:
        """Whether the log, which has nothing behind `checkpoint`, has that; if not, it is named."""
        before = self._before
        position, chain = (begin.position, begin.chain) if before is None else (before.position, before.chain)
        if position > checkpoint.position:
            return True  # that it begins behind it was named already
        if position < checkpoint.position:
            message = f"the tail was cut: the log ends at position {position}, before the checkpoint"
        elif before is not None and chain is None:
            message = f"no batch ends at position {position}: the log is not the same"
        elif chain is not None and chain != checkpoint.chain:
            message = f"the log has another chain head at position {position}: it is not the same"
        else:
            return True
        found = None if chain is None else chain.hex()
        expected = checkpoint.chain.hex()
        self._found.add(Finding("checkpoint", message, checkpoint.position, expected=expected, found=found))
        return False

    def _look_at_the_end(self, check: ChainCheck, end: _End | None) -> None:
        if end is None:
            archive = self._log.archive
            if self._moments is not None or archive is None:
                return
            end = _End(archive.end(), check.last_id, check.epoch, None)
        if (check.last, check.last_id) != (end.head.position, end.last_id):
            self._found.add(
                Finding(
                    "fence",
                    f"the log ends with entry {check.last_id}, and the fence says with {end.last_id}",
                    check.last,
                    expected=end.last_id,
                    found=check.last_id,
                )
            )
        elif check.head != end.head:
            self._found.add(
                Finding(
                    "fence",
                    f"the chain head at position {check.head.position} is not the one of the fence",
                    check.last,
                    expected=end.head.chain.hex(),
                    found=check.head.chain.hex(),
                )
            )
        if end.epoch < check.epoch:
            message = f"the fence has epoch {end.epoch}, and epoch {check.epoch} was opened"
            self._found.add(Finding("fence", message, expected=str(check.epoch), found=str(end.epoch)))

    # -- Entries -----------------------------------------------------------------------------------------------

    def _decide_on_views(self, standing: Standing) -> None:
        if self._because is not None:
            return
        if self._moments is None:
            self._because = "an archive has none"
        elif not standing.archive_is_sound:
            self._because = "the archive is damaged, and only all of the log gives them"
        elif not standing.begin.whole:
            self._because = "the beginning of the log was archived; with --archive they are"

    def _read(self, standing: Standing, check: ChainCheck, until_id: str | None) -> None:
        folding = self._because is None
        # What is before a checkpoint is only folded; behind it, a lower position is one astray.
        skipped = -1 if self._checkpoint is None else check.head.position
        for found in standing.runs(until_id):
            for run, commands in _divided(found, folding):
                if skipped < 0 and commands is not None and check.take_all(run):
                    self._fold(commands)
                else:
                    skipped = self._take_singly(run, check, skipped, folding)
            self._on_entries(len(found))
            self._ms = found.times[-1]

    def _fold(self, commands: Iterable[c.Command]) -> None:
        keys, fold = self._keys, self.fold
        for command in commands:
            project(keys, command, fold)

    def _take_singly(self, run: Run, check: ChainCheck, skipped: int, folding: bool) -> int:
        """Take each entry, and name what is wrong with it; returns up to which position others are only folded."""
        for entry in run.entries():
            command: c.Command | None = None
            try:
                command = c.decode(entry.payload)
            except CodecError as error:
                self._name_undecodable(entry, error)
            if entry.position > skipped:
                skipped = -1
                if not check.take(entry, command):
                    continue
            else:
                self._before, check.last_id = entry, entry.entry_id
            if folding and command is not None:
                self._fold([command])
        return skipped

    def _name_undecodable(self, entry: LogEntry, error: CodecError) -> None:
        if not entry.payload:
            return  # that is named as foreign
        if isinstance(error, UnknownSchema) and self._because is None:
            self._because = "the log has entries of a newer version of this library"
        message = f"entry {entry.entry_id} can not be read: {error}"
        self._found.add(
            Finding("undecodable", message, entry.position, None, entry.entry_id, found=entry.payload[:200].hex())
        )

    # -- Views -------------------------------------------------------------------------------------------------

    def _compare(self, end: _End | None) -> tuple[int | None, int]:
        stream, moments = self._log.stream, self._moments
        if stream is None or moments is None:
            return None, 0
        self._compare_schema(stream)
        if end is None and self._because is None:
            self._because = "the fence can not be read, which says of which moment they are"
        if self._because is not None or end is None:
            return None, 0
        self._position = end.head.position
        views = ViewCheck(self._keys, self.fold, moments, self._bring_to, self._found.add, self._on_keys)
        views.run()
        if self._found.total and moments.last_id()[1].get(b"rebuilt") != end.rebuilt:
            raise _Moved  # the views were put in the place of others while they were read
        return views.compared, views.leftovers

    def _bring_to(self, position: int) -> None:
        """Apply what was written since. It is of one moment with what was read there, and verified the next time."""
        stream = self._log.stream
        if position == self._position or stream is None:
            return
        if position < self._position:
            raise _Moved
        for entry in stream.log(self._position, _STEP, self._ms):
            if entry.position > position:
                break
            try:
                command = c.decode(entry.payload)
            except CodecError as error:
                self._name_undecodable(entry, error)
            else:
                if entry.position != self._position + 1 and command.__class__ is not c.Flushed:
                    raise _Moved
                project(self._keys, command, self.fold)
            self._position, self._ms = entry.position, entry.accepted_ms
        if self._position != position:
            raise _Moved

    def _compare_schema(self, stream: Reader) -> None:
        there = stream.hash(self._keys.schema)
        for name, meaning in (schema.describe() | c.describe()).items():
            said = there.get(name)
            if said is not None and said != meaning.encode():
                key, text = self._keys.schema, said.decode(errors="backslashreplace")
                message = f"{key} {name} was changed"
                self._found.add(Finding("schema", message, key=key, field=name, expected=meaning, found=text))


def _divided(run: Run, folding: bool) -> Iterator[tuple[Run, Sequence[c.Command] | None]]:
    """Yield parts of a run with their commands, or none if not `folding`: None for those to be looked at singly."""
    commands: list[c.Command] = []
    try:
        if folding:
            commands = list(map(c.decode, run.payloads))
            kinds = set(map(type, commands))
        else:
            kinds = set(map(type, map(c.decode, run.payloads)))  # without one of them in memory longer than that takes
    except CodecError:
        yield run, None
        return
    if _ALONE.isdisjoint(kinds):
        yield run, commands
        return
    begin = 0
    for i, payload in enumerate(run.payloads):
        if type(c.decode(payload)) in _ALONE:
            if i > begin:
                yield run.part(begin, i), commands[begin:i]
            yield run.part(i, i + 1), None
            begin = i + 1
    if begin < len(run):
        yield run.part(begin, len(run)), commands[begin:]


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, position = entry_id.partition("-")
    return int(ms), int(position)
