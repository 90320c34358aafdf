"""Long logs for measuring: the recorded sessions one after the other, as a node would have written them for months."""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import redis

import eventstore
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.model import TraderId
from eventstore.projections import CLOSED
from eventstore.recording import play
from eventstore.storage.appender import Appender, Entry, claim
from eventstore.storage.connect import connect
from eventstore.storage.embedded import EmbeddedServer

TRADER = TraderId("RECORDER-001")
"""Whose the sessions are, and so the log."""
SESSIONS = ("emacross", "trailing", "bracket")
BATCH = 256
MS_PER_ENTRY = 20
BEGIN_MS = 1_735_689_600_000  # 2025-01-01
_ORDER_DAY = re.compile(rb"O-\d{8}-")
_SESSIONS = Path(eventstore.__file__).parent / "sessions"


def recorded() -> list[list[bytes]]:
    """Return the payloads that each recorded session leaves in a log, without what a writer says of itself."""
    found = []
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer.open(Path(directory) / "data") as server:
        keys = Keys(TRADER)
        for name in SESSIONS:
            with redis.Redis.from_url(server.url, protocol=2) as client:
                client.flushall()
                with RedisCacheDatabase(TRADER, config=CacheDatabaseConfig(url=server.url)) as database:
                    play(database, _SESSIONS / f"{name}.jsonl.gz", array("q"))
                rows: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(keys.log)  # type: ignore[assignment]
            payloads = [fields[b"e"] for _, fields in rows]
            found.append(
                [payload for payload in payloads if not isinstance(c.decode(payload), c.Opened | c.ClosedWell)]
            )
    return found


class _Views:
    """What a node has to know of its views to say what may be purged."""

    def __init__(self) -> None:
        self.orders: dict[str, tuple[int, bool]] = {}
        self.cycles: dict[str, int] = {}
        self.positions: dict[str, tuple[int, bool]] = {}
        self.accounts: dict[str, int] = {}

    def apply(self, command: c.Command) -> c.Command:
        """Note what `command` does, and return it as a node would send it that has gone on all the time."""
        match command:
            case c.AddOrder(order_id, version, status, _, events) | c.UpdateOrder(order_id, version, status, _, events):
                self.orders[order_id] = (version + len(events), status in CLOSED)
            case c.WritePosition(position_id, version, is_open, events, basis):
                if basis is not None and position_id in self.positions:
                    self.cycles[position_id] = self.cycles.get(position_id, 0) + 1
                self.positions[position_id] = (version + len(events), not is_open)
            case c.WriteAccount(account_id, _, events):
                version = self.accounts.get(account_id, 0)
                self.accounts[account_id] = version + len(events)
                return command._replace(version=version)
            case _:
                pass
        return command

    def purge(self) -> Iterator[c.Command]:
        """Purge everything that is closed, and the account events but the last."""
        for order_id, (version, closed) in list(self.orders.items()):
            if closed:
                del self.orders[order_id]
                yield c.PurgeOrder(order_id, 0, version)
        for position_id, (version, closed) in list(self.positions.items()):
            lives = self.cycles.get(position_id, 0)
            if closed:
                del self.positions[position_id]
                self.cycles.pop(position_id, None)
                yield c.PurgePosition(position_id, lives, version)
            elif lives:
                yield c.PurgePositionCycles(position_id, lives, lives)
        for account_id, version in self.accounts.items():
            yield c.PurgeAccountEvents(account_id, 0, version - 1)


def commands(sessions: list[list[bytes]], purge: bool) -> Iterator[c.Command]:
    """Yield the sessions again and again, each time with other orders; if `purge`, what is closed goes behind each."""
    views = _Views()
    for number in count():
        day = b"O-%08d-" % (20_000_000 + number)
        for payload in sessions[number % len(sessions)]:
            yield views.apply(c.decode(_ORDER_DAY.sub(day, payload)))
        if purge:
            yield from views.purge()


def write(url: str, entries: int, purge: bool) -> None:
    """Write a log of that many entries, the first one that of a writer that opens it, and views as they have to be."""
    keys = Keys(TRADER)
    client = connect(url, 30.0, "bench")
    made = commands(recorded(), purge)
    claimed = claim(client, keys, "bench", BEGIN_MS)
    if claimed is None or claimed.position:
        raise SystemExit(f"{TRADER} has a log at {url} already")
    appender = Appender(client, keys, claimed)
    position = 1
    while position <= entries:
        batch = [
            Entry.of((BEGIN_MS + (position + i) * MS_PER_ENTRY) * 1_000_000, next(made))
            for i in range(min(BATCH, entries + 1 - position))
        ]
        if position == 1:
            batch[0] = Entry.of(BEGIN_MS * 1_000_000, c.Opened(claimed.epoch, {}))
        sealed = appender.seal(position, batch)
        appender.send(sealed)
        appender.receive(sealed)
        position = sealed.last + 1
    appender.close()
    client.close()
