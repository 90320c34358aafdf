"""Synthetic instruments: formulas are read once, safely, and computed exactly."""

import contextlib
import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.codec import MsgPackSerializer
from eventstore.model.errors import InvalidValue, ModelError
from eventstore.model.formula import FORMULA_LENGTH_MAX
from eventstore.model.identifiers import InstrumentId, Symbol
from eventstore.model.record import U64_MAX
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Price
from tests.support import strategies as some


def synthetic(formula: str, *components: str, precision: int = 4) -> SyntheticInstrument:
    ids = tuple(InstrumentId(text) for text in components or ("A.X", "B.Y"))
    return SyntheticInstrument(Symbol("MIX"), precision, ids, formula, 0, U64_MAX)


def price(formula: str, *inputs: str, components: tuple[str, ...] = ()) -> str:
    return str(synthetic(formula, *components).calculate([Decimal(text) for text in inputs or ("7.5", "2")]))


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("(A.X + B.Y) / 2", "4.7500"),
        ("A.X-B.Y*2", "3.5000"),
        ("A.X", "7.5000"),
        ("5", "5.0000"),
        ("-A.X + B.Y", "-5.5000"),
        ("--A.X", "7.5000"),
        ("A.X % B.Y", "1.5000"),
        ("A.X ^ 2", "56.2500"),
        ("-A.X ^ 2", "-56.2500"),
        ("2 ^ 3 ^ 2", "64.0000"),
        ("2 ^ -1 * 4", "2.0000"),
        ("8 - 2 - 1", "5.0000"),
        ("8 / 2 / 2", "2.0000"),
        ("1 / 3 * A.X", "2.5000"),
        (".5 * A.X + 5. - 1e1", "-1.2500"),
        ("((((A.X))))", "7.5000"),
        ("min(A.X, B.Y, 3)", "2.0000"),
        ("max(A.X, B.Y)", "7.5000"),
        ("floor(A.X) + ceil(A.X)", "15.0000"),
        ("round(A.X) + round(-A.X)", "0.0000"),
        ("math::abs(-A.X)", "7.5000"),
        ("abs(-A.X)", "7.5000"),
        ("math::sqrt(A.X)", "2.7386"),
        ("math::pow(A.X, 2)", "56.2500"),
        ("math::ln(math::exp(A.X))", "7.5000"),
        ("math::log10(1000)", "3.0000"),
        ("if(A.X > B.Y, A.X, B.Y)", "7.5000"),
        ("if(A.X <= B.Y || !(A.X != 7.5) && B.Y == 2, 1, min(2, 3))", "1.0000"),
        ("if(A.X >= 8, 1, if(B.Y < 2, 2, 3))", "3.0000"),
    ],
)
def test_formulas(formula: str, value: str) -> None:
    assert price(formula) == value


@pytest.mark.parametrize(
    "components",
    [
        ("BTC/USD.X", "ETH-USD.Y"),
        ("BTC-PERP.B", "ETH PERP.B"),
        ("1INCH.X", "A.B.C"),
        ("AA.X", "A.X"),
        ("A.X-Y", "A.X"),
        ("(A).X", "B+C.X"),
        ("1.2", "3.4"),
        ("min.X", "if.Y"),
    ],
)
def test_names_may_hold_what_is_an_operator_elsewhere(components: tuple[str, str]) -> None:
    for formula in ("{} - {}", "{}-{}", "({})-({})", "min({},{}) + {} - {} - min({},{})"):
        text = formula.format(*(components * 3))
        assert price(text, components=components) == "5.5000", text


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("", "value is missing"),
        ("   ", "value is missing"),
        ("A.X +", "value is missing"),
        ("A.X ** 2", "value is missing"),
        ("()", "value is missing"),
        ("min()", "value is missing"),
        ("A.X B.Y", "lacks an operator"),
        ("2(A.X)", "lacks an operator"),
        ("(A.X", "not closed"),
        ("A.X)", "without an open bracket"),
        ("A.X, B.Y", "without an open bracket"),
        ("(A.X, B.Y)", "comma outside a function"),
        ("C.X + A.X", "neither a component nor a function"),
        ("A.XY", "neither a component nor a function"),
        ("a.x", "neither a component nor a function"),
        ("__import__('os')", "neither a component nor a function"),
        ("min + 1", "without its arguments"),
        ("math::sqrt(1, 2)", "takes 1"),
        ("if(A.X, 1, 2)", "takes a truth value"),
        ("A.X > B.Y", "is a comparison"),
        ("1 < A.X < 2", "takes a number"),
        ("!A.X", "takes a truth value"),
        ("A.X = 1", "can not be read"),
        ("A.X; B.Y", "can not be read"),
        ('"A.X"', "can not be read"),
        ("0x10", "can not be read"),
        ("1e9999", "too large"),
        ("9" * 41, "number of over"),
        ("A.X" + " " * FORMULA_LENGTH_MAX + "+ 1", "at most"),
    ],
)
def test_a_formula_that_can_not_be_read_says_why(formula: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=rf"SyntheticInstrument MIX: formula: .*{why}"):
        synthetic(formula)
    with pytest.raises(InvalidValue, match=why):
        synthetic("A.X").change_formula(formula)


