"""What a server refuses, forgets or loses: rows 7 to 18."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from eventstore import commands as c
from eventstore.errors import (
    ConfigError,
    DataLoss,
    Diverged,
    Held,
    Retryable,
    StorageError,
    SyncTimeout,
    WriterFailed,
)
from eventstore.journal import JournalRecord, read_records
from eventstore.model.identifiers import ComponentId
from tests.support.databases import open_database
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.logs import dump
from tests.support.outages import (
    AWAY,
    BACK,
    KEYS,
    PATIENCE_S,
    STOPPED,
    Told,
    call,
    connections,
    failed,
    nothing_left,
    under_load,
    until,
    written,
)
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer, server_binaries
from workers.sink import Regressed

LAYOUT = ROOT / "docs" / "redis-layout.md"


# -- Row 7: a primary becomes a replica --------------------------------------------------------------------------------


def replicates(admin: Redis) -> bool:
    """Whether a replica is in step with its primary."""
    facts = admin.info("replication")
    return facts["role"] == "slave" and facts["master_link_status"] == "up"


@contextmanager
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica, in step."""
    config = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
    with (
        RedisServer(tcp=True, config=config) as primary,
        RedisServer(tcp=True, config=config) as replica,
        primary.client() as source,
        replica.client() as admin,
    ):
        admin.replicaof("127.0.0.1", str(primary.port))
        until(lambda: replicates(admin) and source.info("replication")["slave0"]["state"] == "online")
        yield primary, replica


def test_row_07_readonly_and_the_writer_goes_on_at_the_new_primary(told: Told) -> None:
    """Another server is promoted under load, in order (FAILOVER). The old one answers READONLY; as soon as connections
    lead to the new one, the fence there is compared, and everything goes on at its position."""
    with (
        pair() as (primary, replica),
        FaultProxy(primary.socket_path) as proxy,
        primary.client() as old,
        under_load(replica, told, proxy.url) as (database, load),
    ):
        old.execute_command("FAILOVER", "TO", "127.0.0.1", replica.port)
        assert told.wait_for(AWAY, "this server is a replica")[0] == "warning"
        load.go_on()
        assert database.stats().health == "degraded"
        proxy.point_at(replica.socket_path)
        told.wait_for(BACK)
        database.sync()
        assert database.stats().health == "healthy"
        until(lambda: replicates(old))


def test_row_07_readonly_is_waited_for(server_of_each_kind: RedisServer, told: Told) -> None:
    """Retried until it is the primary again."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (_, load):
        admin.replicaof("127.0.0.1", "1")
        assert told.wait_for(AWAY, "this server is a replica")[0] == "warning"
        load.go_on()
        admin.replicaof("NO", "ONE")
        told.wait_for(BACK)


# -- Rows 8 to 11: it refuses ------------------------------------------------------------------------------------------


def test_row_08_noreplicas_backs_off_and_health_is_degraded(server_of_each_kind: RedisServer, told: Told) -> None:
    """min-replicas-to-write: refused until there are enough, or fewer will do."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (database, load):
        admin.config_set("min-replicas-to-write", "1")
        assert told.wait_for(AWAY, "too few replicas")[0] == "warning"
        load.go_on()
        stats = database.stats()
        assert stats.health == "degraded"
        assert "too few replicas" in (stats.reason or "")
        admin.config_set("min-replicas-to-write", "0")
        told.wait_for(BACK)
        database.sync()
        assert database.stats().health == "healthy"


