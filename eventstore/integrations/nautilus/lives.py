"""What this process has written of each object of NautilusTrader. Events are the same if their ids are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventstore.integrations.nautilus.amendments import Watch
from eventstore.integrations.nautilus.capturing import CHECKED_FILLS, Seen, SeenPosition
from eventstore.model.order_amendments import Amendment
from eventstore.registry import Life


class _NautilusLife(Life):
    __slots__ = ()

    @property
    def last_event_id(self) -> str | None:
        return None if self.last is None else str(self.last.id.value)


class OrderLife(_NautilusLife):
    """The written history of an order, the order itself while it is not closed, and what finds its amendments."""

    __slots__ = ("count", "loaded_amendments", "nautilus_id", "order", "order_id", "venue_order_id", "watch")

    def __init__(self, nautilus_id: Any, version: int, events: Sequence[Any], watch: Watch | None) -> None:
        super().__init__(version, events)
        self.first = None  # Nobody asks for it here, and it takes more memory than all the rest.
        self.nautilus_id = nautilus_id
        self.order_id: str = nautilus_id.value
        self.order: Any = None
        self.count = len(events)
        """How many events `order` had when it was last looked at."""
        self.venue_order_id: Any = None
        self.watch = watch
        """Finds the amendments; None for an order that was closed when it was loaded, as most are."""
        self.loaded_amendments: Sequence[Amendment] = ()
        """The amendments that it was loaded with."""

    def new_events(self, seen: Seen) -> tuple[Any, ...] | None:
        """Return the events behind the last one written, or None if that is not among those of `seen`."""
        last = self.last
        # Its events are only added to: as many as then, and one more, are those of then and the last one.
        if seen.order is self.order and seen.event_count == self.count + 1:
            return (seen.last_event,)
        events = seen.events
        if len(events) > 1 and events[-2] is last:
            return (events[-1],)
        for i in range(len(events) - 1, -1, -1):
            if events[i] is last:
                return tuple(events[i + 1 :])
        if last is not None:
            last_id = last.id
            for i in range(len(events) - 1, -1, -1):
                if events[i].id == last_id:
                    return tuple(events[i + 1 :])
        return None


class PositionLife(_NautilusLife):
    """The written fills of the present cycle of a position.

    NautilusTrader takes the fills of a purged order out of a live position. So how many there are does not tell which
    of them are new.
    """

    __slots__ = ("closed", "count", "fills")

    def __init__(self, version: int, events: Sequence[Any], closed: bool) -> None:
        super().__init__(version, events)
        self.closed = closed
        self.fills = list(events)
        self.count = len(self.fills)
        """How many fills the position had when it was last looked at."""

    def new_fills(self, seen: SeenPosition) -> tuple[Any, ...] | None:
        """Return the fills of a position that are not written, or None if it is a new cycle."""
        count, last, fills = seen.fill_count, seen.last, seen.fills
        if count == self.count + 1 and count > 1:
            if fills is None:
                if last is not self.last:
                    return (last,)
            elif count <= CHECKED_FILLS and fills[-2] is self.last:
                return (last,)
        known = set(self.fills)
        fills = seen.all_fills()
        new = tuple([fill for fill in fills if fill not in known])
        return None if self.closed and new and len(new) == len(fills) else new

    def is_another(self, seen: SeenPosition) -> bool:
        """Whether a position has none of the written fills."""
        return not set(self.fills).intersection(seen.all_fills())

    def took(self, seen: SeenPosition, fills: tuple[Any, ...]) -> None:
        """Note that `fills`, which `new_fills` gave, are accepted."""
        self.written(fills)
        self.fills.extend(fills)
        self.count = seen.fill_count
        self.closed = seen.closed


class AccountLife(_NautilusLife):
    """The written history of an account, of which NautilusTrader may have purged the older events.

    Parameters
    ----------
    nautilus_id : nautilus_trader.model.identifiers.AccountId
    versions : mapping
        The version of each event that the view holds, by the event's id.
    """

    __slots__ = ("_versions", "account_id", "count", "nautilus_id", "noted")

    def __init__(self, nautilus_id: Any, version: int, events: Sequence[Any], versions: dict[str, int]) -> None:
        super().__init__(version, events)
        self.nautilus_id = nautilus_id
        self.account_id: str = nautilus_id.value
        self._versions = versions
        self.noted: list[tuple[int, Any]] = []
        """Events that were written since, and the version of each."""
        self.count = len(events)
        """How many events the account had when it was last looked at."""

    def new_events(self, account: Any) -> tuple[Any, ...]:
        """Return the events of `account` that are not written."""
        last, last_event = self.last, account.last_event
        if last_event is last:
            return ()
        if account.event_count == self.count + 1:
            return (last_event,)
        events = account.events
        if last is not None:
            last_id = last.id
            for i in range(len(events) - 1, -1, -1):
                if events[i].id == last_id:
                    return tuple(events[i + 1 :])
        # Whatever was written before is purged: the oldest go first.
        return tuple(events)

    def took(self, count: int, events: tuple[Any, ...]) -> None:
        """Note that `events`, which `new_events` gave of an account that has `count`, are accepted."""
        for event in events:
            self.noted.append((self.version, event))
            self.version += 1
        self.last = events[-1]
        self.count = count

    def delete(self, event_id: str) -> int | None:
        """Return the version of an event that is deleted, or None if the view does not hold it."""
        for version, event in self.noted:
            self._versions[event.id.value] = version
        self.noted.clear()
        return self._versions.pop(event_id, None)
