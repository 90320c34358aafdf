"""Quotes that a market gave, for backtests and nodes; `tests/data/ticks/README.md` says which.

`EVENTSTORE_TICKS=SYMBOL=FILE`, such as ``USD/JPY=ticks.csv``, names a file of the same form, gzipped or not, to be
read in the place of that pair's.
"""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path
from typing import IO

from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, QuoteTick
from nautilus_trader.model.enums import BookAction, OrderSide
from nautilus_trader.model.instruments import CurrencyPair

_DIRECTORY = Path(__file__).parents[2] / "data" / "ticks"


def quotes(pair: CurrencyPair) -> list[QuoteTick]:
    """All that is recorded of a pair, in its order."""
    size = pair.make_qty(1_000_000)
    with _open(pair) as file:
        return [
            QuoteTick(pair.id, pair.make_price(row["bid"]), pair.make_price(row["ask"]), size, size, moment, moment)
            for row in csv.DictReader(file)
            for moment in [int(row["time"]) * 1_000_000]
        ]


def books(pair: CurrencyPair, count: int) -> list[OrderBookDeltas]:
    """The first of them, as a book that is cleared and filled anew with each."""
    return [_book(quote) for quote in quotes(pair)[:count]]


def _open(pair: CurrencyPair) -> IO[str]:
    symbol = pair.id.symbol.value
    path = _DIRECTORY / f"{symbol.replace('/', '').lower()}.csv.gz"
    named, _, own = os.environ.get("EVENTSTORE_TICKS", "").partition("=")
    if named == symbol:
        path = Path(own)
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()


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
