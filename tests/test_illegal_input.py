"""Illegal input raises at the call, says which call, which argument and what to do; and the log is untouched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import AlreadyAdded, Closed, ConfigError, Refused, StaleObject, TooLarge, UnknownId
from eventstore.facade import CacheDatabase
from eventstore.ledger import check
from eventstore.model.accounts import Account
from eventstore.model.currencies import EUR, USD
from eventstore.model.enums import AccountType, OrderSide
from eventstore.model.errors import InvalidIdentifier
from eventstore.model.events import AccountBalance, AccountState, OrderAccepted, OrderFilled, OrderSubmitted
from eventstore.model.identifiers import (
    UUID4,
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Quantity
from tests.support import strategies as some
from tests.support.databases import SILENT, TRADER, open_database
from tests.support.effort import effort
from tests.support.node import TRADED, State
from tests.support.orders import happened, initialized, order_after
from tests.support.redis_server import RedisServer

VALUE_BYTES_MAX = 1000


def account_state(total: str = "100", account_id: str = "SIM-001") -> AccountState:
    money = Money(total, USD)
    balance = AccountBalance(money, Money(0, USD), money)
    return AccountState(UUID4(), 1, 1, AccountId(account_id), AccountType.CASH, USD, (balance,))


def filled(side: OrderSide = OrderSide.BUY, quantity: str = "10", position_id: str = "P-1") -> OrderFilled:
    fill: OrderFilled = happened(
        OrderFilled,
        trade_id=TradeId(str(UUID4())),
        order_side=side,
        last_qty=Quantity(quantity),
        instrument_id=TRADED[0].id,
        position_id=PositionId(position_id),
    )
    return fill


class World:
    """An open database, and one of everything, added."""

    def __init__(self, url: str) -> None:
        self.database = open_database(url, value_bytes_max=VALUE_BYTES_MAX)
        self.order = order_after(OrderSubmitted)
        self.position = Position(TRADED[0], filled())
        self.account = Account.create(account_state())
        self.database.add_order(self.order)
        self.database.add_position(self.position)
        self.database.add_account(self.account)
        self.synthetic = SyntheticInstrument(
            Symbol("S"), 2, (InstrumentId("A.X"), InstrumentId("B.Y")), "A.X + B.Y", 0, 0
        )
        self.valid: dict[str, Any] = {
            "key": "key",
            "value": b"value",
            "currency": USD,
            "instrument": TRADED[0],
            "synthetic": self.synthetic,
            "account": self.account,
            "order": self.order,
            "position": self.position,
            "actor": State(ComponentId("A-1"), {}),
            "strategy": State(StrategyId("S-1"), {}),
            "ts_snapshot": 1,
            "unrealized_pnl": Money(1, USD),
            "client_order_id": ClientOrderId("O-1"),
            "venue_order_id": VenueOrderId("V-1"),
            "position_id": PositionId("P-1"),
            "client_id": ClientId("C-1"),
            "account_id": AccountId("SIM-001"),
            "component_id": ComponentId("A-1"),
            "strategy_id": StrategyId("S-1"),
            "instrument_id": InstrumentId("S.SYNTH"),
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "event_id": str(UUID4()),
            "code": "USD",
            "pattern": "*",
            "state": "all",
            "open_only": False,
            "level": "applied",
            "timeout_s": 30.0,
        }

    def refuses(
        self,
        error: type[Exception] | tuple[type[Exception], ...],
        call: Callable[[], object],
        message: str | None = None,
    ) -> None:
        """Assert that `call` raises, and that nothing was accepted."""
        before = self.database.sync()
        with pytest.raises(error, match=message):
            call()
        assert self.database.sync() == before


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with RedisServer() as server:
        world = World(server.url)
        yield world
        assert world.database.close() == 0


# -- Wrong types, of every argument of every verb ------------------------------------------------------------------

NOT_ANYTHING = object()
STRANGE = [
    None,
    1,
    1.5,
    True,
    "plain text",
    b"bytes",
    [],
    {},
    NOT_ANYTHING,
    Quantity("1"),
    TradeId("an id of another kind"),
]

ACCEPTED_TYPES: dict[str, tuple[type, ...]] = {
    "value": (bytes,),
    "key": (str,),
    "ts_snapshot": (int,),
    "event_id": (str,),
    "code": (str,),
    "pattern": (str,),
    "state": (str,),
    "open_only": (bool,),
    "level": (str,),
    "timeout_s": (int, float),
}


def every_argument() -> Iterator[Any]:
    """Every argument of every public verb, with its name as a parameter's id."""
    for verb, method in inspect.getmembers(CacheDatabase, inspect.isfunction):
        if not verb.startswith("_") and verb != "close":
            for parameter in list(inspect.signature(method).parameters.values())[1:]:
                yield pytest.param(verb, parameter, id=f"{verb}-{parameter.name}")


