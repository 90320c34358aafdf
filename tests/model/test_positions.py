"""Positions: what each fill does. The numbers are what NautilusTrader 1.221 makes of the same fills."""

from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from eventstore.model.currencies import BNB, BTC, ETH, JPY, USD, USDT
from eventstore.model.currency import Currency
from eventstore.model.enums import LiquiditySide, OrderSide, OrderType, PositionSide
from eventstore.model.errors import DuplicateFill, EventMismatch, InvalidValue
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
from eventstore.model.positions import Position, PositionBasis
from eventstore.model.values import Money, Price, Quantity


def basis_of(name: str, multiplier: str, quote: Currency, **given: Any) -> PositionBasis:
    values: dict[str, Any] = {"size_precision": 0, "is_inverse": False, "settlement_currency": quote} | given
    return PositionBasis(InstrumentId(name), multiplier=Quantity(multiplier), quote_currency=quote, **values)


USDJPY = basis_of("USD/JPY.SIM", "1", JPY, base_currency=USD)
XBTUSD = basis_of("XBTUSD.BITMEX", "1", USD, is_inverse=True, settlement_currency=BTC, base_currency=BTC)
ETHUSD_IN_BTC = basis_of("ETHUSD.BITMEX", "10", USD, settlement_currency=BTC, base_currency=ETH)
OPTION = basis_of("AAPL211217C00150000.OPRA", "100", USD)
BTCUSDT = basis_of("BTCUSDT.BINANCE", "1", USDT, size_precision=6, base_currency=BTC)
FUTURE = basis_of("ESZ1.GLBX", "1", USD)

_numbers = count(1)


def fill(
    basis: PositionBasis,
    side: str,
    qty: str,
    px: str,
    commission: str = "0",
    currency: Currency | None = None,
    **given: Any,
) -> OrderFilled:
    n = next(_numbers)
    values: dict[str, Any] = {
        "event_id": UUID4(),
        "ts_event": n,
        "ts_init": n,
        "trader_id": TraderId("TRADER-001"),
        "strategy_id": StrategyId("S-001"),
        "instrument_id": basis.instrument_id,
        "client_order_id": ClientOrderId(f"O-{n}"),
        "venue_order_id": VenueOrderId(f"V-{n}"),
        "account_id": AccountId("SIM-001"),
        "trade_id": TradeId(f"T-{n}"),
        "order_side": OrderSide[side],
        "order_type": OrderType.MARKET,
        "last_qty": Quantity(qty),
        "last_px": Price(px),
        "currency": basis.quote_currency,
        "commission": Money(commission, currency or basis.settlement_currency),
        "liquidity_side": LiquiditySide.TAKER,
        "position_id": PositionId("P-1"),
    }
    return OrderFilled(**(values | given))


def build(basis: PositionBasis, *fills: tuple[Any, ...]) -> Position:
    return Position.from_events(basis, [fill(basis, *values) for values in fills])


def state(position: Position) -> dict[str, Any]:
    """Everything that can be told of a position."""
    return position.to_dict() | {
        "events": position.events,
        "commissions": [str(commission) for commission in position.commissions()],
        "signed": position.signed_qty,
        "trade_ids": position.trade_ids,
        "bought": position._buy_qty,
        "sold": position._sell_qty,
    }


def test_to_dict_has_the_keys_in_nautilus_traders_order() -> None:
    position = Position(USDJPY, fill(USDJPY, "BUY", "1000", "92.100", "5", ts_event=7, ts_init=9))
    assert list(position.to_dict().items()) == [
        ("position_id", "P-1"),
        ("trader_id", "TRADER-001"),
        ("strategy_id", "S-001"),
        ("instrument_id", "USD/JPY.SIM"),
        ("account_id", "SIM-001"),
        ("opening_order_id", str(position.opening_order_id)),
        ("closing_order_id", None),
        ("entry", "BUY"),
        ("side", "LONG"),
        ("signed_qty", 1000.0),
        ("quantity", "1000"),
        ("peak_qty", "1000"),
        ("ts_init", 9),
        ("ts_opened", 7),
        ("ts_last", 7),
        ("ts_closed", None),
        ("duration_ns", None),
        ("avg_px_open", 92.1),
        ("avg_px_close", None),
        ("quote_currency", "JPY"),
        ("base_currency", "USD"),
        ("settlement_currency", "JPY"),
        ("commissions", ["5 JPY"]),
        ("realized_return", 0.0),
        ("realized_pnl", "-5 JPY"),
    ]


