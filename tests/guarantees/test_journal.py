"""What is kept here, on disk or in memory, until the server has it: rows 22 to 28; and 14, 15, 18 for a new process."""

from __future__ import annotations

import errno
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.errors import BacklogFull, DataLoss, JournalDamaged, JournalError, JournalRefused, SyncTimeout
from eventstore.journal import Journal, files, read_records
from eventstore.model.identifiers import ComponentId
from tests.support.databases import TRADER, open_database
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.lives import Life, accounted, call_of
from tests.support.logs import check_log, dump, read_fence
from tests.support.node import State
from tests.support.outages import AWAY, BACK, KEYS, Load, Told, all_written, call, under_load, until, written
from tests.support.processes import ROOT, PythonProcess
from tests.support.redis_server import RedisServer

TORN = "dropped a torn record of the journal"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal is kept."""
    return tmp_path / "journal"


def unwritten(server: RedisServer, journal: Path, count: int = 300) -> int:
    """Leave a journal with calls in it that never reached `server`: the number of calls."""
    with Life(server.url, journal=journal) as node:
        node.opened()
        node.go_on(100)
        server.pause()
        node.go_on(count)
        returned = node.die()
    server.resume()
    return returned


# -- Row 22: kill -9 ---------------------------------------------------------------------------------------------------


def test_row_22_kill_9_at_any_moment_loses_no_call_that_returned(fresh_server: RedisServer, journal: Path) -> None:
    """Life after life on one journal, killed while the server takes what comes, or hangs: the next opening writes what
    is not in the log yet, before anything new, at the positions that it had."""
    count = 0
    for life in range(6):
        with Life(fresh_server.url, count, journal=journal, journal_segment_bytes=1 << 16) as node:
            node.opened()
            node.go_on(100 + 211 * life)
            if life % 2:
                fresh_server.pause()
                node.go_on(1000)
            returned = node.die()
        fresh_server.resume()
        with open_database(fresh_server.url, journal=journal):
            pass
        count = accounted(fresh_server, returned)


def place_of(number: int, journal: Path) -> list[Path]:
    """The file that has call `number`."""
    payload = c.encode(call_of(number))
    return [path for path in journal.glob("*.seg") if payload in path.read_bytes()]


def _flipped(data: bytearray, first: int, last: int) -> None:
    data[(first + last) // 2] ^= 0x10


def _half(data: bytearray, first: int, last: int) -> None:
    data[(first + last) // 2 : last] = bytes(last - (first + last) // 2)


def _cut_off(data: bytearray, first: int, last: int) -> None:
    del data[(first + last) // 2 :]


@pytest.mark.parametrize("how", [_flipped, _half, _cut_off])
def test_row_22_a_torn_record_is_dropped_and_all_before_it_replay(
    how: Callable[[bytearray, int, int], None], fresh_server: RedisServer, journal: Path, told: Told
) -> None:
    """The last record is not whole, as when the process is killed while it writes it: that one is dropped, and said so;
    every one before it is written."""
    last = unwritten(fresh_server, journal)
    if not place_of(last, journal):
        last -= 1  # no call was being made when it was killed
    payload = c.encode(call_of(last))
    (path,) = place_of(last, journal)
    data = bytearray(path.read_bytes())
    first = data.rindex(payload)
    how(data, first, first + len(payload))
    path.write_bytes(data)
    with open_database(fresh_server.url, logger=told, journal=journal):
        level, values = told.wait_for(TORN)
    assert (level, values["path"]) == ("warning", str(path))
    assert accounted(fresh_server, last) == last


def position(admin: Redis) -> int:
    """The last position that was applied, besides the entry that opened the log."""
    return int(read_fence(admin, KEYS)["position"]) - 1


# -- Row 23: killed in between -----------------------------------------------------------------------------------------


def test_row_23_killed_after_the_server_applied_and_the_replay_is_a_no_op(
    fresh_server: RedisServer, journal: Path
) -> None:
    """The server has everything, and the process was killed before it knew: nothing is written twice."""
    with FaultProxy(fresh_server.socket_path) as proxy, fresh_server.client() as admin:
        with Life(proxy.url, journal=journal, linger_ms=0.0) as node:
            node.opened()
            node.go_on(100)
            until(lambda: position(admin) >= 100)
            proxy.arm([Plan(Way.TO_CLIENT, 0, Fault.LATE)])
            node.go_on(1000)
            until(lambda: position(admin) > 100)  # and nobody was told
            returned = node.die()
        with open_database(fresh_server.url, journal=journal):
            pass
    accounted(fresh_server, returned)


# -- Rows 14, 15 and 18: the server lost something while the node was down ---------------------------------------------


@contextmanager
def set_back(server: RedisServer, calls: Callable[[], None]) -> Iterator[None]:
    """Let `calls` be made, and give `server` back the data that it had before; its fence may be older, too."""
    with server.client() as admin:
        admin.save()
        calls()
    server.restart()
    yield


def test_row_14_15_what_the_server_lost_while_the_node_was_down_is_written_again(journal: Path, told: Told) -> None:
    """Two lives on one journal, both closed in order; the server comes back as it was before the second, or between its
    calls. The third one writes what is missing, at its positions, before anything new, in an epoch above all others."""
    accepted: list[c.Command] = []

    def live(first: int) -> None:
        with open_database(server.url, journal=journal) as database:
            accepted.extend(call(database, number) for number in range(first, first + 50))

    with RedisServer() as server:
        live(0)
        with set_back(server, lambda: live(50)), open_database(server.url, logger=told, journal=journal) as database:
            assert told.wait_for("writing what the journal still has")[0] == "warning"
            accepted.append(call(database, 1))
            assert database.stats().epoch == 3
        assert written(server) == accepted
        with server.client() as client:
            opened = [line.command for line in check_log(client, KEYS) if isinstance(line.command, c.Opened)]
        assert [command.epoch for command in opened] == [1, 2, 3]


def test_row_15_what_the_journal_does_not_reach_is_raised_at_the_opening(journal: Path) -> None:
    """The server went back behind what the journal still has: the opening raises the range, and changes nothing."""
    settings: dict[str, Any] = {"journal": journal, "journal_segment_bytes": 1 << 14, "retained_bytes_max": 1024}

    def live(count: int) -> None:
        with open_database(server.url, **settings) as database:
            for number in range(count):
                database.add("key", b"%d" % number * 100)
                if number % 20 == 0:
                    database.sync()

    with RedisServer() as server:
        live(1)
        with server.client() as admin:
            known = int(read_fence(admin, KEYS)["position"])
        with set_back(server, lambda: live(1000)), server.client() as admin:
            fence = read_fence(admin, KEYS)
            for _ in range(2):
                with pytest.raises(DataLoss, match="Restore the server's data") as caught:
                    open_database(server.url, **settings)
                first = min(record.position for path in journal.glob("*.seg") for record in read_records(path))
                assert (caught.value.first, caught.value.last) == (known + 1, first - 1)
            assert read_fence(admin, KEYS) == fence


@pytest.mark.parametrize("whole", [True, False])
def test_row_18_an_empty_server_gets_the_log_anew_from_a_whole_journal_only(
    whole: bool, journal: Path, told: Told
) -> None:
    """A node starts on a journal, and its server has nothing any more: an alarm, never a silent fresh start. What the
    journal has from the first position on is written anew; if it does not reach back to it, the opening raises."""
    settings: dict[str, Any] = {"journal": journal} if whole else {
        "journal": journal, "journal_segment_bytes": 1 << 14, "retained_bytes_max": 1024
    }  # fmt: skip
    with RedisServer() as server:
        with open_database(server.url, **settings) as database:
            accepted = []
            for number in range(500):
                accepted.append(call(database, number))
                if number % 20 == 0:
                    database.sync()
        server.restart()
        if whole:
            with open_database(server.url, logger=told, **settings):
                assert told.wait_for("the log is gone: writing it anew from the journal")[0] == "error"
            assert written(server) == accepted
        else:
            with pytest.raises(DataLoss, match="the log is gone") as caught:
                open_database(server.url, **settings)
            assert caught.value.first == 1
            with server.client() as admin:
                assert dump(admin) == {}


# -- Row 24: the local disk --------------------------------------------------------------------------------------------

FULL_DISK = """
import json, os, resource, sys, time
from eventstore.errors import BacklogFull
from tests.support.databases import open_database
database = open_database(sys.argv[1], **json.loads(sys.argv[2]))

