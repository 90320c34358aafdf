"""Outages under load: whatever server and network do, each accepted command is in the log once and in order, or the
caller is told exactly what is not."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis, RedisError

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.errors import (
    ConfigError,
    DataLoss,
    Diverged,
    Fenced,
    Held,
    Retryable,
    StorageError,
    SyncTimeout,
    WriterFailed,
)
from eventstore.keys import Keys
from eventstore.model.identifiers import ComponentId
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.logs import check_log, dump
from tests.support.node import State
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)
PATIENCE_S = 30.0
AWAY, BACK, STOPPED = "the server is not available", "the server is back", "the writer has stopped"
LAYOUT = Path(__file__).parents[1] / "docs" / "redis-layout.md"


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
            assert found is not None, f"{event!r} was not logged: {self._lines[-3:]}"
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


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, a bounded time."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(0.002)


def called(log: list[Any]) -> list[c.Command]:
    """The commands of a log that calls became."""
    return [line.command for line in log if not isinstance(line.command, c.Opened | c.ClosedWell)]


def written(server: RedisServer) -> list[c.Command]:
    with server.client() as client:
        return called(check_log(client, KEYS))


@pytest.fixture
def told() -> Told:
    return Told()


@contextmanager
def under_load(server: RedisServer, told: Told, url: str = "", **settings: Any) -> Iterator[tuple[Any, Load]]:
    """A database with calls coming in. At the end everything that was accepted has to be there, once and in order."""
    with open_database(url or server.url, logger=told, **settings) as database:
        with Load(database) as load:
            load.go_on()
            yield database, load
            load.go_on()
        assert database.close() == 0
    assert written(server) == load.accepted
    with server.client() as client:
        assert isinstance(check_log(client, KEYS)[-1].command, c.ClosedWell)
    assert told.wait_for("closed")[0] == "info"
    assert not told.all(STOPPED)


# -- The connection is lost -------------------------------------------------------------------------------------------

faults = st.sampled_from(Fault)
plans = st.one_of(
    st.builds(Plan, st.just(Way.TO_SERVER), st.integers(0, 30_000), st.just(Fault.CUT)),
    st.builds(Plan, st.just(Way.TO_CLIENT), st.integers(0, 400), st.just(Fault.CUT)),
    st.builds(Plan, st.just(Way.TO_SERVER), st.integers(0, 30_000), st.just(Fault.LATE)),
    st.builds(Plan, st.just(Way.TO_CLIENT), st.integers(0, 400), st.just(Fault.LATE)),
)


@given(
    todo=st.lists(plans, min_size=1, max_size=5),
    sizes=st.lists(st.sampled_from((1, 50, 3000)), min_size=1, max_size=60),
    batch_count_max=st.sampled_from((1, 3, 256)),
)
@example(todo=[Plan(Way.TO_SERVER, 9000)] * 4, sizes=[50] * 60, batch_count_max=3)
@example(todo=[Plan(Way.TO_CLIENT, 55)] * 4, sizes=[50] * 60, batch_count_max=3)
@effort(40)
def test_each_command_is_written_once_and_in_order_wherever_the_connection_breaks(
    redis_server: RedisServer, todo: list[Plan], sizes: list[int], batch_count_max: int
) -> None:
    """A request may break off at any byte, an answer may get lost at any byte, and both may arrive long after they
    were given up: the log is gapless, has what was accepted once and in order, and the views are its fold."""
    with redis_server.client() as client:
        client.flushall()
        with FaultProxy(redis_server.socket_path) as proxy:
            late = any(plan.fault is Fault.LATE for plan in todo)
            database = open_database(
                proxy.url, timeout_s=0.05 if late else 5.0, batch_count_max=batch_count_max, linger_ms=0.0
            )
            try:
                database.sync()
                proxy.arm(todo)
                accepted: list[c.Command] = []
                for number, size in enumerate(sizes):
                    accepted.append(call(database, number))
                    database.add("filler", b"x" * size)
                    accepted.append(c.Add("filler", b"x" * size))
                    if number == len(sizes) // 2:
                        database.sync()
                        proxy.release()
                database.sync()
            finally:
                not_written = database.close()
            proxy.release()
            proxy.drain()
        assert not_written == 0
        assert called(check_log(client, KEYS)) == accepted


@given(plan=plans.filter(lambda plan: plan.fault is Fault.CUT))
@effort(15)
def test_an_opening_that_is_interrupted_raises_and_the_next_one_goes_on(redis_server: RedisServer, plan: Plan) -> None:
    """A connection that breaks while a database is opened: it opens, or it raises that it can be tried again; either
    way what was written before is there and the log can be claimed."""
    with redis_server.client() as client:
        client.flushall()
        with open_database(redis_server.url) as before:
            before.add("a", b"1")
        with FaultProxy(redis_server.socket_path) as proxy:
            proxy.arm([plan])
            try:
                with open_database(proxy.url) as database:
                    database.add("a", b"2")
                    database.sync()
                expected = [c.Add("a", b"1"), c.Add("a", b"2")]
            except Retryable:
                expected = [c.Add("a", b"1")]
        with open_database(redis_server.url) as after:
            after.add("a", b"3")
        assert called(check_log(client, KEYS)) == [*expected, c.Add("a", b"3")]


def test_a_batch_that_arrives_after_it_was_given_up_is_there_once(redis_server: RedisServer, redis_url: str) -> None:
    """No answer in time: the batch is sent again on a new connection. When the first one arrives all the same, behind
    the second and behind later ones, it changes nothing."""
    with FaultProxy(redis_server.socket_path) as proxy:
        with open_database(proxy.url, timeout_s=0.1, linger_ms=0.0) as database:
            database.sync()
            proxy.arm([Plan(Way.TO_SERVER, 10, Fault.LATE)])
            accepted = [call(database, number) for number in range(20)]
            database.sync()
            assert proxy.happened == 1
            assert database.stats().retries >= 1
            with redis_server.client() as client:
                before = dump(client)
            proxy.release()
            accepted += [call(database, number) for number in range(20, 40)]
            database.sync()
            assert database.close() == 0
        proxy.drain()
    assert before.keys()
    assert written(redis_server) == accepted


def test_connections_that_are_killed_cost_nothing(fresh_server: RedisServer, told: Told) -> None:
    """CLIENT KILL, again and again: each time everything goes on behind a new connection."""
    with fresh_server.client() as admin, under_load(fresh_server, told) as (database, load):
        for _ in range(5):
            told.forget()
            admin.client_kill_filter(_type="normal", skipme=True)
            told.wait_for(BACK)
            load.go_on(20)
        assert database.stats().health == "healthy"


def test_a_server_that_forgets_scripts_gets_them_again(fresh_server: RedisServer, told: Told) -> None:
    """SCRIPT FLUSH under load is a short delay."""
    with fresh_server.client() as admin, under_load(fresh_server, told):
        for _ in range(5):
            told.forget()
            admin.script_flush()
            assert told.wait_for(AWAY, "does not have the script")[0] == "warning"
            told.wait_for(BACK)


# -- The server is away -----------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_and_started_again_loses_nothing(fresh_server: RedisServer, told: Told) -> None:
    """SIGKILL in the middle of batches, with a log on disk (appendfsync always): what was accepted before, during and
    after the outage is there once; nobody has to do anything."""
    with under_load(fresh_server, told, timeout_s=2.0) as (database, load):
        for _ in range(2):
            told.forget()
            fresh_server.kill()
            assert told.wait_for(AWAY, "can not be reached")[0] == "warning"
            load.go_on()
            stats = database.stats()
            assert stats.health == "degraded"
            assert stats.reason is not None
            assert stats.waiting + stats.in_doubt > 0
            fresh_server.start()
            told.wait_for(BACK)
            database.sync()
            assert (database.stats().health, database.stats().reason) == ("healthy", None)


def test_a_server_that_hangs_is_waited_for(fresh_server: RedisServer, told: Told) -> None:
    """SIGSTOP for longer than an answer may take: degraded, calls go on being accepted, a sync says what it waits for;
    after SIGCONT, when old and repeated batches arrive together, everything is there once."""
    with under_load(fresh_server, told, timeout_s=0.1) as (database, load):
        fresh_server.pause()
        try:
            told.wait_for(AWAY, "can not be reached")
            load.go_on()
            assert database.stats().health == "degraded"
            with pytest.raises(SyncTimeout, match=r"\d+ commands wait and \d+ are in doubt .* will be written"):
                database.sync(0.01)
            until(lambda: database.stats().retries >= 3)
        finally:
            fresh_server.resume()
        told.wait_for(BACK)
        database.sync()
        assert database.stats().health == "healthy"


@pytest.mark.parametrize("count", [1, 3, 700])
def test_a_close_without_a_server_returns_what_is_not_written(
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


def test_a_close_of_a_hanging_server_is_bounded(fresh_server: RedisServer, told: Told) -> None:
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


# -- The server refuses -----------------------------------------------------------------------------------------------


def test_a_server_without_memory_is_an_alarm_until_it_has_some(server_of_each_kind: RedisServer, told: Told) -> None:
    """OOM: held, logged as an error, nothing skipped; it recovers by itself when there is memory again."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (database, load):
        admin.config_set("maxmemory", "1")
        assert told.wait_for(AWAY, "raise maxmemory")[0] == "error"
        load.go_on()
        assert "raise maxmemory" in (database.stats().reason or "")
        admin.config_set("maxmemory", "0")
        told.wait_for(BACK)


