"""`install` puts this library behind NautilusTrader's kernels, and `uninstall` takes it away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.config import DatabaseConfig, LoggingConfig
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.system import kernel

from eventstore import model as m
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import Closed, ConfigError
from eventstore.integrations.nautilus import CacheDatabaseAdapter, install, uninstall
from eventstore.storage.observer import observe
from tests.support.redis_server import RedisServer

ORIGINAL = kernel.CacheDatabaseAdapter, kernel.NautilusKernel.__init__


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    yield
    uninstall()
    assert (kernel.CacheDatabaseAdapter, kernel.NautilusKernel.__init__) == ORIGINAL


def _config(server: RedisServer, trader: str = "TRADER-001", **changes: Any) -> BacktestEngineConfig:
    cache = CacheConfig(database=DatabaseConfig(port=server.port))
    logging = LoggingConfig(bypass_logging=True)
    return BacktestEngineConfig(trader_id=TraderId(trader), cache=cache, logging=logging, **changes)


def _traders(server: RedisServer) -> list[m.TraderId]:
    with observe(server.url) as observer:
        return observer.traders()


def test_a_backtest_that_says_redis_uses_this_library(wiped_server: RedisServer) -> None:
    install()
    engine = BacktestEngine(config=_config(wiped_server))
    engine.cache.add("key", b"value")
    engine.dispose()
    assert _traders(wiped_server) == ["TRADER-001"]
    again = BacktestEngine(config=_config(wiped_server))
    assert again.cache.get("key") == b"value"
    again.dispose()


def test_each_engine_has_a_store_of_its_own(wiped_server: RedisServer) -> None:
    install()
    engines = [BacktestEngine(config=_config(wiped_server, name)) for name in ("A-001", "B-001")]
    for engine in engines:
        engine.cache.add("who", engine.trader_id.value.encode())
    for engine in engines:
        engine.dispose()
    assert _traders(wiped_server) == ["A-001", "B-001"]


def test_after_uninstall_nautilus_uses_its_own(wiped_server: RedisServer) -> None:
    install()
    install()  # twice is as once
    uninstall()
    uninstall()
    engine = BacktestEngine(config=_config(wiped_server))
    engine.dispose()
    assert _traders(wiped_server) == []


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[CacheDatabaseAdapter]:
    """Every adapter that is made during the test."""
    adapters: list[CacheDatabaseAdapter] = []
    init = CacheDatabaseAdapter.__init__

    def remembering(self: CacheDatabaseAdapter, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        adapters.append(self)

    monkeypatch.setattr(CacheDatabaseAdapter, "__init__", remembering)
    return adapters


def test_a_node_that_can_not_be_made_gives_the_log_back(
    wiped_server: RedisServer, made: list[CacheDatabaseAdapter]
) -> None:
    install()
    with pytest.raises((AttributeError, TypeError)):
        BacktestEngine(config=_config(wiped_server, strategies=[object()]))
    assert [adapter.store.stats().epoch for adapter in made] == [1]
    with pytest.raises(Closed):
        made[0].heartbeat(datetime.now(UTC))


def test_settings_are_those_given_or_the_environments(
    wiped_server: RedisServer, made: list[CacheDatabaseAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_LINGER_MS", "7")
    for given in (CacheDatabaseConfig(linger_ms=11.0), None):
        install(given)
        BacktestEngine(config=_config(wiped_server)).dispose()
    assert [adapter.store.config.linger_ms for adapter in made] == [11.0, 7.0]


def test_what_somebody_else_has_put_there_since_stays(wiped_server: RedisServer) -> None:
    install()
    ours = kernel.NautilusKernel.__init__
    seen: list[object] = []

    def theirs(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        ours(self, *args, **kwargs)

    kernel.NautilusKernel.__init__ = theirs
    try:
        uninstall()
        assert kernel.NautilusKernel.__init__ is theirs
        assert kernel.CacheDatabaseAdapter is ORIGINAL[0]
        BacktestEngine(config=_config(wiped_server)).dispose()
        assert len(seen) == 1
        assert _traders(wiped_server) == []
    finally:
        kernel.NautilusKernel.__init__ = ORIGINAL[1]


@pytest.mark.parametrize("interval_s", [-1, 1e9, "often", True])
def test_an_interval_that_is_none_is_refused(interval_s: Any) -> None:
    with pytest.raises(ConfigError, match="checkpoint_interval_s"):
        install(checkpoint_interval_s=interval_s)
    assert (kernel.CacheDatabaseAdapter, kernel.NautilusKernel.__init__) == ORIGINAL


def test_an_interval_of_the_environment_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_CHECKPOINT_INTERVAL_S", "often")
    with pytest.raises(ConfigError, match="EVENTSTORE_CHECKPOINT_INTERVAL_S"):
        install()


def test_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="settings"):
        install({"journal": "here"})  # type: ignore[arg-type]
