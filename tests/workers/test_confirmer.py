"""The confirmer: `durable` follows `applied` as far as a probe confirms; it says why where not, and ends at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from workers.confirmer import Confirmation, Confirmer
from workers.sink import Backoff, Regressed, Unavailable
from workers.watermark import Watermark
from workers.writer import Stopped

PATIENCE_S = 30.0
SHORT, FULL = "0 of 1 replicas", "1 of 1 replicas"

Answer = Confirmation | BaseException


class ScriptedProbe:
    """A probe whose answers a test gives, one for each question."""

    def __init__(self) -> None:
        self.questions = 0
        self.resets = 0
        self.closed = 0
        self.late = False
        """Whether an interrupt comes too late for the question that is under way: its answer has arrived."""
        self._asked = threading.Semaphore(0)
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._interrupted = False
        self._waits = False

    def confirm(self) -> Confirmation:
        if self._interrupted:
            raise Unavailable(ConnectionError("interrupted"))
        self._waits = True
        self.questions += 1
        self._asked.release()
        answer = self._answers.get(timeout=PATIENCE_S)
        self._waits = False
        if answer is None:
            raise Unavailable(ConnectionError("interrupted"))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def reset(self) -> None:
        self.resets += 1
        self._interrupted = False

    def interrupt(self) -> None:
        self._interrupted = True
        if self._waits and not self.late:
            self._answers.put(None)

    def close(self) -> None:
        self.closed += 1

    def asked(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait for the next question."""
        return self._asked.acquire(timeout=timeout_s)

    def answer(self, *answers: Answer) -> None:
        """Answer the questions to come, each once it was asked."""
        for answer in answers:
            assert self.asked()
            self._answers.put(answer)


class Told:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.doubts: list[str] = []

    def short(self, reason: str, held: bool) -> None:
        self._told.put((reason, held))

    def behind(self, error: Regressed) -> None:
        self.doubts.append(str(error.cause))

    def met_again(self) -> None:
        self._told.put("met again")

    def failed(self, error: BaseException) -> None:
        self._told.put(error)

    def next(self) -> object:
        return self._told.get(timeout=PATIENCE_S)

    @property
    def silent(self) -> bool:
        """Whether there was nothing more to tell."""
        return self._told.empty()


class Scene(NamedTuple):
    applied: Watermark
    durable: Watermark
    probe: ScriptedProbe
    told: Told
    confirmer: Confirmer


@contextlib.contextmanager
def scene(position: int = 0, start: bool = True, nap_s: float = 0.0001, held_nap_s: float = 0.0001) -> Iterator[Scene]:
    applied, durable = Watermark(position), Watermark(position)
    probe, told = ScriptedProbe(), Told()
    confirmer = Confirmer(
        applied, durable, probe, told, "confirming", 0.0, Backoff(nap_s, nap_s), Backoff(held_nap_s, held_nap_s)
    )
    if start:
        confirmer.start()
    try:
        yield Scene(applied, durable, probe, told, confirmer)
    finally:
        assert confirmer.stop(PATIENCE_S)


def met(position: int) -> Confirmation:
    return Confirmation(position, met=True, reached=FULL)


def short(position: int) -> Confirmation:
    return Confirmation(position, met=False, reached=SHORT)


def away(held: bool = False) -> Unavailable:
    return Unavailable(ConnectionError("AOF is off" if held else "away"), held=held)


def test_what_is_confirmed_is_durable_and_then_nothing_is_asked() -> None:
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(met(5))
        assert s.durable.wait_until(5, PATIENCE_S)
        assert not s.probe.asked(0.02)
        s.applied.advance(7)
        s.probe.answer(met(7))
        assert s.durable.wait_until(7, PATIENCE_S)
        assert s.probe.questions == 2
        assert s.told.silent


def test_nothing_is_asked_before_anything_is_behind() -> None:
    with scene(5) as s:
        assert not s.probe.asked(0.02)


def test_one_answer_covers_all_that_was_applied_before_it_was_asked() -> None:
    with scene() as s:
        s.applied.advance(1)
        assert s.probe.asked()
        for position in range(2, 100):
            s.applied.advance(position)
        s.probe._answers.put(met(1))
        s.probe.answer(met(99))
        assert s.durable.wait_until(99, PATIENCE_S)
        assert s.probe.questions == 2


