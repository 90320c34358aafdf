"""The orders of the recorded sessions: replayed from their events, each is at every snapshot what was recorded."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventstore
from eventstore.model import currencies
from eventstore.model.events import ORDER_EVENTS, OrderInitialized
from eventstore.model.orders import Order
from eventstore.model.values import Price
from tests.support.orders import everything

SESSIONS = Path(eventstore.__file__).parent / "sessions"

assert currencies.USD.code == "USD"  # the events name currencies, which have to be known


def calls(session: str) -> Iterator[dict[str, Any]]:
    with gzip.open(SESSIONS / f"{session}.jsonl.gz", "rt") as lines:
        yield from map(json.loads, lines)


def differences(shown: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The values that differ; averages are floats in the recording, and may differ by 1e-9 of their size."""
    assert list(shown) == list(expected)
    return {
        key: (shown[key], value)
        for key, value in expected.items()
        if not (
            math.isclose(shown[key], value, rel_tol=1e-9)
            if isinstance(value, float) and isinstance(shown[key], float)
            else (shown[key], type(shown[key])) == (value, type(value))
        )
    }


@pytest.mark.parametrize("session", ["bracket", "emacross", "trailing"])
def test_replayed_orders_are_what_the_node_recorded(session: str) -> None:
    orders: dict[str, Order] = {}
    snapshots = 0
    for call in calls(session):
        if call["call"] == "add_order":
            init = OrderInitialized.from_dict(call["event"])
            known = orders.get(init.client_order_id)
            orders[init.client_order_id] = Order.create(init) if known is None else known.transform(init)
        elif call["call"] == "update_order":
            event = ORDER_EVENTS[call["event"]["type"]].from_dict(call["event"])
            orders[event.client_order_id].apply(event)
        elif call["call"] == "snapshot_order_state":
            order = orders[call["order"]["client_order_id"]]
            order.amend_from_dict(call["order"])
            assert differences(order.to_dict(), call["order"]) == {}
            snapshots += 1
    assert snapshots > len(orders)

    with gzip.open(SESSIONS / f"{session}.final.json.gz") as final:
        expected = json.load(final)
    assert orders.keys() == expected["orders"].keys()
    for order_id, order in orders.items():
        assert differences(order.to_dict(), expected["orders"][order_id]) == {}
        assert everything(Order.from_events(order.events, order.amendments)) == everything(order)
    assert sorted(k for k, order in orders.items() if order.is_open) == sorted(expected["orders_open"])
    assert sorted(k for k, order in orders.items() if order.is_closed) == sorted(expected["orders_closed"])


def test_the_activation_price_of_an_unreleased_trailing_stop_is_known_from_its_snapshot_alone() -> None:
    """NautilusTrader's emulator sets it on the live order, without an event."""
    canceled = "O-20130219-233000-001-000-118"
    events = [
        ORDER_EVENTS[call["event"]["type"]].from_dict(call["event"])
        for call in calls("trailing")
        if call["call"] in ("add_order", "update_order") and call["event"]["client_order_id"] == canceled
    ]
    snapshot = next(
        call["order"]
        for call in calls("trailing")
        if call["call"] == "snapshot_order_state" and call["order"]["client_order_id"] == canceled
    )
    order = Order.from_events(events)
    assert differences(order.to_dict(), snapshot) == {"activation_price": (None, "93.763")}
    order.amend_from_dict(snapshot)
    assert differences(order.to_dict(), snapshot) == {}
    assert order.amendments == [(len(events), "activation_price", Price("93.763"))]
