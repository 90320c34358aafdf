"""What a record's bytes promise: they come back as they went in, old ones too, and hostile ones do no harm."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore import schema, states, upcasters
from eventstore.codec import MsgPackSerializer, names_time
from eventstore.errors import CodecError, UnknownSchema
from eventstore.model import events as e
from eventstore.model.currencies import USD
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType, LiquiditySide, OrderType, TriggerType
from eventstore.model.identifiers import AccountId, InstrumentId, PositionId
from eventstore.model.instrument import Instrument
from eventstore.model.order_amendments import Amendment
from eventstore.model.orders import Order
from eventstore.model.position_basis import PositionBasis
from eventstore.model.record import U64_MAX, Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Price, Quantity
from eventstore.schema import AMENDMENTS_TAG, SNAPSHOTS, STATE_TAG, TAGS, TYPES
from tests.support import specimens
from tests.support import strategies as some
from tests.support.effort import effort
from tests.support.orders import happened, initialized, order_after

TEXT, INTEGERS = SERIALIZERS = (MsgPackSerializer(), MsgPackSerializer(timestamps_as_str=False))
serializers = pytest.mark.parametrize("serializer", SERIALIZERS, ids=["text", "integers"])
kinds = pytest.mark.parametrize("kind", TYPES.values(), ids=[kind.__name__ for kind in TYPES.values()])

TIME = specimens.TIME


def records(kind: type[Record]) -> st.SearchStrategy[Any]:
    """Valid records of that kind, which the foundation's strategies know how to make."""
    if kind is Currency:
        return some.new_currencies()
    if kind is e.AccountState:
        return some.account_states()
    if kind is SyntheticInstrument:
        return some.synthetics()
    if issubclass(kind, Instrument):
        return some.instruments(kind)
    if issubclass(kind, e.OrderEvent):
        return some.order_events(kind)
    assert kind is PositionBasis
    precisions = st.integers(0, 18)
    multipliers = some.quantities().filter(bool)
    return some.records(
        PositionBasis, size_precision=precisions, multiplier=multipliers, base_currency=some.currencies()
    )


# -- What goes in comes out ------------------------------------------------------------------------------------


@kinds
@effort(25)
@given(st.data())
def test_a_record_comes_back_down_to_its_decimals(kind: type[Record], data: st.DataObject) -> None:
    """Whichever way the times were written, and whichever of the two serializers reads."""
    record = data.draw(records(kind))
    for writer in SERIALIZERS:
        stored = writer.serialize(record)
        for reader in SERIALIZERS:
            again = reader.deserialize(stored)
            assert some.same(again, record)
            assert repr(again) == repr(record)
            assert writer.serialize(again) == stored


@serializers
@pytest.mark.parametrize("time", [0, 1, 1_700_000_000_123_456_789, 2**53 + 1, 2**63, 10**19, U64_MAX])
def test_a_time_comes_back_to_the_nanosecond(serializer: MsgPackSerializer, time: int) -> None:
    event = happened(e.OrderFilled, time)
    again = serializer.deserialize(serializer.serialize(event))
    assert (again.ts_event, again.ts_init) == (time, time)  # type: ignore[attr-defined]


def test_times_are_text_for_readers_that_take_numbers_for_doubles() -> None:
    event = initialized(ts_event=TIME, ts_init=0, expire_time_ns=U64_MAX)
    places = [e.OrderInitialized._fields.index(name) + 2 for name in ("ts_event", "ts_init", "expire_time_ns")]
    text, integers = (msgpack.unpackb(serializer.serialize(event)) for serializer in SERIALIZERS)
    assert [text[i] for i in places] == ["1700000000123456789", "0", "18446744073709551615"]
    assert [integers[i] for i in places] == [TIME, 0, U64_MAX]
    assert len([item for item, other in zip(text, integers, strict=True) if item != other]) == 3


