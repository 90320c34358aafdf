"""What is in a journal, told without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eventstore.errors import JournalError
from eventstore.journal import files
from eventstore.journal.survey import Found, Survey, survey

State = Literal["ok", "torn", "damaged"]


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One file: whose it is, what is in it, and how it is.

    `first` and `last` are positions, None if there are no records that count; `records` is how many are whole.
    "torn" says that a record was begun at `offset` and not finished, which is no damage; "damaged" that something is
    missing there. Owner and time (UNIX nanoseconds) are None where the header can not be read.
    """

    path: Path
    number: int
    owner: str | None
    created_ns: int | None
    first: int | None
    last: int | None
    records: int
    bytes: int
    state: State
    offset: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class JournalReport:
    """All files of a journal, in order. What is None is not known, or there is none."""

    directory: Path
    trader_id: str | None
    owners: tuple[str, ...]
    first: int | None
    last: int | None
    records: int
    bytes: int
    segments: list[SegmentReport]

    @property
    def damaged(self) -> bool:
        """Whether anything is."""
        return any(segment.state == "damaged" for segment in self.segments)


def inspect(directory: Path | str) -> JournalReport:
    """Read every record of the journal in `directory`, which another process may use meanwhile. Changes nothing.

    Raises
    ------
    JournalRefused
        If it is of a newer format.
    JournalError
        If there is no journal, or it can not be read.
    """
    home = Path(directory)
    try:
        if not (home / files.LOCK).is_file():
            raise JournalError(f"{home} is no journal's directory; name one that a database was given as its journal")
        return report(home, survey(home))
    except OSError as error:
        raise JournalError(f"the journal in {home} can not be read: {error}") from error


def report(home: Path, held: Survey) -> JournalReport:
    """Describe what was found."""
    segments = [_describe(each, held) for each in held.found]
    counted = [each.counted for each in held.found if each.counted]
    return JournalReport(
        directory=home,
        trader_id=next((each.header.trader for each in reversed(held.found) if each.header), None),
        owners=held.owners,
        first=counted[0].first if counted else None,
        last=held.last,
        records=sum(segment.records for segment in segments),
        bytes=sum(segment.bytes for segment in segments),
        segments=segments,
    )


def _describe(each: Found, held: Survey) -> SegmentReport:
    state: State = "ok"
    offset: int | None = None
    reason: str | None = None
    damage = next((damage for damage in held.damages if damage.path == each.path), None)
    if damage is not None:
        state, offset, reason = "damaged", damage.offset, damage.reason
    elif held.torn is not None and held.torn.path == each.path:
        state, offset, reason = "torn", held.torn.offset, "a record was begun there and not finished"
    counted = each.stretches
    return SegmentReport(
        path=each.path,
        number=each.number,
        owner=each.header.owner if each.header else None,
        created_ns=each.header.created_ns if each.header else None,
        first=counted[0].first if counted else None,
        last=counted[-1].last if counted else None,
        records=sum(stretch.total for stretch in counted),
        bytes=each.size,
        state=state,
        offset=offset,
        reason=reason,
    )
