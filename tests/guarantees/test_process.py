"""The life of the process that writes: rows 29 to 33."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import CodecError, Refused, WriterFailed
from eventstore.journal import JournalRecord, read_records
from eventstore.keys import Keys
from eventstore.model.currencies import EUR
from eventstore.model.identifiers import ComponentId, TraderId
from eventstore.model.orders import Order
from eventstore.model.record import Record
from eventstore.storage.appender import Appender
from tests.support.databases import TRADER, open_database
from tests.support.logs import check_log, read_log
from tests.support.node import State
from tests.support.orders import initialized
from tests.support.outages import (
    AWAY,
    BACK,
    KEYS,
    PATIENCE_S,
    STOPPED,
    Load,
    Told,
    call,
    called,
    nothing_left,
    until,
    written,
)
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

# -- Row 29: fork ------------------------------------------------------------------------------------------------------

FORKING = """
import gc, os, signal, sys, threading
from eventstore.errors import Closed
from tests.support.databases import TRADER, open_database

journal = sys.argv[2] if len(sys.argv) > 2 else None
database = open_database(sys.argv[1], linger_ms=0.0, heartbeat_interval_s=0.01, journal=journal)
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


@pytest.mark.parametrize("journaled", [False, True], ids=["in memory", "journaled"])
def test_row_29_a_forked_child_owns_nothing_and_writes_nothing(
    journaled: bool, redis_server: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    """Children are forked while a thread trades; they call, close, exit in order, are killed, or throw the database
    away: every call of theirs is refused, and the parent's connection, journal and log are as if they had never been.
    """
    kept = [tmp_path / "journal"] if journaled else []
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}  # threads and a fork: that is what is tried
    with PythonProcess(FORKING, redis_url, *kept, env=quiet) as process:
        assert process.line() == "3 -9 4 3 -9 4"
        count, retries, not_written = map(int, process.line().split())
        assert process.join() == 0
    assert (retries, not_written) == (0, 0)
    if journaled:
        with open_database(redis_url, journal=kept[0]) as database:
            assert database.sync() == database.stats().applied
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


@pytest.mark.parametrize("count", [1, 700])
def test_row_30_what_a_close_could_not_write_is_kept_in_the_journal(
    count: int, fresh_server: RedisServer, tmp_path: Path, told: Told
) -> None:
    """It is counted, logged with where it is, and written by the next one that opens the journal."""
    journal = tmp_path / "journal"
    with open_database(fresh_server.url, logger=told, timeout_s=0.5, journal=journal) as database:
        accepted = [call(database, number) for number in range(50)]
        database.sync()
        fresh_server.kill()
        accepted += [call(database, number) for number in range(50, 50 + count)]
        assert database.close(0.1) == count
        assert database.close() == count
    values = told.wait_for("closed with commands not written")[1]
    assert (values["not_written"], values["kept"]) == (count, str(journal))
    fresh_server.start()
    assert written(fresh_server) == accepted[:50]
    with open_database(fresh_server.url, logger=told, journal=journal) as database:
        assert told.wait_for("writing what the journal still has")[0] == "warning"
        accepted.append(call(database, 1))
    assert written(fresh_server) == accepted


def test_row_30_what_a_close_could_not_write_is_set_aside_without_a_journal(
    fresh_server: RedisServer, tmp_path: Path, told: Told
) -> None:
    """In a file for people, named in the log line; nothing writes it behind their back."""
    with open_database(fresh_server.url, logger=told, timeout_s=0.5, aside=tmp_path) as database:
        accepted = [call(database, number) for number in range(50)]
        last = database.sync()
        fresh_server.kill()
        kept = [call(database, number) for number in range(50, 150)]
        assert database.close(0.1) == 100
    records = set_aside(told, "closed with commands not written", tmp_path)
    assert [record.position for record in records] == list(range(last + 1, last + 101))
    assert [c.decode(record.payload) for record in records] == kept
    fresh_server.start()
    with open_database(fresh_server.url, aside=tmp_path):
        pass
    assert written(fresh_server) == accepted


