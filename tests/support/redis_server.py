"""A real Redis server that a test starts, kills, freezes and starts again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from eventstore.storage.embedded import find_server_binary, installed_server_binaries
from tests.support.ports import Port

if TYPE_CHECKING:  # who makes none needs nothing to make them with
    from tests.support.certificates import Certificates

_STEP_S = 0.01
_STEPS_MAX = 1_000


class RedisServer:
    """A server of its own, in a directory of its own, on a unix socket and, when asked, on a TCP port of the loopback.

    Its data outlive a kill only with ``config={"appendonly": "yes", "appendfsync": "always"}``.

    Parameters
    ----------
    binary : Path, optional
        The server to run; by default the one that the library would launch.
    tcp : bool
        Whether to listen on a free port of 127.0.0.1 as well.
    config : Mapping[str, str], optional
        Directives of redis.conf, before those of `_directives`.
    bus : int
        How far above its port another one has to be free, too, as for the nodes of a cluster.
    password : str, optional
        What the server asks everybody for, its replicas too.
    remembers : bool
        Whether it has a file of its own, into which CONFIG REWRITE puts what it became, such as a replica.
    certificates : Certificates, optional
        What it shows and demands, if its port is to be one for TLS.
    users : Sequence[str]
        Users besides the one that may do everything, as lines of an aclfile.

    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        tcp: bool = False,
        config: Mapping[str, str] | None = None,
        bus: int = 0,
        password: str | None = None,
        remembers: bool = False,
        certificates: Certificates | None = None,
        users: Sequence[str] = (),
    ) -> None:
        self.binary = binary or find_server_binary()
        # Not pytest's tmp_path: a socket path has 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket_path = self.directory / "redis.sock"
        self.url = f"unix://{self.socket_path}"
        self._port = Port(bus) if tcp else None
        self.port = 0 if self._port is None else self._port.number
        self.tcp_url = f"redis://127.0.0.1:{self.port}" if self.port else None
        self.password = password
        self._file = self.directory / "redis.conf" if remembers else None
        self.config = dict(config or {})
        if password is not None:
            self.config |= {"requirepass": password, "masterauth": password}
        if certificates is not None:
            self.config |= {"port": "0", "tls-port": str(self.port), **certificates.directives}
        if users:
            everybody = "nopass" if password is None else f"#{sha256(password.encode()).hexdigest()}"
            lines = [f"user default on {everybody} ~* &* +@all", *users]
            (self.directory / "users.acl").write_text("".join(f"{line}\n" for line in lines))
            self.config |= {"aclfile": str(self.directory / "users.acl")}
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    @property
    def alive(self) -> bool:
        """Whether it runs, and is not frozen."""
        return self._process is not None and not self._frozen

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Start it and wait until it has loaded its data and answers."""
        with (self.directory / "redis.log").open("ab") as log:
            self._process = process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        for _ in range(_STEPS_MAX):
            if self._answers():
                return self
            try:
                status = process.wait(_STEP_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"{self.binary} exited with {status}: {self.log()[-2000:]}")
        self.kill()
        raise AssertionError(f"{self.binary} was not ready in time: {self.log()[-2000:]}")

    def stop(self) -> None:
        """Let it shut down in order. Its data stay; nothing happens when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = True) -> None:
        """Kill it, or let it shut down, and start it again on the same addresses and data."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._running().send_signal(signal.SIGCONT)
        self._frozen = False

    def follow(self, primary: RedisServer) -> None:
        """Become a replica of `primary`, which listens on TCP, and wait until it takes part in what that writes."""
        with self.client() as client, primary.client(single_connection_client=True) as source:
            client.replicaof("127.0.0.1", str(primary.port))
            for _ in range(_STEPS_MAX):
                if client.info("replication")["master_link_status"] == "up":
                    break
                try:
                    status = self._running().wait(_STEP_S)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(f"{self.binary} exited with {status}: {self.log()[-2000:]}")
            # A primary sends a new replica nothing before that has asked for it, which takes up to a second more.
            source.publish("anything", "that is replicated")
            replicas = source.info("replication")["connected_slaves"]
            assert source.execute_command("WAIT", replicas, 9_000) == replicas, f"no replica: {self.log()[-2000:]}"

    def promote(self) -> None:
        """Be a replica no more, as after a failover."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def leads(self) -> bool:
        """Whether it runs, answers and is no replica."""
        return self._replication().get("role") == "master"

    def follows(self, primary: RedisServer) -> bool:
        """Whether it is a replica of `primary` and takes part in what that writes."""
        facts = self._replication()
        return facts.get("master_port") == primary.port and facts.get("master_link_status") == "up"

    def describe(self) -> str:
        """Whose replica it is, for whoever reads of a test that failed."""
        facts = self._replication()
        if not facts:
            return "silent"
        of = f" of {facts['master_port']}, {facts['master_link_status']}" if "master_port" in facts else ""
        return f"{facts['role']}{of}"

    def _replication(self) -> dict[str, Any]:
        if not self.alive:
            return {}
        try:
            with self.client() as client:
                return cast(dict[str, Any], client.info("replication"))
        except RedisError:
            return {}

    def client(self, **options: object) -> Redis:
        """A client of this server that retries nothing. To be closed, or used in a with statement."""
        defaults = {
            "unix_socket_path": str(self.socket_path),
            "password": self.password,
            "socket_timeout": 10.0,
            "retry": Retry(NoBackoff(), 0),
        }
        return Redis(**{**defaults, **options})  # type: ignore[arg-type]  # Options of any type, checked by redis.

    def log(self) -> str:
        return (self.directory / "redis.log").read_text(errors="replace")

    def close(self) -> None:
        """Kill it and delete its directory."""
        self.kill()
        if self._port is not None:
            self._port.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server does not run"
        return self._process

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        self._frozen = False
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # A frozen server does not take SIGTERM.
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _command(self) -> list[str | Path]:
        if self._file is None:
            return [self.binary, *(part for name, value in self._directives().items() for part in (f"--{name}", value))]
        if not self._file.exists():
            self._file.write_text("".join(f'{name} "{value}"\n' for name, value in self._directives().items()))
        return [self.binary, self._file]

    def _directives(self) -> dict[str, str]:
        return {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket_path),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": "0",  # Replicas of a test come one by one.
            **self.config,
        }

    def _answers(self) -> bool:
        try:
            with self.client(socket_timeout=1.0) as client:
                return bool(client.ping())
        except RedisError:
            return False


