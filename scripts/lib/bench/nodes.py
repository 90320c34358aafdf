"""What a node lives through, in this library's own model: orders of four events, long positions, an account."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from eventstore import RedisCacheDatabase
from eventstore.model import (
    UUID4,
    AccountBalance,
    AccountId,
    AccountState,
    AccountType,
    ClientOrderId,
    Currency,
    CurrencyPair,
    InstrumentId,
    LiquiditySide,
    Money,
    Order,
    OrderAccepted,
    OrderFilled,
    OrderInitialized,
    OrderSide,
    OrderSubmitted,
    OrderType,
    PositionId,
    Price,
    Quantity,
    StrategyId,
    Symbol,
    TimeInForce,
    TradeId,
    TraderId,
    TriggerType,
    VenueOrderId,
)
from eventstore.model.currencies import EUR, USD

TRADER = TraderId("BENCH-001")
EVENTS = 4
"""Of each order: initialized, submitted, accepted, filled."""
ACCOUNT = AccountId("SIM-001")
INSTRUMENT = InstrumentId("EUR/USD.SIM")
_STRATEGY = StrategyId("EMACross-001")
_START_NS = 1_700_000_000_000_000_000


class History(NamedTuple):
    """The life of an order: what makes it, and what happens to it then. Events never change; orders made of it do."""

    init: OrderInitialized
    later: tuple[Any, ...]


def order_id(i: int) -> ClientOrderId:
    return ClientOrderId(f"O-20231114-221320-001-001-{i}")


def history(i: int, events: int = EVENTS) -> History:
    """The life of one limit order, or the first `events` of its four events."""
    ids = _ids(i)
    init = OrderInitialized(
        event_id=UUID4(),
        order_side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=Quantity("100000"),
        time_in_force=TimeInForce.GTC,
        price=Price("1.10250"),
        emulation_trigger=TriggerType.NO_TRIGGER,
        **ids,
    )
    later: list[Any] = []
    if events > 1:
        later.append(OrderSubmitted(event_id=UUID4(), account_id=ACCOUNT, **ids))
    if events > 2:
        later.append(
            OrderAccepted(event_id=UUID4(), venue_order_id=VenueOrderId(f"SIM-1-{i}"), account_id=ACCOUNT, **ids)
        )
    if events > 3:
        later.append(fill(i, "100000", PositionId(f"P-{i}")))
    return History(init, tuple(later))


def _ids(i: int) -> dict[str, Any]:
    now = _START_NS + i
    return {
        "ts_event": now,
        "ts_init": now,
        "trader_id": TRADER,
        "strategy_id": _STRATEGY,
        "instrument_id": INSTRUMENT,
        "client_order_id": order_id(i),
    }


def fill(i: int, quantity: str, position_id: PositionId, side: OrderSide = OrderSide.BUY) -> OrderFilled:
    """The fill of order `i`."""
    return OrderFilled(
        event_id=UUID4(),
        venue_order_id=VenueOrderId(f"SIM-1-{i}"),
        account_id=ACCOUNT,
        trade_id=TradeId(f"SIM-1-{i}"),
        order_side=side,
        order_type=OrderType.LIMIT,
        last_qty=Quantity(quantity),
        last_px=Price("1.10248"),
        currency=USD,
        commission=Money("2.20", USD),
        liquidity_side=LiquiditySide.MAKER,
        position_id=position_id,
        **_ids(i),
    )


def fills(number: int, count: int) -> list[OrderFilled]:
    """So many fills of one long position, each of an order of its own: three buy, one sells, and so on."""
    position_id = PositionId(f"P-LONG-{number}")
    sides = (OrderSide.BUY, OrderSide.BUY, OrderSide.BUY, OrderSide.SELL)
    return [fill(number * count + i, "1000", position_id, sides[i % 4]) for i in range(count)]


def instrument() -> CurrencyPair:
    """The one that all is about."""
    return CurrencyPair(
        id=INSTRUMENT,
        raw_symbol=Symbol("EUR/USD"),
        base_currency=EUR,
        quote_currency=USD,
        price_precision=5,
        size_precision=0,
        price_increment=Price("0.00001"),
        size_increment=Quantity("1"),
        ts_event=0,
        ts_init=0,
    )


def account_states(count: int) -> Iterator[AccountState]:
    """So many states of one account, as a venue reports them."""
    for i in range(count):
        total = Money(f"{1_000_000 - i}.00", USD)
        base: Currency = USD
        yield AccountState(
            event_id=UUID4(),
            ts_event=_START_NS + i,
            ts_init=_START_NS + i,
            account_id=ACCOUNT,
            account_type=AccountType.MARGIN,
            base_currency=base,
            balances=(AccountBalance(total, Money("0.00", USD), total),),
            reported=True,
        )


def trade(database: RedisCacheDatabase, histories: Iterable[History]) -> int:
    """Live all orders, step by step through all of them, as a node does that has many at work. Returns the calls."""
    lives: list[tuple[Any, History]] = []
    for each in histories:
        order = Order.create(each.init)
        lives.append((order, each))
        database.add_order(order)
    calls = len(lives)
    for step in range(EVENTS - 1):
        for order, each in lives:
            if step < len(each.later):
                order.apply(each.later[step])
                database.update_order(order)
                calls += 1
    return calls


def trade_at(database: RedisCacheDatabase, histories: Iterable[History], calls_per_s: float) -> None:
    """As `trade`, at a steady rate, one order behind the other: each call when it is due."""
    clock, sleep = time.perf_counter, time.sleep
    due_s = clock()
    step_s = 1 / calls_per_s
    for each in histories:
        order = Order.create(each.init)
        database.add_order(order)
        for event in each.later:
            due_s += step_s
            order.apply(event)
            ahead_s = due_s - clock()
            if ahead_s > 0:
                sleep(ahead_s)
            database.update_order(order)
        due_s += step_s
        ahead_s = due_s - clock()
        if ahead_s > 0:
            sleep(ahead_s)
