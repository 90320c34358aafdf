"""Instruments show and read what NautilusTrader's do."""

import copy
import json
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings

from eventstore.model.currencies import AUD, BTC, ETH, EUR, GBP, JPY, USD, USDC, USDT
from eventstore.model.currency import Currency
from eventstore.model.enums import AssetClass, CurrencyType, InstrumentClass
from eventstore.model.errors import InvalidIdentifier, InvalidValue
from eventstore.model.identifiers import InstrumentId, Symbol
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import (
    INSTRUMENTS,
    BettingInstrument,
    BinaryOption,
    Cfd,
    CryptoFuturesSpread,
    CryptoOption,
    CryptoOptionSpread,
    CryptoPerpetual,
    CurrencyPair,
    Equity,
    FuturesContract,
    IndexInstrument,
    PerpetualContract,
    TokenizedAsset,
    instrument_from_dict,
)
from eventstore.model.record import U64_MAX
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Price, Quantity
from tests.support import strategies as some

N = TypeVar("N", bound=Instrument)

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data/instruments.json").read_text("utf-8"))


@pytest.mark.parametrize("values", GOLDEN, ids=lambda values: values["type"])
def test_what_nautilus_trader_shows_is_read_and_shown_again(values: dict[str, Any]) -> None:
    if values["type"] == "SyntheticInstrument":
        assert SyntheticInstrument.from_dict(values).to_dict() == values
    else:
        made = instrument_from_dict(values)
        assert type(made).__name__ == values["type"]
        assert made.to_dict() == values


def test_there_is_golden_data_for_every_kind() -> None:
    assert {values["type"] for values in GOLDEN} == set(INSTRUMENTS) | {"SyntheticInstrument"}


@pytest.mark.parametrize("kind", INSTRUMENTS.values())
def test_every_instrument_is_read_back(kind: type[Instrument]) -> None:
    @settings(max_examples=50)
    @given(some.instruments(kind))
    def check(instrument: Instrument) -> None:
        for other in (
            instrument_from_dict(instrument.to_dict()),
            kind.unchecked(tuple(instrument)),
            pickle.loads(pickle.dumps(instrument)),  # noqa: S301 # our own bytes
            copy.deepcopy(instrument),
        ):
            assert some.same(other, instrument)
            assert hash(other) == hash(instrument)
        assert (instrument.symbol, instrument.venue) == (instrument.id.symbol, instrument.id.venue)

    check()


def pair(**changes: Any) -> CurrencyPair:
    values: dict[str, Any] = {
        "id": InstrumentId("AUD/USD.SIM"),
        "raw_symbol": Symbol("AUD/USD"),
        "base_currency": AUD,
        "quote_currency": USD,
        "price_precision": 5,
        "price_increment": Price("0.00001"),
        "size_precision": 0,
        "size_increment": Quantity("1"),
        "ts_event": 0,
        "ts_init": 0,
    }
    return CurrencyPair(**(values | changes))


def perpetual(**changes: Any) -> CryptoPerpetual:
    values: dict[str, Any] = {
        "id": InstrumentId("BTCUSDT-PERP.BINANCE"),
        "raw_symbol": Symbol("BTCUSDT"),
        "base_currency": BTC,
        "quote_currency": USDT,
        "settlement_currency": USDT,
        "is_inverse": False,
        "price_precision": 1,
        "price_increment": Price("0.1"),
        "size_precision": 3,
        "size_increment": Quantity("0.001"),
        "ts_event": 0,
        "ts_init": 0,
    }
    return CryptoPerpetual(**(values | changes))


def golden(kind: type[N]) -> N:
    return next(kind.from_dict(values) for values in GOLDEN if values["type"] == kind.__name__)


def test_what_a_kind_has_not_can_still_be_asked_for() -> None:
    for kind in INSTRUMENTS.values():
        made = golden(kind)
        assert made.multiplier > 0
        assert made.size_increment.precision == made.size_precision
        assert made.margin_init >= 0
        assert made.max_notional is None or made.max_notional.amount > 0
    assert (golden(Equity).size_precision, golden(Equity).asset_class) == (0, AssetClass.EQUITY)
    assert (golden(BinaryOption).lot_size, golden(IndexInstrument).lot_size) == (Quantity("1"), None)
    assert golden(FuturesContract).min_quantity == 1


def test_classes() -> None:
    assert pair().asset_class is AssetClass.FX
    assert pair(base_currency=BTC).asset_class is AssetClass.CRYPTOCURRENCY
    assert {made.instrument_class for made in map(golden, INSTRUMENTS.values())} == {
        InstrumentClass.SPOT,
        InstrumentClass.SWAP,
        InstrumentClass.FUTURE,
        InstrumentClass.FUTURES_SPREAD,
        InstrumentClass.CFD,
        InstrumentClass.OPTION,
        InstrumentClass.OPTION_SPREAD,
        InstrumentClass.SPORTS_BETTING,
        InstrumentClass.BINARY_OPTION,
    }


