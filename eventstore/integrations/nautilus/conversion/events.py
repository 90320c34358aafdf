"""Order events as records, both ways, field by field: the long way, which says of everything what is wrong with it.

The fields that a record and NautilusTrader's event share have one name, but for those in `_NAMES`. What the installed
release does not have yet is left out, if it has the value that stands for nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Any, NamedTuple

import nautilus_trader
from nautilus_trader.model import events as nautilus_events

from eventstore.integrations.nautilus.conversion import values
from eventstore.model.currency import Currency
from eventstore.model.enums import OrderType, TrailingOffsetType, TriggerType
from eventstore.model.errors import InvalidValue
from eventstore.model.events import ORDER_EVENTS, ORDER_OPTIONS, OrderEvent, OrderInitialized
from eventstore.model.identifiers import UUID4, Identifier
from eventstore.model.record import Field, check_text, thaw
from eventstore.model.values import Money, Price, Quantity

Convert = Callable[[Any], Any]

_NAMES = {"event_id": "id"}
_INIT_NAMES = _NAMES | {"order_side": "side"}
_FAULTS = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError)

OPTIONS = frozenset(name for names in ORDER_OPTIONS.values() for name in names)
"""The fields that NautilusTrader's `OrderInitialized` has among its options."""

MADE_HERE = frozenset({"OrderInitialized", "OrderDenied", "OrderEmulated", "OrderReleased"})
"""Events that happen where they are made: NautilusTrader gives them one time, ``ts_init``, and shows it as both."""

LEFT_TO_THE_FOLD = frozenset({"is_quote_quantity"})
"""Fields that NautilusTrader's events say less about than ours, or nothing: the fold of an order sees to them."""


@functools.cache
def identifiers(kind: type[Identifier]) -> values.Remembered:
    """Our identifiers of `kind` by NautilusTrader's; what is remembered is shared by all events."""
    return values.identifiers_from_nautilus(kind)


@functools.cache
def nautilus_identifiers(kind: type[Identifier]) -> values.Remembered:
    """NautilusTrader's identifiers by ours of `kind`; what is remembered is shared by all events."""
    return values.identifiers_to_nautilus(kind)


def attribute_of(kind: type[OrderEvent], spec: Field) -> str:
    """The name of that field in NautilusTrader."""
    return (_INIT_NAMES if kind is OrderInitialized else _NAMES).get(spec.name, spec.name)


def default_of(kind: type[OrderEvent], spec: Field) -> Any:
    """What an event of `kind` has in that field where nothing is said."""
    return kind._defaults[kind._fields.index(spec.name) - len(kind._fields)]


# -- Fields ----------------------------------------------------------------------------------------------------


def _from_nautilus(spec: Field) -> Convert:
    """Return what makes a record's field of NautilusTrader's attribute."""
    kind = spec.kind
    if spec.is_info:
        return _info_reader(spec)
    if spec.element is str:
        return lambda items: None if items is None else tuple([_text(spec.name, item) for item in items])
    if spec.element is not None:
        found = identifiers(spec.element)
        return lambda items: None if items is None else tuple([found[item] for item in items])
    if kind is UUID4:
        return values.uuid_from_nautilus
    if issubclass(kind, Identifier):
        return _or_none(spec, identifiers(kind).__getitem__)
    if issubclass(kind, IntEnum):
        return values.members(kind).__getitem__
    if spec.is_text:
        return text_reader(spec)
    return _or_none(spec, _READ[kind]) if kind in _READ else _unchanged  # flags and times


def _to_nautilus(spec: Field) -> Convert:
    """Return what makes NautilusTrader's argument of a record's field."""
    kind = spec.kind
    if spec.is_info:
        return lambda value: None if value is None else thaw(value)
    if spec.element is str:
        return lambda items: None if items is None else list(items)
    if spec.element is not None:
        found = nautilus_identifiers(spec.element)
        return lambda items: None if items is None else [found[item] for item in items]
    if kind is UUID4:
        return values.uuid_to_nautilus
    if issubclass(kind, Identifier):
        return _or_none(spec, nautilus_identifiers(kind).__getitem__)
    return _or_none(spec, _MADE[kind]) if kind in _MADE else _unchanged


def _or_none(spec: Field, convert: Convert) -> Convert:
    return (lambda value: None if value is None else convert(value)) if spec.optional else convert


def _unchanged(value: Any) -> Any:
    return value


_READ: Mapping[Any, Convert] = {
    Price: values.price_from_nautilus,
    Quantity: values.quantity_from_nautilus,
    Money: values.money_from_nautilus,
    Currency: values.currency_from_nautilus,
    Decimal: values.decimal_of,
}
_MADE: Mapping[Any, Convert] = {
    Price: values.price_to_nautilus,
    Quantity: values.quantity_to_nautilus,
    Money: values.money_to_nautilus,
    Currency: values.currency_to_nautilus,
}


def _info_reader(spec: Field) -> Convert:
    def read(value: Any) -> Any:
        if value is None and spec.optional:
            return None
        return values.info_from_nautilus("event", spec.name, value)

    return read


def text_reader(spec: Field) -> Convert:
    """Return what gives text back, if it can be stored in that field."""
    return functools.partial(_text, spec.name)


def _text(name: str, value: Any) -> str:
    if value.__class__ is not str:
        raise TypeError(f"{name}: expected str, got {type(value).__name__} ({value!r:.80})")
    check_text("event", name, value)
    return str(value)


# -- What an order was made with -------------------------------------------------------------------------------


