"""Orders of NautilusTrader's from records, on the way that a load takes: as bytes, and from the fields of a view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventstore.codec import MsgPackSerializer
from eventstore.integrations.nautilus.views import order_from
from eventstore.model.events import OrderEvent
from eventstore.model.order_amendments import Amendment
from eventstore.projections import AMENDED
from eventstore.states import pack_amended

_SERIALIZER = MsgPackSerializer()


def order_from_records(records: Sequence[OrderEvent], amendments: Sequence[Amendment] = ()) -> Any:
    """Load the order that a view with these records and amendments holds. Raises `DamagedRecord`."""
    fields = {b"%d" % version: _SERIALIZER.serialize(record) for version, record in enumerate(records)}
    if amendments:
        fields[AMENDED.encode()] = pack_amended(amendments)
    found, version = order_from("order:O-1", fields, _SERIALIZER)
    assert version == len(records)
    return found.order
