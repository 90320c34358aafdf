"""Rows of the tables, from entries, events and states. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import IntEnum
from typing import Any, NamedTuple

from eventstore.audit.exporting.columns import TABLES
from eventstore.audit.plain import NS_IN_MS, plain, plain_command
from eventstore.audit.reading.facts import Facts
from eventstore.codec import Serializer
from eventstore.model.currency import Currency
from eventstore.model.events import AccountState, OrderEvent, OrderFilled
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import EXACT, Money

Row = tuple[Any, ...]

TIME_MAX = 2**63 - 1
"""The last nanosecond that a timestamp of 64 bits has: in the year 2262."""


class Removed(NamedTuple):
    """What took an order or position out of the views."""

    by: str
    position: int
    accepted_ns: int


def log_row(facts: Facts, serializer: Serializer) -> Row:
    """Return the row of ``log`` of an entry."""
    entry, command = facts.entry, facts.command
    return (
        entry.position,
        entry.entry_id,
        entry.accepted_ms * NS_IN_MS,
        facts.kind,
        facts.family,
        facts.key,
        facts.ts_event,
        None if command is None else plain_command(command, serializer, facts.trader_id),
        entry.payload,
        entry.chain,
        facts.error,
    )


def order_event_row(facts: Facts, index: int, event: OrderEvent) -> Row:
    """Return the row of ``order_events`` of the event with that index in an entry."""
    given = {
        "log_position": facts.position,
        "event_index": index,
        "accepted_at": facts.accepted_ms * NS_IN_MS,
        "event_type": type(event).__name__,
        "version": getattr(facts.command, "version", 0) + index,
        "details": plain(event.to_dict()),
    }
    commission = getattr(event, "commission", None)
    if commission is not None:
        given |= {"commission": commission.amount, "commission_currency": commission.currency.code}
    return tuple(
        given[name] if name in given else _value(getattr(event, name, None)) for name, _ in TABLES["order_events"]
    )


def fill_row(
    log_position: int,
    accepted_ns: int,
    position_log_position: int | None,
    position_id: str | None,
    fill: OrderFilled,
) -> Row:
    """Return the row of ``fills`` of a fill."""
    given = {
        "log_position": log_position,
        "position_log_position": position_log_position,
        "accepted_at": accepted_ns,
        "position_id": fill.position_id or position_id,
        "commission": fill.commission.amount,
        "commission_currency": fill.commission.currency.code,
        "info": plain(fill.info) or None,
    }
    return tuple(given[name] if name in given else _value(getattr(fill, name)) for name, _ in TABLES["fills"])


def account_rows(facts: Facts, index: int, event: AccountState) -> Iterator[Row]:
    """Yield the rows of ``account_states`` of the event with that index in an entry: one for each currency."""
    codes = [balance.currency.code for balance in event.balances] + [margin.currency.code for margin in event.margins]
    units: list[str | None] = [*dict.fromkeys(codes)]
    for code in units or [None]:
        balance = next((each for each in event.balances if each.currency.code == code), None)
        margins = [each for each in event.margins if each.currency.code == code]
        yield (
            facts.position,
            index,
            facts.accepted_ms * NS_IN_MS,
            event.event_id,
            event.ts_event,
            event.ts_init,
            event.account_id,
            getattr(facts.command, "version", 0) + index,
            event.account_type.name,
            _value(event.base_currency),
            code,
            None if balance is None else balance.total.amount,
            None if balance is None else balance.locked.amount,
            None if balance is None else balance.free.amount,
            _sum(margin.initial for margin in margins),
            _sum(margin.maintenance for margin in margins),
            [margin.to_dict() for margin in margins] or None,
            event.reported,
            plain(event.info) or None,
        )


def order_row(order: Order, position_id: str | None, life: int, first: int, last: int, removed: Removed | None) -> Row:
    """Return the row of ``orders`` of one life of an order, between two positions of the log."""
    expires = getattr(order, "expire_time_ns", 0) or None
    given = {
        "first_log_position": first,
        "last_log_position": last,
        "life": life,
        "position_id": position_id,
        "avg_px": None if order.avg_px is None else float(order.avg_px),
        "slippage": order._shown_slippage(),
        "expire_time": expires if expires is not None and expires <= TIME_MAX else None,
        "expire_time_ns": expires,
        "tags": None if order.tags is None else list(order.tags),
        "linked_order_ids": None if order.linked_order_ids is None else list(order.linked_order_ids),
        "exec_algorithm_params": plain(order.exec_algorithm_params),
        "ts_submitted": order.ts_submitted or None,
        "ts_accepted": order.ts_accepted or None,
        "ts_closed": order.ts_closed or None,
        **_commissions(order.commissions()),
        **_removed(removed),
    }
    return tuple(given[name] if name in given else _value(getattr(order, name, None)) for name, _ in TABLES["orders"])


def position_row(position: Position, cycle: int, first: int, last: int, removed: Removed | None) -> Row:
    """Return the row of ``positions`` of one cycle of a position, between two positions of the log."""
    basis = position.basis
    given = {
        "first_log_position": first,
        "last_log_position": last,
        "position_id": position.id,
        "cycle": cycle,
        "avg_px_close": position.avg_px_close or None,
        "realized_pnl": position.realized_pnl.amount,
        "settlement_currency": basis.settlement_currency.code,
        "quote_currency": basis.quote_currency.code,
        "base_currency": _value(basis.base_currency),
        "fill_count": position.event_count,
        "ts_closed": position.ts_closed or None,
        "duration_ns": position.duration_ns or None,
        **_commissions(position.commissions()),
        **_removed(removed),
    }
    return tuple(
        given[name] if name in given else _value(getattr(position, name, None)) for name, _ in TABLES["positions"]
    )


def _commissions(paid: list[Money]) -> dict[str, Any]:
    one = paid[0] if len(paid) == 1 else None
    return {
        "commission": None if one is None else one.amount,
        "commission_currency": None if one is None else one.currency.code,
        "commissions": ", ".join(sorted(map(str, paid))) or None,
    }


def _removed(removed: Removed | None) -> dict[str, Any]:
    return {
        "removed_by": None if removed is None else removed.by,
        "removed_log_position": None if removed is None else removed.position,
        "removed_at": None if removed is None else removed.accepted_ns,
    }


def _sum(amounts: Iterable[Money]) -> Decimal | None:
    total = None
    for money in amounts:
        total = money.amount if total is None else EXACT.add(total, money.amount)
    return total


def _value(value: Any) -> Any:
    """Return a field of the model as a table has it: enumerations by name, currencies by code."""
    kind = value.__class__
    if value is None or kind in (int, bool, str, float):
        return value
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, Currency):
        return value.code
    return str(value)
