"""An archiver that is killed, has no room, or loses its server: nothing is lost or twice, the next one completes it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.audit.archive import Archive, archives, is_archive
from eventstore.audit.archive.directory import LOCK, lock, trader_directory
from eventstore.audit.archive.retention import Criterion
from eventstore.chain import LogEntry
from eventstore.errors import ArchiveError, Held, StorageError
from eventstore.keys import Keys
from eventstore.storage.trimmer import Trimmer
from tests.support import logs
from tests.support.archives import (
    EVERYTHING,
    KEYS,
    Writer,
    archive,
    archiver,
    entries,
    put_back,
    reading,
    stored,
    write,
)
from tests.support.databases import TRADER, open_database
from tests.support.redis_server import RedisServer

SIZES = [3, 1, 4, 2, 5]
ENDS = 10, 15
"""Of the archive, if everything goes, and of the log."""
SEGMENT_ENTRIES = 6


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def whole(url: str, directory: Path, expected: list[LogEntry]) -> None:
    """Whoever reads now gets the whole log, and every segment that counts is whole."""
    if not is_archive(directory):
        assert entries(url) == expected
        return
    assert entries(url, directory) == expected
    found = Archive.open(directory, TRADER)
    for segment in found.segments:
        assert list(found.check(segment)) == []


def completed(url: str, directory: Path, expected: list[LogEntry], client: Redis) -> None:
    """Another run ends what the one before began: as if that had never been interrupted."""
    archive(url, directory, segment_entries=SEGMENT_ENTRIES)
    whole(url, directory, expected)
    found = Archive.open(directory, TRADER)
    assert found.end().position == ENDS[0]
    assert [line.position for line in logs.read_log(client, KEYS)] == list(range(ENDS[0] + 1, ENDS[1] + 1))
    names = {"manifest.json", LOCK, *(segment.file for segment in found.segments)}
    assert {path.name for path in trader_directory(directory, TRADER).iterdir()} == names
    assert sum(segment.entries for segment in found.segments) == ENDS[0]
    done = archive(url, directory)
    assert (done.entries, done.trimmed) == (0, 0)


# -- Killed --------------------------------------------------------------------------------------------------------


def dies(step: int, url: str, directory: Path) -> bool:
    """Archive in a child that kills itself at its n-th step or call of the operating system; return whether it did."""
    child = os.fork()
    if child == 0:
        left = step

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "fcntl.flock", "os.truncate"):
                count()

        try:
            sys.addaudithook(audit)
            archive(url, directory, segment_entries=SEGMENT_ENTRIES, on_step=count, on_entries=count)
        except BaseException:  # noqa: BLE001 - the parent is told
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) != 0


def test_an_archiver_that_is_killed_at_any_step_is_completed_by_the_next(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    write(client, SIZES)
    expected, keys = entries(redis_url), stored(client)
    step = 0
    while True:
        directory = tmp_path / str(step)
        put_back(client, keys)
        killed = dies(step, redis_url, directory)
        whole(redis_url, directory, expected)
        completed(redis_url, directory, expected, client)
        if not killed:
            break
        step += 1
    assert step > 40


def test_an_archiver_that_is_killed_again_and_again_comes_to_an_end(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Each run comes a step further than the one before, in the same directory."""
    write(client, SIZES)
    expected = entries(redis_url)
    step = 0
    while dies(step, redis_url, tmp_path):
        whole(redis_url, tmp_path, expected)
        step += 1
    completed(redis_url, tmp_path, expected, client)


