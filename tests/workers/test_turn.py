"""Taking turns: others get the interpreter again and again, whatever the host's switch interval is."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.turn import ALONE_S, KEPT_S, LONG_TURN_S, REST_S, STARVED_S, TURN_ALONE_S, TURN_S, Turn, wake_on_time

LONG_S = 10.0
TURNS = 50


@pytest.fixture
def long_switch_interval() -> Iterator[None]:
    """Whoever is not let have the interpreter waits for it that long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(LONG_S)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("long_switch_interval")
def test_another_thread_gets_the_interpreter_between_two_pieces_of_work() -> None:
    """A thread that works on and on, and never waits, lets others in by its turns alone; else this takes minutes."""
    ended = False

    def work() -> None:
        turn = Turn()
        while not ended:
            turn.check()

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(TURNS):
        time.sleep(0)  # each time, the interpreter has to be had again
    ended = True
    worker.join()


def test_a_turn_that_is_not_over_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is slept away while there is time left."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    turn = Turn()
    turn.begin(LONG_S)
    turn.check()
    assert not slept
    turn.begin(0.0)
    turn.check()
    assert len(slept) == 1


class Clock:
    """A clock that only sleeping moves, and whoever has the interpreter meanwhile; and how long others worked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.kept_s = 0.0
        self.slept = 0
        self.others_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "process_time", lambda: self.now_s + self.others_s)
        monkeypatch.setattr(time, "thread_time", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now_s += max(seconds, self.kept_s)


def turn_behind(clock: Clock, share: float, kept_s: float) -> float:
    """How long a turn is behind a rest in which others kept the interpreter for so long."""
    turn = Turn()
    turn.share = share
    turn.begin(0.0)
    clock.kept_s = kept_s
    turn.check()
    return to_the_next(clock, turn)


def to_the_next(clock: Clock, turn: Turn) -> float:
    """Go on to the next rest; how long the turn was."""
    began_s, slept = clock.now_s, clock.slept
    while clock.slept == slept:
        clock.now_s += TURN_S / 100
        turn.check()
    return clock.now_s - max(clock.kept_s, REST_S) - began_s


def test_a_turn_is_longer_behind_one_who_kept_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """In proportion, as far as it is due to it, and never shorter than any other; not behind one who just woke up."""
    clock, about = Clock(monkeypatch), TURN_S / 50
    assert turn_behind(clock, 1.0, 0.9 * KEPT_S) == pytest.approx(TURN_S, abs=about)
    assert turn_behind(clock, 1.0, 0.002) == pytest.approx(0.002, abs=about)
    assert turn_behind(clock, 0.5, 0.002) == pytest.approx(0.001, abs=about)
    assert turn_behind(clock, 1.0, 10.0) == pytest.approx(LONG_TURN_S, abs=about)
    assert turn_behind(clock, 0.0, 10.0) == pytest.approx(TURN_S, abs=about)


def test_turns_are_longer_while_no_other_thread_does_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once that was so for a while; and as soon as one did something, however little, they are short again."""
    clock, about = Clock(monkeypatch), TURN_S / 50
    turn = Turn()
    for works_s in (0.00001, 0.0001):
        clock.others_s += works_s
        to_the_next(clock, turn)  # a rest later it is seen
        for _ in range(5):
            assert to_the_next(clock, turn) == pytest.approx(TURN_S, abs=about)
        clock.now_s += ALONE_S
        to_the_next(clock, turn)
        for _ in range(100):
            assert to_the_next(clock, turn) == pytest.approx(TURN_ALONE_S, abs=about)


def test_another_threads_work_is_seen() -> None:
    """By the clocks of the system: the thread that asks does nothing that counts."""
    turn, moments = Turn(), itertools.count(0.0)

    def is_alone() -> bool:
        return turn._is_alone(next(moments))

    def comes_to_be_alone() -> bool:
        return any(is_alone() for _ in range(1_000))  # others of the process may stir, and one that ends does

    assert comes_to_be_alone()
    worker = threading.Thread(target=lambda: [i * i for i in range(100_000)])
    worker.start()
    worker.join()
    assert not is_alone()
    assert comes_to_be_alone()


def test_a_thread_that_was_not_seen_at_work_for_a_while_needs_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and then half as often each time, until it is seen: what it waits for may be something else."""
    clock = Clock(monkeypatch)
    turn = Turn()
    for begin in (lambda: None, turn.begin, turn.check):
        begin()
        since_s = clock.now_s
        asked = []
        while clock.now_s < since_s + 20.5 * STARVED_S:
            if turn.needs_help():
                asked.append(round((clock.now_s - since_s) / STARVED_S))
            clock.now_s += STARVED_S / 2
        assert asked == [1, 2, 4, 8, 16]


def test_a_thread_that_asks_for_it_is_woken_on_time_and_no_other_is() -> None:
    """What one thread asks the system for, the host's own threads do not get."""
    slack = Path("/proc/self/timerslack_ns")  # of the main thread
    if not slack.exists():
        pytest.skip("this system does not know how")
    before = slack.read_text()
    seen: list[str] = []

    def ask() -> None:
        wake_on_time()
        seen.append(Path(f"/proc/{threading.get_native_id()}/timerslack_ns").read_text().strip())

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert seen == ["1"]
    assert slack.read_text() == before
