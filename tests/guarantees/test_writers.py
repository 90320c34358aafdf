"""Two writers for one trader: rows 20 and 21."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from eventstore import commands as c
from eventstore.errors import Fenced, WriterFailed
from eventstore.journal import read_records
from tests.support.databases import open_database
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.lives import Life, call_of
from tests.support.outages import AWAY, KEYS, STOPPED, Load, Told, call, connections, failed, until, written
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer


def test_row_20_of_two_writers_the_newer_epoch_wins(fresh_server: RedisServer, told: Told) -> None:
    """The older one's next call says who took over, and nothing of it is written any more."""
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


def test_row_20_the_older_writer_never_retries(redis_server: RedisServer, redis_url: str, told: Told) -> None:
    """Fenced is fatal: it is told once, no connection is made again, and the log is the newer one's alone; also where
    both write as fast as they can."""
    with redis_server.client() as admin, open_database(redis_url, logger=told) as first, Load(first) as load:
        load.go_on()
        with open_database(redis_url) as second:
            accepted = [call(second, number) for number in range(50)]
            second.sync()
            told.wait_for(STOPPED)
            with pytest.raises(AssertionError, match="the writer has stopped"):
                load.go_on()
            until(lambda: sum(":writer@" in name for name in connections(admin)) == 1)
            assert not told.all(AWAY)
            assert len(told.all(STOPPED)) == 1
            assert first.stats().retries == 0
        with pytest.raises(WriterFailed):
            first.add("late", b"x")
        load.forgive()
    log = written(redis_server)
    before, behind = log[:-50], log[-50:]
    assert behind == accepted
    assert before == load.accepted[: len(before)]


def test_row_20_the_owner_in_the_fence_is_who_opened_it(redis_server: RedisServer, redis_url: str) -> None:
    """What an error about a newer writer shows: host, process and instance."""
    with open_database(redis_url), redis_server.client() as admin:
        owner = json.loads(admin.hget(KEYS.writer, "owner") or b"")
    assert owner["pid"] == os.getpid()
    assert owner["host"]
    assert owner["instance"]


def test_row_21_what_a_paused_writer_had_sent_is_not_merged(redis_server: RedisServer, redis_url: str) -> None:
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


def test_row_21_the_unsent_tail_is_kept_aside(
    redis_server: RedisServer, redis_url: str, told: Told, tmp_path: Path
) -> None:
    """What the older one had accepted and the log has not: in a file of its own, at the positions that it would have
    had. Nobody writes it."""
    with FaultProxy(redis_server.socket_path) as proxy, open_database(redis_url) as before:
        accepted = [call(before, 1)]
        before.sync()
        with open_database(proxy.url, logger=told, linger_ms=0.0, aside=tmp_path) as first:
            last = first.sync()
            proxy.arm([Plan(Way.TO_SERVER, 0, Fault.LATE)])
            tail = [call(first, number) for number in range(300)]
            with open_database(redis_url) as second:
                accepted.append(call(second, 2))
                second.sync()
                proxy.release()
                failed(first, told, Fenced, "ended by epoch 3")
                assert first.close() == len(tail)
        proxy.drain()
    (path,) = tmp_path.iterdir()
    assert path == Path(told.wait_for(STOPPED)[1]["kept"])
    records = list(read_records(path))
    assert [c.decode(record.payload) for record in records] == tail
    assert [record.position for record in records] == list(range(last + 1, last + 1 + len(tail)))
    assert written(redis_server) == accepted


def test_row_21_the_tail_of_a_journal_that_somebody_else_overtook_is_set_aside(
    redis_server: RedisServer, redis_url: str, told: Told, tmp_path: Path
) -> None:
    """A node is killed with calls in its journal; another one, elsewhere, trades for that trader meanwhile. When the
    first one is started again its tail is set aside, and said so; it goes on behind what the other one wrote."""
    journal = tmp_path / "journal"
    with (
        FaultProxy(redis_server.socket_path) as proxy,
        Life(proxy.url, journal=journal) as node,
        redis_server.client() as admin,
    ):
        node.opened()
        node.go_on(100)
        until(lambda: int(admin.hget(KEYS.writer, "position") or 0) > 50)
        proxy.arm([Plan(Way.TO_SERVER, 0, Fault.LATE)])
        node.go_on(500)
        returned = node.die()
    with open_database(redis_url) as elsewhere:
        elsewhere.add("elsewhere", b"1")
    known = len(written(redis_server)) - 1
    for _ in range(2):
        told.forget()
        with open_database(redis_url, logger=told, journal=journal) as again:
            again.add("again", b"1")
    log = written(redis_server)
    assert log[:known] == [call_of(number) for number in range(known)]
    assert log[known:] == [c.Add("elsewhere", b"1"), c.Add("again", b"1"), c.Add("again", b"1")]
    (path,) = (journal / "aside").iterdir()
    tail = [c.decode(record.payload) for record in read_records(path)]
    assert tail == [call_of(number) for number in range(known, known + len(tail))]
    assert returned <= known + len(tail) <= returned + 1


NODE = """
import sys, threading, time
from eventstore.errors import WriterFailed
from tests.support.databases import open_database
database = open_database(sys.argv[1], linger_ms=0.0)
count = 0
try:
    while True:
        database.add("key", b"%d" % count)
        count += 1
        if count == 1000:
            database.sync()
            print("go", flush=True)
        if count > 1000:
            time.sleep(0.0005)
except WriterFailed as failed:
    print(type(failed.__cause__).__name__, "epoch 2" in str(failed), flush=True)
    print(count, database.close(), flush=True)
"""


def test_row_21_a_paused_process_that_wakes_up_is_fenced(redis_server: RedisServer, redis_url: str) -> None:
    """SIGSTOP in the middle of trading, a newer writer, SIGCONT: `Fenced`; of what the older one accepted the log has
    the beginning, and the rest is counted."""
    with PythonProcess(NODE, redis_url) as process:
        assert process.line() == "go"
        os.kill(process.pid, signal.SIGSTOP)
        with open_database(redis_url) as second:
            second.add("newer", b"1")
            second.sync()
            os.kill(process.pid, signal.SIGCONT)
            assert process.line() == "Fenced True"
            accepted, not_written = map(int, process.line().split())
            assert process.join() == 0
            second.add("newer", b"2")
    log = written(redis_server)
    assert log[-2:] == [c.Add("newer", b"1"), c.Add("newer", b"2")]
    assert log[:-2] == [c.Add("key", b"%d" % number) for number in range(len(log) - 2)]
    assert len(log) - 2 + not_written == accepted