@effort(100)
@given(st.data())
def test_an_amount_in_a_currency_that_the_reader_does_not_know_is_exact(data: st.DataObject) -> None:
    """Or that it knows with fewer or more decimals: amount, code and equality among the read ones stay."""
    unit = data.draw(some.new_currencies() | st.integers(0, 18).map(lambda n: USD.replace(precision=n)))
    total = data.draw(some.money(unit, digits=22))  # with 18 decimals more it still has no more than 40 digits
    balance = e.AccountBalance(total, Money.zero(unit), total)
    state = specimens.record(e.AccountState).replace(balances=(balance,), margins=())
    for serializer in SERIALIZERS:
        again: Any = serializer.deserialize(serializer.serialize(state))
        (read,) = again.balances
        assert read.total.amount == total.amount
        assert read.total.currency.code == unit.code
        assert read.total == read.free
        known = Currency.find(unit.code)
        if known is None or known.precision <= unit.precision:  # else it shows all the decimals that it knows of
            assert str(read.total) == str(total)


def test_a_currency_that_the_reader_does_not_know_keeps_its_code() -> None:
    unknown = Currency("NOBODYS", 3, 0, "", CurrencyType.CRYPTO)
    again: Any = TEXT.deserialize(TEXT.serialize(happened(e.OrderFilled, currency=unknown)))
    assert again.currency.code == "NOBODYS"
    assert Currency.find("NOBODYS") is None


@given(st.dictionaries(some.texts(), st.binary(max_size=300), max_size=6))
def test_a_saved_state_comes_back(state: dict[str, bytes]) -> None:
    assert states.unpack_state(states.pack_state(state)) == state


def partly_filled(order_type: OrderType) -> dict[str, Any]:
    kinds = (e.OrderSubmitted, e.OrderAccepted, e.OrderFilled)
    return order_after(*kinds, order_type=order_type, tags=("ü",), exec_algorithm_params={"n": 1}).to_dict()


MARKET = partly_filled(OrderType.MARKET)
STATES = [*map(partly_filled, OrderType), *specimens.snapshots().values()]


@pytest.mark.parametrize("values", STATES, ids=lambda values: values.get("type", "position"))
@pytest.mark.parametrize("timestamps_as_str", [True, False])
def test_a_snapshot_comes_back(values: dict[str, Any], timestamps_as_str: bool) -> None:
    stored = states.pack_snapshot(values, timestamps_as_str)
    again = states.unpack_snapshot(stored)
    assert again == values
    assert repr(sorted(again.items())) == repr(sorted(values.items()))
    written = msgpack.unpackb(stored)[2 + SNAPSHOTS[schema.snapshot_tag(values)].index("ts_init")]
    assert type(written) is (str if timestamps_as_str else int)


@pytest.mark.parametrize("order_type", OrderType)
@effort(10)
@given(st.data())
def test_a_snapshot_of_any_new_order_comes_back(order_type: OrderType, data: st.DataObject) -> None:
    event = data.draw(some.orders_initialized(order_type))
    try:
        values = Order.create(event).to_dict()
    except ValueError:
        return  # no order of its own accord; the event is one all the same
    assert states.unpack_snapshot(states.pack_snapshot(values, timestamps_as_str=True)) == values


def test_a_snapshot_needs_every_value_of_its_kind_and_no_other() -> None:
    values = MARKET
    with pytest.raises(CodecError, match="needs a tags"):
        states.pack_snapshot({name: value for name, value in values.items() if name != "tags"}, timestamps_as_str=True)
    with pytest.raises(CodecError, match="has no colour"):
        states.pack_snapshot(values | {"colour": "red"}, timestamps_as_str=True)


AMENDED: dict[str, st.SearchStrategy[Any]] = {
    "emulation_trigger": st.sampled_from(TriggerType),
    "is_quote_quantity": st.booleans(),
    "liquidity_side": st.sampled_from(LiquiditySide),
    "position_id": some.ids(PositionId) | st.none(),
    "quantity": some.quantities(),
    "activation_price": some.prices() | st.none(),
}


