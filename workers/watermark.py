"""Watermarks: how far what was accepted has come, and waiting for it."""

from __future__ import annotations

import threading
import time


class Watermark:
    """A position that only rises, which any thread can wait for."""

    def __init__(self, position: int = 0) -> None:
        self._position = position
        self._failure: BaseException | None = None
        # Reentrant, for a signal handler that calls in while its thread is in here.
        self._moved = threading.Condition(threading.RLock())

    @property
    def position(self) -> int:
        """The position reached."""
        return self._position

    @property
    def failure(self) -> BaseException | None:
        """What `fail` was given, or None."""
        return self._failure

    def advance(self, position: int) -> None:
        """Move up to `position`; a lower one is ignored."""
        with self._moved:
            if position > self._position:
                self._position = position
                self._moved.notify_all()

    def fail(self, cause: BaseException) -> None:
        """Let everybody who waits, now or later, get `cause`: the watermark will not move again."""
        with self._moved:
            self._failure = cause
            self._moved.notify_all()

    def wait_until(self, position: int, timeout_s: float) -> bool:
        """Wait until `position` is reached; return whether it was within `timeout_s` seconds.

        Raises what `fail` was given.
        """
        deadline = time.monotonic() + timeout_s
        with self._moved:
            while self._position < position:
                if self._failure is not None:
                    raise self._failure
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._moved.wait(left)
        return True


class Mark:
    """Put in the backlog to learn which position is the last one accepted before it."""

    def __init__(self) -> None:
        self._known = threading.Event()
        self._failure: BaseException | None = None
        self.position = 0

    def reach(self, position: int) -> None:
        """Say that everything before the mark is at or before `position`."""
        self.position = position
        self._known.set()

    def fail(self, cause: BaseException) -> None:
        """Say that the mark will not be reached."""
        self._failure = cause
        self._known.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the position is known; return whether it is within `timeout_s` seconds. Raises a failure."""
        if not self._known.wait(max(timeout_s, 0.0)):
            return False
        if self._failure is not None:
            raise self._failure
        return True