def test_a_position_that_is_added_to_and_reduced() -> None:
    position = build(USDJPY, ("BUY", "1000", "92.000"), ("BUY", "3000", "92.400"), ("SELL", "1000", "92.500"))
    assert position.is_long
    assert position.avg_px_open == 92.3
    assert position.avg_px_close == 92.5
    assert (str(position.quantity), str(position.peak_qty)) == ("3000", "4000")
    assert str(position.realized_pnl) == "200 JPY"
    assert str(position.unrealized_pnl(Price("92.400"))) == "300 JPY"
    assert str(position.total_pnl(Price("92.400"))) == "500 JPY"
    assert str(position.notional_value(Price("92.500"))) == "277500 JPY"


def test_closing_names_the_order_and_the_time() -> None:
    position = Position(USDJPY, fill(USDJPY, "SELL", "1000", "92.000", ts_event=1_000))
    closing = fill(USDJPY, "BUY", "1000", "91.000", ts_event=61_000)
    position.apply(closing)
    assert position.is_closed
    assert not position.is_open
    assert position.side is PositionSide.FLAT
    assert position.closing_order_id == closing.client_order_id
    assert (position.ts_closed, position.duration_ns) == (61_000, 60_000)
    assert position.to_dict()["realized_return"] == 0.01087
    assert str(position.realized_pnl) == "1000 JPY"
    assert str(position.unrealized_pnl(Price("80.000"))) == "0 JPY"
    assert position.last_event is closing


def test_a_larger_fill_on_the_other_side_turns_the_position_over_and_keeps_its_average() -> None:
    seen = []
    position = Position(USDJPY, fill(USDJPY, "BUY", "1000", "92.1", "5"))
    for values in (
        ("SELL", "3000", "92.5", "5"),
        ("BUY", "1000", "92.4", "5"),
        ("BUY", "5000", "92.4", "5"),
        ("SELL", "4000", "92.0", "5"),
    ):
        position.apply(fill(USDJPY, *values))
        d = position.to_dict()
        seen.append(
            [d[k] for k in ("entry", "signed_qty", "avg_px_open", "avg_px_close", "realized_return", "realized_pnl")]
        )
    assert seen == [
        ["SELL", -2000.0, 92.1, 92.5, 0.00434, "390 JPY"],
        ["SELL", -1000.0, 92.1, 92.45, -0.0038, "85 JPY"],
        ["BUY", 4000.0, 92.1, 92.41428571428571, -0.00341, "-220 JPY"],
        ["BUY", 0.0, 92.1, 92.17755102040816, 0.00084, "-625 JPY"],
    ]
    assert position.peak_qty == 4000


def test_a_fill_on_a_flat_position_begins_a_new_cycle() -> None:
    position = build(USDJPY, ("BUY", "2000", "92.1", "5"), ("SELL", "2000", "92.5", "5"))
    before = position._events
    again = fill(USDJPY, "SELL", "1000", "93.0", "7", BTC, ts_event=500, ts_init=600)
    position.apply(again)
    fresh = Position(USDJPY, again)
    assert state(position) == state(fresh)
    assert position.events == [again]
    assert len(before) == 2, "the list of the earlier cycle is left to whoever holds it"
    assert position._events is not before


def test_an_inverse_position_is_settled_in_base_currency() -> None:
    position = build(XBTUSD, ("BUY", "100000", "10000.0", "0.0075"), ("SELL", "50000", "10500.5", "-0.001"))
    assert str(position.realized_pnl) == "0.23182198 BTC"
    assert position.to_dict()["realized_return"] == 0.05005
    assert str(position.unrealized_pnl(Price("11000.0"))) == "0.45454545 BTC"
    assert str(position.total_pnl(Price("11000.0"))) == "0.68636743 BTC"
    assert str(position.notional_value(Price("11000.0"))) == "4.54545455 BTC"
    with pytest.raises(InvalidValue, match="no value at a price of 0"):
        position.notional_value(Price("0.0"))


