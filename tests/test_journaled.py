"""The backlog with a journal in front: every entry is taken once and in order, from memory or from the journal."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstore import commands as c
from eventstore.journal import Journal
from eventstore.journaled import JournaledBacklog
from eventstore.storage.appender import Entry
from tests.support.backlogs import Asked
from tests.support.effort import effort
from workers.backlog import BEHIND, OFTEN, Full, Shut
from workers.watermark import Mark

NOW_NS = 1_700_000_000_000_000_000
PATIENCE_S = 30.0


def item(number: int, size: int = 10) -> tuple[int, bytes]:
    return NOW_NS + number * 1_000_000, c.encode(c.Add(f"{number}", b"x" * size))


def entry(number: int) -> Entry:
    accepted_ns, payload = item(number)
    return Entry(accepted_ns // 1_000_000, payload)


def number_of(entry: Entry) -> int:
    assert isinstance(entry.command, c.Add)
    return int(entry.command.key)


def open_journal(directory: Path, **settings: Any) -> Journal:
    settings = {"fsync": "never", "segment_bytes": 1 << 14, "bytes_max": 1 << 26} | settings
    return Journal.open(directory, "T-1", schema_version=c.VERSION, owner="o", **settings)


class Machine(RuleBasedStateMachine):
    """Calls and takes in any order, with little memory: what is accepted is taken, once and in order."""

    @initialize(
        before=st.integers(0, 5),
        written=st.integers(0, 5),
        count_max=st.integers(1, 6),
        on_full=st.sampled_from(("raise", "spill")),
    )
    def open(self, before: int, written: int, count_max: int, on_full: Any) -> None:
        self.directory = Path(tempfile.mkdtemp())
        old = open_journal(self.directory)
        for number in range(1, before + 1):
            old.append(*item(number))
        old.close()
        self.journal = open_journal(self.directory)
        position = min(written, before)
        self.backlog = JournaledBacklog(self.journal, position, count_max, 400, on_full)
        self.accepted = list(range(1, before + 1))
        self.taken = self.accepted[:position]
        self.spills = on_full == "spill"

    @rule(size=st.sampled_from((0, 10, 300)))
    def put(self, size: int) -> None:
        number = len(self.accepted) + 1
        room = len(self.backlog._placed) < self.backlog.count_max
        try:
            self.backlog.put_journaled(*item(number, size))
        except Full:
            assert not self.spills
            assert not room or self.backlog.bytes
        else:
            self.accepted.append(number)

    @rule(count=st.integers(1, 8))
    def take(self, count: int) -> None:
        taken = [one for one in self.backlog.take(count) if isinstance(one, Entry)]
        assert len(taken) <= count
        for entry in taken:
            number = number_of(entry)
            assert entry.accepted_ms == (NOW_NS + number * 1_000_000) // 1_000_000
            self.taken.append(number)
        assert self.taken == self.accepted[: len(self.taken)]

    @rule()
    def take_all(self) -> None:
        while len(self.backlog):
            self.take(5)
        assert self.taken == self.accepted
        self.backlog.take(1)  # what it has in memory of entries that were read back before
        assert self.backlog.bytes == 0

    @precondition(lambda self: self.taken)
    @rule(count=st.integers(1, 3))
    def put_back(self, count: int) -> None:
        count = min(count, len(self.taken) - (self.backlog._taken - len(self.taken)))
        back: list[Entry] = [entry(number) for number in self.taken[-count:]]
        self.backlog.put_back(back)
        del self.taken[-count:]

    @rule()
    def mark(self) -> None:
        mark = self.backlog.mark()
        assert mark.known
        assert mark.position == len(self.accepted)

    @invariant()
    def is_counted(self) -> None:
        if hasattr(self, "backlog"):
            assert len(self.backlog) == len(self.accepted) - len(self.taken)
            assert self.backlog.accepted == len(self.accepted)
            assert self.journal.position == len(self.accepted)

    def teardown(self) -> None:
        if hasattr(self, "backlog"):
            self.take_all()
            self.backlog.close("the end")
            assert self.backlog.conclude()
            with pytest.raises(Shut):
                self.backlog.put_journaled(*item(0))
            self.backlog.release()
            shutil.rmtree(self.directory)


def test_what_is_accepted_is_taken_once_and_in_order_from_memory_or_from_the_journal() -> None:
    run_state_machine_as_test(Machine, settings=effort(examples=60, steps=40))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path / "journal")
    yield journal
    journal.close()


def test_callers_and_a_consumer_at_once(journal: Journal) -> None:
    """Each caller's entries keep their order, the positions are those of the journal, nothing is lost or doubled."""
    backlog = JournaledBacklog(journal, 0, 20, 1 << 20, "spill")
    taken: list[Entry] = []

    def consume() -> None:
        while len(taken) < 3000:
            backlog.wait()
            taken.extend(one for one in backlog.take(16) if isinstance(one, Entry))

    def call(caller: int) -> None:
        for number in range(1000):
            backlog.put_journaled(*item(caller * 1000 + number))

    threads = [threading.Thread(target=consume), *(threading.Thread(target=call, args=(n,)) for n in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert [entry.payload for entry in taken] == [record.payload for record in journal.read(0)]
    for caller in range(3):
        mine = [number_of(entry) for entry in taken if number_of(entry) // 1000 == caller]
        assert mine == list(range(caller * 1000, caller * 1000 + 1000))


def test_a_caller_that_waits_gets_in_when_half_is_drained(journal: Journal) -> None:
    backlog = JournaledBacklog(journal, 0, 4, 1 << 20, "block", 30.0)
    for number in range(4):
        backlog.put_journaled(*item(number))
    blocked = threading.Thread(target=backlog.put_journaled, args=item(4))
    blocked.start()
    while not backlog.blocked:
        pass
    assert [number_of(one) for one in backlog.take(2) if isinstance(one, Entry)] == [0, 1]
    blocked.join(PATIENCE_S)
    assert not blocked.is_alive()
    assert [number_of(one) for one in backlog.take(9) if isinstance(one, Entry)] == [2, 3, 4]


def test_a_journal_without_room_refuses_and_is_waited_for(tmp_path: Path) -> None:
    """At the bound of the journal nothing is accepted, not even with memory to spare; trimming makes room again."""
    journal = open_journal(tmp_path, bytes_max=1 << 15)
    backlog = JournaledBacklog(journal, 0, 1 << 20, 1 << 30, "spill")
    accepted = 0

    def fill() -> None:
        nonlocal accepted
        for number in range(1, 10_000):
            backlog.put_journaled(*item(number, 200))
            accepted = number

    with pytest.raises(Full, match=r"the journal takes no more: .*may take 32768 together"):
        fill()
    assert journal.position == accepted == len(backlog)
    backlog.on_full, backlog.block_timeout_s = "block", PATIENCE_S
    late = threading.Thread(target=backlog.put_journaled, args=item(accepted + 1, 200))
    late.start()
    while len(backlog):
        backlog.take(100)
    journal.trim(accepted)
    late.join(PATIENCE_S)
    assert not late.is_alive()
    assert [number_of(one) for one in backlog.take(9) if isinstance(one, Entry)] == [accepted + 1]
    backlog.release()


def test_a_signal_handler_that_raises_at_any_point_of_a_call_leaves_no_gap(journal: Journal) -> None:
    """An exception between any two steps of a call: its entry is accepted or not, and all others are taken in order.

    Every step of the interpreter is tried, in turn.
    """
    backlog = JournaledBacklog(journal, 0, 100, 1 << 20)
    taken: list[int] = []
    finished, step = False, 0
    for step in range(2000):
        backlog.put_journaled(*item(2 * step))
        finished = _raise_at(step, lambda step=step: backlog.put_journaled(*item(2 * step + 1)))
        taken += [number_of(one) for one in backlog.take(3) if isinstance(one, Entry)]
        taken += [number_of(one) for one in backlog.take(3) if isinstance(one, Entry)]
        assert len(backlog) == 0
        if finished:
            break
    assert finished, "the call has more steps than were tried"
    assert taken == sorted(set(taken)), "out of order, or twice"
    assert set(range(0, 2 * step + 1, 2)) <= set(taken), "what was accepted is missing"


class Interrupted(Exception):
    """What the handler raises."""


def _raise_at(step: int, call: Any) -> bool:
    """Call, and raise at the step of that number inside of it; return whether it was over before."""
    seen = -1

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename.endswith(("journaled.py", "journal.py")):
            frame.f_trace_opcodes = True
            if event == "opcode":
                seen += 1
                if seen == step:
                    raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return False
    finally:
        sys.settrace(before)
    return seen < step


def test_a_call_from_a_signal_handler_inside_of_a_call_is_taken_like_any_other(journal: Journal) -> None:
    """Wherever it interrupts: no deadlock, both are accepted, each is taken once."""
    backlog = JournaledBacklog(journal, 0, 1 << 20, 1 << 30)
    from_handler = iter(range(1_000_000, 2_000_000))
    handled: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        one = next(from_handler)
        backlog.put_journaled(*item(one))
        handled.append(one)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # not before: it would interrupt itself, without an end

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        for number in range(5000):
            backlog.put_journaled(*item(number))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    taken: list[int] = []
    while len(backlog):
        taken += [number_of(one) for one in backlog.take(64) if isinstance(one, Entry)]
    assert len(handled) > 5
    assert [number for number in taken if number < 1_000_000] == list(range(5000))
    assert [number for number in taken if number >= 1_000_000] == handled


def test_marks_do_not_wait_for_what_is_read_back(journal: Journal) -> None:
    """The position of a mark is known at once; it only says that somebody waits."""
    backlog = JournaledBacklog(journal, 0, 1, 1 << 20, "spill")
    for number in range(5):
        backlog.put_journaled(*item(number))
    mark = backlog.mark()
    assert (mark.known, mark.position) == (True, 5)
    taken = [one for _ in range(9) for one in backlog.take(1)]
    assert [number_of(one) for one in taken if isinstance(one, Entry)] == list(range(5))
    assert [one for one in taken if isinstance(one, Mark)] == [mark]


def test_it_ends_only_when_nothing_can_come_in_any_more(journal: Journal) -> None:
    """While a caller is inside of a call it does not end, and it does not wait for that one either; afterwards nobody
    gets in."""
    backlog = JournaledBacklog(journal, 0, 10, 1 << 20)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with backlog._order:
            inside.set()
            assert leave.wait(PATIENCE_S)

    caller = threading.Thread(target=stay)
    caller.start()
    assert inside.wait(PATIENCE_S)
    assert not backlog.conclude()
    leave.set()
    caller.join(PATIENCE_S)
    backlog.put_journaled(*item(1))
    assert not backlog.conclude()
    backlog.take(1)
    assert backlog.conclude()
    with pytest.raises(Shut):
        backlog.put_journaled(*item(2))
    assert journal.position == 1


def test_after_one_has_waited_in_vain_others_are_refused_at_once_until_half_is_drained(journal: Journal) -> None:
    backlog = JournaledBacklog(journal, 0, 4, 1 << 20, "block", 0.01)
    for number in range(4):
        backlog.put_journaled(*item(number))
    with pytest.raises(Full):
        backlog.put_journaled(*item(4))
    backlog.block_timeout_s = 86_400.0
    with pytest.raises(Full):
        backlog.put_journaled(*item(4))
    assert (backlog.blocked, backlog.refused) == (1, 2)
    backlog.take(2)
    backlog.put_journaled(*item(4))
    assert journal.position == 5


def test_callers_look_now_and_then_whether_a_writer_that_is_behind_can_work(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in so many, and only while many entries wait; if it can not, that one makes room for it."""
    backlog = JournaledBacklog(journal, 0, 1 << 20, 1 << 20)
    asked = Asked(backlog, monkeypatch)
    asked.answer = True
    for number in range(BEHIND):
        backlog.put_journaled(*item(number))
    assert asked.count == 0
    for number in range(3 * OFTEN):
        backlog.put_journaled(*item(number))
    assert (asked.count, asked.helped) == (3, 3)
    while len(backlog):
        backlog.take(BEHIND)
    for number in range(BEHIND):
        backlog.put_journaled(*item(number))
    assert asked.count == 3


def test_marks_that_are_put_back_are_still_there(journal: Journal) -> None:
    """Who waits for them is told when the writer ends."""
    backlog = JournaledBacklog(journal, 0, 4, 1 << 20)
    backlog.put_journaled(*item(1))
    mark = backlog.mark()
    taken = backlog.take(4)
    assert mark in taken
    backlog.put_back(taken)
    assert backlog.waiting() == [mark]
    assert len(backlog) == 1
    assert [number_of(one) for one in backlog.take(4) if isinstance(one, Entry)] == [1]
