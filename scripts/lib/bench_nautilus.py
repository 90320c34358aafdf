"""The bench against NautilusTrader's own cache database: the same objects through both adapters, in one run.

Each has a Redis of its own, of the same kind and with the same settings, on the loopback, and they take turns. Ratios
say how many times better ours is, run by run against the same run of theirs, and are their medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.lib.peer import calls, loads, losses, peers, written
from scripts.lib.peer.peers import TITLES

FIGURES = ("calls", "written", "loads", "losses")
THEIRS = ("nautilus", "nautilus_10ms", "nautilus_100ms")

Report = dict[str, Any]


def measure(arguments: argparse.Namespace) -> Report:
    """Everything that was asked for, run by run."""
    with peers.server() as server:
        report: Report = {"versions": peers.versions(server), "settings": dict(sorted(vars(arguments).items()))}
    repeats = range(arguments.repeat)
    if "calls" in arguments.only:
        report["calls"] = [calls.measure(arguments.calls, arguments.paced_calls) for _ in repeats]
    if "written" in arguments.only:
        report["written"] = [written.measure(arguments.events) for _ in repeats]
    if "loads" in arguments.only:
        report["loads"] = {
            str(count): loads.measure(count, arguments.repeat if i == 0 else min(arguments.repeat, 3))
            for i, count in enumerate(arguments.objects)
        }
    if "losses" in arguments.only:
        report["losses"] = [losses.measure(arguments.loss_calls, arguments.down_s) for _ in range(arguments.kills)]
    report["ratios"] = dict(ratios(report))
    return report


def ratios(report: Report) -> Iterator[tuple[str, float]]:
    """How many times better ours is than theirs: medians over the runs."""
    for pace in ("flat_out", "paced"):
        for verb in calls.VERBS:
            for figure in calls.FIGURES:
                for ours in ("ours", "ours_journal"):
                    if each := _better(report, pace, verb, figure, ours):
                        yield f"{pace}.{verb}.{figure}.{ours}", statistics.median(each)
    for flow in written.FLOWS:
        for theirs in THEIRS:
            for ours in ("ours", "ours_journal"):
                each = [run[flow][ours] / run[flow][theirs] for run in report.get("written", [])]
                if each:
                    yield f"written.{flow}.{theirs}.{ours}", statistics.median(each)
    for count, found in report.get("loads", {}).items():
        for name in loads.LOADS:
            each = [run["ours"][f"{name}_per_s"] / run["nautilus"][f"{name}_per_s"] for run in found["runs"]]
            yield f"{name}.{count}", statistics.median(each)


def spread(values: list[float], places: int = 1) -> str:
    """The median, and the least to the most."""
    least, most = min(values), max(values)
    text = f"{statistics.median(values):,.{places}f}"
    return text if least == most else f"{text} ({least:,.{places}f} to {most:,.{places}f})"


def tables(report: Report) -> Iterator[Table]:
    """The report for people."""
    told = report["versions"]
    title = ", ".join(f"{name} {version}" for name, version in told.items())
    if "calls" in report:
        for pace, what in (("flat_out", "one after the other"), ("paced", f"{calls.PACED_PER_S:,} calls a second")):
            yield _calls_table(report, pace, f"µs a call on the caller's thread, {what}; {title}")
    if "written" in report:
        table = _table(f"events a second until all are in Redis; {title}", "", *TITLES.values(), "ratio")
        for flow in written.FLOWS:
            cells = [spread([run[flow][name] for run in report["written"]], 0) for name in TITLES]
            table.add_row(flow, *cells, f"{report['ratios'][f'written.{flow}.nautilus.ours']:.1f}")
        yield table
    if "loads" in report:
        yield from _loads_tables(report, title)
    if "losses" in report:
        table = _table(f"calls that returned and are lost; {title}", "", *(TITLES[peer.name] for peer in losses.PEERS))
        for name in losses.SCENARIOS:
            told_of = [[run[name][peer.name] for run in report["losses"]] for peer in losses.PEERS]
            cells = [
                f"{sum(each['lost'] for each in runs):,.0f} of {sum(each['calls'] for each in runs):,.0f}"
                for runs in told_of
            ]
            table.add_row(name.replace("_", " "), *cells)
        yield table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    return table


def _calls_table(report: Report, pace: str, title: str) -> Table:
    table = _table(title, "p50 / mean / p99", *TITLES.values(), "ratios of the runs", "the journal's")
    for verb in (*calls.VERBS, calls.NOTHING):
        cells = []
        for name in TITLES:
            each = [[run[pace][name][verb][figure] for run in report["calls"]] for figure in calls.FIGURES]
            cells.append(" / ".join(f"{statistics.median(values):,.1f}" for values in each))
        for ours in ("ours", "ours_journal") if verb != calls.NOTHING else ():
            each = [_better(report, pace, verb, figure, ours) for figure in calls.FIGURES]
            cells.append(" / ".join(f"{statistics.median(values):,.1f}" for values in each))
            cells[-1] += f" (mean: {min(each[1]):,.1f} to {max(each[1]):,.1f})"
        table.add_row(verb, *cells)
    return table


def _better(report: Report, pace: str, verb: str, figure: str, ours: str) -> list[float]:
    """How many times less of a figure ours has, in each run."""
    runs = report.get("calls", [])
    return [run[pace]["nautilus"][verb][figure] / run[pace][ours][verb][figure] for run in runs]


def _loads_tables(report: Report, title: str) -> Iterator[Table]:
    table = _table(f"objects loaded a second; {title}", "", "NautilusTrader", "ours", "ratio", "whole")
    weights = _table(f"bytes an event in Redis; {title}", "", "NautilusTrader", "ours")
    for count, found in report["loads"].items():
        for name in loads.LOADS:
            cells = [spread([run[peer][f"{name}_per_s"] for run in found["runs"]], 0) for peer in ("nautilus", "ours")]
            whole = [min(run[peer][f"{name}_whole"] for run in found["runs"]) for peer in ("nautilus", "ours")]
            cells += [f"{report['ratios'][f'{name}.{count}']:.1f}", f"{whole[0]:.0%}, {whole[1]:.0%}"]
            table.add_row(f"{name}, {int(count):,} each", *cells)
        for figure in ("log_bytes", "views_bytes", "used_bytes"):
            cells = [f"{found['memory'][peer][figure]:,.0f}" for peer in ("nautilus", "ours")]
            weights.add_row(f"{figure.removesuffix('_bytes')}, {int(count):,} each", *cells)
    yield table
    yield weights


def main(words: list[str] | None = None) -> None:
    """Run the bench as the arguments say."""
    parser = argparse.ArgumentParser(prog="scripts/bench --peer nautilus", description=__doc__)
    parser.add_argument("--only", choices=FIGURES, nargs="+", default=FIGURES, help="what to measure; default: all")
    parser.add_argument("--repeat", type=int, default=5, help="runs; 3 at most for the largest loads")
    parser.add_argument("--calls", type=int, default=2_000, help="objects whose calls are timed one after the other")
    parser.add_argument("--paced-calls", type=int, default=250, help="the same with pauses in between")
    parser.add_argument("--events", type=int, default=40_000, help="events that are written")
    parser.add_argument("--objects", type=int, nargs="+", default=[5_000, 50_000], help="orders, and positions, loaded")
    parser.add_argument("--kills", type=int, default=3, help="how often server and process are killed")
    parser.add_argument("--loss-calls", type=int, default=5_000, help=f"then, {losses.CALLS_PER_S:,} a second")
    parser.add_argument("--down-s", type=float, default=1.0, help="how long the server is away")
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls, and no load of 50,000")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    if arguments.quick:
        arguments.calls, arguments.paced_calls, arguments.events = 400, 100, 8_000
        arguments.objects, arguments.kills = arguments.objects[:1], 1
    begun = time.monotonic()
    report = measure(arguments)
    report["took_s"] = time.monotonic() - begun
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        console = Console(width=190)
        for table in tables(report):
            console.print(table)


if __name__ == "__main__":
    main()
