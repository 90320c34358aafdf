"""Events of NautilusTrader as the rows that are packed, without a record between them: for each class one expression.

A row is to the byte what `MsgPackSerializer` makes of the record that says the same. What is not plain raises, and
what is refused: who calls goes the long way then, through the record, which takes it or says what is wrong with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any

from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import objects

from eventstore.codec import is_timestamp, names_time
from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.accounts import CapturedState, capture
from eventstore.integrations.nautilus.conversion.events import (
    OPTIONS,
    ORDER_EVENT_KINDS,
    CapturedInit,
    attribute_of,
    default_of,
    identifiers,
    text_reader,
)
from eventstore.integrations.nautilus.conversion.expressions import FRESH, Expression, is_plain
from eventstore.model.currency import Currency
from eventstore.model.enums import AccountType
from eventstore.model.events import ORDER_OPTIONS, AccountState, OrderEvent, OrderInitialized
from eventstore.model.identifiers import UUID4, AccountId, Identifier, InstrumentId
from eventstore.model.record import Field, thaw
from eventstore.model.values import Money, Price, Quantity
from eventstore.place import Place
from eventstore.schema import TAGS, VERSIONS

Convert = Callable[[Any], Any]

# -- Values ----------------------------------------------------------------------------------------------------


@functools.cache
def _known(kind: type[Identifier]) -> values.Remembered:
    """The text of NautilusTrader's identifiers of `kind`, if it can be stored."""
    found = identifiers(kind)
    return values.Remembered(lambda value: str.__str__(found[value]))


def _fixed_texts(kind: Any) -> values.Remembered:
    """The text of prices or quantities by their ``(raw, precision)``."""
    from_raw = getattr(objects, kind.__name__).from_raw
    convert = values.price_from_nautilus if kind is Price else values.quantity_from_nautilus
    return values.Remembered(lambda key: values.text_from_raw(*key) or str(convert(from_raw(*key))))


_FIXED = {Price: _fixed_texts(Price), Quantity: _fixed_texts(Quantity)}
_codes = values.Remembered(lambda value: values.currency_from_nautilus(value).code)
_money_texts: dict[tuple[int, str, int], str] = {}


def _money(value: Any) -> str:
    currency = value.currency
    key = (value.raw, _codes[currency], currency.precision)
    text = _money_texts.get(key)
    if text is None:
        amount = values.text_from_raw(key[0], key[2])
        text = f"{amount} {key[1]}" if amount else str(values.money_from_nautilus(value))
        if len(_money_texts) >= values.REMEMBERED_MAX:
            _money_texts.clear()
        _money_texts[key] = text
    return text


def _info(value: Any) -> Any:
    return thaw(values.info_from_nautilus("event", "info", value))


def _numbers(kind: type[IntEnum]) -> tuple[int | None, ...]:
    return tuple(None if member is None else int(member) for member in values.members(kind))


def _plain(value: Any) -> str:
    return format(values.decimal_of(value), "f")


# -- Order events ----------------------------------------------------------------------------------------------


def _stored(spec: Field, source: str, made: Expression, timestamps_as_str: bool) -> str:
    """Return the expression that gives a field as it is stored, of `source`, which is NautilusTrader's attribute."""
    kind = spec.kind
    if kind is UUID4:
        return f'{made.name(bytes.fromhex)}({source}.value.replace("-", ""))'
    if kind is int:
        return f"str({source})" if timestamps_as_str and is_timestamp(spec) else source
    if issubclass(kind, IntEnum):
        return f"{made.name(_numbers(kind))}[{source}]"
    if kind is bool:
        return source
    value = f"(v := {source})"
    if spec.is_info:
        shown = f"{made.name(_info)}(v) if {value} else {{}}"
        return f"None if {value} is None else {shown}" if spec.optional else shown
    if spec.element is str:
        return f"None if {value} is None else [*map({made.name(text_reader(spec))}, v)]"
    if spec.element is not None:
        return f"None if {value} is None else [*map({made.name(_known(spec.element).__getitem__)}, v)]"
    taken = f"v if {value} is None else " if spec.optional else ""
    first = "v" if taken else value
    if issubclass(kind, Identifier) and kind in FRESH:
        return f"{taken}(t if plain(t := {first}.value) else {made.name(_known(kind))}[v])"
    if issubclass(kind, Identifier):
        return f"{taken}{made.name(_known(kind))}[{first}]"
    if kind in _FIXED:
        return f"{taken}{made.name(_FIXED[kind])}[{first}.raw, v.precision]"
    convert: Convert = text_reader(spec) if spec.is_text else _WRITERS[kind]
    return f"{taken}{made.name(convert)}({first})"


_WRITERS: dict[Any, Convert] = {Money: _money, Currency: _codes.__getitem__}


# What is left out where an order's events stand, if it is equal: `trader_id` and `order_id` are the place's.
_SHORT = {
    "ts_init": "None if e.ts_init == e.ts_event else {}",
    "trader_id": "None if (s := {}) == trader_id else s",
    "client_order_id": "None if e.client_order_id.value == order_id else {}",
}


