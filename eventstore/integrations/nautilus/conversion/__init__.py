"""NautilusTrader's objects as records of the built-in model, and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import nautilus_trader
from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import instruments as nautilus_instruments
from nautilus_trader.model import objects

from eventstore.integrations.nautilus.conversion import accounts, events, instruments, values
from eventstore.integrations.nautilus.conversion.accounts import CapturedState, capture
from eventstore.integrations.nautilus.conversion.bases import basis_of
from eventstore.integrations.nautilus.conversion.events import CapturedInit
from eventstore.model.currency import Currency
from eventstore.model.errors import InvalidValue
from eventstore.model.events import AccountState
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument

__all__ = ["CapturedInit", "CapturedState", "basis_of", "capture", "to_nautilus", "to_record"]

_to_record: dict[type, Callable[[Any], Any]] = {
    objects.Currency: values.new_currency_from_nautilus,
    nautilus_events.AccountState: accounts.account_state_from_nautilus,
    accounts.CapturedState: accounts.captured_from_nautilus,
    events.CapturedInit: events.captured_init_from_nautilus,
    nautilus_instruments.SyntheticInstrument: instruments.synthetic_from_nautilus,
}
_to_nautilus: dict[type[Record], Callable[[Any], Any]] = {
    Currency: values.new_currency_to_nautilus,
    AccountState: accounts.account_state_to_nautilus,
    SyntheticInstrument: instruments.synthetic_to_nautilus,
}

for _kind, _theirs in events.ORDER_EVENT_KINDS.items():
    _to_record[_theirs] = events.event_reader(_kind)
    _to_nautilus[_kind] = events.event_maker(_kind)
for _instrument, _theirs in instruments.INSTRUMENT_KINDS.items():
    _to_record[_theirs] = partial(instruments.instrument_from_nautilus, _instrument)
    _to_nautilus[_instrument] = instruments.instrument_to_nautilus


def to_record(value: Any) -> Record:
    """Return the record that says what an order event, account state, currency or instrument of NautilusTrader's says.

    Raises
    ------
    TypeError
        If it is none of these, or a value in it is of a kind that can not be stored.
    InvalidValue, InvalidIdentifier
        If a value in it can not be stored: NautilusTrader takes identifiers that are no part of a key, such as those
        with braces.
    """
    kind = value.__class__
    convert = _to_record.get(kind)
    if convert is None:
        raise TypeError(f"a {kind.__module__}.{kind.__qualname__} of NautilusTrader's is nothing that can be stored")
    record: Record = convert(value)
    return record


def to_nautilus(record: Record) -> Any:
    """Return what `record` says as an object of NautilusTrader.

    Raises
    ------
    TypeError
        If it is no order event, account state, currency or instrument, or of a kind that the installed release of
        NautilusTrader does not have.
    ValueError
        If it has a value that NautilusTrader does not take.
    """
    kind = record.__class__
    convert = _to_nautilus.get(kind)
    if convert is None:
        if isinstance(record, Record):
            raise TypeError(
                f"{kind.__name__}: the installed NautilusTrader {nautilus_trader.__version__} has nothing of that "
                "kind; if a newer release wrote it, upgrade to that one"
            )
        raise TypeError(f"to_nautilus: expected a Record, got {kind.__name__} ({record!r:.80})")
    try:
        return convert(record)
    except (TypeError, AttributeError, ArithmeticError, LookupError) as error:
        raise InvalidValue(f"{kind.__name__}: NautilusTrader takes none like it: {error}") from error
