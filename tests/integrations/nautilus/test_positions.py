"""Positions that flip, close, and begin again under the same id."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.facade import CacheDatabaseFacade
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.enums import OmsType, OrderSide, PositionSide
from nautilus_trader.model.identifiers import AccountId, PositionId
from nautilus_trader.model.objects import Money

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import assert_reloaded, position_contents, without_id
from tests.support.nautilus.desk import Desk, balance, desk_on
from tests.support.nautilus.instruments import AUDUSD, EURUSD, XBTUSD

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def assert_earlier_cycles(count: int, cache: Cache, database: Any, position_id: PositionId) -> None:
    """Assert that the database has so many, and all that NautilusTrader keeps in memory of them.

    1.221 keeps none of those that were turned over by one fill.
    """
    found = [without_id(position) for position in database.load_position_cycles(position_id)]
    kept = [without_id(position) for position in cache.position_snapshots(position_id)]
    assert len(found) == count
    assert [one for one in found if one in kept] == kept


@pytest.mark.parametrize("oms_type", [OmsType.NETTING, OmsType.HEDGING], ids=lambda one: one.name)
def test_a_position_that_is_turned_over_by_one_fill(ours: Backing, oms_type: OmsType) -> None:
    desk, database = desk_on(ours, oms_type=oms_type)
    first = desk.trade(EURUSD, BUY, 1_000, "1.10000")
    position = desk.only_position()
    turning = desk.add(desk.orders.market(EURUSD.id, SELL, EURUSD.make_qty(2_500)), position_id=position.id)
    desk.submit(turning)
    desk.fill(turning, EURUSD, "1.20000", commission=Money(1.01, USD))
    if oms_type == OmsType.NETTING:
        assert desk.only_position().side == PositionSide.SHORT
        assert_earlier_cycles(1, desk.cache, database, position.id)
    else:
        assert {one.side for one in desk.cache.positions()} == {PositionSide.FLAT, PositionSide.SHORT}
    assert first.is_closed
    assert_reloaded(ours.reload(database), desk.cache)


def test_a_position_that_is_closed_and_opened_again_and_again(ours: Backing) -> None:
    desk, database = desk_on(ours)
    for side, quantity, price in (
        (BUY, 1_000, "1.1"),
        (SELL, 1_000, "1.2"),  # closed
        (SELL, 500, "1.3"),  # again, the other way
        (BUY, 200, "1.25"),
        (BUY, 900, "1.15"),  # turned over
        (SELL, 600, "1.05"),  # closed
        (BUY, 1, "1.2"),  # again
    ):
        desk.trade(EURUSD, side, quantity, price)
    desk.cache.add_instrument(AUDUSD)
    desk.trade(AUDUSD, SELL, 10, "0.7")
    position_id = desk.cache.positions(instrument_id=EURUSD.id)[0].id
    assert_earlier_cycles(3, desk.cache, database, position_id)
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    (reopened,) = again.positions(instrument_id=EURUSD.id)
    assert reopened.event_count == 1


def test_a_position_that_began_again_goes_on_after_a_restart(ours: Backing) -> None:
    desk, database = desk_on(ours)
    for side in (BUY, SELL, BUY):
        desk.trade(EURUSD, side, 1_000, "1.1")
    position_id = desk.only_position().id
    ours.close(database)

    database = ours.open()
    second = Desk(Cache(database=database))
    second.clock.set_time(desk.clock.timestamp_ns())
    second.orders.set_client_order_id_count(100)
    second.engine.load_cache()
    second.trade(EURUSD, SELL, 1_000, "1.2", trade_id=None, info=None)
    second.trade(EURUSD, SELL, 300, "1.3")
    assert second.only_position().side == PositionSide.SHORT
    assert len(database.load_position_cycles(position_id)) == 2
    assert_reloaded(ours.reload(database), second.cache)


def test_a_hedging_position_whose_id_comes_again(ours: Backing) -> None:
    """The venue names the positions, and names a new one as it named an old one."""
    desk, database = desk_on(ours, oms_type=OmsType.HEDGING)
    position_id = PositionId("VENUE-7")
    for side, quantity in ((BUY, 1_000), (SELL, 1_000), (SELL, 250), (BUY, 250), (BUY, 5)):
        desk.trade(EURUSD, side, quantity, "1.1", position_id=position_id)
    desk.trade(EURUSD, SELL, 77, "1.2", position_id=PositionId("VENUE-8"))
    assert len(desk.cache.positions()) == 2
    assert [one.event_count for one in database.load_position_cycles(position_id)] == [2, 2]
    assert_reloaded(ours.reload(database), desk.cache)


def test_hedging_positions_side_by_side(ours: Backing) -> None:
    desk, database = desk_on(ours, oms_type=OmsType.HEDGING)
    for number in range(10):
        desk.trade(EURUSD, BUY if number % 2 else SELL, 1_000 + number, f"1.{number}")
    for position in desk.cache.positions()[:4]:
        closing = desk.orders.market(EURUSD.id, position.closing_order_side(), position.quantity)
        desk.add(closing, position_id=position.id)
        desk.submit(closing)
        desk.fill(closing, EURUSD, "1.23")
    assert len(desk.cache.positions_closed()) == 4
    assert len(desk.cache.positions_open()) == 6
    assert_reloaded(ours.reload(database), desk.cache)


def test_an_inverse_position_with_commissions_in_several_currencies(ours: Backing) -> None:
    database = ours.open()
    desk = Desk(Cache(database=database), account_id=AccountId(f"{XBTUSD.id.venue}-001"))
    desk.cache.add_instrument(XBTUSD)
    desk.open_account(desk.account_state(balance(10, BTC), balance(100, USD), base_currency=None))
    desk.trade(XBTUSD, BUY, 100_000, "10000.5", commission=Money("0.0075", BTC))
    desk.trade(XBTUSD, SELL, 40_000, "11000.0", commission=Money("-0.0025", BTC))
    desk.trade(XBTUSD, SELL, 1, "11000.0", commission=Money(3, USD))
    assert len(desk.only_position().commissions()) == 2
    assert_reloaded(ours.reload(database), desk.cache)


@pytest.mark.parametrize("again", [False, True], ids=["closed", "opened again"])
def test_fills_between_two_calls(ours: Backing, again: bool) -> None:
    """A database that is told of several fills at once has each of them."""
    desk, database = desk_on(ours)
    desk.trade(EURUSD, BUY, 1_000, "1.1")
    position = desk.only_position()
    quiet = Desk(Cache(), account_id=desk.account_id)
    quiet.cache.add_instrument(EURUSD)
    quiet.open_account()
    fills = []
    for number, quantity in enumerate((400, 600)):
        order = quiet.trade(EURUSD, SELL, quantity, f"1.2{number}")
        fills.append(order.last_event)
    for fill in fills:
        fill.position_id  # noqa: B018  # Netting: the same id as the desk's.
        position.apply(fill)
    database.update_position(position)
    if again:
        desk.trade(EURUSD, BUY, 3, "1.3")
    expected = position_contents(desk.only_position())
    ours.close(database)
    reopened: CacheDatabaseFacade = ours.open()
    assert position_contents(reopened.load_position(position.id)) == expected
