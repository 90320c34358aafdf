"""Records on the disk, grouped by an id: a way to fold all orders of a log without all of them in memory."""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

RECORDS_PER_PART = 10_000
_PARTS_MAX = 200  # each is an open file


class Spool:
    """Takes records by key, and gives them back part by part: all those of a key are in one part, in their order.

    Parameters
    ----------
    directory : Path
        A private directory, on a disk with room for what is put in.
    records : int
        About how many records there will be.
    """

    def __init__(self, directory: Path, records: int) -> None:
        directory.mkdir()
        count = min(max(1, records // RECORDS_PER_PART), _PARTS_MAX)
        self._paths = [directory / f"{number}.part" for number in range(count)]
        self._files: list[BinaryIO] = [path.open("wb") for path in self._paths]
        self._sorted = directory / "sorted"

    def put(self, key: str, record: Any) -> None:
        """Put in a record."""
        pickle.dump(record, self._files[crc32(key.encode()) % len(self._files)], pickle.HIGHEST_PROTOCOL)

    def put_everywhere(self, record: Any) -> None:
        """Put a record into every part."""
        for file in self._files:
            pickle.dump(record, file, pickle.HIGHEST_PROTOCOL)

    def parts(self) -> Iterator[Iterator[Any]]:
        """Yield the records of each part. Nothing more can be put in."""
        self.close()
        for path in self._paths:
            yield _load(path)
            path.unlink()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def merged(directory: Path, parts: Iterator[list[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of all `parts` by their first value, with one part at a time in memory."""
    directory.mkdir()
    paths = []
    for number, rows in enumerate(parts):
        rows.sort(key=_first)
        path = directory / f"{number}.rows"
        with path.open("wb") as file:
            for row in rows:
                pickle.dump(row, file, pickle.HIGHEST_PROTOCOL)
        paths.append(path)
    yield from heapq.merge(*map(_load, paths), key=_first)


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _load(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while True:
            try:
                record = pickle.load(file)  # noqa: S301 - written a moment ago, in a directory that only we can read
            except EOFError:
                return
            yield record
