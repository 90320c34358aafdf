"""Accounts: what states add up to, and which are refused."""

import gzip
import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventstore.model.accounts import Account, BettingAccount, CashAccount, MarginAccount
from eventstore.model.currencies import BTC, EUR, USD
from eventstore.model.currency import Currency
from eventstore.model.enums import AccountType
from eventstore.model.errors import EventMismatch, InvalidValue
from eventstore.model.events import AccountBalance, AccountState, MarginBalance
from eventstore.model.identifiers import UUID4, AccountId, InstrumentId
from eventstore.model.values import Money
from tests.support import strategies as some

KINDS = {AccountType.CASH: CashAccount, AccountType.MARGIN: MarginAccount, AccountType.BETTING: BettingAccount}
CASH_KINDS = [AccountType.CASH, AccountType.BETTING]
SPX, NDX = InstrumentId("SPX.SIM"), InstrumentId("NDX.SIM")


def balance(total: str, locked: str = "0", currency: Currency = USD) -> AccountBalance:
    whole, part = Money(total, currency), Money(locked, currency)
    return AccountBalance(whole, part, whole - part)


def state(*balances: AccountBalance, kind: AccountType = AccountType.MARGIN, **given: Any) -> AccountState:
    values: dict[str, Any] = {
        "event_id": UUID4(),
        "ts_event": 1,
        "ts_init": 2,
        "account_id": AccountId("SIM-001"),
        "account_type": kind,
        "base_currency": None,
        "balances": balances,
        "reported": True,
    }
    return AccountState(**(values | given))


def told(account: Account) -> dict[str, Any]:
    """Everything that can be told of an account."""
    margins = (account.margins(), account.account_margins()) if isinstance(account, MarginAccount) else None
    return account.to_dict() | {
        "balances": account.balances(),
        "starting": account.starting_balances(),
        "commissions": account.commissions(),
        "margins": margins,
    }


@pytest.mark.parametrize(("kind", "account_class"), KINDS.items())
def test_a_state_makes_an_account_of_its_kind(kind: AccountType, account_class: type[Account]) -> None:
    first = state(balance("100", "30"), balance("5", currency=BTC), kind=kind)
    account = Account.create(first)
    assert type(account) is account_class
    assert (account.id, account.type, account.base_currency) == ("SIM-001", kind, None)
    assert account.is_margin_account is (kind is AccountType.MARGIN)
    assert account.is_cash_account is (kind is not AccountType.MARGIN)
    assert account.currencies() == [USD, BTC]
    assert (account.balance_total(USD), account.balance_locked(USD), account.balance_free(USD)) == (
        Money("100", USD),
        Money("30", USD),
        Money("70", USD),
    )
    assert account.balances_total() == {USD: Money("100", USD), BTC: Money("5", BTC)}
    assert account.balances_locked() == {USD: Money("30", USD), BTC: Money("0", BTC)}
    assert account.balances_free() == {USD: Money("70", USD), BTC: Money("5", BTC)}
    for ask in (account.balance, account.balance_total, account.balance_locked, account.balance_free):
        assert ask(EUR) is None
    assert (account.events, account.event_count, account.last_event) == ([first], 1, first)


def test_a_state_replaces_the_balances_that_it_names() -> None:
    account = Account.create(state(balance("100"), balance("5", currency=BTC)))
    account.apply(state(balance("90", "10"), balance("7", currency=EUR)))
    assert account.balances() == {
        USD: balance("90", "10"),
        BTC: balance("5", currency=BTC),
        EUR: balance("7", currency=EUR),
    }
    assert account.starting_balances() == {USD: Money("100", USD), BTC: Money("5", BTC)}
    assert account.event_count == 2


def test_the_base_currency_is_the_default() -> None:
    account = Account.create(state(balance("100", "1"), base_currency=USD))
    assert account.balance() == balance("100", "1")
    assert str(account.balance_free()) == "99.00 USD"
    with pytest.raises(TypeError, match="expected a Currency, got None; it has no base currency"):
        Account.create(state(balance("100"))).balance()


