"""Where a writer's batches go: the protocol, what can go wrong there, and how to wait before trying again."""

from __future__ import annotations

import random
from typing import Protocol, TypeVar

Item = TypeVar("Item", contravariant=True)
Entry = TypeVar("Entry")
Batch = TypeVar("Batch")


class Unavailable(Exception):
    """The outcome of a batch is unknown or was refused for now: it has to be sent again, unchanged.

    `held` says that this does not pass by itself: somebody has to act.
    """

    def __init__(self, cause: BaseException, held: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.held = held


class Sink(Protocol[Item, Entry, Batch]):
    """Takes batches, in order, and says of each when it is applied.

    Everything but `encode` may raise `Unavailable`; any other exception ends the writer.
    """

    def encode(self, item: Item) -> Entry:
        """Return `item` in the form in which it is sent; for what can not be encoded, an entry that says so."""

    def size(self, entry: Entry) -> int:
        """The bytes that `entry` adds to a batch."""

    def alone(self, entry: Entry) -> bool:
        """Whether `entry` has to be a batch of its own."""

    def seal(self, first_position: int, entries: list[Entry]) -> Batch:
        """Return `entries` as the batch that begins at `first_position`, ready to be sent any number of times."""

    def send(self, batch: Batch) -> None:
        """Send `batch` without waiting for the outcome."""

    def receive(self, batch: Batch) -> None:
        """Wait for the outcome of the oldest batch sent: returns when it is applied."""

    def reset(self) -> None:
        """Forget what was sent and connect anew. Does not raise: the next `send` reports what is wrong."""

    def interrupt(self) -> None:
        """Make a `send` or `receive` that waits in the writer's thread raise soon. From any thread; does not raise."""

    def close(self) -> None:
        """Give up what is held. Does not raise."""


class Backoff:
    """Waits that double up to a bound, with full jitter."""

    def __init__(self, first_s: float, max_s: float, draw: random.Random | None = None) -> None:
        self.first_s = first_s
        self.max_s = max_s
        self.attempts = 0
        self._draw = draw or random.Random()

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        ceiling: float = min(self.max_s, self.first_s * 2 ** min(self.attempts, 32))
        self.attempts += 1
        # At least half of it: a wait of nothing would hammer a server that is starting.
        return ceiling * (0.5 + self._draw.random() / 2)

    def reset(self) -> None:
        """Begin anew after a success."""
        self.attempts = 0
