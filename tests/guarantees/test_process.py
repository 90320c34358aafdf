"""The life of the process that writes: rows 29 to 33."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import CodecError, Refused, WriterFailed
from eventstore.model.currencies import EUR
from eventstore.model.identifiers import ComponentId
from eventstore.model.orders import Order
from eventstore.model.record import Record
from eventstore.storage.appender import Appender
from tests.support.databases import TRADER, open_database
from tests.support.logs import check_log
from tests.support.node import State
from tests.support.orders import initialized
from tests.support.outages import AWAY, BACK, KEYS, PATIENCE_S, STOPPED, Load, Told, call, written
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

# -- Row 29: fork ------------------------------------------------------------------------------------------------------

FORKING = """
import gc, os, signal, sys, threading
from eventstore.errors import Closed
from tests.support.databases import TRADER, open_database

database = open_database(sys.argv[1], linger_ms=0.0, heartbeat_interval_s=0.01)
stop = threading.Event()
count = 0

def trade():
    global count
    while not stop.wait(0.0001):
        database.add("key", b"%d" % count)
        count += 1

def child(number):
    calls = [lambda: database.add("child", b"x"), lambda: database.update_actor(actor), database.load, database.sync,
             database.flush, lambda: database.load_order_ids()]
    for each in calls:
        try:
            each()
        except Closed:
            continue
        os._exit(1)
    if database.close() != 0:
        os._exit(2)
    if number == 0:
        sys.exit(3)  # in order, with everything that a process does at its end
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    globals().pop("database")
    gc.collect()
    os._exit(4)

class Actor:
    from eventstore.model.identifiers import ComponentId
    id = ComponentId("child")
    def save(self):
        return {}

actor = Actor()
trading = threading.Thread(target=trade)
trading.start()
ends = []
for number in range(6):
    pid = os.fork()
    if pid == 0:
        child(number % 3)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
