"""What the verbs that read a log have in common: where it is, which part of it, and how far the reading is."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from eventstore.audit import Filter, Log, Moment, State, open_log, state_at
from eventstore.audit.archive import is_archive
from eventstore.cli.output import CommandFailed, console, counted, naming
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import TraderId
from eventstore.storage.observer import Observer, observe

Place = Annotated[
    str, typer.Argument(metavar="URL|DIR", help="A server, an embedded server's directory, or an archive's.")
]
ServerPlace = Annotated[str, typer.Argument(metavar="URL|DIR", help="A server, or the directory of an embedded one.")]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", metavar="DIR", help="The archive, for what is not at the server any more.")
]
TraderOption = Annotated[str | None, typer.Option("--trader", metavar="ID", help="If there is more than one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; see docs/cli.md.")]

_SHOWN_AFTER_S = 1.0
_REFRESH_S = 0.1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?:(:\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


@contextmanager
def audited(place: str, trader: str | None, archive: Path | None) -> Iterator[Log]:
    """Open the log that the options of a verb name. Raises as `open_log`; errors of a server say which it was.

    If it is read from a replica, standard error says how far that was behind.
    """
    with naming(place), open_log(place, None if trader is None else named_trader(trader), archive) as log:
        if log.behind is not None:
            entries = counted(log.behind.entries, "entry", "entries")
            sys.stderr.write(f"note: read from {log.behind.replica}, which was {entries} behind the primary\n")
        yield log


def named_trader(text: str) -> TraderId:
    """Return the trader that ``--trader`` names. Raises `typer.BadParameter`."""
    try:
        return TraderId(text)
    except ModelError as error:
        raise typer.BadParameter(str(error), param_hint="--trader") from error


@contextmanager
def observed(place: str) -> Iterator[Observer]:
    """Look at the server of a verb that reads no archive. Raises as `observe`; errors say which server it was."""
    if "://" not in place and is_archive(place):
        raise CommandFailed(f"{place} is an archive; name the server, by its URL or an embedded one's directory")
    with naming(place), observe(place) as observer:
        yield observer


def tell_of_archive(log: Log, wanted: Filter | None = None) -> None:
    """Say on standard error if `wanted` asks for entries that are not shown because the archive was not named."""
    position = log.archived_elsewhere()
    first = next(log.raw(), None) if position else None
    if first is None:
        return
    if wanted is not None and not wanted.needs_memory:
        since, _ = wanted.since
        if not wanted.begins_by(first) or (since is not None and since > position):
            return  # nor are those before it asked for
    sys.stderr.write(f"note: what is up to position {position} was archived; with --archive DIR it is read, too\n")


def moment(text: str) -> Moment:
    """Read a position, such as ``1234``, or a time in ISO 8601, UTC if it does not say. Raises `typer.BadParameter`."""
    if text.isascii() and text.isdigit():
        return Moment(int(text), None)
    return Moment(None, time_ns(text))


def span(since: str | None, until: str | None) -> tuple[Moment | None, Moment | None]:
    """Read the first and the last moment that are asked for. Raises `typer.BadParameter`, also if they are swapped."""
    first, last = (None if text is None else moment(text) for text in (since, until))
    if first is not None and last is not None:
        for begin, end in zip(first, last, strict=True):
            if begin is not None and end is not None and begin > end:
                raise typer.BadParameter(f"{since} is behind --until {until}", param_hint="--since")
    return first, last


def refuse_beyond(log: Log, since: Moment | None) -> None:
    """Raise `CommandFailed` if `log` has not come to the position `since`; the one that comes next is right."""
    position = None if since is None else since.position
    if position is not None and position > log.end().position + 1:
        raise _not_reached(log, position)


def _not_reached(log: Log, position: int) -> CommandFailed:
    return CommandFailed(
        f"position {position} is not in the log of {log.trader_id}, which ends at {log.end().position}"
    )


def time_ns(text: str) -> int:
    """Read a time in ISO 8601, to the nanosecond, UTC if it does not say; of a date, its beginning.

    Raises
    ------
    typer.BadParameter
        If it is none.
    """
    found = _ISO.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r:.60} is neither a position nor a time such as 2026-01-31T14:03:00Z")
    day, minute, second, fraction, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}{zone or 'Z'}")
    except ValueError as error:
        raise typer.BadParameter(f"{text!r:.60}: {error}") from error
    since = at.astimezone(UTC) - _EPOCH
    ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    if ns < 0:
        raise typer.BadParameter(f"{text!r:.60} is before 1970")
    return ns


def state_at_moment(log: Log, text: str | None) -> State:
    """Return what the trader had at the moment that somebody wrote, by default at the end of `log`.

    Raises
    ------
    typer.BadParameter
        If it is no moment.
    CommandFailed
        If the log does not reach it.
    """
    position, at_ns = (None, None) if text is None else moment(text)
    end = log.end().position
    if position is not None and position > end:
        raise _not_reached(log, position)
    with Watched("folding the log", end if position is None else position) as watched:
        return state_at(log, position, at_ns, on_entry=lambda _: watched.advance())


class Watched:
    """Shows on standard error how far something is that takes more than a second.

    Parameters
    ----------
    what : str
        What is done, such as ``verifying``.
    total : int, optional
        How many entries there will be, if that is known.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._begun = time.monotonic()
        self._next = self._begun + _SHOWN_AFTER_S
        self._shown: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.stop()

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if self._done & 1023 < count and time.monotonic() >= self._next:
            self._show()

    def _show(self) -> None:
        self._next = time.monotonic() + _REFRESH_S
        if self._shown is None:
            shown_on = console(stderr=True)
            if not shown_on.is_terminal:  # nobody is looking; a log of the host's is not the place for it
                self._next = math.inf
                return
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._shown = Progress(
                *columns, TimeRemainingColumn(), console=shown_on, transient=True, auto_refresh=False
            )
            self._shown.add_task(self._what, total=self._total)
            self._shown.start()
        for task in self._shown.task_ids:
            self._shown.update(task, completed=self._done)
        self._shown.refresh()
