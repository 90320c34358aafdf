"""A trading desk: NautilusTrader's own execution engine over a cache, and a venue that says what a test wants."""

from __future__ import annotations

from typing import Any

from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType
from nautilus_trader.model.events import (
    AccountState,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderModifyRejected,
    OrderPendingCancel,
    OrderPendingUpdate,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
    OrderTriggered,
    OrderUpdated,
)
from nautilus_trader.model.identifiers import AccountId, StrategyId, TradeId, TraderId, VenueOrderId
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import AccountBalance, Currency, MarginBalance, Money
from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from tests.support.nautilus.backings import TRADER, Backing
from tests.support.nautilus.instruments import EURUSD

START_NS = 1_700_000_000_000_000_000
_STEP_NS = 1_000_001  # Every event has a time of its own, to the nanosecond.


class Desk:
    """One strategy's trading, over `cache`.

    Parameters
    ----------
    cache : Cache
        With or without a database behind it.
    oms_type : OmsType
        Whether fills of an instrument make one position or many.
    account_id : AccountId
        The account that the orders are of; added by `open_account`.

    """

    def __init__(
        self,
        cache: Cache,
        *,
        trader_id: TraderId = TRADER,
        strategy: str = "S",
        oms_type: OmsType = OmsType.NETTING,
        account_id: AccountId | None = None,
    ) -> None:
        self.cache = cache
        self.clock = TestClock()
        self.clock.set_time(START_NS)
        self.trader_id = trader_id
        self.oms_type = oms_type
        self.account_id = account_id or AccountId("SIM-001")
        self.msgbus = MessageBus(trader_id=trader_id, clock=self.clock)
        self.portfolio = Portfolio(msgbus=self.msgbus, cache=cache, clock=self.clock)
        self.engine = ExecutionEngine(msgbus=self.msgbus, cache=cache, clock=self.clock)
        self.strategy = Strategy(StrategyConfig(strategy_id=strategy, order_id_tag="001", oms_type=oms_type.name))
        self.strategy.register(
            trader_id=trader_id, portfolio=self.portfolio, msgbus=self.msgbus, cache=cache, clock=self.clock
        )
        self.engine.register_oms_type(self.strategy)
        self.orders = OrderFactory(trader_id=trader_id, strategy_id=self.strategy.id, clock=self.clock, cache=cache)
        self._numbers = 0

    @property
    def strategy_id(self) -> StrategyId:
        return self.strategy.id

    def now(self) -> int:
        """The next moment, UNIX nanoseconds."""
        self.clock.set_time(self.clock.timestamp_ns() + _STEP_NS)
        return int(self.clock.timestamp_ns())

    def number(self) -> int:
        """A number that was not there before."""
        self._numbers += 1
        return self._numbers

    def go_on_from(self, number: int) -> None:
        """Let the next number be the one behind `number`, as for a desk that was there before."""
        self._numbers = number

    # -- accounts ---------------------------------------------------------------------------------------------------

    def account_state(
        self,
        *balances: AccountBalance,
        account_type: AccountType = AccountType.MARGIN,
        base_currency: Currency | None = USD,
        margins: list[MarginBalance] | None = None,
        account_id: AccountId | None = None,
        info: dict[str, Any] | None = None,
    ) -> AccountState:
        moment = self.now()
        return AccountState(
            account_id=account_id or self.account_id,
            account_type=account_type,
            base_currency=base_currency,
            reported=True,
            balances=list(balances) or [balance(1_000_000, USD)],
            margins=margins or [],
            info=info or {},
            event_id=UUID4(),
            ts_event=moment,
            ts_init=moment,
        )

    def open_account(self, state: AccountState | None = None) -> None:
        """Add the account that `state` opens, or the desk's own."""
        self.cache.add_account(AccountFactory.create(state or self.account_state()))

    def report_account(self, state: AccountState) -> None:
        """Apply what the venue says of the account, as the portfolio does."""
        account = self.cache.account(state.account_id)
        account.apply(state)
        self.cache.update_account(account)

    # -- orders -----------------------------------------------------------------------------------------------------

    def add(self, order: Order, **options: Any) -> Order:
        self.cache.add_order(order, **options)
        return order

    def submit(self, order: Order) -> None:
        self._process(OrderSubmitted, order, account_id=self.account_id)

    def accept(self, order: Order, venue_order_id: VenueOrderId | None = None) -> None:
        venue_order_id = venue_order_id or VenueOrderId(f"V-{self.number()}")
        self._process(OrderAccepted, order, account_id=self.account_id, venue_order_id=venue_order_id)

    def deny(self, order: Order, reason: str = "TOO_BIG") -> None:
        self._process(OrderDenied, order, reason=reason)

    def reject(self, order: Order, reason: str = "INSUFFICIENT_MARGIN") -> None:
        self._process(OrderRejected, order, account_id=self.account_id, reason=reason)

    def emulate(self, order: Order) -> None:
        self._process(OrderEmulated, order)

    def release(self, order: Order, price: Any) -> None:
        self._process(OrderReleased, order, released_price=price)

    def trigger(self, order: Order) -> None:
        self._process(OrderTriggered, order, **self._venue_ids(order))

    def cancel(self, order: Order) -> None:
        self._process(OrderCanceled, order, **self._venue_ids(order))

    def expire(self, order: Order) -> None:
        self._process(OrderExpired, order, **self._venue_ids(order))

    def pend_update(self, order: Order) -> None:
        self._process(OrderPendingUpdate, order, **self._venue_ids(order))

    def pend_cancel(self, order: Order) -> None:
        self._process(OrderPendingCancel, order, **self._venue_ids(order))

    def refuse_update(self, order: Order, reason: str = "TOO_LATE") -> None:
        self._process(OrderModifyRejected, order, reason=reason, **self._venue_ids(order))

    def refuse_cancel(self, order: Order, reason: str = "TOO_LATE") -> None:
        self._process(OrderCancelRejected, order, reason=reason, **self._venue_ids(order))

    def update(
        self,
        order: Order,
        *,
        quantity: Any = None,
        price: Any = None,
        trigger_price: Any = None,
        venue_order_id: VenueOrderId | None = None,
        **more: Any,
    ) -> None:
        ids = self._venue_ids(order)
        if venue_order_id is not None:
            ids["venue_order_id"] = venue_order_id
        self._process(
            OrderUpdated,
            order,
            quantity=quantity or order.quantity,
            price=price,
            trigger_price=trigger_price,
            **ids,
            **more,
        )

    def fill(
        self,
        order: Order,
        instrument: Instrument,
        price: str,
        quantity: Any = None,
        *,
        commission: Money | None = None,
        trade_id: TradeId | None = None,
        **more: Any,
    ) -> None:
        """Fill an order, or so much of it. What becomes of positions, the engine decides."""
        if order.venue_order_id is None:
            self.accept(order)
        self._process(
            OrderFilled,
            order,
            **{"position_id": None, **more},
            **self._venue_ids(order),
            trade_id=trade_id or TradeId(f"T-{self.number()}"),
            order_side=order.side,
            order_type=order.order_type,
            last_qty=quantity or order.leaves_qty,
            last_px=instrument.make_price(float(price)),
            currency=instrument.quote_currency,
            commission=commission if commission is not None else Money(0.5, instrument.quote_currency),
            liquidity_side=LiquiditySide.TAKER,
        )

    def trade(self, instrument: Instrument, side: Any, quantity: Any, price: str, **more: Any) -> Order:
        """A market order, from its beginning to its last fill."""
        order = self.add(self.orders.market(instrument.id, side, instrument.make_qty(quantity)))
        self.submit(order)
        self.fill(order, instrument, price, **more)
        return order

    def only_position(self) -> Position:
        (position,) = self.cache.positions()
        return position

    def _venue_ids(self, order: Order) -> dict[str, Any]:
        return {"venue_order_id": order.venue_order_id, "account_id": order.account_id or self.account_id}

    def _process(self, kind: type, order: Order, **fields: Any) -> None:
        moment = self.now()
        if kind not in (OrderDenied, OrderEmulated, OrderReleased):
            fields["ts_event"] = moment
        self.engine.process(
            kind(
                trader_id=order.trader_id,
                strategy_id=order.strategy_id,
                instrument_id=order.instrument_id,
                client_order_id=order.client_order_id,
                event_id=UUID4(),
                ts_init=moment,
                **fields,
            )
        )


def desk_on(backing: Backing, **options: Any) -> tuple[Desk, Any]:
    """A desk whose account is open and whose instrument, EUR/USD, is known, and the database behind its cache."""
    database = backing.open()
    desk = Desk(Cache(database=database), **options)
    desk.cache.add_instrument(EURUSD)
    desk.open_account()
    return desk, database


def balance(total: Any, currency: Currency, locked: Any = 0) -> AccountBalance:
    """A balance of so much, and so much of it locked."""
    return AccountBalance(Money(total, currency), Money(locked, currency), Money(total - locked, currency))