def test_currencies_of_linear_inverse_and_quanto_instruments() -> None:
    linear = perpetual()
    assert (linear.cost_currency, linear.settlement_currency, linear.is_quanto) == (USDT, USDT, False)
    inverse = perpetual(settlement_currency=BTC, is_inverse=True)
    assert (inverse.cost_currency, inverse.settlement_currency, inverse.is_quanto) == (BTC, BTC, False)
    quanto = perpetual(settlement_currency=ETH)
    assert (quanto.cost_currency, quanto.settlement_currency, quanto.is_quanto) == (ETH, ETH, True)
    assert (pair().base_currency, pair().cost_currency, pair().settlement_currency) == (AUD, USD, USD)
    option = golden(CryptoOption)
    assert (option.base_currency, option.settlement_currency, option.cost_currency) == (BTC, BTC, USD)
    assert golden(Equity).base_currency is None


def test_what_stands_for_a_dollar_settles_as_one() -> None:
    """As in NautilusTrader 1.231: a contract in dollars that is settled in a coin of a dollar is no quanto."""
    for coin in (USDC, USDT, USD):
        settled = perpetual(quote_currency=USD, settlement_currency=coin)
        assert (settled.is_quanto, settled.cost_currency) == (False, USD)
    assert perpetual(quote_currency=EUR, settlement_currency=USDT).is_quanto
    assert perpetual(quote_currency=USD, settlement_currency=EUR).cost_currency == EUR


def test_an_option_settled_elsewhere_is_a_quanto() -> None:
    option = golden(CryptoOption).replace(settlement_currency=ETH)
    assert (option.is_quanto, option.cost_currency) == (True, ETH)
    inverse = option.replace(is_inverse=True)
    assert inverse.cost_currency == BTC


def test_a_perpetual_contract_on_anything_needs_a_base_currency_to_be_inverse() -> None:
    contract = golden(PerpetualContract)
    assert (contract.base_currency, contract.is_quanto, contract.cost_currency) == (None, False, USD)
    assert not contract.replace(settlement_currency=EUR).is_quanto
    assert contract.replace(settlement_currency=EUR, base_currency=BTC).cost_currency == EUR
    with pytest.raises(InvalidValue, match="base_currency"):
        contract.replace(is_inverse=True)
    inverse = contract.replace(is_inverse=True, base_currency=BTC)
    assert inverse.notional_value(Quantity("1"), Price("4.00")) == Money("0.25", BTC)


def test_a_tokenized_asset_is_of_its_base_currency() -> None:
    token = golden(TokenizedAsset)
    assert (str(token.base_currency), token.asset_class) == ("AAPLx", AssetClass.EQUITY)
    assert (token.instrument_class, token.cost_currency) == (InstrumentClass.SPOT, USD)


def test_crypto_spreads_are_of_their_underlying() -> None:
    future, option = golden(CryptoFuturesSpread), golden(CryptoOptionSpread)
    assert (future.instrument_class, future.cost_currency) == (InstrumentClass.FUTURES_SPREAD, BTC)
    assert (option.instrument_class, option.cost_currency) == (InstrumentClass.OPTION_SPREAD, USD)
    assert option.base_currency == BTC


def test_notional_values() -> None:
    assert pair().notional_value(Quantity("100000"), Price("0.80005")) == Money("80005", USD)
    linear = perpetual(multiplier=Quantity("0.001"))
    assert linear.notional_value(Quantity("10.000"), Price("50000.0")) == Money("500", USDT)
    inverse = perpetual(quote_currency=USD, settlement_currency=BTC, is_inverse=True)
    assert inverse.notional_value(Quantity("100000"), Price("30000.0")) == Money("3.33333333", BTC)
    assert inverse.notional_value(Quantity("100000"), Price("30000.0"), use_quote_for_inverse=True) == Money(
        100000, USD
    )
    with pytest.raises(InvalidValue, match="price of zero"):
        inverse.notional_value(Quantity("1"), Price("0.0"))
    quanto = perpetual(settlement_currency=ETH)
    assert quanto.notional_value(Quantity("5.000"), Price("2.0")) == Money(10, ETH)
    assert golden(BettingInstrument).notional_value(Quantity("7.00"), Price("3.50")) == Money(7, GBP)


