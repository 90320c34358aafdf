"""Events a second, from the first call until all of them are in Redis; and the memory that they take there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from scripts.lib.peer import objects
from scripts.lib.peer.objects import Trade
from scripts.lib.peer.peers import PEERS, Peer, alone, own_garbage, wait_written

ORDERS_PER_TRADE, MIXED_PER_TRADE = 8, 12  # calls
Call = tuple[Callable[..., None], tuple[Any, ...]]


def orders_only(opened: Any, trades: list[Trade], states: list[Any]) -> Iterator[Call]:
    """Orders one behind the other, each with its 4 events."""
    for trade in trades:
        for life in (trade.entry, trade.exit):
            yield from _live(opened, life)


def mixed(opened: Any, trades: list[Trade], states: list[Any]) -> Iterator[Call]:
    """Trades one behind the other: two orders, the position that they open and close, and the account after each."""
    account = objects.account(states[0])
    yield opened.add_account, (account,)
    following = iter(states[1:])
    for trade in trades:
        yield from _live(opened, trade.entry)
        position = objects.opened(trade)
        yield opened.add_position, (position,)
        account.apply(next(following))
        yield opened.update_account, (account,)
        yield from _live(opened, trade.exit)
        position.apply(trade.exit.fill)
        yield opened.update_position, (position,)
        account.apply(next(following))
        yield opened.update_account, (account,)


def _live(opened: Any, life: objects.Life) -> Iterator[Call]:
    order = life.order()
    yield opened.add_order, (order,)
    for event in life.later:
        order.apply(event)
        yield opened.update_order, (order,)


FLOWS = {"orders": orders_only, "mixed": mixed}


def measure_peer(peer: Peer, flow: str, trades: list[Trade], states: list[Any]) -> float:
    """Events a second."""
    count = 0
    with alone(peer) as (opened, port), own_garbage():
        for instrument in objects.INSTRUMENTS:
            opened.add_instrument(instrument)
        wait_written(peer, opened, port)
        start = time.perf_counter()
        for call, arguments in FLOWS[flow](opened, trades, states):
            call(*arguments)
            count += 1
        wait_written(peer, opened, port)
        took = time.perf_counter() - start
    return count / took


def measure(count: int) -> dict[str, dict[str, float]]:
    """One run: flow → peer → events a second, of about `count` events."""
    run = {}
    for flow, per_trade in (("orders", ORDERS_PER_TRADE), ("mixed", MIXED_PER_TRADE)):
        size = max(count // per_trade, 1)
        trades, states = list(objects.trades(size)), list(objects.account_states(2 * size + 1))
        run[flow] = {peer.name: measure_peer(peer, flow, trades, states) for peer in PEERS}
    return run
