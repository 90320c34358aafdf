"""Account states, both ways."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import objects

from eventstore.integrations.nautilus.conversion import values
from eventstore.integrations.nautilus.conversion.events import identifiers, nautilus_identifiers
from eventstore.model.enums import AccountType
from eventstore.model.events import AccountBalance, AccountState, MarginBalance
from eventstore.model.identifiers import AccountId, InstrumentId
from eventstore.model.record import thaw

_account_ids = identifiers(AccountId)
_instrument_ids = identifiers(InstrumentId)
_nautilus_account_ids = nautilus_identifiers(AccountId)
_nautilus_instrument_ids = nautilus_identifiers(InstrumentId)
_money = values.money_from_nautilus
_nautilus_money = values.money_to_nautilus
_account_types = values.members(AccountType)


class CapturedState(NamedTuple):
    """An account state of NautilusTrader's, with the balances, margins and `info` that it has now.

    The account goes on calculating with those of its last event, and changes them; `info` is whoever's made it.
    """

    event: Any
    balances: list[tuple[Any, Any, Any]]
    margins: list[tuple[Any, Any, Any]]
    info: Any


take_balance = attrgetter("total", "locked", "free")
take_margin = attrgetter("initial", "maintenance", "instrument_id")


def capture(event: Any) -> CapturedState:
    """Take what may change of an account state of NautilusTrader's; the rest stays as it is."""
    info = values.info_from_nautilus("AccountState", "info", event.info)
    return CapturedState(event, [*map(take_balance, event.balances)], [*map(take_margin, event.margins)], info)


def account_state_from_nautilus(event: Any) -> AccountState:
    """Our account state."""
    return captured_from_nautilus(capture(event))


def captured_from_nautilus(captured: CapturedState) -> AccountState:
    """Our account state, of one that was captured earlier."""
    event, captured_balances, captured_margins, info = captured
    base = event.base_currency
    balances = [AccountBalance.unchecked(map(_money, balance)) for balance in captured_balances]
    margins = [
        MarginBalance.unchecked((_money(initial), _money(maintenance), None if of is None else _instrument_ids[of]))
        for initial, maintenance, of in captured_margins
    ]
    return AccountState.unchecked(
        (
            values.uuid_from_nautilus(event.id),
            event.ts_event,
            event.ts_init,
            _account_ids[event.account_id],
            _account_types[event.account_type],
            None if base is None else values.currency_from_nautilus(base),
            tuple(balances),
            tuple(margins),
            event.is_reported,
            info,
        )
    )


def account_state_to_nautilus(record: AccountState) -> Any:
    """NautilusTrader's account state. Raises `ValueError` for what it does not take, such as a negative margin."""
    base = record.base_currency
    return nautilus_events.AccountState(
        account_id=_nautilus_account_ids[record.account_id],
        account_type=record.account_type,
        base_currency=None if base is None else values.currency_to_nautilus(base),
        reported=record.reported,
        balances=[objects.AccountBalance(*map(_nautilus_money, balance)) for balance in record.balances],
        margins=[
            objects.MarginBalance(
                _nautilus_money(margin.initial),
                _nautilus_money(margin.maintenance),
                None if margin.instrument_id is None else _nautilus_instrument_ids[margin.instrument_id],
            )
            for margin in record.margins
        ],
        info=thaw(record.info),
        event_id=values.uuid_to_nautilus(record.event_id),
        ts_event=record.ts_event,
        ts_init=record.ts_init,
    )
