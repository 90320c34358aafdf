"""A slot on its way from one node of a cluster to another: row 6.

Redis 6.2, 7.0 and Valkey have different rules for what a script may do meanwhile. At none of them half a batch may be
written, nor anything at a node that does not have the slot yet, nor may a load take what is elsewhere for absent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.errors import Retryable, SyncTimeout
from eventstore.storage.appender import Appender, Batch, Claim, Entry, claim
from eventstore.storage.connect import connect
from tests.support.clusters import Cluster, slot_of
from tests.support.effort import effort
from tests.support.failovers import PATIENT, SPACE, Loads, in_step, mended, trading, until_at
from tests.support.logs import check_log
from tests.support.migration import Migration
from tests.support.outages import AWAY, BACK, KEYS, Told, until
from tests.support.redis_server import server_binaries
from workers.sink import Unavailable

SLOT = slot_of(SPACE)
NOW_NS = 1_700_000_000_000_000_000
HERE, OPEN, FLAT = False, True, False
"""An order that is not emulated; a position that is open, or not."""

PAST: tuple[c.Command, ...] = (
    c.Add("a", b"1"),
    c.WriteAccount("SIM-001", 0, [b"one", b"two", b"three"]),
    c.AddOrder("O-1", 0, 1, HERE, [b"init"], "P-1", "CLIENT", b"amended"),
    c.UpdateOrder("O-1", 1, 14, HERE, [b"filled"], None),
    c.AddOrder("O-2", 0, 1, HERE, [b"init"], None, None, None),
    c.WritePosition("P-1", 0, OPEN, [b"fill"], b"basis"),
    c.WritePosition("P-1", 0, OPEN, [b"fill of another cycle"], b"basis"),
    c.WritePosition("P-1", 0, FLAT, [b"fill of a third"], b"basis"),
    c.IndexVenueOrderId("O-1", "V-1"),
    c.UpdateActor("Actor-1", b"state"),
)
WRITES: dict[str, tuple[c.Command, ...]] = {
    "HSET": (c.Add("b", b"2"), c.Add("a", b"3")),
    "HDEL": (c.DeleteActor("Actor-1"),),
    "SADD, SREM": (c.UpdateOrder("O-2", 1, 14, HERE, [b"filled"], None),),
    "RETIRE": (c.WritePosition("P-1", 0, OPEN, [b"fill of a fourth"], b"basis"),),
    "DROP": (c.DeletePosition("P-1"), c.DeleteOrder("O-2")),
    "PURGE": (c.PurgeOrder("O-1", 0, 2), c.PurgePosition("P-1", 2, 1)),
    "FORGET": (c.PurgePositionCycles("P-1", 2, 1),),
    "TRIM": (c.PurgeAccountEvents("SIM-001", 0, 2),),
    "WIPE": (c.Flushed(0, b""),),
}
"""Commands that come to each kind of view operation, and change something there."""


@pytest.fixture(scope="module", params=list(server_binaries().values()), ids=list(server_binaries()))
def cluster_of_a_kind(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of each kind of server, one after the other. Nobody takes over there."""
    with Cluster(binary=Path(request.param), replicas_each=0) as cluster:
        yield cluster


def at(node: Any) -> dict[str, Any]:
    """Every key of the trader that a node has, with its content, whether the slot is its own or not."""
    with node.client() as client:
        names = client.execute_command("CLUSTER", "GETKEYSINSLOT", SLOT, 10_000)
        return {name.decode(): _content(client, name) for name in names}


def _content(client: Redis, name: bytes) -> Any:
    def asking(*command: Any) -> Any:
        client.execute_command("ASKING")  # for the next command, on the one connection that the client has
        return client.execute_command(*command)

    read = {b"hash": ("HGETALL", name), b"set": ("SMEMBERS", name), b"stream": ("XRANGE", name, "-", "+")}
    return asking(*read[asking("TYPE", name)])


def sealed(client: Redis, claimed: Claim, commands: tuple[c.Command, ...]) -> tuple[Appender, Batch]:
    """A batch of these commands behind what was claimed, and who sends it."""
    appender = Appender(client, KEYS, claimed)
    return appender, appender.seal(claimed.position + 1, [Entry.of(NOW_NS, command) for command in commands])


@contextmanager
def on_its_way(cluster: Cluster) -> Iterator[Migration]:
    """The trader's slot has begun to move to another node; at the end it is there."""
    source = cluster.node_of(SPACE)
    moving = cluster.migrate_slot(SLOT, next(node for node in cluster.nodes if node is not source and node.leads()))
    moving.begin()
    try:
        yield moving
    finally:
        while moving.move():
            pass
        moving.finish()
        cluster.wait_for_primary(SPACE, besides=source)


def write(appender: Appender, batch: Batch) -> None:
    """Send it; raises what becomes of it."""
    try:
        appender.send(batch)
        appender.receive(batch)
    except Unavailable:
        appender.reset()
        raise


