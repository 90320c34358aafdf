"""What a position of NautilusTrader's had to know of its instrument."""

from __future__ import annotations

from typing import Any

from nautilus_trader.model.instruments import CurrencyPair, Instrument
from nautilus_trader.model.position import Position

from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.events import identifiers
from eventstore.model.identifiers import InstrumentId
from eventstore.model.position_basis import PositionBasis

_instrument_ids = identifiers(InstrumentId)

NETS_COMMISSIONS = hasattr(Position, "is_spot_currency")
"""Whether the installed NautilusTrader takes a commission in base currency off the position in a currency pair."""


def basis_of(value: Any) -> PositionBasis:
    """Return the basis of a NautilusTrader position; or of an instrument, as its positions will have it.

    Raises
    ------
    TypeError
        If `value` is neither.
    """
    if isinstance(value, Position):
        instrument_id, base, cost = value.instrument_id, value.base_currency, value.settlement_currency
        is_net = NETS_COMMISSIONS and value.is_spot_currency
    elif isinstance(value, Instrument):
        instrument_id, base, cost = value.id, value.get_base_currency(), value.get_cost_currency()
        is_net = NETS_COMMISSIONS and isinstance(value, CurrencyPair)
    else:
        raise TypeError(f"basis_of: expected a Position or Instrument of NautilusTrader, got {type(value).__name__}")
    return PositionBasis(
        instrument_id=_instrument_ids[instrument_id],
        size_precision=value.size_precision,
        multiplier=values.quantity_from_nautilus(value.multiplier),
        is_inverse=value.is_inverse,
        quote_currency=values.currency_from_nautilus(value.quote_currency),
        settlement_currency=values.currency_from_nautilus(cost),
        base_currency=None if base is None else values.currency_from_nautilus(base),
        quantity_net_of_commission=is_net and base is not None,
    )
