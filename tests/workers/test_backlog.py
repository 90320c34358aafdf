"""The backlog: nothing accepted is lost or overtaken, whatever the threads do; nothing is taken over the bound."""

import gc
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backlogs import Asked, Values
from tests.support.processes import PythonProcess
from workers.backlog import BEHIND, OFTEN, SELDOM, WIDTH, Backlog, Full, Shut
from workers.watermark import Mark

# Long enough for a test to fail by itself; no test waits that long when it passes.
PATIENCE_S = 30.0


@contextmanager
def eager_threads() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can, so that they meet in every place."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class Threads:
    """Threads that begin together. `join` raises what one of them raised."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self._errors: list[BaseException] = []
        self._barrier = threading.Barrier(len(works))
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            self._barrier.wait(PATIENCE_S)
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            self._errors.append(error)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a thread hangs"
        if self._errors:
            raise self._errors[0]


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], bool]) -> None:
    """Let the other threads run until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0)


# -- Order and bounds, without threads ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(("put", "put_sized", "put_always", "take")), st.integers(0, 9))))
def test_items_come_out_in_the_order_in_which_they_went_in(steps: list[tuple[str, int]]) -> None:
    """First in, first out, of all three kinds of `put`, in takes of any size; the bytes are those of what waits."""
    backlog = Values(1000, 1000)
    model: list[Any] = []
    sized: set[int] = set()
    for number, (step, size) in enumerate(steps):
        if step == "take":
            assert backlog.take(size) == model[:size]
            del model[:size]
        else:
            model.append(Mark() if step == "put_always" else (number, size))
            if step == "put_sized":
                sized.add(number)
                backlog.put_sized(model[-1], size)
            else:
                getattr(backlog, step)(model[-1])
        assert len(backlog) == len(model)
        assert backlog.bytes == sum(held[1] for held in model if not isinstance(held, Mark) and held[0] in sized)
        assert backlog.waiting() == model


@given(st.integers(1, 20), st.integers(1, 100), st.lists(st.integers(0, 60), max_size=60))
def test_no_more_is_taken_than_the_bounds_allow(count_max: int, bytes_max: int, sizes: list[int]) -> None:
    """Count and bytes stay in their bounds, but for one item that is over the bound in bytes by itself."""
    backlog = Values(count_max, bytes_max, on_full="raise")
    accepted = refused = 0
    for number, size in enumerate(sizes):
        fits = len(backlog) < count_max and (backlog.bytes == 0 or backlog.bytes + size <= bytes_max)
        if fits:
            backlog.put_sized(number, size)
            accepted += 1
        else:
            with pytest.raises(Full, match=f"^{len(backlog)} of {count_max} commands"):
                backlog.put_sized(number, size)
            refused += 1
    assert (len(backlog), backlog.refused) == (accepted, refused)
    assert len(backlog.take(count_max)) == accepted
    assert backlog.bytes == 0


def test_what_carries_no_size_is_bounded_by_count_alone() -> None:
    backlog = Values(3, 10, on_full="raise")
    backlog.put_sized(1, 10)
    backlog.put(2)
    with pytest.raises(Full):
        backlog.put_sized(3, 1)
    backlog.put(3)
    with pytest.raises(Full):
        backlog.put(4)
    assert backlog.take(10) == [1, 2, 3]


def test_the_owners_marks_are_taken_whatever_the_bounds() -> None:
    """`put_always` goes in when the backlog is full, and after it was closed."""
    backlog = Values(1, 1, on_full="raise")
    first, second = Mark(), Mark()
    backlog.put(1)
    backlog.put_always(first)
    backlog.close("over")
    backlog.put_always(second)
    assert backlog.take(9) == [1, first, second]


# -- Blocking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10])
def test_a_caller_waits_for_room_and_goes_on_when_half_is_drained(size: int) -> None:
    """At the bound, in count or in bytes, `put` blocks; not one item taken wakes it, but half of them taken."""
    backlog = Values(8, 80 if size else 1 << 30, block_timeout_s=PATIENCE_S)
    for number in range(8):
        backlog.put_sized(number, size)
    waiter = started(lambda: backlog.put_sized(8, size))
    until(lambda: backlog.blocked == 1)
    until(lambda: backlog._waiting == 1)
    assert backlog.take(3) == [0, 1, 2]
    waiter.join(0.15)
    assert waiter.is_alive()
    assert backlog.take(1) == [3]
    waiter.join(PATIENCE_S)
    assert not waiter.is_alive()
    assert backlog.take(9) == [4, 5, 6, 7, 8]


