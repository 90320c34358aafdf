"""What `append` returned from is read again, in order, once; what it did not return from is whole or absent."""

import contextlib
import dis
import itertools
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import JournalError
from eventstore.journal import Journal, JournalRecord, read_records
from eventstore.journal.record import HEAD_BYTES, pack, start_value
from eventstore.journal.segment import WORDS_MAX
from tests.support.effort import effort
from tests.support.journals import crash, held, opened, payload, places, segments, write
from tests.support.processes import PythonProcess

SIZES = st.one_of(st.integers(0, 400), st.sampled_from((8 * WORDS_MAX, 8 * WORDS_MAX + 1, 12_000, 20_000, 100_000)))
LIVES = st.lists(st.tuples(st.lists(SIZES, max_size=30), st.booleans()), min_size=1, max_size=4)


@effort(60)
@given(LIVES, st.sampled_from(("never", "interval", "always")))
def test_what_was_appended_is_read_in_every_later_life(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[list[int], bool]], fsync: str
) -> None:
    """Payloads of all sizes, over the ends of files, in lives that end in order or not; positions go on."""
    home = tmp_path_factory.mktemp("journal") / "j"
    records: list[JournalRecord] = []
    owners: tuple[str, ...] = ()
    wrote = True
    for sizes, ends_well in lives:
        journal = opened(home, fsync=fsync)
        # An owner who wrote nothing is taken over: openings in vain must not push out the names of those who did.
        assert (journal.owners[:-1] if wrote else journal.owners) == owners
        assert journal.owner == journal.owners[-1]
        owners = journal.owners
        wrote = bool(sizes)
        assert journal.position == len(records)
        assert journal.torn is None
        assert list(journal.read(0)) == records
        records += write(journal, [payload(number, size) for number, size in enumerate(sizes)])
        assert list(journal.read(0)) == records
        assert (journal.position, journal.first) == (len(records), 1)
        if ends_well:
            journal.close()
            assert journal.synced == len(records)
        else:
            crash(journal)
    assert held(home) == records
    assert [record for path in segments(home) for record in read_records(path)] == records


def test_a_jump_without_records_behind_it_is_no_end_of_what_is_read(tmp_path: Path) -> None:
    """Positions that somebody else gave are not in the journal; what was behind them was set aside: no damage."""
    journal = opened(tmp_path / "j")
    write(journal, [b"one", b"two"])
    journal.close()
    journal = opened(tmp_path / "j")
    journal.begin(5)
    assert journal.append(3, b"six") == 6
    journal.close()
    journal = opened(tmp_path / "j")
    journal.discard_behind(5)
    for _ in range(2):
        assert (journal.first, journal.position) == (1, 5)
        assert [record.position for record in journal.read(0)] == [1, 2]
        assert list(journal.read(2)) == []
        crash(journal)
        journal = opened(tmp_path / "j")
    assert journal.append(4, b"six again") == 6
    assert [record.position for record in journal.read(0)] == [1, 2, 6]
    journal.close()


