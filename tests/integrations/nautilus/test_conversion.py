"""NautilusTrader's objects as records and back: nothing is lost either way, and what can not be stored is refused."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nautilus_trader")

from nautilus_trader.core.uuid import UUID4 as NautilusUUID4  # noqa: N811 # it is no constant
from nautilus_trader.model import currencies as nautilus_currencies
from nautilus_trader.model import enums as nautilus_enums
from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import identifiers as nautilus_ids
from nautilus_trader.model import objects
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from eventstore.codec import MsgPackSerializer
from eventstore.integrations.nautilus.conversion import basis_of, to_nautilus, to_record, values
from eventstore.integrations.nautilus.conversion.instruments import INSTRUMENT_KINDS
from eventstore.model import enums
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType, OrderSide
from eventstore.model.errors import InvalidValue
from eventstore.model.events import ORDER_EVENTS, AccountState, OrderDenied, OrderEvent, OrderFilled, OrderInitialized
from eventstore.model.identifiers import UUID4, ClientOrderId, StrategyId, TradeId
from eventstore.model.instrument import ONE, ExchangeContract, Instrument
from eventstore.model.instruments import INSTRUMENTS, BettingInstrument, BinaryOption, Equity
from eventstore.model.position_basis import PositionBasis
from eventstore.model.record import Record
from eventstore.model.values import Money, Price, Quantity
from tests.support import specimens
from tests.support.effort import effort
from tests.support.nautilus import records
from tests.support.nautilus.instruments import AUDUSD, all_instruments, synthetic
from tests.support.strategies import instruments

codec = MsgPackSerializer()
ORDER = TestExecStubs.limit_order(instrument=AUDUSD)
FILL = TestEventStubs.order_filled(ORDER, AUDUSD, position_id=nautilus_ids.PositionId("P-1"))


def attributes(value: Any) -> Any:
    """All that NautilusTrader's object lets be seen, down to the decimals that a value was written with."""
    if isinstance(value, objects.Price | objects.Quantity):
        return (type(value), value.raw, value.precision)
    if isinstance(value, objects.Money):
        return (objects.Money, value.raw, attributes(value.currency))
    if isinstance(value, objects.Currency):
        return (value.code, value.precision, value.iso4217, value.name, int(value.currency_type))
    if isinstance(value, nautilus_ids.Identifier | NautilusUUID4):
        return (type(value), value.value)
    if isinstance(value, list | tuple):
        return [attributes(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str | bytes | dict | Decimal | datetime):
        return (type(value), value)
    seen = {}
    for name in dir(type(value)):
        if not name.startswith("_"):
            found = getattr(value, name)
            if not callable(found):
                seen[name] = attributes(found)
    return seen


def assert_same(made: Any, live: Any) -> None:
    """Assert that `made` is `live`, as far as anybody can see."""
    assert type(made) is type(live)
    assert made == live
    assert type(made).to_dict(made) == type(live).to_dict(live)
    assert attributes(made) == attributes(live)


def specimen(kind: type[OrderEvent], **changes: Any) -> Any:
    """The specimen of that kind as NautilusTrader can hold it, but for `changes`."""
    record = specimens.record(kind)
    holdable = {"event_id": UUID4(), "strategy_id": StrategyId("S-1"), "reconciliation": False}
    if kind is OrderInitialized:
        holdable["ts_event"] = record.ts_init
    return record.replace(**({name: value for name, value in holdable.items() if name in kind._fields} | changes))


def through_bytes(record: Record) -> Record:
    return codec.deserialize(codec.serialize(record))


# -- Order events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ORDER_EVENTS.values(), ids=lambda kind: kind.__name__)
def test_order_events_go_both_ways(kind: type[OrderEvent]) -> None:
    @effort(40)
    @given(records.order_events(kind))
    def check(record: OrderEvent) -> None:
        event = to_nautilus(record)
        again = to_record(event)
        assert again == record
        assert again.to_dict() == record.to_dict()
        assert again == through_bytes(record)
        assert_same(to_nautilus(again), event)

    check()


@pytest.mark.parametrize("kind", ORDER_EVENTS.values(), ids=lambda kind: kind.__name__)
def test_an_order_event_shows_what_nautilus_trader_shows(kind: type[OrderEvent]) -> None:
    @effort(25)
    @given(records.order_events(kind))
    def check(record: OrderEvent) -> None:
        event = to_nautilus(record)
        theirs, ours = type(event).to_dict(event), to_record(event).to_dict()
        for name in ("linked_order_ids", "tags"):  # some releases join them
            theirs.pop(name, None), ours.pop(name, None)
        for name, value in theirs.items():
            assert ours[name] == value, name

    check()


def test_a_record_made_on_the_fast_way_passes_every_check_of_its_class() -> None:
    @effort(60)
    @given(st.sampled_from(sorted(ORDER_EVENTS)).flatmap(lambda name: records.order_events(ORDER_EVENTS[name])))
    def check(record: OrderEvent) -> None:
        made = to_record(to_nautilus(record))
        checked = type(made)(*made)
        assert checked == made
        assert [type(value) for value in checked] == [type(value) for value in made]

    check()


def test_times_keep_all_digits() -> None:
    for moment in (0, 1, 1_700_000_000_123_456_789, 2**63, 2**64 - 1):
        record = specimen(OrderFilled, ts_event=moment, ts_init=moment)
        event = to_nautilus(record)
        assert (event.ts_event, event.ts_init) == (moment, moment)
        assert to_record(event) == record


def test_a_price_keeps_its_decimals_whoever_was_converted_before() -> None:
    for text in ("1.5", "1.50", "1.500", "1.5000000000000000", "-0.0000000000000001", "0.00", "0"):
        price = objects.Price.from_str(text)
        assert str(values.price_from_nautilus(price)) == text
        made = values.price_to_nautilus(Price(text))
        assert (str(made), made.raw, made.precision) == (text, price.raw, price.precision)


def test_the_largest_numbers_are_exact() -> None:
    """NautilusTrader's own parser works with 28 digits, and loses the last of the largest."""
    for text in ("17014118346044.1234567890123456", "-17014118346044.9999999999999999"):
        made = values.price_to_nautilus(Price(text))
        assert made.raw == int(text.replace(".", ""))
        assert str(values.price_from_nautilus(made)) == text
    assert (
        values.quantity_to_nautilus(Quantity("34028236692092.1234567890123456")).raw == 340282366920921234567890123456
    )


def test_digits_that_nautilus_trader_does_not_show_are_left_out() -> None:
    """Its arithmetic can leave digits behind the precision; its own database stores what it shows."""
    price = objects.Price.from_raw(15 * 10 ** (objects.FIXED_PRECISION - 1) + 1, 2)
    assert str(values.price_from_nautilus(price)) == str(price) == "1.50"


def test_an_amount_has_the_decimals_that_its_currency_is_known_with() -> None:
    """NautilusTrader's money finds its currency by the code, each time it is asked."""
    for precision, text in ((2, "1.50 TWICE"), (6, "1.500000 TWICE")):
        unit = objects.Currency("TWICE", precision, 0, "Twice", nautilus_enums.CurrencyType.CRYPTO)
        objects.Currency.register(unit, overwrite=True)
        record = values.money_from_nautilus(objects.Money(1.5, unit))
        assert (str(record), record.currency.precision) == (text, precision)
        assert str(values.money_to_nautilus(record)) == text
        assert values.currency_from_nautilus(unit).precision == precision


def test_a_currency_that_nautilus_trader_does_not_know_becomes_known_as_it_was_stored() -> None:
    """It would take it for one of 8 decimals as soon as somebody asks an amount for its currency."""
    assert objects.Currency.from_internal_map("STORED") is None
    made = values.money_to_nautilus(Money("1.500", Currency("STORED", 3, 0, "Stored", CurrencyType.FIAT)))
    assert (str(made), made.currency.precision) == ("1.500 STORED", 3)


def test_what_is_remembered_is_bounded() -> None:
    for number in range(values.REMEMBERED_MAX + 10):
        values.price_from_nautilus(objects.Price.from_raw(number * 10**objects.FIXED_PRECISION, 0))
    found = values.price_from_nautilus.__closure__
    assert found is not None
    sizes = [len(cell.cell_contents) for cell in found if isinstance(cell.cell_contents, dict)]
    assert sizes
    assert max(sizes) <= values.REMEMBERED_MAX
    remembered = values.Remembered(str)
    for number in range(values.REMEMBERED_MAX + 10):
        assert remembered[number] == str(number)
    assert len(remembered) <= values.REMEMBERED_MAX


# -- What can not be stored ------------------------------------------------------------------------------------


def filled(**changes: Any) -> Any:
    """A fill of NautilusTrader's, with what it takes and we do not."""
    names = (
        *("trader_id", "strategy_id", "instrument_id", "client_order_id", "venue_order_id", "account_id", "trade_id"),
        *("position_id", "order_side", "order_type", "last_qty", "last_px", "currency", "commission", "liquidity_side"),
        *("ts_event", "ts_init", "reconciliation", "info"),
    )
    given = {name: getattr(FILL, name) for name in names} | {"event_id": FILL.id}
    return nautilus_events.OrderFilled(**(given | changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_order_id", nautilus_ids.ClientOrderId("O-{1}")),
        ("venue_order_id", nautilus_ids.VenueOrderId("V" * 256)),
        ("venue_order_id", nautilus_ids.VenueOrderId("V\t1")),
        ("position_id", nautilus_ids.PositionId("P-\x85")),
        ("instrument_id", nautilus_ids.InstrumentId.from_str("{AUD/USD}.SIM")),
    ],
)
def test_an_identifier_that_is_no_part_of_a_key_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=rf"OrderFilled\.{field}: "):
        to_record(filled(**{field: value}))


