"""Instruments and synthetic instruments, both ways.

There are few of them, so they are made by the checked constructors, and what NautilusTrader made of a record is read
back: which fields a constructor takes differs between classes and releases, and what it does not take it sets itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Any

import nautilus_trader
from nautilus_trader.core.datetime import unix_nanos_to_dt
from nautilus_trader.model import instruments as nautilus_instruments

from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.events import identifiers, nautilus_identifiers
from eventstore.model.currency import Currency
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import Identifier, InstrumentId, Symbol
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import INSTRUMENTS, BettingInstrument
from eventstore.model.record import Field, thaw
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Price, Quantity

_TIMES = frozenset({"event_open_date", "market_start_time"})  # pandas timestamps, of betting instruments
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")

_READ: Mapping[Any, Callable[[Any], Any]] = {
    Price: values.price_from_nautilus,
    Quantity: values.quantity_from_nautilus,
    Money: values.money_from_nautilus,
    Currency: values.currency_from_nautilus,
    Decimal: values.decimal_of,
}
_MADE: Mapping[Any, Callable[[Any], Any]] = {
    Price: values.price_to_nautilus,
    Quantity: values.quantity_to_nautilus,
    Money: values.money_to_nautilus,
    Currency: values.currency_to_nautilus,
}


def nautilus_instrument(kind: type[Instrument]) -> Any:
    """NautilusTrader's class of that name, None if the installed release has none."""
    return getattr(nautilus_instruments, kind.__name__, None)


INSTRUMENT_KINDS = {
    kind: nautilus_instrument(kind) for kind in INSTRUMENTS.values() if nautilus_instrument(kind) is not None
}
"""Our classes of instruments, and NautilusTrader's."""


# -- From NautilusTrader ---------------------------------------------------------------------------------------


def instrument_from_nautilus(kind: type[Instrument], value: Any) -> Instrument:
    """Our instrument of `kind`. Raises `TypeError` or `InvalidValue`, naming the field, for what can not be stored."""
    fields = {}
    for spec in kind._specs:
        if hasattr(value, spec.name):
            try:
                fields[spec.name] = _read(spec, getattr(value, spec.name))
            except (ValueError, AttributeError, ArithmeticError) as e:
                raise InvalidValue(f"{kind.__name__}.{spec.name} of {value.id}: {e}") from e
    return kind(**fields)


def _read(spec: Field, value: Any) -> Any:
    if value is None:
        return None
    kind = spec.kind
    if spec.is_info:
        return values.info_from_nautilus("Instrument", spec.name, value)
    if spec.name in _TIMES:
        return value.value
    if spec.name == "selection_handicap":
        return Decimal(repr(float(value)))
    if issubclass(kind, Identifier):
        return identifiers(kind)[value]
    if issubclass(kind, IntEnum):
        return kind(int(value))
    convert = _READ.get(kind)
    return value if convert is None else convert(value)


def synthetic_from_nautilus(value: Any) -> SyntheticInstrument:
    """Our synthetic instrument; its formula is in the dialect of the installed release."""
    components = identifiers(InstrumentId)
    return SyntheticInstrument.as_written(
        symbol=Symbol(value.id.symbol.value),
        price_precision=value.price_precision,
        components=tuple(components[component] for component in value.components),
        formula=value.formula,
        ts_event=value.ts_event,
        ts_init=value.ts_init,
    )


# -- To NautilusTrader -----------------------------------------------------------------------------------------

_not_taken: dict[type[Instrument], set[str]] = {}


def instrument_to_nautilus(record: Instrument) -> Any:
    """NautilusTrader's instrument. Raises `InvalidValue` for one that the installed release can not hold exactly."""
    kind = type(record)
    theirs = INSTRUMENT_KINDS[kind]
    arguments = _betting_arguments(record) if isinstance(record, BettingInstrument) else {}
    for spec, value in zip(kind._specs, record, strict=True):
        if spec.name not in _TIMES:  # None is passed on, too: what is left out may have another default
            arguments[spec.name] = None if value is None else _made(spec, value)
    arguments["instrument_id"] = arguments.pop("id")
    if kind._currency_key == "currency":
        currency = arguments.pop("quote_currency")
        arguments["currency"] = currency.code if kind is BettingInstrument else currency
    try:
        made = _call(theirs, arguments, _not_taken.setdefault(kind, set()))
    except (ValueError, TypeError, OverflowError) as e:
        raise InvalidValue(f"{kind.__name__} {record.id}: NautilusTrader takes none like it: {e}") from e
    _check_same(record, instrument_from_nautilus(kind, made))
    return made


def _call(make: Callable[..., Any], arguments: dict[str, Any], left_out: set[str]) -> Any:
    """Return what `make` makes of those `arguments` that it takes; the names of the others go into `left_out`."""
    try:
        return make(**{name: value for name, value in arguments.items() if name not in left_out})
    except TypeError as e:
        found = _UNEXPECTED.search(str(e))
        if found is None or found[1] in left_out:
            raise
        left_out.add(found[1])
    return _call(make, arguments, left_out)


def _betting_arguments(record: BettingInstrument) -> dict[str, Any]:
    return {"venue_name": str(record.venue)} | {name: unix_nanos_to_dt(getattr(record, name)) for name in _TIMES}


def _made(spec: Field, value: Any) -> Any:
    kind = spec.kind
    if spec.is_info:
        return thaw(value)
    if spec.name == "selection_handicap":
        return float(value)
    if issubclass(kind, Identifier):
        return nautilus_identifiers(kind)[value]
    convert = _MADE.get(kind)
    return value if convert is None else convert(value)


def _check_same(record: Instrument, made: Instrument) -> None:
    for name, ours, theirs in zip(record._fields, record, made, strict=True):
        if ours != theirs and not (name == "info" and not ours and not theirs):
            raise InvalidValue(
                f"{type(record).__name__} {record.id}: the installed NautilusTrader {nautilus_trader.__version__} can "
                f"not hold {name} {ours}, it makes {theirs} of it"
            )


def synthetic_to_nautilus(record: SyntheticInstrument) -> Any:
    """NautilusTrader's synthetic instrument. Raises `ValueError` for one that it can not hold."""
    components = nautilus_identifiers(InstrumentId)
    return nautilus_instruments.SyntheticInstrument(
        symbol=nautilus_identifiers(Symbol)[record.symbol],
        price_precision=record.price_precision,
        components=[components[component] for component in record.components],
        formula=record.formula,
        ts_event=record.ts_event,
        ts_init=record.ts_init,
    )
