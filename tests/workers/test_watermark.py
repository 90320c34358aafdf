"""Watermarks: whoever waits for a position, thread or task, gets it, a timeout, or the reason why it never comes."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.effort import effort
from workers.gate import Gate
from workers.watermark import Mark, Watermark

PATIENCE_S = 30.0


class Gone(Exception):
    """Why a watermark moves no more."""


@given(st.integers(0, 50), st.lists(st.tuples(st.booleans(), st.integers(0, 100))))
def test_a_watermark_only_rises_but_for_what_sets_it_back(start: int, moves: list[tuple[bool, int]]) -> None:
    """A lower position does not advance it, a higher one is no retreat; only what is beyond has to be waited for."""
    watermark = Watermark(start)
    expected = start
    for rises, position in moves:
        if rises:
            watermark.advance(position)
            expected = max(expected, position)
        else:
            watermark.retreat(position)
            expected = min(expected, position)
        assert watermark.position == expected
    assert watermark.wait_until(expected, 0)
    assert not watermark.wait_until(expected + 1, 0)
    assert not watermark.wait_until(expected + 1, -1)


def test_everybody_who_waits_is_woken_at_its_position() -> None:
    watermark = Watermark()
    reached: list[int] = []
    lock = threading.Lock()

    def wait(position: int) -> None:
        assert watermark.wait_until(position, PATIENCE_S)
        with lock:
            reached.append(position)
        assert watermark.position >= position

    threads = [threading.Thread(target=wait, args=(position,)) for position in range(1, 9)]
    for thread in threads:
        thread.start()
    for position in range(1, 9):
        watermark.advance(position)
        threads[position - 1].join(PATIENCE_S)
        assert not threads[position - 1].is_alive()
    assert sorted(reached) == list(range(1, 9))


def test_a_failure_reaches_who_waits_now_and_later() -> None:
    """What was reached before the failure stays reached; the rest raises its cause."""
    watermark = Watermark(5)
    cause = Gone("gone")
    caught: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(Gone) as info:
            watermark.wait_until(6, PATIENCE_S)
        caught.append(info.value)

    thread = threading.Thread(target=wait)
    thread.start()
    watermark.fail(cause)
    thread.join(PATIENCE_S)
    assert caught == [cause]
    assert watermark.failure is cause
    assert watermark.wait_until(5, 0)
    with pytest.raises(Gone):
        watermark.wait_until(6, PATIENCE_S)


def test_who_waits_for_a_position_that_was_lost_again_gets_it_when_it_is_back() -> None:
    watermark = Watermark(5)
    watermark.retreat(3)
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(watermark.wait_until(5, PATIENCE_S)))
    thread.start()
    watermark.advance(4)
    assert not result
    watermark.advance(5)
    thread.join(PATIENCE_S)
    assert result == [True]


def test_a_gate_that_watches_is_opened_by_each_rise_and_by_the_failure() -> None:
    watermark = Watermark()
    gate = Gate()
    watermark.watch(gate)
    assert not gate.wait(0)
    watermark.advance(1)
    assert gate.wait(0)
    watermark.advance(1)
    watermark.retreat(0)
    assert not gate.wait(0)
    watermark.fail(Gone("gone"))
    assert gate.wait(0)
    watermark.unwatch(gate)
    watermark.fail(Gone("again"))
    assert not gate.wait(0)


def test_a_mark_says_its_position_or_why_there_is_none() -> None:
    mark = Mark()
    assert not mark.wait(0)
    assert not mark.wait(-1)
    mark.reach(7)
    assert mark.wait(0)
    assert mark.position == 7
    lost = Mark()
    lost.fail(Gone("gone"))
    with pytest.raises(Gone):
        lost.wait(PATIENCE_S)


# -- Tasks ------------------------------------------------------------------------------------------------------------


class Steps:
    """An event loop that runs a turn at a time, so that a test decides what happens between two turns."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Let every task go on until all of them wait."""
        for _ in range(5):  # turns from a call in another thread to the task that it wakes
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run()
        self.loop.close()


@pytest.fixture
def steps() -> Iterator[Steps]:
    with stepping() as steps:
        yield steps


