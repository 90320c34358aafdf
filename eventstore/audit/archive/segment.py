"""One file of an archive: some of the log's batches, one after the other, compressed. Written once, never changed.

The file is made of frames: length and CRC-32 of what follows, four bytes each, the highest first, then so many bytes.

======================  ===============================================================================================
``eventlog``            eight bytes
header                  a frame: MessagePack map of format, trader_id, first, chain (the head before), created_ns
blocks                  frames: zlib of the MessagePack array of entries, each [ms, position, command, chain or nil]
footer                  a frame: MessagePack map of entries, last, chain (the head behind), and blocks: an array of
                        [offset, first position, its ms]
where the footer is     its offset, eight bytes, the highest first
digest                  32 bytes: BLAKE2b of all before
======================  ===============================================================================================
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import msgpack

from eventstore.audit.archive.ahead import ahead
from eventstore.chain import CHAIN_BYTES, Head, LogEntry, Run
from eventstore.errors import ArchiveDamaged, ArchiveError
from eventstore.model.identifiers import TraderId

FORMAT: Final = 1
MAGIC: Final = b"eventlog"
DIGEST_BYTES: Final = 32

_FRAME: Final = struct.Struct(">II")
_END: Final = struct.Struct(f">Q{DIGEST_BYTES}s")
_BLOCK_ENTRIES: Final = 1000
_BLOCK_BYTES: Final = 1 << 20
"""Bytes of commands after which a block ends, so that reading one does not take much memory."""
_LEVEL: Final = 6
_UNPACKED_MAX: Final = 1 << 30
"""Bytes that a block may have: one command of the largest size, and some."""


class Block(NamedTuple):
    """Where in the file some entries are, and which is the first of them."""

    offset: int
    first: int
    first_ms: int


class Sealed(NamedTuple):
    """What a finished segment is."""

    entries: int
    size: int
    """Bytes of the file."""
    digest: str
    """BLAKE2b-256 of the whole file, in hex, as ``b2sum -l 256`` prints it."""
    first_id: str
    last_id: str
    after: Head


class SegmentWriter:
    """Writes a new segment, which is there when `finish` has returned.

    Parameters
    ----------
    path : Path
        Must not exist.
    trader_id : TraderId
    before : Head
        The position before the first entry, and the chain head there.
    created_ns : int
        UNIX nanoseconds.

    Raises
    ------
    OSError
        By every method, if the disk refuses.
    """

    def __init__(self, path: Path, trader_id: TraderId, before: Head, created_ns: int) -> None:
        self.entries = 0
        self._rows: list[LogEntry] = []
        self._bytes = 0
        self._offset = 0
        self._blocks: list[Block] = []
        self._first_id = self._last_id = ""
        self._after = before
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")  # noqa: PTH123, SIM115
        try:
            self._write(MAGIC)
            self._frame(
                msgpack.packb(
                    {
                        "format": FORMAT,
                        "trader_id": str(trader_id),
                        "first": before.position + 1,
                        "chain": before.chain,
                        "created_ns": created_ns,
                    }
                )
            )
        except BaseException:
            self.close()
            raise

    def append(self, batch: Iterable[LogEntry]) -> None:
        """Write the entries of one batch, whose last has the chain head behind it."""
        for entry in batch:
            if not self._first_id:
                self._first_id = entry.entry_id
            self._rows.append(entry)
            self._bytes += len(entry.payload)
            self.entries += 1
            if entry.chain is not None:
                self._after = Head(entry.position, entry.chain)
            self._last_id = entry.entry_id
            if len(self._rows) >= _BLOCK_ENTRIES or self._bytes >= _BLOCK_BYTES:
                self._block()

    def finish(self) -> Sealed:
        """Write what is missing, and wait until all of it is on the disk."""
        if self._rows:
            self._block()
        footer = self._offset
        after = self._after
        about = {"entries": self.entries, "last": after.position, "chain": after.chain, "blocks": self._blocks}
        self._frame(msgpack.packb(about))
        self._write(footer.to_bytes(8, "big"))
        self._write(self._hash.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Sealed(self.entries, self._offset, self._hash.hexdigest(), self._first_id, self._last_id, after)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        with suppress(OSError):  # what was not written yet is tried once more, and nobody waits for it
            self._file.close()

    def _block(self) -> None:
        first = self._rows[0]
        self._blocks.append(Block(self._offset, first.position, first.accepted_ms))
        rows = [(entry.accepted_ms, entry.position, entry.payload, entry.chain) for entry in self._rows]
        self._frame(zlib.compress(msgpack.packb(rows), _LEVEL))
        self._rows, self._bytes = [], 0

    def _frame(self, data: bytes) -> None:
        self._write(_FRAME.pack(len(data), zlib.crc32(data)))
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._offset += len(data)


class SegmentReader:
    """Reads a segment, as much of it as is asked for. What it reads is checked by its CRC, the whole by `digest`.

    Raises
    ------
    ArchiveDamaged
        When it is made, or by every method, if the file is not one that was sealed.
    ArchiveError
        If it can not be read, or is of a newer version of this library.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise ArchiveError(
                f"{path} can not be read: {error.strerror}; bring it back from a copy of the archive"
            ) from error
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._read_header()
            self._read_footer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read_header(self) -> None:
        if self._at(0, len(MAGIC)) != MAGIC:
            raise ArchiveDamaged(self.path, 0, "it does not begin as a segment of an archive does")
        offset = len(MAGIC)
        data, self._begin = self._frame(offset)
        header = self._unpacked(data, offset)
        try:
            if header["format"] > FORMAT:
                raise ArchiveError(
                    f"{self.path} has format {header['format']}, and this version of the library reads up to {FORMAT}: "
                    "use a newer one"
                )
            self.trader_id = str(header["trader_id"])
            self.before = Head(int(header["first"]) - 1, _chain(header["chain"]))
            self.created_ns = int(header["created_ns"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveDamaged(self.path, offset, f"not the header of a segment ({error!r})") from error

    def _read_footer(self) -> None:
        end = self.size - _END.size
        if end < self._begin:
            raise ArchiveDamaged(self.path, self.size, "it ends before its footer")
        offset, self.digest = _END.unpack(self._at(end, _END.size))
        if not self._begin <= offset < end:
            raise ArchiveDamaged(self.path, end, f"it says that its footer is at {offset}")
        data, after = self._frame(offset)
        footer = self._unpacked(data, offset)
        if after != end:
            raise ArchiveDamaged(self.path, after, "something stands behind its footer")
        try:
            self.entry_count = int(footer["entries"])
            self.after = Head(int(footer["last"]), _chain(footer["chain"]))
            self.blocks = [Block(*map(int, block)) for block in footer["blocks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveDamaged(self.path, offset, f"not the footer of a segment ({error!r})") from error
        self.footer_offset = offset

    def digests(self) -> tuple[bytes, str]:
        """Return the digest of all before the one at the end, and that of the whole file in hex. Reads all of it."""
        found = hashlib.blake2b(digest_size=DIGEST_BYTES)
        at, end = 0, self.size - DIGEST_BYTES
        while at < end:
            data = self._at(at, min(1 << 20, end - at))
            found.update(data)
            at += len(data)
        before = found.digest()
        found.update(self._at(end, DIGEST_BYTES))
        return before, found.hexdigest()

    def run(self, block: Block) -> Run:
        """Return the entries of a block."""
        return self._run(block, self._inflated(block))

    def _inflated(self, block: Block) -> bytes:
        data, _ = self._frame(block.offset)
        try:
            unpacking = zlib.decompressobj()
            packed = unpacking.decompress(data, _UNPACKED_MAX)
        except zlib.error as error:
            raise ArchiveDamaged(self.path, block.offset, f"not a block of entries ({error})") from error
        if not unpacking.eof:  # or is larger than any that is written
            raise ArchiveDamaged(self.path, block.offset, "not a block of entries (it does not end)")
        return packed

    def _run(self, block: Block, packed: bytes) -> Run:
        try:
            rows = msgpack.unpackb(packed, use_list=False)
            times, positions, payloads, heads = zip(*rows, strict=True) if rows else ((), (), (), ())
            if not (set(map(type, times)) | set(map(type, positions)) <= {int} and set(map(type, payloads)) <= {bytes}):
                raise TypeError("a time or position is no number, or a command is not bytes")
            if not set(map(type, heads)) <= {bytes, type(None)}:
                raise TypeError("a chain head is not bytes")
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise ArchiveDamaged(self.path, block.offset, f"not a block of entries ({error})") from error
        return Run(times, positions, payloads, heads)

    def all(self, blocks: Sequence[Block]) -> Iterator[Run]:
        """Yield the entries of `blocks`, each of which is read and inflated while those before it are looked at."""
        for block, packed in zip(blocks, ahead(self._inflated, blocks), strict=True):
            yield self._run(block, packed)

    def runs(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[Run]:
        """Yield the entries behind position `after` and up to `until` that were accepted at `since_ms` or later."""
        for run in self.all(self._between(after, until, since_ms)):
            found = run
            if len(found) and found.positions[0] <= after:
                found = found.only(position > after for position in found.positions)
            if since_ms is not None and len(found) and found.times[0] < since_ms:
                begun = next((i for i, ms in enumerate(found.times) if ms >= since_ms), len(found))
                found = found.only(i >= begun for i in range(len(found)))
            if until is not None and len(found) and found.positions[-1] > until:
                found = found.only(position <= until for position in found.positions)
            if len(found):
                yield found

    def _between(self, after: int, until: int | None, since_ms: int | None) -> list[Block]:
        """The blocks in which what is asked for may be."""
        blocks = self._from(after, since_ms)
        return blocks if until is None else [*takewhile(lambda block: block.first <= until, blocks)]

    def _from(self, after: int, since_ms: int | None) -> list[Block]:
        """The blocks from the one on in which the first entry that is asked for may be."""
        skipped = bisect_right(self.blocks, after + 1, key=lambda block: block.first) - 1
        if since_ms is not None:
            # The entries of one millisecond may begin in the block before the one whose first is of that time.
            skipped = max(skipped, bisect_right(self.blocks, since_ms - 1, key=lambda block: block.first_ms) - 1)
        return self.blocks[max(skipped, 0) :]

    def _frame(self, offset: int) -> tuple[bytes, int]:
        """Return what is in the frame at `offset`, and where it ends."""
        length, crc = _FRAME.unpack(self._at(offset, _FRAME.size))
        begin = offset + _FRAME.size
        if begin + length > self.size:
            raise ArchiveDamaged(self.path, offset, f"{length} bytes should stand here, and the file ends before")
        data = self._at(begin, length)
        if zlib.crc32(data) != crc:
            raise ArchiveDamaged(self.path, offset, "its checksum does not fit: it was changed")
        return data, begin + length

    def _unpacked(self, data: bytes, offset: int) -> dict[str, Any]:
        try:
            found = msgpack.unpackb(data)
        except (ValueError, msgpack.UnpackException) as error:
            raise ArchiveDamaged(self.path, offset, f"not MessagePack ({error})") from error
        if not isinstance(found, dict):
            raise ArchiveDamaged(self.path, offset, "not a map")
        return found

    def _at(self, offset: int, count: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), count, offset)
        except OSError as error:
            raise ArchiveError(f"{self.path} can not be read at offset {offset}: {error.strerror}") from error
        if len(data) != count:
            raise ArchiveDamaged(self.path, self.size, f"it ends here: {count} bytes should stand at {offset}")
        return data


def _chain(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != CHAIN_BYTES:
        raise ValueError("no chain head")
    return value
