"""Bytes as events of NautilusTrader, without a record between them: for each class one expression.

What is not plain raises, and what is refused. Who reads goes the long way then, through the record, which takes it (so
it does what is of an earlier schema version) or says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any

import msgpack
from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import objects

from eventstore.codec import ORDER_ID, TRADER_ID, TS_EVENT, TS_INIT, is_timestamp, unpack
from eventstore.errors import EventStoreError
from eventstore.integrations.nautilus.conversion import stored, values
from eventstore.integrations.nautilus.conversion.events import (
    LEFT_TO_THE_FOLD,
    MADE_HERE,
    OPTIONS,
    ORDER_EVENT_KINDS,
    attribute_of,
    default_of,
)
from eventstore.integrations.nautilus.conversion.expressions import Expression, is_plain
from eventstore.integrations.nautilus.conversion.stored import NotPlain, refuse
from eventstore.model.currency import Currency
from eventstore.model.enums import AccountType
from eventstore.model.events import (
    ORDER_OPTIONS,
    AccountState,
    OrderEvent,
    OrderInitialized,
    OrderUpdated,
)
from eventstore.model.identifiers import UUID4, AccountId, Identifier, InstrumentId, TradeId
from eventstore.model.record import Field
from eventstore.model.values import Money
from eventstore.place import Place
from eventstore.schema import SHORT_SINCE, TAGS, VERSIONS

Convert = Callable[[Any], Any]

FAULTS = (
    *(ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError),
    *(EventStoreError, msgpack.exceptions.UnpackException),
)
"""What the short ways raise, be it the bytes' fault or the event's."""

_SHORT = 1024
"""Up to so many bytes can not unfold to what matters, whatever they are."""


# -- Order events ----------------------------------------------------------------------------------------------


def _made(spec: Field, source: str, made: Expression) -> str:
    """Return the expression that makes NautilusTrader's argument of `source`, a field as it is stored."""
    kind = spec.kind
    no = f"no({source})"
    if kind is int:
        if not is_timestamp(spec):
            raise TypeError(f"{spec.name}: numbers of order events are times")
        is_text = f"{source}.__class__ is str and len({source}) < 20 and {source}.isdigit() and {source}.isascii()"
        return f"int({source}) if {is_text} else {made.name(stored.time)}({source})"
    if kind is bool:
        return f"{source} if {source}.__class__ is bool{_none_too(spec, source)} else {no}"
    if issubclass(kind, IntEnum):
        members = made.name(frozenset(map(int, kind)))
        return f"{source} if {source}.__class__ is int and {source} in {members} else {no}"
    if spec.is_text:
        return f"{source} if {source}.__class__ is str{_none_too(spec, source)} else {no}"
    if spec.element is str:
        found = f"[*map({made.name(stored.as_text)}, {source})] if {source}.__class__ is list else {no}"
    elif spec.element is not None:
        each = made.name(stored.identifiers_by_text(spec.element).__getitem__)
        found = f"[*map({each}, {source})] if {source}.__class__ is list else {no}"
    elif spec.is_info:
        found = f"{{}} if {source}.__class__ is dict and not {source} else {made.name(stored.info)}({source})"
    elif kind in stored.FIXED:
        found = f"{made.name(stored.FIXED[kind])}[{source}]"
    elif kind is UUID4:
        found = f"{made.name(stored.uuid)}({source})"
    elif kind is TradeId:  # which no other event has
        explain = made.name(stored.any_identifier(kind))
        found = f"{made.name(values.nautilus_kind(kind))}({source}) if plain({source}) else {explain}({source})"
    elif issubclass(kind, Identifier):
        found = f"{made.name(stored.identifiers_by_text(kind))}[{source}]"
    else:
        found = f"{made.name(_MAKERS[kind])}({source})"
    return f"None if {source} is None else {found}" if spec.optional else found


def _none_too(spec: Field, source: str) -> str:
    return f" or {source} is None" if spec.optional else ""


_MAKERS: dict[Any, Convert] = {Money: stored.money, Currency: stored.currency}


def _reader_of(kind: type[OrderEvent], theirs: Any) -> Callable[[Any, Any], Any]:
    made = Expression(no=refuse, make=theirs, plain=is_plain)
    names = [f"f{place}" for place in range(len(kind._fields))]
    version = VERSIONS[TAGS[kind]]
    since = SHORT_SINCE[TAGS[kind]]
    # Before fields were left out, the same ones were there.
    oldest = version - 1 if since == version else version
    arguments, checks = [], [f"t.__class__ is v.__class__ is int and {oldest} <= v <= {version}"]
    for source, spec in zip(names, kind._specs, strict=True):
        if kind is OrderInitialized and spec.name in OPTIONS:
            continue
        value = _made(spec, source, made)
        if spec.name == "ts_event" and kind.__name__ in MADE_HERE:
            checks.append(f"({value}) is not None")
        elif hasattr(theirs, attribute_of(kind, spec)):
            # None, which leaves it as it was, can not be said in NautilusTrader.
            arguments.append(f"{spec.name}=({value}){' or False' if spec.name in LEFT_TO_THE_FOLD else ''}")
        elif spec.name in LEFT_TO_THE_FOLD:
            checks.append(f"(({value}) is None or True)")
        else:
            checks.append(f"{source} is {made.name(default_of(kind, spec))}")
    before = (
        f"t, v, {', '.join(names)}, = row\n"
        f" if place is not None and v.__class__ is int and v >= {since}:\n"
        f"  if {names[TS_INIT]} is None: {names[TS_INIT]} = {names[TS_EVENT]}\n"
        f"  if {names[TRADER_ID]} is None: {names[TRADER_ID]} = place[0]\n"
        f"  if {names[ORDER_ID]} is None: {names[ORDER_ID]} = place[1]\n"
        f" if not ({' and '.join(checks)}): no(row)"
    )
    if kind is not OrderInitialized:
        return made.compile("row, place", f"make({', '.join(arguments)})", before)
    options = {name: source for name, source in zip(kind._fields, names, strict=True) if name in OPTIONS}
    readers = {int(order_type): _options_reader(order_type, kind) for order_type in ORDER_OPTIONS}
    place = names[kind._fields.index("order_type")]
    arguments.append(f"options={made.name(readers)}[{place}]({', '.join(options.values())})")
    return made.compile("row, place", f"make({', '.join(arguments)})", before)


