"""`eventstore status`: a documented contract, read without touching anything."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import TraderId
from tests.support.cli import Run, assert_documented, assert_one_line_error
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

WRITE_AND_WAIT = """
import sys
import structlog
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import TraderId
logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
database = RedisCacheDatabase(TraderId("T-1"), logger, config=CacheDatabaseConfig.at(sys.argv[1]))
database.add("key", b"value")
database.sync()
print("written", flush=True)
input()
"""


def opened(url: str, trader: str = "T-1") -> RedisCacheDatabase:
    return RedisCacheDatabase(TraderId(trader), config=CacheDatabaseConfig(url=url))


def test_json_is_the_documented_contract(eventstore: Run, redis_url: str) -> None:
    with opened(redis_url) as database:
        database.add("key", b"value")
        database.heartbeat(datetime(2026, 1, 31, 14, 3, 0, 250, tzinfo=UTC))
        database.sync()
        done = eventstore("status", redis_url, "--json")
        keys = database.keys()
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout)
    assert_documented(status, "status")
    [trader] = status["traders"]
    assert trader["position"] == trader["log"]["entries"] == 3
    assert trader["last_entry_id"].endswith("-3")
    assert trader["views"] | {"general": 1} == trader["views"]
    assert {f"{{trader-T-1}}:{name}" for name, count in trader["views"].items() if count} < set(keys)
    writer = trader["writer"]
    assert (writer["epoch"], writer["host"], writer["pid"]) == (1, socket.gethostname(), os.getpid())
    assert writer["closed"] is False
    heartbeat = trader["heartbeat"]
    assert heartbeat["at"] == "2026-01-31T14:03:00.000250Z"
    assert heartbeat["at_ns"] == 1_769_868_180_000_250_000
    for moment in (heartbeat["at"], status["read_at"], writer["since"]):
        assert datetime.fromisoformat(moment).tzinfo is UTC
    assert abs(heartbeat["age_s"] - (status["read_at_ns"] - heartbeat["at_ns"]) / 1e9) < 5
    assert 0 <= status["read_at_ns"] - writer["since_ns"] < 60e9


def test_the_text_says_the_same(eventstore: Run, redis_url: str) -> None:
    with opened(redis_url) as database:
        database.add("key", b"value")
        database.heartbeat(datetime.now(UTC))
        database.sync()
        running = eventstore("status", redis_url).stdout
    closed = eventstore("status", redis_url).stdout
    for text in ("T-1", "3, entry ", "epoch 1", f"pid {os.getpid()}: not closed", "seconds ago", "general 1"):
        assert text in running
    assert f"pid {os.getpid()}: closed in order" in closed


def test_a_directory_is_named_whatever_the_error_says(
    eventstore: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(eventstore("status", "data"), "error: data: no data of an embedded server there")


def test_every_trader_is_found_among_foreign_keys_and_one_can_be_named(
    eventstore: Run, redis_url: str, redis_server: RedisServer
) -> None:
    for name in ("T-2", "T-1"):
        opened(redis_url, name).close()
    with redis_server.client() as client:
        client.mset({"{trader-}:writer": "", b"{trader-\xff}:writer": "", "x{trader-T-3}:writer": "", "other": ""})
    everyone = json.loads(eventstore("status", redis_url, "--json").stdout)
    assert [trader["trader_id"] for trader in everyone["traders"]] == ["T-1", "T-2"]
    one = json.loads(eventstore("status", redis_url, "--json", "--trader", "T-2").stdout)
    assert [trader["trader_id"] for trader in one["traders"]] == ["T-2"]
    assert_one_line_error(eventstore("status", redis_url, "--trader", "T-3"), "T-3 has no log at")


def test_a_server_without_logs_is_no_error(eventstore: Run, redis_url: str) -> None:
    assert json.loads(eventstore("status", redis_url, "--json").stdout)["traders"] == []
    assert "no trader has a log" in eventstore("status", redis_url).stdout


def test_it_only_reads(eventstore: Run, redis_url: str, redis_server: RedisServer) -> None:
    """A user that may only read can ask for it, and the log and its fence are as they were."""
    with redis_server.client() as client, opened(redis_url) as database:
        database.heartbeat(datetime.now(UTC))
        database.sync()
        keys = database.keys()
        before = [client.dump(key) for key in keys]
        client.acl_setuser("reader", enabled=True, passwords=["+pass"], categories=["+@read", "+@connection"], keys="*")
        try:
            url = f"unix://reader:pass@{quote(str(redis_server.socket_path))}"
            done = eventstore("status", url)
            assert (done.returncode, done.stderr) == (0, "")
            assert "pass" not in done.stdout
        finally:
            client.acl_deluser("reader")
        assert [client.dump(key) for key in keys] == before
        database.heartbeat(datetime.now(UTC))
        database.sync()


def test_the_server_of_a_directory_is_used_while_it_runs_and_started_for_the_question_when_not(
    eventstore: Run, scratch: Path
) -> None:
    with PythonProcess(WRITE_AND_WAIT, scratch / "data") as writer:
        assert writer.line() == "written"
        assert f"pid {writer.pid}: not closed" in eventstore("status", scratch / "data").stdout
        writer.kill()
    # The process went without a word; its server goes with the next user, and is not running for the one after.
    for end in ("not closed: it runs, or it died", "ended without closing"):
        done = eventstore("status", scratch / "data")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"pid {writer.pid}: {end}" in done.stdout
        assert "general 1" in done.stdout


def test_what_is_no_data_directory_is_left_alone(eventstore: Run, scratch: Path) -> None:
    (scratch / "empty").mkdir()
    for place in ("absent", "empty"):
        assert_one_line_error(
            eventstore("status", scratch / place), str(scratch / place), "no data of an embedded server"
        )
    assert sorted(path.name for path in scratch.rglob("*")) == ["empty"]


def test_a_fence_that_is_none_is_named(eventstore: Run, redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.hset("{trader-T-1}:writer", "epoch", "one")
    assert_one_line_error(eventstore("status", redis_url), "{trader-T-1}:writer", "not a fence")


def test_all_is_one_line_a_trader_with_how_far_replicas_are_behind(eventstore: Run) -> None:
    with RedisServer(tcp=True) as server, RedisServer(tcp=True) as replica:
        replica.follow(server)
        url = f"redis://127.0.0.1:{server.port}"
        for name in ("T-2", "T-1"):
            with opened(url, name) as database:
                database.heartbeat(datetime(2026, 1, 31, tzinfo=UTC))
        with server.client() as client:
            client.hset("{trader-T-3}:writer", "epoch", "?")
        done = eventstore("status", url, "--all", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        status = json.loads(done.stdout)
        assert_documented(status, "status URL|DIR --all")
        text = eventstore("status", url, "--all").stdout
    [node] = status["nodes"]
    assert (node["node"], node["traders"]) == (f"127.0.0.1:{server.port}", 3)
    assert [one["address"] for one in node["replicas"]] == [f"127.0.0.1:{replica.port}"]
    one, two, three = status["traders"]
    assert [one["trader_id"], two["trader_id"], three["trader_id"]] == ["T-1", "T-2", "T-3"]
    assert (one["position"], one["entries"], one["epoch"], one["closed"], one["wrong"]) == (3, 3, 1, True, None)
    assert (one["host"], one["pid"]) == (socket.gethostname(), os.getpid())
    assert (three["position"], "not a fence" in three["wrong"]) == (None, True)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["trader", "T-1", "T-2", "T-3", "3"]
    assert f"1 {socket.gethostname()}:{os.getpid()} closed" in lines[1]
    assert "1, 0 B behind" in lines[1]


def test_all_of_nobody_is_no_error_and_one_of_all_is_wrong_usage(eventstore: Run, redis_url: str) -> None:
    assert "no trader has a log" in eventstore("status", redis_url, "--all").stdout
    assert json.loads(eventstore("status", redis_url, "--all", "--json").stdout)["traders"] == []
    assert eventstore("status", redis_url, "--all", "--trader", "T-1").returncode == 2
