"""What a verification has found: each thing by its kind and place, and no more of them kept than people read."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

KINDS: Final = {
    "chain": "the entries of a batch are not what the chain head at its end says",
    "gap": "positions are missing",
    "order": "positions or times do not rise from one entry to the next",
    "undecodable": "an entry is no command that can be read",
    "foreign": "something stands in the log that is no entry of a log",
    "flush": "an entry that says what a flush deleted does not fit what is there",
    "epoch": "a writer opened the log in an epoch that is not above the one before",
    "fence": "the log does not end where the fence says",
    "archived": "the note how far the log was archived does not fit the log or its archive",
    "anchor": "the log is not the one whose chain head was noted earlier",
    "checkpoint": "the log does not reach back to the checkpoint",
    "segment": "a file of the archive is not what was sealed",
    "archive_differs": "an entry in the archive is not the one that the server has",
    "schema": "the description of records and commands for other readers was changed",
    "view_missing": "a field or member that the log gives is not in the views",
    "view_extra": "something is in the views that the log does not give",
    "view_different": "a field of the views has another value than the log gives",
    "view_foreign": "a key of a view holds another type than a view",
}
"""Every kind of finding, and what it says."""

KEPT_MAX: Final = 1000


class Finding(NamedTuple):
    """One thing that is wrong, and where. What does not apply is None.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    message : str
        What is wrong, for people.
    position : int or None
        In the log; of several entries, the first.
    last : int or None
        Of several entries, the last position.
    entry_id : str or None
    key, field : str or None
        Of a view.
    file : str or None
        Of an archive, or of anchors.
    offset : int or None
        Bytes into the file; of anchors, the line.
    expected, found : str or None
        Both values, decoded and shortened for people.
    """

    kind: str
    message: str
    position: int | None = None
    last: int | None = None
    entry_id: str | None = None
    key: str | None = None
    field: str | None = None
    file: str | None = None
    offset: int | None = None
    expected: str | None = None
    found: str | None = None


class Findings:
    """Collects findings: all are counted, the first `KEPT_MAX` are kept.

    Attributes
    ----------
    kept : list of Finding
    counts : Counter
        How many there are of each kind.
    """

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, finding: Finding) -> None:
        """Count it, and keep it if there is room."""
        self.counts[finding.kind] += 1
        if len(self.kept) < KEPT_MAX:
            self.kept.append(finding)

    @property
    def total(self) -> int:
        """How many there are, kept or not."""
        return self.counts.total()