def test_prices_and_quantities_are_rounded_to_the_grid() -> None:
    assert str(pair().make_price("0.800045")) == "0.80004"
    assert str(pair().make_price(0.1)) == "0.10000"
    coarse = pair(price_increment=Price("0.00100"))
    assert str(coarse.make_price("0.8015")) == "0.80200"
    assert str(perpetual().make_qty("0.0015")) == "0.002"
    assert str(perpetual().make_qty("0.0019", round_down=True)) == "0.001"
    assert str(perpetual().make_qty(0.29, round_down=True)) == "0.290"
    assert str(pair().make_qty(0)) == "0"
    with pytest.raises(InvalidValue, match="rounded to a quantity of zero"):
        perpetual().make_qty("0.0004")
    with pytest.raises(InvalidValue, match="negative"):
        perpetual().make_qty(-1)
    for value in (float("nan"), float("inf"), 1e300, Decimal("1e100")):
        with pytest.raises(InvalidValue):
            pair().make_price(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"price_precision": 4},
        {"size_precision": 1},
        {"price_increment": Price("0.00000")},
        {"size_increment": Quantity("0")},
        {"multiplier": Quantity("0")},
        {"lot_size": Quantity("0")},
        {"max_quantity": Quantity("0")},
        {"max_price": Price("0")},
        {"max_notional": Money(0, USD)},
        {"min_notional": Money(-1, USD)},
        {"margin_init": Decimal("-0.1")},
        {"margin_maint": Decimal("nan")},
        {"maker_fee": Decimal("inf")},
        {"tick_scheme_name": " "},
        {"ts_event": U64_MAX + 1},
    ],
)
def test_values_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="CurrencyPair"):
        pair(**changes)


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="margin_init"):
        pair(margin_init=0.1)


def test_bounds_of_zero_and_rebates_are_fine() -> None:
    made = pair(min_quantity=Quantity("0"), min_price=Price("0"), maker_fee=Decimal("-0.00025"))
    assert made.to_dict()["maker_fee"] == "-0.00025"


def test_a_lower_bound_of_prices_may_be_negative() -> None:
    """Spreads, options and electricity are traded below zero."""
    assert pair(min_price=Price("-1.00000")).to_dict()["min_price"] == "-1.00000"


def test_a_rate_of_zero_is_shown_without_decimals() -> None:
    assert pair(maker_fee=Decimal("0.0000")).to_dict()["maker_fee"] == "0"


def test_a_betting_symbol_has_to_be_that_of_its_selection() -> None:
    made = golden(BettingInstrument)
    with pytest.raises(InvalidValue, match="have to be of the symbol 1-123456789-1-None"):
        made.replace(selection_id=1)
    market = "1." + "1" * 40
    symbol = BettingInstrument.symbol_of(market, made.selection_id, made.selection_handicap)
    with pytest.raises(InvalidValue, match="32 characters"):
        made.replace(market_id=market, raw_symbol=symbol, id=InstrumentId.from_parts(symbol, made.venue))
    with pytest.raises(InvalidValue, match="more digits"):
        made.replace(selection_handicap=Decimal("0.12345678901234567"))
    assert BettingInstrument.symbol_of("1.201070830", 123456, Decimal("-1.5")) == "1-201070830-123456--1.5"


def test_a_currency_that_only_an_instrument_names_becomes_known() -> None:
    values = pair().to_dict() | {"base_currency": "NEVERHEARDOF"}
    assert Currency.find("NEVERHEARDOF") is None
    made = instrument_from_dict(values)
    assert made.base_currency == Currency("NEVERHEARDOF", 8, 0, "NEVERHEARDOF", CurrencyType.CRYPTO)
    assert Currency.find("NEVERHEARDOF") is made.base_currency


@pytest.mark.parametrize("values", [{}, {"type": "Nonsense"}, {"type": ["CurrencyPair"]}, {"type": None}])
def test_an_unknown_type_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="no instrument is of type"):
        instrument_from_dict(values)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"base_currency": ""}, InvalidIdentifier),
        ({"base_currency": 5}, TypeError),
        ({"price_increment": "x"}, InvalidValue),
        ({"price_increment": 0.1}, TypeError),
        ({"maker_fee": "x"}, InvalidValue),
        ({"max_notional": "5"}, InvalidValue),
        ({"info": 5}, TypeError),
        ({"id": None}, TypeError),
    ],
)
def test_damaged_values_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r".+"):
        instrument_from_dict(pair().to_dict() | changes)
    with pytest.raises(InvalidValue, match="price_increment"):
        instrument_from_dict({k: v for k, v in pair().to_dict().items() if k != "price_increment"})


def test_instruments_of_one_id_are_equal_only_if_all_is() -> None:
    other = pair(taker_fee=Decimal("0.1"))
    assert other != pair()
    assert len({other, pair(), pair()}) == 2
    assert golden(Cfd).quote_currency == USD
    assert pair(quote_currency=JPY) != pair(quote_currency=EUR)
