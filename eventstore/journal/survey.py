"""What the segments of a journal hold together: which records count, what was never finished, what is damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from eventstore.errors import JournalDamaged, JournalRefused
from eventstore.journal import files
from eventstore.journal.header import HEADER_BYTES, Header, decode
from eventstore.journal.record import JournalRecord, start_value
from eventstore.journal.scan import Damage, Scan, Stretch, read_block, read_window, scan


class Torn(NamedTuple):
    """Where a record was begun and not finished, or the very last one is not whole: it is dropped."""

    path: Path
    offset: int


@dataclass(slots=True)
class Found:
    """One segment as it was found."""

    path: Path
    number: int
    size: int
    """Bytes of the file."""
    header: Header | None
    refused: JournalDamaged | None
    """Why there is no header."""
    scan: Scan
    limit: int | None = None
    """The last position that may count here; None: all do. A later segment says so."""

    @property
    def counted(self) -> Stretch | None:
        """The records that count, of those that nothing is broken before; `end` is then that of all of them."""
        return _cut(self.scan.stretch, self.limit)

    @property
    def stretches(self) -> list[Stretch]:
        """All whole records that may count, with what is lost in between."""
        cut = (_cut(stretch, self.limit) for stretch in self.scan.stretches)
        return [stretch for stretch in cut if stretch]

    def records(self, stretch: Stretch) -> Iterator[JournalRecord]:
        """Read the records of `stretch`."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            offset = stretch.begin
            while offset < stretch.end:
                found = read_window(fd, offset, stretch.end, start_value(self.number), None)
                yield from (record for record in found.records if record.position <= stretch.last)
                if found.ending != "more":
                    return
                offset = found.offset
        finally:
            os.close(fd)


@dataclass(slots=True)
class Survey:
    """All segments of a journal, and what is to be said of them."""

    found: list[Found]
    damages: list[JournalDamaged] = field(default_factory=list)
    torn: Torn | None = None

    @property
    def last(self) -> int | None:
        """The position of the last record that counts; None if there is none."""
        return next((each.counted.last for each in reversed(self.found) if each.counted), None)

    @property
    def base(self) -> int:
        """The last position that the journal knows of."""
        bases = [each.header.base for each in self.found if each.header]
        known = bases[-1] if bases else 0
        return max(known, self.last or 0)

    @property
    def idle_owner(self) -> str | None:
        """The last one who opened the journal, if nothing was appended since."""
        owner = next((each.header.owner for each in reversed(self.found) if each.header), None)
        wrote = any(each.counted and each.header and each.header.owner == owner for each in self.found)
        return None if wrote else owner

    @property
    def owners(self) -> tuple[str, ...]:
        """Everybody who may have written here, oldest first."""
        owners: dict[str, None] = {}
        for each in self.found:
            for owner in each.header.owners if each.header else ():
                owners.pop(owner, None)
                owners[owner] = None
        return tuple(owners)


def survey(directory: Path) -> Survey:
    """Read all segments in `directory`.

    Raises
    ------
    JournalRefused
        If one is of a newer format.
    OSError
        If one can not be read.
    """
    found = []
    # The newest first: then what another process appends or trims meanwhile looks like what is not there yet, or like
    # what was gone before, and not like a gap.
    for number, path in reversed(files.segment_paths(directory).items()):
        try:
            found.append(look(path, number))
        except FileNotFoundError:
            continue
    return judge(found[::-1])


