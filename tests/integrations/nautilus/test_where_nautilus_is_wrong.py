"""Where NautilusTrader's own database loses or confuses something: each test says what, and that ours does not.

They run over ours alone. What is said of NautilusTrader's own was seen in 1.221 and in 1.231.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import TraderId, VenueOrderId
from nautilus_trader.model.objects import Money

from tests.support.nautilus.backings import Backing, nautilus_backing
from tests.support.nautilus.contents import assert_reloaded, cache_contents, position_contents
from tests.support.nautilus.desk import balance, desk_on
from tests.support.nautilus.instruments import EURUSD, all_instruments, synthetic

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def test_a_load_sees_what_was_written_before_it(ours: Backing) -> None:
    """Its own writes are on their way for a while: a load right behind one may miss it."""
    desk, database = desk_on(ours)
    for number in range(200):
        database.add("number", b"%d" % number)
        assert database.load() == {"number": b"%d" % number}
    order = desk.trade(EURUSD, BUY, 1_000, "1.1")
    assert database.load_order(order.client_order_id).event_count == order.event_count


def test_the_index_of_venue_order_ids_has_them(ours: Backing) -> None:
    """Its own writes the client order ids without the venue's, and reads it never."""
    desk, database = desk_on(ours)
    order = desk.add(desk.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1), EURUSD.make_price(1.1)))
    desk.submit(order)
    desk.accept(order, VenueOrderId("V-77"))
    assert database.load_index_venue_order_id() == {order.client_order_id: VenueOrderId("V-77")}
    assert ours.reload(database).client_order_id(VenueOrderId("V-77")) == order.client_order_id


def test_an_event_of_an_account_can_be_deleted(ours: Backing) -> None:
    """Its own does nothing."""
    desk, database = desk_on(ours)
    desk.report_account(desk.account_state(balance(5, USD)))
    first, second = desk.cache.account(desk.account_id).events
    database.delete_account_event(desk.account_id, first.id.value)
    assert [event.id for event in database.load_account(desk.account_id).events] == [second.id]


def test_a_position_that_is_opened_again_keeps_its_history(ours: Backing) -> None:
    """Its own deletes the earlier cycle in 1.231, and in 1.221 loads both as one position."""
    desk, database = desk_on(ours)
    desk.trade(EURUSD, BUY, 1_000, "1.1")
    desk.trade(EURUSD, SELL, 1_000, "1.2")
    closed = position_contents(desk.only_position())
    desk.trade(EURUSD, SELL, 400, "1.3")
    position_id = desk.only_position().id
    assert position_contents(database.load_position(position_id)) == position_contents(desk.only_position())
    assert [position_contents(one) for one in database.load_position_cycles(position_id)] == [closed]


def test_snapshots_can_be_loaded(ours: Backing) -> None:
    """Its own only writes them."""
    desk, database = desk_on(ours)
    order = desk.trade(EURUSD, BUY, 1_000, "1.1")
    position = desk.only_position()
    desk.cache.snapshot_order_state(order)
    desk.cache.snapshot_position_state(position, 77, Money(12.5, USD))
    found = database.load_order_snapshot(order.client_order_id)
    assert {key: found[key] for key in ("client_order_id", "status", "quantity", "filled_qty")} == {
        "client_order_id": str(order.client_order_id),
        "status": "FILLED",
        "quantity": "1000",
        "filled_qty": "1000",
    }
    found = database.load_position_snapshot(position.id)
    assert found["ts_snapshot"] == 77
    assert found["unrealized_pnl"] == "12.50 USD"
    assert found["side"] == "LONG"


def test_the_last_heartbeat_can_be_loaded(ours: Backing) -> None:
    """Its own only writes it."""
    database = ours.open()
    database.heartbeat(pd.Timestamp("2026-01-02T03:04:05.000006Z"))
    assert database.load_heartbeat() == datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_the_indexes_of_positions_hold_ids(ours: Backing) -> None:
    """Its own puts whole events into the sets of open and closed positions in 1.221."""
    desk, database = desk_on(ours)
    for side in (BUY, BUY, SELL):
        desk.trade(EURUSD, side, 1_000, "1.1")
    position_id = desk.only_position().id.value
    with ours.server.client() as client:
        prefix = "{trader-TESTER-001}:"
        assert database.load() == {}
        assert client.smembers(f"{prefix}positions_open") == {position_id.encode()}
        assert client.smembers(f"{prefix}positions_closed") == set()


def test_a_flush_leaves_what_belongs_to_others(ours: Backing) -> None:
    """Its own wipes the server."""
    theirs = nautilus_backing(ours.server)
    foreign = theirs.open(TraderId("FOREIGN-001"))
    foreign.add("theirs", b"kept")
    theirs.settle(foreign.load)
    theirs.close(foreign)
    one, other = ours.open(), ours.open(TraderId("TESTER-002"))
    one.add("mine", b"gone")
    other.add("other's", b"kept")
    assert other.load()
    with ours.server.client() as client:
        client.set("anybody's", "kept")
        one.flush()
        assert one.load() == {}
        assert client.get("anybody's") == b"kept"
    assert other.load() == {"other's": b"kept"}
    foreign = theirs.open(TraderId("FOREIGN-001"))
    assert foreign.load() == {"theirs": b"kept"}
    theirs.close_all()


def test_everything_at_once_is_everything(ours: Backing) -> None:
    """Its own leaves most of it out."""
    desk, database = desk_on(ours)
    desk.cache.add_currency(USD)
    desk.cache.add_synthetic(synthetic())
    for instrument in all_instruments():
        desk.cache.add_instrument(instrument)
    desk.trade(EURUSD, BUY, 1_000, "1.1")
    desk.add(desk.orders.limit(EURUSD.id, BUY, EURUSD.make_qty(1), EURUSD.make_price(1.1)))
    cache = Cache(database=database)
    cache.cache_all()
    cache.build_index()
    assert cache_contents(cache) == cache_contents(desk.cache)
    everything = database.load_all()
    assert everything["orders"].keys() == database.load_orders().keys()
    assert everything["positions"].keys() == database.load_positions().keys()
    assert everything["accounts"].keys() == database.load_accounts().keys()


def test_general_objects_of_an_instance(ours: Backing) -> None:
    """Its own reads the names of general objects wrong where the instance is a part of the keys."""
    instance_id = UUID4()
    database = ours.open(instance_id=instance_id, use_instance_id=True)
    database.add("whose", b"the instance's")
    ours.close(database)
    assert ours.open(instance_id=instance_id, use_instance_id=True).load() == {"whose": b"the instance's"}
    assert ours.open(instance_id=UUID4(), use_instance_id=True).load() == {}
    assert ours.open().load() == {}


def test_a_database_can_be_closed_twice_and_says_what_it_can_not_do_then(ours: Backing) -> None:
    desk, database = desk_on(ours)
    desk.trade(EURUSD, BUY, 1_000, "1.1")
    held = desk.cache
    again = ours.reload(database)
    assert_reloaded(again, held)
    database.close()
    database.close()
    with pytest.raises(Exception, match="closed"):
        database.add("late", b"1")
