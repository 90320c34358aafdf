"""``eventstore import-nautilus``: what NautilusTrader's own cache database has, as a log of ours."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from eventstore.cli.audited import JsonOption, Watched
from eventstore.cli.output import CommandFailed, console, counted, iso, naming, print_json
from eventstore.importing.findings import LOST
from eventstore.importing.importer import Outcome, import_keyspace
from eventstore.storage.location import redact
from eventstore.storage.nautilus import Keyspace, NautilusServer, nautilus_server

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_SHOWN_MAX = 20


class Commissions(enum.StrEnum):
    """Whether the quantity of a position is without the commissions that were paid of it."""

    NET = "net"
    GROSS = "gross"


COUNTS = (
    "currencies",
    "instruments",
    "synthetics",
    "accounts",
    "account_events",
    "orders",
    "order_events",
    "positions",
    "position_cycles",
    "position_events",
    "order_snapshots",
    "position_snapshots",
    "general",
    "actors",
    "strategies",
    "heartbeats",
    "positions_of_orders",
    "clients_of_orders",
    "venue_order_ids",
)
"""What is counted, in the order in which it is shown."""


def import_nautilus(
    source: Annotated[str, typer.Argument(metavar="SOURCE_URL", help="The server that NautilusTrader wrote to.")],
    to: Annotated[str, typer.Option("--to", metavar="URL|DIR", help="A server, or the directory of an embedded one.")],
    trader: Annotated[
        str | None, typer.Option("--trader", metavar="ID", help="Whose keys, or how they begin, if there are several.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="UUID", help="Of which instance, with use_instance_id.")
    ] = None,
    positions: Annotated[
        Commissions | None,
        typer.Option(
            help="Whether a commission in a pair's base currency comes off its position; if the keys mislead."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read, and say what there is.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring what NautilusTrader's Redis cache database has into a new log, and compare object by object.

    The source is only read. The node should not run meanwhile.
    """
    is_net = None if positions is None else positions is Commissions.NET
    if "://" not in source:
        raise typer.BadParameter(f"{source!r:.80} is no URL, such as redis://localhost:6379", param_hint="SOURCE_URL")
    with naming(source), nautilus_server(source) as server:
        keyspace = _choose(server, trader, instance)
        with naming(to):
            outcome = import_keyspace(server, keyspace, to, dry_run, Watched, is_net)
    if as_json:
        print_json(_described(outcome, server.url, to, dry_run))
    else:
        _show(outcome, server.url, to, dry_run)
    if not outcome.is_whole:
        raise typer.Exit(1)


def _choose(server: NautilusServer, trader: str | None, instance: str | None) -> Keyspace:
    with Watched("looking for traders") as watched:
        there = server.keyspaces(watched.advance)
    found = [
        keyspace
        for keyspace in there
        if trader in (None, keyspace.trader_id, keyspace.prefix, keyspace.log_id)
        and instance in (None, keyspace.instance)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(keyspace.prefix for keyspace in found or there)
    wanted = " ".join(each for each in (trader, instance) if each is not None)
    if found:
        raise CommandFailed(
            f"{server.url} has {len(found)} keyspaces of NautilusTrader ({names}); name one with --trader, its trader "
            "or how its keys begin, and --instance"
        )
    raise CommandFailed(
        f"{server.url} has no keys of NautilusTrader's cache{f' of {wanted}' if wanted else ''}"
        f"{f', but of {names}' if there else ''}"
    )


def _described(outcome: Outcome, source: str, to: str, dry_run: bool) -> dict[str, Any]:
    first, last = outcome.span_ns or (None, None)
    comparison = outcome.comparison
    return {
        "format": FORMAT,
        "trader_id": outcome.log_id,
        "source": source,
        "keyspace": outcome.keyspace.prefix,
        "instance": outcome.keyspace.instance,
        "to": redact(to),
        "dry_run": dry_run,
        "whole": outcome.is_whole,
        "keys": outcome.keys,
        "values": outcome.values,
        "positions": Commissions.NET if outcome.is_net else Commissions.GROSS,
        "imported": {name: outcome.counts[name] for name in COUNTS},
        "first": None if first is None else iso(first),
        "first_ns": first,
        "last": None if last is None else iso(last),
        "last_ns": last,
        "commands": outcome.entries,
        "epoch": outcome.epoch,
        "position": outcome.position,
        "compared": None if comparison is None else comparison.compared,
        "difference_count": None if comparison is None else comparison.count,
        "differences": [] if comparison is None else [each._asdict() for each in comparison.listed],
        "counts": dict(outcome.findings.counts),
        "findings": [finding._asdict() for finding in outcome.findings.listed],
    }


def _show(outcome: Outcome, source: str, to: str, dry_run: bool) -> None:
    out = console()
    out.print(outcome.log_id, style="bold", markup=False)
    counts = outcome.counts
    said = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in COUNTS if counts[name])
    verb = "would be imported" if dry_run else "imported"
    out.print(f"  {source} {outcome.keyspace.prefix}: {counted(outcome.keys, 'key')}", markup=False, soft_wrap=True)
    out.print(f"  {verb}: {said or 'nothing'}", markup=False, soft_wrap=True)
    if outcome.span_ns is not None:
        out.print(f"  from {iso(outcome.span_ns[0])} to {iso(outcome.span_ns[1])}")
    if outcome.position is not None:
        out.print(f"  {redact(to)}: the log ends at {outcome.position:,}", markup=False, soft_wrap=True)
    for finding in outcome.findings.listed[:_SHOWN_MAX]:
        place = "" if finding.place is None else f" [{finding.place}]"
        style = "red" if finding.kind in LOST else None
        text = f"  {finding.kind}: {finding.key}{place}: {finding.reason}"
        out.print(text, style=style, markup=False, soft_wrap=True)
    more = outcome.findings.counts.total() - min(len(outcome.findings.listed), _SHOWN_MAX)
    if more > 0:
        out.print(f"  … and {more:,} more; --json lists them")
    if outcome.comparison is None:
        return
    for each in outcome.comparison.listed[:_SHOWN_MAX]:
        values = f"expected {each.expected!r:.200}, the store has {each.found!r:.200}"
        text = f"  {each.family} {each.id} {each.field}: {values}"
        out.print(text, style="red", markup=False, soft_wrap=True)
    if outcome.comparison.count:
        out.print(f"[bold red]✘ {outcome.comparison.count:,} differences[/]")
    else:
        out.print(f"[green]✔[/] compared with the source: {outcome.comparison.compared:,} equal")