@given(
    st.lists(
        st.sampled_from(sorted(AMENDED)).flatmap(
            lambda name: st.tuples(st.integers(1, 2**32), st.just(name), AMENDED[name])
        ),
        max_size=6,
    )
)
def test_amendments_come_back(amendments: list[Amendment]) -> None:
    again = states.unpack_amended(states.pack_amended(amendments))
    assert repr(again) == repr(amendments)


def test_what_is_no_record_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match="Money is no record"):
        TEXT.serialize(Money(1, USD))
    with pytest.raises(CodecError, match="str is no record"):
        TEXT.serialize("text")  # type: ignore[arg-type]


# -- Old and new versions --------------------------------------------------------------------------------------


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], upcasters.Step]:
    """As if all that is stored were at version 2; the steps from version 1, to be filled."""
    for tag in schema.VERSIONS:
        monkeypatch.setitem(schema.VERSIONS, tag, 2)
    steps: dict[tuple[int, int], upcasters.Step] = {}
    monkeypatch.setattr(upcasters, "STEPS", steps)
    return steps


def test_an_old_record_goes_through_its_step(second_version: dict[tuple[int, int], upcasters.Step]) -> None:
    """As if the reason of a denial had not been stored at first."""
    tag = TAGS[e.OrderDenied]
    event = happened(e.OrderDenied, reason="not said")
    names = e.OrderDenied._fields
    place = names.index("reason")
    second_version[tag, 1] = lambda fields: [*fields[:place], "not said", *fields[place:]]
    new = msgpack.unpackb(MsgPackSerializer().serialize(event))
    assert new[:2] == [tag, 2]
    old = [tag, 1, *(item for i, item in enumerate(new[2:]) if i != place)]
    assert TEXT.deserialize(msgpack.packb(old)) == event


def test_old_states_snapshots_and_amendments_go_through_their_steps(
    second_version: dict[tuple[int, int], upcasters.Step],
) -> None:
    second_version[STATE_TAG, 1] = lambda fields: [{f"new-{key}": value for key, value in fields[0].items()}]
    assert states.unpack_state(msgpack.packb([STATE_TAG, 1, {"a": b"1"}])) == {"new-a": b"1"}
    second_version[AMENDMENTS_TAG, 1] = lambda fields: [[[count + 1, *rest] for count, *rest in fields[0]]]
    amended = states.unpack_amended(msgpack.packb([AMENDMENTS_TAG, 1, [[1, "quantity", "1.0"]]]))
    assert amended == [(2, "quantity", Quantity("1.0"))]
    values = MARKET
    tag = schema.snapshot_tag(values)
    second_version[tag, 1] = lambda fields: [*fields, *[None] * (len(SNAPSHOTS[tag]) - len(fields))]
    row = msgpack.unpackb(states.pack_snapshot(values, timestamps_as_str=True))
    assert states.unpack_snapshot(msgpack.packb([tag, 1, *row[2:-1]])) == values | {SNAPSHOTS[tag][-1]: None}


def test_an_old_record_that_its_step_can_not_read_is_a_codec_error(
    second_version: dict[tuple[int, int], upcasters.Step],
) -> None:
    second_version[TAGS[e.OrderDenied], 1] = lambda fields: [fields[99]]
    with pytest.raises(CodecError, match="schema version 1"):
        TEXT.deserialize(msgpack.packb([TAGS[e.OrderDenied], 1, "x"]))


@pytest.mark.parametrize("version", [3, 0, -1, 2**64 - 1, "1", 1.0, True, None, [1], b"1"])
def test_a_version_that_nobody_wrote_is_named(version: Any) -> None:
    stored = msgpack.unpackb(TEXT.serialize(happened(e.OrderDenied)))
    snapshot = msgpack.unpackb(states.pack_snapshot(MARKET, timestamps_as_str=True))
    reads: list[tuple[Callable[[bytes], Any], list[Any]]] = [
        (TEXT.deserialize, stored),
        (states.unpack_snapshot, snapshot),
        (states.unpack_state, [STATE_TAG, 1, {}]),
        (states.unpack_amended, [AMENDMENTS_TAG, 1, []]),
        (c.decode, [5, 1, 0]),
    ]
    for read, row in reads:
        read(msgpack.packb(row))
        with pytest.raises(UnknownSchema, match="upgrade") as error:
            read(msgpack.packb([row[0], version, *row[2:]]))
        assert repr(version) in str(error.value)
    with pytest.raises(UnknownSchema, match="OrderDenied"):
        TEXT.deserialize(msgpack.packb([stored[0], version, *stored[2:]]))


