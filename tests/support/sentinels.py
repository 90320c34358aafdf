"""A primary, its replicas and the sentinels that watch them, as real processes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Self, cast
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from eventstore.model.identifiers import TraderId
from eventstore.permissions import sentinel_commands, sentinel_rules
from tests.support.certificates import Certificates
from tests.support.databases import TRADER
from tests.support.outages import until
from tests.support.redis_server import RedisServer
from tests.support.topology import CONDITIONS, Topology
from tests.support.users import Task, Users

NAME = "main"
"""What the sentinels call the primary."""

_WATCHER, _WATCHER_PASSWORD = "watcher", "watch:ed/by"
_ASKER, _ASKER_PASSWORD = "asker", "wh@:is/it?"
_PASSWORD = "d@ta:/?#1"
_QUICK = {
    # Sentinels of 7.0 and newer look every ten seconds and publish every two, unless a test says otherwise.
    "info-period": 200,
    "publish-period": 200,
    "ask-period": 100,
    "tilt-period": 1_000,
    "election-timeout": 2_000,
}


class Sentinel(RedisServer):
    """One sentinel. It has users of its own, not those of the data: one for sentinels, and one who may only ask."""

    def __init__(self, *, binary: Path | None = None, certificates: Certificates | None = None) -> None:
        super().__init__(binary=binary, tcp=True, certificates=certificates)
        self.run_id = secrets.token_hex(20)

    def watch(
        self, servers: list[RedisServer], others: list[Sentinel], down_after_ms: int, failover_timeout_ms: int
    ) -> None:
        """Write its configuration: it knows everybody from the start, rather than hear of them within seconds.

        The first of `servers` is the primary. A sentinel writes what it learns into the same file.
        """
        primary, *replicas = servers
        quorum = (len(others) + 1) // 2 + 1
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            *(f"{name} {value}" for name, value in self.config.items()),
            f"unixsocket {self.socket_path}",
            f"dir {self.directory}",
            "user default off",
            f'user {_WATCHER} on "#{sha256(_WATCHER_PASSWORD.encode()).hexdigest()}" ~* &* +@all',
            f"user {_ASKER} {' '.join(sentinel_rules(sentinel_commands(replicas=True), _ASKER_PASSWORD))}",
            f"sentinel myid {self.run_id}",
            f"sentinel sentinel-user {_WATCHER}",
            f'sentinel sentinel-pass "{_WATCHER_PASSWORD}"',
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} {quorum}",
            f'sentinel auth-pass {NAME} "{primary.password}"',
            f"sentinel down-after-milliseconds {NAME} {down_after_ms}",
            f"sentinel failover-timeout {NAME} {failover_timeout_ms}",
            f"sentinel parallel-syncs {NAME} {max(len(replicas), 1)}",
            *(f"sentinel known-replica {NAME} 127.0.0.1 {replica.port}" for replica in replicas),
            *(f"sentinel known-sentinel {NAME} 127.0.0.1 {other.port} {other.run_id}" for other in others),
        ]
        (self.directory / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> Self:
        super().start()
        with self.client() as client:
            try:
                for name, value in _QUICK.items():
                    client.execute_command("SENTINEL", "DEBUG", name, value)
            except ResponseError:
                pass  # before 7.0 it keeps its own pace
        return self

    def client(self, **options: object) -> Redis:
        return super().client(**{"username": _WATCHER, "password": _WATCHER_PASSWORD, **options})

    def primary_port(self) -> int:
        """The port of the server that it takes for the primary."""
        with self.client() as client:
            return int(cast(list[bytes], client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))[1])

    def is_idle_with(self, primary: RedisServer) -> bool:
        """Whether it answers, takes `primary` for the primary, and is not about to put another one in its place."""
        try:
            with self.client() as client:
                about = client.sentinel_master(NAME)
        except RedisError:
            return False
        return about["port"] == primary.port and "failover_in_progress" not in about["flags"]

    def _command(self) -> list[str | Path]:
        return [self.binary, self.directory / "sentinel.conf", "--sentinel"]


class Sentinels(Topology):
    """A primary and its replicas, watched by sentinels.

    Parameters
    ----------
    binary : Path, optional
        The server to run.
    replicas, sentinels : int
        How many of each.
    down_after_ms : int
        How long a server has to be silent until a sentinel takes it for down.
    failover_timeout_ms : int
        How long a failover may take; after twice that the sentinels try again.
    config : Mapping[str, str], optional
        Directives for the servers that hold data.
    tls : bool
        Whether everybody demands and shows a certificate.
    traders : Sequence[TraderId]
        Traders that have users of their own, who may do what they need and no more. For others, and where there are
        none, the URL is that of somebody who may do everything.

    """

    name = "sentinel"
    can = frozenset({"fail over", "restart"})

    def __init__(
        self,
        *,
        binary: Path | None = None,
        replicas: int = 2,
        sentinels: int = 3,
        down_after_ms: int = 1_000,
        failover_timeout_ms: int = 3_000,
        config: Mapping[str, str] | None = None,
        tls: bool = False,
        traders: Sequence[TraderId] = (),
    ) -> None:
        self._certificates = Certificates("127.0.0.1") if tls else None
        self.replicas_each = replicas
        self._users = Users(traders, "sentinel", replicas=replicas > 0)
        self.servers = [
            RedisServer(
                binary=binary,
                tcp=True,
                password=_PASSWORD,
                remembers=True,
                certificates=self._certificates,
                users=self._users.lines,
                config={**CONDITIONS, **(config or {})},
            )
            for _ in range(1 + replicas)
        ]
        self.sentinels = [Sentinel(binary=binary, certificates=self._certificates) for _ in range(sentinels)]
        self._times = down_after_ms, failover_timeout_ms
        self._running = ExitStack()

    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        """Every sentinel, the name of the primary, and both passwords."""
        who = self._users.of(trader_id, task) or f":{quote(_PASSWORD, safe='')}"
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        scheme, query = ("redis", "") if self._certificates is None else ("rediss", f"&{self._certificates.query}")
        return (
            f"{scheme}+sentinel://{who}@{hosts}/{NAME}"
            f"?sentinel_username={_ASKER}&sentinel_password={quote(_ASKER_PASSWORD, safe='')}{query}"
        )

    def start(self) -> Self:
        with ExitStack() as running:
            for server in [*self.servers, *self.sentinels]:
                running.callback(server.close)
            for server in self.servers:
                server.start()
            for server in self.servers[1:]:
                server.follow(self.servers[0])
            for sentinel in self.sentinels:
                sentinel.watch(self.servers, [other for other in self.sentinels if other is not sentinel], *self._times)
                sentinel.start()
            until(self._watched, "the sentinels do not know one another")
            self._running = running.pop_all()
        return self

    def close(self) -> None:
        self._running.close()
        if self._certificates is not None:
            self._certificates.close()

    def primary(self, namespace: str = "") -> RedisServer:
        """The server that a majority of the sentinels that answer takes for the primary."""
        said = [port for port in map(_said, self.sentinels) if port is not None]
        assert said, "no sentinel answers"
        port = max(set(said), key=said.count)
        return next(server for server in self.servers if server.port == port)

    def replicas(self, namespace: str = "") -> list[RedisServer]:
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def fail_over(self, namespace: str = "") -> RedisServer:
        """Have the sentinels make a replica the primary, in order; the new one, when everybody follows it."""
        before = self.primary()

        def done() -> bool:
            if all(sentinel.is_idle_with(before) for sentinel in self.sentinels if sentinel.alive):
                self.begin_fail_over()  # again, if the one before did not come to its end in time
            return self.primary() is not before and self.settled()

        until(done, lambda: f"no sentinel brings a failover to its end. {self.describe()}")
        return self.primary()

    def settled(self, namespace: str = "") -> bool:
        """Whether all sentinels that answer agree on a primary that is one, with every living replica behind it."""
        if len({port for port in map(_said, self.sentinels) if port is not None}) != 1:
            return False
        primary = self.primary()
        if not primary.leads() or not all(each.is_idle_with(primary) for each in self.sentinels if each.alive):
            return False
        return all(server.follows(primary) for server in self.servers if server is not primary and server.alive)

    def describe(self) -> str:
        said = [
            f"{sentinel.port}: the primary is {_said(sentinel)}\n{sentinel.log()[-1500:]}"
            for sentinel in self.sentinels
        ]
        return "\n".join([super().describe(), *said])

    def begin_fail_over(self) -> None:
        """Ask a sentinel to make a replica the primary, and wait for nothing."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                try:
                    client.execute_command("SENTINEL", "FAILOVER", NAME)
                except RedisError:
                    continue  # NOGOODSLAVE: it has not heard of a replica recently enough
                return

    def _watched(self) -> bool:
        """Whether every sentinel is in touch with everybody."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                about = client.sentinel_master(NAME)
                known = about["num-other-sentinels"], about["num-slaves"]
                if about["flags"] != "master" or known != (len(self.sentinels) - 1, len(self.servers) - 1):
                    return False
        return True


def _said(sentinel: Sentinel) -> int | None:
    if not sentinel.alive:
        return None
    try:
        return sentinel.primary_port()
    except RedisError:
        return None
