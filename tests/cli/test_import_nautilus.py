"""`eventstore import-nautilus`, with keyspaces that real NautilusTrader wrote."""

import contextlib
import io
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore import commands as c
from eventstore.audit import open_log
from eventstore.audit.decoding import event_in
from eventstore.cli import app
from eventstore.cli.import_nautilus import _described
from eventstore.codec import MsgPackSerializer
from eventstore.errors import EventStoreError
from eventstore.model import PositionId, StrategyId, TraderId
from eventstore.model.record import Record
from tests.support.cli import Run, assert_documented, assert_one_line_error
from tests.support.nautilus_keyspaces import (
    NAMES,
    POSITION,
    STRATEGY,
    TRADER,
    bring,
    decoded,
    log_id,
    prefix,
    quiet,
    recorded,
    restore,
)
from tests.support.redis_server import RedisServer

NOT_LOADED = {"init_id"}
"""NautilusTrader's loader makes a transformed order anew, with an event of a new id."""


@pytest.fixture(scope="module")
def source_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def source(source_server: RedisServer) -> Iterator[Redis]:
    """A client of the server that NautilusTrader wrote to: empty."""
    with source_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def run() -> Run:
    """Runs a verb as `eventstore.cli.main` does, in this process: starting one for each takes most of the time."""

    def call(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = app([*map(str, arguments)], standalone_mode=False) or 0
            except EventStoreError as error:
                err.write(f"error: {error}\n")
                status = 1
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    return call


def dumped(client: Redis) -> dict[bytes, Any]:
    return {key: client.dump(key) for key in client.scan_iter()}


def assert_same(found: dict[str, Any], expected: dict[str, Any], left_out: set[str]) -> None:
    """As NautilusTrader loads it; the key `left_out` may differ."""
    for name, value in expected.items():
        if name in left_out:
            continue
        there = found[name]
        if isinstance(value, float) and isinstance(there, float):
            assert math.isclose(there, value, rel_tol=1e-9), name
        else:
            assert there == value, name


@pytest.mark.parametrize("name", NAMES)
def test_what_a_store_has_is_what_nautilus_trader_loads(
    run: Run, redis_url: str, source: Redis, source_server: RedisServer, name: str
) -> None:
    """Every order, position, account, … of NautilusTrader 1.221 and 1.231, in both encodings; nothing is left out."""
    document = recorded(name)
    restore(source, document)
    before = dumped(source)
    done = run("import-nautilus", source_server.url, "--to", redis_url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert dumped(source) == before, "the source was changed"
    assert said["trader_id"] == log_id(document)
    assert said["whole"] is True
    assert said["difference_count"] == 0
    assert said["compared"] > 50
    assert said["values"][document["encoding"]] > 50
    assert said["imported"]["orders"] == len(document["loaded"]["orders"]) == 15
    assert set(said["counts"]) <= {"rebuilt", "corrected"}
    loaded = document["loaded"]
    with RedisCacheDatabase(TraderId(log_id(document)), config=CacheDatabaseConfig(url=redis_url)) as database:
        all_there = database.load_all()
        orders = {str(key): order.to_dict() for key, order in all_there["orders"].items()}
        positions = {str(key): position.to_dict() for key, position in all_there["positions"].items()}
        assert orders.keys() == loaded["orders"].keys()
        for key, expected in loaded["orders"].items():
            indexed = expected["position_id"] is None and key in loaded["order_position"]
            assert_same(orders[key], expected, NOT_LOADED | ({"position_id"} if indexed else set()))
        assert positions.keys() == loaded["positions"].keys()
        for key, expected in loaded["positions"].items():
            assert_same(positions[key], expected, set())
        assert {str(key) for key in all_there["accounts"]} == loaded["accounts"].keys()
        for key, account in all_there["accounts"].items():
            assert account.event_count == loaded["accounts"][key]["events"]
            totals = sorted(str(balance.total) for balance in account.balances().values())
            assert [each.replace(",", "") for each in totals] == loaded["accounts"][key]["balances"]
        instruments = {str(key): each.to_dict() for key, each in all_there["instruments"].items()}
        assert instruments.keys() == loaded["instruments"].keys()
        assert len(all_there["synthetics"]) == 1
        # NautilusTrader's own loader leaves the family in the key where the keyspace is an instance's.
        stray = "general:" if ":" in prefix(document) else ""
        general = {key.removeprefix(stray): value for key, value in loaded["general"].items()}
        assert database.load() == {key: decoded(value) for key, value in general.items()}
        assert {str(key): str(value) for key, value in database.load_index_order_position().items()} == (
            loaded["order_position"]
        )
        assert list(database.load_index_order_client().values()) == ["SIM"]
        venue_ids = database.load_index_venue_order_id()
        assert venue_ids == {
            key: order.venue_order_id for key, order in all_there["orders"].items() if order.venue_order_id is not None
        }
        state = database.load_strategy(StrategyId(STRATEGY))
        assert (state["count"], state["raw"]) == (b"18", b"\x00\xff\x81")
        assert state.get("n", b"it's 20") == b"it's 20"  # which NautilusTrader can not read any more
        assert len(database.load_order_snapshots()) == 3
        snapshot = database.load_position_snapshot(PositionId(POSITION))
        assert snapshot is not None
        assert snapshot["ts_snapshot"] == 1_700_000_020_000_000_123
        heartbeat = database.load_heartbeat()
        assert heartbeat is not None
        assert heartbeat.isoformat() == "2023-11-14T22:13:45.123456+00:00"
    assert run("verify", redis_url).returncode == 0


def test_cycles_that_nautilus_trader_deleted_are_those_that_an_older_one_kept(
    redis_url: str, redis_server: RedisServer, source: Redis, source_server: RedisServer
) -> None:
    """1.231 deletes what a position was before it turned over; rebuilt from the orders, it is what 1.221 has of it."""
    found = []
    for name in ("1.221.0-msgpack", "1.231.0-msgpack"):
        source.flushall()
        with redis_server.client() as client:
            client.flushall()
        restore(source, recorded(name))
        outcome = bring(source_server.url, redis_url)
        with RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=redis_url)) as database:
            cycles = database.load_position_cycles(PositionId(POSITION))
        found.append(
            [
                [(fill.order_side, fill.last_qty, fill.last_px, str(fill.commission)) for fill in cycle.events]
                for cycle in cycles
            ]
        )
        assert all(cycle.is_closed for cycle in cycles)
        assert outcome.counts["position_cycles"] == len(cycles) + 1
        assert outcome.findings.counts["rebuilt"] == (name[:5] == "1.231")
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_entries_have_the_events_own_times(redis_url: str, source: Redis, source_server: RedisServer) -> None:
    """Each entry's time is when the node had the event; what has no time is before or behind those that have one."""
    restore(source, recorded("1.231.0-msgpack"))
    outcome = bring(source_server.url, redis_url)
    assert outcome.span_ns is not None
    first, last = (ns // 1_000_000 for ns in outcome.span_ns)
    serializer = MsgPackSerializer()
    kinds = []
    with open_log(redis_url) as log:
        for entry in log.raw():
            command = c.decode(entry.payload)
            kinds.append(type(command))
            if isinstance(command, c.ClosedWell):
                assert entry.accepted_ms > last
            elif isinstance(command, c.WriteAccount | c.AddOrder | c.UpdateOrder | c.WritePosition):
                event: Any = event_in(command, command.events[0], log.trader_id, serializer)
                assert isinstance(event, Record)
                assert entry.accepted_ms == event.ts_init // 1_000_000
            elif isinstance(command, c.Opened | c.AddCurrency | c.AddInstrument | c.AddSynthetic):
                assert entry.accepted_ms == first
            elif isinstance(command, c.Add | c.UpdateStrategy | c.Heartbeat):
                assert entry.accepted_ms == last
    assert kinds[0] is c.Opened
    assert max(i for i, kind in enumerate(kinds) if kind in (c.AddCurrency, c.AddInstrument, c.AddSynthetic)) < min(
        i for i, kind in enumerate(kinds) if kind in (c.AddOrder, c.WriteAccount, c.WritePosition)
    )
    assert kinds.index(c.WriteAccount) < kinds.index(c.AddOrder) < kinds.index(c.WritePosition)


def test_a_user_who_may_only_read_is_enough(
    run: Run, redis_url: str, source: Redis, source_server: RedisServer
) -> None:
    """Also that no other command than these is sent to the source: the server would refuse it."""
    restore(source, recorded("1.231.0-json-iso"))
    allowed = "+scan +type +get +lrange +smembers +hgetall +client|setname"
    source.execute_command("ACL", "SETUSER", "importer", "on", ">secret", "~*", "-@all", *allowed.split())
    url = source_server.url.replace("unix://", "unix://importer:secret@")
    done = run("import-nautilus", url, "--to", redis_url, "--json")
    assert done.returncode == 0, done
    assert "secret" not in done.stdout + done.stderr


def test_a_log_that_is_there_is_left_alone(
    run: Run, redis_url: str, redis_server: RedisServer, source: Redis, source_server: RedisServer
) -> None:
    restore(source, recorded("1.221.0-msgpack"))
    with RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=redis_url)) as database:
        database.add("key", b"value")
    with redis_server.client() as client:
        before = dumped(client)
        for option in ([], ["--dry-run"]):
            done = run("import-nautilus", source_server.url, "--to", redis_url, *option)
            assert_one_line_error(done, TRADER, "has a log there already", f"{{trader-{TRADER}}}:*")
        assert dumped(client) == before


