"""A fleet of traders in one cluster, beside one trader there, and one at a single server, all in one run.

Each trader is a process of its own, with histories made beforehand. "Busy" is as fast as the node can: calls until the
log has everything. "Paced" is a call every so often, and how long it takes until it is applied; alone, and beside the
others, busy or paced like it. Everything runs on this machine: the traders, and all servers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.context import ForkProcess
from typing import Any

from rich.console import Console
from rich.table import Table

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import Order
from eventstore.model.identifiers import TraderId
from scripts.lib.bench import nodes
from scripts.lib.bench.places import own_memory_bytes, quiet
from scripts.lib.bench.rows import quantiles
from scripts.lib.bench.subjects import say
from tests.support.clusters import Cluster
from tests.support.sentinels import Sentinels
from tests.support.topologies import One
from tests.support.topology import Topology

TOPOLOGIES: dict[str, Callable[[], Topology]] = {
    "cluster": lambda: Cluster(node_timeout_ms=30_000),
    "sentinel": lambda: Sentinels(down_after_ms=30_000),
}
"""Nobody is to take over from a server that has no core for a while."""
PATIENCE_S = 600.0
_FORK = multiprocessing.get_context("fork")

Figures = dict[str, Any]


def trader(number: int) -> TraderId:
    return TraderId(f"FLEET-{number:04}")


def opened(url: str, number: int) -> RedisCacheDatabase:
    nodes.TRADER = trader(number)
    config = CacheDatabaseConfig(url=url, close_timeout_s=PATIENCE_S, load_timeout_s=PATIENCE_S)
    return RedisCacheDatabase(nodes.TRADER, config=config)


class Fleet:
    """Processes, one a trader, that begin together; what each returns."""

    def __init__(self, url: str, jobs: Sequence[tuple[int, Callable[[RedisCacheDatabase, Any], Any], Any]]) -> None:
        self._barrier = _FORK.Barrier(len(jobs) + 1)
        self._found: Any = _FORK.SimpleQueue()
        self._processes: list[ForkProcess] = [
            _FORK.Process(target=self._one, args=(url, *job), daemon=True) for job in jobs
        ]

    def run(self, when_open: Callable[[], object] = lambda: None) -> tuple[float, dict[int, Any]]:
        """Let them go, once all are open; return the seconds until the last one was done, and what each found."""
        for process in self._processes:
            process.start()
        self._barrier.wait(PATIENCE_S)
        when_open()
        self._barrier.wait(PATIENCE_S)
        start = time.perf_counter()
        found = dict(self._found.get() for _ in self._processes)
        took = time.perf_counter() - start
        for process in self._processes:
            process.join()
        return took, found

    def _one(self, url: str, number: int, work: Callable[[RedisCacheDatabase, Any], Any], prepared: Any) -> None:
        random.seed(number)
        before = own_memory_bytes()
        with opened(url, number) as database:
            database.sync()
            weighs = own_memory_bytes() - before
            # Its own, whose ids nobody else has: made before anybody begins.
            prepared = [nodes.history(i) for i in range(prepared)] if isinstance(prepared, int) else prepared
            self._barrier.wait(PATIENCE_S)
            self._barrier.wait(PATIENCE_S)
            start, cpu = time.perf_counter(), time.process_time()
            found = work(database, prepared)
            took_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
            self._found.put((number, {"found": found, "took_s": took_s, "cpu_s": cpu_s, "weighs": weighs}))


def busy(database: RedisCacheDatabase, histories: list[nodes.History]) -> int:
    """As fast as it can."""
    calls = nodes.trade(database, histories)
    database.sync(PATIENCE_S)
    return calls


def paced(database: RedisCacheDatabase, plan: tuple[float, float]) -> list[int]:
    """A call now and then, and how long each takes until it is applied: nanoseconds."""
    seconds, per_s = plan
    count = int(seconds * per_s)
    took = []
    orders = [Order.create(nodes.history(i, 1).init) for i in range(count)]
    due = time.perf_counter()
    for order in orders:
        due += random.expovariate(per_s)
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter_ns()
        database.add_order(order)
        database.sync(PATIENCE_S)
        took.append(time.perf_counter_ns() - start)
    return took


def summed(topology: Topology, traders: int, orders: int) -> Figures:
    """Events a second of so many busy traders together, from when they begin to when the last is done.

    And what an event takes of a core: at its node, and at all servers together.
    """
    before = _cpu_s(topology)
    took, found = Fleet(topology.place(), [(number, busy, orders // traders) for number in range(traders)]).run()
    calls = sum(each["found"] for each in found.values())
    return {
        "events": calls,
        "events_per_s": calls / took,
        "first_done_s": min(each["took_s"] for each in found.values()),
        "last_done_s": max(each["took_s"] for each in found.values()),
        "node_us": sum(each["cpu_s"] for each in found.values()) / calls * 1e6,
        "servers_us": (_cpu_s(topology) - before) / calls * 1e6,
    }


def _cpu_s(topology: Topology) -> float:
    """Seconds of a core that all servers have taken so far."""
    total = 0.0
    for server in topology.servers:
        with server.client() as client:
            facts: Any = client.info("cpu")
            total += facts["used_cpu_user"] + facts["used_cpu_sys"]
    return total


def latency(
    url: str, others: int, work: Callable[[RedisCacheDatabase, Any], Any], load: Any, seconds: float
) -> Figures:
    """Of trader 0, a call every tenth of a second or so, beside `others` that do `work`: milliseconds."""
    jobs: list[tuple[int, Callable[[RedisCacheDatabase, Any], Any], Any]] = [(0, paced, (seconds, 20.0))]
    _, found = Fleet(url, [*jobs, *((number, work, load) for number in range(1, others + 1))]).run()
    p50, p99, _ = (each / 1000 for each in quantiles(found[0]["found"]))
    return {"p50_ms": p50, "p99_ms": p99, "max_ms": max(found[0]["found"]) / 1e6}


def memory(topology: Topology, traders: int) -> Figures:
    """What an idle trader takes: in its process, at the servers, and in connections."""
    seen: Figures = {}

    def look() -> None:
        seen["open"] = _used(topology)

    before = _used(topology)
    _, found = Fleet(topology.place(), [(number, busy, 0) for number in range(traders)]).run(look)
    weighs = sorted(each["weighs"] for each in found.values())
    return {
        "process_kb": weighs[len(weighs) // 2] / 1000,
        "server_kb": (seen["open"][0] - before[0]) / traders / 1000,
        "connections": (seen["open"][1] - before[1]) / traders,
    }


def _used(topology: Topology) -> tuple[int, int]:
    """Bytes of data and connections, at all primaries together."""
    used, connections = 0, 0
    for client in topology.clients():
        with client:
            facts: Any = client.info()
            used += int(facts["used_memory"])
            connections += int(facts["connected_clients"])
    return used, connections


def measure(kind: str, traders: int, orders: int, seconds: float) -> Figures:
    """Everything, in one run."""
    figures: Figures = {"topology": kind, "traders": traders, "cores": os.cpu_count()}
    with ExitStack() as running:
        single = One(tcp=True)
        single.servers[0].config = dict(single.servers[0].config) | {"appendonly": "no"}
        running.enter_context(single)
        topology = running.enter_context(TOPOLOGIES[kind]())

        def fresh(name: str, work: Callable[[], Figures]) -> None:
            say(f"  {name}")
            figures[name] = work()
            for each in (single, topology):
                each.wipe()

        places = {"a single server": single, f"the {kind}": topology}
        for name, place in places.items():
            fresh(f"one trader, {name}", lambda place=place: summed(place, 1, orders))
            fresh(f"{traders} traders, {name}", lambda place=place: summed(place, traders, orders))
        url = topology.place()
        fresh("memory of an idle trader", lambda: memory(topology, traders))
        fresh("a paced trader alone", lambda: latency(url, 0, busy, 0, seconds))
        others = traders - 1
        fresh(f"a paced trader beside {others} like it", lambda: latency(url, others, paced, (seconds, 20.0), seconds))
        each = max(orders * 4 // traders, 1)
        fresh(f"a paced trader beside {others} busy ones", lambda: latency(url, others, busy, each, seconds))
    return figures


def show(figures: Figures) -> None:
    table = Table(show_header=False)
    for name, value in figures.items():
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {item:,.1f}" for key, item in value.items())
        table.add_row(name, str(shown))
    Console(width=150).print(table)


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(prog="scripts/bench --topology cluster", description=__doc__)
    parser.add_argument("--topology", choices=list(TOPOLOGIES), required=True)
    parser.add_argument("--traders", type=int, default=50)
    parser.add_argument("--orders", type=int, default=50_000, help="of four events each, of all traders together")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long calls are paced")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    arguments = parser.parse_args()
    quiet()
    figures = measure(arguments.topology, arguments.traders, arguments.orders, arguments.seconds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
