"""What only a cluster does: going down for want of a part, and nodes that a URL does not name. Rows 5 and 7."""

from __future__ import annotations

import re

from eventstore.keys import Keys
from eventstore.storage.connect import connect, each_primary, whereabouts
from eventstore.storage.hashes import read_hashes
from tests.support.clusters import Cluster
from tests.support.databases import TRADER
from tests.support.failovers import SPACE, Loads, trading, until_at
from tests.support.outages import AWAY, BACK, Told, until
from tests.support.redis_server import RedisServer, server_since_7


def test_row_05_a_cluster_that_lacks_a_part_is_waited_for(cluster: Cluster, told: Told) -> None:
    """Somebody else's slots are gone, with their replica: the cluster takes nothing any more, not for this trader
    either. Calls are accepted, loads wait, and everything goes on when it is whole again."""
    ours = cluster.node_of(SPACE)
    others = next(shard for shard in cluster.shards if ours not in shard)
    with trading(cluster, told) as (database, load), Loads(database, load) as loads:
        loads.go_on()
        for node in others:
            node.kill()
        assert told.wait_for(AWAY, "the cluster is down")[0] == "warning"
        load.go_on()
        assert database.stats().health == "degraded"
        for node in others:
            node.start()
        told.wait_for(BACK)
        loads.go_on()


def test_row_07_nodes_that_the_url_does_not_name_are_found(cluster: Cluster, told: Told) -> None:
    """It names one of the six, which has nothing of the trader, and hangs later: the others are known by then."""
    ours = cluster.node_of(SPACE)
    seed = next(node for shard in cluster.shards if ours not in shard for node in shard if not node.leads())
    url = re.sub(r"@.*", f"@127.0.0.1:{seed.port}", cluster.place())
    with trading(cluster, told, url=url) as (database, load), Loads(database, load) as loads:
        loads.go_on()
        until_at(database, ours)
        seed.pause()
        cluster.fail_over(SPACE)
        load.go_on()
        database.sync()
        loads.go_on()
        until(lambda: database.stats().server.endswith(f":{cluster.node_of(SPACE).port}"))
        seed.resume()


def test_row_07_a_node_says_where_its_writer_is_whatever_other_connections_were_told(
    cluster: Cluster, told: Told
) -> None:
    """Behind an outage a second connection sees whether the server was restarted. Nodes that do not know of a failover
    yet may send it elsewhere; and here the slot moves while the writer has nothing to write."""
    with cluster.open(logger=told, look_interval_s=86_400) as database:
        database.add("key", b"1")
        database.sync()
        was = database.stats().server
        assert was == f"127.0.0.1:{cluster.node_of(SPACE).port}"
        now = cluster.migrate(SPACE)
        watch = database._persister._restarts
        assert watch is not None
        watch.look()
        assert whereabouts(database._persister._connections.write) == f"127.0.0.1:{now.port}"
        assert database.stats().server == was
        database.add("key", b"2")
        database.sync()
        assert database.stats().server == f"127.0.0.1:{now.port}"


def test_row_06_a_page_of_hashes_that_is_asked_of_the_node_that_had_them_is_asked_of_the_other(
    cluster: Cluster, told: Told
) -> None:
    """The connection for reading is open and idle while the slot moves, and nothing else is asked before."""
    keys = Keys(TRADER)
    names = [keys.position(f"P-{number}") for number in range(4)] + [keys.general]
    with (
        trading(cluster, told) as (database, _),
        connect(cluster.place(), 5.0, "test", retries=3, namespace=SPACE) as client,
    ):
        database.sync()
        assert all(fields for _, fields in read_hashes(client, names))
        before = whereabouts(client)
        cluster.migrate(SPACE)
        assert all(fields for _, fields in read_hashes(client, names))
        assert whereabouts(client) != before


def test_row_07_a_connection_that_was_in_use_while_the_keys_moved_is_not_used_again(cluster: Cluster) -> None:
    """It leads where they were. Others know better by then, and who is given it next is led there, too."""
    with connect(cluster.place(), 5.0, "test", retries=3, namespace=SPACE) as client:
        pool = client.connection_pool
        busy = pool.get_connection()
        now = cluster.migrate(SPACE)
        client.get(Keys(TRADER).general)
        assert busy.port != now.port
        pool.release(busy)
        again = pool.get_connection()
        assert again is busy
        assert again.port == now.port
        pool.release(again)


def test_row_05_07_a_node_that_knows_nobody_hides_nobody(cluster: Cluster, told: Told) -> None:
    """It was reset, or lost its file: the URL names it first, and it answers, and has heard of no part of the
    cluster."""
    _, _, hosts = cluster.place().rpartition("@")
    with RedisServer(
        tcp=True, bus=10_000, password=cluster.nodes[0].password, config={"cluster-enabled": "yes"}
    ) as lost:
        url = cluster.place().replace(hosts, f"127.0.0.1:{lost.port},{hosts}")
        with trading(cluster, told, url=url) as (database, load), Loads(database, load) as loads:
            loads.go_on()
            cluster.cut(SPACE)
            load.go_on()
            loads.go_on()
        with each_primary(url, 5.0, "test") as nodes:
            assert len(nodes) == len(cluster.shards)


def test_row_07_nodes_that_go_by_a_name_are_found_by_it(told: Told) -> None:
    """The cluster says who has a slot by host name, as it is told to where addresses change."""
    config = {"cluster-announce-hostname": "localhost", "cluster-preferred-endpoint-type": "hostname"}
    with Cluster(binary=server_since_7(), config=config) as cluster:
        # Names travel with the nodes' heartbeats.
        until(lambda: all(_named(node.tell("SLOTS")) for node in cluster.nodes), "a name is not known everywhere")
        with trading(cluster, told) as (database, load):
            cluster.fail_over(SPACE)
            load.go_on()
            database.sync()
            # On a busy machine they may fail over once more by themselves.
            until(lambda: database.stats().server == f"localhost:{cluster.node_of(SPACE).port}")


def _named(slots: object) -> bool:
    """Whether every node is called by its name."""
    return "localhost" in str(slots) and "?" not in str(slots) and "127.0.0.1', " not in str(slots)
