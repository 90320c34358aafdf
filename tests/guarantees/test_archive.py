"""A log that is archived and trimmed while somebody reads it: row 35."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore.audit import Fold, open_log, state_at
from eventstore.audit import log as log_module
from eventstore.audit.archive.retention import Criterion
from eventstore.errors import ArchiveError, LogGap
from tests.support.archives import KEYS, archive, entries, stored, write
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.journals import flip
from tests.support.redis_server import RedisServer


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few entries, so that a trim comes between two of them."""
    monkeypatch.setattr(log_module, "_PAGE", 3)


@effort(60)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=12),
    races=st.dictionaries(st.integers(0, 40), st.integers(0, 12), max_size=6),
    segment_entries=st.integers(1, 10),
    later_ms=st.none() | st.integers(0, 12),
)
def test_row_35_a_replay_is_whole_whenever_the_log_is_trimmed(
    redis_server: RedisServer,
    client: Redis,
    sizes: list[int],
    races: dict[int, int],
    segment_entries: int,
    later_ms: int | None,
) -> None:
    """Between any two entries that it reads, wherever it begins: entry by entry what was there, and nothing twice."""
    client.flushall()
    write(client, [1, 1])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        archive(redis_server.url, directory)
        write(client, sizes)
        expected = entries(redis_server.url, directory)
        since_ms = None if later_ms is None else expected[2].accepted_ms + later_ms
        wanted = [entry for entry in expected if since_ms is None or entry.accepted_ms >= since_ms]

        def race(place: int) -> None:
            if place in races:
                criterion = Criterion(keep_entries=races[place])
                archive(redis_server.url, directory, criterion, segment_entries=segment_entries)

        with open_log(redis_server.url, TRADER, directory) as log:
            found = []
            reading = log.entries(0, None, since_ms)
            race(0)
            for place, entry in enumerate(reading, 1):
                found.append(entry)
                race(place)
            assert found == wanted
            fold = Fold(KEYS)
            for entry in expected:
                fold.apply(entry)
            views = state_at(log, on_entry=lambda entry: race(entry.position)).views
            assert (views.hashes, views.sets) == (fold.views.hashes, fold.views.sets)


def test_row_35_a_replay_without_the_archive_is_told_where_the_rest_is(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """It never takes a part for the whole: it ends with what is missing by name."""
    write(client, [2] * 10)
    with open_log(redis_url, TRADER) as log:
        reading = log.entries()
        first = [next(reading) for _ in range(3)]
        archive(redis_url, tmp_path, Criterion(keep_entries=5))
        with pytest.raises(LogGap, match="was archived up to position 14") as caught:
            list(reading)
    assert [entry.position for entry in first] == [1, 2, 3]
    assert (caught.value.first, caught.value.last) == (4, 14)


@pytest.mark.parametrize("offset", [0, 200, -1])
def test_row_35_nothing_is_trimmed_that_is_not_in_a_verified_archive(
    client: Redis, redis_url: str, tmp_path: Path, offset: int
) -> None:
    """A segment that the disk gives back otherwise than it was written is not taken for one, wherever it differs."""
    write(client, [2] * 10)
    before = stored(client)

    def damage(step: str) -> None:
        if step == "verify the segment":
            [path] = tmp_path.rglob("*.new")
            flip(path, offset % path.stat().st_size)

    with pytest.raises(ArchiveError, match="nothing was trimmed"):
        archive(redis_url, tmp_path, on_step=damage)
    assert stored(client) == before
    assert archive(redis_url, tmp_path).trimmed == 18
