"""How NautilusTrader's accounts are written. They are few, so that what is known of each is known in the call."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from time import time_ns
from typing import Any

from eventstore import commands as c
from eventstore.encoder import Encoder
from eventstore.integrations.nautilus.capturing import check_key
from eventstore.integrations.nautilus.conversion import CapturedState, capture
from eventstore.integrations.nautilus.conversion.accounts import take_balance, take_margin
from eventstore.integrations.nautilus.lives import AccountLife
from eventstore.integrations.nautilus.loading import NautilusLoads
from eventstore.model.identifiers import AccountId
from eventstore.model.record import EMPTY_INFO
from workers.backlog import Full, Shut

_take_account = attrgetter("id", "event_count", "last_event")


class NautilusAccounts(NautilusLoads):
    """The verbs of `NautilusStore` for accounts."""

    _account_lives: dict[Any, AccountLife]
    """What is known of accounts once more, by NautilusTrader's ids."""
    _encode_told: Callable[..., c.Command]

    def update_account(self, account: Any) -> None:
        """Write the events of `account` that were not written yet."""
        nautilus_id, count, event = _take_account(account)
        life = self._account_lives.get(nautilus_id)
        if life is None or count != life.count + 1 or event is life.last or event.info:
            self.write_account("update_account", account)
            return
        # The account goes on calculating with the balances and margins of its last event, and changes them.
        balances, margins = [*map(take_balance, event.balances)], [*map(take_margin, event.margins)]
        account_id, version = life.account_id, life.version
        try:
            self._put("update_account", account_id, time_ns(), self._encode_told, version, event, balances, margins)
        except (Full, Shut) as error:
            self._persister.refuse(error, "update_account", account_id)
        life.noted.append((version, event))
        life.version = version + 1
        life.last = event
        life.count = count

    def add_account(self, account: Any) -> None:
        """Write an account with all its events, or those that were not written yet."""
        self.write_account("add_account", account)

    def write_account(self, operation: str, account: Any) -> None:
        """Write the events of `account` that were not written yet, however many and whatever they hold."""
        nautilus_id = account.id
        life = self._account_lives.get(nautilus_id)
        if life is None:
            check_key(AccountId, nautilus_id.value)
            life = AccountLife(nautilus_id, 0, (), {})
        account_id = life.account_id
        events = life.new_events(account)
        if events:
            arguments = (account_id, life.version, tuple(map(capture, events)))
            self._accept(operation, account_id, self._encoder.account, arguments)
            life.took(account.event_count, events)
            self._accounts[account_id] = self._account_lives[nautilus_id] = life

    def delete_account_event(self, account_id: str, event_id: str) -> bool:
        """Delete one event of an account from the view; the log keeps it. Return whether the account had it."""
        life: Any = self._accounts.get(account_id)
        version = None if life is None else life.delete(event_id)
        if version is None:
            self._persister.say("warning", "an event to delete is not there", account_id=account_id, event_id=event_id)
            return False
        self._accept("delete_account_event", account_id, c.DeleteAccountEvent, (account_id, version, event_id))
        return True


def teller(encoder: Encoder) -> Callable[..., c.Command]:
    """Return what makes a command of an account state that has no `info`, and its balances and margins."""

    def encode(account_id: str, version: int, event: Any, balances: list[Any], margins: list[Any]) -> c.Command:
        states: Any = (CapturedState(event, balances, margins, EMPTY_INFO),)
        return encoder.account(account_id, version, states)

    return encode
