"""The life of one writer: connect, claim, run, wait, close. Knows commands and the server, but no trading verb."""

from __future__ import annotations

import atexit
import importlib.metadata
import json
import logging
import os
import platform
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import structlog

from eventstore import commands as c
from eventstore import schema
from eventstore.config import CacheDatabaseConfig, default_directory
from eventstore.errors import BacklogFull, Closed, ConfigError, Refused, SyncTimeout, WriterFailed
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.retained import MemoryWindow
from eventstore.storage.appender import Accepted, Appender, Batch, Claim, Entry, claim
from eventstore.storage.connect import connect, default_client_name, redact, server_facts
from eventstore.storage.embedded import EmbeddedServer
from eventstore.storage.faults import translated
from eventstore.storage.reader import Reader
from workers.backlog import Backlog, Full, Shut
from workers.batch import BatchFormer
from workers.sink import Unavailable
from workers.watermark import Mark
from workers.writer import Stopped, Writer

READ_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Stats:
    """Where a writer stands. Reading it costs no I/O.

    `waiting` commands are in the backlog, `in_doubt` ones were taken from it and are not confirmed yet; `quarantined`
    ones could not be encoded, and are in the log by name only. `health` is healthy, degraded or failed.
    """

    epoch: int
    applied: int
    waiting: int
    in_doubt: int
    batches: int
    blocked: int
    refused: int
    retries: int
    quarantined: int
    health: str
    reason: str | None