def test_what_is_on_its_way_is_not_durable_before_it_is_known_to_be_applied() -> None:
    """The probe sees a batch at the server before its writer has the answer; nobody may let go of that batch yet."""
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(met(8))
        assert s.durable.wait_until(5, PATIENCE_S)
        assert not s.durable.wait_until(6, 0.02)
        s.applied.advance(8)
        s.probe.answer(met(8))
        assert s.durable.wait_until(8, PATIENCE_S)


def test_what_falls_short_holds_the_watermark_and_the_reason_is_told_once_per_change() -> None:
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(short(5), short(5))
        assert s.told.next() == (SHORT, False)
        s.probe.answer(away(), away())
        assert s.told.next() == ("away", False)
        s.probe.answer(away(held=True), away(held=True))
        assert s.told.next() == ("AOF is off", True)
        s.probe.answer(short(5))
        assert s.told.next() == (SHORT, False)
        assert s.probe.asked()
        assert s.confirmer.reason == SHORT
        assert s.durable.position == 0
        s.probe._answers.put(met(5))
        assert s.durable.wait_until(5, PATIENCE_S)
        assert s.told.next() == "met again"
        assert s.confirmer.reason is None
        assert s.told.silent


def test_a_server_that_has_not_seen_what_was_applied_confirms_nothing() -> None:
    """An old primary may go on saying that all that it has is safe: it is not asked again on this connection."""
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(met(3))
        reason, held = s.told.next()  # type: ignore[misc]
        assert "ends at position 3, before what was applied" in reason
        assert s.told.doubts == [reason], "whoever writes was not told"
        assert not held
        assert s.probe.asked()
        assert s.durable.position == 0
        assert s.probe.resets == 1
        s.probe._answers.put(met(5))
        assert s.durable.wait_until(5, PATIENCE_S)
        assert s.told.next() == "met again"


def test_an_answer_from_before_a_retreat_does_not_count() -> None:
    """It was about a log that is lost, however late it comes; what is written again is confirmed again."""
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(met(5))
        assert s.durable.wait_until(5, PATIENCE_S)
        s.applied.advance(9)
        assert s.probe.asked()
        s.applied.retreat(3)
        s.confirmer.retreat(3)
        assert s.durable.position == 3
        s.applied.advance(9)
        assert s.probe.asked()
        assert s.probe.resets == 1
        assert s.durable.position == 3
        s.probe._answers.put(met(9))
        assert s.durable.wait_until(9, PATIENCE_S)
        assert s.told.silent


@pytest.mark.parametrize("answer", [met(9), short(9), met(2)])
def test_an_answer_that_had_arrived_when_the_log_was_set_back_is_not_even_told(answer: Confirmation) -> None:
    with scene(5) as s:
        s.applied.advance(9)
        assert s.probe.asked()
        s.probe.late = True
        s.applied.retreat(3)
        s.confirmer.retreat(3)
        s.applied.advance(9)
        s.probe._answers.put(answer)
        assert s.probe.asked()
        assert s.probe.resets == 1
        assert s.durable.position == 3
        assert s.told.silent
        s.probe._answers.put(met(9))
        assert s.durable.wait_until(9, PATIENCE_S)
        assert s.told.silent


def test_an_answer_that_is_just_taken_in_does_not_undo_a_retreat() -> None:
    """Whichever of the two comes first: behind a retreat the watermark is where that left it."""
    with scene(5) as s:
        once = iter([3])

        class Entrance(contextlib.nullcontext[None]):
            """Where an answer is taken in: the retreat comes before it by a hair's breadth."""

            def __enter__(self) -> None:
                for position in once:
                    s.applied.retreat(position)
                    s.confirmer.retreat(position)
                    s.applied.advance(9)

        s.confirmer._settling = Entrance()  # type: ignore[assignment]
        s.applied.advance(9)
        s.probe.answer(met(9))
        assert s.probe.asked()
        assert s.probe.resets == 1
        assert s.durable.position == 3
        s.probe._answers.put(met(9))
        assert s.durable.wait_until(9, PATIENCE_S)


