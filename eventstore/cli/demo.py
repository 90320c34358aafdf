"""``eventstore demo``: the main job, in front of your eyes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table

from eventstore.cli.compare import show_check
from eventstore.cli.comparison import Check
from eventstore.cli.output import CommandFailed, bytes_text, console, counted, micros_text

SESSIONS = {
    "emacross": "USD/JPY, netting: market orders open, flip and close one position again and again",
    "trailing": "USD/JPY, hedging: emulated trailing stops, updated, released, transformed to market orders",
    "bracket": "GBP/USD, hedging: order lists with contingent orders; accepted, rejected, canceled, expired",
}
"""The recorded sessions that ship with the package."""

_INTRODUCTION = """\
The cache of a trading node calls its database on every order, fill and balance. Here such calls, recorded in a \
backtest over real market data, run through the API at full speed, into a Redis server of their own. Then the process \
ends, and the server with it. A new process starts, loads everything, and compares it with the state of that cache."""


def demo(
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Only one of {', '.join(SESSIONS)}; otherwise all.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put the data there and keep them; otherwise a temporary one.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary directory.")] = False,
) -> None:
    """Write recorded trading sessions, end the process, load the state back in a new one, and compare it."""
    if session is not None and session not in SESSIONS:
        raise typer.BadParameter(
            f"there is no session {session!r}; there are {', '.join(SESSIONS)}", param_hint="--session"
        )
    out = console()
    start = time.perf_counter()
    with _home(directory, keep) as home:
        out.print(Panel(_INTRODUCTION, title="eventstore demo", width=min(out.width, 100)))
        shown = [_show_session(name, home / name) for name in ([session] if session else SESSIONS)]
        out.print()
        out.print(_summary({name: written for name, written, _ in shown}, {name: back for name, _, back in shown}))
        if directory is not None or keep:
            out.print(f"The data are in {home}: eventstore status {home / shown[-1][0]}", markup=False, soft_wrap=True)
    seconds = time.perf_counter() - start
    if any(check["differences"] for _, _, back in shown for check in back["checks"]):
        out.print(f"[bold red]✘ What came back differs from what was expected.[/] {seconds:.1f} s")
        raise typer.Exit(1)
    out.print(f"[bold green]✔ Everything came back as it was.[/] {seconds:.1f} s in all")


@contextmanager
def _home(directory: Path | None, keep: bool) -> Iterator[Path]:
    if directory is not None:
        used = [name for name in SESSIONS if (directory / name).exists()]
        if used:
            raise CommandFailed(f"{directory / used[0]} exists; name a new directory")
        yield directory
        return
    home = Path(tempfile.mkdtemp(prefix="eventstore-demo-"))
    try:
        yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _show_session(name: str, home: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    out = console()
    out.print()
    out.print(f"[bold]{name}[/]  {SESSIONS[name]}")
    recorded = resources.files("eventstore") / "sessions"
    with resources.as_file(recorded / f"{name}.jsonl.gz") as calls:
        written = _run("ingest", str(calls), "--to", str(home))
    _step(
        "write",
        f"process {written['pid']} made {written['calls']:,} calls, {written['calls_per_s']:,.0f} a second; "
        f"{counted(written['log']['entries'], 'entry', 'entries')} in the log",
    )
    with resources.as_file(recorded / f"{name}.final.json.gz") as final:
        back = _run("compare", str(final), "--at", str(home))
    ended = "it ended, and its server; " if back["server_launched"] else "it ended; "
    _step(
        "restart", f"{ended}process {back['pid']} started{' one' if back['server_launched'] else ''} on the same data"
    )
    _step(
        "load",
        f"{counted(back['orders'], 'order')}, {counted(back['positions'], 'position')} and "
        f"{counted(back['accounts'], 'account')} in {back['load_s'] * 1000:,.0f} ms",
    )
    checks = [Check(**check) for check in back["checks"]]
    if any(check.differences for check in checks):
        for check in checks:
            show_check(check)
    else:
        # No line breaks inside a check.
        equal = [f"✔ {check.title} {check.compared:,}".replace(" ", "\N{NO-BREAK SPACE}") for check in checks]
        _step("equal", f"[green]{'  '.join(equal)}[/]")
    return name, written, back


def _step(label: str, text: str) -> None:
    row = Table.grid(padding=(0, 2))
    row.add_column(width=9)
    row.add_row(f"  [cyan]{label}[/]", text)
    console().print(row)


def _run(*arguments: str) -> dict[str, Any]:
    """Run a verb in a process of its own, which shows its progress and its errors itself; what it says as JSON."""
    # -P: what lies in the current directory is no module of ours.
    command = [sys.executable, "-P", "-m", "eventstore", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise CommandFailed(f"the process that was to {arguments[0]} ended with status {done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _summary(written: dict[str, dict[str, Any]], back: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="What it took", title_justify="left")
    table.add_column("")
    for name in written:
        table.add_column(name, justify="right")

    def row(label: str, *values: str) -> None:
        table.add_row(label, *values)

    w, b = written.values(), back.values()
    row("calls", *(f"{each['calls']:,}" for each in w))
    row("the trading thread paid per call, p50", *(micros_text(each["call_ns"]["p50"]) for each in w))
    row("the same, p99", *(micros_text(each["call_ns"]["p99"]) for each in w))
    row("written, with the node's own work, per second", *(f"{each['calls_per_s']:,.0f}" for each in w))
    row("log entries", *(f"{each['log']['entries']:,}" for each in w))
    row("memory in Redis per entry, log and views", *(bytes_text(each["bytes_per_entry"]) for each in w))
    row("start of the server and of the new writer", *(f"{each['open_s'] * 1000:,.0f} ms" for each in b))
    row("load of everything", *(f"{each['load_s'] * 1000:,.0f} ms" for each in b))
    return table
