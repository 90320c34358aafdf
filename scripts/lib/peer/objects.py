"""What a trading node lives through, in NautilusTrader's own objects: each with ids, times and event ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.currencies import EUR, USD
from nautilus_trader.model.enums import AccountType, LiquiditySide, OrderSide, OrderType, TimeInForce, TriggerType
from nautilus_trader.model.events import AccountState, OrderAccepted, OrderFilled, OrderInitialized, OrderSubmitted
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientOrderId,
    InstrumentId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from nautilus_trader.model.objects import AccountBalance, MarginBalance, Money, Price, Quantity
from nautilus_trader.model.orders import OrderUnpacker
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider

TRADER = TraderId("BENCH-001")
INSTRUMENTS = tuple(TestInstrumentProvider.default_fx_ccy(pair) for pair in ("EUR/USD", "GBP/USD", "AUD/USD"))
STRATEGIES = (StrategyId("EMACross-001"), StrategyId("MarketMaker-002"))
ACCOUNT = AccountId("SIM-001")
ORDER_EVENTS = 4  # of each order: initialized, submitted, accepted, filled
FILLS = 2  # of each position: one opens it, one closes it

_START_NS = 1_700_000_000_000_000_000
_STEP_NS = 1_000_000
_QUANTITY = Quantity.from_int(100_000)


@dataclass(frozen=True, slots=True)
class Life:
    """The events of an order. They never change; an order made of them does."""

    init: OrderInitialized
    later: tuple[Any, ...]  # submitted, accepted, filled

    @property
    def fill(self) -> OrderFilled:
        return self.later[-1]

    def order(self) -> Any:
        """A new order that has lived through nothing but its first event."""
        return OrderUnpacker.from_init(self.init)


@dataclass(frozen=True, slots=True)
class Trade:
    """A position's entry and exit."""

    instrument: Any
    entry: Life
    exit: Life


def trades(count: int) -> Iterator[Trade]:
    """So many trades, each with two orders of 4 events and a position of 2 fills."""
    for i in range(count):
        instrument, strategy_id = INSTRUMENTS[i % len(INSTRUMENTS)], STRATEGIES[i % len(STRATEGIES)]
        position_id = PositionId(f"P-20231114-221320-001-{strategy_id.get_tag()}-{i + 1}")
        yield Trade(
            instrument,
            _life(2 * i, instrument.id, strategy_id, position_id, OrderSide.BUY),
            _life(2 * i + 1, instrument.id, strategy_id, position_id, OrderSide.SELL),
        )


def _life(
    number: int, instrument_id: InstrumentId, strategy_id: StrategyId, position_id: PositionId, side: Any
) -> Life:
    ts = _START_NS + number * 10 * _STEP_NS
    price = Price(1.10000 + number % 1000 / 100_000, 5)
    is_limit = number % 3 > 0
    order_type = OrderType.LIMIT if is_limit else OrderType.MARKET
    client_order_id = ClientOrderId(f"O-20231114-221320-001-{strategy_id.get_tag()}-{number + 1}")
    ids = {
        "trader_id": TRADER,
        "strategy_id": strategy_id,
        "instrument_id": instrument_id,
        "client_order_id": client_order_id,
    }
    init = OrderInitialized(
        **ids,
        order_side=side,
        order_type=order_type,
        quantity=_QUANTITY,
        time_in_force=TimeInForce.GTC,
        post_only=False,
        reduce_only=False,
        quote_quantity=False,
        options={"price": str(price), "display_qty": None, "expire_time_ns": 0} if is_limit else {},
        emulation_trigger=TriggerType.NO_TRIGGER,
        trigger_instrument_id=None,
        contingency_type=0,
        order_list_id=None,
        linked_order_ids=None,
        parent_order_id=None,
        exec_algorithm_id=None,
        exec_algorithm_params=None,
        exec_spawn_id=None,
        tags=["EMA", f"signal-{number}"] if number % 2 else None,
        event_id=UUID4(),
        ts_init=ts,
    )
    venue_order_id = VenueOrderId(f"SIM-1-{number + 1}")
    at = [{"event_id": UUID4(), "ts_event": ts + n * _STEP_NS, "ts_init": ts + n * _STEP_NS + 5_000} for n in (1, 2, 3)]
    fill = OrderFilled(
        **ids,
        venue_order_id=venue_order_id,
        account_id=ACCOUNT,
        trade_id=TradeId(f"SIM-1-{number + 1:06}"),
        position_id=position_id,
        order_side=side,
        order_type=order_type,
        last_qty=_QUANTITY,
        last_px=price,
        currency=USD,
        commission=Money(2.20, USD),
        liquidity_side=LiquiditySide.MAKER if is_limit else LiquiditySide.TAKER,
        **at[2],
    )
    submitted = OrderSubmitted(**ids, account_id=ACCOUNT, **at[0])
    accepted = OrderAccepted(**ids, venue_order_id=venue_order_id, account_id=ACCOUNT, **at[1])
    return Life(init, (submitted, accepted, fill))


def opened(trade: Trade) -> Position:
    """A new position that has its first fill."""
    return Position(trade.instrument, trade.entry.fill)


def account_states(count: int) -> Iterator[AccountState]:
    """So many states of one margin account, each other than the one before."""
    for i in range(count):
        ts = _START_NS + i * _STEP_NS
        margins = [MarginBalance(Money(500 + i % 7, USD), Money(400, USD), each.id) for each in INSTRUMENTS[:2]]
        locked = Money(900 + i % 13, USD)
        total = Money(1_000_000 + i, USD)
        yield AccountState(
            account_id=ACCOUNT,
            account_type=AccountType.MARGIN,
            base_currency=None,
            reported=True,
            balances=[
                AccountBalance(total, locked, Money(total.as_decimal() - locked.as_decimal(), USD)),
                AccountBalance(Money(50_000, EUR), Money(0, EUR), Money(50_000, EUR)),
            ],
            margins=margins,
            info={},
            event_id=UUID4(),
            ts_event=ts,
            ts_init=ts,
        )


def account(first: AccountState) -> Any:
    """A new account in its first state."""
    return AccountFactory.create(first)


def heartbeat_times(count: int) -> Iterator[pd.Timestamp]:
    """So many times, a second apart, as a node's clock gives them."""
    start = pd.Timestamp("2023-11-14T22:13:20", tz="UTC")
    return (start + pd.Timedelta(seconds=i) for i in range(count))
