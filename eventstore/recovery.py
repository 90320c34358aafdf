"""What to do with the tail of a journal when a database is opened: the decision, and nothing but that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from eventstore.errors import DataLoss


class Tail(NamedTuple):
    """Positions `first` to `last` of a journal, none if `last` is before `first`.

    They are written to the log again; or, if they are `strange` to the log, because somebody else went on with it, set
    aside.
    """

    first: int
    last: int
    strange: bool


def instance_of(owner: str) -> str:
    """Return the instance id in the text that a fence has of its owner; empty if there is none."""
    try:
        about = json.loads(owner)
    except ValueError:
        return ""
    instance = about.get("instance", "") if isinstance(about, dict) else ""
    return instance if isinstance(instance, str) else ""


def tail(log: str, position: int, owner: str, owners: Sequence[str], first: int, last: int) -> Tail:
    """Return what of a journal has to be written again, or set aside.

    Parameters
    ----------
    log : str
        The key of the log, for the error.
    position : int
        Where the log ends.
    owner : str
        Who wrote to it last, as its fence says; empty if there is no log.
    owners : sequence of str
        The instance ids of those who wrote to the journal.
    first, last : int
        The oldest position in the journal, and the last that it ever had. ``last + 1`` and `last` if it is empty.

    Raises
    ------
    DataLoss
        If the log ends before what it had confirmed, and the journal does not reach back to it.
    """
    if owner and instance_of(owner) not in owners:
        return Tail(first, last, strange=True)
    # It is ours, or there is none: what the journal has behind its end was never confirmed, or confirmed and lost.
    if position + 1 < first and position < last:
        gone = f"ends at position {position}" if owner else "is gone"
        raise DataLoss(
            f"open {log}: the log {gone}, though it had positions up to {first - 1} when they were let go from the "
            f"journal: positions {position + 1} to {first - 1} are lost. Restore the server's data; or, to go on "
            "without them, move the journal's directory away, which keeps what is in it from being written",
            position + 1,
            first - 1,
        )
    return Tail(max(position + 1, first), last, strange=False)