def until_full(number):
    try:
        while True:
            database.add("key-%d" % (number % 50), b"%d" % number)
            number += 1
    except BacklogFull as error:
        while database.health.state != "degraded":
            time.sleep(0.001)
        print(number, error, flush=True)
        return number

unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, unlimited[1]))
number = until_full(0)
input()
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
while True:
    try:
        database.add("key-%d" % (number % 50), b"%d" % number)
        break
    except BacklogFull:
        time.sleep(0.001)
number += 1
database.sync()
while database.health.state != "healthy":
    time.sleep(0.001)
print(number, database.close(), flush=True)
"""


@pytest.mark.parametrize("policy", ["raise", "block", "spill"])
def test_row_24_a_full_disk_refuses_calls_by_the_overflow_policy(
    policy: str, redis_server: RedisServer, redis_url: str, journal: Path
) -> None:
    """No file can be made any more, for real: calls are refused by name and not accepted, the process lives, health is
    degraded. With room again all goes on by itself; what was accepted is in the log, and nothing else."""
    settings = {"journal": str(journal), "journal_segment_bytes": 1 << 16, "on_full": policy, "block_timeout_s": 0.05}
    with PythonProcess(FULL_DISK, redis_url, json.dumps(settings)) as process:
        accepted, said = process.line().split(maxsplit=1)
        assert int(accepted) > 100
        assert "not accepted" in said
        assert "the journal takes no more" in said
        process.tell()
        again, not_written = map(int, process.line().split())
        assert (again, not_written) == (int(accepted) + 1, 0)
        assert process.join() == 0
    assert accounted(redis_server, again) == again


class Disk:
    """Syncs files, but for one, which it refuses from when it is told to; and remembers what it was asked for."""

    def __init__(self) -> None:
        self._sync = files.sync_file
        self.refusing = False
        self.refused: list[int] = []

    def sync_file(self, fd: int) -> None:
        file = os.fstat(fd).st_ino
        if file in self.refused or (self.refusing and not self.refused):
            self.refused.append(file)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(fd)


def test_row_24_a_file_whose_fsync_failed_is_never_synced_again(
    fresh_server: RedisServer, journal: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk loses a write and says so once: the journal goes on in another file. What was in the first one does not
    count as journaled until the server has it; health says why. Nothing is lost."""
    disk = Disk()
    monkeypatch.setattr(files, "sync_file", disk.sync_file)
    settings: dict[str, Any] = {"journal": journal, "journal_fsync_interval_ms": 5.0, "timeout_s": 0.5}
    with open_database(fresh_server.url, logger=told, **settings) as database, Load(database) as load:
        load.go_on()
        database.sync(level="journaled")
        fresh_server.pause()
        disk.refusing = True
        until(lambda: database.health.state == "degraded" and "could not be synced" in (database.health.reason or ""))
        load.go_on()
        with pytest.raises(SyncTimeout, match="not journaled within"):
            database.sync(0.2, level="journaled")
        fresh_server.resume()
        load.go_on()
        database.sync()
        database.sync(5.0, level="journaled")
        until(lambda: database.health.state == "healthy")
    assert len(disk.refused) == 1
    all_written(fresh_server, told, load)


