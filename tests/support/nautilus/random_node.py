"""A node that does whatever a node does with its cache, one thing after another."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from nautilus_trader.cache.cache import Cache
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import (
    OmsType,
    OrderSide,
    OrderStatus,
    OrderType,
    TrailingOffsetType,
    TriggerType,
)
from nautilus_trader.model.identifiers import ClientId, PositionId
from nautilus_trader.model.orders import LimitOrder, MarketOrder, Order

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import assert_reloaded, position_contents
from tests.support.nautilus.desk import Desk, balance
from tests.support.nautilus.instruments import AUDUSD, EURUSD

PAIRS = (EURUSD, AUDUSD)
WORKING = (OrderStatus.ACCEPTED, OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)
TO_LIMIT = (OrderType.LIMIT_IF_TOUCHED, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP_LIMIT)


class Node:
    """A node that does one thing after another; each thing is a number of a choice, and what is chosen is legal."""

    def __init__(self, backing: Backing, oms_type: OmsType) -> None:
        self.backing = backing
        self.oms_type = oms_type
        self.database: Any = backing.open()
        self.database.flush()
        self.desk = self._desk()
        for pair in PAIRS:
            self.desk.cache.add_instrument(pair)
        self.desk.open_account()
        self.general: dict[str, bytes] = {}
        self.closed: dict[str, list[Any]] = {}
        """What the earlier cycles of each position were when they closed."""

    def _desk(self) -> Desk:
        return Desk(Cache(database=self.database), oms_type=self.oms_type)

    # -- what a node does ---------------------------------------------------------------------------------------------

    def order(self, a: int, b: int) -> None:
        desk, pair = self.desk, PAIRS[a % 2]
        side = OrderSide.BUY if b % 2 else OrderSide.SELL
        one: dict[str, Any] = {"instrument_id": pair.id, "order_side": side, "quantity": pair.make_qty(100 + b)}
        price, trigger = pair.make_price(1 + a / 1_000), pair.make_price(1 + b / 1_000)
        emulated = {"emulation_trigger": TriggerType.BID_ASK} if b % 3 == 0 else {}
        trailing = {"trailing_offset": Decimal("0.001"), "trailing_offset_type": TrailingOffsetType.PRICE}
        made: list[Callable[[], Order]] = [
            lambda: desk.orders.market(**one, quote_quantity=b % 5 == 0),
            lambda: desk.orders.limit(**one, price=price, **emulated),
            lambda: desk.orders.stop_market(**one, trigger_price=trigger, **emulated),
            lambda: desk.orders.stop_limit(**one, price=price, trigger_price=trigger, **emulated),
            lambda: desk.orders.market_if_touched(**one, trigger_price=trigger, **emulated),
            lambda: desk.orders.limit_if_touched(**one, price=price, trigger_price=trigger, **emulated),
            lambda: desk.orders.trailing_stop_market(**one, **trailing, trigger_price=trigger, **emulated),
            lambda: desk.orders.trailing_stop_limit(
                **one, **trailing, price=price, limit_offset=Decimal("0.001"), **emulated
            ),
        ]
        order = made[a % len(made)]()
        position_id = PositionId(f"NAMED-{b % 3}") if self.oms_type == OmsType.HEDGING and a % 4 == 0 else None
        desk.add(order, position_id=position_id, client_id=ClientId("SIM") if a % 3 else None)

    def bracket(self, a: int, b: int) -> None:
        desk, pair = self.desk, PAIRS[a % 2]
        made = desk.orders.bracket(
            instrument_id=pair.id,
            order_side=OrderSide.BUY if b % 2 else OrderSide.SELL,
            quantity=pair.make_qty(1_000 + a),
            sl_trigger_price=pair.make_price(0.9),
            tp_price=pair.make_price(1.5),
        )
        desk.cache.add_order_list(made)
        for order in made.orders:
            desk.add(order)

    def go_on(self, a: int, b: int) -> None:
        """Let the next thing happen to one of the orders that are not closed."""
        orders = sorted(
            (order for order in self.desk.cache.orders() if not order.is_closed), key=lambda one: one.client_order_id
        )
        if orders:
            order = orders[a % len(orders)]
            choices = self._choices(order, b)
            self._watching(order, choices[b % len(choices)])

    def _choices(self, order: Order, b: int) -> list[Callable[[], Any]]:
        desk, pair = self.desk, self._pair(order)
        if order.status == OrderStatus.INITIALIZED:
            if order.emulation_trigger != TriggerType.NO_TRIGGER:
                return [lambda: desk.emulate(order)]
            return [lambda: desk.submit(order), lambda: desk.submit(order), lambda: desk.deny(order)]
        if order.status == OrderStatus.EMULATED:
            return [lambda: self._release(order), lambda: desk.cancel(order)]
        if order.status == OrderStatus.RELEASED:
            return [lambda: desk.submit(order)]

        def fill() -> None:
            part = pair.make_qty(1 + b % max(1, int(order.leaves_qty)))
            desk.fill(order, pair, str(1 + b / 1_000), part)

        def change() -> None:
            price = pair.make_price(2 + b / 1_000) if order.has_price else None
            trigger = pair.make_price(2 + b / 1_000) if order.has_trigger_price else None
            desk.update(order, quantity=pair.make_qty(int(order.quantity) + b), price=price, trigger_price=trigger)

        choices: list[Callable[[], Any]] = [fill, lambda: desk.fill(order, pair, str(1 + b / 1_000))]
        if order.status == OrderStatus.SUBMITTED:
            return [*choices, lambda: desk.accept(order), lambda: desk.accept(order), lambda: desk.reject(order)]
        if order.status == OrderStatus.PENDING_UPDATE:
            return [*choices, change, lambda: desk.refuse_update(order)]
        if order.status == OrderStatus.PENDING_CANCEL:
            return [*choices, lambda: desk.cancel(order), lambda: desk.refuse_cancel(order)]
        assert order.status in WORKING, order.status
        choices += [
            change,
            lambda: desk.pend_update(order),
            lambda: desk.pend_cancel(order),
            lambda: desk.cancel(order),
            lambda: desk.expire(order),
        ]
        if order.status == OrderStatus.ACCEPTED and order.order_type in TO_LIMIT:
            choices.append(lambda: desk.trigger(order))
        return choices

    def _release(self, order: Order) -> None:
        desk, pair = self.desk, self._pair(order)
        if order.order_type == OrderType.LIMIT or order.order_type in TO_LIMIT:
            transformed: Order = LimitOrder.transform_py(order, desk.now(), order.price)
        else:
            transformed = MarketOrder.transform_py(order, desk.now())
        desk.add(transformed, overwrite=True)
        desk.release(transformed, pair.make_price(1.3))

    def trade(self, a: int, b: int) -> None:
        pair = PAIRS[a % 2]
        order = self.desk.orders.market(
            pair.id, OrderSide.BUY if b % 2 else OrderSide.SELL, pair.make_qty(1 + a % 7 * 100)
        )
        self.desk.add(order)
        self.desk.submit(order)
        self._watching(order, lambda: self.desk.fill(order, pair, str(1 + b / 1_000)))

    def report(self, a: int, b: int) -> None:
        self.desk.report_account(self.desk.account_state(balance(1_000 + a, USD, b)))

    def remember(self, a: int, b: int) -> None:
        self.general[f"k{a % 3}"] = b"%d" % b
        self.desk.cache.add(f"k{a % 3}", b"%d" % b)

    def snapshot(self, a: int, _b: int) -> None:
        for order in self.desk.cache.orders()[: a % 3]:
            self.desk.cache.snapshot_order_state(order)
        for position in self.desk.cache.positions():
            self.desk.cache.snapshot_position_state(position, self.desk.now())

    def purge(self, a: int, _b: int) -> None:
        """Orders first: 1.221 can not purge an order whose position it has purged."""
        cache, later = self.desk.cache, self.desk.now() + 1
        cache.purge_closed_orders(later, purge_from_database=True)
        if a % 2:
            for position in cache.positions():
                if position.is_closed:
                    self.closed.pop(position.id.value, None)
            cache.purge_closed_positions(later, purge_from_database=True)

    def restart(self, _a: int, _b: int) -> None:
        now, made = self.desk.clock.timestamp_ns(), self.desk.number()
        count = self.desk.orders.get_client_order_id_count(), self.desk.orders.get_order_list_id_count()
        self.backing.close(self.database)
        self.database = self.backing.open()
        self.desk = self._desk()
        self.desk.clock.set_time(now)
        self.desk.go_on_from(made)
        self.desk.engine.load_cache()
        self.desk.orders.set_client_order_id_count(count[0])
        self.desk.orders.set_order_list_id_count(count[1])

    # -- what is to be found ------------------------------------------------------------------------------------------

    def _pair(self, order: Order) -> Any:
        return next(pair for pair in PAIRS if pair.id == order.instrument_id)

    def _watching(self, order: Order, step: Callable[[], Any]) -> None:
        """Do it, and note what a position was that began again: in an object of its own or, in 1.221, in the same."""
        cache = self.desk.cache
        before = [(one, position_contents(one) if one.is_closed else None) for one in cache.positions()]
        step()
        for position, closed in before:
            now = cache.position(position.id)
            if now is not position or (closed is not None and now.is_open):
                assert closed is not None or position.is_closed, order
                self.closed.setdefault(position.id.value, []).append(closed or position_contents(position))

    def assert_loads(self) -> None:
        live = self.desk.cache
        for position_id, cycles in self.closed.items():
            found = self.database.load_position_cycles(PositionId(position_id))
            assert [position_contents(one) for one in found] == cycles
        again = self.backing.reload(self.database)
        assert_reloaded(again, live)
        for key, value in self.general.items():
            assert again.get(key) == value


DO: list[tuple[int, Callable[[Node, int, int], None]]] = [
    (4, Node.order),
    (1, Node.bracket),
    (12, Node.go_on),
    (5, Node.trade),
    (1, Node.report),
    (1, Node.remember),
    (1, Node.snapshot),
    (1, Node.purge),
    (1, Node.restart),
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([step for times, step in DO for _ in range(times)]),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    min_size=10,
    max_size=80,
)
