"""A log that nobody touched verifies, whatever is in it, wherever it is, and whatever its writer does meanwhile."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis

from eventstore import RedisCacheDatabase
from eventstore import commands as c
from eventstore.audit import Report, open_log, rebuild, verify
from eventstore.audit.archive.retention import Criterion
from eventstore.audit.verification import view_check
from eventstore.audit.verification.disk_views import SET, DiskViews
from eventstore.chain import Head
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import AuditError
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.projections import MemoryViews, project
from eventstore.recording import play
from tests.support import cli
from tests.support.archives import Writer, archive, put_back, stored
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.histories import histories
from tests.support.redis_server import RedisServer
from tests.support.tampering import KEYS, findings, put, rows, verified, write_story


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client(protocol=2) as connection:
        yield connection


def cut(commands: Sequence[c.Command], at: set[int]) -> list[list[c.Command]]:
    """In batches that begin at those places; a flush is alone in its batch, as the writer has it."""
    batches: list[list[c.Command]] = []
    for place, command in enumerate(commands):
        alone = isinstance(command, c.Flushed) or (place > 0 and isinstance(commands[place - 1], c.Flushed))
        if not batches or alone or place in at:
            batches.append([])
        batches[-1].append(command)
    return batches


def assert_clean(report: Report) -> None:
    assert report.findings == []
    assert report.is_clean
    assert report.views_because is None, report


# -- Logs ------------------------------------------------------------------------------------------------------


@effort(80)
@given(histories(), st.sets(st.integers(0, 39)))
def test_a_log_of_any_calls_verifies(
    redis_server: RedisServer, client: Redis, commands: list[c.Command], at: set[int]
) -> None:
    """In whatever batches they were written; also an empty one."""
    client.flushdb()
    with Writer(client) as writer:
        for batch in cut(commands, at):
            writer.batch(batch, later_ms=len(batch) % 3)
    report = verified(redis_server.url)
    assert_clean(report)
    assert report.end.position == len(commands)


@effort(40)
@given(histories(), st.sets(st.integers(0, 39)), st.integers(1, 12), st.integers(0, 40))
def test_a_log_whose_beginning_was_archived_verifies_with_its_archive(
    redis_server: RedisServer,
    client: Redis,
    tmp_path_factory: pytest.TempPathFactory,
    commands: list[c.Command],
    at: set[int],
    segment_entries: int,
    kept: int,
) -> None:
    """Without it, what is left does, and it says that the views were not compared."""
    client.flushdb()
    directory = tmp_path_factory.mktemp("archive")
    batches = cut([c.Opened(1, {}), *commands], at)
    with Writer(client) as writer:
        for number, batch in enumerate(batches):
            writer.batch(batch, later_ms=1)
            if number == len(batches) // 2:
                archive(redis_server.url, directory, Criterion(keep_entries=kept), segment_entries=segment_entries)
    archive(redis_server.url, directory, Criterion(keep_entries=kept), segment_entries=segment_entries)
    has_archive = any(directory.rglob("manifest.json"))  # where there is more than one batch
    report = verified(redis_server.url, directory if has_archive else None)
    assert_clean(report)
    assert report.end.position == len(commands) + 1
    alone = verified(redis_server.url)
    assert alone.findings == []
    first = rows(client)[0].position
    assert (alone.views is None) is (first > 1 and not alone.whole)
    assert (alone.views_because is None) is (alone.views is not None)
    if not has_archive:
        return
    with open_log(directory, TRADER) as log:  # the archive for itself
        only = verify(log)
    assert only.findings == []
    assert only.views is None
    assert only.end.position <= report.end.position


@pytest.mark.parametrize("name", cli.NAMES)
def test_what_a_node_wrote_verifies(redis_url: str, name: str) -> None:
    """A recorded session, played by two nodes one after the other, the views flushed between, and purged."""
    trader = TraderId(cli.TRADER)
    for _ in range(2):
        with RedisCacheDatabase(trader, config=CacheDatabaseConfig(url=redis_url)) as database:
            play(database, cli.session(name), array("q"))
            database.sync()
            with open_log(redis_url, trader) as log:
                assert_clean(verify(log))
            database.flush()
    with open_log(redis_url, trader) as log:
        report = verify(log)
    assert_clean(report)
    assert (report.whole, report.entries) == (True, 2)
    assert report.begin == report.end.position - 2


def test_a_log_that_was_rebuilt_verifies(client: Redis, redis_url: str) -> None:
    """And so do views that were wrong."""
    write_story(client)
    client.hset(KEYS.general, "key", "edited")
    assert findings(redis_url) != []
    with open_log(redis_url, TRADER) as log:
        rebuild(log)
        assert_clean(verify(log))


def test_what_an_interrupted_rebuild_left_is_told_and_no_finding(client: Redis, redis_url: str) -> None:
    write_story(client)
    client.hset(f"{KEYS.prefix}shadow:1:general", "key", "value")
    report = verified(redis_url)
    assert_clean(report)
    assert report.leftovers == 1


# -- Checkpoints -----------------------------------------------------------------------------------------------


def test_from_a_checkpoint_on_only_what_is_behind_it_is_followed(client: Redis, redis_url: str) -> None:
    write_story(client)
    log = rows(client)
    chains = {row.position: row.fields[3] for row in log if len(row.fields) > 2}
    head = Head(9, chains[9])
    report = verified(redis_url, checkpoint=head)
    assert_clean(report)
    assert (report.begin, report.entries, report.whole) == (9, len(log) - 9, False)
    put(client, [row.with_payload(c.encode(c.Add("key", b"forged"))) if row.position == 4 else row for row in log])
    assert findings(redis_url, checkpoint=head, views=False) == []
    assert findings(redis_url, views=False) != []
    put(client, [row.with_payload(c.encode(c.Add("key", b"forged"))) if row.position == 10 else row for row in log])
    assert [each.kind for each in findings(redis_url, checkpoint=head, views=False)] == ["chain"]
    put(client, log)
    assert [each.kind for each in findings(redis_url, checkpoint=Head(9, chains[4]), views=False)] == ["chain"]


def test_a_checkpoint_may_be_the_end_of_the_log(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write_story(client)
    log = rows(client)
    end = Head(len(log), log[-1].fields[3])

    def at_the_end() -> None:
        report = verified(redis_url, checkpoint=end)
        assert report.is_clean, report.findings
        assert (report.begin, report.end, report.entries) == (end.position, end, 0)
        for wrong, why in (
            (Head(end.position, bytes(32)), "another chain head at position"),
            (Head(end.position - 1, end.chain), "chain"),
            (Head(end.position + 9, end.chain), f"the log ends at position {end.position}"),
        ):
            [found] = findings(redis_url, checkpoint=wrong, views=False)
            assert why in found.message
            assert verified(redis_url, checkpoint=wrong, views=False).end == end

    at_the_end()
    archive(redis_url, tmp_path)
    at_the_end()
    with open_log(redis_url, TRADER, tmp_path) as opened:
        assert verify(opened, checkpoint=end).is_clean


def test_a_checkpoint_before_what_there_is_is_told(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write_story(client)
    archive(redis_url, tmp_path)
    assert "checkpoint" in {each.kind for each in findings(redis_url, checkpoint=Head(0, bytes(32)))}


# -- Beside a writer -------------------------------------------------------------------------------------------


class Meanwhile:
    """Does the next of what is to be done whenever the verification tells that it is further."""

    def __init__(self, todo: Sequence[Callable[[], object]]) -> None:
        self._todo = list(todo)

    def __call__(self, count: int) -> None:
        if self._todo:
            self._todo.pop(0)()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the views is read key by key, so that a writer can come between any two of them."""
    monkeypatch.setattr(view_check, "_KEYS_PAGE", 1)
    monkeypatch.setattr(view_check, "_FIELDS_PAGE", 1)
    monkeypatch.setattr(view_check, "_WHOLE_MAX", 1)


