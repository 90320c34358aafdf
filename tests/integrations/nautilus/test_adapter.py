"""An adapter's own life: which object of an order it watches, and how it is closed when something is in the way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

import msgspec
import pandas as pd
from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientId, ExecAlgorithmId, PositionId
from nautilus_trader.model.orders import Order
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from eventstore import RedisCacheDatabase
from eventstore import model as m
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import BacklogFull, DamagedRecord, Refused, WriterFailed
from eventstore.integrations.nautilus import CacheDatabaseAdapter
from eventstore.integrations.nautilus.conversion import to_record
from eventstore.integrations.nautilus.conversion.instruments import INSTRUMENT_KINDS
from eventstore.integrations.nautilus.inside import set_inside
from eventstore.integrations.nautilus.lives import CHECKED_FILLS
from eventstore.model.errors import InvalidIdentifier
from eventstore.model.instruments import INSTRUMENTS
from tests.support import specimens
from tests.support.nautilus.backings import TRADER, Backing, redis_config
from tests.support.nautilus.contents import order_contents
from tests.support.nautilus.desk import Desk, desk_on
from tests.support.nautilus.instruments import EURUSD
from tests.support.redis_server import RedisServer
from workers.backlog import Full


def resting(desk: Desk) -> Order:
    order = desk.add(desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1)))
    desk.submit(order)
    desk.accept(order)
    return order


def journaled(backing: Backing, journal: Path) -> CacheDatabaseAdapter:
    return CacheDatabaseAdapter(
        TRADER,
        UUID4(),
        MsgSpecSerializer(encoding=msgspec.msgpack),
        redis_config(backing.server.port),
        CacheDatabaseConfig(journal=journal),
    )


@pytest.mark.parametrize("snapshot", [False, True])
def test_an_order_that_the_cache_loads_once_more_is_the_one_that_counts(ours: Backing, snapshot: bool) -> None:
    """The object that it was before stays as it was then, and says nothing of what it is now."""
    desk, database = desk_on(ours)
    before = resting(desk)
    desk.cache.cache_orders()
    desk.cache.build_index()
    order = desk.cache.order(before.client_order_id)
    assert order is not before
    if snapshot:
        set_inside(order, {"position_id": PositionId("P-1")})
        desk.cache.snapshot_order_state(order)
    else:
        desk.update(order, quantity=EURUSD.make_qty(5_000))
    database.store.write_amendments()
    assert order_contents(database.load_order(order.client_order_id)) == order_contents(order)
    assert order_contents(ours.reload(database).order(order.client_order_id)) == order_contents(order)


@pytest.mark.parametrize("with_journal", [False, True], ids=["memory", "journal"])
def test_what_could_not_be_written_of_an_order_is_written_the_next_time(
    ours: Backing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_journal: bool
) -> None:
    database = journaled(ours, tmp_path) if with_journal else ours.open()
    desk = Desk(Cache(database=database))
    desk.cache.add_instrument(EURUSD)
    desk.open_account()
    order = resting(desk)
    set_inside(order, {"position_id": PositionId("P-1")})

    def full(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(database.store._persister, "put", full)
        if not with_journal:
            patch.setattr(database.store, "_put", full)
        with pytest.raises(MemoryError):
            database.store.write_amendments()
    database.store.write_amendments()
    assert database.load_order(order.client_order_id).position_id == PositionId("P-1")
    database.close()


def test_an_adapter_that_was_fenced_off_is_closed_all_the_same(ours: Backing, tmp_path: Path) -> None:
    """Otherwise nobody could open its journal in this process any more."""
    database = journaled(ours, tmp_path)
    desk = Desk(Cache(database=database))
    desk.open_account()
    order = resting(desk)
    database.store.sync()
    other = ours.open()
    database.add("late", b"1")
    with pytest.raises(WriterFailed):
        database.store.sync()
    set_inside(order, {"position_id": PositionId("P-1")})
    database.close()
    database.close()
    ours.close(other)
    journaled(ours, tmp_path).close()


def test_a_subclass_may_have_its_own_verbs(ours: Backing) -> None:
    seen: list[Any] = []

    class Watching(CacheDatabaseAdapter):
        def update_order(self, order: Any) -> None:
            seen.append(order)
            super().update_order(order)

    database = Watching(TRADER, UUID4(), MsgSpecSerializer(encoding=msgspec.msgpack), redis_config(ours.server.port))
    desk = Desk(Cache(database=database))
    desk.cache.add_instrument(EURUSD)
    order = resting(desk)
    assert seen == [order, order]
    assert database.load_order(order.client_order_id).events == order.events
    database.close()


def test_an_order_whose_index_is_refused_is_there_once(ours: Backing) -> None:
    """What was accepted of it is known, and is not written again as another order of that id."""
    desk, database = desk_on(ours)
    resting(desk)
    order = desk.orders.limit(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000), EURUSD.make_price(1.1))
    aside = Desk(Cache())
    aside.go_on_from(9)
    aside.add(order)
    aside.submit(order)
    aside.accept(order)
    put = database.store._put

    def full(*_: Any) -> None:
        raise Full

    database.store._put = full
    with pytest.raises(BacklogFull):
        database.add_order(order)
    database.store._put = put
    database.update_order(order)
    assert database.load_order(order.client_order_id).events == order.events
    assert database.load_index_venue_order_id()[order.client_order_id] == order.venue_order_id
    assert database.load() == {}
    with ours.server.client() as client:
        assert client.hgetall("{trader-TESTER-001}:lives") == {}


def test_only_what_is_not_closed_is_looked_at_again(ours: Backing) -> None:
    desk, database = desk_on(ours)
    done, open_one = resting(desk), resting(desk)
    desk.cancel(done)
    database.store.sync()
    assert list(database.store._histories.open) == [open_one.client_order_id.value]
    again = ours.reload(database)
    database = ours.open()
    database.load_orders()
    assert list(database.store._histories.open) == [open_one.client_order_id.value]
    database.delete_order(open_one.client_order_id)
    database.store.sync()
    assert not database.store._histories.open
    assert again.order_exists(done.client_order_id)


def test_what_the_caller_changes_afterwards_is_not_what_happened(ours: Backing) -> None:
    """Tags, parameters of an algorithm and what a venue says of a fill are the caller's own, as likely as not."""
    desk, database = desk_on(ours)
    parameters: dict[str, Any] = {"horizon_secs": 0}
    tags: list[str] = []
    info: dict[str, Any] = {"of": {"count": 0}}
    with database.store._persister._writer.hold(10.0):  # nothing is encoded before all is changed
        for count in range(1, 4):
            parameters["horizon_secs"] = count
            tags.append(str(count))
            info["of"]["count"] = count
            order = desk.orders.market(
                EURUSD.id,
                OrderSide.BUY,
                EURUSD.make_qty(1_000),
                tags=tags,
                exec_algorithm_id=ExecAlgorithmId("TWAP"),
                exec_algorithm_params=parameters,
            )
            desk.submit(desk.add(order))
            desk.fill(order, EURUSD, "1.1", info=info)
    orders = list(database.load_orders().values())
    assert [order.exec_algorithm_params for order in orders] == [{"horizon_secs": n} for n in (1, 2, 3)]
    assert [order.tags for order in orders] == [["1"], ["1", "2"], ["1", "2", "3"]]
    assert [order.last_event.info for order in orders] == [{"of": {"count": n}} for n in (1, 2, 3)]
    (position,) = database.load_positions().values()
    assert [fill.info for fill in position.events] == [{"of": {"count": n}} for n in (1, 2, 3)]


