"""Order events, both ways: for each class one compiled expression that reads all fields and makes the other's object.

The fields that a record and NautilusTrader's event share have one name, but for those in `_NAMES`. What the installed
release does not have yet is left out, if it has the value that stands for nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Any, NoReturn, cast

import nautilus_trader
from nautilus_trader.model import events as nautilus_events

from eventstore.integrations.nautilus.conversion import values
from eventstore.model.currency import Currency
from eventstore.model.enums import OrderType, TrailingOffsetType, TriggerType
from eventstore.model.errors import InvalidValue
from eventstore.model.events import ORDER_EVENTS, ORDER_OPTIONS, OrderEvent, OrderInitialized
from eventstore.model.identifiers import UUID4, Identifier
from eventstore.model.record import Field, Record, check_text, thaw
from eventstore.model.values import Money, Price, Quantity

Convert = Callable[[Any], Any]

_NAMES = {"event_id": "id"}
_INIT_NAMES = _NAMES | {"order_side": "side"}
_OPTIONS = frozenset(name for names in ORDER_OPTIONS.values() for name in names)

_MADE_HERE = frozenset({"OrderInitialized", "OrderDenied", "OrderEmulated", "OrderReleased"})
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


# -- Compiling -------------------------------------------------------------------------------------------------


class _Expression:
    """The source of one function, and the names that it uses."""

    def __init__(self, **scope: Any) -> None:
        self.scope = scope

    def name(self, thing: Any) -> str:
        """Return a name that stands for `thing` in the source."""
        name = f"n{len(self.scope)}"
        self.scope[name] = thing
        return name

    def compile(self, arguments: str, body: str, before: str = "pass") -> Callable[..., Any]:
        """Return the function of `arguments` that does `before` and returns `body`."""
        # Nothing but names of fields and of what is in `scope` is in the source.
        exec(f"def convert({arguments}):\n {before}\n return {body}", self.scope)  # noqa: S102 - see above
        return cast(Callable[..., Any], self.scope["convert"])


def _from_nautilus(spec: Field, source: str, made: _Expression) -> str:
    """Return the expression that makes a record's field of `source`, which is NautilusTrader's attribute."""
    kind = spec.kind
    if kind is UUID4:
        return f"uuid({source}.value)"
    if spec.is_info:
        return f"{made.name(_info_reader(spec))}({source})"
    if spec.element is not None:
        return f"{made.name(_texts_reader(spec))}({source})"
    if issubclass(kind, Identifier):
        found = made.name(identifiers(kind))
        return f"None if (v := {source}) is None else {found}[v]" if spec.optional else f"{found}[{source}]"
    if issubclass(kind, IntEnum):
        return f"{made.name(values.members(kind))}[{source}]"
    convert = _READ.get(kind)
    if convert is not None:
        called = made.name(convert)
        return f"None if (v := {source}) is None else {called}(v)" if spec.optional else f"{called}({source})"
    if spec.is_text:
        return f"{made.name(_text_reader(spec))}({source})"
    return source  # flags and times


def _to_nautilus(spec: Field, source: str, made: _Expression) -> str:
    """Return the expression that makes NautilusTrader's argument of `source`, which is the record's field."""
    kind = spec.kind
    if spec.is_info:
        return f"None if {source} is None else {made.name(thaw)}({source}) if {source} else {{}}"
    if spec.element is not None:
        found = (
            f"[{made.name(nautilus_identifiers(spec.element))}[v] for v in {source}]" if spec.element is not str else ""
        )
        return f"None if {source} is None else {found or f'list({source})'}"
    if kind is UUID4:
        value = f"{made.name(values.uuid_to_nautilus)}({source})"
    elif issubclass(kind, Identifier):
        value = f"{made.name(nautilus_identifiers(kind))}[{source}]"
    elif kind in _MADE:
        value = f"{made.name(_MADE[kind])}({source})"
    else:
        return source
    return f"None if {source} is None else {value}" if spec.optional else value


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


def _texts_reader(spec: Field) -> Convert:
    if spec.element is str:
        return lambda items: None if items is None else tuple([_text(spec.name, item) for item in items])
    found = identifiers(spec.element)
    return lambda items: None if items is None else tuple([found[item] for item in items])


def _text_reader(spec: Field) -> Convert:
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
    name: OrderInitialized._defaults[OrderInitialized._fields.index(name) - len(OrderInitialized._fields)]
    for name in _OPTIONS
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


def nautilus_event(kind: type[Record]) -> Any:
    """NautilusTrader's class of that name, None if the installed release has none."""
    return getattr(nautilus_events, kind.__name__, None)