@pytest.mark.usefixtures("small_pages")
@effort(80)
@given(histories(), histories(30), st.booleans())
@example([], [c.UpdateActor("A-1", b"what it writes comes beside what somebody wrote")], True)  # noqa: FBT003
@example([c.UpdateActor("A-1", b""), c.DeleteActor("A-1")], [c.UpdateActor("A-1", b"")], True)  # noqa: FBT003
def test_a_writer_at_work_gives_no_false_finding_and_hides_none(
    redis_server: RedisServer,
    client: Redis,
    before: list[c.Command],
    meanwhile: list[c.Command],
    touched: bool,
) -> None:
    """It writes a batch between any two reads, whatever is in it: orders begin anew, views are flushed."""
    client.flushdb()
    with Writer(client) as writer:
        for batch in cut(before, set(range(0, 40, 3))):
            writer.batch(batch, later_ms=1)
        if touched:
            client.hset(KEYS.order("O-nobody's"), "0", "a forgery")
            client.hset(KEYS.actors, "A-nobody's", "a forgery")
        todo = [lambda command=command: writer.batch([command], later_ms=1) for command in meanwhile]
        following = Meanwhile(todo)
        with open_log(redis_server.url, TRADER) as log:
            report = verify(log, on_entries=following, on_keys=following)
    found = {(each.kind, each.key) for each in report.findings}
    assert report.views_because is None
    if not touched:
        assert report.findings == []
    elif not any(isinstance(command, c.Flushed) for command in meanwhile):
        assert found == {("view_extra", KEYS.order("O-nobody's")), ("view_extra", KEYS.actors)}


