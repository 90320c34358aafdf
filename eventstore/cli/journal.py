"""``eventstore journal``: what is in a journal, and how to save it when it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from eventstore import commands
from eventstore.audit import FactReader
from eventstore.chain import LogEntry
from eventstore.cli.audited import JsonOption
from eventstore.cli.entries import FullOption, until_the_reader_has_enough
from eventstore.cli.entries import show as show_entry
from eventstore.cli.output import bytes_text, console, counted, iso, print_json
from eventstore.journal import JournalReport, Salvaged, SegmentReport, read_header, read_records
from eventstore.journal import inspect as inspect_journal
from eventstore.journal import salvage as salvage_journal
from eventstore.model.identifiers import TraderId

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

app = typer.Typer(
    name="journal",
    help="Look into a journal's directory, or save what is whole in a damaged one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The journal's directory.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; see docs/cli.md.")]


@app.command()
def inspect(directory: _Directory, as_json: _Json = False) -> None:
    """Show what is in a journal. Only reads; it may be in use meanwhile. Status 1 if it is damaged."""
    report = inspect_journal(directory)
    if as_json:
        print_json(_report_json(report))
    else:
        _show(report)
    if report.damaged:
        raise typer.Exit(1)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of a journal, or one that was set aside.")],
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the commands in a file, a line each, as `eventstore log` does. Only reads."""
    reader = FactReader(TraderId(read_header(file).trader))
    with until_the_reader_has_enough():
        for record in read_records(file):
            accepted_ms = record.accepted_ns // 1_000_000
            entry = LogEntry(f"{accepted_ms}-{record.position}", record.position, accepted_ms, record.payload, None)
            show_entry(reader.read(entry), as_json, full)


@app.command()
def salvage(
    directory: _Directory,
    trader: Annotated[str | None, typer.Option(metavar="ID", help="Whose it is, if no file tells.")] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="ID", help="The instance that wrote last, if no file tells.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Copy what is whole into new files, put a note into each gap, and move the damaged files aside.

    Nothing is changed unless the journal is damaged. No process may use it meanwhile.
    """
    salvaged = salvage_journal(directory, _placeholder, trader_id=trader, owner=owner)
    if as_json:
        print_json(_salvaged_json(salvaged))
    else:
        _show_salvaged(salvaged)


def _placeholder(position: int, reason: str) -> bytes:
    return commands.encode(commands.Quarantined("journal", f"position {position}", reason))


def _report_json(report: JournalReport) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "directory": str(report.directory),
        "trader_id": report.trader_id,
        "damaged": report.damaged,
        "owners": len(report.owners),
        "first": report.first,
        "last": report.last,
        "records": report.records,
        "bytes": report.bytes,
        "segments": [_segment_json(segment) for segment in report.segments],
    }


def _segment_json(segment: SegmentReport) -> dict[str, Any]:
    return {
        "file": segment.path.name,
        "number": segment.number,
        "owner": segment.owner,
        "created": None if segment.created_ns is None else iso(segment.created_ns),
        "created_ns": segment.created_ns,
        "first": segment.first,
        "last": segment.last,
        "records": segment.records,
        "bytes": segment.bytes,
        "state": segment.state,
        "offset": segment.offset,
        "reason": segment.reason,
    }


def _show(report: JournalReport) -> None:
    out = console()
    out.print(report.trader_id or "a journal that does not tell whose it is", style="bold", markup=False)
    positions = "" if report.first is None else f", positions {report.first:,} to {report.last:,}"
    out.print(
        f"  {counted(report.records, 'record')}{positions}; {counted(len(report.segments), 'file')}, "
        f"{bytes_text(report.bytes)}",
        markup=False,
    )
    table = Table(box=None, padding=(0, 2))
    for name in ("file", "owner", "created", "positions", "records", "bytes", "state"):
        table.add_column(name, justify="right" if name in ("records", "bytes") else "left", overflow="fold")
    for segment in report.segments:
        style = {"ok": "", "torn": "yellow", "damaged": "bold red"}[segment.state]
        state = segment.state if segment.offset is None else f"{segment.state} at offset {segment.offset}"
        table.add_row(
            segment.path.name,
            segment.owner or "?",
            "?" if segment.created_ns is None else iso(segment.created_ns),
            "none" if segment.first is None else f"{segment.first:,} to {segment.last:,}",
            f"{segment.records:,}",
            bytes_text(segment.bytes),
            state,
            style=style,
        )
    out.print(table)
    for segment in report.segments:
        if segment.reason is not None:
            out.print(f"  {segment.path.name}: offset {segment.offset}: {segment.reason}", markup=False, soft_wrap=True)
    if report.damaged:
        advice = f"eventstore journal salvage {report.directory}"
        if report.trader_id is None:  # no header is left
            advice += " --trader ID --owner ID; eventstore status URL --json has the owner, as writer.instance"
        out.print(f"Save what is whole: {advice}", markup=False, soft_wrap=True)


def _salvaged_json(salvaged: Salvaged) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "directory": str(salvaged.directory),
        "damaged": bool(salvaged.moved or salvaged.lost),
        "records": salvaged.records,
        "lost": [
            {
                "file": lost.path.name,
                "offset": lost.offset,
                "first": lost.first,
                "last": lost.last,
                "reason": lost.reason,
            }
            for lost in salvaged.lost
        ],
        "moved": [{"file": str(path)} for path in salvaged.moved],
    }


def _show_salvaged(salvaged: Salvaged) -> None:
    out = console()
    if not salvaged.moved and not salvaged.lost:
        out.print(f"{salvaged.directory} is not damaged; nothing was changed", markup=False, soft_wrap=True)
        return
    out.print(f"saved {counted(salvaged.records, 'record')} of {salvaged.directory}", markup=False, soft_wrap=True)
    for lost in salvaged.lost:
        if lost.first is None or lost.last is None:
            what = "lost, if there was anything"
        elif lost.first == lost.last:
            what = f"lost position {lost.first:,}"
        else:
            what = f"lost positions {lost.first:,} to {lost.last:,}"
        place = f"{lost.path.name}, offset {lost.offset}: {lost.reason}"
        out.print(f"  {what}: {place}", style="red", markup=False, soft_wrap=True)
    for path in salvaged.moved:
        out.print(f"  the damaged file is now {path}", markup=False, soft_wrap=True)
