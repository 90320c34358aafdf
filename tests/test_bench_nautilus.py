"""The bench against NautilusTrader's own adapter, at its smallest: every figure is there, and ours loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from scripts.lib.peer import calls, loads, losses, peers, written

ROOT = Path(__file__).parents[1]
SMALLEST = (
    "--repeat=1 --calls=20 --paced-calls=5 --events=48 --objects=20 --kills=1 --loss-calls=240 --down-s=0.2 --json"
)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.lib.bench_nautilus", *SMALLEST.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_names_what_was_measured(report: dict[str, Any]) -> None:
    assert set(report["versions"]) == {"nautilus_trader", "eventstore", "python", "redis"}
    assert all(report["versions"].values())


def test_each_verb_of_each_adapter_has_its_times_at_both_paces(report: dict[str, Any]) -> None:
    (run,) = report["calls"]
    for pace in ("flat_out", "paced"):
        for peer in peers.PEERS:
            assert set(run[pace][peer.name]) == {*calls.VERBS, calls.NOTHING}
            for figures in run[pace][peer.name].values():
                assert 0 < figures["p50_us"] <= figures["p99_us"]
                assert figures["mean_us"] > 0


def test_both_wrote_everything_and_the_rates_are_compared(report: dict[str, Any]) -> None:
    (run,) = report["written"]
    for flow in written.FLOWS:
        assert set(run[flow]) == {peer.name for peer in peers.PEERS}
        assert report["ratios"][f"written.{flow}.nautilus.ours"] == run[flow]["ours"] / run[flow]["nautilus"]


def test_both_loaded_everything_whole(report: dict[str, Any]) -> None:
    (run,) = report["loads"]["20"]["runs"]
    for peer in ("nautilus", "ours"):
        for name in loads.LOADS:
            assert run[peer][f"{name}_whole"] == 1, (peer, name)
            assert run[peer][f"{name}_per_s"] > 0


def test_the_log_and_the_views_are_weighed_apart(report: dict[str, Any]) -> None:
    memory = report["loads"]["20"]["memory"]
    assert memory["nautilus"]["log_bytes"] == 0
    assert all(memory["ours"][figure] > 0 for figure in ("log_bytes", "views_bytes", "used_bytes"))


def lives(report: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    (run,) = report["losses"]
    for scenario in losses.SCENARIOS:
        for peer in losses.PEERS:
            yield scenario, peer.name, run[scenario][peer.name]


def test_every_call_is_counted_and_who_is_killed_ends_in_the_middle(report: dict[str, Any]) -> None:
    for scenario, peer, life in lives(report):
        if scenario == "server_killed":
            assert life["calls"] == 240, peer
        else:
            assert 120 <= life["calls"] < 2400, peer
            assert life["exit_status"] == -9, peer


def test_ours_with_a_journal_loses_nothing_whatever_is_killed(report: dict[str, Any]) -> None:
    for scenario, peer, life in lives(report):
        if peer == "ours_journal":
            assert (life["lost"], life["raised"], life["loadable"]) == (0, 0, True), scenario


def test_ours_loses_nothing_with_its_server(report: dict[str, Any]) -> None:
    (run,) = report["losses"]
    assert run["server_killed"]["ours"]["lost"] == 0
