"""A database that archives by itself: the log at the server stays short, trading goes on, and nothing is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from eventstore.archiving import Archiving
from eventstore.audit.archive import Archive, is_archive
from eventstore.audit.archive.directory import trader_directory
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import Closed, ConfigError
from eventstore.health import Health
from tests.support import logs
from tests.support.archives import KEYS, entries
from tests.support.databases import TRADER, open_database
from tests.support.outages import Told, until
from tests.support.redis_server import RedisServer

PATIENCE_S = 30.0


def add(database: RedisCacheDatabase, count: int) -> None:
    for number in range(count):
        database.add(f"key-{number % 9}", b"%d" % number)
    database.sync()


def archiving(database: RedisCacheDatabase, directory: Path, least: int = 10) -> Archiving:
    """What archives all but 50 entries of the log of `database`, when it is called."""
    config = CacheDatabaseConfig(archive=directory, archive_keep_entries=50, archive_least_entries=least)
    return Archiving(directory, TRADER, config, database._persister)


def test_the_log_at_the_server_stays_short(redis_server: RedisServer, redis_url: str, tmp_path: Path) -> None:
    """However much is written, what is kept at the server is bounded; together with the archive it is the whole log."""
    told = Told()
    archive = {"archive": tmp_path, "archive_keep_entries": 50, "archive_least_entries": 10}
    with (
        redis_server.client() as client,
        open_database(redis_url, logger=told, batch_count_max=8, archive_interval_s=0.01, **archive) as database,
    ):
        written = 0
        for _ in range(20):
            add(database, 200)
            written += 200
            until(lambda: client.xlen(KEYS.log) <= 50 + 10 + 8)
        assert database.health.state == "healthy"
    assert told.all("archived the log")
    found = entries(redis_url, tmp_path)
    assert len(found) == written + 2
    logs.chain([logs.Line(entry.entry_id.encode(), entry.payload, entry.chain) for entry in found])


def test_only_what_is_durable_is_archived(redis_url: str, tmp_path: Path) -> None:
    """A replica that does not exist has nothing: all of it may still be lost."""
    with open_database(redis_url, durability="replicated(1)", close_timeout_s=0.0, batch_count_max=8) as database:
        add(database, 200)
        archiving(database, tmp_path)()
        assert "archived" not in str(database.health.reason)
        assert not is_archive(tmp_path)
    with open_database(redis_url, batch_count_max=8) as database:
        archiving(database, tmp_path)()
        assert Archive.open(tmp_path, TRADER).end().position > 100


def test_a_file_is_made_when_enough_came_together(redis_url: str, tmp_path: Path) -> None:
    with open_database(redis_url, batch_count_max=8) as database:
        one = archiving(database, tmp_path, least=100)
        for count, files in ((140, 0), (20, 1), (90, 1), (20, 2)):
            add(database, count)
            one()
            assert len([*tmp_path.rglob("*.seg")]) == files


def test_a_failure_shows_until_it_is_over(redis_url: str, tmp_path: Path) -> None:
    """In the health and in the log; the node trades on, and what was not archived is archived later."""
    told, changes = Told(), list[Health]()
    with open_database(redis_url, logger=told, on_health=changes.append, batch_count_max=8) as database:
        home = trader_directory(tmp_path, TRADER)
        one = archiving(database, tmp_path)
        home.mkdir(exist_ok=True)
        home.chmod(0o755)
        for _ in range(2):
            add(database, 100)
            one()
        assert database.health.state == "degraded"
        assert f"the log is not archived: {home} has mode 0755" in str(database.health.reason)
        until(lambda: len(told.all("the log could not be archived; it is tried again")) == 2)
        home.chmod(0o700)
        one()
        assert database.health.state == "healthy"
        until(lambda: [change.state for change in changes] == ["degraded", "healthy"])
        assert Archive.open(tmp_path, TRADER).end().position > 100


def test_an_outage_is_survived(fresh_server: RedisServer, tmp_path: Path) -> None:
    with open_database(fresh_server.url, timeout_s=0.5, batch_count_max=8) as database:
        add(database, 100)
        one = archiving(database, tmp_path)
        fresh_server.kill()
        one()
        assert "the log is not archived: " in str(database.health.reason)
        fresh_server.start()
        add(database, 100)
        one()
        assert "archived" not in str(database.health.reason)
    assert len(entries(fresh_server.url, tmp_path)) == 202


def test_closing_ends_a_run_that_is_under_way(redis_url: str, tmp_path: Path) -> None:
    """At its next step: nobody waits for a long log to be archived, and the next database goes on with it."""
    with open_database(redis_url) as database:
        add(database, 2000)
    begun, ended = threading.Event(), threading.Event()
    database = open_database(redis_url, batch_count_max=8)
    add(database, 100)
    one = archiving(database, tmp_path / "a")
    pause = one._pause

    def slowly(what: object = None) -> None:
        if what is not None:
            begun.set()
            assert ended.wait(PATIENCE_S)
        pause(what)

    one._archiver._on_entries = slowly
    raised: list[BaseException] = []

    def run() -> None:
        try:
            one()
        except Closed as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(PATIENCE_S)
    assert database.close() == 0
    ended.set()
    thread.join(PATIENCE_S)
    assert len(raised) == 1
    assert [path.name for path in (tmp_path / "a").rglob("*") if path.is_file()] == ["archive.lock"]
    with pytest.raises(Closed):
        one()
    with open_database(redis_url, batch_count_max=8) as database:
        archiving(database, tmp_path / "a")()
        assert Archive.open(tmp_path / "a", TRADER).end().position > 2000


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"archive": "/a"}, "archive: say which entries may go"),
        ({"archive_after_s": 1.0}, "need a directory: give it as archive"),
        ({"archive_keep_entries": 1}, "need a directory: give it as archive"),
        ({"archive": "/a", "archive_after_s": -1.0}, "archive_after_s: -1.0 is not between"),
        ({"archive": "/a", "archive_keep_entries": -1}, "archive_keep_entries: -1 is not between"),
        ({"archive": "/a", "archive_after_s": 1.0, "archive_least_entries": 0}, "archive_least_entries: 0 is not"),
        ({"archive": "/a", "archive_after_s": 1.0, "archive_interval_s": 0}, "archive_interval_s: 0 is not between"),
    ],
)
def test_settings_that_say_too_little_or_nonsense_are_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        CacheDatabaseConfig(**given)
