"""What an open database does by itself every now and then: heartbeats, purging, archiving."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from eventstore.errors import BacklogFull, Closed, Held, JournalError, Retryable, SyncTimeout
from workers.periodic import Periodic

T = TypeVar("T")


class Background(Generic[T]):
    """Periodic work for `owner`, for as long as somebody has it: no strong reference to it is held between the calls.

    `say` logs: it is called with a level, what happened, and values by name.
    """

    def __init__(self, owner: T, say: Callable[..., None]) -> None:
        self._owner = weakref.ref(owner)
        self._say = say
        self._workers: list[Periodic] = []

    def every(self, interval_s: float, name: str, work: Callable[[T], object]) -> None:
        """Call ``work(owner)`` at once and then every `interval_s` seconds, on a thread called `name`.

        It goes on after what passes by itself: `BacklogFull`, `SyncTimeout`, a journal whose disk fails, and a server
        that can not be reached or refuses. Those are logged. It ends when the owner is closed, or with any other error.
        """

        def call() -> None:
            owner = self._owner()
            if owner is None:
                raise ReferenceError("nobody has the database any more")
            try:
                work(owner)
            except Closed:
                raise
            except Exception as error:
                what = {"error": str(error), "kind": type(error).__name__}
                if not isinstance(error, BacklogFull | JournalError | SyncTimeout | Retryable | Held):
                    self._say("error", f"{name}: it has ended", **what)
                    raise
                # The next one may get through; a node that trades must not look dead for good.
                self._say("warning", f"{name}: it is tried again", interval_s=interval_s, **what)

        worker = Periodic(interval_s, call, name)
        self._workers.append(worker)
        worker.start()

    def stop(self, timeout_s: float) -> None:
        """End all of it, and wait for what is under way, `timeout_s` seconds at most."""
        deadline = monotonic() + timeout_s
        for worker in self._workers:
            worker.stop(0.0)
        for worker in self._workers:
            worker.stop(max(deadline - monotonic(), 0.0))
