"""Data directories of embedded servers as a crash leaves them: the last transaction in the file is not whole."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.storage import embedded
from eventstore.storage.appender import Appender, called, claim
from eventstore.storage.connect import connect
from eventstore.storage.embedded import EmbeddedServer
from tests.support.databases import TRADER
from tests.support.outages import until
from tests.support.processes import wait_for_end

KEYS = Keys(TRADER)
MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"

PAST: Sequence[c.Command] = [c.WriteAccount("SIM-001", 0, [b"a life"]), c.Add("key", b"value")]
LAST: Sequence[c.Command] = [
    c.WriteAccount("SIM-001", 0, [b"another life"]),
    c.Add("key", b"1\r\n"),
    c.Add("0", b"\0\0"),
]
"""Two batches. The second retires what the first wrote: if it is applied twice, or by half, it shows."""


@contextmanager
def launched_with(binary: Path) -> Iterator[None]:
    """Let the library find this server, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "find_server_binary", lambda: binary)
        yield


def append(url: str, commands: Sequence[c.Command]) -> int:
    """Claim the log and append one batch, which outlives a kill then; the position of its last entry."""
    with connect(url, 10.0, "writer") as client:
        # With "everysec" a write that follows upon a sync that is slow is put off, and answered all the same.
        client.config_set("appendfsync", "always")
        claimed = claim(client, KEYS, "somebody", 1)
        appender = Appender(client, KEYS, claimed)
        entries = [
            appender.encode(("call", "key", 1, called, type(command), tuple(command), None, None))
            for command in commands
        ]
        batch = appender.seal(claimed.position + 1, entries)
        appender.send(batch)
        appender.receive(batch)
        appender.close()
    return batch.last


def kill(server: EmbeddedServer) -> None:
    """Kill it with SIGKILL, as a crash would."""
    os.kill(server.pid, signal.SIGKILL)
    assert wait_for_end(server.pid)


class Written(NamedTuple):
    """What the append-only file of a killed server holds, whole: `PAST`, and from `begin` to `end` `LAST`."""

    files: Path
    file: Path
    begin: int
    end: int

    def torn(self, home: Path, cut: int, zeros: int = 0) -> Path:
        """Make `home` a data directory whose file ends at `cut`, but for that many zeros; return the file."""
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.files, home)
        file = home / self.file
        with file.open("r+b") as stream:
            stream.truncate(cut)
            stream.truncate(cut + zeros)
        return file


def write(home: Path, binary: Path, files: Path, *, rewritten: bool) -> Written:
    """Let `binary` write both batches in `home`, kill it, and keep its data in `files`."""
    with launched_with(binary), EmbeddedServer.open(home) as server:
        append(server.url, PAST)
        if rewritten:
            _rewrite(server)
        append(server.url, LAST)
        kill(server)
    files.mkdir(mode=0o700)
    for path in home.iterdir():
        if path.name.startswith("appendonly"):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, files / path.name)
    (files / "eventstore.lock").touch()
    (file,) = (path for path in files.rglob("appendonly*") if path.is_file() and MULTI in path.read_bytes()[-4000:])
    data = file.read_bytes()
    assert data.endswith(EXEC)
    return Written(files, file.relative_to(files), data.rindex(MULTI), len(data))


def _rewrite(server: EmbeddedServer) -> None:
    """Have the file written anew, so that it begins with a dump of what there is."""

    def done(client: Redis) -> bool:
        facts = cast(dict[str, object], client.info("persistence"))
        return not facts["aof_rewrite_in_progress"] and not facts["aof_rewrite_scheduled"]

    with Redis.from_url(server.url) as client:
        client.bgrewriteaof()
        until(lambda: done(client))
