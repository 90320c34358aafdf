"""No room and a disk that refuses: said at the call or beside it, never a lost record, and it passes when they do."""

import contextlib
import errno
import os
import queue
import re
from pathlib import Path

import pytest

from eventstore.errors import JournalError, JournalFull
from eventstore.journal import Journal, files
from tests.support.journals import PATIENCE_S, SMALL, crash, held, opened, payload, segments, until, write
from tests.support.processes import PythonProcess


class Disk:
    """Refuses syncs when told to, and remembers which files it was asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusals = 0
        """How many of the next syncs are refused."""
        self.refused: list[Path] = []
        """The files of which a sync was refused."""
        self.again: list[Path] = []
        """Those of which another was asked for after that."""
        self._sync = files.sync_file
        monkeypatch.setattr(files, "sync_file", self.sync)

    def sync(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path in self.refused:
            self.again.append(path)
        if self.refusals:
            self.refusals -= 1
            self.refused.append(path)
            raise OSError(errno.EIO, "Input/output error")
        self._sync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Told:
    """What a journal tells, one after the other."""

    def __init__(self) -> None:
        self.troubles: queue.Queue[str | None] = queue.Queue()
        self.synced: queue.Queue[int] = queue.Queue()

    def trouble(self) -> str | None:
        return self.troubles.get(timeout=PATIENCE_S)

    def wait_for_synced(self, position: int) -> list[int]:
        """All positions told up to `position`."""
        told = [self.synced.get(timeout=PATIENCE_S)]
        while told[-1] < position:
            told.append(self.synced.get(timeout=PATIENCE_S))
        return told


def listening(home: Path, **settings: object) -> tuple[Journal, Told]:
    told = Told()
    journal = opened(home, on_trouble=told.troubles.put, **settings)
    journal.on_synced = told.synced.put
    return journal, told


def fill(journal: Journal, accepted: list[bytes], why: str) -> None:
    """Append until that is refused."""
    refused: JournalFull | None = None
    while refused is None:
        data = payload(len(accepted), 1000)
        try:
            journal.append(1, data)
            accepted.append(data)
        except JournalFull as error:
            refused = error
    assert re.search(why, str(refused))


def size_of(home: Path) -> int:
    """Bytes of all files; what the keeper deletes meanwhile is not counted."""
    size = 0
    for path in segments(home):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


# -- The bound ---------------------------------------------------------------------------------------------------------


def test_the_bound_holds_and_a_trim_makes_room(tmp_path: Path) -> None:
    """At the bound `append` raises and has accepted nothing; what was applied goes, and then it takes more."""
    journal, told = listening(tmp_path / "j", bytes_max=4 * SMALL)
    accepted: list[bytes] = []
    for _ in range(3):
        fill(journal, accepted, rf"may take {4 * SMALL} together")
        assert journal.position == len(accepted)
        assert journal.bytes <= 4 * SMALL
        assert size_of(tmp_path / "j") <= 4 * SMALL
        assert "may take" in str(told.trouble())
        journal.trim(journal.position)
        assert told.trouble() is None
    position = journal.position
    crash(journal)
    records = held(tmp_path / "j")
    assert [record.payload for record in records] == accepted[records[0].position - 1 :]
    assert records[-1].position == position


def test_a_full_journal_can_be_opened_and_then_trimmed(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", bytes_max=4 * SMALL)
    with pytest.raises(JournalFull):
        write(journal, [payload(number, 1000) for number in range(1000)])
    position = journal.position
    crash(journal)
    for path in segments(tmp_path / "j"):
        with path.open("ab") as file:
            file.truncate(2 * SMALL)
    journal, told = listening(tmp_path / "j", bytes_max=2 * SMALL)
    assert journal.position == position
    assert journal.append(1, b"the first of this life") == position + 1
    with pytest.raises(JournalFull):
        write(journal, [payload(number, 1000) for number in range(100)])
    assert told.trouble() is not None
    journal.trim(position)
    assert told.trouble() is None
    write(journal, [payload(number, 1000) for number in range(5)])
    journal.close()


def test_a_command_larger_than_the_bound_is_refused_and_smaller_ones_go_on(tmp_path: Path) -> None:
    journal, told = listening(tmp_path / "j", bytes_max=4 * SMALL)
    for _ in range(2):
        with pytest.raises(JournalFull):
            journal.append(1, bytes(4 * SMALL))
        assert journal.append(1, b"small") == journal.position
    assert told.trouble() is not None
    assert told.trouble() is None
    assert journal.position == 2
    journal.close()


# -- A full disk ------------------------------------------------------------------------------------------------------

FILLS = """
import os, queue, resource, sys
from eventstore.errors import JournalFull
from eventstore.journal import Journal
told = queue.Queue()
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
if sys.argv[2] == "opening":
    limit(1 << 15)
