"""Backtests with this store behind the cache, in processes of their own.

``python -m tests.support.nautilus.backtests trade NAME PORT FILE`` trades, and writes into FILE what its cache held in
the end; ``... load NAME PORT FILE`` builds an engine anew, which loads, and writes what that one's cache holds.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.accounting.accounts.base import Account
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.examples.strategies.ema_cross import EMACross, EMACrossConfig
from nautilus_trader.examples.strategies.ema_cross_bracket import EMACrossBracket, EMACrossBracketConfig
from nautilus_trader.examples.strategies.ema_cross_trailing_stop import (
    EMACrossTrailingStop,
    EMACrossTrailingStopConfig,
)
from nautilus_trader.examples.strategies.market_maker import MarketMaker
from nautilus_trader.examples.strategies.volatility_market_maker import (
    VolatilityMarketMaker,
    VolatilityMarketMakerConfig,
)
from nautilus_trader.execution.config import ExecEngineConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.config import ImportableStrategyConfig
from nautilus_trader.trading.strategy import Strategy

from eventstore.integrations.nautilus import CacheDatabaseAdapter, install
from tests.support.nautilus import ticks
from tests.support.nautilus.backings import redis_config
from tests.support.nautilus.contents import cache_contents, cycle_contents, expected_index, index_contents
from tests.support.nautilus.instruments import EURUSD, USDJPY
from tests.support.processes import ROOT

TRADER = "BACKTESTER-001"
TRADE_SIZE = Decimal(1_000_000)


def run(verb: str, name: str, port: int, file: Path) -> dict[str, Any]:
    """Do it in a new process; what the cache held in the end."""
    subprocess.run(
        [sys.executable, "-m", __name__, verb, name, str(port), str(file)], cwd=ROOT, check=True, timeout=120
    )
    return dict(pickle.loads(file.read_bytes()))  # noqa: S301  # Written by that process.


def ema_cross(pair: Any, **_: Any) -> Strategy:
    return EMACross(EMACrossConfig(instrument_id=pair.id, bar_type=_bars(pair, 5), trade_size=TRADE_SIZE))


def bracket(pair: Any, emulation_trigger: str = "NO_TRIGGER") -> Strategy:
    return EMACrossBracket(
        EMACrossBracketConfig(
            instrument_id=pair.id,
            bar_type=_bars(pair, 10),
            trade_size=TRADE_SIZE,
            emulation_trigger=emulation_trigger,
        )
    )


def trailing_stop(pair: Any, emulation_trigger: str = "NO_TRIGGER") -> Strategy:
    return EMACrossTrailingStop(
        EMACrossTrailingStopConfig(
            instrument_id=pair.id,
            bar_type=_bars(pair, 5),
            atr_period=20,
            trailing_atr_multiple=3.0,
            trailing_offset_type="PRICE",
            trigger_type="BID_ASK",
            trade_size=TRADE_SIZE,
            emulation_trigger=emulation_trigger,
        )
    )


def volatility_market_maker(pair: Any, emulation_trigger: str = "NO_TRIGGER") -> Strategy:
    return VolatilityMarketMaker(
        VolatilityMarketMakerConfig(
            instrument_id=pair.id,
            bar_type=_bars(pair, 10),
            atr_period=20,
            atr_multiple=0.1,
            trade_size=TRADE_SIZE,
            emulation_trigger=emulation_trigger,
        )
    )


def market_maker(pair: Any, **_: Any) -> Strategy:
    return MarketMaker(instrument_id=pair.id, trade_size=TRADE_SIZE, max_size=10 * TRADE_SIZE)


def quote_quantities(pair: Any, **_: Any) -> Strategy:
    return QuoteQuantities(pair)


class QuoteQuantities(Strategy):
    """Buys and sells for so much of the quote currency, at the market and at limits."""

    def __init__(self, pair: Any) -> None:
        super().__init__()
        self.pair = pair
        self.count = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.pair.id)

    def on_quote_tick(self, quote: QuoteTick) -> None:
        self.count += 1
        side = OrderSide.BUY if self.count // 100 % 2 else OrderSide.SELL
        amount = self.pair.make_qty(10_000 + self.count)
        if self.count % 60 == 0:
            self.submit_order(self.order_factory.market(self.pair.id, side, amount, quote_quantity=True))
        elif self.count % 60 == 30:
            price = quote.bid_price if side == OrderSide.BUY else quote.ask_price
            self.submit_order(self.order_factory.limit(self.pair.id, side, amount, price, quote_quantity=True))


BOTH = (EURUSD, USDJPY)

STRATEGIES: dict[str, tuple[Callable[..., Strategy], dict[str, str], OmsType, tuple[CurrencyPair, ...]]] = {
    "ema cross": (ema_cross, {}, OmsType.NETTING, (EURUSD,)),
    "bracket": (bracket, {}, OmsType.HEDGING, BOTH),
    "emulated bracket": (bracket, {"emulation_trigger": "BID_ASK"}, OmsType.NETTING, BOTH),
    "trailing stop": (trailing_stop, {}, OmsType.NETTING, BOTH),
    "emulated trailing stop": (trailing_stop, {"emulation_trigger": "BID_ASK"}, OmsType.HEDGING, BOTH),
    "volatility market maker": (volatility_market_maker, {}, OmsType.NETTING, (EURUSD,)),
    "emulated market maker": (volatility_market_maker, {"emulation_trigger": "BID_ASK"}, OmsType.HEDGING, BOTH),
    "market maker": (market_maker, {}, OmsType.NETTING, (EURUSD,)),
    "quote quantities": (quote_quantities, {}, OmsType.NETTING, (EURUSD,)),
}
"""What is traded: the strategy, how it is configured, whether its fills net, and the pairs; it runs once for each."""

BOOKS = 1_000
"""How many of the quotes one gets that trades on books: with each, it buys and sells."""


class CountingConfig(EMACrossConfig, frozen=True):
    """As the one that crosses."""


class Counting(EMACross):
    """Crosses averages, counts its events, and remembers the count."""

    def __init__(self, config: CountingConfig) -> None:
        super().__init__(config)
        self.count = 0

    def on_event(self, event: Any) -> None:
        self.count += 1
        super().on_event(event)

    def on_save(self) -> dict[str, bytes]:
        return {"count": str(self.count).encode()}

    def on_load(self, state: dict[str, bytes]) -> None:
        self.count = int(state["count"])


def _bars(pair: Any, ticks_each: int) -> BarType:
    return BarType.from_str(f"{pair.id}-{ticks_each}-TICK-MID-INTERNAL")


def _engine(port: int, *strategies: ImportableStrategyConfig) -> BacktestEngine:
    return BacktestEngine(
        BacktestEngineConfig(
            trader_id=TRADER,
            logging=LoggingConfig(bypass_logging=True),
            cache=redis_config(port),
            exec_engine=ExecEngineConfig(snapshot_orders=True, snapshot_positions=True),
            strategies=list(strategies),
            load_state=True,
            save_state=True,
        )
    )


def _equip(engine: BacktestEngine, name: str) -> None:
    """Give it a venue, the quotes, and what trades."""
    made, settings, oms_type, pairs = STRATEGIES.get(name, (None, {}, OmsType.NETTING, (EURUSD,)))
    by_book = name == "market maker"
    engine.add_venue(
        venue=EURUSD.id.venue,
        oms_type=oms_type,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(100_000_000, USD)],
        book_type=BookType.L2_MBP if by_book else BookType.L1_MBP,
    )
    for pair in pairs:
        engine.add_instrument(pair)
        engine.add_data(ticks.books(pair, BOOKS) if by_book else ticks.quotes(pair))
        if made is not None:
            engine.add_strategy(made(pair, **settings))


def _counting() -> ImportableStrategyConfig:
    return ImportableStrategyConfig(
        strategy_path=f"{Counting.__module__}:{Counting.__name__}",
        config_path=f"{CountingConfig.__module__}:{CountingConfig.__name__}",
        config={
            "instrument_id": str(EURUSD.id),
            "bar_type": str(_bars(EURUSD, 5)),
            "trade_size": TRADE_SIZE,
        },
    )


def _note_accounts(told: dict[str, list[dict[str, Any]]]) -> None:
    """Note what each event of an account says when the database is told of it."""

    def noting(method: Callable[..., None]) -> Callable[..., None]:
        def note(self: CacheDatabaseAdapter, account: Account) -> None:
            event = account.last_event
            told.setdefault(account.id.value, []).append({"type": "AccountState", **type(event).to_dict(event)})
            method(self, account)

        return note

    CacheDatabaseAdapter.add_account = noting(CacheDatabaseAdapter.add_account)
    CacheDatabaseAdapter.update_account = noting(CacheDatabaseAdapter.update_account)


def _main(verb: str, name: str, port: str, file: str) -> None:
    install()
    told: dict[str, list[dict[str, Any]]] = {}
    if verb == "trade":
        _note_accounts(told)  # before there is an adapter, which takes its verbs when it is made
    engine = _engine(int(port), *([_counting()] if name == "counting" else []))
    cache = engine.cache
    loaded = index_contents(cache)
    if verb == "trade":
        _equip(engine, name)
        # A run that goes on with more data is not ended: what is open stays open.
        engine.run(streaming=name in STRATEGIES)
        loaded = expected_index(cache)
        engine.trader.save()  # As a live node does when it stops; a backtest does not.
    contents = {
        **cache_contents(cache),
        "index": loaded,
        "cycles": cycle_contents(cache),
        "integrity": cache.check_integrity(),
        "counts": [one.count for one in engine.trader.strategies() if isinstance(one, Counting)],
    }
    for account_id, events in told.items():
        # In memory, what an event says of margins changes afterwards: the account goes on calculating with them.
        contents["accounts"][account_id]["events"] = events
    engine.dispose()
    Path(file).write_bytes(pickle.dumps(contents))


if __name__ == "__main__":
    from tests.support.nautilus.backtests import _main as main  # So that what is configured by its path is the same.

    main(*sys.argv[1:])
