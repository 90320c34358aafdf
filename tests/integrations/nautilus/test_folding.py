"""NautilusTrader's orders, positions and accounts from their records: what they were while they lived."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nautilus_trader")

from nautilus_trader.accounting.accounts.cash import CashAccount
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import objects
from nautilus_trader.model.orders import LimitOrder as NautilusLimitOrder
from nautilus_trader.model.orders import MarketOrder as NautilusMarketOrder
from nautilus_trader.model.orders.unpacker import OrderUnpacker
from nautilus_trader.model.position import Position as NautilusPosition

import eventstore
from eventstore.errors import DamagedRecord
from eventstore.integrations.nautilus.conversion import basis_of, to_nautilus, to_record
from eventstore.integrations.nautilus.folding import (
    NotFoldable,
    account_from_events,
    order_from_events,
    position_from_fills,
)
from eventstore.integrations.nautilus.inside import state_of
from eventstore.model.accounts import Account
from eventstore.model.currencies import BTC, ETH, EUR, USD, USDT
from eventstore.model.enums import AccountType, AssetClass, LiquiditySide, OrderSide, OrderType, TriggerType
from eventstore.model.errors import ModelError
from eventstore.model.events import (
    ORDER_EVENTS,
    ORDER_OPTIONS,
    AccountBalance,
    AccountState,
    MarginBalance,
    OrderAccepted,
    OrderCanceled,
    OrderEmulated,
    OrderFilled,
    OrderInitialized,
    OrderReleased,
    OrderSubmitted,
    OrderUpdated,
)
from eventstore.model.identifiers import UUID4, AccountId, InstrumentId, PositionId, Symbol, TradeId
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import CryptoPerpetual, CurrencyPair, FuturesContract, instrument_from_dict
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money, Price, Quantity
from tests.support.effort import effort
from tests.support.nautilus.folds import order_from_records
from tests.support.orders import happened, initialized

HISTORIES = Path(__file__).parents[2] / "data" / "order_histories.jsonl.gz"
SESSIONS = Path(eventstore.__file__).parent / "sessions"
UPDATES_QUOTE = hasattr(nautilus_events.OrderUpdated, "is_quote_quantity")
NETS_COMMISSIONS = hasattr(NautilusPosition, "is_spot_currency")


def inside(order: Any) -> list[Any]:
    """All that an order is, down to what only its C side knows; events by all that they show."""
    seen: list[Any] = []
    for value in state_of(order):
        if type(value).__name__ == "FiniteStateMachine":
            seen.append(order.status_string())
        elif isinstance(value, list) and value and hasattr(value[0], "ts_event"):
            seen.append([(event.id.value, to_record(event).to_dict()) for event in value])
        else:
            seen.append(repr(value))
    return seen


def close(shown: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether both show the same; averages may differ in their last bits."""

    def same(key: str, one: Any, other: Any) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=1e-9)
        if key == "filled_qty" and not UPDATES_QUOTE:  # it shows the decimals of the order, and a later release all
            return Decimal(one) == round(Decimal(other), len(one.partition(".")[2]))
        return bool(one == other)

    return shown.keys() == expected.keys() and all(same(key, shown[key], value) for key, value in expected.items())


def as_held(record: Any) -> Any:
    """The record as an event of the installed NautilusTrader can say it."""
    if isinstance(record, OrderUpdated):
        return record.replace(is_quote_quantity=bool(record.is_quote_quantity) if UPDATES_QUOTE else None)
    return record.replace(ts_event=record.ts_init) if isinstance(record, OrderEmulated | OrderReleased) else record


# -- Orders ----------------------------------------------------------------------------------------------------


