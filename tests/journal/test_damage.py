"""What is not whole is never read as if it were: refused with its file and place, or dropped as never finished."""

from pathlib import Path
from zlib import crc32

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import JournalDamaged, JournalError, JournalRefused
from eventstore.journal import JournalRecord, inspect
from eventstore.journal import header as headers
from eventstore.journal import journal as journal_module
from eventstore.journal.header import HEADER_BYTES
from tests.support.effort import effort
from tests.support.journals import copied, crash, flip, held, opened, payload, places, poke, segments, write, written
from tests.support.processes import PythonProcess

LIVES = [[payload(number, 40 + 31 * number % 90) for number in range(count)] for count in (5, 4, 3)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JournalRecord]]:
    """A journal of three lives, each with a file of its own, and its records."""
    home = tmp_path_factory.mktemp("whole") / "j"
    return home, written(home, LIVES)


def refusal(home: Path) -> JournalDamaged | None:
    """How opening is refused; None if it is not."""
    try:
        opened(home).close()
    except JournalDamaged as error:
        return error
    return None


@effort(150)
@given(data=st.data())
def test_a_changed_byte_is_refused_with_file_and_offset_unless_it_is_in_the_very_last_record(
    whole: tuple[Path, list[JournalRecord]], tmp_path: Path, data: st.DataObject
) -> None:
    """Any byte of any header or record; in the last record of all, that one is dropped, and said to be."""
    home, records = whole
    by_file = [records[:5], records[5:9], records[9:]]
    number = data.draw(st.integers(0, 2))
    bounds = places(by_file[number])
    place = data.draw(st.one_of(st.integers(0, HEADER_BYTES - 1), st.integers(HEADER_BYTES, bounds[-1] - 1)))
    with copied(home, tmp_path / "copy") as copy:
        path = segments(copy)[number]
        flip(path, place, data.draw(st.integers(1, 255)))
        begins = max((offset for offset in bounds if offset <= place), default=0)
        refused = refusal(copy)
        if number == 2 and begins == bounds[-2]:
            assert refused is None
            assert held(copy) == records[:-1]
            return
        assert refused is not None
        assert refused.path == path
        assert refused.offset == begins
        assert f"{path}: offset {begins}: " in str(refused)
        assert f"`eventstore journal salvage {copy}`" in str(refused)


@effort(60)
@given(data=st.data())
def test_lost_pages_are_noticed(whole: tuple[Path, list[JournalRecord]], tmp_path: Path, data: st.DataObject) -> None:
    """Zeros over any stretch, as of a page that never reached the disk: refused at the first record that is hit."""
    home, records = whole
    by_file = [records[:5], records[5:9], records[9:]]
    number = data.draw(st.integers(0, 2))
    bounds = places(by_file[number])
    first = data.draw(st.integers(0, len(bounds) - 2))
    last = data.draw(st.integers(first, len(bounds) - 2))
    with copied(home, tmp_path / "copy") as copy:
        path = segments(copy)[number]
        poke(path, bounds[first], bytes(bounds[last + 1] - bounds[first]))
        refused = refusal(copy)
        if number == 2 and last == len(bounds) - 2:
            assert refused is None
            assert held(copy) == records[: 9 + first]
        else:
            assert refused is not None
            # Nothing tells the end of a file from zeros, but for the file behind it, or what is behind the zeros.
            assert refused.path in segments(copy)[number : number + 2]


def test_a_file_that_is_gone_is_missed(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, _ = whole
    with copied(home, tmp_path / "copy") as copy:
        path = segments(copy)[1]
        path.unlink()
        refused = refusal(copy)
        assert refused is not None
        assert "positions 6 to 9 are missing" in str(refused)
    with copied(home, tmp_path / "copy") as copy:
        _, second, third = segments(copy)
        second.rename(second.with_name("000000000099.seg"))
        refused = refusal(copy)
        assert refused is not None
        assert refused.path.name in (third.name, "000000000099.seg")


def test_within_one_life_a_file_that_is_gone_is_missed_too(tmp_path: Path) -> None:
    written(tmp_path / "j", [[payload(number, 1000) for number in range(50)]])
    paths = [segment.path for segment in inspect(tmp_path / "j").segments if segment.records]
    assert len(paths) > 3
    paths[1].unlink()
    refused = refusal(tmp_path / "j")
    assert refused is not None
    assert refused.path == paths[2]
    assert "it begins with position" in str(refused)


def test_the_oldest_files_may_be_gone_as_after_a_trim(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        segments(copy)[0].unlink()
        assert held(copy) == records[5:]
        assert opened(copy).position == 12


def test_a_damaged_last_record_of_an_older_file_is_damage_and_not_torn(
    whole: tuple[Path, list[JournalRecord]], tmp_path: Path
) -> None:
    home, records = whole
    with copied(home, tmp_path / "copy") as copy:
        path = segments(copy)[0]
        place = places(records[:5])[4]
        flip(path, place + 30)
        refused = refusal(copy)
        assert refused is not None
        assert (refused.path, refused.offset) == (path, place)
        assert [segment.state for segment in inspect(copy).segments] == ["damaged", "ok", "ok"]


def test_refusing_changes_nothing(whole: tuple[Path, list[JournalRecord]], tmp_path: Path) -> None:
    home, _ = whole
    with copied(home, tmp_path / "copy") as copy:
        flip(segments(copy)[0], HEADER_BYTES + 30)
        before = {path.name: path.read_bytes() for path in copy.iterdir()}
        assert refusal(copy) is not None
        after = {path.name: path.read_bytes() for path in copy.iterdir()}
        assert after | {"journal.lock": b""} == before | {"journal.lock": b""}


def test_a_file_without_a_first_page_was_never_written_to(tmp_path: Path) -> None:
    """As after a crash of the host: the name of the newest file was on the disk, and nothing of it."""
    records = written(tmp_path / "j", LIVES[:1])
    (tmp_path / "j" / "000000000002.seg").write_bytes(bytes(10_000))
    journal = opened(tmp_path / "j")
    assert journal.torn == (tmp_path / "j" / "000000000002.seg", 0)
    assert list(journal.read(0)) == records
    journal.close()
    assert len(segments(tmp_path / "j")) == 2


# -- Whose it is ------------------------------------------------------------------------------------------------------


def test_another_traders_journal_is_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path / "j").close()
    with pytest.raises(JournalRefused, match=r"of trader T-1, and this is T-2"):
        opened(tmp_path / "j", trader_id="T-2")


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path / "j", schema_version=2).close()
    with pytest.raises(JournalRefused, match="schema version 2, and this version of the library knows 1: upgrade"):
        opened(tmp_path / "j", schema_version=1)
    opened(tmp_path / "j", schema_version=3).close()