def _options_reader(order_type: Any, kind: type[OrderInitialized]) -> Callable[..., dict[str, Any]]:
    """Return what makes the options of an order of that type of its conditional fields, all of which it takes."""
    made = Expression(no=refuse)
    specs = {spec.name: spec for spec in kind._specs if spec.name in OPTIONS}
    has = ORDER_OPTIONS[order_type]
    nothing = " and ".join(
        f"{name} is None" if spec.optional else f"({name}.__class__ is int and {name} == 0 or {name} == '0')"
        for name, spec in specs.items()
        if name not in has
    )
    # The offsets are what a trailing order can not be without.
    shown = [f"{name!r}: {_option(specs[name], name, made)}" for name in has]
    return made.compile(", ".join(specs), f"{{{', '.join(shown)}}} if {nothing or True} else no(None)")


def _option(spec: Field, source: str, made: Expression) -> str:
    kind = spec.kind
    if issubclass(kind, IntEnum):
        names = made.name({int(member): member.name for member in kind})
        return f"{names}[{source}] if {source}.__class__ is int else no({source})"
    if kind is Decimal:
        return f"{made.name(stored.offset_text)}({source})"
    if kind is int:
        return _made(spec, source, made)
    return f"None if {source} is None else {made.name(stored.fixed_texts(kind))}[{source}]"


# -- Accounts --------------------------------------------------------------------------------------------------


def _state_reader() -> Callable[[Any, Any], Any]:
    accounts, instruments = stored.identifiers_by_text(AccountId), stored.identifiers_by_text(InstrumentId)
    types, version = frozenset(map(int, AccountType)), VERSIONS[TAGS[AccountState]]
    make, balance_of, margin_of = nautilus_events.AccountState, objects.AccountBalance, objects.MarginBalance

    def balance(row: Any) -> Any:
        total, locked, free = map(stored.amount, row if row.__class__ is list else refuse(row))
        # One that is known with fewer decimals than where it was written has those of the amount.
        return balance_of(total[2], locked[2], free[2]) if total[0] == locked[0] == free[0] else refuse(row)

    def margin(row: Any) -> Any:
        initial, maintenance, of = row if row.__class__ is list else refuse(row)
        initial, maintenance = stored.amount(initial), stored.amount(maintenance)
        if initial[0] != maintenance[0]:
            raise NotPlain
        return margin_of(initial[2], maintenance[2], None if of is None else instruments[of])

    def read(row: list[Any], place: Any) -> Any:
        t, v, event_id, ts_event, ts_init, account_id, account_type, base, balances, margins, reported, info = row
        if not (
            t.__class__ is v.__class__ is account_type.__class__ is int
            and v == version
            and account_type in types
            and balances.__class__ is margins.__class__ is list
            and reported.__class__ is bool
        ):
            raise NotPlain
        return make(
            account_id=accounts[account_id],
            account_type=account_type,
            base_currency=None if base is None else stored.currency(base),
            reported=reported,
            balances=[*map(balance, balances)],
            margins=[*map(margin, margins)],
            info=stored.info(info),
            event_id=stored.uuid(event_id),
            ts_event=stored.time(ts_event),
            ts_init=stored.time(ts_init),
        )

    return read


# -- All -------------------------------------------------------------------------------------------------------

_READERS: dict[Any, Callable[[Any, Any], Any]] = {
    TAGS[kind]: _reader_of(kind, theirs) for kind, theirs in ORDER_EVENT_KINDS.items()
}
_READERS[TAGS[AccountState]] = _state_reader()


def read_event(data: bytes, place: Place | None = None) -> Any:
    """Return the event of NautilusTrader's that `data` is, at `place`.

    Raises one of `FAULTS` if it is not plainly one.
    """
    # Extensions of MessagePack are refused where they stand: no field takes them, and `info` looks for them.
    row = msgpack.unpackb(data) if len(data) <= _SHORT else unpack(data)
    return _READERS[row[0]](row, place)


_QUOTE = 2 + OrderUpdated._fields.index("is_quote_quantity")


def quote_said(data: bytes) -> bool | None:
    """Return `is_quote_quantity` of the `OrderUpdated` that `data` is; None in a version that had no such field."""
    row: list[Any] = unpack(data)
    return row[_QUOTE] if len(row) > _QUOTE else None
