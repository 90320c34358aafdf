"""Writers: cut off, killed, overtaken; how far they say that things have come."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.errors import SyncTimeout, WriterFailed
from eventstore.keys import Keys
from tests.support.databases import TRADER
from tests.support.lives import Life, call_of
from tests.support.logs import check_log, read_fence
from tests.support.outages import Load, Told, call, called, until
from tests.support.processes import PythonProcess
from tests.support.topologies import REPLICATED, TOPOLOGIES
from tests.support.topology import Topology

KEYS = Keys(TRADER)
SHORT = "not as durable as asked for"
PATIENCE_S = 30.0

replicated = pytest.mark.parametrize("running", REPLICATED, indirect=True)
alone = pytest.mark.parametrize("running", [name for name in TOPOLOGIES if name not in REPLICATED], indirect=True)


def in_log(topology: Topology) -> list[c.Command]:
    """The calls that are in the log, which keeps all that it promises."""
    with topology.client_of(KEYS.namespace) as client:
        return called(check_log(client, KEYS))


def test_another_process_loads_what_this_one_wrote_and_goes_on(topology: Topology, client: Redis) -> None:
    script = """
import json, sys
from tests.support.databases import open_database
with open_database(**json.loads(sys.argv[1])) as database:
    print(sorted(database.load()), flush=True)
    database.add("theirs", b"value")
"""
    with topology.open() as database:
        database.add("ours", b"value")
    with PythonProcess(script, json.dumps(topology.settings())) as process:
        assert process.line() == "['ours']"
        assert process.join() == 0
    with topology.open() as database:
        assert database.load() == {"ours": b"value", "theirs": b"value"}
        assert database.stats().epoch == 3
    check_log(client, KEYS)


def test_what_a_killed_process_had_accepted_is_written_from_its_journal(topology: Topology, tmp_path: Path) -> None:
    """SIGKILL at any moment: every call that returned is in the log, once and in order."""
    journal = tmp_path / "journal"
    settings = topology.settings()
    with Life(settings.pop("url"), journal=journal, linger_ms=50.0, **settings) as life:
        life.opened()
        life.go_on(300)
        returned = life.die()
    with topology.open(journal=journal) as database:
        database.sync()
        log = in_log(topology)
    assert returned <= len(log) <= returned + 1
    assert log == [call_of(number) for number in range(len(log))]


def test_the_newer_of_two_writers_wins(topology: Topology) -> None:
    """The older one's next call says who took over, and nothing of it is written any more."""
    with topology.open() as first:
        accepted = [call(first, number) for number in range(10)]
        first.sync()
        with topology.open() as second:
            call(first, 10)
            with pytest.raises(WriterFailed, match="ended by epoch 2"):
                first.sync()
            accepted += [call(second, number) for number in range(20, 30)]
            assert (first.close(), second.close()) == (1, 0)
    assert in_log(topology) == accepted


def test_connections_that_are_cut_lose_nothing(topology: Topology) -> None:
    told = Told()
    with topology.open(logger=told) as database:
        with Load(database) as load:
            for _ in range(5):
                load.go_on(30)
                database.sync()  # it is connected
                assert topology.cut(KEYS.namespace)
            load.go_on(30)
        assert database.close() == 0
        assert database.stats().retries
    assert in_log(topology) == load.accepted


def test_each_level_is_reached(topology: Topology, tmp_path: Path) -> None:
    with topology.open(journal=tmp_path / "journal") as database:
        for number in range(1, 10):
            database.add("key", b"%d" % number)
            for level in ("accepted", "journaled", "applied", "durable"):
                assert database.sync(PATIENCE_S, level) == number + 1  # type: ignore[arg-type]
        stats = database.stats()
        assert (stats.applied, stats.durable) == (10, 10)


@replicated
def test_a_replica_has_what_is_durable(topology: Topology) -> None:
    """Looked at the moment it is confirmed: log, views and fence."""
    with topology.open(durability="replicated(1)") as database, ExitStack() as clients:
        replicas = [clients.enter_context(client) for client in topology.replica_clients(KEYS.namespace)]
        for number in range(1, 31):
            database.add("key", b"%d" % number)
            position = database.sync(PATIENCE_S, "durable")
            assert position == number + 1
            there = max(replicas, key=lambda client: int(read_fence(client, KEYS)["position"]))
            assert len(check_log(there, KEYS)) == position
        assert database.health.state == "healthy"


@alone
def test_that_there_is_no_replica_is_said(topology: Topology) -> None:
    """It is applied, and not durable: that position stands still and says why."""
    told = Told()
    with topology.open(durability="replicated(1)", logger=told, close_timeout_s=0.1) as database:
        database.add("key", b"value")
        applied = database.sync()
        assert told.wait_for(SHORT, "0 of 1 replica")[0] == "warning"
        with pytest.raises(SyncTimeout, match="not durable within"):
            database.sync(0.05, "durable")
        assert database.stats().durable < applied
        assert database.health.state == "degraded"


@replicated
def test_a_load_from_a_replica_has_what_was_accepted_before_it(topology: Topology) -> None:
    with topology.open(url=topology.replica_place()) as database:
        for number in range(50):
            database.add("key", b"%d" % number)
            assert database.load() == {"key": b"%d" % number}
        assert database.stats().replica_behind is not None
    in_log(topology)


@replicated
def test_a_failover_in_order_loses_nothing(topology: Topology) -> None:
    """A replica takes over under load: what was accepted is in its log, once and in order. What sentinels leave behind,
    as they do not wait for the replica, is written again."""
    with topology.open(timeout_s=2.0) as database:
        with Load(database) as load:
            load.go_on()
            topology.fail_over(KEYS.namespace)
            load.go_on()
        assert database.close() == 0
    until(lambda: topology.settled(KEYS.namespace))
    assert in_log(topology) == load.accepted
