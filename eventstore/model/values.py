"""Price, quantity and money: exact decimals, never floats."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Self

from eventstore.model.currency import Currency
from eventstore.model.errors import InvalidValue
from eventstore.model.record import Record

PRECISION_MAX = 18
DIGITS_MAX = 40

EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""Arithmetic on values of at most `DIGITS_MAX` digits stays exact in it through a product of two."""


def parse_decimal(owner: str, value: str | int | Decimal) -> Decimal:
    """Return `value` as a finite decimal without exponent.

    Raises
    ------
    TypeError
        For a float, or anything else that is no `str`, `int` or `Decimal`.
    InvalidValue
        If it is no number, not finite, has over `PRECISION_MAX` decimals or over `DIGITS_MAX` digits.
    """
    if isinstance(value, float):
        raise TypeError(
            f"{owner}: a float ({value!r}) is not exact; pass text or a Decimal, such as {owner}('{value}')"
        )
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError(f"{owner}: expected str, int or Decimal, got {type(value).__name__} ({value!r:.80})")
    if isinstance(value, str) and len(value) > 4 * DIGITS_MAX:
        raise InvalidValue(f"{owner}: {len(value)} characters are no number that can be stored")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise InvalidValue(f"{owner}: {value!r:.80} is no number") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidValue(f"{owner}: {value!r:.80} is not finite")
    if -exponent > PRECISION_MAX:
        raise InvalidValue(f"{owner}: {-exponent} decimals, at most {PRECISION_MAX} are allowed; round it first")
    if max(number.adjusted(), 0) + 1 - min(exponent, 0) > DIGITS_MAX:
        raise InvalidValue(f"{owner}: {value!r:.80} has over {DIGITS_MAX} digits")
    if exponent > 0:
        number = number.quantize(Decimal(1), context=EXACT)
    return number.copy_abs() if number.is_zero() else number


class Fixed(Decimal):
    """A decimal that keeps the decimals it was written with: ``str(Price("1.50"))`` is ``"1.50"``.

    Arithmetic gives plain decimals.
    """

    __slots__ = ()

    def __new__(cls, value: str | int | Decimal, precision: int | None = None) -> Self:
        number = parse_decimal(cls.__name__, value)
        if precision is not None:
            if not 0 <= precision <= PRECISION_MAX:
                raise InvalidValue(f"{cls.__name__}: precision {precision} is not between 0 and {PRECISION_MAX}")
            number = number.quantize(Decimal(1).scaleb(-precision), context=EXACT)
        return Decimal.__new__(cls, number)

    @classmethod
    def from_str(cls, value: str) -> Self:
        """Build from text; underscores between digits are allowed."""
        return cls(value)

    @classmethod
    def unchecked(cls, value: str) -> Self:
        """Build from the text that `str` made of one."""
        return Decimal.__new__(cls, value)

    @property
    def precision(self) -> int:
        """The number of decimals."""
        return -int(self.as_tuple().exponent)

    def as_decimal(self) -> Decimal:
        """The plain decimal."""
        return Decimal(self)

    def as_double(self) -> float:
        """The nearest float."""
        return float(self)

    def __str__(self) -> str:
        text = Decimal.__str__(self)  # twice as fast as formatting, and nearly always plain already
        return text if "E" not in text else Decimal.__format__(self, "f")

    def __format__(self, spec: str, /) -> str:  # type: ignore[override] # typeshed has a private second argument
        return Decimal.__format__(self, spec or "f")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self),))


class Price(Fixed):
    """A price; may be negative."""

    __slots__ = ()


class Quantity(Fixed):
    """A quantity; never negative."""

    __slots__ = ()

    def __new__(cls, value: str | int | Decimal, precision: int | None = None) -> Self:
        self = super().__new__(cls, value, precision)
        if self < 0:
            raise InvalidValue(f"Quantity: {self} is negative; a side says the direction, a quantity how much")
        return self

    @classmethod
    def zero(cls, precision: int = 0) -> Self:
        """Nothing, with that many decimals."""
        return cls(0, precision)


class Money(Record):
    """An amount in a currency, rounded to the currency's decimals (half away from zero)."""

    __slots__ = ()
    amount: Decimal
    currency: Currency

    if TYPE_CHECKING:

        def __init__(self, amount: str | int | Decimal, currency: Currency) -> None: ...

    def __new__(cls, amount: str | int | Decimal, currency: Currency) -> Self:
        if not isinstance(currency, Currency):
            raise TypeError(f"Money: expected a Currency, got {type(currency).__name__} ({currency!r:.80})")
        if isinstance(amount, Decimal) and amount.is_finite() and amount.adjusted() < DIGITS_MAX:
            number = amount  # a computed amount may have any number of decimals before it is rounded
        else:
            number = parse_decimal("Money", amount)
        rounded = number.quantize(Decimal(1).scaleb(-currency.precision), rounding=ROUND_HALF_UP, context=EXACT)
        if max(rounded.adjusted(), 0) + 1 + currency.precision > DIGITS_MAX:
            raise InvalidValue(f"Money: {amount!r:.80} in {currency.code} has over {DIGITS_MAX} digits")
        return tuple.__new__(cls, (rounded.copy_abs() if rounded.is_zero() else rounded, currency))

    @classmethod
    def from_str(cls, value: str) -> Self:
        """Build from ``"1.50 USD"``; the currency has to be known (see `Currency.from_str`)."""
        amount, separator, code = value.partition(" ")
        if not separator:
            raise InvalidValue(f"Money: {value!r:.80} is not of the form '1.50 USD'")
        return cls(amount, Currency.from_str(code))

    @classmethod
    def zero(cls, currency: Currency) -> Self:
        """Nothing, in that currency."""
        return cls(0, currency)

    def as_decimal(self) -> Decimal:
        """The amount."""
        return self.amount

    def as_double(self) -> float:
        """The amount as the nearest float."""
        return float(self.amount)

    def _amount_of(self, other: object, verb: str) -> Decimal:
        if not isinstance(other, Money):
            raise TypeError(f"Money: can not {verb} {self} and a {type(other).__name__}")
        if other.currency.code != self.currency.code:
            raise InvalidValue(f"Money: can not {verb} {self} and {other}; convert one of them first")
        return other.amount

    def __add__(self, other: object) -> Money:
        return Money(EXACT.add(self.amount, self._amount_of(other, "add")), self.currency)

    def __sub__(self, other: object) -> Money:
        return Money(EXACT.subtract(self.amount, self._amount_of(other, "subtract")), self.currency)

    def __neg__(self) -> Money:
        return Money(self.amount.copy_negate(), self.currency)

    def __lt__(self, other: object) -> bool:
        return self.amount < self._amount_of(other, "compare")

    def __le__(self, other: object) -> bool:
        return self.amount <= self._amount_of(other, "compare")

    def __gt__(self, other: object) -> bool:
        return self.amount > self._amount_of(other, "compare")

    def __ge__(self, other: object) -> bool:
        return self.amount >= self._amount_of(other, "compare")

    def __str__(self) -> str:
        text = str(self[0])
        return f"{text if 'E' not in text else format(self[0], 'f')} {self[1][0]}"

    def __repr__(self) -> str:
        return f"Money('{self}')"


def to_double(value: Decimal) -> float:
    """Return `value` as NautilusTrader's fixed-point numbers become doubles: the scaled integer, then the division."""
    scaled = _scaleb(value, _SCALE)
    whole = int(scaled)
    return whole / _UNIT if whole == scaled else float(value)


_SCALE = 16  # decimals of NautilusTrader's fixed-point numbers
_UNIT = 10.0**_SCALE
_scaleb = EXACT.scaleb