@pytest.mark.parametrize("tag", [0, 4, 26, 49, 69, 99, 2**64 - 1, -1, "10", 10.0, True, None, [10], {"a": 1}])
def test_a_tag_that_nobody_wrote_is_named(tag: Any) -> None:
    with pytest.raises(UnknownSchema) as error:
        TEXT.deserialize(msgpack.packb([tag, 1, "x"]))
    assert repr(tag) in str(error.value)


# -- Damaged and hostile bytes ---------------------------------------------------------------------------------


def read_record(data: bytes) -> None:
    """Read a record; check that what comes out is one that the model itself would make, and is stored as such."""
    record = TEXT.deserialize(data)
    assert type(record) in TAGS
    make = SyntheticInstrument.as_written if isinstance(record, SyntheticInstrument) else type(record)
    assert repr(make(*record)) == repr(record)
    record.to_dict()
    stored = TEXT.serialize(record)
    assert TEXT.serialize(TEXT.deserialize(stored)) == stored


def read_state(data: bytes) -> None:
    for key, value in states.unpack_state(data).items():
        assert (type(key), type(value)) == (str, bytes)


def read_snapshot(data: bytes) -> None:
    values = states.unpack_snapshot(data)
    assert tuple(values) in SNAPSHOTS.values()
    msgpack.packb(values)
    for name, value in values.items():
        if names_time(name):
            assert value is None or 0 <= value <= U64_MAX


def read_amended(data: bytes) -> None:
    for count, name, value in states.unpack_amended(data):
        assert type(count) is int
        assert name in AMENDED
        assert value is None or isinstance(value, bool | TriggerType | LiquiditySide | PositionId | Quantity | Price)


def read_command(data: bytes) -> None:
    command = c.decode(data)
    assert type(command) in c.KINDS
    assert repr(c.decode(c.encode(command))) == repr(command)


TABLE: dict[str, tuple[bytes, Callable[[bytes], None]]] = {
    **{f"record {tag}": (TEXT.serialize(record), read_record) for tag, record in specimens.records().items()},
    **{
        f"snapshot {tag}": (states.pack_snapshot(values, timestamps_as_str=True), read_snapshot)
        for tag, values in specimens.snapshots().items()
    },
    **{f"command {kind}": (c.encode(command), read_command) for kind, command in specimens.commands().items()},
    "state": (states.pack_state(specimens.STATE), read_state),
    "amendments": (states.pack_amended(specimens.AMENDMENTS), read_amended),
}
"""A valid value of everything that is stored, and how it is read."""

READS = (read_record, read_state, read_snapshot, read_amended, read_command)


def only_codec_errors(read: Callable[[bytes], None], data: bytes) -> bool:
    """Whether `data` is refused; anything but a `CodecError` goes through."""
    try:
        read(data)
    except CodecError as error:
        refused = str(error)
    else:
        return False
    assert 0 < len(refused) < 2_000
    return True


@effort(300)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes) -> None:
    for read in READS:
        only_codec_errors(read, data)


@pytest.mark.parametrize("name", TABLE)
def test_a_truncated_value_is_refused(name: str) -> None:
    data, read = TABLE[name]
    for end in range(len(data)):
        assert only_codec_errors(read, data[:end])
    assert only_codec_errors(read, data + b"\x00")


