"""Hypothesis strategies for records that the installed NautilusTrader can hold, whatever else it is."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from nautilus_trader.model.objects import FIXED_PRECISION

from eventstore.model.currency import Currency
from eventstore.model.enums import AccountType, OrderSide, OrderType
from eventstore.model.events import (
    ORDER_OPTIONS,
    AccountBalance,
    AccountState,
    MarginBalance,
    OrderDenied,
    OrderEmulated,
    OrderEvent,
    OrderInitialized,
    OrderReleased,
    OrderUpdated,
)
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientOrderId,
    Identifier,
    InstrumentId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
)
from eventstore.model.record import Field
from eventstore.model.values import Money, Price, Quantity
from tests.support import strategies

I = TypeVar("I", bound=Identifier)  # noqa: E741 # the customary name for the type of an id here
E = TypeVar("E", bound=OrderEvent)

_ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="{}"), min_size=1, max_size=24)
_WILD = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="{}.\u2028\u2029"), min_size=1)
_VISIBLE = _ASCII.filter(str.strip)
_PART = _VISIBLE.filter(lambda text: "-" not in text)
_WHOLE_MAX = 17_014_118_346_045
"""What a price, a quantity or an amount of money can be at most, before the decimal point."""

_SHOWN_DIGITS = 28
"""NautilusTrader holds more digits, and shows no more than these."""


def ids(kind: type[I]) -> SearchStrategy[I]:
    """Ids of that class."""
    made: SearchStrategy[str]
    if kind is UUID4:
        made = st.uuids(version=4).map(str)
    elif kind is InstrumentId:
        made = st.builds("{}.{}".format, st.one_of(_VISIBLE, _WILD.filter(str.strip)), _VISIBLE.filter(_has_no_dot))
    elif kind in (TraderId, StrategyId, AccountId):
        made = st.builds("{}-{}".format, _PART, _PART)
    elif kind is TradeId:
        made = _VISIBLE.map(lambda text: text[:36])
    else:
        made = st.one_of(_VISIBLE, _WILD.filter(str.strip)) if kind is PositionId else _VISIBLE
    return made.map(kind)


def _has_no_dot(text: str) -> bool:
    return "." not in text


def decimals(precision: int | None = None, signed: bool = True, least: int = 0) -> SearchStrategy[Decimal]:
    """Numbers of so many decimals (None: as many as NautilusTrader can hold), from `least` of the last one on."""

    def of(places: int) -> SearchStrategy[Decimal]:
        most = min(_WHOLE_MAX * 10**places, 10**_SHOWN_DIGITS - 1)
        whole = st.one_of(st.integers(least, 99_999), st.integers(least, most))
        number = st.one_of(whole, whole.map(lambda n: -n)) if signed else whole
        return number.map(lambda n: Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -places)))

    return st.integers(0, FIXED_PRECISION).flatmap(of) if precision is None else of(precision)


def prices() -> SearchStrategy[Price]:
    return decimals().map(Price)


def quantities(least: int = 0) -> SearchStrategy[Quantity]:
    return decimals(signed=False, least=least).map(Quantity)


def money(currency: Currency | None = None, signed: bool = True) -> SearchStrategy[Money]:
    """Amounts in that currency (None: any that is built in)."""
    if currency is None:
        return currencies().flatmap(lambda unit: money(unit, signed))
    return decimals(currency.precision, signed=signed).map(lambda number: Money(number, currency))


@cache
def currencies() -> SearchStrategy[Currency]:
    """Those that both models have built in."""
    return st.sampled_from([unit for unit in strategies.BUILTIN_CURRENCIES if unit.precision <= FIXED_PRECISION])


_OWN: dict[Any, Callable[[], SearchStrategy[Any]]] = {
    Price: prices,
    Quantity: quantities,
    Money: money,
    Currency: currencies,
    OrderSide: lambda: st.sampled_from([OrderSide.BUY, OrderSide.SELL]),
}


def _field(spec: Field) -> SearchStrategy[Any]:
    kind = spec.element or spec.kind
    if kind in _OWN:
        made = _OWN[kind]()
    elif spec.is_info or not issubclass(kind, Identifier):
        return strategies.field_values(spec)
    else:
        made = ids(kind)
    if spec.element is not None:
        made = st.lists(made, min_size=1, max_size=3).map(tuple)
    return st.none() | made if spec.optional else made


def order_events(kind: type[E]) -> SearchStrategy[E]:
    """Order events of that class, as an order of NautilusTrader's may have them. One event each, not a history."""
    if kind is OrderInitialized:
        return st.sampled_from(OrderType).flatmap(_initialized)  # type: ignore[return-value] # E is that class
    given = {spec.name: _field(spec) for spec in kind._specs}
    if kind is OrderUpdated:
        from nautilus_trader.model.events import OrderUpdated as Theirs

        knows = hasattr(Theirs, "is_quote_quantity")
        given["is_quote_quantity"] = st.booleans() if knows else st.none()
    given |= {name: quantities(least=1) for name in ("quantity", "last_qty") if name in given}
    if "reason" in given:
        given["reason"] = strategies.texts().filter(lambda text: text and "\0" not in text)
    if kind in (OrderDenied, OrderEmulated, OrderReleased):  # They have one time, see `OrderInitialized`.
        return st.fixed_dictionaries(given).map(lambda values: kind(**(values | {"ts_event": values["ts_init"]})))
    return st.fixed_dictionaries(given).map(lambda values: kind(**values))


