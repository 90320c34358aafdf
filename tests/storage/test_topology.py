"""Finding the primary: whom sentinels name, and whether it is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from eventstore.errors import Held, Retryable
from eventstore.storage.connect import connect, each_primary, server_facts, whereabouts
from eventstore.storage.location import Location
from eventstore.storage.topology import Replaced, SentinelTopology, _agreed, _Seen, topology_of
from tests.support.outages import until
from tests.support.redis_server import RedisServer
from tests.support.sentinels import NAME, Sentinel, Sentinels

OPTIONS = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0, "retry": None, "client_name": "test", "protocol": 2}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica, that nobody watches."""
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        replica.follow(primary)
        yield primary, replica


def test_a_replica_that_a_sentinel_takes_for_the_primary_is_not_written(pair: tuple[RedisServer, RedisServer]) -> None:
    _, replica = pair
    sentinel = Sentinel()
    sentinel.watch([replica], [], 60_000, 60_000)
    with sentinel, connect(_url(sentinel), 5.0, "test") as client:
        with pytest.raises(Retryable, match=f"127.0.0.1:{replica.port} is not the primary any more"):
            server_facts(client)
        assert whereabouts(client) == f"127.0.0.1:{replica.port}"


def test_a_sentinel_that_missed_a_failover_is_not_believed() -> None:
    with Sentinels(replicas=1, sentinels=2) as watched:
        before = watched.primary()
        lonely = Sentinel()
        lonely.watch([before], [], 60_000, 60_000)
        _cut_off(lonely)
        with lonely:
            now = watched.fail_over()
            assert lonely.primary_port() == before.port
            hosts = ",".join(f"127.0.0.1:{each.port}" for each in (lonely, *watched.sentinels))
            url = watched.url.replace(watched.url.partition("@")[2].partition("/")[0], hosts, 1)
            with connect(url, 5.0, "test") as client:
                assert server_facts(client)["tcp_port"] == now.port


def test_who_alone_knows_of_a_failover_is_asked_whether_the_primary_stays_and_first_from_then() -> None:
    """More than half still take the old one for the primary, and that is what anybody else is told."""
    with Sentinels(replicas=1, sentinels=3) as watched:
        before = ("127.0.0.1", watched.primary().port)
        begins, *others = watched.sentinels
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (*others, begins))
        url = watched.url.replace(watched.url.partition("@")[2].partition("/")[0], hosts, 1)
        topology = topology_of(Location.parse(url), "", OPTIONS)
        assert isinstance(topology, SentinelTopology)
        topology.check(before)
        with begins.client() as client:
            client.execute_command("SENTINEL", "FAILOVER", NAME)
        assert topology.primary() == before
        with pytest.raises(Replaced, match=f"{NAME} at {before[0]}:{before[1]} is being replaced"):
            topology.check(before)
        try:
            assert topology.primary() != before
        except redis.ConnectionError as error:
            assert "is down or being replaced" in str(error)  # noqa: PT017 - it may be over already