@contextmanager
def stepping() -> Iterator[Steps]:
    steps = Steps()
    try:
        yield steps
    finally:
        steps.close()


moves = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 12)),
    st.tuples(st.just("retreat"), st.integers(0, 12)),
    st.tuples(st.just("wait"), st.integers(0, 12)),
    st.tuples(st.just("cancel"), st.integers(0, 12)),
    st.tuples(st.just("turn"), st.just(0)),
)


@given(st.lists(moves, max_size=40), st.booleans())
@effort(200)
def test_whatever_happens_between_two_turns_of_the_loop_a_task_gets_what_it_waits_for(
    script: list[tuple[str, int]], fails: bool
) -> None:
    """At each turn those whose position stands are through, those before a failure have it, and the others wait."""
    watermark = Watermark()
    with stepping() as steps:
        tasks: list[tuple[int, asyncio.Task[bool]]] = []
        cancelled: set[int] = set()
        done: dict[int, bool] = {}

        def turn() -> None:
            steps.run()
            for number, (wanted, task) in enumerate(tasks):
                if number in done or number in cancelled:
                    continue
                if wanted <= watermark.position:
                    assert task.done()
                    assert task.result()
                    done[number] = True
                elif watermark.failure is not None:
                    assert task.exception() is watermark.failure
                    done[number] = True
                else:
                    assert not task.done()
            assert len(watermark._waiters) == len(tasks) - len(done) - len(cancelled)

        for action, number in script:
            if action == "advance":
                watermark.advance(number)
            elif action == "retreat":
                watermark.retreat(number)
            elif action == "wait":
                tasks.append((number, steps.loop.create_task(watermark.reached(number, PATIENCE_S))))
            elif action == "cancel" and number < len(tasks):
                if number not in done and number not in cancelled:
                    tasks[number][1].cancel()
                    cancelled.add(number)
            elif action == "turn":
                turn()
        if fails:
            watermark.fail(Gone("gone"))
        turn()
        assert all(tasks[number][1].cancelled() for number in cancelled)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 3), st.booleans())
@effort(25)
def test_tasks_of_several_loops_and_threads_are_all_woken_while_another_thread_moves_it(
    wanted: list[int], loops: int, fails: bool
) -> None:
    """Up to 40 is reached, by any waiter however it waits; beyond that comes the failure, or a timeout."""
    watermark = Watermark()
    cause = Gone("gone")
    outcomes: list[tuple[int, object]] = []

    async def wait(position: int) -> None:
        try:
            outcomes.append((position, await watermark.reached(position, PATIENCE_S if fails or position <= 40 else 0)))
        except Gone as error:
            outcomes.append((position, error))

    async def wait_for_all() -> None:
        await asyncio.gather(*(wait(position) for position in wanted))

    def wait_in_a_thread() -> None:
        for position in sorted(wanted):
            try:
                reached = watermark.wait_until(position, PATIENCE_S if fails or position <= 40 else 0)
                outcomes.append((position, reached))
            except Gone as error:
                outcomes.append((position, error))

    threads = [threading.Thread(target=lambda: asyncio.run(wait_for_all())) for _ in range(loops)]
    threads.append(threading.Thread(target=wait_in_a_thread))
    for thread in threads:
        thread.start()
    for position in range(1, 41):
        watermark.advance(position)
    if fails:
        watermark.fail(cause)
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert len(outcomes) == len(wanted) * (loops + 1)
    for position, outcome in outcomes:
        if position <= 40:
            assert outcome is True
        elif fails:
            assert outcome is cause
        else:
            assert outcome is False
    assert not watermark._waiters


def test_a_task_does_not_wait_longer_than_it_said_nor_at_all_for_what_is_there(steps: Steps) -> None:
    watermark = Watermark(5)
    run = steps.loop.run_until_complete
    assert run(watermark.reached(5, 0))
    assert not run(watermark.reached(6, 0))
    assert not run(watermark.reached(6, -1))
    assert not run(watermark.reached(6, 0.01))
    watermark.fail(Gone("gone"))
    assert run(watermark.reached(5, 0))
    with pytest.raises(Gone):
        run(watermark.reached(6, 0))
    assert not watermark._waiters


