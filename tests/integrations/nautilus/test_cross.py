"""One log, two models: what the one wrote, the other loads; and what reads a log needs no NautilusTrader."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import OrderSide, TriggerType
from nautilus_trader.model.identifiers import ClientId
from nautilus_trader.model.identifiers import TraderId as NautilusTraderId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.orders import MarketOrder

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model.identifiers import TraderId
from eventstore.recording import play
from tests.support import cli
from tests.support.nautilus.backings import TRADER, Backing, loaded
from tests.support.nautilus.desk import Desk, balance
from tests.support.nautilus.instruments import EURUSD, all_instruments, synthetic
from tests.support.processes import ROOT

_WITHOUT_NAUTILUS = """
import sys
sys.modules["nautilus_trader"] = None  # What imports it now fails.
from eventstore.cli import main
main()
"""


def work(desk: Desk) -> None:
    """A little of everything that a node does."""
    cache = desk.cache
    for instrument in all_instruments():
        cache.add_instrument(instrument)
    cache.add_synthetic(synthetic())
    cache.add_currency(USD)
    cache.add("general", b"\x00\x01")
    desk.open_account()
    for side, quantity, price in (
        (OrderSide.BUY, 1_000, "1.1"),
        (OrderSide.SELL, 1_000, "1.2"),
        (OrderSide.SELL, 333, "1.23457"),
        (OrderSide.BUY, 100, "1.11111"),
    ):
        desk.trade(EURUSD, side, quantity, price)
        desk.report_account(desk.account_state(balance(1_000 + quantity, USD, 3)))
    for order in desk.orders.bracket(
        instrument_id=EURUSD.id,
        order_side=OrderSide.BUY,
        quantity=EURUSD.make_qty(10),
        sl_trigger_price=EURUSD.make_price(1.0),
        tp_price=EURUSD.make_price(1.2),
    ).orders:
        desk.add(order, client_id=ClientId("SIM"))
        desk.submit(order)
        desk.accept(order)
    emulated = desk.orders.stop_market(
        EURUSD.id, OrderSide.BUY, EURUSD.make_qty(7), EURUSD.make_price(1.3), emulation_trigger=TriggerType.BID_ASK
    )
    desk.add(emulated)
    desk.emulate(emulated)
    transformed = MarketOrder.transform_py(emulated, desk.now())
    desk.add(transformed, overwrite=True)
    desk.release(transformed, EURUSD.make_price(1.3))
    for order in cache.orders():
        cache.snapshot_order_state(order)
    for position in cache.positions():
        cache.snapshot_position_state(position, desk.now())


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two dicts of one thing say differently: averages and returns are floats of NautilusTrader's."""
    return {
        key: (ours.get(key), theirs.get(key))
        for key in ours.keys() | theirs.keys()
        if not _same(ours.get(key), theirs.get(key))
    }


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def assert_alike(built_in: RedisCacheDatabase, nautilus: Cache) -> None:
    """Assert that both models show orders, positions, accounts and instruments alike."""
    orders, positions = built_in.load_orders(), built_in.load_positions()
    assert {str(key) for key in orders} == {str(key) for key in nautilus.client_order_ids()}
    assert {str(key) for key in positions} == {str(key) for key in nautilus.position_ids()}
    for order in nautilus.orders():
        ours = orders[next(key for key in orders if str(key) == str(order.client_order_id))]
        assert differences(ours.to_dict(), order.to_dict()) == {}
        assert [str(event.event_id) for event in ours.events] == [str(event.id) for event in order.events]
    for position in nautilus.positions():
        ours = positions[next(key for key in positions if str(key) == str(position.id))]
        assert differences(ours.to_dict(), position.to_dict()) == {}
    accounts = {str(key): account for key, account in built_in.load_accounts().items()}
    assert accounts.keys() == {str(account.id) for account in nautilus.accounts()}
    for account in nautilus.accounts():
        theirs = account.last_event
        assert differences(accounts[str(account.id)].events[-1].to_dict(), type(theirs).to_dict(theirs)) == {}
    instruments = {str(key): one for key, one in built_in.load_instruments().items()}
    assert instruments.keys() == {str(key) for key in nautilus.instrument_ids()}
    for one in nautilus.instruments():
        assert differences(instruments[str(one.id)].to_dict(), _shown(one)) == {}


def _shown(instrument: Instrument) -> dict[str, Any]:
    return dict(type(instrument).to_dict(instrument))


