"""The tortured node: a process that opens the database, makes its calls, and notes each that returned where no kill
reaches.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import mmap
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import RedisError

from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import BacklogFull, Held, Retryable, WriterFailed
from eventstore.facade import Level
from eventstore.keys import Keys
from eventstore.recording import Player
from eventstore.storage.connect import connect
from scripts.lib.torture_accounts import Lived
from scripts.lib.torture_workload import (
    LAPS_MAX,
    TRADER,
    Place,
    Session,
    is_call,
    marker_ns,
    payloads,
    places,
    resumed_player,
)

T = TypeVar("T")

STUCK_S = 45.0
"""A life that takes longer than that has met with something that it waits for in vain."""

_PROBE_S = 0.005
_PR_SET_PDEATHSIG = 1


class Stage(IntEnum):
    """How far a life has come."""

    BORN = 0
    OPENING = 1
    OPENED = 2
    TRADING = 3
    CLOSING = 4
    CLOSED = 5
    STOPPED = 6
    """The writer has stopped because of a fatal error."""
    FAILED = 7


class Ledger:
    """What a life notes of itself, in a file that is mapped: the page cache outlives any kill.

    One number a field, each stored at once and by one thread.
    """

    _FIELDS = (
        "stage",
        "returned",
        "synced",
        "session",
        "lineage",
        "index",
        "opened_us",
        "openings",
        "refused",
        "enough",
    )
    _SIZE = 4096

    stage: int
    returned: int
    synced: int
    session: int
    lineage: int
    index: int
    opened_us: int
    openings: int
    refused: int
    enough: int
    """Set by the parent: the life is to close."""

    def __init__(self, path: Path) -> None:
        object.__setattr__(self, "path", path)
        with path.open("w+b") as file:
            file.truncate(self._SIZE)
            mapped = mmap.mmap(file.fileno(), self._SIZE)
        object.__setattr__(self, "numbers", memoryview(mapped).cast("Q"))

    def __getattr__(self, name: str) -> int:
        return int(self.numbers[self._FIELDS.index(name)])

    def __setattr__(self, name: str, value: int) -> None:
        self.numbers[self._FIELDS.index(name)] = value

    @classmethod
    def place_of(cls, name: str) -> int:
        """Where a field stands in `numbers`, for a loop that is in a hurry."""
        return cls._FIELDS.index(name)

    @property
    def start(self) -> Place:
        return Place(self.session, self.lineage, self.index)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a life is to do, until it is killed.

    `after` is the life that it goes on from, if it does not begin a new lineage. It waits for `sync` of `level` behind
    every `sync_every` calls, if that is not 0, and closes behind `calls_max`, if it lives that long. It makes at most
    `calls_per_s` calls a second, if that is not 0.
    """

    number: int
    session: int
    after: Lived | None
    sync_every: int
    calls_max: int
    level: Level = "applied"
    calls_per_s: int = 0


