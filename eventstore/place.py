"""Where the records of an order's events stand, and so what they may leave out. Pure: no I/O.

An order's id is in the command that brings an event and in the name of the hash that keeps it, and a log is one
trader's. So the event's record there says neither once more. `docs/redis-layout.md` has the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Place: TypeAlias = tuple[str, str]
"""The trader id of the log, and the id of the order whose record it is. A plain pair: the writer makes one a record."""

_BEGIN = "{trader-"
_ORDER = "}:order:"


def place_in(key: str) -> Place | None:
    """Return the place of the events in the hash `key`; None if it is not that of an order, in any of its lives."""
    trader_id, found, order_id = key.partition(_ORDER)
    if not found or not trader_id.startswith(_BEGIN):
        return None
    # No id holds a brace, so the first one is that of an earlier life.
    return trader_id[len(_BEGIN) :], order_id.partition("{")[0]


def places_in(keys: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the trader id and the order id of each of `keys`; none unless all are those of one trader's orders."""
    place = place_in(keys[0]) if keys else None
    if place is None:
        return None, []
    trader_id = place[0]
    prefix = f"{_BEGIN}{trader_id}{_ORDER}"
    order_ids = [key.removeprefix(prefix) for key in keys]
    if "{" in "".join(order_ids):  # which none of them is then: they are the keys, or those of earlier lives
        return None, []
    return trader_id, order_ids
