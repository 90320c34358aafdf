"""What is done to the files of a journal before anything is appended."""

from __future__ import annotations

import os
from pathlib import Path

from eventstore.journal import files
from eventstore.journal.header import HEADER_BYTES
from eventstore.journal.record import record_bytes
from eventstore.journal.scan import windows
from eventstore.journal.segment import Segment
from eventstore.journal.survey import Found, Survey, check_owner, survey


def closed(found: Found) -> Segment:
    """Return a segment that has records that count, only to be read."""
    counted = found.counted
    assert counted is not None  # noqa: S101 - only those are asked for
    segment = Segment(found.path, found.number, found.size, counted.first - 1, counted.first - 1)
    segment.last = segment.synced = counted.last
    segment.end = counted.end
    return segment


def inspected(home: Path, trader_id: str, schema_version: int) -> Survey:
    """Look at what is there. Raises what is wrong with it."""
    for unfinished in home.glob(f"*{files.UNFINISHED}"):
        unfinished.unlink()
    held = survey(home)
    check_owner(held.found, trader_id, schema_version)
    if held.damages:
        raise held.damages[0]
    return held


def tidy(held: Survey, *, durable: bool) -> None:
    """Cut what was not finished, and the room that was not used, from the ends of the files. Raises `OSError`."""
    for each in held.found:
        if each.counted is None:
            continue
        fd = os.open(each.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if each.size > each.scan.end and not each.scan.beyond:
                os.ftruncate(fd, each.scan.end)
                each.size = each.scan.end
            if durable:
                files.sync_file(fd)
        finally:
            os.close(fd)


def remove_useless(held: Survey) -> None:
    """Delete the files in which nothing counts. What they say of owners and positions is said in the newest one."""
    for each in held.found:
        if each.counted is None:
            if each.scan.damage is None or held.torn == (each.path, each.scan.damage.offset):
                each.path.unlink()
            else:
                damaged = each.path.parent / files.DAMAGED
                damaged.mkdir(mode=0o700, exist_ok=True)
                each.path.rename(damaged / each.path.name)


def cut(segment: Segment, position: int) -> None:
    """Cut the records above `position` from a closed segment. Raises `OSError`."""
    fd = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        end = HEADER_BYTES
        for found in windows(fd, HEADER_BYTES, segment.end, segment.start):
            for record in found.records:
                if record.position <= position:
                    end += record_bytes(len(record.payload))
        os.ftruncate(fd, end)
        files.sync_file(fd)
    finally:
        os.close(fd)
    segment.last = segment.synced = position
    segment.end = segment.bytes = end