def test_what_somebody_has_to_act_on_is_asked_about_more_slowly() -> None:
    with scene(held_nap_s=3600) as s:
        s.applied.advance(5)
        s.probe.answer(away(), away(held=True))
        assert not s.probe.asked(0.02)
        s.confirmer.renew()
        s.probe.answer(met(5))
        assert s.durable.wait_until(5, PATIENCE_S)


def test_when_the_writer_connects_anew_the_probe_does_too() -> None:
    """At once: a question to a server that does not answer any more is given up, and so is a wait between two."""
    with scene(nap_s=3600) as s:
        s.applied.advance(5)
        assert s.probe.asked()
        s.confirmer.renew()
        s.probe.answer(short(5))
        assert s.probe.resets == 1
        assert s.told.next() == (SHORT, False)
        s.confirmer.renew()
        s.probe.answer(met(5))
        assert s.probe.resets == 2
        assert s.durable.wait_until(5, PATIENCE_S)


@pytest.mark.parametrize("state", ["sleeping", "asking", "between two questions"])
def test_it_is_stopped_at_once_whatever_it_does_and_who_waits_is_told(state: str) -> None:
    with scene(nap_s=3600) as s:
        if state != "sleeping":
            s.applied.advance(5)
            assert s.probe.asked()
        if state == "between two questions":
            s.probe._answers.put(short(5))
            s.told.next()
        assert s.confirmer.stop(PATIENCE_S)
        with pytest.raises(Stopped):
            s.durable.wait_until(9, PATIENCE_S)
        assert s.told.silent
        assert s.probe.closed == 1
        s.applied.advance(10)
        assert s.confirmer.stop(PATIENCE_S)
        assert s.probe.closed == 1


def test_it_is_stopped_at_once_though_it_connects_anew_just_then() -> None:
    """Connecting anew forgets the interrupt of the stop."""
    with scene() as s:
        stopped: list[bool] = []
        stopping = threading.Thread(target=lambda: stopped.append(s.confirmer.stop(PATIENCE_S)))
        forget, interrupt = s.probe.reset, s.probe.interrupt
        interrupted = threading.Event()

        def reset() -> None:
            s.probe.interrupt = note  # type: ignore[method-assign]
            stopping.start()
            assert interrupted.wait(PATIENCE_S)
            forget()

        def note() -> None:
            interrupt()
            interrupted.set()

        s.probe.reset = reset  # type: ignore[method-assign]
        s.applied.advance(5)
        assert s.probe.asked()
        s.confirmer.renew()
        assert interrupted.wait(PATIENCE_S)
        stopping.join(PATIENCE_S)
        assert stopped == [True]
        assert s.probe.questions == 1


def test_one_that_was_never_started_gives_up_its_probe() -> None:
    with scene(start=False) as s:
        assert s.confirmer.stop()
        assert s.probe.closed == 1


def test_it_may_be_stopped_from_its_own_listener() -> None:
    with scene() as s:
        s.told.short = lambda reason, held: s.confirmer.stop()  # type: ignore[assignment, misc]
        s.applied.advance(5)
        s.probe.answer(short(5))
        with pytest.raises(Stopped):
            s.durable.wait_until(5, PATIENCE_S)


@pytest.mark.parametrize("behind", [False, True])
def test_what_a_writer_left_is_still_confirmed_and_who_waits_for_more_gets_its_end(behind: bool) -> None:
    """A writer that has ended, in order or not, has applied what it has."""
    with scene() as s:
        end = Stopped("the writer has ended")
        if behind:
            s.applied.advance(5)
        s.applied.fail(end)
        if behind:
            s.probe.answer(short(5), met(5))
            assert s.durable.wait_until(5, PATIENCE_S)
        with pytest.raises(Stopped) as caught:
            s.durable.wait_until(6, PATIENCE_S)
        assert caught.value is end
        assert all(told in ((SHORT, False), "met again") for told in iter_told(s.told))


def iter_told(told: Told) -> Iterator[object]:
    while not told.silent:
        yield told.next()


