"""A lock that is a file: one process at a time, until it lets go or ends."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class LockTaken(Exception):
    """Another process has the lock, or this one already. `holder` is its process id as text, ``?`` if unknown."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class FileLock:
    """The lock of the file `path`, which is made if it is not there. A context manager.

    Raises, when it is made
    -----------------------
    LockTaken
        If another process has it, or this one already.
    OSError
        If the file can not be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise LockTaken(holder or "?") from error
        with suppress(OSError):  # it is for people, and the lock stands where there is no room
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """Let it go."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            # Closing is not enough: a child that is being forked has a descriptor of the same lock for a moment.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def disown(self) -> None:
        """In a child after a fork: close its descriptor, which leaves the lock to the parent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