def _option_readers() -> dict[str, Convert]:
    def named(kind: type[IntEnum]) -> Convert:
        return {member.name: member for member in kind}.__getitem__

    price = values.Remembered(Price).__getitem__
    return {
        "price": price,
        "trigger_price": price,
        "activation_price": price,
        "display_qty": values.Remembered(Quantity).__getitem__,
        "trigger_type": named(TriggerType),
        "trailing_offset_type": named(TrailingOffsetType),
        "limit_offset": values.decimal_of,
        "trailing_offset": values.decimal_of,
        "expire_time_ns": int,
    }


_READ_OPTION = _option_readers()
_OPTION_DEFAULTS = {
    spec.name: default_of(OrderInitialized, spec) for spec in OrderInitialized._specs if spec.name in OPTIONS
}
_ALLOWED = {int(kind): frozenset(names) for kind, names in ORDER_OPTIONS.items()}


def _read_options(event: Any) -> dict[str, Any]:
    """Return the options of NautilusTrader's event as the record's fields. Raises for what the type has not."""
    options = event.options
    allowed = _ALLOWED[event.order_type]
    read = _OPTION_DEFAULTS.copy()
    for name, value in options.items():
        if value is None:
            continue
        if name not in allowed:
            raise InvalidValue(f"options: a {OrderType(int(event.order_type)).name} order has no {name}")
        try:
            read[name] = _READ_OPTION[name](value)
        except KeyError:
            raise InvalidValue(f"options: {name} has no value named {value!r:.80}") from None
    return read


def _options(record: OrderInitialized) -> dict[str, Any]:
    """Return the record's conditional fields as NautilusTrader's options."""
    made: dict[str, Any] = {}
    for name in ORDER_OPTIONS[record.order_type]:
        value = getattr(record, name)
        if value is not None and value.__class__ is not int:
            value = value.name if isinstance(value, IntEnum) else str(value)
        made[name] = value
    return made


# -- Events ----------------------------------------------------------------------------------------------------


def nautilus_event(kind: type[OrderEvent]) -> Any:
    """NautilusTrader's class of that name, None if the installed release has none."""
    return getattr(nautilus_events, kind.__name__, None)


def event_reader(kind: type[OrderEvent]) -> Convert:
    """Return a function that makes the record of `kind` of NautilusTrader's event."""
    theirs = nautilus_event(kind)
    fields = [
        (spec, attribute_of(kind, spec), _from_nautilus(spec))
        for spec in kind._specs
        if not (kind is OrderInitialized and spec.name in OPTIONS) and hasattr(theirs, attribute_of(kind, spec))
    ]
    names = kind._fields
    # What a release before NautilusTrader had it does not say.
    absent = {
        spec.name: default_of(kind, spec)
        for spec in kind._specs
        if spec.name not in {spec.name for spec, _, _ in fields} | OPTIONS
    }

    def read(event: Any) -> OrderEvent:
        found = absent.copy()
        for spec, attribute, convert in fields:
            try:
                found[spec.name] = convert(getattr(event, attribute))
            except _FAULTS as e:
                raise _again(e, f"{kind.__name__}.{spec.name}: {e}") from e
        if kind is OrderInitialized:
            try:
                found |= _read_options(event)
            except _FAULTS as e:
                raise _again(e, f"{kind.__name__}: {e}") from e
        return kind.unchecked(found[name] for name in names)

    return read


class CapturedInit(NamedTuple):
    """An `OrderInitialized` of NautilusTrader's, with the tags that it has now: they are in its maker's list."""

    event: Any
    tags: tuple[str, ...]


_read_init = event_reader(OrderInitialized)
_TAGS = OrderInitialized._fields.index("tags")


def captured_init_from_nautilus(captured: CapturedInit) -> OrderInitialized:
    """Our `OrderInitialized`, of one that was captured earlier."""
    fields = [*_read_init(captured.event)]
    fields[_TAGS] = captured.tags
    return OrderInitialized.unchecked(fields)


def _again(error: Exception, text: str) -> Exception:
    return TypeError(text) if isinstance(error, TypeError | AttributeError) else InvalidValue(text)


def event_maker(kind: type[OrderEvent]) -> Convert:
    """Return a function that makes NautilusTrader's event of the record of `kind`."""
    theirs = nautilus_event(kind)
    arguments, missing = [], []
    for place, spec in enumerate(kind._specs):
        if (kind is OrderInitialized and spec.name in OPTIONS) or (
            spec.name == "ts_event" and kind.__name__ in MADE_HERE
        ):
            continue
        if hasattr(theirs, attribute_of(kind, spec)):
            # None, which leaves it as it was, can not be said in NautilusTrader.
            convert = bool if spec.name in LEFT_TO_THE_FOLD else _to_nautilus(spec)
            arguments.append((spec.name, place, convert))
        elif spec.name not in LEFT_TO_THE_FOLD:
            missing.append((spec.name, place, default_of(kind, spec)))

    def make(record: Any) -> Any:
        for name, place, default in missing:
            if record[place] != default:
                raise InvalidValue(
                    f"{kind.__name__}.{name} is {record[place]}, and the installed NautilusTrader "
                    f"{nautilus_trader.__version__} knows no {name}; a newer release does"
                )
        given = {name: convert(record[place]) for name, place, convert in arguments}
        if kind is OrderInitialized:
            given["options"] = _options(record)
        return theirs(**given)

    return make


ORDER_EVENT_KINDS: Mapping[type[OrderEvent], Any] = {
    kind: nautilus_event(kind) for kind in ORDER_EVENTS.values() if nautilus_event(kind) is not None
}
"""Our classes of order events, and NautilusTrader's."""