def test_recorded_histories_end_as_they_did_in_nautilus_trader() -> None:
    folded = 0
    with gzip.open(HISTORIES, "rt") as lines:
        for history in map(json.loads, lines):
            if "refused" in history:
                continue
            records: list[Any] = [OrderInitialized.from_dict(history["init"])]
            records += [
                ORDER_EVENTS[step["event"]["type"]].from_dict(step["event"])
                for step in history["steps"]
                if "refused" not in step
            ]
            expected = Order.from_events(records)
            if not UPDATES_QUOTE and any(_overfilled(records[:n]) for n in range(2, len(records) + 1)):
                with pytest.raises(DamagedRecord):  # a release before 1.231 takes no more than was ordered
                    order_from_records(records)
                continue
            made = order_from_records(records)
            assert close(made.to_dict(), history["order"])
            assert close(made.to_dict(), expected.to_dict())
            for name in ("is_open", "is_closed", "is_inflight", "is_emulated", "is_active_local", "event_count"):
                assert getattr(made, name) == getattr(expected, name)
            assert [to_record(event) for event in made.events] == [as_held(record) for record in records]
            folded += 1
    assert folded > 200


def _overfilled(records: list[Any]) -> bool:
    order = Order.from_events(records)
    return order.filled_qty > order.quantity


@pytest.mark.parametrize("session", ["bracket", "emacross", "trailing"])
def test_a_recorded_session_ends_as_the_node_did(session: str) -> None:
    orders, fills, accounts, instruments = _session(session)
    with gzip.open(SESSIONS / f"{session}.final.json.gz") as final:
        expected = json.load(final)
    loaded = {name: order_from_records(order.events, order.amendments) for name, order in orders.items()}
    assert loaded.keys() == expected["orders"].keys()
    for name, order in loaded.items():
        assert close(order.to_dict(), expected["orders"][name]), name
        assert [event.id.value for event in order.events] == [event.event_id for event in orders[name].events]
    assert {name for name, order in loaded.items() if order.is_open} == set(expected["orders_open"])
    assert {name for name, order in loaded.items() if order.is_closed} == set(expected["orders_closed"])

    for name, (position, records) in fills.items():
        for instrument in (instruments[position.instrument_id], None):
            made = position_from_fills(instrument, position.basis, [to_nautilus(fill) for fill in records])
            assert close(made.to_dict(), expected["positions"][name]), name
            assert made.is_open == (name in expected["positions_open"])

    for states in accounts.values():
        account = account_from_events([to_nautilus(state) for state in states])
        assert type(account).to_dict(account) == Account.from_events(states).to_dict() | {
            key: value for key, value in type(account).to_dict(account).items() if "leverage" in key
        }


def _session(name: str) -> tuple[dict[str, Order], dict[str, Any], dict[str, list[AccountState]], dict[Any, Any]]:
    orders: dict[str, Order] = {}
    positions: dict[str, Position] = {}
    accounts: dict[str, list[AccountState]] = {}
    instruments: dict[Any, Any] = {}
    for call in _calls(name):
        what = call["call"]
        if what == "add_order":
            init = OrderInitialized.from_dict(call["event"])
            known = orders.get(init.client_order_id)
            orders[init.client_order_id] = Order.create(init) if known is None else known.transform(init)
        elif what == "update_order":
            event = ORDER_EVENTS[call["event"]["type"]].from_dict(call["event"])
            orders[event.client_order_id].apply(event)
        elif what == "snapshot_order_state":
            orders[call["order"]["client_order_id"]].amend_from_dict(call["order"])
        elif what == "add_instrument":
            instrument = instrument_from_dict(call["instrument"])
            instruments[instrument.id] = instrument
        elif what == "add_position":
            fill = OrderFilled.from_dict(call["event"])
            positions[call["position_id"]] = Position(instruments[fill.instrument_id], fill)
        elif what == "update_position":
            positions[call["position_id"]].apply(OrderFilled.from_dict(call["event"]))
        elif what in ("add_account", "update_account"):
            state = AccountState.from_dict(call["event"])
            accounts.setdefault(state.account_id, []).append(state)
    return orders, {key: (one, one.events) for key, one in positions.items()}, accounts, instruments


