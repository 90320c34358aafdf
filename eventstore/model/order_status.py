"""The life of an order: which status follows which, as one table.

The rules are NautilusTrader's. Every event but three asks for a status; `TRANSITIONS` says whether that status can be
reached from the present one. The other three are possible in any status: `OrderUpdated` and `OrderModifyRejected` end
PENDING_UPDATE, `OrderCancelRejected` ends PENDING_CANCEL, each by asking for the status before; in any other status
they leave it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from eventstore.model.enums import OrderStatus
from eventstore.model.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderEmulated,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderModifyRejected,
    OrderPendingCancel,
    OrderPendingUpdate,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
    OrderTriggered,
    OrderUpdated,
)

_S = OrderStatus


def _to(*asked: OrderStatus) -> Mapping[OrderStatus, OrderStatus]:
    return {status: status for status in asked}


TRANSITIONS: Mapping[OrderStatus, Mapping[OrderStatus, OrderStatus]] = MappingProxyType(
    {
        _S.INITIALIZED: _to(
            _S.DENIED,
            _S.EMULATED,
            _S.RELEASED,
            _S.SUBMITTED,
            _S.ACCEPTED,  # an order that was made at the venue
            _S.REJECTED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.TRIGGERED,
        ),
        _S.DENIED: _to(),
        _S.EMULATED: _to(_S.RELEASED, _S.CANCELED, _S.EXPIRED),
        _S.RELEASED: _to(_S.DENIED, _S.SUBMITTED, _S.CANCELED),
        _S.SUBMITTED: _to(
            _S.ACCEPTED,
            _S.REJECTED,
            _S.CANCELED,
            _S.PENDING_UPDATE,
            _S.PENDING_CANCEL,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        ),
        _S.ACCEPTED: _to(
            _S.REJECTED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.TRIGGERED,
            _S.PENDING_UPDATE,
            _S.PENDING_CANCEL,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        ),
        _S.REJECTED: _to(),
        _S.CANCELED: _to(_S.PARTIALLY_FILLED, _S.FILLED),  # the fill crossed the cancel on its way
        _S.EXPIRED: _to(),
        _S.TRIGGERED: _to(
            _S.REJECTED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.PENDING_UPDATE,
            _S.PENDING_CANCEL,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        ),
        _S.PENDING_UPDATE: {
            **_to(
                _S.ACCEPTED,
                _S.REJECTED,
                _S.CANCELED,
                _S.EXPIRED,
                _S.TRIGGERED,
                _S.PENDING_UPDATE,
                _S.PENDING_CANCEL,
                _S.PARTIALLY_FILLED,
                _S.FILLED,
            ),
            _S.SUBMITTED: _S.PENDING_UPDATE,  # the one status that is asked for and not reached
        },
        _S.PENDING_CANCEL: _to(
            _S.ACCEPTED,
            _S.REJECTED,
            _S.CANCELED,
            _S.EXPIRED,
            _S.PENDING_CANCEL,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        ),
        _S.PARTIALLY_FILLED: _to(
            _S.CANCELED,
            _S.EXPIRED,
            _S.PENDING_UPDATE,
            _S.PENDING_CANCEL,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        ),
        _S.FILLED: _to(),
        _S.VOIDED: _to(),  # the number is taken, and no event leads there
    }
)
"""Present status → status asked for → next status."""

ASKS: Mapping[type[OrderEvent], tuple[OrderStatus, ...]] = MappingProxyType(
    {
        OrderDenied: (_S.DENIED,),
        OrderEmulated: (_S.EMULATED,),
        OrderReleased: (_S.RELEASED,),
        OrderSubmitted: (_S.SUBMITTED,),
        OrderAccepted: (_S.ACCEPTED,),
        OrderRejected: (_S.REJECTED,),
        OrderCanceled: (_S.CANCELED,),
        OrderExpired: (_S.EXPIRED,),
        OrderTriggered: (_S.TRIGGERED,),
        OrderPendingUpdate: (_S.PENDING_UPDATE,),
        OrderPendingCancel: (_S.PENDING_CANCEL,),
        OrderFilled: (_S.PARTIALLY_FILLED, _S.FILLED),
    }
)
"""The status, or for a fill either status, that an event asks for."""

ALWAYS_LEGAL: tuple[type[OrderEvent], ...] = (OrderUpdated, OrderModifyRejected, OrderCancelRejected)

OPEN = frozenset({_S.ACCEPTED, _S.TRIGGERED, _S.PENDING_UPDATE, _S.PENDING_CANCEL, _S.PARTIALLY_FILLED})
"""At work at the venue."""

CLOSED = frozenset({_S.DENIED, _S.REJECTED, _S.CANCELED, _S.EXPIRED, _S.FILLED, _S.VOIDED})
"""Done."""

INFLIGHT = frozenset({_S.SUBMITTED, _S.PENDING_UPDATE, _S.PENDING_CANCEL})
"""Waiting for the venue's answer."""

LOCAL = frozenset({_S.INITIALIZED, _S.EMULATED, _S.RELEASED})
"""Not yet sent to the venue."""


def legal_events(status: OrderStatus) -> tuple[str, ...]:
    """The names of the events that are possible in `status`."""
    reachable = TRANSITIONS[status]
    asking = [kind for kind, asked in ASKS.items() if not reachable.keys().isdisjoint(asked)]
    return tuple(kind.__name__ for kind in (*asking, *ALWAYS_LEGAL))