@pytest.mark.parametrize(("verb", "parameter"), list(every_argument()))
def test_a_wrong_type_raises_at_the_call_and_names_verb_and_argument(
    world: World, verb: str, parameter: inspect.Parameter
) -> None:
    """Whatever is no such argument is a `TypeError` there and then, of the form ``verb: argument: expected ...``."""
    method = getattr(world.database, verb)
    signature = inspect.signature(method).parameters
    given = {name: world.valid[name] for name, other in signature.items() if other.default is inspect.Parameter.empty}
    optional = parameter.default is None
    accepted = ACCEPTED_TYPES.get(parameter.name, (type(world.valid[parameter.name]),))
    for value in STRANGE:
        if (value is None and optional) or (isinstance(value, accepted) and (bool in accepted or value is not True)):
            continue
        world.refuses(
            TypeError, lambda value=value: method(**(given | {parameter.name: value})), f"^{verb}: {parameter.name}"
        )


def test_every_verb_of_the_interface_is_there_and_documented_the_same_way() -> None:
    """The database has every verb that the interface names, with the same arguments and defaults."""
    for verb, method in inspect.getmembers(CacheDatabase, inspect.isfunction):
        if not verb.startswith("_"):
            assert inspect.signature(getattr(RedisCacheDatabase, verb)) == inspect.signature(method)
            assert method.__doc__


@pytest.mark.parametrize("value", [None, "x", 1, {}, object()])
def test_only_a_trader_id_opens_a_database(value: Any) -> None:
    with pytest.raises(TypeError, match="trader_id: expected TraderId"):
        RedisCacheDatabase(value)


@pytest.mark.parametrize("value", ["redis://localhost", 1, {}, object(), CacheDatabaseConfig])
def test_a_config_that_is_none_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="config: expected CacheDatabaseConfig"):
        RedisCacheDatabase(TRADER, SILENT, None, value)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (PositionId, r"; wrap it: PositionId\('x'\)$"),
        (bytes, r"; encode it: value\.encode\(\)$"),
        (datetime, r"; read it: datetime\.fromisoformat\(value\), with a time zone$"),
        (CacheDatabaseConfig, r"; wrap it: CacheDatabaseConfig\.at\(value\)"),
        (Order, "got str$"),
        (int, "got str$"),
    ],
)
def test_text_in_the_place_of_something_else_is_told_how_to_become_it(kind: type, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        check("verb", "value", "x", kind)


@pytest.mark.parametrize("value", ["msgpack", 1, object()])
def test_a_serializer_or_logger_that_is_none_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="serializer: expected Serializer"):
        RedisCacheDatabase(TRADER, SILENT, value)
    with pytest.raises(TypeError, match="logger: expected a structlog logger"):
        RedisCacheDatabase(TRADER, value)


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "redis://x", "directory": "/x"},
        {"on_full": "drop"},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": "5"},
        {"batch_count_max": 0},
        {"batch_count_max": True},
        {"batch_bytes_max": 1 << 40},
        {"linger_ms": -1},
        {"backlog_count_max": None},
        {"value_bytes_max": float("inf")},
        {"heartbeat_interval_s": 0},
        {"heartbeat_interval_s": "1"},
        {"batch_count_max": 1.5},
        {"archive": "x", "archive_keep_entries": 1.5},
        {"journal": 5},
        {"journal": ""},
        {"directory": ""},
        {"directory": b"x"},
        {"aside": ""},
        {"archive_after_s": 1, "archive": ""},
        {"url": 5},
        {"url": ""},
        {"url": "http://x"},
        {"url": "localhost:6379"},
        {"durability": 1},
        {"strict_loads": "no"},
        {"allow_eviction": 1},
        {"close_on_sigterm": None},
        {"purge_account_events": 1},
    ],
    ids=str,
)
def test_a_setting_out_of_its_bounds_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"\b{list(settings)[-1]}\b"):
        CacheDatabaseConfig(**settings)


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "redis:/x", "redis://localhost:port", ""])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        open_database(url)
    with pytest.raises(ConfigError) as info:
        open_database(url.replace("//", "//user:secret@") if "//" in url else "ftp://user:secret@host")
    assert "secret" not in str(info.value)


