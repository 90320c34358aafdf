"""NautilusTrader's databases, ours and its own, on a real server that listens where NautilusTrader looks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.support.nautilus.backings import Backing


@pytest.fixture(scope="session", autouse=True)
def silent_logging() -> Iterator[Any]:
    """NautilusTrader's logging can be set up once in a process, and only before anything of it logs."""
    component = pytest.importorskip("nautilus_trader.common.component")
    guard = None if component.is_logging_initialized() else component.init_logging(bypass=True)
    yield guard
    del guard


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[RedisServer]:
    """The server that the tests of one process share, on a port of the loopback."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def wiped_server(tcp_server: RedisServer) -> RedisServer:
    """The shared server, with nothing on it."""
    with tcp_server.client() as client:
        client.flushall()
    return tcp_server


@pytest.fixture(params=["nautilus", "eventstore"])
def backing(request: pytest.FixtureRequest, wiped_server: RedisServer) -> Iterator[Backing]:
    """Databases of NautilusTrader's own kind, and of ours: what passes with one has to pass with the other."""
    from tests.support.nautilus import backings

    kind = {"nautilus": backings.nautilus_backing, "eventstore": backings.eventstore_backing}[request.param]
    found = kind(wiped_server)
    yield found
    found.close_all()


@pytest.fixture
def ours(wiped_server: RedisServer) -> Iterator[Backing]:
    """Databases of our kind, for what NautilusTrader's own does not do, or does wrong."""
    from tests.support.nautilus import backings

    found = backings.eventstore_backing(wiped_server)
    yield found
    found.close_all()
