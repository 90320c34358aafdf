"""Exports: one row for each fact, to the last digit, whatever the file."""

from __future__ import annotations

import csv
import json
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.audit import TABLES, Filter, Moment, export, open_log, read, state_at
from eventstore.audit.exporting.spool import Spool
from eventstore.audit.plain import iso_ns
from eventstore.errors import AuditError, DamagedRecord
from eventstore.model.currencies import USD
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountBalance, OrderFilled
from eventstore.model.identifiers import AccountId, ClientOrderId, PositionId, TraderId
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money
from eventstore.recording import play
from tests.support.archives import Writer
from tests.support.cli import TRADER, session
from tests.support.databases import open_database
from tests.support.effort import effort
from tests.support.node import ORDERS, POSITIONS, Node
from tests.support.redis_server import RedisServer

pq = pytest.importorskip("pyarrow.parquet")

_TRADER = TraderId(TRADER)
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", params=("emacross", "trailing"))
def recorded(request: pytest.FixtureRequest) -> Iterator[str]:
    """The log of each recorded session."""
    with RedisServer() as server:
        with open_database(server.url, _TRADER) as database:
            play(database, session(request.param), array("q"))
        yield server.url


def parquet(url: str, directory: Path, wanted: Filter | None = None, tables: Any = TABLES) -> Rows:
    """Every table, through Parquet."""
    with open_log(url, _TRADER) as log:
        written = export(log, tables, "parquet", directory, wanted or Filter())
    return {each.table: _read_parquet(each.path) for each in written}


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    # As Python has no nanoseconds, times come as integers.
    names = [field.name for field in table.schema if str(field.type) == "timestamp[ns, tz=UTC]"]
    for name in names:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast("int64"))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    # Only a line feed ends a line: text may hold what str.splitlines takes for the end of one.
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


# -- What is in the rows -----------------------------------------------------------------------------------------------


def test_every_fill_is_one_row_with_its_exact_values(recorded: str, tmp_path: Path) -> None:
    rows = parquet(recorded, tmp_path)
    with open_log(recorded) as log:
        fills = {
            event.event_id: event
            for facts in read(log)
            for event in facts.events
            if isinstance(event, OrderFilled) and facts.family == "order"
        }
        state = state_at(log)
        orders = state.orders()
    assert Counter(row["event_id"] for row in rows["fills"]) == Counter(map(str, fills))
    for row in rows["fills"]:
        fill = fills[row["event_id"]]
        for name in ("last_qty", "last_px"):
            assert row[name] == getattr(fill, name)
        assert (row["commission"], row["commission_currency"]) == (
            fill.commission.amount,
            fill.commission.currency.code,
        )
        assert (row["ts_event"], row["ts_init"]) == (fill.ts_event, fill.ts_init)
        assert row["order_side"] == fill.order_side.name
        for name in ("trade_id", "client_order_id", "venue_order_id", "account_id", "strategy_id", "instrument_id"):
            assert row[name] == getattr(fill, name)
        assert row["position_id"] == fill.position_id
        assert row["position_log_position"] > row["log_position"]
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows["fills"]:
        filled[row["client_order_id"]] += row["last_qty"]
    for order_id, order in orders.items():
        assert filled[order_id] == order.filled_qty
    assert [row["log_position"] for row in rows["fills"]] == sorted(row["log_position"] for row in rows["fills"])


def test_orders_and_positions_are_as_they_are_at_the_end_of_the_log(recorded: str, tmp_path: Path) -> None:
    rows = parquet(recorded, tmp_path)
    with open_log(recorded) as log:
        state = state_at(log)
        orders = state.orders()
        positions = {
            (position.id, cycle): position
            for present in state.positions().values()
            for cycle, position in enumerate([*state.position_cycles(present.id), present], 1)
        }
    assert [row["client_order_id"] for row in rows["orders"]] == list(
        dict.fromkeys(event["client_order_id"] for event in rows["order_events"])
    )
    assert {row["client_order_id"] for row in rows["orders"]} == set(orders)
    for row in rows["orders"]:
        assert_order(row, orders[ClientOrderId(row["client_order_id"])])
    assert {(row["position_id"], row["cycle"]) for row in rows["positions"]} == set(positions)
    for row in rows["positions"]:
        assert_position(row, positions[row["position_id"], row["cycle"]])


