"""The writer's decisions: what to do next, and what each outcome means. Pure: no thread, no clock, no I/O.

The rules. Entries get consecutive positions, in the order in which their items were taken. At most `inflight_max`
batches are on their way. A batch is done when it is confirmed; until then it is kept and, after a failure, sent again
as it was, with everything behind it. If the log turns out to end elsewhere, what follows that end is sealed and sent
again: first what is retained, then what was not confirmed. Nothing is ever skipped; what can not be sent again ends
the delivery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from workers.batch import BatchFormer
from workers.sink import Backoff, Packer, Regressed, Rejected, Retained, Unavailable
from workers.watermark import Mark

Item = TypeVar("Item")
Entry = TypeVar("Entry")
Batch = TypeVar("Batch")

FEW = 64
"""How many items in the backlog are worth encoding while batches are on their way."""

LOOKING_S = 0.1
"""How long an empty backlog is looked into behind a batch, once in a linger, before whoever puts something in has to
wake the writer: that costs them several times what all the rest of a call does.
"""

LOOK_S = 0.0005
"""Who lingers for less does not look, but is woken: it would look for nothing thousands of times a second."""

NAP_S = 0.1
"""After so many seconds of a longer linger it is looked whether there is enough for a batch."""

REFUSALS_MAX = 3
"""How often a batch of one entry is refused for what is in it before the entry is quarantined."""


class Do(Enum):
    """What to do next, where there is nothing more to say about it."""

    TAKE = "take items from the backlog, and say `took`"
    RECONNECT = "connect anew"
    REWIND = "ask where the log ends, and say `rewound`"
    WAIT = "wait until there is something to take"
    HOLD = "wait until sending is allowed again: nothing is on its way"
    CONCLUDE = "everything is written and the backlog is closed: say `said`, with last words if there are any"
    END = "end"


@dataclass(frozen=True, slots=True)
class Send(Generic[Batch]):
    """Send `batch`, and say `sent`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Receive(Generic[Batch]):
    """Wait for the outcome of `batch`, and say `confirmed`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Nap:
    """Wait so many seconds before the next attempt."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Linger:
    """Let more items come in for so many seconds at most."""

    left_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """Look into the backlog every so many seconds, so often at most, until there is something."""

    every_s: float
    times: int


class _Flight(NamedTuple, Generic[Entry, Batch]):
    """A batch on its way, its entries and the position of the last of them."""

    batch: Batch
    entries: list[Entry]
    last: int


