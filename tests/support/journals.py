"""Journals for the tests: small ones, opened as often as a process would be started."""

import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventstore.journal import Journal, JournalRecord
from eventstore.journal.header import HEADER_BYTES
from eventstore.journal.record import record_bytes
from eventstore.journal.segment import Segment

TRADER = "T-1"
SCHEMA = 1
SMALL = 1 << 14
"""Bytes of the smallest segment there may be."""

PATIENCE_S = 60.0

_numbers = itertools.count(1)


def opened(directory: Path, **settings: Any) -> Journal:
    """Open the journal in `directory` with small files, as another owner each time, without syncs unless asked."""
    arguments = {
        "trader_id": TRADER,
        "schema_version": SCHEMA,
        "owner": f"owner-{next(_numbers)}",
        "fsync": "never",
        "segment_bytes": SMALL,
        "bytes_max": 1 << 30,
    }
    return Journal.open(directory, **(arguments | settings))


def until(condition: Callable[[], bool]) -> None:
    """Let other threads run until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0)


def oldest(journal: Journal) -> Segment:
    """The oldest file that the journal still has."""
    return list(journal.segments.values())[0]  # noqa: RUF015 - the keeper may change it meanwhile


def crash(journal: Journal) -> None:
    """Leave the journal as a killed process would: nothing is cut or deleted; only the lock is gone."""
    keeper = journal._keeper
    assert keeper is not None
    keeper._stopping = True
    keeper.wake()
    assert keeper._thread is not None
    keeper._thread.join()
    journal._lock.drop()
    journal._ended = "crashed"
    journal.tail[0].limit = 0
    for segment in [*journal.segments.values(), *journal.prepared]:
        segment.release()


def write(journal: Journal, payloads: list[bytes]) -> list[JournalRecord]:
    """Append `payloads`, each at a time of its own; return the records."""
    return [
        JournalRecord(journal.append(10**18 + number, payload), 10**18 + number, payload)
        for number, payload in enumerate(payloads)
    ]


def payload(number: int, size: int = 100) -> bytes:
    """So many bytes, which are no other number's if they are enough to hold it."""
    return ((b"%d|" % number) * (size // 2 + 1))[:size]


def written(directory: Path, lives: list[list[bytes]], **settings: Any) -> list[JournalRecord]:
    """Make a journal of so many lives, each of which appends its payloads and crashes; return all records."""
    records = []
    for payloads in lives:
        journal = opened(directory, **settings)
        records += write(journal, payloads)
        crash(journal)
    return records


def held(directory: Path, **settings: Any) -> list[JournalRecord]:
    """All that a journal that is opened anew holds."""
    journal = opened(directory, **settings)
    try:
        return list(journal.read(journal.first - 1))
    finally:
        journal.close()


def segments(directory: Path) -> list[Path]:
    """The files of the journal, in order."""
    return sorted(directory.glob("*.seg"))


def places(records: list[JournalRecord]) -> list[int]:
    """The offsets of `records`, which are all of one file, and where they end."""
    sizes = (record_bytes(len(record.payload)) for record in records)
    return list(itertools.accumulate(sizes, initial=HEADER_BYTES))


@contextmanager
def copied(directory: Path, to: Path) -> Iterator[Path]:
    """A copy of the journal, to be damaged."""
    shutil.copytree(directory, to)
    try:
        yield to
    finally:
        shutil.rmtree(to)


def poke(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Flip bits of one byte."""
    with path.open("rb") as file:
        file.seek(offset)
        [byte] = file.read(1)
    poke(path, offset, bytes([byte ^ mask]))


def dies_at(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed at its n-th call of the operating system; return whether it was."""
    child = os.fork()
    if child == 0:
        left = step

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event.startswith(("os.", "open", "mmap.", "fcntl.")):
                left -= 1
                if left < 0:
                    os._exit(9)

        try:
            sys.addaudithook(audit)
            work()
        except BaseException:  # noqa: BLE001 - the parent is told
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9