def test_row_09_oom_is_an_alarm_until_there_is_memory(server_of_each_kind: RedisServer, told: Told) -> None:
    """Held, logged as an error, nothing skipped; it recovers by itself when there is memory again."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (database, load):
        admin.config_set("maxmemory", "1")
        assert told.wait_for(AWAY, "raise maxmemory")[0] == "error"
        load.go_on()
        assert "raise maxmemory" in (database.stats().reason or "")
        admin.config_set("maxmemory", "0")
        told.wait_for(BACK)


def test_row_10_misconf_is_an_alarm_until_the_server_can_persist(server_of_each_kind: RedisServer, told: Told) -> None:
    """A server whose snapshots fail takes no writes: held, logged as an error."""
    server = server_of_each_kind
    with server.client() as admin, under_load(server, told) as (database, load):
        obstacle = server.directory / "dump.rdb" / "full"
        obstacle.parent.mkdir()  # a directory where the snapshot should be
        obstacle.touch()
        admin.config_set("save", "3600 1")
        admin.bgsave()
        assert told.wait_for(AWAY, "can not persist to its disk")[0] == "error"
        load.go_on()
        assert database.stats().health == "degraded"
        obstacle.unlink()
        obstacle.parent.rmdir()
        admin.bgsave()
        told.wait_for(BACK)


def as_documented(password: str) -> list[str]:
    """What docs/redis-layout.md says that a writer needs."""
    shown = re.search(r"```acl\nACL SETUSER node (.*?)```", LAYOUT.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    return shown[1].replace("PASSWORD", password).split()


def test_row_11_noperm_is_an_alarm_until_the_permission_is_back(server_of_each_kind: RedisServer, told: Told) -> None:
    """Held, logged as an error; the permissions of the documentation are all that it takes."""
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


def test_row_11_wrongpass_is_an_alarm_until_the_password_is_the_right_one(
    fresh_server: RedisServer, told: Told
) -> None:
    """At a new connection: held, logged as an error."""
    url = fresh_server.url.replace("unix://", "unix://node:pw@")
    with fresh_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "node", *as_documented("pw"))
        with under_load(fresh_server, told, url=url):
            admin.execute_command("ACL", "SETUSER", "node", "resetpass", ">other")
            admin.client_kill_filter(_type="normal", skipme=True)
            assert told.wait_for(AWAY, "password is wrong")[0] == "error"
            admin.execute_command("ACL", "SETUSER", "node", "resetpass", ">pw")
            told.wait_for(BACK)


def test_row_11_noauth_is_an_alarm_until_no_password_is_asked_for(server_of_each_kind: RedisServer, told: Told) -> None:
    """A server that gets a password: the next connection is refused, held, logged as an error."""
    server = server_of_each_kind
    with server.client() as admin, under_load(server, told) as (_, load):
        admin.config_set("requirepass", "new")
        admin.client_kill_filter(_type="normal", skipme=True)
        assert told.wait_for(AWAY, "wants a password")[0] == "error"
        load.go_on()
        admin.config_set("requirepass", "")
        told.wait_for(BACK)


# -- Row 13: a wrong key in the way ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [KEYS.log, KEYS.general, KEYS.lives, KEYS.positions, KEYS.positions_open, KEYS.position("P-9"), KEYS.actors],
)
def test_row_13_a_wrong_key_in_the_way_is_found_before_the_first_write(
    name: str, server_of_each_kind: RedisServer, told: Told
) -> None:
    """Somebody put text where a stream, hash or set belongs. The batch has other commands before and behind the one
    that meets it: none of them shows, and the error names the key and what it is."""
    with server_of_each_kind.client() as admin, open_database(server_of_each_kind.url, logger=told) as database:
        accepted = [call(database, number) for number in range(20)]
        database.sync()
        admin.delete(name)
        admin.set(name, "x")
        before = dump(admin)
        database.add("before", b"1")
        database._persister.accept("p", "P-9", c.WritePosition, ("P-9", 0, True, [b"fill"], b"basis"))
        database.delete_actor(ComponentId("Actor-9"))
        database.add("behind", b"1")
        failed(database, told, Diverged, f"{re.escape(name)} is a string")
        assert dump(admin) == before
        assert database.close() == 4
        assert accepted


# -- Rows 14 and 15: it lost what it had confirmed --------------------------------------------------------------------

WENT_BACK = "the log went back: what is retained is written again"


def test_row_14_what_a_restart_lost_is_written_again_at_the_same_positions(told: Told) -> None:
    """A server comes back with the data of some moments ago, under load, again and again: what it had confirmed since
    is written from the retained window, once and in order."""
    with RedisServer() as server, under_load(server, told) as (database, load):
        for _ in range(3):
            told.forget()
            with server.client() as admin:
                admin.save()
            load.go_on()
            confirmed = database.sync()
            server.restart()
            level, values = told.wait_for(WENT_BACK)
            assert level == "error"
            assert values["position"] < confirmed <= values["applied"]
            told.wait_for(BACK)
            database.sync()
            assert database.stats().health == "healthy"


def test_row_14_a_load_waits_until_what_was_lost_is_there_again(told: Told) -> None:
    """Everything is applied and nobody writes when the server comes back with older data: a load does not give those.
    It finds out, and waits until what was confirmed is written again."""
    with RedisServer() as server, open_database(server.url, logger=told) as database:
        database.add("key", b"1")
        database.sync()
        with server.client() as admin:
            admin.save()
        database.add("key", b"2")
        confirmed = database.sync()
        server.restart()
        assert database.load() == {"key": b"2"}
        assert told.all(WENT_BACK)
        assert database.sync() == confirmed


@pytest.mark.parametrize("written_again", [False, True])
@pytest.mark.parametrize("at_one_moment", [False, True])
def test_row_14_what_was_lost_between_the_look_and_the_read_is_no_answer(
    at_one_moment: bool, written_again: bool, told: Told
) -> None:
    """The server is set back after a load saw that it has everything, and before it reads; even if all of it is there
    again when the load looks once more, it reads again."""
    with RedisServer() as server, open_database(server.url, logger=told) as database:
        database.add("key", b"1")
        database.sync()
        with server.client() as admin:
            admin.save()
        database.add("key", b"2")
        database.sync()
        reads: list[dict[str, bytes]] = []

        def read() -> dict[str, bytes]:
            if not reads:
                server.restart()
            found = database._persister.reader.hash(KEYS.general)
            if not reads and written_again and not at_one_moment:
                database.add("other", b"")
                database.sync()
                told.wait_for(WENT_BACK)
                database.sync()
            reads.append(found)
            return found

        assert database._persister.read(read, PATIENCE_S, at_one_moment)["key"] == b"2"
        assert reads[0] == {"key": b"1"}
        assert len(reads) == 2


@pytest.mark.parametrize("noticed_in", [1, 2])
def test_row_14_a_loss_that_is_noticed_while_a_load_looks_is_noticed(
    noticed_in: int, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is set back about when it is read, as before; the writer learns it just while a look at the fence is
    on its way, the one before the reading or the one behind it, and has written all of it again by then."""
    with RedisServer() as server, open_database(server.url, logger=told) as database:
        persister = database._persister
        database.sync()
        with server.client() as admin:
            admin.save()
        database.add("key", b"2")
        position = database.sync()
        missing, looks = persister._missing, []

        def look(position: int) -> tuple[str | None, bytes]:
            looks.append(position)
            found = missing(position)
            if len(looks) == noticed_in:
                server.restart()
                persister._writer.doubt(Regressed(ValueError("somebody saw it")))
                told.wait_for(WENT_BACK)
                until(lambda: missing(position)[0] is None)
            return found

        monkeypatch.setattr(persister, "_missing", look)
        reads = iter(["what a server has that was set back", "everything"])
        assert persister.read(lambda: next(reads), PATIENCE_S) == "everything"
        assert persister._writer.applied.position >= position