def test_an_inverse_position_counts_no_profit_against_a_price_of_zero() -> None:
    position = build(XBTUSD, ("BUY", "10", "1.0"), ("SELL", "5", "0.0"), ("SELL", "5", "2.0"))
    assert str(position.realized_pnl) == "2.50000000 BTC"
    assert position.avg_px_close == 2.0


def test_a_quanto_position_is_settled_in_its_settlement_currency() -> None:
    position = build(ETHUSD_IN_BTC, ("BUY", "100", "10.00"), ("SELL", "50", "11.00"))
    assert str(position.realized_pnl) == "500.00000000 BTC"
    assert str(position.notional_value(Price("11.00"))) == "5500.00 USD"


def test_the_multiplier_counts_and_there_may_be_no_base_currency() -> None:
    position = build(OPTION, ("BUY", "2", "10.00"), ("SELL", "1", "11.00"))
    assert str(position.realized_pnl) == "100.00 USD"
    assert position.to_dict()["base_currency"] is None


def test_commissions_are_kept_by_currency_and_leave_the_quantity_alone() -> None:
    position = build(
        BTCUSDT,
        ("BUY", "1.000000", "42000.00", "0.001", BTC),
        ("SELL", "0.500000", "42100.00", "10", USDT),
        ("SELL", "0.250000", "42100.00", "10", BNB),
        ("SELL", "0.250000", "42100.00", "2", USDT),
    )
    assert [str(c) for c in position.commissions()] == ["0.00100000 BTC", "12.00000000 USDT", "10.00000000 BNB"]
    assert position.to_dict()["commissions"] == ["0.00100000 BTC", "10.00000000 BNB", "12.00000000 USDT"]
    assert str(position.realized_pnl) == "88.00000000 USDT"
    assert position.peak_qty == Decimal("1.000000")
    assert position.is_closed


@pytest.mark.parametrize(
    ("fills", "ratio", "shown", "pnl"),
    [
        ([("BUY", "10", "5.00"), ("SELL", "5", "0.00")], -1.0, None, "-25.00 USD"),
        ([("BUY", "10", "0.00"), ("SELL", "5", "1.00")], 0.0, 1.0, "5.00 USD"),
        ([("BUY", "10", "-5.00"), ("SELL", "5", "-1.00")], -0.8, None, "20.00 USD"),
        ([("BUY", "10", "5.00"), ("SELL", "2", "0.00"), ("SELL", "4", "8.00")], 0.6, 8.0, "2.00 USD"),
        (
            [("BUY", "2", "4.00"), ("SELL", "1", "6.00"), ("BUY", "1", "-4.00"), ("SELL", "1", "2.00")],
            0.0,
            4.0,
            "4.00 USD",
        ),
    ],
)
def test_prices_at_and_below_zero(fills: list[tuple[str, ...]], ratio: float, shown: float | None, pnl: str) -> None:
    position = build(FUTURE, *fills)
    assert position.realized_return == pytest.approx(ratio, rel=1e-12)
    assert position.to_dict()["avg_px_close"] == shown
    assert str(position.realized_pnl) == pnl


@pytest.mark.parametrize(
    ("qty", "price", "booked"),
    [("5", "91.750", "9 JPY"), ("5", "92.250", "11 JPY"), ("2", "91.750", "10 JPY"), ("2", "92.250", "11 JPY")],
)
def test_profit_is_rounded_at_each_fill_half_away_from_zero(qty: str, price: str, booked: str) -> None:
    position = build(USDJPY, ("BUY", "100", "92.000", "-10"), ("SELL", qty, price))
    assert str(position.realized_pnl) == booked


def test_a_profit_of_half_a_unit_is_booked_as_doubles_have_it() -> None:
    # 0.1 * 5 is half a yen in decimals and a little less in doubles: the node booked 10, and so do we.
    position = build(USDJPY, ("BUY", "100", "92.000", "-10"), ("SELL", "5", "91.900"), ("SELL", "5", "92.100"))
    assert str(position.realized_pnl) == "10 JPY"


def test_quantities_finer_than_the_instruments_are_rounded_to_it() -> None:
    basis = BTCUSDT.replace(size_precision=3)
    position = build(basis, ("BUY", "1.0001", "2000.00"), ("BUY", "1.0001", "2000.00"))
    assert str(position.quantity) == "2.000"
    position.apply(fill(basis, "SELL", "2.0001", "2000.00"))
    assert position.is_closed


