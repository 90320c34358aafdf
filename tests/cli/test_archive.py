"""`eventstore archive`: a documented contract; other verbs read what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventstore.audit import open_log
from eventstore.audit.archive import Archive, is_archive
from eventstore.model.identifiers import TraderId
from tests.cli.test_documents import LAYOUT, block
from tests.support.archives import KEYS, TRADER, entries, write
from tests.support.cli import TRADER as RECORDER
from tests.support.cli import Run, assert_documented, assert_one_line_error, documented_commands, session
from tests.support.redis_server import RedisServer


@pytest.fixture
def log(redis_server: RedisServer, redis_url: str) -> str:
    """The URL of a server with a log of ten batches of ten entries."""
    with redis_server.client() as client:
        write(client, [10] * 10)
    return redis_url


def test_json_is_the_documented_contract(eventstore: Run, log: str, tmp_path: Path) -> None:
    before = entries(log)
    done = eventstore("archive", log, "--to", tmp_path, "--before", 56, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert_documented(report, "archive")
    assert report | {"trader_id": TRADER, "dry_run": False, "entries": 50, "trimmed": 50} == report
    assert report["end"] == {"position": 50, "chain": before[49].chain.hex() if before[49].chain else None}
    assert report["log"]["entries"] == 50
    [segment] = report["segments"]
    [held] = Archive.open(tmp_path, TRADER).segments
    assert segment == {
        "file": held.file,
        "first": 1,
        "last": 50,
        "entries": 50,
        "bytes": held.size,
        "digest": held.digest,
    }
    assert entries(log, tmp_path) == before


def test_a_dry_run_says_the_same_and_changes_nothing(eventstore: Run, log: str, tmp_path: Path) -> None:
    done = eventstore("archive", log, "--to", tmp_path / "a", "--keep", 25, "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report | {"dry_run": True, "entries": 70, "trimmed": 0, "segments": []} == report
    assert not (tmp_path / "a").exists()
    assert (
        "70 entries would be archived, up to 70"
        in eventstore("archive", log, "--to", tmp_path / "a", "--keep", 25, "--dry-run").stdout
    )
    done = eventstore("archive", log, "--to", tmp_path / "a", "--keep", 25)
    assert "archived 70 entries and trimmed 70" in done.stdout
    assert "the log at the server has 30 entries" in done.stdout
    assert (
        "nothing to archive: the archive ends at 70"
        in eventstore("archive", log, "--to", tmp_path / "a", "--older-than", "1h", "--keep-bytes", "1GB").stdout
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["--older-than", "30"], ["--older-than", "d"], ["--keep-bytes", "1 MB"], ["--before", "0"], ["--keep", "-1"]],
)
def test_wrong_usage_is_told(eventstore: Run, log: str, tmp_path: Path, arguments: list[str]) -> None:
    done = eventstore("archive", log, "--to", tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert not is_archive(tmp_path)


def test_a_trader_without_a_log_leaves_no_directory(eventstore: Run, log: str, tmp_path: Path) -> None:
    done = eventstore("archive", log, "--to", tmp_path / "a", "--keep", 0, "--trader", "NOPE-1")
    assert_one_line_error(done, f"NOPE-1 has no log at {log}")
    assert not (tmp_path / "a").exists()


def test_a_refusal_is_one_line(eventstore: Run, log: str, redis_server: RedisServer, tmp_path: Path) -> None:
    assert eventstore("archive", log, "--to", tmp_path, "--keep", 0).returncode == 0
    with redis_server.client() as client:
        client.flushall()
        write(client, [10] * 10)
    done = eventstore("archive", log, "--to", tmp_path, "--keep", 0)
    assert_one_line_error(done, "has another entry at position 90", "Name another directory")


def test_an_embedded_log_is_archived_and_both_are_places(eventstore: Run, scratch: Path) -> None:
    """The archive of a recorded session has what the log had; neither needs the other to be read."""
    data, files = scratch / "data", scratch / "archive"
    assert eventstore("ingest", session("trailing"), "--to", data).returncode == 0
    trader = TraderId(RECORDER)
    with open_log(data, trader) as log:
        before = [*log.entries()]
    done = eventstore("archive", data, "--to", files, "--keep", 100)
    assert (done.returncode, done.stderr) == (0, "")
    with open_log(data, trader, files) as log:
        assert [*log.entries()] == before
    with open_log(files) as log:
        archived = [*log.entries()]
    assert archived == before[: len(archived)]
    assert 100 <= len(before) - len(archived) < 100 + 256
    assert_one_line_error(eventstore("archive", data, "--to", data, "--keep", 0), "has the data of an embedded server")


def test_a_user_with_the_documented_permissions_can_archive(
    eventstore: Run, log: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The user of a node with one command more, and one that may do nothing else."""
    node = block(LAYOUT, "acl").replace("TRADER-001", TRADER).replace("PASSWORD", "pass").split()
    alone = ["ACL", "SETUSER", "archivist", "on", ">pass", f"~{KEYS.prefix}*", "-@all", *documented_commands("archive")]
    with redis_server.client() as client:
        client.execute_command(*node, "+xtrim")
        client.execute_command(*alone)
        try:
            for user, before in (("node", 40), ("archivist", 80)):
                url = f"unix://{user}:pass@{redis_server.socket_path}"
                done = eventstore("archive", url, "--to", tmp_path, "--trader", TRADER, "--before", before)
                assert (done.returncode, done.stderr) == (0, "")
            assert client.xlen(KEYS.log) == 30
        finally:
            client.acl_deluser("node", "archivist")


