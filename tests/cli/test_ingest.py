"""`eventstore ingest`: what a recorded node wrote is what a new process loads; what can not be played is named."""

import gzip
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventstore.cli.ingest as ingest_module
from eventstore import CacheDatabase, CacheDatabaseConfig, RedisCacheDatabase
from eventstore.cli.output import CommandFailed
from eventstore.model import TraderId
from eventstore.recording import play
from tests.support.cli import (
    NAMES,
    TRADER,
    Run,
    assert_documented,
    assert_one_line_error,
    assert_wrong_usage,
    final,
    first_lines,
    session,
    write_session,
)
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("name", NAMES)
def test_a_new_process_loads_exactly_the_state_that_the_recorded_cache_held(
    name: str, eventstore: Run, redis_url: str
) -> None:
    done = eventstore("ingest", session(name), "--to", redis_url)
    assert (done.returncode, done.stderr) == (0, "")
    with gzip.open(session(name)) as lines:
        calls = sum(1 for _ in lines)
    assert f"wrote {calls:,} calls of {TRADER}" in done.stdout

    state = json.loads(eventstore("status", redis_url, "--json").stdout)
    [trader] = state["traders"]
    expected = json.loads(gzip.decompress(final(name).read_bytes()))
    assert trader["position"] == trader["log"]["entries"] == calls + 2  # opened and closed
    for view in ("orders", "orders_open", "orders_closed", "positions", "positions_open", "positions_closed"):
        assert trader["views"][view] == len(expected[view]), view

    compared = eventstore("compare", final(name), "--at", redis_url)
    assert (compared.returncode, compared.stderr) == (0, "")


def test_a_directory_gets_an_embedded_server_that_is_gone_afterwards(eventstore: Run, scratch: Path) -> None:
    done = eventstore("ingest", session("trailing"), "--to", scratch / "data")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (scratch / "data" / "redis.sock").exists()
    assert eventstore("compare", final("trailing"), "--at", scratch / "data").returncode == 0


def test_json_is_the_documented_contract_and_alone_on_standard_output(eventstore: Run, redis_url: str) -> None:
    for _ in range(2):  # the second one takes the log over, which the library logs
        done = eventstore("ingest", session("emacross"), "--to", redis_url, "--json")
        report = json.loads(done.stdout)
        assert_documented(report, "ingest")
    assert (report["calls"], report["epoch"]) == (1517, 2)
    assert report["position"] == report["log"]["entries"] == 2 * (1517 + 2)
    ns = report["call_ns"]
    assert 0 < ns["p50"] <= ns["p99"] <= ns["p99_9"] <= ns["max"] <= ns["total"] < report["seconds"] * 1e9


def test_a_session_written_twice_loads_as_if_once(eventstore: Run, redis_url: str) -> None:
    for _ in range(2):
        assert eventstore("ingest", session("emacross"), "--to", redis_url).returncode == 0
    compared = eventstore("compare", final("emacross"), "--at", redis_url)
    assert compared.returncode == 0, compared.stdout


def test_files_that_are_no_recording_are_refused_before_anything_is_written(
    eventstore: Run, redis_url: str, redis_server: RedisServer, scratch: Path
) -> None:
    plain = scratch / "plain.jsonl.gz"
    plain.write_text('{"call": "flush"}\n')
    cut = scratch / "cut.jsonl.gz"
    cut.write_bytes(session("bracket").read_bytes()[:10_000])
    broken = scratch / "broken.jsonl.gz"
    data = bytearray(session("emacross").read_bytes())
    data[5_000:5_100] = bytes(100)
    broken.write_bytes(data)
    empty = write_session(scratch / "empty.jsonl", [])
    for path in (scratch / "absent.jsonl.gz", scratch, plain, cut, broken, empty):
        assert_one_line_error(eventstore("ingest", path, "--to", redis_url), str(path))
    with redis_server.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", ""),
        ("[1]", "not a JSON object with a 'call'"),
        ({"call": "fly_to_the_moon"}, "call 'fly_to_the_moon' is none of the database's"),
        ({"call": "fill", "event": {}, "position_id": "P-1"}, "call 'fill' is none of the database's"),
        ({"call": "_init__"}, "call '_init__' is none of the database's"),
        ({"call": "update_order"}, "update_order: no 'event'"),
        ({"call": "update_order", "event": 3}, "update_order: "),
        ({"call": "update_order", "event": {"type": "OrderDreamt"}}, "update_order: no 'OrderDreamt'"),
        ({"call": "add", "key": "", "value": "00"}, "add: "),
        ({"call": "add", "key": "k", "value": "xyz"}, "add: "),
        ({"call": "heartbeat", "timestamp": "yesterday"}, "heartbeat: "),
        ({"call": "heartbeat", "timestamp": "2026-01-01T00:00:00"}, "heartbeat: "),
        ({"call": "delete_account_event", "account_id": "SIM-001", "event_id": "x"}, "delete_account_event"),
    ],
)
def test_a_line_that_can_not_be_played_is_named(line: object, reason: str, redis_url: str, scratch: Path) -> None:
    path = write_session(scratch / "s.jsonl.gz", [*first_lines("bracket", 5), "", line])
    with pytest.raises(CommandFailed) as failed:
        ingest_module.ingest_session(path, redis_url, TraderId(TRADER))
    assert str(failed.value).startswith(f"{path} line 7: ")
    assert reason in str(failed.value)


