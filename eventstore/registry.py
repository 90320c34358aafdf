"""What this process knows of each aggregate: how far its history is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Life:
    """The written history of one aggregate: the version of its next event, and the last event written."""

    __slots__ = ("amendments", "last", "version")

    def __init__(self, version: int, last: Any, amendments: int = 0) -> None:
        self.version = version
        self.last = last
        self.amendments = amendments
        """How many of an order's amendments are written."""

    def amended(self, order: Any) -> tuple[Any, ...] | None:
        """Return all amendments of `order` if there are some that are not written, otherwise None."""
        amendments = order._amendments
        return None if amendments is None or len(amendments) == self.amendments else tuple(amendments)

    def tail(self, events: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the events behind the last one written, or None if that is not among `events`.

        The usual case, exactly one new event, is told apart without a search.
        """
        last = self.last
        if len(events) > 1 and events[-2] is last:
            return (events[-1],)
        for i in range(len(events) - 1, -1, -1):
            if events[i] is last or events[i] == last:
                return tuple(events[i + 1 :])
        return None

    def written(self, events: tuple[Any, ...]) -> None:
        """Note that `events`, which `tail` gave, are accepted."""
        if events:
            self.version += len(events)
            self.last = events[-1]