def _calls(session: str) -> Iterator[dict[str, Any]]:
    with gzip.open(SESSIONS / f"{session}.jsonl.gz", "rt") as lines:
        yield from map(json.loads, lines)


FIRST = [
    [OrderSubmitted, OrderAccepted],
    [OrderSubmitted, OrderAccepted, OrderFilled],
    [OrderEmulated, OrderReleased, OrderSubmitted],
    [],
]


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """An order with all prices that it can have, and what is tried after that."""
    order_type, side = draw(st.sampled_from(OrderType)), draw(st.sampled_from([OrderSide.BUY, OrderSide.SELL]))
    prices = {"price": Price("1.00010"), "trigger_price": Price("1.00000"), "activation_price": Price("0.99000")}
    init = initialized(
        order_type,
        order_side=side,
        quantity=Quantity(draw(st.sampled_from(["7", "10.50", "0.001"]))),
        quote_quantity=draw(st.booleans()),
        event_id=UUID4(),
        **{name: price for name, price in prices.items() if name in ORDER_OPTIONS[order_type]},
    )
    kinds = [kind for kind in ORDER_EVENTS.values() if kind is not OrderInitialized]
    tried = draw(st.sampled_from(FIRST)) + draw(st.lists(st.sampled_from(kinds), max_size=10))
    return [init, *(draw(_event(kind, side, number)) for number, kind in enumerate(tried))]


@st.composite
def _event(draw: st.DrawFn, kind: Any, side: OrderSide, number: int) -> Any:
    changes: dict[str, Any] = {"event_id": UUID4()}
    if kind is OrderFilled:
        changes |= {
            "trade_id": TradeId(f"T-{number}"),
            "order_side": side,
            "last_qty": Quantity(draw(st.sampled_from(["1", "0.5", "0.001", "7"]))),
            "last_px": Price(draw(st.sampled_from(["1.00001", "2.5", "70000"]))),
            "commission": Money(draw(st.sampled_from(["0.00", "1.25", "-0.10"])), USD),
            "liquidity_side": draw(st.sampled_from(LiquiditySide)),
            "position_id": draw(st.sampled_from([None, PositionId("P-1")])),
        }
    elif kind is OrderUpdated:
        changes |= {
            "quantity": Quantity(draw(st.sampled_from(["8", "100.25"]))),
            "price": draw(st.sampled_from([None, Price("1.25")])),
            "trigger_price": draw(st.sampled_from([None, Price("1.20")])),
            "is_quote_quantity": draw(st.booleans()) if UPDATES_QUOTE else None,
        }
    return happened(kind, ts=draw(st.integers(1, 2**62)), **changes)


@effort(150)
@given(histories())
def test_a_loaded_order_is_the_live_one_inside_and_out(history: list[Any]) -> None:
    """`history` is applied to a live order as far as NautilusTrader takes it; then that is stored and loaded."""
    live = OrderUnpacker.from_init(to_nautilus(history[0]))
    for record in history[1:]:
        taken = live.events
        try:
            live.apply(to_nautilus(record))
        except Exception:  # noqa: BLE001 - what it raises has no common base; a half-applied event is not kept
            live = order_from_events(taken)
    if live.emulation_trigger and live.is_canceled:
        return  # NautilusTrader takes the trigger away before it cancels
    loaded = order_from_records([to_record(event) for event in live.events])
    assert inside(loaded) == inside(live)
    assert loaded.to_dict() == live.to_dict()
    assert loaded == live
    assert type(loaded) is type(live)


def test_the_first_event_is_kept_as_it_was_stored() -> None:
    init = to_nautilus(initialized(OrderType.LIMIT, event_id=UUID4()))
    order = order_from_events([init])
    assert order.init_event is init
    assert order.init_id == init.id


