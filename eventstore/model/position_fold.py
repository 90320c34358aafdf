"""What fills do to a position: the arithmetic, for one fill or for the thousands of a load.

Quantities and profit are whole numbers of a small unit while fills are added up, and decimals again behind the last: as
exact, in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from math import trunc
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn

from eventstore.model.currency import Currency
from eventstore.model.enums import OrderSide, PositionSide
from eventstore.model.errors import DuplicateFill, EventMismatch, InvalidValue
from eventstore.model.events import OrderFilled
from eventstore.model.record import U64_MAX
from eventstore.model.values import EXACT, PRECISION_MAX, Money, Quantity, to_double

if TYPE_CHECKING:
    from eventstore.model.positions import Position

_AMOUNT_MAX = 1e30
_add = EXACT.add
_DOUBLE_DECIMALS = 16  # of NautilusTrader's fixed-point numbers, see `to_double`
_UNIT = 10.0**_DOUBLE_DECIMALS
_SMALLEST_IN_UNIT = 10 ** (PRECISION_MAX - _DOUBLE_DECIMALS)

# Enum members as globals: a member is a slow attribute, and every fill of every loaded position passes here.
_BUY, _SELL, _NO_SIDE = OrderSide.BUY, OrderSide.SELL, OrderSide.NO_ORDER_SIDE
_FLAT, _LONG, _SHORT = PositionSide.FLAT, PositionSide.LONG, PositionSide.SHORT

_IDS = ("instrument_id", "trader_id", "position_id")
_FACTS = ("trade_id", "order_side", "last_qty", "last_px", "commission")
_read = itemgetter(*map(OrderFilled._fields.index, _IDS + _FACTS))
_trade = itemgetter(*map(OrderFilled._fields.index, ("order_side", "last_qty", "last_px")))

_Facts = tuple[float, int, int | None]
"""Of a quantity: its double; in units of `PRECISION_MAX` decimals; in the position's unless it has more decimals."""


