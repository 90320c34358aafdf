"""What a command's bytes promise: they come back as they went in, and nothing else is taken for a command."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.errors import CodecError, UnknownSchema
from eventstore.keys import Keys
from eventstore.model.enums import OrderStatus
from eventstore.model.identifiers import ClientOrderId, PositionId, TraderId
from eventstore.projections import MemoryViews, project
from tests.support import specimens
from tests.support.effort import effort
from tests.support.histories import any_command

kinds = pytest.mark.parametrize("kind", c.KINDS, ids=lambda kind: kind.__name__)


@kinds
@effort(30)
@given(st.data())
def test_a_command_comes_back(kind: type[c.Command], data: st.DataObject) -> None:
    """Equal, of the same class, and its fields of theirs."""
    command = data.draw(any_command(kind))
    stored = c.encode(command)
    again = c.decode(stored)
    assert type(again) is kind
    assert repr(again) == repr(command)
    assert c.encode(again) == stored


def test_ids_and_statuses_are_stored_as_plain_values() -> None:
    """Those that a call holds are of richer types: the log has their text and number."""
    command = c.AddOrder(
        ClientOrderId("O-1"),
        0,
        OrderStatus.FILLED,
        False,  # noqa: FBT003
        [],
        PositionId("P-1"),
        None,
        None,
    )
    again = c.decode(c.encode(command))
    assert again == command
    assert [type(value) for value in again[:3]] == [str, int, int]
    assert isinstance(again, c.AddOrder)
    assert type(again.position_id) is str


def test_every_command_has_a_kind_a_projection_and_a_description() -> None:
    """Whoever adds a command and forgets one of them finds out here."""
    assert set(get_args(c.Command)) == set(c.KINDS)
    shown = {name: json.loads(text) for name, text in c.describe().items()}
    for number, command in specimens.commands().items():
        project(Keys(TraderId("T-1")), command, MemoryViews())
        said = shown.pop(f"command:{number}:{c.VERSION}")
        assert said == {"name": type(command).__name__, "fields": list(command._fields)}
    assert not shown


@kinds
def test_a_command_has_all_of_its_fields_and_no_other(kind: type[c.Command]) -> None:
    row = msgpack.unpackb(c.encode(specimens.commands()[c.KINDS[kind]]))
    for wrong in (row[:-1], [*row, 0]):
        with pytest.raises(CodecError, match=rf"{kind.__name__} has {len(row) - 2} fields"):
            c.decode(msgpack.packb(wrong))


@kinds
def test_a_value_of_another_type_is_refused_by_the_name_of_its_field(kind: type[c.Command]) -> None:
    """True is no 1, text is no bytes, and no number is negative."""
    row = msgpack.unpackb(c.encode(specimens.commands()[c.KINDS[kind]]))
    for place, name in enumerate(kind._fields, 2):
        right = row[place]
        wrongs: list[Any] = [1.5, "text", b"bytes", True, 1, -1, [1], ["text"], {b"k": 1}, msgpack.Timestamp(1)]
        plain = type(right) in (str, bytes, bool)
        for wrong in wrongs:
            if (plain and type(wrong) is type(right)) or (type(right) is int and wrong is wrongs[4]):
                continue
            with pytest.raises(CodecError, match=rf"{kind.__name__}\.{name}"):
                c.decode(msgpack.packb([*row[:place], wrong, *row[place + 1 :]]))


@pytest.mark.parametrize("number", [0, 6, 255, -1, 2**64 - 1, "1", 1.0, True, None, [1], {}])
def test_a_kind_that_nobody_wrote_is_named(number: Any) -> None:
    with pytest.raises(UnknownSchema, match="upgrade") as error:
        c.decode(msgpack.packb([number, c.VERSION, 1]))
    assert repr(number) in str(error.value)


@pytest.mark.parametrize("version", [0, 2, -1, "1", 1.0, True, None])
def test_a_version_that_nobody_wrote_is_named(version: Any) -> None:
    with pytest.raises(UnknownSchema, match="Heartbeat: schema version") as error:
        c.decode(msgpack.packb([5, version, 1]))
    assert repr(version) in str(error.value)


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x90", b"\x91\x05", b"\x80", b"\x93\x05\x01", b"\x93\x05\x01\x00\x00"]
)
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"."):
        c.decode(data)