class Persister:
    """Writes the commands of one trader behind the caller's back, in order, each of them once; once it is started.

    Raises, when it is made
    -----------------------
    StorageError
        If the server can not be reached or refuses.
    ConfigError
        If the server may evict keys and that was not allowed.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def __init__(self, trader_id: TraderId, config: CacheDatabaseConfig, logger: Any) -> None:
        self.keys = Keys(trader_id)
        self.config = config
        self._trader_id = trader_id
        self._log = logger
        self._server: EmbeddedServer | None = None
        self._retries = 0
        self.log_failures = 0
        """Log lines that the logger did not take."""
        self._health = "healthy"
        self._reason: str | None = None
        self._quarantines = 0
        self._closing = threading.Lock()  # held by whoever closes, and never let go
        self._not_written: int | None = None
        self._pid = os.getpid()
        url = config.url
        if url is None:
            self._server = EmbeddedServer.open(config.directory or default_directory())
            url = self._server.url
        self.url = redact(url)
        self._read_client = connect(url, config.timeout_s, default_client_name(trader_id, "reader"), READ_RETRIES)
        self._write_client = connect(url, config.timeout_s, default_client_name(trader_id, "writer"))
        self.reader = Reader(self._read_client, self.keys)
        self._backlog: Backlog[Accepted | Mark] = Backlog(
            config.backlog_count_max, config.backlog_bytes_max, config.on_full, config.block_timeout_s
        )
        self.put = self._backlog.put
        """The backlog's `put`, for the verbs that a node calls all the time."""
        try:
            self._refuse_eviction()
        except BaseException:
            self._release()
            raise

    def start(self) -> None:
        """Claim the log and start the writer; from here on, whoever wrote to it before is refused.

        Raises
        ------
        StorageError
            If the server can not be reached or refuses, or the log is not whole. The log is as it was.
        """
        config, keys = self.config, self.keys
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "instance": str(uuid.uuid4()),
            "library": importlib.metadata.version("eventstore"),
            "python": platform.python_version(),
        }
        with translated("publish the schema"):
            pipeline = self._write_client.pipeline(transaction=False)
            for field, fields in (schema.describe() | c.describe()).items():
                pipeline.hsetnx(keys.schema, field, fields)
            pipeline.execute()
        claimed = claim(self._write_client, keys, json.dumps(owner), time.time_ns() // 1_000_000)
        self.epoch = claimed.epoch
        self._first_position = claimed.position
        self._writer: Writer[Accepted, Entry, Batch] = Writer(
            self._backlog,
            Appender(self._write_client, keys, claimed, self._quarantined),
            BatchFormer(config.batch_count_max, config.batch_bytes_max, config.linger_ms / 1000),
            MemoryWindow(config.retained_bytes_max, claimed.position),
            self,
            claimed.position,
            name=f"eventstore-writer-{self._trader_id}",
            last_words=self._last_words,
        )
        self._report_claim(claimed)
        self._backlog.put(self._opened(owner, claimed))
        self._writer.start()
        # A host that exits without closing still gets what it was promised.
        atexit.register(self._close_at_exit)

    def discard(self) -> None:
        """Give up what was connected, where `start` was not called or failed."""
        self._release()

    def _refuse_eviction(self) -> None:
        policy = str(server_facts(self._read_client).get("maxmemory_policy", "noeviction"))
        if policy != "noeviction" and not self.config.allow_eviction:
            raise ConfigError(
                f"the server at {self.url} may evict keys (maxmemory-policy {policy}): an evicted view is lost state. "
                "Set maxmemory-policy noeviction there, or allow_eviction=True here"
            )

    def _report_claim(self, claimed: Claim) -> None:
        if claimed.owner_before:
            self.say(
                "info",
                "took over the log",
                position=claimed.position,
                epoch=claimed.epoch,
                owner_before=claimed.owner_before,
                claimed_before_ms=claimed.claimed_before_ms,
            )
        else:
            self.say("info", "opened a new log", namespace=self.keys.namespace, epoch=claimed.epoch)

    def _opened(self, owner: dict[str, Any], claimed: Claim) -> Accepted:
        settings = {name: value for name, value in asdict(self.config).items() if name not in ("url", "directory")}
        about = owner | {
            "url": self.url,
            "config": {name: value for name, value in settings.items() if value is not None},
            "owner_before": claimed.owner_before,
        }
        return ("open", self.keys.namespace, time.time_ns(), c.Opened, (claimed.epoch, about))

    def _last_words(self) -> Accepted:
        counts = {"commands": self._writer.taken - self._first_position, "batches": self._writer.batches}
        return ("close", self.keys.namespace, time.time_ns(), c.ClosedWell, (self.epoch, counts))

    # -- Accepting ---------------------------------------------------------------------------------------------

    def accept(
        self, operation: str, key: str, make: Callable[..., c.Command], arguments: tuple[Any, ...], size: int = 0
    ) -> None:
        """Put a call in the backlog.

        Raises
        ------
        BacklogFull
            If there is no room: nothing was accepted.
        Closed
            If the database was closed.
        WriterFailed
            If the writer has ended because of a fatal error.
        """
        item: Accepted = (operation, key, time.time_ns(), make, arguments)
        try:
            if size:
                self._backlog.put_sized(item, size)
            else:
                self._backlog.put(item)
        except (Full, Shut) as error:
            self.refuse(error, operation, key)

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

    def sync(self, timeout_s: float) -> int:
        """Wait until everything accepted before the call is applied; return the last position of it.

        Raises
        ------
        SyncTimeout
            If it was not within `timeout_s` seconds; it stays accepted.
        WriterFailed
            If the writer has ended because of a fatal error.
        Closed
            If the database is closed, before or meanwhile.
        Refused
            If it is called on the writer's own thread, as from a log handler: it would wait for itself.
        """
        writer = self._writer
        if self._pid != os.getpid():
            raise Closed(f"sync: this database was opened by process {self._pid}; open one of your own")
        self.refuse_to_wait_for_itself("sync")
        deadline = time.monotonic() + timeout_s
        mark = Mark()
        self._backlog.put_always(mark)
        try:
            if writer.applied.failure is not None:
                raise writer.applied.failure
            known = mark.wait(timeout_s)
            if known and writer.applied.wait_until(mark.position, deadline - time.monotonic()):
                return mark.position
        except Stopped as stopped:
            raise Closed("sync: the database is closed; close() said how many commands were not written") from stopped
        except Exception as failure:
            raise self._failed(failure, "sync") from failure
        finally:
            if not mark.known:
                self._backlog.withdraw(mark)
        raise SyncTimeout(
            f"sync: not applied within {timeout_s} s: {len(self._backlog)} commands wait and {writer.in_doubt} are in "
            f"doubt ({self._reason or 'the server is slow'}); they will be written, see the log"
        )

    def refuse_to_wait_for_itself(self, operation: str) -> None:
        """Raise `Refused` on the writer's own thread."""
        if self._writer.is_current:
            raise Refused(
                f"{operation}: called on the writer's own thread, as from a log handler; it would wait for itself"
            )

    def refuse_more(self) -> None:
        """Take no more calls; what was accepted is still written. Raises as `refuse_to_wait_for_itself`."""
        self.refuse_to_wait_for_itself("close")
        self._backlog.close("the database is closed")

    def close(self, timeout_s: float) -> int:
        """Write what was accepted, end the writer, and return how many commands were not written.

        A writer that is not done within `timeout_s` seconds is told to end at once; that takes a moment more.
        """
        if self._pid != os.getpid():
            return 0
        writer = self._writer
        self.refuse_more()
        done = writer.join(timeout_s)
        if not self._closing.acquire(blocking=False):
            # Somebody else closes, or did.
            return self._count_not_written() if self._not_written is None else self._not_written
        try:
            if not done:
                writer.abandon()
                writer.join(self.config.timeout_s)
            self._not_written = self._count_not_written()
            if self._not_written:
                self.say(
                    "error",
                    "closed with commands not written",
                    not_written=self._not_written,
                    in_doubt=writer.in_doubt,
                    applied=writer.applied.position,
                    reason=self._reason,
                )
            else:
                self.say("info", "closed", position=writer.applied.position, epoch=self.epoch)
            return self._not_written
        finally:
            atexit.unregister(self._close_at_exit)
            self._release()

    def _count_not_written(self) -> int:
        writer = self._writer
        waiting = sum(not isinstance(item, Mark) for item in self._backlog.waiting())
        in_doubt = writer.in_doubt
        # The entries that say hello and goodbye are nobody's commands.
        if writer.applied.position == self._first_position:
            waiting -= 1
        if in_doubt and writer.spoken:
            waiting -= 1
        return waiting + in_doubt

    def _close_at_exit(self) -> None:
        self.close(self.config.close_timeout_s)

    def _release(self) -> None:
        self._read_client.close()
        self._write_client.close()
        if self._server is not None:
            self._server.close()

    @property
    def closed(self) -> bool:
        """Whether no more calls are taken because `close` was called, not because the writer has failed."""
        failure = self._writer.applied.failure
        return self._backlog.closed is not None and (failure is None or isinstance(failure, Stopped))

    def stats(self) -> Stats:
        """Return where the writer stands."""
        writer, backlog = self._writer, self._backlog
        return Stats(
            epoch=self.epoch,
            applied=writer.applied.position,
            waiting=len(backlog),
            in_doubt=writer.in_doubt,
            batches=writer.batches,
            blocked=backlog.blocked,
            refused=backlog.refused,
            retries=self._retries,
            quarantined=self._quarantines,
            health=self._health,
            reason=self._reason,
        )

    # -- What the writer tells, on its thread --------------------------------------------------------------------

    def say(self, level: str, event: str, **values: Any) -> None:
        """Log, if the logger takes it."""
        try:
            getattr(self._log, level)(event, **values)
        except Exception:  # noqa: BLE001 - a host's broken logger must not end the writer
            self.log_failures += 1

    def retrying(self, error: Unavailable, attempt: int, wait_s: float, waiting: int) -> None:
        """See `workers.writer.Listener`."""
        self._retries += 1
        self._health, self._reason = "degraded", str(error.cause)
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
        self._health, self._reason = "healthy", None
        self.say("info", "the server is back", attempts=attempts)

    def regressed(self, position: int, applied: int) -> None:
        """See `workers.writer.Listener`."""
        self._health, self._reason = "degraded", f"the log went back from position {applied} to {position}"
        self.say("error", "the log went back: what is retained is written again", position=position, applied=applied)

    def _quarantined(self, operation: str, key: str, error: BaseException) -> None:
        self._quarantines += 1
        self.say("critical", "a command could not be encoded", operation=operation, key=key, error=str(error))

    def failed(self, error: BaseException) -> None:
        """See `workers.writer.Listener`."""
        self._health, self._reason = "failed", str(error)
        self.say("critical", "the writer has stopped", error=str(error), kind=type(error).__name__)

    def ended(self, error: BaseException | None) -> None:
        """See `workers.writer.Listener`."""


def default_logger(trader_id: TraderId) -> Any:
    """The logger of a database that was given none: the host's structlog, or warnings to stderr if it has none."""
    if structlog.is_configured():
        logger = structlog.get_logger("eventstore")
    else:
        quiet = structlog.make_filtering_bound_logger(logging.WARNING)
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), wrapper_class=quiet)
    return logger.bind(trader_id=str(trader_id))