def test_a_newer_format_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "FORMAT", 2)
    opened(tmp_path / "j").close()
    monkeypatch.undo()
    with pytest.raises(JournalRefused, match=r"000000000001.seg is of format 2, .* up to 1: upgrade"):
        opened(tmp_path / "j")
    with pytest.raises(JournalRefused, match="of format 2"):
        inspect(tmp_path / "j")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {},
        {"format": 1},
        {"format": "1"},
        {"format": 1, "schema": 1, "trader": "T-1", "segment": 1, "owner": "o", "owners": [1], "base": 0, "after": 0}
        | {"created_ns": 0, "records": None},
        {"format": 1, "schema": 1, "trader": b"T-1", "segment": 1, "owner": "o", "owners": [], "base": 0, "after": 0}
        | {"created_ns": 0, "records": None},
    ],
)
def test_a_header_that_was_never_one_is_damage(tmp_path: Path, fields: object) -> None:
    written(tmp_path / "j", LIVES[:1])
    [path] = segments(tmp_path / "j")
    data = msgpack.packb(fields)
    head = b"EVSTJRNL" + len(data).to_bytes(4, "little")
    rest = data + bytes(HEADER_BYTES - 16 - len(data))
    poke(path, 0, head + crc32(rest, crc32(head)).to_bytes(4, "little") + rest)
    refused = refusal(tmp_path / "j")
    assert refused is not None
    assert (refused.path, refused.offset) == (path, 0)


HOLDS = """
import sys
from eventstore.journal import Journal
journal = Journal.open(sys.argv[1], "T-1", schema_version=1, owner="other")
journal.append(1, b"from the other one")
print("open", flush=True)
input()
"""


def test_one_process_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with PythonProcess(HOLDS, tmp_path / "j") as process:
        assert process.line() == "open"
        with pytest.raises(JournalRefused, match=f"in use by process {process.pid}"):
            opened(tmp_path / "j")
        assert inspect(tmp_path / "j").records == 1
        process.kill()
    assert [record.payload for record in held(tmp_path / "j")] == [b"from the other one"]


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    (tmp_path / "open").mkdir()
    opened(tmp_path / "open").close()
    (tmp_path / "open").chmod(0o755)
    for name, expected in {
        "file": "can not be a journal",
        "full": r"holds 'thesis.txt' and is no journal's",
        "open": r"chmod 700",
    }.items():
        with pytest.raises(JournalError, match=expected):
            opened(tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "open").chmod(0o700)
    journal = opened(tmp_path / "open")
    assert {path.stat().st_mode & 0o777 for path in segments(tmp_path / "open")} == {0o600}
    journal.close()


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for settings in (
        {"segment_bytes": journal_module.SEGMENT_BYTES_MIN - 1},
        {"bytes_max": 2 * (1 << 14) - 1},
        {"owner": "x" * 49},
        {"trader_id": "x" * 5000},
    ):
        with pytest.raises(ValueError, match=r"segment_bytes|too long"):
            opened(tmp_path / "j", **settings)
    opened(tmp_path / "j").close()


def test_owners_are_told_in_order_and_those_with_records_always(tmp_path: Path) -> None:
    """Also after more openings than a header names."""
    journal = opened(tmp_path / "j", owner="first")
    write(journal, [b"a"])
    crash(journal)
    for number in range(70):
        journal = opened(tmp_path / "j", owner=f"{number:036d}")
        journal.append(1, b"b")
        if number:
            journal.trim(number)
        crash(journal)
    names = tuple(f"{number:036d}" for number in range(70))
    journal = opened(tmp_path / "j", owner="x" * 48)
    assert journal.owner == "x" * 48
    assert journal.owners[-61:] == (*names[-60:], "x" * 48)
    assert list(journal.owners) == sorted(journal.owners, key=["first", *names, "x" * 48].index)
    first_held = next(iter(journal.read(journal.first - 1))).position
    assert set(journal.owners) >= {("first", *names)[number] for number in range(first_held - 1, 71)}


def test_an_opening_that_came_to_nothing_gives_its_name_to_the_next(tmp_path: Path) -> None:
    """However often a node is started beside a server that is away, the owners before are not forgotten."""
    journal = opened(tmp_path / "j", owner="writer")
    journal.append(1, b"a")
    crash(journal)
    for number in range(100):
        journal = opened(tmp_path / "j", owner=f"again-{number}")
        assert (journal.owner, journal.owners) == ("again-0", ("writer", "again-0"))
        crash(journal)
    journal = opened(tmp_path / "j", owner="last")
    journal.append(1, b"b")
    journal.close()
    assert opened(tmp_path / "j", owner="next").owners == ("writer", "again-0", "next")
