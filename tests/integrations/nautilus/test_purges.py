"""What a cache forgets, and whether its database forgets it too."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import OmsType, OrderSide
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, PositionId
from nautilus_trader.model.orders import Order

from eventstore import commands as c
from tests.support.nautilus.backings import Backing, loaded
from tests.support.nautilus.contents import account_contents, assert_reloaded, cache_contents
from tests.support.nautilus.desk import Desk, balance, desk_on
from tests.support.nautilus.instruments import EURUSD

BUY, SELL = OrderSide.BUY, OrderSide.SELL
LATER_NS = 3_600_000_000_000


def limit(desk: Desk, **options: Any) -> Order:
    order = desk.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1))
    return desk.add(order, **options)


def canceled(desk: Desk) -> Order:
    order = limit(desk, client_id=ClientId("SIM"))
    desk.submit(order)
    desk.accept(order)
    desk.cancel(order)
    return order


def traded(desk: Desk) -> None:
    """Orders that are closed and one that is open; positions that are closed, opened again, and open."""
    for side in (BUY, SELL):
        desk.trade(EURUSD, side, 1_000, "1.1")
    for _ in range(3):
        canceled(desk)
    order = limit(desk)
    desk.submit(order)
    desk.accept(order)


@pytest.mark.parametrize("everywhere", [True, False], ids=["everywhere", "in memory"])
def test_an_order_that_is_purged(ours: Backing, everywhere: bool) -> None:
    desk, database = desk_on(ours)
    traded(desk)
    before = cache_contents(desk.cache)
    purged = canceled(desk)
    desk.cache.purge_order(purged.client_order_id, purge_from_database=everywhere)
    assert not desk.cache.order_exists(purged.client_order_id)
    again = ours.reload(database)
    assert again.order_exists(purged.client_order_id) is not everywhere
    if everywhere:
        assert_reloaded(again, desk.cache)
    else:
        assert cache_contents(again)["orders"].keys() == before["orders"].keys() | {str(purged.client_order_id)}
    assert again.check_integrity()


def test_an_open_order_is_not_purged(ours: Backing) -> None:
    desk, database = desk_on(ours)
    order = limit(desk)
    desk.submit(order)
    desk.accept(order)
    desk.cache.purge_order(order.client_order_id, purge_from_database=True)
    assert_reloaded(ours.reload(database), desk.cache)


@pytest.mark.parametrize("everywhere", [True, False], ids=["everywhere", "in memory"])
def test_all_that_is_closed_is_purged(ours: Backing, everywhere: bool) -> None:
    desk, database = desk_on(ours)
    traded(desk)
    before = cache_contents(desk.cache)
    later = desk.now() + LATER_NS
    desk.cache.purge_closed_orders(later, purge_from_database=everywhere)
    desk.cache.purge_closed_positions(later, purge_from_database=everywhere)
    assert len(desk.cache.orders()) == 1
    assert not desk.cache.positions()
    again = ours.reload(database)
    if everywhere:
        assert_reloaded(again, desk.cache)
    else:
        assert cache_contents(again) == before


def test_what_closed_a_moment_ago_is_kept_by_a_purge_with_a_buffer(ours: Backing) -> None:
    desk, database = desk_on(ours)
    traded(desk)
    held = cache_contents(desk.cache)
    desk.cache.purge_closed_orders(desk.now(), buffer_secs=60, purge_from_database=True)
    desk.cache.purge_closed_positions(desk.now(), buffer_secs=60, purge_from_database=True)
    assert cache_contents(desk.cache) == held
    assert_reloaded(ours.reload(database), desk.cache)


def test_a_position_whose_orders_are_purged(ours: Backing) -> None:
    desk, database = desk_on(ours)
    for _ in range(3):
        desk.trade(EURUSD, BUY, 1_000, "1.1")
    desk.cache.purge_closed_orders(desk.now() + LATER_NS, purge_from_database=True)
    assert not desk.cache.orders()
    assert len(desk.cache.positions_open()) == 1
    again = ours.reload(database)
    assert cache_contents(again) == cache_contents(desk.cache)


def test_a_purged_position_that_begins_again(ours: Backing) -> None:
    """Its id comes again, in netting: what comes then has nothing of what was purged."""
    desk, database = desk_on(ours)
    for side in (BUY, SELL, SELL, BUY):
        desk.trade(EURUSD, side, 1_000, "1.1")
    (position,) = desk.cache.positions_closed()
    desk.cache.purge_closed_orders(desk.now() + LATER_NS, purge_from_database=True)
    desk.cache.purge_position(position.id, purge_from_database=True)
    assert database.load_position(position.id) is None
    assert database.load_position_cycles(position.id) == []
    desk.trade(EURUSD, SELL, 7, "1.3")
    assert database.load_position_cycles(position.id) == []
    assert_reloaded(ours.reload(database), desk.cache)


def test_an_order_that_is_told_of_after_it_was_purged(ours: Backing) -> None:
    """The engine knows it no more, and says nothing of it to the cache; nor does it come back."""
    desk, database = desk_on(ours)
    order = desk.trade(EURUSD, BUY, 1_000, "1.1")
    desk.cache.purge_order(order.client_order_id, purge_from_database=True)
    desk.cancel(order)
    assert database.load_order(order.client_order_id) is None
    assert desk.cache.order(order.client_order_id) is None
    again = ours.reload(database)
    assert not again.order_exists(order.client_order_id)
    assert cache_contents(again) == cache_contents(desk.cache)


def test_a_fill_that_comes_late_for_a_position_that_was_purged(ours: Backing) -> None:
    desk, database = desk_on(ours, oms_type=OmsType.HEDGING)
    position_id = PositionId("VENUE-1")
    for side in (BUY, SELL):
        desk.trade(EURUSD, side, 1_000, "1.1", position_id=position_id)
    desk.cache.purge_position(position_id, purge_from_database=True)
    late = desk.add(desk.orders.market(EURUSD.id, SELL, EURUSD.make_qty(300)), position_id=position_id)
    desk.submit(late)
    desk.fill(late, EURUSD, "1.2", position_id=position_id)
    assert desk.only_position().event_count == 1
    assert_reloaded(ours.reload(database), desk.cache)


def test_what_is_deleted_twice_or_was_never_there(ours: Backing) -> None:
    desk, database = desk_on(ours)
    order = canceled(desk)
    for _ in range(2):
        database.delete_order(order.client_order_id)
        database.delete_order(ClientOrderId("O-NEVER"))
        database.delete_position(PositionId("P-NEVER"))
        database.delete_account_event(desk.account_id, str(desk.cache.account(desk.account_id).last_event.id))
    ours.close(database)
    assert ours.open().load_orders() == {}


@pytest.mark.parametrize("lookback_s", [0, 60])
def test_events_of_an_account_that_are_purged(ours: Backing, lookback_s: int) -> None:
    """What is left is as in memory, but for what the account began with: the event that said so is gone."""
    desk, database = desk_on(ours)
    for total in range(1, 6):
        desk.report_account(desk.account_state(balance(total, USD)))
    account = desk.cache.account(desk.account_id)
    desk.cache.purge_account_events(desk.now() + LATER_NS, lookback_s, purge_from_database=True)
    assert account.event_count == 1
    expected = account_contents(account)
    found = account_contents(ours.reload(database).account(desk.account_id))
    assert {**found, "starting": None} == {**expected, "starting": None}
    assert found["starting"] == {"USD": "5.00 USD"}


def test_an_account_goes_on_after_its_events_were_purged(ours: Backing) -> None:
    desk, database = desk_on(ours)
    for total in range(1, 4):
        desk.report_account(desk.account_state(balance(total, USD)))
    middle = desk.cache.account(desk.account_id).events[1:3]
    for event in middle:
        database.delete_account_event(desk.account_id, event.id.value)
    desk.report_account(desk.account_state(balance(99, USD)))
    kept = [event.id for event in desk.cache.account(desk.account_id).events if event not in middle]
    ours.close(database)
    database = ours.open()
    account = loaded(database).account(desk.account_id)
    assert [event.id for event in account.events] == kept
    assert account.balance_total(USD).as_double() == 99


def test_an_order_that_was_purged_in_memory_and_whose_id_comes_again(ours: Backing) -> None:
    """The database still has the first one; it gives way."""
    desk, database = desk_on(ours)
    order = limit(desk)
    desk.submit(order)
    desk.reject(order)
    desk.cache.purge_order(order.client_order_id)
    again = desk.orders.limit(
        EURUSD.id, SELL, EURUSD.make_qty(5), EURUSD.make_price(1.5), client_order_id=order.client_order_id
    )
    desk.add(again)
    desk.submit(again)
    assert_reloaded(ours.reload(database), desk.cache)


def test_what_goes_on_before_a_purge_has_its_turn_stays_known(ours: Backing) -> None:
    """It was closed when it was looked at. What comes behind goes on from what is written, and begins nothing anew."""
    desk, database = desk_on(ours)
    order = canceled(desk)
    store = database.store
    store.sync()
    (due,) = store._survey.orders(desk.now() + LATER_NS)
    with store._persister._writer.hold(10.0):
        desk.fill(order, EURUSD, "1.1", EURUSD.make_qty(400))
        assert store._purge(store._orders, *due)
    desk.fill(order, EURUSD, "1.1", EURUSD.make_qty(600))
    store.sync()
    entries = [entry.payload for entry in store._persister.reader.log()]
    written = [c.decode(payload) for payload in entries]
    assert [command.version for command in written if isinstance(command, c.AddOrder)] == [0]
    assert [command.version for command in written if isinstance(command, c.UpdateOrder)][-2:] == [4, 5]
    assert not any(isinstance(command, c.PurgeOrder) for command in written)
    assert_reloaded(ours.reload(database), desk.cache)