def test_a_trade_is_taken_once() -> None:
    first = fill(USDJPY, "BUY", "1000", "92.1", trade_id=TradeId("A"))
    position = Position(USDJPY, first)
    before = state(position)
    with pytest.raises(DuplicateFill, match=r"trade A, BUY 1000 at 92\.1, was applied already"):
        position.apply(first.replace(client_order_id=ClientOrderId("O-OTHER"), event_id=UUID4()))
    assert state(position) == before


@pytest.mark.parametrize(
    "changes", [{"order_side": OrderSide.SELL}, {"last_qty": Quantity("999")}, {"last_px": Price("92.2")}]
)
def test_one_trade_id_may_stand_for_several_parts(changes: dict[str, Any]) -> None:
    first = fill(USDJPY, "BUY", "1000", "92.1")
    position = Position(USDJPY, first)
    position.apply(first.replace(**changes))
    assert position.event_count == 2
    assert position.trade_ids == [first.trade_id]


def test_each_of_several_parts_of_a_trade_is_taken_once() -> None:
    first = fill(USDJPY, "BUY", "1000", "92.1")
    parts = [first, *(first.replace(last_qty=Quantity(quantity)) for quantity in ("999", "998", "997"))]
    position = Position.from_events(USDJPY, parts)
    before = state(position)
    for part in parts:
        with pytest.raises(DuplicateFill):
            position.apply(part)
    assert state(position) == before


def test_a_trade_of_the_cycle_before_is_refused_until_a_new_one_begins() -> None:
    opened, closed = fill(USDJPY, "BUY", "1000", "92.1"), fill(USDJPY, "SELL", "1000", "92.1")
    position = Position.from_events(USDJPY, [opened, closed])
    with pytest.raises(DuplicateFill):
        position.apply(closed)
    position.apply(fill(USDJPY, "BUY", "1000", "92.1"))
    position.apply(closed)
    assert position.is_closed


@pytest.mark.parametrize(
    "changes",
    [
        {"position_id": PositionId("P-2")},
        {"instrument_id": InstrumentId("EUR/USD.SIM")},
        {"trader_id": TraderId("TRADER-002")},
    ],
)
def test_a_fill_of_another_position_is_refused(changes: dict[str, Any]) -> None:
    position = build(USDJPY, ("BUY", "1000", "92.1"))
    before = state(position)
    with pytest.raises(EventMismatch, match="apply it to its own position"):
        position.apply(fill(USDJPY, "BUY", "1000", "92.1", **changes))
    assert state(position) == before


def test_a_fill_that_names_no_position_can_be_applied_but_not_open_one() -> None:
    position = build(USDJPY, ("BUY", "1000", "92.1"))
    position.apply(fill(USDJPY, "BUY", "1000", "92.1", position_id=None))
    assert position.quantity == 2000
    with pytest.raises(InvalidValue, match="has no position_id"):
        Position(USDJPY, fill(USDJPY, "BUY", "1000", "92.1", position_id=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order_side": OrderSide.NO_ORDER_SIDE}, "has no side"),
        ({"last_qty": Quantity("0")}, "has a last_qty of 0"),
        ({"last_qty": Quantity("9" * 30), "last_px": Price("9" * 30), "order_side": OrderSide.SELL}, "stay below"),
    ],
)
def test_a_fill_that_can_not_be_counted_is_refused(changes: dict[str, Any], message: str) -> None:
    position = build(USDJPY, ("BUY", "9" * 30, "92.1"))
    before = state(position)
    with pytest.raises(InvalidValue, match=message):
        position.apply(fill(USDJPY, "BUY", "1", "1").replace(**changes))
    assert state(position) == before


