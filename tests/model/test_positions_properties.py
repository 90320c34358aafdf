"""Positions: what holds for any fills."""

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventstore.model.currencies import BTC, JPY, USD, USDT
from eventstore.model.enums import LiquiditySide, OrderSide, OrderType
from eventstore.model.errors import ModelError
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientOrderId,
    InstrumentId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.positions import Position, PositionBasis
from eventstore.model.values import Money, Price, Quantity
from tests.support import strategies as some

BASES = [
    PositionBasis(InstrumentId("USD/JPY.SIM"), 0, Quantity("1"), *(False, JPY, JPY, USD)),
    PositionBasis(InstrumentId("ESZ1.GLBX"), 0, Quantity("50"), *(False, USD, USD, None)),
    PositionBasis(InstrumentId("BTCUSDT-PERP.BINANCE"), 3, Quantity("0.1"), *(False, USDT, USDT, BTC)),
    PositionBasis(InstrumentId("XBTUSD.BITMEX"), 0, Quantity("1"), *(True, USD, BTC, BTC)),
]


def fill(n: int, basis: PositionBasis, is_buy: bool, qty: Decimal, px: Decimal, commission: Money) -> OrderFilled:
    return OrderFilled(
        event_id=UUID4(),
        ts_event=n,
        ts_init=n,
        trader_id=TraderId("TRADER-001"),
        strategy_id=StrategyId("S-001"),
        instrument_id=basis.instrument_id,
        client_order_id=ClientOrderId(f"O-{n}"),
        venue_order_id=VenueOrderId(f"V-{n}"),
        account_id=AccountId("SIM-001"),
        trade_id=TradeId(f"T-{n}"),
        order_side=OrderSide.BUY if is_buy else OrderSide.SELL,
        order_type=OrderType.MARKET,
        last_qty=Quantity(qty, basis.size_precision),
        last_px=Price(px),
        currency=basis.quote_currency,
        commission=commission,
        liquidity_side=LiquiditySide.TAKER,
        position_id=PositionId("P-1"),
    )


@st.composite
def series(
    draw: st.DrawFn, basis: PositionBasis | None = None, flips: bool = True
) -> tuple[PositionBasis, list[OrderFilled]]:
    """Fills of one position; with few sizes, so that it is often flat, and without `flips` never turned over."""
    basis = basis or draw(st.sampled_from(BASES))
    unit = Decimal(1).scaleb(-basis.size_precision)
    held, fills = Decimal(0), []
    for n in range(draw(st.integers(1, 12))):
        qty = draw(st.sampled_from([1, 2, 3, 7, 1000])) * unit
        is_buy = draw(st.booleans())
        if not flips and held and is_buy is (held < 0):
            qty = min(qty, abs(held))
        held += qty if is_buy else -qty
        px = Decimal(draw(st.integers(9_000, 9_500))).scaleb(-2)
        commission = Money(
            Decimal(draw(st.integers(-500, 500))).scaleb(-2), draw(st.sampled_from([JPY, USD, BTC, USDT]))
        )
        fills.append(fill(n, basis, is_buy, qty, px, commission))
    return basis, fills


SPOT = PositionBasis(InstrumentId("BTCUSDT.BINANCE"), 6, Quantity("1"), *(False, USDT, USDT, BTC, True))


def same_state(left: Position, right: Position) -> bool:
    """Whether every attribute is equal, not only those that are shown."""
    return all(getattr(left, name) == getattr(right, name) for name in Position.__slots__)


@given(series())
def test_folding_any_prefix_gives_what_the_live_position_was(
    given_series: tuple[PositionBasis, list[OrderFilled]],
) -> None:
    basis, fills = given_series
    live = Position(basis, fills[0])
    for n, following in enumerate(fills, 1):
        if n > 1:
            live.apply(following)
        assert same_state(live, Position.from_events(basis, fills[:n]))
        assert same_state(live, Position.from_events(basis, live.events)), "the present cycle is all it takes"


@given(series(SPOT))
def test_a_position_net_of_commissions_holds_what_was_traded_less_what_was_paid(
    given_series: tuple[PositionBasis, list[OrderFilled]],
) -> None:
    """In any order of fills, and every prefix of them folds to what the live position was."""
    basis, fills = given_series
    live, held = Position(basis, fills[0]), Decimal(0)
    for n, following in enumerate(fills, 1):
        if n > 1:
            live.apply(following)
        held += following.last_qty if following.is_buy else -following.last_qty
        if following.commission.currency == BTC:
            held -= following.commission.amount
        assert live.signed_qty == held
        assert (live.is_long, live.is_short, live.is_closed) == (held > 0, held < 0, held == 0)
        assert same_state(live, Position.from_events(basis, fills[:n]))


