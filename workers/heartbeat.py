"""A periodic sign of life."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workers.gate import Gate


class Heartbeat:
    """Calls `beat` every `interval_s` seconds from a thread of its own, the first time at once.

    It ends when `beat` raises: what it beats for is gone. `stop` waits for that.
    """

    def __init__(self, interval_s: float, beat: Callable[[], object], name: str) -> None:
        self._interval_s = interval_s
        self._beat = beat
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
            self._beat()
            while not self._stopping:
                self._nap.wait(self._interval_s)
                if not self._stopping:
                    self._beat()
        except Exception as error:  # noqa: BLE001 - whatever it is, its owner asks for it
            self.error = error