def test_an_order_that_can_not_be_stored_is_refused_where_it_is_added(ours: Backing) -> None:
    """Otherwise only its first event would be missing, and with it the whole order after a restart."""
    desk, database = desk_on(ours)
    order = desk.orders.market(
        EURUSD.id,
        OrderSide.BUY,
        EURUSD.make_qty(1_000),
        exec_algorithm_id=ExecAlgorithmId("TWAP"),
        exec_algorithm_params={"size": 2**70},
    )
    with pytest.raises(Refused, match="exec_algorithm_params"):
        desk.add(order)
    assert database.load_orders() == {}


@pytest.mark.parametrize(
    "options", [{"client_id": ClientId("C-{1}")}, {"position_id": PositionId("P-{1}")}], ids=["client", "position"]
)
def test_an_id_that_no_index_can_hold_is_refused_with_its_order(ours: Backing, options: dict[str, Any]) -> None:
    """What stands in an index and can not be read keeps a node from starting."""
    desk, database = desk_on(ours)
    order = desk.orders.market(EURUSD.id, OrderSide.BUY, EURUSD.make_qty(1_000))
    with pytest.raises(InvalidIdentifier):
        database.add_order(order, **options)
    assert database.load_orders() == {}
    assert database.load_index_order_client() == {}
    assert database.load_index_order_position() == {}


