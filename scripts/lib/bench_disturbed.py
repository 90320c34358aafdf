"""A node at 5,000 calls a second, while its servers are restarted, replaced, or give its slot away.

The node is a loop that wakes every half millisecond, as a host's, and makes the calls that are due. What is measured:
how late it wakes, what a call takes, and how long each call takes until it is applied; the longest of that is the
stall. Behind it all, the log has to have every call, once and in order.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from eventstore import CacheDatabaseConfig, RedisCacheDatabase, commands
from eventstore.keys import Keys
from eventstore.model import Order
from scripts.lib.bench import nodes
from scripts.lib.bench.loops import sleeping
from scripts.lib.bench.places import own_garbage, quiet
from scripts.lib.bench.rows import quantiles
from scripts.lib.bench.subjects import say
from scripts.lib.bench.ticker import PERIOD_NS
from tests.support.clusters import Cluster, slot_of
from tests.support.logs import check_log
from tests.support.outages import until
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

CALLS_PER_S = 5_000
PER_WAKE = CALLS_PER_S * PERIOD_NS / 1e9
ALONE = 6_000
"""Wakes of the same loop before there is a writer."""
PATIENCE_S = 300.0
SPACE = Keys(nodes.TRADER).namespace
_FORK = multiprocessing.get_context("fork")

Figures = dict[str, Any]


class Lived(NamedTuple):
    """What a node noted: nanoseconds of one clock, that of the machine."""

    called_ns: list[int]
    took_ns: list[int]
    applied: list[tuple[int, int]]
    """When it was seen that so many calls were applied."""
    wakes: list[tuple[int, int]]
    """When it woke, and how late that was."""


def node(url: str, orders: int, settings: dict[str, Any], opened: Any, enough: Any, found: Any) -> None:
    """Make calls until there are none left, or it is told that it is enough."""
    quiet()
    alone = sleeping(lambda wakes: wakes < ALONE)
    histories = [nodes.history(i) for i in range(orders)]
    config = CacheDatabaseConfig(url=url, close_timeout_s=PATIENCE_S, load_timeout_s=PATIENCE_S, **settings)
    with RedisCacheDatabase(nodes.TRADER, config=config) as database:
        start = database.sync(PATIENCE_S)
        with own_garbage():
            opened.set()
            lived = _trade(database, histories, enough, start)
        database.sync(PATIENCE_S)
        stats = database.stats()
        lived.applied.append((time.perf_counter_ns(), stats.applied - start))
    found.put((lived, alone, {"retries": stats.retries, "set_back": stats.set_back, "quarantined": stats.quarantined}))


def _trade(database: RedisCacheDatabase, histories: list[nodes.History], enough: Any, start: int) -> Lived:
    clock, sleep = time.perf_counter_ns, time.sleep
    lived = Lived([], [], [], [])
    position = database._persister._writer.applied  # looked at every half millisecond: stats() takes longer
    calls = _calls(database, histories)
    seen, due, ended = 0, 0.0, False
    while not ended and not (len(lived.wakes) % 200 == 0 and enough.is_set()):
        slept = clock()
        sleep(PERIOD_NS / 1e9)
        woke = clock()
        lived.wakes.append((woke, woke - slept - PERIOD_NS))
        come = position.position - start
        if come != seen:
            seen = come
            lived.applied.append((woke, come))
        due += (woke - slept) / 1e9 * CALLS_PER_S
        while due >= 1:
            due -= 1
            call = next(calls, None)
            if call is None:
                ended = True
                break
            began = clock()
            call()
            lived.called_ns.append(began)
            lived.took_ns.append(clock() - began)
    return lived


def _calls(database: RedisCacheDatabase, histories: list[nodes.History]) -> Any:
    for each in histories:
        order = Order.create(each.init)
        yield lambda order=order: database.add_order(order)
        for event in each.later:
            order.apply(event)
            yield lambda order=order: database.update_order(order)


class Phase(NamedTuple):
    """Something that happened to the servers, from when to when."""

    name: str
    began_ns: int
    ended_ns: int


def disturb(topology: Topology, quiet_s: float) -> list[Phase]:
    """Do everything to the servers, one thing after the other."""
    phases: list[Phase] = []

    def phase(name: str, do: Callable[[], object]) -> None:
        say(f"  {name}")
        began = time.perf_counter_ns()
        do()
        # What a call of the last moment takes until it is applied belongs to it, too.
        phases.append(Phase(name, began, time.perf_counter_ns()))
        time.sleep(2.0)

    def killed() -> None:
        before = topology.primary(SPACE)
        before.kill()
        topology.wait_for_primary(SPACE, besides=before)
        before.start()
        topology.wait_for_primary(SPACE)

    def frozen() -> None:
        before = topology.primary(SPACE)
        before.pause()
        topology.wait_for_primary(SPACE, besides=before)
        before.resume()
        until(lambda: topology.settled(SPACE))

    phase("nothing", lambda: time.sleep(quiet_s))
    phase("handed over to a replica", lambda: topology.fail_over(SPACE))
    if isinstance(topology, Cluster):
        phase("its slot moved to another node, 100 keys at a time", lambda: migrate(topology, 100))
        phase("and back, 1000 keys at a time", lambda: migrate(topology, 1000))
    phase("rolling restart of all servers", topology.rolling_restart)
    phase("primary killed", killed)
    phase("primary frozen", frozen)
    return phases


def migrate(cluster: Cluster, count: int) -> None:
    source = cluster.node_of(SPACE)
    target = next(node for node in cluster.nodes if node is not source and node.leads())
    moving = cluster.migrate_slot(slot_of(SPACE), target)
    moving.begin()
    while moving.move(count):
        pass
    moving.finish()
    cluster.wait_for_primary(SPACE, besides=source)


def figures_of(phase: Phase, lived: Lived, applied_ns: list[int]) -> Figures:
    """What the node noted meanwhile. A call counts where it was made."""
    first, last = (bisect_left(lived.called_ns, at) for at in (phase.began_ns, phase.ended_ns))
    waits = [applied_ns[i] - lived.called_ns[i] for i in range(first, last)]
    late = [each for woke, each in lived.wakes if phase.began_ns <= woke < phase.ended_ns]
    p50, p99, p999 = quantiles(late)
    call50, call99, call999 = quantiles(lived.took_ns[first:last])
    return {
        "seconds": (phase.ended_ns - phase.began_ns) / 1e9,
        "calls": last - first,
        "stall_ms": max(waits) / 1e6,
        "applied_p50_ms": quantiles(waits)[0] / 1000,
        "applied_p99_ms": quantiles(waits)[1] / 1000,
        "late_p50_us": p50,
        "late_p99_us": p99,
        "late_p999_us": p999,
        "late_max_us": max(late) / 1000,
        "call_p50_us": call50,
        "call_p99_us": call99,
        "call_p999_us": call999,
    }


def applied_for_good(lived: Lived) -> list[int]:
    """When each call was applied, and never lost again."""
    count = len(lived.called_ns)
    when: list[tuple[int, int]] = []
    least = count
    for at, come in reversed(lived.applied):
        # Whatever a later look did not find any more was set back meanwhile.
        least = min(least, come)
        when.append((least, at))
    when.reverse()
    found: list[int] = []
    for least, at in when:
        found += [at] * (least - len(found))
    return found


def check(topology: Topology, count: int) -> None:
    """End the bench unless the log has the calls, once and in order, and its views are its fold."""
    with topology.client_of(SPACE) as client:
        log = check_log(client, Keys(nodes.TRADER))
    made = [
        (command.order_id, command.version)
        for command in (line.command for line in log)
        if isinstance(command, commands.AddOrder | commands.UpdateOrder)
    ]
    if made != [(nodes.order_id(i // nodes.EVENTS), i % nodes.EVENTS) for i in range(count)]:
        raise SystemExit("the log does not have the calls in the order in which they were made")


def measure(kind: str, seconds: float) -> Figures:
    """Disturb a node on servers of that kind; figures by what happened."""
    settings = {"durability": "replicated(1)", "timeout_s": 1.0}
    opened, enough, found = _FORK.Event(), _FORK.Event(), _FORK.SimpleQueue()
    with Cluster() if kind == "cluster" else Sentinels() as topology:
        orders = int(seconds * CALLS_PER_S) // nodes.EVENTS
        process = _FORK.Process(
            target=node, args=(topology.place(), orders, settings, opened, enough, found), daemon=True
        )
        process.start()
        opened.wait(PATIENCE_S)
        phases = disturb(topology, 5.0)
        enough.set()
        lived, alone, counts = found.get()
        process.join()
        check(topology, len(lived.called_ns))
    if lived.called_ns[-1] < phases[-1].ended_ns:
        raise SystemExit("there were not enough calls for so long: --seconds")
    applied_ns = applied_for_good(lived)
    lost = len(lived.called_ns) - len(applied_ns)
    return {"calls": len(lived.called_ns), "lost": lost, **counts, "late_without_writer_us": quantiles(alone)} | {
        phase.name: figures_of(phase, lived, applied_ns) for phase in phases
    }


def show(figures: Figures) -> None:
    table = Table()
    parts = {name: value for name, value in figures.items() if isinstance(value, dict)}
    for column in ("", *next(iter(parts.values()))):
        table.add_column(column.replace("_", " "), justify="right" if column else "left")
    for name, part in parts.items():
        table.add_row(name, *(f"{value:,.1f}" for value in part.values()))
    console = Console(width=220)
    console.print(table)
    console.print({name: value for name, value in figures.items() if not isinstance(value, dict)})


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(prog="scripts/bench --topology cluster --disturbed", description=__doc__)
    parser.add_argument("--topology", choices=["cluster", "sentinel"], required=True)
    parser.add_argument("--disturbed", action="store_true", required=True)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long there are calls for")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    arguments = parser.parse_args()
    figures = measure(arguments.topology, arguments.seconds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
