"""Records the keyspaces that tests/cli/test_import_nautilus.py restores: what real NautilusTrader wrote into Redis.

A backtest runs with NautilusTrader's own adapter behind its cache; then every key is kept with its type and values, and
beside it what NautilusTrader loads from it again: every order, position and account as it sees them.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

try:
    import msgspec
    import nautilus_trader
    import pandas as pd
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.cache.config import CacheConfig
    from nautilus_trader.cache.database import CacheDatabaseAdapter
    from nautilus_trader.common.config import DatabaseConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.core.uuid import UUID4
    from nautilus_trader.model.currencies import USD, USDT
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import (
        AccountType,
        OmsType,
        OrderSide,
        TimeInForce,
        TrailingOffsetType,
        TriggerType,
    )
    from nautilus_trader.model.identifiers import ClientId, Symbol, TraderId, Venue
    from nautilus_trader.model.instruments import SyntheticInstrument
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.serialization.serializer import MsgSpecSerializer
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy
except ImportError:
    sys.exit("this needs nautilus_trader: install it into the environment")

from tests.support.redis_server import RedisServer

TO = Path(__file__).parents[2] / "tests" / "data" / "nautilus"
BEGIN_NS = 1_700_000_000_000_000_123
AUD = TestInstrumentProvider.default_fx_ccy("AUD/USD")
BTC = TestInstrumentProvider.btcusdt_binance()
PERPETUAL = TestInstrumentProvider.xbtusd_bitmex()
DATED = TestInstrumentProvider.es_future(2023, 12)
SETTLED_S = 0.02


class Scripted(Strategy):
    """At each quote, the next thing of what nodes do with orders."""

    def __init__(self, as_iso: bool) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.as_iso = as_iso
        self.count = 0
        self.limit: Any = None

    def on_start(self) -> None:
        self.subscribe_quote_ticks(AUD.id)

    def on_save(self) -> dict[str, bytes]:
        state = {"count": str(self.count).encode(), "raw": b"\x00\xff\x81"}
        return state if self.as_iso else {**state, "n": b"it's 20"}  # NautilusTrader can not save this one with both

    def on_load(self, state: dict[str, bytes]) -> None:
        self.count = int(state["count"])

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.count += 1
        step = getattr(self, f"step_{self.count}", None)
        if step is not None:
            step()

    def buy(self, units: int, **options: Any) -> None:
        self.submit_order(self.order_factory.market(AUD.id, OrderSide.BUY, Quantity.from_int(units), **options))

    def sell(self, units: int, **options: Any) -> None:
        self.submit_order(self.order_factory.market(AUD.id, OrderSide.SELL, Quantity.from_int(units), **options))

    def step_1(self) -> None:
        self.buy(100_000, tags=["first"])

    def step_2(self) -> None:
        self.sell(100_000)  # flat

    def step_3(self) -> None:
        self.sell(50_000)  # opened again

    def step_4(self) -> None:
        self.buy(80_000)  # turned over

    def step_5(self) -> None:
        self.sell(70_000)  # turned over again

    def step_6(self) -> None:
        stop = self.order_factory.stop_market(
            AUD.id,
            OrderSide.BUY,
            Quantity.from_int(1000),
            trigger_price=Price.from_str("0.80010"),
            emulation_trigger=TriggerType.BID_ASK,
        )
        self.submit_order(stop)  # emulated, released, transformed

    def step_7(self) -> None:
        stop = self.order_factory.stop_limit(
            AUD.id,
            OrderSide.BUY,
            Quantity.from_int(1000),
            price=Price.from_str("0.80020"),
            trigger_price=Price.from_str("0.80015"),
            emulation_trigger=TriggerType.BID_ASK,
        )
        self.submit_order(stop)

    def step_8(self) -> None:
        bracket = self.order_factory.bracket(
            AUD.id,
            OrderSide.BUY,
            Quantity.from_int(2000),
            sl_trigger_price=Price.from_str("0.79000"),
            tp_price=Price.from_str("0.81000"),
        )
        self.submit_order_list(bracket)

    def step_9(self) -> None:
        self.limit = self.order_factory.limit(
            AUD.id,
            OrderSide.BUY,
            Quantity.from_int(3000),
            price=Price.from_str("0.70000"),
            time_in_force=TimeInForce.GTD,
            expire_time=self.clock.utc_now() + timedelta(hours=1),
        )
        self.submit_order(self.limit, client_id=ClientId("SIM"))

    def step_10(self) -> None:
        self.modify_order(self.limit, Quantity.from_int(4000), Price.from_str("0.71000"))

    def step_11(self) -> None:
        self.cancel_order(self.limit)

    def step_12(self) -> None:
        trailing = self.order_factory.trailing_stop_market(
            AUD.id,
            OrderSide.SELL,
            Quantity.from_int(1000),
            trailing_offset=Decimal("0.01"),
            trailing_offset_type=TrailingOffsetType.PRICE,
        )
        self.submit_order(trailing)

    def step_13(self) -> None:
        resting = self.order_factory.limit(
            AUD.id,
            OrderSide.BUY,
            Quantity.from_int(3000),
            price=Price.from_str("0.60000"),
            emulation_trigger=TriggerType.BID_ASK,
        )
        self.submit_order(resting)  # stays emulated

    def step_14(self) -> None:
        crossing = self.order_factory.limit(
            AUD.id, OrderSide.BUY, Quantity.from_int(3000), price=Price.from_str("0.90000"), post_only=True
        )
        self.submit_order(crossing)  # rejected

    def step_15(self) -> None:
        self.buy(3000, exec_algorithm_id=None, time_in_force=TimeInForce.IOC)


def quotes() -> list[QuoteTick]:
    size = Quantity.from_int(1_000_000)
    found = []
    for number in range(18):
        bid = Decimal("0.8") + number * Decimal("0.00005")
        at = BEGIN_NS + number * 1_000_000_000
        found.append(QuoteTick(AUD.id, Price(bid, 5), Price(bid + Decimal("0.00002"), 5), size, size, at, at))
    return found


def record(encoding: str, *, as_iso: bool, use_trader_prefix: bool, use_instance_id: bool, name: str) -> None:
    with RedisServer(tcp=True) as server:
        cache_config = CacheConfig(
            database=DatabaseConfig(type="redis", host="127.0.0.1", port=server.port),
            encoding=encoding,
            timestamps_as_iso8601=as_iso,
            use_trader_prefix=use_trader_prefix,
            use_instance_id=use_instance_id,
        )
        engine = BacktestEngine(
            BacktestEngineConfig(
                trader_id=TraderId("TRADER-001"),
                instance_id=UUID4.from_str("2d89666b-1a1e-4a75-b193-4eb3b454c757"),
                logging=LoggingConfig(log_level="OFF"),
                cache=cache_config,
            )
        )
        engine.add_venue(Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USD)], base_currency=USD)
        engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.CASH, [Money(1_000, USDT)])
        for instrument in (AUD, BTC):
            engine.add_instrument(instrument)
        strategy = Scripted(as_iso)
        engine.add_strategy(strategy)
        engine.add_data(quotes())
        engine.run()
        cache = engine.cache
        for instrument in (PERPETUAL, DATED):
            cache.add_instrument(instrument)
        pair = SyntheticInstrument(Symbol("PAIR"), 5, [AUD.id, BTC.id], f"{AUD.id} + {BTC.id}", BEGIN_NS, BEGIN_NS)
        cache.add_synthetic(pair)
        cache.add("general:key", b"\x00\x01any bytes\xff")
        cache.add("empty", b"")
        for order in cache.orders()[:3]:
            cache.snapshot_order_state(order)
        for position in cache.positions():
            cache.snapshot_position_state(position, BEGIN_NS, Money(3, USD), open_only=False)
            cache.snapshot_position_state(position, BEGIN_NS + 20_000_000_000, open_only=False)
        cache.update_strategy(strategy)
        cache.heartbeat(pd.Timestamp("2023-11-14T22:13:45.123456789Z"))
        time.sleep(SETTLED_S)
        keys = settled(server)
        adapter = CacheDatabaseAdapter(
            trader_id=TraderId("TRADER-001"),
            instance_id=UUID4.from_str("2d89666b-1a1e-4a75-b193-4eb3b454c757"),
            serializer=MsgSpecSerializer(
                msgspec.msgpack if encoding == "msgpack" else msgspec.json,
                timestamps_as_str=True,
                timestamps_as_iso8601=as_iso,
            ),
            config=cache_config,
        )
        loaded = as_loaded(adapter)
        document = {
            "nautilus_trader": nautilus_trader.__version__,
            "encoding": encoding,
            "timestamps_as_iso8601": as_iso,
            "keys": keys,
            "loaded": loaded,
        }
    TO.mkdir(parents=True, exist_ok=True)
    path = TO / f"{nautilus_trader.__version__}-{name}.json.gz"
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(text, mtime=0))
    print(f"{path}: {len(keys)} keys, {path.stat().st_size} bytes")


def settled(server: RedisServer) -> dict[str, dict[str, Any]]:
    """What the keys hold when nothing more comes: NautilusTrader's adapter writes in the background."""
    before: dict[str, Any] | None = None
    while True:
        now = dump(server)
        if now == before:
            return now
        before = now
        time.sleep(10 * SETTLED_S)