@pytest.mark.parametrize("name", TABLE)
def test_a_changed_byte_is_refused_or_makes_another_valid_value(name: str) -> None:
    """Every place, and there every bit, and every first byte of a MessagePack type."""
    data, read = TABLE[name]
    types = {0x00, 0x7F, 0x80, 0x90, 0xA0, 0xFF, *range(0xC0, 0xE0, 3)}
    for place, byte in enumerate(data):
        for other in types if place % 3 == 0 else {byte ^ 1 << bit for bit in range(0, 8, 2)}:
            only_codec_errors(read, data[:place] + bytes([other]) + data[place + 1 :])


EVIL: list[Any] = [
    None,
    True,
    -1,
    2**64 - 1,
    -(2**63),
    float("nan"),
    float("inf"),
    1.5,
    "",
    " ",
    "\x00{}",
    "9" * 41,
    "1e999999999",
    "-1",
    "NaN",
    "1.5 ",
    " USD",
    "NaN USD",
    "1e40 USD",
    "0.0000000000000000001 X",
    "٣",
    "x" * 70_000,
    b"",
    b"\xff" * 16,
    [],
    [None],
    [[]],
    [1] * 30,
    ["a", "b"],
    {},
    {"a": {"b": [float("nan")]}},
    {b"a": 1},
    msgpack.Timestamp(1, 1),
    msgpack.ExtType(5, b"code"),
]


@pytest.mark.parametrize("name", TABLE)
def test_a_value_that_does_not_belong_in_its_place_is_refused(name: str) -> None:
    """Each field in turn, by each of a list of values that are of the wrong kind, out of range, or strange."""
    data, read = TABLE[name]
    row = msgpack.unpackb(data)
    for place in range(len(row)):
        for evil in EVIL:
            only_codec_errors(read, msgpack.packb([*row[:place], evil, *row[place + 1 :]]))
    for rest in (row[:-1], [*row, None]):
        assert only_codec_errors(read, msgpack.packb(rest))


JSON_LIKE = st.recursive(
    st.sampled_from(EVIL[:-2]) | st.integers(-(2**63), U64_MAX) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3) | st.binary(max_size=2), inner),
    max_leaves=12,
)


@effort(300)
@given(st.sampled_from([*TYPES, *SNAPSHOTS, STATE_TAG, AMENDMENTS_TAG, *c.COMMANDS]), st.lists(JSON_LIKE, max_size=30))
@example(AMENDMENTS_TAG, [[[1, "quantity", float("nan")]]])
@example(AMENDMENTS_TAG, [[[1, "emulation_trigger", [1]], [-1, "x", 0]]])
@example(STATE_TAG, [{b"a": b"b"}])
def test_any_values_behind_a_known_tag_are_refused_or_valid(tag: int, fields: list[Any]) -> None:
    for read in READS:
        only_codec_errors(read, msgpack.packb([tag, 1, *fields]))


