"""Databases behind NautilusTrader's cache, of either kind, on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.database import CacheDatabaseAdapter as NautilusAdapter
from nautilus_trader.cache.facade import CacheDatabaseFacade
from nautilus_trader.common.config import DatabaseConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from eventstore.integrations.nautilus import CacheDatabaseAdapter as EventstoreAdapter
from tests.support.redis_server import RedisServer

TRADER = TraderId("TESTER-001")

_DEADLINE_S = 10.0
_STEP_S = 0.005


def redis_config(port: int, **options: Any) -> CacheConfig:
    """What a node's configuration says, to have its cache's database on the server at `port`."""
    return CacheConfig(database=DatabaseConfig(type="redis", host="127.0.0.1", port=port), **options)


class Backing:
    """Opens databases of one kind on one server, closes them in the end, and knows when what was written can be read.

    Parameters
    ----------
    server : RedisServer
        Listens on TCP: NautilusTrader's adapter takes a host and a port.
    adapter : type
        The class of the databases.
    reads_own_writes : bool
        Whether a load sees what was written before it. NautilusTrader's does not: its writes are on their way.

    """

    def __init__(
        self, server: RedisServer, adapter: Callable[..., CacheDatabaseFacade], *, reads_own_writes: bool
    ) -> None:
        self.server = server
        self.adapter = adapter
        self.reads_own_writes = reads_own_writes
        self._open: list[CacheDatabaseFacade] = []

    def open(
        self, trader_id: TraderId = TRADER, instance_id: UUID4 | None = None, **options: Any
    ) -> CacheDatabaseFacade:
        """A new database for a trader, as NautilusTrader's kernel makes one."""
        config = redis_config(self.server.port, **options)
        serializer = MsgSpecSerializer(
            encoding=msgspec.json if config.encoding == "json" else msgspec.msgpack,
            timestamps_as_str=True,
            timestamps_as_iso8601=config.timestamps_as_iso8601,
        )
        database = self.adapter(trader_id, instance_id or UUID4(), serializer, config)
        self._open.append(database)
        return database

    def close(self, database: CacheDatabaseFacade) -> None:
        """Close it, as a node does that stops."""
        self._open.remove(database)
        database.close()

    def close_all(self) -> None:
        for database in list(self._open):
            self.close(database)

    def reload(self, database: CacheDatabaseFacade, **options: Any) -> Cache:
        """The cache of a node that is started again, after the one that wrote through `database` has stopped."""
        self.close(database)
        return loaded(self.open(**options))

    def settle(self, check: Callable[[], object], what: object = None) -> None:
        """Assert that `check()` holds: at once if the database reads its own writes, and soon if not."""
        if self.reads_own_writes:
            assert check(), what
        else:
            eventually(check, what)

    def shows(self, read: Callable[[], object], expected: object) -> None:
        """Assert that `read()` gives `expected`, at once or soon."""
        last: object = None

        def check() -> bool:
            nonlocal last
            last = read()
            return last == expected

        try:
            self.settle(check)
        except AssertionError:
            assert last == expected  # For the difference in the report.
            raise


def eventually(check: Callable[[], object], what: object = None) -> None:
    """Ask until `check()` is true; assert that it becomes so in time."""
    deadline = time.monotonic() + _DEADLINE_S
    while not check():
        assert time.monotonic() < deadline, what or "it did not happen in time"
        time.sleep(_STEP_S)


def nautilus_backing(server: RedisServer) -> Backing:
    """Databases of NautilusTrader's own kind."""
    return Backing(server, NautilusAdapter, reads_own_writes=False)


def eventstore_backing(server: RedisServer) -> Backing:
    """Databases of ours."""
    return Backing(server, EventstoreAdapter, reads_own_writes=True)


def loaded(database: CacheDatabaseFacade) -> Cache:
    """A new cache that has loaded everything, in the order in which NautilusTrader's execution engine does."""
    cache = Cache(database=database)
    cache.cache_general()
    cache.cache_currencies()
    cache.cache_instruments()
    cache.cache_synthetics()
    cache.cache_accounts()
    cache.cache_orders()
    cache.cache_order_lists()
    cache.cache_positions()
    cache.build_index()
    return cache
