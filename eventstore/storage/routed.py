"""Connections that go to whoever is the primary, or a replica, at the moment at which they are made."""

from __future__ import annotations

import random
import threading
import weakref
from typing import Any, Final

import redis

from eventstore.storage.faults import word_of
from eventstore.storage.location import Address, at
from eventstore.storage.topology import SentinelTopology, Topology

_ELSEWHERE: Final = frozenset({"MOVED", "ASK", "TRYAGAIN", "READONLY", "CLUSTERDOWN", "MASTERDOWN"})
"""How answers begin that say that somebody else should be asked, now or in a moment."""


class Route:
    """Finds the server that connections go to. Shared by those of one pool, on any threads.

    Parameters
    ----------
    topology : Topology
        Who knows.
    to_replica : bool
        Whether to go to a replica; to the primary if there is none.
    in_cluster : bool
        Whether a replica has to be told that it may be read.
    """

    def __init__(self, topology: Topology, to_replica: bool, in_cluster: bool) -> None:
        self._topology = topology
        self._sentinels = topology if isinstance(topology, SentinelTopology) else None
        self._to_replica = to_replica
        self._in_cluster = in_cluster
        self._lock = threading.Lock()
        self._at: Address | None = None
        self.looked = 0
        """How often it was looked where to go: once for each connection."""
        self._pool: weakref.ref[redis.ConnectionPool] | None = None

    @property
    def at(self) -> Address | None:
        """Where the last connection went."""
        return self._at

    @property
    def is_watched(self) -> bool:
        """Whether sentinels may make another server the primary while this one still takes writes."""
        return self._sentinels is not None

    def check(self, address: Address) -> None:
        """See that the primary is at `address`, and no sentinel replaces it, where they do such a thing.

        Raises
        ------
        Replaced
            If one does, or did.
        redis.RedisError
            If too few of them answer.
        """
        if self._sentinels is not None:
            self._sentinels.check(address)

    def serve(self, pool: redis.ConnectionPool) -> None:
        """Close the idle connections of `pool` when they lead to a server that is not the one any more."""
        self._pool = weakref.ref(pool)

    def find(self) -> Address:
        """Return where to connect to. Raises a `redis.RedisError` if nobody can say."""
        with self._lock:
            address = self._choose()
            moved = self._at is not None and self._at != address
            self._at = address
            self.looked += 1
        pool = None if self._pool is None else self._pool()
        if moved and pool is not None:
            pool.disconnect(inuse_connections=False)
        return address

    def _choose(self) -> Address:
        if not self._to_replica:
            return self._topology.primary()
        replicas = self._topology.replicas()
        if self._at in replicas:
            return self._at
        return random.choice(replicas) if replicas else self._topology.primary()

    def greet(self, connection: Any) -> None:
        """Introduce a connection that was just made, and see that it leads where it should.

        Raises
        ------
        redis.ConnectionError
            If the server is not what it was said to be.
        """
        connection.on_connect()
        if self._to_replica:
            if self._in_cluster:
                connection.send_command("READONLY", check_health=False)
                connection.read_response()
        elif self.is_watched:
            connection.send_command("ROLE", check_health=False)
            role = connection.read_response()[0]
            if role != b"master":
                where = at(connection.address)
                raise redis.ConnectionError(f"READONLY {where} is not the primary any more")


class _Routed:
    """What makes a connection of the driver one that is routed."""

    host: str
    port: int

    def __init__(self, *, route: Route, **options: Any) -> None:
        self._route = route
        super().__init__(redis_connect_func=route.greet, **options)  # type: ignore[call-arg]

    @property
    def address(self) -> Address:
        """Where it leads."""
        return self.host, self.port

    def connect(self, *args: Any, **options: Any) -> Any:
        """Connect, anew if others of the pool lead elsewhere by now: this one was in use when that was found out."""
        if self._sock is not None and self.address != self._route.at:  # type: ignore[attr-defined]
            self.disconnect()  # type: ignore[attr-defined]
        return super().connect(*args, **options)  # type: ignore[misc]

    def _connect(self) -> Any:
        self.host, self.port = self._route.find()
        return super()._connect()  # type: ignore[misc]  # That of the driver's connection.

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            word = word_of(error)
            if word in _ELSEWHERE:
                self.disconnect()  # type: ignore[attr-defined]
                # So that the driver, where it may, asks again: by then somewhere else.
                raise redis.ConnectionError(f"{word} {str(error).removeprefix(word).lstrip()}") from error
            raise


class RoutedConnection(_Routed, redis.Connection):
    """A connection to wherever its route leads."""


class RoutedSSLConnection(_Routed, redis.SSLConnection):
    """The same, with TLS."""
