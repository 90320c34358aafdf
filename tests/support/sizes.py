"""How many bytes of the server's memory a trader's keys take, and what for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.recording import Player, read_lines, trader_of
from eventstore.storage import embedded
from eventstore.storage.embedded import EmbeddedServer

OF_ORDERS = frozenset({"add_order", "update_order", "index_order_position"})
"""The calls of a session that are about orders alone."""
FIXED = {"schema", "writer"}
"""Keys that are there once a trader, however much it trades."""


@contextmanager
def embedded_on(directory: Path, binary: Path) -> Iterator[str]:
    """Run that server as an embedded one, and yield its URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "find_server_binary", lambda: binary)
        server = EmbeddedServer.open(directory)
    with server:
        yield server.url


def play(url: str, session: Path, only: frozenset[str] | None = None) -> int:
    """Play a session, or those of its calls, into an empty server; return how many events of orders that were."""
    with redis.Redis.from_url(url, protocol=2) as client:
        client.flushall()
    events = 0
    with RedisCacheDatabase(trader_of(session), config=CacheDatabaseConfig(url=url)) as database:
        player = Player(database)
        for line in read_lines(session):
            call = player.prepare(line)
            if only is None or line["call"] in only:
                call()
                events += line["call"] in {"add_order", "update_order"}
    return events


def growing_bytes(url: str, trader_id: TraderId) -> int:
    """Return the bytes of memory of all keys, log and views, but those that are there once a trader."""
    return sum(size for family, size in bytes_by_family(url, trader_id).items() if family not in FIXED)


def bytes_by_family(url: str, trader_id: TraderId) -> dict[str, int]:
    """Return the bytes of memory of all keys, by the part of their names that says what they are."""
    found: Counter[str] = Counter()
    with redis.Redis.from_url(url, protocol=2, decode_responses=True) as client:
        for key in client.scan_iter(count=1000):
            family = key.removeprefix(Keys(trader_id).prefix).partition(":")[0]
            found[family] += client.memory_usage(key, samples=0) or 0
    return dict(found)