def test_data_that_can_not_be_stored_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"OrderFilled\.info: "):
        to_record(filled(info={"key": object()}))
    with pytest.raises(InvalidValue, match=r"OrderFilled\.info: .*64 bits"):
        to_record(filled(info={"key": 2**64}))


def test_data_that_needs_it_is_stored_as_nautilus_traders_serializer_does() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    event = filled(info={"fee": Decimal("0.10"), "at": moment, "side": OrderSide.BUY, 7: (1, b"\xff")})
    info = to_record(event).to_dict()["info"]
    assert info == {"fee": "0.10", "at": "2024-01-02T03:04:05Z", "side": 1, "7": [1, b"\xff"]}


def test_an_option_that_the_type_has_not_is_refused() -> None:
    event = to_nautilus(specimen(OrderInitialized))
    event.options["unheard_of"] = "1"
    with pytest.raises(InvalidValue, match="unheard_of"):
        to_record(event)
    event.options["unheard_of"] = None
    assert to_record(event).order_type is enums.OrderType.TRAILING_STOP_LIMIT


def test_what_is_nothing_to_store_is_refused_by_name() -> None:
    for thing in (ORDER, AUDUSD.id, object(), None, OrderSide.BUY):
        with pytest.raises(TypeError, match=type(thing).__name__):
            to_record(thing)
    for thing in (ORDER, None, "text"):
        with pytest.raises(TypeError, match="expected a Record"):
            to_nautilus(thing)
    with pytest.raises(TypeError, match="Money"):
        to_nautilus(Money("1.00", Currency.from_str("USD")))