def test_the_margins_are_those_of_the_last_state() -> None:
    account = Account.create(
        state(
            balance("100"),
            margins=(
                MarginBalance(Money("1", USD), Money("2", USD), SPX),
                MarginBalance(Money("3", USD), Money("4", USD)),
                MarginBalance(Money("0.5", BTC), Money("0.25", BTC)),
            ),
        )
    )
    assert isinstance(account, MarginAccount)
    assert (account.margin_init(SPX), account.margin_maint(SPX)) == (Money("1", USD), Money("2", USD))
    assert account.margins_init() == {SPX: Money("1", USD)}
    assert account.margins_maint() == {SPX: Money("2", USD)}
    assert list(account.account_margins()) == [USD, BTC]
    whole = account.margin_for_currency(BTC)
    assert whole is not None
    assert (whole.initial, whole.maintenance) == (Money("0.5", BTC), Money("0.25", BTC))
    assert account.margin_for_currency(EUR) is None
    assert (account.total_margin_init(USD), account.total_margin_maint(USD)) == (Money("4", USD), Money("6", USD))
    assert account.total_margin_init(EUR) == Money("0", EUR)
    for ask in (account.margin, account.margin_init, account.margin_maint):
        assert ask(NDX) is None
    account.apply(state(balance("100"), margins=(MarginBalance(Money("5", USD), Money("6", USD), NDX),)))
    assert list(account.margins()) == [NDX]
    assert account.account_margins() == {}


def test_a_state_of_nothing_changes_nothing() -> None:
    account = Account.create(state(balance("100"), margins=(MarginBalance(Money("1", USD), Money("2", USD), SPX),)))
    assert isinstance(account, MarginAccount)
    account.apply(state())
    assert (list(account.margins()), account.balance_total(USD)) == ([SPX], Money("100", USD))
    account.apply(state(balance("90")))
    assert (list(account.margins()), account.balance_total(USD)) == ([], Money("90", USD))
    assert account.event_count == 3


def test_a_type_that_has_no_account_is_named() -> None:
    """Of a wallet there may be states, which are stored and shown; nothing keeps its account."""
    with pytest.raises(InvalidValue, match="no WALLET account, only CASH, MARGIN, BETTING"):
        Account.create(state(balance("100"), kind=AccountType.WALLET))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account_id": AccountId("SIM-002")}, "the state is of SIM-002"),
        ({"account_type": AccountType.CASH}, "the state is of a CASH account"),
        ({"base_currency": None}, "the state has base currency None, the account USD"),
        ({"base_currency": EUR}, "the state has base currency EUR, the account USD"),
        ({"balances": (balance("1", currency=EUR),)}, "the state has a balance in EUR, the account is in USD"),
    ],
)
def test_a_state_of_another_account_is_refused(changes: dict[str, Any], message: str) -> None:
    first = state(balance("100"), base_currency=USD)
    account = Account.create(first)
    before = told(account)
    with pytest.raises(EventMismatch, match=message):
        account.apply(first.replace(**changes))
    assert told(account) == before


@pytest.mark.parametrize("kind", CASH_KINDS)
@pytest.mark.parametrize("currency", [USD, EUR])
def test_an_account_without_leverage_is_never_in_debt(kind: AccountType, currency: Currency) -> None:
    debt = state(balance("50"), balance("-1", currency=currency), kind=kind)
    with pytest.raises(InvalidValue, match="has a total of -1"):
        Account.create(debt)
    account = Account.create(state(balance("100"), kind=kind))
    before = told(account)
    with pytest.raises(InvalidValue, match="has a total of -1"):
        account.apply(debt)
    assert told(account) == before


@pytest.mark.parametrize("kind", CASH_KINDS)
@pytest.mark.parametrize(("total", "locked"), [("100", "200"), ("100", "-20")])
def test_what_is_locked_or_free_may_be_negative(kind: AccountType, total: str, locked: str) -> None:
    account = Account.create(state(balance(total, locked), kind=kind))
    assert account.balance(USD) == balance(total, locked)


def test_debt_is_allowed_with_leverage_or_where_borrowing_is() -> None:
    assert str(Account.create(state(balance("-5"))).balance_total(USD)) == "-5.00 USD"
    account = CashAccount(state(balance("-5"), kind=AccountType.CASH), allow_borrowing=True)
    account.apply(state(balance("-7"), kind=AccountType.CASH))
    rebuilt = Account.from_events(account.events)
    assert told(rebuilt) == told(account)


