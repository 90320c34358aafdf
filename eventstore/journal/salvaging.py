"""Saving what is whole in a damaged journal, so that it can be opened again, with the gaps filled by name."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from eventstore.errors import JournalError
from eventstore.journal import files
from eventstore.journal.aside import write_records
from eventstore.journal.header import HEADER_BYTES, OWNERS_MAX, Header, encode
from eventstore.journal.record import HEAD_BYTES, JournalRecord, record_bytes
from eventstore.journal.scan import Stretch
from eventstore.journal.survey import Found, Survey, survey

_SEGMENT_BYTES: Final = 64 << 20
_NOBODY: Final = "unknown"

Placeholder = Callable[[int, str], bytes]
"""What stands at a position that is lost, for the reason given: the bytes of a command that says so."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Positions that could not be saved, and where they were. `first` and `last` are None where nobody can tell."""

    path: Path
    offset: int
    first: int | None
    last: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a salvage did: `records` were saved, `lost` were not; the files in `moved` are kept as evidence."""

    directory: Path
    records: int
    lost: list[Lost]
    moved: list[Path]
    torn: tuple[Path, int] | None


class _Piece(NamedTuple):
    """Whole records of one file, and how they follow those of the pieces before."""

    found: Found
    stretch: Stretch


class _Gap(NamedTuple):
    """Positions between two pieces that belong to nobody else."""

    first: int
    last: int
    path: Path
    offset: int
    reason: str


def salvage(
    directory: Path | str, placeholder: Placeholder, *, trader_id: str | None = None, owner: str | None = None
) -> Salvaged:
    """Copy what is whole into new files, fill what is missing in between, and move damaged files to ``damaged/``.

    Of a journal that is not damaged nothing is changed. If this is killed at any point, the journal is as it was, or
    can be salvaged again.

    Parameters
    ----------
    trader_id, owner : str, optional
        Whose it is, and the instance that wrote last, for where no header tells.

    Raises
    ------
    JournalRefused
        If a process uses it, or it is of a newer format.
    JournalError
        If there is no journal, it can not be read or written, or nothing tells whose it is.
    """
    home = Path(os.path.realpath(directory))
    try:
        if not (home / files.LOCK).is_file():
            raise JournalError(f"{home} is no journal's directory; name one that a database was given as its journal")
        lock = files.lock(home)
        try:
            return _salvage(home, placeholder, trader_id, owner)
        finally:
            lock.drop()
    except OSError as error:
        raise JournalError(
            f"the journal in {home} can not be salvaged: {error}; make room for a copy of it, or work on a copy"
        ) from error


def _salvage(home: Path, placeholder: Placeholder, trader_id: str | None, owner: str | None) -> Salvaged:
    for unfinished in home.glob(f"*{files.UNFINISHED}"):
        unfinished.unlink()
    held = survey(home)
    if not held.damages:
        return Salvaged(home, 0, [], [], held.torn)
    header = _identity(home, held, trader_id, owner)
    pieces = _pieces(held)
    gaps = _gaps(held, pieces)
    lost = [Lost(gap.path, gap.offset, gap.first, gap.last, gap.reason) for gap in gaps]
    lost += [
        Lost(damage.path, damage.offset, None, None, damage.reason)
        for damage in held.damages
        if not any(gap.path == damage.path for gap in gaps)
    ]
    made = _write(home, header, held, _filled(pieces, gaps, placeholder))
    # From the last one to the first: until that has its name, the damaged files are what counts, and refused.
    for path in reversed(made):
        path.rename(path.with_suffix(".seg"))
        files.sync_directory(home)
    moved = _clear(home, held)
    return Salvaged(home, sum(piece.stretch.total for piece in pieces), lost, moved, held.torn)


def _identity(home: Path, held: Survey, trader_id: str | None, owner: str | None) -> Header:
    """The header of the new files, but for what is each one's own."""
    known = [each.header for each in held.found if each.header]
    trader = known[-1].trader if known else trader_id
    if trader is None:
        raise JournalError(
            f"no file in {home} tells whose it is; name the trader, and who wrote last: --trader and --owner"
        )
    if trader_id not in (None, trader):
        raise JournalError(f"{home} is the journal of {trader}, and not of {trader_id}")
    owners = tuple(each for each in held.owners if each != owner) + ((owner,) if owner else ())
    return Header(
        schema=max((each.schema for each in known), default=0),
        trader=trader,
        segment=0,
        owner=owners[-1] if owners else _NOBODY,
        owners=owners[-OWNERS_MAX:] or (_NOBODY,),
        base=0,
        after=None,
        created_ns=time.time_ns(),
    )


