"""The connection is lost, and what a server says that is busy with itself: rows 1 to 5, and 12."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis, RedisError

from eventstore import commands as c
from eventstore.errors import Retryable, SyncTimeout
from tests.support.databases import open_database
from tests.support.effort import effort
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.logs import check_log, dump
from tests.support.outages import (
    AWAY,
    BACK,
    KEYS,
    PATIENCE_S,
    Told,
    call,
    called,
    connections,
    under_load,
    until,
    written,
)
from tests.support.redis_server import RedisServer
from tests.support.wire import answers, batches

plans = st.one_of(
    st.builds(Plan, st.just(Way.TO_SERVER), st.integers(0, 30_000), st.just(Fault.CUT)),
    st.builds(Plan, st.just(Way.TO_CLIENT), st.integers(0, 400), st.just(Fault.CUT)),
    st.builds(Plan, st.just(Way.TO_SERVER), st.integers(0, 30_000), st.just(Fault.LATE)),
    st.builds(Plan, st.just(Way.TO_CLIENT), st.integers(0, 400), st.just(Fault.LATE)),
)


def never_changed(proxy: FaultProxy) -> None:
    """Whatever was sent again was sent again to the byte."""
    sent = batches(proxy.connections)
    assert sent
    assert len({batch.request for batch in sent}) == len({batch.first for batch in sent})


# -- Rows 1 to 4: the connection breaks ------------------------------------------------------------------------------


@given(
    todo=st.lists(plans, min_size=1, max_size=5),
    sizes=st.lists(st.sampled_from((1, 50, 3000)), min_size=1, max_size=60),
    batch_count_max=st.sampled_from((1, 3, 256)),
)
@example(todo=[Plan(Way.TO_SERVER, 9000)] * 4, sizes=[50] * 60, batch_count_max=3)
@example(todo=[Plan(Way.TO_CLIENT, 55)] * 4, sizes=[50] * 60, batch_count_max=3)
@effort(40)
def test_row_01_02_03_04_each_command_is_written_once_and_in_order_wherever_the_connection_breaks(
    redis_server: RedisServer, todo: list[Plan], sizes: list[int], batch_count_max: int
) -> None:
    """A request may break off at any byte, an answer may get lost at any byte, and both may arrive long after they
    were given up: the log is gapless, has what was accepted once and in order, and the views are its fold. Whatever
    is sent again is sent again unchanged."""
    with redis_server.client() as client:
        client.flushall()
        with FaultProxy(redis_server.socket_path, keep=True) as proxy:
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
            never_changed(proxy)
        assert not_written == 0
        assert called(check_log(client, KEYS)) == accepted


@given(plan=plans.filter(lambda plan: plan.fault is Fault.CUT))
@effort(15)
def test_row_01_02_04_an_opening_that_is_interrupted_raises_and_the_next_one_goes_on(
    redis_server: RedisServer, plan: Plan
) -> None:
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


def test_row_01_drops_before_the_batch_is_sent_and_it_is_written_at_the_same_positions(
    redis_server: RedisServer, redis_url: str
) -> None:
    """Not a byte of the first attempt arrives: the second one is the only one that the server sees."""
    with FaultProxy(redis_server.socket_path, keep=True) as proxy:
        with open_database(proxy.url, linger_ms=0.0) as database:
            before = database.sync()
            proxy.arm([Plan(Way.TO_SERVER, 0)])
            accepted = [call(database, number) for number in range(20)]
            assert database.sync() == before + 20
            assert proxy.happened == 1
            assert database.stats().retries == 1
        proxy.drain()
        never_changed(proxy)
        firsts = [batch.first for batch in batches(proxy.connections)]
        assert len(set(firsts)) == len(firsts)
        assert answers(proxy.connections, "duplicate") == 0
    assert written(redis_server) == accepted


def test_row_02_drops_after_sending_before_the_reply_and_the_identical_batch_is_sent_again(
    redis_server: RedisServer, redis_url: str
) -> None:
    """The batch was applied and the answer lost: the same bytes go out again, and the server says that it has them."""
    with FaultProxy(redis_server.socket_path, keep=True) as proxy:
        with open_database(proxy.url, linger_ms=0.0) as database:
            database.sync()
            proxy.arm([Plan(Way.TO_CLIENT, 0)])
            accepted = [call(database, number) for number in range(20)]
            database.sync()
            assert proxy.happened == 1
        proxy.drain()
        never_changed(proxy)
        firsts = [batch.first for batch in batches(proxy.connections)]
        assert len(set(firsts)) < len(firsts)
        assert answers(proxy.connections, "duplicate") >= 1
    assert written(redis_server) == accepted


def test_row_03_reply_times_out_and_the_old_batch_runs_later_and_is_there_once(
    redis_server: RedisServer, redis_url: str
) -> None:
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


def test_row_03_a_server_that_hangs_is_waited_for(fresh_server: RedisServer, told: Told) -> None:
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


@given(share=st.floats(0, 1))
@example(share=0.0)
@example(share=1.0)
@effort(15)
def test_row_04_half_a_batch_is_written_to_the_socket_and_nothing_of_it_applies(
    redis_server: RedisServer, share: float
) -> None:
    """Whatever part of a batch arrived, its last byte excepted: log, views and fence are as they were until the whole
    of it is there."""
    with redis_server.client() as client:
        client.flushall()
        with FaultProxy(redis_server.socket_path, keep=True) as proxy:
            with open_database(proxy.url, linger_ms=0.0, batch_count_max=1) as database:
                database.add("large", b"0" * 4000)
                database.sync()
                before = dump(client)
                length = len(batches(proxy.connections)[-1].request)
                # What is tried next is held back.
                proxy.arm([Plan(Way.TO_SERVER, 1 + int(share * (length - 2))), Plan(Way.TO_SERVER, 0, Fault.LATE)])
                database.add("large", b"1" * 4000)
                until(lambda: proxy.happened == 2)
                # The server has seen the end of the broken connection; the new one has not said its name yet.
                until(lambda: not any(":writer@" in name for name in connections(client)))
                assert dump(client) == before
                proxy.release()
                assert database.load() == {"large": b"1" * 4000}
            proxy.drain()
        assert called(check_log(client, KEYS)) == [c.Add("large", b"0" * 4000), c.Add("large", b"1" * 4000)]


def test_row_01_02_connections_that_are_killed_cost_nothing(fresh_server: RedisServer, told: Told) -> None:
    """CLIENT KILL, again and again: each time everything goes on behind a new connection."""
    with fresh_server.client() as admin, under_load(fresh_server, told) as (database, load):
        for _ in range(5):
            told.forget()
            admin.client_kill_filter(_type="normal", skipme=True)
            told.wait_for(BACK)
            load.go_on(20)
        assert database.stats().health == "healthy"


def test_row_02_12_a_server_that_is_killed_and_started_again_loses_nothing(
    fresh_server: RedisServer, told: Told
) -> None:
    """SIGKILL in the middle of batches, with a log on disk (appendfsync always): what was accepted before, during and
    after the outage is there once; nobody has to do anything, and the script is loaded again."""
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


# -- Row 5: it passes by itself --------------------------------------------------------------------------------------


def test_row_05_loading_is_waited_for(fresh_server: RedisServer, told: Told) -> None:
    """LOADING: a server that reads its data after a restart is asked until it has them."""
    with fresh_server.client() as admin:
        # A server answers while it loads, once in a thousand commands.
        admin.config_set("auto-aof-rewrite-percentage", "0")
        admin.eval("for n = 1, 6000 do redis.call('SET', 'key' .. n, n) end", 0)
    with under_load(fresh_server, told) as (_, load):
        fresh_server.config["key-load-delay"] = "50"  # microseconds
        fresh_server.kill()
        start = threading.Thread(target=fresh_server.start)
        start.start()
        assert told.wait_for(AWAY, "is loading its data")[0] == "warning"
        load.go_on()
        start.join(PATIENCE_S)
        told.wait_for(BACK)


def test_row_05_masterdown_is_waited_for(server_of_each_kind: RedisServer, told: Told) -> None:
    """MASTERDOWN: a replica that has lost its primary, and may not answer from old data."""
    with server_of_each_kind.client() as admin, under_load(server_of_each_kind, told) as (_, load):
        admin.config_set("replica-serve-stale-data", "no")
        admin.replicaof("127.0.0.1", "1")
        assert told.wait_for(AWAY, "the primary is down")[0] == "warning"
        load.go_on()
        admin.replicaof("NO", "ONE")
        told.wait_for(BACK)


def test_row_05_busy_is_waited_for(server_of_each_kind: RedisServer, told: Told) -> None:
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


@contextmanager
def cluster_node() -> Iterator[RedisServer]:
    """A node of a cluster, without slots."""
    config = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}
    with RedisServer(tcp=True, bus=10_000, config=config) as server:
        yield server


@pytest.fixture
def node() -> Iterator[RedisServer]:
    """A node that has every slot."""
    with cluster_node() as server, server.client() as admin:
        admin.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        until(lambda: "cluster_state:ok" in cluster(admin, "INFO"))
        yield server


def cluster(admin: Redis, *words: object) -> str:
    reply = admin.execute_command("CLUSTER", *words)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def test_row_05_clusterdown_is_waited_for(node: RedisServer, told: Told) -> None:
    """CLUSTERDOWN: nobody has the slot until somebody gets it."""
    with node.client() as admin, under_load(node, told) as (_, load):
        slot = cluster(admin, "KEYSLOT", KEYS.log)
        cluster(admin, "DELSLOTS", slot)
        assert told.wait_for(AWAY, "the cluster is down")[0] == "warning"
        load.go_on()
        cluster(admin, "ADDSLOTS", slot)
        told.wait_for(BACK)


def test_row_05_tryagain_is_waited_for(node: RedisServer, told: Told) -> None:
    """TRYAGAIN: the log was moved to another node, and the fence is still here."""
    with cluster_node() as other, node.client() as here, other.client() as there, FaultProxy(node.socket_path) as proxy:
        slot = cluster(here, "KEYSLOT", KEYS.log)
        names = cluster(here, "MYID"), cluster(there, "MYID")
        cluster(here, "MEET", "127.0.0.1", other.port)
        until(lambda: names[1] in cluster(here, "NODES") and "cluster_state:ok" in cluster(there, "INFO"))
        with open_database(proxy.url, logger=told) as database:
            accepted = [call(database, 1)]
            database.sync()
            cluster(there, "SETSLOT", slot, "IMPORTING", names[0])
            cluster(here, "SETSLOT", slot, "MIGRATING", names[1])
            here.migrate("127.0.0.1", int(other.port), [KEYS.log], 0, 5000)
            accepted.append(call(database, 2))
            assert told.wait_for(AWAY, "a slot is being moved")[0] == "warning"
            # Moved back while nobody looks: between the two steps the node has the slot for good, and not the log.
            proxy.arm([Plan(Way.TO_SERVER, 0, Fault.LATE)])
            until(lambda: proxy.happened == 1)
            cluster(here, "SETSLOT", slot, "STABLE")
            there.migrate("127.0.0.1", node.port, [KEYS.log], 0, 5000)
            proxy.release()
            told.wait_for(BACK)
            assert database.close() == 0
        assert written(node) == accepted


# -- Row 12: the script is not there ---------------------------------------------------------------------------------


def test_row_12_noscript_and_the_script_is_loaded_again(fresh_server: RedisServer, told: Told) -> None:
    """SCRIPT FLUSH under load is a short delay."""
    with fresh_server.client() as admin, under_load(fresh_server, told):
        for _ in range(5):
            told.forget()
            admin.script_flush()
            assert told.wait_for(AWAY, "does not have the script")[0] == "warning"
            told.wait_for(BACK)