def test_row_30_what_a_close_leaves_behind_a_writer_that_hangs_is_set_aside(
    fresh_server: RedisServer, tmp_path: Path, told: Told
) -> None:
    """It connects anew, and whoever gives the credentials does not answer: so may a name that is looked up. When the
    writer comes back, nothing is written any more."""
    asked, answer = threading.Event(), threading.Event()

    def credentials() -> tuple[str, str]:
        if threading.current_thread().name.startswith("eventstore-writer") and told.all(AWAY):
            asked.set()
            assert answer.wait(PATIENCE_S)
        return "", "pw"

    with fresh_server.client() as admin:
        admin.config_set("requirepass", "pw")
    fresh_server.password = "pw"
    settings: dict[str, Any] = {"credentials": credentials, "timeout_s": 0.3, "aside": tmp_path}
    with open_database(fresh_server.url, logger=told, **settings) as database:
        accepted = [call(database, number) for number in range(50)]
        last = database.sync()
        writer = database._persister._writer
        with fresh_server.client() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        kept = [call(database, number) for number in range(50, 150)]
        assert asked.wait(PATIENCE_S)
        assert database.close(0.1) == 100
        records = set_aside(told, "closed with commands not written", tmp_path)
        assert [record.position for record in records] == list(range(last + 1, last + 101))
        assert [c.decode(record.payload) for record in records] == kept
        answer.set()
        assert writer.join(PATIENCE_S)
    assert written(fresh_server) == accepted


INTERRUPTED = """
import os, signal, sys, threading, time
import eventstore.persister
from tests.support.databases import open_database
from workers.writer import Writer
how, where, aside = sys.argv[2:]
database = open_database(sys.argv[1], aside=aside, timeout_s=0.5, close_timeout_s=0.1)
database.sync()
os.kill(int(input()), signal.SIGSTOP)
for number in range(1000):
    database.add("key", b"%d" % number)

def interrupting(call, at):
    calls = []
    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT if how == "a key" else signal.SIGTERM)
            time.sleep(0.1)
        return call(*arguments)
    return interrupted

if where == "waiting":
    Writer.join = interrupting(Writer.join, 2)
else:
    eventstore.persister.set_aside = interrupting(eventstore.persister.set_aside, 1)
if how == "a second signal":
    os.kill(os.getpid(), signal.SIGTERM)
elif how == "a thread":
    threading.Thread(target=database.close, args=(0.1,)).start()
    threading.Event().wait()
else:
    database.close()
"""


@pytest.mark.parametrize("where", ["waiting", "setting aside"])
@pytest.mark.parametrize("how", ["a signal", "a second signal", "a key", "a thread"])
def test_row_30_a_close_that_is_interrupted_keeps_what_is_not_written(
    how: str, where: str, fresh_server: RedisServer, tmp_path: Path
) -> None:
    """The server hangs, and before `close` is done the process is told to end, once more, or by Ctrl-C, or while it is
    another thread that closes."""
    with PythonProcess(INTERRUPTED, fresh_server.url, how, where, str(tmp_path)) as process:
        process.tell(str(fresh_server.pid))
        try:
            status = process.join()
        finally:
            fresh_server.resume()
    assert status == (-signal.SIGINT if how == "a key" else -signal.SIGTERM)
    (path,) = tmp_path.iterdir()
    values = [c.decode(record.payload) for record in read_records(path)]
    assert values == [c.Add("key", b"%d" % number) for number in range(1000)]


TOLD_TO_END = """
import os, signal, sys, threading
from tests.support.databases import open_database

class Printed:
    def bind(self, **values):
        return self
    def __getattr__(self, level):
        if level.startswith("_"):
            raise AttributeError(level)
        return lambda event, **values: os.write(1, f"{event} {values.get('not_written')}\\n".encode())

if sys.argv[2] == "handled":
    def handle(number, frame):
        os.write(1, b"handled\\n")
        raise SystemExit(7)
    signal.signal(signal.SIGTERM, handle)
settings = {"close_on_sigterm": False} if sys.argv[2] == "not wanted" else {}
database = open_database(sys.argv[1], logger=Printed(), timeout_s=0.3, close_timeout_s=0.2, **settings)
other = open_database(sys.argv[1], TraderId("OTHER-002"), **settings) if sys.argv[2] == "two" else None
number = 0
while True:
    database.add("key", b"%d" % number)
    if other is not None:
        other.add("key", b"%d" % number)
    number += 1
    os.write(1, b"%d\\n" % number)
    if number % 100 == 0:
        database.sync()
""".replace("import os, signal", "from eventstore.model import TraderId\nimport os, signal")


