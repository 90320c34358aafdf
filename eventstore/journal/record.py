"""A record as it stands in a segment: a commit word, a position, a time, and one command's bytes.

====== ====================================================================================
bytes  what
====== ====================================================================================
0-3    length of the payload, with the top bit set, little-endian as everything here
4-7    CRC-32 of bytes 8 to the end; its start value is that of the segment, XOR the length
8-15   position
16-23  time of acceptance, UNIX nanoseconds
24-    payload, and zeros up to the next multiple of 8
====== ====================================================================================

Bytes 0 to 7, the commit word, are written last: while they are 0 there is no record, and the segment ends there. What
is behind the end is nothing, or what is left of records that were begun and not finished.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple
from zlib import crc32

HEAD_BYTES: Final = 24
WHOLE: Final = 1 << 31
"""Bit of the length that says that the record is whole."""
PAYLOAD_BYTES_MAX: Final = WHOLE - 1

_HEAD: Final = struct.Struct("<IIQQ")
_COMMIT: Final = struct.Struct("<II")
_NUMBERS: Final = struct.Struct("<QQ")
_CRC_FROM: Final = 8  # offset in the record of the first byte under its checksum

Ending = Literal["end", "more", "broken"]


class JournalRecord(NamedTuple):
    """An accepted command: its position in the log, its time in UNIX nanoseconds, and its bytes."""

    position: int
    accepted_ns: int
    payload: bytes


class Parsed(NamedTuple):
    """What `parse` found: whole records, where they end, and why there.

    `ending` is "end" at a commit word of 0, "broken" at something that is no whole record (`reason` says why), and
    "more" if the data stop before the record does; then `wanted` is how many bytes from `offset` on it takes.
    """

    records: list[JournalRecord]
    offset: int
    ending: Ending
    reason: str
    wanted: int


def start_value(number: int) -> int:
    """The start value of the checksums in segment `number`, so that no segment's records pass for another's."""
    return crc32(number.to_bytes(8, "little"))


def record_bytes(length: int) -> int:
    """The bytes of a record whose payload has `length` bytes."""
    return HEAD_BYTES + (length + 7 & ~7)


def pack_parts(start: int, record: JournalRecord) -> tuple[tuple[int, int], bytes]:
    """Return the two numbers of the commit word of `record` in a segment of that start value, and all behind it."""
    position, accepted_ns, payload = record
    size = len(payload)
    covered = b"".join((_NUMBERS.pack(position, accepted_ns), payload, bytes(-size % 8)))
    return (size | WHOLE, crc32(covered, start ^ size)), covered


def pack(start: int, record: JournalRecord) -> bytes:
    """Return `record` as it stands in a segment of that start value."""
    commit, covered = pack_parts(start, record)
    return _COMMIT.pack(*commit) + covered


def parse(data: bytes, start: int, expected: int | None, step: bool = True) -> Parsed:
    """Read records from the beginning of `data`, as many as there are.

    Parameters
    ----------
    start : int
        The start value of the segment's checksums.
    expected : int, optional
        The position of the first one; None: any.
    step : bool
        Whether positions have to be consecutive. If not, they only have to rise.
    """
    records: list[JournalRecord] = []
    view = memoryview(data)
    size = len(data)
    unpack = _HEAD.unpack_from
    offset = 0
    while True:
        left = size - offset
        if left < HEAD_BYTES:
            if left >= _CRC_FROM and not any(view[offset : offset + _CRC_FROM]):
                return Parsed(records, offset, "end", "", 0)
            return Parsed(records, offset, "more", "", HEAD_BYTES)
        length, crc, position, accepted_ns = unpack(data, offset)
        if not length & WHOLE:
            if length or crc:
                return Parsed(records, offset, "broken", "there is no commit word", 0)
            return Parsed(records, offset, "end", "", 0)
        length ^= WHOLE
        following = offset + HEAD_BYTES + (length + 7 & ~7)
        if following > size:
            return Parsed(records, offset, "more", "", following - offset)
        if crc32(view[offset + _CRC_FROM : following], start ^ length) != crc:
            return Parsed(records, offset, "broken", "the checksum does not match", 0)
        if expected is not None and position != expected and (step or position < expected):
            return Parsed(records, offset, "broken", f"position {position} stands where {expected} belongs", 0)
        begin = offset + HEAD_BYTES
        records.append(JournalRecord(position, accepted_ns, data[begin : begin + length]))
        expected = position + 1
        offset = following


def candidates(data: bytes, lowest: int, highest: int) -> list[int]:
    """Offsets in `data`, which begins at a multiple of 8, where a record of a position in those bounds may begin."""
    count = len(data) // 8
    words = struct.unpack_from(f"<{count}Q", data)
    return [8 * index for index in range(count - 1) if words[index] & WHOLE and lowest <= words[index + 1] <= highest]
