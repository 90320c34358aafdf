"""What docs/operations.md says of copies: taken under load they are whole, and a node goes on from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eventstore.audit import open_log, verify
from eventstore.errors import DataLoss
from tests.support.databases import TRADER, open_database
from tests.support.outages import Told, call, under_load, written
from tests.support.redis_server import RedisServer

RDB = "dump.rdb"


@pytest.mark.parametrize("journal", [False, True])
def test_a_copy_that_is_taken_under_load_is_whole_and_lacks_only_the_end(
    journal: bool, told: Told, tmp_path: Path
) -> None:
    """A node goes on behind its end: with the journal, it first writes what came behind the copy."""
    directory = tmp_path / "journal" if journal else None
    with RedisServer() as server, RedisServer() as other:
        with under_load(server, told, journal=directory) as (_, load):
            for _ in range(3):
                load.go_on(200)
                _bring_back(server, other)
                copied = written(other)
                assert copied == load.accepted[: len(copied)]
                with open_log(other.url, TRADER) as log:
                    assert not verify(log).findings
        with open_database(other.url, journal=directory) as database:
            added = [call(database, number) for number in range(10)]
            database.sync()
            assert written(other) == (load.accepted if journal else copied) + added


def test_a_copy_that_the_journal_does_not_reach_is_refused_with_the_range(tmp_path: Path) -> None:
    """Nothing is changed; with the journal moved away, the node goes on from the copy."""
    journal = tmp_path / "journal"
    small = {"journal": journal, "journal_segment_bytes": 1 << 14, "journal_bytes_max": 1 << 15}
    with RedisServer() as server, RedisServer() as other:
        with open_database(server.url, **small, retained_bytes_max=1024) as database:
            first = call(database, 1)
            position = database.sync()
            _bring_back(server, other)
            for number in range(400):
                database.add(f"key-{number}", b"v" * 200)
                if not number % 20:
                    database.sync()
            last = database.sync()
        with pytest.raises(DataLoss) as caught:
            open_database(other.url, **small)
        assert caught.value.first == position + 1
        assert position < caught.value.last <= last + 1
        assert written(other) == [first]
        journal.rename(tmp_path / "given up")
        with open_database(other.url, **small):
            pass
        assert written(other) == [first]


def _bring_back(server: RedisServer, other: RedisServer) -> None:
    """Start `other` with a copy of what `server` has."""
    with server.client() as client:
        client.save()
    other.stop()
    shutil.copy(server.directory / RDB, other.directory / RDB)
    other.start()
