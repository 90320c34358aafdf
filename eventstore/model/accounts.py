"""Accounts: the balances and margins that a series of account states adds up to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from eventstore.model.currency import Currency
from eventstore.model.enums import AccountType
from eventstore.model.errors import EventMismatch, InvalidValue
from eventstore.model.events import AccountBalance, AccountState, MarginBalance
from eventstore.model.identifiers import AccountId, InstrumentId
from eventstore.model.values import Money


class Account:
    """Base of the three kinds of account; `Account.create` and `Account.from_events` choose the kind.

    A state replaces the balances of the currencies that it names and leaves the others as they were.

    Parameters
    ----------
    event : AccountState
        The first state.
    calculate_account_state : bool
        Whether the node computes the states from fills; also set by the first state that no venue reported.

    Attributes
    ----------
    id : AccountId
    base_currency : Currency or None
        None for an account in several currencies.

    Raises
    ------
    TypeError
        If `event` is no `AccountState`.
    EventMismatch
        If it is of another type of account.
    InvalidValue
        If it has a negative total that the account does not allow.
    """

    __slots__ = ("_balances", "_commissions", "_events", "_starting", "base_currency", "calculate_account_state", "id")

    type: ClassVar[AccountType]
    is_cash_account: ClassVar[bool]
    is_margin_account: ClassVar[bool]

    def __init__(self, event: AccountState, calculate_account_state: bool = False) -> None:
        if not isinstance(event, AccountState):
            raise TypeError(f"{type(self).__name__}: expected AccountState, got {type(event).__name__} ({event!r:.80})")
        self.id: AccountId = event.account_id
        self.base_currency: Currency | None = event.base_currency
        self.calculate_account_state = calculate_account_state
        self._check_type(event)
        self._check_totals(event)
        self._balances: dict[str, AccountBalance] = {}
        self._commissions: dict[str, Money] = {}
        self._events: list[AccountState] = []
        self._take(event)
        self._starting = {balance.currency: balance.total for balance in self._balances.values()}

    @staticmethod
    def create(event: AccountState, calculate_account_state: bool = False) -> Account:
        """Return a new account of the kind that `event` is of.

        Raises
        ------
        TypeError
            If `event` is no `AccountState`.
        InvalidValue
            If it is of a type that has states but, as in NautilusTrader, no account; or as the kind's constructor does.
        """
        if not isinstance(event, AccountState):
            raise TypeError(f"Account: expected AccountState, got {type(event).__name__} ({event!r:.80})")
        kind = _KINDS.get(event.account_type)
        if kind is None:
            raise InvalidValue(
                f"Account {event.account_id}: there is no {event.account_type.name} account, "
                f"only {', '.join(each.name for each in _KINDS)}"
            )
        return kind(event, calculate_account_state)

    @staticmethod
    def from_events(events: Iterable[AccountState], calculate_account_state: bool = False) -> Account:
        """Rebuild from stored states, the first of which created the account.

        What happened is not judged again: a negative total shows that borrowing was allowed.

        Raises
        ------
        InvalidValue
            If there is no event.
        EventMismatch
            If they are not all of one account.
        """
        states = list(events)
        if not states:
            raise InvalidValue("Account: no states to build from; give at least one")
        first = states[0]
        borrows = first.account_type is AccountType.CASH and any(
            balance.total.amount < 0 for state in states for balance in state.balances
        )
        account = (
            CashAccount(first, calculate_account_state, allow_borrowing=True)
            if borrows
            else Account.create(first, calculate_account_state)
        )
        for state in states[1:]:
            account.apply(state)
        return account

    def apply(self, event: AccountState) -> None:
        """Take over a state. If it raises, the account is as it was.

        Raises
        ------
        TypeError
            If `event` is no `AccountState`.
        EventMismatch
            If it is of another account, type of account or base currency.
        InvalidValue
            If it has a negative total that the account does not allow.
        """
        if not isinstance(event, AccountState):
            raise TypeError(f"Account {self.id}: expected AccountState, got {type(event).__name__} ({event!r:.80})")
        if event.account_id != self.id:
            raise EventMismatch(f"Account {self.id}: the state is of {event.account_id}; apply it to its own account")
        self._check_type(event)
        base = self.base_currency
        if _code(event.base_currency) != _code(base):
            raise EventMismatch(
                f"Account {self.id}: the state has base currency {_code(event.base_currency)}, "
                f"the account {_code(base)}"
            )
        if base is not None and event.balances and event.balances[0].currency.code != base.code:
            raise EventMismatch(
                f"Account {self.id}: the state has a balance in {event.balances[0].currency}, the account is in {base}"
            )
        self._check_totals(event)
        self._take(event)

    def _check_type(self, event: AccountState) -> None:
        if event.account_type is not self.type:
            raise EventMismatch(
                f"Account {event.account_id}: the state is of a {event.account_type.name} account, "
                f"the account is a {self.type.name} one"
            )

    def _check_totals(self, event: AccountState) -> None:
        """Raise `InvalidValue` for a negative total where that is not allowed."""

    def _take(self, event: AccountState) -> None:
        for balance in event.balances:
            self._balances[balance.currency.code] = balance
        if not event.reported:
            self.calculate_account_state = True
        self._events.append(event)

    @property
    def events(self) -> list[AccountState]:
        """The states, a copy."""
        return list(self._events)

    @property
    def event_count(self) -> int:
        """The number of states."""
        return len(self._events)

    @property
    def last_event(self) -> AccountState:
        """The last state."""
        return self._events[-1]

    def currencies(self) -> list[Currency]:
        """Return the currencies that it has balances in, in the order in which they came."""
        return [balance.currency for balance in self._balances.values()]

    def balances(self) -> dict[Currency, AccountBalance]:
        """Return the balance in each currency."""
        return {balance.currency: balance for balance in self._balances.values()}

    def balances_total(self) -> dict[Currency, Money]:
        """Return what there is in each currency."""
        return {balance.currency: balance.total for balance in self._balances.values()}

    def balances_locked(self) -> dict[Currency, Money]:
        """Return what is locked in each currency."""
        return {balance.currency: balance.locked for balance in self._balances.values()}

    def balances_free(self) -> dict[Currency, Money]:
        """Return what is free in each currency."""
        return {balance.currency: balance.free for balance in self._balances.values()}

    def starting_balances(self) -> dict[Currency, Money]:
        """Return the totals of the first state."""
        return dict(self._starting)

    def balance(self, currency: Currency | None = None) -> AccountBalance | None:
        """Return the balance in `currency`, by default the base currency; None if there is none.

        Raises
        ------
        TypeError
            If no currency is given and the account has no base currency.
        """
        if currency is None:
            currency = self.base_currency
        if not isinstance(currency, Currency):
            raise TypeError(f"Account {self.id}: expected a Currency, got {currency!r:.80}; it has no base currency")
        return self._balances.get(currency.code)

    def balance_total(self, currency: Currency | None = None) -> Money | None:
        """Return what there is in `currency`, see `balance`."""
        balance = self.balance(currency)
        return None if balance is None else balance.total

    def balance_locked(self, currency: Currency | None = None) -> Money | None:
        """Return what is locked in `currency`, see `balance`."""
        balance = self.balance(currency)
        return None if balance is None else balance.locked

    def balance_free(self, currency: Currency | None = None) -> Money | None:
        """Return what is free in `currency`, see `balance`."""
        balance = self.balance(currency)
        return None if balance is None else balance.free

    def commissions(self) -> dict[Currency, Money]:
        """Return the commissions that `update_commissions` was told of; no state holds them."""
        return {commission.currency: commission for commission in self._commissions.values()}

    def commission(self, currency: Currency) -> Money | None:
        """Return the commissions in `currency`, None if there were none."""
        return self._commissions.get(currency.code)

    def update_commissions(self, commission: Money) -> None:
        """Add a commission; negative for a rebate.

        Raises
        ------
        TypeError
            If it is no `Money`.
        """
        if not isinstance(commission, Money):
            raise TypeError(f"Account {self.id}: expected Money, got {type(commission).__name__} ({commission!r:.80})")
        if not commission.amount:
            return
        code = commission.currency.code
        paid = self._commissions.get(code)
        self._commissions[code] = commission if paid is None else paid + commission

    def to_dict(self) -> dict[str, Any]:
        """Return the kind and all states with NautilusTrader's keys."""
        return {
            "type": type(self).__name__,
            "calculate_account_state": self.calculate_account_state,
            "events": [event.to_dict() for event in self._events],
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id}, type={self.type.name}, base={_code(self.base_currency)})"