def test_what_a_node_of_nautilus_trader_wrote_the_built_in_model_loads(ours: Backing) -> None:
    database = ours.open()
    desk = Desk(Cache(database=database))
    work(desk)
    ours.close(database)
    with _built_in(ours, TRADER.value) as built_in:
        assert_alike(built_in, desk.cache)
        assert built_in.load() == {"general": b"\x00\x01"}
        assert {str(key): str(value) for key, value in built_in.load_index_order_position().items()} == {
            str(key): str(desk.cache.position_id(key))
            for key in desk.cache.client_order_ids()
            if desk.cache.position_id(key) is not None
        }
        assert len(built_in.load_position_cycles(next(iter(built_in.load_positions())))) == 1
        assert len(built_in.load_order_snapshots()) == len(desk.cache.orders())


@pytest.mark.parametrize("session", cli.NAMES)
def test_what_the_built_in_model_wrote_a_node_of_nautilus_trader_loads(ours: Backing, session: str) -> None:
    path = cli.session(session)
    with _built_in(ours, cli.TRADER) as built_in:
        play(built_in, path, array("q"))
        built_in.sync()
    nautilus = loaded(ours.open(NautilusTraderId(cli.TRADER)))
    assert nautilus.check_integrity()
    ours.close_all()
    with _built_in(ours, cli.TRADER) as built_in:
        assert_alike(built_in, nautilus)


def test_a_node_goes_on_with_a_log_of_the_built_in_model(ours: Backing) -> None:
    with _built_in(ours, cli.TRADER) as built_in:
        play(built_in, cli.session("emacross"), array("q"))
        built_in.sync()
    trader = NautilusTraderId(cli.TRADER)
    database = ours.open(trader)
    desk = Desk(Cache(database=database), trader_id=trader)
    desk.engine.load_cache()
    before = len(desk.cache.orders())
    desk.cache.add_instrument(EURUSD)
    desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    ours.close(database)
    with _built_in(ours, cli.TRADER) as built_in:
        assert len(built_in.load_orders()) == before + 1
        assert_alike(built_in, desk.cache)


def _built_in(backing: Backing, trader: str) -> RedisCacheDatabase:
    return RedisCacheDatabase(TraderId(trader), config=CacheDatabaseConfig(url=backing.server.url))


# -- the command line -----------------------------------------------------------------------------------------------


def without_nautilus(*arguments: object) -> subprocess.Popen[str]:
    """The command line, in a process that can not import NautilusTrader."""
    return subprocess.Popen(
        [sys.executable, "-c", _WITHOUT_NAUTILUS, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run(*arguments: object) -> str:
    with without_nautilus(*arguments) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err or out
    return out


def test_a_nodes_log_is_read_without_nautilus_trader(ours: Backing, tmp_path: Path) -> None:
    database = ours.open()
    desk = Desk(Cache(database=database))
    work(desk)
    ours.close(database)
    url, cache = ours.server.url, desk.cache

    lines = [json.loads(line) for line in run("log", url, "--json").splitlines()]
    assert {"AddOrder", "UpdateOrder", "WritePosition", "WriteAccount", "AddInstrument", "SnapshotOrder"} <= {
        line["kind"] for line in lines
    }

    filled = next(order for order in cache.orders() if order.is_closed)
    explained = run("explain", url, filled.client_order_id)
    assert "FILLED" in explained

    assert json.loads(run("verify", url, "--json"))["clean"] is True

    things = [json.loads(line) for line in run("replay", url, "--json").splitlines()]
    shown = {thing["id"]: thing["value"] for thing in things if thing.get("family") == "order"}
    for order in cache.orders():
        found = {key: shown[str(order.client_order_id)][key] for key in order.to_dict()}
        assert differences(found, json.loads(json.dumps(order.to_dict()))) == {}

    run("export", url, "--to", tmp_path, "--format", "jsonl")
    rows = [json.loads(line) for line in (tmp_path / "orders.jsonl").read_text("utf-8").splitlines()]
    assert {row["client_order_id"] for row in rows} == {str(order.client_order_id) for order in cache.orders()}

    with without_nautilus("tail", url, "--last", len(lines), "--json") as process:
        assert process.stdout is not None
        tailed = [json.loads(process.stdout.readline()) for _ in lines]
        process.terminate()
        process.communicate(timeout=30)
    assert [line["position"] for line in tailed] == [line["position"] for line in lines]
