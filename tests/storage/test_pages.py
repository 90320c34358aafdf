"""A log is read whole, in order and as it stands, whatever happens to the connection on which pages are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from eventstore.keys import Keys
from eventstore.storage.connect import connect
from eventstore.storage.pages import read_pages
from eventstore.storage.reader import Reader
from tests.support.archives import entries, write
from tests.support.databases import TRADER
from tests.support.redis_server import RedisServer

LOG = Keys(TRADER).log


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    """A server with a log of fifty entries."""
    with redis_server.client(protocol=2) as admin:
        write(admin, [10] * 5)
        yield admin


@pytest.mark.parametrize("count", [1, 7, 10, 49, 50, 51])
def test_every_entry_comes_once_whatever_the_size_of_a_page(client: Redis, redis_url: str, count: int) -> None:
    with connect(redis_url, 10.0, "a test") as reading:
        found = [*Reader(reading, Keys(TRADER)).log(count=count)]
    assert found == entries(redis_url)
    assert [entry.position for entry in found] == list(range(1, 51))


def test_a_connection_that_breaks_between_two_pages_costs_no_entry(client: Redis, redis_url: str) -> None:
    with connect(redis_url, 10.0, "a test", retries=3) as reading:
        found = []
        for run in Reader(reading, Keys(TRADER)).runs(count=5):
            found += run.entries()
            client.client_kill_filter(_type="normal", skipme=True)
    assert found == entries(redis_url)


def test_what_is_taken_away_meanwhile_is_a_gap_and_no_error(client: Redis, redis_url: str) -> None:
    with connect(redis_url, 10.0, "a test") as reading:
        pages = Reader(reading, Keys(TRADER)).runs(count=5)
        assert [next(pages).positions[0] for _ in range(2)] == [1, 6]
        client.xtrim(LOG, maxlen=10, approximate=False)
        rest = [position for run in pages for position in run.positions]
    # The page behind was asked for before: a moment earlier it was the log.
    assert rest == [*range(11, 16), *range(41, 51)]


def test_whoever_looks_at_one_entry_asks_for_no_other(client: Redis, redis_url: str) -> None:
    """And leaves a connection that the next one can use."""
    client.config_resetstat()
    with connect(redis_url, 10.0, "a test") as reading:
        reader = Reader(reading, Keys(TRADER))
        for _ in range(3):
            first = reader.first()
            assert first is not None
            assert first.position == 1
        assert client.info("commandstats")["cmdstat_xrange"]["calls"] == 3
        pages = read_pages(reading, LOG, b"-", 5)
        assert [len(next(pages)) for _ in range(3)] == [5, 5, 5]
        pages.close()  # type: ignore[attr-defined]
        assert reading.ping()
