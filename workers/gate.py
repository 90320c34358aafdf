"""Signals to one who waits, a thread or an asyncio task, that nobody can block on by holding them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Protocol


class Openable(Protocol):
    """A gate, whoever waits at it."""

    def open(self) -> None:
        """Let one through, now or when it comes. From anywhere; never blocks and never raises."""


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


class LoopGate:
    """The same for one asyncio task, of the loop that runs where it is made. Any thread may open it.

    However often it is opened while the loop is busy, the loop is woken once.
    """

    __slots__ = ("_loop", "_opened", "_sleeper")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = False
        self._sleeper: asyncio.Future[None] | None = None

    def open(self) -> None:
        """Let the task through, now or when it comes. Nothing happens if its loop is closed."""
        if self._opened:
            return
        self._opened = True
        # The loop is the host's, of any make. Closed or broken, it must not end the thread that opens.
        with contextlib.suppress(Exception):
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait(self, timeout_s: float) -> bool:
        """Wait to be let through; return whether that was within `timeout_s` seconds."""
        deadline = self._loop.time() + timeout_s
        # Again: the wake of an opening that was seen before it came finds the next one who sleeps.
        while not self._opened and (left := deadline - self._loop.time()) > 0:
            self._sleeper = self._loop.create_future()
            timer = self._loop.call_later(left, self._wake)
            try:
                await self._sleeper
            finally:
                timer.cancel()
                self._sleeper = None
        # Lowered only where it was seen raised: an opening that comes in between is kept.
        if self._opened:
            self._opened = False
            return True
        return False
