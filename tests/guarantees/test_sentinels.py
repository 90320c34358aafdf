"""What only sentinels decide: partitions, silence, and credentials that change. Rows 7, 11, 16 and 19."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from eventstore.errors import SyncTimeout
from tests.support.failovers import SPACE, WENT_BACK, Loads, position_at, trading
from tests.support.outages import AWAY, BACK, Told, until
from tests.support.redis_server import RedisServer
from tests.support.sentinels import Sentinels

SHORT, MET = "not as durable as asked for", "as durable as asked for again"


@contextmanager
def partition(server: RedisServer) -> Iterator[Redis]:
    """Sentinels and replicas do not reach `server` any more, and those that are connected to it go on as before.

    Nobody of the others knows its password: to them it is as good as gone.
    """
    with server.client() as admin:
        admin.config_set("requirepass", "another")
        admin.client_kill_filter(_type="slave")
        _kill(admin, "sentinel-")
        try:
            yield admin
        finally:
            admin.config_set("requirepass", server.password)
            # A sentinel that was not let in would look again only after fifteen seconds.
            admin.client_kill_filter(_type="normal", skipme=True)


def _kill(admin: Redis, named: str) -> None:
    """End the connections that have that in their name."""
    for client in admin.client_list():
        if named in client["name"]:
            admin.client_kill_filter(_id=client["id"])


def test_row_16_19_what_a_primary_behind_a_partition_acknowledges_is_not_durable_and_written_again_elsewhere(
    sentinels: Sentinels, told: Told
) -> None:
    """The node is on its side, the sentinels on the other, where they make another one the primary. The old one goes on
    confirming: that is applied, and not durable, and says why. When the node can not reach it any more, all of that is
    written at the new one. Loads leave it, too, though they could still read there."""
    with trading(sentinels, told, durability="replicated(1)") as (database, load):
        durable = database.sync(level="durable")
        with Loads(database, load) as loads:
            loads.go_on()
        before = sentinels.primary()
        with partition(before) as admin:
            assert told.wait_for(SHORT, "0 of 1 replicas")[0] == "warning"
            until(lambda: sentinels.primary() is not before and sentinels.primary().leads(), "no new primary")
            load.go_on()
            confirmed = database.sync(level="applied")
            stats = database.stats()
            assert durable <= stats.durable < confirmed
            assert position_at(sentinels.primary()) < confirmed
            with pytest.raises(SyncTimeout, match=r"not durable within .*0 of 1 replicas"):
                database.sync(0.1, level="durable")
            assert admin.info("replication")["role"] == "master"
            # Nobody tells the readers: theirs are as good as before.
            _kill(admin, ":writer@")
            told.wait_for(WENT_BACK)
            database.sync()
            with Loads(database, load) as loads:
                loads.go_on()
        told.wait_for(MET)
        assert database.sync(level="durable") >= confirmed
        until(lambda: database.health.state == "healthy")


@pytest.mark.parametrize("durability", ["applied", "replicated(1)"])
def test_row_07_16_what_a_primary_confirms_while_it_is_replaced_is_not_durable_and_who_closes_waits(
    durability: str, sentinels: Sentinels, told: Told
) -> None:
    """For a moment the old one and its other replica confirm to each other what the promoted one never gets. If a node
    closes in that moment, nobody is there to write it again: so it is not durable, and the node is not done."""
    with trading(sentinels, told, durability=durability) as (database, _):
        # What only the old one was said to have may be taken back.
        durable = 0 if durability == "applied" else database.sync(level="durable")
        before = sentinels.primary()
        sentinels.begin_fail_over()
        replicas = [server for server in sentinels.servers if server is not before]
        until(lambda: any(replica.leads() for replica in replicas), "no replica is promoted")
    assert all(values["position"] >= durable for _, values in told.all(WENT_BACK))
    assert not told.all("closed before it was durable")
    assert not told.all("closed while the server was being replaced")


def test_row_07_16_who_can_not_wait_for_the_end_of_a_failover_says_so(sentinels: Sentinels, told: Told) -> None:
    """The old primary has everything, and the node has no time to see what the next one has: here, none comes."""
    with sentinels.open(logger=told) as database, ExitStack() as later:
        database.add("key", b"value")
        database.sync()
        primary = sentinels.primary()

        def begun() -> bool:
            sentinels.begin_fail_over()
            return not all(sentinel.is_idle_with(primary) for sentinel in sentinels.sentinels)

        until(begun, "no sentinel begins a failover")
        for replica in sentinels.replicas():
            replica.pause()
            later.callback(replica.resume)
        assert database.close(0.5) == 0
        ((level, values),) = told.all("closed while the server was being replaced")
    assert level == "warning"
    assert "being replaced" in values["reason"]


def test_row_07_while_no_sentinel_answers_a_node_stays_with_its_primary(sentinels: Sentinels, told: Told) -> None:
    """All of them hang: what is connected goes on, writing and loading. What breaks then is mended when one is back."""
    with trading(sentinels, told) as (database, load), Loads(database, load) as loads:
        loads.go_on()
        primary = sentinels.primary()
        for sentinel in sentinels.sentinels:
            sentinel.pause()
        load.go_on(300)
        loads.go_on()
        assert not told.all(AWAY)
        assert database.stats().health == "healthy"
        with primary.client() as admin:
            _kill(admin, "eventstore")
        assert told.wait_for(AWAY, "no sentinel knows where")[0] == "warning"
        load.go_on()
        sentinels.sentinels[-1].resume()
        told.wait_for(BACK)
        loads.go_on()


def _by_call(directory: Path) -> tuple[dict[str, Any], Callable[[str], object]]:
    password = ["old"]
    return {"credentials": lambda: ("node", password[-1])}, password.append


def _by_file(directory: Path) -> tuple[dict[str, Any], Callable[[str], object]]:
    path = directory / "credentials"
    path.write_text("node\nold\n")
    return {"query": f"&credentials_file={path}"}, lambda password: path.write_text(f"node\n{password}\n")


@pytest.mark.parametrize("how", [_by_call, _by_file])
def test_row_11_a_password_that_changes_while_a_node_runs_is_asked_for_again(
    how: Callable[[Path], tuple[dict[str, Any], Callable[[str], object]]],
    sentinels: Sentinels,
    told: Told,
    tmp_path: Path,
) -> None:
    """It is changed at the servers, and every connection is ended: an alarm, until whoever gives it out knows it, too.
    At whatever is the primary later it is the same."""
    settings, change = how(tmp_path)
    url = sentinels.place() + settings.pop("query", "")

    def at_all(*rules: str) -> None:
        for server in sentinels.servers:
            with server.client() as admin:
                admin.execute_command("ACL", "SETUSER", "node", *rules)

    at_all("on", ">old", "~*", "&*", "+@all")
    with trading(sentinels, told, url=url, **settings) as (_, load):
        at_all("resetpass", ">new")
        with sentinels.client_of(SPACE) as admin:
            _kill(admin, "eventstore")
        assert told.wait_for(AWAY, "password is wrong")[0] == "error"
        load.go_on()
        change("new")
        told.wait_for(BACK)
