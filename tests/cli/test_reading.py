"""`eventstore log`, `tail`, `explain` and `export`: documented contracts, pipes and signals."""

import json
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstore import commands as c
from eventstore.audit import TABLES, open_log
from eventstore.model import TraderId
from eventstore.recording import play
from tests.support.archives import Writer
from tests.support.cli import TRADER, Run, assert_documented, assert_one_line_error, assert_wrong_usage, session
from tests.support.databases import open_database
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer

_TRADER = TraderId(TRADER)


@pytest.fixture(scope="module")
def recorded() -> Iterator[str]:
    """The log of a recorded session: 1,519 entries."""
    with RedisServer() as server:
        with open_database(server.url, _TRADER) as database:
            play(database, session("emacross"), array("q"))
        yield server.url


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_lines_of_log_are_the_documented_contract(eventstore: Run, recorded: str) -> None:
    found = lines(eventstore("log", recorded, "--json"))
    assert [line["position"] for line in found] == list(range(1, 1520))
    for line in found[::10]:
        assert_documented(line, "log")
    with open_log(recorded) as log:
        for line, entry in zip(found, log.entries(), strict=True):
            assert line["entry_id"] == entry.entry_id
    filled = next(line for line in found if line["kind"] == "UpdateOrder" and line["ids"]["trades"])
    [event] = filled["command"]["events"]
    assert (event["type"], event["last_qty"], event["ts_event"]) == ("OrderFilled", "1000000", filled["ts_event_ns"])


def test_log_for_people_is_a_line_an_entry_and_filters_it(eventstore: Run, recorded: str) -> None:
    whole = eventstore("log", recorded).stdout.splitlines()
    assert len(whole) == 1519
    assert eventstore("log", recorded, "--last", 7).stdout.splitlines() == whole[-7:]
    fills = eventstore("log", recorded, "--kind", "orderfilled", "--since", 100, "--until", 200).stdout.splitlines()
    assert fills == [line for line in whole[99:200] if " OrderFilled " in line]
    assert "trade SIM-1-" in fills[0]
    full = eventstore("log", recorded, "--last", 1, "--full").stdout
    assert "chain " in full


def test_log_into_head_ends_without_a_word(recorded: str) -> None:
    command = [sys.executable, "-m", "eventstore", "log", recorded, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["position"] == 1
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_what_is_wrong_is_one_line_or_wrong_usage(eventstore: Run, recorded: str) -> None:
    assert eventstore("log", recorded, "--kind", "nonsense").returncode == 2
    assert eventstore("log", recorded, "--since", "yesterday").returncode == 2
    assert eventstore("export", recorded, "--to", "x", "--format", "xlsx").returncode == 2
    assert_one_line_error(eventstore("log", recorded, "--trader", "T-9"), f"T-9 has no log at {recorded}: ")
    assert_one_line_error(eventstore("explain", recorded, "O-nothing"), "nothing in the log", "O-nothing")


@pytest.mark.parametrize(
    "verb", [("log",), ("export", "--to", "x", "--format", "csv"), ("replay", "--speed", "1000")], ids=" ".join
)
def test_a_range_that_is_none_is_told(
    eventstore: Run, recorded: str, verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One behind the end of the log, or one that ends before it begins. What comes next may be asked for."""
    monkeypatch.chdir(tmp_path)
    name, *options = verb
    for since in (1521, 9999):
        done = eventstore(name, recorded, *options, "--since", since)
        assert_one_line_error(done, f"position {since} is not in the log of {TRADER}, which ends at 1519")
    for since, until in (("5", "2"), ("2026-01-02", "2026-01-01")):
        done = eventstore(name, recorded, *options, "--since", since, "--until", until)
        assert_wrong_usage(done, "--since", f"{since} is behind --until {until}")
    assert list(tmp_path.iterdir()) == []
    for given in (("--since", 1520), ("--since", 5, "--until", "2001-01-01")):
        assert eventstore(name, recorded, *options, *given).returncode == 0


def test_text_of_others_can_not_forge_lines(eventstore: Run, redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client, Writer(client, _TRADER) as writer:
        writer.batch([c.Quarantined("add", "key", "reason\n        9  2026-01-01 forged\x1b[2J")])
    shown = eventstore("log", redis_url).stdout
    assert len(shown.splitlines()) == 1
    assert "\x1b" not in shown
    assert r"reason\n        9" in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_tail_shows_the_last_entries_then_those_that_come_until_it_is_ended(
    eventstore: Run, redis_url: str, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "eventstore", "tail", redis_url, "--json", "--last", "2", "--kind", "general"]
    with open_database(redis_url, _TRADER) as database:
        for key in ("one", "two", "three"):
            database.add(key, b"value")
        database.sync()
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            seen = [json.loads(process.stdout.readline()) for _ in range(2)]
            for key in ("four", "five"):
                database.add(key, b"value")
                database.sync()
                seen.append(json.loads(process.stdout.readline()))
            database.flush()
            database.add("six", b"value")
            seen.append(json.loads(process.stdout.readline()))
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
    assert [line["key"] for line in seen] == ["two", "three", "four", "five", "six"]
    for line in seen:
        assert_documented(line, "tail")


def test_the_lines_of_explain_are_the_documented_contract(eventstore: Run, recorded: str) -> None:
    [fill] = lines(eventstore("log", recorded, "--json", "--kind", "OrderFilled", "--id", "SIM-1-009", "--until", 80))[
        :1
    ]
    steps = lines(eventstore("explain", recorded, fill["ids"]["positions"][0], "--json"))
    whole = {"changes": [], "causes": []}
    for step in steps:
        assert whole.keys() <= step.keys()
        if step["changes"] and step["causes"]:
            assert_documented(step, "explain")
    assert steps[-1]["position"] > fill["position"]
    last = lines(eventstore("explain", recorded, fill["ids"]["positions"][0], "--json", "--last", 3))
    assert last == steps[-3:]
    shown = eventstore("explain", recorded, fill["key"]).stdout
    assert shown.startswith(f"order {fill['key']}\n")
    assert "status: SUBMITTED -> FILLED" in shown
    assert f"from {fill['position']}: trade SIM-1-009" in shown


def test_the_summary_of_export_is_the_documented_contract(eventstore: Run, recorded: str, tmp_path: Path) -> None:
    done = eventstore("export", recorded, "--to", tmp_path, "--format", "csv", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert_documented(summary, "export")
    assert (summary["first"], summary["last"]) == (1, 1519)
    assert {file["table"]: file["rows"] for file in summary["files"]} == {
        "orders": 178,
        "order_events": 534,
        "fills": 178,
        "positions": 89,
        "account_states": 179,
        "log": 1519,
    }
    for file in summary["files"]:
        assert Path(file["file"]).read_bytes().count(b"\r\n") == file["rows"] + 1
    one = tmp_path / "fills.jsonl"
    done = eventstore("export", recorded, "--to", one, "--format", "jsonl", "--table", "fills", "--id", "SIM-1-009")
    assert done.stdout == f"{one}: 1 row\n"


def test_every_column_is_documented_with_its_type() -> None:
    text = (ROOT / "docs" / "export.md").read_text()
    for table, columns in TABLES.items():
        section = text.partition(f"## `{table}`")[2].partition("\n## ")[0]
        rows = [line.split(" | ")[:2] for line in section.splitlines() if line.startswith("| `")]
        assert rows == [[f"| `{column.name}`", column.kind] for column in columns], table