def test_of_several_keyspaces_one_has_to_be_named(
    run: Run, redis_url: str, source: Redis, source_server: RedisServer
) -> None:
    """By the trader, by how its keys begin, by the instance."""
    instance = "2d89666b-1a1e-4a75-b193-4eb3b454c757"
    restore(source, recorded("1.231.0-msgpack"))
    restore(source, recorded("1.231.0-json-iso"))
    source.rpush("trader-OTHER-002:orders:O-1", b"")
    source.set("some-app:orders:1", b"anybody's")
    url = source_server.url
    refused = run("import-nautilus", url, "--to", redis_url)
    names = [f"{TRADER}:{instance}", "trader-OTHER-002", f"trader-{TRADER}"]
    assert_one_line_error(refused, ", ".join(names), "--trader", "--instance")
    assert "some-app" not in refused.stderr
    assert_one_line_error(run("import-nautilus", url, "--to", redis_url, "--trader", TRADER), names[0], names[2])
    for option in (["--trader", names[2]], ["--instance", instance], ["--trader", names[0]]):
        done = run("import-nautilus", url, "--to", redis_url, "--dry-run", "--json", *option)
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["instance"] == (None if option[1] == names[2] else instance)
    unknown = run("import-nautilus", url, "--to", redis_url, "--trader", "NOBODY-9")
    assert_one_line_error(unknown, "NOBODY-9", *names)


