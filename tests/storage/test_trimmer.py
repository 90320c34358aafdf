"""Trimming a log: only up to an entry that is there as it was archived, never all of it, and in steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.chain import LogEntry
from eventstore.errors import Diverged
from eventstore.storage.reader import Archived, Reader
from eventstore.storage.trimmer import Trimmer
from tests.support.archives import KEYS, Writer, entries, put_back, stored, write
from tests.support.redis_server import RedisServer


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def end(entry: LogEntry) -> Archived:
    assert entry.chain is not None
    return Archived(entry.position, entry.chain, entry.entry_id)


def test_it_removes_up_to_the_entry_and_notes_it(client: Redis, redis_url: str) -> None:
    write(client, [5] * 4)
    log = entries(redis_url)
    assert sum(Trimmer(client, KEYS).trim(end(log[9]))) == 10
    reader = Reader(client, KEYS)
    assert [*reader.log()] == log[10:]
    assert reader.archived() == end(log[9])
    assert reader.fence() is not None
    write(client, [1])  # whoever writes goes on where he was
    assert [entry.position for entry in reader.log()] == list(range(11, 22))


def test_it_is_repeated_without_harm_and_never_goes_back(client: Redis, redis_url: str) -> None:
    write(client, [5] * 4)
    log, trimmer = entries(redis_url), Trimmer(client, KEYS)
    keys = stored(client)
    for _ in range(2):
        trimmed = [*trimmer.trim(end(log[14]))]
    assert sum(trimmed) == 0
    put_back(client, stored(client) | {KEYS.log: keys[KEYS.log]})
    assert sum(trimmer.trim(end(log[4]))) == 5
    assert Reader(client, KEYS).archived() == end(log[14])
    assert sum(trimmer.trim(end(log[14]))) == 10


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"chain": bytes(32)}, "another chain head stands at "), ({"last_id": "1-10"}, "there is no entry 1-10")],
)
def test_an_entry_that_is_not_as_it_was_archived_is_kept(
    client: Redis, redis_url: str, wrong: dict[str, Any], match: str
) -> None:
    write(client, [5] * 4)
    archived, keys = replace(end(entries(redis_url)[9]), **wrong), stored(client)
    with pytest.raises(Diverged, match=match):
        list(Trimmer(client, KEYS).trim(archived))
    assert stored(client) == keys


def test_the_last_entry_stays(client: Redis, redis_url: str) -> None:
    """Also if it is not the one with that id: there is none behind what would go."""
    write(client, [5] * 2)
    log, keys = entries(redis_url), stored(client)
    with pytest.raises(Diverged, match="the log ends at position 10, and its last entry has to stay"):
        list(Trimmer(client, KEYS).trim(end(log[-1])))
    assert stored(client) == keys


def test_a_flush_behind_the_trim_leaves_nothing_to_trim(client: Redis, redis_url: str) -> None:
    write(client, [5] * 4)
    log, trimmer = entries(redis_url), Trimmer(client, KEYS)
    assert sum(trimmer.trim(end(log[9]))) == 10
    with Writer(client) as writer:
        writer.batch([c.Flushed(0, b"")])
        writer.batch([c.Heartbeat(1)])
    assert sum(trimmer.trim(end(log[9]))) == 0  # the note stands
    with pytest.raises(Diverged, match="there is no entry"):
        list(trimmer.trim(end(log[14])))
    assert client.xlen(KEYS.log) == 2


def test_a_log_that_is_gone_is_not_trimmed(client: Redis, redis_url: str) -> None:
    write(client, [5] * 4)
    log = entries(redis_url)
    client.flushall()
    with pytest.raises(Diverged, match=r"the fence .* is gone"):
        list(Trimmer(client, KEYS).trim(end(log[9])))
