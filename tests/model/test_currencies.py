"""Currencies: those built in, and those added."""

import pytest
from hypothesis import given

from eventstore.model import currencies
from eventstore.model.currencies import BTC, EUR, JPY, KWD, USD, USDC_POS, XAU
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.errors import InvalidIdentifier, InvalidValue
from tests.support import strategies as some


def test_every_built_in_currency_is_known_by_its_code() -> None:
    named = {name: value for name, value in vars(currencies).items() if isinstance(value, Currency)}
    assert len(named) > 250
    for name, currency in named.items():
        assert Currency.from_str(currency.code) is currency
        assert currency.code == name or currency is USDC_POS
        assert currency.name


def test_numbers_are_unique_but_for_the_guilder_that_replaced_another() -> None:
    numbers = [c.iso4217 for c in some.BUILTIN_CURRENCIES if c.iso4217 and c.code != "ANG"]
    assert len(numbers) == len(set(numbers))


def test_facts() -> None:
    assert Currency("USD", 2, 840, "United States dollar", CurrencyType.FIAT) == USD
    assert (EUR.iso4217, JPY.precision, KWD.precision, BTC.precision) == (978, 0, 3, 8)
    assert (BTC.currency_type, XAU.currency_type) == (CurrencyType.CRYPTO, CurrencyType.COMMODITY_BACKED)
    assert {c.code for c in some.BUILTIN_CURRENCIES if c.currency_type is CurrencyType.CRYPTO and c.precision != 8} == {
        "ADA",
        "USDC.e",
        "XRP",
        "XTZ",
        "pUSD",
    }


@given(some.new_currencies())
def test_any_currency_is_read_back(currency: Currency) -> None:
    assert some.same(Currency.from_dict(currency.to_dict()), currency)


def test_a_known_currency_stays_unless_it_is_overwritten() -> None:
    other = USD.replace(name="Not this one")
    Currency.register(other)
    assert Currency.from_str("USD") is USD
    try:
        Currency.register(other, overwrite=True)
        assert Currency.from_str("USD") is other
    finally:
        Currency.register(USD, overwrite=True)


def test_an_unknown_code_says_what_to_do() -> None:
    assert Currency.find("NOPE") is None
    with pytest.raises(InvalidValue, match="register"):
        Currency.from_str("NOPE")


def test_bounds() -> None:
    for wrong in ({"precision": 19}, {"iso4217": 65536}, {"code": "U D"}):
        with pytest.raises(InvalidValue):
            USD.replace(**wrong)
    with pytest.raises(InvalidIdentifier):
        USD.replace(code="")
    with pytest.raises(TypeError, match="precision"):
        USD.replace(precision="2")
