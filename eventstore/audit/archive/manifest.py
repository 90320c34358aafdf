"""What an archive consists of: a list of segments, which carries the chain from one to the next."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from eventstore.chain import BEGIN, CHAIN_BYTES, Head
from eventstore.errors import ArchiveDamaged, ArchiveError
from eventstore.journal.files import sync_directory
from eventstore.model.identifiers import TraderId

FORMAT: Final = 1
NAME: Final = "manifest.json"
UNFINISHED: Final = ".new"
"""Suffix of a file that is being written; it gets its name when it is whole."""

_FILE: Final = re.compile(r"\d{20}-\d{20}\.seg")


class Segment(NamedTuple):
    """What a manifest says of one file. Digests and chain heads are in hex in the file, and bytes here."""

    file: str
    first: int
    last: int
    first_id: str
    last_id: str
    entries: int
    size: int
    """Bytes of the file."""
    digest: str
    """BLAKE2b-256 of the file, in hex, as ``b2sum -l 256`` prints it."""
    chain_before: bytes
    chain_after: bytes
    sealed_ns: int

    @property
    def before(self) -> Head:
        """The place before the first entry."""
        return Head(self.first - 1, self.chain_before)

    @property
    def after(self) -> Head:
        """The place behind the last entry."""
        return Head(self.last, self.chain_after)

    @property
    def last_ms(self) -> int:
        """When the last entry was accepted, UNIX milliseconds."""
        return int(self.last_id.partition("-")[0])


class Manifest(NamedTuple):
    """The segments of the archive of one trader, in the order of their positions."""

    trader_id: TraderId
    segments: tuple[Segment, ...] = ()

    @property
    def start(self) -> Head:
        """The place before the first entry."""
        return self.segments[0].before if self.segments else BEGIN

    @property
    def end(self) -> Head:
        """The place behind the last entry."""
        return self.segments[-1].after if self.segments else BEGIN

    @property
    def last_id(self) -> str:
        """The id of the last entry; ``0-0`` if there is none."""
        return self.segments[-1].last_id if self.segments else "0-0"


def segment_name(first: int, last: int) -> str:
    """Return the name of the file with these positions; names sort as positions do."""
    return f"{first:020d}-{last:020d}.seg"


def is_segment_name(name: str) -> bool:
    """Whether a file of that name is a segment."""
    return _FILE.fullmatch(name) is not None


def first_of(name: str) -> int:
    """Return the first position of a segment, from its name."""
    return int(name.partition("-")[0])


def load(directory: Path) -> Manifest | None:
    """Read the manifest in a trader's directory; None if there is none.

    Raises
    ------
    ArchiveDamaged
        If it is not one that was written.
    ArchiveError
        If it can not be read, or is of a newer version of this library.
    """
    path = directory / NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArchiveError(f"{path} can not be read: {error}") from error
    try:
        described = json.loads(data)
    except json.JSONDecodeError as error:
        raise ArchiveDamaged(path, error.pos, f"not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise ArchiveDamaged(path, error.start, "not UTF-8") from error
    try:
        if described["format"] > FORMAT:
            raise ArchiveError(
                f"{path} has format {described['format']}, and this version of the library reads up to {FORMAT}: use a "
                "newer one"
            )
        manifest = Manifest(TraderId(described["trader_id"]), tuple(map(_segment, described["segments"])))
        _check(manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveDamaged(path, 0, f"not the manifest of an archive ({error!r})") from error
    return manifest


def store(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest, at once for whoever reads it. Raises `OSError`; then it is as it was."""
    described = {
        "format": FORMAT,
        "trader_id": str(manifest.trader_id),
        "segments": [_described(segment) for segment in manifest.segments],
    }
    new = directory / (NAME + UNFINISHED)
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
            file.write(json.dumps(described, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(directory / NAME)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync_directory(directory)


def _described(segment: Segment) -> dict[str, Any]:
    heads = {"chain_before": segment.chain_before.hex(), "chain_after": segment.chain_after.hex()}
    return segment._asdict() | heads


def _segment(described: dict[str, Any]) -> Segment:
    heads = {name: bytes.fromhex(described[name]) for name in ("chain_before", "chain_after")}
    segment = Segment(**(described | heads))
    numbers = (segment.first, segment.last, segment.entries, segment.size, segment.sealed_ns)
    if not all(type(number) is int for number in numbers) or not 1 <= segment.first <= segment.last:
        raise ValueError(f"segment {segment.file!r:.60} has numbers that no segment has")
    if any(len(head) != CHAIN_BYTES for head in heads.values()) or len(bytes.fromhex(segment.digest)) != CHAIN_BYTES:
        raise ValueError(f"segment {segment.file!r:.60} has a chain head or digest of another length")
    if segment.file != segment_name(segment.first, segment.last):
        raise ValueError(f"segment {segment.file!r:.60} is not named by its positions")
    for entry_id, position in ((segment.first_id, segment.first), (segment.last_id, segment.last)):
        if not entry_id.endswith(f"-{position}") or not entry_id.partition("-")[0].isdigit():
            raise ValueError(f"segment {segment.file!r:.60} does not begin and end with the entries of its name")
    return segment


def _check(manifest: Manifest) -> None:
    end: Head | None = None
    for segment in manifest.segments:
        # Behind a flush positions jump; that the entry there says so, only the file shows.
        if end is not None and segment.before != end and segment.first <= end.position + 1:
            raise ValueError(f"segment {segment.file} does not go on where the one before ends, at {end.position}")
        end = segment.after
