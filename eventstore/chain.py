"""The chain over a log, which shows that something inside was changed. Pure: no I/O.

The head starts as `GENESIS`. The head behind a batch is BLAKE2b over the head before it and, of each entry of the
batch, its id, a space, the length of its command in bytes as decimal text, a line feed, and the command. The last entry
of each batch shows the head behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress, repeat
from typing import NamedTuple

CHAIN_BYTES = 32
GENESIS = bytes(CHAIN_BYTES)


class LogEntry(NamedTuple):
    """One entry of the log. `chain` is the chain head behind it, where it ends a batch.

    `payload` is the command, as `eventstore.commands.encode` makes it; empty where something stands in the log that no
    writer of this library wrote.
    """

    entry_id: str
    position: int
    accepted_ms: int
    payload: bytes
    chain: bytes | None


class Head(NamedTuple):
    """A place in the log between two batches: the last position before it, and the chain head there."""

    position: int
    chain: bytes


BEGIN = Head(0, GENESIS)


class Run:
    """Entries that stand one behind the other, by columns: what is asked of all of them is asked at once.

    Attributes
    ----------
    times, positions : sequence of int
        `accepted_ms` and `position` of each.
    payloads : sequence of bytes
    heads : sequence of bytes or None
        `chain` of each.
    """

    def __init__(
        self,
        times: Sequence[int],
        positions: Sequence[int],
        payloads: Sequence[bytes],
        heads: Sequence[bytes | None],
        ids: Sequence[bytes] | None = None,
    ) -> None:
        self.times = times
        self.positions = positions
        self.payloads = payloads
        self.heads = heads
        if ids is not None:
            self.ids = ids
        self._made: tuple[bytes, list[bytes], list[bytes]] | None = None

    @classmethod
    def of(cls, entries: Iterable[LogEntry]) -> Run:
        """Return a run of those entries."""
        ids, positions, times, payloads, heads = zip(*entries, strict=True)
        return cls(times, positions, payloads, heads, [entry_id.encode() for entry_id in ids])

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def ids(self) -> Sequence[bytes]:
        """The id of each."""
        return list(map(b"%d-%d".__mod__, zip(self.times, self.positions, strict=True)))

    @cached_property
    def links(self) -> list[bytes]:
        """What each adds to the chain, as `link` makes it."""
        lengths = map(len, self.payloads)
        return list(map(b"%b %d\n%b".__mod__, zip(self.ids, lengths, self.payloads, strict=True)))

    @cached_property
    def ends(self) -> list[int]:
        """The indexes of those that end a batch."""
        return [i for i, head in enumerate(self.heads) if head is not None]

    def entries(self) -> list[LogEntry]:
        """Return them one by one."""
        ids = b" ".join(self.ids).decode().split(" ")
        columns = zip(ids, self.positions, self.times, self.payloads, self.heads, strict=True)
        return list(map(tuple.__new__, repeat(LogEntry), columns)) if len(self) else []

    def only(self, wanted: Iterable[bool]) -> Run:
        """Return a run of those for which `wanted` says true."""
        kept = list(wanted)
        return Run(
            tuple(compress(self.times, kept)),
            tuple(compress(self.positions, kept)),
            tuple(compress(self.payloads, kept)),
            tuple(compress(self.heads, kept)),
            tuple(compress(self.ids, kept)),
        )

    def part(self, begin: int, end: int) -> Run:
        """Return a run of those from index `begin` on, up to the one before `end`."""
        columns = (self.times[begin:end], self.positions[begin:end], self.payloads[begin:end], self.heads[begin:end])
        return Run(*columns, self.ids[begin:end])

    def singly(self) -> Iterator[Run]:
        """Yield a run for each."""
        return (self.part(i, i + 1) for i in range(len(self)))

    @cached_property
    def _is_gapless(self) -> bool:
        first = self.positions[0]
        return tuple(self.positions) == tuple(range(first, first + len(self))) and all(self.payloads)

    @cached_property
    def _is_in_time(self) -> bool:
        times = list(self.times)
        return times == sorted(times)

    def is_behind(self, position: int) -> bool:
        """Whether they have the positions behind that one, without a gap, and all of them a payload."""
        return not len(self) or (self.positions[0] == position + 1 and self._is_gapless)

    def goes_on(self, position: int, ms: int, head: bytes, links: Sequence[bytes]) -> bool:
        """Whether they go on from there as a log does: in positions, times and chain heads.

        Parameters
        ----------
        position, ms : int
            Of the entry before.
        head : bytes
            The last chain head before.
        links : sequence of bytes
            What the entries behind that one add to the chain.
        """
        return (
            self.is_behind(position)
            and (not len(self) or (self.times[0] >= ms and self._is_in_time))
            and self._heads_made(head, links) == [self.heads[end] for end in self.ends]
        )

    def _heads_made(self, head: bytes, links: Sequence[bytes]) -> list[bytes]:
        """The head that each batch makes that ends here, with the one that stands before it."""
        if self._made is None or self._made[:2] != (head, links):  # both who reads a file and who reads a log ask
            made, before, pending, begin = list[bytes](), head, links, 0
            for end in self.ends:
                made.append(next_head(before, [*pending, *self.links[begin : end + 1]]))
                before, pending, begin = self.heads[end] or b"", (), end + 1
            self._made = head, list(links), made
        return self._made[2]

    @property
    def last_head(self) -> bytes | None:
        """The head behind the last batch that ends here; None if none does."""
        return self.heads[self.ends[-1]] if self.ends else None

    def links_behind(self, links: list[bytes]) -> list[bytes]:
        """Return the links behind the last head: of these entries, or also those before, if no batch ends here."""
        return self.links[self.ends[-1] + 1 :] if self.ends else [*links, *self.links]


def link(entry_id: bytes, payload: bytes) -> bytes:
    """Return what an entry adds to the chain."""
    return b"%b %d\n%b" % (entry_id, len(payload), payload)


def next_head(head: bytes, links: list[bytes]) -> bytes:
    """Return the head behind a batch of entries, from the one before it and the `link` of each."""
    return hashlib.blake2b(b"".join([head, *links]), digest_size=CHAIN_BYTES).digest()


class NextHead:
    """The head behind a batch of entries, made piece by piece from the one before it."""

    def __init__(self, head: bytes) -> None:
        self._hash = hashlib.blake2b(head, digest_size=CHAIN_BYTES)

    def extend(self, entry_ids: Sequence[str], payloads: Sequence[bytes]) -> None:
        """Add the `link` of each entry; in parts, which takes less than to put them together."""
        update = self._hash.update
        for entry_id, payload in zip(entry_ids, payloads, strict=True):
            update(f"{entry_id} {len(payload)}\n".encode())
            update(payload)

    def digest(self) -> bytes:
        """Return the head behind all that was added."""
        return self._hash.digest()
