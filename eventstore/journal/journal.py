"""The journal: what was appended to it outlives the process, and with a sync, the host."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal
from zlib import crc32

from eventstore.errors import JournalError, JournalFull
from eventstore.file_lock import FileLock
from eventstore.journal import files
from eventstore.journal.header import HEADER_BYTES, OWNERS_MAX, Header
from eventstore.journal.keeper import Keeper
from eventstore.journal.opening import closed, cut, inspected, remove_useless, tidy
from eventstore.journal.reader import Extent, Reader
from eventstore.journal.record import HEAD_BYTES, PAYLOAD_BYTES_MAX, WHOLE, JournalRecord, pack_parts, record_bytes
from eventstore.journal.segment import COMMIT, NOTHING, PACKERS, WORDS_MAX, Segment
from eventstore.journal.survey import Survey, Torn

Fsync = Literal["never", "interval", "always"]

SEGMENT_BYTES_MIN: Final = 1 << 14
EVERY: Final = "always"
NEVER: Final = "never"

Payload = bytes  # the class below has a property of that name

Tail = tuple[Segment, int, int]
"""The segment that is written, the offset where the next record goes, and the last position."""


def _unheard(_: object) -> None:
    """What is told goes nowhere."""


def _nothing() -> int:
    """Everything is needed."""
    return 0


class Journal:
    """The accepted commands of one trader on the local disk, in a directory of one process at a time.

    `append` is for one thread at a time: its caller holds a lock around it. A signal handler or finalizer that appends
    while its own thread is inside of `append` is safe. An exception that comes from outside while a call is inside,
    such as `KeyboardInterrupt`, leaves `position` as it was, and then there is no record; or one higher, and then the
    record counts: whoever catches it compares.

    Made by `Journal.open`.
    """

    def __init__(
        self,
        directory: Path,
        lock: FileLock,
        held: Survey,
        identity: tuple[str, int, str],
        fsync: Fsync,
        segment_bytes: int,
        bytes_max: int,
    ) -> None:
        self.directory = directory
        self.fsync: Fsync = fsync
        self.segment_bytes = segment_bytes
        self.bytes_max = bytes_max
        self.torn: Torn | None = held.torn
        """The file and offset of what was dropped at the opening: a record that was not finished; None if nothing."""
        self.on_synced: Callable[[int], None] = _unheard
        """Called with each new `synced`, from the keeper's thread or, with fsync "always", the appending one."""
        self.no_room: str | None = None
        """Why no segment can be made; the keeper tries until one can."""
        self.settled = 0
        """The last position that is safer elsewhere than on this disk, so that its sync needs not be waited for."""
        self.spare: Callable[[], int] = _nothing
        """Says up to which position records may go where there is no room otherwise. Asked by the keeper."""
        self.trimmed = 0
        """The last position that `trim` has removed."""
        self.to_trim = 0
        self.prepared: deque[Segment] = deque()
        # Held while a file is made, so that two are not made at once. Reentrant: for calls inside of calls.
        self.making = threading.RLock()
        self.segments: dict[int, Segment] = {}
        """All segments with records, and the one that is written, in order. It is changed by single steps, unlocked."""
        self._trader, self._schema, self.owner = identity
        # An opening that came to nothing gives its name to the next, or every one of many would push out another.
        self.owner = held.idle_owner or self.owner
        others = [owner for owner in held.owners if owner != self.owner]
        self.owners: tuple[str, ...] = (*others, self.owner)
        """Instances whose records may be in here, oldest first; the last one is the own."""
        self._lock = lock
        self._ended: str | None = None
        # Counts the calls of `append`: one that finds that another began inside of it begins anew.
        self._turn = 0
        for each in held.found:
            if each.counted is not None:
                self.segments[each.number] = closed(each)
        last_number = max((each.number for each in held.found), default=0)
        self._numbers = itertools.count(last_number + 1)
        base = held.base
        after = base if held.last is None else held.last
        current = self.make_segment(after=after, base=base, opening=True)
        self._tail: Tail = self._start(current, base)
        if fsync != NEVER:
            try:
                current.sync()
            except BaseException:
                current.discard()
                raise
        self.segments[current.number] = current
        self._synced = base
        self._keeper: Keeper | None = None
        _JOURNALS.add(self)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        trader_id: str,
        *,
        schema_version: int,
        owner: str,
        fsync: Fsync = "interval",
        fsync_interval_s: float = 0.1,
        segment_bytes: int = 64 << 20,
        bytes_max: int = 4 << 30,
        on_trouble: Callable[[str | None], None] = _unheard,
    ) -> Journal:
        """Make or open the journal in `directory` as `owner`, who is named in it from then on.

        Parameters
        ----------
        schema_version : int
            Version of the commands that will be appended.
        owner : str
            Id of this opening, 48 bytes at most.
        fsync : "never", "interval" or "always"
            When what was appended is made safe from a crash of the host: when the kernel likes, every
            `fsync_interval_s` seconds, or before `append` returns.
        segment_bytes : int
            Size of a file, in bytes. One record that is larger gets a file of its own.
        bytes_max : int
            Bytes that all files may take together; at least twice `segment_bytes`.
        on_trouble : callable
            Told why the disk refuses, and None when that is over. Called from another thread; must not raise.

        Raises
        ------
        JournalRefused
            If it is another trader's, of a newer version, or in use by another process.
        JournalDamaged
            If something is missing or broken before something that is whole.
        JournalError
            If the directory can not be used.
        ValueError
            If `segment_bytes` or `bytes_max` is too small, or `owner` too long.
        """
        if segment_bytes < SEGMENT_BYTES_MIN or bytes_max < 2 * segment_bytes:
            raise ValueError(
                f"segment_bytes has to be {SEGMENT_BYTES_MIN} at least, and bytes_max twice of it: got {segment_bytes} "
                f"and {bytes_max}"
            )
        home = files.own_directory(directory)
        try:
            lock = files.lock(home)
            try:
                held = inspected(home, trader_id, schema_version)
                tidy(held, durable=fsync != NEVER)
                if fsync != NEVER:
                    files.sync_directory(home.parent)  # where it may just have been made
                journal = cls(home, lock, held, (trader_id, schema_version, owner), fsync, segment_bytes, bytes_max)
                try:
                    remove_useless(held)
                    journal._keeper = Keeper(journal, fsync_interval_s if fsync == "interval" else None, on_trouble)
                    journal._keeper.start(f"eventstore-journal-{trader_id}")
                except BaseException:
                    journal.close()
                    raise
            except BaseException:
                lock.drop()
                raise
        except OSError as error:
            raise JournalError(
                f"the journal in {home} can not be opened: {error}; make room or repair the disk, or name another "
                "directory"
            ) from error
        return journal

    # -- What it is -------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The last position that was accepted or, where there is none, the last one known."""
        return self._tail[2]

    @property
    def first(self) -> int:
        """The position of the oldest record; `position + 1` if there is none."""
        segment, _, last = self._tail
        for each in list(self.segments.values()):
            if (last if each is segment else each.last) > each.before:
                return each.before + 1
        return last + 1

    @property
    def synced(self) -> int:
        """The last position that is known to be on the disk, with all before it; with fsync "never", `position`."""
        return self._tail[2] if self.fsync == NEVER else self._synced

    @property
    def bytes(self) -> int:
        """Bytes that the files take, with what is set apart for records to come: what `bytes_max` bounds."""
        return sum(each.bytes for each in [*self.segments.values(), *self.prepared])

    @property
    def tail(self) -> Tail:
        """Where the next record goes."""
        return self._tail

    # -- Appending --------------------------------------------------------------------------------------------------

    def begin(self, position: int) -> None:
        """Let the next record get `position + 1`. For once, before the first `append`; it may only go forward.

        Raises
        ------
        ValueError
            If that is behind `position`, or something was appended.
        """
        segment, offset, last = self._tail
        if position < last or last > segment.before:
            raise ValueError(
                f"begin at {position}: the journal is at {last}, and at {segment.before} when it was opened"
            )
        segment.before = segment.last = segment.synced = position
        self._tail = (segment, offset, position)
        self._synced = position

    def append(self, accepted_ns: int, payload: Payload) -> int:
        """Append a command, accepted at `accepted_ns` (UNIX nanoseconds); return its position.

        What it returned from outlives the process; with fsync "always", the host.

        Raises
        ------
        JournalFull
            If there is no room.
        JournalError
            If the journal is closed or was inherited through a fork or, with fsync "always", the disk refused twice.
        """
        # The caller of a trading verb waits for this: everything on it is there for a reason, and nothing else is.
        # Whatever can append inside of this call (a signal handler, a finalizer) does so between two steps of it; it
        # has then counted `_turn` up, and each step that could harm its record looks at that first. In CPython nothing
        # comes between the look and the call of C right behind it.
        self._turn = turn = self._turn + 1
        tail = self._tail
        segment, offset, position = tail
        size = len(payload)
        words = size + 7 >> 3
        following = offset + HEAD_BYTES + (words << 3)
        if following > segment.limit or words > WORDS_MAX:
            return self._append_with_care(accepted_ns, payload)
        position += 1
        moved = (segment, following, position)
        mapped = segment.map
        try:
            if self._turn is turn:
                PACKERS[words](mapped, offset + 8, position, accepted_ns, payload)
            if self._turn is turn:
                crc = crc32(mapped[offset + 8 : following], segment.start ^ size)
                if self._turn is turn:
                    COMMIT(mapped, offset, size | WHOLE, crc)
            if self._turn is turn:
                self._tail = moved
                return position
        except BaseException as error:
            if self._tail is tail:
                COMMIT(mapped, offset, 0, 0)
            # Another call may have gone on in the next file, and this one's may be closed by now.
            if self._turn is turn or not isinstance(error, ValueError):
                raise
        return self.append(accepted_ns, payload)

    def _append_with_care(self, accepted_ns: int, payload: Payload) -> int:
        """As `append`, where there is something to look at: no room, a sync, a large payload, an end."""
        size = len(payload)
        if size > PAYLOAD_BYTES_MAX:
            raise JournalFull(f"{self.directory}: a command of {size} bytes is more than a record can hold")
        wanted = record_bytes(size)
        refused: OSError | None = None
        while True:
            self._turn = turn = self._turn + 1
            if self._ended is not None:
                raise JournalError(f"{self.directory}: nothing more is appended, {self._ended}")
            tail = self._tail
            segment, offset, position = tail
            following = offset + wanted
            if segment.failed is not None or following > segment.room:
                self._rotate(turn, tail, wanted)
                continue
            if following > segment.half:
                self._pass_half(segment)
            position += 1
            moved = (segment, following, position)
            mapped = segment.map
            (length, crc), covered = pack_parts(segment.start, JournalRecord(position, accepted_ns, payload))
            covered += NOTHING  # where the next commit word will be
            place = slice(offset + 8, following + 8)
            try:
                if self._turn is turn:
                    mapped[place] = covered
                if self._turn is turn:
                    COMMIT(mapped, offset, length, crc)
                if self._turn is turn and self.fsync == EVERY:
                    try:
                        segment.sync()
                    except OSError as error:
                        if self._turn is not turn:
                            continue  # another call went on in the next file, and closed this one
                        segment.failed = str(error)
                        if self._turn is turn:
                            COMMIT(mapped, offset, 0, 0)
                        self._wake()
                        if refused is None:
                            refused = error
                            continue
                        raise JournalError(
                            f"{segment.path}: the disk refused a command twice, {error}; it was not accepted"
                        ) from error
                if self._turn is turn:
                    self._tail = moved
                    if self.fsync == EVERY:
                        segment.synced = position
                        self.advance_synced(position)
                    return position
            except BaseException:
                if self._tail is tail:
                    COMMIT(mapped, offset, 0, 0)
                raise

    def _pass_half(self, segment: Segment) -> None:
        """Have the next segment made, once half of this one is used."""
        if not segment.passed:
            segment.passed = True
            self._wake()
        if self.fsync != EVERY:
            segment.limit = segment.room
            if segment.failed is not None or self._ended is not None:  # said by another thread just now
                segment.limit = 0

    def _rotate(self, turn: int, tail: Tail, wanted: int) -> None:
        """Go on in a new segment, unless another call began inside of this one. Raises `JournalFull`."""
        segment, offset, position = tail
        mapped = segment.map
        if offset <= segment.room and self._turn is turn:
            COMMIT(mapped, offset, 0, 0)  # of a record that was not finished: it would stand beside the one to come
        written = position > segment.before
        goes_on = written and segment.failed is None
        after = position if written else segment.after
        with self.making:
            # What was made ahead says that it goes on from the one before.
            following = self._take_prepared(segment.number, wanted if goes_on else None)
            if following is None:
                why = self.no_room
                if why is not None:
                    raise JournalFull(f"{self.directory}: {why}")
                try:
                    following = self.make_segment(after=None if goes_on else after, base=position, wanted=wanted)
                except OSError as error:
                    self.no_room = str(error)
                    self._wake()
                    raise JournalFull(f"{self.directory}: no room for another file: {error}") from error
        adopted = False
        try:
            moved = self._start(following, position)
            following.after = after
            if self._turn is turn:
                adopted = True
                segment.last = position
                segment.end = offset
                self.segments[following.number] = following
                self._tail = moved
        finally:
            if not adopted:
                with contextlib.suppress(OSError):
                    following.discard()
        self._wake()  # the one before is to be synced and closed

    def _start(self, segment: Segment, position: int) -> Tail:
        """Let `segment` begin behind `position`; return the tail that it makes."""
        segment.before = segment.last = segment.synced = position
        segment.limit = 0 if self.fsync == EVERY else segment.half
        return (segment, HEADER_BYTES, position)

    def _take_prepared(self, number: int, wanted: int | None) -> Segment | None:
        """Take a segment that was made ahead, if it has room for `wanted` bytes (None: for none); drop others."""
        while self.prepared:
            try:
                segment = self.prepared.popleft()
            except IndexError:
                return None
            if wanted is not None and segment.number > number and HEADER_BYTES + wanted <= segment.room:
                return segment
            with contextlib.suppress(OSError):
                segment.discard()
        return None

    def make_segment(self, *, after: int | None, base: int, wanted: int = 0, opening: bool = False) -> Segment:
        """Make a segment that is not in use yet.

        At an opening it is a small one where there is no room: then what is there can be read, and trimmed.

        Raises
        ------
        OSError
            If there is no room.
        """
        header = Header(
            schema=self._schema,
            trader=self._trader,
            segment=next(self._numbers),
            owner=self.owner,
            owners=self.owners[-OWNERS_MAX:],
            base=base,
            after=after,
            created_ns=time.time_ns(),
        )
        size = max(self.segment_bytes, HEADER_BYTES + wanted + 8)
        used = self.bytes
        try:
            if used + size > self.bytes_max:
                raise OSError(f"the files take {used} bytes, and may take {self.bytes_max} together")
            return Segment.create(self.directory, header, size)
        except OSError:
            if not opening:
                raise
            return Segment.create(self.directory, header, SEGMENT_BYTES_MIN)

    # -- Reading and trimming ------------------------------------------------------------------------------------------

    def read(self, position: int) -> Reader:
        """Read the records behind `position`. From any thread, while others append and trim; see `Reader`.

        Raises
        ------
        JournalError
            If records behind `position` are not in here any more: `first` says where they begin.
        """
        reader = Reader(self, position)
        if position + 1 < self.first:
            raise JournalError(
                f"{self.directory}: positions {position + 1} to {self.first - 1} are not in here any more, it begins "
                f"with {self.first}"
            )
        return reader

    def extent(self, position: int) -> Extent | None:
        """See `eventstore.journal.reader.Source`."""
        if self._ended is not None:
            raise JournalError(f"{self.directory}: nothing more is read, {self._ended}")
        current, offset, last = self._tail
        if position >= last:
            return None
        found = None
        for each in list(self.segments.values()):
            reached, stop = (last, offset) if each is current else (each.last, each.end)
            if reached > max(position, each.before):  # it has records, and some behind it: positions may jump
                found = Extent(each.path, each.number, each.start, reached, stop)
                break
            if each is current:
                break
        if position < self.trimmed:  # looked at after the segments: what was found may have gone meanwhile
            raise JournalError(
                f"{self.directory}: positions {position + 1} to {self.trimmed} were trimmed before they were read"
            )
        return found

    def trim(self, position: int) -> None:
        """Say that records up to `position` are not needed any more.

        Files that hold nothing else are deleted a little later, but not the one that is written.
        """
        if position > self.to_trim:
            self.to_trim = position
            oldest = next(iter(list(self.segments.values())), None)
            if oldest is not None and oldest is not self._tail[0] and oldest.last <= position:
                self._wake()

    def discard_behind(self, position: int) -> None:
        """Drop every record above `position`; `position` is then the last one. For once, before the first `append`.

        Raises
        ------
        ValueError
            If something was appended.
        JournalError
            If the disk refused. The records are dropped, or all there.
        """
        current, _, last = self._tail
        if last > current.before:
            raise ValueError(f"discard behind {position}: something was appended")
        if position >= last:
            return
        kept = [each for each in self.segments.values() if each is not current and each.before < position]
        after = min(kept[-1].last, position) if kept else position
        try:
            # Its header says that nothing beyond counts: with its name, everything is said. The rest is tidying.
            following = self.make_segment(after=after, base=position, opening=True)
            try:
                if self.fsync != NEVER:
                    following.sync()
            except OSError:
                following.discard()
                raise
            self.segments[following.number] = following
            self._tail = self._start(following, position)
            self._synced = min(self._synced, position)
            for each in reversed([each for each in self.segments.values() if each is not following]):
                if each is current or each.before >= position:
                    del self.segments[each.number]
                    each.discard()
                elif each.last > position:
                    cut(each, position)
        except OSError as error:
            raise JournalError(f"{self.directory}: what was set aside can not be dropped: {error}") from error

    # -- For the keeper, and the end ---------------------------------------------------------------------------------

    def advance_synced(self, position: int) -> None:
        """Say that everything up to `position` is on disk, or needs not be."""
        if position > self._synced:
            self._synced = position
            self.on_synced(position)

    def _wake(self) -> None:
        if self._keeper is not None:
            self._keeper.wake()

    def close(self) -> None:
        """Sync, unless that is never done, and let the directory go. The files stay. Not while somebody appends."""
        if self._ended is not None:
            return
        self._ended = "it was closed"
        segment, offset, position = self._tail
        segment.limit = 0
        if self._keeper is not None:
            self._keeper.stop()
        try:
            if offset <= segment.room:
                COMMIT(segment.map, offset, 0, 0)  # of a record that was not finished
            with contextlib.suppress(OSError):
                # The rest of the file is zeros, and not worth its room.
                if segment.failed is None:
                    os.ftruncate(segment.fd, offset)
            for each in self.prepared:
                with contextlib.suppress(OSError):
                    each.discard()
            segment.last, segment.end = position, offset
            for each in list(self.segments.values()):
                each.release()
        finally:
            self._lock.drop()

    def _disown(self) -> None:
        # In a child after a fork: the files and the lock are the parent's, and the keeper is not here.
        self._ended = self._ended or "it was inherited through a fork"
        self._turn += 1
        self._tail[0].limit = 0
        self._keeper = None
        self._lock.disown()


_JOURNALS: weakref.WeakSet[Journal] = weakref.WeakSet()


def _disown_all() -> None:
    for journal in _JOURNALS:
        journal._disown()


os.register_at_fork(after_in_child=_disown_all)
