"""What the host is told: everything, in order, in the context of who told it; and who tells waits for nobody."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

from eventstore.telling import Telling
from tests.support.outages import PATIENCE_S


def test_everything_is_told_in_order_by_one_thread_in_the_context_of_who_told_it() -> None:
    told: list[tuple[str, int, str]] = []
    order: ContextVar[str] = ContextVar("order", default="none")
    telling = Telling("telling")

    def note(number: int) -> None:
        told.append((threading.current_thread().name, number, order.get()))

    telling.tell(note, 0)
    telling.start()
    for number in range(1, 100):
        order.set(f"O-{number}")
        telling.tell(note, number)
    order.set("later")
    assert telling.stop(PATIENCE_S)
    telling.tell(note, 100)
    assert told[1:-1] == [("telling", number, f"O-{number}") for number in range(1, 100)]
    me = threading.current_thread().name
    assert [told[0], told[-1]] == [(me, 0, "none"), (me, 100, "later")]


def test_who_tells_does_not_wait_for_one_who_hangs() -> None:
    """Nor does who ends it wait for longer than it wants: what is left is told later."""
    go_on, told = threading.Event(), []
    telling = Telling("telling")
    telling.start()
    telling.tell(go_on.wait, PATIENCE_S)
    telling.tell(told.append, "behind it")
    assert not telling.stop(0.01)
    assert told == []
    go_on.set()
    telling._thread.join(PATIENCE_S)
    assert told == ["behind it"]


def test_who_is_told_something_may_tell_something_and_does_not_wait_for_itself() -> None:
    telling, found = Telling("telling"), []

    def call(*_: Any) -> None:
        telling.tell(found.append, "told by it")
        found.append(telling.stop(PATIENCE_S))

    telling.start()
    telling.tell(call)
    telling._thread.join(PATIENCE_S)
    assert found == [False, "told by it"]


def test_one_that_was_never_started_ends_at_once() -> None:
    assert Telling("telling").stop(PATIENCE_S)