def assert_order(row: dict[str, Any], order: Order) -> None:
    shown = order.to_dict()
    for name in ("status", "side", "time_in_force", "position_id", "venue_order_id", "is_reduce_only", "init_id"):
        assert row[name] == shown[name], name
    assert row["order_type"] == shown["type"]
    for name in (
        "quantity",
        "filled_qty",
        "leaves_qty",
        "overfill_qty",
        "price",
        "trigger_price",
        "trailing_offset",
        "display_qty",
    ):
        assert row[name] == getattr(order, name, None), name
    assert (row["avg_px"], row["slippage"]) == (shown["avg_px"], shown["slippage"])
    assert row["commissions"] == (", ".join(shown["commissions"]) if shown["commissions"] else None)
    assert row["expire_time_ns"] == (getattr(order, "expire_time_ns", 0) or None)
    assert row["tags"] == (
        None if order.tags is None else json.dumps(order.tags, ensure_ascii=False).replace(", ", ",")
    )
    assert (row["ts_last"], row["ts_closed"]) == (order.ts_last, order.ts_closed or None)
    assert (row["event_count"], row["is_open"], row["is_closed"]) == (order.event_count, order.is_open, order.is_closed)
    assert row["removed_by"] is None


def assert_position(row: dict[str, Any], position: Position) -> None:
    shown = position.to_dict()
    for name in ("side", "entry", "opening_order_id", "closing_order_id", "avg_px_open", "avg_px_close", "ts_closed"):
        assert row[name] == shown[name], name
    for name in ("signed_qty", "quantity", "peak_qty"):
        assert row[name] == getattr(position, name), name
    assert Money(row["realized_pnl"], position.realized_pnl.currency) == position.realized_pnl
    assert row["settlement_currency"] == position.realized_pnl.currency.code
    assert row["realized_return"] == position.realized_return
    assert row["fill_count"] == position.event_count


def test_account_states_are_one_row_for_each_balance(recorded: str, tmp_path: Path) -> None:
    rows = parquet(recorded, tmp_path, tables=["account_states"])["account_states"]
    with open_log(recorded) as log:
        states = [event for facts in read(log, Filter(["account"])) for event in facts.events]
    found = [(row["event_id"], row["currency"], row["total"], row["locked"], row["free"]) for row in rows]
    assert found == [
        (state.event_id, each.currency.code, each.total.amount, each.locked.amount, each.free.amount)
        for state in states
        for each in state.balances
    ]


def test_the_raw_log_holds_every_byte(recorded: str, tmp_path: Path) -> None:
    rows = parquet(recorded, tmp_path, tables=["log"])["log"]
    with open_log(recorded) as log:
        entries = list(log.entries())
    assert [(row["log_position"], row["entry_id"], row["payload"], row["chain"]) for row in rows] == [
        (entry.position, entry.entry_id, entry.payload, entry.chain) for entry in entries
    ]
    for row, entry in zip(rows, entries, strict=True):
        assert row["kind"] == type(c.decode(entry.payload)).__name__
        assert row["accepted_at"] == entry.accepted_ms * 1_000_000
        assert json.loads(row["command"])


def test_all_formats_say_the_same(recorded: str, tmp_path: Path) -> None:
    columns = parquet(recorded, tmp_path / "parquet")
    with open_log(recorded) as log:
        export(log, TABLES, "jsonl", tmp_path / "jsonl")
        export(log, TABLES, "csv", tmp_path / "csv")
    for table, made in TABLES.items():
        texts = _read_csv(tmp_path / "csv" / f"{table}.csv")
        objects = _read_jsonl(tmp_path / "jsonl" / f"{table}.jsonl")
        assert len(columns[table]) == len(objects) == len(texts)
        for row, shown, text in zip(columns[table], objects, texts, strict=True):
            assert list(row) == list(shown) == list(text) == [column.name for column in made]
            for name, kind in made:
                value = row[name]
                if value is None:
                    assert shown[name] is None
                    assert text[name] == ""
                elif kind == "decimal":
                    assert Decimal(shown[name]) == Decimal(text[name]) == value
                elif kind == "time":
                    assert shown[name] == text[name] == iso_ns(value)
                elif kind == "bytes":
                    assert shown[name] == text[name] == value.hex()
                elif kind == "json":
                    assert shown[name] == json.loads(text[name]) == json.loads(value)
                elif kind == "flag":
                    assert (shown[name], text[name]) == (value, str(value).lower())
                elif kind == "text":
                    assert shown[name] == text[name] == value
                else:
                    assert shown[name] == value == type(value)(text[name])


# -- Histories ---------------------------------------------------------------------------------------------------------


