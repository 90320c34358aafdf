"""Loads that read from a replica give what this process wrote, or say how far behind the replica is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventstore.errors import SyncTimeout
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType
from tests.support.databases import TRADER, open_database
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

OPENS = f"""
import sys
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import Currency, TraderId
with RedisCacheDatabase(TraderId("{TRADER}"), config=CacheDatabaseConfig(url=sys.argv[1])):
    print(Currency.from_str("XGT").precision, flush=True)
"""


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and a replica that follows it."""
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        replica.follow(primary)
        yield primary, replica


def test_row_37_a_replica_that_lags_is_waited_for_and_it_is_said_how_far_it_is_behind(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """It lost its primary, and can be read all the same: nothing that it has is given for what was written since."""
    primary, replica = pair
    with open_database(f"{primary.tcp_url}?read_from=replica", load_timeout_s=0.5) as database:
        assert database.stats().replica_behind is None
        database.add("key", b"old")
        assert database.load() == {"key": b"old"}
        assert database.stats().replica_behind in (0, 1)
        with replica.client() as admin:
            admin.replicaof("127.0.0.1", "1")
            for _ in range(3):
                database.add("key", b"new")
            position = database.sync()
            with pytest.raises(SyncTimeout, match=f"{replica.port} is 3 commands behind position {position}"):
                database.load()
            assert database.stats().replica_behind == 3
            assert admin.hget("{trader-TRADER-001}:general", "key") == b"old"
        replica.follow(primary)
        assert database.load() == {"key": b"new"}


def test_row_37_what_another_connection_gave_is_read_again(
    pair: tuple[RedisServer, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was found to have everything breaks before anything is read. Whoever answers then may be another
    replica, or the same one started anew, that has not caught up yet, and has when it is looked again."""
    primary, replica = pair
    with open_database(f"{primary.tcp_url}?read_from=replica") as database:
        database.add("key", b"value")
        reader = database._persister.reader
        read, looked = reader.hash, []

        def cut_once(key: str) -> Any:
            if not looked:
                with replica.client() as admin:
                    admin.client_kill_filter(_type="normal", skipme=True)
            looked.append(key)
            return read(key)

        monkeypatch.setattr(reader, "hash", cut_once)
        assert database.load() == {"key": b"value"}
        assert len(looked) == 2
        assert database.load() == {"key": b"value"}
        assert len(looked) == 3


def test_row_37_a_node_that_starts_learns_from_a_replica_what_it_goes_on_from(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """It claims the log at the primary; the replica has to have that claim, and so everything before it."""
    primary, replica = pair
    with open_database(primary.url) as before:
        before.add("key", b"value")
        before.sync()
        with replica.client() as admin:
            admin.replicaof("127.0.0.1", "1")
            admin.config_set("replica-serve-stale-data", "yes")
            before.add("key", b"later")
            before.sync()
            admin.replicaof("127.0.0.1", str(primary.port))
        assert before.close() == 0
    with open_database(f"{primary.tcp_url}?read_from=replica") as after:
        assert after.load() == {"key": b"later"}


def test_row_37_a_node_that_starts_knows_the_currencies_that_a_replica_lacks(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    """Money can not be read without them, whatever the replica still has to hear of."""
    primary, replica = pair
    gold = Currency("XGT", 9, 0, "Gold grams", CurrencyType.COMMODITY_BACKED)
    with replica.client() as admin, open_database(primary.url) as before:
        before.add("key", b"value")
        before.sync()
        admin.config_set("replica-serve-stale-data", "yes")
        admin.replicaof("127.0.0.1", "1")
        before.add_currency(gold)
        before.close()
    url = f"{primary.tcp_url}?read_from=replica"
    known = PythonProcess(OPENS, url)
    try:
        assert known.line() == "9"
    finally:
        known.close()