# -- What NautilusTrader can not hold: it would end the process -------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": ClientOrderId("Ö-1")},
        {"strategy_id": StrategyId("S")},
        {"strategy_id": StrategyId("S-")},
        {"trade_id": TradeId("T" * 37)},
        {"trade_id": TradeId("É")},
        {"event_id": UUID4("00000000-0000-1000-8000-000000000000")},
        {"event_id": UUID4("00000000-0000-4000-0000-000000000000")},
        {"last_px": Price("17014118346047")},
        {"last_px": Price("-17014118346047")},
        {"last_px": Price("1." + 17 * "0")},
        {"last_qty": Quantity("34028236692094")},
        {"last_qty": Quantity("0")},
        {"commission": Money("17014118346047.00", Currency.from_str("USD"))},
        {"order_side": OrderSide.NO_ORDER_SIDE},
    ],
    ids=str,
)
def test_what_nautilus_trader_can_not_hold_is_refused(changes: dict[str, Any]) -> None:
    record = specimen(OrderFilled)
    to_nautilus(record)
    with pytest.raises(ValueError):  # noqa: PT011 # what is wrong is said in many ways
        to_nautilus(record.replace(**changes))


def test_an_identifier_that_only_some_releases_take_is_not_stored() -> None:
    """1.221 takes a strategy id that ends with its hyphen; 1.231 ends the process over it."""
    with pytest.raises(InvalidValue, match="both sides of a hyphen"):
        values._check_loadable(StrategyId, "S-")
    values._check_loadable(StrategyId, "EXTERNAL")


