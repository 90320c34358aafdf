"""What a call costs the thread that makes it: one call after the other, and with pauses as between ticks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from scripts.lib.peer import objects
from scripts.lib.peer.objects import Trade
from scripts.lib.peer.peers import PEERS, Peer, alone, own_garbage, wait_written

PACED_PER_S = 1_000
VERBS = (
    "add_order",
    "update_order",
    "add_position",
    "update_position",
    "update_account",
    "snapshot_order_state",
    "snapshot_position_state",
    "heartbeat",
)
NOTHING = "nothing"
"""A call that does nothing: what the clock and, where there are pauses, waking up take."""
FIGURES = ("p50_us", "mean_us", "p99_us")

Figures = dict[str, float]
Turn = tuple[str, Callable[..., None], list[tuple[Any, ...]]]  # verb, call, arguments of each
Pace = Callable[[Turn], list[int]]


def turns(opened: Any, trades: list[Trade], states: list[Any]) -> Iterator[Turn]:
    """The calls of a node with many orders at work: step by step through all of them, verb by verb."""
    orders = [trade.entry.order() for trade in trades]
    yield NOTHING, _nothing, [()] * len(trades)
    yield "add_order", opened.add_order, [(order,) for order in orders]
    for step in range(objects.ORDER_EVENTS - 1):
        for order, trade in zip(orders, trades, strict=True):
            order.apply(trade.entry.later[step])
        yield "update_order", opened.update_order, [(order,) for order in orders]
    positions = [objects.opened(trade) for trade in trades]
    yield "add_position", opened.add_position, [(position,) for position in positions]
    for position, trade in zip(positions, trades, strict=True):
        position.apply(trade.exit.fill)
    yield "update_position", opened.update_position, [(position,) for position in positions]
    account = objects.account(states[0])
    opened.add_account(account)
    for state in states[1:]:
        account.apply(state)
        yield "update_account", opened.update_account, [(account,)]
    yield "snapshot_order_state", opened.snapshot_order_state, [(order,) for order in orders]
    at = [(position, position.ts_last + 1, position.realized_pnl) for position in positions]
    yield "snapshot_position_state", opened.snapshot_position_state, at
    yield "heartbeat", opened.heartbeat, [(moment,) for moment in objects.heartbeat_times(len(trades))]


def _nothing() -> None:
    pass


def flat_out(turn: Turn) -> list[int]:
    """Nanoseconds of each call, with nothing in between: the background writes at its full rate meanwhile."""
    _, call, each = turn
    clock = time.perf_counter_ns
    times = []
    for arguments in each:
        start = clock()
        call(*arguments)
        times.append(clock() - start)
    return times


def paced(turn: Turn) -> list[int]:
    """As `flat_out`, with pauses: the background is done with one call, or nearly, before the next."""
    _, call, each = turn
    clock = time.perf_counter_ns
    times = []
    for arguments in each:
        time.sleep(1 / PACED_PER_S)
        start = clock()
        call(*arguments)
        times.append(clock() - start)
    return times


def figures_of(times: list[int]) -> Figures:
    """Of nanoseconds, in microseconds."""
    times = sorted(times)
    return {
        "p50_us": times[len(times) // 2] / 1000,
        "mean_us": statistics.fmean(times) / 1000,
        "p99_us": times[min(int(len(times) * 0.99), len(times) - 1)] / 1000,
    }


def measure_peer(peer: Peer, pace: Pace, trades: list[Trade], states: list[Any]) -> dict[str, Figures]:
    """What each verb costs with this peer."""
    times: dict[str, list[int]] = {verb: [] for verb in (*VERBS, NOTHING)}
    with alone(peer) as (opened, port), own_garbage():
        for instrument in objects.INSTRUMENTS:
            opened.add_instrument(instrument)
        wait_written(peer, opened, port)
        for turn in turns(opened, trades, states):
            times[turn[0]] += pace(turn)
        wait_written(peer, opened, port)
    return {verb: figures_of(each) for verb, each in times.items()}


def measure(count: int, count_paced: int) -> dict[str, dict[str, dict[str, Figures]]]:
    """One run: pace → peer → verb → figures. The peers take turns, and get the same events."""
    run: dict[str, dict[str, dict[str, Figures]]] = {}
    for name, pace, size in (("flat_out", flat_out, count), ("paced", paced, count_paced)):
        trades, states = list(objects.trades(size)), list(objects.account_states(size + 1))
        run[name] = {peer.name: measure_peer(peer, pace, trades, states) for peer in PEERS}
    return run
