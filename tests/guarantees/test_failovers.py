"""Primaries that change under load, found by sentinels and in a cluster: rows 7, 8, 12, 15, 16 and 19."""

from __future__ import annotations

import pytest

from eventstore import commands as c
from eventstore.errors import DataLoss, Retryable, WriterFailed
from tests.support.clusters import Cluster
from tests.support.failovers import PATIENT, SPACE, WENT_BACK, Loads, cut_off, in_step, position_at, trading
from tests.support.logs import check_log
from tests.support.outages import (
    AWAY,
    BACK,
    KEYS,
    STOPPED,
    Told,
    called,
    failed,
    nothing_left,
    until,
)
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

SHORT, MET = "not as durable as asked for", "as durable as asked for again"


# -- Rows 7 and 12: another primary ------------------------------------------------------------------------------------


def test_row_07_12_the_writer_and_the_loads_follow_a_failover_that_is_asked_for(topology: Topology, told: Told) -> None:
    """A replica takes over under load: the writer finds it, loads its script there, compares the fence
    and goes on. Loads go on meanwhile, and never lack anything."""
    with (
        trading(topology, told, durability="replicated(1)") as (database, load),
        Loads(database, load) as loads,
    ):
        loads.go_on()
        topology.fail_over(SPACE)
        load.go_on()
        database.sync(level="durable")
        loads.go_on()
        until(lambda: database.stats().server.endswith(f":{topology.primary(SPACE).port}"))
        until(lambda: database.stats().health == "healthy")
        if topology.name == "cluster":
            # There the primary takes no more writes before its replica has all of them.
            assert not told.all(WENT_BACK)


def test_row_07_12_the_writer_and_the_loads_find_who_takes_over_from_a_primary_that_is_killed(
    topology: Topology, told: Told
) -> None:
    """Nobody hands over: the servers find out by themselves. What was durable before is never what went back."""
    with (
        trading(topology, told, durability="replicated(1)") as (database, load),
        Loads(database, load) as loads,
    ):
        loads.go_on()
        durable = database.sync(level="durable")
        before = topology.primary(SPACE)
        before.kill()
        assert told.wait_for(AWAY)[0] == "warning"
        load.go_on()
        new = topology.wait_for_primary(SPACE, besides=before)
        told.wait_for(BACK)
        loads.go_on()
        assert position_at(new) >= durable
        assert all(values["position"] >= durable for _, values in told.all(WENT_BACK))
        before.start()
        database.sync(level="durable")
        until(lambda: database.stats().health == "healthy")


def test_row_07_an_opening_during_a_failover_is_raised_in_time_and_the_next_one_goes_on(
    cluster: Cluster, told: Told
) -> None:
    """The primary hangs, and nobody has noticed yet: an error that says what can not be reached; nothing is left of the
    opening. Behind the failover it opens, with everything that was there."""
    with cluster.open(**PATIENT) as database:
        database.add("key", b"1")
    before = cluster.primary(SPACE)
    in_step(cluster)
    before.pause()
    try:
        with nothing_left(), pytest.raises(Retryable, match=r"can not be reached"):
            cluster.open(timeout_s=0.1)
        cluster.wait_for_primary(SPACE, besides=before)
        with cluster.open(logger=told, **PATIENT) as database:
            assert database.load() == {"key": b"1"}
    finally:
        before.resume()


# -- Row 8: too few replicas -------------------------------------------------------------------------------------------


def test_row_08_a_primary_whose_replicas_hang_takes_nothing_until_they_are_back(topology: Topology, told: Told) -> None:
    """min-replicas-to-write: nothing is applied that only the primary would have; calls are accepted all the while."""
    with topology.client_of(SPACE) as admin, trading(topology, told) as (database, load):
        admin.config_set("min-replicas-max-lag", 1)
        admin.config_set("min-replicas-to-write", topology.replicas_each)
        with cut_off(topology):
            assert told.wait_for(AWAY, "too few replicas")[0] == "warning"
            applied = position_at(topology.primary(SPACE))
            load.go_on()
            stats = database.stats()
            assert stats.health == "degraded"
            assert "too few replicas" in (stats.reason or "")
            assert position_at(topology.primary(SPACE)) == applied
        told.wait_for(BACK)
        database.sync()
        admin.config_set("min-replicas-max-lag", 10)


# -- Row 15: a failover that loses what was confirmed ------------------------------------------------------------------


