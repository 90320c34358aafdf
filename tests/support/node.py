"""What a trading node does to its objects, drawn at random and always legal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from eventstore.model.accounts import Account
from eventstore.model.currencies import BTC, EUR, USD, USDT
from eventstore.model.currency import Currency
from eventstore.model.enums import (
    AccountType,
    ContingencyType,
    LiquiditySide,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
    TrailingOffsetType,
    TriggerType,
)
from eventstore.model.errors import ModelError
from eventstore.model.events import (
    ORDER_EVENTS,
    ORDER_OPTIONS,
    AccountBalance,
    AccountState,
    MarginBalance,
    OrderEvent,
    OrderFilled,
    OrderInitialized,
)
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientOrderId,
    ComponentId,
    ExecAlgorithmId,
    InstrumentId,
    OrderListId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import instrument_from_dict
from eventstore.model.order_status import LOCAL, legal_events
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money, Price, Quantity
from tests.support import strategies as some

DATA = Path(__file__).parents[1] / "data"
INSTRUMENTS: dict[InstrumentId, Instrument] = {
    instrument.id: instrument
    for instrument in (
        instrument_from_dict(values)
        for values in json.loads((DATA / "instruments.json").read_text("utf-8"))
        if values["type"] != "SyntheticInstrument"
    )
}
TRADED = [instrument for instrument in INSTRUMENTS.values() if instrument.id.venue != "BETFAIR"]

ACCOUNT_TYPES = {
    AccountId("SIM-001"): (AccountType.MARGIN, None),
    AccountId("CASH-1"): (AccountType.CASH, USD),
    AccountId("BET-9"): (AccountType.BETTING, EUR),
}
STRATEGIES = (StrategyId("EMACross-001"), StrategyId("S-Ümlaut 2"))
POSITIONS = (PositionId("P-1"), PositionId("P:2"), PositionId("EUR/USD.SIM-EMACross-001"))
ORDERS = (*(ClientOrderId(f"O-{n}") for n in range(5)), ClientOrderId("O 日本:*?["))

_START_NS = 1_700_000_000_123_456_789


class State:
    """An actor or strategy with a state to save."""

    def __init__(self, component_id: ComponentId, state: dict[str, bytes]) -> None:
        self.id = component_id
        self.state = state

    def save(self) -> dict[str, bytes]:
        return self.state


class Node:
    """A node's clock and ids, so that a run that fails can be repeated to the byte; and what it does to its objects."""

    def __init__(self, trader_id: TraderId) -> None:
        self.trader_id = trader_id
        self._numbers: Iterator[int] = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    def header(self) -> dict[str, Any]:
        """The fields that every event begins with."""
        n = self.number()
        text = f"{n:032x}"
        event_id = UUID4("-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))
        return {"event_id": event_id, "ts_event": _START_NS + n * 1_000, "ts_init": _START_NS + n * 1_000 + 1}

    # -- Orders ------------------------------------------------------------------------------------------------

    def new_order(self, data: st.DataObject, order_id: ClientOrderId) -> Order:
        """An order of any type, emulated or not, with or without relations."""
        instrument = data.draw(st.sampled_from(TRADED), label="instrument")
        return Order.create(self._initialized(data, order_id, instrument.id, data.draw(st.sampled_from(STRATEGIES))))

    def transformed(self, data: st.DataObject, order: Order) -> Order | None:
        """What an order that was not sent yet becomes; None where that is not possible."""
        if order.status not in LOCAL:
            return None
        init = self._initialized(data, order.client_order_id, order.instrument_id, order.strategy_id, order.side)
        return order.transform(init)

    def _initialized(
        self,
        data: st.DataObject,
        order_id: ClientOrderId,
        instrument_id: InstrumentId,
        strategy_id: StrategyId,
        side: OrderSide | None = None,
    ) -> OrderInitialized:
        order_type = data.draw(st.sampled_from(OrderType), label="type")
        price = st.integers(1, 10**6).map(lambda n: Price(Decimal(n).scaleb(-4)))
        timed = "expire_time_ns" in ORDER_OPTIONS[order_type] and data.draw(st.booleans())
        related = data.draw(st.booleans())
        options: dict[str, Any] = {
            "price": price,
            "trigger_price": price,
            "trigger_type": st.sampled_from(list(TriggerType)[1:]),
            "activation_price": st.none() | price,
            "limit_offset": st.just(Decimal("0.00050")),
            "trailing_offset": st.just(Decimal("12.5")),
            "trailing_offset_type": st.sampled_from(list(TrailingOffsetType)[1:]),
            "expire_time_ns": st.just(2**64 - 1 if timed else 0),
            "display_qty": st.none() | st.just(Quantity("1")),
        }
        return OrderInitialized(
            **self.header(),
            trader_id=self.trader_id,
            strategy_id=strategy_id,
            instrument_id=instrument_id,
            client_order_id=order_id,
            order_side=side or data.draw(st.sampled_from((OrderSide.BUY, OrderSide.SELL))),
            order_type=order_type,
            quantity=data.draw(st.sampled_from((Quantity("1"), Quantity("100.00"), Quantity("7.5")))),
            time_in_force=TimeInForce.GTD if timed else TimeInForce.GTC,
            emulation_trigger=data.draw(st.sampled_from((TriggerType.NO_TRIGGER, TriggerType.BID_ASK))),
            contingency_type=ContingencyType.OUO if related else ContingencyType.NO_CONTINGENCY,
            order_list_id=OrderListId("OL-1") if related else None,
            linked_order_ids=(ClientOrderId("O-0"), ClientOrderId("O-1")) if related else None,
            parent_order_id=ClientOrderId("O-0") if related else None,
            exec_algorithm_id=ExecAlgorithmId("TWAP") if related else None,
            exec_algorithm_params={"horizon": 20, "more": [b"\x00", None, 1.5]} if related else None,
            exec_spawn_id=order_id if related else None,
            tags=data.draw(st.none() | st.lists(some.texts(8), min_size=1, max_size=2).map(tuple)),
            **{name: data.draw(options[name], label=name) for name in ORDER_OPTIONS[order_type]},
        )

    def happen(self, data: st.DataObject, order: Order) -> bool:
        """Let one event happen to `order` that is possible now; whether it did."""
        names = legal_events(order.status)
        kind = ORDER_EVENTS[data.draw(st.sampled_from(names), label="event")]
        event = self._event(data, order, kind)
        try:
            order.apply(event)
        except ModelError:
            return False  # possible in this status, but not for this type of order
        return True

    def _event(self, data: st.DataObject, order: Order, kind: type[OrderEvent]) -> OrderEvent:
        names = set(kind._fields)
        venue_order_id = order.venue_order_id or VenueOrderId(f"V-{self.number()}")
        part = Decimal(data.draw(st.sampled_from(("1", "0.5", "0.1"))))
        given: dict[str, Any] = {
            "account_id": AccountId("SIM-001"),
            "venue_order_id": venue_order_id,
            "reason": data.draw(some.texts(20)) if "reason" in names else "",
            "released_price": Price("1.0001"),
            "quantity": Quantity(order.quantity + data.draw(st.integers(0, 2))),
            "price": data.draw(st.sampled_from((None, Price("1.5")))),
            "trigger_price": data.draw(st.sampled_from((None, Price("1.25")))),
            "reconciliation": data.draw(st.booleans()),
            "trade_id": TradeId(f"T-{self.number()}"),
            "order_side": order.side,
            "order_type": order.order_type,
            "last_qty": Quantity(order.leaves_qty * part),
            "last_px": Price("0.66001"),
            "currency": USD,
            "commission": Money("-0.25", USD),
            "liquidity_side": data.draw(st.sampled_from(list(LiquiditySide)[1:])),
            "position_id": data.draw(st.none() | st.sampled_from(POSITIONS)),
            "info": data.draw(some.infos(3)) if "info" in names else {},
        }
        fields = {name: value for name, value in given.items() if name in names}
        ids = {name: getattr(order, name) for name in OrderEvent._fields[-4:]}
        return kind(**self.header(), **ids, **fields)

    def amend(self, data: st.DataObject, order: Order) -> None:
        """Change something on `order` without an event, as a node does."""
        values = {
            "emulation_trigger": st.sampled_from(TriggerType),
            "liquidity_side": st.sampled_from(LiquiditySide),
            "position_id": st.none() | st.sampled_from(POSITIONS),
            "activation_price": st.sampled_from((Price("1.1"), Price("1.10"))),
            "quantity": st.just(Quantity(order.quantity + 1)),
            "is_quote_quantity": st.booleans(),
        }
        name = data.draw(st.sampled_from(sorted(order.AMENDABLE)), label="amended")
        order.amend({name: data.draw(values[name], label=name)})

    # -- Positions ---------------------------------------------------------------------------------------------

    def open_position(self, data: st.DataObject, position_id: PositionId) -> Position:
        instrument = data.draw(st.sampled_from(TRADED), label="instrument")
        fill = self._fill(data, position_id, instrument.id, data.draw(st.sampled_from(STRATEGIES)))
        return Position(instrument, fill)

    def fill_position(self, data: st.DataObject, position: Position) -> None:
        """A fill of either side: it adds, reduces, closes, turns over, or opens a flat position again."""
        fill = self._fill(data, position.id, position.instrument_id, position.strategy_id)
        if position.is_open and data.draw(st.booleans(), label="close"):
            side = OrderSide.SELL if position.is_long else OrderSide.BUY
            fill = fill.replace(order_side=side, last_qty=position.quantity)
        position.apply(fill)

    def _fill(
        self, data: st.DataObject, position_id: PositionId, instrument_id: InstrumentId, strategy_id: StrategyId
    ) -> OrderFilled:
        order_id = data.draw(st.sampled_from(ORDERS))
        return OrderFilled(
            **self.header(),
            trader_id=self.trader_id,
            strategy_id=strategy_id,
            instrument_id=instrument_id,
            client_order_id=order_id,
            venue_order_id=VenueOrderId(f"V-{order_id}"),
            account_id=AccountId("SIM-001"),
            trade_id=TradeId(f"T-{self.number()}"),
            order_side=data.draw(st.sampled_from((OrderSide.BUY, OrderSide.SELL))),
            order_type=OrderType.MARKET,
            last_qty=Quantity(data.draw(st.integers(1, 3))),
            last_px=Price(Decimal(data.draw(st.integers(1, 10**4))).scaleb(-2)),
            currency=USD,
            commission=Money("0.30", USD),
            liquidity_side=LiquiditySide.TAKER,
            position_id=position_id,
        )

    # -- Accounts ----------------------------------------------------------------------------------------------

    def account_state(self, data: st.DataObject, account_id: AccountId) -> AccountState:
        kind, base = ACCOUNT_TYPES[account_id]
        units: list[Currency] = [base] if base else [BTC, USDT][: data.draw(st.integers(1, 2))]
        balances = tuple(self._balance(data, unit) for unit in units)
        margins: tuple[MarginBalance, ...] = ()
        if kind is AccountType.MARGIN:
            amount = data.draw(some.money(units[0], signed=False, digits=20))
            margins = (MarginBalance(amount, amount, data.draw(st.none() | st.just(TRADED[0].id))),)
        return AccountState(
            **self.header(),
            account_id=account_id,
            account_type=kind,
            base_currency=base,
            balances=balances,
            margins=margins,
            reported=data.draw(st.booleans()),
            info=data.draw(some.infos(3)),
        )

    @staticmethod
    def _balance(data: st.DataObject, unit: Currency) -> AccountBalance:
        locked, free = (data.draw(some.money(unit, signed=False, digits=20)) for _ in range(2))
        return AccountBalance(locked + free, locked, free)

    def new_account(self, data: st.DataObject, account_id: AccountId) -> Account:
        return Account.create(self.account_state(data, account_id))


def written_states(order: Order) -> dict[str, bool]:
    """The sets that an order is in, as the order itself says."""
    return {
        "all": True,
        "open": order.is_open,
        "closed": order.is_closed,
        "inflight": order.is_inflight,
        "emulated": order.status is OrderStatus.EMULATED,
    }