def test_row_14_what_the_window_does_not_reach_is_raised_with_its_exact_range(told: Told, tmp_path: Path) -> None:
    """A window of a thousand bytes, and a server that lost more: the error says which positions nobody has any more,
    and nothing is written on top. What is still here is counted, with what is lost, and set aside."""
    with (
        RedisServer() as server,
        open_database(server.url, logger=told, linger_ms=0.0, retained_bytes_max=1024, aside=tmp_path) as database,
    ):
        call(database, 1)
        saved = database.sync()
        with server.client() as admin:
            admin.save()
            for number in range(20):
                database.add("key", b"%d" % number * 50)
                confirmed = database.sync()
            server.restart()
        database.add("late", b"x")
        failed(database, told, DataLoss, f"had confirmed positions {saved + 1} to [0-9]+ and lost them")
        with pytest.raises(WriterFailed) as caught:
            database.sync()
        loss = caught.value.__cause__
        assert isinstance(loss, DataLoss)
        assert loss.first == saved + 1
        assert saved + 1 < loss.last == database.stats().retained_from - 1 < confirmed
        assert database.close() == 20 + 1
    kept = set_aside(told, tmp_path)
    assert [record.position for record in kept] == list(range(loss.last + 1, confirmed + 2))
    assert c.decode(kept[-1].payload) == c.Add("late", b"x")


