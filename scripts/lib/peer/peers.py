"""The two adapters, opened alike: NautilusTrader's own and ours, each on a real server of its own, over TCP."""

from __future__ import annotations

import gc
import itertools
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import nautilus_trader
import structlog
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.database import CacheDatabaseAdapter as NautilusAdapter
from nautilus_trader.common.component import init_logging, is_logging_initialized
from nautilus_trader.common.config import DatabaseConfig
from nautilus_trader.common.enums import LogLevel
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.serialization.serializer import MsgSpecSerializer
from redis import Redis

from eventstore import CacheDatabaseConfig
from eventstore.integrations.nautilus import CacheDatabaseAdapter
from scripts.lib.peer.objects import TRADER
from tests.support.redis_server import RedisServer

R = TypeVar("R")

_POLL_S = 0.002
_AOF = {"appendonly": "yes", "auto-aof-rewrite-percentage": "0"}  # a rewrite would fall into one peer's turn

_markers = itertools.count()
_guards: list[Any] = []  # whoever drops NautilusTrader's ends its logging


@dataclass(frozen=True, slots=True)
class Peer:
    """An adapter and how it is set up."""

    name: str
    ours: bool
    buffer_ms: int | None = None
    journal: bool = False


NAUTILUS = Peer("nautilus", ours=False)
NAUTILUS_10 = Peer("nautilus_10ms", ours=False, buffer_ms=10)
NAUTILUS_100 = Peer("nautilus_100ms", ours=False, buffer_ms=100)
OURS = Peer("ours", ours=True)
OURS_JOURNAL = Peer("ours_journal", ours=True, journal=True)
PEERS = (NAUTILUS, OURS, NAUTILUS_10, OURS_JOURNAL, NAUTILUS_100)
"""In the order in which they take their turns: theirs and ours alternate."""

BY_NAME = {peer.name: peer for peer in PEERS}

TITLES = {
    "nautilus": "NautilusTrader",
    "nautilus_10ms": "NT, 10 ms",
    "nautilus_100ms": "NT, 100 ms",
    "ours": "ours",
    "ours_journal": "ours, journal",
}


def versions(server: RedisServer) -> dict[str, str]:
    """What was measured."""
    with server.client() as client:
        redis_version = client.info("server")["redis_version"]
    return {
        "nautilus_trader": nautilus_trader.__version__,
        "eventstore": metadata.version("eventstore"),
        "python": platform.python_version(),
        "redis": redis_version,
    }


def silence() -> None:
    """Let NautilusTrader's adapter log nothing, which it only does when told to, and ours only errors."""
    if not is_logging_initialized():
        _guards.append(init_logging(level_stdout=LogLevel.OFF, bypass=True))
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def server(appendfsync: str = "everysec") -> RedisServer:
    """A server for one peer, with an append-only file."""
    return RedisServer(tcp=True, config=_AOF | {"appendfsync": appendfsync})


def open_adapter(peer: Peer, port: int, directory: Path) -> Any:
    """The peer's adapter on the server at `port`. Ours keeps its files in `directory`."""
    silence()
    config = CacheConfig(
        database=DatabaseConfig(type="redis", host="127.0.0.1", port=port), buffer_interval_ms=peer.buffer_ms
    )
    arguments = (TRADER, UUID4(), MsgSpecSerializer(encoding=msgspec.msgpack, timestamps_as_str=True), config)
    if not peer.ours:
        return NautilusAdapter(*arguments)
    settings = CacheDatabaseConfig(
        journal=directory / "journal" if peer.journal else None, aside=directory / "aside", close_timeout_s=120
    )
    return CacheDatabaseAdapter(*arguments, settings=settings)


@contextmanager
def adapter(peer: Peer, port: int, directory: Path) -> Iterator[Any]:
    """As `open_adapter`, closed in the end."""
    opened = open_adapter(peer, port, directory)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def alone(peer: Peer) -> Iterator[tuple[Any, int]]:
    """The peer's adapter, on a new server that nobody else uses, and that server's port."""
    with (
        TemporaryDirectory(prefix="bench-peer-") as directory,
        server() as redis,
        adapter(peer, redis.port, Path(directory)) as opened,
    ):
        yield opened, redis.port


def wait_written(peer: Peer, opened: Any, port: int, timeout_s: float = 600.0) -> None:
    """Wait until everything before is in Redis. NautilusTrader's adapter can not say: a value is put behind it all.

    With a buffer, 1.221 keeps what came last until there is another call: there has to be one after the other.
    """
    if peer.ours:
        opened.store.sync(timeout_s)
        return
    deadline = time.monotonic() + timeout_s
    marker = f"bench-{next(_markers)}"
    opened.add(marker, b"1")
    with Redis(port=port) as client:
        while not client.exists(f"trader-{TRADER}:general:{marker}"):
            if time.monotonic() > deadline:
                raise SystemExit(f"{peer.name}: not everything was written within {timeout_s:g} s")
            time.sleep(_POLL_S)
            if peer.buffer_ms:
                opened.add(marker, b"1")


@contextmanager
def own_garbage() -> Iterator[None]:
    """Let collections look only at what is made from now on, not at all that the bench has built before: with that, one
    takes 80 ms, in whoever's call it happens to come.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def in_process(work: Callable[..., R], *arguments: Any) -> R:
    """Do `work` in a new process, so that its memory and its imports are its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
