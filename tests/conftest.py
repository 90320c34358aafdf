"""Servers for the tests. Every one is real, private, and gone when the tests are."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import effort  # noqa: F401  # registers its profile
from tests.support.redis_server import RedisServer, server_binaries

# A deadline per example would measure the machine's neighbours.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def nobodys_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept where nothing is said is not kept in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTSTORE_DIR", str(tmp_path_factory.mktemp("eventstore")))
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that the tests of one process share. For reading and writing keys; not to be stopped."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of the shared server, wiped."""
    with redis_server.client() as client:
        client.flushall()
        client.script_flush()
    return redis_server.url


@pytest.fixture
def fresh_server() -> Iterator[RedisServer]:
    """A server of the test's own, to kill and freeze. Its data outlive a restart."""
    with RedisServer(config={"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


def pytest_configure() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and so would every program they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``server_binary`` runs once with each kind of server that is installed."""
    if "server_binary" in metafunc.fixturenames:
        binaries = server_binaries()
        metafunc.parametrize("server_binary", list(binaries.values()), ids=list(binaries))


@pytest.fixture
def server_of_each_kind(server_binary: Path) -> Iterator[RedisServer]:
    """One server of each kind that is installed, one test after the other."""
    with RedisServer(binary=server_binary) as server:
        yield server
