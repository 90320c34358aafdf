"""Cycles of a position that its list lacks, rebuilt from the fills of its orders. Pure: no I/O.

From 1.22x on, NautilusTrader deletes the fills that a position had before it is opened again by a fill that turns it
over. The orders still have them. A fill that turns a position over is divided there: what closes the position keeps the
fill's id, what opens it again gets one of its own. So it is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from math import trunc
from typing import Final
from uuid import UUID, uuid5

from eventstore.importing.histories import add_fill, owned
from eventstore.model.enums import OrderSide
from eventstore.model.errors import ModelError
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import UUID4
from eventstore.model.position_basis import PositionBasis
from eventstore.model.positions import Position
from eventstore.model.values import EXACT, Money, Quantity, to_double

_NODE: Final = Context(prec=28)
"""How exactly a node, written in Python, divides."""

_DIVIDED: Final = UUID("7d0cf7a4-6a0b-5c1e-9f39-2f0f9f8ce1a5")
"""Names the second parts of fills that are divided here: the same fill gives the same id."""


def earlier_cycles(
    position_id: str, basis: PositionBasis, first: OrderFilled, fills: Iterable[OrderFilled]
) -> list[Position] | None:
    """Return the closed cycles before the one that `first` opens; None if the fills do not make such.

    Parameters
    ----------
    position_id : str
    basis : PositionBasis
    first : OrderFilled
        The first fill that the position's list has.
    fills : iterable of OrderFilled
        All fills of orders that name the position, in the order in which the node had them.
    """
    cycles: list[Position] = []
    try:
        for fill in fills:
            if fill.event_id == first.event_id:
                break
            mine = owned(fill, position_id)
            if fill.trade_id == first.trade_id and fill.client_order_id == first.client_order_id:
                # `first` is what this one left behind it was divided.
                if not cycles or cycles[-1].is_closed or first.last_qty >= fill.last_qty:
                    return None
                rest = fill.commission.amount - first.commission.amount
                add_fill(cycles, basis, _part(mine, EXACT.subtract(fill.last_qty, first.last_qty), rest, mine.event_id))
                break
            _add(cycles, basis, mine)
        else:
            return None  # nothing leads to what the list begins with
    except (ModelError, TypeError, ArithmeticError):
        return None
    return cycles if all(cycle.is_closed for cycle in cycles) else None


def _add(cycles: list[Position], basis: PositionBasis, fill: OrderFilled) -> None:
    held = cycles[-1] if cycles and cycles[-1].is_open else None
    if held is None or held.is_long is (fill.order_side is OrderSide.BUY) or fill.last_qty <= held.quantity:
        add_fill(cycles, basis, fill)
        return
    paid = _share(fill.commission, held.quantity, fill.last_qty)
    left = EXACT.subtract(fill.last_qty, held.quantity)
    add_fill(cycles, basis, _part(fill, held.quantity, paid, fill.event_id))
    second = UUID4(str(uuid5(_DIVIDED, fill.event_id)))
    add_fill(cycles, basis, _part(fill, left, fill.commission.amount - paid, second))


def _share(commission: Money, quantity: Decimal, of: Decimal) -> Decimal:
    """Return what `quantity` bears of a commission, rounded as a node rounds it: as a double, half away from zero."""
    share = _NODE.multiply(commission.amount, _NODE.divide(Decimal(quantity), Decimal(of)))
    precision = commission.currency.precision
    scaled = to_double(share) * 10.0**precision
    whole = trunc(scaled)
    if abs(scaled - whole) >= 0.5:
        whole += 1 if scaled > 0 else -1
    return EXACT.scaleb(Decimal(whole), -precision)


def _part(fill: OrderFilled, quantity: Decimal, commission: Decimal, event_id: UUID4) -> OrderFilled:
    return fill.replace(
        event_id=event_id,
        last_qty=Quantity(quantity, -int(fill.last_qty.as_tuple().exponent)),
        commission=Money(commission, fill.commission.currency),
        info={},
        reconciliation=False,
    )