trading.join()
print(*ends, flush=True)
print(count, database.stats().retries, database.close(), flush=True)
"""


def test_row_29_a_forked_child_owns_nothing_and_writes_nothing(redis_server: RedisServer, redis_url: str) -> None:
    """Children are forked while a thread trades; they call, close, exit in order, are killed, or throw the database
    away: every call of theirs is refused, and the parent's connection and log are as if they had never been."""
    with PythonProcess(FORKING, redis_url, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"}) as process:
        assert process.line() == "3 -9 4 3 -9 4"
        count, retries, not_written = map(int, process.line().split())
        assert process.join() == 0
    assert (retries, not_written) == (0, 0)
    log = [command for command in written(redis_server) if not isinstance(command, c.Heartbeat)]
    assert log == [c.Add("key", b"%d" % number) for number in range(count)]


# -- Row 30: the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 700])
def test_row_30_a_close_without_a_server_returns_what_is_not_written(
    count: int, fresh_server: RedisServer, told: Told
) -> None:
    """The number that close returns, and logs, is exactly that of the accepted commands that are not in the log,
    whether they wait, are being collected or were sent."""
    with open_database(fresh_server.url, logger=told, timeout_s=0.5, batch_count_max=100) as database:
        accepted = [call(database, number) for number in range(50)]
        database.sync()
        fresh_server.kill()
        accepted += [call(database, number) for number in range(50, 50 + count)]
        assert database.close(0.1) == count
        assert database.close() == count
    level, values = told.wait_for("closed with commands not written")
    assert (level, values["not_written"]) == ("error", count)
    assert "can not be reached" in values["reason"]
    fresh_server.start()
    assert written(fresh_server) == accepted[:50]


def test_row_30_a_close_of_a_hanging_server_is_bounded(fresh_server: RedisServer, told: Told) -> None:
    """Close gives up after its timeout, and one answer's: what is in doubt counts as not written."""
    with open_database(fresh_server.url, logger=told, timeout_s=0.3) as database:
        database.sync()
        fresh_server.pause()
        try:
            for number in range(10):
                call(database, number)
            began = time.monotonic()
            assert database.close(0.1) == 10
            assert time.monotonic() - began < 0.1 + 0.3 + 1 + 1
        finally:
            fresh_server.resume()
    assert told.wait_for("closed with commands not written")[1]["not_written"] == 10


ENDING = """
import sys, threading
from tests.support.databases import TRADER, open_database

class Printed:
    def bind(self, **values):
        return self
    def __getattr__(self, level):
        if level.startswith("_"):
            raise AttributeError(level)
        return lambda event, **values: print(level, event, values.get("not_written"), flush=True)

database = open_database(sys.argv[1], logger=Printed(), timeout_s=0.3, close_timeout_s=0.1, linger_ms=0.0)
database.sync()
print("go", flush=True)
input()
for number in range(100):
    database.add("key", b"%d" % number)
if sys.argv[2] == "raises":
    raise SystemExit("the host has had enough")
"""


@pytest.mark.parametrize("way", ["returns", "raises"])
def test_row_30_an_exit_without_a_server_is_bounded_and_logs_what_is_not_written(
    way: str, fresh_server: RedisServer
) -> None:
    """A process that ends, in order or with an error, waits for a server that hangs no longer than it was told to, and
    says how many commands were not written."""
    with PythonProcess(ENDING, fresh_server.url, way) as process:
        assert process.line() == "info opened a new log None"
        assert process.line() == "go"
        fresh_server.pause()
        try:
            began = time.monotonic()
            process.tell()
            lines = list(iter(process.line, ""))
            assert process.join() == (1 if way == "raises" else 0)
            assert time.monotonic() - began < 10.0
        finally:
            fresh_server.resume()
    assert lines[-1] == "error closed with commands not written 100"


@pytest.mark.parametrize("way", ["returns", "raises"])
def test_row_30_an_exit_writes_what_was_accepted(way: str, redis_server: RedisServer, redis_url: str) -> None:
    """Nobody called close: everything that was accepted is there all the same, and the epoch ends well."""
    with PythonProcess(ENDING, redis_url, way) as process:
        assert process.line() == "info opened a new log None"
        assert process.line() == "go"
        process.tell()
        assert process.line() == "info closed None"
        assert process.join() == (1 if way == "raises" else 0)
    assert written(redis_server) == [c.Add("key", b"%d" % number) for number in range(100)]
    with redis_server.client() as client:
        assert isinstance(check_log(client, KEYS)[-1].command, c.ClosedWell)


# -- Row 31: the writer dies of a bug ----------------------------------------------------------------------------------


class Bug(Exception):
    """Not one that anybody foresaw."""


def test_row_31_a_writer_that_dies_of_a_bug_says_so(
    redis_server: RedisServer, redis_url: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health flips, the next call raises with the cause, who waits is told at once, and close counts what is not
    written: everything behind the last whole batch."""
    seal = Appender.seal

    def broken(self: Appender, first_position: int, entries: list[Any]) -> Any:
        if any(isinstance(entry.command, c.Add) and entry.command.key == "poison" for entry in entries):
            raise Bug("a bug in the writer")
        return seal(self, first_position, entries)

    monkeypatch.setattr(Appender, "seal", broken)
    with open_database(redis_url, logger=told) as database:
        accepted = [call(database, number) for number in range(50)]
        database.sync()
        database.add("poison", b"x")
        level, values = told.wait_for(STOPPED, "a bug in the writer")
        assert (level, values["kind"]) == ("critical", "Bug")
        assert database.stats().health == "failed"
        for verb in (lambda: database.add("late", b"x"), database.sync, database.load):
            with pytest.raises(WriterFailed, match="a bug in the writer") as caught:
                verb()
            assert isinstance(caught.value.__cause__, Bug)
        assert database.close() == 1
    assert written(redis_server) == accepted


# -- Row 32: called from anywhere --------------------------------------------------------------------------------------


class Finalized:
    """Something that the host throws away, and that says goodbye to the database."""

    count = 0

    def __init__(self, database: RedisCacheDatabase) -> None:
        self._database = database
        self._cycle = self  # only the collector finds it, whenever that runs

    def __del__(self) -> None:
        Finalized.count += 1
        self._database.add(f"finalized {Finalized.count}", b"x" * 50)
        self._database.stats()


def test_row_32_a_call_from_a_finalizer_does_not_deadlock(redis_server: RedisServer, redis_url: str) -> None:
    """The collector runs in the middle of any call, on any thread, the writer's too: what finalizers write is there."""
    Finalized.count = 0
    before = gc.get_threshold()
    with open_database(redis_url, batch_count_max=10) as database:
        gc.set_threshold(5, 1, 1)
        try:
            for number in range(1000):
                Finalized(database)
                database.add(f"main {number}", b"x")
                if number % 200 == 0:
                    database.sync()
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert Finalized.count == 1000
        assert len(database.load()) == 2000
    written(redis_server)


def test_row_32_a_call_from_a_signal_handler_does_not_deadlock(redis_server: RedisServer, redis_url: str) -> None:
    """Whatever the interrupted call was doing, a wait in the handler too: nothing hangs and nothing is lost."""
    handled = 0

    def handle(number: int, frame: object) -> None:
        nonlocal handled
        handled += 1
        database.add(f"handled {handled}", b"x" * 100)
        if handled % 20 == 0:
            database.sync()
        database.stats()

    stop = threading.Event()

    def interrupt() -> None:
        while not stop.wait(0.0005):
            os.kill(os.getpid(), signal.SIGUSR1)

    with open_database(redis_url, batch_count_max=10) as database:
        before = signal.signal(signal.SIGUSR1, handle)
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        try:
            for number in range(2000):
                database.add(f"main {number}", b"x" * 100)
                if number % 100 == 0:
                    database.sync()
        finally:
            stop.set()
            interrupting.join(PATIENCE_S)
            signal.signal(signal.SIGUSR1, before)
        assert handled > 20
        assert len(database.load()) == 2000 + handled
    written(redis_server)


def test_row_32_a_close_from_a_signal_handler_does_not_deadlock(redis_server: RedisServer, redis_url: str) -> None:
    """A host that closes when it is told to end, in the middle of a call or of a wait: what was accepted is written."""
    script = """
import signal, sys, threading
from eventstore.errors import Closed
from tests.support.databases import TRADER, open_database
database = open_database(sys.argv[1], linger_ms=0.0)

def handle(number, frame):
    print(database.close(), flush=True)

signal.signal(signal.SIGUSR1, handle)
count = 0
print("go", flush=True)
try:
    while True:
        database.add("key", b"%d" % count)
        count += 1
        if count % 10 == 0:
            database.sync()
except Closed:
    print(count, flush=True)
"""
    with PythonProcess(script, redis_url) as process:
        assert process.line() == "go"
        os.kill(process.pid, signal.SIGUSR1)
        assert process.line() == "0"
        count = int(process.line())
        assert process.join() == 0
    assert len(written(redis_server)) == count


def test_row_32_a_call_from_a_log_handler_does_not_deadlock(redis_server: RedisServer, redis_url: str) -> None:
    """A logger that writes into the database it logs for: calls are taken, a wait for itself is refused."""
    refused: list[str] = []

    class Writing(Told):
        def warning(self, event: str, **values: Any) -> None:
            super().warning(event, **values)
            database.add("seen", event.encode())
            for wait in (database.sync, database.load, database.close, database.flush):
                try:
                    wait()
                except Refused:
                    refused.append(wait.__name__)

    told = Writing()
    with redis_server.client() as admin, open_database(redis_url, logger=told) as database:
        database.sync()
        for connection in admin.client_list(_type="normal"):
            if ":writer@" in connection["name"]:
                admin.client_kill_filter(_id=connection["id"])
        database.add("key", b"value")
        told.wait_for(BACK)
        assert database.load() == {"key": b"value", "seen": AWAY.encode()}
        assert refused[:4] == ["sync", "load", "close", "flush"]
        assert database.close() == 0


# -- Row 33: what can not be serialised --------------------------------------------------------------------------------


def unserialisable(database: RedisCacheDatabase) -> list[Callable[[], None]]:
    """Calls with something in them that has no bytes."""
    order = Order.create(initialized())
    return [
        lambda: database.add("key", "text"),  # type: ignore[arg-type]
        lambda: database.add("lone \udcff surrogate", b"x"),
        lambda: database.update_actor(State(ComponentId("A"), {"key": 1})),  # type: ignore[dict-item]
        lambda: database.update_actor(State(ComponentId("A"), {"\udcff": b"x"})),
        lambda: database.update_strategy(State(ComponentId("A"), [b"x"])),  # type: ignore[arg-type]
        lambda: database.add_order("order"),  # type: ignore[arg-type]
        lambda: database.update_order(order),
        lambda: database.heartbeat(datetime(2026, 1, 1)),  # noqa: DTZ001 - without a zone: that is the mistake
        lambda: database.heartbeat(datetime(1969, 1, 1, tzinfo=UTC)),
    ]


def test_row_33_a_value_that_can_not_be_serialised_raises_at_the_call(
    redis_server: RedisServer, redis_url: str, told: Told
) -> None:
    """Each mistake raises where it was made; nothing of it is in the log, and the calls around it are."""
    accepted = []
    with open_database(redis_url, logger=told) as database:
        for number, mistake in enumerate(unserialisable(database)):
            accepted.append(call(database, number))
            with pytest.raises((TypeError, Refused)):
                mistake()
        assert database.close() == 0
        assert database.stats().quarantined == 0
    assert written(redis_server) == accepted
    assert not told.all(STOPPED)


class Choosy(MsgPackSerializer):
    """A serializer that fails for one record: something that no check at the call could know."""

    def serialize(self, record: Record) -> bytes:
        if record == EUR:
            raise CodecError("no euros here")
        return super().serialize(record)


def test_row_33_what_only_shows_in_the_writer_is_quarantined_by_name_and_the_rest_goes_on(
    redis_server: RedisServer, redis_url: str, told: Told
) -> None:
    """Under load: its place in the log says which call it was and why, an alarm is logged, it is counted, and
    everything around it is written in order."""
    config = CacheDatabaseConfig(url=redis_url)
    with RedisCacheDatabase(TRADER, told, Choosy(), config) as database, Load(database) as load:
        load.go_on()
        for _ in range(3):
            database.add_currency(EUR)
            load.go_on(20)
        database.sync()
        assert database.stats().quarantined == 3
        assert database.stats().health == "healthy"
    log = written(redis_server)
    quarantined = [command for command in log if isinstance(command, c.Quarantined)]
    assert [(one.operation, one.key) for one in quarantined] == [("add_currency", "EUR")] * 3
    assert all("no euros here" in one.error for one in quarantined)
    assert [command for command in log if not isinstance(command, c.Quarantined)] == load.accepted
    assert len(told.all("a command could not be encoded")) == 3
