"""Entries of a log on the command line: which ones are asked for, and how one is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from eventstore.audit import Facts, Filter, gist, iso_ms, iso_ns, plain, plain_command
from eventstore.cli.audited import span
from eventstore.cli.output import discard_output
from eventstore.codec import MsgPackSerializer

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

KindOption = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="A command, an event or a family; may be given more than once."),
]
IdOption = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="An order, trade, position, account, ...; may be given more than once."),
]
StrategyOption = Annotated[
    list[str] | None, typer.Option("--strategy", metavar="ID", help="May be given more than once.")
]
InstrumentOption = Annotated[
    list[str] | None, typer.Option("--instrument", metavar="ID", help="May be given more than once.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="MOMENT", help="The first position, or a time in ISO 8601 (UTC).")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="MOMENT", help="The last position, or a time in ISO 8601 (UTC).")
]
FullOption = Annotated[
    bool, typer.Option("--full", help="All ids, the time of the event to the nanosecond, the entry.")
]

_SERIALIZER = MsgPackSerializer()


def filter_of(
    kinds: list[str] | None,
    ids: list[str] | None,
    strategies: list[str] | None,
    instruments: list[str] | None,
    since: str | None,
    until: str | None,
) -> Filter:
    """Return the filter that the options of a verb say. Raises `typer.BadParameter`."""
    try:
        return Filter(kinds or (), ids or (), strategies or (), instruments or (), *span(since, until))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def until_the_reader_has_enough() -> Iterator[None]:
    """End in order where standard output is a pipe whose reader has gone, as that of ``| head`` has."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def line(facts: Facts, full: bool) -> str:
    """Return an entry for people: one line, or with `full` what it names in further ones."""
    said = f"{facts.position:>9}  {iso_ms(facts.accepted_ms)}  {facts.kind}"
    if facts.key is not None:
        said += f" {facts.key}"
    about = gist(facts)
    said = one_line(f"{said}  {about}" if about else said)
    if not full:
        return said
    more = [f"entry {facts.entry.entry_id}"]
    if facts.ts_event is not None:
        more.append(f"ts_event {iso_ns(facts.ts_event)}")
    more += [f"{name} {' '.join(values)}" for name, values in facts.ids().items() if values]
    if facts.entry.chain is not None:
        more.append(f"chain {facts.entry.chain.hex()}")
    return "\n".join([said, *(one_line(f"{'':>11}{text}") for text in more)])


def one_line(text: str) -> str:
    """Return text as one line of what can be printed.

    Reasons, tags and keys are anybody's: none of it may look like another entry, or move the terminal's cursor.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def to_json(facts: Facts) -> dict[str, Any]:
    """Return the documented form of an entry."""
    entry, command = facts.entry, facts.command
    return {
        "format": FORMAT,
        "position": entry.position,
        "entry_id": entry.entry_id,
        "accepted": iso_ms(entry.accepted_ms),
        "accepted_ns": entry.accepted_ms * 1_000_000,
        "kind": facts.kind,
        "family": facts.family,
        "key": facts.key,
        "ts_event": None if facts.ts_event is None else iso_ns(facts.ts_event),
        "ts_event_ns": facts.ts_event,
        "ids": plain(facts.ids()),
        "gist": gist(facts),
        "command": None if command is None else plain_command(command, _SERIALIZER, facts.trader_id),
        "chain": None if entry.chain is None else entry.chain.hex(),
        "error": facts.error,
    }


def write_line(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")


def show(facts: Facts, as_json: bool, full: bool) -> None:
    """Write an entry to standard output."""
    write_line(json.dumps(to_json(facts), ensure_ascii=False) if as_json else line(facts, full))
