"""How a database is, readable at any time, and told to whoever wants to know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

State = Literal["healthy", "degraded", "failed"]


class Health(NamedTuple):
    """How a database is.

    ``healthy``: what is accepted is on its way. ``degraded``: it is kept, but something holds it up or makes it less
    safe than was asked for. ``failed``: nothing more is accepted. `reason` says what is wrong, None where nothing is;
    `since_ns` is when it began, in UNIX nanoseconds.
    """

    state: State
    reason: str | None
    since_ns: int


class HealthBoard:
    """Puts together what several parts say of themselves. May be used from any thread.

    `on_change` is called with every new `Health`, on the thread that noticed it, one call at a time. It must return
    soon, and not raise.
    """

    def __init__(self, on_change: Callable[[Health], object] | None) -> None:
        self.now = Health("healthy", None, time.time_ns())
        """How it is now; reading it waits for nobody."""
        self._on_change = on_change
        self._troubles: dict[str, str] = {}
        self._failed: str | None = None
        self._changing = threading.RLock()  # reentrant: the callback may do what changes the health again

    def trouble(self, part: str, reason: str) -> None:
        """Say that `part` is not as it should be."""
        with self._changing:
            self._troubles[part] = reason
            self._tell()

    def well(self, part: str) -> None:
        """Say that `part` is as it should be."""
        with self._changing:
            if self._troubles.pop(part, None) is not None:
                self._tell()

    def fail(self, reason: str) -> None:
        """Say that it is over. The first reason counts."""
        with self._changing:
            if self._failed is None:
                self._failed = reason
                self._tell()

    def _tell(self) -> None:
        state: State = "failed" if self._failed is not None else "degraded" if self._troubles else "healthy"
        reason = self._failed or "; ".join(self._troubles.values()) or None
        if (state, reason) == self.now[:2]:
            return
        since_ns = self.now.since_ns if state == self.now.state else time.time_ns()
        self.now = Health(state, reason, since_ns)
        if self._on_change is not None:
            self._on_change(self.now)
