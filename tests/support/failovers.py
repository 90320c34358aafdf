"""What tests of failovers share: servers put in order again, a load whose servers change, reading meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from tests.support.outages import KEYS, PATIENCE_S, Load, Told, all_written, until
from tests.support.redis_server import RedisServer
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

SPACE = KEYS.namespace
WENT_BACK = "the log went back: what is retained is written again"

PATIENT: dict[str, Any] = {"timeout_s": 0.5, "load_timeout_s": PATIENCE_S, "close_timeout_s": PATIENCE_S}
"""Settings of a node that notices soon that its server does not answer, and waits until there is another one."""


def mended(topology: Topology) -> None:
    """Make it whole and empty again, whatever a test left of it."""
    watching = topology.sentinels if isinstance(topology, Sentinels) else []
    for server in [*watching, *topology.servers]:
        if not server.alive:
            server.restart()
    topology.wait_for_primary(SPACE)
    for server in topology.servers:
        with server.client() as client:
            client.config_set("min-replicas-to-write", 0)
    topology.wipe()
    in_step(topology)


def in_step(topology: Topology) -> None:
    """Wait until the replicas have all that the primary has.

    One that has just begun to follow says so up to a second before it is sent anything.
    """
    with topology.client_of(SPACE) as client:
        client.publish("anything", "that is replicated")
        reached = client.wait(topology.replicas_each, 9_000)
    assert reached == topology.replicas_each, f"only {reached} replicas are in step"


@contextmanager
def trading(topology: Topology, told: Told, **settings: Any) -> Iterator[tuple[RedisCacheDatabase, Load]]:
    """A database with calls coming in. At the end everything that was accepted has to be there, once and in order, at
    whatever is the primary then."""
    with topology.open(logger=told, **{**PATIENT, **settings}) as database:
        with Load(database) as load:
            load.go_on()
            yield database, load
            load.go_on()
        assert database.close() == 0
    all_written(topology.wait_for_primary(SPACE), told, load)


@contextmanager
def cut_off(topology: Topology) -> Iterator[None]:
    """The replicas hear nothing of what the primary takes from here on; at the end they are there again."""
    replicas = topology.replicas(SPACE)
    for replica in replicas:
        replica.pause()
    try:
        # What is in their sockets already they would still read: so nothing more may come there.
        with topology.client_of(SPACE) as client:
            client.client_kill_filter(_type="slave")
        yield
    finally:
        for replica in replicas:
            replica.resume()


def until_at(database: RedisCacheDatabase, server: RedisServer) -> None:
    """Wait until that is where the database writes."""
    until(lambda: database.stats().server.endswith(f":{server.port}"))


def position_at(server: RedisServer) -> int:
    """Where the log ends at `server`, by its fence."""
    with server.client() as client:
        return int(client.hget(KEYS.writer, "position") or 0)  # type: ignore[arg-type]  # Not awaitable.


class Loads:
    """A thread that loads all the time, beside a load: nothing that was accepted before may ever be missing."""

    def __init__(self, database: RedisCacheDatabase, load: Load) -> None:
        self.done = 0
        self._database = database
        self._load = load
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="loads")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if error is None and self._error is not None:
            raise self._error

    def go_on(self, count: int = 3) -> None:
        """Wait until so many more have come back with everything."""
        goal = self.done + count
        until(lambda: self.done >= goal or self._error is not None, "the loads do not go on")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        least: dict[str, int] = {}
        seen = 0
        try:
            while not self._stop.is_set():
                accepted = self._load.accepted[seen:]
                seen += len(accepted)
                least |= {each.key: int(each.value) for each in accepted if isinstance(each, c.Add)}
                found = self._database.load()
                old = {key: found.get(key) for key, value in least.items() if int(found.get(key, b"-1")) < value}
                assert not old, f"a load of {seen} accepted calls gave {old} where {least} was there before"
                self.done += 1
        except BaseException as error:  # noqa: BLE001 - for the thread that waits
            self._error = error