def test_a_kind_that_the_installed_release_has_not_is_refused_by_name() -> None:
    class Unheard(OrderDenied):
        __slots__ = ()

    with pytest.raises(TypeError, match=r"Unheard: the installed NautilusTrader .* has nothing of that kind"):
        to_nautilus(Unheard(*specimens.record(OrderDenied)))


# -- Accounts, currencies --------------------------------------------------------------------------------------


@effort(80)
@given(records.account_states())
def test_account_states_go_both_ways(record: AccountState) -> None:
    state = to_nautilus(record)
    again = to_record(state)
    assert again == record == through_bytes(record)
    assert again.to_dict() == nautilus_events.AccountState.to_dict(state)
    assert again == AccountState(*again)
    assert_same(to_nautilus(again), state)


def builtin_currencies() -> Iterator[Any]:
    return (unit for unit in vars(nautilus_currencies).values() if isinstance(unit, objects.Currency))


def test_every_currency_of_nautilus_traders_goes_both_ways() -> None:
    found = list(builtin_currencies())
    assert len(found) > 50
    for unit in found:
        record = to_record(unit)
        assert record == through_bytes(record)
        assert attributes(to_nautilus(record)) == attributes(unit)
        assert attributes(values.currency_to_nautilus(values.currency_from_nautilus(unit))) == attributes(unit)


def test_a_currency_of_ones_own_goes_both_ways() -> None:
    unit = objects.Currency("OWN", 7, 999, "Own & only", nautilus_enums.CurrencyType.COMMODITY_BACKED)
    record = to_record(unit)
    assert record == Currency("OWN", 7, 999, "Own & only", CurrencyType.COMMODITY_BACKED)
    assert attributes(to_nautilus(record)) == attributes(unit)


@pytest.mark.parametrize(
    "record", [Currency("X", 2, 0, " ", CurrencyType.FIAT), Currency("X", 17, 0, "X", CurrencyType.FIAT)], ids=str
)
def test_a_currency_that_nautilus_trader_can_not_hold_is_refused(record: Currency) -> None:
    with pytest.raises(InvalidValue, match="Currency X"):
        to_nautilus(record)


# -- Instruments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", all_instruments(), ids=lambda one: f"{type(one).__name__}-{one.id}")
def test_instruments_go_both_ways(instrument: Any) -> None:
    record = to_record(instrument)
    assert isinstance(record, Instrument)
    assert type(record).__name__ == type(instrument).__name__
    assert record.to_dict() == type(instrument).to_dict(instrument)
    assert through_bytes(record) == record
    made = to_nautilus(record)
    assert_same(made, instrument)
    assert to_record(made) == record
    assert basis_of(made) == basis_of(instrument)


