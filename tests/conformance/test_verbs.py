"""The verbs of the command line, by the URL that the database was opened with: each as a user who may do just that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eventstore.cli import app
from eventstore.keys import Keys
from eventstore.model.enums import OrderSide
from eventstore.model.events import OrderAccepted, OrderCanceled, OrderSubmitted
from eventstore.model.identifiers import PositionId
from eventstore.model.positions import Position
from tests.support.databases import TRADER
from tests.support.logs import check_log
from tests.support.node import TRADED
from tests.support.orders import OrderFilled, happened, order_after
from tests.support.topologies import REPLICATED
from tests.support.topology import Topology
from tests.support.users import Task

KEYS = Keys(TRADER)
ENTRIES = 26

Run = Callable[..., list[Any]]


@pytest.fixture
def written(topology: Topology) -> Topology:
    """The servers with a log of an order that was canceled, a position, and twenty general objects."""
    with topology.open(batch_count_max=5) as database:
        order = order_after()
        database.add_order(order)
        for kind in (OrderSubmitted, OrderAccepted, OrderCanceled):
            order.apply(happened(kind))
            database.update_order(order)
        fill = happened(
            OrderFilled, instrument_id=TRADED[0].id, position_id=PositionId("P-1"), order_side=OrderSide.BUY
        )
        database.add_position(Position(TRADED[0], fill))
        for number in range(19):
            database.add(f"key-{number}", b"value")
    with topology.client_of(KEYS.namespace) as client:
        assert check_log(client, KEYS)[-1].position == ENTRIES
    return topology


@pytest.fixture
def run(written: Topology) -> Run:
    """Runs a verb as the user for that task; what it printed as JSON, line by line."""

    def running(verb: str, task: Task, *arguments: object, status: int = 0, replica: bool = False) -> list[Any]:
        place = written.replica_place(TRADER, task) if replica else written.place(TRADER, task)
        words = [verb, place, *map(str, arguments), "--trader", str(TRADER), "--json"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == status, (words, done.exception, done.stderr)
        try:
            return [json.loads(done.stdout)]
        except json.JSONDecodeError:
            return [json.loads(line) for line in done.stdout.splitlines()]

    return running


def test_status_says_how_the_log_stands(run: Run) -> None:
    [said] = run("status", "reader")
    [trader] = said["traders"]
    assert (trader["trader_id"], trader["position"], trader["writer"]["closed"]) == (TRADER, ENTRIES, True)
    assert trader["log"]["entries"] == ENTRIES


def test_log_and_explain_tell_what_happened(run: Run) -> None:
    lines = run("log", "auditor")
    assert [line["position"] for line in lines] == list(range(1, ENTRIES + 1))
    assert [line["kind"] for line in lines[:3]] == ["Opened", "AddOrder", "UpdateOrder"]
    assert len(run("explain", "auditor", "O-1")) >= 4


def test_verify_finds_nothing_and_anchor_says_where_the_log_ends(run: Run) -> None:
    [report] = run("verify", "auditor")
    assert report["findings"] == []
    [anchor] = run("anchor", "auditor")
    assert anchor["position"] == ENTRIES


def test_replay_shows_any_moment_and_diff_what_came_between(run: Run) -> None:
    state, *things = run("replay", "auditor", "--at", 3)
    assert (state["position"], {thing["family"] for thing in things}) == (3, {"order", "orders_inflight"})
    assert run("replay", "auditor")[0]["position"] == ENTRIES
    assert {line["family"] for line in run("diff", "auditor", 1, 2, status=1)} == {"order"}


def test_export_writes_tables(run: Run, tmp_path: Path) -> None:
    run("export", "auditor", "--to", tmp_path, "--format", "jsonl")
    assert any(path.stat().st_size for path in tmp_path.iterdir())


def test_rebuild_finds_the_views_as_they_are(run: Run) -> None:
    run("rebuild", "rebuild")


def test_what_is_archived_is_read_from_there(run: Run, tmp_path: Path) -> None:
    [report] = run("archive", "archive", "--to", tmp_path, "--keep", 10)
    assert report["trimmed"] == report["entries"] > 0
    assert len(run("log", "auditor")) == ENTRIES - report["trimmed"]
    assert [line["position"] for line in run("log", "auditor", "--archive", tmp_path)] == list(range(1, ENTRIES + 1))
    [verified] = run("verify", "auditor", "--archive", tmp_path)
    assert verified["findings"] == []


@pytest.mark.parametrize("running", REPLICATED, indirect=True)
def test_what_is_read_may_come_from_a_replica(run: Run) -> None:
    assert [line["position"] for line in run("log", "auditor", replica=True)] == list(range(1, ENTRIES + 1))
    assert run("verify", "auditor", replica=True)[0]["findings"] == []
    assert run("status", "reader", replica=True)[0]["traders"][0]["position"] == ENTRIES
