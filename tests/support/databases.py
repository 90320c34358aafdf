"""Databases for tests: opened in one line, and silent."""

from __future__ import annotations

from typing import Any

import structlog

from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.model.identifiers import TraderId

TRADER = TraderId("TRADER-001")

SILENT = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda _logger, _name, event: str(event)])
"""A logger that does what a logger does, and shows nothing."""


def open_database(
    url: str | None, trader_id: TraderId = TRADER, logger: Any = SILENT, **settings: Any
) -> RedisCacheDatabase:
    return RedisCacheDatabase(trader_id, logger, config=CacheDatabaseConfig(url=url, **settings))
