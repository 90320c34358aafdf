"""Logs that are archived: written in batches of any sort, and read back from archive and server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from redis import Redis

from eventstore import commands as c
from eventstore.audit import Log, open_log
from eventstore.audit.archive.archiver import Archiver, Outcome
from eventstore.audit.archive.retention import Criterion
from eventstore.chain import LogEntry
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.appender import Appender, Entry, claim
from eventstore.storage.observer import observe
from tests.support.databases import TRADER

KEYS = Keys(TRADER)
EVERYTHING = Criterion(keep_entries=0)
"""All but the last batch, which always stays."""


class Writer:
    """A writer of a log, batch by batch, at times that the test says."""

    def __init__(self, client: Redis, trader_id: TraderId = TRADER, now_ms: int | None = None) -> None:
        keys = Keys(trader_id)
        claimed = claim(client, keys, "a test", 0)
        assert claimed is not None
        self.position = claimed.position
        self.ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self._appender = Appender(client, keys, claimed)

    def batch(self, commands: Iterable[c.Command], later_ms: int = 0) -> None:
        """Write `commands`, accepted so many milliseconds later than the ones before, as one batch."""
        self.ms += later_ms
        batch = self._appender.seal(self.position + 1, [Entry.of(self.ms * 1_000_000, command) for command in commands])
        self._appender.send(batch)
        self._appender.receive(batch)
        self.position = batch.last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._appender.close()


def write(client: Redis, sizes: Iterable[int], trader_id: TraderId = TRADER, size: int = 20) -> None:
    """Write batches of so many commands each, which differ."""
    with Writer(client, trader_id) as writer:
        for count in sizes:
            numbers = range(writer.position, writer.position + count)
            writer.batch([c.Add(f"key-{number % 7}", b"%d " % number * size) for number in numbers], later_ms=1)


def archive(
    url: str,
    directory: Path,
    criterion: Criterion = EVERYTHING,
    *,
    trader_id: TraderId = TRADER,
    ceiling: int | None = None,
    **settings: Any,
) -> Outcome:
    """Run an archiver on a connection of its own."""
    with archiver(url, directory, trader_id, **settings) as made:
        return made.run(criterion, ceiling)


@contextmanager
def archiver(url: str, directory: Path, trader_id: TraderId = TRADER, **settings: Any) -> Iterator[Archiver]:
    """An archiver on a connection of its own."""
    with observe(url) as observer:
        yield Archiver(directory, trader_id, observer.reader(trader_id), observer.trimmer(trader_id), **settings)


def reading(url: str, directory: Path | None = None, read: Callable[[Log], Any] = lambda log: [*log.entries()]) -> Any:
    """What `read` gets of the log, with its archive if there is one."""
    with open_log(url, TRADER, directory) as log:
        return read(log)


def entries(url: str, directory: Path | None = None) -> list[LogEntry]:
    """All entries of the log, first those of its archive."""
    found: list[LogEntry] = reading(url, directory)
    return found


def stored(client: Redis) -> dict[str, bytes]:
    """The keys of the server, to be put back by `put_back`."""
    return {name.decode(): client.dump(name) for name in client.keys("*")}


def put_back(client: Redis, keys: dict[str, bytes]) -> None:
    """Make the server what it was, as somebody who restores a copy does."""
    pipeline = client.pipeline()
    pipeline.flushall()
    for name, value in keys.items():
        pipeline.restore(name, 0, value)
    pipeline.execute()