def test_a_primary_that_becomes_a_replica_is_waited_for(server_of_each_kind: RedisServer, told: Told) -> None:
    """READONLY: retried until it is the primary again."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (_, load):
        admin.replicaof("127.0.0.1", "1")
        assert told.wait_for(AWAY, "this server is a replica")[0] == "warning"
        load.go_on()
        admin.replicaof("NO", "ONE")
        told.wait_for(BACK)


def as_documented(password: str) -> list[str]:
    """What docs/redis-layout.md says that a writer needs."""
    shown = re.search(r"```acl\nACL SETUSER node (.*?)```", LAYOUT.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    return shown[1].replace("PASSWORD", password).split()


def test_a_permission_that_is_taken_away_is_an_alarm_until_it_is_back(
    server_of_each_kind: RedisServer, told: Told
) -> None:
    """NOPERM: held, logged as an error; the permissions of the documentation are all that it takes."""
    server = server_of_each_kind
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "node", *as_documented("pw"))
        with under_load(server, told, url=server.url.replace("unix://", "unix://node:pw@")) as (database, load):
            database.sync()
            admin.execute_command("ACL", "SETUSER", "node", "-evalsha")
            assert told.wait_for(AWAY, "lacks a permission")[0] == "error"
            load.go_on()
            admin.execute_command("ACL", "SETUSER", "node", "+evalsha")
            told.wait_for(BACK)


def test_a_password_that_changes_is_an_alarm_until_it_is_the_right_one(fresh_server: RedisServer, told: Told) -> None:
    """WRONGPASS at a new connection: held, logged as an error."""
    url = fresh_server.url.replace("unix://", "unix://node:pw@")
    with fresh_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "node", *as_documented("pw"))
        with under_load(fresh_server, told, url=url):
            admin.execute_command("ACL", "SETUSER", "node", "resetpass", ">other")
            admin.client_kill_filter(_type="normal", skipme=True)
            assert told.wait_for(AWAY, "password is wrong")[0] == "error"
            admin.execute_command("ACL", "SETUSER", "node", "resetpass", ">pw")
            told.wait_for(BACK)


def test_a_server_busy_with_a_script_is_waited_for(server_of_each_kind: RedisServer, told: Told) -> None:
    """BUSY: retried until somebody ends the script."""
    server = server_of_each_kind
    with server.client() as admin, under_load(server, told) as (_, load):
        admin.config_set("lua-time-limit", "20")

        def occupy() -> None:
            with server.client(socket_timeout=PATIENCE_S) as client, pytest.raises(RedisError, match=r"[Kk]illed"):
                client.eval("while true do end", 0)

        busy = threading.Thread(target=occupy)
        busy.start()
        assert told.wait_for(AWAY, "runs a long script")[0] == "warning"
        load.go_on()
        admin.script_kill()
        busy.join(PATIENCE_S)
        told.wait_for(BACK)


# -- The log is not the one that was left -----------------------------------------------------------------------------


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


def test_a_server_that_was_emptied_stops_the_writer(fresh_server: RedisServer, told: Told) -> None:
    """FLUSHALL behind the writer's back: the next call raises and names the cause; nothing begins anew on the quiet."""
    with fresh_server.client() as admin, open_database(fresh_server.url, logger=told) as database:
        call(database, 1)
        database.sync()
        admin.flushall()
        for number in range(3):
            call(database, number)
        failed(database, told, Diverged, "the fence .* is gone: keys were deleted")
        assert database.close() == 3
        assert dump(admin) == {}


