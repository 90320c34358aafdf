"""What a database behind NautilusTrader's cache has to do, its own and ours: instruments, accounts, states."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.model.currencies import AUD, BTC, ETH, GBP, JPY, USD, USDT
from nautilus_trader.model.enums import (
    AccountType,
    CurrencyType,
)
from nautilus_trader.model.identifiers import (
    TraderId,
)
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.model.objects import Currency, MarginBalance, Money
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from tests.support.nautilus.backings import Backing, loaded, redis_config
from tests.support.nautilus.contents import (
    account_contents,
    assert_reloaded,
    cache_contents,
    instrument_contents,
)
from tests.support.nautilus.desk import Desk, balance, desk_on
from tests.support.nautilus.instruments import AUDUSD, ETHUSDT_PERP, EURUSD, all_instruments, synthetic

INSTRUMENTS = all_instruments()


CURRENCIES = [USD, JPY, BTC, Currency("NEWCOIN", 12, 0, "A new coin", CurrencyType.CRYPTO)]


@pytest.mark.parametrize("currency", CURRENCIES, ids=str)
def test_a_currency_comes_back(backing: Backing, currency: Currency) -> None:
    def facts(one: Currency | None) -> object:
        return one and (one.code, one.precision, one.iso4217, one.name, one.currency_type)

    database = backing.open()
    database.add_currency(currency)
    backing.shows(lambda: facts(database.load_currency(currency.code)), facts(currency))
    assert {code: facts(one) for code, one in database.load_currencies().items()} == {currency.code: facts(currency)}


def test_a_currency_that_was_loaded_is_known_to_the_process(backing: Backing) -> None:
    database = backing.open()
    Cache(database=database).add_currency(Currency("RARE", 6, 0, "Rare", CurrencyType.CRYPTO))
    backing.shows(lambda: set(database.load_currencies()), {"RARE"})
    loaded(database)
    assert Currency.from_str("RARE").precision == 6


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda one: f"{type(one).__name__}-{one.id}")
def test_an_instrument_comes_back(backing: Backing, instrument: Instrument) -> None:
    database = backing.open()
    database.add_instrument(instrument)
    backing.settle(lambda: database.load_instrument(instrument.id))
    back = database.load_instrument(instrument.id)
    assert type(back) is type(instrument)
    assert instrument_contents(back) == instrument_contents(instrument)
    assert {key: instrument_contents(one) for key, one in database.load_instruments().items()} == {
        instrument.id: instrument_contents(instrument)
    }


def test_instruments_through_a_cache(backing: Backing) -> None:
    database = backing.open()
    cache = Cache(database=database)
    for instrument in INSTRUMENTS:
        cache.add_instrument(instrument)
    backing.shows(lambda: set(database.load_instruments()), {one.id for one in INSTRUMENTS})
    again = backing.reload(database)
    assert cache_contents(again)["instruments"] == cache_contents(cache)["instruments"]
    assert set(again.instrument_ids()) == set(cache.instrument_ids())


def test_an_instrument_that_is_added_again_is_the_new_one(backing: Backing) -> None:
    changed = type(ETHUSDT_PERP).from_dict({**type(ETHUSDT_PERP).to_dict(ETHUSDT_PERP), "maker_fee": "0.00009"})
    database = backing.open()
    database.add_instrument(ETHUSDT_PERP)
    database.add_instrument(changed)
    backing.shows(
        lambda: getattr(database.load_instrument(ETHUSDT_PERP.id), "maker_fee", None),
        Decimal("0.00009"),
    )


def test_a_cache_that_does_not_know_an_instrument_asks_its_database(backing: Backing) -> None:
    database = backing.open()
    database.add_instrument(EURUSD)
    database.add_synthetic(synthetic())
    backing.settle(lambda: database.load_instrument(EURUSD.id) and database.load_synthetic(synthetic().id))
    cache = Cache(database=database)
    assert cache.instrument(EURUSD.id) is None
    assert cache.load_instrument(EURUSD.id) == EURUSD
    assert cache.load_synthetic(synthetic().id) == synthetic()
    assert cache.instrument(EURUSD.id) == EURUSD


def test_a_synthetic_comes_back(backing: Backing) -> None:
    one = synthetic()
    database = backing.open()
    Cache(database=database).add_synthetic(one)
    backing.settle(lambda: database.load_synthetic(one.id))
    assert instrument_contents(database.load_synthetic(one.id)) == instrument_contents(one)
    assert database.load_synthetics() == {one.id: one}
    again = backing.reload(database)
    assert again.synthetic(one.id).calculate([3.0, 5.0]) == one.calculate([3.0, 5.0])


def account_states(desk: Desk) -> dict[str, tuple[Any, Any]]:
    """For each type of account that NautilusTrader makes: the state that opens one, and the next."""
    single = {"account_type": AccountType.CASH, "base_currency": USD}
    multi = {"account_type": AccountType.CASH, "base_currency": None}
    margin = {"account_type": AccountType.MARGIN, "base_currency": USD}
    betting = {"account_type": AccountType.BETTING, "base_currency": GBP}
    held = MarginBalance(Money(10_000, USD), Money(5_000, USD), AUDUSD.id)
    return {
        "cash": (desk.account_state(**single), desk.account_state(balance(900_000, USD, 1.25), **single)),
        "multi-currency": (
            desk.account_state(balance(10, BTC), balance(25, ETH, 1), balance(0, USDT), **multi),
            desk.account_state(balance(Decimal("10.12345678"), BTC, 3), balance(7, AUD), info={"a": "b"}, **multi),
        ),
        "margin": (
            desk.account_state(**margin),
            desk.account_state(balance(999_000, USD, 15_000), margins=[held], **margin),
        ),
        "betting": (
            desk.account_state(balance(10_000, GBP), **betting),
            desk.account_state(balance(50, GBP, 5), **betting),
        ),
    }


@pytest.mark.parametrize("kind", ["cash", "multi-currency", "margin", "betting"])
def test_an_account_comes_back_with_all_its_events(backing: Backing, kind: str) -> None:
    database = backing.open()
    desk = Desk(Cache(database=database))
    first, second = account_states(desk)[kind]
    desk.open_account(first)
    backing.settle(lambda: database.load_account(desk.account_id))
    account = desk.cache.account(desk.account_id)
    assert account_contents(database.load_account(desk.account_id)) == account_contents(account)

    desk.report_account(second)
    backing.settle(lambda: database.load_account(desk.account_id).event_count == 2)
    assert account_contents(database.load_account(desk.account_id)) == account_contents(account)
    again = backing.reload(database)
    assert_reloaded(again, desk.cache)
    assert again.account_for_venue(EURUSD.id.venue).id == desk.account_id
    assert again.check_integrity()


def test_account_events_are_not_kept_where_the_configuration_says_so(backing: Backing) -> None:
    database = backing.open(persist_account_events=False)
    desk = Desk(Cache(database=database, config=redis_config(backing.server.port, persist_account_events=False)))
    desk.open_account()
    desk.cache.add("after", b"it")
    backing.shows(database.load, {"after": b"it"})
    assert database.load_accounts() == {}


class Rememberer:
    """State that `save` gives and `load` takes."""

    memory: dict[str, bytes]

    def on_save(self) -> dict[str, bytes]:
        return self.memory

    def on_load(self, state: dict[str, bytes]) -> None:
        self.memory = dict(state)


class RememberingStrategy(Rememberer, Strategy):
    memory: dict[str, bytes] = {}  # noqa: RUF012


class RememberingActor(Rememberer, Actor):
    memory: dict[str, bytes] = {}  # noqa: RUF012


STATE = {"count": b"\x07", "curve": b"\x00\xff" * 500, "naïve": b""}


def test_the_state_of_a_strategy_comes_back(backing: Backing) -> None:
    desk, database = desk_on(backing)
    strategy = RememberingStrategy(StrategyConfig(strategy_id="R", order_id_tag="007"))
    strategy.register(TraderId("TESTER-001"), desk.portfolio, desk.msgbus, desk.cache, desk.clock)
    strategy.memory = STATE
    desk.cache.update_strategy(strategy)
    backing.shows(lambda: database.load_strategy(strategy.id), strategy.save())
    strategy.memory = {"count": b"\x08"}
    desk.cache.update_strategy(strategy)
    backing.shows(lambda: database.load_strategy(strategy.id), strategy.save())

    strategy.memory = {}
    desk.cache.load_strategy(strategy)
    assert strategy.memory["count"] == b"\x08"

    desk.cache.delete_strategy(strategy)
    backing.shows(lambda: database.load_strategy(strategy.id), {})


def test_the_state_of_an_actor_comes_back(backing: Backing) -> None:
    desk, database = desk_on(backing)
    actor = RememberingActor(ActorConfig(component_id="A-1"))
    actor.register_base(desk.portfolio, desk.msgbus, desk.cache, desk.clock)
    actor.memory = STATE
    desk.cache.update_actor(actor)
    backing.shows(lambda: database.load_actor(actor.id), STATE)

    actor.memory = {}
    desk.cache.load_actor(actor)
    assert actor.memory == STATE

    desk.cache.delete_actor(actor)
    backing.shows(lambda: database.load_actor(actor.id), {})
