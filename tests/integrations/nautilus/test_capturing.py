"""What a call derives instead of asking the order, which takes as long as all the rest: it is what the order says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from hypothesis import example, given
from hypothesis import strategies as st
from nautilus_trader.core.fsm import InvalidStateTrigger
from nautilus_trader.model.orders.unpacker import OrderUnpacker

from eventstore.integrations.nautilus.capturing import ENDS, LEADS_TO, Filled, Seen, take_order
from eventstore.integrations.nautilus.conversion import to_nautilus
from eventstore.model import events
from eventstore.model.enums import OrderType
from eventstore.model.identifiers import UUID4, TradeId
from eventstore.model.values import Quantity
from tests.support.orders import happened, initialized

HAPPENINGS = [
    events.OrderSubmitted,
    events.OrderAccepted,
    events.OrderRejected,
    events.OrderDenied,
    events.OrderCanceled,
    events.OrderExpired,
    events.OrderTriggered,
    events.OrderPendingUpdate,
    events.OrderPendingCancel,
    events.OrderModifyRejected,
    events.OrderCancelRejected,
    events.OrderFilled,
]


def apply(order: Any, kind: Any, number: int) -> None:
    changes: dict[str, Any] = {}
    if kind is events.OrderFilled:
        changes = {"trade_id": TradeId(f"T-{number}"), "last_qty": Quantity("1"), "order_type": OrderType.STOP_LIMIT}
    order.apply(to_nautilus(happened(kind, event_id=UUID4(), **changes)))


@given(st.lists(st.sampled_from(HAPPENINGS), max_size=12))
@example([events.OrderSubmitted, events.OrderPendingUpdate, events.OrderSubmitted])
@example([events.OrderSubmitted, events.OrderAccepted, events.OrderPendingUpdate, events.OrderFilled])
@example([events.OrderSubmitted, events.OrderAccepted, events.OrderCanceled, events.OrderFilled])
def test_the_status_that_is_derived_from_the_last_event_is_the_orders(kinds: list[Any]) -> None:
    """Whatever may happen to an order, in whatever sequence NautilusTrader takes it."""
    order = OrderUnpacker.from_init(
        to_nautilus(initialized(OrderType.STOP_LIMIT, event_id=UUID4(), quantity=Quantity("3")))
    )
    for number, kind in enumerate(kinds):
        with suppress(InvalidStateTrigger):
            apply(order, kind, number)
        last = order.last_event.__class__
        if last is Filled or last in LEADS_TO or last in ENDS:
            seen = Seen.plain(order, take_order(order), order.is_closed if last is Filled else None)
            assert seen.status == order.status
            assert seen.is_closed == order.is_closed
