"""A state as plain values: whatever there is of it, by family and id, as JSON takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from eventstore.audit.plain import plain
from eventstore.audit.state import State
from eventstore.keys import Keys
from eventstore.model.accounts import Account, MarginAccount
from eventstore.model.events import MarginBalance
from eventstore.model.identifiers import AccountId, ClientOrderId, ComponentId, InstrumentId, PositionId, StrategyId
from eventstore.model.orders import Order
from eventstore.model.positions import Position

Values = dict[str, Any]
Stored = Mapping[str, Any]
"""What the views have of a family, by id: to be compared, not read."""


class Family(NamedTuple):
    """One kind of thing that a state consists of.

    Attributes
    ----------
    name : str
    stored : callable
        Returns what the views have of it, by id. Equal there is equal in `value`.
    value : callable
        Returns the plain value of the one with that id, None if there is none. Raises `DamagedRecord`.
    """

    name: str
    stored: Callable[[State], Stored]
    value: Callable[[State, str], Any]


def order_values(order: Order) -> Values:
    """Return an order with its events, and with what was set on it without one."""
    amendments = [
        {"after_events": count, "name": name, "value": getattr(value, "name", plain(value))}
        for count, name, value in order.amendments
    ]
    return {
        **plain(order.to_dict()),
        "events": [plain(event.to_dict()) for event in order.events],
        "amendments": amendments,
    }


def position_values(position: Position) -> Values:
    """Return a position with its fills."""
    return {**plain(position.to_dict()), "events": [plain(event.to_dict()) for event in position.events]}


def account_values(account: Account) -> Values:
    """Return an account with its balances and margins, without its states."""
    values: Values = {
        "id": str(account.id),
        "type": type(account).__name__,
        "base_currency": None if account.base_currency is None else account.base_currency.code,
        "balances": {
            currency.code: {"total": str(balance.total), "locked": str(balance.locked), "free": str(balance.free)}
            for currency, balance in account.balances().items()
        },
        "event_count": account.event_count,
    }
    if isinstance(account, MarginAccount):
        values["margins"] = {str(instrument_id): _margin(margin) for instrument_id, margin in account.margins().items()}
        values["account_margins"] = {
            currency.code: _margin(margin) for currency, margin in account.account_margins().items()
        }
    return values


def _margin(margin: MarginBalance) -> Values:
    return {"initial": str(margin.initial), "maintenance": str(margin.maintenance)}


# -- Aggregates ------------------------------------------------------------------------------------------------


def _aggregates(ids: Callable[[Keys], str], name: Callable[[Keys, str], str]) -> Callable[[State], Stored]:
    def stored(state: State) -> Stored:
        hashes = state.views.hashes
        members = sorted(state.views.sets.get(ids(state.keys), ()))
        return {member: hashes.get(name(state.keys, member)) for member in members}

    return stored


def _order(state: State, order_id: str) -> Any:
    order = state.order(ClientOrderId(order_id))
    return None if order is None else order_values(order)


def _position(state: State, position_id: str) -> Any:
    position = state.position_of(PositionId(position_id))
    return None if position is None else position_values(position)


def _account(state: State, account_id: str) -> Any:
    account = state.account(AccountId(account_id))
    if account is None:
        return None
    return {**account_values(account), "events": [plain(event.to_dict()) for event in account.events]}


def _cycles(state: State) -> Stored:
    hashes = state.views.hashes
    first, purged = state.keys.position(""), hashes.get(state.keys.lives_purged, {})
    found = {}
    for key, count in sorted(hashes.get(state.keys.lives, {}).items()):
        if key.startswith(first):
            kept = range(int(purged.get(key, b"0")) + 1, int(count) + 1)
            if kept:
                found[key[len(first) :]] = [hashes.get(f"{key}{{{n}}}") for n in kept]
    return found


def _cycle(state: State, position_id: str) -> Any:
    return [position_values(position) for position in state.position_cycles(PositionId(position_id))]


# -- Collections -----------------------------------------------------------------------------------------------


def _fields(key: Callable[[Keys], str]) -> Callable[[State], Stored]:
    return lambda state: dict(sorted(state.views.hashes.get(key(state.keys), {}).items()))


def _members(key: Callable[[Keys], str]) -> Callable[[State], Stored]:
    return lambda state: dict.fromkeys(sorted(state.views.sets.get(key(state.keys), ())), True)


def _text(key: Callable[[Keys], str]) -> Callable[[State, str], Any]:
    def value(state: State, field: str) -> Any:
        return state.views.hashes[key(state.keys)][field].decode(errors="backslashreplace")

    return value


def _texts(name: str, key: Callable[[Keys], str]) -> Family:
    return Family(name, _fields(key), _text(key))


def _set(name: str, key: Callable[[Keys], str]) -> Family:
    return Family(name, _members(key), lambda state, member: True)


FAMILIES: tuple[Family, ...] = (
    Family("order", _aggregates(lambda k: k.orders, Keys.order), _order),
    Family("position", _aggregates(lambda k: k.positions, Keys.position), _position),
    Family("position_cycles", _cycles, _cycle),
    Family("account", _aggregates(lambda k: k.accounts, Keys.account), _account),
    Family("strategy", _fields(lambda k: k.strategies), lambda s, i: plain(s.strategy(StrategyId(i)))),
    Family("actor", _fields(lambda k: k.actors), lambda s, i: plain(s.actor(ComponentId(i)))),
    Family("general", _fields(lambda k: k.general), lambda s, i: s.views.hashes[s.keys.general][i].hex()),
    Family("currency", _fields(lambda k: k.currencies), lambda s, i: _record(s.currency(i))),
    Family("instrument", _fields(lambda k: k.instruments), lambda s, i: _record(s.instrument(InstrumentId(i)))),
    Family("synthetic", _fields(lambda k: k.synthetics), lambda s, i: _record(s.synthetic(InstrumentId(i)))),
    Family(
        "order_snapshot", _fields(lambda k: k.order_snapshots), lambda s, i: plain(s.order_snapshot(ClientOrderId(i)))
    ),
    Family(
        "position_snapshot",
        _fields(lambda k: k.position_snapshots),
        lambda s, i: plain(s.position_snapshot(PositionId(i))),
    ),
    _texts("heartbeat", lambda k: k.heartbeat),
    _texts("position_of_order", lambda k: k.index_order_position),
    _texts("client_of_order", lambda k: k.index_order_client),
    _texts("venue_order_id", lambda k: k.index_venue_order_id),
    _set("orders_open", lambda k: k.orders_open),
    _set("orders_closed", lambda k: k.orders_closed),
    _set("orders_inflight", lambda k: k.orders_inflight),
    _set("orders_emulated", lambda k: k.orders_emulated),
    _set("positions_open", lambda k: k.positions_open),
    _set("positions_closed", lambda k: k.positions_closed),
)
"""All that a state consists of, in the order in which it is shown."""


def _record(record: Any) -> Any:
    return None if record is None else plain(record.to_dict())


def values_of(state: State) -> Iterator[tuple[str, str, Any]]:
    """Yield everything in `state`: its family, its id and its plain value. Raises `DamagedRecord`."""
    for family in FAMILIES:
        for an_id in family.stored(state):
            value = family.value(state, an_id)
            if value is not None:
                yield family.name, an_id, value