def test_fills_that_were_refused_are_written_with_the_next_ones(ours: Backing) -> None:
    """Also where the position has as many fills as if they had been written, because another one was purged."""
    desk, database = desk_on(ours)
    orders = [desk.trade(EURUSD, OrderSide.BUY, 100, "1.1") for _ in range(CHECKED_FILLS + 4)]
    position = desk.only_position()
    put = database.store._put

    def full(*item: Any) -> None:
        if item[0] == "update_position":
            raise Full
        put(*item)

    database.store._put = full
    with pytest.raises(BacklogFull):
        desk.trade(EURUSD, OrderSide.BUY, 111, "1.1")
    database.store._put = put
    position.purge_events_for_order(orders[0].client_order_id)
    desk.trade(EURUSD, OrderSide.BUY, 122, "1.1")
    sizes = [fill.last_qty for fill in database.load_position(position.id).events]
    assert sizes == [*(order.quantity for order in orders), EURUSD.make_qty(111), EURUSD.make_qty(122)]


def test_an_instrument_that_this_release_does_not_have_is_named_or_left_out(wiped_server: RedisServer) -> None:
    missing = [kind for kind in INSTRUMENTS.values() if kind not in INSTRUMENT_KINDS]
    if not missing:
        pytest.skip("this release has every kind of instrument")
    strange, known = specimens.record(missing[0]), to_record(EURUSD)
    url = f"redis://127.0.0.1:{wiped_server.port}"
    trader = m.TraderId(TRADER.value)
    with RedisCacheDatabase(trader, config=CacheDatabaseConfig(url=url)) as database:
        database.add_instrument(strange)
        database.add_instrument(known)
    arguments = (TRADER, UUID4(), MsgSpecSerializer(encoding=msgspec.msgpack), CacheConfig())
    strict = CacheDatabaseAdapter(*arguments, CacheDatabaseConfig(url=url))
    for load in (strict.load_instruments, strict.load_all):
        with pytest.raises(DamagedRecord, match=strange.id):
            load()
    strict.close()
    lenient = CacheDatabaseAdapter(*arguments, CacheDatabaseConfig(url=url, strict_loads=False))
    assert list(lenient.load_instruments()) == [EURUSD.id]
    assert list(lenient.load_all()["instruments"]) == [EURUSD.id]
    assert [damage.field for damage in lenient.store.damaged] == [strange.id]
    lenient.close()


def test_a_heartbeat_from_before_1970_is_refused(ours: Backing) -> None:
    database = ours.open()
    for moment in (pd.Timestamp(-1, tz="UTC"), datetime(1969, 12, 31, tzinfo=UTC), datetime(2026, 1, 1)):  # noqa: DTZ001
        with pytest.raises(Refused, match="heartbeat"):
            database.heartbeat(moment)
    database.heartbeat(pd.Timestamp(1_700_000_000_123_456_789, tz="Asia/Tokyo"))
    assert database.load_heartbeat() == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