def set_aside(told: Told, directory: Path) -> list[JournalRecord]:
    """What is in the file, the only one in `directory`, that the writer named when it stopped."""
    path = Path(told.wait_for(STOPPED)[1]["kept"])
    assert list(directory.iterdir()) == [path]
    assert told.wait_for("closed with commands not written")[1]["kept"] == str(path)
    return list(read_records(path))


def test_row_15_a_failover_that_lost_applied_writes_is_made_good(told: Told) -> None:
    """A replica is promoted while the old primary still takes writes and confirms them; then that one dies. At the new
    one the fence is behind: what was confirmed and lost is written there, at the same positions."""
    with (
        pair() as (primary, replica),
        FaultProxy(primary.socket_path) as proxy,
        replica.client() as new,
        under_load(replica, told, proxy.url) as (database, load),
    ):
        until(lambda: int(new.hget(KEYS.writer, "position") or 0) > 100)
        new.replicaof("NO", "ONE")
        load.go_on(500)
        confirmed = database.sync()
        proxy.point_at(replica.socket_path)
        primary.kill()
        level, values = told.wait_for(WENT_BACK)
        assert level == "error"
        assert values["position"] < confirmed <= values["applied"]
        told.wait_for(BACK)
        database.sync()
        assert database.stats().health == "healthy"


def test_row_15_a_failover_beyond_the_window_is_raised_with_its_exact_range(told: Told, tmp_path: Path) -> None:
    """The new primary lost the end of the epoch before, which only the process that wrote it had: exactly that is what
    the error names, and nobody is accused of having taken over. What is still here is counted and set aside."""
    with pair() as (primary, replica), FaultProxy(primary.socket_path) as proxy, replica.client() as new:
        with open_database(proxy.url) as before:
            before.add("key", b"1")
            replicated = before.sync()
            with primary.client() as old:
                assert old.wait(1, 10_000) == 1
            new.replicaof("NO", "ONE")
            before.add("key", b"2")
        with open_database(proxy.url, logger=told, aside=tmp_path) as database:
            claimed = database.sync() - 1  # behind the entry that opened it
            database.add("key", b"3")
            database.sync()
            proxy.point_at(replica.socket_path)
            primary.kill()
            database.add("key", b"4")
            failed(database, told, DataLoss, f"had confirmed positions {replicated + 1} to {claimed} and lost them")
            with pytest.raises(WriterFailed) as caught:
                database.sync()
            loss = caught.value.__cause__
            assert isinstance(loss, DataLoss)
            assert (loss.first, loss.last) == (replicated + 1, claimed)
            assert database.close() == 2
    opened, *kept = (c.decode(record.payload) for record in set_aside(told, tmp_path))
    assert isinstance(opened, c.Opened)
    assert kept == [c.Add("key", b"3"), c.Add("key", b"4")]


# -- Rows 16 and 19: applied, and not durable --------------------------------------------------------------------------

SHORT, MET = "not as durable as asked for", "as durable as asked for again"