class CashAccount(Account):
    """An account without leverage; its totals are not negative unless `allow_borrowing`."""

    __slots__ = ("allow_borrowing",)

    type = AccountType.CASH
    is_cash_account = True
    is_margin_account = False

    def __init__(
        self, event: AccountState, calculate_account_state: bool = False, allow_borrowing: bool = False
    ) -> None:
        self.allow_borrowing = allow_borrowing
        super().__init__(event, calculate_account_state)

    def _check_totals(self, event: AccountState) -> None:
        if self.allow_borrowing:
            return
        for balance in event.balances:
            if balance.total.amount < 0:
                raise InvalidValue(
                    f"Account {event.account_id}: the state has a total of {balance.total}, which a {self.type.name} "
                    "account can not have; make it a CashAccount with allow_borrowing=True if it may be in debt"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the kind, its rules and all states with NautilusTrader's keys."""
        shown = super().to_dict()
        events = shown.pop("events")
        # NautilusTrader shows a betting account under this name as well; the states tell its kind.
        shown["type"] = CashAccount.__name__
        return shown | {"allow_borrowing": self.allow_borrowing, "events": events}


class BettingAccount(CashAccount):
    """An account at a betting exchange; its totals are never negative."""

    __slots__ = ()

    type = AccountType.BETTING


class MarginAccount(Account):
    """An account with leverage: it holds margins beside its balances. Each state names all margins that there are.

    A margin is that of an instrument or, without one, that of the account as a whole in its currency. A state that
    names neither a balance nor a margin changes nothing.
    """

    __slots__ = ("_account_margins", "_margins")

    type = AccountType.MARGIN
    is_cash_account = False
    is_margin_account = True

    def _take(self, event: AccountState) -> None:
        super()._take(event)
        if len(self._events) > 1 and not event.balances and not event.margins:
            return
        self._margins: dict[InstrumentId, MarginBalance] = {}
        self._account_margins: dict[str, MarginBalance] = {}
        for margin in event.margins:
            if margin.instrument_id is None:
                self._account_margins[margin.currency.code] = margin
            else:
                self._margins[margin.instrument_id] = margin

    def margins(self) -> dict[InstrumentId, MarginBalance]:
        """Return the margin of each instrument."""
        return dict(self._margins)

    def margin(self, instrument_id: InstrumentId) -> MarginBalance | None:
        """Return the margin of an instrument, None if there is none."""
        return self._margins.get(instrument_id)

    def margin_init(self, instrument_id: InstrumentId) -> Money | None:
        """Return the initial margin of an instrument, None if there is none."""
        margin = self._margins.get(instrument_id)
        return None if margin is None else margin.initial

    def margin_maint(self, instrument_id: InstrumentId) -> Money | None:
        """Return the maintenance margin of an instrument, None if there is none."""
        margin = self._margins.get(instrument_id)
        return None if margin is None else margin.maintenance

    def margins_init(self) -> dict[InstrumentId, Money]:
        """Return the initial margin of each instrument."""
        return {name: margin.initial for name, margin in self._margins.items()}

    def margins_maint(self) -> dict[InstrumentId, Money]:
        """Return the maintenance margin of each instrument."""
        return {name: margin.maintenance for name, margin in self._margins.items()}

    def account_margins(self) -> dict[Currency, MarginBalance]:
        """Return the margins of the account as a whole, by currency."""
        return {margin.currency: margin for margin in self._account_margins.values()}

    def margin_for_currency(self, currency: Currency) -> MarginBalance | None:
        """Return the margin of the account as a whole in `currency`, None if there is none."""
        return self._account_margins.get(currency.code)

    def total_margin_init(self, currency: Currency) -> Money:
        """Return all initial margins in `currency` together."""
        return sum((margin.initial for margin in self._in(currency)), Money.zero(currency))

    def total_margin_maint(self, currency: Currency) -> Money:
        """Return all maintenance margins in `currency` together."""
        return sum((margin.maintenance for margin in self._in(currency)), Money.zero(currency))

    def _in(self, currency: Currency) -> list[MarginBalance]:
        margins = (*self._margins.values(), *self._account_margins.values())
        return [margin for margin in margins if margin.currency.code == currency.code]


_KINDS: dict[AccountType, Callable[[AccountState, bool], Account]] = {
    kind.type: kind for kind in (CashAccount, MarginAccount, BettingAccount)
}


def _code(currency: Currency | None) -> str | None:
    return None if currency is None else currency.code
