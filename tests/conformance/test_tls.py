"""TLS with certificates at both ends, and users of the least rights: who is let in, and who is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventstore.errors import Held, StorageError
from eventstore.keys import Keys
from tests.support.certificates import Certificates
from tests.support.clusters import Cluster
from tests.support.databases import TRADER
from tests.support.logs import check_log, dump
from tests.support.outages import Load, called
from tests.support.redis_server import server_binaries, speaks_tls
from tests.support.sentinels import Sentinels
from tests.support.topologies import OTHER, Tls
from tests.support.topology import Topology

KEYS = Keys(TRADER)
SPEAKING = [binary for binary in server_binaries().values() if speaks_tls(binary)]


@pytest.fixture
def servers(server_binary: Path) -> Iterator[Topology]:
    """A server of each kind, with TLS of its own or, where it has none, in front of it."""
    with Tls(binary=server_binary, traders=(TRADER, OTHER)) as running:
        yield running


def test_a_client_without_a_certificate_is_not_let_in(servers: Topology) -> None:
    url = re.sub(r"&ssl_(certfile|keyfile)=[^&]*", "", servers.url)
    with pytest.raises(StorageError):
        servers.open(url=url)
    with servers.client_of() as client:
        assert dump(client) == {}


def test_a_server_whose_certificate_says_another_name_is_not_talked_to(servers: Topology) -> None:
    elsewhere = servers.url.replace("@localhost:", "@127.0.0.1:")
    for url in (elsewhere, elsewhere.replace("&ssl_check_hostname=true", "")):
        with pytest.raises(StorageError, match=r"(?i)certificate.*127\.0\.0\.1"):
            servers.open(url=url)
    with servers.open(url=elsewhere.replace("ssl_check_hostname=true", "ssl_check_hostname=false")) as database:
        database.add("key", b"value")


def test_a_server_that_a_stranger_vouches_for_is_not_talked_to(servers: Topology) -> None:
    with closing(Certificates()) as stranger:
        url = re.sub(r"ssl_ca_certs=[^&]*", f"ssl_ca_certs={stranger.authority}", servers.url)
        with pytest.raises(StorageError, match=r"(?i)certificate"):
            servers.open(url=url)


def test_a_user_can_not_touch_what_is_another_traders(servers: Topology) -> None:
    with servers.open(OTHER) as theirs:
        theirs.add("key", b"value")
    with servers.client_of() as client:
        before = dump(client)
        with pytest.raises(Held, match=r"NOPERM|permission"):
            servers.open(OTHER, url=servers.place(TRADER))
        assert dump(client) == before
        with servers.open(OTHER) as theirs:
            assert theirs.load() == {"key": b"value"}
        assert all(name.startswith(Keys(OTHER).prefix) for name in dump(client))


@pytest.mark.skipif(not SPEAKING, reason="no server here was built with TLS, and several need it among themselves")
@pytest.mark.parametrize("make", [Sentinels, Cluster])
def test_everybody_may_demand_certificates_and_a_failover_loses_nothing(make: type[Sentinels] | type[Cluster]) -> None:
    """Servers and sentinels of each other, and of the library."""
    with make(binary=SPEAKING[-1], tls=True, traders=(TRADER,)) as several, several.open(timeout_s=2.0) as database:
        with Load(database) as load:
            load.go_on()
            several.fail_over(KEYS.namespace)
            load.go_on()
        assert database.close() == 0
        with several.client_of(KEYS.namespace) as client:
            assert called(check_log(client, KEYS)) == load.accepted
