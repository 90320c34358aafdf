"""What it takes to find the way: a user who lacks any one command of that does not get there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from eventstore.errors import StorageError
from eventstore.permissions import Grant, sentinel_commands, sentinel_rules
from eventstore.storage.observer import observe
from tests.support.databases import TRADER
from tests.support.redis_server import RedisServer
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

USER = "somebody"


@contextmanager
def user(servers: list[RedisServer], rules: list[str]) -> Iterator[None]:
    """Let there be that user at each of the servers."""
    with ExitStack() as left:
        for server in servers:
            client = left.enter_context(server.client())
            client.execute_command("ACL", "SETUSER", USER, "reset", *rules)
            left.callback(client.acl_deluser, USER)
        yield


def gets_there(url: str) -> bool:
    """Whether who looks by that URL finds the log; on a replica, and how far that is behind."""
    try:
        with observe(url) as observer:
            observer.behind(TRADER)
            return observer.reader(TRADER).fence() is not None
    except StorageError:
        return False


@pytest.mark.parametrize("from_replica", [False, True])
def test_each_command_that_finds_the_server_is_needed(topology: Topology, from_replica: bool) -> None:
    if topology.name not in ("sentinel", "cluster"):
        pytest.skip("it has only one way")
    topology.open().close()
    kind = topology.name
    grant = Grant(tasks=["reader"], trader_id=TRADER, topology=kind, replicas=from_replica)  # type: ignore[arg-type]
    place = topology.replica_place(TRADER) if from_replica else topology.place(TRADER)
    url = re.sub("//[^@]*@", f"//{USER}:PASSWORD@", place)
    way = {*grant.commands()} - {*Grant(tasks=["reader"], trader_id=TRADER).commands()}
    assert way
    with user(topology.servers, grant.rules()):
        assert gets_there(url)
    for command in way:
        with user(topology.servers, [rule for rule in grant.rules() if rule != f"+{command}"]):
            assert not gets_there(url), command


@pytest.mark.parametrize("from_replica", [False, True])
def test_each_command_at_the_sentinels_is_needed(topology: Topology, from_replica: bool) -> None:
    if not isinstance(topology, Sentinels):
        pytest.skip("it has no sentinels")
    topology.open().close()
    place = topology.replica_place(TRADER) if from_replica else topology.place(TRADER)
    url = re.sub(
        "sentinel_username=[^&]*&sentinel_password=[^&]*", f"sentinel_username={USER}&sentinel_password=PASSWORD", place
    )
    assert USER in url
    commands = sentinel_commands(replicas=from_replica)
    for lacking in ["", *commands]:
        with user([*topology.sentinels], sentinel_rules(command for command in commands if command != lacking)):
            assert gets_there(url) == (not lacking), lacking