def accepts(database: RedisCacheDatabase, value: bytes) -> bool:
    """Whether a call with `value` is accepted."""
    try:
        database.add("key", value)
    except (JournalError, BacklogFull):
        return False
    return True


def test_row_24_a_call_whose_fsync_fails_twice_is_refused(
    redis_server: RedisServer, redis_url: str, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With journal_fsync "always" a call that could not be made safe raises, and is not in the log."""
    broken = False
    sync_file = files.sync_file

    def sync(fd: int) -> None:
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync_file(fd)

    monkeypatch.setattr(files, "sync_file", sync)
    with open_database(redis_url, journal=journal, journal_fsync="always", on_full="raise") as database:
        database.add("key", b"1")
        broken = True
        for _ in range(3):
            with pytest.raises((JournalError, BacklogFull), match="add key: not accepted"):
                database.add("key", b"2")
        until(lambda: database.health.state == "degraded")
        broken = False
        until(lambda: accepts(database, b"3"))
        until(lambda: database.health.state == "healthy")
    assert written(redis_server) == [c.Add("key", b"1"), c.Add("key", b"3")]


# -- Rows 25 and 26: a journal that can not be used --------------------------------------------------------------------


def test_row_25_a_journal_damaged_in_the_middle_is_refused_and_can_be_salvaged(
    fresh_server: RedisServer, journal: Path
) -> None:
    """A byte changed in a record with others behind it: no opening; the error names file and offset, and the command.
    The server is untouched. After the salvage everything else is written, with a note in the place of the lost one."""
    returned = unwritten(fresh_server, journal)
    damaged = returned - 50
    (path,) = place_of(damaged, journal)
    data = bytearray(path.read_bytes())
    at = data.index(c.encode(call_of(damaged)))
    data[at + 3] ^= 0xFF
    path.write_bytes(data)
    with fresh_server.client() as admin:
        before = read_fence(admin, KEYS)
        for _ in range(2):
            with pytest.raises(JournalDamaged, match=f"eventstore journal inspect {journal}") as caught:
                open_database(fresh_server.url, journal=journal)
            assert caught.value.path == path
            assert caught.value.offset <= at
            assert str(caught.value.offset) in str(caught.value)
        assert read_fence(admin, KEYS) == before
    salvage = [sys.executable, "-m", "eventstore", "journal", "salvage", journal, "--json"]
    done = subprocess.run(salvage, check=True, capture_output=True, cwd=ROOT)
    assert [lost["file"] for lost in json.loads(done.stdout)["lost"]] == [path.name]
    with open_database(fresh_server.url, journal=journal):
        pass
    log = written(fresh_server)
    note = log[damaged]
    assert isinstance(note, c.Quarantined)
    assert note.operation == "journal"
    assert [*log[:damaged], call_of(damaged), *log[damaged + 1 :]] == [call_of(number) for number in range(len(log))]
    assert returned <= len(log) <= returned + 1


def _of_another_trader(journal: Path) -> None:
    Journal.open(journal, "OTHER-002", schema_version=c.VERSION, owner="other").close()


def _of_a_newer_schema(journal: Path) -> None:
    Journal.open(journal, str(TRADER), schema_version=c.VERSION + 1, owner="newer").close()


@pytest.mark.parametrize(
    ("make", "said"), [(_of_another_trader, "OTHER-002"), (_of_a_newer_schema, f"version {c.VERSION + 1}")]
)
def test_row_26_the_journal_of_another_trader_or_of_a_newer_schema_is_refused(
    make: Callable[[Path], None], said: str, redis_server: RedisServer, redis_url: str, journal: Path
) -> None:
    """By name, with nothing changed: neither in the journal nor at the server."""
    make(journal)
    before = {path: path.read_bytes() for path in journal.glob("*.seg")}
    with redis_server.client() as admin:
        with pytest.raises(JournalRefused, match=said):
            open_database(redis_url, journal=journal)
        assert read_fence(admin, KEYS) == {}
    assert {path: path.read_bytes() for path in journal.glob("*.seg")} == before


def test_row_26_a_journal_in_use_is_refused_until_its_process_ends(fresh_server: RedisServer, journal: Path) -> None:
    """However that ends. The one that has it is not disturbed: the log is not taken over either."""
    with Life(fresh_server.url, journal=journal) as node:
        node.opened()
        node.go_on(100)
        with pytest.raises(JournalRefused, match="in use"):
            open_database(fresh_server.url, journal=journal)
        node.go_on(20_000)  # more than a pipe holds: it goes on
        returned = node.die()
    with open_database(fresh_server.url, journal=journal) as database:
        assert database.stats().epoch == 2
    accounted(fresh_server, returned)


# -- Row 27: a long outage ---------------------------------------------------------------------------------------------


def until_full(database: Any, size: int = 1000) -> list[c.Command]:
    """Call until a call is refused: what was accepted before it."""
    accepted: list[c.Command] = []
    while len(accepted) < 1_000_000:
        value = b"%09d" % len(accepted) * (size // 9)
        try:
            database.add("key", value)
        except BacklogFull:
            return accepted
        accepted.append(c.Add("key", value))
    raise AssertionError("it never was full")


@pytest.mark.parametrize("bound", [{"backlog_bytes_max": 100_000}, {"backlog_count_max": 100}], ids=["bytes", "count"])
@pytest.mark.parametrize("policy", [{"on_full": "raise"}, {"on_full": "block", "block_timeout_s": 0.05}], ids=str)
def test_row_27_a_long_outage_is_bounded_and_what_is_refused_is_counted(
    bound: dict[str, Any], policy: dict[str, Any], fresh_server: RedisServer, told: Told
) -> None:
    """A server that hangs: calls are accepted up to the bound, in bytes or in commands, and from there on the policy
    applies: refused at once, or after a wait, by name and counted. When the server is back, what was accepted is
    written, all of it and nothing else, and calls are taken again."""
    settings: dict[str, Any] = {"batch_count_max": 5, "timeout_s": 0.2, **bound, **policy}
    with open_database(fresh_server.url, logger=told, **settings) as database:
        database.sync()
        fresh_server.pause()
        try:
            accepted = until_full(database)
            # The writer took some batches before it found out; the rest is what the bound allows.
            assert len(accepted) >= 100 - 10
            assert database.stats().waiting <= 111
            for number in range(3):
                with pytest.raises(
                    BacklogFull, match=r"add late: not accepted, \d+ of \d+ commands and \d+ of \d+ bytes"
                ):
                    database.add("late", b"%d" % number * 1000)
            assert database.stats().refused == 4
            assert bool(database.stats().blocked) is (policy["on_full"] == "block")
        finally:
            fresh_server.resume()
        database.sync()
        database.add("again", b"1")
        assert database.close() == 0
    assert written(fresh_server) == [*accepted, c.Add("again", b"1")]


def test_row_27_what_does_not_fit_in_memory_spills_to_the_journal(
    fresh_server: RedisServer, journal: Path, told: Told
) -> None:
    """Room for a hundred commands in memory, and thousands that come during an outage: none waits and none is refused;
    those beyond the bound are counted, and read back from the disk in their turn."""
    settings: dict[str, Any] = {"journal": journal, "on_full": "spill", "backlog_count_max": 100, "batch_count_max": 5}
    with under_load(fresh_server, told, timeout_s=0.5, **settings) as (database, load):
        fresh_server.kill()
        load.go_on(3000)
        stats = database.stats()
        assert stats.waiting + stats.in_doubt >= 2900
        assert stats.spilled > 2500
        assert (stats.blocked, stats.refused) == (0, 0)
        fresh_server.start()
        told.wait_for(BACK)
        database.sync()
        assert database.stats().health == "healthy"


@pytest.mark.parametrize("policy", [{"on_full": "spill"}, {"on_full": "raise"}, {"on_full": "block"}], ids=str)
def test_row_27_the_journal_is_bounded_in_bytes_too(
    policy: dict[str, Any], fresh_server: RedisServer, journal: Path, told: Told
) -> None:
    """With all the memory there is: the journal takes what its bound allows, and from there on calls are refused by
    name and counted. When the server is back, the journal gets room again; all that was accepted is written."""
    bounds: dict[str, Any] = {"journal_segment_bytes": 1 << 16, "journal_bytes_max": 1 << 19, "block_timeout_s": 0.05}
    settings = {"journal": journal, "timeout_s": 0.2, "retained_bytes_max": 1024, **bounds, **policy}
    with open_database(fresh_server.url, logger=told, **settings) as database:
        database.sync()
        fresh_server.pause()
        try:
            accepted = until_full(database)
            assert (1 << 18) < len(accepted) * 1000 < (1 << 19)
            used = sum(path.stat().st_size for path in journal.glob("*.seg"))
            assert used <= 1 << 19
            with pytest.raises(BacklogFull, match=r"add late: not accepted, .*the journal takes no more"):
                database.add("late", b"x" * 1000)
            assert database.stats().refused == 2
        finally:
            fresh_server.resume()
        database.sync()
        until(lambda: accepts(database, b"again"))
        assert database.close() == 0
    assert written(fresh_server) == [*accepted, c.Add("key", b"again")]


@pytest.mark.parametrize("again", [False, True], ids=["by the same process", "by the next one"])
def test_row_19_27_a_journal_that_filled_up_while_nothing_was_durable_has_room_again(
    again: bool, journal: Path, told: Told
) -> None:
    """The replica hangs, so the journal keeps everything, and is full; when the replica is back, calls are accepted
    again, and go on being accepted, though nothing was applied meanwhile that would let anything go."""
    bounds: dict[str, Any] = {"journal_segment_bytes": 1 << 14, "journal_bytes_max": 1 << 18, "on_full": "raise"}
    settings = {"journal": journal, "logger": told, "close_timeout_s": 0.1, "timeout_s": 0.5, **bounds}
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        replica.follow(primary)
        with open_database(primary.url, durability="replicated(1)", retained_bytes_max=65_536, **settings) as database:
            database.sync(level="durable")
            replica.pause()
            accepted = until_full(database)
            database.sync()
            if not again:
                replica.resume()
                accepted += accepted_in_time(database, 1000)
        if again:
            replica.resume()
            with open_database(primary.url, **settings) as database:
                accepted += accepted_in_time(database, 1000)
        assert written(primary) == accepted


def test_row_27_what_a_small_journal_retains_leaves_room_for_what_is_to_come(journal: Path, told: Told) -> None:
    """It is bounded to less than what is to be retained, and nothing is ever refused while the server takes all."""
    bounds: dict[str, Any] = {"journal_segment_bytes": 1 << 14, "journal_bytes_max": 1 << 17}
    with RedisServer() as server:
        with open_database(server.url, logger=told, journal=journal, **bounds) as database:
            accepted = accepted_in_time(database, 1000)
            assert database.stats().refused == 0
        assert written(server) == accepted


def accepted_in_time(database: RedisCacheDatabase, count: int) -> list[c.Command]:
    """Make so many calls, each as soon as there is room."""
    commands: list[c.Command] = []
    for number in range(count):
        value = b"%d" % number * 100
        until(lambda value=value: accepts(database, value), "there is never room again")  # type: ignore[misc]
        commands.append(c.Add("key", value))
    return commands


# -- Row 28: the drain after it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spills", [False, True], ids=["in memory", "spilled"])
def test_row_28_the_drain_after_an_outage_keeps_the_order(
    spills: bool, fresh_server: RedisServer, journal: Path, told: Told
) -> None:
    """Thousands of commands of several kinds, in hundreds of batches, from memory or from the journal: in the order of
    acceptance, with new ones coming in meanwhile."""
    kept: dict[str, Any] = {"journal": journal, "on_full": "spill", "backlog_count_max": 50} if spills else {}
    with under_load(fresh_server, told, timeout_s=0.5, batch_count_max=32, **kept) as (database, load):
        fresh_server.kill()
        load.go_on(5000)
        waiting = database.stats()
        assert waiting.waiting + waiting.in_doubt >= 5000
        fresh_server.start()
        told.wait_for(BACK)
        database.sync()


def test_row_28_what_was_accepted_during_an_outage_is_what_a_load_gives(fresh_server: RedisServer, told: Told) -> None:
    """The state of a component, saved while the server was away."""
    with open_database(fresh_server.url, logger=told) as database:
        database.sync()
        fresh_server.kill()
        database.update_actor(State(ComponentId("Actor-1"), {"x": b"y"}))
        told.wait_for(AWAY)
        fresh_server.start()
        assert database.load_actor(ComponentId("Actor-1")) == {"x": b"y"}


def drained(server: RedisServer, told: Told, **settings: Any) -> list[float]:
    """How late the host's loop of half a millisecond is, in seconds, each time, while an outage's calls are written."""
    pause = threading.Event()
    late = []
    told.forget()
    with open_database(server.url, logger=told, **settings) as database:
        database.sync()
        server.kill()
        for number in range(20_000):
            call(database, number)
        told.wait_for(AWAY)
        server.start()
        until(lambda: database.stats().in_doubt < database.stats().waiting)
        while database.stats().waiting:
            began = time.perf_counter()
            pause.wait(0.0005)
            late.append(time.perf_counter() - began - 0.0005)
        assert database.close() == 0
    return late


@pytest.mark.parametrize("spills", [False, True], ids=["in memory", "spilled"])
def test_row_28_the_drain_leaves_the_host_its_time(
    spills: bool, fresh_server: RedisServer, journal: Path, told: Told
) -> None:
    """While tens of thousands of commands are written, the loop of another thread is late by much less than the switch
    interval, by which a thread that never lets go of the interpreter delays every other one."""
    kept: dict[str, Any] = {"journal": journal, "on_full": "spill", "backlog_count_max": 50} if spills else {}
    medians = []
    for _ in range(3):  # the machine has other things to do, too
        late = drained(fresh_server, told, **kept)
        assert len(late) > 20
        medians.append(statistics.median(late))
        if medians[-1] < sys.getswitchinterval() / 2:
            return
    raise AssertionError(f"late by {medians} s")
