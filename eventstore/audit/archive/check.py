"""Whether a segment is what its manifest says, and its entries what the chain says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eventstore.audit.archive.manifest import Segment
from eventstore.audit.archive.segment import SegmentReader
from eventstore.chain import LogEntry, Run, link, next_head
from eventstore.errors import ArchiveDamaged, ArchiveError
from eventstore.model.identifiers import TraderId


class Problem(NamedTuple):
    """Something in a file of an archive that is not as it was sealed."""

    path: Path
    offset: int | None
    """Where in the file, in bytes; None if that is not known."""
    position: int | None
    """Which entry of the log; None if it is about the file."""
    reason: str

    def __str__(self) -> str:
        place = "" if self.offset is None else f" offset {self.offset}:"
        entry = "" if self.position is None else f" position {self.position}:"
        return f"{self.path}:{place}{entry} {self.reason}"


def check(path: Path, segment: Segment, trader_id: TraderId) -> Iterator[Problem]:
    """Yield what is wrong with the file of `segment`. Reads all of it, a block at a time."""
    return (found for found in read_checked(path, segment, trader_id) if isinstance(found, Problem))


def read_checked(path: Path, segment: Segment, trader_id: TraderId) -> Iterator[Run | Problem]:
    """Yield the entries in the file of `segment`, a block at a time, and what is wrong with them, or with the file.

    A block comes once it is checked, behind what is wrong with it.
    """
    try:
        with SegmentReader(path) as reader:
            found_in = (reader.trader_id, reader.before.position + 1, reader.after.position)
            if found_in != (trader_id, segment.first, segment.last):
                whose, first, last = found_in
                yield Problem(path, None, None, f"another file is in its place: positions {first} to {last} of {whose}")
                return
            whole = True
            for found in _check_entries(reader, segment):
                whole = whole and not isinstance(found, Problem)
                yield found
            if whole:  # else it is said already what does not fit
                yield from _check_file(reader, segment)
    except ArchiveDamaged as error:
        yield Problem(path, error.offset, None, error.reason)
    except ArchiveError as error:
        yield Problem(path, None, None, str(error).removeprefix(f"{path} "))


def _check_file(reader: SegmentReader, segment: Segment) -> Iterator[Problem]:
    content, whole = reader.digests()
    said = (
        ("bytes", reader.size, segment.size),
        ("chain head before", reader.before.chain.hex(), segment.chain_before.hex()),
        ("entries", reader.entry_count, segment.entries),
        ("chain head behind", reader.after.chain.hex(), segment.chain_after.hex()),
        ("digest", whole, segment.digest),
    )
    if reasons := [f"{what} {found} instead of {expected}" for what, found, expected in said if found != expected]:
        yield Problem(reader.path, None, None, f"it is not as the manifest says: {', '.join(reasons)}")
    elif content != reader.digest:
        yield Problem(reader.path, None, None, "its content does not fit the digest at its end: it was changed")


def _check_entries(reader: SegmentReader, segment: Segment) -> Iterator[Run | Problem]:
    head, links = segment.chain_before, list[bytes]()
    expected, ms, count = segment.first, 0, 0
    ids: list[bytes] = []
    runs = reader.all(reader.blocks)
    for block in reader.blocks:
        try:
            run = next(runs)
        except ArchiveDamaged as error:
            yield Problem(reader.path, error.offset, expected, error.reason)
            return  # what comes behind can not be compared with anything
        if not run or (run.positions[0], run.times[0]) != (block.first, block.first_ms):
            yield Problem(reader.path, block.offset, block.first, "the block does not begin as the index says")
        if not run:
            continue
        if run.goes_on(expected - 1, ms, head, links):
            links = run.links_behind(links)
            head = run.last_head or head
            expected, ms = run.positions[-1] + 1, run.times[-1]
        else:
            for entry in run.entries():
                if entry.position != expected:
                    reason = f"position {entry.position} stands where it belongs"
                    yield Problem(reader.path, block.offset, expected, reason)
                if entry.accepted_ms < ms:
                    reason = "it was accepted before the one before it"
                    yield Problem(reader.path, block.offset, entry.position, reason)
                links.append(link(entry.entry_id.encode(), entry.payload))
                if entry.chain is not None:
                    head = next_head(head, links)
                    links = []
                    if entry.chain != head:
                        yield _broken(reader, block.offset, entry, head)
                        head = entry.chain
                expected, ms = entry.position + 1, entry.accepted_ms
        count += len(run)
        ids = [ids[0] if ids else run.ids[0], run.ids[-1]]
        yield run
    if links or head != segment.chain_after:
        yield Problem(reader.path, None, expected - 1, "it does not end with the batch that the manifest says")
    said = [entry_id.decode() for entry_id in ids]
    if count != segment.entries or said != [segment.first_id, segment.last_id]:
        yield Problem(
            reader.path, None, None, f"it has {count} entries, {' to '.join(said)}, which are not those of the manifest"
        )


def _broken(reader: SegmentReader, offset: int, entry: LogEntry, head: bytes) -> Problem:
    said = b"" if entry.chain is None else entry.chain
    return Problem(
        reader.path, offset, entry.position, f"the chain head there is {said.hex()}, and should be {head.hex()}"
    )
