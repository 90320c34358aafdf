"""Prices, quantities and money are exact and keep the decimals they were written with."""

import copy
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.currencies import BTC, JPY, USD
from eventstore.model.currency import Currency
from eventstore.model.errors import InvalidValue, ModelError
from eventstore.model.values import DIGITS_MAX, PRECISION_MAX, Fixed, Money, Price, Quantity, parse_decimal
from tests.support import strategies as some


@given(some.prices() | some.quantities())
def test_text_and_back_keeps_number_and_decimals(value: Fixed) -> None:
    for other in (
        type(value)(str(value)),
        type(value).from_str(str(value)),
        type(value).unchecked(str(value)),
        pickle.loads(pickle.dumps(value)),  # noqa: S301 # our own bytes
        copy.deepcopy(value),
    ):
        assert type(other) is type(value)
        assert (other, other.precision, str(other)) == (value, value.precision, str(value))
    assert "E" not in str(value)
    assert len(str(value).partition(".")[2]) == value.precision


@given(some.decimals(), st.integers(0, PRECISION_MAX))
def test_a_precision_rounds_half_to_even_and_shows_all_decimals(number: Decimal, precision: int) -> None:
    price = Price(number, precision)
    assert price.precision == precision
    assert abs(Decimal(price) - number) <= Decimal("0.5").scaleb(-precision)


def test_zero_has_no_sign() -> None:
    assert str(Price("-0.00")) == "0.00"
    assert str(Money("-0.001", USD)) == "0.00 USD"


@pytest.mark.parametrize("text", ["", "abc", "nan", "inf", "-Infinity", "1..2", "1e", "0x10", "1" * 1000, "1e999999"])
def test_text_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="Price"):
        Price(text)


@pytest.mark.parametrize("value", [1.5, None, True, b"1", [1]])
def test_floats_and_other_kinds_are_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="Price"):
        Price(value)  # type: ignore[arg-type] # the point


def test_bounds() -> None:
    assert Price("9" * DIGITS_MAX) == Decimal("9" * DIGITS_MAX)
    with pytest.raises(InvalidValue, match="digits"):
        Price("9" * (DIGITS_MAX + 1))
    with pytest.raises(InvalidValue, match="decimals"):
        Price("0." + "1" * (PRECISION_MAX + 1))
    with pytest.raises(InvalidValue, match="negative"):
        Quantity("-1")
    with pytest.raises(InvalidValue, match="precision"):
        Price("1", 19)


@given(st.text(max_size=50) | st.integers() | some.decimals(digits=60))
def test_whatever_is_accepted_is_written_and_read_back(value: str | int | Decimal) -> None:
    try:
        number = parse_decimal("x", value)
    except ModelError:
        return
    assert str(Price(str(Price(number)))) == str(Price(number))


@given(some.money())
def test_money_is_read_back_from_its_text(amount: Money) -> None:
    back = Money.from_str(str(amount))
    assert some.same(back, amount)
    assert back == pickle.loads(pickle.dumps(amount)) == copy.deepcopy(amount)  # noqa: S301 # our own bytes
    negated = -amount
    assert -negated == amount
    assert amount - amount == Money.zero(amount.currency)


@given(some.decimals() | some.decimals(digits=80), some.currencies() | some.new_currencies())
def test_money_that_can_be_made_can_be_written(number: Decimal, currency: Currency) -> None:
    try:
        amount = Money(number, currency)
    except InvalidValue:
        return
    assert abs(amount.amount - number) <= Decimal("0.5").scaleb(-currency.precision)
    assert parse_decimal("x", str(amount).rpartition(" " + currency.code)[0]) == amount.amount


def test_money_rounds_half_away_from_zero() -> None:
    assert str(Money("1.005", USD)) == "1.01 USD"
    assert str(Money("-1.005", USD)) == "-1.01 USD"
    assert str(Money("0.5", JPY)) == "1 JPY"
    assert str(Money("1", BTC)) == "1.00000000 BTC"


def test_money_of_two_currencies_does_not_mix() -> None:
    with pytest.raises(InvalidValue, match="convert"):
        Money(1, USD) + Money(1, JPY)
    with pytest.raises(InvalidValue, match="convert"):
        assert Money(1, USD) < Money(1, JPY)
    with pytest.raises(TypeError, match="Money"):
        Money(1, USD) + 1
    assert Money(1, USD) != Money(1, JPY)


@pytest.mark.parametrize("text", ["1.00", "1.00 NOPE", " USD", "x USD", "1.00USD", "nan USD"])
def test_text_that_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        Money.from_str(text)