MORE_SERVERS = "EVENTSTORE_TEST_SERVERS"
"""Environment variable that names more servers to test with, such as what `scripts/get-redis` got: paths, by colons."""


def server_binaries() -> dict[str, Path]:
    """Every kind of server that is installed here, by name and version, such as ``Redis-6.2.14``; the preferred one
    is the last."""
    return more_servers() | {_version(binary): binary for binary in reversed(list(installed_server_binaries()))}


def server_since_7() -> Path:
    """A server that knows what Redis does from 7.0 on."""
    *_, binary = (binary for name, binary in server_binaries().items() if not name.startswith("Redis-6."))
    return binary


def redis_cli() -> str | None:
    """Where redis-cli is: on the PATH, or beside a server."""
    beside = [str(binary.parent) for binary in server_binaries().values()]
    return shutil.which("redis-cli") or shutil.which("redis-cli", path=os.pathsep.join(beside))


def more_servers() -> dict[str, Path]:
    """The servers that `MORE_SERVERS` names, as `server_binaries`."""
    paths = [Path(path) for path in os.environ.get(MORE_SERVERS, "").split(":") if path]
    return {_version(path): path for path in paths}


def _version(binary: Path) -> str:
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"{answer[0]}-{answer[2].removeprefix('v=')}"


@cache
def speaks_tls(binary: Path) -> bool:
    """Whether it was built with TLS. One that was misses the certificate, and ends, too."""
    tried = subprocess.run([binary, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False)
    return re.search("Bad directive|connection type tls", tried.stdout + tried.stderr) is None