def be_born(
    plan: Plan,
    config: CacheDatabaseConfig,
    sessions: list[Session],
    ledger: Ledger,
    log: Path,
    stuck_s: float = STUCK_S,
) -> int:
    """Fork a process that lives by `plan`, and return its id. It ends by itself if it lives too long."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(AttributeError):  # only Linux lets a process die with its parent
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        gc.freeze()  # what the parent made is not searched for garbage, and so not copied
        with log.open("a", buffering=1) as lines:
            faulthandler.dump_traceback_later(stuck_s, exit=True, file=lines)
            try:
                _live(plan, config, sessions, ledger, _Log(lines))
                status = 0
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to know
                lines.write(f"life {plan.number} failed\n{traceback.format_exc()}")
                ledger.stage = Stage.STOPPED if isinstance(error, WriterFailed) else Stage.FAILED
    finally:
        os._exit(status)


class _Log:
    """A logger that writes what is worth a look into a file at once, so that it is there after a kill."""

    def __init__(self, lines: Any, about: str = "") -> None:
        self._lines = lines
        self._about = about

    def bind(self, **values: Any) -> _Log:
        return _Log(self._lines, f"{self._about} {values}")

    def debug(self, event: str, **values: Any) -> None:
        pass

    def info(self, event: str, **values: Any) -> None:
        self._lines.write(f"{datetime.now(UTC).isoformat()} {os.getpid()} {event} {values}\n")

    warning = error = critical = exception = info


def _live(plan: Plan, config: CacheDatabaseConfig, sessions: list[Session], ledger: Ledger, log: _Log) -> None:
    born_ns = time.monotonic_ns()
    ledger.stage = Stage.OPENING
    database = _open(config, ledger, log)
    ledger.opened_us = (time.monotonic_ns() - born_ns) // 1000
    ledger.stage = Stage.OPENED
    if plan.calls_max:
        start, player = _where_to_go_on(plan, config, sessions, database)
        ledger.session, ledger.lineage, ledger.index = start
        ledger.stage = Stage.TRADING
        _trade(plan, sessions, database, player, start, ledger)
    ledger.stage = Stage.CLOSING
    not_written = database.close(STUCK_S)
    if not_written and database.stats().health == "failed":
        raise WriterFailed(f"{not_written} commands were not written: {database.stats().reason}")
    if not_written:
        raise AssertionError(f"{not_written} commands were not written within {STUCK_S} s")
    ledger.stage = Stage.CLOSED


def _open(config: CacheDatabaseConfig, ledger: Ledger, log: _Log) -> RedisCacheDatabase:
    while True:
        # A server that is not there would cost an opening, of which a journal remembers the last sixteen.
        _wait_for_server(str(config.url))
        ledger.openings += 1
        try:
            return RedisCacheDatabase(TRADER, log, config=config)
        except (Retryable, Held) as error:
            log.info("the opening failed", error=str(error))
            time.sleep(_PROBE_S)


def _wait_for_server(url: str) -> None:
    with connect(url, 1.0, "torture", namespace=Keys(TRADER).namespace) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                time.sleep(_PROBE_S)
            else:
                return


def _where_to_go_on(
    plan: Plan, config: CacheDatabaseConfig, sessions: list[Session], database: RedisCacheDatabase
) -> tuple[Place, Player]:
    """The first call, and a player for it: behind the last one in the log, if that is where the life before ended."""
    fresh = Place(plan.session, plan.number * LAPS_MAX, 0), Player(database)
    before = plan.after
    if before is None or before.returned < 2:
        return fresh
    database.sync(STUCK_S)
    last = _patiently(lambda: _last_call(str(config.url)))
    calls = places(sessions, before.number, before.start)
    left = payloads(sessions, before.number, before.start)
    for _ in range(before.returned - 1):
        next(left)
    returned, unfinished = next(left), next(left)
    if returned == unfinished or last not in (returned, unfinished):
        return fresh
    for _ in range(before.returned - 1 + (last == unfinished)):
        next(calls)
    return next(calls), _patiently(lambda: resumed_player(database))


def _last_call(url: str) -> bytes | None:
    with connect(url, STUCK_S, "torture", namespace=Keys(TRADER).namespace) as client:
        rows: Any = client.xrevrange(Keys(TRADER).log, count=50)
    return next((fields[b"e"] for _, fields in rows if is_call(fields[b"e"])), None)


def _patiently(read: Callable[[], T]) -> T:
    """Read from a server that may be away for a moment."""
    while True:
        try:
            return read()
        except (Retryable, RedisError):
            time.sleep(_PROBE_S)


def _trade(
    plan: Plan, sessions: list[Session], database: RedisCacheDatabase, player: Player, start: Place, ledger: Ledger
) -> None:
    numbers, returned, enough = ledger.numbers, Ledger.place_of("returned"), Ledger.place_of("enough")

    def heartbeat() -> None:
        database.heartbeat(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=marker_ns(plan.number) // 1000))

    began_s = time.monotonic()
    call = heartbeat
    for count, (session, lineage, index) in enumerate(places(sessions, plan.number, start), 1):
        while True:
            try:
                call()
                break
            except BacklogFull:
                ledger.refused += 1
                time.sleep(0.001)
        numbers[returned] = count
        if plan.sync_every and count % plan.sync_every == 0:
            database.sync(STUCK_S, plan.level)
            ledger.synced = count
        if plan.calls_per_s and not count % 16:
            time.sleep(max(0.0, began_s + count / plan.calls_per_s - time.monotonic()))
        if count >= plan.calls_max or numbers[enough]:
            return
        line = sessions[session].line(index, lineage)
        call = _patiently(partial(player.prepare, line))  # which may load what the line is about
