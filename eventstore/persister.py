"""The life of one writer: connect, claim, run, wait, close. Knows commands and the server, but no trading verb."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import structlog

from eventstore import commands as c
from eventstore.aside import set_aside
from eventstore.config import CacheDatabaseConfig, aside_directory
from eventstore.durability import Durability
from eventstore.errors import (
    BacklogFull,
    Closed,
    DamagedRecord,
    JournalError,
    Refused,
    Retryable,
    SyncTimeout,
    WriterFailed,
)
from eventstore.facade import Level
from eventstore.health import Health, HealthBoard
from eventstore.journal import Journal, JournalRecord
from eventstore.journaled import JournaledBacklog
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.opening import Opening, open_log
from eventstore.recovery import instance_of
from eventstore.retained import JournalWindow, MemoryWindow
from eventstore.stats import Stats
from eventstore.storage.appender import Appender, Batch, Entry, Make, called
from eventstore.storage.connect import (
    Client,
)
from eventstore.storage.connections import Connections
from eventstore.storage.durability import DurabilityProbe
from eventstore.storage.restarts import RestartWatch
from eventstore.telling import Telling
from eventstore.termination import close_on_sigterm
from workers.backlog import Backlog, Full, OnFull, Shut
from workers.batch import BatchFormer
from workers.confirmer import Confirmer
from workers.sink import Backoff, Regressed, Retained, Unavailable
from workers.turn import Turn
from workers.watermark import Mark, Watermark
from workers.writer import Stopped, Writer

R = TypeVar("R")

AWAIT_S, FOLLOW_S = 2.0, 0.5
"""How long the writer waits at most before it tries again: a server of its own, or whoever has taken over."""

TELL_S = 1.0
"""How long a logger is waited for at the end."""

MOVE_S = 0.05
"""How long a load waits before it looks again who the primary is."""

DOUBT_S = 0.005
"""How long a load lets the writer look where the log ends before it looks again itself."""


class Persister:
    """Writes the commands of one trader behind the caller's back, in order, each of them once; once it is started.

    Raises, when it is made
    -----------------------
    StorageError
        If the server can not be reached or refuses.
    ConfigError
        If the server may evict keys and that was not allowed, or can not give the durability that is asked for.
    JournalError
        If the journal can not be used, is damaged, or is somebody else's.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def __init__(
        self,
        trader_id: TraderId,
        config: CacheDatabaseConfig,
        logger: Any,
        on_health: Callable[[Health], object] | None = None,
    ) -> None:
        self.keys = Keys(trader_id)
        self.config = config
        self._trader_id = trader_id
        self._log = logger
        self._telling = Telling(f"eventstore-telling-{trader_id}")
        self.board = HealthBoard(
            None if on_health is None else lambda health: self._telling.tell(self._call_back, on_health, health)
        )
        self._retries = 0
        self.log_failures = 0
        """Log lines that the logger did not take."""
        self._quarantines = 0
        self._set_back = 0
        # Reentrant: a signal handler may close what it has interrupted the closing of.
        self._closing = threading.RLock()
        self._setting_aside = threading.RLock()
        self._not_written: int | None = None
        self._orphaned = False
        self._aside: Path | None = None
        self._pid = os.getpid()
        self._instance = str(uuid.uuid4())
        self._durability = Durability.parse(config.durability)
        self._journal: Journal | None = None
        self.journaled: Watermark | None = None
        """How far the journal is on the disk; None if that is not waited for."""
        self._confirmer: Confirmer | None = None
        self._connections = connections = Connections(trader_id, self.keys, config)
        if connections.server is not None and connections.server.cut_bytes:
            self.say(
                "warning",
                "the server had died in the middle of a write, which was cut off",
                bytes=connections.server.cut_bytes,
            )
        self.url = connections.url
        self.primary, self.reader = connections.primary, connections.reader
        self.put: Callable[[str, Any, int, Make, Any, Any, Any, Any], None]
        """What the verbs that a node calls all the time put their calls into: the eight parts of an `Accepted`."""
        self._backlog: Backlog[Any]
        try:
            connections.check(self._durability)
            if config.journal is None:
                self._backlog = Backlog(*self._bounds())
                self.put = self._backlog.put
                self._put_sized: Callable[..., None] = self._backlog.put_sized
            else:
                self._journal = self._open_journal(Path(config.journal))
                self._instance = self._journal.owner
                self.put = self._put_journaled
                self._put_sized = self._put_journaled
        except BaseException:
            self._release()
            raise

    def _bounds(self) -> tuple[int, int, OnFull, float]:
        config = self.config
        return config.backlog_count_max, config.backlog_bytes_max, config.on_full, config.block_timeout_s

    def _open_journal(self, directory: Path) -> Journal:
        config = self.config
        return Journal.open(
            directory,
            str(self._trader_id),
            schema_version=c.VERSION,
            owner=self._instance,
            fsync=config.journal_fsync,
            fsync_interval_s=config.journal_fsync_interval_ms / 1000,
            segment_bytes=config.journal_segment_bytes,
            bytes_max=config.journal_bytes_max,
            on_trouble=self._journal_trouble,
        )

    def start(self, opened_ns: int | None = None) -> None:
        """Claim the log and start the writer; from here on, whoever wrote to it before is refused.

        What the journal has behind the end of the log is written first.

        Parameters
        ----------
        opened_ns : int, optional
            When the log is to say that it was opened, UNIX nanoseconds. Default: now. No entry is older than the one
            before it, so whoever writes what happened earlier says so here.

        Raises
        ------
        DataLoss
            If the log lost what it had confirmed, and the journal does not have it any more.
        StorageError
            If the server can not be reached or refuses, or the log is not whole. The log is as it was.
        """
        config, connections = self.config, self._connections
        # The embedded one is looked after where it is launched.
        self._restarts = RestartWatch(connections.write) if connections.server is None else None
        opening = open_log(
            connections.write, self.primary, self.keys, self._trader_id, self._journal, self._instance, self.say
        )
        claimed = opening.claimed
        self.epoch = claimed.epoch
        self._first_position = claimed.position
        if self._journal is not None:
            self._journaled = JournaledBacklog(self._journal, claimed.position, *self._bounds())
            self._backlog = self._journaled
            if config.journal_fsync != "never":
                self.journaled = Watermark(self._journal.synced)
                self._journal.on_synced = self.journaled.advance
        turn = Turn()
        self._appender = Appender(connections.write, self.keys, claimed, self._quarantined, self._is_gone, turn)
        applied, durable = Watermark(claimed.position), Watermark() if self._durability.asks else None
        retained: Retained[Entry]
        if self._journal is None:
            retained = MemoryWindow(config.retained_bytes_max, claimed.position)
        else:
            retained = JournalWindow(self._journal, config.retained_bytes_max, applied, durable)
        self._retained = retained
        self._writer: Writer[Any, Entry, Batch] = Writer(
            self._backlog,
            self._appender,
            BatchFormer(config.batch_count_max, config.batch_bytes_max, config.linger_ms / 1000),
            retained,
            self,
            claimed.position,
            name=f"eventstore-writer-{self._trader_id}",
            durable=durable,
            last_words=self._last_words,
            backoff=Backoff(0.01, FOLLOW_S if connections.moves else AWAIT_S),
            turn=turn,
            look_s=config.look_interval_s,
            applied=applied,
        )
        self.durable = self._writer.applied if durable is None else durable
        if durable is not None:
            probe = DurabilityProbe(connections.probe, self.keys, claimed.epoch, claimed.owner, self._durability)
            name = f"eventstore-confirmer-{self._trader_id}"
            self._confirmer = Confirmer(self._writer.applied, durable, probe, self._Confirming(self), name)
        about = (claimed.epoch, self._about(opening))
        self.accept("open", self.keys.namespace, c.Opened, about, accepted_ns=opened_ns)
        self._opened_at = self._journal.position if self._journal is not None else claimed.position + 1
        self._telling.start()
        self._writer.start()
        if self._confirmer is not None:
            self._confirmer.start()
        # A host that exits without closing still gets what it was promised.
        atexit.register(self.close_at_exit)
        if config.close_on_sigterm:
            close_on_sigterm(self)

    def unfold_with(self, unfold: Callable[[Any, list[Any]], None]) -> bool:
        """Have calls made into commands when their turn comes, by `unfold`: see `Backlog.unfold`.

        Return whether they are: with a journal, commands have to be there when a call returns.
        """
        if self._journal is not None:
            return False
        self._backlog.unfold = unfold
        return True

    def discard(self) -> None:
        """Give up what was connected, where `start` was not called or failed."""
        self._release()

    def client(self, role: str) -> Client:
        """Return one more connection to the server. Whoever asks for it closes it."""
        return self._connections.connect(role)

    # -- The first entry and the last --------------------------------------------------------------------------

    def _about(self, opening: Opening) -> dict[str, Any]:
        """Return what the first entry says of this process, and of what it found."""
        owner, claimed, rest = opening
        said = {setting.name: getattr(self.config, setting.name) for setting in fields(self.config)}
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in said.items()
            if name not in ("url", "directory", "credentials") and value is not None
        }
        about = owner | {"url": self.url, "config": settings, "owner_before": claimed.owner_before}
        if rest is not None and rest.first <= rest.last:
            about["set_aside" if rest.strange else "recovered"] = {"first": rest.first, "last": rest.last}
        return about

    def _last_words(self) -> Entry | None:
        counts = {"commands": self._writer.taken - self._first_position, "batches": self._writer.batches}
        accepted_ns = time.time_ns()
        entry = Entry.of(accepted_ns, c.ClosedWell(self.epoch, counts))
        # A position that is in the log and not in the journal could not be written again.
        return entry if self._journal is None else self._journaled.append_last(accepted_ns, entry)

    def _is_gone(self, owner: str) -> bool:
        """Whether that owner of the log has certainly ended: who had this journal has, as nobody can share it."""
        return self._journal is not None and instance_of(owner) in self._journal.owners[:-1]

    # -- Accepting ---------------------------------------------------------------------------------------------

    def accept(
        self,
        operation: str,
        key: str,
        make: Callable[..., c.Command],
        arguments: tuple[Any, ...],
        size: int = 0,
        accepted_ns: int | None = None,
    ) -> None:
        """Put a call in the backlog, accepted at `accepted_ns`: UNIX nanoseconds, by default now.

        Raises
        ------
        BacklogFull
            If there is no room: nothing was accepted.
        Closed
            If the database was closed.
        WriterFailed
            If the writer has ended because of a fatal error.
        Refused
            If there is a journal, and the command can not be stored.
        JournalError
            If the journal can not take it.
        """
        if accepted_ns is None:
            accepted_ns = time.time_ns()
        try:
            if size:
                self._put_sized(operation, key, accepted_ns, called, make, arguments, None, size)
            else:
                self.put(operation, key, accepted_ns, called, make, arguments, None, None)
        except (Full, Shut) as error:
            self.refuse(error, operation, key)

    def _put_journaled(self, operation: str, key: Any, accepted_ns: int, make: Make, *arguments: Any) -> None:
        """Encode a call and put it in the journal, on the caller's thread."""
        try:
            payload = c.encode(make(key, *arguments))
        except Exception as error:
            raise Refused(
                f"{operation} {key}: it can not be stored ({type(error).__name__}: {error}); nothing was accepted"
            ) from error
        try:
            self._journaled.put_journaled(accepted_ns, payload)
        except JournalError as error:
            raise JournalError(f"{operation} {key}: not accepted, {error}") from error

    def refuse(self, error: Full | Shut, operation: str, key: str) -> NoReturn:
        """Raise what a call gets that the backlog did not take. A `WriterFailed` has what ended the writer as cause."""
        if isinstance(error, Full):
            raise BacklogFull(
                f"{operation} {key}: not accepted, {error}. The server is slower than the node, or away: see the log; "
                "raise backlog_count_max or block_timeout_s if this is expected"
            ) from error
        failure = self._writer.applied.failure
        if failure is not None and not isinstance(failure, Stopped):
            raise self._failed(failure, f"{operation} {key}: not accepted")
        raise Closed(f"{operation} {key}: not accepted, {error}") from error

    def _failed(self, failure: BaseException, what: str) -> WriterFailed:
        failed = WriterFailed(f"{what}, the writer has stopped: {failure}")
        failed.__cause__ = failure
        return failed

    # -- Waiting -----------------------------------------------------------------------------------------------

    def sync(self, timeout_s: float, level: Level = "applied") -> int:
        """Wait until everything accepted before the call has come to `level`; return the last position of it.

        Raises
        ------
        SyncTimeout
            If it was not within `timeout_s` seconds; it stays accepted.
        WriterFailed
            If the writer has ended because of a fatal error.
        Closed
            If the database is closed, before or meanwhile.
        Refused
            If it is called on the writer's own thread, as from a log handler: it would wait for itself. If there is no
            journal, and `level` is "journaled".
        """
        self._check_wait(level)
        deadline = time.monotonic() + timeout_s
        mark: Mark = self._backlog.mark()
        with self._waiting(mark):
            if mark.wait(timeout_s):
                watermark = self._watermark(level)
                if watermark is None or watermark.wait_until(mark.position, deadline - time.monotonic()):
                    return mark.position
        raise self._too_late(timeout_s, level)

    async def synced(self, timeout_s: float, level: Level = "applied") -> int:
        """As `sync`, for an asyncio task."""
        self._check_wait(level)
        deadline = time.monotonic() + timeout_s
        mark: Mark = self._backlog.mark()
        with self._waiting(mark):
            if await mark.awaited(timeout_s):
                watermark = self._watermark(level)
                if watermark is None or await watermark.reached(mark.position, deadline - time.monotonic()):
                    return mark.position
        raise self._too_late(timeout_s, level)

    def read(self, read: Callable[[], R], timeout_s: float, at_one_moment: bool = False) -> R:
        """Return what `read` reads, once everything accepted before the call is applied, and while it stays so.

        The server may have been set back or emptied while it was idle, or be while it is read: then the writer is told,
        and it is read again when what was lost is there again. It is also read again if the views were rebuilt
        meanwhile. `at_one_moment`: nothing more is applied meanwhile, so that what takes several round trips is of one
        moment. Raises as `sync`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                position, before = self._settle(deadline)
                try:
                    found, whole = (
                        self._read_held(read, deadline)
                        if at_one_moment
                        else (self._read_there(read, position, deadline), True)
                    )
                except DamagedRecord:
                    if self._is_as(before, position):
                        raise
                else:
                    if whole and self._is_as(before, position):
                        return found
            except Retryable:
                # While another server takes over nobody can be read; one server alone says so at once.
                if not self._connections.moves or time.monotonic() >= deadline:
                    raise
                time.sleep(MOVE_S)
            if time.monotonic() >= deadline:
                raise self._too_late(timeout_s, "applied")

    def _read_held(self, read: Callable[[], R], deadline: float) -> tuple[R, bool]:
        """Return what was read while the writer was held, and whether it was, all the time."""
        left_s = max(deadline - time.monotonic(), 0.0)
        with self._writer.hold(left_s) as hold:
            if not hold.reached:
                raise self._too_late(left_s, "applied")
            end = self._writer.applied.failure  # which lets go of everything, too
            if end is not None:
                raise self._in_vain(end) from end
            # A signal handler that waits for the writer breaks the hold of its own thread.
            return self._read_there(read, self._writer.applied.position, deadline), not hold.broken

    def _read_there(self, read: Callable[[], R], position: int, deadline: float) -> R:
        """Return what `read` reads, at a server that has everything up to `position`, all the time."""
        replica = self._connections.replica
        return read() if replica is None else replica.read(read, self.epoch, position, deadline)

    def _settle(self, deadline: float) -> tuple[int, tuple[int, bytes]]:
        """As `sync`, and see that the server has it; return the position, and what `_is_as` compares with later."""
        timeout_s = max(deadline - time.monotonic(), 0.0)
        while True:
            position = self.sync(max(deadline - time.monotonic(), 0.0))
            set_back = self._set_back  # before the look: whatever is lost behind it counts
            missing, rebuilt = self._missing(position)
            if missing is None:
                return position, (set_back, rebuilt)
            self._connections.read_anew()
            self._writer.doubt(Regressed(Retryable(f"read {self.keys.log}: it {missing}, {position} was confirmed")))
            if time.monotonic() >= deadline:
                raise self._too_late(timeout_s, "applied")
            time.sleep(DOUBT_S)

    def _is_as(self, before: tuple[int, bytes], position: int) -> bool:
        """Whether the server has `position` still, lost nothing since, and has the views of the same rebuild."""
        missing, rebuilt = self._missing(position)  # first: what was lost and is there again was noticed by then
        return missing is None and before == (self._set_back, rebuilt)

    def _missing(self, position: int) -> tuple[str | None, bytes]:
        """Say where the log ends if it lost `position`, None if it has it; and which rebuild wrote the views last.

        If somebody took over, what is there is whole: that this writer is out, its next batch will say.
        """
        fence = self.primary.fence()
        if fence is None:
            return "is gone", b""
        mine = fence.epoch == self.epoch and instance_of(fence.owner) == self._instance
        if (mine and fence.position >= position) or (not mine and fence.epoch >= self.epoch):
            return None, fence.rebuilt
        return f"ends at position {fence.position} of epoch {fence.epoch}", fence.rebuilt

    def _check_wait(self, level: Level) -> None:
        if self._pid != os.getpid():
            raise Closed(f"sync: this database was opened by process {self._pid}; open one of your own")
        self.refuse_to_wait_for_itself("sync")
        self._writer.break_holds()
        if level == "journaled" and self._journal is None:
            raise Refused('sync: there is no journal to wait for: open with journal=DIR, or wait for "applied"')

    def _watermark(self, level: Level) -> Watermark | None:
        """Return the watermark of `level`, or None if everything that is accepted has come to it."""
        if level == "journaled":
            return self.journaled
        if level == "durable":
            return self.durable
        return self._writer.applied if level == "applied" else None

    @contextmanager
    def _waiting(self, mark: Mark) -> Iterator[None]:
        """Take back `mark` if it was not reached, and say who waited in vain why."""
        try:
            end = self._writer.applied.failure
            if end is not None:
                raise end
            yield
        except Exception as end:
            raise self._in_vain(end) from end
        finally:
            if not mark.known:
                self._backlog.withdraw(mark)

    def _in_vain(self, end: BaseException) -> Exception:
        """What whoever waits for a writer gets that has ended."""
        if isinstance(end, Stopped):
            return Closed("sync: the database is closed; close() said how many commands were not written")
        return self._failed(end, "sync")

    def _too_late(self, timeout_s: float, level: Level) -> SyncTimeout:
        return SyncTimeout(
            f"sync: not {level} within {round(timeout_s, 3)} s: {len(self._backlog)} commands wait and "
            f"{self._writer.in_doubt} are in doubt "
            f"({self.board.now.reason or 'the server is slow'}); they will be written, see the log"
        )

    def refuse_to_wait_for_itself(self, operation: str) -> None:
        """Raise `Refused` on the writer's own thread."""
        if self._writer.is_current:
            raise Refused(
                f"{operation}: called on the writer's own thread, as from a log handler; it would wait for itself"
            )

    # -- The end -----------------------------------------------------------------------------------------------

    def refuse_more(self) -> None:
        """Take no more calls; what was accepted is still written. Raises as `refuse_to_wait_for_itself`."""
        self.refuse_to_wait_for_itself("close")
        self._writer.break_holds()
        self._backlog.close("the database is closed")

    def close(self, timeout_s: float) -> int:
        """Write what was accepted, end the writer, and return how many commands were not written.

        What is not durable then, where more than being applied was asked for, is waited for, too. A writer that is not
        done within `timeout_s` seconds is told to end at once; that takes a moment more. What is not written stays in
        the journal and is written by the next one that opens it; or, without a journal, is set aside.
        """
        if self._pid != os.getpid():
            return 0
        writer = self._writer
        deadline = time.monotonic() + timeout_s
        self.refuse_more()
        done = writer.join(timeout_s)
        # Whoever else closes is waited for: when this returns, whatever can be kept is.
        if not self._closing.acquire(timeout=max(deadline - time.monotonic(), 0.0) + 3 * self.config.timeout_s):
            return self._count_not_written()
        try:
            if not done and self._not_written is None:
                writer.abandon()
                if not writer.join(self.config.timeout_s):
                    writer.seize(self.config.timeout_s)
            if self._not_written is None:
                self._end_confirming(max(deadline - time.monotonic(), 0.0))
            # A signal handler may have closed it while this waited.
            return self._end() if self._not_written is None else self._not_written
        finally:
            self._closing.release()

    def _end(self) -> int:
        """Keep what is not written, say how it ended, and let go of everything; return how much is not written."""
        writer, not_written = self._writer, self._count_not_written()
        kept = self.config.journal or self._set_aside()
        self._not_written = not_written
        try:
            if not_written:
                self.say(
                    "error",
                    "closed with commands not written",
                    not_written=not_written,
                    in_doubt=writer.in_doubt,
                    applied=writer.applied.position,
                    reason=self.board.now.reason,
                    kept=None if kept is None else str(kept),
                )
            else:
                if writer.replaced:
                    self.say("warning", "closed while the server was being replaced", reason=self.board.now.reason)
                self.say("info", "closed", position=writer.applied.position, epoch=self.epoch)
            return not_written
        finally:
            atexit.unregister(self.close_at_exit)
            self._release()

    def _end_confirming(self, timeout_s: float) -> None:
        if self._confirmer is None:
            return
        applied = self._writer.applied.position
        if not isinstance(self._writer.applied.failure, Stopped):
            timeout_s = 0.0  # the writer has failed: what is to be confirmed may not be there
        try:
            durable = self.durable.wait_until(applied, timeout_s)
        except Exception:  # noqa: BLE001 - it has ended, and said why
            durable = False
        if not durable:
            self.say(
                "warning",
                "closed before it was durable",
                applied=applied,
                durable=self.durable.position,
                reason=self._confirmer.reason,
            )
        self._confirmer.stop(self.config.timeout_s)

    def _count_not_written(self) -> int:
        writer = self._writer
        if self._backlog.unfold is not None and writer.ended:
            with self._setting_aside:
                self._backlog.put_back(self._backlog.take(sys.maxsize))  # as commands
        # What the log lost of those who wrote before is not ours.
        applied = max(writer.applied.position, self._first_position)
        if self._journal is not None:
            count, said = self._journaled.accepted - applied, writer.spoken
        else:
            said = writer.spoken and not writer.unsaid
            count = writer.taken - applied + sum(not isinstance(item, Mark) for item in self._backlog.waiting())
        # The entries that say hello and goodbye are nobody's commands.
        return count - (applied < self._opened_at) - (count > 0 and said)

    def _set_aside(self) -> Path | None:
        """Keep in a file what was accepted and is not written, where no journal has it; return the file."""
        # Once: the writer that fails does so, and whoever closes meanwhile.
        with self._setting_aside:
            return self._set_aside_once()

    def _set_aside_once(self) -> Path | None:
        if self._aside is not None or self._journal is not None or not self._count_not_written():
            return self._aside
        if not self._writer.ended:
            self.say("critical", "what is not written could not be set aside", error="the writer hangs")
            return None
        try:
            self._aside = set_aside(aside_directory(self.config), self._trader_id, self._instance, self._unwritten())
        except Exception as error:  # noqa: BLE001 - there is nothing else left to try
            if self._aside is None:  # a signal handler may have done it meanwhile
                self.say("critical", "what is not written could not be set aside", error=str(error))
        return self._aside

    def _unwritten(self) -> Iterator[JournalRecord]:
        position, entries = self._writer.unconfirmed()
        waiting = (self._appender.encode(item) for item in self._backlog.waiting() if not isinstance(item, Mark))
        for number, entry in enumerate(chain(entries, waiting), position):
            yield JournalRecord(number, entry.accepted_ms * 1_000_000, entry.payload)

    def close_at_exit(self) -> None:
        """Close, for the time that is configured; does not raise."""
        try:
            self.close(self.config.close_timeout_s)
        except Exception as error:  # noqa: BLE001 - the process ends
            self.say("error", "could not be closed", error=str(error))

    def orphan(self) -> None:
        """Nobody has the database any more, and nobody closed it: write what was accepted, and end. Does not wait."""
        if self._pid != os.getpid() or self._backlog.closed is not None:
            return
        self._orphaned = True
        self._backlog.close("the database was dropped without being closed")
        self.say("warning", "the database was dropped without being closed: what was accepted is written")
        warnings.warn(f"unclosed eventstore database of {self._trader_id}", ResourceWarning, stacklevel=2)

    def _release(self) -> None:
        if self._journal is not None:
            if hasattr(self, "_journaled"):
                self._journaled.release()
            else:
                self._journal.close()
        self._connections.close()
        self._telling.stop(TELL_S)

    # -- How it stands -----------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether no more calls are taken because `close` was called, not because the writer has failed."""
        failure = self._writer.applied.failure
        return self._backlog.closed is not None and (failure is None or isinstance(failure, Stopped))

    def stats(self) -> Stats:
        """Return where the writer stands."""
        writer, backlog, journal, replica = self._writer, self._backlog, self._journal, self._connections.replica
        accepted = None if journal is None else self._journaled.accepted
        return Stats(
            epoch=self.epoch,
            accepted=accepted,
            journaled=accepted if self.journaled is None else self.journaled.position,
            applied=writer.applied.position,
            durable=self.durable.position,
            retained_from=self._retained.first,
            waiting=len(backlog),
            in_doubt=writer.in_doubt,
            batches=writer.batches,
            blocked=backlog.blocked,
            refused=backlog.refused,
            spilled=0 if journal is None else self._journaled.spilled,
            retries=self._retries,
            set_back=self._set_back,
            quarantined=self._quarantines,
            journal_bytes=0 if journal is None else journal.bytes,
            server=self._appender.server or self.url,
            replica_behind=None if replica is None else replica.behind,
            health=self.board.now.state,
            reason=self.board.now.reason,
        )

    # -- What the writer and others tell, on their threads --------------------------------------------------------

    def say(self, level: str, event: str, **values: Any) -> None:
        """Log, if the logger takes it, behind everybody's back: see `Telling`."""
        self._telling.tell(self._log_line, level, event, values)

    def _log_line(self, level: str, event: str, values: dict[str, Any]) -> None:
        try:
            getattr(self._log, level)(event, **values)
        except BaseException:  # noqa: BLE001 - a host's broken logger must not end what tells the rest
            self.log_failures += 1

    def _call_back(self, on_health: Callable[[Health], object], health: Health) -> None:
        try:
            on_health(health)
        except BaseException as error:  # noqa: BLE001 - neither must a host's broken callback
            self.say("error", "the health callback failed", error=str(error), kind=type(error).__name__)

    def retrying(self, error: Unavailable, attempt: int, wait_s: float, waiting: int) -> None:
        """See `workers.writer.Listener`."""
        self._retries += 1
        self.board.trouble("server", str(error.cause))
        self.say(
            "error" if error.held else "warning",
            "the server is not available",
            error=str(error.cause),
            attempt=attempt,
            wait_s=round(wait_s, 3),
            batches=waiting,
        )

    def recovered(self, attempts: int) -> None:
        """See `workers.writer.Listener`."""
        self.board.well("server")
        self.say("info", "the server is back", attempts=attempts)
        if self._restarts is not None and (warning := self._restarts.look()) is not None:
            self.say("warning", "the server was restarted", warning=warning)
        if self._confirmer is not None:
            self._confirmer.renew()  # it may be another one now

    def regressed(self, position: int, applied: int) -> None:
        """See `workers.writer.Listener`."""
        self._set_back += 1
        self.board.trouble("server", f"the log went back from position {applied} to {position}: it is written again")
        self.say("error", "the log went back: what is retained is written again", position=position, applied=applied)
        if self._confirmer is not None:
            self._confirmer.retreat(position)

    def _quarantined(self, operation: str, key: str, error: BaseException) -> None:
        self._quarantines += 1
        self.say("critical", "a command could not be written", operation=operation, key=key, error=str(error))

    def failed(self, error: BaseException) -> None:
        """See `workers.writer.Listener`."""
        self.board.fail(str(error))

    def ended(self, error: BaseException | None) -> None:
        """See `workers.writer.Listener`."""
        if error is not None:
            kept = self.config.journal or self._set_aside()
            self.say(
                "critical",
                "the writer has stopped",
                error=str(error),
                kind=type(error).__name__,
                kept=None if kept is None else str(kept),
            )
        if self._orphaned:
            self._end_confirming(self.config.close_timeout_s)
            atexit.unregister(self.close_at_exit)
            self._release()

    def _journal_trouble(self, reason: str | None) -> None:
        if reason is None:
            self.board.well("journal")
            self.say("info", "the journal is well again")
        else:
            self.board.trouble("journal", f"the journal: {reason}")
            self.say("error", "the journal has trouble", reason=reason)

    class _Confirming:
        """Tells the persister what the confirmer finds."""

        def __init__(self, persister: Persister) -> None:
            self._persister = persister

        def short(self, reason: str, held: bool) -> None:
            self._persister.board.trouble("durability", f"not as durable as asked for: {reason}")
            self._persister.say("error" if held else "warning", "not as durable as asked for", reason=reason)

        def behind(self, error: Regressed) -> None:
            self._persister._writer.doubt(error)

        def met_again(self) -> None:
            self._persister.board.well("durability")
            self._persister.say("info", "as durable as asked for again")

        def failed(self, error: BaseException) -> None:
            self._persister.board.trouble("durability", f"durability is not known any more: {error}")
            self._persister.say("critical", "durability is not known any more", error=str(error))


def default_logger(trader_id: TraderId) -> Any:
    """The logger of a database that was given none: the host's structlog, or warnings to stderr if it has none."""
    if structlog.is_configured():
        logger = structlog.get_logger("eventstore")
    else:
        quiet = structlog.make_filtering_bound_logger(logging.WARNING)
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), wrapper_class=quiet)
    return logger.bind(trader_id=str(trader_id))
