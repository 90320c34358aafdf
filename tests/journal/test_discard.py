"""What was set aside is dropped, all of it or nothing of it, and is in a file of its own before."""

import errno
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import JournalDamaged, JournalError, JournalRefused
from eventstore.journal import JournalRecord, files, read_header, read_records, write_aside
from tests.support.effort import effort
from tests.support.journals import SCHEMA, TRADER, copied, crash, dies_at, flip, held, opened, payload, written

# The parent's threads are not in the child, and it needs none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

LIVES = [[payload(number, 900) for number in range(count)] for count in (20, 3, 30)]


@effort(40)
@given(behind=st.integers(0, 60), ends_well=st.booleans())
def test_records_above_a_position_are_dropped_for_good(
    tmp_path_factory: pytest.TempPathFactory, behind: int, ends_well: bool
) -> None:
    home = tmp_path_factory.mktemp("journal") / "j"
    records = written(home, LIVES)
    journal = opened(home, owner="me")
    journal.discard_behind(behind)
    kept = records[:behind]
    assert journal.position == min(behind, len(records)) == journal.synced
    assert list(journal.read(0)) == kept
    assert journal.owners[-1] == "me"
    journal.begin(100)
    assert journal.append(1, b"behind the log") == 101
    assert [record.position for record in journal.read(journal.first - 1)] == [*range(1, len(kept) + 1), 101]
    with pytest.raises(ValueError, match="something was appended"):
        journal.discard_behind(0)
    journal.close() if ends_well else crash(journal)
    assert [record.position for record in held(home)] == [*range(1, len(kept) + 1), 101]


@pytest.mark.parametrize("behind", [0, 10, 20, 22, 40])
def test_whoever_is_killed_while_dropping_has_dropped_all_or_nothing(tmp_path: Path, behind: int) -> None:
    """Killed at each call of the operating system in turn; the next life finds one of the two, and goes on."""
    records = written(tmp_path / "j", LIVES)

    def discard(home: Path) -> None:
        journal = opened(home)
        journal.discard_behind(behind)
        os._exit(0)

    seen = set()
    for step in itertools.count():
        with copied(tmp_path / "j", tmp_path / "copy") as copy:
            killed = dies_at(step, lambda copy=copy: discard(copy))
            found = held(copy)
            assert found in (records, records[:behind])
            seen.add(len(found))
            again = opened(copy)
            again.append(1, b"goes on")
            crash(again)
            assert len(held(copy)) == len(found) + 1
        if not killed:
            break
    assert seen == {len(records), behind}


def test_a_disk_that_refuses_leaves_every_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = written(tmp_path / "j", LIVES)
    journal = opened(tmp_path / "j", fsync="interval", fsync_interval_s=3600.0)

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(files, "sync_file", refuse)
        with pytest.raises(JournalError, match=r"can not be dropped: .*Input/output error"):
            journal.discard_behind(5)
    assert list(journal.read(0)) == records
    crash(journal)
    assert held(tmp_path / "j") == records


# -- Files of their own ------------------------------------------------------------------------------------------------


@given(positions=st.sets(st.integers(1, 2**63), max_size=20), sizes=st.integers(0, 3000))
def test_records_that_were_set_aside_are_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, positions: set[int], sizes: int
) -> None:
    path = tmp_path_factory.mktemp("aside") / "deep" / "tail.seg"
    records = [JournalRecord(position, position % 2**60, payload(position, sizes)) for position in sorted(positions)]
    assert write_aside(path, TRADER, SCHEMA, "me", iter(records)) == len(records)
    assert list(read_records(path)) == records
    header = read_header(path)
    assert (header.trader, header.owner, header.records) == (TRADER, "me", len(records))
    assert [each.name for each in path.parent.iterdir()] == ["tail.seg"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_set_aside_is_never_overwritten(tmp_path: Path) -> None:
    write_aside(tmp_path / "tail.seg", TRADER, SCHEMA, "me", [JournalRecord(1, 1, b"first")])
    with pytest.raises(JournalError, match="exists"):
        write_aside(tmp_path / "tail.seg", TRADER, SCHEMA, "me", [])
    with pytest.raises(ValueError, match="position 1 comes behind 1"):
        write_aside(tmp_path / "other.seg", TRADER, SCHEMA, "me", [JournalRecord(1, 1, b"")] * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["tail.seg"]


def test_whoever_is_killed_while_setting_aside_leaves_the_whole_file_or_none(tmp_path: Path) -> None:
    records = [JournalRecord(number, 1, payload(number, 1000)) for number in range(1, 2000)]
    for step in itertools.count():
        path = tmp_path / str(step) / "tail.seg"
        killed = dies_at(step, lambda path=path: write_aside(path, TRADER, SCHEMA, "me", records))
        if path.exists():
            assert list(read_records(path)) == records
        else:
            assert killed
            assert write_aside(path, TRADER, SCHEMA, "me", records) == len(records)
        if not killed:
            return


@effort(100)
@given(data=st.data())
def test_a_file_that_changed_is_not_read_as_if_it_had_not(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any byte changed, or any piece cut off its end: what is yielded before the error is what was written."""
    path = tmp_path_factory.mktemp("aside") / "tail.seg"
    records = [JournalRecord(number, 1, payload(number, 50)) for number in (3, 4, 9)]
    write_aside(path, TRADER, SCHEMA, "me", records)
    if data.draw(st.booleans()):
        flip(path, data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(1, 255)))
    else:
        os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    found: list[JournalRecord] = []
    with pytest.raises((JournalDamaged, JournalRefused)):
        found.extend(read_records(path))
    assert found == records[: len(found)]


def test_what_can_not_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"tail\.seg can not be written"):
        write_aside(tmp_path / "file" / "tail.seg", TRADER, SCHEMA, "me", [])
    with pytest.raises(JournalError, match="can not be read"):
        list(read_records(tmp_path / "absent.seg"))
