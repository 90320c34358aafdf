"""``eventstore compare``: what loads bring back against the expected final state of a recorded session."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from eventstore.cli.comparison import Check, LoadedState, compare_state, load_state
from eventstore.cli.output import CommandFailed, console, naming, print_json
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.model.identifiers import TraderId
from eventstore.recording import read_final
from eventstore.storage.observer import observe

_SHOWN_MAX = 20


def compare(
    final: Annotated[Path, typer.Argument(metavar="NAME.final.json.gz", help="The expected state.")],
    at: Annotated[str, typer.Option(metavar="URL|DIR", help="Where the session was written.")],
    trader: Annotated[str | None, typer.Option(metavar="ID", help="If there is more than one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Load everything as a node that starts does, and compare it with the expected state. Status 1 if it differs."""
    expected = read_final(final)
    start = time.perf_counter()
    with naming(at), observe(at) as observer:
        trader_id = TraderId(trader) if trader is not None else _only(observer.traders(), at)
        with RedisCacheDatabase(trader_id, config=CacheDatabaseConfig.at(at)) as database:
            open_s = time.perf_counter() - start
            state = load_state(database)
    checks = compare_state(state, expected)
    if as_json:
        print_json(_to_json(state, checks, open_s, observer.launched))
    else:
        for check in checks:
            show_check(check)
    if any(check.differences for check in checks):
        raise typer.Exit(1)


def _only(traders: list[TraderId], at: str) -> TraderId:
    if len(traders) != 1:
        raise CommandFailed(f"{at} has logs of {len(traders)} traders ({', '.join(traders)}); name one with --trader")
    return traders[0]


def _to_json(state: LoadedState, checks: list[Check], open_s: float, launched: bool) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "server_launched": launched,
        "open_s": round(open_s, 6),
        "load_s": round(state.seconds, 6),
        "orders": len(state.orders),
        "positions": len(state.positions),
        "accounts": len(state.accounts),
        "checks": [
            {"name": check.name, "compared": check.compared, "differences": check.differences} for check in checks
        ],
    }


def show_check(check: Check) -> None:
    """Print a tick, or what differs."""
    out = console()
    if not check.differences:
        out.print(f"[green]✔[/] {check.title}: {check.compared:,} equal")
        return
    out.print(f"[bold red]✘ {check.title}: {len(check.differences):,} differences[/]")
    for difference in check.differences[:_SHOWN_MAX]:
        out.print(f"    {difference}", style="red", markup=False, soft_wrap=True)
    if len(check.differences) > _SHOWN_MAX:
        out.print(f"    … and {len(check.differences) - _SHOWN_MAX:,} more", style="red")