def test_a_server_that_comes_back_empty_stops_the_writer(told: Told) -> None:
    """Without persistence a restart loses everything: an alarm, not a new log."""
    with RedisServer() as server, open_database(server.url, logger=told) as database:
        call(database, 1)
        database.sync()
        server.restart()
        call(database, 2)
        failed(database, told, Diverged, "the fence .* is gone")
        with server.client() as admin:
            assert dump(admin) == {}


def test_a_server_that_comes_back_with_older_data_stops_the_writer(told: Told) -> None:
    """A restart that loses confirmed entries: the error says which positions."""
    with RedisServer() as server, open_database(server.url, logger=told, linger_ms=0.0) as database:
        call(database, 1)
        saved = database.sync()
        with server.client() as admin:
            admin.save()
        call(database, 2)
        confirmed = database.sync()
        server.restart()
        call(database, 4)
        failed(database, told, DataLoss, f"lost positions {saved + 1} to {confirmed}")


def test_whoever_waits_is_told_when_the_writer_stops(redis_server: RedisServer, redis_url: str, told: Told) -> None:
    """A sync that waits raises at once, long before its timeout."""
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            database.sync(PATIENCE_S)
        except WriterFailed as error:
            caught.append(error)

    with FaultProxy(redis_server.socket_path) as proxy, open_database(proxy.url, logger=told) as database:
        database.sync()
        proxy.arm([Plan(Way.TO_SERVER, 0, Fault.LATE)])
        call(database, 1)
        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: proxy.happened == 1)
        with redis_server.client() as admin:
            admin.flushall()
        proxy.release()
        waiting.join(PATIENCE_S / 2)
        assert [type(error.__cause__) for error in caught] == [Diverged]
        failed(database, told, Diverged, "is gone")


