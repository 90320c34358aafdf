"""How much of the server's memory an order event takes: bytes, which are no times, and come out the same anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import eventstore
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import ClientOrderId, Order, OrderAccepted, OrderFilled, OrderSubmitted, Quantity
from eventstore.recording import trader_of
from eventstore.storage.embedded import COMPACT
from tests.support.orders import IDS, happened, initialized
from tests.support.redis_server import RedisServer
from tests.support.sizes import OF_ORDERS, bytes_by_family, embedded_on, growing_bytes, play

ROOT = Path(eventstore.__file__).parents[1]
SESSIONS = {path.name.partition(".")[0]: path for path in (ROOT / "eventstore/sessions").glob("*.jsonl.gz")}
PROMISED = {"emacross": 430, "trailing": 330, "bracket": 445}
"""Bytes of memory an order event takes at most, as docs/operations.md says, and a twentieth for other batches."""
PACKED = {b"listpack", b"ziplist"}
"""What Redis 7 and Redis 6 call it."""


@pytest.fixture
def embedded_url(tmp_path: Path, server_binary: Path) -> Iterator[str]:
    """An embedded server of each kind."""
    with embedded_on(tmp_path, server_binary) as url:
        yield url


def test_an_embedded_server_of_each_kind_takes_the_settings_that_save_memory(embedded_url: str) -> None:
    with redis.Redis.from_url(embedded_url, protocol=2) as client:
        for name, value in COMPACT.items():
            assert client.config_get(name)[name] == str(value)


def test_the_documents_recommend_the_settings_of_the_embedded_server() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    named = dict(re.findall(r"^((?:hash-max|stream-node)-[a-z-]+) (\d+)$", text, re.MULTILINE))
    assert named == {name: str(value) for name, value in COMPACT.items()}


@pytest.mark.parametrize("name", SESSIONS)
def test_an_order_event_of_a_session_takes_the_memory_that_is_promised(embedded_url: str, name: str) -> None:
    """Log, hashes, sets and indexes together; and every order is packed."""
    events = play(embedded_url, SESSIONS[name], OF_ORDERS)
    assert growing_bytes(embedded_url, trader_of(SESSIONS[name])) / events <= PROMISED[name]
    assert unpacked(embedded_url, ":order:") == set()


@pytest.mark.parametrize("name", SESSIONS)
def test_the_settings_of_the_embedded_server_save_memory_at_any_server(
    server_of_each_kind: RedisServer, name: str
) -> None:
    """As the documents recommend them: at run time, of a server that has its own defaults otherwise."""
    sizes = []
    for settings in ({}, COMPACT):
        with server_of_each_kind.client() as client:
            for setting, value in settings.items():
                client.config_set(setting, value)
        play(server_of_each_kind.url, SESSIONS[name])
        sizes.append(growing_bytes(server_of_each_kind.url, trader_of(SESSIONS[name])))
    assert sizes[1] < 0.95 * sizes[0]
    assert unpacked(server_of_each_kind.url, ":order:") | unpacked(server_of_each_kind.url, ":position:") == set()


def test_an_order_event_takes_as_much_memory_when_there_are_ten_times_as_many(redis_url: str) -> None:
    """But for the tables of sets: as long as a power of two, they take 8 to 16 bytes a member; and digits of ids."""
    sizes = []
    for count in (200, 2_000):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        with RedisCacheDatabase(IDS["trader_id"], config=CacheDatabaseConfig(url=redis_url)) as database:
            for i in range(10_000, 10_000 + count):
                trade(database, ClientOrderId(f"O-20231114-221320-001-001-{i}"))
        families = bytes_by_family(redis_url, IDS["trader_id"])
        sizes.append(families)
    few, many = sizes
    for family in ("log", "order", "orders", "orders_closed"):
        step = 2 * 8 * 2_000 if family.startswith("orders") else 0
        assert many[family] <= 10 * few[family] * 1.03 + step


def test_what_a_server_had_before_is_packed_when_it_starts_again(tmp_path: Path, server_binary: Path) -> None:
    """A data directory of an older version of the library: the server reads its file with the new settings."""
    with embedded_on(tmp_path, server_binary) as url, redis.Redis.from_url(url) as client:
        client.config_set("hash-max-ziplist-value", 64)
        client.hset("an:order:1", mapping={"0": b"x" * 200, "1": b"x" * 200})
        assert unpacked(url, ":order:") == {b"an:order:1"}
    with embedded_on(tmp_path, server_binary) as url:
        assert unpacked(url, ":order:") == set()


def unpacked(url: str, family: str) -> set[bytes]:
    """The keys of that family that are not packed. A hash of more than 128 records never is."""
    with redis.Redis.from_url(url) as client:
        keys = [key for key in client.scan_iter(f"*{family}*", count=1000) if client.hlen(key) <= 128]
        return {key for key in keys if client.object("encoding", key) not in PACKED}


def trade(database: RedisCacheDatabase, order_id: ClientOrderId) -> None:
    """Live an order of four events."""
    order = Order.create(initialized(client_order_id=order_id))
    database.add_order(order)
    filled = happened(OrderFilled, client_order_id=order_id, last_qty=Quantity("100"))
    for event in (*(happened(kind, client_order_id=order_id) for kind in (OrderSubmitted, OrderAccepted)), filled):
        order.apply(event)
        database.update_order(order)
