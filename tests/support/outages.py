"""What tests of outages share: a logger to wait for, a load that goes on, and what the log has to be at the end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.errors import WriterFailed
from eventstore.keys import Keys
from eventstore.model.identifiers import ComponentId
from tests.support.databases import TRADER, open_database
from tests.support.logs import check_log
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)
PATIENCE_S = 30.0
AWAY, BACK, STOPPED = "the server is not available", "the server is back", "the writer has stopped"


class Told:
    """A logger that remembers, and can be waited for."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str, dict[str, Any]]] = []
        self._more = threading.Condition()

    def bind(self, **_: Any) -> Self:
        return self

    def _note(self, level: str, event: str, values: dict[str, Any]) -> None:
        with self._more:
            self._lines.append((level, event, values))
            self._more.notify_all()

    def debug(self, event: str, **values: Any) -> None:
        self._note("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        self._note("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        self._note("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        self._note("error", event, values)

    def critical(self, event: str, **values: Any) -> None:
        self._note("critical", event, values)

    def all(self, event: str) -> list[tuple[str, dict[str, Any]]]:
        """What was logged as `event`: levels and values."""
        with self._more:
            return [(level, values) for level, name, values in self._lines if name == event]

    def wait_for(self, event: str, said: str = "") -> tuple[str, dict[str, Any]]:
        """Wait for an `event` of which a value has `said` in it."""

        def heard() -> tuple[str, dict[str, Any]] | None:
            for level, name, values in self._lines:
                if name == event and said in str(values):
                    return level, values
            return None

        with self._more:
            found = self._more.wait_for(heard, PATIENCE_S)
            assert found is not None, f"{event!r} with {said!r} was not logged: {self._lines[-3:]}"
            return found

    def forget(self) -> None:
        with self._more:
            self._lines.clear()


class Load:
    """A thread that goes on calling, and remembers what was accepted. The views of some calls are not idempotent."""

    def __init__(self, database: RedisCacheDatabase) -> None:
        self.accepted: list[c.Command] = []
        self._database = database
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if error is None:
            assert self._error is None, self._error

    def go_on(self, count: int = 100) -> None:
        """Wait until so many more calls were accepted."""
        goal = len(self.accepted) + count
        until(lambda: len(self.accepted) >= goal or self._error is not None)
        assert self._error is None, self._error

    def forgive(self) -> None:
        """Whatever ended it was meant to."""
        self._error = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.001):
                for _ in range(5):
                    self.accepted.append(call(self._database, len(self.accepted)))
        except BaseException as error:  # noqa: BLE001 - for the thread that waits
            self._error = error


def call(database: RedisCacheDatabase, number: int) -> c.Command:
    """Make one call of several kinds, and return the command that it has to become."""
    command: c.Command
    if number % 3 == 0:
        # A new cycle of a position: sent twice and applied twice, it would leave one life too many.
        is_open = number % 2 == 0
        command = c.WritePosition(f"P-{number % 4}", 0, is_open, [b"fill %d" % number], b"basis")
        database._persister.accept("add_position", command.position_id, c.WritePosition, tuple(command))
    elif number % 7 == 0:
        command = c.DeleteActor("Actor-1")
        database.delete_actor(ComponentId("Actor-1"))
    else:
        command = c.Add(f"key-{number % 50}", b"%d" % number)
        database.add(command.key, command.value)
    return command


def until(condition: Callable[[], bool], otherwise: str | Callable[[], str] = "it never happened") -> None:
    """Wait until `condition` holds, a bounded time; say `otherwise`, or what that returns, when that is over."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, otherwise() if callable(otherwise) else otherwise
        pause.wait(0.002)


def called(log: list[Any]) -> list[c.Command]:
    """The commands of a log that calls became."""
    return [line.command for line in log if not isinstance(line.command, c.Opened | c.ClosedWell)]


def written(server: RedisServer) -> list[c.Command]:
    """The commands that calls became, in a log that keeps all its promises."""
    with server.client() as client:
        return called(check_log(client, KEYS))


@contextmanager
def under_load(server: RedisServer, told: Told, url: str = "", **settings: Any) -> Iterator[tuple[Any, Load]]:
    """A database with calls coming in. At the end everything that was accepted has to be there, once and in order."""
    with open_database(url or server.url, logger=told, **settings) as database:
        with Load(database) as load:
            load.go_on()
            yield database, load
            load.go_on()
        assert database.close() == 0
    all_written(server, told, load)


def all_written(server: RedisServer, told: Told, load: Load) -> None:
    """Everything that was accepted is in the log of `server`, once and in order, and the writer ended well."""
    assert written(server) == load.accepted
    with server.client() as client:
        assert isinstance(check_log(client, KEYS)[-1].command, c.ClosedWell)
    assert told.wait_for("closed")[0] == "info"
    assert not told.all(STOPPED)


def failed(database: RedisCacheDatabase, told: Told, cause: type[Exception], said: str) -> None:
    """Every call raises from now on, and says why."""
    level, values = told.wait_for(STOPPED)
    assert (level, values["kind"]) == ("critical", cause.__name__)
    for verb in (lambda: database.add("late", b"x"), database.sync, database.load, database.flush):
        with pytest.raises(WriterFailed, match=said) as caught:
            verb()
        assert type(caught.value.__cause__) is cause
    stats = database.stats()
    assert stats.health == "failed"
    assert re.search(said, stats.reason or "")


def connections(admin: Redis) -> list[str]:
    """The names of the library's connections at the server."""
    return [str(client["name"]) for client in admin.client_list() if "eventstore" in str(client["name"])]


@contextmanager
def nothing_left() -> Iterator[None]:
    """No thread is left behind. A socket left open is a warning, which fails the test."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
