"""Values as MessagePack, by packers that are used again: making one takes as long as packing an event. Pure: no I/O."""

from __future__ import annotations

from typing import Any

import msgpack

_KEPT_BYTES_MAX = 256 << 10

_idle: list[msgpack.Packer] = []
_idle_old: list[msgpack.Packer] = []


def pack(value: Any) -> bytes:
    """Return `value` as MessagePack, with bytes as bytes. Raises what a packer raises."""
    # Whoever packs has the packer to itself: another thread, or a finalizer that runs meanwhile, gets another one.
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer()
    data = packer.pack(value)
    # One that raised may hold half a value, and one that had to grow stays large: neither is used again.
    if len(data) <= _KEPT_BYTES_MAX:
        _idle.append(packer)
    return data


def pack_old(value: Any) -> bytes:
    """The same for readers that know one kind of text ("raw") only, which bytes and text both become."""
    try:
        packer = _idle_old.pop()
    except IndexError:
        packer = msgpack.Packer(use_bin_type=False)
    data = packer.pack(value)
    if len(data) <= _KEPT_BYTES_MAX:
        _idle_old.append(packer)
    return data


def pack_old_items(items: list[Any]) -> bytes:
    """The same for what stands in an array, without the array's head: for arrays that are packed part by part."""
    return pack_old(items)[len(array_head(len(items))) :]


def array_head(count: int) -> bytes:
    """Return what an array of so many items begins with."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")