def test_a_second_database_ends_the_first(fresh_server: RedisServer, told: Told) -> None:
    """The newer one wins; the older one's next call says who took over, and nothing of it is written any more."""
    with open_database(fresh_server.url, logger=told) as first:
        accepted = [call(first, number) for number in range(10)]
        first.sync()
        with open_database(fresh_server.url) as second:
            call(first, 11)
            failed(first, told, Fenced, f'epoch 1 was ended by epoch 2, owner .*"pid": {os.getpid()}')
            accepted += [call(second, number) for number in range(20, 30)]
            assert second.stats().epoch == 2
            second.sync()
            assert first.close() == 1
            assert second.close() == 0
    assert written(fresh_server) == accepted


def test_a_paused_writer_that_wakes_up_is_ended_by_the_newer_one(redis_server: RedisServer, redis_url: str) -> None:
    """What the older one had sent arrives behind the newer one's claim: not a byte of it is merged."""
    told = Told()
    with FaultProxy(redis_server.socket_path) as proxy:
        with open_database(proxy.url, logger=told, linger_ms=0.0) as first:
            accepted = [call(first, number) for number in range(10)]
            first.sync()
            proxy.arm([Plan(Way.TO_SERVER, 0, Fault.LATE)])
            for number in range(10, 15):
                call(first, number)
            until(lambda: proxy.happened == 1)
            with open_database(redis_server.url) as second:
                accepted += [call(second, number) for number in range(20, 30)]
                second.sync()
                proxy.release()
                failed(first, told, Fenced, "ended by epoch 2")
                assert first.close() == 5
        proxy.drain()
    assert written(redis_server) == accepted


