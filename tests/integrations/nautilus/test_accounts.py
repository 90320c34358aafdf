"""Accounts that bet, hold several currencies, and go on calculating with what they told the database."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("nautilus_trader")

from nautilus_trader.cache.cache import Cache
from nautilus_trader.model.currencies import BTC, ETH, GBP, USD, USDT
from nautilus_trader.model.enums import AccountType, OrderSide
from nautilus_trader.model.identifiers import AccountId
from nautilus_trader.model.objects import MarginBalance, Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider

from tests.support.nautilus.backings import Backing
from tests.support.nautilus.contents import assert_reloaded
from tests.support.nautilus.desk import Desk, balance, desk_on
from tests.support.nautilus.instruments import AUDUSD, EURUSD

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def test_an_event_says_what_it_said_when_the_database_was_told(ours: Backing) -> None:
    """An account writes what it calculates into the margins and balances of its last event."""
    desk, database = desk_on(ours)
    account = desk.cache.account(desk.account_id)
    told = []
    with database.store._persister._writer.hold(10.0):  # nothing is encoded before all is changed
        for number in range(1, 20):
            margin = MarginBalance(Money(number, USD), Money(2 * number, USD), EURUSD.id)
            state = desk.account_state(balance(number, USD), margins=[margin], info={"of": {"count": number}})
            desk.report_account(state)
            told.append(type(state).to_dict(state) | {"info": {"of": {"count": number}}})
            account.update_margin_init(EURUSD.id, Money(77_777, USD))
            account.update_margin_maint(EURUSD.id, Money(88_888, USD))
            state.margins[0] = MarginBalance(Money(77_777, USD), Money(88_888, USD), EURUSD.id)
            state.balances[0] = balance(99_999, USD)
            state.info["of"]["count"] = 0
    found = database.load_account(desk.account_id).events[1:]
    assert [type(event).to_dict(event) for event in found] == told


def test_a_betting_account_with_bets(ours: Backing) -> None:
    instrument = TestInstrumentProvider.betting_instrument()
    database = ours.open()
    desk = Desk(Cache(database=database), account_id=AccountId(f"{instrument.id.venue}-001"))
    desk.cache.add_instrument(instrument)
    betting = {"account_type": AccountType.BETTING, "base_currency": GBP}
    desk.open_account(desk.account_state(balance(1_000, GBP), **betting))
    for side, stake, odds in ((BUY, 10, "1.9"), (SELL, 25, "2.5"), (BUY, 15, "3.0"), (BUY, 5, "1.01")):
        desk.trade(instrument, side, stake, odds)
        desk.report_account(desk.account_state(balance(1_000 - stake, GBP, stake), **betting))
    resting = desk.add(
        desk.orders.limit(instrument.id, SELL, instrument.make_qty(3), instrument.make_price(5.0), tags=["lay"])
    )
    desk.submit(resting)
    desk.accept(resting)
    assert_reloaded(ours.reload(database), desk.cache)


def test_an_account_of_several_currencies(ours: Backing) -> None:
    """Commissions in a third currency, balances to the last digit, and margins beside them."""
    pair = TestInstrumentProvider.btcusdt_binance()
    perpetual = TestInstrumentProvider.ethusdt_perp_binance()
    database = ours.open()
    desk = Desk(Cache(database=database), account_id=AccountId("BINANCE-001"))
    for instrument in (pair, perpetual):
        desk.cache.add_instrument(instrument)
    several = (balance(Decimal("1.23456789"), BTC), balance(Decimal("99.00000001"), ETH, 9), balance(5_000, USDT))
    desk.open_account(desk.account_state(*several, base_currency=None))
    desk.trade(pair, BUY, "0.500001", "50000.01", commission=Money(Decimal("0.00050000"), BTC))
    desk.trade(pair, SELL, "0.2", "50100.00", commission=Money(Decimal("0.01"), ETH))
    desk.trade(perpetual, SELL, "1.5", "3000.5", commission=Money(Decimal("1.80"), USDT))
    held = [MarginBalance(Money(3, USDT), Money(2, USDT), perpetual.id)]
    desk.report_account(desk.account_state(*several, base_currency=None, margins=held, info={"level": 3}))
    assert_reloaded(ours.reload(database), desk.cache)


def test_accounts_of_several_venues(ours: Backing) -> None:
    desk, database = desk_on(ours)
    desk.cache.add_instrument(AUDUSD)
    for venue, kind in (("A", AccountType.CASH), ("B", AccountType.MARGIN), ("C", AccountType.CASH)):
        state = desk.account_state(balance(7, USD), account_type=kind, account_id=AccountId(f"{venue}-7"))
        desk.open_account(state)
    again = ours.reload(database)
    assert_reloaded(again, desk.cache)
    assert len(again.accounts()) == 4