@given(series())
def test_quantity_is_what_was_bought_less_what_was_sold(given_series: tuple[PositionBasis, list[OrderFilled]]) -> None:
    basis, fills = given_series
    position = Position.from_events(basis, fills)
    signed = sum((f.last_qty if f.is_buy else -f.last_qty for f in fills), Decimal(0))
    assert position.signed_qty == signed
    assert position.quantity == abs(signed)
    assert (position.is_long, position.is_short, position.is_closed) == (signed > 0, signed < 0, signed == 0)
    assert position.quantity.precision == basis.size_precision
    for total in position.commissions():
        paid = [f.commission.amount for f in position.events if f.commission.currency == total.currency]
        assert total.amount == sum(paid)


@given(series(), st.data())
def test_a_fill_that_is_refused_changes_nothing(
    given_series: tuple[PositionBasis, list[OrderFilled]], data: st.DataObject
) -> None:
    basis, fills = given_series
    position, twin = Position.from_events(basis, fills), Position.from_events(basis, fills)
    wrong = data.draw(
        st.sampled_from(
            [
                position.last_event,
                fills[-1].replace(trade_id=TradeId("T-NEW"), position_id=PositionId("P-2")),
                fills[-1].replace(trade_id=TradeId("T-NEW"), trader_id=TraderId("TRADER-002")),
                fills[-1].replace(trade_id=TradeId("T-NEW"), instrument_id=InstrumentId("OTHER.SIM")),
                fills[-1].replace(trade_id=TradeId("T-NEW"), order_side=OrderSide.NO_ORDER_SIDE),
                fills[-1].replace(trade_id=TradeId("T-NEW"), last_qty=Quantity("0")),
            ]
        )
    )
    with pytest.raises(ModelError):
        position.apply(wrong)
    assert same_state(position, twin)


@given(series(flips=False), st.integers(9_000, 9_500))
def test_profit_is_the_cash_that_came_in_and_the_worth_of_what_is_held(
    given_series: tuple[PositionBasis, list[OrderFilled]], last: int
) -> None:
    """An account of the cash alone, in fractions: no averages. It may differ by half a unit for each rounding."""
    basis, fills = given_series
    position = Position.from_events(basis, fills)
    price = Price(Decimal(last).scaleb(-2))

    def worth(qty: Decimal, px: Decimal) -> Fraction:
        size = Fraction(qty) * Fraction(basis.multiplier)
        return -size / Fraction(px) if basis.is_inverse else size * Fraction(px)

    total = Fraction(0)
    for f in position.events:
        total += worth(f.last_qty, f.last_px) * (-1 if f.is_buy else 1)
        if f.commission.currency == basis.settlement_currency:
            total -= Fraction(f.commission.amount)
    total += worth(position.signed_qty, price)
    unit = Fraction(1, 10**basis.settlement_currency.precision)
    roundings = position.event_count + 1
    if basis.is_inverse:
        # The average of an inverse position is that of the prices, and not of what was paid: exact while it has one.
        assume(len({f.last_px for f in position.events}) == 1)
    assert abs(Fraction(position.total_pnl(price).amount) - total) <= roundings * unit * Fraction(51, 100)


@given(series(flips=False))
def test_averages_and_return_are_those_of_fractions(given_series: tuple[PositionBasis, list[OrderFilled]]) -> None:
    """The return is that of the last fill that reduced the position: what is added later does not change it."""
    basis, fills = given_series
    position = Position.from_events(basis, fills)
    opening = position.events[0].is_buy
    held = average = sold = proceeds = ratio = Fraction(0)
    for f in position.events:
        qty, px = Fraction(f.last_qty), Fraction(f.last_px)
        if f.is_buy is opening:
            average = (average * held + px * qty) / (held + qty)
            held += qty
        else:
            held -= qty
            sold += qty
            proceeds += px * qty
            ratio = (proceeds / sold - average) / average * (1 if opening else -1)
    assert position.avg_px_open == pytest.approx(float(average), rel=1e-9)
    assert position.avg_px_close == pytest.approx(float(proceeds / sold) if sold else 0.0, rel=1e-9)
    assert position.realized_return == pytest.approx(float(ratio), rel=1e-9, abs=1e-12)


@given(some.instruments())
def test_every_instrument_can_be_held(instrument: Instrument) -> None:
    basis = PositionBasis.from_instrument(instrument)
    assert PositionBasis.from_dict(basis.to_dict()) == basis
    opening = fill(1, basis, *(True, Decimal(1), Decimal(1), Money("1", USD)))
    live, rebuilt = Position(instrument, opening), Position.from_events(basis, [opening])
    assert same_state(live, rebuilt)
    assert live.to_dict()["settlement_currency"] == instrument.cost_currency.code


def test_a_cycle_of_ten_thousand_fills_folds_at_a_constant_cost_each() -> None:
    basis = BASES[0]
    fills = [
        fill(n, basis, *(n % 3 != 2, Decimal(10 + n % 7), Decimal(9_000 + n % 100).scaleb(-2), Money("1", JPY)))
        for n in range(10_000)
    ]
    started = time.process_time()
    position = Position.from_events(basis, fills)
    assert position.event_count == 10_000
    # A tenth of this is what it takes; a cost that grew with the history would take ten times this.
    assert time.process_time() - started < 2.0
    assert len(position.realized_pnl.amount.as_tuple().digits) < 10