def test_row_16_what_an_old_primary_acknowledges_in_a_partition_is_not_durable(told: Told) -> None:
    """Its replica has been promoted and it does not know: it goes on confirming, and the durable watermark stands still
    and says why. At the new primary all of it is written, and durable as soon as that one has a replica."""
    with (
        pair() as (primary, replica),
        FaultProxy(primary.socket_path) as proxy,
        replica.client() as new,
        under_load(replica, told, proxy.url, durability="replicated(1)", close_timeout_s=1.0) as (database, load),
    ):
        durable = database.sync(level="durable")
        new.replicaof("NO", "ONE")
        assert told.wait_for(SHORT, "0 of 1 replicas")[0] == "warning"
        load.go_on()
        confirmed = database.sync(level="applied")
        stats = database.stats()
        assert durable <= stats.durable < confirmed <= stats.applied
        with pytest.raises(SyncTimeout, match=r"not durable within .*0 of 1 replicas"):
            database.sync(0.1, level="durable")
        assert database.health.state == "degraded"
        held = database.stats().durable
        primary.kill()
        proxy.point_at(replica.socket_path)
        told.wait_for(WENT_BACK)
        assert database.sync(level="applied") >= confirmed
        assert database.stats().durable <= held
        with RedisServer(tcp=True, config={"repl-ping-replica-period": "1"}) as another, another.client() as admin:
            admin.replicaof("127.0.0.1", str(replica.port))
            told.wait_for(MET)
            assert database.sync(level="durable") >= confirmed
            until(lambda: database.health.state == "healthy")


@pytest.fixture
def waitaof_server() -> Iterator[RedisServer]:
    """A server that knows WAITAOF, without an append-only file."""
    binary = next(binary for name, binary in server_binaries().items() if "Valkey" in name)
    with RedisServer(binary=binary, config={"appendfsync": "always"}) as server:
        yield server


def test_row_19_waitaof_without_a_file_holds_the_watermark_and_says_so(waitaof_server: RedisServer, told: Told) -> None:
    """The append-only file is off: applied goes on, durable stands still, an alarm names the setting. Switched on, it
    is durable without anybody doing more."""
    with (
        waitaof_server.client() as admin,
        under_load(waitaof_server, told, durability="aof(1, 0)", close_timeout_s=30.0) as (database, load),
    ):
        assert told.wait_for(SHORT, "appendonly")[0] == "error"
        load.go_on()
        applied = database.sync()
        assert database.stats().durable < applied
        with pytest.raises(SyncTimeout, match=r"not durable within .*appendonly"):
            database.sync(0.1, level="durable")
        assert database.health.state == "degraded"
        admin.config_set("appendonly", "yes")
        told.wait_for(MET)
        assert database.sync(level="durable") >= applied
        assert database.health.state == "healthy"


def test_row_19_wait_falls_short_while_a_replica_hangs(told: Told) -> None:
    """Two were asked for, one answers: the watermark holds and says how many; it goes on when the other one does."""
    with (
        pair() as (primary, replica),
        RedisServer(tcp=True) as second,
        second.client() as admin,
        under_load(primary, told, durability="replicated(2)", close_timeout_s=30.0) as (database, load),
    ):
        admin.replicaof("127.0.0.1", str(primary.port))
        database.sync(level="durable")
        replica.pause()
        try:
            load.go_on()
            told.wait_for(SHORT, "1 of 2 replicas")
            applied = database.sync()
            assert database.stats().durable < applied
        finally:
            replica.resume()
        assert database.sync(level="durable") >= applied
        until(lambda: database.health.state == "healthy")


# -- Rows 17 and 18: it is empty ---------------------------------------------------------------------------------------


def _flushed(admin: Redis) -> None:
    admin.flushall()


def _expired(admin: Redis) -> None:
    admin.pexpire(KEYS.writer, 1)
    until(lambda: not admin.exists(KEYS.writer))


def _evicted(admin: Redis) -> None:
    """For real, by a policy that was set after the opening: a write makes the server look for room."""
    admin.config_set("maxmemory-policy", "allkeys-random")
    admin.config_set("maxmemory", "1")
    with pytest.raises(OutOfMemoryError):
        admin.set("more", "x")
    admin.config_set("maxmemory", "0")
    assert admin.dbsize() == 0


