"""What the tests of the guarantees share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clusters import Cluster
from tests.support.failovers import mended
from tests.support.outages import Told
from tests.support.redis_server import server_since_7
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology


@pytest.fixture
def told() -> Told:
    """A logger that can be waited for."""
    return Told()


@pytest.fixture(scope="session")
def _sentinels() -> Iterator[Sentinels]:
    # Who began a failover begins no other one within twice that time. Sentinels before 7.0 take ten seconds for each.
    with Sentinels(binary=server_since_7(), failover_timeout_ms=1_500) as sentinels:
        yield sentinels


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def sentinels(_sentinels: Sentinels) -> Sentinels:
    """A primary with two replicas and three sentinels: all of them well, and empty, whatever the test before did."""
    mended(_sentinels)
    return _sentinels


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """A cluster of three primaries, each with a replica: all of them well, and empty."""
    mended(_cluster)
    return _cluster


@pytest.fixture(params=["sentinels", "cluster"])
def topology(request: pytest.FixtureRequest) -> Topology:
    """Each of the two."""
    found: Topology = request.getfixturevalue(request.param)
    return found
