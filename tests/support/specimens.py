"""One fixed specimen of everything that is stored: every field set, nothing random, no two fields alike."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from eventstore import commands as c
from eventstore.codec import names_time
from eventstore.model.currencies import BTC, ETH, EUR, JPY, USD
from eventstore.model.currency import Currency
from eventstore.model.enums import LiquiditySide, OrderType, TriggerType
from eventstore.model.events import AccountBalance, MarginBalance, OrderInitialized
from eventstore.model.identifiers import UUID4, AccountId, InstrumentId, PositionId, TraderId
from eventstore.model.instruments import BettingInstrument
from eventstore.model.order_amendments import Amendment
from eventstore.model.position_basis import PositionBasis
from eventstore.model.record import Field, Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Price, Quantity
from eventstore.schema import POSITION_SNAPSHOT_TAG, SNAPSHOTS, TYPES

TIME = 1_700_000_000_123_456_789

_CURRENCIES = (USD, ETH, BTC, EUR, JPY)
# By the place of the field in its record: two fields of one type that changed places would show.
_VALUES: dict[type, Callable[[int], Any]] = {
    bool: lambda place: place % 2 == 0,
    int: lambda place: TIME + place,
    Decimal: lambda place: Decimal(place).scaleb(-4),
    Price: lambda place: Price(f"1.{place:02}"),
    Quantity: lambda place: Quantity(f"{90 - place}.5"),
    Money: lambda place: Money(f"{1000 + place}.25", USD),
    Currency: lambda place: _CURRENCIES[place % len(_CURRENCIES)],
    UUID4: lambda _: UUID4("01234567-89ab-4cde-8f01-23456789abcd"),
    TraderId: lambda _: TraderId("TRADER-001"),
    AccountId: lambda _: AccountId("SIM-001"),
    InstrumentId: lambda place: InstrumentId(f"BRK.B/ü{place}.XNYS"),
    AccountBalance: lambda _: AccountBalance(Money("100.25", USD), Money("0.25", USD), Money("100.00", USD)),
    MarginBalance: lambda _: MarginBalance(Money("1.00", USD), Money("2.00", USD), InstrumentId("A.B")),
}
_INFO = {"text": "é", "none": None, "list": [1, -1, 2.5, True], "map": {"bytes": b"\x00\xff", "large": 2**64 - 1}}

_INSTRUMENT = {"price_precision": 2, "size_precision": 1}
_BETTING = {
    "market_id": "1.201070830",
    "selection_id": 123456,
    "selection_handicap": Decimal("-1.5"),
    "raw_symbol": BettingInstrument.symbol_of("1.201070830", 123456, Decimal("-1.5")),
    "id": InstrumentId("1-201070830-123456--1.5.BETFAIR"),
}
_SYNTHETIC = {"components": (InstrumentId("A.X"), InstrumentId("B.Y")), "formula": "(A.X + B.Y) / 2"}

_OVERRIDES: dict[type[Record], dict[str, Any]] = {
    Currency: {"code": "XYZ", "precision": 4, "iso4217": 999},
    PositionBasis: {"size_precision": 1, "quantity_net_of_commission": True},
    SyntheticInstrument: {"price_precision": 4, **_SYNTHETIC},
    OrderInitialized: {"order_type": OrderType.TRAILING_STOP_LIMIT},
    BettingInstrument: {**_INSTRUMENT, **_BETTING},
}


def _value(spec: Field, place: int) -> Any:
    if spec.is_info:
        return _INFO
    kind = spec.element or spec.kind
    if kind in _VALUES:
        value = _VALUES[kind](place)
    else:  # text and identifiers are called as their field is; of an enum it is the second, as new ones come last
        value = kind(spec.name) if issubclass(kind, str) else sorted(kind)[1]
    return (value,) if spec.element else value


def record(kind: type[Record]) -> Any:
    """The specimen of that kind of record."""
    values = {spec.name: _value(spec, place) for place, spec in enumerate(kind._specs)}
    if "price_increment" in kind._fields:
        values |= {name: value for name, value in _INSTRUMENT.items() if name in kind._fields}
    return kind(**{**values, **_OVERRIDES.get(kind, {})})


def records() -> dict[int, Record]:
    """The specimen of every record, by its tag."""
    return {tag: record(kind) for tag, kind in TYPES.items()}


# What each version of a record brought, and what the records before say of it.
_BROUGHT: dict[tuple[int, int], dict[str, Any]] = {
    (3, 2): {"quantity_net_of_commission": False},
    (24, 2): {"is_quote_quantity": None},
}


def later_fields(tag: int, version: int) -> dict[str, Any]:
    """The fields that came after that version, with the values that a record of it is read with."""
    later = sorted(key for key in _BROUGHT if key[0] == tag and key[1] > version)
    return {name: value for key in later for name, value in _BROUGHT[key].items()}


def record_of_version(tag: int, version: int) -> Record:
    """The specimen as it is read from what that version stored of it."""
    return records()[tag].replace(**later_fields(tag, version))


def snapshots() -> dict[int, dict[str, Any]]:
    """A snapshot of every kind, by its tag. The values are made up: what a model says of itself may change."""
    made = {}
    for tag, names in SNAPSHOTS.items():
        others = (None, 1.5, True, ["a"], {"k": "v"})
        values: dict[str, Any] = {
            name: TIME + place if names_time(name) else (*others, name)[place % 6] for place, name in enumerate(names)
        }
        if tag != POSITION_SNAPSHOT_TAG:
            values["type"] = OrderType(tag - POSITION_SNAPSHOT_TAG).name
        made[tag] = values
    return made


STATE = {"": b"", "key": b"\x00\xffvalue", "ü": b"1"}
AMENDMENTS: list[Amendment] = [
    (1, "emulation_trigger", TriggerType.BID_ASK),
    (2, "is_quote_quantity", True),
    (2, "liquidity_side", LiquiditySide.MAKER),
    (3, "position_id", PositionId("P-1")),
    (3, "position_id", None),
    (2**40, "quantity", Quantity("10.50")),
    (2**40, "activation_price", Price("1.20")),
]

_ARGUMENTS: dict[str, Callable[[str, int], Any]] = {
    "int": lambda _, place: 3 + place,
    "str": lambda name, _: name,
    "bytes": lambda name, _: b"\x93\x00\xff" + name.encode(),
    "bool": lambda _, place: place % 2 == 0,
    "dict[str, Any]": lambda *_: {"host": "ü", "config": {"n": 1, "f": 0.5, "b": False}},
    "dict[str, int]": lambda *_: {"commands": 2**40, "batches": 7},
    "list[bytes]": lambda *_: [b"\x01", b"", b"\xff" * 33],
}


def commands() -> dict[int, c.Command]:
    """The specimen of every command, by its kind's number; what may be None is set."""
    return {number: kind(*_arguments(kind)) for number, kind in c.COMMANDS.items()}


def _arguments(kind: type[c.Command]) -> list[Any]:
    made = []
    for place, (name, hint) in enumerate(kind.__annotations__.items()):
        text = str(getattr(hint, "__forward_arg__", hint)).partition(" | ")[0]
        made.append(_ARGUMENTS[text](name, place))
    return made
