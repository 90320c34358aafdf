"""Many traders at once: what each says alone, in round trips that do not grow with each trader."""

from __future__ import annotations

from typing import Any

import redis
from redis import Redis

from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.fleet import standings
from eventstore.storage.reader import Reader
from tests.support.databases import open_database
from tests.support.redis_server import RedisServer

_MANY = 600


class Counting(redis.UnixDomainSocketConnection):
    """A connection that counts how often something is sent."""

    sent = 0

    def send_packed_command(self, *args: Any, **options: Any) -> None:
        Counting.sent += 1
        super().send_packed_command(*args, **options)


def test_a_server_is_asked_about_hundreds_of_traders_at_once(redis_server: RedisServer, redis_url: str) -> None:
    names = [TraderId(f"T-{number:04}") for number in range(_MANY)]
    with open_database(redis_url, names[0]) as database:
        database.add("key", b"value")
    with redis_server.client() as client:
        keys = Keys(names[0])
        kept = [client.dump(keys.writer), client.dump(keys.log)]
        pipeline = client.pipeline(transaction=False)
        for name in names[1:]:
            for key, value in zip((Keys(name).writer, Keys(name).log), kept, strict=True):
                pipeline.restore(key, 0, value)
        pipeline.execute()
    pool = redis.ConnectionPool(connection_class=Counting, path=str(redis_server.socket_path))
    with Redis.from_pool(pool) as client:
        client.ping()
        Counting.sent = 0
        found = list(standings(client, names))
        assert Counting.sent == 3
    assert [standing.trader_id for standing in found] == names
    assert {standing.entries for standing in found} == {3}
    pool.disconnect()


def test_each_stands_as_it_says_alone(redis_server: RedisServer, redis_url: str) -> None:
    names = [TraderId(f"T-{number}") for number in range(3)]
    for number, name in enumerate(names):
        with open_database(redis_url, name) as database:
            for key in range(number * 500):
                database.add(f"key-{key}", b"value" * 10)
    with redis_server.client() as client:
        client.delete(Keys(names[0]).writer)
        for standing in standings(client, names):
            reader = Reader(client, Keys(standing.trader_id))
            assert standing.fence == reader.fence()
            assert standing.last == reader.last()
            entries, log_bytes = reader.log_size()
            assert standing.entries == entries
            assert abs(standing.log_bytes - log_bytes) <= log_bytes / 10


def test_what_does_not_belong_there_is_said_of_that_trader_alone(redis_server: RedisServer, redis_url: str) -> None:
    names = [TraderId(f"T-{number}") for number in range(4)]
    for name in names:
        open_database(redis_url, name).close()
    with redis_server.client() as client:
        client.set(Keys(names[0]).log, "?")
        client.hset(Keys(names[1]).writer, "epoch", "?")
        client.hset(Keys(names[2]).heartbeat, "timestamp", "?")
        found = list(standings(client, names))
    assert [bool(standing.wrong) for standing in found] == [True, True, True, False]
    assert [standing.fence is None for standing in found] == [False, True, False, False]
