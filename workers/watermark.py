"""Watermarks: how far what was accepted has come, and waiting for it.

The thread that moves a watermark never takes a lock: those who wait leave a gate, and it opens the gates. So a signal
handler may wait here while the thread that it interrupted was about to.
"""

from __future__ import annotations

import time

from workers.gate import Gate


class Watermark:
    """A position that only rises, which any thread can wait for. One thread moves it."""

    def __init__(self, position: int = 0) -> None:
        self._position = position
        self._failure: BaseException | None = None
        self._gates: dict[int, Gate] = {}

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
        if position > self._position:
            self._position = position
            self._open_gates()

    def fail(self, cause: BaseException) -> None:
        """Let everybody who waits, now or later, get `cause`: the watermark will not move again. The first counts."""
        if self._failure is None:
            self._failure = cause
        self._open_gates()

    def wait_until(self, position: int, timeout_s: float) -> bool:
        """Wait until `position` is reached; return whether it was within `timeout_s` seconds.

        Raises what `fail` was given.
        """
        deadline = time.monotonic() + timeout_s
        gate = Gate()
        self._gates[id(gate)] = gate  # before the look at the position, so no move is missed
        try:
            while self._position < position:
                if self._failure is not None:
                    raise self._failure
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                gate.wait(left)
        finally:
            del self._gates[id(gate)]
        return True

    def _open_gates(self) -> None:
        for gate in list(self._gates.values()):
            gate.open()


class Mark:
    """Put in the backlog to learn which position is the last one accepted before it. One thread waits for it."""

    def __init__(self) -> None:
        self._gate = Gate()
        self._known = False
        self._failure: BaseException | None = None
        self.position = 0

    @property
    def known(self) -> bool:
        """Whether `reach` or `fail` was called."""
        return self._known

    def reach(self, position: int) -> None:
        """Say that everything before the mark is at or before `position`."""
        self.position = position
        self._known = True
        self._gate.open()

    def fail(self, cause: BaseException) -> None:
        """Say that the mark will not be reached."""
        if not self._known:
            self._failure = cause
            self._known = True
            self._gate.open()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the position is known; return whether it is within `timeout_s` seconds. Raises a failure."""
        if not self._known:
            self._gate.wait(timeout_s)
        if self._failure is not None:
            raise self._failure
        return self._known
