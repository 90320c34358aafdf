"""`eventstore status --all` by the URL of each arrangement: every trader once, where its log is."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from eventstore.cli import app
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from tests.support.databases import open_database
from tests.support.outages import until
from tests.support.topology import Topology

_TRADERS = [TraderId(f"FLEET-{number}") for number in range(8)]


def table(place: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["status", place, "--all", "--json"])
    assert done.exit_code == 0, done
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_trader_is_shown_once_and_where_it_is(topology: Topology) -> None:
    everybodys = topology.place(TraderId("NOBODYS-1"))  # who may do everything
    for trader_id in _TRADERS:
        settings = {"url": everybodys} if "://" in everybodys else {"url": None, "directory": everybodys}
        open_database(trader_id=trader_id, **settings).close()
    found = table(everybodys)
    assert [one["trader_id"] for one in found["traders"]] == _TRADERS
    assert {one["position"] for one in found["traders"]} == {2}
    if topology.name == "cluster":
        assert len(found["nodes"]) == 3
        for one in found["traders"]:
            port = topology.primary(Keys(TraderId(one["trader_id"])).namespace).port
            assert one["node"] == f"127.0.0.1:{port}"

    def all_are_followed() -> bool:
        return {len(node["replicas"]) for node in table(everybodys)["nodes"]} == {topology.replicas_each}

    until(all_are_followed)  # what another test did to the servers may not be over
