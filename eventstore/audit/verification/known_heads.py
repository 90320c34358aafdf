"""Chain heads that are known from elsewhere: anchors, and the note how far the log was archived. Pure: no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from eventstore.audit.verification.anchor import Noted
from eventstore.audit.verification.chain_check import ChainCheck
from eventstore.audit.verification.findings import Finding
from eventstore.keys import Keys
from eventstore.storage.reader import Archived


class KnownHeads:
    """Holds a log against chain heads that are known.

    Attributes
    ----------
    at : dict of int to callable
        What wants to be told the chain head at a position.
    """

    def __init__(
        self, keys: Keys, anchors: list[Noted], mark: Archived | None, report: Callable[[Finding], None]
    ) -> None:
        self._key = keys.archived
        self._anchors = anchors
        self._mark = mark
        self._report = report
        told: defaultdict[int, list[Callable[[bytes], None]]] = defaultdict(list)
        for noted in anchors:
            told[noted.anchor.position].append(partial(self._hold_anchor, noted))
        if mark is not None:
            told[mark.position].append(partial(self._hold_mark, mark.chain))
        self.at = {position: partial(_tell_all, those) for position, those in told.items()}

    def name_unmet(self, check: ChainCheck, begin: int) -> None:
        """Report what was told no chain head by `check`, which followed the chain from behind position `begin`."""
        unmet = check.unmet()
        for noted in self._anchors:
            position = noted.anchor.position
            if position not in unmet:
                continue
            if position > check.last:
                reason = f"the tail was cut: the log ends at position {check.last}"
            elif position < begin or not check.batches:
                reason = f"it can not be checked: what there is begins behind position {begin}; is there an archive?"
            else:
                reason = "no batch ends there: the log is not the same"
            self._report_anchor(noted, reason)
        mark = self._mark
        if mark is not None and mark.position in unmet and mark.position > begin:
            message = f"{self._key}: it says that the log was archived up to position {mark.position}, " + (
                f"and the log ends at {check.last}" if mark.position > check.last else "where no batch ends"
            )
            self._report(Finding("archived", message, mark.position, key=self._key))

    def _hold_anchor(self, noted: Noted, chain: bytes) -> None:
        if chain != noted.anchor.chain:
            self._report_anchor(noted, "the log has another chain head there: it is not the same", chain)

    def _hold_mark(self, expected: bytes, chain: bytes) -> None:
        if chain != expected:
            message = f"{self._key}: it has another chain head than the log has there"
            self._report(Finding("archived", message, key=self._key, expected=expected.hex(), found=chain.hex()))

    def _report_anchor(self, noted: Noted, reason: str, chain: bytes | None = None) -> None:
        self._report(
            Finding(
                "anchor",
                f"the anchor {noted} at position {noted.anchor.position}: {reason}",
                noted.anchor.position,
                file=str(noted.path),
                offset=noted.line,
                expected=noted.anchor.chain.hex(),
                found=None if chain is None else chain.hex(),
            )
        )


def _tell_all(those: list[Callable[[bytes], None]], chain: bytes) -> None:
    for each in those:
        each(chain)
