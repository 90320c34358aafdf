"""How far what was accepted has come: waiting for a level, in a thread or a task; and health."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstore.database import RedisCacheDatabase
from eventstore.errors import Closed, ConfigError, Refused, SyncTimeout
from eventstore.facade import Level
from eventstore.health import Health
from tests.support.databases import open_database
from tests.support.outages import until
from tests.support.redis_server import RedisServer

PATIENCE_S = 30.0
LEVELS: tuple[Level, ...] = ("accepted", "journaled", "applied", "durable")


@pytest.fixture(params=[False, True], ids=["thread", "task"])
def wait(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Wait as a thread does, or as an asyncio task does while its loop goes on."""

    def in_thread(database: RedisCacheDatabase, *arguments: Any) -> int:
        return database.sync(*arguments)

    def in_task(database: RedisCacheDatabase, *arguments: Any) -> int:
        async def both() -> int:
            waiting = asyncio.ensure_future(database.synced(*arguments))
            turns = 0
            while not waiting.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns
            return await waiting

        return asyncio.run(both())

    return in_task if request.param else in_thread


@pytest.mark.parametrize("journaled", [False, True])
def test_each_level_gives_the_same_position(
    journaled: bool, wait: Callable[..., int], redis_url: str, tmp_path: Path
) -> None:
    """Beside a healthy server everything comes to every level: the position is that of the last call before."""
    settings = {"journal": tmp_path / "journal"} if journaled else {}
    with open_database(redis_url, **settings) as database:
        for number in range(1, 20):
            database.add(f"key-{number}", b"value")
            for level in LEVELS:
                if level == "journaled" and not journaled:
                    with pytest.raises(Refused, match="there is no journal to wait for"):
                        wait(database, PATIENCE_S, level)
                else:
                    assert wait(database, PATIENCE_S, level) == number + 1  # behind the entry that opened the log
        stats = database.stats()
        assert (stats.applied, stats.durable) == (20, 20)
        assert (stats.accepted, stats.journaled) == ((20, 20) if journaled else (None, None))


def test_without_the_server_the_journal_still_is_reached(
    wait: Callable[..., int], fresh_server: RedisServer, tmp_path: Path
) -> None:
    """What is accepted is safe on this host at once; that it is not applied is a timeout, and it stays accepted."""
    with open_database(fresh_server.url, journal=tmp_path / "journal", timeout_s=0.5, close_timeout_s=0.1) as database:
        position = database.sync()
        fresh_server.kill()
        database.add("key", b"value")
        assert wait(database, PATIENCE_S, "accepted") == position + 1
        assert wait(database, PATIENCE_S, "journaled") == position + 1
        until(lambda: database.stats().in_doubt == 1)
        with pytest.raises(SyncTimeout, match=r"not applied within 0\.05 s: 0 commands wait and 1 are in doubt"):
            wait(database, 0.05000001, "applied")
        assert database.close() == 1


def test_who_waits_for_a_database_that_is_closed_is_told(wait: Callable[..., int], redis_url: str) -> None:
    database = open_database(redis_url)
    assert database.close() == 0
    with pytest.raises(Closed):
        wait(database, PATIENCE_S)


def test_a_task_that_is_cancelled_leaves_nothing_behind(fresh_server: RedisServer) -> None:
    """What it waited for is written all the same, and others go on waiting."""

    async def cancel(database: RedisCacheDatabase) -> int:
        first, second = (asyncio.ensure_future(database.synced(PATIENCE_S)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        fresh_server.resume()
        return await second

    with open_database(fresh_server.url) as database:
        database.sync()
        fresh_server.pause()
        database.add("key", b"value")
        assert asyncio.run(cancel(database)) == 2
        assert database._persister._writer.applied._waiters == {}


@pytest.mark.parametrize("level", ["", "fsynced", "APPLIED"])
def test_another_level_is_refused(level: Any, redis_url: str) -> None:
    with open_database(redis_url) as database, pytest.raises(Refused, match="is none of accepted, journaled, applied"):
        database.sync(level=level)


class Noted:
    """Every health that was told."""

    def __init__(self) -> None:
        self.told: list[Health] = []
        self._more = threading.Condition()

    def __call__(self, health: Health) -> None:
        with self._more:
            self.told.append(health)
            self._more.notify_all()

    def wait_for(self, state: str) -> Health:
        with self._more:
            assert self._more.wait_for(lambda: any(one.state == state for one in self.told), PATIENCE_S)
            return next(one for one in self.told if one.state == state)


def test_health_is_told_as_it_changes_and_can_be_read_at_any_time(fresh_server: RedisServer) -> None:
    """Healthy, degraded with the reason while the server is away, healthy again, failed when the log is gone."""
    noted = Noted()
    with open_database(fresh_server.url, on_health=noted, timeout_s=0.5) as database:
        database.sync()
        assert database.health[:2] == ("healthy", None)
        assert noted.told == []
        fresh_server.kill()
        database.add("key", b"value")
        degraded = noted.wait_for("degraded")
        assert degraded.reason is not None
        assert "can not be reached" in degraded.reason
        fresh_server.start()
        database.sync()
        healthy = noted.wait_for("healthy")
        assert degraded.since_ns <= healthy.since_ns
        with fresh_server.client() as client:
            client.flushall()
        database.add("key", b"value")
        failed = noted.wait_for("failed")
        assert failed.reason is not None
        assert "is gone" in failed.reason
        assert database.health == failed
        assert database.stats().health == "failed"


def test_a_journal_bound_that_two_files_do_not_fit_in_is_refused(redis_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is more than half of journal_bytes_max"):
        open_database(redis_url, journal=tmp_path, journal_bytes_max=1 << 20)
    with pytest.raises(ConfigError, match="'spill' needs a journal"):
        open_database(redis_url, on_full="spill")
    with pytest.raises(ConfigError, match="durability: 'sometimes' is none of"):
        open_database(redis_url, durability="sometimes")