def hostile() -> dict[str, bytes]:
    long = (2**32 - 1).to_bytes(4, "big")
    filler = bytes(100_000)
    nested = len(filler).to_bytes(4, "big")
    return {
        "nothing": b"",
        "two values": b"\x93\x0a\x01\xc0\x00",
        "a list too long": b"\xdd" + long,
        "a map too long": b"\xdf" + long,
        "text too long": b"\xdb" + long,
        "bytes too long": b"\xc6" + long,
        "an extension too long": b"\xc9" + long + b"\x01",
        "long lists in a record": b"\x93\x0a\x01" + b"\xdd" + long,
        "lists in lists": b"\x91" * 100_000,
        "maps in maps": b"\x81\xa0" * 100_000,
        "lists in lists, complete": b"\x91" * 900 + b"\xc0",
        "long lists in long lists": (b"\xdd" + nested) * 1_000 + filler,
        "long maps in long lists": (b"\xdd" + nested + b"\xdf" + nested) * 500 + filler,
        "long lists in a state": b"\x93\x64\x01" + (b"\xdd" + nested) * 1_000 + filler,
        "text that is no UTF-8": b"\x93\x0a\x01\xa2\xff\xfe",
        "a surrogate": b"\x93\x0a\x01\xa3\xed\xa0\x80",
        "an extension": b"\x93\x0a\x01\xd4\x05\x00",
        "a timestamp": b"\x93\x0a\x01\xd6\xff\x00\x00\x00\x01",
        "an impossible timestamp": b"\x93\x0a\x01\xd7\xff" + b"\xff" * 8,
        "a reserved byte": b"\x93\x0a\x01\xc1",
        "a map with numbers for keys": b"\x93\x64\x01\x81\x01\xc4\x00",
        "a map with a list for a key": b"\x93\x64\x01\x81\x90\xc4\x00",
        "a map with bytes for keys": b"\x93\x64\x01\x81\xc4\x01a\xc4\x00",
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_bytes_are_refused_in_little_memory(name: str) -> None:
    """What is declared costs nothing until it is there: no more than a small multiple of the bytes is allocated."""
    data = hostile()[name]
    for read in READS:
        only_codec_errors(read, data)  # caches are filled, and modules imported
        tracemalloc.start()
        try:
            assert only_codec_errors(read, data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 200_000 + 16 * len(data)


def test_of_two_values_of_one_key_the_last_counts() -> None:
    """A map as no writer makes it: it is read, as one value of the key, and written back as that."""
    data = b"\x93\x64\x01\x82\xa1a\xc4\x011\xa1a\xc4\x012"
    assert states.unpack_state(data) == {"a": b"2"}


def test_a_record_that_the_model_would_refuse_is_refused() -> None:
    """Each field alone can be right, and all of them together not."""
    rows: list[tuple[Record, str, Any]] = [
        (specimens.record(Currency), "precision", 99),
        (specimens.record(PositionBasis), "multiplier", "0"),
        (specimens.record(PositionBasis), "instrument_id", "NOVENUE"),
        (specimens.record(e.AccountState), "account_id", "NOHYPHEN"),
        (specimens.record(e.AccountState), "balances", [["3.00 USD", "1.00 USD", "1.00 USD"]]),
        (specimens.record(SyntheticInstrument), "formula", " "),
        (specimens.record(SyntheticInstrument), "components", ["A.X", "A.X"]),
        (initialized(OrderType.TRAILING_STOP_MARKET), "trailing_offset", None),
        (initialized(OrderType.LIMIT), "order_type", OrderType.MARKET.value),
    ]
    for record, name, value in rows:
        row = msgpack.unpackb(TEXT.serialize(record))
        row[2 + record._fields.index(name)] = value
        assert only_codec_errors(read_record, msgpack.packb(row)), (name, value)


def test_a_refusal_names_the_field() -> None:
    event = happened(e.OrderFilled)
    row = msgpack.unpackb(TEXT.serialize(event))
    row[2 + event._fields.index("last_px")] = "a lot"
    with pytest.raises(CodecError, match=r"OrderFilled\.last_px"):
        TEXT.deserialize(msgpack.packb(row))
    row[2 + event._fields.index("last_px")] = 1.5
    with pytest.raises(CodecError, match=r"OrderFilled\.last_px: a float"):
        TEXT.deserialize(msgpack.packb(row))


def test_ids_are_read_as_they_were_written_and_checked_again() -> None:
    row = msgpack.unpackb(TEXT.serialize(happened(e.OrderFilled)))
    place = 2 + e.OrderFilled._fields.index("client_order_id")
    for bad in ("", "  ", "a{b", "a\nb", "\u2028", "x" * 256):
        with pytest.raises(CodecError, match="client_order_id"):
            TEXT.deserialize(msgpack.packb([*row[:place], bad, *row[place + 1 :]]))
    for good in (" a", "ü", "x" * 255):
        read: Any = TEXT.deserialize(msgpack.packb([*row[:place], good, *row[place + 1 :]]))
        assert read.client_order_id == good
    assert type(read.instrument_id) is InstrumentId
    assert type(read.account_id) is AccountId
    assert type(read.last_px) is Price
    assert type(read.commission.amount) is Decimal
