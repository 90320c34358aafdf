"""What all arrangements of servers have in common, for tests that run unchanged against each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, ClassVar, Self

from redis import Redis

from eventstore.database import RedisCacheDatabase
from eventstore.model.identifiers import TraderId
from tests.support.databases import TRADER, open_database
from tests.support.outages import until
from tests.support.redis_server import RedisServer
from tests.support.users import Task

CONDITIONS = {"repl-ping-replica-period": "1", "repl-timeout": "10"}
"""Directives for servers that replicate: a replica notices soon that its primary is gone."""


class Topology(ABC):
    """Servers that one URL leads to. Made by `start`, gone by `close`; a context manager.

    A namespace is the hash tag of a trader's keys, as `Keys.namespace`: where there is only one primary, it does not
    matter which.

    Attributes
    ----------
    name : str
        What tests show.
    can : frozenset[str]
        What can be done to it besides reading and writing: "fail over", "restart", "migrate".
    replicas_each : int
        How many replicas a primary has.
    servers : list[RedisServer]
        The servers that hold data; of an embedded server, none.

    """

    name: ClassVar[str]
    can: frozenset[str] = frozenset()
    replicas_each: int = 0
    servers: list[RedisServer]

    @property
    def url(self) -> str:
        """What the library is told: `place` of a writer."""
        return self.place()

    @abstractmethod
    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        """Who has that task for that trader is told this: a URL, or the embedded server's directory."""

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until everybody knows everybody."""

    @abstractmethod
    def close(self) -> None:
        """End every server, and leave nothing behind."""

    def primary(self, namespace: str = "") -> RedisServer:
        """The server that takes writes of that namespace now."""
        (server,) = self.servers
        return server

    def replicas(self, namespace: str = "") -> list[RedisServer]:
        """The replicas of `primary`, reachable or not."""
        return []

    def fail_over(self, namespace: str = "") -> RedisServer:
        """Make a replica the primary, in order; the new primary, when everybody follows it."""
        raise NotImplementedError(f"{self.name} has no replica")

    def settled(self, namespace: str = "") -> bool:
        """Whether everybody that runs agrees on a primary that leads, and takes part in what it writes."""
        return self.primary(namespace).leads()

    def describe(self) -> str:
        """Who is what, for whoever reads of a test that failed."""
        said = [f"{server.port}: {server.describe()}" for server in self.servers]
        return f"{self.name}: {'; '.join(said)}"

    def wait_for_primary(self, namespace: str = "", besides: RedisServer | None = None) -> RedisServer:
        """Wait until everything has `settled` and the primary is another one than `besides`; that primary."""

        def there() -> bool:
            return self.settled(namespace) and self.primary(namespace) is not besides

        until(there, lambda: f"no new primary. {self.describe()}")
        return self.primary(namespace)

    def rolling_restart(self) -> None:
        """Let every server shut down in order and start again, one after the other, and never the primary."""
        self._restart_one_by_one("")

    def _restart_one_by_one(self, namespace: str) -> None:
        before = self.primary(namespace)
        for server in self.replicas(namespace):
            server.restart(kill=False)
            self.wait_for_primary(namespace)
        self.fail_over(namespace)
        before.restart(kill=False)
        self.wait_for_primary(namespace)

    def client_of(self, namespace: str = "") -> Redis:
        """A client that may do anything, at the server that has the keys of that namespace now. To be closed."""
        return self.primary(namespace).client()

    def replica_clients(self, namespace: str = "") -> list[Redis]:
        """Such clients, one at every replica of that namespace. To be closed."""
        return [server.client() for server in self.replicas(namespace)]

    def clients(self) -> list[Redis]:
        """Such clients, one at every server that takes writes. To be closed."""
        return [self.client_of()]

    def wipe(self) -> None:
        """Make it as new: no keys, no scripts."""
        for client in self.clients():
            with client:
                client.flushall()
                client.script_flush()

    def cut(self, namespace: str = "") -> int:
        """End every connection to the primary of that namespace, as a network does; how many there were."""
        with self.client_of(namespace) as client:
            return int(client.client_kill_filter(_type="normal", skipme=True))

    def replica_place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        """As `place`; what is read comes from a replica."""
        place = self.place(trader_id, task)
        return f"{place}{'&' if '?' in place else '?'}read_from=replica"

    def settings(self, trader_id: TraderId = TRADER) -> dict[str, Any]:
        """The settings of a trader's database that lead there."""
        place = self.place(trader_id)
        return {"url": place} if "://" in place else {"url": None, "directory": place}

    def open(self, trader_id: TraderId = TRADER, **settings: Any) -> RedisCacheDatabase:
        """Open a trader's database there."""
        return open_database(trader_id=trader_id, **{**self.settings(trader_id), **settings})

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
