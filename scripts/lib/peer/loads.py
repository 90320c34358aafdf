"""What a node that starts waits for: its orders, positions, or all of it; and the memory that they take in Redis."""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position

from scripts.lib.peer import objects
from scripts.lib.peer.peers import NAUTILUS, OURS, Peer, adapter, in_process, server, wait_written
from tests.support.redis_server import RedisServer

LOADS = ("load_orders", "load_positions", "load_all")
ENGINE_LOADS = ("currencies", "instruments", "synthetics", "accounts", "orders", "positions")
"""What NautilusTrader's engine loads one by one, and `load_all` of its adapter is not: that reads all, returns none."""

PEERS = (NAUTILUS, OURS)

Figures = dict[str, float]


def write(peer: Peer, port: int, directory: Path, count: int) -> None:
    """Write so many orders of 4 events, and as many positions of 2 fills."""
    with adapter(peer, port, directory) as opened:
        for instrument in objects.INSTRUMENTS:
            opened.add_instrument(instrument)
        opened.add_account(objects.account(next(objects.account_states(1))))
        for trade in objects.trades(count):
            order = trade.entry.order()
            opened.add_order(order)
            for event in trade.entry.later:
                order.apply(event)
                opened.update_order(order)
            position = objects.opened(trade)
            opened.add_position(position)
            position.apply(trade.exit.fill)
            opened.update_position(position)
        wait_written(peer, opened, port)


def load(peer: Peer, port: int, directory: Path, count: int) -> Figures:
    """Objects a second of each load, each by a new adapter, and the share of them that came back whole."""
    figures: Figures = {}
    for name in LOADS:
        with adapter(peer, port, directory) as opened:
            gc.collect()
            start = time.perf_counter()
            if name != "load_all":
                found = {name: getattr(opened, name)()}
            elif peer.ours:
                found = opened.load_all()
            else:
                found = {each: getattr(opened, f"load_{each}")() for each in ENGINE_LOADS}
            took = time.perf_counter() - start
        expected = 2 * count if name == "load_all" else count
        figures |= {f"{name}_per_s": expected / took, f"{name}_whole": _whole(found) / expected}
    return figures


def _whole(found: dict[str, dict[Any, Any]]) -> int:
    """How many orders and positions have all their events."""
    things = [thing for each in found.values() for thing in each.values()]
    orders = sum(isinstance(thing, Order) and thing.event_count == objects.ORDER_EVENTS for thing in things)
    return orders + sum(isinstance(thing, Position) and thing.event_count == objects.FILLS for thing in things)


def weigh(redis: RedisServer, before: int, count: int) -> Figures:
    """Bytes an event: what the server has more than `before`, and what the keys take, the log and all others apart."""
    events = count * (objects.ORDER_EVENTS + objects.FILLS)
    log = views = 0
    with redis.client() as client:
        for key in client.scan_iter(count=1000):
            size = client.memory_usage(key, samples=0)
            if client.type(key) == b"stream":
                log += size
            else:
                views += size
        used = int(client.info("memory")["used_memory"]) - before
    return {"log_bytes": log / events, "views_bytes": views / events, "used_bytes": used / events}


def _write_and_weigh(peer: Peer, redis: RedisServer, directory: Path, count: int) -> Figures:
    with redis.client() as client:
        before = int(client.info("memory")["used_memory"])
    write(peer, redis.port, directory, count)
    return weigh(redis, before, count)


def measure(count: int, repeat: int) -> dict[str, Any]:
    """Write once; then load in turns, each in a new process. Memory a peer, and figures a run and peer."""
    with ExitStack() as stack:
        places: dict[Peer, tuple[RedisServer, Path]] = {}
        for peer in PEERS:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="bench-peer-")))
            places[peer] = stack.enter_context(server()), directory
        memory = {peer.name: _write_and_weigh(peer, redis, at, count) for peer, (redis, at) in places.items()}
        runs: list[dict[str, Figures]] = [
            {peer.name: in_process(load, peer, redis.port, at, count) for peer, (redis, at) in places.items()}
            for _ in range(repeat)
        ]
    return {"memory": memory, "runs": runs}
