"""Records: declared by annotations, checked when they are made, immutable."""

import copy
import pickle
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given

from eventstore.model.enums import OrderSide
from eventstore.model.errors import InvalidValue, ModelError
from eventstore.model.identifiers import ClientOrderId, Symbol
from eventstore.model.record import EMPTY_INFO, INFO_BYTES_MAX, INFO_DEPTH_MAX, TEXT_BYTES_MAX, U64_MAX, Info, Record
from eventstore.model.values import Price
from tests.support import strategies as some


class Base(Record):
    __slots__ = ()
    symbol: Symbol
    number: int = 7


class Sample(Base, kw_only=True):
    __slots__ = ()
    side: OrderSide
    price: Price | None = None
    rate: Decimal | None = None
    names: tuple[ClientOrderId, ...] = ()
    text: str = ""
    flag: bool = False
    info: Info = EMPTY_INFO


A = Symbol("A")


def sample(**changes: Any) -> Sample:
    values: dict[str, Any] = {"symbol": A, "side": OrderSide.BUY}
    return Sample(**(values | changes))


def test_fields_of_the_base_come_first_and_those_without_default_before_those_with_one() -> None:
    assert Sample._fields[:3] == ("symbol", "side", "number")
    made = sample()
    assert (made.symbol, made.side, made.number, made.price, made.info) == ("A", OrderSide.BUY, 7, None, {})
    assert Base(A) == Base(A, 7)


@given(some.records(Sample))
def test_what_is_shown_is_read_back(record: Sample) -> None:
    assert some.same(Sample.from_dict(record.to_dict()), record)
    assert some.same(pickle.loads(pickle.dumps(record)), record)  # noqa: S301 # our own bytes
    assert some.same(copy.deepcopy(record), record)
    assert some.same(Sample.unchecked(tuple(record)), record)


def test_a_record_can_not_be_changed() -> None:
    given_info = {"a": [1, {"b": 2}]}
    made = sample(info=given_info)
    given_info["a"].append(3)
    assert made.to_dict()["info"] == {"a": [1, {"b": 2}]}
    with pytest.raises(AttributeError):
        made.number = 1  # type: ignore[misc] # the point
    with pytest.raises(AttributeError):
        made.other = 1  # type: ignore[attr-defined] # the point
    with pytest.raises(TypeError):
        made.info["a"] = 1  # type: ignore[index] # the point
    made.to_dict()["info"]["a"].append(3)
    assert made.to_dict()["info"] == {"a": [1, {"b": 2}]}


def test_records_of_two_classes_are_never_equal() -> None:
    class Other(Record):
        __slots__ = ()
        symbol: Symbol
        number: int = 7

    assert Base(A) != Other(A)
    assert Base(A) != tuple(Base(A))
    assert len({Base(A), Other(A)}) == 2


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"symbol": "A"}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"number": True}, "number"),
        ({"number": 1.0}, "number"),
        ({"number": "1"}, "number"),
        ({"side": 1}, "side"),
        ({"price": Decimal(1)}, "price"),
        ({"price": 1.5}, "price"),
        ({"names": ("O-1",)}, "names"),
        ({"names": "O-1"}, "names"),
        ({"text": b""}, "text"),
        ({"flag": 1}, "flag"),
        ({"info": [1]}, "info"),
        ({"info": {1: 2}}, "info"),
        ({"info": {"a": {1, 2}}}, "info"),
        ({"info": {"a": object()}}, "info"),
    ],
)
def test_a_wrong_type_names_the_field_and_stays_refused(changes: dict[str, Any], name: str) -> None:
    for _ in range(2):
        with pytest.raises(TypeError, match=rf"Sample\.{name}"):
            sample(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": -1},
        {"number": U64_MAX + 1},
        {"text": "\ud800"},
        {"text": "x" * (TEXT_BYTES_MAX + 1)},
        {"text": "\u20ac" * (TEXT_BYTES_MAX // 3 + 1)},
        {"info": {"a": 2**64}},
        {"info": {"a": -(2**63) - 1}},
        {"info": {"\ud800": 1}},
        {"info": {"a": "x" * INFO_BYTES_MAX}},
    ],
)
def test_what_can_not_be_stored_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"Sample\."):
        sample(**changes)


def test_information_that_is_nested_too_deep_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(INFO_DEPTH_MAX + 1):
        nested = {"a": nested}
    with pytest.raises(InvalidValue, match="nested"):
        sample(info=nested)
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InvalidValue, match="nested"):
        sample(info=endless)


def test_information_is_kept_as_plain_values() -> None:
    class Kind(str, Enum):  # noqa: UP042 # unlike a StrEnum, its str() is not its value
        ONE = "1"

    class Real(float):
        pass

    kept = sample(info={"a": Kind.ONE, "b": Real(1.5), "c": OrderSide.SELL, "d": bytearray(b"x"), Kind.ONE: True}).info
    assert dict(kept) == {"a": "1", "b": 1.5, "c": 2, "d": b"x", "1": True}
    assert [type(value) for value in kept.values()] == [str, float, int, bytes, bool]
    assert {type(key) for key in kept} == {str}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"symbol": "A"},
        {"type": "Other", "symbol": "A", "side": "BUY"},
        {"symbol": "A", "side": "LEFT"},
        {"symbol": "A", "side": "BUY", "price": "x"},
        {"symbol": "A", "side": "BUY", "rate": "x"},
        {"symbol": "", "side": "BUY"},
        {"symbol": "A", "side": "BUY", "number": -1},
    ],
)
def test_values_that_make_no_record_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        Sample.from_dict(values)


@pytest.mark.parametrize(
    "changes",
    [{"symbol": 5}, {"side": 1}, {"price": 1.5}, {"rate": 1.5}, {"names": "O-1"}, {"names": [1]}, {"info": "x"}],
)
def test_values_of_a_wrong_kind_are_a_type_error(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Sample"):
        Sample.from_dict({"symbol": "A", "side": "BUY"} | changes)


def test_a_missing_argument_names_it() -> None:
    with pytest.raises(TypeError, match="side"):
        Sample(symbol=A)  # type: ignore[call-arg] # the point


def test_info_is_a_mapping() -> None:
    assert isinstance(sample().info, Mapping)