@pytest.mark.parametrize("formula", ["x = A.X; x * 2", "math::log2(A.X)", "BTC_USD.X + 1"])
def test_a_formula_of_another_dialect_is_kept_as_it_was_written(formula: str) -> None:
    """It was accepted where the instrument was made: it is stored and shown; what it amounts to is not known here."""
    values = synthetic("A.X").to_dict() | {"formula": formula}
    made = SyntheticInstrument.from_dict(values)
    assert made.to_dict() == values
    stored = MsgPackSerializer().serialize(made)
    for copied in (copy.deepcopy(made), copy.copy(made), MsgPackSerializer().deserialize(stored)):
        assert some.same(copied, made)
    with pytest.raises(InvalidValue, match="formula: "):
        made.calculate([1, 2])
    with pytest.raises(InvalidValue, match="formula: "):
        synthetic(formula)


def test_a_formula_says_something_wherever_it_was_made() -> None:
    with pytest.raises(InvalidValue, match="empty"):
        SyntheticInstrument.from_dict(synthetic("A.X").to_dict() | {"formula": " "})
    with pytest.raises(InvalidValue, match="of a 'Equity'"):
        SyntheticInstrument.from_dict(synthetic("A.X").to_dict() | {"type": "Equity"})


@pytest.mark.parametrize(
    "formula", ["1 / (A.X - 7.5)", "math::sqrt(-A.X)", "math::ln(0)", "9 ^ 9 ^ 9 ^ 9 ^ 9", "0 ^ 0", "1 % 0"]
)
def test_a_formula_without_a_value_says_so(formula: str) -> None:
    with pytest.raises(InvalidValue, match="no value for"):
        price(formula)


def test_deep_and_long_formulas_are_no_problem() -> None:
    assert price("(" * 5000 + "A.X" + ")" * 5000) == "7.5000"
    assert price("-" * 10000 + "A.X") == "7.5000"
    assert price("+".join(["A.X"] * 4000)) == "30000.0000"


def test_prices_are_exact_and_rounded_half_away_from_zero() -> None:
    assert price("A.X + B.Y", "1.00005", "0") == "1.0001"
    assert price("A.X + B.Y", "-1.00005", "0") == "-1.0001"
    assert price("A.X + B.Y", "0.1", "0.2") == "0.3000"
    huge = "1" + "0" * 30
    assert price("A.X - B.Y", huge, str(int(huge) - 1)) == "1.0000"
    with pytest.raises(InvalidValue, match="digits"):
        price("A.X * B.Y", huge, huge)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ([], InvalidValue),
        ([Decimal(1)], InvalidValue),
        ([Decimal(1)] * 3, InvalidValue),
        ([Decimal(1), Decimal("nan")], InvalidValue),
        ([1, 1.5], TypeError),
        ([1, None], TypeError),
    ],
)
def test_wrong_inputs_are_refused(inputs: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="SyntheticInstrument MIX"):
        synthetic("A.X").calculate(inputs)


def test_attributes() -> None:
    made = synthetic("A.X + B.Y", precision=2)
    assert (made.id, made.price_increment) == ("MIX.SYNTH", Price("0.01"))
    assert made.id.is_synthetic
    other = made.change_formula("A.X - B.Y")
    assert (made.formula, other.formula) == ("A.X + B.Y", "A.X - B.Y")
    assert other.calculate([3, 1]) == 2
    assert SyntheticInstrument.from_dict(made.to_dict()) == made


@pytest.mark.parametrize("components", [("A.X",), ("A.X", "A.X"), tuple(f"A{i}.X" for i in range(257))])
def test_components_are_two_or_more_and_different(components: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="component"):
        synthetic("1", *components)


def test_a_precision_over_the_bound_is_refused() -> None:
    with pytest.raises(InvalidValue, match="price_precision"):
        synthetic("1", precision=19)


@given(some.synthetics())
def test_every_synthetic_instrument_is_read_back(instrument: SyntheticInstrument) -> None:
    assert some.same(SyntheticInstrument.from_dict(instrument.to_dict()), instrument)
    assert instrument.calculate([1] * len(instrument.components)) == len(instrument.components)


@given(st.text(alphabet="AB.XY+-*/^%<>=!&|(),0123456789e minfloratex:", max_size=30))
def test_any_text_is_a_formula_or_a_model_error(text: str) -> None:
    with contextlib.suppress(ModelError):
        assert synthetic(text).calculate([Decimal("7.5"), 2]).precision == 4