def test_commissions_are_summed_by_currency() -> None:
    account = Account.create(state(balance("100")))
    for amount in (Money("5", USD), Money("-2", USD), Money("0", EUR), Money("0.1", BTC)):
        account.update_commissions(amount)
    assert account.commissions() == {USD: Money("3", USD), BTC: Money("0.1", BTC)}
    assert (account.commission(USD), account.commission(EUR)) == (Money("3", USD), None)
    with pytest.raises(TypeError, match="expected Money, got int"):
        account.update_commissions(5)  # type: ignore[arg-type] # the point


def test_to_dict_has_nautilus_traders_keys() -> None:
    first = state(balance("100"))
    assert Account.create(first).to_dict() == {
        "type": "MarginAccount",
        "calculate_account_state": False,
        "events": [first.to_dict()],
    }
    cash = Account.create(first.replace(account_type=AccountType.CASH), calculate_account_state=True)
    shown = cash.to_dict()
    assert list(shown) == ["type", "calculate_account_state", "allow_borrowing", "events"]
    assert (shown["type"], shown["calculate_account_state"], shown["allow_borrowing"]) == ("CashAccount", True, False)
    betting = Account.create(first.replace(account_type=AccountType.BETTING)).to_dict()
    assert betting["type"] == "CashAccount"
    assert betting["events"][0]["account_type"] == "BETTING"


def test_a_state_that_no_venue_reported_was_computed_by_the_node() -> None:
    account = Account.create(state(balance("100")))
    assert not account.calculate_account_state
    account.apply(state(balance("90"), reported=False))
    assert account.calculate_account_state


def test_arguments_of_another_type_are_named() -> None:
    first = state(balance("100"))
    for make in (Account.create, MarginAccount, Account.create(first).apply):
        with pytest.raises(TypeError, match="expected AccountState, got str"):
            make("state")  # type: ignore[arg-type] # the point
    with pytest.raises(EventMismatch, match="of a MARGIN account, the account is a CASH one"):
        CashAccount(first)
    with pytest.raises(InvalidValue, match="no states to build from"):
        Account.from_events([])


def test_accounts_of_one_id_are_equal() -> None:
    one, two = Account.create(state(balance("1"))), Account.create(state(balance("2"), kind=AccountType.CASH))
    assert one == two
    assert hash(one) == hash(two)
    assert one != "SIM-001"
    assert repr(one) == "MarginAccount(id=SIM-001, type=MARGIN, base=None)"


@given(st.data(), st.sampled_from(sorted(KINDS)))
def test_folding_any_prefix_gives_what_the_live_account_was(data: st.DataObject, kind: AccountType) -> None:
    states = data.draw(st.lists(some.account_states(kind), min_size=1, max_size=6))
    first = states[0]
    same = {"account_id": first.account_id, "base_currency": first.base_currency}
    if first.base_currency is not None:
        states = [s.replace(**same, balances=first.balances) for s in states]
    else:
        states = [s.replace(**same) for s in states]
    if kind is not AccountType.MARGIN:
        assume(all(b.total.amount >= 0 for s in states for b in s.balances))
    live = Account.create(first)
    for n, following in enumerate(states, 1):
        if n > 1:
            live.apply(following)
        assert told(Account.from_events(states[:n])) == told(live)
        expected = {b.currency: b for s in states[:n] for b in s.balances}
        assert live.balances() == expected


@pytest.mark.parametrize("session", ["emacross", "trailing", "bracket"])
def test_a_recorded_session_gives_the_recorded_accounts(session: str) -> None:
    folder = files("eventstore") / "sessions"
    final = json.loads(gzip.decompress((folder / f"{session}.final.json.gz").read_bytes()))
    accounts: dict[str, Account] = {}
    for line in gzip.decompress((folder / f"{session}.jsonl.gz").read_bytes()).splitlines():
        call = json.loads(line)
        if call["call"] == "add_account":
            event = AccountState.from_dict(call["event"])
            accounts[event.account_id] = Account.create(event)
        elif call["call"] == "update_account":
            event = AccountState.from_dict(call["event"])
            accounts[event.account_id].apply(event)
    assert {name: account.to_dict() for name, account in accounts.items()} == final["accounts"]
    for wanted in final["account_balances"]:
        account = accounts[wanted["id"]]
        assert type(account).__name__ == wanted["type"]
        assert account.event_count == wanted["event_count"]
        assert {
            currency.code: {"total": str(held.total), "locked": str(held.locked), "free": str(held.free)}
            for currency, held in account.balances().items()
        } == wanted["balances"]
