"""An archive and what is left of the log are together the log that was: whatever its batches and segments are."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import Fold, Log, open_log, state_at
from eventstore.audit.archive import Archive, archives, is_archive
from eventstore.audit.archive.directory import trader_directory
from eventstore.audit.archive.retention import Criterion
from eventstore.audit.decoding import flush_in
from eventstore.audit.reading.entries import backwards
from eventstore.chain import LogEntry
from eventstore.errors import ArchiveDamaged, ArchiveError, AuditError, ConfigError, LogGap
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import TraderId
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
from tests.support.effort import effort
from tests.support.histories import histories
from tests.support.journals import copied, flip
from tests.support.redis_server import RedisServer


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def segments(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.seg"))


# -- Together they are the log -----------------------------------------------------------------------------------------

_criteria = st.one_of(
    st.builds(Criterion, before_position=st.integers(1, 50)),
    st.builds(Criterion, keep_entries=st.integers(0, 20)),
    st.builds(Criterion, older_than_s=st.sampled_from([-0.0, 1e9]), keep_entries=st.none() | st.integers(0, 5)),
    st.builds(Criterion, keep_bytes=st.integers(0, 5000)),
)


@effort(40)
@given(data=st.data(), commands=histories(30), segment_entries=st.integers(1, 12))
def test_archive_and_stream_are_the_log_that_was(
    redis_server: RedisServer, client: Redis, data: st.DataObject, commands: list[c.Command], segment_entries: int
) -> None:
    """However it was cut into batches and segments, and whatever went when: entry by entry, from any place, from any
    time on, and the state at every position. Only what was flushed before it was archived is gone."""
    client.flushall()
    with tempfile.TemporaryDirectory() as name:
        directory, expected = Path(name), list[LogEntry]()
        rest = [c.Opened(1, {}), *commands]
        with Writer(client, now_ms=1_700_000_000_000) as writer:
            while rest:
                count = 1 if isinstance(rest[0], c.Flushed) else data.draw(st.integers(1, 6), label="batch")
                batch = rest[:count]
                while any(isinstance(command, c.Flushed) for command in batch[1:]):
                    batch.pop()  # it is alone in its batch
                rest = rest[len(batch) :]
                writer.batch(batch, data.draw(st.integers(0, 3), label="later"))
                if isinstance(batch[0], c.Flushed):
                    end = Archive.open(directory, TRADER).end().position if is_archive(directory) else 0
                    expected = [entry for entry in expected if entry.position <= end]
                at = expected[-1].position if expected else 0
                expected += [entry for entry in reading(redis_server.url, read=_as_it_stands) if entry.position > at]
                if data.draw(st.booleans(), label="archive"):
                    criterion = data.draw(_criteria, label="criterion")
                    archive(redis_server.url, directory, criterion, segment_entries=segment_entries)
        if not is_archive(directory):
            assert entries(redis_server.url) == expected
            return
        assert entries(redis_server.url, directory) == expected

        places = st.integers(0, expected[-1].position + 1)
        after, until, since_ms = data.draw(places), data.draw(places), expected[0].accepted_ms + data.draw(places)
        wanted = [entry for entry in expected if after < entry.position <= until and entry.accepted_ms >= since_ms]
        assert reading(redis_server.url, directory, lambda log: [*log.raw(after, until, since_ms)]) == wanted
        for entry in expected:
            found = reading(
                redis_server.url, directory, lambda log, at=entry.position: state_at(log, at, strict=False).views
            )
            fold = Fold(KEYS)
            for each in expected[: expected.index(entry) + 1]:
                fold.apply(each)
            assert (found.hashes, found.sets) == (fold.views.hashes, fold.views.sets)

        _assert_sealed(Archive.open(directory, TRADER), expected)


def _as_it_stands(log: Log) -> list[LogEntry]:
    return [*log.raw()]


def _assert_sealed(found: Archive, expected: list[LogEntry]) -> None:
    """Each segment is whole, chained to the one before, and what the manifest says; without the library's own check."""
    for segment in found.segments:
        assert list(found.check(segment)) == []
        held = [entry for entry in expected if segment.first <= entry.position <= segment.last]
        assert [*found.entries(segment.first - 1, segment.last)] == held
        assert [entry.position for entry in held] == list(range(segment.first, segment.last + 1))
        assert (segment.entries, segment.first_id, segment.last_id) == (len(held), held[0].entry_id, held[-1].entry_id)
        lines = [logs.Line(entry.entry_id.encode(), entry.payload, entry.chain) for entry in held]
        assert logs.chain(lines, segment.chain_before) == segment.chain_after == held[-1].chain
        content = found.path(segment).read_bytes()
        assert len(content) == segment.size
        assert hashlib.blake2b(content, digest_size=32).hexdigest() == segment.digest
    ends = [found.start(), *(segment.after for segment in found.segments)]
    for end, segment in zip(ends, found.segments, strict=False):
        begins = [entry for entry in expected if entry.position == segment.first]
        assert segment.before in (end, flush_in(begins[0]))


