"""How verbs show things: consoles, units, JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Console

from eventstore.errors import ConfigError, EventStoreError, StorageError
from eventstore.storage.location import Location, redact

_PIPED_WIDTH = 160  # columns where nobody looks at a terminal: lines that programs search stay whole
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CommandFailed(EventStoreError):
    """A verb could not do what it was asked; the message is the one line that the user gets."""


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Let errors of the server inside say which server it was.

    Raises
    ------
    typer.BadParameter
        If `place` is a URL that can not be used.
    """
    if "://" in place:
        try:
            Location.parse(place)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error
    try:
        yield
    except StorageError as error:
        said = str(error)
        # An opening names the URL itself; the name of a directory may be in any text.
        named = "://" in place and redact(place) in said
        raise CommandFailed(said if named else f"{redact(place)}: {said}") from error


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output, or on standard error."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _PIPED_WIDTH)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on standard error, if it is a terminal, that something is done of which nobody knows how far it is."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield
        return
    with out.status(what):
        yield


def print_json(values: Mapping[str, Any]) -> None:
    """Print `values` as the one JSON document on standard output."""
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def discard_output() -> None:
    """Let go of what standard output did not take: it would raise once more when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def iso(ns: int) -> str:
    """Return UNIX nanoseconds as ISO 8601 in UTC, to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=ns // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def bytes_text(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things for people."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def micros_text(ns: float) -> str:
    """Return nanoseconds as microseconds, for people."""
    return f"{ns / 1000:,.1f} µs"


def age_text(seconds: float) -> str:
    """Return how long ago something was, for people."""
    if seconds < 0:
        return "in the future"
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return f"{seconds:,.1f} seconds ago"