def test_a_busy_loop_is_woken_once_however_far_the_watermark_moves(steps: Steps) -> None:
    """A host that is late finds one call to make for all the batches of that time, and none for who has to wait on."""
    watermark = Watermark()
    soon = steps.loop.create_task(watermark.reached(1, PATIENCE_S))
    later = steps.loop.create_task(watermark.reached(2000, PATIENCE_S))
    steps.run()
    for position in range(1, 1000):
        watermark.advance(position)
    assert len(steps.loop._ready) == 1  # type: ignore[attr-defined]  # What a loop of the standard library has to do.
    steps.run()
    assert soon.result()
    assert not later.done()


def test_a_closed_loop_does_not_disturb_who_moves_the_watermark() -> None:
    """Nor do others who wait miss anything because of it."""
    watermark, mark = Watermark(), Mark()
    loop = asyncio.new_event_loop()
    left = [loop.create_task(watermark.reached(1, PATIENCE_S)), loop.create_task(mark.awaited(PATIENCE_S))]
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(watermark.wait_until(1, PATIENCE_S)))
    thread.start()
    watermark.advance(1)
    mark.reach(1)
    thread.join(PATIENCE_S)
    assert result == [True]
    watermark.fail(Gone("gone"))
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would log that they never end.


def test_a_loop_that_breaks_does_not_disturb_who_moves_the_watermark(steps: Steps) -> None:
    """The host's loop may be of any make."""
    watermark = Watermark()
    task = steps.loop.create_task(watermark.reached(1, 0.01))
    steps.run()

    def broken(*_: object) -> NoReturn:
        raise OSError("no more file descriptors")

    steps.loop.call_soon_threadsafe = broken  # type: ignore[method-assign]
    watermark.advance(1)
    assert steps.loop.run_until_complete(task)


def test_a_cancelled_task_leaves_nothing_behind(steps: Steps) -> None:
    """No waiter, no timer, no callback; also where it was cancelled after it was woken."""
    watermark, mark = Watermark(), Mark()
    for wakes in (False, True):
        tasks = [
            steps.loop.create_task(watermark.reached(watermark.position + 1, 3600)),
            steps.loop.create_task(mark.awaited(3600)),
        ]
        steps.run()
        if wakes:
            watermark.advance(watermark.position + 1)
            mark.reach(1)
        for task in tasks:
            task.cancel()
        steps.run()
        assert all(task.cancelled() for task in tasks)
        assert not watermark._waiters
        assert mark._loop_gate is None
        assert all(timer.cancelled() for timer in steps.loop._scheduled)  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["mark", "task"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_task_learns_what_a_mark_says(steps: Steps, first: str, fails: bool) -> None:
    """Whether it waits before or after that; from another thread or its own."""
    mark = Mark()

    def tell() -> None:
        if fails:
            mark.fail(Gone("gone"))
        else:
            mark.reach(7)

    if first == "mark":
        tell()
    task = steps.loop.create_task(mark.awaited(PATIENCE_S))
    if first == "task":
        steps.run()
        assert not task.done()
        thread = threading.Thread(target=tell)
        thread.start()
        thread.join(PATIENCE_S)
    steps.run()
    if fails:
        assert isinstance(task.exception(), Gone)
    else:
        assert task.result()
        assert mark.position == 7


def test_a_task_does_not_wait_for_a_mark_longer_than_it_said(steps: Steps) -> None:
    mark = Mark()
    for timeout_s in (-1, 0, 0.01):
        assert not steps.loop.run_until_complete(mark.awaited(timeout_s))
    mark.reach(7)
    assert steps.loop.run_until_complete(mark.awaited(0))


def test_a_task_may_wait_for_one_position_after_the_other(steps: Steps) -> None:
    """A loop that waits again and again keeps up with a thread that moves the watermark all the time."""
    watermark = Watermark()
    stop = threading.Event()

    def move() -> None:
        for position in itertools.count(1):
            watermark.advance(position)
            if stop.is_set():
                return

    async def follow() -> None:
        for _ in range(200):
            assert await watermark.reached(watermark.position + 1, PATIENCE_S)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        steps.loop.run_until_complete(follow())
    finally:
        stop.set()
        thread.join(PATIENCE_S)
