"""`eventstore journal`: a documented contract; a damaged journal is told, saved, and opened again."""

import json
from datetime import UTC, datetime
from pathlib import Path

from eventstore import commands
from eventstore.journal import Journal, JournalRecord, write_aside
from eventstore.journal.header import HEADER_BYTES
from tests.support.cli import Run, assert_documented, assert_one_line_error
from tests.support.journals import flip, held, opened, payload, segments, written

RECORDS = [[payload(number, 100) for number in range(count)] for count in (4, 3)]
RECORD_BYTES = 128  # of such a payload


def test_json_is_the_documented_contract(eventstore: Run, tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    done = eventstore("journal", "inspect", tmp_path / "j", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert_documented(report, "journal inspect")
    assert report | {"damaged": False, "trader_id": "T-1", "owners": 2, "first": 1, "last": 7, "records": 7} == report
    assert [segment["records"] for segment in report["segments"]] == [4, 3]
    created = datetime.fromisoformat(report["segments"][0]["created"])
    assert created.tzinfo is UTC
    assert abs(created.timestamp() - report["segments"][0]["created_ns"] / 1e9) < 1e-3


def test_damage_is_told_saved_and_gone(eventstore: Run, tmp_path: Path) -> None:
    home = tmp_path / "j"
    records = written(home, RECORDS)
    flip(segments(home)[0], HEADER_BYTES + RECORD_BYTES + 50)
    done = eventstore("journal", "inspect", home)
    assert (done.returncode, done.stderr) == (1, "")
    place = HEADER_BYTES + RECORD_BYTES
    assert f"damaged at offset {place}" in done.stdout
    assert f"000000000001.seg: offset {place}: the checksum does not match" in done.stdout
    assert f"eventstore journal salvage {home}" in done.stdout

    done = eventstore("journal", "salvage", home, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert_documented(report, "journal salvage")
    assert (report["damaged"], report["records"]) == (True, 6)
    [lost] = report["lost"]
    assert (lost["file"], lost["offset"], lost["first"], lost["last"]) == ("000000000001.seg", place, 2, 2)
    assert report["moved"] == [{"file": str(home / "damaged" / "000000000001.seg")}]

    assert eventstore("journal", "inspect", home).returncode == 0
    found = held(home)
    assert [*found[:1], *found[2:]] == [*records[:1], *records[2:]]
    note = commands.decode(found[1].payload)
    assert isinstance(note, commands.Quarantined)
    assert (note.operation, note.key) == ("journal", "position 2")
    assert note.error == f"000000000001.seg: offset {place}: the checksum does not match"


def test_the_text_says_the_same(eventstore: Run, tmp_path: Path) -> None:
    home = tmp_path / "j"
    written(home, RECORDS)
    done = eventstore("journal", "inspect", home)
    for text in ("T-1", "7 records, positions 1 to 7; 2 files", "000000000002.seg", "5 to 7", "ok"):
        assert text in done.stdout
    assert "is not damaged; nothing was changed" in eventstore("journal", "salvage", home).stdout
    flip(segments(home)[0], HEADER_BYTES + RECORD_BYTES + 50)
    flip(segments(home)[0], HEADER_BYTES + 2 * RECORD_BYTES + 50)
    done = eventstore("journal", "salvage", home)
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("saved 5 records", "lost positions 2 to 3: 000000000001.seg, offset", "the damaged file is now"):
        assert text in done.stdout


def test_it_may_be_in_use_to_be_looked_at_and_not_to_be_salvaged(eventstore: Run, tmp_path: Path) -> None:
    journal: Journal = opened(tmp_path / "j")
    journal.append(1, b"a")
    done = eventstore("journal", "inspect", tmp_path / "j", "--json")
    assert json.loads(done.stdout)["records"] == 1
    assert_one_line_error(eventstore("journal", "salvage", tmp_path / "j"), "in use by process")
    journal.close()


def test_what_no_file_tells_can_be_said(eventstore: Run, tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS[:1])
    flip(segments(tmp_path / "j")[0], 100)
    done = eventstore("journal", "inspect", tmp_path / "j")
    assert done.returncode == 1
    assert "does not tell whose it is" in done.stdout
    assert json.loads(eventstore("journal", "inspect", tmp_path / "j", "--json").stdout)["trader_id"] is None
    assert f"eventstore journal salvage {tmp_path / 'j'} --trader ID --owner ID" in done.stdout
    assert_one_line_error(eventstore("journal", "salvage", tmp_path / "j"), "name the trader", "--trader and --owner")
    done = eventstore("journal", "salvage", tmp_path / "j", "--trader", "T-1", "--owner", "writer")
    assert (done.returncode, done.stderr) == (0, "")
    journal = opened(tmp_path / "j")
    assert (journal.owners[0], journal.position) == ("writer", 4)
    journal.close()


def test_what_is_no_journal_is_left_alone(eventstore: Run, tmp_path: Path) -> None:
    for verb in ("inspect", "salvage"):
        assert_one_line_error(eventstore("journal", verb, tmp_path / "absent"), "is no journal's directory")
        assert_one_line_error(eventstore("journal", verb, tmp_path), "is no journal's directory")
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_has_that_was_set_aside_is_shown_as_a_log_shows_it(eventstore: Run, tmp_path: Path) -> None:
    file = tmp_path / "T-1-owner-7.seg"
    calls = [commands.Add("key", b"x"), commands.Add("other", b""), commands.DeleteActor("A-1")]
    records = [
        JournalRecord(7 + number, 1_700_000_000_123_000_000 + number, commands.encode(call))
        for number, call in enumerate(calls)
    ]
    write_aside(file, "T-1", commands.VERSION, "owner", records)
    done = eventstore("journal", "show", file, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for line in found:
        assert_documented(line, "log")
    assert [(line["position"], line["kind"]) for line in found] == [(7, "Add"), (8, "Add"), (9, "DeleteActor")]
    assert len(eventstore("journal", "show", file).stdout.splitlines()) == 3
    assert_one_line_error(eventstore("journal", "show", tmp_path / "none"), "can not be read")
    flip(file, HEADER_BYTES + 20)
    assert_one_line_error(eventstore("journal", "show", file), "offset")
