"""Several traders at the same servers."""

from __future__ import annotations

from redis import Redis

from eventstore.keys import Keys
from tests.support.databases import TRADER
from tests.support.logs import Value, check_log, dump, views_of
from tests.support.orders import order_after
from tests.support.outages import Load
from tests.support.topologies import OTHER
from tests.support.topology import Topology

KEYS, OTHERS = Keys(TRADER), Keys(OTHER)


def all_of(client: Redis, keys: Keys) -> dict[str, Value]:
    return {name: value for name, value in dump(client).items() if name.startswith(keys.prefix)}


def test_two_traders_side_by_side_do_not_touch_one_another(topology: Topology) -> None:
    """Each has its log and its views, wherever they are, and an order id of one is nothing to the other."""
    with topology.open() as ours, topology.open(OTHER) as theirs:
        with Load(ours) as load:
            for number in range(100):
                theirs.add("key", b"%d" % number)
            theirs.add_order(order_after(trader_id=OTHER))
            load.go_on()
        ours.add_order(order_after())
        assert ours.load_orders()["O-1"].trader_id == TRADER
        assert theirs.load_orders()["O-1"].trader_id == OTHER
        assert theirs.load() == {"key": b"99"}
    with topology.client_of(KEYS.namespace) as client:
        check_log(client, KEYS)
    with topology.client_of(OTHERS.namespace) as client:
        assert len(check_log(client, OTHERS)) == 103


def test_a_flush_deletes_what_is_this_traders_and_nothing_else(topology: Topology) -> None:
    with (
        topology.client_of(KEYS.namespace) as client,
        topology.client_of(OTHERS.namespace) as elsewhere,
        topology.open() as ours,
        topology.open(OTHER) as theirs,
    ):
        # Beside the trader's keys in the same slot, but none of them.
        client.set(f"{KEYS.namespace}", b"the tag alone")
        client.set(f"{KEYS.namespace}x", b"another name")
        for database in (ours, theirs):
            database.add("key", b"value")
            database.sync()
        before = all_of(elsewhere, OTHERS)
        position = ours.sync()
        ours.flush()
        assert ours.load() == {}
        assert views_of(dump(client), KEYS) == {}
        assert all_of(elsewhere, OTHERS) == before
        assert client.get(f"{KEYS.namespace}") == b"the tag alone"
        assert client.get(f"{KEYS.namespace}x") == b"another name"
        assert [line.position for line in check_log(client, KEYS)] == [position + 1]
        ours.add("after", b"value")
        assert ours.load() == {"after": b"value"}
        assert ours.close() == 0
        check_log(client, KEYS)


def test_the_names_of_the_keys_are_those_of_this_trader(topology: Topology) -> None:
    with topology.open() as ours, topology.open(OTHER) as theirs:
        ours.add("key", b"value")
        theirs.add("key", b"value")
        theirs.sync()
        assert ours.keys() == sorted([KEYS.general, KEYS.log, KEYS.schema, KEYS.writer])
