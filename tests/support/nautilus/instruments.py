"""Instruments of every kind that the installed NautilusTrader has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from decimal import Decimal

import nautilus_trader.model.instruments as kinds
from nautilus_trader.model.currencies import USD, USDT
from nautilus_trader.model.enums import AssetClass, CurrencyType
from nautilus_trader.model.identifiers import InstrumentId, Symbol
from nautilus_trader.model.instruments import Instrument, SyntheticInstrument
from nautilus_trader.model.objects import Currency, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider

EURUSD = TestInstrumentProvider.default_fx_ccy("EUR/USD")
USDJPY = TestInstrumentProvider.default_fx_ccy("USD/JPY")
AUDUSD = TestInstrumentProvider.default_fx_ccy("AUD/USD")
ETHUSDT_PERP = TestInstrumentProvider.ethusdt_perp_binance()
XBTUSD = TestInstrumentProvider.xbtusd_bitmex()


def all_instruments() -> list[Instrument]:
    """Everything that NautilusTrader's own tests trade, and what they do not: each kind at least once."""
    found = [one for one in _provided() if not isinstance(one, SyntheticInstrument)]
    found.extend(_not_provided())
    assert kind_names() <= {type(one).__name__ for one in found}, "a kind of instrument is missing here"
    return list({one.id: one for one in (EURUSD, USDJPY, AUDUSD, *found)}.values())


def kind_names() -> set[str]:
    """The names of the kinds of instrument there are."""
    return {
        name
        for name, kind in vars(kinds).items()
        if inspect.isclass(kind) and issubclass(kind, Instrument) and kind is not Instrument
    }


def synthetic() -> SyntheticInstrument:
    return TestInstrumentProvider.synthetic_instrument()


def is_spread(instrument: Instrument) -> bool:
    """Whether NautilusTrader takes it for a spread, whose fills make no position."""
    if hasattr(instrument, "is_spread"):
        return bool(instrument.is_spread())
    return bool(instrument.id.is_spread())  # In 1.221 the name says so.


def _provided() -> Iterator[Instrument]:
    for maker in vars(TestInstrumentProvider).values():
        if not isinstance(maker, staticmethod):
            continue
        parameters = inspect.signature(maker.__func__).parameters.values()
        if all(parameter.default is not parameter.empty for parameter in parameters):
            yield maker.__func__()
    yield TestInstrumentProvider.es_future(2026, 12)
    yield TestInstrumentProvider.eurusd_future(2026, 12)


def _not_provided() -> Iterator[Instrument]:
    if hasattr(kinds, "PerpetualContract"):
        yield kinds.PerpetualContract(
            instrument_id=InstrumentId.from_str("XAU-PERP.VENUE"),
            raw_symbol=Symbol("XAU-PERP"),
            underlying="XAU",
            asset_class=AssetClass.COMMODITY,
            quote_currency=USD,
            settlement_currency=USDT,
            is_inverse=False,
            price_precision=2,
            size_precision=3,
            price_increment=Price.from_str("0.01"),
            size_increment=Quantity.from_str("0.001"),
            ts_event=1,
            ts_init=2,
            margin_init=Decimal("0.05"),
            info={"note": "continuous"},
        )
    if hasattr(kinds, "TokenizedAsset"):
        apple = Currency("AAPLx", 8, 0, "Apple, tokenized", CurrencyType.CRYPTO)
        Currency.register(
            apple, overwrite=True
        )  # As a cache does; NautilusTrader looks its currencies up by their code.
        yield kinds.TokenizedAsset(
            instrument_id=InstrumentId.from_str("AAPLx/USD.VENUE"),
            raw_symbol=Symbol("AAPLx/USD"),
            asset_class=AssetClass.EQUITY,
            base_currency=apple,
            quote_currency=USD,
            price_precision=2,
            size_precision=4,
            price_increment=Price.from_str("0.01"),
            size_increment=Quantity.from_str("0.0001"),
            ts_event=1,
            ts_init=2,
            isin="CH1396295640",
            taker_fee=Decimal("0.0026"),
        )
