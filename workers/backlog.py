"""The backlog: a bounded FIFO between the threads that call and the one that writes.

Putting is what a caller pays for, so it takes no lock: one comparison, one `deque.extend`. It may be called from any
thread, from a signal handler and from ``__del__``.

An item is eight objects, laid into the queue one beside the other. As a tuple of its own, each would be one more object
for the collector of cycles to look at, and every thousandth call would pay for looking at the thousands that wait.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import Any, Generic, Literal, NoReturn, TypeVar

from workers.gate import Gate
from workers.watermark import Mark

T = TypeVar("T")

OnFull = Literal["block", "raise", "spill"]

WIDTH = 8
"""How many objects an item is."""

BEHIND = 1024
"""With so many items waiting, the consumer is behind."""

SELDOM, OFTEN = 1024, 128
"""Then a caller looks whether the consumer can work at all, whenever so many more wait; `OFTEN` if it could not."""

_GIVEN_S = 0.002
"""How long it lets the consumer work, if not."""

_WITHDRAWN = object()
"""Stands in the queue instead of the first object of an item that was taken back."""


class Full(Exception):
    """The backlog is at its bound and there was no room in time."""


class Shut(Exception):
    """The backlog takes no more items; the argument says why."""


class _Size(int):
    """The last object of an item that counts in bytes."""

    __slots__ = ()


class Backlog(Generic[T]):
    """A bounded FIFO. `T` is what `take` gives: tuples of the eight objects of an item, and marks.

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
        self.unfold: Callable[[T, list[T]], None] | None = None
        """Appends to a list what an item comes to when it is taken: itself, several items, or none. Must not raise."""
        self._queue: deque[Any] = deque()
        # Items that were taken, ever; marks that wait, each with how many items come before it; items taken back.
        self._taken = 0
        self._marks: deque[tuple[int, Mark]] = deque()
        self._withdrawn = 0
        self.needs_help: Callable[[], bool] = _no
        """Whether the consumer may wait for the interpreter in vain."""
        # The one number `put` compares with: the bound or, where the consumer may be behind, less; 0 if it is closed.
        self._bound = count_max * WIDTH
        self._limit = self._behind = min(self._bound, BEHIND * WIDTH)
        self._step = SELDOM
        # Two counters, each moved by one side, so that the consumer needs no lock.
        self._bytes_put = 0
        self._bytes_taken = 0
        # Among callers with more to do than to put, and the consumer while it takes. Reentrant: a signal handler or
        # finalizer may put while its thread is inside of one of them.
        self._counting = threading.RLock()
        self._gates: dict[int, Gate] = {}
        self._exhausted = False
        self._reason: str | None = None
        self._consumer: int | None = None
        # Whether the consumer sleeps or the backlog is closed: then a `put` has more to do than to append.
        self._attention = False
        self._pressing = False
        self._gate = Gate()
        _BACKLOGS.add(self)

    def __len__(self) -> int:
        return -(-len(self._queue) // WIDTH) - self._withdrawn + len(self._marks)

    @property
    def _items(self) -> int:
        return -(-len(self._queue) // WIDTH)  # one that is half taken counts

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

    def put(self, a: object, b: object, c: object, d: object, e: object, f: object, g: object, h: object) -> None:
        """Append an item of eight objects.

        Raises
        ------
        Full
            If there is no room, after `block_timeout_s` where `on_full` is "block".
        Shut
            If the backlog was closed.
        """
        queue = self._queue
        if len(queue) >= self._limit and not self._is_just_behind():
            self._make_room(0)
        item = (a, b, c, d, e, f, g, h)
        try:
            queue.extend(item)
        except MemoryError:
            self._mend(item)
            raise
        if self._attention:
            self._attend(item)

    def put_sized(self, a: object, b: object, c: object, d: object, e: object, f: object, g: object, size: int) -> None:
        """Append an item of seven objects and the `size` in bytes of what it holds. Raises as `put`."""
        item = (a, b, c, d, e, f, g, _Size(size))
        self._make_room(size)
        try:
            self._queue.extend(item)
        except MemoryError:
            self._mend(item)
            self._uncount(size)
            raise
        if self._attention:
            self._attend(item)

    def _mend(self, item: tuple[Any, ...]) -> None:
        """Remove what there is of `item`, which memory did not suffice for: nothing was accepted."""
        with self._counting:
            queue = self._queue
            parts = len(queue) % WIDTH
            if not parts:
                return
            # Not far from the end, and without anything that takes memory.
            for i in range(len(queue) - parts, -1, -1):
                if all(queue[i + part] is item[part] for part in range(parts)):
                    for _ in range(parts):
                        del queue[i]
                    return

    def _uncount(self, size: int) -> None:
        with self._counting:
            self._bytes_put -= size

    def put_always(self, mark: Mark) -> None:
        """Append the owner's own `mark` whatever the bounds, also after `close`, and wake the consumer."""
        with self._counting:
            self._marks.append((self._taken + self._items, mark))
        self._press()

    def _attend(self, item: tuple[Any, ...]) -> None:
        if self._reason is not None:
            # Closed between the look at the limit and the append: the consumer may be gone. Either the item can be
            # taken back, then it was never accepted, or the consumer has it.
            if self._take_back(item):
                raise Shut(self._reason)
            return
        self.wake()

    def _take_back(self, item: tuple[Any, ...]) -> bool:
        """Cross out `item` if it is still there; return whether it was."""
        with self._counting:  # so that nothing is taken meanwhile; what is put goes to the other end
            queue = self._queue
            there = list(queue)
            for i in range(len(there) - WIDTH, -1, -WIDTH):
                if all(map(is_, there[i : i + WIDTH], item)):
                    queue[i] = _WITHDRAWN
                    self._withdrawn += 1
                    if item[-1].__class__ is _Size:
                        self._uncount(item[-1])
                    return True
        return False

    def mark(self) -> Mark:
        """Put a mark behind everything that is in, and return it."""
        mark = Mark()
        self.put_always(mark)
        return mark

    def withdraw(self, mark: Mark) -> None:
        """Take `mark` out again if it is still there."""
        with self._counting:
            for i, (_, held) in enumerate(self._marks):
                if held is mark:
                    del self._marks[i]
                    return

    def _is_just_behind(self) -> bool:
        """Whether there is room for an item, however far the consumer is behind; let it work, if it can not."""
        waiting = len(self._queue)
        if waiting >= self._bound or self._reason is not None:
            return False
        self._step = OFTEN if self._let_work() else min(2 * self._step, SELDOM)
        self._move_limit(waiting)
        return True

    def _move_limit(self, waiting: int) -> None:
        self._limit = min(max(self._behind, waiting + self._step * WIDTH), self._bound)
        if self._reason is not None:  # a `close` in between has set it, or is seen here
            self._limit = 0

    def _let_work(self) -> bool:
        """Let the consumer have the interpreter for a while, if it may wait for that in vain; return whether it may."""
        if not self.needs_help():
            return False
        time.sleep(_GIVEN_S)
        return True

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
        self._press()  # the consumer may let come in for long what there is no room for
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
        return self._items < self.count_max and (not self.bytes or self.bytes + size <= self.bytes_max)

    def _half_drained(self) -> bool:
        return self._items <= self.count_max // 2 and self.bytes <= self.bytes_max // 2

    def _refuse(self) -> NoReturn:
        self.refused += 1
        raise Full(f"{self._items} of {self.count_max} commands and {self.bytes} of {self.bytes_max} bytes are waiting")

    def take(self, count: int) -> list[T]:
        """Remove and return up to `count` items and marks, oldest first, unfolded. For the one consuming thread."""
        taken = self._take(count)
        unfold = self.unfold
        if unfold is None:
            return taken
        unfolded: list[T] = []
        while taken and not unfolded:
            for item in taken:
                unfold(item, unfolded)
            taken = self._take(count) if not unfolded else []
        return unfolded

    def _take(self, count: int) -> list[T]:
        self._consumer = threading.get_ident()
        taken: list[Any] = []
        size = 0
        with self._counting:
            queue, marks = self._queue, self._marks
            pop = queue.popleft
            for _ in range(count):
                if marks and marks[0][0] <= self._taken:
                    taken.append(marks.popleft()[1])
                elif queue:
                    item = (pop(), pop(), pop(), pop(), pop(), pop(), pop(), pop())
                    self._taken += 1
                    if item[0] is _WITHDRAWN:
                        self._withdrawn -= 1
                        continue
                    if item[7].__class__ is _Size:
                        size += item[7]
                    taken.append(item)
                else:
                    break
            self._bytes_taken += size
        if self._limit > self._behind:
            self._move_limit(len(queue))
        if (self._gates or self._exhausted) and self._half_drained():
            self._exhausted = False
            self._open_gates()
        return taken

    def _open_gates(self) -> None:
        for gate in list(self._gates.values()):
            gate.open()

    def put_back(self, items: Sequence[T]) -> None:
        """Put `items`, which were taken last, back where they were. For the consuming thread, when it can not go on."""
        returned: Sequence[Any] = items
        with self._counting:
            for item in reversed(returned):
                if isinstance(item, Mark):
                    self._marks.appendleft((self._taken, item))
                else:
                    *others, last = item
                    # What was taken does not count in bytes any more.
                    self._queue.extendleft((int(last) if last.__class__ is _Size else last, *reversed(others)))
                    self._taken -= 1

    def waiting(self) -> list[T]:
        """A copy of what is in, oldest first. For the consuming thread, once nothing more is taken."""
        with self._counting:
            return list(self._waiting_items())

    def _waiting_items(self) -> Iterator[Any]:
        fields = iter(list(self._queue))
        marks = deque(self._marks)
        for number, item in enumerate(zip(*[fields] * WIDTH, strict=True), self._taken):
            while marks and marks[0][0] <= number:
                yield marks.popleft()[1]
            if item[0] is not _WITHDRAWN:
                yield item
        yield from (mark for _, mark in marks)

    def _press(self) -> None:
        """Let the consumer take what is in at once: somebody waits for it."""
        self._pressing = True
        self.wake()

    def pressing(self) -> bool:
        """Whether somebody may wait for something that is in, or for room. For the consuming thread."""
        if not self._pressing:
            return False
        self._pressing = False  # before the look: whoever comes behind it raises this again
        if len(self):
            self._pressing = True
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until there is something to take, or until woken; return whether that was within `timeout_s` seconds.

        For the consuming thread.
        """
        self._attention = True
        woken = len(self) > 0 or self._gate.wait(timeout_s)
        self._calm()
        return woken

    def linger(self, timeout_s: float) -> None:
        """Let items come in for `timeout_s` seconds, or until woken, without callers having to do anything for it."""
        self._gate.wait(timeout_s)

    def look(self, every_s: float, times: int) -> None:
        """Look every `every_s` seconds whether something is in, up to so many `times`, or until woken. As `linger`."""
        for _ in range(times):
            if self._gate.wait(every_s) or len(self):
                return

    def wake(self) -> None:
        """End the consumer's `wait`, `linger` or `look`."""
        self._calm()
        self._gate.open()

    def _calm(self) -> None:
        # In this order: a `close` in between sets the flag behind the first line, or is seen by the second.
        self._attention = False
        if self._reason is not None:
            self._attention = True

    def conclude(self) -> bool:
        """Whether nothing will come any more, now that it is closed and empty. For the consuming thread."""
        return not len(self)

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


def _no() -> bool:
    return False


_BACKLOGS: weakref.WeakSet[Backlog[Any]] = weakref.WeakSet()


def _disown_all() -> None:
    for backlog in _BACKLOGS:
        backlog._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
