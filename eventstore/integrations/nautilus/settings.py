"""What NautilusTrader's settings of a cache database mean for a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.config import DatabaseConfig

from eventstore.config import CacheDatabaseConfig
from eventstore.model.identifiers import TraderId

HOST, PORT = "127.0.0.1", 6379
"""Where NautilusTrader looks for Redis if nothing is said."""

LINGER_MS_MAX = 10_000.0
"""The longest `linger_ms` that a store takes."""


def store_id(trader_id: Any, instance_id: Any, config: CacheConfig) -> TraderId:
    """Return what the store is named after: the trader, and with `use_instance_id` the instance, too."""
    name = trader_id.value
    return TraderId(f"{name}:{instance_id.value}" if config.use_instance_id else name)


def store_config(name: TraderId, config: CacheConfig, settings: CacheDatabaseConfig | None) -> CacheDatabaseConfig:
    """Return the settings of the store `name`: `settings`, by default the environment's, completed by `config`.

    - `host`, `port`, `username`, `password`, `ssl`: where the server is, if `settings` say nothing of a `url` or
      `directory`.
    - `timeout`, or `connection_timeout` and `response_timeout`: seconds for a connection, and for each answer, if they
      are not NautilusTrader's defaults; the longer of the two.
    - `buffer_interval_ms`: how long the first command of a batch waits for others, `linger_ms`; ten seconds at most.
    - `flush_on_start`, `persist_account_events`: looked after by NautilusTrader itself.
    - `encoding`, `timestamps_as_iso8601`, `use_trader_prefix`, `bulk_read_batch_size`: of no effect. The log has one
      encoding, every key begins with the trader, and loads read in pieces of bounded size anyway.

    A journal gets a folder for the store within the directory that is set: several nodes may share the settings.
    """
    settings = CacheDatabaseConfig.from_environment() if settings is None else settings
    changes: dict[str, Any] = {}
    database = config.database
    if settings.url is None and settings.directory is None:
        changes["url"] = _url(database)
    if timeouts := _timeouts(database):
        changes["timeout_s"] = float(max(timeouts))
    if config.buffer_interval_ms is not None:
        changes["linger_ms"] = min(float(config.buffer_interval_ms), LINGER_MS_MAX)
    if settings.journal is not None:
        changes["journal"] = Path(settings.journal) / name.replace("/", "_")
    return replace(settings, **changes)


def _timeouts(database: Any) -> list[int]:
    # 1.221 has one for both; newer ones tell the connection from the answer.
    names = [name for name in ("timeout", "connection_timeout", "response_timeout") if hasattr(database, name)]
    given = {name: getattr(database, name) for name in names}
    return [value for name, value in given.items() if value not in (None, getattr(DatabaseConfig(), name))]


def _url(database: Any) -> str:
    if database is None:
        return f"redis://{HOST}:{PORT}"
    scheme = "rediss" if database.ssl else "redis"
    host = database.host or HOST
    if ":" in host and not host.startswith("["):  # NautilusTrader wants the brackets to be there
        host = f"[{host}]"
    user = quote(database.username or "", safe="")
    password = quote(database.password or "", safe="")
    who = f"{user}:{password}@" if user or password else ""
    return f"{scheme}://{who}{host}:{database.port or PORT}"
