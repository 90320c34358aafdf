"""Taking turns with the other threads of the process."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

TURN_S = 0.00013
"""How long the interpreter is held at a stretch, in seconds, about."""

ALONE_S = 0.002
"""Where no other thread of the process did anything for so long, the host is not at work just now."""

TURN_ALONE_S = 0.00025
"""The length of a turn then, or behind a sleep with nothing to do: one who wakes up waits no longer than that."""

_STIRRED_S = 0.000005  # what the two clocks differ by when nobody else worked, and no thread wakes up for less

REST_S = 0.00002
"""For how long others may have it then. Less would be no use: who waits for the interpreter takes longer to wake up."""

KEPT_S = 0.001
"""Who has the interpreter for longer than that does not wait for something, but works."""

LONG_TURN_S = 0.005
"""The longest turn there is: as long as the interpreter lets a thread work on, by default, while others wait for it."""

STARVED_S = 0.01
"""Who waits for longer than that may wait for ever.

A thread is made to let go of the interpreter if another one waited for 5 ms and it did not let go by itself. If it did,
again and again and for some microseconds only, as native code does, whoever waits wakes up each time, finds it taken,
and begins to count anew.
"""


class Turn:
    """Lets go of the interpreter every `TURN_S` seconds, for one thread that works in small pieces.

    A thread that does not makes every other one wait for the interpreter's switch interval, 5 ms by default, whenever
    that wakes up. The interval itself is the host's, and is left alone.

    A thread that works on and on keeps the interpreter for all of that interval. Beside one of those, `TURN_S` is next
    to nothing, and what this thread has to do would wait, and become more, until the other one is done. So where the
    interpreter was kept for long, the next turn may be longer: `share` times as long.

    And where nobody else did anything for a while, letting go is for nobody: then it is done half as often.
    """

    __slots__ = ("_ends_s", "_help_s", "_look_s", "_others_s", "_seen_s", "_stirred_s", "_unseen_s", "share")

    def __init__(self) -> None:
        self._ends_s = 0.0
        self._seen_s = time.monotonic()  # when this thread was last at work
        self._unseen_s, self._help_s = -math.inf, math.inf  # the same when that was last asked; when to help next
        # What others had worked, when that was seen to become more, and when to look next.
        self._others_s, self._stirred_s, self._look_s = -math.inf, -math.inf, -math.inf
        self.share = 0.0
        """Up to 1: how much of the time that others keep the interpreter is due to this thread, too."""

    def check(self) -> None:
        """Let others have the interpreter if this turn is over: between two pieces of work."""
        self._seen_s = now_s = time.monotonic()
        if now_s >= self._ends_s:
            time.sleep(REST_S)
            kept_s = time.monotonic() - now_s
            if kept_s >= KEPT_S:
                self.begin(max(TURN_S, self.share * min(kept_s, LONG_TURN_S)))
            else:
                self.begin(TURN_ALONE_S if self._is_alone(now_s) else TURN_S)

    def begin(self, length_s: float = TURN_S) -> None:
        """Begin a new turn: others just had the interpreter, because this thread waited for something."""
        self._seen_s = now_s = time.monotonic()
        self._ends_s = now_s + length_s

    def _is_alone(self, now_s: float) -> bool:
        """Whether no other thread of the process was at work for `ALONE_S`. On this thread."""
        if now_s >= self._look_s:
            self._look_s = now_s + TURN_ALONE_S  # these clocks cost a system call each
            others_s = time.process_time() - time.thread_time()
            if others_s > self._others_s + _STIRRED_S:
                self._others_s, self._stirred_s = others_s, now_s
        return now_s - self._stirred_s >= ALONE_S

    def needs_help(self) -> bool:
        """Whether this thread may wait for the interpreter in vain. From any other thread, which then lets it work.

        That is so if it was not seen at work for `STARVED_S`. But it may as well wait for something else: as long as it
        is not seen, this is said seldom, and half as often each time.
        """
        seen_s, now_s = self._seen_s, time.monotonic()
        if seen_s != self._unseen_s:
            self._unseen_s, self._help_s = seen_s, seen_s + STARVED_S
        if now_s < self._help_s:
            return False
        self._help_s = now_s + (now_s - seen_s)
        return True


def wake_on_time() -> None:
    """Have the system wake the calling thread when it is due. By default, Linux lets it oversleep by 50 microseconds.

    Does nothing where the system does not know how.
    """
    with contextlib.suppress(OSError):
        thread = Path("/proc/thread-self").readlink().name
        Path(f"/proc/{thread}/timerslack_ns").write_text("1")
