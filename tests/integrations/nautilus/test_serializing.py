"""The short way between NautilusTrader's events and bytes says to the byte what the long one through a record says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

pytest.importorskip("nautilus_trader")

from nautilus_trader.model import identifiers as nautilus_ids
from nautilus_trader.model import objects

from eventstore.codec import MsgPackSerializer
from eventstore.errors import CodecError
from eventstore.integrations.nautilus.conversion import (
    CapturedInit,
    capture,
    decoding,
    stored,
    to_nautilus,
    to_record,
    values,
)
from eventstore.integrations.nautilus.conversion.encoding import row_writers, short_row_writers
from eventstore.integrations.nautilus.serializing import EventReader, NautilusSerializer
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.events import ORDER_EVENTS, AccountState, OrderFilled, OrderInitialized, OrderUpdated
from eventstore.model.identifiers import PositionId
from eventstore.model.record import Record
from eventstore.model.values import Money, Price
from eventstore.schema import LEFT_OUT, TAGS
from tests.integrations.nautilus.test_conversion import assert_same, filled, specimen
from tests.support import specimens
from tests.support.effort import effort
from tests.support.former import Former
from tests.support.nautilus import records

READER = EventReader()
FORMS = pytest.mark.parametrize("timestamps_as_str", [True, False], ids=["text", "numbers"])
_FAULTS = (CodecError, ValueError, TypeError)


def any_event() -> st.SearchStrategy[Record]:
    """An order event or account state that NautilusTrader can hold."""
    kinds = [records.order_events(kind) for kind in ORDER_EVENTS.values()]
    return st.one_of(*kinds, records.account_states())


def outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    """What `read` makes of `data`: an event, or the error."""
    try:
        return read(data)
    except _FAULTS as error:
        return error


def the_long_way(data: bytes) -> Any:
    return to_nautilus(MsgPackSerializer().deserialize(data))


def assert_read_alike(data: bytes) -> None:
    """Assert that both ways make the same of `data`."""
    expected, found = outcome(the_long_way, data), outcome(READER.deserialize, data)
    note(f"{expected!r:.200}")
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
        assert str(found) == str(expected)
        with pytest.raises(Exception):  # noqa: B017, PT011 # the short way by itself refuses it, too
            decoding.read_event(data)
    else:
        assert_same(found, expected)


# -- What is plain ---------------------------------------------------------------------------------------------


@FORMS
def test_an_event_is_written_to_the_byte_as_its_record(timestamps_as_str: bool) -> None:
    rows, two_steps = row_writers(timestamps_as_str), MsgPackSerializer(timestamps_as_str)
    serializer = NautilusSerializer(timestamps_as_str)

    @effort(150)
    @given(any_event())
    def check(record: Record) -> None:
        event = to_nautilus(record)
        expected = two_steps.serialize(to_record(event))
        assert msgpack.packb(rows[type(event)](event)) == expected
        assert serializer.serialize(event) == expected
        if isinstance(record, AccountState):
            assert serializer.serialize(capture(event)) == expected
        if isinstance(record, OrderInitialized) and event.tags is not None:
            captured = CapturedInit(event, tuple(event.tags))
            event.tags.append("since")
            assert serializer.serialize(captured) == two_steps.serialize(to_record(captured)) == expected

    check()


@FORMS
def test_an_event_is_read_as_its_record_says(timestamps_as_str: bool) -> None:
    serializer = MsgPackSerializer(timestamps_as_str)

    @effort(150)
    @given(any_event())
    def check(record: Record) -> None:
        data = serializer.serialize(record)
        assert_same(decoding.read_event(data), the_long_way(data))

    check()


@pytest.mark.parametrize("kind", [*ORDER_EVENTS.values(), AccountState], ids=lambda kind: kind.__name__)
def test_every_kind_has_a_short_way(kind: Any) -> None:
    """Both at once: nothing of a specimen has to go the long way."""
    event = to_nautilus(specimens.record(kind) if kind is AccountState else specimen(kind))
    data = MsgPackSerializer().serialize(to_record(event))
    assert msgpack.packb(row_writers(timestamps_as_str=True)[type(event)](event)) == data
    assert_same(decoding.read_event(data), event)


@FORMS
def test_an_event_at_its_place_is_written_and_read_as_its_record(timestamps_as_str: bool) -> None:
    """Whatever the place says of it; and one of the version that left nothing out takes no long way either."""
    two_steps, serializer = MsgPackSerializer(timestamps_as_str), NautilusSerializer(timestamps_as_str)
    rows = short_row_writers(timestamps_as_str)

    @effort(150)
    @given(st.one_of([records.order_events(kind) for kind in ORDER_EVENTS.values()]), st.data())
    def check(record: Any, data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            record = record.replace(ts_event=record.ts_init)
        event = to_nautilus(record)
        place = (
            data.draw(st.sampled_from([str(record.trader_id), "OTHER-1"])),
            data.draw(st.sampled_from([str(record.client_order_id), "other"])),
        )
        expected = two_steps.serialize(to_record(event), place)
        assert msgpack.packb(rows[type(event)](event, place)) == expected
        assert serializer.serialize(event, place) == expected
        if isinstance(record, OrderInitialized) and event.tags is not None:
            assert serializer.serialize(CapturedInit(event, tuple(event.tags)), place) == expected
        assert_same(decoding.read_event(expected, place), to_nautilus(two_steps.deserialize(expected, place)))
        assert_same(READER.deserialize(expected, place), to_nautilus(record))
        former = Former(timestamps_as_str).serialize(to_record(event))
        if not isinstance(record, OrderUpdated):
            assert_same(decoding.read_event(former, place), to_nautilus(record))
        assert_same(READER.deserialize(former, place), to_nautilus(record))

    check()


@pytest.mark.parametrize("name", LEFT_OUT)
@pytest.mark.parametrize("kind", ORDER_EVENTS.values(), ids=lambda kind: kind.__name__)
def test_what_is_left_out_where_it_is_not_to_be_is_refused(kind: Any, name: str) -> None:
    event = specimen(kind)
    place = (str(event.trader_id), str(event.client_order_id))
    row = msgpack.unpackb(MsgPackSerializer().serialize(event), strict_map_key=False)
    row[2 + kind._fields.index(name)] = None
    data = msgpack.packb(row)
    assert decoding.read_event(data, place) is not None
    row[1] -= 1
    for stored_there, at in ((data, None), (msgpack.packb(row), place)):
        with pytest.raises((ValueError, TypeError, LookupError)):
            decoding.read_event(stored_there, at)
        with pytest.raises(CodecError, match=f"{name}: left out"):
            READER.deserialize(stored_there, at)


# -- What is not -----------------------------------------------------------------------------------------------

# What a field of a stored event could hold instead: of every class, and at every border.
_INTRUDERS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 255, 2**64 - 1, 1.0, 0.5, b"", "", " ", "0", "1", "-1", "1.50", "é"]),
    st.sampled_from(
        ["-0.00", "1e3", "\u0661", "1" * 41, "0." + "1" * 17, "99999999999999", "NaN", "1_0", "+1", "01.5"]
    ),
    st.sampled_from(["1.50 USD", "1.5 USD", "1.500 USD", "-1.50 USD", "1 ¤", "1.00 UNHEARD", "USD", "UNHEARD", "A B"]),
    st.sampled_from(["A", "A-", "A.B", "A-B", "{", "A\n", "\t", "T" * 37, "V" * 256, "EXTERNAL", "\x7f", "a{b}.c"]),
    st.sampled_from([b"\0" * 16, b"\xff" * 16, b"123", bytes.fromhex("00000000000040008000000000000000")]),
    st.sampled_from(
        [[], ["A"], [1], [None], {}, {"a": 1}, {"a": [None]}, [["1.00 USD"] * 3], [["1.00 USD"] * 2 + [None]]]
    ),
    st.sampled_from(["18446744073709551616", "18446744073709551615", "1" * 20, "0" * 20, "00"]),
)


@effort(400)
@given(any_event(), st.data())
def test_whatever_stands_in_a_field_is_read_alike(record: Record, data: st.DataObject) -> None:
    row = msgpack.unpackb(MsgPackSerializer().serialize(record))
    for _ in range(data.draw(st.integers(1, 2))):
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(_INTRUDERS)
    cut = data.draw(st.sampled_from([0, 0, 0, 0, -1, 1]))
    row = row[:cut] if cut < 0 else row + [None] * cut
    assert_read_alike(msgpack.packb(row))


@effort(250)
@given(any_event(), st.data())
def test_whatever_the_bytes_are_they_are_read_alike(record: Record, data: st.DataObject) -> None:
    mutated = bytearray(MsgPackSerializer().serialize(record))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(mutated) - 1, 40)) | st.integers(0, len(mutated) - 1))
        mutated[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.none() | st.integers(0, len(mutated)))
    assert_read_alike(bytes(mutated[:end]))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xc1", b"\x90", b"\x91\x0a", b"\x92\x0a\x01", b"\x91" * 2000, b"\xdd\xff\xff\xff\xff"),
        *(msgpack.packb(value) for value in ("text", {"a": 1}, b"\x0a\x01", [10.0, 1], [True, 1])),
    ],
    ids=repr,
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        READER.deserialize(data)


@pytest.mark.parametrize("where", ["info", "fields"])
def test_extensions_of_messagepack_are_refused(where: str) -> None:
    row = msgpack.unpackb(MsgPackSerializer().serialize(specimen(OrderFilled)))
    row[-1 if where == "info" else -2] = {"a": msgpack.ExtType(5, b"x")} if where == "info" else msgpack.ExtType(5, b"")
    with pytest.raises(CodecError):
        READER.deserialize(msgpack.packb(row))


def test_an_earlier_schema_version_is_read() -> None:
    row = msgpack.unpackb(MsgPackSerializer().serialize(specimen(OrderUpdated)))
    assert row[:2] == [TAGS[OrderUpdated], 3]
    row[1:] = [1, *row[2:-1]]
    data = msgpack.packb(row)
    assert_same(READER.deserialize(data), the_long_way(data))
    assert decoding.quote_said(data) is None


def test_an_identifier_that_takes_a_second_look_is_written_if_the_record_takes_it() -> None:
    event = to_nautilus(specimen(OrderFilled, position_id=PositionId("Ü" * 60)))
    assert NautilusSerializer().serialize(event) == MsgPackSerializer().serialize(to_record(event))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_order_id", nautilus_ids.ClientOrderId("O-{1}")),
        ("venue_order_id", nautilus_ids.VenueOrderId("V" * 256)),
        ("venue_order_id", nautilus_ids.VenueOrderId("V\t1")),
        ("position_id", nautilus_ids.PositionId("P-\x85")),
        ("instrument_id", nautilus_ids.InstrumentId.from_str("{AUD/USD}.SIM")),
        ("info", {"key": object()}),
        ("info", {"key": 2**64}),
    ],
)
def test_what_the_record_refuses_is_refused_as_often_as_it_is_tried(field: str, value: Any) -> None:
    refused = filled(**{field: value})
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=rf"OrderFilled\.{field}: "):
            NautilusSerializer().serialize(refused)


def test_an_option_that_the_type_has_not_is_refused() -> None:
    event = to_nautilus(specimen(OrderInitialized))
    event.options["unheard_of"] = "1"
    with pytest.raises(ValueError, match="unheard_of"):
        NautilusSerializer().serialize(event)


def test_digits_that_nautilus_trader_does_not_show_are_left_out() -> None:
    for raw in (15 * 10 ** (objects.FIXED_PRECISION - 1) + 1, -1):
        odd = filled(last_px=objects.Price.from_raw(raw, 2))
        assert NautilusSerializer().serialize(odd) == MsgPackSerializer().serialize(to_record(odd))


# -- Currencies, which may become known otherwise --------------------------------------------------------------


def test_money_is_read_as_its_currency_is_known_at_that_time() -> None:
    data = MsgPackSerializer().serialize(
        specimen(OrderFilled, commission=Money("1.5", Currency("LATER", 1, 0, "Later", CurrencyType.CRYPTO)))
    )
    assert str(READER.deserialize(data).commission) == "1.5 LATER"
    Currency.register(Currency("LATER", 4, 0, "Later", CurrencyType.CRYPTO))
    assert_same(READER.deserialize(data), the_long_way(data))


def test_an_event_makes_its_currencies_known() -> None:
    unit = objects.Currency("FIRST", 3, 0, "First", CurrencyType.CRYPTO)
    objects.Currency.register(unit)
    assert Currency.find("FIRST") is None
    NautilusSerializer().serialize(filled(commission=objects.Money.from_raw(0, unit)))
    assert Currency.from_str("FIRST").precision == 3


# -- Bounds ----------------------------------------------------------------------------------------------------


def test_numbers_of_text_are_the_same_both_ways() -> None:
    @effort(200)
    @given(records.decimals())
    def check(number: Any) -> None:
        text = str(Price(number))
        made = values.price_to_nautilus(Price(text))
        assert values.text_from_raw(made.raw, made.precision) == text
        plain = values.raw_from_text(text, values.raw_bound("PRICE_MAX"))
        assert plain == (made.raw, made.precision) or (plain is None and text.startswith("-"))

    check()


def test_what_is_remembered_of_fresh_identifiers_is_bounded() -> None:
    found = stored.identifiers_by_text(PositionId)
    for number in range(3 * stored.LATELY):
        assert found[f"P-{number}"] == nautilus_ids.PositionId(f"P-{number}")
        assert len(found) <= stored.LATELY
