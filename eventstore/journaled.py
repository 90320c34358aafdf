"""A backlog with a journal in front: what it takes is in the journal before the call returns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NoReturn

from eventstore.errors import JournalError, JournalFull
from eventstore.journal import Journal, JournalRecord
from eventstore.retained import revived
from eventstore.storage.appender import Accepted, Entry
from workers.backlog import BEHIND, OFTEN, Backlog, Full, OnFull, Shut
from workers.watermark import Mark

POLL_S = 0.05
"""How often a caller that waits looks whether the journal has room again."""


class JournaledBacklog(Backlog[Accepted | Entry | Mark]):
    """Gives each entry its position, puts it in the journal, and then in memory.

    The journal has everything, memory what fits: with `on_full` "spill" a call does not wait for room there. What is
    not in memory when its turn comes is read back, and so is what the journal had before: the backlog begins behind
    `position`.
    """

    def __init__(
        self,
        journal: Journal,
        position: int,
        count_max: int,
        bytes_max: int,
        on_full: OnFull = "block",
        block_timeout_s: float = 5.0,
    ) -> None:
        super().__init__(count_max, bytes_max, on_full, block_timeout_s)
        self.spilled = 0
        """How many entries were put in the journal alone."""
        self._journal = journal
        self._taken = position  # the last position that was taken
        # Plain tuples of numbers and bytes, so that the collector has next to nothing to do with them: the command is
        # made again by whoever takes it. What a caller leaves behind costs every later caller.
        self._placed: deque[tuple[int, int, bytes] | Mark] = deque()
        self._records: Iterator[JournalRecord] = iter(())  # what is being read back
        self._records_at = 0  # the position of the next of them
        # Among callers only, so that nobody is overtaken. Reentrant: a signal handler or finalizer may put while its
        # own thread is inside of `put_journaled`; its entry may then be in memory first, and `take` puts that right.
        self._order = threading.RLock()
        self._sealed = False

    def __len__(self) -> int:
        return self.accepted - self._taken

    @property
    def accepted(self) -> int:
        """The position of the last entry that was accepted."""
        return self._journal.position

    # -- Putting ---------------------------------------------------------------------------------------------------

    def put_journaled(self, accepted_ns: int, payload: bytes) -> None:
        """Append an encoded command, accepted at `accepted_ns` (UNIX nanoseconds), to the journal and to what is to be
        written.

        Raises
        ------
        Full
            If there is no room, in memory or in the journal.
        Shut
            If it was closed.
        JournalError
            If the journal can not take it for another reason.
        """
        if not self._tried(accepted_ns, payload):
            self._wait_for_room(lambda: self._tried(accepted_ns, payload))

    def _tried(self, accepted_ns: int, payload: bytes) -> bool:
        """Put it in if there is room; return whether there was."""
        size = len(payload)
        with self._order:
            if self._reason is not None or self._sealed:
                raise Shut(self._reason or "it is closed")
            held = self._bytes_put - self._bytes_taken
            fits = len(self._placed) < self.count_max and (not held or held + size <= self.bytes_max)
            if not fits and self.on_full != "spill":
                return False
            try:
                position = self._journal.append(accepted_ns, payload)
            except JournalFull:
                return False
            # From here on it is accepted. An exception that a signal handler raises before it is in memory, too, leaves
            # a gap there, and it is read back.
            if fits:
                self._bytes_put += size
                self._placed.append((position, accepted_ns, payload))
            else:
                self.spilled += 1
        if self._attention:
            self.wake()
        elif not position % OFTEN and position - self._taken > BEHIND:
            self._let_work()
        return True

    def _waits_s(self, left_s: float) -> float:
        return min(left_s, POLL_S)

    def _half_drained(self) -> bool:
        half = len(self._placed) <= self.count_max // 2 and self.bytes <= self.bytes_max // 2
        return half and self._journal.no_room is None

    def _refuse(self) -> NoReturn:
        self.refused += 1
        journal = self._journal
        raise Full(
            f"{len(self._placed)} of {self.count_max} commands and {self.bytes} of {self.bytes_max} bytes are waiting"
            + ("" if journal.no_room is None else f", and the journal takes no more: {journal.no_room}")
        )

    def put_always(self, mark: Mark) -> None:
        self._placed.append(mark)
        self._press()

    def mark(self) -> Mark:
        mark = Mark()
        mark.reach(self.accepted)
        self.put_always(mark)  # so that the batch goes at once
        return mark

    def withdraw(self, mark: Mark) -> None:
        """Do nothing: its marks are known from the start, and what takes them sees that."""

    # -- Taking ----------------------------------------------------------------------------------------------------

    def take(self, count: int) -> list[Accepted | Entry | Mark]:
        self._consumer = threading.get_ident()
        placed = self._placed
        taken: list[Accepted | Entry | Mark] = []
        size = 0
        for _ in range(count):
            if not placed:
                if self._journal.position > self._taken:
                    self._read_back(taken, self._journal.position, count)
                break
            item = placed[0]
            if isinstance(item, Mark):
                taken.append(item)
            else:
                position, accepted_ns, payload = item
                if position > self._taken + 1:
                    self._read_back(taken, position - 1, count)
                    break
                if position == self._taken + 1:  # or it was read back before it was in memory
                    taken.append(Entry(accepted_ns // 1_000_000, payload))
                    self._taken = position
                size += len(payload)
            placed.popleft()
        self._bytes_taken += size
        if (self._gates or self._exhausted) and self._half_drained():
            self._exhausted = False
            self._open_gates()
        return taken

    def _read_back(self, taken: list[Accepted | Entry | Mark], until: int, count: int) -> None:
        """Take up to position `until` from the journal."""
        if self._records_at != self._taken + 1:
            self._records = self._journal.read(self._taken)
        while self._taken < until and len(taken) < count:
            record = next(self._records, None)
            if record is None:
                raise JournalError(f"position {self._taken + 1} is not in the journal any more")
            taken.append(revived(record, self._taken + 1))
            self._taken = record.position
        self._records_at = self._taken + 1

    def put_back(self, items: Sequence[Accepted | Entry | Mark]) -> None:
        # Entries are in the journal.
        self._taken -= sum(isinstance(item, Entry) for item in items)
        self._placed.extendleft(item for item in reversed(items) if isinstance(item, Mark))

    def waiting(self) -> list[Accepted | Entry | Mark]:
        """The marks that are in. Entries are in the journal."""
        return [item for item in list(self._placed) if isinstance(item, Mark)]

    # -- The end ---------------------------------------------------------------------------------------------------

    def conclude(self) -> bool:
        # Without waiting: who holds the lock may have been interrupted by a signal handler that waits for the consumer.
        if not self._order.acquire(blocking=False):
            return False
        try:
            if len(self):
                return False
            self._sealed = True
        finally:
            self._order.release()
        return True

    def append_last(self, accepted_ns: int, entry: Entry) -> Entry | None:
        """Put `entry` in the journal and return it; None if there is no room. Once it is concluded."""
        try:
            self._taken = self._journal.append(accepted_ns, entry.payload)
        except JournalError:
            return None
        return entry

    def release(self) -> None:
        """Close the journal, once nothing is taken any more. What is not written stays in it."""
        with self._order:
            self._sealed = True
            self._journal.close()

    def _disown(self) -> None:
        super()._disown()
        self._order = threading.RLock()