def _pieces(held: Survey) -> list[_Piece]:
    """Everything whole that counts, in order. Where two overlap, the later one is right."""
    pieces: list[_Piece] = []
    for each in held.found:
        for stretch in each.stretches:
            while pieces and pieces[-1].stretch.first >= stretch.first:
                pieces.pop()
            if pieces and pieces[-1].stretch.last >= stretch.first:
                before = pieces.pop()
                pieces.append(before._replace(stretch=before.stretch._replace(last=stretch.first - 1)))
            pieces.append(_Piece(each, stretch))
    return pieces


def _gaps(held: Survey, pieces: list[_Piece]) -> list[_Gap]:
    """What is missing before and between the pieces. Positions that a journal never had are no gap."""
    gaps = (_gap(held, before, piece) for before, piece in itertools.pairwise([None, *pieces]) if piece)
    return [gap for gap in gaps if gap]


def _gap(held: Survey, before: _Piece | None, piece: _Piece) -> _Gap | None:
    found, stretch = piece
    header = found.header
    if before is not None:
        reached = before.stretch.last
    elif header is not None and header.after is not None:
        reached = header.base
    else:
        return None  # nobody knows where it began
    last = stretch.first - 1
    if before is not None and before.found is found:
        damage = found.scan.damage
        reason = damage.reason if damage else "there is no record"
        return _Gap(reached + 1, last, found.path, before.stretch.end, reason) if reached < last else None
    between = [each for each in held.found if (before.found.number if before else 0) <= each.number <= found.number]
    if stretch == found.scan.stretch and header is not None and header.after is not None:
        # It may begin beyond what was before it: others wrote to the log meanwhile.
        last = min(last, header.after)
    elif last - reached > sum(each.size for each in between) // HEAD_BYTES:
        return None  # more than those files could ever hold
    if reached >= last:
        return None
    names = {each.path for each in between}
    damage_between = next((damage for damage in held.damages if damage.path in names), None)
    if damage_between is None:
        return _Gap(reached + 1, last, found.path, HEADER_BYTES, "they are missing before this file")
    return _Gap(reached + 1, last, damage_between.path, damage_between.offset, damage_between.reason)


def _filled(pieces: list[_Piece], gaps: list[_Gap], placeholder: Placeholder) -> Iterator[JournalRecord]:
    waiting = list(gaps)
    accepted_ns = 0
    for found, stretch in pieces:
        for record in found.records(stretch):
            while waiting and waiting[0].last < record.position:
                gap = waiting.pop(0)
                reason = f"{gap.path.name}: offset {gap.offset}: {gap.reason}"
                for position in range(gap.first, gap.last + 1):
                    yield JournalRecord(position, accepted_ns or record.accepted_ns, placeholder(position, reason))
            accepted_ns = record.accepted_ns
            yield record


def _write(home: Path, header: Header, held: Survey, records: Iterator[JournalRecord]) -> list[Path]:
    """Write `records` into new files that do not have their names yet; return them in order."""
    made: list[Path] = []
    number = max((each.number for each in held.found), default=0)
    reached: int | None = None
    known = held.base
    following = next(records, None)
    while following is not None or not made:
        number += 1
        base = reached if reached is not None else (following.position - 1 if following else known)
        exact = reached is None or (following is not None and following.position != reached + 1)
        batch = _Batch(records, following)
        path = files.segment_path(home, number).with_suffix(files.UNFINISHED)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _, last = write_records(fd, number, batch)
            files.write_all(fd, encode(header._replace(segment=number, base=base, after=base if exact else None)), 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        made.append(path)
        reached = last or reached
        following = batch.following
    return made


class _Batch(Iterator[JournalRecord]):
    """The records of one file: consecutive, and no more than fit. `following` is the first one of the next."""

    def __init__(self, records: Iterator[JournalRecord], first: JournalRecord | None) -> None:
        self._records = records
        self._room = _SEGMENT_BYTES - HEADER_BYTES
        self._expected = first.position if first else 0
        self.following = first

    def __next__(self) -> JournalRecord:
        record = self.following
        if record is None or record.position != self._expected or self._room <= 0:
            raise StopIteration
        self._room -= record_bytes(len(record.payload))
        self._expected += 1
        self.following = next(self._records, None)
        return record


def _clear(home: Path, held: Survey) -> list[Path]:
    """Move the damaged files away, and delete those that were copied; return where the damaged ones are."""
    damaged = home / files.DAMAGED
    damaged.mkdir(mode=0o700, exist_ok=True)
    moved = []
    for each in held.found:
        if any(damage.path == each.path for damage in held.damages):
            each.path.rename(damaged / each.path.name)
            moved.append(damaged / each.path.name)
        else:
            each.path.unlink()
    files.sync_directory(damaged)
    files.sync_directory(home)
    return moved
