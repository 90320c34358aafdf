"""NautilusTrader's example strategies on recorded ticks, and what a process that comes later has of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from tests.support.nautilus import backtests
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("name", list(backtests.STRATEGIES))
def test_a_process_that_comes_later_has_all_that_the_first_one_had(
    name: str, wiped_server: RedisServer, tmp_path: Path
) -> None:
    held = backtests.run("trade", name, wiped_server.port, tmp_path / "held")
    found = backtests.run("load", name, wiped_server.port, tmp_path / "found")
    assert_traded(held, name)
    for part in held.keys() - {"cycles"}:
        assert found[part] == held[part], part
    assert found["integrity"]
    for position_id, cycles in held["cycles"].items():
        # 1.221 forgets those that one fill turned over.
        assert [cycle for cycle in found["cycles"][position_id] if cycle in cycles] == cycles


def assert_traded(held: dict[str, Any], name: str) -> None:
    """A run in which little happened shows little."""
    orders, positions = held["index"]["orders, by state"], held["index"]["positions, by state"]
    *_, pairs = backtests.STRATEGIES[name]
    assert {one["dict"]["instrument_id"] for one in held["positions"].values()} == {str(pair.id) for pair in pairs}
    assert len(orders["closed"]) > 300
    assert name == "market maker" or orders["open"] or orders["emulated"] or positions["open"], "nothing was left open"
    if name in ("ema cross", "emulated bracket", "trailing stop", "market maker"):
        assert sum(map(len, held["cycles"].values())) > 150, "few positions began again"


def test_the_state_of_a_strategy_is_back(wiped_server: RedisServer, tmp_path: Path) -> None:
    """Saved at the end of the one engine, loaded at the beginning of the next."""
    held = backtests.run("trade", "counting", wiped_server.port, tmp_path / "held")
    found = backtests.run("load", "counting", wiped_server.port, tmp_path / "found")
    assert held["counts"][0] > 1_000
    assert found["counts"] == held["counts"]