# -- Ids ---------------------------------------------------------------------------------------------------------

BAD_TEXTS = [
    "",
    " ",
    "\t\n",
    "a\nb",
    "a\x00b",
    "\x7f",
    "a\x85",
    "{",
    "a}b",
    "{trader-X}",
    "x" * 256,
    "\ud800",
    "\u2028",
]
IDS = [ClientOrderId, PositionId, StrategyId, ComponentId, VenueOrderId, ClientId, TradeId]
NO_KEYS = (VenueOrderId, TradeId)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=ascii)
def test_no_id_holds_what_would_break_a_key(text: str) -> None:
    """Control characters, braces (they delimit the part of a key that names its slot), nothing, or too much."""
    for kind in IDS:
        if kind in NO_KEYS and text.isprintable() and len(text) < 256 and text.strip():
            assert kind(text) == text  # it is in no key, so braces break nothing
            continue
        with pytest.raises(InvalidIdentifier, match=f"^{kind.__name__}: "):
            kind(text)
    for kind_with_parts, whole in (
        (TraderId, f"{text}-{text}"),
        (AccountId, f"{text}-{text}"),
        (InstrumentId, f"{text}.{text}"),
    ):
        with pytest.raises(InvalidIdentifier, match=f"^{kind_with_parts.__name__}: "):
            kind_with_parts(whole)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=ascii)
def test_no_general_key_holds_that_either(world: World, text: str) -> None:
    world.refuses(ValueError, lambda: world.database.add(text, b"value"), "^add ")


@effort(examples=60)
@given(text=st.text(max_size=300))
def test_a_general_key_is_refused_at_the_call_or_stored(world: World, text: str) -> None:
    """Any text: either `add` raises, naming itself, and nothing happens; or the value comes back under that key."""
    before = world.database.sync()
    value = text.encode(errors="replace")
    try:
        world.database.add(text, value)
    except Refused:
        world.refuses(Refused, lambda: world.database.add(text, value), "^add ")
        assert world.database.sync() == before
    else:
        assert world.database.load()[text] == value


# -- Sizes -------------------------------------------------------------------------------------------------------


def test_a_value_over_the_bound_is_refused_with_its_size(world: World) -> None:
    """One huge value is refused at the call, with its size and the setting; the largest that is allowed is stored."""
    database, big = world.database, bytes(VALUE_BYTES_MAX + 1)
    message = rf"{VALUE_BYTES_MAX + 1} bytes, at most {VALUE_BYTES_MAX} are allowed.*value_bytes_max"
    world.refuses(TooLarge, lambda: database.add("big", big), f"^add big: {message}")
    state = {"k": bytes(VALUE_BYTES_MAX - 1)}
    world.refuses(
        TooLarge, lambda: database.update_actor(State(ComponentId("A"), state)), f"^update_actor A: {message}"
    )
    world.refuses(
        TooLarge, lambda: database.update_strategy(State(StrategyId("S"), state)), f"^update_strategy S: {message}"
    )
    database.add("big", big[1:])
    database.update_actor(State(ComponentId("A"), {"k": bytes(VALUE_BYTES_MAX - 2)}))
    assert len(database.load()["big"]) == VALUE_BYTES_MAX
    assert len(database.load_actor(ComponentId("A"))["k"]) == VALUE_BYTES_MAX - 2


