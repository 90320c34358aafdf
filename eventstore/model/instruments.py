"""The instruments that an order can be for, with NautilusTrader's fields and `to_dict()` keys."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self

from eventstore.model.currency import Currency
from eventstore.model.enums import AssetClass, CurrencyType, InstrumentClass, OptionKind
from eventstore.model.errors import InvalidValue
from eventstore.model.identifiers import Symbol
from eventstore.model.instrument import (
    ONE,
    CryptoContract,
    ExchangeContract,
    Instrument,
    PricedInstrument,
    SizedInstrument,
    TradedInstrument,
    settles_elsewhere,
)
from eventstore.model.record import EMPTY_INFO, Info
from eventstore.model.values import EXACT, Money, Price, Quantity

HANDICAP_NONE = Decimal(-9999999)
"""The handicap of a betting selection that has none."""

BETTING_SYMBOL_LENGTH_MAX = 32


class CurrencyPair(SizedInstrument, kw_only=True):
    """A currency against another, at a spot or cash market."""

    __slots__ = ()
    base_currency: Currency
    multiplier: Quantity = ONE
    lot_size: Quantity | None = None

    @property
    def asset_class(self) -> AssetClass:
        """CRYPTOCURRENCY if one of the two is a crypto currency, else FX."""
        kinds = (self.base_currency.currency_type, self.quote_currency.currency_type)
        return AssetClass.CRYPTOCURRENCY if CurrencyType.CRYPTO in kinds else AssetClass.FX


class Equity(PricedInstrument, kw_only=True):
    """A share; it is traded in whole units."""

    __slots__ = ()
    lot_size: Quantity
    isin: str | None = None

    asset_class = AssetClass.EQUITY
    _currency_key = "currency"


class FuturesContract(ExchangeContract):
    """A deliverable futures contract."""

    __slots__ = ()

    instrument_class = InstrumentClass.FUTURE


class FuturesSpread(ExchangeContract, kw_only=True):
    """A strategy of several futures that an exchange trades as one. `strategy_type` is the exchange's name for it."""

    __slots__ = ()
    strategy_type: str

    instrument_class = InstrumentClass.FUTURES_SPREAD


class OptionContract(ExchangeContract, kw_only=True):
    """An option."""

    __slots__ = ()
    option_kind: OptionKind
    strike_price: Price

    instrument_class = InstrumentClass.OPTION


class OptionSpread(ExchangeContract, kw_only=True):
    """A strategy of several options that an exchange trades as one. `strategy_type` is the exchange's name for it."""

    __slots__ = ()
    strategy_type: str

    instrument_class = InstrumentClass.OPTION_SPREAD


class CryptoPerpetual(CryptoContract, kw_only=True):
    """A perpetual swap on a crypto currency."""

    __slots__ = ()
    base_currency: Currency

    instrument_class = InstrumentClass.SWAP


class CryptoFuture(CryptoContract, kw_only=True):
    """A futures contract on a crypto currency. `activation_ns` and `expiration_ns` are UNIX nanoseconds."""

    __slots__ = ()
    underlying: Currency
    activation_ns: int
    expiration_ns: int

    instrument_class = InstrumentClass.FUTURE

    @property
    def base_currency(self) -> Currency:
        """The underlying."""
        return self.underlying


class CryptoOption(CryptoContract, kw_only=True):
    """An option on a crypto currency. `activation_ns` and `expiration_ns` are UNIX nanoseconds."""

    __slots__ = ()
    underlying: Currency
    option_kind: OptionKind
    strike_price: Price
    activation_ns: int
    expiration_ns: int

    instrument_class = InstrumentClass.OPTION

    @property
    def base_currency(self) -> Currency:
        """The underlying."""
        return self.underlying


class CryptoSpread(CryptoContract, kw_only=True):
    """Base of the strategies of several crypto contracts that a venue trades as one.

    `strategy_type` is the venue's name for it; `activation_ns` and `expiration_ns` are UNIX nanoseconds.
    """

    __slots__ = ()
    underlying: Currency
    strategy_type: str
    activation_ns: int
    expiration_ns: int

    @property
    def base_currency(self) -> Currency:
        """The underlying."""
        return self.underlying


class CryptoFuturesSpread(CryptoSpread):
    """A strategy of several crypto futures."""

    __slots__ = ()

    instrument_class = InstrumentClass.FUTURES_SPREAD


class CryptoOptionSpread(CryptoSpread):
    """A strategy of several crypto options."""

    __slots__ = ()

    instrument_class = InstrumentClass.OPTION_SPREAD


class PerpetualContract(SizedInstrument, kw_only=True):
    """A perpetual contract on anything. An inverse one is settled in its base currency, and has to have one."""

    __slots__ = ()
    asset_class: AssetClass
    underlying: str
    settlement_currency: Currency
    is_inverse: bool
    base_currency: Currency | None = None
    multiplier: Quantity = ONE
    lot_size: Quantity | None = ONE

    instrument_class = InstrumentClass.SWAP

    @property
    def is_quanto(self) -> bool:
        """Whether it has a base currency and is settled in neither that nor the quote currency."""
        base = self.base_currency
        return base is not None and settles_elsewhere(self.settlement_currency, self.quote_currency, base)

    def _validate(self) -> None:
        super()._validate()
        if self.is_inverse and self.base_currency is None:
            raise self._refused("an inverse contract needs a base_currency")


