"""``eventstore verify``: whether a log is whole and as it was written, and the views what it gives. Only reads."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from eventstore.audit import Log, Noted, Report, VerifyingKey, read_anchors
from eventstore.audit import verify as verify_log
from eventstore.chain import CHAIN_BYTES, Head
from eventstore.cli.audited import ArchiveOption, JsonOption, Place, TraderOption, Watched, audited
from eventstore.cli.output import CommandFailed, console, counted, print_json

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_CHECKPOINT = re.compile(rf"(\d{{1,20}}):([0-9a-fA-F]{{{2 * CHAIN_BYTES}}})", re.ASCII)


def verify(
    place: Place,
    archive: ArchiveOption = None,
    trader: TraderOption = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="POSITION:HEAD", help="A place that is known: follow the chain from there."),
    ] = None,
    anchor: Annotated[
        Path | None,
        typer.Option("--anchor", metavar="FILE", help="Chain heads that `eventstore anchor` noted."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="PEM", help="Every anchor has to be signed with this key."),
    ] = None,
    views: Annotated[bool, typer.Option("--views/--no-views", help="Whether to compare the views.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain, read every entry, and compare the views with what the log gives. Only reads.

    The writer may be at work meanwhile. Exit status 1 if anything is wrong.
    """
    if public_key is not None and anchor is None:
        raise typer.BadParameter("--public-key is for the anchors of --anchor")
    known = None if checkpoint is None else _head(checkpoint)
    key = None if public_key is None else VerifyingKey(public_key)
    with audited(place, trader, archive) as log:
        anchors = _anchors(log, anchor, key)
        report = _watched(log, known, anchors, views)
    if as_json:
        print_json(_described(report, anchors, key is not None))
    else:
        _show(report, key is not None)
    if not report.is_clean:
        total = sum(report.counts.values())
        raise CommandFailed(f"the log of {report.trader_id} does not verify: {counted(total, 'finding')}")


def _anchors(log: Log, path: Path | None, key: VerifyingKey | None) -> list[Noted]:
    if path is None:
        return []
    return read_anchors(path, log.trader_id, *([] if key is None else [key.check]))


def _watched(log: Log, known: Head | None, anchors: list[Noted], views: bool) -> Report:
    with ExitStack() as stack:
        reading = stack.enter_context(Watched("verifying entries", log.end().position))
        comparing: list[Watched] = []

        def on_keys(count: int) -> None:
            if not comparing:
                stack.pop_all().close()  # the one bar before the other begins
                comparing.append(stack.enter_context(Watched("comparing keys")))
            comparing[0].advance(count)

        return verify_log(
            log, checkpoint=known, anchors=anchors, views=views, on_entries=reading.advance, on_keys=on_keys
        )


def _head(text: str) -> Head:
    found = _CHECKPOINT.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r:.90} is no position and chain head, such as 1234:{'ab' * CHAIN_BYTES}")
    return Head(int(found[1]), bytes.fromhex(found[2]))


def _described(report: Report, anchors: list[Noted], signed: bool) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "trader_id": report.trader_id,
        "clean": report.is_clean,
        "begin": report.begin,
        "whole": report.whole,
        "end": {"position": report.end.position, "chain": report.end.chain.hex()},
        "entries": report.entries,
        "batches": report.batches,
        "archive": {"segments": report.segments, "shared": report.shared},
        "anchors": {"count": len(anchors), "signatures_checked": signed},
        "views": {"compared": report.views, "because": report.views_because, "leftovers": report.leftovers},
        "counts": report.counts,
        "findings": [finding._asdict() for finding in report.findings],
    }


def _show(report: Report, signed: bool) -> None:
    table = Table.grid(padding=(0, 2))
    entries, batches = counted(report.entries, "entry", "entries"), counted(report.batches, "batch", "batches")
    begin = "from the beginning" if report.whole and not report.begin else f"behind position {report.begin:,}"
    origin = "; what was before was deleted by a flush" if report.begin else ""
    origin = origin if report.whole else ", and not those before it"
    table.add_row("  log", f"{entries} in {batches}, {begin}{origin}")
    table.add_row("  end", f"position {report.end.position:,}, chain head {report.end.chain.hex()}")
    if report.segments:
        shared = counted(report.shared, "entry", "entries")
        table.add_row("  archive", f"{counted(report.segments, 'segment')}; {shared} that the server has, too")
    if report.anchors:
        table.add_row("  anchors", f"{report.anchors:,}, {'signed' if signed else 'signatures were not checked'}")
    if report.views is None:
        table.add_row("  views", f"not compared: {report.views_because}")
    else:
        table.add_row("  views", f"{counted(report.views, 'key')} compared with what the log gives")
    if report.leftovers:
        table.add_row("", f"{counted(report.leftovers, 'key')} of a rebuild that was interrupted: no views, no harm")
    if report.is_clean:
        table.add_row("  found", "nothing that is wrong")
    out = console()
    out.print(str(report.trader_id), style="bold", markup=False)
    out.print(table, soft_wrap=True)
    for finding in report.findings:
        out.print(f"  {finding.kind}: {finding.message}", markup=False, soft_wrap=True)
    rest = sum(report.counts.values()) - len(report.findings)
    if rest:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(report.counts.items()))
        out.print(f"  and {rest:,} more; all of them: {counts}", soft_wrap=True)
