"""The chain, followed entry by entry. Pure: no I/O."""

from __future__ import annotations

from eventstore.audit.log import flush_in
from eventstore.chain import Head, LogEntry, link, next_head


class Chained:
    """Follows the chain over the entries of a log, from a place between two batches.

    Attributes
    ----------
    head : Head
        The end of the last whole batch.
    """

    def __init__(self, start: Head) -> None:
        self.head = start
        self._links: list[bytes] = []
        self._position = start.position

    @property
    def whole(self) -> bool:
        """Whether the entries that were taken end with a whole batch."""
        return not self._links

    def take(self, entry: LogEntry) -> str | None:
        """Take the entry that comes next; say what is wrong with the chain there, or None."""
        flushed = flush_in(entry)
        if flushed is not None and flushed != self.head:
            if self._links or flushed.position <= self._position:
                return f"the flush at position {entry.position} does not follow what is before it"
            self.head = flushed  # what was between is deleted
        elif entry.position != self._position + 1:
            return f"position {entry.position} stands where {self._position + 1} belongs"
        self._position = entry.position
        self._links.append(link(entry.entry_id.encode(), entry.payload))
        if entry.chain is None:
            return None
        chain = next_head(self.head.chain, self._links)
        if chain != entry.chain:
            first = entry.position - len(self._links) + 1
            return f"positions {first} to {entry.position} are not what their chain head says"
        self.head = Head(entry.position, chain)
        self._links.clear()
        return None