@pytest.mark.parametrize("when", ["on_entries", "on_keys"])
@pytest.mark.parametrize("what", ["archive", "archive with it", "flush", "flush twice", "rebuild"])
def test_what_is_taken_away_or_put_in_its_place_meanwhile_gives_no_false_finding(
    client: Redis, redis_url: str, tmp_path: Path, what: str, when: str
) -> None:
    write_story(client)
    with Writer(client) as writer:
        for n in range(50):
            writer.batch([c.Add(f"key-{n}", b"value")], later_ms=1)
        archive(redis_url, tmp_path, Criterion(keep_entries=60))

        def do() -> None:
            writer.batch([c.Add("key-1", b"another value")])
            if what.startswith("flush"):
                writer.batch([c.Flushed(0, b"")])
            if what == "flush twice":
                writer.batch([c.Add("key-2", b"another value")])
                writer.batch([c.Flushed(0, b"")])
            if what.startswith("archive"):
                archive(redis_url, tmp_path, Criterion(keep_entries=10))
            if what == "rebuild":
                with open_log(redis_url, TRADER, tmp_path) as other:
                    rebuild(other)
            writer.batch([c.Add("key-3", b"another value")])

        with open_log(redis_url, TRADER, None if what == "archive" else tmp_path) as log:
            report = verify(log, **{when: Meanwhile([do])})
            assert report.findings == []
            assert verify(log).findings == []
        with open_log(redis_url, TRADER, tmp_path) as log:
            assert_clean(verify(log))


def test_a_log_that_is_set_back_meanwhile_is_read_again_and_in_the_end_it_is_an_error(
    client: Redis, redis_url: str
) -> None:
    """It is no finding, and what was read before does not count."""
    write_story(client)
    copies = []
    with Writer(client) as writer:
        for n in range(9):
            copies.append(stored(client))
            writer.batch([c.Add(f"key-{n}", b"value")], later_ms=1)
    back: list[Callable[[], object]] = [lambda copy=copy: put_back(client, copy) for copy in reversed(copies)]
    with open_log(redis_url, TRADER) as log:
        assert_clean(verify(log, on_entries=Meanwhile(back[:3])))
        with pytest.raises(AuditError, match="while it was read"):
            verify(log, on_entries=Meanwhile(back[3:]))


# -- The fold --------------------------------------------------------------------------------------------------


def content(views: DiskViews) -> dict[str, Any]:
    found: dict[str, Any] = {}
    after = b""
    while page := views.names(after, 2, views.age):
        for name, kind in page:
            items = views.items(name)
            assert views.has(name, views.age)
            assert not views.has(name, 0)
            assert views.those_of(name, [*items, b"nothing"]) == items
            if items:
                found[name.decode()] = {each.decode() for each in items} if kind == SET else items
            after = name
    return found


@effort(150)
@given(histories(60), st.sets(st.integers(0, 60)))
def test_the_fold_on_disk_is_the_one_in_memory(commands: list[c.Command], looked: set[int]) -> None:
    """Whenever somebody looks."""
    memory = MemoryViews()
    keys = Keys(TRADER)
    with DiskViews() as disk:
        for place, command in enumerate(commands):
            project(keys, command, memory)
            project(keys, command, disk)
            if place in looked or place == len(commands) - 1:
                hashes = {
                    name: {field.encode(): value for field, value in held.items()}
                    for name, held in memory.hashes.items()
                }
                assert content(disk) == hashes | memory.sets
