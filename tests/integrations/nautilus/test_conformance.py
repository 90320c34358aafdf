"""What a database behind NautilusTrader's cache has to do, its own and ours: its life, its keys, its configuration."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.facade import CacheDatabaseFacade
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.enums import (
    OrderSide,
)
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientOrderId,
    ComponentId,
    PositionId,
    StrategyId,
    TraderId,
)
from nautilus_trader.model.objects import Money

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import (
    assert_reloaded,
    position_contents,
)
from tests.support.nautilus.desk import Desk, desk_on
from tests.support.nautilus.instruments import AUDUSD, EURUSD, synthetic


def test_it_is_a_database_for_a_cache(backing: Backing) -> None:
    database = backing.open()
    assert isinstance(database, CacheDatabaseFacade)
    assert Cache(database=database).has_backing


def test_every_method_of_the_facade_is_there(backing: Backing) -> None:
    database = backing.open()
    facade = {name for name in vars(CacheDatabaseFacade) if not name.startswith("_")}
    assert facade
    for name in facade:
        assert callable(getattr(database, name))
        assert getattr(type(database), name) is not getattr(CacheDatabaseFacade, name), f"{name} is the abstract one"


def test_a_configuration_of_another_type_is_refused(backing: Backing) -> None:
    with pytest.raises(TypeError):
        backing.adapter(trader_id=TraderId("TESTER-001"), instance_id=UUID4(), serializer=None, config={"database": 1})


def test_an_empty_database_has_nothing_of_anything(backing: Backing) -> None:
    database = backing.open()
    assert database.load() == {}
    assert database.load_currencies() == {}
    assert database.load_instruments() == {}
    assert database.load_synthetics() == {}
    assert database.load_accounts() == {}
    assert database.load_orders() == {}
    assert database.load_positions() == {}
    assert database.load_index_order_position() == {}
    assert database.load_index_order_client() == {}
    assert not any(database.load_all().values())


def test_what_is_missing_is_none(backing: Backing) -> None:
    database = backing.open()
    assert database.load_currency("XYZ") is None
    assert database.load_instrument(EURUSD.id) is None
    assert database.load_synthetic(synthetic().id) is None
    assert database.load_account(AccountId("SIM-404")) is None
    assert database.load_order(ClientOrderId("O-404")) is None
    assert database.load_position(PositionId("P-404")) is None
    assert database.load_actor(ComponentId("A-404")) == {}
    assert database.load_strategy(StrategyId("S-404")) == {}


def test_a_synthetic_of_an_id_that_can_not_be_one_is_an_error(backing: Backing) -> None:
    with pytest.raises(ValueError, match="synthetic"):
        backing.open().load_synthetic(EURUSD.id)


NEEDS_ARGUMENTS: dict[str, tuple[None, ...]] = {
    "load_currency": (None,),
    "load_instrument": (None,),
    "load_synthetic": (None,),
    "load_account": (None,),
    "load_order": (None,),
    "load_position": (None,),
    "load_actor": (None,),
    "load_strategy": (None,),
    "add": (None, None),
    "add_currency": (None,),
    "add_instrument": (None,),
    "add_synthetic": (None,),
    "add_account": (None,),
    "add_order": (None,),
    "add_position": (None,),
    "index_order_position": (None, None),
    "index_venue_order_id": (None, None),
    "update_account": (None,),
    "update_order": (None,),
    "update_position": (None,),
    "update_actor": (None,),
    "update_strategy": (None,),
    "snapshot_order_state": (None,),
    "snapshot_position_state": (None, 0),  # type: ignore[dict-item]
    "delete_order": (None,),
    "delete_position": (None,),
    "delete_account_event": (None, None),
    "delete_actor": (None,),
    "delete_strategy": (None,),
    "heartbeat": (None,),
}


@pytest.mark.parametrize("method", list(NEEDS_ARGUMENTS))
def test_none_is_not_an_argument(backing: Backing, method: str) -> None:
    database = backing.open()
    with pytest.raises((TypeError, AttributeError)):
        getattr(database, method)(*NEEDS_ARGUMENTS[method])
    assert database.load() == {}


def test_general_objects_come_back_as_the_bytes_they_were(backing: Backing) -> None:
    database = backing.open()
    everything = {"one": b"\x00\xff\r\n", "a:b:c": b"x" * 70_000, "naïve 日本": b"1"}
    for key, value in everything.items():
        database.add(key, value)
    backing.shows(database.load, everything)


def test_a_general_object_that_is_added_again_is_the_new_one(backing: Backing) -> None:
    database = backing.open()
    database.add("state", b"old")
    backing.shows(database.load, {"state": b"old"})
    database.add("state", b"new")
    backing.shows(database.load, {"state": b"new"})


def test_general_objects_through_a_cache(backing: Backing) -> None:
    database = backing.open()
    Cache(database=database).add("greeting", b"hello")
    backing.shows(database.load, {"greeting": b"hello"})
    cache = backing.reload(database)
    assert cache.get("greeting") == b"hello"
    assert cache.get("farewell") is None


def test_keys_are_texts_and_a_pattern_chooses_among_them(backing: Backing) -> None:
    database = backing.open()
    database.add_currency(BTC)
    backing.shows(lambda: set(database.load_currencies()), {"BTC"})
    keys = database.keys()
    assert keys
    assert all(isinstance(key, str) for key in keys)
    assert sorted(database.keys("*")) == sorted(keys)
    assert 0 < len(database.keys("currencies*")) <= len(keys)
    assert database.keys("nothing-like-this*") == []


def test_keys_of_an_empty_pattern_is_an_error(backing: Backing) -> None:
    with pytest.raises(ValueError, match="pattern"):
        backing.open().keys("")


def test_snapshots_and_heartbeats_are_taken(backing: Backing) -> None:
    desk, database = desk_on(backing)
    order = desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    before = len(database.keys())
    desk.cache.snapshot_order_state(order)
    desk.cache.snapshot_position_state(desk.only_position(), desk.now(), Money(12.5, USD))
    desk.cache.snapshot_position_state(desk.only_position(), desk.now())
    desk.cache.heartbeat(pd.Timestamp("2026-01-02T03:04:05Z"))
    database.add("after", b"them")
    backing.shows(database.load, {"after": b"them"})
    backing.settle(lambda: len(database.keys()) >= before + 3)
    assert position_contents(database.load_position(desk.only_position().id)) == position_contents(desk.only_position())


def test_a_flush_leaves_nothing_and_the_database_goes_on(backing: Backing) -> None:
    desk, database = desk_on(backing)
    desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    database.add("before", b"1")
    backing.shows(database.load, {"before": b"1"})
    desk.cache.flush_db()
    backing.shows(database.load, {})
    assert database.load_orders() == {}
    assert database.load_positions() == {}
    assert database.load_accounts() == {}
    assert database.load_instruments() == {}
    database.add("after", b"2")
    backing.shows(database.load, {"after": b"2"})


def test_what_is_written_is_there_when_the_trader_comes_back(backing: Backing) -> None:
    """Closing waits for what was written before."""
    desk, database = desk_on(backing)
    for _ in range(50):
        desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    again = backing.reload(database)
    assert_reloaded(again, desk.cache)


def test_traders_do_not_see_each_other(backing: Backing) -> None:
    one, other = (backing.open(TraderId(f"TESTER-{number}")) for number in ("001", "002"))
    one.add("whose", b"one")
    other.add("whose", b"other")
    backing.shows(one.load, {"whose": b"one"})
    backing.shows(other.load, {"whose": b"other"})
    one.add_instrument(EURUSD)
    backing.settle(lambda: one.load_instrument(EURUSD.id))
    assert other.load_instruments() == {}


@pytest.fixture(
    params=[
        {"encoding": "json"},
        {"timestamps_as_iso8601": True},
        {"buffer_interval_ms": 10},
        {"bulk_read_batch_size": 1},
        {"use_trader_prefix": False},
    ],
    ids=str,
)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if not set(request.param) <= set(CacheConfig.__struct_fields__):
        pytest.skip("this version has no such option")
    return dict(request.param)


def test_a_node_comes_back_whatever_the_configuration(backing: Backing, options: dict[str, Any]) -> None:
    database = backing.open(**options)
    desk = Desk(Cache(database=database))
    for instrument in (EURUSD, AUDUSD):
        desk.cache.add_instrument(instrument)
    desk.cache.add_currency(USD)
    desk.open_account()
    desk.trade(EURUSD, OrderSide.BUY, 1_000, "1.1")
    desk.trade(AUDUSD, OrderSide.SELL, 1_000, "0.7")
    order = desk.add(desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.0)))
    desk.submit(order)
    desk.accept(order)
    again = backing.reload(database, **options)
    assert_reloaded(again, desk.cache)


def test_an_instance_has_keys_of_its_own_where_the_configuration_says_so(backing: Backing) -> None:
    instances = UUID4(), UUID4()
    first, second = (backing.open(instance_id=instance, use_instance_id=True) for instance in instances)
    first.add_instrument(EURUSD)
    backing.settle(lambda: first.load_instrument(EURUSD.id))
    assert second.load_instrument(EURUSD.id) is None
    backing.close(first)
    assert backing.open(instance_id=instances[0], use_instance_id=True).load_instrument(EURUSD.id) == EURUSD


def test_everything_at_once_has_each_kind(backing: Backing) -> None:
    """What is in them, see test_where_nautilus_is_wrong.py."""
    everything = backing.open().load_all()
    assert set(everything) >= {"currencies", "instruments", "synthetics", "accounts", "orders", "positions"}
