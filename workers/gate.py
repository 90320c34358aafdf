"""A signal between threads that nobody can block on by holding it."""

from __future__ import annotations

import contextlib
import threading


class Gate:
    """Lets one waiting thread through each time it is opened; opening twice before anybody waits counts once.

    It is made of one raw lock, whose release never blocks. So it may be opened from a signal handler or a finalizer,
    whatever the interrupted thread was doing; an `Event` or `Condition` could be held by that very thread.
    """

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        """Let one thread through, now or when it comes."""
        with contextlib.suppress(RuntimeError):  # it is open
            self._closed.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait to be let through; return whether that was within `timeout_s` seconds (None: however long it takes)."""
        return self._closed.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0))