# -- Components --------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


class Raising(State):
    def save(self) -> dict[str, bytes]:
        raise Broken


RUBBISH: list[Any] = [
    None,
    [],
    b"",
    "text",
    {1: b"x"},
    {b"k": b"x"},
    {"k": "text"},
    {"k": None},
    {"k": 1},
    {"k": bytearray(b"x")},
    {"k": memoryview(b"x")},
    {"k": {"nested": b"x"}},
    {"\ud800": b"lone surrogate"},
]


@pytest.mark.parametrize("saved", RUBBISH, ids=[str(number) for number in range(len(RUBBISH))])
def test_what_save_returns_has_to_be_text_to_bytes(world: World, saved: Any) -> None:
    """Anything else raises at the call, naming the verb and the component."""
    actor, strategy = State(ComponentId("A-1"), saved), State(StrategyId("S-1"), saved)
    expected = (TypeError, ValueError)
    world.refuses(expected, lambda: world.database.update_actor(actor), "^update_actor A-1: ")
    world.refuses(expected, lambda: world.database.update_strategy(strategy), "^update_strategy S-1: ")


def test_what_save_raises_is_the_callers(world: World) -> None:
    world.refuses(Broken, lambda: world.database.update_actor(Raising(ComponentId("A-1"), {})))


@pytest.mark.parametrize("component_id", [None, "A-1", 1, TradeId("A-1")])
def test_a_component_has_an_id_of_its_own_kind(world: World, component_id: Any) -> None:
    component = State(component_id, {})
    world.refuses(TypeError, lambda: world.database.update_actor(component), r"^update_actor: actor\.id: expected Comp")
    world.refuses(TypeError, lambda: world.database.update_strategy(component), r"^update_strategy: strategy\.id: ")


# -- Unknown, doubled and stale objects --------------------------------------------------------------------------


def test_what_was_never_added_can_not_be_updated(world: World) -> None:
    """An update or snapshot of an unknown id says to add or load it first."""
    database = world.database
    order = Order.create(initialized(client_order_id=ClientOrderId("O-unknown")))
    position = Position(TRADED[0], filled(position_id="P-unknown"))
    account = Account.create(account_state(account_id="SIM-unknown"))
    unknown: list[tuple[str, tuple[Any, ...], str]] = [
        ("update_order", (order,), "O-unknown: .*call add_order or load_order first"),
        ("snapshot_order_state", (order,), "O-unknown: .*call add_order or load_order first"),
        ("update_position", (position,), "P-unknown: .*call add_position or load_position first"),
        ("snapshot_position_state", (position, 1), "P-unknown: .*call add_position or load_position first"),
        ("update_account", (account,), "SIM-unknown: .*call add_account or load_account first"),
        ("delete_account_event", (account.id, str(UUID4())), "SIM-unknown: it has no event"),
        ("delete_account_event", (world.account.id, str(UUID4())), "SIM-001: it has no event"),
    ]
    for verb, arguments, message in unknown:
        world.refuses(
            UnknownId, lambda verb=verb, arguments=arguments: getattr(database, verb)(*arguments), f"^{verb} {message}"
        )


def test_what_was_added_can_not_be_added_again(world: World) -> None:
    """Neither the same object nor another one of its id; a node that means an update is told so."""
    database = world.database
    for verb, thing, key in (
        ("add_order", world.order, "O-1"),
        ("add_order", Order.create(initialized()), "O-1"),
        ("add_position", world.position, "P-1"),
        ("add_account", world.account, "SIM-001"),
        ("add_account", Account.create(account_state("7")), "SIM-001"),
    ):
        world.refuses(
            AlreadyAdded, lambda verb=verb, thing=thing: getattr(database, verb)(thing), f"^{verb} {key}: .*update_"
        )