def test_the_calls_before_a_line_that_can_not_be_played_are_written(
    eventstore: Run, redis_url: str, scratch: Path
) -> None:
    path = write_session(scratch / "s.jsonl.gz", [*first_lines("bracket", 5), {"call": "fly_to_the_moon"}])
    assert_one_line_error(
        eventstore("ingest", path, "--to", redis_url),
        f"{path} line 6: call 'fly_to_the_moon' is none of the database's; the 5 calls before it were written",
    )
    [trader] = json.loads(eventstore("status", redis_url, "--json").stdout)["traders"]
    assert trader["position"] == 5 + 2
    assert trader["writer"]["closed"] is True


def test_a_session_that_names_no_trader_needs_one(eventstore: Run, redis_url: str, scratch: Path) -> None:
    path = write_session(scratch / "s.jsonl", [{"call": "add", "key": "k", "value": "00ff"}])
    assert_one_line_error(eventstore("ingest", path, "--to", redis_url), str(path), "no call names", "--trader")
    assert_wrong_usage(eventstore("ingest", path, "--to", redis_url, "--trader", "X{1}"), "braces")
    assert eventstore("ingest", path, "--to", redis_url, "--trader", "X-1").returncode == 0
    with RedisCacheDatabase(TraderId("X-1"), config=CacheDatabaseConfig(url=redis_url)) as database:
        assert database.load() == {"k": b"\x00\xff"}


def test_another_traders_orders_are_refused(eventstore: Run, redis_url: str) -> None:
    done = eventstore("ingest", session("emacross"), "--to", redis_url, "--trader", "OTHER-1")
    assert_one_line_error(done, f"emacross.jsonl.gz is of {TRADER}; --trader is for")
    assert "no trader has a log" in eventstore("status", redis_url).stdout


def test_a_server_that_can_not_be_used_is_named_without_its_password(eventstore: Run, scratch: Path) -> None:
    for place, *reasons in (
        ("redis://joe:secret@127.0.0.1:1", "redis://joe:***@127.0.0.1:1", "can not be reached"),
        (f"unix://{scratch}/absent.sock", f"error: open the database of {TRADER} at unix://{scratch}/absent.sock: the"),
        (str(session("emacross")), str(session("emacross"))),
    ):
        assert_one_line_error(eventstore("ingest", session("emacross"), "--to", place), *reasons)


def test_what_is_no_url_is_wrong_usage_of_every_verb(eventstore: Run) -> None:
    for verb, *arguments in (("ingest", session("emacross"), "--to"), ("status",), ("log",), ("doctor",)):
        assert_wrong_usage(eventstore(verb, *arguments, "http://joe:secret@h"), "joe:***@h", "expected one of redis://")
        assert_wrong_usage(eventstore(verb, *arguments, "redis://h?foo=bar"), "has no option foo")
    assert_wrong_usage(eventstore("import-nautilus", "http://h", "--to", "d"), "expected one of redis://")
    assert_wrong_usage(eventstore("import-nautilus", "data", "--to", "d"), "SOURCE_URL", "'data' is no URL")


def test_wrong_usage_is_exit_status_2(eventstore: Run) -> None:
    for arguments in (("ingest",), ("ingest", session("emacross")), ("dance",), ("status",)):
        done = eventstore(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_losing_the_log_to_another_writer_is_an_error(fresh_server: RedisServer) -> None:
    script = "import sys; from eventstore.cli import main; main()"
    with (
        fresh_server.client() as client,
        PythonProcess(script, "ingest", session("bracket"), "--to", fresh_server.url) as writer,
    ):
        assert client.xread({f"{{trader-{TRADER}}}:log": "0"}, block=20_000), "it wrote nothing"
        RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=fresh_server.url)).close()
        assert writer.join() == 1


def test_commands_that_were_not_written_are_counted(
    fresh_server: RedisServer, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play_on_a_frozen_server(
        database: CacheDatabase, path: Path, durations_ns: "array[int]", on_call: Callable[[], None]
    ) -> None:
        fresh_server.pause()
        play(database, path, durations_ns, on_call)

    def hasty(cls: Any, place: str) -> CacheDatabaseConfig:
        return CacheDatabaseConfig(url=place, timeout_s=0.2, load_timeout_s=0.2, close_timeout_s=0.1)

    monkeypatch.setattr(ingest_module, "play", play_on_a_frozen_server)
    monkeypatch.setattr(CacheDatabaseConfig, "at", classmethod(hasty))
    path = write_session(scratch / "s.jsonl", first_lines("bracket", 50))
    with pytest.raises(CommandFailed, match=r"^5[0-2] commands were not written: "):
        ingest_module.ingest_session(path, fresh_server.url, TraderId(TRADER))