@pytest.mark.parametrize("kind", ["market", "limit"])
def test_a_transformed_order_is_what_nautilus_trader_made_of_it(kind: str) -> None:
    """Its own loader gives the order a new `init_id`, so that no two loads are alike."""
    first = initialized(
        OrderType.STOP_LIMIT, event_id=UUID4(), emulation_trigger=TriggerType.BID_ASK, tags=("a", "b"), ts_init=5
    )
    live = OrderUnpacker.from_init(to_nautilus(first))
    live.apply(to_nautilus(happened(OrderEmulated, event_id=UUID4(), ts=6)))
    made = (
        NautilusMarketOrder.transform_py(live, 77)
        if kind == "market"
        else NautilusLimitOrder.transform_py(live, 77, objects.Price.from_str("1.25"))
    )
    for record in (happened(OrderReleased, ts=78), happened(OrderSubmitted, ts=79), happened(OrderAccepted, ts=80)):
        made.apply(to_nautilus(record.replace(event_id=UUID4())))
    records = [to_record(event) for event in made.events]
    assert [type(record).__name__ for record in records[:3]] == [
        "OrderInitialized",
        "OrderEmulated",
        "OrderInitialized",
    ]
    loaded = order_from_records(records)
    assert inside(loaded) == inside(made)
    assert loaded.to_dict() == made.to_dict() == Order.from_events(records).to_dict()
    assert (loaded.init_id, loaded.ts_init) == (made.init_id, live.ts_init)


def test_a_transformation_into_any_type_is_loaded() -> None:
    """NautilusTrader makes market and limit orders alone, and its loader refuses all others; a record may say more."""
    for order_type in OrderType:
        records: list[Any] = [
            initialized(OrderType.LIMIT, event_id=UUID4(), ts_init=3, emulation_trigger=TriggerType.LAST_PRICE),
            happened(OrderEmulated, event_id=UUID4()),
            initialized(order_type, event_id=UUID4(), ts_init=9),
            happened(OrderReleased, event_id=UUID4()),
        ]
        loaded = order_from_records(records)
        assert loaded.order_type == order_type
        assert loaded.to_dict() == Order.from_events(records).to_dict()
        assert (loaded.ts_init, loaded.init_id.value) == (3, records[2].event_id)
        assert [event.id.value for event in loaded.events] == [record.event_id for record in records]


def test_an_order_that_waits_in_the_node_ends_without_its_trigger() -> None:
    """NautilusTrader's emulator takes it away without an event; that it did is known from the end."""
    records: list[Any] = [
        initialized(OrderType.LIMIT, event_id=UUID4(), emulation_trigger=TriggerType.LAST_PRICE),
        happened(OrderEmulated, event_id=UUID4()),
        happened(OrderCanceled, event_id=UUID4()),
    ]
    loaded = order_from_records(records)
    assert loaded.emulation_trigger == TriggerType.NO_TRIGGER
    assert loaded.to_dict() == Order.from_events(records).to_dict()


@pytest.mark.parametrize("said", [None, False, True])
def test_an_update_of_another_release_says_of_the_quote_quantity_what_it_said(said: bool | None) -> None:
    """A release before 1.231 says nothing, and the order keeps what it has; a later one says it each time."""
    records: list[Any] = [
        initialized(OrderType.LIMIT, event_id=UUID4(), quote_quantity=True),
        happened(OrderSubmitted, event_id=UUID4()),
        happened(OrderAccepted, event_id=UUID4()),
        happened(OrderUpdated, event_id=UUID4(), is_quote_quantity=said),
    ]
    loaded = order_from_records(records)
    assert loaded.is_quote_quantity is (said is not False)
    assert loaded.to_dict() == Order.from_events(records).to_dict()