def test_a_caller_that_waited_in_vain_is_refused_and_nothing_was_accepted() -> None:
    backlog = Values(1, 1, block_timeout_s=0.01)
    backlog.put(1)
    with pytest.raises(Full):
        backlog.put(2)
    with pytest.raises(Full):
        backlog.put_sized(3, 1)
    assert (backlog.blocked, backlog.refused) == (1, 2)  # the second was not made to wait as well
    assert backlog.take(9) == [1]
    backlog.put(4)
    assert backlog.take(9) == [4]


def test_a_caller_whose_time_is_up_takes_the_room_that_there_is() -> None:
    """Room that was made without draining half is used at the end of the wait rather than refused."""
    backlog = Values(4, 4, block_timeout_s=0.05)
    for number in range(4):
        backlog.put(number)
    waiter = started(lambda: backlog.put(4))
    until(lambda: backlog._waiting == 1)
    assert backlog.take(1) == [0]
    waiter.join(PATIENCE_S)
    assert backlog.take(9) == [1, 2, 3, 4]


def test_the_consumer_itself_is_refused_at_once_instead_of_waiting_for_itself() -> None:
    """A call from the consuming thread, as from a log handler, raises at a full backlog: nobody else makes room."""
    backlog = Values(1, 1, block_timeout_s=PATIENCE_S)
    refused = threading.Event()

    def consume() -> None:
        backlog.take(0)
        backlog.put(1)
        with pytest.raises(Full):
            backlog.put(2)
        refused.set()

    started(consume)
    assert refused.wait(5)


def test_one_caller_waits_in_vain_and_not_one_after_the_other() -> None:
    """Once somebody has waited for nothing, the others are refused at once until half is drained."""
    backlog = Values(2, 2, block_timeout_s=0.01)
    backlog.put(1)
    backlog.put(2)
    with pytest.raises(Full):
        backlog.put(3)
    backlog.block_timeout_s = PATIENCE_S
    for _ in range(3):
        with pytest.raises(Full):
            backlog.put(3)
    assert (backlog.blocked, backlog.refused) == (1, 4)
    assert backlog.take(1) == [1]
    backlog.put(3)
    waiter = started(lambda: backlog.put(4))
    until(lambda: backlog.blocked == 2)
    assert backlog.take(2) == [2, 3]
    waiter.join(PATIENCE_S)
    assert backlog.take(2) == [4]


def test_what_was_put_for_the_owner_can_be_withdrawn() -> None:
    backlog = Values(10, 10)
    marks = [Mark() for _ in range(3)]
    for mark in marks:
        backlog.put_always(mark)
    backlog.withdraw(marks[1])
    backlog.withdraw(marks[1])
    assert backlog.take(9) == [marks[0], marks[2]]


def test_what_was_taken_can_be_put_back() -> None:
    """In its order, before what came in meanwhile."""
    backlog = Values(10, 10)
    mark = Mark()
    backlog.put(0)
    backlog.put_always(mark)
    for number in range(1, 4):
        backlog.put_sized(number, 1)
    taken = backlog.take(4)
    backlog.put(4)
    backlog.put_back(taken)
    assert backlog.waiting() == [0, mark, 1, 2, 3, 4]


def test_a_child_after_a_fork_can_put_nothing() -> None:
    """There is no writer in the child: each kind of `put` says so, though a lock was held when it was born."""
    script = """
import os, threading
from workers.backlog import Backlog, Shut
rest = (None,) * 6
backlog = Backlog(10, 10)
backlog.put(1, *rest, None)
backlog._counting.acquire()
if os.fork() == 0:
    refused = []
    def put():
        for put in (lambda: backlog.put(2, *rest, None), lambda: backlog.put_sized(2, *rest, 1)):
            try:
                put()
            except Shut as error:
                refused.append(str(error))
    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    thread.join(10)
    print(len(refused), set(refused), flush=True)
    os._exit(0)
backlog._counting.release()
os.wait()
backlog.put(2, *rest, None)
print([item[0] for item in backlog.take(9)], flush=True)
"""
    with PythonProcess(script) as process:
        assert process.line().startswith("2 {'it was inherited through a fork")
        assert process.line() == "[1, 2]"
        assert process.join() == 0


def test_closing_wakes_whoever_waits_for_room() -> None:
    backlog = Values(1, 1, block_timeout_s=PATIENCE_S)
    backlog.put(1)
    shut = threading.Event()

    def put() -> None:
        with pytest.raises(Shut, match="the end"):
            backlog.put(2)
        shut.set()

    started(put)
    until(lambda: backlog._waiting == 1)
    backlog.close("the end")
    assert shut.wait(PATIENCE_S)
    assert backlog.take(9) == [1]