def test_sentinels_that_are_gone_are_asked_last_and_all_gone_is_said(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, _ = pair
    first, second, third = (Sentinel() for _ in range(3))
    for sentinel in (first, second, third):
        sentinel.watch([primary], [], 60_000, 60_000)
    with first, second, third:
        url = _url(first, second, third)
        topology = topology_of(Location.parse(url), "", OPTIONS)
        first.kill()
        assert topology.primary() == ("127.0.0.1", primary.port)
        second.kill()
        assert topology.primary() == ("127.0.0.1", primary.port), "one sentinel that answers is enough"
        third.kill()
        with connect(url, 5.0, "test") as client, pytest.raises(Retryable, match=f"no sentinel knows where {NAME} is"):
            server_facts(client)


def test_a_name_that_no_sentinel_knows_is_said(pair: tuple[RedisServer, RedisServer]) -> None:
    sentinel = Sentinel()
    sentinel.watch([pair[0]], [], 60_000, 60_000)
    with (
        sentinel,
        connect(_url(sentinel).replace(f"/{NAME}", "/other"), 5.0, "test") as client,
        pytest.raises(Retryable, match=r"no sentinel knows where other is .*No such master"),
    ):
        server_facts(client)


def test_a_primary_that_the_sentinels_hold_for_down_is_not_tried(pair: tuple[RedisServer, RedisServer]) -> None:
    sentinel = Sentinel()
    with RedisServer(tcp=True) as primary:
        sentinel.watch([primary], [], 200, 60_000)
        with sentinel, connect(_url(sentinel), 5.0, "test") as client:
            assert server_facts(client)["tcp_port"] == primary.port
            client.connection_pool.disconnect()
            primary.kill()
            with sentinel.client() as asking:
                until(lambda: "o_down" in str(asking.sentinel_master(NAME)["flags"]))
            with pytest.raises(Retryable, match=f"say that {NAME} at 127.0.0.1:{primary.port} is down"):
                server_facts(client)


def test_replicas_of_a_server_are_found_by_asking_it(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    assert primary.tcp_url is not None
    with connect(f"{primary.url}?read_from=replica", 5.0, "test") as client:
        assert server_facts(client)["tcp_port"] == replica.port
    with connect(f"{primary.tcp_url}?read_from=replica", 5.0, "test", to_primary=True) as client:
        assert server_facts(client)["tcp_port"] == primary.port
    with (
        connect(f"{replica.url}?read_from=replica", 5.0, "test") as client,
        pytest.raises(Retryable, match="give the primary's address"),
    ):
        server_facts(client)


def test_a_server_without_replicas_is_read_itself() -> None:
    """Where it has an address: what is known by a socket only can not be found by its address."""
    with RedisServer(tcp=True) as server:
        with (
            connect(f"{server.url}?read_from=replica", 5.0, "test") as client,
            pytest.raises(Retryable, match="has no replica: read from it, without read_from=replica"),
        ):
            server_facts(client)
        with connect(f"{server.tcp_url}?read_from=replica", 5.0, "test") as client:
            assert server_facts(client)["tcp_port"] == server.port
        assert server.tcp_url is not None
        with each_primary(server.tcp_url, 5.0, "test") as nodes:
            assert [node.name for node in nodes] == [f"127.0.0.1:{server.port}"]


def test_a_password_is_read_anew_for_every_connection(tmp_path: Path) -> None:
    secret = tmp_path / "redis"
    with RedisServer(tcp=True) as server:
        url = f"{server.url}?credentials_file={secret}"
        with connect(url, 5.0, "test") as client:
            with pytest.raises(Held, match=r"can not be had: .*credentials_file .*redis can not be read"):
                server_facts(client)
            secret.write_text("node\nfirst\n")
            with pytest.raises(Held, match="the user name or password is wrong"):
                server_facts(client)
            with server.client() as admin:
                admin.acl_setuser("node", enabled=True, passwords=["+first"], commands=["+info", "+client|setname"])
            server_facts(client)
            with server.client() as admin:
                admin.acl_setuser(
                    "node", enabled=True, passwords=["+second", "-first"], commands=["+info", "+client|setname"]
                )
                admin.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(Held, match="the user name or password is wrong"):
                server_facts(client)
            secret.write_text("node\nsecond\n")
            server_facts(client)


def test_a_program_that_gives_credentials_is_asked_for_every_connection() -> None:
    asked = []

    def credentials() -> tuple[str, str]:
        asked.append("asked")
        return "", "pw"

    with (
        RedisServer(password="pw") as server,
        connect(server.url, 5.0, "test", credentials=credentials) as client,
    ):
        server_facts(client)
        client.connection_pool.disconnect()
        server_facts(client)
    assert len(asked) == 2


def _cut_off(sentinel: Sentinel) -> None:
    """Have it use a wrong password: it hears nothing of what the others find."""
    file = sentinel.directory / "sentinel.conf"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line if "auth-pass" not in line else f'{line[:-1]}no"' for line in lines) + "\n")


def _url(*sentinels: Sentinel) -> str:
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    asker = "sentinel_username=asker&sentinel_password=wh%40%3Ais%2Fit%3F"
    return f"redis+sentinel://{hosts}/{NAME}?{asker}"


def _said(epoch: int, port: int, *flags: str) -> _Seen:
    return _Seen(("127.0.0.1", 26379), epoch, ("127.0.0.1", port), frozenset({"master", *flags}))


@pytest.mark.parametrize(
    ("seen", "port"),
    [
        ([_said(4, 1), _said(4, 1)], 1),
        ([_said(4, 1), _said(5, 2)], 2),
        ([_said(4, 1, "s_down"), _said(4, 1)], 1),
        ([_said(4, 1, "o_down"), _said(4, 1)], None),
        # Who brings it about has the new epoch first, and names the old primary to the end: up again, and empty.
        ([_said(5, 1, "failover_in_progress"), _said(4, 1)], None),
        ([_said(5, 1, "failover_in_progress"), _said(4, 1), _said(5, 2)], 2),
        ([_said(4, 1, "failover_in_progress"), _said(4, 1)], None),
    ],
)
def test_a_primary_that_is_being_replaced_is_none(seen: list[_Seen], port: int | None) -> None:
    assert _agreed(seen) == (None if port is None else ("127.0.0.1", port))