def refused_orders() -> dict[str, list[Any]]:
    init = initialized(OrderType.LIMIT, event_id=UUID4())
    submitted, accepted = happened(OrderSubmitted, event_id=UUID4()), happened(OrderAccepted, event_id=UUID4())
    fill = happened(OrderFilled, event_id=UUID4())
    return {
        "nothing": [],
        "no beginning": [submitted],
        "twice": [init, submitted, submitted],
        "the same trade": [init, submitted, accepted, fill, fill],
        "another order's": [init, submitted.replace(client_order_id=type(init.client_order_id)("O-2"))],
        "another order's transformation": [init, init.replace(client_order_id=type(init.client_order_id)("O-2"))],
        "the other side": [init, init.replace(order_side=OrderSide.SELL)],
        "transformed too late": [init, submitted, init],
        "no such order": [init.replace(quantity=Quantity("0"))],
    }


@pytest.mark.parametrize("why", refused_orders())
def test_events_that_make_no_order_are_refused(why: str) -> None:
    records = refused_orders()[why]
    with pytest.raises(DamagedRecord):
        order_from_records(records)
    with pytest.raises((ModelError, TypeError)):
        Order.from_events(records)


# -- Positions -------------------------------------------------------------------------------------------------

_PAIR: dict[str, Any] = {"base_currency": BTC, "quote_currency": USDT, "price_precision": 2, "size_precision": 3}
_PAIR |= {"price_increment": Price("0.01"), "size_increment": Quantity("0.001"), "ts_event": 0, "ts_init": 0}


def _named(name: str) -> dict[str, Any]:
    return {"id": InstrumentId(f"{name}.SIM"), "raw_symbol": Symbol(name)}


INSTRUMENTS: dict[str, Instrument] = {
    "pair": CurrencyPair(**_named("PAIR"), **_PAIR),
    "linear": CryptoPerpetual(**_named("LINEAR"), **_PAIR, settlement_currency=USDT, is_inverse=False),
    "inverse": CryptoPerpetual(
        **_named("INVERSE"), **_PAIR, settlement_currency=BTC, is_inverse=True, multiplier=Quantity("10")
    ),
    "quanto": CryptoPerpetual(**_named("QUANTO"), **_PAIR, settlement_currency=ETH, is_inverse=False),
    "future": FuturesContract(
        **_named("FUTURE"),
        asset_class=AssetClass.INDEX,
        quote_currency=USD,
        price_precision=2,
        price_increment=Price("0.01"),
        multiplier=Quantity("50"),
        lot_size=Quantity("1"),
        underlying="INDEX",
        activation_ns=0,
        expiration_ns=2**62,
        ts_event=0,
        ts_init=0,
    ),
}


@st.composite
def fills(draw: st.DrawFn) -> tuple[Instrument, list[OrderFilled]]:
    """What makes a position grow, shrink, turn over, end and begin again."""
    instrument = INSTRUMENTS[draw(st.sampled_from(sorted(INSTRUMENTS)))]
    base = instrument.base_currency or USD
    made = []
    for number in range(draw(st.integers(1, 8))):
        quantity = Quantity(draw(st.sampled_from(["1", "2", "3"])), instrument.size_precision)
        paid = draw(st.sampled_from([(base, "0.001"), (instrument.quote_currency, "1.25"), (EUR, "-0.10")]))
        made.append(
            happened(
                OrderFilled,
                event_id=UUID4(),
                ts=1_000 + number,
                instrument_id=instrument.id,
                trade_id=TradeId(f"T-{number}"),
                position_id=PositionId("P-1"),
                order_side=draw(st.sampled_from([OrderSide.BUY, OrderSide.SELL])),
                last_qty=quantity,
                last_px=Price(draw(st.sampled_from(["100.25", "70000.10", "0.50"]))),
                currency=instrument.quote_currency,
                commission=Money(paid[1], paid[0]),
            )
        )
    return instrument, made


def shown(position: Any) -> tuple[Any, ...]:
    return (
        position.to_dict(),
        basis_of(position),
        [to_record(event) for event in position.events],
        *(getattr(position, name) for name in ("is_open", "is_closed", "is_long", "is_short", "side", "entry")),
        *(repr(getattr(position, name)) for name in ("signed_qty", "realized_pnl", "trade_ids", "client_order_ids")),
    )


