"""What can not be written: raised at the call, or in the log by name."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import AlreadyAdded, CodecError, Refused, TooLarge, UnknownId, WriterFailed
from eventstore.keys import Keys
from eventstore.model.currencies import EUR, USD
from eventstore.model.events import OrderAccepted, OrderSubmitted
from eventstore.model.identifiers import ClientOrderId, TraderId
from eventstore.model.record import Record
from tests.support.databases import TRADER
from tests.support.logs import check_log
from tests.support.orders import happened, order_after
from tests.support.outages import Told, called
from tests.support.topology import Topology

KEYS = Keys(TRADER)


def test_illegal_input_raises_at_the_call_and_the_log_is_untouched(topology: Topology, client: Redis) -> None:
    order = order_after(OrderSubmitted)
    unknown = order_after(client_order_id=ClientOrderId("O-9"))
    foreign = order_after(trader_id=TraderId("OTHER-1"), client_order_id=ClientOrderId("O-8"))
    wrong: Any = "what is no order"
    with topology.open(value_bytes_max=1_000) as database:
        database.add_order(order)
        before = database.sync()
        with pytest.raises(AlreadyAdded, match="add_order O-1"):
            database.add_order(order)
        with pytest.raises(UnknownId, match="update_order O-9"):
            database.update_order(unknown)
        with pytest.raises(Refused, match="OTHER-1"):
            database.add_order(foreign)
        with pytest.raises(TypeError, match="add_order"):
            database.add_order(wrong)
        with pytest.raises(TooLarge, match="add key"):
            database.add("key", b"x" * 1_001)
        assert database.sync() == before
        order.apply(happened(OrderAccepted))
        database.update_order(order)
        assert database.sync() == before + 1
    check_log(client, KEYS)


class Choosy(MsgPackSerializer):
    """A serializer that fails for one record."""

    def serialize(self, record: Record) -> bytes:
        if record == EUR:
            raise CodecError("no euros here")
        return super().serialize(record)


def test_what_can_not_be_encoded_is_in_the_log_by_name_and_the_rest_goes_on(topology: Topology, client: Redis) -> None:
    told = Told()
    config = CacheDatabaseConfig(**topology.settings())
    with RedisCacheDatabase(TRADER, told, Choosy(), config) as database:
        for currency in (USD, EUR, USD):
            database.add_currency(currency)
        database.sync()
        assert database.stats().quarantined == 1
        assert database.stats().health == "healthy"
    kinds = [type(command) for command in called(check_log(client, KEYS))]
    assert kinds == [c.AddCurrency, c.Quarantined, c.AddCurrency]


def test_a_key_of_another_type_in_the_way_is_named_and_nothing_is_half_applied(
    topology: Topology, client: Redis
) -> None:
    with topology.open() as database:
        database.add("key", b"value")
        database.sync()
        client.set(KEYS.orders, b"somebody's")
        before = client.xlen(KEYS.log)
        database.add_order(order_after())
        with pytest.raises(WriterFailed, match="orders"):
            database.sync()
        assert client.xlen(KEYS.log) == before
        assert not client.exists(KEYS.order("O-1"))
