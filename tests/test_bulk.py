"""Records read many at once: never another record than the one that is read by itself, and never one too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.bulk import records_from
from eventstore.codec import MsgPackSerializer
from eventstore.errors import CodecError
from eventstore.model.enums import OrderType
from eventstore.model.events import OrderAccepted, OrderEvent, OrderFilled, OrderSubmitted
from eventstore.model.identifiers import UUID4, ClientOrderId, TradeId
from eventstore.model.record import Record
from tests.support import specimens
from tests.support.effort import effort
from tests.support.orders import happened, initialized

SERIALIZERS = [MsgPackSerializer(timestamps_as_str=True), MsgPackSerializer(timestamps_as_str=False)]
READER = SERIALIZERS[0]
STORED = [serializer.serialize(record) for serializer in SERIALIZERS for record in specimens.records().values()]
STORED += [READER.serialize(specimens.record_of_version(3, 2))]
STORED += [
    READER.serialize(event)
    for event in (
        *(initialized(order_type) for order_type in OrderType),
        *(happened(kind) for kind in OrderEvent.__subclasses__() if kind.__name__ != "OrderInitialized"),
    )
]


def one_by_one(data: bytes) -> Record | None:
    try:
        return READER.deserialize(data)
    except CodecError:
        return None


def shown(record: Any) -> Any:
    """A record with the types of its fields: 1 and True, 1.5 and 1.50 are equal."""
    return None if record is None else (type(record), [*map(type, record)], repr(record))


def check(data: Sequence[bytes]) -> int:
    """Check what many at once gives against one by one; return how many there are that need no second look."""
    found = records_from(data, READER)
    assert len(found) == len(data)
    for item, record in zip(data, found, strict=True):
        assert record is None or shown(record) == shown(one_by_one(item))
    return sum(record is not None for record in found)


def test_every_kind_of_record_is_read_as_it_is_by_itself() -> None:
    assert check(STORED) == len(STORED)


def test_an_order_of_records_is_kept() -> None:
    events = [happened(kind, event_id=UUID4()) for kind in (OrderSubmitted, OrderAccepted, OrderFilled) * 50]
    assert records_from([*map(READER.serialize, events)], READER) == events


def test_what_many_have_in_common_is_one_object() -> None:
    events = [happened(OrderFilled, event_id=UUID4(), trade_id=TradeId(f"T-{i}")) for i in range(50)]
    first, *others = records_from([*map(READER.serialize, events)], READER)
    for other in others:
        assert other[3] is first[3]  # type: ignore[index] # they are records
        assert other.last_px is first.last_px  # type: ignore[union-attr]


def test_nothing_is_made_of_nothing() -> None:
    assert list(records_from([], READER)) == []


def test_another_serializer_is_asked_itself() -> None:
    class Other(MsgPackSerializer):
        def deserialize(self, data: bytes) -> Record:
            raise CodecError("asked")

    assert list(records_from(STORED[:3], Other())) == [None] * 3


def test_a_damaged_record_takes_no_other_kind_with_it() -> None:
    good = [READER.serialize(happened(OrderAccepted, event_id=UUID4())) for _ in range(5)]
    bad = READER.serialize(happened(OrderFilled)).replace(b"USD", b"\xff\xfe\xfd")
    assert records_from([*good, READER.serialize(happened(OrderSubmitted))], READER)[5] is not None
    found = records_from([*good, bad], READER)
    assert found[5] is None
    assert check([*good, bad]) in (0, 5)


@pytest.mark.parametrize("text", ["", " ", "\t", "a{b", "a}b", "x" * 256, "a\x00b", "\u2028", "\ud800"])
def test_an_identifier_that_is_none_is_not_let_pass(text: str) -> None:
    row = [happened(OrderSubmitted, client_order_id=ClientOrderId("O-1")) for _ in range(3)]
    data = [READER.serialize(event) for event in row]
    mark = b"\xa3O-1"
    raw = text.encode("utf-8", "surrogatepass")
    data[1] = data[1].replace(mark, b"\xda" + len(raw).to_bytes(2, "big") + raw)
    assert records_from(data, READER)[1] is None
    assert one_by_one(data[1]) is None
    check(data)


@given(st.lists(st.sampled_from(STORED), min_size=1, max_size=12), st.data())
@effort(150)
def test_damaged_bytes_give_what_they_give_by_themselves(data: list[bytes], draw: st.DataObject) -> None:
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(data) - 1))
        item = bytearray(data[place])
        at = draw.draw(st.integers(0, max(len(item) - 1, 0)))
        item[at : at + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=4))
        data[place] = bytes(item)
    check(data)


@given(st.lists(st.binary(max_size=64), max_size=6))
@effort(100)
def test_any_bytes_give_what_they_give_by_themselves(data: list[bytes]) -> None:
    check(data)


def test_nested_arrays_that_are_declared_long_take_no_memory() -> None:
    deep = b"\xdd\x00\x10\x00\x00" * 2000
    assert list(records_from([deep, STORED[0]], READER)) == [None, None]