@effort(120)
@given(fills())
def test_a_loaded_position_is_the_live_one_with_its_instrument_and_without(drawn: tuple[Instrument, Any]) -> None:
    instrument, records = drawn
    theirs, events = to_nautilus(instrument), [to_nautilus(record) for record in records]
    live = NautilusPosition(theirs, events[0])
    for event in events[1:]:
        live.apply(event)
    basis = basis_of(live)
    another = INSTRUMENTS["future"] if instrument is not INSTRUMENTS["future"] else INSTRUMENTS["linear"]
    moved = another.replace(id=instrument.id)  # as if the venue had changed it since
    for known in (instrument, None, moved):
        assert shown(position_from_fills(known, basis, events)) == shown(live)
    assert close(Position.from_events(basis, records).to_dict(), live.to_dict())


def test_a_position_of_another_release_keeps_its_quantity() -> None:
    """Whether a commission in the base currency comes off a position is a matter of the release that it lived in."""
    pair = INSTRUMENTS["pair"]
    fill = happened(
        OrderFilled,
        event_id=UUID4(),
        instrument_id=pair.id,
        position_id=PositionId("P-1"),
        last_qty=Quantity("1.000"),
        commission=Money("0.001", BTC),
        currency=USDT,
    )
    event = to_nautilus(fill)
    gross = basis_of(to_nautilus(pair)).replace(quantity_net_of_commission=False)
    assert str(position_from_fills(pair, gross, [event]).quantity) == "1.000"
    net = gross.replace(quantity_net_of_commission=True)
    if NETS_COMMISSIONS:
        for known in (pair, None):
            assert str(position_from_fills(known, net, [event]).quantity) == "0.999"
    else:
        with pytest.raises(NotFoldable, match="commissions in BTC come off its quantity"):
            position_from_fills(pair, net, [event])
        without = to_nautilus(fill.replace(commission=Money("1.00", USDT)))
        assert str(position_from_fills(pair, net, [without]).quantity) == "1.000"


def test_fills_that_make_no_position_are_refused() -> None:
    pair = INSTRUMENTS["pair"]
    basis = basis_of(to_nautilus(pair))
    fill = happened(OrderFilled, event_id=UUID4(), instrument_id=pair.id, position_id=PositionId("P-1"))
    nameless, foreign = fill.replace(position_id=None), fill.replace(instrument_id=InstrumentId("X.Y"))
    for records in ([], [fill, fill], [nameless], [foreign]):
        with pytest.raises(NotFoldable):
            position_from_fills(pair, basis, [to_nautilus(record) for record in records])


# -- Accounts --------------------------------------------------------------------------------------------------


def state(
    kind: AccountType,
    *amounts: tuple[str, Any],
    base: Any = None,
    margins: tuple[MarginBalance, ...] = (),
    reported: bool = True,
    issuer: str = "SIM",
) -> AccountState:
    balances = tuple(
        AccountBalance(Money(amount, unit), Money("0", unit), Money(amount, unit)) for amount, unit in amounts
    )
    return AccountState(UUID4(), 1, 2, AccountId(f"{issuer}-001"), kind, base, balances, margins, reported)


def folded(*states: AccountState) -> Any:
    return account_from_events([to_nautilus(one) for one in states])


@pytest.mark.parametrize("kind", [AccountType.CASH, AccountType.MARGIN, AccountType.BETTING])
@pytest.mark.parametrize("base", [None, USD])
def test_a_loaded_account_is_what_its_states_make_of_it(kind: AccountType, base: Any) -> None:
    states = [state(kind, ("100.00", USD), base=base), state(kind, ("90.00", USD), base=base)]
    if base is None:
        states += [state(kind, ("2.00000000", BTC)), state(kind, ("80.00", USD), ("7.00", EUR))]
    live = AccountFactory.create(to_nautilus(states[0]))
    for one in states[1:]:
        live.apply(to_nautilus(one))
    loaded = folded(*states)
    assert type(loaded) is type(live)
    assert loaded == live
    assert type(live).to_dict(loaded) == type(live).to_dict(live)
    assert (loaded.balances(), loaded.starting_balances()) == (live.balances(), live.starting_balances())
    assert [to_record(event) for event in loaded.events] == states


