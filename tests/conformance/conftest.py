"""One suite, and every arrangement of servers that it runs against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from eventstore.database import RedisCacheDatabase
from eventstore.keys import Keys
from tests.support.databases import TRADER
from tests.support.logs import check_log
from tests.support.topologies import TOPOLOGIES
from tests.support.topology import Topology


@pytest.fixture(scope="session", params=list(TOPOLOGIES))
def running(request: pytest.FixtureRequest) -> Iterator[Topology]:
    """The servers, started once for all tests of one process."""
    with TOPOLOGIES[request.param]() as topology:
        yield topology


@pytest.fixture
def topology(running: Topology) -> Topology:
    """The servers, wiped."""
    running.wipe()
    return running


@pytest.fixture
def client(topology: Topology) -> Iterator[Redis]:
    """A client that may do everything, where the trader's keys are."""
    with topology.client_of(Keys(TRADER).namespace) as connection:
        yield connection


@pytest.fixture
def database(topology: Topology, client: Redis) -> Iterator[RedisCacheDatabase]:
    """The trader's database. In the end everything is written, and the log keeps all of its promises."""
    with topology.open() as opened:
        yield opened
        assert opened.close() == 0
    check_log(client, Keys(TRADER))