def _row_of(kind: type[OrderEvent], theirs: Any, timestamps_as_str: bool, short: bool) -> Callable[..., Any]:
    made = Expression(plain=is_plain)
    fields = []
    for spec in kind._specs:
        name = attribute_of(kind, spec)
        if kind is OrderInitialized and spec.name in OPTIONS:
            fields.append(f"o[{spec.name!r}]")
        elif kind is OrderInitialized and spec.name == "tags":
            fields.append(_stored(spec, "tags", made, timestamps_as_str))
        elif hasattr(theirs, name):
            fields.append(_stored(spec, f"e.{name}", made, timestamps_as_str))
        else:
            fields.append(repr(default_of(kind, spec)))  # a flag, of a release before NautilusTrader had it
        if short and spec.name in _SHORT:
            fields[-1] = _SHORT[spec.name].format(fields[-1])
    row = f"({TAGS[kind]}, {VERSIONS[TAGS[kind]]}, {', '.join(fields)})"
    arguments, before = (", place", "trader_id, order_id = place") if short else ("", "pass")
    if kind is OrderInitialized:
        convert, options = made.compile(f"e, o, tags{arguments}", row, before), _options_of(timestamps_as_str)
        return lambda event, tags, *place: convert(event, options(event), tags, *place)
    return made.compile(f"e{arguments}", row, before)


def _options_of(timestamps_as_str: bool) -> Convert:
    """Return what gives the options of an order as they are stored, those that its type has not as nothing."""
    read: dict[str, Convert] = {}
    nothing: dict[str, Any] = {}
    for spec in OrderInitialized._specs:
        kind = spec.kind
        if spec.name not in OPTIONS:
            continue
        default = default_of(OrderInitialized, spec)
        nothing[spec.name] = default if default is None else int(default)
        if kind in _FIXED:
            read[spec.name] = values.Remembered(functools.partial(_fixed_text, kind)).__getitem__
        elif issubclass(kind, IntEnum):
            read[spec.name] = {member.name: int(member) for member in kind}.__getitem__
        elif kind is Decimal:
            read[spec.name] = _plain
        elif timestamps_as_str and names_time(spec.name):
            nothing[spec.name] = str(nothing[spec.name])
            read[spec.name] = _time_text
        else:
            read[spec.name] = int
    allowed = {int(kind): {name: read[name] for name in names} for kind, names in ORDER_OPTIONS.items()}

    def options(event: Any) -> dict[str, Any]:
        found = nothing.copy()
        readers = allowed[event.order_type]
        for name, value in event.options.items():
            if value is not None:
                found[name] = readers[name](value)
        return found

    return options


def _fixed_text(kind: Any, text: Any) -> str:
    if text.__class__ is not str:
        raise TypeError(f"a {type(text).__name__} is no text")
    return str(kind(text))


def _time_text(value: Any) -> str:
    return str(int(value))


# -- Accounts --------------------------------------------------------------------------------------------------


def _row_of_state(timestamps_as_str: bool) -> Convert:
    time: Convert = str if timestamps_as_str else int
    accounts, instruments, types = _known(AccountId), _known(InstrumentId), _numbers(AccountType)
    tag = TAGS[AccountState]
    version = VERSIONS[tag]

    def row(captured: CapturedState) -> tuple[Any, ...]:
        event, balances, margins, info = captured
        base = event.base_currency
        return (
            tag,
            version,
            bytes.fromhex(event.id.value.replace("-", "")),
            time(event.ts_event),
            time(event.ts_init),
            accounts[event.account_id],
            types[event.account_type],
            None if base is None else _codes[base],
            [[_money(total), _money(locked), _money(free)] for total, locked, free in balances],
            [
                (_money(initial), _money(maintenance), None if of is None else instruments[of])
                for initial, maintenance, of in margins
            ],
            event.is_reported,
            thaw(info),
        )

    return row


@functools.cache
def row_writers(timestamps_as_str: bool) -> dict[type, Convert]:
    """Return what gives the row of an event, by the event's class."""
    state = _row_of_state(timestamps_as_str)
    writers = {
        theirs: _row_of(kind, theirs, timestamps_as_str, short=False) for kind, theirs in ORDER_EVENT_KINDS.items()
    }
    init: Callable[[Any, Any], Any] = writers[nautilus_events.OrderInitialized]
    return writers | {
        CapturedState: state,
        nautilus_events.AccountState: lambda event: state(capture(event)),
        CapturedInit: lambda captured: init(captured.event, captured.tags),
        nautilus_events.OrderInitialized: lambda event: init(event, event.tags),
    }


@functools.cache
def short_row_writers(timestamps_as_str: bool) -> dict[type, Callable[[Any, Place], Any]]:
    """Return what gives the row of an order's event at a place, by the event's class."""
    writers = {
        theirs: _row_of(kind, theirs, timestamps_as_str, short=True) for kind, theirs in ORDER_EVENT_KINDS.items()
    }
    init: Callable[[Any, Any, Place], Any] = writers[nautilus_events.OrderInitialized]
    return writers | {
        CapturedInit: lambda captured, place: init(captured.event, captured.tags, place),
        nautilus_events.OrderInitialized: lambda event, place: init(event, event.tags, place),
    }
