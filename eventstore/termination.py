"""SIGTERM: what was accepted is written before the process ends, where nobody else takes care of that signal."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from types import FrameType
from typing import Protocol


class Closing(Protocol):
    """What is closed when the process is told to end."""

    def close_at_exit(self) -> None:
        """Write what was accepted, a bounded time. Does not raise."""


_OPEN: weakref.WeakSet[Closing] = weakref.WeakSet()


def close_on_sigterm(database: Closing) -> None:
    """Close `database` when SIGTERM comes, and then let it end the process as it would have.

    Does nothing if that signal has a handler already, which then is the one to call `close`, or outside of the main
    thread, where Python lets nobody set one.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    elif handler is not _terminate:
        return
    _OPEN.add(database)


def _terminate(number: int, frame: FrameType | None) -> None:
    for database in list(_OPEN):
        database.close_at_exit()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), number)
