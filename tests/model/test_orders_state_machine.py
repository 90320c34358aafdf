"""The order state machine against a second, independent statement of its rules; and what holds after any events."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.currencies import USD
from eventstore.model.enums import LiquiditySide, OrderStatus, OrderType
from eventstore.model.errors import DuplicateFill, InvalidTransition, InvalidValue, ModelError
from eventstore.model.events import ORDER_EVENTS, OrderEvent, OrderFilled, OrderInitialized, OrderUpdated
from eventstore.model.identifiers import PositionId, TradeId
from eventstore.model.order_status import CLOSED, LOCAL, OPEN, legal_events
from eventstore.model.orders import Order
from eventstore.model.values import Money, Price, Quantity
from tests.support.orders import everything, happened, initialized

# What can happen in each status. Fill, part and full, is in capitals; what ends a request for a change is not listed.
LIFE = {
    "INITIALIZED": "Denied Emulated Released Submitted Accepted Rejected Canceled Expired Triggered",
    "DENIED": "",
    "EMULATED": "Released Canceled Expired",
    "RELEASED": "Denied Submitted Canceled",
    "SUBMITTED": "Accepted Rejected Canceled PendingUpdate PendingCancel FILL",
    "ACCEPTED": "Rejected Canceled Expired Triggered PendingUpdate PendingCancel FILL",
    "REJECTED": "",
    "CANCELED": "FILL",
    "EXPIRED": "",
    "TRIGGERED": "Rejected Canceled Expired PendingUpdate PendingCancel FILL",
    "PENDING_UPDATE": ("Submitted Accepted Rejected Canceled Expired Triggered PendingUpdate PendingCancel FILL"),
    "PENDING_CANCEL": "Accepted Rejected Canceled Expired PendingCancel FILL",
    "PARTIALLY_FILLED": "Canceled Expired PendingUpdate PendingCancel FILL",
    "FILLED": "",
    "VOIDED": "",
}
NAMES = {"PendingUpdate": "PENDING_UPDATE", "PendingCancel": "PENDING_CANCEL"}
RESUMED = {
    "PENDING_UPDATE": {"ACCEPTED", "TRIGGERED", "PARTIALLY_FILLED", "SUBMITTED"},
    "PENDING_CANCEL": {"ACCEPTED", "PARTIALLY_FILLED"},
}


class Reference:
    """The least that follows an order: its status, the one before a request, its quantity, what filled it."""

    def __init__(self, quantity: Decimal, can_trigger: bool) -> None:
        self.status = self.before = "INITIALIZED"
        self.quantity, self.filled, self.paid = quantity, Decimal(0), Fraction(0)
        self.excess = Decimal(0)
        self.trades: list[str] = []
        self.can_trigger = can_trigger

    def apply(self, event: Any) -> type[ModelError] | None:
        """Follow `event`, or say how it has to be refused."""
        name = type(event).__name__.removeprefix("Order")
        asked = LIFE[self.status].split()
        if name == "Filled":
            return self._fill(event, possible="FILL" in asked)
        if name == "Updated" and event.quantity == 0:
            return InvalidValue
        if name in ("Updated", "ModifyRejected", "CancelRejected"):
            ended = "PENDING_CANCEL" if name == "CancelRejected" else "PENDING_UPDATE"
            if self.status == ended:
                if self.before not in RESUMED[ended]:
                    return InvalidTransition
                if self.before != "SUBMITTED":
                    self.status = self.before
            if name == "Updated":
                self.quantity = event.quantity
            return None
        if name not in asked or (name == "Triggered" and not self.can_trigger):
            return InvalidTransition
        if name in NAMES and self.status not in RESUMED:
            self.before = self.status
        if (self.status, name) != ("PENDING_UPDATE", "Submitted"):
            self.status = NAMES.get(name, name.upper())
        return None

    def _fill(self, event: OrderFilled, *, possible: bool) -> type[ModelError] | None:
        if event.trade_id in self.trades:
            return DuplicateFill
        filled = self.filled + event.last_qty
        if not possible:
            return InvalidTransition
        if event.last_qty == 0:
            return InvalidValue
        self.status = "PARTIALLY_FILLED" if filled < self.quantity else "FILLED"
        self.filled = filled
        self.excess += max(filled - self.quantity, 0)
        self.paid += Fraction(event.last_px) * Fraction(event.last_qty)
        self.trades.append(event.trade_id)
        return None


@st.composite
def events(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from([kind for kind in ORDER_EVENTS.values() if kind is not OrderInitialized]))
    changes: dict[str, Any] = {}
    if kind is OrderFilled:
        changes = {
            "trade_id": TradeId(f"T-{draw(st.integers(1, 8))}"),
            "last_qty": Quantity(draw(st.decimals(0, 60, places=2))),
            "last_px": Price(draw(st.decimals(-5, 200, places=5))),
            "commission": Money(draw(st.decimals(-2, 2, places=2)), USD),
            "liquidity_side": draw(st.sampled_from(LiquiditySide)),
            "position_id": draw(st.none() | st.just(PositionId("P-1"))),
        }
    elif kind is OrderUpdated:
        changes = {
            "quantity": Quantity(draw(st.decimals(0, 200, places=2))),
            "price": draw(st.none() | st.just(Price("1.25"))),
            "trigger_price": draw(st.none() | st.just(Price("1.20"))),
        }
    return happened(kind, ts=draw(st.integers(0, 2**64 - 1)), **changes)


LIVELY = [
    ["OrderSubmitted"],
    ["OrderSubmitted", "OrderAccepted"],
    ["OrderSubmitted", "OrderAccepted", "OrderFilled"],
    [],
]


@st.composite
def histories(draw: st.DrawFn) -> tuple[OrderInitialized, list[Any]]:
    """A first event and what is tried after it; most begin in a way that lets something happen."""
    init = initialized(draw(st.sampled_from(OrderType)), quantity=Quantity(draw(st.decimals("0.01", 150, places=2))))
    start = [happened(ORDER_EVENTS[name]) for name in draw(st.sampled_from(LIVELY))]
    return init, start + draw(st.lists(events(), max_size=12))


def legal_prefixes(
    init: OrderInitialized, tried: Sequence[OrderEvent]
) -> list[tuple[list[OrderEvent], dict[str, Any]]]:
    """After each event that is not refused: all events until then, and what the live order shows."""
    order = Order.create(init)
    shown = [(order.events, order.to_dict())]
    for event in tried:
        try:
            order.apply(event)
        except ModelError:
            continue
        shown.append((order.events, order.to_dict()))
    return shown


@given(histories())
def test_every_event_is_taken_or_refused_as_the_reference_says(history: tuple[OrderInitialized, list[Any]]) -> None:
    init, tried = history
    order = Order.create(init)
    can_trigger = init.order_type in (OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED, OrderType.TRAILING_STOP_LIMIT)
    reference = Reference(init.quantity, can_trigger)
    for event in tried:
        refused = reference.apply(event)
        if refused is None:
            order.apply(event)
        else:
            before, shown = everything(order), order.to_dict()
            with pytest.raises(refused):
                order.apply(event)
            assert everything(order) == before
            assert order.to_dict() == shown
        assert order.status.name == reference.status
        assert order.quantity == reference.quantity
        assert order.filled_qty == reference.filled
        assert order.leaves_qty == max(order.quantity - reference.filled, 0)
        assert order.overfill_qty == reference.excess
        assert order.trade_ids == reference.trades
        if reference.filled:
            exact = reference.paid / Fraction(reference.filled)
            assert order.avg_px is not None
            assert abs(Fraction(order.avg_px) - exact) <= abs(exact) / 10**90
            shown = order.to_dict()["avg_px"]
            assert shown == pytest.approx(float(exact), rel=1e-9, abs=1e-9)
        else:
            assert order.avg_px is None


@given(histories())
def test_folding_the_events_gives_the_live_order_at_every_prefix(history: tuple[OrderInitialized, list[Any]]) -> None:
    for prefix, shown in legal_prefixes(*history):
        assert Order.from_events(prefix).to_dict() == shown


@given(histories())
def test_two_folds_of_the_same_events_hold_the_same(history: tuple[OrderInitialized, list[Any]]) -> None:
    prefix, _ = legal_prefixes(*history)[-1]
    assert everything(Order.from_events(prefix)) == everything(Order.from_events(tuple(prefix)))


@pytest.mark.parametrize("status", OrderStatus)
def test_the_names_of_what_is_possible_are_those_of_the_reference(status: OrderStatus) -> None:
    names = {f"Order{name}" for name in LIFE[status.name].replace("FILL", "Filled").split()}
    assert set(legal_events(status)) == names | {"OrderUpdated", "OrderModifyRejected", "OrderCancelRejected"}


def test_every_status_is_local_inflight_open_or_closed() -> None:
    assert LOCAL | OPEN | CLOSED | {OrderStatus.SUBMITTED} == set(OrderStatus)
    assert not LOCAL & OPEN
    assert not (LOCAL | OPEN) & CLOSED