# -- Closing -----------------------------------------------------------------------------------------------------------


def test_a_closed_backlog_takes_nothing_and_keeps_what_it_has() -> None:
    """After `close` every `put` raises with the first reason; what was accepted before stays to be taken."""
    backlog = Values(10, 10)
    backlog.put(1)
    backlog.close("first")
    backlog.close("second")
    with pytest.raises(Shut, match="first"):
        backlog.put(2)
    with pytest.raises(Shut, match="first"):
        backlog.put_sized(3, 1)
    assert backlog.closed == "first"
    assert backlog.waiting() == [1]
    assert backlog.take(9) == [1]


@pytest.mark.parametrize("count_max", [7, 1 << 20])
def test_nothing_accepted_is_lost_and_each_callers_order_is_kept(count_max: int) -> None:
    """Four threads put, one takes, as mixed as can be: what was accepted is what is taken, in each one's order."""
    backlog = Values(count_max, 64, block_timeout_s=PATIENCE_S)
    taken: list[tuple[int, int]] = []

    def put(caller: int) -> None:
        for number in range(1500):
            if number % 5 == 0:
                backlog.put_sized((caller, number), number % 32)
            else:
                backlog.put((caller, number))

    def take() -> None:
        while len(taken) < 4 * 1500:
            items = backlog.take(32)
            if items:
                taken.extend(items)
            else:
                backlog.wait()

    with eager_threads():
        Threads(take, *(lambda caller=caller: put(caller) for caller in range(4))).join()
    for caller in range(4):
        assert [number for of, number in taken if of == caller] == list(range(1500))
    assert (len(backlog), backlog.bytes) == (0, 0)


def test_what_close_meets_half_way_is_either_taken_or_refused() -> None:
    """Whatever moment `close` comes at, each `put` that returned is taken by the consumer, and each that raised is not.

    The consumer ends when the backlog is closed and empty, as the writer does: an item behind that would be lost.
    """
    with eager_threads():
        for round_ in range(150):
            accepted: list[Counter[int]] = [Counter() for _ in range(3)]
            taken: Counter[int] = Counter()
            backlog = Values(1 << 20, 1 << 20)

            def put(own: Counter[int], backlog: Values = backlog) -> None:
                try:
                    while True:
                        # Equal items of several callers: taking one back must not take another's.
                        backlog.put(1)
                        own[1] += 1
                        backlog.put_sized(2, 1)
                        own[2] += 1
                except Shut:
                    pass

            def take(taken: Counter[int] = taken, backlog: Values = backlog) -> None:
                while True:
                    items = backlog.take(32)
                    taken.update(items)
                    if items:
                        continue
                    if backlog.closed and not len(backlog):
                        return
                    backlog.wait()

            def close(backlog: Values = backlog, round_: int = round_) -> None:
                until(lambda: len(backlog) >= round_ % 7)
                backlog.close("over")

            Threads(take, close, *(lambda own=own: put(own) for own in accepted)).join()
            assert taken == sum(accepted, Counter())


@pytest.mark.parametrize("size", [0, 3])
def test_a_put_that_is_taken_back_while_items_are_taken_ends_in_one_of_the_two(size: int) -> None:
    """The backlog may change while a late item is looked for: `put` still returns or raises `Shut`, nothing else."""
    with eager_threads():
        for round_ in range(100):
            backlog = Values(1 << 20, 1 << 20)
            for number in range(round_):
                backlog.put_sized(number, size) if size else backlog.put(number)
            outcomes: Counter[str] = Counter()
            taken: list[Any] = []

            def put(backlog: Values = backlog, outcomes: Counter[str] = outcomes) -> None:
                # What a put does when `close` comes between its look at the bound and its append.
                limit, admitted = backlog._limit, backlog._admitted
                backlog._limit = 1 << 30
                backlog._admitted = lambda size: setattr(backlog, "_bytes_put", backlog._bytes_put + size) or True
                try:
                    backlog.put_sized("late", size) if size else backlog.put("late")
                except Shut:
                    outcomes["refused"] += 1
                else:
                    outcomes["accepted"] += 1
                backlog._limit, backlog._admitted = limit, admitted

            def take(backlog: Values = backlog, taken: list[Any] = taken) -> None:
                while len(backlog):
                    taken.extend(backlog.take(1))

            backlog.close("over")
            Threads(put, take).join()
            assert sum(outcomes.values()) == 1
            expected = [*range(round_), *["late"] * outcomes["accepted"]]
            assert taken + backlog.waiting() == expected
            assert [*taken, *backlog.take(round_ + 9)] == expected
            assert (len(backlog), backlog.bytes) == (0, 0)


