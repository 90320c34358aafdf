"""Reading many hashes: all of them, in order, whatever happens to the connection, and nothing is left on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis._parsers import _RESP2Parser

from eventstore.errors import DamagedRecord, Held
from eventstore.storage import hashes
from eventstore.storage.connect import connect
from eventstore.storage.hashes import read_hashes
from tests.support.redis_server import RedisServer


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with connect(redis_url, 5.0, "reader", 3) as client:
        yield client


def fill(client: Redis, sizes: list[int]) -> dict[str, dict[bytes, bytes]]:
    """Write a hash of each size, none where it is 0, and return what was written."""
    written = {
        f"k{i}": {b"%d" % field: b"\r\n\x00%d" % (i * field) for field in range(size)} for i, size in enumerate(sizes)
    }
    for key, fields in written.items():
        if fields:
            client.hset(key, mapping=fields)  # type: ignore[arg-type] # bytes are taken
    return written


@pytest.mark.parametrize("count", [0, 1, hashes._FIRST_PAGE, hashes._FIRST_PAGE + 1, 3 * hashes.PAGE + 5])
def test_every_hash_comes_in_order(client: Redis, count: int) -> None:
    written = fill(client, [i % 5 for i in range(count)])
    assert list(read_hashes(client, written)) == list(written.items())


def test_large_and_small_hashes_come_in_order(client: Redis) -> None:
    written = fill(client, [3] * 30 + [hashes.FIELDS + 1] * 3 + [2] * 300)
    assert list(read_hashes(client, iter(written))) == list(written.items())


def test_what_is_no_hash_is_told_and_the_others_come(client: Redis) -> None:
    written = fill(client, [2] * 20)
    client.delete("k3", "k19")
    client.sadd("k3", "a")
    client.set("k19", "a")
    for key, found in read_hashes(client, written):
        if key in ("k3", "k19"):
            assert isinstance(found, DamagedRecord)
            assert found.key == key
        else:
            assert found == written[key]


def test_without_the_parser_in_c_they_come_all_the_same(client: Redis, redis_url: str) -> None:
    """Where hiredis has no wheel, the driver parses by itself."""
    written = fill(client, [2] * 600)
    client.delete("k7")
    client.set("k7", "a")
    with Redis.from_url(redis_url, protocol=2, parser_class=_RESP2Parser) as plain:
        found = dict(read_hashes(plain, written))
    assert isinstance(found.pop("k7"), DamagedRecord)
    del written["k7"]
    assert found == written


def test_a_connection_that_is_closed_in_the_middle_loses_nothing(client: Redis, redis_url: str) -> None:
    written = fill(client, [2] * 900)
    found = []
    with Redis.from_url(redis_url) as other:
        for i, item in enumerate(read_hashes(client, written)):
            found.append(item)
            if i % 100 == 0:
                other.client_kill_filter(_type="normal", skipme=True)
    assert found == list(written.items())


def test_who_stops_in_the_middle_leaves_no_answers_for_the_next(client: Redis) -> None:
    written = fill(client, [2] * 900)
    reading = read_hashes(client, written)
    for _ in range(20):
        next(reading)
    reading.close()  # type: ignore[attr-defined] # a generator
    assert client.get("nothing") is None
    assert list(read_hashes(client, written)) == list(written.items())


def test_what_the_server_refuses_is_raised_with_the_key(client: Redis, fresh_server: RedisServer) -> None:
    with fresh_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-hgetall")
    with connect(fresh_server.url, 5.0, "reader", 0) as refused:
        with pytest.raises(Held, match="read 2 keys from k0"):
            list(read_hashes(refused, ["k0", "k1"]))
        assert refused.exists("k0") == 0
