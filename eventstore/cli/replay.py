"""``eventstore replay``: the state at any place of a log; or its entries, paced as they were. Only reads."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from eventstore.audit import FactReader, Log, State, iso_ms, values_of
from eventstore.audit import replay as replay_entries
from eventstore.audit.values import account_values
from eventstore.cli.audited import (
    ArchiveOption,
    JsonOption,
    Place,
    TraderOption,
    audited,
    refuse_beyond,
    span,
    state_at_moment,
)
from eventstore.cli.entries import (
    FullOption,
    SinceOption,
    UntilOption,
    one_line,
    show,
    until_the_reader_has_enough,
    write_line,
)
from eventstore.cli.output import counted, iso

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_NS_IN_MS = 1_000_000


def replay(
    place: Place,
    at: Annotated[
        str | None, typer.Option("--at", metavar="MOMENT", help="A position, or a time in ISO 8601 (UTC).")
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", metavar="X", help="Print entries, X times as fast as they were accepted.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    full: FullOption = False,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the trader had: at the end of the log, or at any moment. With --speed, what came, as it came."""
    if speed is None and (since is not None or until is not None or full):
        raise typer.BadParameter("--since, --until and --full go with --speed; a state has one moment: --at")
    if speed is not None and at is not None:
        raise typer.BadParameter("--at is the moment of a state; with --speed, give --since and --until")
    with until_the_reader_has_enough(), audited(place, trader, archive) as log:
        if speed is not None:
            _pace(log, speed, since, until, full, as_json)
            return
        state = state_at_moment(log, at)
        if as_json:
            _print_json(log, state)
        else:
            for line in _shown(log, state):
                write_line(one_line(line))


# -- Paced -----------------------------------------------------------------------------------------------------


def _pace(log: Log, speed: float, since: str | None, until: str | None, full: bool, as_json: bool) -> None:
    begin, end = span(since, until)
    refuse_beyond(log, begin)
    first, since_ns = begin or (None, None)
    last, until_ns = end or (None, None)
    after = log.start().position if first is None else max(first - 1, 0)
    try:
        entries = replay_entries(log, after, last, since_ns=since_ns, until_ns=until_ns, speed=speed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    reader = FactReader(log.trader_id)
    for replayed in entries:
        show(reader.read(replayed.entry), as_json, full)
        sys.stdout.flush()  # each one when it is due


# -- A state ---------------------------------------------------------------------------------------------------


def _print_json(log: Log, state: State) -> None:
    head = {
        "format": FORMAT,
        "trader_id": log.trader_id,
        "position": state.position,
        "accepted": iso_ms(state.accepted_ms) if state.position else None,
        "accepted_ns": state.accepted_ms * _NS_IN_MS if state.position else None,
    }
    write_line(json.dumps(head))
    for family, an_id, value in values_of(state):
        write_line(json.dumps({"format": FORMAT, "family": family, "id": an_id, "value": value}, ensure_ascii=False))


def _shown(log: Log, state: State) -> Iterator[str]:
    """Lines for people."""
    if state.position:
        yield f"{log.trader_id} behind position {state.position:,}, accepted {iso_ms(state.accepted_ms)}"
    else:
        yield f"{log.trader_id} before the first entry"
    orders, positions = state.orders(), state.positions()
    statuses = Counter(order.status.name for order in orders.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(statuses.items()))
    yield f"  {counted(len(orders), 'order')}{f': {counts}' if counts else ''}"
    for order in orders.values():
        if not order.is_closed:
            yield f"    {_order(order)}"
    flat = sum(position.is_closed for position in positions.values())
    yield f"  {counted(len(positions), 'position')}{f': {len(positions) - flat:,} open' if positions else ''}"
    for position in positions.values():
        if position.is_open:
            yield (
                f"    {position.id}  {position.side.name} {position.quantity} {position.instrument_id} at "
                f"{position.avg_px_open}, realized {position.realized_pnl}"
            )
    accounts = state.accounts()
    yield f"  {counted(len(accounts), 'account')}"
    for account in accounts.values():
        for balance in account_values(account)["balances"].values():
            yield f"    {account.id}  {balance['total']}, of that {balance['locked']} locked"
    for name, states in (("strategies", state.strategies()), ("actors", state.actors())):
        if states:
            yield f"  saved states of {name}: {', '.join(sorted(states))}"
    others = [
        counted(len(found), *names)
        for found, names in (
            (state.instruments(), ("instrument",)),
            (state.synthetics(), ("synthetic instrument",)),
            (state.currencies(), ("currency", "currencies")),
            (state.general(), ("general object",)),
            (state.order_snapshots(), ("order snapshot",)),
            (state.position_snapshots(), ("position snapshot",)),
        )
        if found
    ]
    if others:
        yield f"  {', '.join(others)}"
    heartbeat = state.heartbeat_ns()
    yield f"  last heartbeat {'none' if heartbeat is None else iso(heartbeat)}"


def _order(order: Any) -> str:
    price = getattr(order, "price", None) or getattr(order, "trigger_price", None)
    at = "" if price is None else f" at {price}"
    filled = f", {order.filled_qty} filled" if order.filled_qty else ""
    return (
        f"{order.client_order_id}  {order.status.name} {order.side.name} {order.quantity} {order.instrument_id} "
        f"{order.order_type.name}{at}{filled}"
    )
