"""What a verification tells. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from eventstore.audit.verification.findings import Finding
from eventstore.chain import Head
from eventstore.model.identifiers import TraderId


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification has found, and what it was about.

    Attributes
    ----------
    trader_id : TraderId
    begin : int
        The position behind which the chain was followed.
    whole : bool
        Whether nothing was before that: it is the beginning of the log, or a flush deleted what was.
    end : Head
        The last position that was read, and the chain head at the last end of a batch.
    entries, batches : int
        How many were read.
    segments : int
        Files of the archive that were checked.
    shared : int
        Entries that both archive and server have, and that were compared.
    anchors : int
        Anchors that were given; each that the log does not meet is a finding.
    findings : list of Finding
        The first ones.
    counts : dict of str to int
        All of them, by kind.
    views : int or None
        Keys of views that were compared; None if they were not.
    views_because : str or None
        Why they were not.
    leftovers : int
        Keys that a rebuild left which was interrupted; they do no harm.
    """

    trader_id: TraderId
    begin: int
    whole: bool
    end: Head
    entries: int
    batches: int
    segments: int
    shared: int
    anchors: int
    findings: list[Finding] = field(repr=False)
    counts: dict[str, int]
    views: int | None
    views_because: str | None
    leftovers: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.counts
