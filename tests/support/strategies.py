"""Hypothesis strategies for everything that can be stored: identifiers, values, currencies, events, instruments.

The values are valid and reach for the edges: empty text where it is allowed, 40 digits, 18 decimals, times of 0, of 19
digits and of 2**64-1. `ids(kind)` and `events(kind)` take the class; the others are named after what they make.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from eventstore.model import currencies as builtin_currencies
from eventstore.model.currency import Currency
from eventstore.model.enums import (
    AccountType,
    CurrencyType,
    OrderType,
)
from eventstore.model.events import (
    ORDER_EVENTS,
    ORDER_OPTIONS,
    AccountBalance,
    AccountState,
    MarginBalance,
    OrderEvent,
    OrderInitialized,
)
from eventstore.model.identifiers import (
    LENGTH_MAX,
    UUID4,
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    ExecAlgorithmId,
    Identifier,
    InstrumentId,
    OrderListId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import HANDICAP_NONE, INSTRUMENTS, BettingInstrument, PerpetualContract
from eventstore.model.record import U64_MAX, Field, Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import DIGITS_MAX, PRECISION_MAX, Fixed, Money, Price, Quantity

I = TypeVar("I", bound=Identifier)  # noqa: E741 # the customary name for the type of an id here
R = TypeVar("R", bound=Record)
F = TypeVar("F", bound=Fixed)
N = TypeVar("N", bound=Instrument)

IDENTIFIERS: tuple[type[Identifier], ...] = (
    TraderId,
    StrategyId,
    ComponentId,
    InstrumentId,
    Symbol,
    Venue,
    ClientOrderId,
    VenueOrderId,
    PositionId,
    AccountId,
    ClientId,
    TradeId,
    OrderListId,
    ExecAlgorithmId,
    UUID4,
)
BUILTIN_CURRENCIES: tuple[Currency, ...] = tuple(
    sorted((c for c in vars(builtin_currencies).values() if isinstance(c, Currency)), key=str)
)


def same(left: Record, right: Record) -> bool:
    """Whether two records are equal, down to the decimals a value was written with."""
    return type(left) is type(right) and left == right and left.to_dict() == right.to_dict()


# Text and identifiers

_PLAIN = st.characters(codec="ascii", categories=("L", "N", "P"), exclude_characters="{}")
_ANY = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="{}\u2028\u2029")


@cache
def texts(max_size: int = 30) -> SearchStrategy[str]:
    """Any text that is valid Unicode: control characters, braces and emptiness included."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


@cache
def _parts(without: str = "") -> SearchStrategy[str]:
    def clean(alphabet: SearchStrategy[str]) -> SearchStrategy[str]:
        return alphabet.filter(lambda c: c not in without) if without else alphabet

    plain = st.text(clean(_PLAIN), min_size=1, max_size=24)
    wild = st.text(clean(_ANY), min_size=1, max_size=120).filter(lambda text: not text.isspace())
    return st.one_of(plain, plain, wild)


@cache
def instrument_ids() -> SearchStrategy[InstrumentId]:
    """Ids with dots, slashes and spaces in the symbol."""
    return st.builds(lambda s, v: InstrumentId(f"{s}.{v}"), _parts(), _parts(without="."))


@cache
def uuids() -> SearchStrategy[UUID4]:
    """Event ids."""
    return st.uuids().map(lambda u: UUID4(str(u)))


def ids(kind: type[I]) -> SearchStrategy[I]:
    """Ids of that class, such as ``ids(ClientOrderId)``."""
    known: dict[Any, SearchStrategy[Any]] = {UUID4: uuids(), InstrumentId: instrument_ids()}
    if kind in known:
        return known[kind]
    if kind in (TraderId, AccountId):
        return st.builds(lambda a, b: kind(f"{a}-{b}"), _parts(), _parts(without="-"))
    if kind in (TradeId, VenueOrderId):
        return (_parts() | _parts().map("{{{}}}".format)).map(kind)  # a venue may put anything there
    return _parts().map(kind)


# Values


@cache
def timestamps() -> SearchStrategy[int]:
    """UNIX nanoseconds: 0, 19 digits, both sides of 2**63, 2**64-1, and anything between."""
    edges = (0, 1, 1_700_000_000_123_456_789, 2**53 + 1, 2**63 - 1, 2**63, U64_MAX)
    return st.sampled_from(edges) | st.integers(0, U64_MAX)


@st.composite
def decimals(draw: st.DrawFn, precision: int | None = None, digits: int = DIGITS_MAX, signed: bool = True) -> Decimal:
    """Exact decimals of at most that many digits, with `precision` decimals (None: any)."""
    decimals = draw(st.integers(0, PRECISION_MAX)) if precision is None else precision
    ceiling = 10 ** draw(st.sampled_from((1, 3, 8, 19, digits))) - 1
    number = draw(st.integers(-ceiling if signed else 0, ceiling))
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -decimals))


