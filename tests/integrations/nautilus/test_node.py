"""A trading node that is killed in the middle of its trading, and a server that dies under one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from tests.support.nautilus.nodes import Node
from tests.support.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(tcp=True, config={"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


def assert_nothing_is_missing(node: Node, found: dict[str, Any]) -> None:
    """Assert that `found` has all that the strategy of `node` was told."""
    orders = {(order, event) for order, events in found["orders"].items() for event in events}
    fills = {(position, event) for position, events in found["positions"].items() for event in events}
    assert node.order_events <= orders
    assert node.fills <= fills
    assert found["integrity"]


def test_a_node_that_was_killed_goes_on_where_it_was(server: RedisServer, tmp_path: Path) -> None:
    """Twice: what is loaded after the second time goes back to the first."""
    with Node(server, tmp_path) as first:
        first.read(300, in_the_middle=True)
        first.kill()
    assert first.loaded["orders"] == {}
    with Node(server, tmp_path) as second:
        second.read(300, in_the_middle=True)
        second.kill()
    assert_nothing_is_missing(first, second.loaded)
    assert second.loaded["open"]
    with Node(server, tmp_path) as third:
        third.read(50)
        assert third.stop() == 0
    assert_nothing_is_missing(first, third.loaded)
    assert_nothing_is_missing(second, third.loaded)
    # It traded on, under ids of its own.
    assert {order for order, _ in third.order_events} - third.loaded["orders"].keys()


def test_the_state_of_a_strategy_is_that_of_the_last_checkpoint(server: RedisServer, tmp_path: Path) -> None:
    with Node(server, tmp_path) as first:
        first.read(400)
        first.kill()
    with Node(server, tmp_path) as second:
        second.read(1)
    # The last one may have been given and not taken when the process died.
    assert len(first.states) >= 2
    assert second.loaded["count"] in first.states[-2:]


def test_a_node_trades_on_while_the_server_is_dead(server: RedisServer, tmp_path: Path) -> None:
    with Node(server, tmp_path) as node:
        node.read(200)
        server.kill()
        node.read(400)
        server.start()
        node.read(600)
        assert node.stop() == 0
    with Node(server, tmp_path) as again:
        again.read(1)
    assert_nothing_is_missing(node, again.loaded)


def test_a_node_that_is_killed_while_the_server_is_dead(server: RedisServer, tmp_path: Path) -> None:
    """What the server never saw is in the journal alone."""
    with Node(server, tmp_path) as first:
        first.read(200)
        server.kill()
        first.read(400, in_the_middle=True)
        first.kill()
    server.start()
    with Node(server, tmp_path) as second:
        second.read(50)
        assert second.stop() == 0
    assert_nothing_is_missing(first, second.loaded)
    assert second.loaded["open"]
