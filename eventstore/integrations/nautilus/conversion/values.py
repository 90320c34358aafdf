"""Values: identifiers, prices, quantities, money, currencies and free-form data, both ways.

What is converted often is remembered, in bounded caches. NautilusTrader's value types are compared by what they are
worth and not by how they are written, so what finds a value again is more than its equality: the decimals count, too.

NautilusTrader's Rust ends the process over a value that it does not expect, where its constructors in Python do not
look first. So everything that becomes one of its objects is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import Any, TypeVar

import msgspec
from nautilus_trader.core import uuid as nautilus_uuid
from nautilus_trader.model import identifiers as nautilus_identifiers
from nautilus_trader.model import objects

from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import (
    LENGTH_MAX,
    UUID4,
    AccountId,
    Identifier,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
)
from eventstore.model.record import EMPTY_INFO, Info, freeze
from eventstore.model.values import EXACT, Fixed, Money, Price, Quantity, parse_decimal

E = TypeVar("E", bound=IntEnum)

Convert = Callable[[Any], Any]

REMEMBERED_MAX = 4096
"""Values of one kind that are remembered; one more and all are forgotten."""

DECIMALS_MAX: int = objects.FIXED_PRECISION
"""Decimals that a number of the installed NautilusTrader can have: 16, or 9 where it was built for 64 bits."""

TRADE_ID_LENGTH_MAX = 36
"""What NautilusTrader allows, in characters."""

_NAME_LENGTH_MAX = 1024
_PLAIN_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?", re.ASCII)
_EXTERNAL = "EXTERNAL"  # the strategy of orders that no strategy of the node made
_ANY_TEXT = frozenset({InstrumentId, PositionId, Symbol})
_DIVIDED: dict[type[Identifier], Callable[[str, str], tuple[str, str, str]]] = {
    TraderId: str.rpartition,
    StrategyId: str.rpartition,
    AccountId: str.partition,
}
_text_of = Decimal.__str__  # without looking for an exponent: as a key it is good enough
_units = [10 ** (DECIMALS_MAX - decimals) for decimals in range(DECIMALS_MAX + 1)]


class Remembered(dict[Any, Any]):
    """Values by what they are made from. Few are new: an order's events name the same ids, prices and amounts."""

    __slots__ = ("_make", "_most")

    def __init__(self, make: Convert, most: int = REMEMBERED_MAX) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: Any) -> Any:
        value = self._make(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value


# -- Identifiers -----------------------------------------------------------------------------------------------


def nautilus_kind(kind: type[Identifier]) -> Any:
    """NautilusTrader's class of identifiers of the same name."""
    return getattr(nautilus_identifiers, kind.__name__)


def identifiers_from_nautilus(kind: type[Identifier]) -> Remembered:
    """Our identifiers by NautilusTrader's."""
    theirs = nautilus_kind(kind)
    unchecked = kind.unchecked
    is_plain = not kind._needs and kind not in _DIVIDED

    def convert(value: Any) -> Identifier:
        if value.__class__ is not theirs:
            raise TypeError(f"expected {theirs.__name__}, got {type(value).__name__} ({value!r:.80})")
        text: str = value.value
        # Most identifiers need no second look; the constructor explains what is wrong with one.
        is_clean = text.isprintable() and "{" not in text and "}" not in text and not text.isspace()
        if is_plain and is_clean and 0 < len(text) <= LENGTH_MAX:
            return unchecked(text)
        made = kind(text)
        _check_loadable(kind, text)  # some releases take what others end the process over
        return made

    return Remembered(convert)


def identifiers_to_nautilus(kind: type[Identifier]) -> Remembered:
    """NautilusTrader's identifiers by ours."""
    make = nautilus_identifiers.InstrumentId.from_str if kind is InstrumentId else nautilus_kind(kind)
    is_plain = kind not in _DIVIDED and kind not in _ANY_TEXT
    length_max = TRADE_ID_LENGTH_MAX if kind is TradeId else LENGTH_MAX
    text_of = str.__str__  # theirs take no subclass

    def convert(value: str) -> Any:
        if not (is_plain and value.isascii() and len(value) <= length_max):
            _check_loadable(kind, value)
        return make(text_of(value))

    return Remembered(convert)


def _check_loadable(kind: type[Identifier], text: str) -> None:
    """Raise `InvalidValue` for text that NautilusTrader can not have as an identifier of `kind`."""
    if kind not in _ANY_TEXT and not text.isascii():
        raise InvalidValue(f"{kind.__name__}: NautilusTrader takes ASCII alone, and this is {text!r:.80}")
    if kind is TradeId and len(text) > TRADE_ID_LENGTH_MAX:
        raise InvalidValue(
            f"TradeId: NautilusTrader takes up to {TRADE_ID_LENGTH_MAX} characters, and {text!r:.80} has {len(text)}"
        )
    divide = _DIVIDED.get(kind)
    if divide is not None and not (all(divide(text, "-")) or (kind is StrategyId and text == _EXTERNAL)):
        raise InvalidValue(f"{kind.__name__}: NautilusTrader wants text on both sides of a hyphen: {text!r:.80}")


def uuid_from_nautilus(value: Any) -> UUID4:
    """Our event id; theirs is always in canonical form."""
    return UUID4.unchecked(value.value)


def uuid_to_nautilus(value: UUID4) -> Any:
    """NautilusTrader's event id. Raises `InvalidValue` if it is no UUID of version 4, the only one that it takes."""
    if value[14] != "4" or value[19] not in "89ab":
        raise InvalidValue(f"UUID4: NautilusTrader takes UUIDs of version 4 alone, and this is {str(value)!r}")
    made: Any = _new_uuid(nautilus_uuid.UUID4)
    made.__setstate__(str.__str__(value))  # a tenth of the time of `from_str`, which parses it twice
    return made


_new_uuid: Any = nautilus_uuid.UUID4.__new__


# -- Prices and quantities -------------------------------------------------------------------------------------


def decimal_from_raw(raw: int, precision: int, shown: Callable[[], str]) -> Decimal:
    """Return the number of NautilusTrader's fixed-point `raw`, with `precision` decimals.

    `raw` may hold more digits than that, left over by arithmetic. Then the number is what NautilusTrader shows, which
    `shown` returns, and what its own database stores.
    """
    if precision <= DECIMALS_MAX:
        number, rest = divmod(raw, _units[precision])
        if not rest:
            return EXACT.scaleb(Decimal(number), -precision)
    number = Decimal(shown())
    return number or number.copy_abs()  # a zero has no sign


def text_from_raw(raw: int, precision: int) -> str | None:
    """Return the text of such a number; None if it takes a closer look."""
    if precision > DECIMALS_MAX:
        return None
    number, rest = divmod(raw, _units[precision])
    if rest:
        return None
    if precision == 0:
        return str(number)
    digits = str(abs(number)).zfill(precision + 1)
    return f"{'-' if number < 0 else ''}{digits[:-precision]}.{digits[-precision:]}"


def raw_from_text(text: str, most: int) -> tuple[int, int] | None:
    """Return the fixed-point number and the decimals of text; None if it takes a closer look, or is over `most`."""
    if _PLAIN_NUMBER.fullmatch(text):
        whole, _, part = text.partition(".")
        precision = len(part)
        if precision <= DECIMALS_MAX:
            raw = int(whole + part) * _units[precision]
            if raw <= most:
                return raw, precision
    return None


def fixed_from_nautilus(kind: type[Fixed]) -> Convert:
    """Return what makes our prices or quantities of NautilusTrader's."""
    remembered: dict[tuple[int, int], Fixed] = {}
    find = remembered.get
    new: Any = Decimal.__new__

    def convert(value: Any) -> Fixed:
        key = (value.raw, value.precision)
        found = find(key)
        if found is None:
            found = new(kind, decimal_from_raw(*key, value.__str__))
            if key[1] > DECIMALS_MAX:
                found = kind(found)  # raises for more decimals than can be stored
            if len(remembered) >= REMEMBERED_MAX:
                remembered.clear()
            remembered[key] = found
        return found

    return convert


price_from_nautilus = fixed_from_nautilus(Price)
quantity_from_nautilus = fixed_from_nautilus(Quantity)


def fixed_to_nautilus(kind: type[Fixed]) -> Convert:
    """Return what makes NautilusTrader's prices or quantities of ours."""
    theirs = getattr(objects, kind.__name__)
    from_raw = theirs.from_raw
    least, most = (raw_bound(f"{kind.__name__.upper()}_{end}") for end in ("MIN", "MAX"))

    def make(text: str) -> Any:
        number = Decimal(text)
        precision = -int(number.as_tuple().exponent)
        return from_raw(_raw(kind.__name__, number, precision, least, most), precision)

    remembered = Remembered(make)

    def convert(value: Decimal) -> Any:
        return remembered[_text_of(value)]

    return convert


def raw_bound(name: str) -> int:
    """Return what NautilusTrader's constant of that name is as a fixed-point number."""
    # Some releases multiply as integers, others as doubles, whose product may be a little nearer to zero.
    bound: float = getattr(objects, name)
    exact, rounded = int(bound) * 10**DECIMALS_MAX, int(bound * objects.FIXED_SCALAR)
    return exact if abs(exact) < abs(rounded) else rounded


def _raw(what: str, number: Decimal, precision: int, least: int, most: int) -> int:
    if precision > DECIMALS_MAX:
        raise InvalidValue(
            f"{what}: {number} has {precision} decimals, the installed NautilusTrader takes {DECIMALS_MAX}"
        )
    raw = int(EXACT.scaleb(number, DECIMALS_MAX))
    if not least <= raw <= most:
        raise InvalidValue(
            f"{what}: {number} is not between {least // 10**DECIMALS_MAX} and {most // 10**DECIMALS_MAX}, "
            "what the installed NautilusTrader takes"
        )
    return raw


price_to_nautilus = fixed_to_nautilus(Price)
quantity_to_nautilus = fixed_to_nautilus(Quantity)


# -- Currencies and money --------------------------------------------------------------------------------------


def new_currency_from_nautilus(value: Any) -> Currency:
    """Our currency, as `value` is now."""
    return Currency(value.code, value.precision, value.iso4217, value.name, CurrencyType(int(value.currency_type)))


_currencies: dict[Any, Currency] = {}


def currency_from_nautilus(value: Any) -> Currency:
    """Our currency, as one of that code and precision was when it was seen first.

    One that is not known here becomes known: what is stored of it is its code.
    """
    found = _currencies.get(value)
    if found is None or found.precision != value.precision:  # theirs are equal if their codes are
        found = _currencies[value] = new_currency_from_nautilus(value)
        Currency.register(found)
    return found


_money: dict[tuple[int, str, int], Money] = {}


def money_from_nautilus(value: Any) -> Money:
    """Our amount of money."""
    currency = value.currency
    key = (value.raw, currency.code, currency.precision)
    found = _money.get(key)
    if found is None:
        number = decimal_from_raw(key[0], key[2], lambda: str(value).partition(" ")[0])
        found = Money(number, currency_from_nautilus(currency))
        if len(_money) >= REMEMBERED_MAX:
            _money.clear()
        _money[key] = found
    return found


def new_currency_to_nautilus(value: Currency) -> Any:
    """NautilusTrader's currency, with all that ours has."""
    name = value.name
    if not name.strip() or len(name) > _NAME_LENGTH_MAX:
        raise InvalidValue(f"Currency {value.code}: NautilusTrader wants a name, and this is {name!r:.80}")
    if "\0" in name:
        raise InvalidValue(f"Currency {value.code}: NautilusTrader takes no NUL character, and its name has one")
    if value.precision > DECIMALS_MAX:
        raise InvalidValue(
            f"Currency {value.code}: it has {value.precision} decimals, the installed NautilusTrader takes "
            f"{DECIMALS_MAX}"
        )
    return objects.Currency(value.code, value.precision, value.iso4217, name, value.currency_type)


def _currency_to_nautilus(key: tuple[str, int]) -> Any:
    code, precision = key
    known = objects.Currency.from_internal_map(code)
    if known is not None and known.precision == precision:
        return known
    ours = Currency.find(code)
    if ours is None or ours.precision != precision:
        ours = Currency(code, precision, 0, code, CurrencyType.CRYPTO)
    made = new_currency_to_nautilus(ours)
    # Money finds its currency again by the code alone; one that is not known, it would register with 8 decimals.
    objects.Currency.register(made)
    return made


known_to_nautilus = Remembered(_currency_to_nautilus)
"""NautilusTrader's currencies by their code and precision."""


def currency_to_nautilus(value: Currency) -> Any:
    """The currency of that code and precision as NautilusTrader knows it; if it does not, what ours has.

    What an event says of a currency is its code. One that is not known to NautilusTrader becomes known.
    """
    return known_to_nautilus[value[0], value[1]]


_MONEY_LEAST, MONEY_MOST = raw_bound("MONEY_MIN"), raw_bound("MONEY_MAX")
_money_from_raw = objects.Money.from_raw


def _money_to_nautilus(key: tuple[str, str, int]) -> Any:
    amount, code, precision = key
    raw = _raw(f"Money in {code}", Decimal(amount), precision, _MONEY_LEAST, MONEY_MOST)
    return _money_from_raw(raw, known_to_nautilus[code, precision])


_remembered_money = Remembered(_money_to_nautilus)


def money_to_nautilus(value: Money) -> Any:
    """NautilusTrader's amount of money."""
    amount, currency = value
    return _remembered_money[_text_of(amount), currency[0], currency[1]]


# -- The rest --------------------------------------------------------------------------------------------------


def decimal_of(value: Any) -> Decimal:
    """Return a rate or offset as an exact decimal. Raises `InvalidValue` for what is no number."""
    try:
        return parse_decimal("Decimal", value if isinstance(value, Decimal) else Decimal(str(value)))
    except InvalidOperation:
        raise InvalidValue(f"{value!r:.80} is no number") from None


def info_from_nautilus(owner: str, name: str, value: Mapping[str, Any] | None) -> Info:
    """Return free-form data as it can be stored.

    What is no text, number, list or mapping becomes what NautilusTrader's own serializer makes of it: a decimal or a
    date its text, an enumeration its value, a data class a mapping.
    """
    if not value:
        return EMPTY_INFO
    try:
        return freeze(owner, name, value)
    except TypeError:
        plain = msgspec.to_builtins(value, str_keys=True, builtin_types=(bytes, bytearray))
        return freeze(owner, name, plain)


def members(kind: type[E]) -> tuple[E | None, ...]:
    """The members of an enumeration by their numbers, which are NautilusTrader's: found by index, not by hash."""
    found: dict[int, E] = {int(member): member for member in kind}
    return tuple(found.get(number) for number in range(max(found) + 1))