# -- Opening ----------------------------------------------------------------------------------------------------------


def connections(admin: Redis) -> list[str]:
    return [str(client["name"]) for client in admin.client_list() if "eventstore" in str(client["name"])]


@contextmanager
def nothing_left() -> Iterator[None]:
    """No thread is left behind. A socket left open is a warning, which fails the test."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl"])
def test_a_server_that_may_evict_is_refused(policy: str, fresh_server: RedisServer) -> None:
    """Unless it is allowed. Nothing was written, and the log of a writer at work is not taken over."""
    with fresh_server.client() as admin:
        admin.config_set("maxmemory-policy", policy)
        with nothing_left(), pytest.raises(ConfigError, match=f"may evict keys .maxmemory-policy {policy}"):
            open_database(fresh_server.url)
        assert dump(admin) == {}
        until(lambda: not connections(admin))
        with open_database(fresh_server.url, allow_eviction=True) as database:
            call(database, 1)
        assert len(written(fresh_server)) == 1


def test_nobody_listening_is_raised_at_once(tmp_path: Path) -> None:
    """A path without a server, a port without one: an error that names the trouble, in seconds, with nothing left."""
    for url in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1"):
        began = time.monotonic()
        with nothing_left(), pytest.raises(Retryable, match="can not be reached"):
            open_database(url)
        assert time.monotonic() - began < 5.0


def test_a_server_that_hangs_is_raised_in_time(fresh_server: RedisServer) -> None:
    """It takes a few timeouts, not for ever; nothing is left of it."""
    fresh_server.pause()
    try:
        began = time.monotonic()
        with nothing_left(), pytest.raises(Retryable, match="can not be reached"):
            open_database(fresh_server.url, timeout_s=0.1)
        assert time.monotonic() - began < 5.0
    finally:
        fresh_server.resume()
    with fresh_server.client() as admin:
        until(lambda: not connections(admin))
        assert dump(admin) == {}


def _wrong_password(admin: Redis) -> None:
    admin.config_set("requirepass", "other")


def _no_memory(admin: Redis) -> None:
    admin.config_set("maxmemory", "1")


def _foreign_log(admin: Redis) -> None:
    admin.set(KEYS.log, "x")


def _foreign_schema(admin: Redis) -> None:
    admin.set(KEYS.schema, "x")


def _foreign_currencies(admin: Redis) -> None:
    admin.set(KEYS.currencies, "x")


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (_wrong_password, Held),
        (_no_memory, Held),
        (_foreign_log, Diverged),
        (_foreign_schema, StorageError),
        (_foreign_currencies, StorageError),
    ],
)
def test_an_opening_that_fails_leaves_nothing_behind(
    trouble: Callable[[Redis], None], error: type[Exception], fresh_server: RedisServer
) -> None:
    """Whichever step is refused: the error is a storage error, and no thread and no connection is left."""
    with fresh_server.client() as admin:
        trouble(admin)
        with nothing_left(), pytest.raises(error):
            open_database(fresh_server.url)
        until(lambda: not connections(admin))


def test_the_owner_in_the_fence_is_who_opened_it(redis_server: RedisServer, redis_url: str) -> None:
    """What an error about a newer writer shows: host, process and instance."""
    with open_database(redis_url), redis_server.client() as admin:
        owner = json.loads(admin.hget(KEYS.writer, "owner") or b"")
    assert owner["pid"] == os.getpid()
    assert owner["host"]
    assert owner["instance"]


def test_values_of_components_survive_an_outage(fresh_server: RedisServer, told: Told) -> None:
    """What was accepted while the server was away is what a load gives afterwards."""
    with open_database(fresh_server.url, logger=told) as database:
        database.sync()
        fresh_server.kill()
        database.update_actor(State(ComponentId("Actor-1"), {"x": b"y"}))
        told.wait_for(AWAY)
        fresh_server.start()
        assert database.load_actor(ComponentId("Actor-1")) == {"x": b"y"}
