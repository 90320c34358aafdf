"""``eventstore ingest``: a recorded session through the real API."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventstore.cli.audited import named_trader
from eventstore.cli.output import CommandFailed, bytes_text, console, micros_text, naming, print_json
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import SyncTimeout
from eventstore.model.identifiers import TraderId
from eventstore.recording import RecordingError, count_calls, named_in, play, trader_of
from eventstore.storage.observer import observe

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_SHOW_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Ingested:
    """What `ingest_session` did. Times are of the caller's thread; sizes are of all that the trader has there."""

    session: str
    trader_id: str
    calls: int
    seconds: float
    call_ns: dict[str, int]
    epoch: int
    position: int
    log_entries: int
    log_bytes: int
    views_bytes: int

    @property
    def bytes_per_entry(self) -> float:
        """Bytes of memory for each entry of the log: its own, and its share of the views."""
        return (self.log_bytes + self.views_bytes) / self.log_entries

    def to_json(self) -> dict[str, Any]:
        """Return the documented form of it."""
        return {
            "format": FORMAT,
            "session": self.session,
            "pid": os.getpid(),
            "trader_id": self.trader_id,
            "calls": self.calls,
            "seconds": round(self.seconds, 6),
            "calls_per_s": round(self.calls / self.seconds, 1),
            "call_ns": self.call_ns,
            "epoch": self.epoch,
            "position": self.position,
            "log": {"entries": self.log_entries, "memory_bytes": self.log_bytes},
            "views": {"memory_bytes": self.views_bytes},
            "bytes_per_entry": round(self.bytes_per_entry, 1),
        }


def ingest(
    session: Annotated[Path, typer.Argument(metavar="SESSION.jsonl.gz", help="The recorded session.")],
    to: Annotated[str, typer.Option(metavar="URL|DIR", help="A redis://, rediss:// or unix:// URL, or a directory.")],
    trader: Annotated[str | None, typer.Option(metavar="ID", help="For a session in which no call names one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document; see docs/cli.md.")] = False,
) -> None:
    """Write a recorded session through the real API, as fast as it goes.

    A directory is one of an embedded server, which is started for as long as it is needed.
    """
    trader_id = trader_of(session) if trader is None else _not_another(session, named_trader(trader))
    with naming(to):
        done = ingest_session(session, to, trader_id)
    if as_json:
        print_json(done.to_json())
    else:
        _show(done, to)


def _not_another(session: Path, trader_id: TraderId) -> TraderId:
    """Return `trader_id`. Raises `CommandFailed` if the session is another trader's, before it becomes the writer."""
    named = named_in(session)
    if named not in (None, trader_id):
        raise CommandFailed(f"{session} is of {named}; --trader is for a session in which no call names a trader")
    return trader_id


def ingest_session(session: Path, to: str, trader_id: TraderId) -> Ingested:
    """Play `session` on the database at `to`, and wait until all of it is written.

    Raises
    ------
    CommandFailed
        If some of it was not written.
    RecordingError
        If the session can not be played. The calls before the one that failed are written.
    """
    total = count_calls(session)
    if not total:
        raise RecordingError(f"{session}: there are no calls in it")
    durations = array("q")
    failure: RecordingError | None = None
    database = RedisCacheDatabase(trader_id, config=CacheDatabaseConfig.at(to))
    with database, observe(to) as observer:
        start = time.perf_counter()
        try:
            with _progress(session.name, total) as advance:
                play(database, session, durations, advance)
        except RecordingError as error:
            failure = error
        try:
            database.sync()
        except SyncTimeout as error:
            not_written = database.close()
            raise CommandFailed(f"{not_written} commands were not written: {error}") from error
        seconds = time.perf_counter() - start
        keys = database.keys()
        not_written = database.close()
        if failure is not None:
            raise CommandFailed(f"{failure}; the {len(durations)} calls before it were written") from failure
        if not_written:
            raise CommandFailed(f"{not_written} commands were not written; status says how far the log is")
        reader = observer.reader(trader_id)
        fence = reader.fence()
        if fence is None:
            raise CommandFailed(f"the fence of {trader_id} is gone: somebody deleted keys meanwhile")
        entries, log_bytes = reader.log_size()
        return Ingested(
            session=str(session),
            trader_id=str(trader_id),
            calls=len(durations),
            seconds=seconds,
            call_ns=_percentiles(durations),
            epoch=fence.epoch,
            position=fence.position,
            log_entries=entries,
            log_bytes=log_bytes,
            views_bytes=reader.memory(key for key in keys if not key.endswith(":log")),
        )


def _percentiles(durations_ns: array[int]) -> dict[str, int]:
    ordered = sorted(durations_ns)
    last = len(ordered) - 1
    return {
        "p50": ordered[last // 2],
        "p99": ordered[last * 99 // 100],
        "p99_9": ordered[last * 999 // 1000],
        "max": ordered[last],
        "total": sum(ordered),
    }


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal. It is drawn between calls, never by a thread that would be in their way."""
    bar = console(stderr=True)
    if not bar.is_terminal:
        yield _nothing
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=bar, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(name, total=total)
        calls = 0
        due = 0.0

        def advance() -> None:
            nonlocal calls, due
            calls += 1
            now = time.monotonic()
            if now >= due:
                progress.update(task, completed=calls, refresh=True)
                due = now + _SHOW_EVERY_S

        yield advance


def _nothing() -> None:
    pass


def _show(done: Ingested, to: str) -> None:
    ns = done.call_ns
    lines = [
        f"wrote {done.calls:,} calls of {done.trader_id} to {to} in {done.seconds:.2f} s: "
        f"{done.calls / done.seconds:,.0f} calls/s",
        f"each database call took the caller {micros_text(ns['p50'])} (p50), {micros_text(ns['p99'])} (p99)",
        f"the log is at position {done.position:,}, epoch {done.epoch}: {done.log_entries:,} entries, "
        f"{bytes_text(done.log_bytes)}; with the views {bytes_text(done.bytes_per_entry)} an entry",
    ]
    out = console()
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