def test_what_was_not_trimmed_is_trimmed_only_when_its_manifest_is_on_the_disk(
    client: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the run behind the one that wrote it. Otherwise a loss of power could take the only list of the files."""
    write(client, SIZES)
    expected, steps = entries(redis_url), list[str]()
    home = trader_directory(tmp_path, TRADER)

    def sync(path: Path) -> None:
        if path == home and (home / "manifest.json").exists():
            steps.append("synced")
            raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr("eventstore.audit.archive.manifest.sync_directory", sync)
    with pytest.raises(ArchiveError, match="the disk is gone"):
        archive(redis_url, tmp_path)
    monkeypatch.setattr("eventstore.audit.archive.archiver.sync_directory", sync)
    with pytest.raises(ArchiveError, match="the disk is gone"):
        archive(redis_url, tmp_path, on_step=steps.append)
    assert steps[0] == "synced"
    assert "trim" not in steps
    assert len(logs.read_log(client, KEYS)) == len(expected)
    monkeypatch.undo()
    completed(redis_url, tmp_path, expected, client)


def test_a_new_archive_is_in_its_directory_before_anything_is_trimmed(
    client: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, SIZES)
    synced = list[Path]()

    def step(name: str) -> None:
        if name == "trim":
            assert tmp_path / "new" in synced
            assert tmp_path in synced

    monkeypatch.setattr("eventstore.audit.archive.archiver.sync_directory", synced.append)
    archive(redis_url, tmp_path / "new", on_step=step)


@pytest.mark.parametrize("flushed", [False, True])
def test_files_that_an_older_manifest_does_not_name_are_kept(
    client: Redis, redis_url: str, tmp_path: Path, flushed: bool
) -> None:
    """As in a copy of an archive that was made while it was written: they may be all there is of these entries."""
    write(client, [5] * 4)
    archive(redis_url, tmp_path, Criterion(keep_entries=10))
    path = trader_directory(tmp_path, TRADER) / "manifest.json"
    older = path.read_bytes()
    archive(redis_url, tmp_path)
    newer, expected = path.read_bytes(), entries(redis_url, tmp_path)
    if flushed:
        with Writer(client) as writer:
            writer.batch([c.Flushed(0, b"")])
            writer.batch([c.Heartbeat(1)])
    files, keys = {name.name for name in path.parent.iterdir()}, stored(client)
    for there in older, None:
        path.unlink()
        if there is not None:
            path.write_bytes(there)
        for way in ("run", "look"):
            with pytest.raises(ArchiveError, match="the manifest is older than this file"):  # noqa: SIM117
                with archiver(redis_url, tmp_path) as made:
                    getattr(made, way)(EVERYTHING)
        assert {name.name for name in path.parent.iterdir()} | {path.name} == files
        assert stored(client) == keys
    path.write_bytes(newer)
    archive(redis_url, tmp_path)
    assert entries(redis_url, tmp_path)[:15] == expected[:15]


# -- Without a server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [True, False], ids=["restarted", "gone"])
def test_a_server_that_is_killed_at_any_step_loses_nothing(
    fresh_server: RedisServer, tmp_path: Path, back: bool
) -> None:
    with fresh_server.client() as client:
        write(client, SIZES)
        expected, keys = entries(fresh_server.url), stored(client)
        for step in range(1000):
            directory = tmp_path / str(step)
            put_back(client, keys)
            steps = 0

            def kill(_: str, at: int = step) -> None:
                nonlocal steps
                steps += 1
                if steps == at + 1:
                    fresh_server.kill()
                    if back:
                        fresh_server.start()

            try:
                archive(fresh_server.url, directory, segment_entries=SEGMENT_ENTRIES, on_step=kill)
            except StorageError:
                assert not back
            if steps <= step:
                assert step > 15
                break
            if not back:
                fresh_server.start()
            whole(fresh_server.url, directory, expected)
            completed(fresh_server.url, directory, expected, client)


def test_a_server_that_is_set_back_at_any_step_loses_nothing(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """To what it was before the run, as by a restart without its last writes: the next run trims again."""
    write(client, SIZES)
    expected, keys = entries(redis_url), stored(client)
    for step in range(1000):
        directory = tmp_path / str(step)
        put_back(client, keys)
        steps = 0

        def set_back(_: str, at: int = step) -> None:
            nonlocal steps
            steps += 1
            if steps == at + 1:
                put_back(client, keys)

        archive(redis_url, directory, segment_entries=SEGMENT_ENTRIES, on_step=set_back)
        if steps <= step:
            assert step > 15
            break
        whole(redis_url, directory, expected)
        completed(redis_url, directory, expected, client)


# -- Without room ------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_everything_as_it_was(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Wherever the room ends, in a segment or in the manifest: an error that says so, and the next run goes on."""
    write(client, [50] * 20)
    archive(redis_url, tmp_path, Criterion(before_position=101), segment_entries=50)
    expected, keys = entries(redis_url, tmp_path), stored(client)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.name != LOCK and path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused: list[str] = []
    for room in range(0, 20_000, 97):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            archive(redis_url, tmp_path, segment_entries=400)
            break
        except ArchiveError as error:
            refused.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert entries(redis_url, tmp_path) == expected
        if {path for path in tmp_path.rglob("*") if path.name != LOCK and path.is_file()} != set(files):
            break  # the first segment fitted, and the manifest, too
        assert {path: path.read_bytes() for path in files} == files
        assert stored(client) == keys
    assert len(refused) > 20
    assert all("archiving stopped: " in error and "the next run goes on" in error for error in refused)
    done = archive(redis_url, tmp_path)
    assert done.end.position == 950
    whole(redis_url, tmp_path, expected)


def test_a_server_without_memory_is_trimmed(fresh_server: RedisServer, tmp_path: Path) -> None:
    """It refuses every write that takes memory, and archiving is what gives it some."""
    with fresh_server.client() as client:
        write(client, [100] * 50)
        expected = entries(fresh_server.url)
        client.config_set("maxmemory", "1mb")
        with pytest.raises(Held, match="out of memory"), open_database(fresh_server.url):
            pass
        done = archive(fresh_server.url, tmp_path)
        assert (done.trimmed, client.xlen(KEYS.log)) == (4900, 100)
        client.config_set("maxmemory", "0")
        assert entries(fresh_server.url, tmp_path) == expected


# -- Others at work ----------------------------------------------------------------------------------------------------


def test_a_writer_at_work_is_not_disturbed(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """It writes while one archiver after the other seals and trims: log and views are as if nobody had."""
    stop = threading.Event()
    accepted: list[int] = []
    room = threading.Semaphore(500)  # it may run ahead of the archiver so far, and no further
    with open_database(redis_url, batch_count_max=16) as database:

        def work() -> None:
            while not stop.is_set():
                if not room.acquire(timeout=0.05):
                    continue
                number = len(accepted)
                database.add(f"key-{number % 9}", b"%d" % number)
                accepted.append(number)
                if number % 10 == 0:
                    database.sync()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for run in range(25):
                archive(redis_url, tmp_path, Criterion(keep_entries=run % 40), segment_entries=100 + run)
                room.release(500)
        finally:
            stop.set()
            thread.join()
    assert len(Archive.open(tmp_path, TRADER).segments) > 20
    found = entries(redis_url, tmp_path)
    assert [entry.position for entry in found] == list(range(1, len(accepted) + 3))
    lines = [logs.Line(entry.entry_id.encode(), entry.payload, entry.chain) for entry in found]
    assert logs.chain(lines) == logs.read_fence(client, KEYS)["chain"]
    content = logs.views_of(logs.dump(client), KEYS)
    content.pop(KEYS.archived, None)
    assert content == logs.folded(lines, KEYS)
    added = [line.command for line in lines if isinstance(line.command, c.Add)]
    assert [command.value for command in added] == [b"%d" % number for number in accepted]


def test_a_database_opens_and_flushes_beside_an_archive(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Its log begins anywhere, then with the flush; what was archived stays, and what comes next follows."""
    for life in range(3):
        with open_database(redis_url, batch_count_max=4) as database:
            database.add("life", b"%d" % life)
            for number in range(20):
                database.add("n", b"%d" % number)
            database.sync()
            assert database.load() == {"life": b"%d" % life, "n": b"19"}
            archive(redis_url, tmp_path)
            if life == 1:
                database.add("gone", b"before it was archived")
                database.flush()
                database.sync()
    archive(redis_url, tmp_path)
    found = entries(redis_url, tmp_path)
    commands = [c.decode(entry.payload) for entry in found]
    assert [type(command) for command in commands].count(c.Opened) == 3
    [flushed] = [place for place, command in enumerate(commands) if isinstance(command, c.Flushed)]
    assert found[flushed].position > found[flushed - 1].position + 1  # what was not archived is gone
    assert all(command.key != "gone" for command in commands if isinstance(command, c.Add))
    jumps = [segment.first for segment in Archive.open(tmp_path, TRADER).segments]
    assert found[flushed].position in jumps


def test_a_flush_in_the_middle_of_a_run_leaves_what_was_archived(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, SIZES)
    expected, keys = entries(redis_url), stored(client)
    for step in range(1000):
        directory = tmp_path / str(step)
        put_back(client, keys)
        steps: list[str] = []

        def flush(name: str, at: int = step, steps: list[str] = steps) -> None:
            steps.append(name)
            if len(steps) == at + 1:
                with Writer(client) as writer:
                    for command in (c.Flushed(0, b""), c.Heartbeat(1), c.Heartbeat(2)):
                        writer.batch([command])

        archive(redis_url, directory, segment_entries=SEGMENT_ENTRIES, on_step=flush)
        if len(steps) <= step:
            assert step > 15
            break
        found = Archive.open(directory, TRADER) if is_archive(directory) else None
        kept = expected if found is None else expected[: found.end().position]
        held = reading(redis_url, None if found is None else directory, lambda log: [*log.raw()])
        assert held[: len(kept)] == kept or found is None
        assert [entry.position for entry in held[-3:]] == [ENDS[1] + 1, ENDS[1] + 2, ENDS[1] + 3]
        if found is None or client.exists(KEYS.archived):
            archive(redis_url, directory)
            assert entries(redis_url, directory) == held
        else:  # the server never knew of the archive
            with pytest.raises(ArchiveError, match="was deleted before position 16, and nothing there says"):
                archive(redis_url, directory)


def test_two_archivers_are_one_too_many(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """The second is refused, by the process that has it, and there is nothing that it changed."""
    write(client, SIZES)
    home = trader_directory(tmp_path, TRADER)
    seen: list[str] = []

    def second(_: str) -> None:
        with pytest.raises(ArchiveError, match=rf"process {os.getpid()} is archiving there") as caught:
            archive(redis_url, tmp_path)
        seen.append(str(caught.value))

    archive(redis_url, tmp_path, on_step=second)
    assert len(seen) > 5
    assert str(home) in seen[0]
    with lock(home):
        pass
    assert archives(tmp_path) == [TRADER]


# -- Trimming ----------------------------------------------------------------------------------------------------------


def test_a_trim_goes_in_steps(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """The server serves others in between: a few thousand entries at once, and none that is not archived."""
    write(client, [500] * 30, size=1)
    gone: list[int] = []

    class Steps(Trimmer):
        def trim(self, *arguments: Any) -> Iterator[int]:
            for count in super().trim(*arguments):
                gone.append(count)
                yield count

    with archiver(redis_url, tmp_path) as one:
        one._trimmer = Steps(client, Keys(TRADER))
        done = one.run(EVERYTHING)
    assert sum(gone) == done.trimmed == 14_500
    assert max(gone) <= 2000
    assert client.xlen(KEYS.log) == 500