@effort(25)
@given(data=st.data())
def test_any_life_of_orders_and_positions_is_folded_as_a_node_would(
    redis_url: str, redis_server: RedisServer, tmp_path: Path, data: st.DataObject
) -> None:
    """Orders that are amended, transformed, deleted and added again; positions that turn over and open again."""
    with redis_server.client() as client:
        client.flushall()
    node = Node(_TRADER)
    orders: dict[ClientOrderId, Order] = {}
    held: dict[PositionId, Position] = {}
    with open_database(redis_url, _TRADER) as database:
        for _ in range(data.draw(st.integers(1, 25), label="calls")):
            order_id, position_id = data.draw(st.sampled_from(ORDERS)), data.draw(st.sampled_from(POSITIONS))
            order, position = orders.get(order_id), held.get(position_id)
            match data.draw(st.sampled_from(("order", "order", "order", "amend", "transform", "delete", "position"))):
                case "order" | "amend" | "transform" if order is None:
                    orders[order_id] = node.new_order(data, order_id)
                    database.add_order(orders[order_id])
                case "order" if order is not None and node.happen(data, order):
                    database.update_order(order)
                case "amend" if order is not None:
                    try:
                        node.amend(data, order)
                    except ModelError:
                        continue
                    database.snapshot_order_state(order)
                case "transform" if order is not None and (new := node.transformed(data, order)) is not None:
                    orders[order_id] = new
                    database.add_order(new)
                case "delete" if order is not None:
                    del orders[order_id]
                    database.delete_order(order_id)
                case "position" if position is None:
                    held[position_id] = node.open_position(data, position_id)
                    database.add_position(held[position_id])
                case "position" if position is not None:
                    node.fill_position(data, position)
                    database.update_position(position)
                case _:
                    pass
    with open_log(redis_url, _TRADER) as log:
        written = export(log, ("orders", "positions"), "jsonl", tmp_path)
        state = state_at(log)
        rows = {each.table: _read_jsonl(each.path) for each in written}
        present = {row["client_order_id"]: row for row in rows["orders"] if row["removed_by"] is None}
        loaded = state.orders()
        assert present.keys() == loaded.keys()
        for order_id, order in loaded.items():
            row, shown = present[order_id], order.to_dict()
            for name in ("status", "quantity", "position_id", "liquidity_side", "emulation_trigger", "init_id"):
                assert name not in shown or row[name] == shown[name], name
            assert row["event_count"] == order.event_count
        cycles = {(row["position_id"], row["cycle"]): row for row in rows["positions"]}
        for position in state.positions().values():
            for cycle, each in enumerate([*state.position_cycles(position.id), position], 1):
                row = cycles.pop((position.id, cycle))
                assert Decimal(row["signed_qty"]) == each.signed_qty
                assert Decimal(row["realized_pnl"]) == each.realized_pnl.amount
        assert not cycles


def test_what_was_removed_says_by_what_and_an_id_that_begins_again_is_another_row(
    redis_url: str, tmp_path: Path
) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
        order = next(iter(database.load_orders().values()))
        database.delete_order(order.client_order_id)
        database.add_order(order)
        database.flush()
        database.add_order(order)
    # The flush deleted the log that was before it, too.
    rows = parquet(redis_url, tmp_path / "flushed")
    assert [(row["client_order_id"], row["removed_by"]) for row in rows["orders"]] == [(order.client_order_id, None)]
    assert len(rows["fills"]) == 1
    with open_database(redis_url, _TRADER) as database:
        loaded = database.load_order(order.client_order_id)
        assert loaded is not None
        database.delete_order(loaded.client_order_id)
        database.add_order(loaded)
    rows = parquet(redis_url, tmp_path / "again")
    assert [(row["life"], row["removed_by"]) for row in rows["orders"]] == [(1, "DeleteOrder"), (2, None)]
    assert rows["orders"][0]["removed_log_position"] == rows["orders"][0]["last_log_position"]
    assert len(rows["fills"]) == 1


# -- Filters -----------------------------------------------------------------------------------------------------------


def test_filters_choose_rows(redis_url: str, tmp_path: Path) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
    whole = parquet(redis_url, tmp_path / "whole")
    fill = whole["fills"][40]
    one = parquet(redis_url, tmp_path / "one", Filter(ids=[fill["client_order_id"]]))
    assert one["orders"] == [row for row in whole["orders"] if row["client_order_id"] == fill["client_order_id"]]
    assert one["fills"] == [fill]
    kinds = parquet(redis_url, tmp_path / "kinds", Filter(["OrderFilled"]), ["order_events", "log"])
    assert kinds["order_events"] == [row for row in whole["order_events"] if row["event_type"] == "OrderFilled"]
    assert {row["kind"] for row in kinds["log"]} == {"UpdateOrder", "WritePosition"}
    # As it was: an order that is filled later is not filled yet, and what came before is not in it.
    [submitted] = [
        row["log_position"]
        for row in whole["order_events"]
        if (row["client_order_id"], row["event_type"]) == (fill["client_order_id"], "OrderSubmitted")
    ]
    then = Moment(submitted, None)
    early = parquet(redis_url, tmp_path / "early", Filter(since=then, until=then))
    assert early["fills"] == []
    [order] = early["orders"]
    assert (order["client_order_id"], order["status"]) == (fill["client_order_id"], "SUBMITTED")
    with open_log(redis_url) as log:
        assert order["event_count"] == state_at(log, then.position).orders()[order["client_order_id"]].event_count


