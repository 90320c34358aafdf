"""A recorded session, played through: what a later process loads is what the node had in the end."""

from __future__ import annotations

from array import array

import pytest

from eventstore.cli.comparison import compare_state, load_state
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.recording import play, read_final
from tests.support.cli import TRADER, final, session
from tests.support.logs import check_log
from tests.support.topology import Topology

RECORDER = TraderId(TRADER)


@pytest.mark.parametrize("name", ["emacross", "trailing"])
def test_a_recorded_session_comes_back(topology: Topology, name: str) -> None:
    durations_ns = array("q")
    with topology.open(RECORDER) as database:
        play(database, session(name), durations_ns)
        assert database.close() == 0
    with topology.open(RECORDER) as later:
        checks = compare_state(load_state(later), read_final(final(name)))
    assert {check.name: check.differences for check in checks if check.differences} == {}
    assert all(check.compared for check in checks if check.name == "orders")
    keys = Keys(RECORDER)
    with topology.client_of(keys.namespace) as client:
        assert len(check_log(client, keys)) > len(durations_ns)
