"""The command line: one module per verb."""

from __future__ import annotations

import io
import logging
import sys

import structlog
import typer

from eventstore.cli import (
    anchor,
    archive,
    compare,
    demo,
    diff,
    explain,
    export,
    ingest,
    journal,
    log,
    purge,
    rebuild,
    replay,
    status,
    tail,
    verify,
)
from eventstore.errors import EventStoreError
from eventstore.model.errors import ModelError

app = typer.Typer(
    name="eventstore",
    help="An event-sourced database behind a trading node's cache: a log in Redis, and the views that loads read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command()(ingest.ingest)
app.command()(status.status)
app.command()(log.log)
app.command()(tail.tail)
app.command()(explain.explain)
app.command()(export.export)
app.command()(verify.verify)
app.command()(anchor.anchor)
app.command()(replay.replay)
app.command()(diff.diff)
app.command()(rebuild.rebuild)
app.command()(archive.archive)
app.command()(purge.purge)
app.add_typer(journal.app)
app.command(hidden=True)(compare.compare)


def main() -> None:
    """Run the verb that the arguments name. An error of ours is one line on stderr and status 1; wrong usage is 2."""
    _log_to_stderr()
    # What an id or a reason holds, and a terminal's encoding does not, is shown as an escape.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (EventStoreError, ModelError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(1)


def _log_to_stderr() -> None:
    # Standard output is for what was asked: people read it, and programs read --json.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