def prices(precision: int | None = None) -> SearchStrategy[Price]:
    """Prices, negative and zero included."""
    return decimals(precision).map(Price)


def quantities(precision: int | None = None) -> SearchStrategy[Quantity]:
    """Quantities, zero included."""
    return decimals(precision, signed=False).map(Quantity)


@cache
def currencies() -> SearchStrategy[Currency]:
    """Built-in currencies: what text can be turned back into."""
    return st.sampled_from(BUILTIN_CURRENCIES)


def new_currencies() -> SearchStrategy[Currency]:
    """Any currency, known or not."""
    return st.builds(
        Currency,
        code=_parts().map(lambda s: "".join(s.split()) or "X"),
        precision=st.integers(0, PRECISION_MAX),
        iso4217=st.integers(0, 65535),
        name=texts(),
        currency_type=st.sampled_from(CurrencyType),
    )


@st.composite
def money(draw: st.DrawFn, currency: Currency | None = None, signed: bool = True, digits: int = DIGITS_MAX) -> Money:
    """Amounts of at most that many digits, in that currency (None: any built-in one)."""
    unit = currency or draw(currencies())
    return Money(draw(decimals(unit.precision, digits=digits, signed=signed)), unit)


@cache
def infos(max_leaves: int = 8) -> SearchStrategy[dict[str, Any]]:
    """Free-form data: nested, with bytes and 64-bit integers. No NaN: it is not equal to itself."""
    leaves = (
        st.none() | st.booleans() | st.integers(-(2**63), U64_MAX) | st.floats(allow_nan=False) | texts() | st.binary()
    )
    nested = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(8), inner, max_size=4),
        max_leaves=max_leaves,
    )
    return st.dictionaries(texts(8), nested, max_size=4)


# Records


@cache
def _of_kind(kind: Any) -> SearchStrategy[Any]:
    made: Callable[[], SearchStrategy[Any]] | None = _KINDS.get(kind)
    if made is not None:
        return made()
    return ids(kind) if issubclass(kind, Identifier) else st.sampled_from(kind)


@cache
def field_values(spec: Field) -> SearchStrategy[Any]:
    """Valid values of one field of a record, by the type it is declared with."""
    if spec.is_info:
        made: SearchStrategy[Any] = infos()
    elif spec.element is not None:
        made = st.lists(_of_kind(spec.element), min_size=int(spec.optional), max_size=3).map(tuple)
    else:
        made = _of_kind(spec.kind)
    return st.none() | made if spec.optional else made


def records(kind: type[R], **given: SearchStrategy[Any]) -> SearchStrategy[R]:
    """Records of that class: every field drawn by its type, but those given."""
    drawn = {spec.name: field_values(spec) for spec in kind._specs}
    return st.fixed_dictionaries(drawn | given).map(lambda values: kind(**values))


@cache
def _initialized(order_type: OrderType) -> SearchStrategy[OrderInitialized]:
    conditional = {name for names in ORDER_OPTIONS.values() for name in names}
    foreign = conditional - set(ORDER_OPTIONS[order_type])
    drawn = {spec.name: field_values(spec) for spec in OrderInitialized._specs if spec.name not in foreign}
    needed = {name: decimals(digits=20) for name in ("trailing_offset", "limit_offset") if name in drawn}
    fields = st.fixed_dictionaries(drawn | needed | {"order_type": st.just(order_type)})
    return fields.map(lambda values: OrderInitialized(**values))


def orders_initialized(order_type: OrderType | None = None) -> SearchStrategy[OrderInitialized]:
    """`OrderInitialized` of that type (None: any), with the fields that the type has."""
    return st.sampled_from(OrderType).flatmap(_initialized) if order_type is None else _initialized(order_type)


def order_events(kind: type[OrderEvent] | None = None) -> SearchStrategy[OrderEvent]:
    """Order events of that class; None for any. One event each, not a history."""
    if kind is None:
        return st.sampled_from([ORDER_EVENTS[name] for name in sorted(ORDER_EVENTS)]).flatmap(_events)
    return _events(kind)


@cache
def _events(kind: type[OrderEvent]) -> SearchStrategy[OrderEvent]:
    return orders_initialized() if kind is OrderInitialized else records(kind)


@st.composite
def account_balances(draw: st.DrawFn, currency: Currency | None = None) -> AccountBalance:
    """Balances whose total is what is locked and free."""
    unit = currency or draw(currencies())
    locked, free = (draw(money(unit, digits=DIGITS_MAX - 1)) for _ in range(2))
    return AccountBalance(locked + free, locked, free)


