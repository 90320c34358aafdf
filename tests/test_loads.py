"""Loads: which orders are open, what is built together, and what a load leaves to the collector."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.loader import FROZEN_MAX, SEARCHED, collector_paused
from eventstore.model.enums import OrderSide, OrderType, TriggerType
from eventstore.model.events import (
    OrderAccepted,
    OrderCanceled,
    OrderDenied,
    OrderEmulated,
    OrderFilled,
    OrderReleased,
    OrderSubmitted,
)
from eventstore.model.identifiers import UUID4, ClientOrderId, PositionId, TradeId
from eventstore.model.orders import Order
from eventstore.model.position_basis import PositionBasis
from eventstore.model.positions import Position
from eventstore.model.values import Quantity
from tests.support.databases import TRADER, open_database
from tests.support.orders import everything, happened, initialized
from tests.support.redis_server import RedisServer
from tests.support.specimens import record

KEYS = Keys(TRADER)
LIVES: dict[str, tuple[type, ...]] = {
    "initialized": (),
    "denied": (OrderDenied,),
    "emulated": (OrderEmulated,),
    "released": (OrderEmulated, OrderReleased),
    "submitted": (OrderSubmitted,),
    "accepted": (OrderSubmitted, OrderAccepted),
    "canceled": (OrderSubmitted, OrderAccepted, OrderCanceled),
    "part": (OrderSubmitted, OrderAccepted, OrderFilled),
}
CLOSED = {"denied", "canceled"}


def order_of(name: str, kinds: tuple[type, ...], **changes: Any) -> Order:
    order_id = ClientOrderId(name)
    order = Order.create(initialized(client_order_id=order_id, **changes))
    for kind in kinds:
        order.apply(happened(kind, client_order_id=order_id, event_id=UUID4()))
    return order


@pytest.mark.parametrize("left_out", [set(), {"initialized", "released"}, set(LIVES) - CLOSED], ids=len)
def test_open_orders_are_those_that_are_not_closed(redis_url: str, left_out: set[str]) -> None:
    """Whether or not an index has each of them: an order that was only made, or is about to be sent, is in none."""
    names = [name for name in LIVES if name not in left_out]
    with open_database(redis_url) as database:
        for name in names:
            trigger = TriggerType.BID_ASK if name in ("emulated", "released") else TriggerType.NO_TRIGGER
            database.add_order(order_of(name, LIVES[name], emulation_trigger=trigger))
        assert database.load_orders(open_only=True).keys() == set(names) - CLOSED
        assert database.load_orders().keys() == set(names)


def test_an_index_that_somebody_else_wrote_to_hides_no_open_order(redis_url: str, redis_server: RedisServer) -> None:
    with open_database(redis_url) as database:
        for name in ("accepted", "canceled"):
            database.add_order(order_of(name, LIVES[name]))
        database.sync()
        with redis_server.client() as client:
            client.sadd(KEYS.orders_open, "canceled")
            assert database.load_orders(open_only=True).keys() == {"accepted"}
            client.srem(KEYS.orders_open, "canceled", "accepted")
            assert database.load_orders(open_only=True).keys() == {"accepted"}


def test_orders_that_are_loaded_together_are_those_that_are_loaded_one_by_one(redis_url: str) -> None:
    """Those too that take a second look: amended, indexed with a position, released as another type."""
    with open_database(redis_url) as database:
        for name, kinds in LIVES.items():
            trigger = TriggerType.BID_ASK if OrderEmulated in kinds else TriggerType.NO_TRIGGER
            database.add_order(order_of(name, kinds, emulation_trigger=trigger))
        amended = order_of("amended", (OrderSubmitted,))
        amended.quantity = Quantity("77")
        database.add_order(amended)
        indexed = order_of("indexed", (OrderSubmitted,))
        database.add_order(indexed, position_id=PositionId("P-9"))
        emulated = order_of("transformed", (OrderEmulated,), emulation_trigger=TriggerType.BID_ASK)
        database.add_order(emulated)
        init = initialized(OrderType.MARKET, client_order_id=ClientOrderId("transformed"), event_id=UUID4())
        database.add_order(emulated.transform(init))
        together = database.load_orders()
        assert len(together) == len(LIVES) + 3
        for order_id, order in together.items():
            alone = database.load_order(order_id)
            assert alone is not None
            assert type(alone) is type(order)
            assert everything(alone) == everything(order)


@pytest.mark.parametrize("field", ["0", "2"])
def test_one_damaged_order_is_named_and_no_other_is_lost(redis_url: str, redis_server: RedisServer, field: str) -> None:
    with open_database(redis_url) as database, redis_server.client() as client:
        for number in range(40):
            database.add_order(order_of(f"O-{number:02}", LIVES["part"]))
        database.sync()
        client.hset(KEYS.order("O-17"), field, b"\x93\x01\x02")
        with pytest.raises(DamagedRecord) as raised:
            database.load_orders()
        assert (raised.value.key, raised.value.field) == (KEYS.order("O-17"), field)
    with open_database(redis_url, strict_loads=False) as database:
        assert database.load_orders().keys() == {f"O-{number:02}" for number in range(40)} - {"O-17"}
        assert [(damage.key, damage.field) for damage in database.damaged] == [(KEYS.order("O-17"), field)]


def test_a_long_position_is_loaded_as_it_was(redis_url: str) -> None:
    """With prices and quantities in common and apart, over cycles that closed and began again, to the last digit."""

    def fill(number: int) -> OrderFilled:
        return happened(  # type: ignore[no-any-return]
            OrderFilled,
            event_id=UUID4(),
            trade_id=TradeId(f"T-{number}"),
            order_side=OrderSide.BUY if number % 3 else OrderSide.SELL,
            last_qty=Quantity(("5", "7", "13.5")[number % 3]),
            position_id=PositionId("P-1"),
            ts_event=number + 1,
        )

    basis = record(PositionBasis).replace(instrument_id=fill(0).instrument_id, quantity_net_of_commission=False)
    position = Position(basis, fill(0))
    with open_database(redis_url) as database:
        database.add_position(position)
        for number in range(1, 700):
            position.apply(fill(number))
            database.update_position(position)
        (loaded,) = database.load_positions().values()
        assert loaded.to_dict() == position.to_dict()
        assert loaded.events == position.events
        assert loaded.commissions() == position.commissions()


def test_a_load_leaves_nothing_young_to_the_collector() -> None:
    with collector_paused():
        built: list[list[Any]] = [[] for _ in range(5000)]
    assert gc.isenabled()
    young = {id(item) for generation in (0, 1) for item in gc.get_objects(generation)}
    assert young.isdisjoint(map(id, built))


def test_what_is_built_is_old_too_where_the_host_froze_what_it_had() -> None:
    kept: list[list[Any]] = [[] for _ in range(FROZEN_MAX + 1)]
    thresholds = gc.get_threshold()
    gc.freeze()
    try:
        with collector_paused():
            built: list[list[Any]] = [[] for _ in range(3 * SEARCHED)]
            assert gc.get_count()[0] <= SEARCHED
        young = {id(item) for generation in (0, 1) for item in gc.get_objects(generation)}
        assert sum(id(item) in young for item in built) <= thresholds[0]
        assert gc.get_threshold() == thresholds
    finally:
        gc.unfreeze()
    assert len(kept) > FROZEN_MAX


def test_what_the_host_froze_stays_frozen() -> None:
    kept: list[list[Any]] = [[] for _ in range(FROZEN_MAX + 1)]
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        assert frozen > len(kept)
        with collector_paused():
            pass
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


def test_a_collector_that_the_host_turned_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