journal = Journal.open(sys.argv[1], "T-1", schema_version=1, owner="o", segment_bytes=1 << 16, on_trouble=told.put)
limit(1 << 15)
try:
    while True:
        journal.append(1, b"x" * 500)
except JournalFull as error:
    print(error, flush=True)
position = journal.position
# Out of room is known now: a further call costs no system call.
calls = []
sys.addaudithook(lambda event, arguments: calls.append(event))
try:
    journal.append(1, b"x" * 500)
except JournalFull as error:
    calls.append("refused")
own = [call for call in calls if not call.startswith(("object", "sys", "import", "os.", "open"))]
assert own == ["refused"], calls
assert journal.position == position
print(told.get(timeout=30), flush=True)
limit(resource.RLIM_INFINITY)
print(told.get(timeout=30), flush=True)
for _ in range(500):
    journal.append(1, b"x" * 500)
print(position, journal.position, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("when", ["opening", "running"])
def test_a_disk_without_room_is_an_error_of_the_call_and_no_signal(tmp_path: Path, when: str) -> None:
    """The kernel refuses larger files (EFBIG, as ENOSPC would come): accepted is whole, and it goes on afterwards."""
    with PythonProcess(FILLS, tmp_path / "j", when) as process:
        assert "File too large" in process.line()
        assert "File too large" in process.line()
        assert process.line() == "None"
        before, after = map(int, process.line().split())
        assert process.join() == 0
    assert before > 0
    assert after == before + 500
    assert len(held(tmp_path / "j")) == after
    assert not list((tmp_path / "j").glob("*.new"))


def test_a_file_that_can_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where room can not be set apart, zeros are written; where they can not be, the file goes."""

    def no_allocate(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", no_allocate)
    journal = opened(tmp_path / "j", segment_bytes=3 << 20)
    [path] = segments(tmp_path / "j")
    assert path.stat().st_size == 3 << 20
    assert path.stat().st_blocks * 512 >= 3 << 20
    write(journal, [b"a"])
    journal.close()
    monkeypatch.undo()

    def no_space(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(JournalError, match="No space left on device; make room"):
        opened(tmp_path / "j")
    assert len(list((tmp_path / "j").iterdir())) == 2
    monkeypatch.undo()
    assert len(held(tmp_path / "j")) == 1


# -- A disk that refuses to sync --------------------------------------------------------------------------------------


def test_at_each_interval_what_was_appended_is_synced_and_told(tmp_path: Path, disk: Disk) -> None:
    journal, told = listening(tmp_path / "j", fsync="interval", fsync_interval_s=0.005)
    for _ in range(3):
        write(journal, [payload(number, 300) for number in range(100)])
        assert told.wait_for_synced(journal.position)[-1] == journal.position == journal.synced
    journal.close()
    assert told.troubles.empty()


def test_after_a_sync_error_that_file_is_left_and_the_watermark_stays_until_told_otherwise(
    tmp_path: Path, disk: Disk
) -> None:
    journal, told = listening(tmp_path / "j", fsync="interval", fsync_interval_s=0.005)
    write(journal, [b"safe"])
    told.wait_for_synced(1)
    disk.refusals = 1
    write(journal, [b"never sure"])
    assert "Input/output error" in str(told.trouble())
    assert disk.refusals == 0
    write(journal, [b"in another file", b"and more"])
    assert len(segments(tmp_path / "j")) == 2
    current = journal.tail[0]
    until(lambda: current.synced == 4)  # safe, but behind one that is not
    assert journal.synced == 1
    assert told.synced.empty()
    journal.trim(2)
    journal._wake()
    assert told.wait_for_synced(4)[-1] == 4
    assert told.trouble() is None
    journal.close()
    assert disk.again == []
    assert [record.payload for record in held(tmp_path / "j")][-2:] == [b"in another file", b"and more"]


def test_with_every_append_synced_one_refusal_costs_nothing(tmp_path: Path, disk: Disk) -> None:
    """The record goes into a new file, where it is synced, and stands nowhere twice."""
    journal, told = listening(tmp_path / "j", fsync="always")
    model = []
    for number in range(20):
        if number % 3 == 0:
            disk.refusals = 1
        model.append(payload(number, 50 + 700 * (number % 4)))
        assert journal.append(1, model[-1]) == number + 1 == journal.synced
        assert [record.payload for record in journal.read(0)] == model
    assert told.wait_for_synced(20) == list(range(1, 21))
    assert disk.again == []
    crash(journal)
    assert [record.payload for record in held(tmp_path / "j")] == model


def test_the_first_record_of_a_file_that_was_made_ahead_may_be_refused(tmp_path: Path, disk: Disk) -> None:
    """Nothing before it is lost by that: the next file tells truly what came before."""
    journal, _ = listening(tmp_path / "j", fsync="always")
    model: list[bytes] = []
    for _ in range(3):
        number = journal.tail[0].number
        while journal.tail[1] + 1100 <= journal.tail[0].room:
            model.append(payload(len(model), 1000))
            journal.append(1, model[-1])
        until(lambda: bool(journal.prepared))  # noqa: B023
        disk.refusals = 1
        model.append(payload(len(model), 1000))
        journal.append(1, model[-1])
        assert journal.tail[0].number >= number + 2
        assert [record.payload for record in journal.read(0)] == model
        crash(journal)
        assert [record.payload for record in held(tmp_path / "j")] == model
        journal, _ = listening(tmp_path / "j", fsync="always")


def test_with_every_append_synced_two_refusals_are_an_error_and_nothing_was_appended(
    tmp_path: Path, disk: Disk
) -> None:
    journal, told = listening(tmp_path / "j", fsync="always")
    model = [b"a"]
    journal.append(1, b"a")
    for number in range(3):
        disk.refusals = 2
        with pytest.raises(JournalError, match="the disk refused a command twice"):
            journal.append(2, b"refused")
        assert (journal.position, journal.synced) == (len(model), len(model))
        assert "Input/output error" in str(told.trouble())
        if number == 1:
            crash(journal)
            journal, told = listening(tmp_path / "j", fsync="always")
            assert [record.payload for record in journal.read(0)] == model
        model.append(payload(number))
        assert journal.append(3, payload(number)) == len(model)
        while number != 1 and told.trouble() is not None:
            pass
    assert [record.payload for record in journal.read(0)] == model
    crash(journal)
    assert [record.payload for record in held(tmp_path / "j")] == model


def test_a_disk_that_refuses_at_the_opening_or_the_end_is_named(tmp_path: Path, disk: Disk) -> None:
    disk.refusals = 1
    with pytest.raises(JournalError, match=r"can not be opened: .*Input/output error; make room or repair the disk"):
        opened(tmp_path / "j", fsync="interval")
    assert segments(tmp_path / "j") == []
    journal, told = listening(tmp_path / "j", fsync="interval", fsync_interval_s=3600.0)
    write(journal, [b"a"])
    disk.refusals = 1
    journal.close()
    assert "Input/output error" in str(told.trouble())
    assert journal.synced == 0
    assert len(held(tmp_path / "j")) == 1


def test_who_is_told_may_be_broken(tmp_path: Path, disk: Disk) -> None:
    """A listener that raises does not end the keeper."""
    synced: queue.Queue[int] = queue.Queue()

    def broken(_: object) -> None:
        raise RuntimeError

    journal = opened(tmp_path / "j", fsync="interval", fsync_interval_s=0.005, on_trouble=broken)
    journal.on_synced = broken
    disk.refusals = 1
    write(journal, [b"a"])
    until(lambda: not disk.refusals)
    journal.trim(1)
    write(journal, [b"b"])
    journal.on_synced = synced.put
    write(journal, [b"c"])
    while synced.get(timeout=PATIENCE_S) < 3:
        pass
    journal.close()