@given(draw=st.randoms(use_true_random=False))
@effort(3)
def test_row_06_at_every_step_of_a_migration_a_batch_is_refused_whole_until_the_slot_has_moved(
    cluster_of_a_kind: Cluster, draw: random.Random
) -> None:
    """The keys move one by one, in any order. At each step, every kind of write is tried: it can be tried again, and
    not a key has changed, here or there. Behind the last step the same batch is applied, at the other node."""
    cluster = cluster_of_a_kind
    mended(cluster)
    with ExitStack() as open_, connect(cluster.place(), 5.0, "test", namespace=SPACE) as client:
        first = claim(client, KEYS, json.dumps({"host": "test"}), NOW_NS // 1_000_000)
        assert first is not None
        appender, batch = sealed(client, first, (c.Opened(1, {}), *PAST))
        write(appender, batch)
        behind = replace(first, position=batch.last, chain=appender._chain, last_ms=appender._last_ms)
        appender.close()
        writes = [sealed(client, behind, commands) for commands in WRITES.values()]
        for each, _ in writes:
            open_.callback(each.close)
        before = at(cluster.node_of(SPACE))
        with on_its_way(cluster) as moving:
            waiting = moving.waiting()
            draw.shuffle(waiting)
            for step in range(len(waiting) + 1):
                ends = step in (0, 1, len(waiting) - 1, len(waiting))
                for each, batch in writes if ends else draw.sample(writes, 3):
                    with pytest.raises(Unavailable) as caught:
                        write(each, batch)
                    assert isinstance(caught.value.cause, Retryable)
                here, there = at(moving.source), at(moving.target)
                assert there.keys() == {name.decode() for name in waiting[:step]}
                assert here | there == before
                moving.move_keys(waiting[step : step + 1])
        write(*draw.choice(writes))
    assert not at(moving.source)
    with moving.target.client() as client:
        check_log(client, KEYS)


def test_row_06_writer_and_loads_go_on_behind_a_slot_that_moves(cluster_of_a_kind: Cluster, told: Told) -> None:
    """Under load, there and back: the writer waits until the slot is somewhere whole, and sends the same batches there.
    Loads wait, or go on; nothing that was accepted is ever missing in one."""
    cluster = cluster_of_a_kind
    mended(cluster)
    with trading(cluster, told) as (database, load), Loads(database, load) as loads:
        for _ in range(2):
            told.forget()
            loads.go_on()
            with on_its_way(cluster) as moving:
                assert told.wait_for(AWAY, "a slot is being moved")[0] == "warning"
                load.go_on()
                moving.move(5)
                load.go_on()
            told.wait_for(BACK)
            loads.go_on()
            until_at(database, moving.target)
            until(lambda: database.stats().health == "healthy")


def test_row_06_a_load_of_what_is_on_its_way_waits_and_says_so(cluster_of_a_kind: Cluster) -> None:
    """Not even what never was there is taken for absent while it could be at the other node."""
    cluster = cluster_of_a_kind
    mended(cluster)
    with cluster.open(**(PATIENT | {"load_timeout_s": 0.3})) as database:
        database.add("key", b"1")
        assert database.load() == {"key": b"1"}
        with on_its_way(cluster) as moving:
            moving.move_keys([KEYS.general])
            for load in (database.load, database.load_orders, database.load_instruments):
                with pytest.raises((Retryable, SyncTimeout), match="a slot is being moved"):
                    load()
        assert database.load() == {"key": b"1"}
        assert database.load_orders() == {}


def test_row_06_a_load_from_a_replica_of_a_slot_that_moves_takes_nothing_for_absent(cluster: Cluster) -> None:
    """A replica does not know that keys went to another node: for it they are gone. The primary is asked, too."""
    with cluster.open(url=cluster.replica_place(), **(PATIENT | {"load_timeout_s": 0.5})) as database:
        database.add("key", b"1")
        assert database.load() == {"key": b"1"}
        with on_its_way(cluster) as moving:
            moving.move_keys([KEYS.general])
            in_step(cluster)
            with pytest.raises((Retryable, SyncTimeout)):
                database.load()
        assert database.load() == {"key": b"1"}


def test_row_06_a_slot_that_moves_at_once_is_followed(told: Told) -> None:
    """Valkey 9 copies a slot behind everybody's back, and hands it over in one step."""
    binary = server_binaries().get(next((name for name in server_binaries() if name.startswith("Valkey")), ""))
    assert binary is not None
    with (
        Cluster(binary=binary, replicas_each=0) as cluster,
        trading(cluster, told) as (database, load),
        Loads(database, load) as loads,
    ):
        for _ in range(2):
            source = cluster.node_of(SPACE)
            target = next(node for node in cluster.nodes if node is not source)
            loads.go_on()
            source.tell("MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.id)
            cluster.wait_for_primary(SPACE, besides=source)
            load.go_on()
            database.sync()
            loads.go_on()
            until_at(database, target)