# -- Files -------------------------------------------------------------------------------------------------------------


def test_a_file_has_its_name_only_when_it_is_whole(redis_url: str, redis_server: RedisServer, tmp_path: Path) -> None:
    old = tmp_path / "orders.csv"
    old.write_text("old")
    with redis_server.client() as client, Writer(client, _TRADER) as writer:
        writer.batch([c.Add("key", b""), c.UpdateOrder("O-1", 1, 5, emulated=False, events=[b"?"], amended=None)])
    with open_log(redis_url) as log:
        with pytest.raises(DamagedRecord):
            export(log, ["orders", "log"], "csv", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]
        assert old.read_text() == "old"
        [file] = export(log, ["log"], "csv", tmp_path / "raw.csv")
    assert (file.path, file.rows) == (tmp_path / "raw.csv", 2)
    assert [bool(row["error"]) for row in _read_csv(file.path)] == [False, True]


def test_amounts_that_do_not_fit_are_refused_by_name_and_fit_in_wide_decimals(redis_url: str, tmp_path: Path) -> None:
    huge = Money("1" + "0" * 30 + ".25", USD)
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
        account = database.load_account(AccountId("SIM-001"))
        assert account is not None
        balance = AccountBalance(huge, Money.zero(USD), huge)
        account.apply(account.last_event.replace(balances=(balance,)))
        database.update_account(account)
    with open_log(redis_url) as log:
        with pytest.raises(AuditError, match=r"log position \d+: total is 10{30}\.25, .* 20 digits"):
            export(log, ["account_states"], "parquet", tmp_path)
        assert list(tmp_path.iterdir()) == []
        [file] = export(log, ["account_states"], "parquet", tmp_path, wide_decimals=True)
        assert _read_parquet(file.path)[-1]["total"] == huge.amount
        [file] = export(log, ["account_states"], "csv", tmp_path)
        assert Decimal(_read_csv(file.path)[-1]["total"]) == huge.amount


def test_formulas_are_kept_as_they_are_unless_they_are_to_be_escaped(
    redis_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    keys = ["=1+1", "+x", "-x", "@x", "\tx", 'a,"b"\r\nc', "plain", "", "ü"]
    with redis_server.client() as client, Writer(client, _TRADER) as writer:
        writer.batch([c.Add(key, b"") for key in keys])
    with open_log(redis_url) as log:
        for escape in (False, True):
            [file] = export(log, ["log"], "csv", tmp_path, escape_formulas=escape)
            found = [row["key"] for row in _read_csv(file.path)]
            assert found == [f"'{key}" if escape and key[:1] in {*"=+-@\t"} - {""} else key for key in keys]


def test_without_pyarrow_the_error_says_what_to_install(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_database(redis_url, _TRADER) as database:
        database.heartbeat(datetime.now(UTC))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with open_log(redis_url) as log:
        with pytest.raises(AuditError, match=r"pip install eventstore\[parquet\]"):
            export(log, ["log"], "parquet", tmp_path)
        assert export(log, ["log"], "jsonl", tmp_path)[0].rows == 3


def test_tables_and_formats_that_are_not_there_are_refused(redis_url: str, tmp_path: Path) -> None:
    with open_database(redis_url, _TRADER), open_log(redis_url) as log:
        for tables, name in ((["trades"], "csv"), (["orders"], "xlsx"), ([], "csv")):
            with pytest.raises(ValueError, match=r"the (tables|formats) are"):
                export(log, tables, name, tmp_path)
        with pytest.raises(AuditError, match="its directory is not there"):
            export(log, ["orders"], "csv", tmp_path / "no" / "orders.csv")


def test_what_is_spooled_comes_back_by_key_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 50_000)
    for number in range(1000):
        spool.put(f"key-{number % 37}", (number % 37, number))
    spool.put_everywhere("end")
    parts = [list(part) for part in spool.parts()]
    assert len(parts) == 5
    assert all(part[-1] == "end" for part in parts)
    assert sorted(record for part in parts for record in part[:-1]) == sorted((n % 37, n) for n in range(1000))
    where = {key: number for number, part in enumerate(parts) for key, _ in part[:-1]}
    for number, part in enumerate(parts):
        assert all(where[key] == number for key, _ in part[:-1])
        assert [n for _, n in part[:-1]] == sorted(n for _, n in part[:-1])
