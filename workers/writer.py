"""The writer: one thread that drains the backlog into a sink, batch by batch, and never skips.

Up to `inflight_max` batches are on their way at once. A batch is done when the sink says that it is applied; until then
it is kept and, after a failure, sent again as it was, with everything behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from workers.backlog import Backlog
from workers.batch import BatchFormer
from workers.gate import Gate
from workers.sink import Backoff, Sink, Unavailable
from workers.watermark import Mark, Watermark

Item = TypeVar("Item")
Entry = TypeVar("Entry")
Batch = TypeVar("Batch")

# A thread that holds the interpreter for long makes every other thread late: the writer takes short slices of the
# backlog, and lets go of the interpreter when its turn is over. Changing the switch interval would change the host.
SLICE = 16
TURN_S = 0.0005


class Stopped(Exception):
    """The writer has ended in order, or was abandoned: what is waited for will not come."""


class Listener(Protocol):
    """Told of what happens to the writer, on its thread. Must not raise."""

    def retrying(self, error: Unavailable, attempt: int, wait_s: float, waiting: int) -> None:
        """The sink is not available; it is tried again in `wait_s` seconds. `waiting` batches are in doubt."""

    def recovered(self, attempts: int) -> None:
        """The sink is back after so many attempts."""

    def failed(self, error: BaseException) -> None:
        """The writer has ended because of `error`."""


class Writer(Generic[Item, Entry, Batch]):
    """Drains `backlog` into `sink` from a thread of its own.

    Parameters
    ----------
    position : int
        The last position that is in the log already.
    last_words : callable, optional
        Called when the writer ends in order, with everything drained; what it returns is written last.
    """

    def __init__(
        self,
        backlog: Backlog[Item | Mark],
        sink: Sink[Item, Entry, Batch],
        former: BatchFormer[Entry],
        listener: Listener,
        position: int,
        name: str,
        inflight_max: int = 2,
        last_words: Callable[[], Item] | None = None,
        backoff: Backoff | None = None,
        backoff_held: Backoff | None = None,
    ) -> None:
        self.applied = Watermark(position)
        self.spoken = False
        """Whether the last words were said; they are the last entry then."""
        self.batches = 0
        """Batches that were applied."""
        self._backlog = backlog
        self._sink = sink
        self._former = former
        self._listener = listener
        self._inflight_max = inflight_max
        self._last_words = last_words
        self._backoff = backoff or Backoff(0.01, 2.0)
        self._backoff_held = backoff_held or Backoff(0.5, 10.0)
        self.taken = position
        """The last position that was given to an entry."""
        self._slice: deque[Item | Mark] = deque()  # taken from the backlog and not encoded yet
        self._sealed = position  # the last position in a sealed batch
        self._inflight: deque[tuple[Batch, int]] = deque()
        self._abandoned = False
        self._nap = Gate()  # opened to end a wait between two attempts
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the writer's own."""
        return threading.current_thread() is self._thread

    @property
    def in_doubt(self) -> int:
        """Entries that were taken from the backlog and are not confirmed."""
        return self.taken - self.applied.position

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, which it does once the backlog is closed and drained; return whether it did."""
        self._thread.join(max(timeout_s, 0.0))
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """End as soon as possible, leaving what is not written."""
        self._abandoned = True
        self._nap.open()
        self._backlog.wake()
        self._sink.interrupt()

    # -- On the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        end: BaseException = Stopped("the writer has ended")
        try:
            self._drain()
        except BaseException as error:  # noqa: BLE001 - nothing may end the thread unseen
            end = error
        failed = not isinstance(end, Stopped)
        # In this order: whoever is refused finds the cause, and whoever waits is either told here or finds it too.
        self.applied.fail(end)
        self._backlog.close(f"the writer failed: {end}" if failed else str(end))
        self._backlog.put_back(self._slice)
        for item in self._backlog.waiting():
            if isinstance(item, Mark):
                item.fail(end)
        if failed:
            self._listener.failed(end)
        self._sink.close()

    def _drain(self) -> None:
        backlog, former = self._backlog, self._former
        turn_ends_s = 0.0
        while not self._abandoned:
            self._slice.extend(backlog.take(SLICE))
            if self._slice:
                urgent = self._encode()
                if urgent:
                    self._send_formed()
                now_s = time.monotonic()
                if now_s >= turn_ends_s:
                    time.sleep(0)
                    turn_ends_s = now_s + TURN_S
            elif self._inflight:
                self._settle()
            elif len(former):
                left_s = former.due_in(time.monotonic())
                if left_s <= 0 or backlog.closed:
                    self._send_formed()
                else:
                    backlog.linger(left_s)
            elif backlog.closed and not len(backlog):
                if self._last_words is None:
                    return
                last_words, self._last_words = self._last_words, None
                self.spoken = True
                self._take(last_words(), time.monotonic())
            else:
                backlog.wait()

    def _encode(self) -> bool:
        """Take the slice into the batch that is being formed; return whether somebody waits for it."""
        urgent = False
        items = self._slice
        now_s = time.monotonic()
        while items:
            item = items[0]
            if isinstance(item, Mark):
                item.reach(self.taken)
                urgent = True
                items.popleft()
            else:
                full = self._take(item, now_s)
                items.popleft()  # from here on it counts as taken
                if full:
                    self._send_formed()
        return urgent

    def _take(self, item: Item, now_s: float) -> bool:
        """Take `item` into the batch that is being formed; return whether that has to be sent now."""
        sink, former = self._sink, self._former
        entry = sink.encode(item)
        size = sink.size(entry)
        alone = sink.alone(entry)
        if alone or not former.fits(size):
            self._send_formed()
        self.taken += 1
        return former.add(entry, size, now_s) or alone

    def _send_formed(self) -> None:
        if not len(self._former):
            return
        while len(self._inflight) >= self._inflight_max:
            self._settle()
            if self._abandoned:
                return
        entries = self._former.cut()
        batch = self._sink.seal(self._sealed + 1, entries)
        self._sealed += len(entries)
        self._inflight.append((batch, self._sealed))
        try:
            self._sink.send(batch)
        except Unavailable as error:
            self._recover(error)

    def _settle(self) -> None:
        """Wait until the oldest batch in flight is applied."""
        while self._inflight:
            batch, last_position = self._inflight[0]
            try:
                self._sink.receive(batch)
            except Unavailable as error:
                self._recover(error)
                if self._abandoned:
                    return
                continue
            self._inflight.popleft()
            self.batches += 1
            self.applied.advance(last_position)
            if self._backoff.attempts or self._backoff_held.attempts:
                self._listener.recovered(self._backoff.attempts + self._backoff_held.attempts)
                self._backoff.reset()
                self._backoff_held.reset()
            return

    def _recover(self, error: Unavailable) -> None:
        """Wait, connect anew and send everything in flight again, in order, until it could be sent."""
        while not self._abandoned:
            backoff = self._backoff_held if error.held else self._backoff
            wait_s = backoff.next_s()
            self._listener.retrying(error, backoff.attempts, wait_s, len(self._inflight))
            self._nap.wait(wait_s)
            if self._abandoned:
                return
            self._sink.reset()
            try:
                for batch, _ in self._inflight:
                    self._sink.send(batch)
            except Unavailable as again:
                error = again
                continue
            return


Work = Writer[Any, Any, Any]
