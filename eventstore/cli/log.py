"""``eventstore log``: the entries of a log, filtered. Only reads."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eventstore.audit import last, read
from eventstore.cli.audited import (
    ArchiveOption,
    JsonOption,
    Place,
    TraderOption,
    Watched,
    audited,
    refuse_beyond,
    tell_of_archive,
)
from eventstore.cli.entries import (
    FullOption,
    IdOption,
    InstrumentOption,
    KindOption,
    SinceOption,
    StrategyOption,
    UntilOption,
    filter_of,
    show,
    until_the_reader_has_enough,
)


def log(
    place: Place,
    kind: KindOption = None,
    an_id: IdOption = None,
    strategy: StrategyOption = None,
    instrument: InstrumentOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    last_n: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last N that fit.")] = None,
    full: FullOption = False,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the entries of a log, a line each, the oldest first. Only reads."""
    wanted = filter_of(kind, an_id, strategy, instrument, since, until)
    with until_the_reader_has_enough(), audited(place, trader, archive) as opened:
        refuse_beyond(opened, wanted.since)
        if last_n is None:
            tell_of_archive(opened, wanted)
        total = None if last_n is not None else max(opened.end().position - opened.start().position, 0)
        with Watched("reading", total) as watched:
            on_entry = None if sys.stdout.isatty() else lambda _: watched.advance()
            if last_n is not None:
                entries = iter(last(opened, last_n, wanted, on_entry=on_entry))
            else:
                entries = read(opened, wanted, on_entry=on_entry)
            for facts in entries:
                show(facts, as_json, full)