def test_positions_go_on_from_where_the_log_is(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    journal.begin(41)
    assert (journal.position, journal.first, journal.synced) == (41, 42, 41)
    assert journal.append(1, b"a") == 42
    with pytest.raises(ValueError, match="begin at 50"):
        journal.begin(50)
    crash(journal)
    journal = opened(tmp_path / "j")
    assert (journal.position, journal.first) == (42, 42)
    with pytest.raises(ValueError, match="begin at 41"):
        journal.begin(41)
    journal.begin(42)
    journal.begin(100)
    assert journal.append(2, b"b") == 101
    assert [record.position for record in journal.read(41)] == [42, 101]
    crash(journal)
    assert [record.position for record in held(tmp_path / "j")] == [42, 101]


def test_the_last_position_is_known_when_everything_was_trimmed(tmp_path: Path) -> None:
    """Where no record is left, the newest file still tells how far the log went."""
    for life in range(3):
        journal = opened(tmp_path / "j")
        assert journal.position == 200 * life
        write(journal, [payload(number) for number in range(200)])
        journal.trim(journal.position)
        assert journal._keeper is not None
        journal.close() if life == 1 else crash(journal)
    journal = opened(tmp_path / "j")
    assert journal.position == 600


# -- A process that ends at any moment -------------------------------------------------------------------------------


def test_a_write_that_was_cut_anywhere_is_dropped_and_all_before_it_are_read(tmp_path: Path) -> None:
    """The stores of the last append, made one byte after the other and stopped at each: the record is there or not."""
    journal = opened(tmp_path / "j")
    kept = write(journal, [payload(number, 50) for number in range(3)])
    crash(journal)
    [path] = segments(tmp_path / "j")
    before = path.read_bytes()
    [*_, offset] = places(kept)
    position = journal.position + 1
    last = JournalRecord(position, 7, b"the last one")
    packed = pack(start_value(1), last)
    # As `append` stores them: what is behind the commit word, then that.
    stores = [*range(8, len(packed)), *range(8)]
    for count in range(len(stores) + 1):
        state = bytearray(before)
        for place in stores[:count]:
            state[offset + place] = packed[place]
        home = tmp_path / f"cut-{count}"
        home.mkdir(mode=0o700)
        (home / "journal.lock").touch()
        (home / path.name).write_bytes(state)
        again = opened(home)
        found = list(again.read(0))
        done = bytes(state[offset : offset + len(packed)]) == packed
        assert found == ([*kept, last] if done else kept), count
        assert again.torn == (None if done or count == 0 else (home / path.name, offset))
        assert again.append(9, b"goes on") == len(found) + 1
        crash(again)
        assert [record.payload for record in held(home)] == [record.payload for record in found] + [b"goes on"]


APPENDS = """
import sys
from eventstore.journal import Journal
journal = Journal.open(sys.argv[1], "T-1", schema_version=1, owner=sys.argv[2], fsync=sys.argv[3],
                       segment_bytes=1 << 16)
print(journal.position, flush=True)
size = 0
while True:
    size = (size * 31 + 17) % 700
    position = journal.append(1, b"%d|" % (journal.position + 1) * (size // 3))
    sys.stdout.write(f"{position}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("fsync", ["never", "interval", "always"])
def test_after_kill_9_everything_that_append_returned_from_is_there(tmp_path: Path, fsync: str) -> None:
    """Killed again and again at a random place: at most the one record whose return was not heard of is more."""
    draw = random.Random(fsync)
    known = 0
    for life in range(6):
        with PythonProcess(APPENDS, tmp_path / "j", f"owner-{life}", fsync) as process:
            begun = int(process.line())
            assert known <= begun <= known + 1
            known = begun
            for _ in range(draw.randrange(1, 400)):
                known = int(process.line())
            process.process.kill()
            assert process.process.stdout is not None
            for line in process.process.stdout:
                if line.endswith("\n"):
                    known = int(line)
            process.process.wait(10)
    records = held(tmp_path / "j")
    assert len(records) - known in (0, 1)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert all(record.payload.startswith(b"%d|" % record.position) for record in records if record.payload)


# -- Whatever comes between two steps ------------------------------------------------------------------------------


class Between:
    """Runs `act` before the n-th opcode of a function that `fits`, told of the opcode and of the one before."""

    def __init__(self, function: FunctionType, act: Callable[[], None], fits: Callable[[str | None], bool]) -> None:
        self.acted = False
        self._code = function.__code__
        self._names = {each.offset: each.opname for each in dis.get_instructions(self._code)}
        self._act = act
        self._fits = fits
        self._wait = 0
        self._before: str | None = None

    def run(self, call: Callable[[], Any], at: int) -> Any:
        """Call `call`; `acted` says whether there were so many places."""
        self.acted = False
        self._wait = at
        self._before = None
        with stepping(self._code, self._step):
            return call()

    def _step(self, offset: int) -> None:
        if self.acted:
            return
        before, self._before = self._before, self._names.get(offset)
        if self._fits(before):
            if self._wait == 0:
                self.acted = True
                self._act()
            self._wait -= 1


if sys.version_info >= (3, 12):

    @contextlib.contextmanager
    def stepping(code: CodeType, step: Callable[[int], None]) -> Iterator[None]:
        """Call `step` with the offset of each opcode of `code` before it runs. What it raises is raised there."""
        monitoring = sys.monitoring
        tool, event = 4, monitoring.events.INSTRUCTION
        monitoring.use_tool_id(tool, "between")
        monitoring.register_callback(tool, event, lambda code, offset: step(offset))
        monitoring.set_local_events(tool, code, event)
        try:
            yield
        finally:
            monitoring.set_local_events(tool, code, 0)
            monitoring.free_tool_id(tool)

else:

    @contextlib.contextmanager
    def stepping(code: CodeType, step: Callable[[int], None]) -> Iterator[None]:
        """Call `step` with the offset of each opcode of `code` before it runs. What it raises is raised there."""

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code is not code:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                step(frame.f_lasti)
            return trace

        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(None)


def anywhere(_: str | None) -> bool:
    return True


def where_others_run(before: str | None) -> bool:
    """Whether CPython may run a signal handler or a finalizer behind that opcode."""
    # A call runs the handlers that wait when it is over; in Python 3.11, making a container may run the collector.
    return before is not None and before.startswith(("CALL", "BUILD_", "BINARY_SLICE", "RESUME", "JUMP_BACKWARD"))


class Interrupted(BaseException):
    """As `KeyboardInterrupt`, but not that of the person at the keyboard."""


def interrupt() -> None:
    raise Interrupted


def at_half(journal: Journal) -> int:
    """How many bytes fill the first half of the file that is written."""
    segment, offset, _ = journal.tail
    return segment.half - offset - HEAD_BYTES - 64


def at_end(journal: Journal) -> int:
    segment, offset, _ = journal.tail
    return segment.room - offset - HEAD_BYTES - 32


# Which method of the journal is looked at, the state before, the size of the payload, fsync.
VARIANTS: dict[str, tuple[FunctionType, Callable[[Journal], int] | None, int, str]] = {
    "plain": (Journal.append, None, 100, "never"),
    "empty": (Journal.append, None, 0, "never"),
    "over the half": (Journal._append_with_care, at_half, 101, "interval"),
    "large": (Journal._append_with_care, None, 7000, "never"),
    "synced": (Journal._append_with_care, None, 103, "always"),
    "next file": (Journal._rotate, at_end, 104, "never"),
    "next file, synced": (Journal._rotate, at_end, 105, "always"),
    "file of its own": (Journal._rotate, None, 20_001, "never"),
}


def prepared(home: Path, variant: str) -> tuple[Journal, list[bytes]]:
    """A journal in which the next append takes the way of `variant`, and the payloads in it."""
    _, fill, _, fsync = VARIANTS[variant]
    journal = opened(home, fsync=fsync)
    payloads = [payload(1, 30), payload(2, 60)]
    write(journal, payloads)
    if fill is not None:
        payloads.append(bytes(fill(journal)))
        journal.append(1, payloads[-1])
    return journal, payloads


def payloads_in(journal: Journal) -> list[bytes]:
    return [record.payload for record in journal.read(0)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_exception_at_any_opcode_leaves_the_record_whole_or_absent(tmp_path: Path, variant: str) -> None:
    """`position` tells which; what is appended next stands right behind, also in a life that begins after it."""
    method, _, size, fsync = VARIANTS[variant]
    between = Between(method, interrupt, anywhere)
    for at in itertools.count():
        journal, model = prepared(tmp_path / str(at), variant)
        data = payload(9, size)
        with contextlib.suppress(Interrupted):
            between.run(lambda: journal.append(1, data), at)  # noqa: B023 - called at once
        if not between.acted or journal.position > len(model):
            model.append(data)
        assert journal.position == len(model)
        assert payloads_in(journal) == model
        following = b"short" if at % 2 else payload(10, 2 * size + 100)
        if at % 3:  # otherwise it ends with that call
            journal.append(2, following)
            model.append(following)
            assert payloads_in(journal) == model
        crash(journal)
        journal = opened(tmp_path / str(at), fsync=fsync)
        assert payloads_in(journal) == model
        journal.close()
        shutil.rmtree(tmp_path / str(at))
        if not between.acted:
            assert at > 30
            return


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_append_inside_of_an_append_harms_neither(tmp_path: Path, variant: str) -> None:
    """As from a signal handler or a finalizer, wherever one may run: both have positions, and both are read."""
    method, _, size, fsync = VARIANTS[variant]
    for inner_size in (0, 50, 5000, 20_000):
        for at in itertools.count():
            journal, model = prepared(tmp_path / str(at), variant)
            placed = dict(enumerate(model, 1))

            def inner() -> None:
                for data in (payload(7, inner_size), b"inner"):  # noqa: B023 - called in this turn
                    placed[journal.append(2, data)] = data  # noqa: B023

            between = Between(method, inner, where_others_run)
            data = payload(9, size)
            position = between.run(lambda: journal.append(1, data), at)  # noqa: B023
            assert position not in placed
            placed[position] = data
            expected = [placed[position] for position in sorted(placed)]
            assert sorted(placed) == list(range(1, journal.position + 1))
            assert payloads_in(journal) == expected
            crash(journal)
            journal = opened(tmp_path / str(at), fsync=fsync)
            assert payloads_in(journal) == expected
            journal.close()
            shutil.rmtree(tmp_path / str(at))
            if not between.acted:
                assert at >= 3
                break


@pytest.mark.parametrize("fsync", ["never", "always"])
def test_appends_from_a_signal_handler_harm_nothing(tmp_path: Path, fsync: str) -> None:
    """Real signals, whenever another thread comes to send one, over the ends of many files."""
    journal = opened(tmp_path / "j", fsync=fsync)
    model: dict[int, bytes] = {}
    inside = 0
    done = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal inside
        data = payload(-inside, 60)
        model[journal.append(2, data)] = data
        inside += 1

    def send() -> None:
        sent = 0
        while not done:
            if sent == inside:
                sent += 1
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(0)

    sender = threading.Thread(target=send)
    before = signal.signal(signal.SIGUSR1, handle)
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        sender.start()
        number = 0
        while inside < 2000:
            data = payload(number, 300)
            model[journal.append(1, data)] = data
            number += 1
    finally:
        done = True
        sender.join()
        sys.setswitchinterval(interval)
        signal.signal(signal.SIGUSR1, before)
    assert sorted(model) == list(range(1, journal.position + 1))
    assert payloads_in(journal) == [model[position] for position in sorted(model)]
    crash(journal)
    assert len(held(tmp_path / "j")) == len(model)


# -- Forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_after_a_fork_writes_nothing_and_leaves_the_lock_to_its_parent(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    journal.append(1, b"before")
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        try:
            for call in (lambda: journal.append(1, b"child"), lambda: list(journal.read(0))):
                try:
                    call()
                    said += b"done;"
                except JournalError as error:
                    said += b"refused;" if "inherited through a fork" in str(error) else b"?"
            journal.close()
            os.write(write_end, said)
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"refused;refused;"
    os.close(read)
    with pytest.raises(JournalError, match=f"in use by process {os.getpid()}"):
        opened(tmp_path / "j")
    assert journal.append(1, b"after") == 2
    journal.close()
    assert [record.payload for record in held(tmp_path / "j")] == [b"before", b"after"]


def test_after_close_nothing_is_taken_or_given(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", trader_id="T-CLOSED")
    journal.append(1, b"a")
    reader = journal.read(0)
    assert any(thread.name == "eventstore-journal-T-CLOSED" for thread in threading.enumerate())
    journal.close()
    journal.close()
    for call in (lambda: journal.append(1, b"b"), lambda: next(reader), lambda: next(journal.read(0))):
        with pytest.raises(JournalError, match="it was closed"):
            call()
    assert not any(thread.name == "eventstore-journal-T-CLOSED" for thread in threading.enumerate())


def test_a_payload_or_time_that_can_not_be_stored_leaves_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    journal.append(1, b"a")
    wrong: list[tuple[Any, Any]] = [(1, "text"), (-1, b"b"), (2**64, b"b"), (None, b"b"), (1, None), (1, [b"b"] * 9000)]
    for accepted_ns, data in wrong:
        with pytest.raises(Exception, match=r".") as raised:
            journal.append(accepted_ns, data)
        assert not isinstance(raised.value, JournalError)
        assert journal.position == 1
    assert journal.append(3, b"c") == 2
    journal.close()
    assert [record.payload for record in held(tmp_path / "j")] == [b"a", b"c"]


def test_journals_of_the_same_process_are_apart(tmp_path: Path) -> None:
    journals: list[Journal] = [opened(tmp_path / str(number)) for number in range(3)]
    for number, journal in enumerate(journals):
        write(journal, [payload(number)] * (number + 1))
    for number, journal in enumerate(journals):
        assert [record.payload for record in journal.read(0)] == [payload(number)] * (number + 1)
        journal.close()
