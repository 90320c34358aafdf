"""Where a writer's batches go: the protocol, what can go wrong there, and how to wait before trying again."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)
Entry = TypeVar("Entry")
Batch = TypeVar("Batch")
BatchOut = TypeVar("BatchOut", covariant=True)


LONE = sys.maxsize
"""More bytes than any batch may have."""


class Unavailable(Exception):
    """The outcome of a batch is unknown or was refused for now: it has to be sent again, unchanged.

    `held` says that this does not pass by itself: somebody has to act.
    """

    def __init__(self, cause: BaseException, held: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.held = held


class Regressed(Unavailable):
    """The log does not end where this writer left it: it has to be asked where it ends, and told the rest again."""


class Rejected(Unavailable):
    """The batch was refused for what is in it, and nothing of it was applied: one of its entries can not be written."""


class Packer(Protocol[ItemIn, Entry, BatchOut]):
    """How items become entries, and entries batches. Pure: no I/O, and it waits for nothing."""

    def encode(self, item: ItemIn) -> Entry:
        """Return `item` in the form in which it is sent; for what can not be encoded, an entry that says so."""

    def size(self, entry: Entry) -> int:
        """The bytes that `entry` adds to a batch; `LONE`, if it has to be a batch of its own."""

    def draft(self) -> list[Entry]:
        """Return an empty list for the entries of a batch, which may do a part of `seal` as they are appended."""

    def seal(self, first_position: int, entries: list[Entry]) -> BatchOut:
        """Return `entries` as the batch that begins at `first_position`, ready to be sent any number of times."""

    def quarantine(self, entry: Entry, cause: BaseException) -> Entry:
        """Return what stands in the place of `entry`, which can not be written because of `cause`."""

    def lost(self, first: int, last: int) -> Exception:
        """The error for positions that are gone from the log and are not retained."""

    def ahead(self, position: int, last: int) -> Exception:
        """The error for a log that ends at `position`, behind `last`, the last one that was ever sent."""


class Sink(Packer[ItemIn, Entry, Batch], Protocol[ItemIn, Entry, Batch]):
    """Takes batches, in order, and says of each when it is applied.

    `send`, `receive` and `rewind` may raise `Unavailable`; any other exception ends the writer.
    """

    def send(self, batch: Batch) -> None:
        """Send `batch` without waiting for the outcome."""

    def receive(self, batch: Batch) -> None:
        """Wait for the outcome of the oldest batch sent: returns when it is applied.

        May also raise `Regressed` or `Rejected`.
        """

    def reset(self) -> None:
        """Forget what was sent and connect anew. Does not raise: the next `send` reports what is wrong."""

    def rewind(self) -> int:
        """Ask where the log ends, get ready to seal what comes behind that, and return the position."""

    def check(self) -> None:
        """See that nobody replaces what took the batches, as far as anybody can say: what it took is lost then.

        May raise `Regressed`.
        """

    def interrupt(self) -> None:
        """Make what waits in the writer's thread raise soon, and send nothing more. From any thread; does not raise."""

    def close(self) -> None:
        """Give up what is held. Does not raise."""


class Retained(Protocol[Entry]):
    """What was applied and is kept, in case the log loses it. For the writer's thread."""

    @property
    def first(self) -> int:
        """The oldest position that is kept; one behind the last that was ever kept if there is none."""

    def keep(self, last: int, entries: list[Entry]) -> None:
        """Keep `entries`, of which the last has position `last`, and let go of what is over the bound.

        The list is handed over.
        """

    def since(self, position: int) -> Iterator[Entry]:
        """Yield what is kept behind `position`, which is not before `first` - 1."""


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