def test_without_the_archive_its_part_is_asked_for_by_name(eventstore: Run, log: str, tmp_path: Path) -> None:
    """Every verb that needs the beginning says that it was archived, also at a moment that is only there."""
    assert eventstore("archive", log, "--to", tmp_path, "--before", 56).returncode == 0
    for arguments in (["replay"], ["replay", "--at", 10], ["diff", 5, 10], ["rebuild"]):
        verb, *rest = arguments
        done = eventstore(verb, log, *rest)
        assert_one_line_error(done, "was archived up to position 50", "name it, too, with --archive")


def test_the_archive_of_another_log_is_refused(eventstore: Run, log: str, scratch: Path, tmp_path: Path) -> None:
    assert eventstore("archive", log, "--to", tmp_path, "--before", 56).returncode == 0
    with RedisServer() as other:
        with other.client() as client:
            write(client, [10] * 10)
        for arguments in (["log"], ["log", "--last", 1], ["replay"]):
            verb, *rest = arguments
            done = eventstore(verb, other.url, "--archive", tmp_path, *rest)
            assert_one_line_error(done, "do not fit together at position 50", "another log")


def test_what_is_left_out_is_told(eventstore: Run, log: str, tmp_path: Path) -> None:
    assert eventstore("archive", log, "--to", tmp_path, "--before", 56).returncode == 0
    note = "note: what is up to position 50 was archived; with --archive DIR it is read, too\n"
    for arguments, said in (
        (["log"], note),
        (["log", "--since", 7, "--json"], note),
        (["log", "--since", 51], ""),
        (["log", "--last", 3], ""),
        (["log", "--archive", tmp_path], ""),
        (["export", "--to", tmp_path / "t", "--format", "csv", "--table", "log"], note),
    ):
        verb, *rest = arguments
        done = eventstore(verb, log, *rest)
        assert (done.returncode, done.stderr) == (0, said), arguments
    done = eventstore("export", log, "--to", tmp_path / "u", "--format", "csv", "--table", "fills")
    assert_one_line_error(done, "was archived up to position 50", "name it, too, with --archive")
    assert not list((tmp_path / "u").parent.glob("u*"))


def test_a_verb_about_a_server_says_so_of_an_archive(eventstore: Run, log: str, tmp_path: Path) -> None:
    assert eventstore("archive", log, "--to", tmp_path, "--before", 56).returncode == 0
    for arguments in (["status"], ["archive", "--to", tmp_path / "b", "--keep", 0]):
        verb, *rest = arguments
        assert_one_line_error(eventstore(verb, tmp_path, *rest), "is an archive; name the server")