MANY = 500


def made_many(process: PythonProcess) -> None:
    """Wait until it has made so many calls."""
    assert any(line == str(MANY) for line in iter(process.line, ""))


def ended(process: PythonProcess) -> tuple[int, list[str]]:
    """The number of calls that returned before it ended, and what else it said."""
    lines = list(iter(process.line, ""))
    numbers = [int(line) for line in lines if line.isdigit()]
    return max(numbers, default=MANY), [line for line in lines if not line.isdigit()]


@pytest.mark.parametrize("way", ["alone", "two", "handled"])
def test_row_30_sigterm_writes_what_was_accepted_and_ends_the_process(
    way: str, redis_server: RedisServer, redis_url: str
) -> None:
    """In the middle of calls and waits. A host with a handler of its own is left alone: that handler ends it as it
    likes, and what was accepted is written at the exit."""
    with PythonProcess(TOLD_TO_END, redis_url, way) as process:
        made_many(process)
        os.kill(process.pid, signal.SIGTERM)
        count, said = ended(process)
        assert process.join() == (7 if way == "handled" else -signal.SIGTERM)
    assert said[-1] == "closed None"
    assert ("handled" in said) is (way == "handled")
    for trader in [KEYS, Keys(TraderId("OTHER-002"))][: 2 if way == "two" else 1]:
        with redis_server.client() as client:
            log = called(check_log(client, trader))
        assert count <= len(log) <= count + 1
        assert log == [c.Add("key", b"%d" % number) for number in range(len(log))]


def test_row_30_sigterm_without_a_server_is_bounded_and_logs_what_is_not_written(fresh_server: RedisServer) -> None:
    """A server that hangs does not keep a process that is told to end."""
    with PythonProcess(TOLD_TO_END, fresh_server.url, "alone") as process:
        made_many(process)
        fresh_server.pause()
        try:
            began = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            count, said = ended(process)
            assert process.join() == -signal.SIGTERM
            assert time.monotonic() - began < 10.0
        finally:
            fresh_server.resume()
    not_written = int(said[-1].removeprefix("closed with commands not written "))
    log = written(fresh_server)
    # What was in doubt may have been applied by the server when it went on.
    assert len(log) + not_written >= count
    assert log == [c.Add("key", b"%d" % number) for number in range(len(log))]


def test_row_30_sigterm_ends_a_process_at_once_that_does_not_want_it_handled(
    redis_server: RedisServer, redis_url: str
) -> None:
    """close_on_sigterm=False: the signal does what it always does, and nothing is said."""
    with PythonProcess(TOLD_TO_END, redis_url, "not wanted") as process:
        made_many(process)
        os.kill(process.pid, signal.SIGTERM)
        _, said = ended(process)
        assert process.join() == -signal.SIGTERM
    assert "closed" not in str(said)
    assert called(read_log(redis_server.client(), KEYS))


def test_row_30_a_database_that_is_dropped_is_written_and_its_thread_ends(
    redis_server: RedisServer, redis_url: str, told: Told
) -> None:
    """Nobody closed it and nobody has it any more: a ResourceWarning says so; what was accepted is written, the epoch
    ends well, and no thread is left."""
    others = {*threading.enumerate()}

    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in others]

    with nothing_left():
        only = [open_database(redis_url, logger=told, heartbeat_interval_s=0.01, linger_ms=5000.0)]
        accepted = [call(only[0], number) for number in range(100)]
        with pytest.warns(ResourceWarning, match="unclosed eventstore database"):
            dropped(only)
        until(lambda: not left(), lambda: f"there still are {left()}")
    log = [command for command in written(redis_server) if not isinstance(command, c.Heartbeat)]
    assert log == accepted
    with redis_server.client() as client:
        assert isinstance(check_log(client, KEYS)[-1].command, c.ClosedWell)


def dropped(only: list[RedisCacheDatabase]) -> None:
    """Throw away the one reference there is."""
    only.clear()
    gc.collect()


# -- Row 31: the writer dies of a bug ----------------------------------------------------------------------------------


