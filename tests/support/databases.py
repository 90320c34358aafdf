"""Databases for tests: opened in one line, and silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.health import Health
from eventstore.model.identifiers import TraderId

TRADER = TraderId("TRADER-001")

SILENT = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda _logger, _name, event: str(event)])
"""A logger that does what a logger does, and shows nothing."""


def open_database(
    url: str | None,
    trader_id: TraderId = TRADER,
    logger: Any = SILENT,
    on_health: Callable[[Health], object] | None = None,
    **settings: Any,
) -> RedisCacheDatabase:
    config = CacheDatabaseConfig(url=url, **settings)
    return RedisCacheDatabase(trader_id, logger, config=config, on_health=on_health)