def test_row_15_what_a_failover_lost_is_written_again_at_the_same_positions(topology: Topology, told: Told) -> None:
    """The replicas lag behind, and the primary dies: whoever takes over lacks what was confirmed. It is written there,
    from what the node retains; loads wait until it is there."""
    with trading(topology, told) as (database, load), Loads(database, load) as loads:
        before = topology.primary(SPACE)
        with cut_off(topology):
            load.go_on(300)
            confirmed = database.sync()
            loads.go_on()
            before.kill()
        level, values = told.wait_for(WENT_BACK)
        assert level == "error"
        assert values["position"] < confirmed <= values["applied"]
        told.wait_for(BACK)
        database.sync()
        loads.go_on()
        before.start()
        until(lambda: database.stats().health == "healthy")


def test_row_15_the_claim_that_a_failover_lost_is_made_again(cluster: Cluster, told: Told) -> None:
    """Whoever takes over has never heard of this writer: the log is claimed there again, in the same epoch, and written
    from its first entry on."""
    with cluster.open(**PATIENT) as database:
        database.add("before", b"1")
    before = cluster.primary(SPACE)
    with cut_off(cluster):
        database = cluster.open(logger=told, **PATIENT)
        database.add("key", b"1")
        confirmed = database.sync()
        before.kill()
    with database:
        assert database.load() == {"before": b"1", "key": b"1"}
        assert told.all(WENT_BACK)
        assert database.sync() == confirmed
        before.start()
    with cluster.wait_for_primary(SPACE).client() as client:
        log = check_log(client, KEYS)
    assert called(log) == [c.Add("before", b"1"), c.Add("key", b"1")]


def test_row_15_what_a_failover_lost_beyond_the_window_is_raised_with_its_exact_range(
    cluster: Cluster, told: Told
) -> None:
    """A window of a thousand bytes, and a failover that lost more: the error says which positions nobody has any more,
    and nothing is written at the new primary."""
    with cluster.open(logger=told, **PATIENT, linger_ms=0.0, retained_bytes_max=1024) as database:
        before = cluster.primary(SPACE)
        database.add("key", b"0")
        saved = database.sync()
        in_step(cluster)
        with cut_off(cluster):
            for number in range(20):
                database.add("key", b"%d" % number * 50)
                confirmed = database.sync()
            before.kill()
        new = cluster.wait_for_primary(SPACE, besides=before)
        database.add("late", b"x")
        failed(database, told, DataLoss, f"had confirmed positions {saved + 1} to [0-9]+ and lost them")
        with pytest.raises(WriterFailed) as caught:
            database.sync()
        loss = caught.value.__cause__
        assert isinstance(loss, DataLoss)
        assert loss.first == saved + 1
        assert saved + 1 < loss.last == database.stats().retained_from - 1 < confirmed
        assert position_at(new) == saved
        assert database.close() == 20 + 1


# -- Row 16: an old primary --------------------------------------------------------------------------------------------


def test_row_16_an_old_primary_that_wakes_up_changes_nothing(topology: Topology, told: Told) -> None:
    """It hung while another one took over. What was on its way to it then is nowhere else: the log goes on at the new
    one alone, durable and loaded from there, though the old one thinks for a moment that it is the primary."""
    with (
        trading(topology, told, durability="replicated(1)") as (database, load),
        Loads(database, load) as loads,
    ):
        loads.go_on()
        before = topology.primary(SPACE)
        before.pause()
        told.wait_for(AWAY)
        load.go_on()
        topology.wait_for_primary(SPACE, besides=before)
        told.wait_for(BACK)
        applied = database.sync(level="applied")
        told.forget()
        before.resume()
        loads.go_on()
        assert database.sync(level="durable") >= applied
        until(lambda: topology.settled(SPACE))
        loads.go_on()
        assert topology.primary(SPACE) is not before
        assert not told.all(WENT_BACK)
        assert not told.all(STOPPED)


# -- Reading from a replica --------------------------------------------------------------------------------------------


def test_row_37_a_replica_that_hangs_or_lags_is_waited_for_and_never_gives_what_is_old(
    topology: Topology, told: Told
) -> None:
    """Loads read from a replica that has everything that was accepted before. One that hears nothing is waited for, and
    the error says how far behind it is."""
    with topology.open(logger=told, url=topology.replica_place(), **PATIENT) as database:
        database.add("key", b"1")
        assert database.load() == {"key": b"1"}
        stats = database.stats()
        assert stats.replica_behind is not None
        with cut_off(topology):
            for number in range(10):
                database.add("key", b"%d" % number)
            database.sync()
        assert database.load() == {"key": b"9"}


def test_row_07_loads_from_a_replica_go_on_when_it_becomes_the_primary(sentinels: Sentinels, told: Told) -> None:
    """They go to another one, or to the primary while there is none."""
    with (
        trading(sentinels, told, url=sentinels.replica_place()) as (database, load),
        Loads(database, load) as loads,
    ):
        loads.go_on()
        before = sentinels.primary(SPACE)
        before.kill()
        sentinels.wait_for_primary(SPACE, besides=before)
        loads.go_on()
        before.start()
        loads.go_on()
