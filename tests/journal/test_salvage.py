"""A damaged journal can be saved: what is whole stays, what is not is named in its place."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import JournalError, JournalRefused
from eventstore.journal import JournalRecord, Salvaged, inspect, salvage
from eventstore.journal.header import HEADER_BYTES
from tests.support.effort import effort
from tests.support.journals import (
    TRADER,
    copied,
    crash,
    dies_at,
    flip,
    held,
    opened,
    payload,
    places,
    poke,
    segments,
    write,
    written,
)

# The parent's threads are not in the child, and it needs none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

LIVES = [[payload(number, 40 + 31 * number % 90) for number in range(count)] for count in (5, 4, 3)]


def note(position: int, reason: str) -> bytes:
    return b"lost %d: " % position + reason.encode()


def lost_in(records: list[JournalRecord]) -> set[int]:
    """Positions at which a note stands."""
    return {record.position for record in records if record.payload.startswith(b"lost %d: " % record.position)}


def saved(home: Path) -> tuple[Salvaged, list[JournalRecord]]:
    """What a salvage said, and what is in the journal then."""
    said = salvage(home, note)
    assert not inspect(home).damaged
    return said, held(home)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JournalRecord]]:
    """A journal of three lives, each with a file of its own, and its records."""
    home = tmp_path_factory.mktemp("whole") / "j"
    return home, written(home, LIVES)


@effort(150)
@given(data=st.data())
def test_every_whole_record_is_saved_and_every_other_position_tells_that_it_is_lost(
    whole: tuple[Path, list[JournalRecord]], tmp_path: Path, data: st.DataObject
) -> None:
    """Any number of bytes changed, anywhere: nothing else is lost, positions stay, gaps are told."""
    home, records = whole
    files = [records[:5], records[5:9], records[9:]]
    spots = [
        (number, place)
        for number, part in enumerate(files)
        for place in (*places(part)[:-1], *(data.draw(st.lists(st.integers(0, HEADER_BYTES - 1), max_size=1))))
    ]
    hits = data.draw(st.lists(st.sampled_from(spots), min_size=1, max_size=4, unique=True))
    with copied(home, tmp_path / "copy") as copy:
        paths = segments(copy)
        hit: set[int] = set()
        for number, place in hits:
            flip(paths[number], place + (data.draw(st.integers(0, 23)) if place >= HEADER_BYTES else 0))
            if place >= HEADER_BYTES:
                hit.add(files[number][places(files[number]).index(place)].position)
        damaged = inspect(copy).damaged
        if not damaged:
            assert salvage(copy, note) == Salvaged(copy, 0, [], [], salvage(copy, note).torn)
            assert held(copy) == [record for record in records if record.position not in hit]
            return
        if inspect(copy).trader_id is None:
            with pytest.raises(JournalError, match="name the trader"):
                salvage(copy, note)
            return
        said, found = saved(copy)
        expected = max((record.position for record in records if record.position not in hit), default=0)
        kept = {record.position: record for record in records if record.position not in hit}
        assert {record.position: record for record in found if record.position in kept} == kept
        first = found[0].position if found else 0
        assert [record.position for record in found] == list(range(first, expected + 1))
        assert lost_in(found) == {position for position in hit if first < position < expected} | (
            {1} & hit if first == 1 else set()
        )
        told = {position for lost in said.lost if lost.first for position in range(lost.first, (lost.last or 0) + 1)}
        assert told == lost_in(found)
        assert said.records == len(kept)
        assert {path.name for path in said.moved} <= {path.name for path in paths}
        assert {path.name for path in (copy / "damaged").iterdir()} == {path.name for path in said.moved}
        assert said.moved


def test_each_gap_is_told_with_its_file_and_place(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        first, second, _ = segments(copy)
        spots = places(records[:5])
        poke(first, spots[1], bytes(spots[3] - spots[1]))
        poke(second, places(records[5:9])[3] + 40, b"?")
        said, found = saved(copy)
        assert [(lost.path, lost.offset, lost.first, lost.last) for lost in said.lost] == [
            (first, spots[1], 2, 3),
            (second, places(records[5:9])[3], 9, 9),
        ]
        assert lost_in(found) == {2, 3, 9}
        assert b"000000000001.seg: offset" in found[1].payload
        assert found[1].accepted_ns == found[0].accepted_ns
        assert said.moved == [copy / "damaged" / first.name, copy / "damaged" / second.name]
        journal = opened(copy)
        assert len(journal.owners) == 4
        assert journal.append(1, b"goes on") == 13
        journal.close()


def test_a_file_that_is_gone_is_filled(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        segments(copy)[1].unlink()
        said, found = saved(copy)
        assert lost_in(found) == {6, 7, 8, 9}
        assert [(lost.first, lost.last) for lost in said.lost] == [(6, 9)]
        assert [record for record in found if record.position not in {6, 7, 8, 9}] == records[:5] + records[9:]


def test_positions_that_others_wrote_are_no_gap(tmp_path: Path) -> None:
    home = tmp_path / "j"
    write(first := opened(home), [b"a", b"b"])
    crash(first)
    second = opened(home)
    second.begin(1000)
    write(second, [payload(number) for number in range(4)])
    crash(second)
    path = segments(home)[1]
    flip(path, HEADER_BYTES + 130)
    said, found = saved(home)
    assert [record.position for record in found] == [1, 2, 1001, 1002, 1003, 1004]
    assert lost_in(found) == {1002}
    assert [(lost.first, lost.last) for lost in said.lost] == [(1002, 1002)]


def test_a_header_is_enough_to_lose_a_name_but_no_record(tmp_path: Path) -> None:
    """Whose it is can be said by hand where no file tells."""
    records = written(tmp_path / "j", LIVES[:1], owner="writer")
    flip(segments(tmp_path / "j")[0], 100)
    with pytest.raises(JournalError, match=r"no file in .* tells whose it is; name the trader"):
        salvage(tmp_path / "j", note)
    salvage(tmp_path / "j", note, trader_id=TRADER, owner="writer")
    journal = opened(tmp_path / "j")
    assert journal.owners[0] == "writer"
    assert list(journal.read(0)) == records
    crash(journal)
    with pytest.raises(JournalRefused):
        opened(tmp_path / "j", trader_id="T-2")


def test_another_trader_is_not_made_of_one_that_is_known(tmp_path: Path) -> None:
    written(tmp_path / "j", LIVES)
    flip(segments(tmp_path / "j")[0], HEADER_BYTES + 30)
    with pytest.raises(JournalError, match="is the journal of T-1, and not of T-2"):
        salvage(tmp_path / "j", note, trader_id="T-2")


@pytest.mark.parametrize("many", [False, True])
def test_whoever_is_killed_while_salvaging_can_begin_again(
    whole: tuple[Path, list[JournalRecord]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """Killed at each call of the operating system in turn, also twice: in the end everything whole is there, once."""
    home, records = whole
    if many:
        monkeypatch.setattr("eventstore.journal.salvaging._SEGMENT_BYTES", HEADER_BYTES + 300)
    with copied(home, tmp_path / "damaged") as damaged:
        flip(segments(damaged)[0], places(records[:5])[2] + 30)
        flip(segments(damaged)[1], places(records[5:9])[0] + 30)
        with copied(damaged, tmp_path / "copy") as copy:
            _, expected = saved(copy)
            assert lost_in(expected) == {3, 6}
        for step in itertools.count():
            with copied(damaged, tmp_path / "copy") as copy:
                killed = dies_at(step, lambda copy=copy: salvage(copy, note))
                if killed and step % 3 == 0:
                    dies_at(step // 2, lambda copy=copy: salvage(copy, note))
                if inspect(copy).damaged:
                    salvage(copy, note)
                found = held(copy)
                assert [record._replace(payload=b"") for record in found] == [
                    record._replace(payload=b"") for record in expected
                ]
                assert [record for record in found if record.position not in {3, 6}] == [
                    record for record in records if record.position not in {3, 6}
                ]
                assert lost_in(found) == {3, 6}
                kept = {path.read_bytes() for path in (copy / "damaged").iterdir()}
                assert {path.read_bytes() for path in segments(damaged)[:2]} <= kept
            if not killed:
                assert step > 20
                break


def test_what_is_whole_or_only_torn_is_left_alone(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        flip(segments(copy)[2], places(records[9:])[2] + 30)
        before = {path.name: path.read_bytes() for path in segments(copy)}
        said = salvage(copy, note)
        assert (said.records, said.lost, said.moved) == (0, [], [])
        assert said.torn == (segments(copy)[2], places(records[9:])[2])
        assert {path.name: path.read_bytes() for path in segments(copy)} == before


def test_a_journal_in_use_and_a_directory_that_is_none_are_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    with pytest.raises(JournalRefused, match=f"in use by process {os.getpid()}"):
        salvage(tmp_path / "j", note)
    journal.close()
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        for look in (lambda path: salvage(path, note), inspect):
            with pytest.raises(JournalError, match="is no journal's directory"):
                look(tmp_path / name)
    assert list((tmp_path / "empty").iterdir()) == []


# -- Looking -----------------------------------------------------------------------------------------------------------


def test_an_inspection_tells_what_is_in_each_file(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        report = inspect(copy)
        assert (report.trader_id, report.first, report.last, report.records) == (TRADER, 1, 12, 12)
        assert [(each.first, each.last, each.records, each.state) for each in report.segments] == [
            (1, 5, 5, "ok"),
            (6, 9, 4, "ok"),
            (10, 12, 3, "ok"),
        ]
        assert report.bytes == sum(path.stat().st_size for path in segments(copy))
        flip(segments(copy)[0], places(records[:5])[2] + 30)
        flip(segments(copy)[2], places(records[9:])[2] + 30)
        report = inspect(copy)
        assert report.damaged
        assert [(each.state, each.records, each.offset) for each in report.segments] == [
            ("damaged", 4, places(records[:5])[2]),
            ("ok", 4, None),
            ("torn", 2, places(records[9:])[2]),
        ]


def test_a_journal_can_be_looked_at_while_it_is_written_and_trimmed(tmp_path: Path) -> None:
    """Never damaged, and what is told is consistent, whatever the writer does meanwhile."""
    journal = opened(tmp_path / "j")
    for number in range(300):
        write(journal, [payload(number, 50 * (number % 40))])
        if number % 20 == 19:
            journal.trim(number - 30)
            report = inspect(tmp_path / "j")
            assert not report.damaged
            assert report.last == journal.position
    journal.close()