@pytest.mark.parametrize("error", [RuntimeError("no permission"), SystemExit(1)])
def test_a_fatal_error_is_told_and_reaches_who_waits(error: BaseException) -> None:
    """And nothing else: the host's threads and its exit are not disturbed."""
    with scene() as s:
        s.applied.advance(5)
        s.probe.answer(error)
        assert s.told.next() is error
        with pytest.raises(type(error)) as caught:
            s.durable.wait_until(5, PATIENCE_S)
        assert caught.value is error
        assert s.confirmer.stop(PATIENCE_S)
        assert s.probe.closed == 1
        assert s.confirmer.reason == str(error)


def test_a_listener_that_raises_does_not_disturb_the_host() -> None:
    """Who waits gets what it raised."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken listener")

    with scene() as s:
        s.told.short = s.told.failed = broken  # type: ignore[method-assign]
        s.applied.advance(5)
        s.probe.answer(short(5))
        with pytest.raises(RuntimeError, match="broken listener"):
            s.durable.wait_until(5, PATIENCE_S)
        assert s.confirmer.stop(PATIENCE_S)
        assert s.probe.closed == 1


# -- Any order --------------------------------------------------------------------------------------------------------


class ServerProbe:
    """Asks a server of this process; each answer is held back until the test lets it go."""

    def __init__(self, met: bool) -> None:
        self.position = 0
        self.met = met
        self.fails = False
        self.lives = 0
        self.known = 0
        """The highest position that was confirmed of the present life of the log."""
        self.lock = threading.Lock()
        self.asking = threading.Event()
        self._go = threading.Semaphore(0)
        self._open = False
        self._interrupted = False

    def confirm(self) -> Confirmation:
        with self.lock:
            position, met, life, fails = self.position, self.met, self.lives, self.fails
        if not (self._open or self._interrupted):
            self.asking.set()
            assert self._go.acquire(timeout=PATIENCE_S)
            self.asking.clear()
        if self._interrupted or fails:
            raise Unavailable(ConnectionError("interrupted"))
        with self.lock:
            if met and life == self.lives:
                self.known = max(self.known, position)
        return Confirmation(position, met, FULL if met else SHORT)

    def answer(self) -> None:
        """Let the present answer go, or the next one."""
        self._go.release()

    def recover(self) -> None:
        """Be well from now on."""
        self.met, self.fails, self._open = True, False, True
        self._go.release()

    def reset(self) -> None:
        self._interrupted = False

    def interrupt(self) -> None:
        self._interrupted = True
        self._go.release()

    def close(self) -> None:
        """Nothing is held."""


happenings = st.one_of(
    st.tuples(st.sampled_from(["applied", "on its way"]), st.integers(1, 5)),
    st.tuples(st.just("set back"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["asked", "answered", "met", "short", "fails", "works", "renewed"]), st.just(0)),
)


@given(st.lists(happenings, max_size=40), st.booleans())
@effort(100)
def test_whatever_happens_nothing_is_durable_that_was_not_confirmed_since_it_was_last_lost(
    script: list[tuple[str, int]], met_at_first: bool
) -> None:
    """And when the server is well in the end, everything that was applied is durable."""
    applied, durable, probe = Watermark(), Watermark(), ServerProbe(met_at_first)
    confirmer = Confirmer(
        applied, durable, probe, Told(), "confirming", 0.0, Backoff(0.0001, 0.0001), Backoff(0.0001, 0.0001)
    )
    confirmer.start()
    try:
        for action, number in script:
            if action == "applied":
                probe.position += number
                applied.advance(probe.position)
            elif action == "on its way":
                probe.position += number
            elif action == "set back" and number < applied.position:
                with probe.lock:
                    probe.position = number
                    probe.lives += 1
                    probe.known = min(probe.known, number)
                applied.retreat(number)
                confirmer.retreat(number)
                assert durable.position <= number
            elif action == "asked" and durable.position < applied.position:
                probe.asking.wait(PATIENCE_S)
            elif action == "answered":
                probe.answer()
            elif action in ("met", "short"):
                probe.met = action == "met"
            elif action in ("fails", "works"):
                probe.fails = action == "fails"
            elif action == "renewed":
                confirmer.renew()
            reached = durable.position  # read first: the others only rise meanwhile
            assert reached <= probe.known
            assert reached <= applied.position
        probe.recover()
        applied.advance(probe.position)
        assert durable.wait_until(applied.position, PATIENCE_S)
        assert durable.position == applied.position
    finally:
        assert confirmer.stop(PATIENCE_S)