@st.composite
def _initialized(draw: st.DrawFn, order_type: OrderType) -> OrderInitialized:
    foreign = {name for names in ORDER_OPTIONS.values() for name in names} - set(ORDER_OPTIONS[order_type])
    values = {spec.name: draw(_field(spec)) for spec in OrderInitialized._specs if spec.name not in foreign}
    for name in ("trailing_offset", "limit_offset"):
        if name in values:
            values[name] = draw(strategies.decimals(digits=20))
    values["order_type"] = order_type
    # In NautilusTrader's event there is one time, and what it is told of a reconciliation it does not show.
    values |= {"ts_event": values["ts_init"], "reconciliation": False}
    if not values["linked_order_ids"]:
        values["linked_order_ids"] = (draw(ids(ClientOrderId)),)
    values["exec_spawn_id"] = draw(ids(ClientOrderId))
    return OrderInitialized(**values)


@st.composite
def account_states(draw: st.DrawFn) -> AccountState:
    """States of accounts of every type, in one currency or in several, with margins where there may be some."""
    base = draw(st.none() | currencies())
    units = [base] if base else draw(st.lists(currencies(), min_size=1, max_size=4, unique=True))
    balances = []
    for unit in units:
        total = draw(decimals(unit.precision))
        locked = draw(decimals(unit.precision, signed=False)).min(abs(total))
        balances.append(AccountBalance(Money(total, unit), Money(locked, unit), Money(total - locked, unit)))
    balances = [one for one in balances if abs(one.free.amount) <= _WHOLE_MAX] or [
        AccountBalance(*[Money.zero(units[0])] * 3)
    ]
    margins = [
        MarginBalance(draw(money(unit, signed=False)), draw(money(unit, signed=False)), draw(st.none() | where))
        for unit in draw(st.lists(currencies(), max_size=2))
        for where in [ids(InstrumentId)]
    ]
    return AccountState(
        draw(ids(UUID4)),
        draw(strategies.timestamps()),
        draw(strategies.timestamps()),
        draw(ids(AccountId)),
        draw(st.sampled_from([AccountType.CASH, AccountType.MARGIN, AccountType.BETTING])),
        base,
        tuple(balances),
        tuple(margins),
        draw(st.booleans()),
        draw(strategies.infos()),
    )
