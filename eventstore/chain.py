"""The chain over a log, which shows that something inside was changed. Pure: no I/O.

The head starts as `GENESIS`. The head behind a batch is BLAKE2b over the head before it and, of each entry of the
batch, its id, a space, the length of its command in bytes as decimal text, a line feed, and the command. The last entry
of each batch shows the head behind it.
"""

from __future__ import annotations

import hashlib
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


def link(entry_id: bytes, payload: bytes) -> bytes:
    """Return what an entry adds to the chain."""
    return b"%b %d\n%b" % (entry_id, len(payload), payload)


def next_head(head: bytes, links: list[bytes]) -> bytes:
    """Return the head behind a batch of entries, from the one before it and the `link` of each."""
    return hashlib.blake2b(b"".join([head, *links]), digest_size=CHAIN_BYTES).digest()
