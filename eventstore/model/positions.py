"""Positions: what the fills of an instrument add up to.

Quantities, commissions and profits are exact decimals. The two average prices and the return are doubles, and the
profit of a fill is computed from them step by step as NautilusTrader's node does, before it is rounded to its
currency. An average is no terminating number, so it has to be rounded somewhere. Rounded elsewhere, a fill whose profit
lies near half a cent would be booked one cent off from what the node booked, and the position would stay off. Doubles
follow IEEE 754, so the same fills give the same state everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Self

from eventstore.model.currency import Currency
from eventstore.model.enums import OrderSide, PositionSide
from eventstore.model.errors import InvalidValue
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import (
    AccountId,
    ClientOrderId,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.position_basis import PositionBasis
from eventstore.model.position_fold import add_fills, money, profit_of, whole_units
from eventstore.model.values import Money, Price, Quantity, to_double

__all__ = ["RETURN_DECIMALS", "Position", "PositionBasis"]

RETURN_DECIMALS = 5
"""Decimals of the return in `Position.to_dict`."""

_NOTHING = Decimal(0)


class Position:
    """A holding of one instrument, built from fills by `apply`.

    A fill on the other side that is larger than what is held turns the position over: it books the profit of what was
    held, and goes on with the average prices as they are. A fill on a position that is flat begins a new cycle:
    everything starts afresh but the identifiers, `events` included. Where the basis says so, a commission in the base
    currency comes off the signed quantity; it may leave a rest behind a fill that was to close the position.

    Parameters
    ----------
    instrument : Instrument or PositionBasis
    fill : OrderFilled
        The fill that opens it; it has to have a `position_id`.

    Attributes
    ----------
    entry : OrderSide
        The side that opened it, or turned it over last.
    signed_qty : Decimal
        Positive when long, negative when short.
    ts_init, ts_opened, ts_last, ts_closed : int
        UNIX nanoseconds; `ts_closed` is 0 while it is open.
    duration_ns : int
        From opened to closed, in nanoseconds, 0 while it is open.
    avg_px_open, avg_px_close : float
        0.0 when there is none.
    realized_pnl : Money
        In settlement currency, net of the commissions in that currency.
    realized_return : float
        Of the average prices, as a fraction.
    """

    __slots__ = (
        "_base_code",
        "_booked",
        "_buy_qty",
        "_commissions",
        "_events",
        "_held",
        "_peak",
        "_sell_qty",
        "_trades",
        "account_id",
        "avg_px_close",
        "avg_px_open",
        "basis",
        "closing_order_id",
        "duration_ns",
        "entry",
        "id",
        "instrument_id",
        "opening_order_id",
        "peak_qty",
        "quantity",
        "realized_pnl",
        "realized_return",
        "side",
        "signed_qty",
        "strategy_id",
        "trader_id",
        "ts_closed",
        "ts_init",
        "ts_last",
        "ts_opened",
    )

    def __init__(self, instrument: Instrument | PositionBasis, fill: OrderFilled) -> None:
        basis = instrument if isinstance(instrument, PositionBasis) else PositionBasis.from_instrument(instrument)
        if not isinstance(fill, OrderFilled):
            raise TypeError(f"Position: expected OrderFilled, got {type(fill).__name__} ({fill!r:.80})")
        if fill.position_id is None:
            raise InvalidValue(f"Position: fill {fill.trade_id} has no position_id; a position is named by its first")
        self.basis = basis
        self.id: PositionId = fill.position_id
        self.trader_id: TraderId = fill.trader_id
        self.strategy_id: StrategyId = fill.strategy_id
        self.instrument_id: InstrumentId = basis.instrument_id
        self.account_id: AccountId = fill.account_id
        self.opening_order_id: ClientOrderId = fill.client_order_id
        self.closing_order_id: ClientOrderId | None = None
        self.entry: OrderSide = fill.order_side
        self.side: PositionSide = PositionSide.FLAT
        self.signed_qty: Decimal = _NOTHING
        self.quantity: Quantity = Quantity.zero(basis.size_precision)
        self.peak_qty: Quantity = self.quantity
        self.ts_init = self.ts_opened = self.ts_last = self.ts_closed = self.duration_ns = 0
        self.avg_px_open = self.avg_px_close = self.realized_return = 0.0
        self.realized_pnl: Money = Money.zero(basis.settlement_currency)
        # Whole numbers: what is held and was at most, in units of the position's quantity; what was bought and sold, of
        # `PRECISION_MAX` decimals; the profit, of the settlement currency's.
        self._held = self._peak = self._buy_qty = self._sell_qty = self._booked = 0
        self._base_code = None if basis.base_currency is None else basis.base_currency.code
        self._commissions: dict[str, Money] = {}
        self._trades: dict[TradeId, OrderFilled | set[tuple[Any, ...]]] = {}  # a fill each, or what several have
        self._events: list[OrderFilled] = []
        self.apply(fill)

    @classmethod
    def from_events(cls, basis: PositionBasis, fills: Iterable[OrderFilled]) -> Self:
        """Rebuild from stored fills, the first of which opened the position.

        Raises
        ------
        InvalidValue
            If there is no fill, or the first has no `position_id`.
        EventMismatch, DuplicateFill
            As `apply` does.
        """
        remaining = iter(fills)
        first = next(remaining, None)
        if first is None:
            raise InvalidValue(f"Position: no fills of {basis.instrument_id} to build from; give at least one")
        self = cls(basis, first)
        add_fills(self, remaining)
        return self

    def apply(self, fill: OrderFilled) -> None:
        """Add a fill. If it raises, the position is as it was.

        Raises
        ------
        TypeError
            If `fill` is no `OrderFilled`.
        EventMismatch
            If it is of another position, instrument or trader.
        DuplicateFill
            If a fill with its trade id, side, quantity and price is in the position already.
        InvalidValue
            If it has no side or quantity, or amounts grow beyond what can be computed.
        """
        add_fills(self, (fill,))

    @property
    def symbol(self) -> Symbol:
        """The symbol of the instrument."""
        return self.instrument_id.symbol

    @property
    def venue(self) -> Venue:
        """The venue of the instrument."""
        return self.instrument_id.venue

    @property
    def is_open(self) -> bool:
        """Whether something is held."""
        return self.side is not PositionSide.FLAT

    @property
    def is_closed(self) -> bool:
        """Whether nothing is held any more."""
        return self.side is PositionSide.FLAT

    @property
    def is_long(self) -> bool:
        """Whether it gains when the price rises."""
        return self.side is PositionSide.LONG

    @property
    def is_short(self) -> bool:
        """Whether it gains when the price falls."""
        return self.side is PositionSide.SHORT

    @property
    def events(self) -> list[OrderFilled]:
        """The fills of the present cycle, a copy."""
        return list(self._events)

    @property
    def event_count(self) -> int:
        """The number of fills of the present cycle."""
        return len(self._events)

    @property
    def last_event(self) -> OrderFilled:
        """The last fill."""
        return self._events[-1]

    @property
    def last_trade_id(self) -> TradeId:
        """The trade id of the last fill."""
        return self._events[-1].trade_id

    @property
    def trade_ids(self) -> list[TradeId]:
        """The trade ids of the present cycle, in the order of their fills, each once."""
        return list(dict.fromkeys(fill.trade_id for fill in self._events))

    @property
    def client_order_ids(self) -> list[ClientOrderId]:
        """The orders that were filled in the present cycle, sorted, each once."""
        return sorted({fill.client_order_id for fill in self._events})

    @property
    def venue_order_ids(self) -> list[VenueOrderId]:
        """The venue's names of these orders, sorted, each once."""
        return sorted({fill.venue_order_id for fill in self._events})

    def commissions(self) -> list[Money]:
        """Return the commissions of the present cycle, one sum a currency, in the order of their first."""
        return list(self._commissions.values())

    def unrealized_pnl(self, last: Price) -> Money:
        """Return what closing at `last` would make, in settlement currency, commissions aside."""
        settlement = self.basis.settlement_currency
        if self.is_closed:
            return Money.zero(settlement)
        _check_price("unrealized_pnl", last)
        held = min(to_double(self.quantity), abs(float(self.signed_qty)))  # as in closing it
        multiplier = to_double(self.basis.multiplier)
        profit = profit_of(self.basis.is_inverse, multiplier, self.avg_px_open, to_double(last), held, self.is_long)
        return _rounded(f"Position {self.id}: unrealized_pnl", profit, settlement)

    def total_pnl(self, last: Price) -> Money:
        """Return realized and unrealized profit together."""
        return self.realized_pnl + self.unrealized_pnl(last)

    def notional_value(self, price: Price) -> Money:
        """Return what is held at `price`, in quote currency, or in base currency if inverse.

        Raises
        ------
        InvalidValue
            For an inverse instrument at a price of 0.
        """
        _check_price("notional_value", price)
        basis = self.basis
        size, px = to_double(self.quantity) * to_double(basis.multiplier), to_double(price)
        if not basis.is_inverse:
            return _rounded(f"Position {self.id}: notional_value", size * px, basis.quote_currency)
        if px == 0.0:
            raise InvalidValue(f"Position {self.id}: an inverse instrument has no value at a price of 0")
        return _rounded(f"Position {self.id}: notional_value", size / px, basis.settlement_currency)

    def to_dict(self) -> dict[str, Any]:
        """Return the state with NautilusTrader's keys, as text and numbers; its floats are floats here."""
        basis = self.basis
        return {
            "position_id": str(self.id),
            "trader_id": str(self.trader_id),
            "strategy_id": str(self.strategy_id),
            "instrument_id": str(self.instrument_id),
            "account_id": str(self.account_id),
            "opening_order_id": str(self.opening_order_id),
            "closing_order_id": None if self.closing_order_id is None else str(self.closing_order_id),
            "entry": self.entry.name,
            "side": self.side.name,
            "signed_qty": float(self.signed_qty),
            "quantity": str(self.quantity),
            "peak_qty": str(self.peak_qty),
            "ts_init": self.ts_init,
            "ts_opened": self.ts_opened,
            "ts_last": self.ts_last,
            "ts_closed": self.ts_closed or None,
            "duration_ns": self.duration_ns or None,
            "avg_px_open": self.avg_px_open,
            "avg_px_close": self.avg_px_close if self.avg_px_close > 0.0 else None,
            "quote_currency": basis.quote_currency.code,
            "base_currency": None if basis.base_currency is None else basis.base_currency.code,
            "settlement_currency": basis.settlement_currency.code,
            "commissions": sorted(str(commission) for commission in self._commissions.values()),
            "realized_return": round(self.realized_return, RETURN_DECIMALS),
            "realized_pnl": str(self.realized_pnl),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Position) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        held = f" {self.quantity}" if self.is_open else ""
        return f"Position({self.side.name}{held} {self.instrument_id}, id={self.id})"


def _check_price(verb: str, price: Price) -> None:
    if not isinstance(price, Price):
        raise TypeError(f"Position.{verb}: expected Price, got {type(price).__name__} ({price!r:.80})")


def _rounded(what: str, value: float, currency: Currency) -> Money:
    """Return `value` rounded to the currency's decimals, half away from zero."""
    return money(whole_units(what, value, 10.0**currency.precision), currency)
