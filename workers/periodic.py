"""A call that is made again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workers.gate import Gate


class Periodic:
    """Makes `call` every `interval_s` seconds from a thread of its own, the first time at once.

    The interval is from the end of one call to the beginning of the next. It ends when `call` raises: what it was for
    is gone. `stop` waits for a call that is under way.
    """

    def __init__(self, interval_s: float, call: Callable[[], object], name: str) -> None:
        self._interval_s = interval_s
        self._call = call
        self._stopping = False
        self._nap = Gate()
        self.error: Exception | None = None
        """What ended it, if not `stop`."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask the thread to end and wait for it, `timeout_s` seconds at most."""
        self._stopping = True
        self._nap.open()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._call()
            while not self._stopping:
                self._nap.wait(self._interval_s)
                if not self._stopping:
                    self._call()
        except Exception as error:  # noqa: BLE001 - whatever it is, its owner asks for it
            # Without its frames, which would keep alive what was called.
            self.error = error.with_traceback(None)
