"""Where the bench measures: servers in temporary directories, databases on them, and processes of their own."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import redis
import structlog

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.storage.embedded import EmbeddedServer
from scripts.lib.bench.nodes import TRADER

R = TypeVar("R")

PATIENCE_S = 600.0


def quiet() -> None:
    """Let the library log only errors: there are servers that are stopped on purpose."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and a directory beside it."""

    url: str
    directory: Path

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2)

    def wipe(self) -> None:
        """Leave nothing at the server, not even a script."""
        with self.client() as client:
            client.flushall()
            client.script_flush()

    def memory_bytes(self) -> int:
        """What the server has allocated."""
        with self.client() as client:
            return int(client.info("memory")["used_memory"])  # type: ignore[index] # a dict

    def key_bytes(self) -> dict[str, int]:
        """What each key takes, counted whole."""
        with self.client() as client:
            names: Any = list(client.scan_iter(count=1000))
            sizes: dict[str, int] = {}
            for i in range(0, len(names), 500):
                pipeline = client.pipeline(transaction=False)
                for name in names[i : i + 500]:
                    pipeline.memory_usage(name, samples=0)
                for name, size in zip(names[i : i + 500], pipeline.execute(), strict=True):
                    sizes[name.decode()] = size
        return sizes

    def pid(self) -> int:
        """The server's process."""
        with self.client() as client:
            return int(client.info("server")["process_id"])  # type: ignore[index] # a dict

    @contextmanager
    def apart(self) -> Iterator[None]:
        """This process on one core and the server on the others, where there is more than one.

        Two threads and a server that all want to run on two cores take turns of milliseconds, as the kernel sees fit.
        """
        cores, pid = os.sched_getaffinity(0), self.pid()
        if len(cores) > 1:
            own = min(cores)
            os.sched_setaffinity(pid, cores - {own})
            os.sched_setaffinity(0, {own})  # and the threads that begin meanwhile
        try:
            yield
        finally:
            os.sched_setaffinity(pid, cores)
            os.sched_setaffinity(0, cores)

    @contextmanager
    def frozen(self) -> Iterator[Callable[[], None]]:
        """A server that holds its connections and answers nothing until the end, or until told to go on."""
        pid = self.pid()
        os.kill(pid, signal.SIGSTOP)

        def thaw() -> None:
            os.kill(pid, signal.SIGCONT)

        try:
            yield thaw
        finally:
            thaw()


@contextmanager
def served() -> Iterator[Place]:
    """An embedded server, as the library starts it."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        EmbeddedServer.open(Path(directory) / "data") as server,
    ):
        yield Place(server.url, Path(directory))


def opened(url: str, **settings: Any) -> RedisCacheDatabase:
    """A database, patient enough for a server that is stopped for a while."""
    patient = {"close_timeout_s": PATIENCE_S, "timeout_s": 120.0, "load_timeout_s": PATIENCE_S}
    return RedisCacheDatabase(TRADER, config=CacheDatabaseConfig(url=url, **(patient | settings)))


@contextmanager
def held(database: RedisCacheDatabase) -> Iterator[None]:
    """Let the writer of a database sleep meanwhile; what was accepted before is written."""
    database.sync()
    with database._persister._writer.hold(PATIENCE_S) as hold:
        if not hold.reached:
            raise SystemExit("the writer that should sleep works on and on")
        yield


def cpu_clock(thread: threading.Thread) -> int:
    """The clock of the processor time that a thread of this process takes."""
    return time.pthread_getcpuclockid(thread.ident or 0)


def writer() -> threading.Thread:
    """The writer's thread of the one database that is open."""
    return next(thread for thread in threading.enumerate() if thread.name.startswith("eventstore-writer"))


@contextmanager
def own_garbage() -> Iterator[None]:
    """Let the collector look only at what is made from here on, as at the end of a node's start."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def in_process(work: Callable[..., R], *arguments: Any) -> R:
    """Do `work` in a new process, so that its memory, threads and caches are its own.

    Raises
    ------
    BrokenProcessPool
        If the process was killed, or killed itself.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=quiet) as pool:
        return pool.submit(work, *arguments).result()


def killed(work: Callable[..., object], *arguments: Any) -> None:
    """Do `work` in a new process that kills itself at the end."""
    try:
        in_process(work, *arguments)
    except BrokenProcessPool:
        return
    raise SystemExit(f"{work.__name__} has not killed its process")


def own_memory_bytes() -> int:
    """The memory that this process has, without the pages of mapped files: those are the page cache's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
