"""Taking turns: others get the interpreter again and again, whatever the host's switch interval is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.turn import Turn, wake_on_time

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
