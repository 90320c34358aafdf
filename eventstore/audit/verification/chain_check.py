"""Whether the entries of a log are in order, and what the chain over them says. Pure: no I/O.

Behind each damage it goes on from what stands there, so that one damage is not found a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eventstore import commands as c
from eventstore.audit.verification.findings import Finding
from eventstore.chain import CHAIN_BYTES, Head, LogEntry, Run, link, next_head

Report = Callable[[Finding], None]


class ChainCheck:
    """Takes the entries of a log, one by one, from a place between two batches on.

    Parameters
    ----------
    position : int
        Of that place.
    chain : bytes or None
        The chain head there; None if nobody knows: then the chain is followed from the first head on.
    report : callable
        Is told each finding.
    heads : mapping of int to callable
        What wants to be told the chain head at a position, if a batch ends there.

    Attributes
    ----------
    head : Head
        The end of the last batch.
    entries, batches : int
        How many were taken.
    """

    def __init__(
        self, position: int, chain: bytes | None, report: Report, heads: Mapping[int, Callable[[bytes], None]]
    ) -> None:
        self.head = Head(position, chain or b"")
        self.entries = 0
        self.batches = 0
        self.last_id = ""
        self._report = report
        self._heads = dict(heads)
        self._chain = chain
        self._links: list[bytes] = []
        self._expected = position + 1
        self._first = position + 1  # of the batch
        self._named = False  # whether something that breaks the chain of this batch is found already
        self._ms = 0
        self._epoch = 0
        self._gap_at = -1
        self._astray = -1
        if chain is not None:
            self._tell(position, chain)

    def take(self, entry: LogEntry, command: c.Command | None) -> bool:
        """Take the next entry; `command` is what it says, None if it can not be read. Whether it is one of this log."""
        entry_id, position, ms, payload, chain = entry
        if not payload:
            self._foreign(entry)
            return False
        if command.__class__ is c.Flushed:
            self._flushed(entry, command)
        elif position != self._expected and not self._placed(entry):
            return False
        if ms < self._ms:
            self._report(
                Finding("order", f"entry {entry_id} was accepted before the one before it", position, None, entry_id)
            )
        if command.__class__ is c.Opened:
            self._opened(entry, command)
        self._ms = ms
        self._expected = position + 1
        self.entries += 1
        self.last_id = entry_id
        self._links.append(link(entry_id.encode(), payload))
        if chain is not None:
            self._end_batch(entry, chain)
        return True

    def take_all(self, run: Run) -> bool:
        """Take the entries of a run at once, none of which opens or deletes a log; as `take` would, one by one.

        False, and nothing is taken, if something may be wrong with one of them: then they are for `take`.
        """
        if self._named or self._chain is None:
            return False
        if not run.goes_on(self._expected - 1, self._ms, self._chain, self._links):
            return False
        self._links = run.links_behind(self._links)
        for end in run.ends if self._heads else ():
            self._tell(run.positions[end], run.heads[end] or b"")
        if run.last_head is not None:
            position = run.positions[run.ends[-1]]
            self._chain, self._first = run.last_head, position + 1
            self.head = Head(position, run.last_head)
            self.batches += len(run.ends)
        self._ms = run.times[-1]
        self._expected = run.positions[-1] + 1
        self.entries += len(run)
        self.last_id = run.ids[-1].decode()
        return True

    def finish(self) -> None:
        """Say that no entry follows."""
        if self._links:
            last = self._expected - 1
            self._report(
                Finding(
                    "chain", f"{_positions(self._first, last)}: no chain head stands behind them", self._first, last
                )
            )

    @property
    def last(self) -> int:
        """The last position."""
        return self._expected - 1

    def unmet(self) -> dict[int, Callable[[bytes], None]]:
        """Return what was told no chain head, because no batch ended there."""
        return self._heads

    # -- Batches -----------------------------------------------------------------------------------------------

    def _end_batch(self, entry: LogEntry, chain: bytes) -> None:
        if self._chain is not None and not self._named:
            made = next_head(self._chain, self._links)
            if made != chain:
                self._report(
                    Finding(
                        "chain",
                        f"{_positions(self._first, entry.position)}: these entries do not give the chain head at their "
                        "end: something in them, the head itself or the one before was changed",
                        self._first,
                        entry.position,
                        entry.entry_id,
                        expected=made.hex(),
                        found=chain.hex(),
                    )
                )
        elif self._chain is None and len(chain) != CHAIN_BYTES:
            self._report(Finding("chain", f"entry {entry.entry_id}: that is no chain head", entry.position))
        self._chain = chain
        self._links.clear()
        self._named = False
        self._first = entry.position + 1
        self.batches += 1
        self.head = Head(entry.position, chain)
        if self._heads:
            self._tell(entry.position, chain)

    def _tell(self, position: int, chain: bytes) -> None:
        told = self._heads.pop(position, None)
        if told is not None:
            told(chain)

    # -- What may stand at a place -----------------------------------------------------------------------------

    def _foreign(self, entry: LogEntry) -> None:
        self._report(
            Finding(
                "foreign",
                f"entry {entry.entry_id} is no entry of a log: somebody else wrote it",
                entry.position,
                None,
                entry.entry_id,
            )
        )
        if entry.position == self._expected:  # in the place of one
            self._expected += 1
            self._named = True

    def _placed(self, entry: LogEntry) -> bool:
        """Name what is wrong with an entry at another position than the next one; whether to go on from it."""
        position, expected = entry.position, self._expected
        if position > expected:
            self._report(
                Finding("gap", f"missing: {_positions(expected, position - 1)}", expected, position - 1, entry.entry_id)
            )
            self._gap_at = expected
            self._break()
            return True
        if position != self._astray:
            self._report(
                Finding(
                    "order",
                    f"entry {entry.entry_id} stands behind position {expected - 1}, where {expected} belongs",
                    position,
                    None,
                    entry.entry_id,
                )
            )
        self._break()
        if position == self._gap_at:  # what seemed to be missing comes now: the entry before it is the one astray
            return True
        self._astray = position + 1
        return False

    def _break(self) -> None:
        self._named = True

    def _flushed(self, entry: LogEntry, command: c.Flushed) -> None:
        position = entry.position
        wrong = None
        if command.position != position - 1:
            wrong = f"it says that the log ended at {command.position}"
        elif position < self._expected:
            wrong = f"it stands behind position {self._expected - 1}"
        elif self._links:
            wrong = f"the batch before it, from position {self._first} on, has no end"
        elif entry.chain is None:
            wrong = "it is not alone in its batch"
        elif position == self._expected and self._chain is not None and command.chain != self._chain:
            wrong = "it says another chain head than the one before it"
        if wrong is not None:
            self._report(Finding("flush", f"the flush at position {position}: {wrong}", position, None, entry.entry_id))
        if position > self._expected or wrong is None:
            self._chain = command.chain
            self._tell(position - 1, command.chain)
        self._links.clear()
        self._named = wrong is not None
        self._first = position

    def _opened(self, entry: LogEntry, command: c.Opened) -> None:
        if command.epoch <= self._epoch:
            self._report(
                Finding(
                    "epoch",
                    f"entry {entry.entry_id}: epoch {command.epoch} was opened behind epoch {self._epoch}",
                    entry.position,
                    None,
                    entry.entry_id,
                )
            )
        self._epoch = command.epoch

    @property
    def epoch(self) -> int:
        """The last epoch that was opened; 0 if none was."""
        return self._epoch


def _positions(first: int, last: int) -> str:
    return f"position {first}" if first == last else f"positions {first} to {last}"
