"""What a journal needs of the file system: a directory of its own, a lock, room, and syncs that are told of errors."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

from eventstore.errors import JournalError, JournalRefused
from eventstore.file_lock import FileLock, LockTaken

LOCK: Final = "journal.lock"
UNFINISHED: Final = ".new"
"""Suffix of a file that is being made; it gets its name when it is whole."""
DAMAGED: Final = "damaged"
ASIDE: Final = "aside"

_SEGMENT: Final = re.compile(r"(\d{12})\.seg")
_ZEROS: Final = bytes(1 << 20)
_NO_ALLOCATE: Final = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def segment_path(directory: Path, number: int) -> Path:
    """The path of segment `number`."""
    return directory / f"{number:012d}.seg"


def segment_paths(directory: Path) -> dict[int, Path]:
    """The segments in `directory` by number, in order."""
    found = {int(match[1]): directory / name for name in os.listdir(directory) if (match := _SEGMENT.fullmatch(name))}
    return dict(sorted(found.items()))


def own_directory(directory: Path | str) -> Path:
    """Make the directory, or check that it is a journal's, or empty, and ours alone. Raises `JournalError`."""
    home = Path(os.path.realpath(directory))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = os.listdir(home)
        if names and LOCK not in names:
            raise JournalError(f"{home} holds {min(names)!r} and is no journal's; name an empty or a new directory")
        status = home.lstat()
        if status.st_uid != os.geteuid():
            raise JournalError(
                f"{home} is of user id {status.st_uid}, and this process runs as {os.geteuid()}; run as that user or "
                "name another directory"
            )
        if not names:
            home.chmod(0o700)
        elif stat.S_IMODE(status.st_mode) & 0o077:
            raise JournalError(
                f"{home} has mode {status.st_mode & 0o7777:04o}, so other users could read the commands in it; run "
                f"`chmod 700 {home}`"
            )
    except OSError as error:
        raise JournalError(f"{home} can not be a journal: {error}; name another directory") from error
    return home


def lock(directory: Path) -> FileLock:
    """Say that this process uses a directory. Raises `JournalRefused` if another one does, or this one already."""
    try:
        return FileLock(directory / LOCK)
    except LockTaken as taken:
        raise JournalRefused(
            f"{directory} is in use by process {taken.holder}: one process at a time; end that one, or name another "
            "directory"
        ) from taken


def allocate(fd: int, size: int) -> None:
    """Give the empty file `size` bytes of zeros that the disk has room for, so that writing to them can not fail.

    Raises
    ------
    OSError
        If there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_ALLOCATE:
                raise
        else:
            return
    offset = 0
    while offset < size:
        offset += os.pwrite(fd, _ZEROS[: size - offset], offset)


def write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data` at `offset`."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def sync_file(fd: int) -> None:
    """Wait until what was written to the file is on the disk.

    Raises
    ------
    OSError
        If the disk refused. What it refused may be gone for good, whatever a second call says.
    """
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_directory(directory: Path) -> None:
    """Wait until the names in the directory are on the disk. Raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
