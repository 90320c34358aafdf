"""Whatever happens to orders, and however it is cut into calls and batches: loads give what was written."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore.keys import Keys
from eventstore.model.orders import Order
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.logs import check_log
from tests.support.node import ORDERS, Node
from tests.support.topology import Topology


@effort(8)
@given(data=st.data(), batch_count_max=st.sampled_from((1, 3, 256)), linger_ms=st.sampled_from((0.0, 1_000.0)))
def test_any_history_of_orders_comes_back(
    topology: Topology, client: Redis, data: st.DataObject, batch_count_max: int, linger_ms: float
) -> None:
    topology.wipe()
    node = Node(TRADER)
    orders: dict[str, Order] = {}
    with topology.open(batch_count_max=batch_count_max, linger_ms=linger_ms) as database:
        for _ in range(data.draw(st.integers(1, 12), label="calls")):
            order_id = data.draw(st.sampled_from(ORDERS[:3]), label="order")
            if order_id in orders:
                for _ in range(data.draw(st.integers(0, 3), label="events")):
                    node.happen(data, orders[order_id])
                database.update_order(orders[order_id])
            else:
                orders[order_id] = node.new_order(data, order_id)
                database.add_order(orders[order_id])
        written = {order_id: _shown(order) for order_id, order in orders.items()}
        assert {order_id: _shown(order) for order_id, order in database.load_orders().items()} == written
    with topology.open() as later:
        assert {order_id: _shown(order) for order_id, order in later.load_orders().items()} == written
    check_log(client, Keys(TRADER))


def _shown(order: Order) -> tuple[dict[str, Any], list[Any]]:
    return order.to_dict(), order.events
