"""Values of NautilusTrader's of what is stored, without a record between them: what is not plain raises."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from nautilus_trader.core import uuid as nautilus_uuid
from nautilus_trader.model import objects

from eventstore.codec import check_plain, field_readers, read_timestamp
from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.events import nautilus_identifiers
from eventstore.integrations.nautilus.conversion.expressions import FRESH, is_plain
from eventstore.model.currency import Currency
from eventstore.model.events import AccountBalance, AccountState, OrderInitialized
from eventstore.model.identifiers import Identifier
from eventstore.model.record import Record, thaw
from eventstore.model.values import Fixed, Price, Quantity

Convert = Callable[[Any], Any]

LATELY = 64
"""Identifiers that are remembered of a kind of which there are ever new ones: an order's events are read in a row."""


class NotPlain(ValueError):
    """Bytes that have to be read through the record."""


def refuse(value: Any) -> NoReturn:
    """Raise `NotPlain`, in an expression."""
    raise NotPlain


def _stored_reader(kind: type[Record], name: str) -> Convert:
    """Return what makes that field of a record of `kind` of what is stored."""
    return field_readers(kind).conversions[kind._fields.index(name)] or refuse


_read_info = _stored_reader(AccountState, "info")
_read_currency = _stored_reader(AccountState, "base_currency")
_read_money = _stored_reader(AccountBalance, "total")
_read_offset = _stored_reader(OrderInitialized, "limit_offset")


def as_text(value: Any) -> str:
    """What is text, as it is."""
    return value if value.__class__ is str else refuse(value)


class _Lately(dict[str, Any]):
    """NautilusTrader's identifiers of a kind of which there are ever new ones, by their text."""

    __slots__ = ("_explain", "_make")

    def __init__(self, kind: type[Identifier]) -> None:
        super().__init__()
        self._make = values.nautilus_kind(kind)
        self._explain = any_identifier(kind)

    def __missing__(self, text: str) -> Any:
        # No pattern matches what is no text.
        made = self._make(text) if is_plain(text) else self._explain(text)
        if len(self) >= LATELY:
            self.clear()
        self[text] = made
        return made


def any_identifier(kind: type[Identifier]) -> Convert:
    """Return what makes NautilusTrader's identifier of any text of which one can be made here and there."""
    theirs = nautilus_identifiers(kind)
    return lambda text: theirs[kind(as_text(text))]


@functools.cache
def identifiers_by_text(kind: type[Identifier]) -> dict[str, Any]:
    """NautilusTrader's identifiers of `kind` by their text."""
    return _Lately(kind) if kind in FRESH else values.Remembered(any_identifier(kind))


_UUID = nautilus_uuid.UUID4
_new_uuid: Any = _UUID.__new__


def uuid(data: bytes) -> Any:
    """The id of an event."""
    digits = data.hex()
    # NautilusTrader ends the process over any other version.
    if len(digits) != 32 or digits[12] != "4" or digits[16] not in "89ab":
        raise NotPlain
    made = _new_uuid(_UUID)
    made.__setstate__(digits)  # a tenth of the time of `from_str`, which parses it twice
    return made


def time(value: Any) -> int:
    """A time in UNIX nanoseconds, stored as text or number."""
    return read_timestamp(value) if value.__class__ is str or value.__class__ is int else refuse(value)


def info(value: Any) -> dict[str, Any]:
    """Free-form data."""
    if value.__class__ is not dict:
        raise NotPlain
    check_plain("info", value)
    read: dict[str, Any] = thaw(_read_info(value))
    return read


def _fixed(kind: type[Fixed], convert: Convert) -> values.Remembered:
    from_raw = getattr(objects, kind.__name__).from_raw
    most = values.raw_bound(f"{kind.__name__.upper()}_MAX")

    def make(text: str) -> Any:
        plain = values.raw_from_text(text, most)  # no pattern matches what is no text
        return convert(kind(text)) if plain is None else from_raw(*plain)

    return values.Remembered(make)


def fixed_texts(kind: Any) -> values.Remembered:
    """Prices or quantities as the text that stands among the options of an order, by the text that is stored."""
    return values.Remembered(lambda text: str(kind(as_text(text))))


FIXED = {Price: _fixed(Price, values.price_to_nautilus), Quantity: _fixed(Quantity, values.quantity_to_nautilus)}
"""NautilusTrader's prices and quantities by the text that is stored."""


def currency(code: Any) -> Any:
    """The currency of that code, as it is known here."""
    # Not remembered: which currencies are known here, and how, may change.
    return values.currency_to_nautilus(Currency.find(code) or _read_currency(as_text(code)))


_money_from_raw = objects.Money.from_raw
_amounts: dict[str, tuple[Currency, Currency | None, Any]] = {}


def amount(text: str) -> tuple[Currency, Currency | None, Any]:
    """Money with our currency of it, and what was known of that when it was read: it is read anew when that changes."""
    found = _amounts.get(text)
    if found is None or found[1] is not Currency.find(found[0].code):
        if len(_amounts) >= values.REMEMBERED_MAX:
            _amounts.clear()
        found = _amounts[text] = _new_amount(as_text(text))
    return found


def _new_amount(text: str) -> tuple[Currency, Currency | None, Any]:
    number, _, code = text.partition(" ")
    known = Currency.find(code)
    plain = values.raw_from_text(number, values.MONEY_MOST)
    if known is not None and plain is not None and plain[1] == known.precision:
        return known, known, _money_from_raw(plain[0], values.known_to_nautilus[code, plain[1]])
    money = _read_money(text)
    return money[1], known, values.money_to_nautilus(money)


def money(text: str) -> Any:
    """Money."""
    return amount(text)[2]


def offset_text(text: Any) -> str:
    """A trailing order's offset as it stands among the options."""
    return str(_read_offset(as_text(text)))