class Delivery(Generic[Item, Entry, Batch]):
    """What becomes of the items of one writer.

    The owner does what `next` says and reports how it went; a failure of `Send`, `Receive` or `REWIND` with `failed`.

    Parameters
    ----------
    position : int
        The last position that is in the log already.
    """

    def __init__(
        self,
        packer: Packer[Item, Entry, Batch],
        former: BatchFormer[Entry],
        retained: Retained[Entry],
        position: int,
        inflight_max: int = 2,
        backoff: Backoff | None = None,
        backoff_held: Backoff | None = None,
    ) -> None:
        self.applied = position
        """The last position that is confirmed, and not known to be lost."""
        self.taken = position
        """The last position that was given to an entry."""
        self.batches = 0
        """Batches that were confirmed."""
        self._packer = packer
        self._former = former
        former.cut(packer.draft())
        self._retained = retained
        self._inflight_max = inflight_max
        self._backoff = backoff or Backoff(0.01, 2.0)
        self._backoff_held = backoff_held or Backoff(0.5, 10.0)
        self._slice: deque[Item | Mark] = deque()  # taken, not encoded
        self._encoded: Entry | None = None  # of the first item of the slice, where it did not fit the batch any more
        self._due = False  # whether the batch that is being formed has to go
        # Since when items may linger in the backlog: since one was seen there, or since the last look at an empty one.
        self._seen_s: float | None = None
        self._looked = False  # whether the backlog was looked at again and again since the last batch
        self._left = 0  # of the items that have lingered there, how many were not taken
        self._starved = False  # whether the last look at the backlog found nothing
        self._concluded = False
        self._inflight: deque[_Flight[Entry, Batch]] = deque()
        self._sent = 0  # how many of those were sent on this connection
        self._sealed = position  # the last position in a batch that is in flight or confirmed
        self._top = position  # the last position that was ever sealed
        self._kept = position  # the last position that was ever confirmed
        self._pending: deque[Entry] = deque()  # the entries of positions `_kept` + 1 to `_top`
        self._replay: Iterator[Entry] = iter(())  # what is retained, from `_sealed` + 1 to `_replay_until`
        self._replay_until = position
        self._peeked: Entry | None = None  # taken from there, for the next batch
        self._singly_until = position  # up to here every entry is a batch of its own
        self._refusals = 0
        self._replaced: dict[int, Entry] = {}  # the quarantined, by position
        self._mending: deque[Nap | Do] = deque()
        self._rewinding = False

    # -- What is done next -----------------------------------------------------------------------------------------

    def next(
        self, now_s: float, closed: bool, held: bool = False, waiting: int | None = None
    ) -> Do | Send[Batch] | Receive[Batch] | Nap | Linger | Look:
        """Return what to do, at `now_s` on a monotonic clock.

        `closed`: nothing is in the backlog, or will be. `held`: what is on its way is finished, and nothing else sent.
        `waiting`: how many items are in the backlog, where that is known and nobody waits for one of them.
        """
        if self._mending:
            return self._mending.popleft()
        if self._sent < len(self._inflight):
            return Send(self._inflight[self._sent].batch)
        if held:
            return self._receive() if self._inflight else Do.HOLD
        if self._sealed < self._top:
            return self._seal_again() if len(self._inflight) < self._inflight_max else self._receive()
        if self._slice and not self._due:
            self._due = self._form(now_s)
        if self._due:
            return self._seal() if len(self._inflight) < self._inflight_max else self._receive()
        if not self._starved and waiting != 0:
            if waiting is None or waiting >= min(FEW, self._former.count_max):
                return Do.TAKE
            # To wake up costs a thread as much as several items do: a few are taken once there is nothing else to do,
            # and when they have lingered, not one by one as they come.
            if self._inflight:
                return self._receive()
            if self._left <= 0 and len(self._former) and self._former.due_in(now_s) <= 0:
                return self._seal()
            if not len(self._former):
                if self._seen_s is None:
                    self._seen_s = now_s
                if (left_s := self._seen_s + self._former.linger_s - now_s) > 0:
                    return Linger(min(left_s, NAP_S))
                self._left = waiting
            return Do.TAKE
        self._starved = False
        if self._inflight:
            return self._receive()
        if len(self._former):
            left_s = self._former.due_in(now_s)
            return self._seal() if left_s <= 0 or closed else Linger(min(left_s, NAP_S))
        if closed:
            return Do.END if self._concluded else Do.CONCLUDE
        if not self._looked and LOOK_S <= self._former.linger_s <= LOOKING_S:
            self._looked = True
            self._seen_s = now_s
            return Look(self._former.linger_s, int(LOOKING_S / self._former.linger_s))
        self._seen_s = None
        return Do.WAIT

    def _receive(self) -> Receive[Batch]:
        return Receive(self._inflight[0].batch)

    def _form(self, now_s: float) -> bool:
        """Move the slice into the batch that is being formed; return whether that has to go now."""
        packer, former, items = self._packer, self._former, self._slice
        formed, first_s = former.entries, self._seen_s or now_s
        held, self._encoded = self._encoded, None
        urgent = False
        while items:
            item = items[0]
            if isinstance(item, Mark):
                if not item.known:
                    item.reach(self.taken)
                urgent = True  # somebody waits
                items.popleft()
                continue
            entry = packer.encode(item) if held is None else held
            held = None
            size = packer.size(entry)
            if formed and size > former.room:
                self._encoded = entry
                return True
            full = former.add(entry, size, first_s)
            self._seen_s = None
            self.taken += 1
            items.popleft()  # from here on it counts as taken
            if full:
                return True
        return urgent and len(formed) > 0

    def _seal(self) -> Send[Batch]:
        entries = self._former.cut(self._packer.draft())
        self._due = False
        self._pending.extend(entries)
        self._top += len(entries)
        return self._put_in_flight(entries)

    def _seal_again(self) -> Send[Batch]:
        """Seal what follows the end of the log, from what is retained and what was not confirmed."""
        entries = self._packer.draft()
        room = self._former.bytes_max
        count_max = 1 if self._sealed < self._singly_until else self._former.count_max
        for position in range(self._sealed + 1, min(self._sealed + count_max, self._top) + 1):
            entry = self._entry(position)
            size = self._packer.size(entry)
            if entries and size > room:
                self._peeked = entry
                break
            entries.append(entry)
            room -= size
        return self._put_in_flight(entries)

    def _entry(self, position: int) -> Entry:
        """Return the entry of `position`; each is asked for in turn."""
        if self._peeked is not None:
            entry, self._peeked = self._peeked, None
            return entry
        if position > self._replay_until:
            entry = self._pending[position - self._kept - 1]
        else:
            following = next(self._replay, None)
            if following is None:
                raise self._packer.lost(position, self._replay_until)
            entry = following
        return self._replaced.get(position, entry)

    def _put_in_flight(self, entries: list[Entry]) -> Send[Batch]:
        batch = self._packer.seal(self._sealed + 1, entries)
        self._sealed += len(entries)
        self._inflight.append(_Flight(batch, entries, self._sealed))
        return Send(batch)

    # -- How it went -----------------------------------------------------------------------------------------------

    def took(self, items: Sequence[Item | Mark]) -> None:
        """`items` were taken from the backlog; there may have been none."""
        self._slice.extend(items)
        self._left -= len(items)
        self._starved = not items

    def sent(self) -> None:
        """The batch of the last `Send` was sent."""
        self._sent += 1

    def confirmed(self) -> int:
        """The oldest batch in flight is applied. Return how many attempts before this one failed, where some did."""
        last = self._inflight.popleft().last
        self._sent -= 1
        self.batches += 1
        self._looked = False
        self.applied = last
        self._keep(last)
        self._refusals = 0
        return self._recovered()

    def failed(self, error: Unavailable) -> Nap:
        """The last `Send`, `Receive` or `REWIND` failed; it will be tried again, after the wait that is returned.

        Raises
        ------
        BaseException
            The cause of a `Rejected`, if not even the entry that would stand in for the rejected one is taken.
        """
        if isinstance(error, Rejected):
            self._suspect(error)
        self._rewinding = self._rewinding or isinstance(error, Regressed | Rejected)
        backoff = self._backoff_held if error.held else self._backoff
        nap = Nap(backoff.next_s())
        self._sent = 0
        self._mending = deque((nap, Do.RECONNECT, Do.REWIND) if self._rewinding else (nap, Do.RECONNECT))
        return nap

    @property
    def rewinding(self) -> bool:
        """Whether the log is to be asked where it ends."""
        return self._rewinding

    @property
    def attempts(self) -> int:
        """How many attempts in a row have failed."""
        return self._backoff.attempts + self._backoff_held.attempts

    def rewound(self, position: int) -> int:
        """The log ends at `position`: what follows is sealed and sent again. If nothing does, return as `confirmed`.

        Raises
        ------
        Exception
            What the packer makes of positions that are lost, or of a log that ends behind all that was ever sent.
        """
        if position > self._top:
            raise self._packer.ahead(position, self._top)
        self._rewinding = False
        self._inflight.clear()
        self._sent = 0
        self._peeked = None
        self._keep(position)
        self._sealed = self.applied = position
        if position < self._kept:
            first = self._retained.first
            if first > position + 1:
                raise self._packer.lost(position + 1, min(first - 1, self._kept))
            self._replay = self._retained.since(position)
        self._replay_until = self._kept
        return self._recovered() if position == self._top else 0

    def said(self, last_words: Item | None) -> None:
        """Everything else is written: `last_words` are the last entry."""
        self._concluded = True
        if last_words is not None:
            self._slice.append(last_words)

    def _recovered(self) -> int:
        failed = self.attempts
        self._backoff.reset()
        self._backoff_held.reset()
        return failed

    def _keep(self, last: int) -> None:
        """Retain what was pending up to position `last`."""
        new = last - self._kept
        if new > 0:
            self._kept = last
            self._retained.keep(last, [self._pending.popleft() for _ in range(new)])

    def _suspect(self, error: Rejected) -> None:
        """Find out which entry of the oldest batch in flight is refused, or put another in its place."""
        suspect = self._inflight[0]
        if len(suspect.entries) > 1:
            self._singly_until = max(self._singly_until, suspect.last)
            return
        self._refusals += 1
        if self._refusals < REFUSALS_MAX:
            return
        if suspect.last in self._replaced:
            raise error.cause  # it is not the entry: the server refuses everything
        self._refusals = 0
        self._replaced[suspect.last] = self._packer.quarantine(suspect.entries[0], error.cause)

    # -- What is left when it ends ---------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Batches that are sealed and not confirmed."""
        return len(self._inflight)

    def untaken(self) -> list[Item | Mark]:
        """Return the items that were taken from the backlog and got no position."""
        return [] if self._concluded else list(self._slice)

    @property
    def unsaid(self) -> bool:
        """Whether there are last words that got no position."""
        return self._concluded and bool(self._slice)

    def unconfirmed(self) -> tuple[int, list[Entry]]:
        """Return the entries that are not in the log and are at hand, and the position of the first of them."""
        first = min(max(self.applied + 1, self._retained.first), self._kept + 1)
        again = islice(self._retained.since(first - 1), self._kept + 1 - first)
        return first, [*again, *self._pending, *self._former.entries]