def _named(kind: type[Record]) -> Mapping[str, str]:
    return _INIT_NAMES if kind is OrderInitialized else _NAMES


def event_reader(kind: type[OrderEvent]) -> Convert:
    """Return a function that makes the record of `kind` of NautilusTrader's event."""
    theirs = nautilus_event(kind)
    made = _Expression(new=tuple.__new__, kind=kind, uuid=UUID4.unchecked)
    defaults = dict(zip(kind._fields[::-1], kind._defaults[::-1], strict=False))
    fields = []
    for spec in kind._specs:
        name = _named(kind).get(spec.name, spec.name)
        if kind is OrderInitialized and spec.name in _OPTIONS:
            fields.append(f"o[{spec.name!r}]")
        elif hasattr(theirs, name):
            fields.append(_from_nautilus(spec, f"e.{name}", made))
        else:
            fields.append(made.name(defaults[spec.name]))  # a release before NautilusTrader had it
    body = f"new(kind, ({', '.join(fields)},))"
    if kind is OrderInitialized:
        convert = made.compile("e, o", body)
        return lambda event: convert(event, _read_options(event))
    return made.compile("e", body)


def event_maker(kind: type[OrderEvent]) -> Convert:
    """Return a function that makes NautilusTrader's event of the record of `kind`."""
    theirs = nautilus_event(kind)
    made = _Expression(make=theirs)
    names = [f"f{i}" for i in range(len(kind._fields))]
    unpack = f"{', '.join(names)}, = r"
    arguments, missing = [], []
    for name, spec in zip(names, kind._specs, strict=True):
        attribute = _named(kind).get(spec.name, spec.name)
        if kind is OrderInitialized and spec.name in _OPTIONS:
            continue
        if spec.name == "ts_event" and kind.__name__ in _MADE_HERE:
            continue
        if spec.name in LEFT_TO_THE_FOLD:
            # None, which leaves it as it was, can not be said in NautilusTrader.
            if hasattr(theirs, attribute):
                arguments.append(f"{spec.name}={name} or False")
        elif hasattr(theirs, attribute):
            arguments.append(f"{spec.name}={_to_nautilus(spec, name, made)}")
        else:
            missing.append((spec.name, kind._fields.index(spec.name)))
    if kind is OrderInitialized:
        arguments.append(f"options={made.name(_options)}(r)")
    convert = made.compile("r", f"make({', '.join(arguments)})", before=unpack)
    if not missing:
        return convert
    defaults = dict(zip(kind._fields[::-1], kind._defaults[::-1], strict=False))

    def checked(record: Any) -> Any:
        for name, place in missing:
            if record[place] != defaults[name]:
                raise InvalidValue(
                    f"{kind.__name__}.{name} is {record[place]}, and the installed NautilusTrader "
                    f"{nautilus_trader.__version__} knows no {name}; a newer release does"
                )
        return convert(record)

    return checked


def culprit(kind: type[Record], event: Any, error: Exception) -> NoReturn:
    """Raise `error` again, naming the field of `event` that can not be converted."""
    for spec in kind._specs:
        name = _named(kind).get(spec.name, spec.name)
        if not hasattr(event, name):
            continue
        made = _Expression(uuid=UUID4.unchecked)
        try:
            made.compile("e", _from_nautilus(spec, f"e.{name}", made))(event)
        except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as e:
            raise _again(e, f"{kind.__name__}.{spec.name}: {e}") from e
    raise _again(error, f"{kind.__name__}: {error}") from error


def _again(error: Exception, text: str) -> Exception:
    return TypeError(text) if isinstance(error, TypeError | AttributeError) else InvalidValue(text)


ORDER_EVENT_KINDS: Mapping[type[OrderEvent], Any] = {
    kind: nautilus_event(kind) for kind in ORDER_EVENTS.values() if nautilus_event(kind) is not None
}
"""Our classes of order events, and NautilusTrader's."""
