"""Watermarks: how far what was accepted has come, and waiting for it, in a thread or in an asyncio task.

The thread that moves a watermark never takes a lock: those who wait leave a gate, and it opens the gates. So a signal
handler may wait here while the thread that it interrupted was about to.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from workers.gate import Gate, LoopGate, Openable


class _Waiter(NamedTuple):
    """Who waits, and for which position."""

    position: int
    gate: Openable


class Watermark:
    """A position that rises, unless it is set back, and that any thread or task can wait for. One thread moves it."""

    def __init__(self, position: int = 0) -> None:
        self._position = position
        self._failure: BaseException | None = None
        self._waiters: dict[int, _Waiter] = {}

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
            if self._waiters:
                self._open_gates()

    def retreat(self, position: int) -> None:
        """Move back to `position`; a higher one is ignored. Who waits and has not looked yet goes on waiting."""
        if position < self._position:
            self._position = position

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
        self._waiters[id(gate)] = _Waiter(position, gate)  # before the look at the position, so no move is missed
        try:
            while not self._has_reached(position):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                gate.wait(left)
        finally:
            del self._waiters[id(gate)]
        return True

    async def reached(self, position: int, timeout_s: float) -> bool:
        """As `wait_until`, for an asyncio task; the loop is never blocked."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        gate = LoopGate()
        self._waiters[id(gate)] = _Waiter(position, gate)
        try:
            while not self._has_reached(position):
                left = deadline - loop.time()
                if left <= 0:
                    return False
                await gate.wait(left)
        finally:
            del self._waiters[id(gate)]
        return True

    def watch(self, gate: Gate) -> None:
        """Open `gate` whenever the watermark rises or fails, until `unwatch`: for a thread that waits for more."""
        self._waiters[id(gate)] = _Waiter(0, gate)

    def unwatch(self, gate: Gate) -> None:
        """Open `gate` no more."""
        self._waiters.pop(id(gate), None)

    def _has_reached(self, position: int) -> bool:
        failure = self._failure  # looked at first: a failure that was seen means that the position is the last one
        if self._position >= position:
            return True
        if failure is not None:
            raise failure
        return False

    def _open_gates(self) -> None:
        # Only of those whose position it is: a batch must not wake every task of a busy loop.
        for waiter in list(self._waiters.values()):
            if waiter.position <= self._position or self._failure is not None:
                waiter.gate.open()


class Mark:
    """Put in the backlog to learn which position is the last one accepted before it. One thread or task waits."""

    def __init__(self) -> None:
        self._gate = Gate()
        self._loop_gate: LoopGate | None = None  # of a task that waits
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
        self._tell()

    def fail(self, cause: BaseException) -> None:
        """Say that the mark will not be reached."""
        if not self._known:
            self._failure = cause
            self._tell()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the position is known; return whether it is within `timeout_s` seconds. Raises a failure."""
        if not self._known:
            self._gate.wait(timeout_s)
        return self._outcome()

    async def awaited(self, timeout_s: float) -> bool:
        """As `wait`, for an asyncio task; the loop is never blocked."""
        gate = self._loop_gate = LoopGate()  # before the look, so nothing is missed
        try:
            if not self._known:
                await gate.wait(timeout_s)
        finally:
            self._loop_gate = None
        return self._outcome()

    def _tell(self) -> None:
        self._known = True
        self._gate.open()
        if (gate := self._loop_gate) is not None:
            gate.open()

    def _outcome(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return self._known
