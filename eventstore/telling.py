"""What the host is told, on a thread that nobody else needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any

_Told = tuple[Context, Callable[..., object], tuple[Any, ...]]


class Telling:
    """Calls what the host gave to be called, such as its logger, one after the other, in the context of who told it.

    A logger may hold a lock while it writes. A thread that a signal handler or a finalizer has interrupted in there
    does not let go of it before the handler returns, so nobody may wait for the logger whom the handler waits for: not
    the writer, and not a `close`. And a logger that is slow makes nobody else slow.

    What is called must not raise. Before `start` and behind `stop` it is called by who tells it.
    """

    def __init__(self, name: str) -> None:
        self._told: SimpleQueue[_Told | None] = SimpleQueue()  # into which even a finalizer may put something
        self._running = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._running = True

    def tell(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have `call` called soon."""
        if self._running:
            self._told.put((copy_context(), call, arguments))
        else:
            call(*arguments)

    def stop(self, timeout_s: float) -> bool:
        """End the thread once it has told what is left; return whether it has within `timeout_s` seconds.

        On the thread itself, as in a log handler, that is not waited for.
        """
        if self._running:
            self._running = False
            self._told.put(None)
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (told := self._told.get()) is not None:
            context, call, arguments = told
            context.run(call, *arguments)
