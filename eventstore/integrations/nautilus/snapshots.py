"""The state of an order or position as it was at a call, put together later: what `to_dict()` would have returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, cast

from nautilus_trader.model.enums import PositionSide, order_side_to_str, position_side_to_str

from eventstore.integrations.nautilus.amendments import set_as
from eventstore.integrations.nautilus.capturing import Seen, Taken
from eventstore.integrations.nautilus.folding import order_from_events
from eventstore.model.order_amendments import Amendment


def order_state(seen: Seen, amendments: Sequence[Amendment]) -> dict[str, Any]:
    """Return the state of an order, of which all was taken. `amendments`: what was set on it without an event."""
    if seen.is_still():
        state: dict[str, Any] = seen.order.to_dict()
        if seen.is_still():  # all the time
            return state
    made = order_from_events(seen.events, amendments)
    set_as(made, seen)  # on a closed order nobody watches what is set without an event
    return cast(dict[str, Any], made.to_dict())


# -- Positions -------------------------------------------------------------------------------------------------


def _id(value: Any) -> Any:
    return None if value is None else value.value


def _positive(value: Any) -> Any:
    return value if value > 0 else None


def _unchanged(value: Any) -> Any:
    return value


_SHOWN: dict[str, Callable[[Any], Any]] = {
    "opening_order_id": _id,
    "closing_order_id": _id,
    "entry": order_side_to_str,
    "signed_qty": _unchanged,
    "quantity": str,
    "peak_qty": str,
    "ts_init": _unchanged,
    "ts_opened": _unchanged,
    "ts_last": _unchanged,
    "ts_closed": _positive,
    "duration_ns": _positive,
    "avg_px_open": _unchanged,
    "avg_px_close": _positive,
    "realized_return": lambda value: round(value, 5),
    "realized_pnl": str,
}
"""What changes on a position, and how `to_dict()` shows it. Its side and commissions are taken otherwise."""

take_position = attrgetter(*_SHOWN, "is_long", "is_short")
"""What changes on a position, but for its commissions, which are a copy in any case."""


def position_state(position: Any, taken: Taken, commissions: list[Any]) -> dict[str, Any]:
    """Return the state of a position, of which `taken` and `commissions` were taken."""
    *values, is_long, is_short = taken
    state: dict[str, Any] = position.to_dict()  # what never changes
    for (name, show), value in zip(_SHOWN.items(), values, strict=True):
        state[name] = show(value)
    side = PositionSide.LONG if is_long else PositionSide.SHORT if is_short else PositionSide.FLAT
    state["side"] = position_side_to_str(side)
    state["commissions"] = sorted([str(commission) for commission in commissions])
    return state
