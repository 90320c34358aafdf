"""A trading node of NautilusTrader's in a process of its own, which trades with its sandbox on recorded quotes.

It prints one line of JSON for each thing that its strategy is told and that the cache took before. So a line is a
receipt: what is in it has to be there after whatever happens to the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.common import Environment
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.live.config import LiveDataClientConfig, LiveExecEngineConfig, TradingNodeConfig
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientId, TraderId
from nautilus_trader.trading.config import ImportableStrategyConfig, StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from eventstore.integrations.nautilus import install
from tests.support.nautilus import ticks
from tests.support.nautilus.backings import redis_config
from tests.support.nautilus.instruments import EURUSD
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer

TRADER = TraderId("NODE-001")
_AWAY = Decimal("0.00002")  # As far as the price goes in some twenty quotes: most of what waits there is filled.
_QUOTE_INTERVAL_S = 0.002
_CHECKPOINT_INTERVAL_S = 0.1


class Node:
    """The process, from the outside.

    Parameters
    ----------
    server : RedisServer
        Where its cache's database is; listens on TCP.
    journal : Path
        Where its journal is.

    """

    def __init__(self, server: RedisServer, journal: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(server.port)],
            cwd=ROOT,
            env={**os.environ, "EVENTSTORE_JOURNAL": str(journal)},
            stdout=subprocess.PIPE,
        )
        self.loaded: dict[str, Any] = {}
        """What its cache held when it was built."""
        self.seen: list[dict[str, Any]] = []
        """Every receipt that was read."""

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it prints, as it comes; what an end cuts off is no receipt."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            if not text.endswith(b"\n"):
                return
            line = json.loads(text)
            if "loaded" in line:
                self.loaded = line["loaded"]
            else:
                self.seen.append(line)
            yield line

    def read(self, count: int, *, in_the_middle: bool = False) -> None:
        """Read so many receipts; and then until orders and positions are open, if it is to be in the middle."""
        for _line in self.lines():
            enough = len(self.seen) >= count
            if enough and (not in_the_middle or (self.seen[-1]["orders_open"] and self.seen[-1]["positions_open"])):
                return
        raise AssertionError(f"it ended after {len(self.seen)} receipts")

    def kill(self) -> None:
        """Kill it with SIGKILL, and read what it had printed."""
        self.process.kill()
        self.process.wait(10)
        for _line in self.lines():
            pass

    def stop(self) -> int:
        """Stop it as an operator does, and read what it printed; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        for _line in self.lines():
            pass
        return self.process.wait(60)

    @property
    def order_events(self) -> set[tuple[str, str]]:
        """Order and event of each order event that its strategy was told of."""
        return {(line["order"], line["event"]) for line in self.seen if "order" in line}

    @property
    def fills(self) -> set[tuple[str, str]]:
        """Position and event of each fill that a position had when its strategy was told of it."""
        return {(line["position"], line["event"]) for line in self.seen if "position" in line}

    @property
    def states(self) -> list[int]:
        """The counts that its strategy gave when its state was saved."""
        return [line["saved"] for line in self.seen if "saved" in line]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Feed(LiveMarketDataClient):
    """Gives the recorded quotes as if they came now."""

    def __init__(self, loop: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().__init__(
            loop=loop,
            client_id=ClientId("SIM"),
            venue=EURUSD.id.venue,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=InstrumentProvider(),
        )

    async def _connect(self) -> None:
        pass

    async def _disconnect(self) -> None:
        pass

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        self.create_task(self._give())

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        pass

    async def _give(self) -> None:
        for quote in ticks.quotes(EURUSD):
            now = self._clock.timestamp_ns()
            prices = (quote.bid_price, quote.ask_price, quote.bid_size, quote.ask_size)
            self._handle_data(QuoteTick(quote.instrument_id, *prices, now, now))
            await asyncio.sleep(_QUOTE_INTERVAL_S)


class FeedFactory(LiveDataClientFactory):
    """Makes `Feed`."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> Feed:
        return Feed(loop, msgbus, cache, clock)


class Witness(Strategy):
    """Trades all the time, in every way, and says what it is told."""

    def __init__(self, config: StrategyConfig) -> None:
        super().__init__(config)
        self.count = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(EURUSD.id)

    def on_save(self) -> dict[str, bytes]:
        _say(saved=self.count, **self._open())
        return {"count": b"%d" % self.count}

    def on_load(self, state: dict[str, bytes]) -> None:
        self.count = int(state["count"])

    def on_quote_tick(self, quote: QuoteTick) -> None:
        self.count += 1
        side = OrderSide.BUY if self.count // 7 % 2 else OrderSide.SELL
        quantity = EURUSD.make_qty(1_000 * (1 + self.count % 5))
        bid, ask = quote.bid_price.as_decimal(), quote.ask_price.as_decimal()
        entry, leave, better = (ask, bid, -_AWAY) if side == OrderSide.BUY else (bid, ask, _AWAY)
        if self.count % 10 == 0:
            self.submit_order(self.order_factory.market(EURUSD.id, side, quantity))
        elif self.count % 10 == 3:
            price = EURUSD.make_price(entry + better)
            self.submit_order(self.order_factory.limit(EURUSD.id, side, quantity, price))
        elif self.count % 50 == 25:
            self.submit_order_list(
                self.order_factory.bracket(
                    EURUSD.id,
                    side,
                    quantity,
                    sl_trigger_price=EURUSD.make_price(leave + 2 * better),
                    tp_price=EURUSD.make_price(entry - 2 * better),
                )
            )
        elif self.count % 50 == 15:
            self.close_all_positions(EURUSD.id)
        elif self.count % 10 == 7:
            orders = [order for order in self.cache.orders_open() if not order.is_pending_cancel]
            if len(orders) > 5:
                self.cancel_order(orders[0])

    def on_order_event(self, event: Any) -> None:
        # That an order was made, a strategy is told before the cache is; and it is told of what did not fit the order.
        order = self.cache.order(event.client_order_id)
        if order is not None and any(one.id == event.id for one in order.events):
            _say(order=event.client_order_id.value, event=event.id.value, **self._open())

    def on_position_event(self, event: Any) -> None:
        position = self.cache.position(event.position_id)
        _say(position=position.id.value, event=position.last_event.id.value, **self._open())

    def _open(self) -> dict[str, int]:
        return {"orders_open": self.cache.orders_open_count(), "positions_open": self.cache.positions_open_count()}


def held(cache: Any) -> dict[str, Any]:
    """Orders and positions with the ids of their events, the earlier cycles of positions included."""
    fills: dict[str, list[str]] = {}
    for position in cache.positions():
        cycles = [*cache.position_snapshots(position.id), position]
        fills[position.id.value] = [event.id.value for cycle in cycles for event in cycle.events]
    return {
        "orders": {order.client_order_id.value: [event.id.value for event in order.events] for order in cache.orders()},
        "positions": fills,
        "open": [order.client_order_id.value for order in cache.orders_open()],
        "integrity": cache.check_integrity(),
    }


def _say(**line: Any) -> None:
    # One write of the system: a line that is out is in the pipe, whatever happens to the process.
    os.write(1, json.dumps(line).encode() + b"\n")


def _main(port: int) -> None:
    install(checkpoint_interval_s=_CHECKPOINT_INTERVAL_S)
    venue = EURUSD.id.venue.value

    node = TradingNode(
        TradingNodeConfig(
            environment=Environment.SANDBOX,
            trader_id=TRADER.value,
            logging=LoggingConfig(bypass_logging=True),
            cache=redis_config(port),
            exec_engine=LiveExecEngineConfig(reconciliation=False, inflight_check_interval_ms=0, snapshot_orders=True),
            data_clients={venue: LiveDataClientConfig()},
            exec_clients={
                venue: SandboxExecutionClientConfig(
                    venue=venue, starting_balances=["10_000_000 USD"], base_currency="USD", use_random_ids=True
                )
            },
            strategies=[
                ImportableStrategyConfig(
                    strategy_path=f"{Witness.__module__}:{Witness.__name__}",
                    config_path=f"{StrategyConfig.__module__}:{StrategyConfig.__name__}",
                    config={"oms_type": "NETTING"},
                )
            ],
            load_state=True,
            save_state=True,
            timeout_connection=5.0,
            timeout_post_stop=0.1,
            timeout_disconnection=2.0,
        )
    )
    (strategy,) = node.trader.strategies()
    _say(loaded={**held(node.cache), "count": strategy.count})
    node.add_data_client_factory(venue, FeedFactory)
    node.add_exec_client_factory(venue, SandboxLiveExecClientFactory)
    node.build()
    if node.cache.instrument(EURUSD.id) is None:
        node.kernel.cache.add_instrument(EURUSD)
    try:
        node.run()
    finally:
        node.dispose()


if __name__ == "__main__":
    from tests.support.nautilus.nodes import _main as main  # So that what is configured by its path is the same.

    main(int(sys.argv[1]))