def dump(server: RedisServer) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with server.client() as client:
        for key in sorted(client.scan_iter()):
            kind = client.type(key).decode()
            if kind == "string":
                values: Any = text(client.get(key))
            elif kind == "list":
                values = [text(value) for value in client.lrange(key, 0, -1)]
            elif kind == "set":
                values = sorted(text(value) for value in client.smembers(key))
            else:
                values = {name.decode(): text(value) for name, value in sorted(client.hgetall(key).items())}
            found[key.decode()] = {"type": kind, "value": values}
    return found


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def as_loaded(adapter: CacheDatabaseAdapter) -> dict[str, Any]:
    """What NautilusTrader's own loader makes of each order, position and account."""
    accounts = {
        str(key): {"balances": sorted(map(str, account.balances_total().values())), "events": len(account.events)}
        for key, account in adapter.load_accounts().items()
    }
    return {
        "orders": {str(key): plain(order.to_dict()) for key, order in adapter.load_orders().items()},
        "positions": {str(key): plain(position.to_dict()) for key, position in adapter.load_positions().items()},
        "accounts": accounts,
        "general": {key: text(value) for key, value in adapter.load().items()},
        "order_position": {str(key): str(value) for key, value in adapter.load_index_order_position().items()},
        "instruments": {str(key): type(value).to_dict(value) for key, value in adapter.load_instruments().items()},
    }


def plain(values: dict[str, Any]) -> dict[str, Any]:
    kept = (str, int, float, list, type(None))
    return {name: value if isinstance(value, kept) else str(value) for name, value in values.items()}


if __name__ == "__main__":
    record("msgpack", as_iso=False, use_trader_prefix=True, use_instance_id=False, name="msgpack")
    # NautilusTrader 1.221 can not read its own indexes with use_instance_id.
    is_able = not nautilus_trader.__version__.startswith("1.221")
    record("json", as_iso=True, use_trader_prefix=False, use_instance_id=is_able, name="json-iso")