def test_a_copy_that_missed_an_event_is_stale(redis_url: str) -> None:
    """Two copies of an object: once one was written further, the other's own history is refused, nothing written.

    An order, a position and an account; a position's is no new cycle either, to `add_position` or `update_position`.
    """
    with open_database(redis_url) as database:
        database.add_order(order_after(OrderSubmitted))
        database.add_position(Position(TRADED[0], filled()))
        database.add_account(Account.create(account_state()))
        one = database.load_order(ClientOrderId("O-1")), database.load_position(PositionId("P-1"))
        two = database.load_order(ClientOrderId("O-1")), database.load_position(PositionId("P-1"))
        accounts = [database.load_account(AccountId("SIM-001")) for _ in range(2)]
        for order, position in (one, two):
            assert order is not None
            assert position is not None
            order.apply(happened(OrderAccepted))
            position.apply(filled())
        for account in accounts:
            assert account is not None
            account.apply(account_state("200"))
        database.update_order(one[0])
        database.update_position(one[1])
        database.update_account(accounts[0])
        before = database.sync()
        calls: list[tuple[type[Exception], str, Any]] = [
            (StaleObject, "update_order", two[0]),
            (StaleObject, "update_position", two[1]),
            (AlreadyAdded, "add_position", two[1]),
            (StaleObject, "update_account", accounts[1]),
        ]
        for error, verb, thing in calls:
            with pytest.raises(error, match=f"^{verb} "):
                getattr(database, verb)(thing)
        assert database.sync() == before
        loaded = database.load_position(PositionId("P-1"))
        assert loaded is not None
        assert loaded.events == one[1].events
        assert database.load_position_cycles(PositionId("P-1")) == []


def test_an_order_or_position_of_another_trader_is_refused(world: World) -> None:
    other = TraderId("TRADER-002")
    order = Order.create(initialized(trader_id=other, client_order_id=ClientOrderId("O-2")))
    position = Position(TRADED[0], filled(position_id="P-2").replace(trader_id=other))
    world.refuses(Refused, lambda: world.database.add_order(order), "^add_order O-2: .*TRADER-002")
    world.refuses(Refused, lambda: world.database.add_position(position), "^add_position P-2: .*TRADER-002")


# -- Times -------------------------------------------------------------------------------------------------------