def add_fills(position: Position, fills: Iterable[OrderFilled]) -> None:
    """Add `fills`, one behind the other. If the first raises, the position is as it was.

    Raises as `Position.apply` does.
    """
    basis = position.basis
    settlement, precision, multiplier = basis.settlement_currency, basis.size_precision, to_double(basis.multiplier)
    settlement_code, cents = settlement.code, 10.0**settlement.precision
    unit, in_unit, in_cent = 10**precision, _scale(precision), _scale(settlement.precision)
    instrument_id, trader_id, position_id = position.instrument_id, position.trader_id, position.id
    netted_code = position._base_code if basis.quantity_net_of_commission else None
    what = f"Position {position_id}: realized_pnl"
    trades, events = position._trades, position._events
    commissions: dict[str, tuple[Decimal, Currency]] = dict(position._commissions)  # plain pairs
    exact: Decimal | None = position.signed_qty
    held, bought, sold = position._held, position._buy_qty, position._sell_qty
    side, entry, peak, booked = position.side, position.entry, position._peak, position._booked
    avg_open, avg_close, ratio = position.avg_px_open, position.avg_px_close, position.realized_return
    # What is looked at once for all the fills that have it. A quantity by its `id`: equal ones may differ in decimals.
    quantities: dict[int, _Facts] = {}
    doubles: dict[Decimal, float] = {}
    fill: OrderFilled | None = None
    for fill in fills:
        if not isinstance(fill, OrderFilled):
            raise TypeError(f"Position {position_id}: expected OrderFilled, got {type(fill).__name__} ({fill!r:.80})")
        instrument, trader, own_id, trade_id, order_side, last_qty, last_px, commission = _read(fill)
        if (
            instrument != instrument_id
            or trader != trader_id
            or (own_id != position_id and own_id is not None)  # None is taken at the caller's word
        ):
            _refuse_foreign(position, fill)
        if order_side is _NO_SIDE or not last_qty:
            _refuse_empty(position, fill)
        is_buy = order_side is _BUY
        # A venue may give both sides of a trade with oneself, and its parts, one trade id: then there is a set of them.
        same_id: Any = trades.get(trade_id)
        if same_id is not None:
            same_id = same_id if same_id.__class__ is set else {_trade(same_id)}
            if _trade(fill) in same_id:
                _refuse_again(position, fill)
        facts = quantities.get(id(last_qty))
        if facts is None:
            facts = quantities[id(last_qty)] = _facts(last_qty, precision)
        qty, smallest, by = facts
        px = doubles.get(last_px)
        if px is None:
            px = doubles[last_px] = to_double(last_px)
        amount, currency = commission
        code = currency.code
        gain = 0.0
        if code == settlement_code:
            charge = doubles.get(amount)
            if charge is None:
                charge = doubles[amount] = to_double(amount)
            gain = -charge

        if side is _FLAT:
            before, after_bought, after_sold, exact = 0, 0, 0, None
            opened, closed, returned = px, 0.0, 0.0
            paid = None
        else:
            before, after_bought, after_sold = held, bought, sold
            opened, closed, returned = avg_open, avg_close, ratio
            paid = commissions.get(code)
            if is_buy is (side is _LONG):
                size = abs(held) * in_unit / _UNIT if in_unit else _double_of(abs(held), precision)
                opened = (avg_open * size + px * qty) / (size + qty)
                profit = 0.0
            else:
                counted = _double(bought if is_buy else sold)
                closed = px if avg_close == 0.0 else (avg_close * counted + px * qty) / (counted + qty)
                returned = 0.0
                if avg_open != 0.0:
                    returned = (closed - avg_open if side is _LONG else avg_open - closed) / avg_open
                # NautilusTrader keeps the signed quantity as a double: it bounds what can be closed by that.
                size = min(qty, abs(held / unit))
                profit = profit_of(basis.is_inverse, multiplier, avg_open, px, size, side is _LONG)
            so_far = booked * in_cent / _UNIT if in_cent else _double_of(booked, settlement.precision)
            gain = so_far + (gain + profit)
        gained = whole_units(what, gain, cents)
        if paid is None:
            paid = commission
        elif paid[1] is currency:  # the usual case, without a second rounding
            paid = (_add(paid[0], amount), currency)
        else:
            paid = Money.unchecked(paid) + commission
        if is_buy:
            after_bought += smallest
        else:
            after_sold += smallest
        rounded: Decimal | None = None
        if by is None:
            start = _decimal(before, precision) if exact is None else exact
            rounded = _moved(start, last_qty if is_buy else last_qty.copy_negate(), to_double, precision)
            after = _units(rounded, precision)
        else:
            after = before + by if is_buy else before - by
        if code == netted_code:
            start = _decimal(after, precision) if rounded is None else rounded
            rounded = _moved(start, amount.copy_negate(), float, precision)
            after = _units(rounded, precision)

        # Nothing below raises: from here on the position changes.
        if side is _FLAT:
            entry, peak = order_side, -1
            position.opening_order_id, position.closing_order_id = fill.client_order_id, None
            position.ts_init, position.ts_opened = fill.ts_init, fill.ts_event
            position.ts_closed = position.duration_ns = 0
            trades, commissions, events = {}, {}, []
            same_id = None
            quantities.clear()  # an `id` may be another's as soon as nothing holds its fill any more
        if abs(after) > peak:
            peak = abs(after)
        avg_open, avg_close, ratio = opened, closed, returned
        held, exact, bought, sold, booked = after, rounded, after_bought, after_sold, gained
        commissions[code] = paid
        if same_id is None:
            trades[trade_id] = fill
        else:
            same_id.add(_trade(fill))
            trades[trade_id] = same_id
        events.append(fill)
        if after > 0:
            entry, side = _BUY, _LONG
        elif after < 0:
            entry, side = _SELL, _SHORT
        else:
            side = _FLAT
            position.closing_order_id = fill.client_order_id
            position.ts_closed = fill.ts_event
            position.duration_ns = (fill.ts_event - position.ts_opened) & U64_MAX  # unsigned, as NautilusTrader's
    if fill is None:
        return
    position.avg_px_open, position.avg_px_close, position.realized_return = avg_open, avg_close, ratio
    position._held, position._buy_qty, position._sell_qty, position._booked = held, bought, sold, booked
    position._commissions = {code: Money.unchecked(paid) for code, paid in commissions.items()}
    position._trades, position._events = trades, events
    position.entry, position.side, position.ts_last = entry, side, fill.ts_event
    position.signed_qty = _decimal(held, precision) if exact is None else exact
    position.quantity = Decimal.__new__(Quantity, position.signed_qty.copy_abs())
    if peak != position._peak:
        position._peak, position.peak_qty = peak, Decimal.__new__(Quantity, _decimal(peak, precision))
    position.realized_pnl = money(booked, settlement)


