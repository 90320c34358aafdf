"""Every arrangement of servers that the library works with, by name."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventstore.model.identifiers import TraderId
from eventstore.storage.embedded import EmbeddedServer, find_server_binary
from tests.support.certificates import HOST, Certificates
from tests.support.cli import TRADER as RECORDER
from tests.support.clusters import Cluster
from tests.support.databases import TRADER
from tests.support.redis_server import RedisServer, more_servers, server_binaries, speaks_tls
from tests.support.sentinels import Sentinels
from tests.support.tls_proxy import TlsProxy
from tests.support.topology import Topology
from tests.support.users import Task, Users

_PASSWORD = "p@ss:/?#0"
_PATIENT_MS = 3_000
"""How long a server may be silent that nobody kills: on a busy machine that says little."""


class Embedded(Topology):
    """The server that the library starts by itself for a directory. It runs on, as the test uses it, too."""

    name = "embedded"

    def __init__(self) -> None:
        self.servers = []
        self._directory = Path(tempfile.mkdtemp(prefix="es-"))

    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        return str(self._directory)

    def start(self) -> Self:
        self._server = EmbeddedServer.open(self._directory)
        return self

    def close(self) -> None:
        self._server.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def settled(self, namespace: str = "") -> bool:
        return True

    def client_of(self, namespace: str = "") -> Redis:
        return Redis(unix_socket_path=str(self._server.socket_path), socket_timeout=10.0, retry=Retry(NoBackoff(), 0))


class One(Topology):
    """One server, reached by its socket, or with a password by TCP."""

    can = frozenset({"restart"})

    def __init__(self, *, tcp: bool, binary: Path | None = None) -> None:
        self.name = "plain" if tcp else "unix"
        # What it has outlives a restart.
        kept = {"appendonly": "yes", "appendfsync": "always"}
        self._server = RedisServer(binary=binary, tcp=tcp, password=_PASSWORD if tcp else None, config=kept)
        self.servers = [self._server]

    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        if self._server.password is None:
            return self._server.url
        return f"redis://:{quote(self._server.password, safe='')}@127.0.0.1:{self._server.port}"

    def start(self) -> Self:
        self._server.start()
        return self

    def close(self) -> None:
        self._server.close()


class Tls(Topology):
    """A server that demands a client's certificate, and where each trader has users with the least rights.

    A server that has no TLS has a proxy in front that does that for it.
    """

    name = "tls"
    can = frozenset({"restart"})

    def __init__(self, *, binary: Path | None = None, traders: Sequence[TraderId] = (TRADER,)) -> None:
        self._users = Users(traders)
        self._certificates = Certificates()
        binary = binary or find_server_binary()
        self._server = RedisServer(
            binary=binary,
            tcp=speaks_tls(binary),
            password=_PASSWORD,
            certificates=self._certificates if speaks_tls(binary) else None,
            users=self._users.lines,
        )
        self._proxy: TlsProxy | None = None
        self.servers = [self._server]

    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        who = self._users.of(trader_id, task) or f":{quote(_PASSWORD, safe='')}"
        port = self._server.port if self._proxy is None else self._proxy.port
        return f"rediss://{who}@{HOST}:{port}?{self._certificates.query}"

    def start(self) -> Self:
        self._server.start()
        if not speaks_tls(self._server.binary):
            self._proxy = TlsProxy(self._server.socket_path, self._certificates)
        return self

    def close(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        self._server.close()
        self._certificates.close()


OTHER = TraderId("TRADER-0011")
"""A trader whose name begins like the other one's."""

_TRADERS = (TRADER, OTHER, TraderId(RECORDER))


def _every() -> dict[str, Callable[[], Topology]]:
    made: dict[str, Callable[[], Topology]] = {
        "embedded": Embedded,
        "unix": lambda: One(tcp=False),
        "tls": lambda: Tls(traders=_TRADERS),
    }
    servers, asked_for = server_binaries(), more_servers()
    for name, binary in servers.items():
        made[f"plain on {name}"] = partial(One, tcp=True, binary=binary)
    # Six servers each: with the one that there usually is, the newest, and those that were asked for.
    for name in dict.fromkeys([[*servers][-1], max(servers, key=_version), *asked_for]):
        made[f"sentinel on {name}"] = partial(
            Sentinels, binary=servers[name], traders=_TRADERS, down_after_ms=_PATIENT_MS
        )
        made[f"cluster on {name}"] = partial(
            Cluster, binary=servers[name], traders=_TRADERS, node_timeout_ms=_PATIENT_MS
        )
    return made


def _version(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))


TOPOLOGIES = _every()
"""What the library promises the same of: each not started yet."""

REPLICATED = [name for name in TOPOLOGIES if name.startswith(("sentinel", "cluster"))]
"""Those that have replicas."""