def test_a_cash_account_that_was_in_debt_is_loaded_before_anybody_says_that_it_may() -> None:
    """The venue that allows it is registered when its client is made; a load may come first."""
    states = [state(AccountType.CASH, ("-5.00", USD)), state(AccountType.CASH, ("-1.00", USD))]
    for told in (states, [state(AccountType.CASH, ("5.00", USD)), *states]):
        loaded = folded(*told)
        assert isinstance(loaded, CashAccount)
        assert loaded.allow_borrowing
        assert not loaded.calculate_account_state
        assert str(loaded.balance_total(to_nautilus(USD))) == "-1.00 USD"


def test_an_account_in_debt_is_otherwise_as_its_issuer_was_registered() -> None:
    AccountFactory.register_calculated_account("LENDER")
    loaded = folded(state(AccountType.CASH, ("-5.00", USD), issuer="LENDER"))
    assert loaded.calculate_account_state
    assert loaded.allow_borrowing
    assert not folded(state(AccountType.CASH, ("5.00", USD), issuer="LENDER")).allow_borrowing


def test_an_account_whose_states_the_node_calculated_goes_on_so() -> None:
    """The venue is registered after NautilusTrader has loaded its cache, which is why its own loader forgets it."""
    for kind in (AccountType.CASH, AccountType.MARGIN, AccountType.BETTING):
        reported, calculated = state(kind, ("5.00", USD)), state(kind, ("4.00", USD), reported=False)
        assert not folded(reported).calculate_account_state
        loaded = folded(reported, calculated)
        assert loaded.calculate_account_state
        assert [to_record(event) for event in loaded.events] == [reported, calculated]
        assert str(loaded.balance_total(to_nautilus(USD))) == "4.00 USD"


def test_a_betting_account_is_never_in_debt() -> None:
    with pytest.raises(NotFoldable, match="SIM-001"):
        folded(state(AccountType.BETTING, ("-5.00", USD)))


def test_margins_are_those_of_the_last_state_that_the_node_calculated() -> None:
    """A live account has them from its manager; 1.221 takes them from the first state alone."""

    def margin(name: str, amount: str) -> MarginBalance:
        return MarginBalance(Money(amount, USD), Money("1.00", USD), InstrumentId(f"{name}.SIM"))

    def margins(account: Any) -> set[tuple[str, str]]:
        return {(name.value, str(one.initial)) for name, one in account.margins().items()}

    first = state(AccountType.MARGIN, ("100.00", USD), margins=(margin("A", "1.00"), margin("B", "2.00")))
    last = state(AccountType.MARGIN, ("90.00", USD), margins=(margin("B", "3.00"), margin("C", "4.00")), reported=False)
    assert margins(folded(first)) == {("A.SIM", "1.00 USD"), ("B.SIM", "2.00 USD")}
    loaded = folded(first, last)
    assert margins(loaded) == {("B.SIM", "3.00 USD"), ("C.SIM", "4.00 USD")}
    assert str(loaded.balance_free(to_nautilus(USD))) == "90.00 USD"
    assert margins(folded(first, state(AccountType.MARGIN, ("90.00", USD), reported=False))) == set()


def test_states_that_make_no_account_are_refused() -> None:
    cash = state(AccountType.CASH, ("1.00", USD), base=USD)
    for others in (
        [],
        [cash, state(AccountType.MARGIN, ("1.00", USD), base=USD)],
        [cash, state(AccountType.CASH, ("1.00", USD), base=USD, issuer="OTHER")],
        [cash, state(AccountType.CASH, ("1.00", EUR), base=EUR)],
    ):
        with pytest.raises(NotFoldable):
            folded(*others)
