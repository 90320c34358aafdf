"""What NautilusTrader's settings mean for a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.config import DatabaseConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import TraderId

from eventstore import model as m
from eventstore.config import CacheDatabaseConfig
from eventstore.integrations.nautilus.settings import store_config, store_id

NAME = m.TraderId("TRADER-001")
DEFAULT = CacheDatabaseConfig()


def _store(settings: CacheDatabaseConfig = DEFAULT, **database: Any) -> CacheDatabaseConfig:
    return store_config(NAME, CacheConfig(database=DatabaseConfig(**database)), settings)


def test_without_a_host_it_is_where_nautilus_looks() -> None:
    assert _store().url == "redis://127.0.0.1:6379"
    assert store_config(NAME, CacheConfig(), DEFAULT).url == "redis://127.0.0.1:6379"


@given(username=st.none() | st.text(min_size=1, max_size=8), password=st.none() | st.text(min_size=1, max_size=8))
def test_credentials_of_any_characters_arrive(username: str | None, password: str | None) -> None:
    url = _store(host="redis.example", port=7000, username=username, password=password, ssl=True).url
    parts = urlsplit(url or "")
    assert (parts.scheme, parts.hostname, parts.port) == ("rediss", "redis.example", 7000)
    assert unquote(parts.username or "") == (username or "")
    assert unquote(parts.password or "") == (password or "")


def test_an_address_with_colons_is_set_in_brackets() -> None:
    assert _store(host="::1").url == "redis://[::1]:6379"
    assert _store(host="[::1]").url == "redis://[::1]:6379"  # as NautilusTrader's own database needs it


def test_a_place_in_the_settings_goes_before_the_host() -> None:
    assert _store(CacheDatabaseConfig(url="unix:///run/redis.sock"), host="elsewhere").url == "unix:///run/redis.sock"
    there = _store(CacheDatabaseConfig(directory="data"), host="elsewhere")
    assert (there.url, there.directory) == (None, "data")


def test_a_timeout_counts_if_it_is_not_the_default() -> None:
    assert _store().timeout_s == DEFAULT.timeout_s
    name = "timeout" if hasattr(DatabaseConfig(), "timeout") else "response_timeout"
    assert _store(**{name: 3}).timeout_s == 3.0


def test_the_buffer_interval_is_how_long_a_batch_waits() -> None:
    config = CacheConfig(database=DatabaseConfig(), buffer_interval_ms=40)
    assert store_config(NAME, config, DEFAULT).linger_ms == 40.0
    config = CacheConfig(database=DatabaseConfig(), buffer_interval_ms=3_600_000)
    assert store_config(NAME, config, DEFAULT).linger_ms == 10_000.0
    assert _store().linger_ms == DEFAULT.linger_ms


def test_nodes_that_share_the_settings_have_a_journal_each() -> None:
    settings = CacheDatabaseConfig(journal="journals")
    journals = {store_config(m.TraderId(name), CacheConfig(), settings).journal for name in ("A-1", "B-1")}
    assert journals == {Path("journals/A-1"), Path("journals/B-1")}


def test_settings_come_from_the_environment_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_LINGER_MS", "9")
    assert store_config(NAME, CacheConfig(), None).linger_ms == 9.0


def test_a_store_is_the_traders_or_the_instances() -> None:
    instance = UUID4()
    trader = TraderId("TRADER-001")
    assert store_id(trader, instance, CacheConfig()) == "TRADER-001"
    assert store_id(trader, instance, CacheConfig(use_instance_id=True)) == f"TRADER-001:{instance.value}"
