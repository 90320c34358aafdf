"""What may be asked for as durable, and what may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.durability import REPLICAS_MAX, Durability
from eventstore.errors import ConfigError

durabilities = st.one_of(
    st.just(Durability()),
    st.builds(Durability, replicas=st.integers(1, REPLICAS_MAX)),
    st.builds(Durability, replicas=st.integers(0, REPLICAS_MAX), on_disk=st.just(value=True), local=st.just(1)),
    st.builds(Durability, replicas=st.integers(1, REPLICAS_MAX), on_disk=st.just(value=True), local=st.just(0)),
)


@pytest.mark.parametrize(
    ("text", "expected", "asks"),
    [
        ("applied", Durability(), False),
        ("replicated(2)", Durability(replicas=2), True),
        ("aof(1,0)", Durability(on_disk=True, local=1), True),
        ("aof(0, 3)", Durability(replicas=3, on_disk=True), True),
        ("aof( 1 , 1 )", Durability(replicas=1, on_disk=True, local=1), True),
    ],
)
def test_each_form_says_what_is_asked_for(text: str, expected: Durability, asks: bool) -> None:
    assert Durability.parse(text) == expected
    assert expected.asks is asks


@given(durabilities)
def test_what_it_is_written_as_is_read_again(durability: Durability) -> None:
    assert Durability.parse(str(durability)) == durability


WRONG: tuple[Any, ...] = (
    *("", "none", "Applied", "applied()", "applied ", "waitaof(1,0)"),
    *("replicated", "replicated()", "replicated(0)", "replicated(-1)", "replicated(1.5)", "replicated(101)"),
    *("replicated(1)\n", "replicated(1, 1)", "replicated(\u0661)", "replicated(99999999999999999999)"),
    *("aof", "aof()", "aof(1)", "aof(0, 0)", "aof(2, 0)", "aof(1, 101)", "aof(1,-1)", "aof(1,0", "aof(1;0)"),
    *(None, 1, b"applied", ["applied"]),
)


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused_with_what_is_allowed(text: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Durability.parse(text)
    for said in (f"durability: {text!r}", "'applied'", "'replicated(n)'", "'aof(local, replicas)'"):
        assert said in str(caught.value)


@given(st.text(alphabet="aofpliedrct(), 0123", max_size=20))
def test_whatever_is_read_is_written_the_same_but_for_spaces_and_zeros(text: str) -> None:
    try:
        durability = Durability.parse(text)
    except ConfigError:
        return
    assert Durability.parse(str(durability)) == durability
    assert [int(number) for number in _numbers(str(durability))] == [int(number) for number in _numbers(text)]


def _numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": -1},
        {"replicas": REPLICAS_MAX + 1},
        {"local": 1},
        {"on_disk": True},
        {"on_disk": True, "local": 2},
        {"on_disk": True, "local": -1, "replicas": 2},
    ],
)
def test_one_that_nobody_could_write_can_not_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'applied'"):
        Durability(**wrong)