def test_what_goes_is_what_every_condition_lets_go(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Whole batches, never the last one, and nothing behind a ceiling."""
    write(client, [5] * 10)
    with archiver(redis_url, tmp_path) as one:
        for criterion, ceiling, end in [
            (Criterion(keep_entries=0), None, 45),
            (Criterion(before_position=45), None, 40),
            (Criterion(before_position=46), None, 45),
            (Criterion(before_position=1000), None, 45),
            (Criterion(keep_entries=20, before_position=26), None, 25),
            (Criterion(keep_entries=30, before_position=26), None, 20),
            (Criterion(keep_entries=0), 33, 30),
            (Criterion(keep_entries=50), None, 0),
            (Criterion(keep_entries=10**9), None, 0),
            (Criterion(older_than_s=3600), None, 0),
            (Criterion(keep_bytes=0), None, 45),
            (Criterion(keep_bytes=10**9), None, 0),
            (Criterion(keep_bytes=client.memory_usage(KEYS.log, samples=0) // 2), None, 25),
        ]:
            found = one.look(criterion, ceiling)
            assert (found.end.position, found.entries, found.trimmed, found.segments) == (end, end, 0, ())
        assert not list(tmp_path.iterdir())
        done = one.run(Criterion(keep_entries=20, before_position=26))
    assert (done.end.position, done.entries, done.trimmed) == (25, 25, 25)
    assert client.xlen(KEYS.log) == 25


def test_an_age_is_that_of_the_acceptance(client: Redis, redis_url: str, tmp_path: Path) -> None:
    with Writer(client) as writer:
        now_ms = writer.ms
        for age_s in (7200, 3700, 3500, 0):
            writer.ms = now_ms - age_s * 1000
            writer.batch([c.Heartbeat(age_s)])
    assert archive(redis_url, tmp_path, Criterion(older_than_s=3600)).end.position == 2


@pytest.mark.parametrize("given", [{}, {"keep_entries": -1}, {"older_than_s": -1.0}, {"older_than_s": float("nan")}])
def test_a_criterion_that_says_nothing_or_nonsense_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="archive: "):
        Criterion(**given)


def test_without_its_archive_a_log_says_what_is_missing(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, [5] * 4)
    before = entries(redis_url)
    archive(redis_url, tmp_path)
    with pytest.raises(LogGap, match="was archived up to position 15") as caught:
        entries(redis_url)
    assert (caught.value.first, caught.value.last) == (1, 15)
    with open_log(redis_url, TRADER) as log:
        assert [*log.entries(log.start().position)] == before[15:]
    with open_log(tmp_path) as log:  # and the archive alone is a log that ends
        assert [*log.entries()] == before[:15]
        assert log.end() == (15, before[14].chain)


@pytest.mark.parametrize("how", ["missing", "shorter"])
def test_nothing_is_trimmed_behind_a_file_that_is_gone(client: Redis, redis_url: str, tmp_path: Path, how: str) -> None:
    """The archive was copied badly: what would follow has nothing to follow. With the file back, it goes on."""
    write(client, [5] * 4)
    before = entries(redis_url)
    archive(redis_url, tmp_path, Criterion(before_position=6))
    (file,) = tmp_path.rglob("*.seg")
    copy = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(copy[:-1])
    with pytest.raises(ArchiveError, match=rf"{file.name} .*put a copy of it back before anything more is archived"):
        archive(redis_url, tmp_path)
    with open_log(redis_url, TRADER) as log:
        assert [*log.entries(log.start().position)] == before[5:]
    file.write_bytes(copy)
    archive(redis_url, tmp_path)
    with open_log(tmp_path) as log:
        assert [*log.entries()] == before[:15]


# -- Where it is ---------------------------------------------------------------------------------------------------


def _trader_id(text: str) -> TraderId | None:
    try:
        return TraderId(text)
    except ModelError:
        return None


@given(st.text(min_size=1, max_size=120), st.text(min_size=1, max_size=120))
def test_every_trader_has_a_directory_of_its_own(name: str, tag: str) -> None:
    """Whatever the id: one plain component of a path, short enough, and no other id has it."""
    trader_id = _trader_id(f"{name}-{tag}")
    if trader_id is None:
        return
    place = trader_directory("/archive", trader_id)
    assert place.parent == Path("/archive")
    assert place.name.isascii()
    assert 0 < len(place.name) < 250
    assert not place.name.startswith(".")
    other = _trader_id(f"{name}-{tag}x")
    assert other is None or trader_directory("/archive", other) != place


@pytest.mark.parametrize("trader", ["../x-1", ".-a", "a/b-c d", "Ümläut-日本", "日" * 120 + "-1", "x" * 253 + "-1"])
def test_archives_are_found_by_their_traders(client: Redis, redis_url: str, tmp_path: Path, trader: str) -> None:
    trader_id = TraderId(trader)
    for each in (trader_id, TRADER):
        write(client, [2, 2], each)
        archive(redis_url, tmp_path, trader_id=each)
    assert archives(tmp_path) == sorted([trader_id, TRADER])
    assert [path.name for path in tmp_path.parent.iterdir() if path.name == "x-1"] == []
    for path in [*tmp_path.iterdir(), *tmp_path.glob("*/*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    with open_log(tmp_path, trader_id) as log:
        assert len([*log.entries()]) == 2


def test_what_is_no_archive_is_none(tmp_path: Path) -> None:
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "nothing")
    assert archives(tmp_path) == []
    with pytest.raises(ArchiveError, match=r"has no archive of TRADER-001"):
        Archive.open(tmp_path, TRADER)


def test_a_directory_that_others_can_read_is_refused(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, [2, 2])
    trader_directory(tmp_path, TRADER).mkdir(mode=0o755)
    with pytest.raises(ArchiveError, match="has mode 0755"):
        archive(redis_url, tmp_path)
    assert client.xlen(KEYS.log) == 4


# -- Refusals ------------------------------------------------------------------------------------------------------


def _refused(client: Redis, redis_url: str, directory: Path, match: str) -> None:
    """An archiver refuses, and neither the archive nor the server is changed by it."""
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    keys = stored(client)
    with pytest.raises(ArchiveError, match=match):
        archive(redis_url, directory)
    with pytest.raises(ArchiveError, match=match), archiver(redis_url, directory) as one:
        one.look(EVERYTHING)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() if path in files} == files
    assert stored(client) == keys


def test_another_log_in_its_place_is_refused(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Shorter than the archive, as long, longer, or flushed: it does not continue what was archived."""
    write(client, [5] * 4)
    archive(redis_url, tmp_path)
    client.flushall()
    _refused(client, redis_url, tmp_path, "is empty, and the archive of TRADER-001 ends at position 15")
    for sizes, match in ([5], "ends at position 5, and its archive at 15"), ([5, 5, 5], "another entry at position 15"):
        client.flushall()
        write(client, sizes)
        _refused(client, redis_url, tmp_path, match)
    with Writer(client) as writer:
        for command in (c.Heartbeat(0), c.Flushed(0, b""), c.Heartbeat(1), c.Heartbeat(2)):
            writer.batch([command])
    _refused(client, redis_url, tmp_path, "nothing there says that it is the log whose archive ends at 15")


def test_a_server_that_was_set_back_before_the_archive_is_refused(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    write(client, [5] * 4)
    copy = stored(client)
    write(client, [5] * 4)
    archive(redis_url, tmp_path)
    for later in ([], [5] * 5):  # and also when it has been written to again
        put_back(client, copy)
        write(client, later)
        _refused(client, redis_url, tmp_path, "the server was set back, or the archive is of another log")


def test_a_server_that_was_set_back_before_the_trim_is_trimmed_again(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    write(client, [5] * 4)
    before, copy = entries(redis_url), stored(client)
    archive(redis_url, tmp_path)
    put_back(client, copy)
    assert entries(redis_url, tmp_path) == before
    done = archive(redis_url, tmp_path)
    assert (done.entries, done.trimmed) == (0, 15)
    assert entries(redis_url, tmp_path) == before


def test_a_log_that_is_not_the_archived_one_is_not_read_as_its_continuation(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """A server that was set back behind the archive, with or without somebody who wrote something else since."""
    write(client, [5] * 10)
    archive(redis_url, tmp_path, Criterion(keep_entries=25))
    copy = stored(client)
    write(client, [5] * 10)
    archive(redis_url, tmp_path, Criterion(keep_entries=25))
    assert Archive.open(tmp_path, TRADER).end().position == 75
    for commands in ([], [c.Add("key", b"another")] * 40):
        put_back(client, copy)
        if commands:
            with Writer(client) as writer:
                writer.batch(commands, later_ms=1)
        reads: list[Callable[[Log], object]] = [
            lambda log: [*log.entries()],
            lambda log: [*log.entries(60)],
            lambda log: [*backwards(log)],
            lambda log: state_at(log, 40),
        ]
        for read in reads:
            with pytest.raises(AuditError, match="one of them is of another log, or the server was set back"):
                reading(redis_url, tmp_path, read)


def test_an_older_copy_of_the_archive_is_told_from_a_damage(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, [5] * 10)
    archive(redis_url, tmp_path / "now", Criterion(keep_entries=25))
    shutil.copytree(tmp_path / "now", tmp_path / "older")
    write(client, [5] * 10)
    archive(redis_url, tmp_path / "now", Criterion(keep_entries=25))
    older = tmp_path / "older" / TRADER
    match = rf"the archive {older} ends at position 25, and {re.escape(KEYS.log)} begins at 76: .*name the newer copy"
    for read in (lambda log: [*log.entries()], lambda log: state_at(log, 80)):
        with pytest.raises(LogGap, match=match) as raised:
            reading(redis_url, tmp_path / "older", read)
        assert (raised.value.first, raised.value.last) == (26, 75)


def test_an_archive_that_is_not_there_or_no_directory_is_told(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, [5])
    (tmp_path / "file").touch()
    for directory, said in (
        (tmp_path / "absent", "is not there"),
        (tmp_path / "file", "is no directory"),
        (tmp_path, f"has no archive of {TRADER}"),
    ):
        with pytest.raises(ArchiveError, match=f"^{directory} {said}; name the directory"):
            reading(redis_url, directory)


def test_what_a_writer_writes_again_in_other_batches_is_the_log_that_was(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    write(client, [5] * 4)
    copy = stored(client)
    commands = [c.Add("key", b"%d" % number) for number in range(10)]
    with Writer(client, now_ms=2_000_000_000_000) as writer:
        writer.batch(commands)
        writer.batch([c.Heartbeat(1)])
    expected = entries(redis_url)
    archive(redis_url, tmp_path)
    put_back(client, copy)
    with Writer(client, now_ms=2_000_000_000_000) as writer:
        writer.batch(commands[:7])
        writer.batch([*commands[7:], c.Heartbeat(1)])
    found = entries(redis_url, tmp_path)
    assert [(each.entry_id, each.payload) for each in found] == [(each.entry_id, each.payload) for each in expected]


def test_what_is_in_another_archive_is_asked_for(client: Redis, redis_url: str, tmp_path: Path) -> None:
    write(client, [5] * 4)
    archive(redis_url, tmp_path / "a")
    write(client, [5] * 4)
    _refused(client, redis_url, tmp_path / "b", "it was archived up to position 15: what is between is in another")


def test_a_log_that_was_changed_is_not_sealed(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """An entry with another payload, without its neighbour, or that somebody else wrote: the server keeps all of it."""
    write(client, [5] * 4)
    keys, lines = stored(client), client.xrange(KEYS.log)
    changed = {**lines[6][1], b"e": c.encode(c.Heartbeat(1))}
    for place, fields, match in (
        (6, changed, "the chain head at position 10 is "),
        (6, None, "position 8 stands where 7 belongs"),
        (6, {b"x": b"y"}, "is no entry of a log: somebody else wrote it"),
    ):
        put_back(client, keys)
        client.xtrim(KEYS.log, maxlen=0, approximate=False)
        client.execute_command("XSETID", KEYS.log, "0-0")
        for number, (name, held) in enumerate(lines):
            wanted = fields if number == place else held
            if wanted is not None:
                client.xadd(KEYS.log, wanted, id=name)
        for each in ("a", "b"):
            _refused(client, redis_url, tmp_path / each, match)
        assert not segments(tmp_path)


def test_a_changed_log_behind_the_archive_is_not_its_continuation(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Trimmed up to the archive, so that only the chain of what comes next can show that it is another log."""
    write(client, [5] * 4)
    archive(redis_url, tmp_path)
    client.flushall()
    write(client, [5] * 4)
    client.xtrim(KEYS.log, maxlen=5, approximate=False)
    write(client, [5])
    _refused(client, redis_url, tmp_path, "or is not of the log that was archived")


def test_nobody_to_archive_is_said(redis_url: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="TRADER-001 has no log at the server"):
        archive(redis_url, tmp_path)


def test_a_journal_is_no_place_for_an_archive(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Each removes unfinished files, which would be those of the other."""
    home = trader_directory(tmp_path, TRADER)
    with open_database(redis_url, journal=home) as database:
        database.add("key", b"value")
    before = {path.name for path in home.iterdir()}
    with pytest.raises(ArchiveError, match="is a journal; name another directory for the archive"):
        archive(redis_url, tmp_path)
    assert {path.name for path in home.iterdir()} == before


def test_the_data_directory_of_a_server_is_no_place_for_an_archive(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "eventstore.lock").touch()
    with pytest.raises(ArchiveError, match="has the data of an embedded server"):
        archive(redis_url, tmp_path)


# -- Damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[LogEntry]]:
    """An archive of one segment with several blocks, and its entries."""
    directory = tmp_path_factory.mktemp("archive")
    with redis_server.client() as client:
        client.flushall()
        write(client, [700] * 5, size=1)
        archive(redis_server.url, directory)
    return directory, [*Archive.open(directory, TRADER).entries()]


@given(data=st.data())
def test_any_part_of_a_segment_is_read(whole: tuple[Path, list[LogEntry]], data: st.DataObject) -> None:
    """Entries of one millisecond may be in several of its blocks, and a part may begin and end anywhere."""
    directory, expected = whole
    places = st.integers(-2, len(expected) + 2) | st.integers(990, 1010) | st.integers(1990, 2010)
    after, until, since_ms = (
        data.draw(places),
        data.draw(places),
        expected[0].accepted_ms + data.draw(st.integers(-1, 5)),
    )
    [segment] = (found := Archive.open(directory, TRADER)).segments
    assert segment.entries == len(expected) == 2800
    for options in ((after, until, since_ms), (after, None, since_ms), (after, until, None)):
        assert [*found.entries(*options)] == [
            entry
            for entry in expected
            if after < entry.position
            and (options[1] is None or entry.position <= options[1])
            and (options[2] is None or entry.accepted_ms >= options[2])
        ]


@effort(100)
@given(data=st.data())
def test_whatever_byte_is_changed_or_missing_is_found(whole: tuple[Path, list[LogEntry]], data: st.DataObject) -> None:
    """By the check, which names the file; and who reads gets the entries that were sealed, or an error at the place."""
    directory, expected = whole
    with tempfile.TemporaryDirectory() as scratch, copied(directory, Path(scratch) / "copy") as copy:
        [path] = segments(copy)
        offset = data.draw(st.integers(0, path.stat().st_size - 1), label="offset")
        if data.draw(st.booleans(), label="cut"):
            with path.open("r+b") as file:
                file.truncate(offset)
        else:
            flip(path, offset, data.draw(st.integers(1, 255), label="mask"))
        found = Archive.open(copy, TRADER)
        problems = [*found.check(found.segments[0])]
        [problem] = problems  # one damage is one finding
        assert problem.path == path
        assert str(problem).count(str(path)) == 1
        raised: ArchiveDamaged | None = None
        try:
            assert [*found.entries()] == expected
        except ArchiveDamaged as error:
            raised = error
        if raised is not None:
            assert raised.path == path
            assert 0 <= raised.offset <= path.stat().st_size
            assert f"{path}: offset {raised.offset}: " in str(raised)


def test_a_file_that_is_gone_or_another_one_is_named(whole: tuple[Path, list[LogEntry]], tmp_path: Path) -> None:
    with copied(whole[0], tmp_path / "copy") as copy:
        [path] = segments(copy)
        found = Archive.open(copy, TRADER)
        content = path.read_bytes()
        path.unlink()
        gone = "can not be read: No such file or directory; bring it back from a copy of the archive"
        with pytest.raises(ArchiveError, match=rf"^{path} {gone}$"):
            next(found.entries())
        assert [str(problem) for problem in found.check(found.segments[0])] == [f"{path}: {gone}"]
        path.write_bytes(content + b"\0")
        with pytest.raises(ArchiveDamaged, match=rf"{path}: offset"):
            next(found.entries())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text[:100], "offset .*: not JSON"),
        (lambda text: "[]", "offset 0: not the manifest of an archive"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "has format 2, and this version"),
        (lambda text: text.replace("TRADER-001", "OTHER-001"), "is of OTHER-001, and not of TRADER-001"),
        (lambda text: text.replace('"last": ', '"last": 1'), "is not named by its positions"),
        (lambda text: text.replace('"chain_after": "', '"chain_after": "00'), "chain head or digest of another length"),
        (lambda text: text.replace('"entries": ', '"entries": "5", "x": '), "not the manifest of an archive"),
        (lambda text: text.replace(".seg", ".gone"), "is not named by its positions"),
    ],
)  # fmt: skip
def test_a_manifest_that_was_changed_is_refused(
    whole: tuple[Path, list[LogEntry]], tmp_path: Path, change: object, match: str
) -> None:
    assert callable(change)
    with copied(whole[0], tmp_path / "copy") as copy:
        path = trader_directory(copy, TRADER) / "manifest.json"
        path.write_text(change(path.read_text()))
        with pytest.raises(ArchiveError, match=match):
            Archive.open(copy, TRADER)


def test_a_manifest_whose_segments_do_not_follow_each_other_is_refused(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    write(client, [5] * 4)
    archive(redis_url, tmp_path, segment_entries=5)
    path = trader_directory(tmp_path, TRADER) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["segments"][1]["chain_before"] = "00" * 32
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArchiveDamaged, match="does not go on where the one before ends, at 5"):
        Archive.open(tmp_path, TRADER)
