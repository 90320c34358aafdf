"""The data directory of an embedded server: its owner, its marks and locks, and where its socket lies."""

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from eventstore.errors import EmbeddedServerError

SOCKET: Final = "redis.sock"
POLL_S: Final = 0.005
_OPENING_LOCK: Final = "eventstore.lock"
_SOCKET_PATH_BYTES_MAX: Final = 103
"""What fits in ``sockaddr_un.sun_path``: 107 bytes on Linux, 103 on macOS and the BSDs."""


def own_directory(directory: Path | str) -> Path:
    """Create the directory, or check that it is ours, and mark it."""
    home = Path(os.path.realpath(directory))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = os.listdir(home)
        if names and _OPENING_LOCK not in names:
            raise EmbeddedServerError(
                f"{home} holds {min(names)!r} and was not made by an embedded server; name an empty or a new directory"
            )
        _check_owner(home)
        if names:
            _check_private(home)
        else:
            home.chmod(0o700)
        os.close(open_lock(home / _OPENING_LOCK))
    except OSError as error:
        raise EmbeddedServerError(f"cannot use {home} as a data directory: {error}; name another one") from error
    return home


def is_data_directory(directory: Path | str) -> bool:
    """Whether an embedded server was made in the directory. Changes nothing."""
    return Path(directory, _OPENING_LOCK).is_file()


def _check_owner(directory: Path) -> None:
    status = directory.lstat()  # Not through a link, which could lead elsewhere in a moment.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise EmbeddedServerError(
            f"{directory} is not a directory of user id {os.geteuid()}, as which this process runs, but of user id"
            f" {status.st_uid}; run as that user or name another directory"
        )


def _check_private(directory: Path) -> None:
    mode = stat.S_IMODE(directory.lstat().st_mode)
    if mode & 0o077:
        raise EmbeddedServerError(
            f"{directory} has mode {mode:04o}, so other users could reach the data; run `chmod 700 {directory}`"
        )


def choose_socket_path(home: Path) -> Path:
    """A path inside the directory or, where that is too long for a socket, in a private directory of its own."""
    path = home / SOCKET
    if _fits(path):
        return path
    digest = hashlib.blake2b(os.fsencode(home), digest_size=8).hexdigest()
    private = Path(os.path.realpath(tempfile.gettempdir()), f"eventstore-{os.geteuid()}-{digest}")
    path = private / SOCKET
    if not _fits(path):
        raise EmbeddedServerError(
            f"{home} is too long for a unix socket, and so is {private}: a socket has at most {_SOCKET_PATH_BYTES_MAX}"
            " bytes; name a shorter directory, or set TMPDIR to one"
        )
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        _check_owner(private)
        _check_private(private)
    except OSError as error:
        raise EmbeddedServerError(f"cannot make {private} for the socket: {error}; name a shorter directory") from error
    return path


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX


def open_lock(path: Path) -> int:
    """Open a lock file, not yet locked; its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(fd: int) -> bool:
    """Take the lock exclusively if nobody else holds it, without waiting; whether it is ours now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def drop_lock(fd: int) -> None:
    """Give the lock back and close the descriptor."""
    # Closing is not enough: a child that was forked meanwhile shares the lock until it closes its own descriptor.
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for the condition, at the latest until ``time.monotonic()`` reaches the deadline; whether it came true."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextmanager
def opening(home: Path, deadline: float) -> Iterator[None]:
    """Be the only process that starts, attaches to or stops the server of this directory."""
    fd = open_lock(home / _OPENING_LOCK)
    try:
        if not wait_until(partial(try_lock, fd), deadline):
            raise EmbeddedServerError(
                f"another process is starting or stopping the server of {home}; try again, or wait longer (timeout_s)"
            )
        yield
    finally:
        drop_lock(fd)
