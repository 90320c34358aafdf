"""Records in a file of their own: what may not be merged into a log that somebody else went on with."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from eventstore.errors import JournalDamaged, JournalError
from eventstore.journal import files
from eventstore.journal.header import HEADER_BYTES, Header, decode, encode
from eventstore.journal.record import JournalRecord, pack, start_value
from eventstore.journal.scan import read_block, windows

_BUFFER_BYTES: Final = 1 << 20


def write_aside(
    path: Path | str, trader_id: str, schema_version: int, owner: str, records: Iterable[JournalRecord]
) -> int:
    """Write `records` into a new file `path`, in the format of a segment; return how many. Directories are made.

    The file is there when it is whole and on the disk, or not at all.

    Raises
    ------
    JournalError
        If the file exists, or can not be written.
    ValueError
        If positions do not rise, or an id is too long.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + files.UNFINISHED)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            raise JournalError(f"{path} exists: what was set aside is never overwritten; name another file")
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            count, last = write_records(fd, 0, records)
            header = Header(
                schema=schema_version,
                trader=trader_id,
                segment=0,
                owner=owner,
                owners=(owner,),
                base=last,
                after=None,
                created_ns=time.time_ns(),
                records=count,
            )
            files.write_all(fd, encode(header), 0)
            os.fsync(fd)
            unfinished.rename(path)
            files.sync_directory(path.parent)
        finally:
            os.close(fd)
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"{path} can not be written: {error}; make room, or name another place") from error
    return count


def write_records(fd: int, number: int, records: Iterable[JournalRecord]) -> tuple[int, int]:
    """Write `records` as those of segment `number`, without its header; return how many, and the last position."""
    start = start_value(number)
    offset = HEADER_BYTES
    buffer = bytearray()
    count = 0
    last = 0
    for record in records:
        if record.position <= last:
            raise ValueError(f"position {record.position} comes behind {last}")
        last = record.position
        count += 1
        buffer += pack(start, record)
        if len(buffer) >= _BUFFER_BYTES:
            files.write_all(fd, buffer, offset)
            offset += len(buffer)
            buffer = bytearray()
    files.write_all(fd, buffer, offset)
    return count, last


def read_header(path: Path | str) -> Header:
    """Return what a segment file says of itself. Raises as `read_records`."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return decode(file.read(HEADER_BYTES), path)
    except OSError as error:
        raise JournalError(f"{path} can not be read: {error}") from error


def read_records(path: Path | str) -> Iterator[JournalRecord]:
    """Read the records of any segment file, from the first to the last.

    Raises
    ------
    JournalDamaged
        At a place where none is whole; the records before it were yielded.
    JournalRefused
        If the file is of a newer format.
    JournalError
        If the file can not be read.
    """
    path = Path(path)
    header = read_header(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from _read(fd, path, header)
        finally:
            os.close(fd)
    except OSError as error:
        raise JournalError(f"{path} can not be read: {error}") from error


def _read(fd: int, path: Path, header: Header) -> Iterator[JournalRecord]:
    count = 0
    whole = header.records is not None  # written at once, so that positions may jump
    stop = os.fstat(fd).st_size
    for found in windows(fd, HEADER_BYTES, stop, start_value(header.segment), step=not whole):
        count += len(found.records)
        yield from found.records
        if found.ending == "broken":
            raise JournalDamaged(path, found.offset, found.reason)
        if found.ending == "end":
            if header.records is not None and count != header.records:
                raise JournalDamaged(
                    path, found.offset, f"{count} records are there, and {header.records} were written"
                )
            offset = found.offset
            while block := read_block(fd, _BUFFER_BYTES, offset):
                if block.strip(b"\0"):
                    raise JournalDamaged(path, offset, "there is something behind the last record")
                offset += len(block)
