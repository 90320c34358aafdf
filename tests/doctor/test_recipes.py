"""Servers that are set up as docs/operations.md says are as `eventstore doctor` wants them."""

from __future__ import annotations

import re

import pytest

from eventstore.doctor import examine
from eventstore.doctor.facts import Wanted
from eventstore.durability import Durability
from eventstore.keys import Keys
from eventstore.storage.examination import examine as look
from tests.support.clusters import Cluster
from tests.support.databases import TRADER
from tests.support.processes import ROOT
from tests.support.redis_server import server_since_7
from tests.support.sentinels import Sentinels

NAMESPACE = Keys(TRADER).namespace


def settings(heading: str) -> dict[str, str]:
    """The settings of a server that a part of the document shows."""
    text = (ROOT / "docs" / "operations.md").read_text()
    part = text.partition(f"{heading}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"^```\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    lines = [line.split(maxsplit=1) for line in blocks[0].splitlines()]
    return {name: value for name, value in lines if not name.startswith("cluster-enabled")}


@pytest.mark.parametrize(
    ("arrangement", "heading"),
    [(Sentinels, "### A primary and two replicas, with Sentinel"), (Cluster, "### A cluster")],
)
def test_a_recipe_leaves_nothing_to_mend(arrangement: type[Sentinels | Cluster], heading: str) -> None:
    """But for a defect of most servers, which the document has a part of its own about, and for a node's size. Before
    7.0, Redis does not tell what a user may do."""
    guarded = settings("### A primary and two replicas, with Sentinel")
    config = settings("## Recipes") | guarded | settings(heading)
    assert {"appendonly", "maxmemory-policy", "min-replicas-to-write"} <= config.keys()
    with arrangement(binary=server_since_7(), config=config) as servers:
        servers.open(durability="replicated(1)").close()
        servers.wait_for_primary(NAMESPACE)
        seen = look(servers.url, Wanted(trader_id=TRADER, durability=Durability(replicas=1)))
    found = {one.name: one.severity for one in examine(seen) if one.severity not in ("ok", "note")}
    assert found.pop("half_transactions", "warning") == "warning"
    assert found == {}