class Bug(Exception):
    """Not one that anybody foresaw."""


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The writer breaks when it seals a batch with a certain command in it; undone when the bug is fixed."""
    seal = Appender.seal

    def broken(self: Appender, first_position: int, entries: list[Any]) -> Any:
        if any(isinstance(entry.command, c.Add) and entry.command.key == "poison" for entry in entries):
            raise Bug("a bug in the writer")
        return seal(self, first_position, entries)

    monkeypatch.setattr(Appender, "seal", broken)
    return monkeypatch


def stopped_by_the_bug(database: RedisCacheDatabase, told: Told) -> None:
    """Health flips, the next call raises with the cause, and who waits is told at once."""
    level, values = told.wait_for(STOPPED, "a bug in the writer")
    assert (level, values["kind"]) == ("critical", "Bug")
    assert database.health.state == "failed"
    assert "a bug in the writer" in (database.health.reason or "")
    for verb in (lambda: database.add("late", b"x"), database.sync, database.load):
        with pytest.raises(WriterFailed, match="a bug in the writer") as caught:
            verb()
        assert isinstance(caught.value.__cause__, Bug)


def test_row_31_a_writer_that_dies_of_a_bug_says_so_and_what_was_accepted_is_set_aside(
    redis_server: RedisServer, redis_url: str, told: Told, tmp_path: Path, bug: pytest.MonkeyPatch
) -> None:
    """Close counts what is not written: everything behind the last whole batch; a file has it."""
    changes: list[str] = []
    config = CacheDatabaseConfig(url=redis_url, linger_ms=50.0, aside=tmp_path)
    with RedisCacheDatabase(
        TRADER, told, config=config, on_health=lambda health: changes.append(health.state)
    ) as database:
        accepted = [call(database, number) for number in range(50)]
        database.sync()
        poison = [c.Add("before", b"1"), c.Add("poison", b"x"), c.Add("behind", b"1")]
        for command in poison:
            database.add(command.key, command.value)
        stopped_by_the_bug(database, told)
        assert database.close() == len(poison)
    assert changes == ["failed"]
    assert [c.decode(record.payload) for record in set_aside(told, STOPPED, tmp_path)] == poison
    assert written(redis_server) == accepted


def test_row_31_what_was_accepted_is_kept_for_the_journal(
    redis_server: RedisServer, redis_url: str, told: Told, tmp_path: Path, bug: pytest.MonkeyPatch
) -> None:
    """And is written when the journal is opened by a library without the bug."""
    settings: dict[str, Any] = {"logger": told, "journal": tmp_path / "journal", "linger_ms": 50.0}
    with open_database(redis_url, **settings) as database:
        accepted = [call(database, number) for number in range(50)]
        database.sync()
        poison = [c.Add("before", b"1"), c.Add("poison", b"x"), c.Add("behind", b"1")]
        for command in poison:
            database.add(command.key, command.value)
        stopped_by_the_bug(database, told)
        assert database.close() == len(poison)
    assert written(redis_server) == accepted
    bug.undo()
    with open_database(redis_url, **settings):
        pass
    assert written(redis_server) == [*accepted, *poison]


def set_aside(told: Told, event: str, directory: Path) -> list[JournalRecord]:
    """What is in the file that the log line `event` names, the only one in `directory`."""
    path = Path(told.wait_for(event)[1]["kept"])
    assert list(directory.iterdir()) == [path]
    return list(read_records(path))


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
    """Whatever the interrupted call was doing, a wait or a load, and if the handler waits or loads, too: nothing hangs
    and nothing is lost."""
    handled = 0

    def handle(number: int, frame: object) -> None:
        nonlocal handled
        handled += 1
        database.add(f"handled {handled}", b"x" * 100)
        if handled % 20 == 0:
            database.sync()
        elif handled % 20 == 10:
            assert database.load_orders().keys() == {order.client_order_id}
        database.stats()

    stop = threading.Event()

    def interrupt() -> None:
        while not stop.wait(0.0005):
            os.kill(os.getpid(), signal.SIGUSR1)

    order = Order.create(initialized())
    with open_database(redis_url, batch_count_max=10, load_timeout_s=5.0) as database:
        database.add_order(order)
        before = signal.signal(signal.SIGUSR1, handle)
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        try:
            for number in range(2000):
                database.add(f"main {number}", b"x" * 100)
                if number % 100 == 0:
                    database.sync()
                elif number % 10 == 0:
                    assert database.load_orders().keys() == {order.client_order_id}
        finally:
            stop.set()
            interrupting.join(PATIENCE_S)
            signal.signal(signal.SIGUSR1, before)
        assert handled > 20
        assert len(database.load()) == 2000 + handled
    written(redis_server)


def test_row_32_a_close_from_a_signal_handler_does_not_deadlock(redis_server: RedisServer, redis_url: str) -> None:
    """A host that closes when it is told to end, in the middle of a call, a wait or a load: what was accepted is
    written."""
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
        elif count % 10 == 5:
            database.load_orders()
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
    """A logger that writes into the database it logs for, and waits for it."""
    seen: list[bytes] = []

    class Writing(Told):
        def warning(self, event: str, **values: Any) -> None:
            database.add("seen", event.encode())
            database.sync()
            seen.append(database.load()["seen"])
            super().warning(event, **values)

    told = Writing()
    with redis_server.client() as admin, open_database(redis_url, logger=told) as database:
        database.sync()
        for connection in admin.client_list(_type="normal"):
            if ":writer@" in connection["name"]:
                admin.client_kill_filter(_id=connection["id"])
        database.add("key", b"value")
        told.wait_for(AWAY)
        assert database.load() == {"key": b"value", "seen": AWAY.encode()}
        assert seen[0] == AWAY.encode()
        assert database.close() == 0


def test_row_32_a_call_from_the_writers_own_thread_does_not_deadlock(fresh_server: RedisServer, told: Told) -> None:
    """As where credentials are asked for: calls are taken, a wait for itself is refused."""
    refused: list[str] = []

    def credentials() -> tuple[str, str]:
        if threading.current_thread().name.startswith("eventstore-writer") and not refused:
            database.add("seen", b"value")
            for wait in (database.sync, database.load, database.close, database.flush):
                with pytest.raises(Refused):
                    wait()
                refused.append(wait.__name__)
        return "", "pw"

    with fresh_server.client() as admin:
        admin.config_set("requirepass", "pw")
    fresh_server.password = "pw"
    with open_database(fresh_server.url, logger=told, credentials=credentials) as database:
        database.sync()
        with fresh_server.client() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        database.add("key", b"value")
        told.wait_for(BACK)
        assert database.load() == {"key": b"value", "seen": b"value"}
        assert refused == ["sync", "load", "close", "flush"]


@pytest.mark.parametrize("host", ["logs all the time", "logs what it is told of the health"])
def test_row_32_a_signal_that_interrupts_a_logger_does_not_deadlock(host: str, fresh_server: RedisServer) -> None:
    """It holds a lock then, and does not let go before the signal was handled; and whoever writes has something to
    log, too. What was accepted is written, and the process ends by the signal."""
    script = """
