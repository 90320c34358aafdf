"""How far what was applied is also on replicas, or on disk: asking the server."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import redis

from eventstore.durability import Durability
from eventstore.errors import ConfigError, Held, Retryable, StorageError
from eventstore.keys import Keys
from eventstore.storage.connect import leads_to, route_of, script, server_facts
from eventstore.storage.faults import classify
from eventstore.storage.location import Address
from eventstore.storage.routed import Route
from workers.confirmer import Confirmation
from workers.sink import Regressed, Unavailable

WAIT_S = 3.0
"""How long a server may take before it falls short, in seconds: with ``appendfsync everysec`` two are normal."""

_LATE_S = 0.2  # a server looks only ten times a second whether a wait is over


def patience_s(timeout_s: float) -> float:
    """Return the socket timeout for a probe's client, where other answers may take `timeout_s` seconds."""
    return timeout_s + WAIT_S + _LATE_S


def check_supported(client: redis.Redis, durability: Durability) -> None:
    """Find out whether the server can be asked for `durability` at all.

    Raises
    ------
    ConfigError
        If it does not know the command for that.
    StorageError
        If it can not be reached, or this user may not use the command.
    """
    if not durability.asks:
        return
    name, *nothing = ("WAITAOF", 0, 0, 1) if durability.on_disk else ("WAIT", 0, 1)
    try:
        client.execute_command(name, *nothing)  # which is there at once
    except (redis.RedisError, OSError) as error:
        if "unknown command" not in str(error).lower():
            raise classify(error, f"see whether durability {durability} can be asked for") from error
        facts = server_facts(client)
        version = facts.get("valkey_version") or facts.get("redis_version")
        raise ConfigError(
            f"durability {durability}: the server, {facts.get('server_name', 'redis')} {version}, lacks {name}, "
            "which Redis has from 7.2 on, and Valkey. Use such a server, or durability 'replicated(n)' or 'applied'"
        ) from error


class DurabilityProbe:
    """Asks whether `durability` is reached, for the writer of `epoch` and `owner`. See `workers.confirmer.Probe`.

    It uses a connection of its own, because a server answers nothing else on a connection that waits.

    Replicas are of use as far as one of those that confirmed becomes the primary. A replica that sentinels make one
    leaves its primary, which goes on with the others for a while: so where one has left, nothing is confirmed before
    the sentinels have said that the primary stays.

    Parameters
    ----------
    client : redis.Redis
        Must not send anything again by itself; waits longer than `wait_s` for an answer.
    wait_s : float, default 3.0
        How long the server may take, in seconds.

    Raises
    ------
    ValueError
        If the client would give up before the server has answered.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        epoch: int,
        owner: str,
        durability: Durability,
        wait_s: float = WAIT_S,
    ) -> None:
        patience_s = client.connection_pool.connection_kwargs.get("socket_timeout")
        if patience_s is not None and patience_s < wait_s + _LATE_S:
            raise ValueError(f"a socket timeout of {patience_s} s is too short for a wait of {wait_s} s")
        self._client = client
        self._epoch = epoch
        self._durability = durability
        self._where = f"confirm that {keys.log} is {durability}"
        ask = ("EVAL", script("probe.lua"), "1", keys.writer, str(epoch), owner)
        route = route_of(client) if durability.replicas else None
        self._route = route if route is not None and route.is_watched else None
        self._replicas: frozenset[tuple[bytes, bytes]] | None = None  # those that it had when the primary was to stay
        self._commands = (ask, _command(durability, wait_s), *(() if self._route is None else (("ROLE",),)))
        self._connection: redis.Connection | None = None
        self._interrupted = False

    def confirm(self) -> Confirmation:
        try:
            connection = self._connection or self._connect()
            if self._interrupted:
                raise redis.ConnectionError("interrupted")
            # Both at once, so that they can not go out on two connections: on a new one nothing was written yet, so any
            # wait is over at once.
            connection.send_packed_command(connection.pack_commands(self._commands))
            where: Any = connection.read_response()
            counts: Any = connection.read_response() if where[0] == b"at" else None
            found = None if counts is None else self._compare(int(where[1]), counts)
            if self._route is not None and found is not None:
                self._stay(self._route, leads_to(connection), connection.read_response(), found.met)
        except (redis.RedisError, OSError, StorageError) as error:
            self._disconnect()
            known = classify(error, self._where)
            if not isinstance(known, Held | Retryable):
                raise known from error
            raise Unavailable(known, held=isinstance(known, Held)) from error
        if found is None:
            self._disconnect()  # with the answer to the wait, which was for nothing
            gone = self._not_there(where)
            raise Regressed(gone, held=isinstance(gone, Held))
        return found

    def _stay(self, route: Route, primary: Address | None, role: Any, met: bool) -> None:
        """Raise if the primary is about to be replaced, asking only where one of its replicas has left."""
        replicas = frozenset((host, port) for host, port, _ in role[2]) if role[0] == b"master" else frozenset()
        if met:
            if primary is not None and (self._replicas is None or not self._replicas <= replicas):
                route.check(primary)
            self._replicas = replicas

    def _not_there(self, answer: list[bytes]) -> StorageError:
        """Why the log of this writer is not there. Whether that is fatal, the writer finds out."""
        if answer[0] == b"gone":
            return Held(f"{self._where}: its fence is gone, keys were deleted or evicted: see what the writer says")
        epoch, owner = int(answer[1]), answer[2].decode(errors="replace")
        if epoch < self._epoch:
            return Retryable(f"{self._where}: the server was set back to epoch {epoch}, owner {owner}")
        return Held(f"{self._where}: epoch {self._epoch} was ended by epoch {epoch}, owner {owner}")

    def _compare(self, position: int, counts: Any) -> Confirmation:
        asked = self._durability
        if not asked.on_disk:
            replicas = int(counts)
            return Confirmation(position, replicas >= asked.replicas, f"{replicas} of {asked.replicas} replicas")
        local, replicas = int(counts[0]), int(counts[1])
        found = []
        if asked.local:
            found.append(f"{local} of 1 local disk (with appendfsync no, never known)")
        if asked.replicas:
            found.append(f"{replicas} of {asked.replicas} replicas' disks (without appendonly yes, never known)")
        return Confirmation(position, local >= asked.local and replicas >= asked.replicas, "; ".join(found))

    def reset(self) -> None:
        self._interrupted = False
        self._disconnect()

    def interrupt(self) -> None:
        self._interrupted = True  # before the look at the connection: one that is being made sees it
        connection = self._connection
        raw = None if connection is None else getattr(connection, "_sock", None)
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._disconnect()
        self._client.close()

    def _connect(self) -> redis.Connection:
        self._connection = self._client.connection_pool.get_connection()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection, self._replicas = self._connection, None, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)


def _command(durability: Durability, wait_s: float) -> tuple[str, ...]:
    wait_ms = str(max(1, round(wait_s * 1000)))  # 0 would be for ever
    if durability.on_disk:
        return ("WAITAOF", str(durability.local), str(durability.replicas), wait_ms)
    return ("WAIT", str(durability.replicas), wait_ms)