class TokenizedAsset(SizedInstrument, kw_only=True):
    """A token that stands for a share or another asset, at a spot market."""

    __slots__ = ()
    asset_class: AssetClass
    base_currency: Currency
    multiplier: Quantity = ONE
    lot_size: Quantity | None = None
    isin: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under NautilusTrader's keys; of this kind it shows no tick scheme."""
        values = super().to_dict()
        if self.tick_scheme_name is None:
            del values["tick_scheme_name"]
        return values


class Cfd(SizedInstrument, kw_only=True):
    """A contract for difference."""

    __slots__ = ()
    asset_class: AssetClass
    base_currency: Currency | None = None
    lot_size: Quantity | None = None

    instrument_class = InstrumentClass.CFD


class Commodity(SizedInstrument, kw_only=True):
    """A commodity at a spot market."""

    __slots__ = ()
    asset_class: AssetClass
    lot_size: Quantity | None = None


class IndexInstrument(Instrument, kw_only=True):
    """A spot index; it can not be traded itself."""

    __slots__ = ()
    size_precision: int
    size_increment: Quantity

    asset_class = AssetClass.INDEX
    _currency_key = "currency"


class BinaryOption(TradedInstrument, kw_only=True):
    """A bet on one outcome of a question. `activation_ns` and `expiration_ns` are UNIX nanoseconds."""

    __slots__ = ()
    asset_class: AssetClass
    size_precision: int
    size_increment: Quantity
    activation_ns: int
    expiration_ns: int
    outcome: str | None = None
    description: str | None = None

    instrument_class = InstrumentClass.BINARY_OPTION
    lot_size = ONE
    _currency_key = "currency"


class BettingInstrument(SizedInstrument, kw_only=True):
    """A selection of a betting market.

    `event_open_date` and `market_start_time` are UNIX nanoseconds. The symbol has to be what `symbol_of` makes of the
    market, the selection and the handicap; a selection without handicap has `HANDICAP_NONE`.
    """

    __slots__ = ()
    event_type_id: int
    event_type_name: str
    competition_id: int
    competition_name: str
    event_id: int
    event_name: str
    event_country_code: str
    event_open_date: int
    betting_type: str
    market_id: str
    market_name: str
    market_type: str
    market_start_time: int
    selection_id: int
    selection_name: str
    selection_handicap: Decimal
    margin_init: Decimal = Decimal(1)
    margin_maint: Decimal = Decimal(1)
    info: Info | None = EMPTY_INFO

    instrument_class = InstrumentClass.SPORTS_BETTING
    lot_size = ONE
    _currency_key = "currency"

    @staticmethod
    def symbol_of(market_id: str, selection_id: int, selection_handicap: Decimal) -> Symbol:
        """Return the symbol of a selection, such as ``1-201070830-123456-None``."""
        handicap = None if selection_handicap == HANDICAP_NONE else float(selection_handicap)
        text = f"{market_id.replace('.', '-')}-{selection_id}-{handicap}".replace(" ", "").replace(":", "")
        return Symbol(text)

    def _validate(self) -> None:
        super()._validate()
        if Decimal(repr(float(self.selection_handicap))) != self.selection_handicap:
            raise self._refused(f"selection_handicap {self.selection_handicap} has more digits than can be shown")
        symbol = self.symbol_of(self.market_id, self.selection_id, self.selection_handicap)
        if not self.symbol == self.raw_symbol == symbol:
            raise self._refused(f"id and raw_symbol ({self.raw_symbol}) have to be of the symbol {symbol}")
        if len(symbol) > BETTING_SYMBOL_LENGTH_MAX:
            raise self._refused(f"its symbol has over {BETTING_SYMBOL_LENGTH_MAX} characters; shorten market_id")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under NautilusTrader's keys; the handicap is a float, as there."""
        shown = {"venue_name": str(self.venue), "selection_handicap": float(self.selection_handicap)}
        return super().to_dict() | shown

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returns, here or in NautilusTrader."""
        handicap = values.get("selection_handicap")
        if isinstance(handicap, float):
            values = {**values, "selection_handicap": repr(handicap)}
        return super().from_dict(values)

    def notional_value(self, quantity: Quantity, price: Price, use_quote_for_inverse: bool = False) -> Money:
        """Return the stake: what `quantity` is worth at any price."""
        return Money(EXACT.multiply(quantity, self.multiplier), self.quote_currency)


INSTRUMENTS: dict[str, type[Instrument]] = {
    kind.__name__: kind
    for kind in (
        BettingInstrument,
        BinaryOption,
        Cfd,
        Commodity,
        CryptoFuture,
        CryptoFuturesSpread,
        CryptoOption,
        CryptoOptionSpread,
        CryptoPerpetual,
        CurrencyPair,
        Equity,
        FuturesContract,
        FuturesSpread,
        IndexInstrument,
        OptionContract,
        OptionSpread,
        PerpetualContract,
        TokenizedAsset,
    )
}


def instrument_from_dict(values: Mapping[str, Any]) -> Instrument:
    """Build the instrument that ``type`` names from what its `to_dict` returns.

    Raises
    ------
    InvalidValue
        If no instrument has that type, or its values are not right.
    TypeError
        If a value is of the wrong kind.
    """
    name = values.get("type")
    kind = INSTRUMENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidValue(f"Instrument: no instrument is of type {name!r:.80}; known are {', '.join(INSTRUMENTS)}")
    return kind.from_dict(values)
