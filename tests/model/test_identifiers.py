"""Identifiers: text that can be a key, checked once."""

import contextlib
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.errors import InvalidIdentifier, ModelError
from eventstore.model.identifiers import (
    LENGTH_MAX,
    UUID4,
    AccountId,
    ClientOrderId,
    Identifier,
    InstrumentId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from tests.support import strategies as some


@pytest.mark.parametrize("kind", some.IDENTIFIERS)
def test_an_identifier_is_the_text_it_was_made_of(kind: type[Identifier]) -> None:
    @given(some.ids(kind))
    def check(identifier: Identifier) -> None:
        plain = identifier.value
        assert type(plain) is str
        assert identifier == plain == str(identifier)
        assert hash(identifier) == hash(plain)
        assert kind(plain) == identifier
        assert kind(identifier) is identifier
        for other in (pickle.loads(pickle.dumps(identifier)), copy.deepcopy(identifier)):  # noqa: S301 # our own bytes
            assert type(other) is kind
            assert other == identifier

    check()


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x85", "{", "}", "\u2028", "\ud800"])
@pytest.mark.parametrize("kind", [k for k in some.IDENTIFIERS if k is not UUID4])
def test_control_characters_and_braces_are_refused_by_name_and_place(kind: type[Identifier], character: str) -> None:
    if character in "{}" and kind in (TradeId, VenueOrderId):
        assert kind(f"A-B{character}.C-D") == f"A-B{character}.C-D"  # no key is named after it
        return
    with pytest.raises(InvalidIdentifier, match=f"{kind.__name__}: .* at 3; .*remove it"):
        kind(f"A-B{character}.C-D")


@pytest.mark.parametrize("text", ["", " ", "\u3000", "x" * (LENGTH_MAX + 1)])
def test_empty_blank_and_overlong_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier, match="ClientOrderId"):
        ClientOrderId(text)
    assert ClientOrderId("x" * LENGTH_MAX)


@pytest.mark.parametrize("value", [None, 1, b"O-1", 1.5, ["O-1"]])
def test_what_is_no_text_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="ClientOrderId: expected str"):
        ClientOrderId(value)  # type: ignore[arg-type] # the point


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (TraderId, "TRADER"),
        (TraderId, "-001"),
        (AccountId, "SIM-"),
        (AccountId, "SIM- "),
        (InstrumentId, "AUDUSD"),
        (InstrumentId, ".SIM"),
        (InstrumentId, "AUDUSD."),
        (InstrumentId, " .SIM"),
    ],
)
def test_compound_ids_need_both_parts(kind: type[Identifier], text: str) -> None:
    with pytest.raises(InvalidIdentifier, match="both sides"):
        kind(text)


@given(some.ids(Symbol), some.ids(Venue).filter(lambda venue: "." not in venue))
def test_an_instrument_id_is_a_symbol_and_a_venue(symbol: Symbol, venue: Venue) -> None:
    if len(symbol) + len(venue) < LENGTH_MAX:
        made = InstrumentId.from_parts(symbol, venue)
        assert (made.symbol, made.venue) == (symbol, venue)
        assert (type(made.symbol), type(made.venue)) == (Symbol, Venue)
        assert made.is_synthetic == (venue == "SYNTH")


def test_ids_of_different_kinds_are_equal_to_the_same_text() -> None:
    known: dict[str, int] = {ClientOrderId("A-1"): 1}
    assert known["A-1"] == 1
    assert repr(StrategyId("A-1")) == "StrategyId('A-1')"


def test_event_ids_are_fresh_and_canonical() -> None:
    assert UUID4() != UUID4()
    assert UUID4(UUID4().value)
    for text in ("X", "2D89666B-1A1E-4A75-B193-4EB3B454C757", "2d89666b1a1e4a75b1934eb3b454c757"):
        with pytest.raises(InvalidIdentifier, match="canonical"):
            UUID4(text)


@given(st.text())
def test_any_text_makes_an_identifier_or_a_model_error(text: str) -> None:
    for kind in some.IDENTIFIERS:
        with contextlib.suppress(ModelError):
            assert kind(text) == text