def _facts(quantity: Quantity, precision: int) -> _Facts:
    fits = -int(quantity.as_tuple().exponent) <= precision
    return to_double(quantity), _units(quantity, PRECISION_MAX), _units(quantity, precision) if fits else None


def _units(value: Decimal, precision: int) -> int:
    return int(EXACT.scaleb(value, precision))


def _decimal(units: int, precision: int) -> Decimal:
    return EXACT.scaleb(Decimal(units), -precision)


def _scale(precision: int) -> int:
    """Return by what units of so many decimals become those of doubles; 0 if they have more decimals than those."""
    return 10 ** (_DOUBLE_DECIMALS - precision) if precision <= _DOUBLE_DECIMALS else 0


def _double_of(units: int, precision: int) -> float:
    return _double(units * 10 ** (PRECISION_MAX - precision))


def _double(smallest: int) -> float:
    """Return what `to_double` makes of that many units of `PRECISION_MAX` decimals."""
    whole, rest = divmod(smallest, _SMALLEST_IN_UNIT)
    return float(_decimal(smallest, PRECISION_MAX)) if rest else whole / _UNIT


def _moved(held: Decimal, by: Decimal, double: Callable[[Decimal], float], precision: int) -> Decimal:
    """Return the signed quantity `held` changed `by` an amount, with the decimals of the position's quantity.

    What fits in these decimals is exact. What has more, such as a commission, is rounded as NautilusTrader does, which
    keeps the signed quantity as a double: halves go where the nearest double of the sum lies.
    """
    step = _decimal(1, precision)
    exact = EXACT.add(held, by)
    if -int(exact.as_tuple().exponent) <= precision:
        return exact.quantize(step, ROUND_HALF_EVEN, EXACT)
    rounded = round(float(held) + double(by), precision)
    return Decimal(repr(rounded)).quantize(step, ROUND_HALF_EVEN, EXACT)


def profit_of(
    is_inverse: bool, multiplier: float, avg_open: float, avg_close: float, qty: float, is_long: bool
) -> float:
    """Return the profit of `qty` between two prices, in settlement currency, not rounded."""
    if is_inverse:
        if avg_open == 0.0 or avg_close == 0.0:
            return 0.0
        points = 1.0 / avg_open - 1.0 / avg_close
    else:
        points = avg_close - avg_open
    return (points if is_long else -points) * (qty * multiplier)


def whole_units(what: str, value: float, in_one: float) -> int:
    """Return how many units `value` is, of which there are `in_one` in 1: rounded, half away from zero.

    Raises `InvalidValue`, which says `what` it is, if it is too large.
    """
    if not -_AMOUNT_MAX < value < _AMOUNT_MAX:
        raise InvalidValue(f"{what} would be {value}; amounts have to stay below {_AMOUNT_MAX:g}")
    scaled = value * in_one
    whole = trunc(scaled)
    if abs(scaled - whole) >= 0.5:
        whole += 1 if scaled > 0 else -1
    return whole


def money(units: int, currency: Currency) -> Money:
    """Return an amount of so many of the smallest units of `currency`."""
    return Money.unchecked((_decimal(units, currency.precision), currency))


def _refuse_foreign(position: Position, fill: OrderFilled) -> NoReturn:
    raise EventMismatch(
        f"Position {position.id}: fill {fill.trade_id} is of position {fill.position_id}, instrument "
        f"{fill.instrument_id}, trader {fill.trader_id}, not of {position.instrument_id} and {position.trader_id}; "
        "apply it to its own position"
    )


def _refuse_empty(position: Position, fill: OrderFilled) -> NoReturn:
    if fill.order_side is _NO_SIDE:
        raise InvalidValue(f"Position {position.id}: fill {fill.trade_id} has no side; it has to be BUY or SELL")
    raise InvalidValue(f"Position {position.id}: fill {fill.trade_id} has a last_qty of 0; it has to be positive")


def _refuse_again(position: Position, fill: OrderFilled) -> NoReturn:
    raise DuplicateFill(
        f"Position {position.id}: trade {fill.trade_id}, {fill.order_side.name} {fill.last_qty} at {fill.last_px}, "
        "was applied already; drop the repetition"
    )
