"""What an import has to tell beside what it imported."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

LOST: Final = {
    "unreadable": "a value that can not be read, or is of no type that is known",
    "refused": "something that a store does not take, such as an event that does not follow from those before it",
    "missing": "something that a value needs is not there",
    "foreign": "a key that is none of the cache's, or something of another trader",
    "not_kept": "a field that the record here has no place for",
}
"""Kinds of findings: what the store does not have."""

TOLD: Final = {
    "repeated": "an event that stands there twice; it is kept once",
    "rebuilt": "earlier history that was deleted, rebuilt from what else there is",
    "gone": "earlier history that was deleted and can not be rebuilt",
    "assumed": "something that the source does not say, and that makes a difference",
    "corrected": "something that was not what the events say; now it is",
}
"""Kinds of findings: where the store has all that there was, though not as it stood there."""

LISTED_MAX: Final = 1000


class Finding(NamedTuple):
    """Something about one value.

    Attributes
    ----------
    kind : str
        One of `LOST` or `TOLD`.
    key : str
        Where it stands, as the source names it.
    place : int, optional
        Of a list, the place in it, counted from 0.
    reason : str
        What about it, for people.
    """

    kind: str
    key: str
    place: int | None
    reason: str


class Findings:
    """Collects findings: how many there are of each kind, and the first `LISTED_MAX`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.listed: list[Finding] = []

    def add(self, kind: str, key: str, reason: object, place: int | None = None) -> None:
        """Note a finding of `kind`."""
        self.counts[kind] += 1
        if len(self.listed) < LISTED_MAX:
            text = " ".join(str(reason).split())
            # Whatever bytes the source holds, this is shown and goes into JSON.
            shown = text[:500].encode("utf-8", "backslashreplace").decode()
            self.listed.append(Finding(kind, key.encode("utf-8", "backslashreplace").decode(), place, shown))

    @property
    def lost(self) -> int:
        """How many things the store does not have."""
        return sum(self.counts[kind] for kind in LOST)