@pytest.mark.parametrize("name", sorted(INSTRUMENTS))
def test_every_kind_of_instrument_is_held_exactly_or_refused(name: str) -> None:
    """What a constructor does not take, NautilusTrader sets itself; what comes out otherwise is not the instrument."""
    kind = INSTRUMENTS[name]
    if kind not in INSTRUMENT_KINDS:
        with pytest.raises(TypeError, match=name):
            to_nautilus(specimens.record(kind))
        return
    held = 0

    @effort(45)
    @given(instruments(kind, digits=12, precision_max=9).map(likely))
    def check(record: Instrument) -> None:
        nonlocal held
        try:
            made = to_nautilus(record)
        except InvalidValue:
            return
        held += 1
        assert to_record(made) == record
        shown = type(made).to_dict(made)
        for key, value in record.to_dict().items():
            assert value == shown[key] or (value is None and shown[key] == "None"), key  # a lot size, of some kinds

    check()
    assert held >= 5


def likely(record: Instrument) -> Instrument:
    """The same with what no release of NautilusTrader holds exchanged, where that is easily told."""
    venue = record.venue if record.venue.isascii() and record.venue.strip() else "SIM"
    changes: dict[str, Any] = {"tick_scheme_name": None, "id": type(record.id)(f"{record.symbol}.{venue}")}
    if isinstance(record, ExchangeContract | Equity):
        set_by_constructor = {"size_precision": 0, "size_increment": ONE, "max_price": None, "min_price": None}
        if isinstance(record, ExchangeContract):
            set_by_constructor |= {"max_quantity": None, "min_quantity": ONE}
        changes |= {name: value for name, value in set_by_constructor.items() if name in record._fields}
    if isinstance(record, BinaryOption):
        changes |= {"margin_init": Decimal(0), "margin_maint": Decimal(0)}
    if isinstance(record, BettingInstrument):
        places = max(record.size_precision, 2)
        changes |= {
            "price_increment": Price(Decimal(1).scaleb(-record.price_precision)),
            "size_precision": places,
            "size_increment": Quantity(Decimal("0.01"), places),
            "margin_init": record.margin_init or Decimal(1),
            "margin_maint": record.margin_maint or Decimal(1),
            "info": record.info or {},
        }
        changes |= {name: getattr(record, name) % 2**31 for name in ("event_type_id", "competition_id", "event_id")}
        changes |= {name: getattr(record, name) % 2**62 for name in ("event_open_date", "market_start_time")}
    return record.replace(**changes)


def test_synthetic_instruments_go_both_ways() -> None:
    instrument = synthetic()
    record = to_record(instrument)
    assert record == through_bytes(record)
    made = to_nautilus(record)
    assert type(made).to_dict(made) == type(instrument).to_dict(instrument) == record.to_dict()
    assert (made.id, made.price_increment) == (instrument.id, instrument.price_increment)


# -- Bases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", all_instruments(), ids=lambda one: f"{type(one).__name__}-{one.id}")
def test_a_position_has_the_basis_of_its_instrument(instrument: Any) -> None:
    fill = filled(
        instrument_id=instrument.id,
        last_qty=objects.Quantity.from_int(1),
        currency=instrument.quote_currency,
        commission=objects.Money(0, instrument.quote_currency),
    )
    basis = basis_of(Position(instrument, fill))
    assert basis == basis_of(instrument) == PositionBasis(*basis)
    assert basis == through_bytes(basis)
    assert str(basis.settlement_currency) == str(instrument.get_cost_currency())


def test_what_has_no_basis_is_refused() -> None:
    with pytest.raises(TypeError, match="LimitOrder"):
        basis_of(ORDER)


# -- Enumerations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "OrderSide",
            "OrderType",
            "OrderStatus",
            "TimeInForce",
            "TriggerType",
            "TrailingOffsetType",
            "ContingencyType",
        ),
        *(
            "LiquiditySide",
            "PositionSide",
            "AccountType",
            "CurrencyType",
            "AssetClass",
            "InstrumentClass",
            "OptionKind",
        ),
    ],
)
def test_every_member_of_nautilus_traders_enumerations_has_its_number_and_name(name: str) -> None:
    ours = {member.value: member.name for member in getattr(enums, name)}
    theirs = {int(member): member.name for member in getattr(nautilus_enums, name)}
    assert theirs.items() <= ours.items()