def test_a_server_without_such_keys_is_an_error(run: Run, redis_url: str, source_server: RedisServer) -> None:
    with source_server.client() as client:
        client.flushall()
    assert_one_line_error(run("import-nautilus", source_server.url, "--to", redis_url), "has no keys of Nautilus")
    gone = run("import-nautilus", "unix:///nowhere/redis.sock", "--to", redis_url)
    assert_one_line_error(gone, "unix:///nowhere/redis.sock")


def test_a_dry_run_says_the_same_and_writes_nothing(
    run: Run, redis_url: str, redis_server: RedisServer, source: Redis, source_server: RedisServer
) -> None:
    restore(source, recorded("1.231.0-msgpack"))
    dry = json.loads(run("import-nautilus", source_server.url, "--to", redis_url, "--dry-run", "--json").stdout)
    with redis_server.client() as client:
        assert client.dbsize() == 0
    assert (dry["position"], dry["compared"]) == (None, None)
    done = json.loads(run("import-nautilus", source_server.url, "--to", redis_url, "--json").stdout)
    assert {name: dry[name] for name in ("imported", "counts", "commands", "first_ns", "last_ns")} == {
        name: done[name] for name in ("imported", "counts", "commands", "first_ns", "last_ns")
    }


def test_a_directory_gets_an_embedded_server(
    eventstore: Run, scratch: Path, source: Redis, source_server: RedisServer
) -> None:
    restore(source, recorded("1.231.0-msgpack"))
    place = scratch / "data"
    done = eventstore("import-nautilus", source_server.url, "--to", place)
    assert done.returncode == 0, done
    assert "✔ compared with the source" in done.stdout
    assert eventstore("verify", place).returncode == 0
    refused = eventstore("import-nautilus", source_server.url, "--to", place)
    assert_one_line_error(refused, str(place), "has a log there already")


def test_what_can_not_be_read_is_told_and_nothing_else_is_lost(
    run: Run, redis_url: str, source: Redis, source_server: RedisServer
) -> None:
    document = recorded("1.231.0-msgpack")
    restore(source, document)
    begin = prefix(document)
    keys = sorted(key for key in document["keys"] if key.startswith(f"{begin}:orders:"))
    twice, torn, no_beginning, unknown, wrong_type, behind_the_end = keys[:6]
    source.rpush(twice, source.lindex(twice, -1))
    source.lset(torn, 1, source.lindex(torn, 1)[:-7])
    source.lpop(no_beginning)
    source.lset(unknown, 1, b"\x81\xa4type\xa9Something")
    source.delete(wrong_type)
    source.set(wrong_type, b"text")
    closing = source.lindex(twice, 1).replace(
        twice.rpartition(":")[2].encode(), behind_the_end.rpartition(":")[2].encode()
    )
    source.rpush(behind_the_end, closing)
    source.delete(f"{begin}:instruments:AUD/USD.SIM")
    source.set(f"{begin}:instruments:NONE.SIM", b"{}")
    source.set(f"{begin}:custom:thing", b"1")
    source.xadd(f"{begin}:stream", {"type": "of the message bus"})
    source.hset(f"{begin}:index:order_client", "O-GONE", "SIM")
    done = run("import-nautilus", source_server.url, "--to", redis_url, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    assert said["difference_count"] == 0
    assert said["whole"] is False
    found = {(each["kind"], each["key"], each["place"]) for each in said["findings"]}
    assert {
        ("repeated", twice, 3),
        ("unreadable", torn, 1),
        ("refused", no_beginning, 0),
        ("unreadable", unknown, 1),
        ("unreadable", wrong_type, None),
        ("missing", f"{begin}:positions:{POSITION}", None),
        ("unreadable", f"{begin}:instruments:NONE.SIM", None),
        ("foreign", f"{begin}:custom:thing", None),
        ("corrected", f"{begin}:index:order_client", None),
    } <= found
    assert not [each for each in said["findings"] if each["key"].endswith(":stream")]
    assert said["imported"]["orders"] == 13
    assert said["imported"]["positions"] == 0
    with RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=redis_url)) as database:
        orders = {str(key): order for key, order in database.load_orders().items()}
    untouched = {key.rpartition(":")[2] for key in keys[6:]}
    for key in untouched:
        expected = document["loaded"]["orders"][key]
        assert_same(orders[key].to_dict(), expected, NOT_LOADED | {"position_id"})
    assert orders[twice.rpartition(":")[2]].event_count == 3
    text = run("import-nautilus", source_server.url, "--to", redis_url + "?db=1")
    assert text.returncode == 1
    assert f"unreadable: {torn} [1]" in text.stdout


