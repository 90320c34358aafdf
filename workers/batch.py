"""The batch former: when a batch is full, and when it is due. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Generic, TypeVar

E = TypeVar("E")


class BatchFormer(Generic[E]):
    """Collects entries until a bound is met or the oldest has waited `linger_s` seconds.

    A single entry over `bytes_max` makes a batch of its own.
    """

    def __init__(self, count_max: int, bytes_max: int, linger_s: float) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self.linger_s = linger_s
        self.entries: list[E] = []
        self.room = bytes_max
        """Bytes that still fit."""
        self._first_at = 0.0

    def __len__(self) -> int:
        return len(self.entries)

    def fits(self, size: int) -> bool:
        """Whether an entry of `size` bytes may still join."""
        return not self.entries or (len(self.entries) < self.count_max and size <= self.room)

    def add(self, entry: E, size: int, now_s: float) -> bool:
        """Take `entry` in, at `now_s` on a monotonic clock; return whether a bound is met."""
        entries = self.entries
        if not entries:
            self._first_at = now_s
        entries.append(entry)
        self.room = room = self.room - size
        return room <= 0 or len(entries) >= self.count_max

    def due_in(self, now_s: float) -> float:
        """Seconds until the oldest entry has lingered; 0 or less when it has."""
        return self._first_at + self.linger_s - now_s

    def cut(self, fresh: list[E] | None = None) -> list[E]:
        """Return what was collected and begin anew, in the empty list `fresh`."""
        entries, self.entries, self.room = self.entries, [] if fresh is None else fresh, self.bytes_max
        return entries
