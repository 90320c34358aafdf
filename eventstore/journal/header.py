"""The first 4096 bytes of a segment: whose it is, and how it follows the segments before it.

Magic (8 bytes), length of the map (u32), CRC-32 of the whole block without this field (u32), a MessagePack map, zeros.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgpack

from eventstore.errors import JournalDamaged, JournalRefused

HEADER_BYTES: Final = 4096
FORMAT: Final = 1
OWNERS_MAX: Final = 64
OWNER_BYTES_MAX: Final = 48
TRADER_BYTES_MAX: Final = 256

_MAGIC: Final = b"EVSTJRNL"
_LENGTHS: Final = struct.Struct("<II")
_MAP_AT: Final = len(_MAGIC) + _LENGTHS.size


class Header(NamedTuple):
    """What a segment says of itself.

    `base` is the last position known when it was made. `after` is the position of the last record before it: what
    earlier segments hold beyond that does not count, and if they do not reach it, something is missing; None if the
    segment simply goes on from the one before. `records` is for files that are written whole: how many records are in.
    """

    schema: int
    trader: str
    segment: int
    owner: str
    owners: tuple[str, ...]
    base: int
    after: int | None
    created_ns: int
    records: int | None = None


def encode(header: Header) -> bytes:
    """Return the block of `header`. Raises `ValueError` if it does not fit."""
    fields = header._asdict() | {"format": FORMAT, "owners": list(header.owners[-OWNERS_MAX:])}
    data = msgpack.packb(fields)
    if len(header.owner.encode()) > OWNER_BYTES_MAX or len(data) > HEADER_BYTES - _MAP_AT:
        raise ValueError(
            f"owner {header.owner!r:.80} or trader {header.trader!r:.80} is too long: at most {OWNER_BYTES_MAX} and "
            f"{TRADER_BYTES_MAX} bytes"
        )
    rest = data + bytes(HEADER_BYTES - _MAP_AT - len(data))
    size = struct.pack("<I", len(data))
    return _MAGIC + size + struct.pack("<I", crc32(rest, crc32(_MAGIC + size))) + rest


def decode(block: bytes, path: Path) -> Header:
    """Return the header that `encode` made `block` of.

    Raises
    ------
    JournalDamaged
        If it is none.
    JournalRefused
        If it is of a newer format.
    """
    if len(block) != HEADER_BYTES or not block.startswith(_MAGIC):
        raise JournalDamaged(path, 0, "there is no header of a segment")
    size, crc = _LENGTHS.unpack_from(block, len(_MAGIC))
    if crc32(block[_MAP_AT:], crc32(block[: len(_MAGIC) + 4])) != crc:
        raise JournalDamaged(path, 0, "the checksum of the header does not match")
    # The checksum holds: what is wrong from here on was written that way.
    try:
        fields = msgpack.unpackb(block[_MAP_AT : _MAP_AT + size])
        if fields["format"] > FORMAT:
            raise JournalRefused(
                f"{path} is of format {fields['format']!r:.20}, and this version of the library reads up to {FORMAT}: "
                "upgrade it"
            )
        return _checked(fields)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise JournalDamaged(path, 0, f"the header can not be read: {type(error).__name__} {error}") from error


def _checked(fields: dict[str, Any]) -> Header:
    header = Header(*(fields[name] for name in Header._fields))
    for name, kinds in _KINDS.items():
        if type(fields[name]) not in kinds:
            raise TypeError(f"{name} is a {type(fields[name]).__name__}")
    if not all(type(owner) is str for owner in header.owners):
        raise TypeError("owners are no texts")
    return header._replace(owners=tuple(header.owners))


_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "schema": (int,),
    "trader": (str,),
    "segment": (int,),
    "owner": (str,),
    "owners": (list,),
    "base": (int,),
    "after": (int, type(None)),
    "created_ns": (int,),
    "records": (int, type(None)),
}