def test_what_is_taken_back_is_not_there_any_more_and_nothing_else_is_missing() -> None:
    """Late items, crossed out between others: neither taken nor counted, and a mark behind them stays in its place."""
    backlog = Values(10, 100)
    for number in range(3):
        backlog.put(number)
    late = (1000, *(None,) * (WIDTH - 1))
    backlog._queue.extend(late)
    backlog.put(4)
    mark = backlog.mark()
    backlog.put(5)
    assert backlog._take_back(late)
    assert not backlog._take_back(late)
    assert len(backlog) == 6
    assert backlog.waiting() == [0, 1, 2, 4, mark, 5]
    assert backlog.take(9) == [0, 1, 2, 4, mark, 5]
    assert len(backlog) == 0


def test_a_call_leaves_nothing_for_the_collector() -> None:
    """Items that wait are no objects of their own: the collector has none of them to look at, however many wait."""
    backlog = Backlog[Any](1 << 20, 1 << 20)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects(generation=0))
        for number in range(10_000):
            backlog.put("call", "key", number, len, 1, 2, 3, 4)
        assert len(gc.get_objects(generation=0)) - before < 100
    finally:
        gc.enable()
    assert len(backlog) == 10_000


@pytest.mark.parametrize("sized", [False, True])
def test_when_memory_runs_out_an_item_is_in_whole_or_not_at_all(sized: bool) -> None:
    """Whichever request for memory fails, in the middle of an item, too: the call raises, and nothing of it is in."""
    testcapi = pytest.importorskip("_testcapi")
    backlog: Backlog[Any] = Backlog(1 << 20, 1 << 30)
    put = backlog.put_sized if sized else backlog.put
    expected, failed = [], 0
    for number in range(1000, 1300):
        for failing in range(12):
            item = ("call", "key", number * 1000 + failing, None, "a", "b", "c", 1)
            accepted = True
            testcapi.set_nomemory(failing, failing + 1)
            try:
                put(*item)
            except MemoryError:
                accepted = False
            testcapi.remove_mem_hooks()
            if accepted:
                expected.append(item)
            failed += not accepted
    assert failed > 300
    assert backlog.bytes == len(expected) * sized
    assert backlog.waiting() == expected == backlog.take(1 << 20)
    assert (len(backlog), backlog.bytes) == (0, 0)


# -- Sleeping and waking -----------------------------------------------------------------------------------------------


def test_a_put_wakes_the_consumer() -> None:
    backlog = Values(10, 10)
    taken: list[Any] = []

    def consume() -> None:
        while len(taken) < 3:
            backlog.wait()
            taken.extend(backlog.take(9))

    consumer = started(consume)
    backlog.put(1)
    until(lambda: taken == [1])
    backlog.put_sized(2, 1)
    until(lambda: taken == [1, 2])
    mark = Mark()
    backlog.put_always(mark)
    consumer.join(PATIENCE_S)
    assert taken == [1, 2, mark]


def test_lingering_ends_when_woken() -> None:
    backlog = Values(10, 10)
    lingering = started(lambda: backlog.linger(PATIENCE_S))
    backlog.put_always(Mark())
    lingering.join(5)
    assert not lingering.is_alive()


# -- Reentrance --------------------------------------------------------------------------------------------------------