@pytest.mark.parametrize("verb", ["load", "load_orders", "keys"])
@pytest.mark.parametrize("how", [_flushed, _expired, _evicted])
def test_row_17_18_a_load_from_a_server_that_was_emptied_is_an_alarm(
    how: Callable[[Redis], None], verb: str, fresh_server: RedisServer, told: Told
) -> None:
    """Nothing is waiting to be written: a load finds out by itself, and gives nothing rather than an empty state."""
    with fresh_server.client() as admin, open_database(fresh_server.url, logger=told) as database:
        call(database, 1)
        database.sync()
        how(admin)
        with pytest.raises(WriterFailed, match=r"the fence .* is gone: keys were deleted") as caught:
            getattr(database, verb)()
        assert type(caught.value.__cause__) is Diverged
        failed(database, told, Diverged, "is gone")
        assert database.close() == 0


@pytest.mark.parametrize("how", [_flushed, _expired, _evicted])
def test_row_17_keys_that_vanish_behind_our_back_are_an_alarm(
    how: Callable[[Redis], None], server_of_each_kind: RedisServer, told: Told
) -> None:
    """FLUSHALL, expiry, eviction: the next call raises and names the cause; nothing begins anew on the quiet."""
    with server_of_each_kind.client() as admin, open_database(server_of_each_kind.url, logger=told) as database:
        call(database, 1)
        database.sync()
        how(admin)
        left = dump(admin)
        for number in range(3):
            call(database, number)
        failed(database, told, Diverged, "the fence .* is gone: keys were deleted")
        assert database.close() == 3
        assert dump(admin) == left


def test_row_17_a_log_that_vanishes_alone_is_an_alarm_too(server_of_each_kind: RedisServer, told: Told) -> None:
    """The fence knows the last entry: a log without it is not written on."""
    with server_of_each_kind.client() as admin, open_database(server_of_each_kind.url, logger=told) as database:
        call(database, 1)
        database.sync()
        admin.unlink(KEYS.log)
        left = dump(admin)
        call(database, 2)
        failed(database, told, Diverged, "the last entry of .* is 0-0 but the fence says")
        assert dump(admin) == left


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl"])
def test_row_17_a_server_that_may_evict_is_refused(policy: str, fresh_server: RedisServer) -> None:
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


def test_row_17_whoever_waits_is_told_when_the_writer_stops(
    redis_server: RedisServer, redis_url: str, told: Told
) -> None:
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


def test_row_18_a_server_that_comes_back_empty_is_an_alarm(told: Told) -> None:
    """Without persistence a restart loses everything: an alarm, not a new log."""
    with RedisServer() as server, open_database(server.url, logger=told) as database:
        call(database, 1)
        database.sync()
        server.restart()
        call(database, 2)
        failed(database, told, Diverged, "the fence .* is gone")
        with server.client() as admin:
            assert dump(admin) == {}


# -- Opening -----------------------------------------------------------------------------------------------------------


def test_row_03_05_an_opening_without_a_server_is_raised_at_once(tmp_path: Path) -> None:
    """A path without a server, a port without one: an error that names the trouble, in seconds, with nothing left."""
    for url in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1"):
        began = time.monotonic()
        with nothing_left(), pytest.raises(Retryable, match="can not be reached"):
            open_database(url)
        assert time.monotonic() - began < 5.0


def test_row_03_an_opening_at_a_server_that_hangs_is_raised_in_time(fresh_server: RedisServer) -> None:
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
def test_row_09_11_13_an_opening_that_fails_leaves_nothing_behind(
    trouble: Callable[[Redis], None], error: type[Exception], fresh_server: RedisServer
) -> None:
    """Whichever step is refused: the error is a storage error, and no thread and no connection is left."""
    with fresh_server.client() as admin:
        trouble(admin)
        with nothing_left(), pytest.raises(error):
            open_database(fresh_server.url)
        until(lambda: not connections(admin))
