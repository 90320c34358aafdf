"""What an id is the id of, in a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eventstore import commands as c
from eventstore.audit.log import Log
from eventstore.audit.reading.facts import FactReader, Facts
from eventstore.chain import LogEntry
from eventstore.codec import Serializer
from eventstore.errors import AuditError

ROLES = ("order", "venue_order", "trade", "position", "account", "strategy", "actor")
"""What can be explained."""

_NAMES = {
    "order": "orders",
    "venue_order": "venue_orders",
    "trade": "trades",
    "position": "positions",
    "account": "accounts",
    "strategy": "strategies",
}


class Subject(NamedTuple):
    """Something with a life in the log: `role` is one of `ROLES`."""

    role: str
    id: str

    @property
    def needle(self) -> bytes:
        """What every entry holds that names it."""
        return self.id.encode()

    def __str__(self) -> str:
        return f"{self.role.replace('_', ' ')} {self.id}"


def find_subjects(
    log: Log,
    an_id: str,
    serializer: Serializer | None = None,
    on_entry: Callable[[LogEntry], object] | None = None,
) -> list[Subject]:
    """Return what `an_id` is the id of, in the order of `ROLES`. The venue's id of an order stands for that order.

    Reads the whole log; what does not hold the text is not decoded.

    Raises
    ------
    AuditError
        If the log names nothing of that id.
    LogGap, DamagedRecord
        If the log has gaps, or can not be read.
    """
    needle = an_id.encode()
    reader = FactReader(log.trader_id, serializer, remember=False)
    found: set[Subject] = set()
    for entry in log.entries(log.start().position):
        if on_entry is not None:
            on_entry(entry)
        if needle in entry.payload:
            facts = reader.read(entry)
            found.update(roles_in(facts, an_id))
    if not found:
        raise AuditError(
            f"nothing in the log of {log.trader_id} has the id {an_id!r:.80}: looked for "
            f"{', '.join(role.replace('_', ' ') for role in ROLES)} ids. Ids are case-sensitive; "
            "what was archived is found only if the archive is named, too. `eventstore log --id` shows whatever names "
            "an id, instruments and clients included"
        )
    return sorted(found, key=lambda subject: (ROLES.index(subject.role), subject.id))


def roles_in(facts: Facts, an_id: str) -> set[Subject]:
    """Return what `an_id` is in one entry."""
    found = {Subject(role, an_id) for role, name in _NAMES.items() if an_id in getattr(facts, name)}
    if an_id in facts.components and not isinstance(facts.command, c.UpdateStrategy | c.DeleteStrategy):
        found.add(Subject("actor", an_id))
    venue = Subject("venue_order", an_id)
    if venue in found:
        found.remove(venue)
        found.update(Subject("order", order_id) for order_id in _orders_at_venue(facts, an_id))
    return found


def _orders_at_venue(facts: Facts, venue_order_id: str) -> set[str]:
    command = facts.command
    if isinstance(command, c.IndexVenueOrderId):
        return {command.order_id}
    return {event.client_order_id for event in facts.events if getattr(event, "venue_order_id", None) == venue_order_id}
