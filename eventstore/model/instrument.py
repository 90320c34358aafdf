"""What all instruments have in common. Those that can be traded are in `eventstore.model.instruments`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, Self, TypeVar

from eventstore.model.currency import CRYPTO_PRECISION, Currency
from eventstore.model.enums import AssetClass, CurrencyType, InstrumentClass
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import InstrumentId, Symbol, Venue
from eventstore.model.record import Info, Record
from eventstore.model.values import DIGITS_MAX, EXACT, Money, Price, Quantity, parse_decimal

T = TypeVar("T")

ONE = Quantity("1")
ZERO = Decimal(0)

# NautilusTrader compares codes, and one of these is as good as another.
_DOLLARS = frozenset({"BUSD", "FDUSD", "pUSD", "TUSD", "USD", "USDC", "USDC.e", "USDP", "USDT"})

_POSITIVE = ("price_increment", "size_increment", "multiplier", "lot_size", "max_quantity", "max_notional", "max_price")
_NOT_NEGATIVE = ("min_quantity", "min_notional", "margin_init", "margin_maint")
_TEXTS = ("tick_scheme_name", "exchange", "isin", "strategy_type", "description")
_RATES = ("margin_init", "margin_maint", "maker_fee", "taker_fee")


def _without(kind: type[T]) -> T | None:
    """None, for an attribute that only some kinds of instruments have as a field."""
    return None


class Instrument(Record, kw_only=True):
    """Base of all instruments.

    Prices have `price_precision` decimals and are multiples of `price_increment`; `ts_event` and `ts_init` are UNIX
    nanoseconds. What a kind of instrument does not have as a field is here as an attribute, so that every instrument
    can be asked for it. Two instruments of one id have one hash; they are equal if all fields are.
    """

    __slots__ = ()
    id: InstrumentId
    raw_symbol: Symbol
    quote_currency: Currency
    price_precision: int
    price_increment: Price
    ts_event: int
    ts_init: int
    tick_scheme_name: str | None = None
    info: Info | None = None

    instrument_class = InstrumentClass.SPOT
    is_inverse = False
    size_precision = 0
    size_increment = ONE
    multiplier = ONE
    lot_size = _without(Quantity)
    max_quantity = _without(Quantity)
    min_quantity = _without(Quantity)
    max_notional = _without(Money)
    min_notional = _without(Money)
    max_price = _without(Price)
    min_price = _without(Price)
    margin_init = ZERO
    margin_maint = ZERO
    maker_fee = ZERO
    taker_fee = ZERO

    # The key of a `to_dict()` under which the quote currency stands.
    _currency_key = "quote_currency"

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def symbol(self) -> Symbol:
        """The symbol of the id."""
        return self.id.symbol

    @property
    def venue(self) -> Venue:
        """The venue of the id."""
        return self.id.venue

    @property
    def asset_class(self) -> AssetClass:
        """What is traded."""
        return AssetClass.ALTERNATIVE

    @property
    def base_currency(self) -> Currency | None:
        """What is bought and sold, if that is a currency."""
        return None

    @property
    def settlement_currency(self) -> Currency:
        """The currency in which a trade is settled."""
        return self.cost_currency

    @property
    def is_quanto(self) -> bool:
        """Whether it is settled in a currency that is neither base nor quote currency."""
        return False

    @property
    def cost_currency(self) -> Currency:
        """The currency of its profit and loss: base if inverse, settlement if quanto, else quote."""
        if self.is_inverse and self.base_currency is not None:
            return self.base_currency
        return self.settlement_currency if self.is_quanto else self.quote_currency

    def _validate(self) -> None:
        for name in _RATES:
            parse_decimal(f"{type(self).__name__}.{name}", getattr(self, name))
        for names, least in ((_POSITIVE, "positive"), (_NOT_NEGATIVE, "not negative")):
            for name in names:
                value = getattr(self, name)
                number = value.amount if isinstance(value, Money) else value
                if number is not None and (number < 0 or (number == 0 and least == "positive")):
                    raise self._refused(f"{name} {value} is not allowed, it has to be {least}")
        for precision, increment in (
            ("price_precision", self.price_increment),
            ("size_precision", self.size_increment),
        ):
            if getattr(self, precision) != increment.precision:
                raise self._refused(
                    f"{precision} {getattr(self, precision)} differs from the {increment.precision} decimals of the "
                    f"increment {increment}; write both with the same"
                )
        for name in _TEXTS:
            text = getattr(self, name, None)
            if text is not None and not text.strip():
                raise self._refused(f"{name} is empty; write it out or leave it out")

    def _refused(self, why: str) -> InvalidValue:
        return InvalidValue(f"{type(self).__name__} {self.id}: {why}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under NautilusTrader's keys, as text, numbers, lists and dicts."""
        values = super().to_dict()
        values[self._currency_key] = values.pop("quote_currency")
        # NautilusTrader writes a rate of zero without decimals, however it was given.
        return values | {name: "0" for name in _RATES if name in values and not getattr(self, name)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returns, here or in NautilusTrader.

        A currency that is not known becomes known, as a crypto currency of 8 decimals: the rule of NautilusTrader,
        whose instruments carry the code alone.
        """
        values = dict(values)
        if cls._currency_key in values:
            values["quote_currency"] = values.pop(cls._currency_key)
        for spec in cls._specs:
            code = values.get(spec.name)
            if spec.kind is Currency and isinstance(code, str) and Currency.find(code) is None:
                Currency.register(Currency(code, CRYPTO_PRECISION, 0, code, CurrencyType.CRYPTO))
        return super().from_dict(values)

    def make_price(self, value: str | int | float | Decimal) -> Price:
        """Round to the decimals of the price increment (half to even).

        Raises
        ------
        InvalidValue
            If it is no finite number.
        """
        return Price(self._round(value, self.price_increment, ROUND_HALF_EVEN), self.price_precision)

    def make_qty(self, value: str | int | float | Decimal, round_down: bool = False) -> Quantity:
        """Round to the decimals of the size increment: half to even, or down.

        Raises
        ------
        InvalidValue
            If it is no finite number, negative, or positive and rounded to zero.
        """
        rounded = self._round(value, self.size_increment, ROUND_FLOOR if round_down else ROUND_HALF_EVEN)
        if rounded == 0 and Decimal(value) > 0:
            raise self._refused(
                f"{value} would be rounded to a quantity of zero; the size increment is {self.size_increment}"
            )
        return Quantity(rounded, self.size_precision)

    def _round(self, value: str | int | float | Decimal, increment: Decimal, rounding: str) -> Decimal:
        # A float is rounded as what it is, to the last bit. Only downwards it counts for what it prints as: the float
        # nearest to 0.29 is below it, and 0.28 is not what is meant.
        if isinstance(value, float):
            value = Decimal(repr(value) if rounding == ROUND_FLOOR else value)
        if not isinstance(value, Decimal):
            value = parse_decimal(type(self).__name__, value)
        if not value.is_finite() or value.adjusted() > DIGITS_MAX:
            raise self._refused(f"{value!s:.80} is not finite or too large")
        unit = Decimal((0, (1,), min(int(increment.normalize(EXACT).as_tuple().exponent), 0)))
        return value.quantize(unit, rounding=rounding, context=EXACT)

    def notional_value(self, quantity: Quantity, price: Price, use_quote_for_inverse: bool = False) -> Money:
        """Return what `quantity` is worth at `price`.

        In quote currency; of an inverse instrument in base currency, of a quanto in settlement currency. With
        `use_quote_for_inverse` the quantity of an inverse instrument is taken for an amount of quote currency.

        Raises
        ------
        InvalidValue
            If the instrument is inverse and the price zero.
        """
        if not self.is_inverse:
            size = EXACT.multiply(quantity, self.multiplier)
            return Money(EXACT.multiply(size, price), self.cost_currency)
        if use_quote_for_inverse:
            return Money(quantity.as_decimal(), self.quote_currency)
        if price == 0:
            raise self._refused("an inverse instrument has no value at a price of zero")
        return Money(EXACT.divide(EXACT.multiply(quantity, self.multiplier), price), self.cost_currency)


class TradedInstrument(Instrument, kw_only=True):
    """Base of the instruments that can be traded.

    Margins and fees are fractions of the notional value (0.01 is one percent); a negative fee is a rebate.
    """

    __slots__ = ()
    margin_init: Decimal = ZERO
    margin_maint: Decimal = ZERO
    maker_fee: Decimal = ZERO
    taker_fee: Decimal = ZERO
    max_quantity: Quantity | None = None
    min_quantity: Quantity | None = None


class PricedInstrument(TradedInstrument, kw_only=True):
    """Base of the instruments whose prices have bounds."""

    __slots__ = ()
    max_price: Price | None = None
    min_price: Price | None = None


class SizedInstrument(PricedInstrument, kw_only=True):
    """Base of the instruments that can be traded in fractions and whose orders have bounds in money."""

    __slots__ = ()
    size_precision: int
    size_increment: Quantity
    max_notional: Money | None = None
    min_notional: Money | None = None


class ExchangeContract(PricedInstrument, kw_only=True):
    """Base of the futures and options of an exchange. `activation_ns` and `expiration_ns` are UNIX nanoseconds."""

    __slots__ = ()
    asset_class: AssetClass
    underlying: str
    multiplier: Quantity
    lot_size: Quantity
    activation_ns: int
    expiration_ns: int
    size_precision: int = 0
    size_increment: Quantity = ONE
    min_quantity: Quantity | None = ONE
    exchange: str | None = None

    _currency_key = "currency"


class CryptoContract(SizedInstrument, kw_only=True):
    """Base of the crypto derivatives; an inverse one is settled in its base currency."""

    __slots__ = ()
    settlement_currency: Currency
    is_inverse: bool
    multiplier: Quantity = ONE
    lot_size: Quantity | None = ONE

    @property
    def asset_class(self) -> AssetClass:
        """Always CRYPTOCURRENCY."""
        return AssetClass.CRYPTOCURRENCY

    @property
    def is_quanto(self) -> bool:
        """Whether it is settled in neither base nor quote currency; a dollar and its coins are one."""
        return settles_elsewhere(self.settlement_currency, self.quote_currency, self.base_currency)


def settles_elsewhere(settlement: Currency, quote: Currency, base: Currency | None) -> bool:
    """Whether `settlement` is neither the base nor the quote currency; all that stand for a US dollar are one."""
    if settlement in (base, quote):
        return False
    return not (settlement.code in _DOLLARS and quote.code in _DOLLARS)
