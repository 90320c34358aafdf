"""What NautilusTrader's serializer wrote is read as it was meant; any other bytes are told of, and nothing else."""

import contextlib
import json

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventstore.importing.decoding import (
    Unreadable,
    not_kept,
    read_currency,
    read_event,
    read_heartbeat,
    read_instrument,
    read_state,
    read_synthetic,
    read_values,
)
from eventstore.model.events import OrderUpdated
from tests.support.effort import effort
from tests.support.nautilus_keyspaces import NAMES, decoded, recorded

READERS = (
    read_values,
    read_heartbeat,
    lambda data: read_currency("USD", data),
    read_instrument,
    read_synthetic,
    read_event,
    read_state,
)
TIME_NS = 1_700_000_000_123_456_789
VALUES = [
    decoded(value)
    for name in NAMES
    for each in recorded(name)["keys"].values()
    if each["type"] in ("string", "list")
    for value in (each["value"] if each["type"] == "list" else [each["value"]])
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recorded value with some bytes exchanged, taken out or put in."""
    data = bytearray(draw(st.sampled_from(VALUES)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        data[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


@st.composite
def with_another_value(draw: st.DrawFn) -> bytes:
    """A recorded map in which one value is exchanged for any other."""
    data = draw(st.sampled_from([value for value in VALUES if value[:1] == b"{" or value[:1] > b"\x80"]))
    try:
        values = json.loads(data) if data[:1] == b"{" else msgpack.unpackb(data)
    except ValueError:
        return data
    if isinstance(values, dict) and values:
        values[draw(st.sampled_from(sorted(values)))] = draw(json_values)
    return json.dumps(values, default=str).encode()


@effort(300)
@given(st.binary(max_size=64) | damaged() | with_another_value())
@example(b"")
@example(b"{")
@example(b"\x91" * 5000)
@example(b"[" * 100_000)
@example(b'{"a":' * 5000)
@example(b'{"ts_init": ' + b"9" * 5000 + b"}")
@example(b'{"precision": 1e999, "iso4217": 0, "name": "x", "currency_type": "FIAT"}')
@example(b'{"\\ud800": "AA=="}')
@example(b'{"n": "b' + b"(" * 2000 + b'"}')
def test_any_bytes_are_read_or_unreadable(data: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(Unreadable):
            read(data)


@pytest.mark.parametrize("pack", [msgpack.packb, lambda values: json.dumps(values).encode()], ids=["msgpack", "json"])
@pytest.mark.parametrize(
    "written",
    [TIME_NS, str(TIME_NS), "2023-11-14T22:13:20.123456789Z", "2023-11-14T23:13:20.123456789+01:00"],
)
def test_times_are_read_in_every_form(pack: object, written: object) -> None:
    assert callable(pack)
    values = read_values(pack({"ts_init": written, "ts_closed": None, "other": "1"}))
    assert values == {"ts_init": TIME_NS, "ts_closed": None, "other": "1"}


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20"])
def test_a_time_without_all_decimals_is_that_time(text: str) -> None:
    fraction = 500_000_000 if "." in text else 0
    assert read_heartbeat(text.encode()) == 1_700_000_000_000_000_000 + fraction


@pytest.mark.parametrize("wrong", ["", "yesterday", "-1", "2023-13-14T22:13:20Z", str(2**64), True, 1.5, [1]])
def test_what_is_no_time_is_unreadable(wrong: object) -> None:
    with pytest.raises(Unreadable, match="ts_init"):
        read_values(json.dumps({"ts_init": wrong}).encode())


@given(st.dictionaries(st.text(max_size=5).filter(lambda name: not name.startswith("ts_")), st.binary(max_size=20)))
def test_a_saved_state_comes_back_as_the_strategy_saved_it(state: dict[str, bytes]) -> None:
    """Whatever the names: also those whose values NautilusTrader takes for times, and writes as text."""
    packed = {name: str(value) if name in "expire_time_ns" else value for name, value in state.items()}
    found, repaired, left = read_state(msgpack.packb(packed))
    assert (found, left) == (state, [])
    assert set(repaired) == {name for name in state if name in "expire_time_ns"}


def test_what_a_strategy_saved_and_is_no_bytes_is_named() -> None:
    state, _, left = read_state(msgpack.packb({"good": b"1", "number": 5, "text": "abc"}))
    assert state == {"good": b"1"}
    assert left == ["number", "text"]


def test_a_field_that_a_record_has_no_place_for_is_named() -> None:
    """So a newer NautilusTrader's field is not dropped without a word; one that says nothing is."""
    values = {
        "type": "OrderUpdated",
        "event_id": "e7e0c5b8-5b7e-4b0e-9d5f-2d5d4f0d4b11",
        "ts_event": "5",
        "ts_init": "5",
        "trader_id": "T-1",
        "strategy_id": "S-1",
        "instrument_id": "A.B",
        "client_order_id": "O-1",
        "quantity": "1",
        "of_the_future": "something",
        "and_empty": None,
    }
    event, given_values = read_event(json.dumps(values).encode())
    assert isinstance(event, OrderUpdated)
    assert list(not_kept(given_values, event)) == ["of_the_future"]
    assert list(not_kept({**given_values, "quantity": "2"}, event)) == ["quantity", "of_the_future"]
