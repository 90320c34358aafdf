"""Positions: the recorded sessions, fold by fold."""

import gzip
import json
from importlib.resources import files
from typing import Any

import pytest

from eventstore.model.events import OrderFilled
from eventstore.model.instruments import instrument_from_dict
from eventstore.model.positions import Position

FLOATS = ("avg_px_open", "avg_px_close", "realized_return")


def read(name: str) -> str:
    return gzip.decompress((files("eventstore") / "sessions" / name).read_bytes()).decode()


def assert_same(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(got) == list(wanted)
    for key, value in wanted.items():
        if key in FLOATS and value is not None:
            assert got[key] == pytest.approx(value, rel=1e-9), key
        else:
            assert got[key] == value, key


@pytest.mark.parametrize(("session", "cycles"), [("emacross", 89), ("trailing", 59), ("bracket", 0)])
def test_a_recorded_session_gives_the_recorded_positions(session: str, cycles: int) -> None:
    final = json.loads(read(f"{session}.final.json.gz"))
    instruments, positions, opened = {}, dict[str, Position](), 0
    for line in read(f"{session}.jsonl.gz").splitlines():
        call = json.loads(line)
        if call["call"] == "add_instrument":
            instrument = instrument_from_dict(call["instrument"])
            instruments[instrument.id] = instrument
        elif call["call"] in ("add_position", "update_position"):
            fill = OrderFilled.from_dict(call["event"])
            if call["call"] == "add_position":
                positions[call["position_id"]] = Position(instruments[fill.instrument_id], fill)
            else:
                positions[call["position_id"]].apply(fill)
            opened += positions[call["position_id"]].event_count == 1
        elif call["call"] == "snapshot_position_state":
            assert_same(positions[call["position"]["position_id"]].to_dict(), call["position"])
    assert opened == cycles
    assert set(positions) == set(final["positions"])
    for name, position in positions.items():
        assert_same(position.to_dict(), final["positions"][name])
        assert_same(Position.from_events(position.basis, position.events).to_dict(), final["positions"][name])
    assert {name for name, position in positions.items() if position.is_open} == set(final["positions_open"])
    assert {name for name, position in positions.items() if position.is_closed} == set(final["positions_closed"])
