"""Quotes that a market gave, for backtests and nodes.

`EVENTSTORE_TICKS=SYMBOL=FILE`, such as ``USD/JPY=usdjpy-ticks.csv``, names a CSV file of recorded ticks: a header, then
lines of time, bid and ask. Without it, the quotes are made from the data set that the package `backtesting` ships:
hourly bars of EUR/USD from 2017 and 2018, of which each gives four prices.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, QuoteTick
from nautilus_trader.model.enums import BookAction, OrderSide
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.test_kit.providers import TestInstrumentProvider

_HALF_SPREAD = 0.00005
_QUARTER_NS = 15 * 60 * 1_000_000_000


def recorded() -> tuple[str, Path] | None:
    """Symbol and file of the recorded quotes; None if there are none here."""
    named = os.environ.get("EVENTSTORE_TICKS")
    if named:
        symbol, _, path = named.partition("=")
        return symbol, Path(path)
    path = Path(sys.prefix) / "prices" / "backtesting" / "test" / "EURUSD.csv"  # where scripts/lib/venv.sh puts it
    return ("EUR/USD", path) if path.exists() else None


def instrument() -> CurrencyPair:
    """The instrument that the quotes are of."""
    found = recorded()
    assert found is not None, "no recorded quotes: install the development requirements, or set EVENTSTORE_TICKS"
    return TestInstrumentProvider.default_fx_ccy(found[0])


def quotes(count: int, skip: int = 0) -> list[QuoteTick]:
    """So many quotes, in their order, after the first `skip`."""
    pair, found = instrument(), recorded()
    assert found is not None
    size = pair.make_qty(1_000_000)
    return [
        QuoteTick(pair.id, pair.make_price(bid), pair.make_price(ask), size, size, moment, moment)
        for moment, bid, ask in islice(_prices(found[1]), skip, skip + count)
    ]


def deltas(count: int) -> list[OrderBookDeltas]:
    """The same quotes, as a book that is cleared and filled anew with each."""
    return [_book(quote) for quote in quotes(count)]


def _prices(path: Path) -> Iterator[tuple[int, float, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        columns = next(rows)
        if "Open" not in columns:
            for moment, bid, ask, *_rest in rows:
                yield pd.Timestamp(moment).value, float(bid), float(ask)
            return
        for moment, *prices in rows:
            start = pd.Timestamp(moment, tz="UTC").value
            opened, high, low, close = map(float, prices[:4])
            # Which of the two came first, the bar does not say: the one that is nearer to where it opened.
            between = (high, low) if high - opened < opened - low else (low, high)
            for number, price in enumerate((opened, *between, close)):
                yield start + number * _QUARTER_NS, price - _HALF_SPREAD, price + _HALF_SPREAD


def _book(quote: QuoteTick) -> OrderBookDeltas:
    def delta(action: BookAction, order: BookOrder | None) -> OrderBookDelta:
        return OrderBookDelta(quote.instrument_id, action, order, 0, 0, quote.ts_event, quote.ts_init)

    return OrderBookDeltas(
        quote.instrument_id,
        [
            delta(BookAction.CLEAR, None),
            delta(BookAction.ADD, BookOrder(OrderSide.BUY, quote.bid_price, quote.bid_size, 1)),
            delta(BookAction.ADD, BookOrder(OrderSide.SELL, quote.ask_price, quote.ask_size, 2)),
        ],
    )
