"""Every event is read back from what it shows, and shows NautilusTrader's keys."""

import contextlib
import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.model.currencies import EUR, USD
from eventstore.model.enums import OrderSide, OrderType, TimeInForce, TriggerType
from eventstore.model.errors import InvalidValue, ModelError
from eventstore.model.events import (
    ORDER_EVENTS,
    ORDER_OPTIONS,
    AccountBalance,
    AccountState,
    MarginBalance,
    OrderEvent,
    OrderInitialized,
)
from eventstore.model.identifiers import UUID4, ClientOrderId, InstrumentId, StrategyId, TraderId
from eventstore.model.record import U64_MAX, Record
from eventstore.model.values import Money, Price, Quantity
from tests.support import strategies as some


def read_back(record: Record) -> None:
    assert some.same(type(record).from_dict(record.to_dict()), record)
    assert some.same(pickle.loads(pickle.dumps(record)), record)  # noqa: S301 # our own bytes
    assert some.same(copy.deepcopy(record), record)
    assert some.same(type(record).unchecked(tuple(record)), record)


@pytest.mark.parametrize("kind", ORDER_EVENTS.values())
def test_every_order_event_is_read_back(kind: type[OrderEvent]) -> None:
    @settings(max_examples=50)
    @given(some.order_events(kind))
    def check(event: OrderEvent) -> None:
        read_back(event)
        assert event.to_dict()["type"] == kind.__name__
        assert hash(event) == hash(kind.from_dict(event.to_dict()))

    check()


@pytest.mark.parametrize("order_type", OrderType)
def test_an_initialized_order_shows_the_options_of_its_type(order_type: OrderType) -> None:
    @settings(max_examples=30)
    @given(some.orders_initialized(order_type))
    def check(event: OrderInitialized) -> None:
        read_back(event)
        assert tuple(event.to_dict()["options"]) == ORDER_OPTIONS[order_type]

    check()


@given(some.account_states())
def test_every_account_state_is_read_back(event: AccountState) -> None:
    read_back(event)


@given(some.account_balances(), some.margin_balances())
def test_balances_are_read_back(balance: AccountBalance, margin: MarginBalance) -> None:
    read_back(balance)
    read_back(margin)


@pytest.mark.parametrize("moment", [0, 1_700_000_000_123_456_789, 2**53 + 1, 2**63, U64_MAX])
def test_times_are_exact(moment: int) -> None:
    event = initialized().replace(ts_event=moment, ts_init=moment)
    assert event.to_dict()["ts_event"] == event.to_dict()["ts_init"] == moment
    read_back(event)


@pytest.mark.parametrize("moment", [-1, U64_MAX + 1])
def test_times_out_of_bounds_are_refused(moment: int) -> None:
    with pytest.raises(InvalidValue, match="ts_event"):
        initialized().replace(ts_event=moment)


def initialized(**changes: Any) -> OrderInitialized:
    values: dict[str, Any] = {
        "event_id": UUID4("2d89666b-1a1e-4a75-b193-4eb3b454c757"),
        "ts_event": 1,
        "ts_init": 2,
        "trader_id": TraderId("T-1"),
        "strategy_id": StrategyId("S-1"),
        "instrument_id": InstrumentId("AUD/USD.SIM"),
        "client_order_id": ClientOrderId("O-1"),
        "order_side": OrderSide.BUY,
        "order_type": OrderType.MARKET,
        "quantity": Quantity("1"),
        "time_in_force": TimeInForce.GTC,
    }
    return OrderInitialized(**(values | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"price": Price("1")},
        {"price": Price("0")},
        {"trigger_type": TriggerType.LAST_PRICE},
        {"expire_time_ns": 1},
        {"display_qty": Quantity("0")},
        {"trailing_offset": Decimal(1)},
    ],
)
def test_an_option_that_the_type_has_not_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=f"MARKET order has no {next(iter(changes))}"):
        initialized(**changes)


def test_a_trailing_stop_needs_its_offset() -> None:
    with pytest.raises(InvalidValue, match="needs a trailing_offset"):
        initialized(order_type=OrderType.TRAILING_STOP_MARKET)
    for offset in (Decimal("nan"), Decimal("1e50")):
        with pytest.raises(InvalidValue, match="trailing_offset"):
            initialized(order_type=OrderType.TRAILING_STOP_MARKET, trailing_offset=offset)


def test_an_option_that_is_not_known_is_refused() -> None:
    shown = initialized().to_dict() | {"options": {"colour": "red"}}
    with pytest.raises(InvalidValue, match="colour"):
        OrderInitialized.from_dict(shown)


def test_a_balance_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(InvalidValue, match="locked"):
        AccountBalance(Money(3, USD), Money(1, USD), Money(1, USD))
    with pytest.raises(InvalidValue, match="one currency"):
        AccountBalance(Money(2, USD), Money(1, EUR), Money(1, USD))
    with pytest.raises(InvalidValue, match="one currency"):
        MarginBalance(Money(2, USD), Money(1, EUR))


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(some.order_events() | some.account_states(), st.data())
def test_damaged_values_raise_a_clear_error_and_never_more(event: Record, data: st.DataObject) -> None:
    values = event.to_dict()
    name = data.draw(st.sampled_from(sorted(values)))
    values[name] = data.draw(HOSTILE)
    with contextlib.suppress(ModelError, TypeError):
        read_back(type(event).from_dict(values))
