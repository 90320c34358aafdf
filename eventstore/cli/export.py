"""``eventstore export``: a log as tables, in files for a spreadsheet, pandas or DuckDB. Only reads the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstore.audit import TABLES
from eventstore.audit import export as exported
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
    IdOption,
    InstrumentOption,
    KindOption,
    SinceOption,
    StrategyOption,
    UntilOption,
    filter_of,
)
from eventstore.cli.output import CommandFailed, console, counted, print_json
from eventstore.errors import EventStoreError

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""


def export(
    place: Place,
    to: Annotated[Path, typer.Option("--to", metavar="DIR|FILE", help="Where to; a file only for a single table.")],
    file_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="parquet, jsonl or csv.")],
    table: Annotated[str, typer.Option("--table", metavar="T[,T...]|all", help=f"Of: {', '.join(TABLES)}.")] = "all",
    kind: KindOption = None,
    an_id: IdOption = None,
    strategy: StrategyOption = None,
    instrument: InstrumentOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    wide_decimals: Annotated[
        bool, typer.Option("--wide-decimals", help="Parquet: decimals of 76 digits; DuckDB reads them as doubles.")
    ] = False,
    escape_formulas: Annotated[
        bool, typer.Option("--escape-formulas", help="CSV: an apostrophe before text that a spreadsheet would execute.")
    ] = False,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write tables of a log as Parquet, JSON lines or CSV. Only reads the log."""
    wanted = filter_of(kind, an_id, strategy, instrument, since, until)
    tables = list(TABLES) if table == "all" else [name.strip() for name in table.split(",")]
    with audited(place, trader, archive) as log:
        refuse_beyond(log, wanted.since)
        first, end = log.start().position + 1, log.end().position
        with Watched("exporting", max(end - first + 1, 0)) as watched:
            try:
                files = exported(
                    log,
                    tables,
                    file_format,
                    to,
                    wanted,
                    wide_decimals=wide_decimals,
                    escape_formulas=escape_formulas,
                    on_entry=lambda _: watched.advance(),
                )
            except EventStoreError:
                raise
            except ValueError as error:
                raise typer.BadParameter(str(error)) from error
            except OSError as error:
                raise CommandFailed(f"{to}: {error}") from error
        tell_of_archive(log, wanted)
        trader_id = str(log.trader_id)
    if as_json:
        described = [{"table": file.table, "file": str(file.path), "rows": file.rows} for file in files]
        print_json(
            {"format": FORMAT, "trader_id": trader_id, "first": first, "last": end, "file_format": file_format}
            | {"files": described}
        )
        return
    for file in files:
        console().print(f"{file.path}: {counted(file.rows, 'row')}", markup=False, soft_wrap=True)
