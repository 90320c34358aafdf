"""What this process knows of each aggregate: how far its history is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Life:
    """The written history of one aggregate: the version of its next event, its first event and the last one written."""

    __slots__ = ("_before_purged", "amendments", "busy", "first", "last", "purging", "version")

    def __init__(self, version: int, events: Sequence[Any], amendments: int = 0) -> None:
        self.version = version
        self.first: Any = None
        self.last: Any = None
        if events:
            self.first, self.last = events[0], events[-1]
        self.amendments = amendments
        """How many of an order's amendments are written."""
        self._before_purged: tuple[Any, ...] = ()
        # An update must not be accepted behind the purge of what it continues, and takes no lock. So it raises `busy`
        # before it looks at `purging`, and who purges raises `purging` before it looks at `busy`: one of them sees the
        # other. What is purged stays `purging`.
        self.busy = False
        """Whether an update of it is under way."""
        self.purging = False
        """Whether it is being purged, or was."""

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event written."""
        return None if self.last is None else self.last.event_id

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
            if events[i] is last or events[i] == last or events[i] in self._before_purged:
                return tuple(events[i + 1 :])
        return tuple(events) if None in self._before_purged else None

    def purged(self, event: Any, remaining: Sequence[Any]) -> None:
        """Note that the written `event` was deleted; `remaining` are those that are left, by version.

        An aggregate that never had it, or has it no more, goes on from the last of those.
        """
        if event == self.last or event in self._before_purged:
            self._before_purged = (*self._before_purged, remaining[-1] if remaining else None)

    def is_forked_by(self, events: Sequence[Any]) -> bool:
        """Whether `events`, of which `tail` knows nothing, began like this history all the same."""
        return bool(events[0] == self.first)

    def written(self, events: tuple[Any, ...]) -> None:
        """Note that `events`, which `tail` gave, are accepted."""
        if events:
            self.version += len(events)
            self.last = events[-1]
            self._before_purged = ()


class Meanwhile:
    """What was deleted or purged while a load is under way, which must not learn it."""

    def __init__(self) -> None:
        self._all = False
        self._ids: set[tuple[int, str]] = set()

    def forget(self, lives: dict[str, Life], aggregate_id: str) -> None:
        """Note that `aggregate_id` is not one of `lives` any more."""
        self._ids.add((id(lives), aggregate_id))

    def forget_all(self) -> None:
        """Note that everything is gone."""
        self._all = True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was deleted or purged."""
        return not (self._all or self._ids)

    def is_gone(self, lives: dict[str, Life], aggregate_id: str) -> bool:
        """Whether `aggregate_id` is not one of `lives` any more."""
        return self._all or (id(lives), aggregate_id) in self._ids
