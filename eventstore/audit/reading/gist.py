"""What a command or an event says, in a few words for people. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eventstore import commands as c
from eventstore.audit.plain import iso_ns
from eventstore.audit.reading.facts import Facts
from eventstore.model import events as e
from eventstore.model.enums import LiquiditySide, OrderStatus
from eventstore.model.record import EMPTY_INFO

_SHOWN_BYTES = 24


def gist(facts: Facts) -> str:
    """Return what an entry says."""
    command = facts.command
    if command is None:
        return f"can not be read: {facts.error}"
    said = [_OF_COMMAND.get(command.__class__, _behind_the_id)(command)]
    said += [f"{type(event).__name__} {event_gist(event)}".rstrip() for event in facts.events]
    if isinstance(command, c.AddOrder | c.UpdateOrder):
        status = command.status
        said.append(OrderStatus(status).name if status in _STATUSES else f"status {status}")
    elif isinstance(command, c.WritePosition):
        said.append("open" if command.is_open else "flat")
    if facts.error is not None:
        said.append(f"part of it can not be read: {facts.error}")
    return "; ".join(text for text in said if text)


def event_gist(event: Any) -> str:
    """Return what an event says beside its name and the id of its order or account."""
    special = _OF_EVENT.get(event.__class__)
    return special(event) if special is not None else _rest(event)


def _initialized(event: e.OrderInitialized) -> str:
    said = [event.order_side.name, str(event.quantity), event.instrument_id, event.order_type.name]
    for name in ("price", "trigger_price", "activation_price", "limit_offset", "trailing_offset", "display_qty"):
        value = getattr(event, name)
        if value is not None:
            said.append(f"{name} {value}")
    said.append(event.time_in_force.name)
    if event.expire_time_ns:
        said.append(f"until {iso_ns(event.expire_time_ns)}")
    said += [name for name in ("post_only", "reduce_only", "quote_quantity") if getattr(event, name)]
    if event.emulation_trigger:
        said.append(f"emulated by {event.emulation_trigger.name}")
    if event.contingency_type:
        said.append(f"{event.contingency_type.name} with {' '.join(event.linked_order_ids or ())}")
    if event.parent_order_id is not None:
        said.append(f"child of {event.parent_order_id}")
    return " ".join(said)


def _filled(event: e.OrderFilled) -> str:
    side = "" if event.liquidity_side is LiquiditySide.NO_LIQUIDITY_SIDE else f", {event.liquidity_side.name}"
    position = "" if event.position_id is None else f", position {event.position_id}"
    return (
        f"{event.order_side.name} {event.last_qty} @ {event.last_px}, trade {event.trade_id}, "
        f"commission {event.commission}{side}{position}{_reconciled(event)}"
    )


def _updated(event: e.OrderUpdated) -> str:
    prices = (f", {name} {value}" for name in ("price", "trigger_price") if (value := getattr(event, name)) is not None)
    unit = ", in quote currency" if event.is_quote_quantity else ""
    return f"quantity {event.quantity}{unit}{''.join(prices)}{_reconciled(event)}"


def _account(event: e.AccountState) -> str:
    said = [f"{each.total} ({each.locked.amount:f} locked)" for each in event.balances]
    said += [
        f"margin {each.initial} initial, {each.maintenance} maintenance"
        + ("" if each.instrument_id is None else f" for {each.instrument_id}")
        for each in event.margins
    ]
    return ", ".join(said) + (", reported by the venue" if event.reported else "")


def _rest(event: Any) -> str:
    known = (*e.OrderEvent._fields, "reconciliation", "account_id")
    said = []
    for name, value in zip(event._fields, event, strict=True):
        if name not in known and value is not None and value is not False and value != EMPTY_INFO:
            said.append(f"{name.removesuffix('_id').replace('_', ' ')} {getattr(value, 'name', value)}")
    return ", ".join(said) + _reconciled(event)


def _reconciled(event: Any) -> str:
    return ", by reconciliation" if getattr(event, "reconciliation", False) else ""


_OF_EVENT: Mapping[type, Callable[[Any], str]] = {
    e.OrderInitialized: _initialized,
    e.OrderFilled: _filled,
    e.OrderUpdated: _updated,
    e.AccountState: _account,
}


def _opened(command: c.Opened) -> str:
    about = command.about
    said = [f"epoch {command.epoch}", f"host {about.get('host', '?')}", f"pid {about.get('pid', '?')}"]
    said += [f"{name} {about[name]}" for name in ("recovered", "set_aside") if about.get(name)]
    return ", ".join(said)


def _behind_the_id(command: Any) -> str:
    """Each field but the first by its name; records by their length."""
    fields = list(command._asdict().items())[1:]
    return ", ".join(f"{name} {_shown(value)}" for name, value in fields if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if len(value) > _SHOWN_BYTES or not value.isascii() else repr(value)[1:]
    return str(value)


def _add_order(command: c.AddOrder) -> str:
    said = [] if not command.version else ["transformed"]
    said += [
        f"{name} {value}" for name, value in (("position", command.position_id), ("client", command.client_id)) if value
    ]
    return ", ".join(said)


_STATUSES = frozenset(int(status) for status in OrderStatus)
_OF_COMMAND: Mapping[type, Callable[[Any], str]] = {
    c.Opened: _opened,
    c.ClosedWell: lambda command: f"epoch {command.epoch}",
    c.Flushed: lambda command: f"everything up to position {command.position} was deleted",
    c.Quarantined: lambda command: f"{command.operation} {command.key}: {command.error}",
    c.Heartbeat: lambda command: iso_ns(command.timestamp),
    c.AddOrder: _add_order,
    c.UpdateOrder: lambda _: "",
    c.WriteAccount: lambda _: "",
    c.WritePosition: lambda command: "" if command.basis is None else "a cycle begins",
}