def test_arguments_of_another_type_are_named() -> None:
    opening = fill(USDJPY, "BUY", "1000", "92.1")
    with pytest.raises(TypeError, match="expected an Instrument, got str"):
        Position("USD/JPY.SIM", opening)  # type: ignore[arg-type] # the point
    with pytest.raises(TypeError, match="expected OrderFilled, got str"):
        Position(USDJPY, "fill")  # type: ignore[arg-type] # the point
    position = Position(USDJPY, opening)
    with pytest.raises(TypeError, match="expected OrderFilled, got NoneType"):
        position.apply(None)  # type: ignore[arg-type] # the point
    with pytest.raises(TypeError, match="unrealized_pnl: expected Price, got float"):
        position.unrealized_pnl(92.5)  # type: ignore[arg-type] # the point
    with pytest.raises(InvalidValue, match="no fills of USD/JPY"):
        Position.from_events(USDJPY, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multiplier": Quantity("0")}, "multiplier is 0"),
        ({"size_precision": 19}, "size_precision 19 is over 18"),
        ({"is_inverse": True, "base_currency": None}, "needs a base_currency"),
    ],
)
def test_a_basis_that_can_not_be_counted_with_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        USDJPY.replace(**changes)


def test_positions_of_one_id_are_equal() -> None:
    one, two = build(USDJPY, ("BUY", "1000", "92.1")), build(USDJPY, ("SELL", "5", "92.1"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != "P-1"
    assert repr(one) == "Position(LONG 1000 USD/JPY.SIM, id=P-1)"
    assert (one.symbol, one.venue) == ("USD/JPY", "SIM")


def test_what_was_filled_is_listed_once_each() -> None:
    position = build(USDJPY, ("BUY", "1000", "92.1"))
    first = position.last_event
    position.apply(first.replace(trade_id=TradeId("Z"), venue_order_id=VenueOrderId("V-0")))
    assert position.client_order_ids == [first.client_order_id]
    assert position.venue_order_ids == sorted(["V-0", first.venue_order_id])
    assert position.trade_ids == [first.trade_id, "Z"]
    assert position.last_trade_id == "Z"


# -- commissions in the base currency ----------------------------------------------------------------------------------

SPOT = BTCUSDT.replace(quantity_net_of_commission=True)


def test_a_commission_in_the_base_currency_comes_off_what_is_held() -> None:
    """Who buys 1 BTC and pays 0.001 BTC holds 0.999, and that is the most it was; no profit depends on it."""
    position = build(SPOT, ("BUY", "1.000000", "100.00", "0.00100000", BTC))
    assert (str(position.quantity), str(position.peak_qty), position.signed_qty) == (
        *("0.999000", "0.999000"),
        Decimal("0.999000"),
    )
    assert (str(position.realized_pnl), position.avg_px_open) == ("0.00000000 USDT", 100.0)
    position.apply(fill(SPOT, "SELL", "0.999000", "110.00", "0.10989000", USDT))
    assert position.is_closed
    assert str(position.realized_pnl) == "9.88011000 USDT"


def test_a_commission_may_leave_a_rest_behind_the_fill_that_was_to_close() -> None:
    """Selling all that is held and paying in it leaves the position short of what was paid."""
    position = build(SPOT, ("BUY", "1.000000", "100.00"), ("SELL", "1.000000", "110.00", "0.00100000", BTC))
    assert (position.side, position.entry) == (PositionSide.SHORT, OrderSide.SELL)
    assert (str(position.quantity), position.closing_order_id, position.ts_closed) == ("0.001000", None, 0)


def test_a_rebate_in_the_base_currency_is_held_too() -> None:
    position = build(SPOT, ("BUY", "1.000000", "100.00", "-0.00050000", BTC))
    assert str(position.quantity) == "1.000500"


@pytest.mark.parametrize(
    ("commission", "held"),
    [("0.00000049", "1.000000"), ("0.00000051", "0.999999"), ("0.00000150", "0.999999"), ("0.00000250", "0.999997")],
)
def test_a_commission_with_more_decimals_is_rounded_as_doubles_are(commission: str, held: str) -> None:
    """NautilusTrader 1.231 shows these: halves do not go to the even digit, but where the nearest double lies."""
    assert str(build(SPOT, ("BUY", "1.000000", "100.00", commission, BTC)).quantity) == held


def test_other_commissions_and_other_positions_are_not_netted() -> None:
    """In another currency; or where the basis does not say so, as those that were stored before it could."""
    for basis, currency in ((SPOT, USDT), (SPOT, USD), (BTCUSDT, BTC)):
        assert str(build(basis, ("BUY", "1.000000", "100.00", "0.01", currency)).quantity) == "1.000000"


def test_netting_needs_a_base_currency() -> None:
    with pytest.raises(InvalidValue, match="base_currency"):
        OPTION.replace(quantity_net_of_commission=True)
