"""Serializers as there were before an order's events left anything out."""

from __future__ import annotations

import msgpack

from eventstore.codec import MsgPackSerializer
from eventstore.model.record import Record
from eventstore.schema import SHORT_SINCE


class Whole(MsgPackSerializer):
    """Writes records whole wherever they stand, as everything did that knows of no places."""

    def serialize(self, record: Record) -> bytes:  # type: ignore[override] # which is how it takes no place
        return super().serialize(record)


class Former(MsgPackSerializer):
    """Writes an order's events in the version before."""

    def serialize(self, record: Record) -> bytes:  # type: ignore[override]
        row = msgpack.unpackb(super().serialize(record), strict_map_key=False)
        row[1] = SHORT_SINCE[row[0]] - 1 if row[0] in SHORT_SINCE else row[1]
        data: bytes = msgpack.packb(row)
        return data
