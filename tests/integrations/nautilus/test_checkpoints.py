"""A live node's states are saved while it runs, on its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

import msgspec
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import ComponentId, StrategyId, TraderId
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from eventstore.config import CacheDatabaseConfig
from eventstore.integrations.nautilus import CacheDatabaseAdapter
from eventstore.integrations.nautilus.checkpoints import Checkpoints
from tests.support.redis_server import RedisServer

INTERVAL_S = 0.01


class Component:
    """What a trader has of an actor or strategy."""

    def __init__(self, component_id: Any, save: Callable[[], dict[str, bytes]]) -> None:
        self.id = component_id
        self.save = save


def _adapter(server: RedisServer) -> CacheDatabaseAdapter:
    serializer = MsgSpecSerializer(encoding=msgspec.msgpack)
    settings = CacheDatabaseConfig(url=server.url)
    return CacheDatabaseAdapter(TraderId("TRADER-001"), UUID4(), serializer, CacheConfig(), settings)


def _run(adapter: CacheDatabaseAdapter, trader: Any, until: Callable[[], bool]) -> None:
    async def wait() -> None:
        Checkpoints(adapter, trader, asyncio.get_running_loop(), INTERVAL_S)
        while not until():
            await asyncio.sleep(INTERVAL_S)

    asyncio.run(asyncio.wait_for(wait(), 30))


def test_states_that_change_are_written_and_others_are_not_written_again(wiped_server: RedisServer) -> None:
    seen = {"count": 0}

    def counting() -> dict[str, bytes]:
        seen["count"] += 1
        return {"count": b"%d" % min(seen["count"], 3)}

    actor = Component(ComponentId("Actor-1"), lambda: {"still": b"here"})
    strategy = Component(StrategyId("Strategy-1"), counting)
    trader = SimpleNamespace(is_running=True, actors=lambda: [actor], strategies=lambda: [strategy])
    adapter = _adapter(wiped_server)
    _run(adapter, trader, lambda: seen["count"] >= 6)
    adapter.close()
    with wiped_server.client() as client:
        entries = client.xrange("{trader-TRADER-001}:log")
    saved = [b"".join(fields.values()) for _, fields in entries]
    assert sum(b"Actor-1" in entry for entry in saved) == 1
    assert sum(b"Strategy-1" in entry for entry in saved) == 3
    again = _adapter(wiped_server)
    assert again.load_actor(ComponentId("Actor-1")) == {"still": b"here"}
    assert again.load_strategy(StrategyId("Strategy-1")) == {"count": b"3"}
    assert again.load_heartbeat() is not None
    again.close()


def test_a_strategy_whose_code_fails_keeps_no_other_from_being_saved(wiped_server: RedisServer) -> None:
    def failing() -> dict[str, bytes]:
        raise ZeroDivisionError

    components = [Component(ComponentId("Broken-1"), failing), Component(ComponentId("Whole-1"), lambda: {"a": b"1"})]
    trader = SimpleNamespace(is_running=True, actors=lambda: components, strategies=list)
    adapter = _adapter(wiped_server)
    _run(adapter, trader, lambda: adapter.load_actor(ComponentId("Whole-1")) == {"a": b"1"})
    adapter.close()


def test_a_state_that_can_not_be_stored_keeps_nothing_from_being_saved_later(wiped_server: RedisServer) -> None:
    asked = {"count": 0}

    def wrong() -> Any:
        asked["count"] += 1
        return {"count": asked["count"]}  # which is no bytes

    actor, strategy = Component(ComponentId("Wrong-1"), wrong), Component(StrategyId("S-1"), lambda: {"a": b"1"})
    trader = SimpleNamespace(is_running=True, actors=lambda: [actor], strategies=lambda: [strategy])
    adapter = _adapter(wiped_server)
    _run(adapter, trader, lambda: asked["count"] >= 3)
    assert adapter.load_strategy(StrategyId("S-1")) == {"a": b"1"}
    adapter.close()


def test_a_state_that_is_empty_now_takes_the_place_of_an_older_one(wiped_server: RedisServer) -> None:
    name = StrategyId("S-1")
    before = _adapter(wiped_server)
    before.update_strategy(Component(name, lambda: {"pending": b"O-1"}))
    before.close()
    trader = SimpleNamespace(is_running=True, actors=list, strategies=lambda: [Component(name, dict)])
    adapter = _adapter(wiped_server)
    assert adapter.load_strategy(name) == {"pending": b"O-1"}
    _run(adapter, trader, lambda: adapter.load_strategy(name) == {})
    adapter.close()


def test_a_node_that_does_not_run_is_left_alone(wiped_server: RedisServer) -> None:
    asked = {"running": 0}

    class Trader:
        @property
        def is_running(self) -> bool:
            asked["running"] += 1
            return False

    adapter = _adapter(wiped_server)
    _run(adapter, Trader(), lambda: asked["running"] >= 3)
    assert adapter.load_heartbeat() is None
    adapter.close()


def test_closing_the_adapter_ends_it(wiped_server: RedisServer) -> None:
    adapter = _adapter(wiped_server)
    trader = SimpleNamespace(is_running=True, actors=list, strategies=list)

    async def close() -> None:
        checkpoints = Checkpoints(adapter, trader, asyncio.get_running_loop(), INTERVAL_S)
        await asyncio.sleep(3 * INTERVAL_S)
        adapter.close()
        assert checkpoints._timer.cancelled()

    asyncio.run(close())
    adapter.close()  # a node that is disposed of closes it again
