"""The torn end of an embedded server's append-only file: found, kept and cut off, transactions whole.

The server writes what a script wrote as one transaction, from ``MULTI`` to ``EXEC``. Killed in the middle of that,
Redis and older Valkey cut off only the last *command* at their next start, and leave the ``MULTI`` open.
At the start after that they execute the half transaction together with the one behind it: half a batch, or a batch
twice. So the embedded server cuts nothing itself (``aof-load-truncated no``): it exits, and the end is cut here.

Three have to agree before anything is cut. The server could not load the file. Its own checking tool says up to where
there are whole commands and whole transactions. And what is behind that is the beginning of a single transaction, or of
a single command, and nothing else: damage in the middle of a file is not taken for its end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from eventstore.errors import EmbeddedServerError

_SINGLE_FILE: Final = "appendonly.aof"
_MANIFEST: Final = "appendonlydir/appendonly.aof.manifest"
_MANIFEST_LINE: Final = re.compile(rb"^file (\S+) seq (\d+) type ([bi])\b", re.MULTILINE)
"""A file that Redis 7 and newer loads: the base, or an increment to it; not one of the past (type h)."""

_TOOLS: Final = ("redis-check-aof", "valkey-check-aof")
_WHOLE: Final = re.compile(rb"\bok_up_to=(\d+),")

_END_BYTES_MAX: Final = 1 << 30
_NUMBER_BYTES_MAX: Final = 24
"""A number with its mark and its line end; longer is none."""
_ANOTHER_COMMAND: Final = re.compile(rb"\r\n\*\d+\r\n\$\d+\r\n")
"""Where an argument ends and a command begins. An argument may hold the same by chance: then nothing is cut off."""


class TornEnd(NamedTuple):
    """What a crash left at the end of an append-only file: `size` bytes from `offset` on."""

    path: Path
    offset: int
    size: int


def find_torn_end(home: Path, binary: Path, timeout_s: float) -> TornEnd | None:
    """The torn end of the file that `binary` writes in the data directory `home`, or None. Changes nothing.

    Parameters
    ----------
    home : Path
        Where no server may run.
    binary : Path
        The server, which is its own checking tool. If it is a script, a tool on the PATH is asked.
    timeout_s : float
        How long the tool may take, in seconds. It reads the whole file.

    Raises
    ------
    EmbeddedServerError
        If the file is damaged elsewhere than at its end, or the tool was not done in time.
    OSError
        If the file can not be read.
    """
    path = _last_file(home)
    offset = None if path is None else _whole_bytes(path, binary, timeout_s)
    if path is None or offset is None:
        return None
    size = path.stat().st_size - offset
    if not size:
        return None
    with path.open("rb") as file:
        file.seek(offset)
        if size > _END_BYTES_MAX or not is_torn(file.read()):
            raise EmbeddedServerError(
                f"{path} is damaged at offset {offset}, and not as a crash leaves it: there is more than the beginning"
                f" of one transaction in the {size} bytes from there on. Nothing was changed. Restore a copy of"
                f" {home}; `redis-check-aof --fix` would give up all that is behind the damage"
            )
    return TornEnd(path, offset, size)


def cut(end: TornEnd, home: Path) -> Path:
    """Cut `end` off, and keep it in a file in `home`, which is returned. Both are on the disk when this returns.

    Raises
    ------
    OSError
        If it can not be kept or not be cut off. What could not be kept is not cut off.
    """
    kept = home / f"torn-{time.time_ns()}.aof"
    with end.path.open("r+b") as file:
        file.seek(end.offset)
        with kept.open("xb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        _sync_directory(home)
        file.truncate(end.offset)
        os.fsync(file.fileno())
    return kept


def is_torn(end: bytes) -> bool:
    """Whether `end` is the beginning of one transaction, or of one command outside of any, and breaks off.

    A crash of the machine can leave zeros where something was about to be written; they count as nothing.
    """
    end = end.rstrip(b"\0")
    at = 0
    try:
        while at < len(end):
            name, behind = _command(end, at)
            if (name == b"MULTI") != (at == 0) or name == b"EXEC":
                return False  # a whole command outside of a transaction, or a whole transaction: not to be lost
            at = behind
    except EOFError:
        return True
    except ValueError:
        return False
    return True


def _command(data: bytes, at: int) -> tuple[bytes, int]:
    """The name of the command at `at`, and where the next one begins.

    Raises
    ------
    EOFError
        If `data` ends in the middle of it.
    ValueError
        If there is none.
    """
    count, at = _number(data, at, b"*")
    if count < 1:
        raise ValueError("a command of nothing")
    name = None
    for _ in range(count):
        size, at = _number(data, at, b"$")
        begin, at = at, at + size + 2
        if at > len(data):
            # A size that was damaged reaches behind the end, too, and over whole commands.
            if _ANOTHER_COMMAND.search(data, begin):
                raise ValueError("another command in the middle of one")
            raise EOFError
        if data[at - 2 : at] != b"\r\n":
            raise ValueError("an argument of another size")
        if name is None:
            name = data[begin : at - 2].upper()
    return name or b"", at


def _number(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    """The number at `at`, which begins with `mark`, and where its line ends. Raises as `_command`."""
    line = data[at : at + _NUMBER_BYTES_MAX]
    number, _, rest = line[1:].partition(b"\r")
    if line[:1] not in (mark, b"") or (number and not number.isdigit()) or rest[:1] not in (b"\n", b""):
        raise ValueError("no number")
    if not rest:
        if len(line) == _NUMBER_BYTES_MAX:
            raise ValueError("a number without an end")
        raise EOFError
    return int(number), at + len(number) + 3


def _last_file(home: Path) -> Path | None:
    """The file that the server appends to, the only one that a crash can tear; None if there is none."""
    manifest = home / _MANIFEST
    if manifest.exists():
        files = _MANIFEST_LINE.findall(manifest.read_bytes())
        # Increments ("i") are loaded behind the base ("b"), in the order of their numbers.
        files.sort(key=lambda file: (file[2] == b"i", int(file[1])))
        path = manifest.with_name(os.fsdecode(files[-1][0])) if files else manifest
    else:
        path = home / _SINGLE_FILE
    return path if path.exists() else None


def _whole_bytes(path: Path, binary: Path, timeout_s: float) -> int | None:
    """How many bytes of the file are whole commands and whole transactions; None if no tool can tell."""
    for name, program in _tools(binary):
        try:
            answer = subprocess.run(
                [name, path],
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=timeout_s,
            ).stdout
        except subprocess.TimeoutExpired as error:
            raise EmbeddedServerError(
                f"{path} may end in the middle of a command; to find out took longer than {timeout_s} s, wait longer"
                " (timeout_s)"
            ) from error
        if found := _WHOLE.search(answer):
            return int(found[1])
    return None


def _tools(binary: Path) -> Iterator[tuple[str, Path]]:
    """Programs that check a file, each with the name by which it has to be called."""
    with binary.open("rb") as file:
        is_script = file.read(2) == b"#!"
    if not is_script:
        yield _TOOLS[0], binary  # a server that is called by this name is the tool
    for name in _TOOLS:
        if found := shutil.which(name):
            yield name, Path(found)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
