"""Taking turns with the other threads of the process."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

TURN_S = 0.00013
"""How long the interpreter is held at a stretch, in seconds, about."""

TURN_RESTED_S = 0.00025
"""The same for the first turn after this thread slept with nothing to do: it may well be the only one."""

REST_S = 0.00002
"""For how long others may have it then. Less would be no use: who waits for the interpreter takes longer to wake up."""


class Turn:
    """Lets go of the interpreter every `TURN_S` seconds, for one thread that works in small pieces.

    A thread that does not makes every other one wait for the interpreter's switch interval, 5 ms by default, whenever
    that wakes up. The interval itself is the host's, and is left alone.
    """

    __slots__ = ("_ends_s",)

    def __init__(self) -> None:
        self._ends_s = 0.0

    def check(self) -> None:
        """Let others have the interpreter if this turn is over: between two pieces of work."""
        if time.monotonic() >= self._ends_s:
            time.sleep(REST_S)
            self.begin()

    def begin(self, length_s: float = TURN_S) -> None:
        """Begin a new turn: others just had the interpreter, because this thread waited for something."""
        self._ends_s = time.monotonic() + length_s


def wake_on_time() -> None:
    """Have the system wake the calling thread when it is due. By default, Linux lets it oversleep by 50 microseconds.

    Does nothing where the system does not know how.
    """
    with contextlib.suppress(OSError):
        thread = Path("/proc/thread-self").readlink().name
        Path(f"/proc/{thread}/timerslack_ns").write_text("1")