def test_a_put_from_a_signal_handler_does_not_deadlock() -> None:
    """A handler may put while the interrupted code is inside any `put`: all items arrive."""
    backlog = Values(1 << 20, 1 << 20)
    put: Counter[str] = Counter()

    def handle(number: int, frame: object) -> None:
        backlog.put("handler")
        backlog.put_sized("handler, sized", 1)
        put.update(("handler", "handler, sized"))

    def interrupt() -> None:
        while put["main"] < 20_000:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0)

    before = signal.signal(signal.SIGUSR1, handle)
    interrupting = started(interrupt)
    try:
        with backlog._counting:  # the worst moment
            signal.raise_signal(signal.SIGUSR1)
        for _ in range(20_000):
            backlog.put_sized("main", 1)
            put["main"] += 1
        interrupting.join(PATIENCE_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert put["handler"] > 1
    assert Counter(backlog.take(1 << 20)) == put
    assert backlog.bytes == 0


def test_a_put_from_a_finalizer_does_not_deadlock() -> None:
    """``__del__`` runs wherever an object dies, on the consuming thread too: putting from there is fine."""
    backlog = Values(1000, 1000)

    class Dying:
        def __del__(self) -> None:
            backlog.put_sized("last words", 1)

    with backlog._counting:  # a collection may run while the lock is held
        Dying()
    assert backlog.take(9) == ["last words"]


# -- A consumer that is behind -----------------------------------------------------------------------------------------


def test_callers_look_now_and_then_whether_a_consumer_that_is_behind_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in so many callers, and only while many items wait; if it can not, that one makes room for it."""
    backlog = Values(1 << 20, 100)
    asked = Asked(backlog, monkeypatch)
    for number in range(BEHIND):
        backlog.put(number)
    assert asked.count == 0
    for number in range(10 * SELDOM):
        backlog.put(number)
    assert (asked.count, asked.helped) == (10, 0)
    asked.answer = True
    for number in range(9 * OFTEN + 1):
        backlog.put(number)
    assert (asked.count, asked.helped) == (20, 10)
    assert len(backlog.take(1 << 20)) == BEHIND + 10 * SELDOM + 9 * OFTEN + 1
    for number in range(BEHIND):
        backlog.put(number)
    assert asked.count == 20
    backlog.put("one more")
    assert asked.count == 21


def test_callers_do_not_look_after_a_consumer_that_they_see_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait: what is taken counts as what need not be looked after."""
    backlog = Values(1 << 20, 100)
    asked = Asked(backlog, monkeypatch)
    for number in range(BEHIND + 1):
        backlog.put(number)
    assert asked.count == 1
    for number in range(100 * OFTEN):
        backlog.put(number)
        if number % OFTEN == 0:
            backlog.take(OFTEN)
    assert asked.count == 1


@pytest.mark.parametrize("count_max", [BEHIND - 1, BEHIND, BEHIND + 1, BEHIND + 3 * SELDOM + 1])
def test_a_consumer_that_is_behind_makes_the_backlog_no_larger(monkeypatch: pytest.MonkeyPatch, count_max: int) -> None:
    """The bound is met to the item; and a backlog that was closed takes nothing, however many wait."""
    backlog = Values(count_max, 100, "raise")
    Asked(backlog, monkeypatch)
    for number in range(count_max):
        backlog.put(number)
    with pytest.raises(Full):
        backlog.put("one too many")
    assert backlog.take(10) == [*range(10)]
    for number in range(10):
        backlog.put(number)
    with pytest.raises(Full):
        backlog.put("one too many")
    backlog.take(10)
    backlog.close("the end")
    with pytest.raises(Shut, match="the end"):
        backlog.put("too late")
    assert len(backlog.take(1 << 20)) == count_max - 10


# -- The consumer really sleeps --------------------------------------------------------------------------------------


def test_a_consumer_sleeps_while_there_is_nothing_and_is_woken_by_a_put() -> None:
    backlog = Values(10, 100)
    consumer = threading.Thread(target=backlog.wait)
    consumer.start()
    consumer.join(0.05)
    assert consumer.is_alive(), "it does not wait"
    backlog.put(1)
    consumer.join(30.0)
    assert not consumer.is_alive()
    backlog.wait()  # there is something: it does not wait
    assert backlog.take(1) == [1]


@pytest.mark.parametrize("how", ["linger", "look"])
def test_a_consumer_that_lingers_or_looks_is_not_woken_by_a_put_and_is_by_a_wake(how: str) -> None:
    backlog = Values(10, 100)
    sleep = {"linger": lambda: backlog.linger(86_400.0), "look": lambda: backlog.look(86_400.0, 2)}[how]
    consumer = threading.Thread(target=sleep)
    consumer.start()
    backlog.put(1)
    consumer.join(0.05)
    assert consumer.is_alive(), "it does not sleep"
    backlog.wake()
    consumer.join(30.0)
    assert not consumer.is_alive()


def test_a_consumer_looks_until_there_is_something_and_so_often_at_most() -> None:
    backlog = Values(10, 100)
    backlog.look(0.0001, 3)
    assert not len(backlog)
    consumer = started(lambda: backlog.look(0.0001, 1 << 62))
    backlog.put(1)
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert backlog.take(1) == [1]


def test_a_caller_that_waits_for_room_sleeps_until_half_is_drained() -> None:
    backlog = Values(4, 100, "block", 86_400.0)
    for number in range(4):
        backlog.put(number)
    caller = threading.Thread(target=backlog.put, args=(4,))
    caller.start()
    caller.join(0.05)
    assert caller.is_alive(), "it does not wait"
    assert backlog.take(1) == [0]
    caller.join(0.05)
    assert caller.is_alive(), "less than half is drained"
    assert backlog.take(1) == [1]
    caller.join(30.0)
    assert not caller.is_alive()
    assert backlog.take(9) == [2, 3, 4]