import os, signal, sys, threading
import structlog
from tests.support.databases import open_database
out = open(os.devnull, "w")
structlog.configure(logger_factory=structlog.PrintLoggerFactory(out), cache_logger_on_first_use=True)
log = structlog.get_logger()
told = {} if sys.argv[2] == "logs all the time" else {"on_health": lambda health: log.error(health.state)}
database = open_database(sys.argv[1], logger=log, close_timeout_s=30, timeout_s=0.3, **told)
for number in range(1000):
    database.add("key", b"%d" % number)
print("go", flush=True)
while True:
    log.info("tick")
"""
    with PythonProcess(script, fresh_server.url, host) as process:
        assert process.line() == "go"
        fresh_server.restart()  # of which there is something to say
        os.kill(process.pid, signal.SIGTERM)
        assert process.join() == -signal.SIGTERM
    assert len(written(fresh_server)) == 1000


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
    assert len(told.all("a command could not be written")) == 3


def test_row_33_with_a_journal_whatever_can_not_be_serialised_raises_at_the_call(
    redis_server: RedisServer, redis_url: str, told: Told, tmp_path: Path
) -> None:
    """The call itself makes the bytes: nothing is accepted that has none, and nothing is quarantined later."""
    config = CacheDatabaseConfig(url=redis_url, journal=tmp_path / "journal")
    with RedisCacheDatabase(TRADER, told, Choosy(), config) as database, Load(database) as load:
        load.go_on()
        for _ in range(3):
            with pytest.raises(
                Refused, match=r"add_currency EUR: it can not be stored .*no euros here.* nothing was accepted"
            ):
                database.add_currency(EUR)
            load.go_on(20)
        database.sync()
        assert database.stats().quarantined == 0
    assert written(redis_server) == load.accepted
