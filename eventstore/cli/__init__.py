"""The command line: one module per verb."""

from __future__ import annotations

import importlib.metadata
import io
import logging
import sys
from typing import Annotated, NoReturn

import structlog
import typer

from eventstore.cli import (
    acl,
    anchor,
    archive,
    compare,
    demo,
    diff,
    doctor,
    explain,
    export,
    import_nautilus,
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
from eventstore.cli.output import discard_output
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
app.command(short_help="Write recorded sessions, load them in a new process, compare.")(demo.demo)
app.command(short_help="Write a recorded session through the API, as fast as it goes.")(ingest.ingest)
app.command("import-nautilus", short_help="Bring what NautilusTrader's own cache database has into a new log.")(
    import_nautilus.import_nautilus
)
app.command(short_help="Show how far the logs are, who writes them, and what the views hold.")(status.status)
app.command(short_help="Say whether servers are set up for what is promised, and how to mend it.")(doctor.doctor)
app.command(short_help="Print the least ACL rule that a user of the server needs.")(acl.acl)
app.command(short_help="Print the entries of a log, a line each, the oldest first.")(log.log)
app.command(short_help="Print the last entries of a log, then each that comes.")(tail.tail)
app.command(short_help="Tell the life of what has an id.")(explain.explain)
app.command()(export.export)
app.command(short_help="Say whether log, archive and views are what was written.")(verify.verify)
app.command(short_help="Print with which position and chain head the log ends now.")(anchor.anchor)
app.command(short_help="Show what the trader had at any moment.")(replay.replay)
app.command(short_help="Say what differs between two moments, or two places.")(diff.diff)
app.command(short_help="Make the views of a server what its log says, in one step.")(rebuild.rebuild)
app.command(short_help="Move the beginning of a log into files, verified.")(archive.archive)
app.command()(purge.purge)
app.add_typer(journal.app, short_help="Look into a journal's directory, or save what is whole in it.")
app.command(hidden=True)(compare.compare)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"eventstore {importlib.metadata.version('eventstore')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the verb that the arguments name. An error of ours is one line on stderr and status 1; wrong usage is 2."""
    _log_to_stderr()
    # What an id or a reason holds, and a terminal's encoding does not, is shown as an escape.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except (EventStoreError, ModelError) as error:
        _fail(str(error))
    except BrokenPipeError:
        discard_output()
        sys.exit(1)
    except OSError as error:
        discard_output()
        # An error of a file that a verb opened names it.
        _fail(f"standard output: {error.strerror}" if error.filename is None else str(error))


def _fail(reason: str) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(reason.split())}\n")
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
