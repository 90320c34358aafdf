"""Work in the background: it goes on after what passes, ends with its owner, and does not keep that alive."""

from __future__ import annotations

import gc
import threading
import weakref
from time import monotonic

import pytest

from eventstore.background import Background
from eventstore.errors import (
    BacklogFull,
    Closed,
    EventStoreError,
    Fenced,
    Held,
    JournalError,
    Retryable,
    SyncTimeout,
    WriterFailed,
)

PATIENCE_S = 30.0


class Owner:
    """Whose work it is: each call raises the next of `errors`, and is counted."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.called = threading.Semaphore(0)

    def work(self) -> None:
        self.called.release()
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize("kind", [BacklogFull, JournalError, SyncTimeout, Retryable, Held])
def test_what_passes_by_itself_is_logged_and_tried_again(kind: type[EventStoreError]) -> None:
    owner, said = Owner(kind("for a while")), []
    background = Background(owner, lambda level, event, **values: said.append((level, event, values["error"])))
    background.every(0.001, "working", Owner.work)
    for _ in range(3):
        assert owner.called.acquire(timeout=PATIENCE_S)
    background.stop(PATIENCE_S)
    assert said == [("warning", "working: it is tried again", "for a while")]


@pytest.mark.parametrize("error", [Closed("closed"), WriterFailed("failed"), Fenced("fenced"), ZeroDivisionError("?")])
def test_what_does_not_pass_ends_it_and_is_logged_unless_it_was_closed(error: Exception) -> None:
    owner, said = Owner(error), []
    background = Background(owner, lambda level, event, **values: said.append((level, values["kind"])))
    background.every(0.001, "working", Owner.work)
    background._workers[0]._thread.join(PATIENCE_S)
    assert not background._workers[0]._thread.is_alive()
    kind = type(error).__name__
    assert said == ([] if kind == "Closed" else [("error", kind)])


@pytest.mark.parametrize("errors", [(), (ZeroDivisionError("?"),)])
def test_it_ends_when_nobody_has_the_owner_any_more(errors: tuple[Exception, ...]) -> None:
    """Neither what is under way nor what has ended keeps the owner alive."""
    owner = Owner(*errors)
    called, gone = owner.called, weakref.ref(owner)
    background = Background(owner, lambda level, event, **values: None)
    background.every(0.001, "working", Owner.work)
    assert called.acquire(timeout=PATIENCE_S)
    del owner
    background._workers[0]._thread.join(PATIENCE_S)
    assert not background._workers[0]._thread.is_alive()
    gc.collect()
    assert gone() is None


def test_stopping_ends_all_of_it() -> None:
    owner = Owner()
    background = Background(owner, lambda level, event, **values: None)
    background.every(86_400, "one", Owner.work)
    background.every(86_400, "another", Owner.work)
    for _ in range(2):
        assert owner.called.acquire(timeout=PATIENCE_S)
    background.stop(PATIENCE_S)
    assert not any(worker._thread.is_alive() for worker in background._workers)


def test_stopping_takes_no_longer_than_it_may_however_much_is_under_way() -> None:
    released, owner = threading.Event(), Owner()
    background = Background(owner, lambda level, event, **values: None)

    def work(owner: Owner) -> None:
        owner.work()
        released.wait(PATIENCE_S)

    for number in range(4):
        background.every(86_400, f"{number}", work)
    for _ in range(4):
        assert owner.called.acquire(timeout=PATIENCE_S)
    began = monotonic()
    background.stop(0.3)
    assert monotonic() - began < 0.9
    released.set()
    background.stop(PATIENCE_S)
    assert not any(worker._thread.is_alive() for worker in background._workers)