@pytest.mark.parametrize("without_orders", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_commissions_come_off_positions_as_in_the_version_that_wrote_them(
    redis_url: str,
    redis_server: RedisServer,
    source: Redis,
    source_server: RedisServer,
    run: Run,
    name: str,
    without_orders: bool,
) -> None:
    """Which is not written: it is told, and can be said. Also where no order shows the version, but the indexes do."""
    document = recorded(name)
    begin = prefix(document)
    if without_orders:
        document["keys"] = {
            key: each for key, each in document["keys"].items() if not key.startswith(f"{begin}:orders:")
        }
    restore(source, document)
    fill = {
        "type": "OrderFilled",
        "event_id": "e7e0c5b8-5b7e-4b0e-9d5f-2d5d4f0d4b11",
        "ts_event": "1700000000000000000",
        "ts_init": "1700000000000000000",
        "trader_id": TRADER,
        "strategy_id": STRATEGY,
        "instrument_id": "BTCUSDT.BINANCE",
        "client_order_id": "O-BTC",
        "venue_order_id": "1",
        "account_id": "BINANCE-001",
        "trade_id": "1",
        "position_id": "P-BTC",
        "order_side": "BUY",
        "order_type": "MARKET",
        "last_qty": "1.000000",
        "last_px": "37000.00",
        "currency": "USDT",
        "commission": "0.00100000 BTC",
        "liquidity_side": "TAKER",
    }
    key = f"{begin}:positions:P-BTC"
    source.rpush(key, json.dumps(fill))
    is_net = name.startswith("1.231")
    for option in (None, "net", "gross"):
        with redis_server.client() as client:
            client.flushall()
        done = run(
            "import-nautilus", source_server.url, "--to", redis_url, "--json", *(["--positions", option] * bool(option))
        )
        assert done.returncode == 0, done
        said = json.loads(done.stdout)
        expected = option or ("net" if is_net else "gross")
        assert said["positions"] == expected
        assert ([each["key"] for each in said["findings"] if each["kind"] == "assumed"] == [key]) is (option is None)
        with RedisCacheDatabase(TraderId(log_id(document)), config=CacheDatabaseConfig(url=redis_url)) as database:
            position = database.load_position(PositionId("P-BTC"))
        assert position is not None
        assert str(position.quantity) == {"net": "0.999000", "gross": "1.000000"}[expected]


def test_a_source_that_changes_meanwhile_is_seen(redis_url: str, source: Redis, source_server: RedisServer) -> None:
    """What is compared is the source as it is, not what was read of it before; every difference is named."""
    document = recorded("1.221.0-json-iso")
    restore(source, document)
    begin = prefix(document)

    def watch(what: str, total: int | None) -> Any:
        if what == "comparing":
            source.set(f"{begin}:general:empty", b"no more")
            source.set(f"{begin}:actors:A-1:state", b"{}")
            source.rpop(next(key for key in sorted(document["keys"]) if key.startswith(f"{begin}:orders:")))
        return quiet(what, total)

    outcome = bring(source_server.url, redis_url, watch=watch)
    assert not outcome.is_whole
    assert outcome.comparison is not None
    assert {each.family for each in outcome.comparison.listed} == {"general", "order"}
    assert outcome.comparison.count == len(outcome.comparison.listed)
    outcome.findings.add("corrected", "key", "reason", 1)
    assert_documented(json.loads(json.dumps(_described(outcome, "source", "to", dry_run=False))), "import-nautilus")