class Nowhere(tzinfo):
    """A time zone that does not say how far from UTC it is: what has it is naive."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    "timestamp",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001 - that is the point
        datetime(2026, 1, 1, tzinfo=Nowhere()),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
    ],
    ids=str,
)
def test_a_heartbeat_has_a_time_zone_and_a_time_that_can_be_stored(world: World, timestamp: datetime) -> None:
    world.refuses(Refused, lambda: world.database.heartbeat(timestamp), "^heartbeat: ")


@given(timestamp=st.datetimes(datetime(1970, 1, 2), datetime(2554, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
@effort(examples=30)
def test_any_other_heartbeat_comes_back(world: World, timestamp: datetime) -> None:
    """To the microsecond, in whatever time zone it was given; it comes back in UTC."""
    world.database.heartbeat(timestamp)
    loaded = world.database.load_heartbeat()
    # In UTC: where a clock is set, Python takes times of two zones for different ones whatever they are.
    assert loaded == timestamp.astimezone(UTC)
    assert loaded is not None
    assert loaded.utcoffset() == timedelta(0)


@pytest.mark.parametrize("ts_snapshot", [-1, 2**64, 10**30])
def test_a_snapshots_time_fits_in_64_bits(world: World, ts_snapshot: int) -> None:
    position = world.position
    world.refuses(
        Refused, lambda: world.database.snapshot_position_state(position, ts_snapshot), "^snapshot_position_state P-1: "
    )


# -- What is not found -------------------------------------------------------------------------------------------


def test_what_is_not_there_is_none_or_empty(redis_url: str) -> None:
    """Every load of an empty database, and of an id that nobody has: None, or an empty collection of its own kind."""
    with open_database(redis_url) as database:
        absent: dict[str, Any] = {
            "load_currency": ("ABSENT",),
            "load_instrument": (InstrumentId("A.B"),),
            "load_synthetic": (InstrumentId("A.SYNTH"),),
            "load_account": (AccountId("A-1"),),
            "load_order": (ClientOrderId("O"),),
            "load_position": (PositionId("P"),),
            "load_order_snapshot": (ClientOrderId("O"),),
            "load_position_snapshot": (PositionId("P"),),
            "load_heartbeat": (),
        }
        for verb, given_ in absent.items():
            assert getattr(database, verb)(*given_) is None, verb
        empty = {
            "load": {},
            "load_currencies": {},
            "load_instruments": {},
            "load_synthetics": {},
            "load_accounts": {},
            "load_orders": {},
            "load_positions": {},
            "load_order_snapshots": {},
            "load_position_snapshots": {},
            "load_index_order_position": {},
            "load_index_order_client": {},
            "load_index_venue_order_id": {},
            "load_order_ids": set(),
            "load_position_ids": set(),
        }
        for verb, nothing in empty.items():
            assert getattr(database, verb)() == nothing, verb
        assert database.load_actor(ComponentId("A")) == {}
        assert database.load_strategy(StrategyId("A")) == {}
        assert database.load_position_cycles(PositionId("P")) == []
        assert database.load_all().keys() == {
            "currencies",
            "instruments",
            "synthetics",
            "accounts",
            "orders",
            "positions",
        }
        assert not any(database.load_all().values())
        loads = {verb for verb, _ in inspect.getmembers(CacheDatabase, inspect.isfunction) if verb.startswith("load")}
        seen = {*absent, *empty, "load_actor", "load_strategy", "load_position_cycles", "load_all"}
        assert loads == seen


@pytest.mark.parametrize("instrument_id", ["AUD/USD.SIM", "SYNTH.SIM", "A.SYNTHETIC", "A.synth"])
def test_only_a_synthetic_id_is_looked_for_among_the_synthetics(world: World, instrument_id: str) -> None:
    world.refuses(
        ValueError, lambda: world.database.load_synthetic(InstrumentId(instrument_id)), "^load_synthetic: .*SYNTH"
    )


def test_an_unknown_state_is_told_what_there_is(world: World) -> None:
    world.refuses(ValueError, lambda: world.database.load_order_ids("opened"), "^load_order_ids: .*open, closed, infl")
    world.refuses(
        ValueError, lambda: world.database.load_position_ids("inflight"), "^load_position_ids: .*open, closed"
    )


# -- Bounds in time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf"), "1", True])
def test_a_wait_has_to_be_bounded(world: World, timeout_s: Any) -> None:
    """A timeout is a finite number of seconds, 0 or more, for `sync` and `close`."""
    world.refuses((TypeError, ValueError), lambda: world.database.sync(timeout_s), "^sync: timeout_s")
    world.refuses((TypeError, ValueError), lambda: world.database.close(timeout_s), "^close: timeout_s")


# -- After the end -----------------------------------------------------------------------------------------------


def test_a_closed_database_takes_no_calls(redis_url: str) -> None:
    """Every verb but `close` and `stats` raises `Closed`; closing again does nothing and says the same."""
    world = World(redis_url)
    database = world.database
    assert database.close() == 0
    assert database.close() == 0
    world.order.apply(happened(OrderAccepted))
    for verb, method in inspect.getmembers(CacheDatabase, inspect.isfunction):
        if verb.startswith("_") or verb in ("close", "add_account"):
            continue
        names = list(inspect.signature(method).parameters)[1:]
        fresh = {
            "order": world.order
            if verb != "add_order"
            else Order.create(initialized(client_order_id=ClientOrderId("N"))),
            "position": world.position if verb != "add_position" else Position(TRADED[0], filled(position_id="N")),
        }
        with pytest.raises(Closed):
            getattr(database, verb)(**{name: fresh.get(name, world.valid[name]) for name in names})
    with pytest.raises(Closed):
        database.add_account(Account.create(account_state(account_id="SIM-002")))
    assert database.stats().waiting == 0


@given(some.new_currencies())
@effort(examples=20)
def test_a_currency_of_any_kind_is_stored_or_refused_by_the_model(world: World, currency: Any) -> None:
    """What the model lets be, the database stores: there is no third kind."""
    world.database.add_currency(currency)
    loaded = world.database.load_currency(currency.code)
    assert loaded is not None
    assert some.same(loaded, currency)
    assert currency != EUR or loaded == EUR
