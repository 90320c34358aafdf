"""The backlog: a bounded FIFO between the threads that call and the one that writes.

Putting is what a caller pays for, so it takes no lock: one comparison, one `deque.append`. It may be called from any
thread, from a signal handler and from ``__del__``.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast

from workers.gate import Gate
from workers.watermark import Mark

T = TypeVar("T")

OnFull = Literal["block", "raise", "spill"]


class Full(Exception):
    """The backlog is at its bound and there was no room in time."""


class Shut(Exception):
    """The backlog takes no more items; the argument says why."""


class _Sized(Generic[T]):
    """An item that counts in bytes."""

    __slots__ = ("item", "size")

    def __init__(self, item: T, size: int) -> None:
        self.item = item
        self.size = size


class Backlog(Generic[T]):
    """A bounded FIFO.

    Parameters
    ----------
    count_max : int
        Items that may wait.
    bytes_max : int
        Bytes that items put with `put_sized` may hold together. The others are bounded by `count_max` alone.
    on_full : "block", "raise" or "spill"
        Whether `put` waits for room, which is made when half is drained, or raises at once. A backlog that can keep
        items elsewhere spills them there; this one raises.
    block_timeout_s : float
        How long `put` waits, in seconds. Once it has waited in vain, every other `put` is refused at once until half
        is drained.
    """

    def __init__(self, count_max: int, bytes_max: int, on_full: OnFull = "block", block_timeout_s: float = 5.0) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self.on_full = on_full
        self.block_timeout_s = block_timeout_s
        self.blocked = 0
        """How often a caller had to wait."""
        self.refused = 0
        """How often a caller was refused."""
        self._queue: deque[T | _Sized[T]] = deque()
        # The one number `put` compares with: the bound, or 0 while there is a reason to look closer.
        self._limit = count_max
        # Two counters, each moved by one side, so that the consumer needs no lock.
        self._bytes_put = 0
        self._bytes_taken = 0
        # Among callers only. Reentrant: a signal handler or finalizer may put while its thread is inside of `put`.
        self._counting = threading.RLock()
        self._gates: dict[int, Gate] = {}
        self._exhausted = False
        self._reason: str | None = None
        self._consumer: int | None = None
        # Whether the consumer sleeps or the backlog is closed: then a `put` has more to do than to append.
        self._attention = False
        self._gate = Gate()
        _BACKLOGS.add(self)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bytes(self) -> int:
        """Bytes of the sized items that wait."""
        return self._bytes_put - self._bytes_taken

    @property
    def _waiting(self) -> int:
        return len(self._gates)

    @property
    def closed(self) -> str | None:
        """Why nothing more is taken, or None."""
        return self._reason

    def put(self, item: T) -> None:
        """Append `item`.

        Raises
        ------
        Full
            If there is no room, after `block_timeout_s` where `on_full` is "block".
        Shut
            If the backlog was closed.
        """
        queue = self._queue
        if len(queue) >= self._limit:
            self._make_room(0)
        queue.append(item)
        if self._attention:
            self._attend(item)

    def put_sized(self, item: T, size: int) -> None:
        """Append `item`, which holds `size` bytes. Raises as `put`."""
        self._make_room(size)
        sized = _Sized(item, size)
        self._queue.append(sized)
        if self._attention:
            self._attend(sized)

    def put_always(self, item: T) -> None:
        """Append `item` whatever the bounds, also after `close`, and wake the consumer: for the owner's own marks."""
        self._queue.append(item)
        self.wake()

    def _attend(self, item: T | _Sized[T]) -> None:
        if self._reason is not None:
            # Closed between the look at the limit and the append: the consumer may be gone. Either the item can be
            # taken back, then it was never accepted, or the consumer has it.
            if self._take_back(item):
                raise Shut(self._reason)
            return
        self.wake()

    def _take_back(self, item: T | _Sized[T]) -> bool:
        """Remove `item` if it is still there; return whether it was."""
        while True:
            try:
                self._queue.remove(item)
            except ValueError:
                return False
            except IndexError:
                continue  # the consumer took something while the items were compared
            if isinstance(item, _Sized):
                with self._counting:
                    self._bytes_put -= item.size
            return True

    def mark(self) -> Mark:
        """Put a mark behind everything that is in, and return it."""
        mark = Mark()
        self.put_always(cast(T, mark))
        return mark

    def withdraw(self, item: T) -> None:
        """Take `item`, which was put with `put_always`, out again if it is still there."""
        self._take_back(item)

    def _make_room(self, size: int) -> None:
        if self._admitted(size):
            return
        self._wait_for_room(lambda: self._admitted(size))

    def _admitted(self, size: int) -> bool:
        """Count `size` in if it fits; return whether it does."""
        with self._counting:
            if self._reason is not None:
                raise Shut(self._reason)
            if not self._fits(size):
                return False
            self._bytes_put += size
            return True

    def _wait_for_room(self, admitted: Callable[[], bool]) -> None:
        """Wait until `admitted` says yes, which is asked when there may be room; or raise `Full`."""
        if self.on_full != "block" or self._exhausted or threading.get_ident() == self._consumer:
            self._refuse()
        self.blocked += 1
        deadline = time.monotonic() + self.block_timeout_s
        gate = Gate()
        self._gates[id(gate)] = gate  # before the look at the room, so that no opening is missed
        try:
            while True:
                left = deadline - time.monotonic()
                if (self._reason is not None or left <= 0 or self._half_drained()) and admitted():
                    return
                if left <= 0:
                    # Nobody else has to wait as long in vain: until there is room again, they are refused at once.
                    self._exhausted = True
                    self._refuse()
                gate.wait(self._waits_s(left))
        finally:
            del self._gates[id(gate)]

    def _waits_s(self, left_s: float) -> float:
        """How long a caller sleeps, of the time that it has left, before it looks again."""
        return left_s

    def _fits(self, size: int) -> bool:
        # A single item over the bound is let in when nothing else is sized: its own size was checked by the caller.
        return len(self._queue) < self.count_max and (not self.bytes or self.bytes + size <= self.bytes_max)

    def _half_drained(self) -> bool:
        return len(self._queue) <= self.count_max // 2 and self.bytes <= self.bytes_max // 2

    def _refuse(self) -> NoReturn:
        self.refused += 1
        raise Full(
            f"{len(self._queue)} of {self.count_max} commands and {self.bytes} of {self.bytes_max} bytes are waiting"
        )

    def take(self, count: int) -> list[T]:
        """Remove and return up to `count` items, oldest first. For the one consuming thread."""
        self._consumer = threading.get_ident()
        queue = self._queue
        taken: list[T] = []
        size = 0
        for _ in range(min(count, len(queue))):
            try:
                item = queue.popleft()
            except IndexError:
                break  # a caller that came too late has taken its item back
            if isinstance(item, _Sized):
                size += item.size
                taken.append(item.item)
            else:
                taken.append(item)
        self._bytes_taken += size
        if (self._gates or self._exhausted) and self._half_drained():
            self._exhausted = False
            self._open_gates()
        return taken

    def _open_gates(self) -> None:
        for gate in list(self._gates.values()):
            gate.open()

    def put_back(self, items: Sequence[T]) -> None:
        """Put `items`, which were taken last, back where they were. For the consuming thread, when it can not go on."""
        self._queue.extendleft(reversed(items))

    def waiting(self) -> list[T]:
        """A copy of what is in, oldest first. For the consuming thread, once nothing more is taken."""
        return [item.item if isinstance(item, _Sized) else item for item in list(self._queue)]

    def wait(self) -> None:
        """Wait until there is something to take, or until woken. For the consuming thread."""
        self._attention = True
        if not len(self):
            self._gate.wait()
        self._calm()

    def linger(self, timeout_s: float) -> None:
        """Let items come in for `timeout_s` seconds, or until woken, without callers having to do anything for it."""
        self._gate.wait(timeout_s)

    def wake(self) -> None:
        """End the consumer's `wait` or `linger`."""
        self._calm()
        self._gate.open()

    def _calm(self) -> None:
        # In this order: a `close` in between sets the flag behind the first line, or is seen by the second.
        self._attention = False
        if self._reason is not None:
            self._attention = True

    def conclude(self) -> bool:
        """Whether nothing will come any more, now that it is closed and empty. For the consuming thread."""
        return not self._queue

    def _disown(self) -> None:
        # In a child after a fork: there is no consumer here, and whoever held a lock is not here to let it go.
        self._reason = self._reason or "it was inherited through a fork and has no writer in this process"
        self._limit = 0
        self._attention = True
        self._counting = threading.RLock()
        self._gate = Gate()

    def close(self, reason: str) -> None:
        """Refuse whatever is put from now on; what is in stays in. The first reason is kept."""
        # No lock is needed to refuse: the next `put` looks closer because of the limit.
        if self._reason is None:
            self._reason = reason
        self._limit = 0
        self._attention = True
        self._open_gates()
        self.wake()


_BACKLOGS: weakref.WeakSet[Backlog[Any]] = weakref.WeakSet()


def _disown_all() -> None:
    for backlog in _BACKLOGS:
        backlog._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