def look(path: Path, number: int) -> Found:
    """Read one segment. Raises as `survey`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        header: Header | None = None
        refused: JournalDamaged | None = None
        try:
            header = decode(read_block(fd, HEADER_BYTES, 0), path)
            if header.segment != number:
                raise JournalDamaged(path, 0, f"it is segment {header.segment}, under another one's name")
        except JournalDamaged as error:
            header, refused = None, error
        lowest = header.base + 1 if header is not None and header.after is not None else 1
        return Found(path, number, size, header, refused, scan(fd, size, start_value(number), lowest))
    finally:
        os.close(fd)


def judge(found: list[Found]) -> Survey:
    """Say what the segments, in order, hold together."""
    limit: int | None = None
    for each in reversed(found):
        each.limit = limit
        if each.header is not None and each.header.after is not None:
            limit = each.header.after if limit is None else min(limit, each.header.after)
    result = Survey(found)
    last_whole = max((each.number for each in found if each.scan.stretches), default=-1)
    reached: int | None = None  # the last position that counts so far
    # Something that is no record, with nothing whole behind it in its file. It is harmless if what comes next goes on
    # from what came before, it is damage if that does not, and if nothing comes next, it was never finished.
    open_at: JournalDamaged | None = None
    for each in found:
        header, damage = each.header, each.scan.damage
        if each.refused is not None:
            # A file that never got its first bytes, as after a crash of the host: nothing was ever in it.
            if each.number > last_whole and _is_empty(each):
                result.torn = Torn(each.path, 0)
                continue
            result.damages.append(each.refused)
            reached = open_at = None
            continue
        if reached is None and header is not None and each is found[0]:
            reached = header.after
        missing = _missing(each, reached)
        if missing is not None or (open_at is not None and reached is None and each.counted):
            result.damages.append(open_at or JournalDamaged(each.path, HEADER_BYTES, missing or ""))
            open_at = None
        elif each.counted or (header is not None and header.after is not None):
            open_at = None
        if each.counted is not None:
            reached = each.counted.last
        stretch = each.scan.stretch
        here = stretch.last if stretch else reached
        if each.limit is not None and here is not None and here >= each.limit:
            continue  # all that counts here is whole, and what comes behind it does not matter any more
        if each.scan.beyond:
            where, why = damage or Damage(each.scan.end, "there is no record")
            result.damages.append(JournalDamaged(each.path, where, f"{why}, and whole ones are behind it"))
            reached = each.stretches[-1].last if each.stretches else None
        elif damage is not None:
            open_at = JournalDamaged(each.path, *damage)
    if open_at is not None:
        result.torn = Torn(open_at.path, open_at.offset)
    return result


def _missing(each: Found, reached: int | None) -> str | None:
    """Say which records are missing between those before and this segment's own."""
    header = each.header
    if header is None or reached is None:
        return None
    if header.after is not None:
        after = header.after if each.limit is None else min(header.after, each.limit)
        if reached < after:
            return f"positions {reached + 1} to {after} are missing before this segment"
        return None
    counted = each.counted
    if counted is not None and counted.first != reached + 1:
        return f"it begins with position {counted.first}, and the segment before ends with {reached}"
    return None


def _is_empty(each: Found) -> bool:
    return each.scan.damage is None and each.scan.stretch is None and _zeros(each.path)


def _zeros(path: Path) -> bool:
    with path.open("rb") as file:
        return not any(file.read(HEADER_BYTES))


def _cut(stretch: Stretch | None, limit: int | None) -> Stretch | None:
    if stretch is None or limit is None or stretch.last <= limit:
        return stretch
    return stretch._replace(last=limit) if stretch.first <= limit else None


def check_owner(found: list[Found], trader_id: str, schema_version: int) -> None:
    """Raise `JournalRefused` unless all segments are that trader's, and none is of a newer schema."""
    for each in found:
        header = each.header
        if header is None:
            continue
        if header.trader != trader_id:
            raise JournalRefused(
                f"{each.path} is of trader {header.trader}, and this is {trader_id}: one journal a trader; name "
                "another directory"
            )
        if header.schema > schema_version:
            raise JournalRefused(
                f"{each.path} has commands of schema version {header.schema}, and this version of the library knows "
                f"{schema_version}: upgrade it"
            )


__all__ = ["Damage", "Found", "Survey", "Torn", "check_owner", "judge", "look", "survey"]
