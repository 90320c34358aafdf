"""`eventstore doctor` by the URL of each arrangement: who is where, and what is not as it should be."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from eventstore.cli import app
from eventstore.keys import Keys
from tests.support.clusters import Cluster, slot_of
from tests.support.databases import TRADER
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

KEYS = Keys(TRADER)


@pytest.fixture(autouse=True)
def settled(topology: Topology) -> None:
    """Whatever another test did to the servers is over."""
    if topology.replicas_each:
        topology.wait_for_primary(KEYS.namespace)


def said(place: str, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["doctor", place, "--trader", TRADER, "--json", *options])
    assert done.exit_code == (1 if json.loads(done.stdout)["counts"]["wrong"] else 0), done
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def worst(document: dict[str, Any], name: str) -> str:
    """The severity of that finding where it is worst."""
    order = ["ok", "note", "unseen", "warning", "wrong"]
    return max((one["severity"] for one in document["findings"] if one["name"] == name), key=order.index)


def test_everybody_is_found_and_nothing_is_wrong(topology: Topology) -> None:
    """The server with the log is first, and its replicas behind it; by the URL of a user who may see everything."""
    with topology.open() as database:
        database.add("key", b"value")
    found = said(topology.place(TRADER, "doctor"), "--role", "reader")
    wrong = [one for one in found["findings"] if one["severity"] == "wrong" and "permissions" not in one["name"]]
    assert wrong == []
    assert found["topology"] == {"sentinel": "sentinel", "cluster": "cluster"}.get(topology.name, "plain")
    assert [server["replica"] for server in found["servers"][: 1 + topology.replicas_each]] == [
        False, *[True] * topology.replicas_each,
    ]  # fmt: skip
    assert worst(found, "log") == worst(found, "foreign_keys") == worst(found, "reachable") == "ok"
    assert worst(found, "default_user") == ("note" if topology.name == "unix" else "ok")
    assert worst(found, "transport") == "ok"
    if topology.replicas_each:
        port = topology.primary(KEYS.namespace).port
        assert found["servers"][0]["address"] == f"127.0.0.1:{port}"
        assert {server["address"] for server in found["servers"] if server["replica"]} == {
            f"127.0.0.1:{replica.port}" for replica in topology.replicas(KEYS.namespace)
        }


def test_the_writers_own_user_has_what_it_needs_at_every_server(topology: Topology) -> None:
    """Where it may not look, that is said; nowhere is it said to lack something."""
    found = said(topology.place(TRADER, "writer"), "--durability", f"replicated({min(topology.replicas_each, 1)})"
                 if topology.replicas_each else "applied")  # fmt: skip
    assert worst(found, "permissions_writer") in ("ok", "unseen")
    assert worst(found, "scripts") == "ok"
    assert found["counts"]["wrong"] == 0, [one for one in found["findings"] if one["severity"] == "wrong"]


def test_who_would_take_over_is_said(topology: Topology) -> None:
    found = said(topology.place(TRADER, "doctor"), "--role", "reader")
    assert worst(found, "topology") == ("ok" if topology.name in ("sentinel", "cluster") else "note")
    names = {one["name"] for one in found["findings"]}
    if topology.name == "sentinel":
        assert worst(found, "sentinels") == worst(found, "quorum") == worst(found, "sentinels_agree") == "ok"
    if topology.name == "cluster":
        assert (
            worst(found, "cluster_state") == worst(found, "cluster_primaries") == worst(found, "cluster_slot") == "ok"
        )
        [slot] = [one["found"] for one in found["findings"] if one["name"] == "cluster_slot"]
        assert f"slot {slot_of(KEYS.namespace)} is at {found['servers'][0]['address']}" == slot
    assert ("cluster_state" in names, "sentinels" in names) == (topology.name == "cluster", topology.name == "sentinel")


def test_a_slot_that_is_being_moved_is_said(topology: Topology) -> None:
    if not isinstance(topology, Cluster):
        pytest.skip("it has no slots")
    topology.open().close()
    target = next(node for node in topology.nodes if node.leads() and node is not topology.node_of(KEYS.namespace))
    migration = topology.migrate_slot(slot_of(KEYS.namespace), target)
    migration.begin()
    try:
        found = said(topology.place(TRADER, "doctor"), "--role", "reader")
    finally:
        migration.abandon()
    assert worst(found, "cluster_slot") == "warning"
    [slot] = [one["found"] for one in found["findings"] if one["name"] == "cluster_slot"]
    assert slot.endswith(f"is being moved to 127.0.0.1:{target.port}")
    assert worst(found, "log") == "unseen"
    assert worst(said(topology.place(TRADER, "doctor"), "--role", "reader"), "cluster_slot") == "ok"


def test_sentinels_that_do_not_answer_are_said(topology: Topology) -> None:
    """With one that does, who it knows is looked at; with none, nothing is, and that is what is wrong."""
    if not isinstance(topology, Sentinels):
        pytest.skip("it has no sentinels")
    place = topology.place(TRADER, "writer")
    real = f"127.0.0.1:{topology.sentinels[0].port}"
    for hosts, severity, servers in (
        (f"127.0.0.1:1,{real},127.0.0.1:2", "warning", 1 + topology.replicas_each),
        (real, "warning", 1 + topology.replicas_each),
        ("127.0.0.1:1,127.0.0.1:2", "wrong", 0),
    ):
        found = said(re.sub("@[^/@]*/", f"@{hosts}/", place))
        assert worst(found, "sentinels") == severity
        assert len(found["servers"]) == servers
        assert ("sentinel" in {one["name"] for one in found["findings"] if one["severity"] == "warning"}) == (
            hosts != real
        )