@st.composite
def margin_balances(draw: st.DrawFn, currency: Currency | None = None) -> MarginBalance:
    """Margins of an instrument or of the account."""
    unit = currency or draw(currencies())
    return MarginBalance(draw(money(unit)), draw(money(unit)), draw(st.none() | instrument_ids()))


@st.composite
def account_states(draw: st.DrawFn, account_type: AccountType | None = None) -> AccountState:
    """States of an account of that type (None: any), in one base currency or in several without one."""
    base = draw(st.none() | currencies())
    units = [base] if base else draw(st.lists(currencies(), min_size=1, max_size=4, unique=True))
    kind = account_type or draw(st.sampled_from(AccountType))
    margins = (
        draw(st.lists(st.sampled_from(units).flatmap(margin_balances), max_size=3))
        if kind is AccountType.MARGIN
        else ()
    )
    return draw(
        records(
            AccountState,
            account_type=st.just(kind),
            base_currency=st.just(base),
            balances=st.tuples(*(account_balances(unit) for unit in units)),
            margins=st.just(tuple(margins)),
        )
    )


def _fixed(kind: type[F], precision: int, least: int, digits: int) -> SearchStrategy[F]:
    """Prices or quantities that are not negative, or (1) positive."""
    floor = Decimal((0, (1,), -precision))
    return decimals(precision, digits=digits, signed=False).map(lambda number: kind(max(number, floor * least)))


@st.composite
def _instruments(draw: st.DrawFn, kind: type[N], digits: int, precision_max: int) -> N:
    price_precision, size_precision = (draw(st.integers(0, precision_max)) for _ in range(2))
    given: dict[str, Any] = {}
    for spec in kind._specs:
        name, made = spec.name, field_values(spec)
        if name in ("price_precision", "size_precision"):
            made = st.just(price_precision if name == "price_precision" else size_precision)
        elif spec.kind is Price:
            made = _fixed(Price, price_precision, int(name in ("price_increment", "max_price")), digits)
            if name == "min_price":
                made = made | made.map(lambda price: Price(price.copy_negate()))
        elif spec.kind is Quantity:
            made = _fixed(Quantity, size_precision, int(name != "min_quantity"), digits)
        elif spec.kind is Money:
            made = money(signed=False, digits=digits)
            if name == "max_notional":
                made = made.filter(lambda value: value.amount > 0)
        elif spec.kind is Decimal:
            made = decimals(draw(st.integers(0, 6)), digits=8, signed=name.endswith("fee"))
        elif spec.is_text:
            made = texts().map(lambda text: text if text.strip() else "X")
        if spec.optional and not spec.is_info:
            made = st.none() | made
        given[name] = draw(made)
    if kind is BettingInstrument:
        given["market_id"] = f"1.{draw(st.integers(0, 999_999_999))}"
        given["selection_id"] = draw(st.integers(0, 99_999_999))
        given["selection_handicap"] = draw(st.sampled_from((HANDICAP_NONE, Decimal(0), Decimal("-1.5"))))
        symbol = BettingInstrument.symbol_of(given["market_id"], given["selection_id"], given["selection_handicap"])
        given |= {"raw_symbol": symbol, "id": InstrumentId.from_parts(symbol, given["id"].venue)}
    if kind is PerpetualContract and given["base_currency"] is None:
        given["is_inverse"] = False
    return kind(**given)


def instruments(
    kind: type[Instrument] | None = None, digits: int = DIGITS_MAX, precision_max: int = PRECISION_MAX
) -> SearchStrategy[Instrument]:
    """Instruments of that class (None: any), with numbers of at most that many digits and decimals."""
    kinds = [INSTRUMENTS[name] for name in sorted(INSTRUMENTS)] if kind is None else [kind]
    return st.sampled_from(kinds).flatmap(lambda made: _instruments(made, digits, precision_max))


@st.composite
def synthetics(draw: st.DrawFn) -> SyntheticInstrument:
    """Synthetic instruments whose formula is the sum of the components."""
    # A name that begins as a number does can not be told from one in a formula, and is refused there.
    named = instrument_ids().map(lambda text: InstrumentId(f"C{text[1:].strip()}"[:LENGTH_MAX]))
    components = draw(st.lists(named, min_size=2, max_size=4, unique=True))
    symbol = draw(ids(Symbol).filter(lambda text: len(text) < LENGTH_MAX - 10))
    precision = draw(st.integers(0, PRECISION_MAX))
    moments = draw(st.tuples(timestamps(), timestamps()))
    return SyntheticInstrument(symbol, precision, tuple(components), " + ".join(components), *moments)


_KINDS: dict[Any, Callable[[], SearchStrategy[Any]]] = {
    str: texts,
    int: timestamps,
    bool: st.booleans,
    Decimal: decimals,
    Price: prices,
    Quantity: quantities,
    Money: money,
    Currency: currencies,
    AccountBalance: account_balances,
    MarginBalance: margin_balances,
}
