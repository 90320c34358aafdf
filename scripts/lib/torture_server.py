"""A server that is killed, frozen and set back to what it was before."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.redis_server import RedisServer


class Victim(RedisServer):
    """A server whose deaths nobody waits for: `launch` returns before it answers.

    `heal` is for Redis up to 7.0 at least, and every Valkey before 9.1.2: killed in the middle of writing a transaction
    to their file, they come up right, but leave the ``MULTI`` in it, and at the start after that they execute what is
    behind it together with the next transaction (github.com/valkey-io/valkey, pull request 4342).
    """

    def __init__(self, *, binary: Path, config: Mapping[str, str], heal: bool) -> None:
        super().__init__(binary=binary, config=config)
        self._heals = heal

    def launch(self) -> None:
        """Start it, without waiting until it has loaded its data."""
        if self._heals:
            self._heal()
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _heal(self) -> None:
        """Cut what is not whole off its file, transactions included, with the server's own tool for that."""
        manifests = [path for root in self.files() if root.is_dir() for path in root.glob("*.manifest")]
        for path in manifests or self.files():
            # The server is the tool, if it is called by its name.
            subprocess.run(
                ["redis-check-aof", "--fix", path],
                executable=self.binary,
                input=b"y\n",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )

    @property
    def launched(self) -> bool:
        """Whether it was started, and not killed since."""
        return self._process is not None

    @property
    def exit_status(self) -> int | None:
        """How it ended by itself, or None."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def files(self) -> list[Path]:
        """What it keeps its data in."""
        return sorted(self.directory.glob("appendonly*"))

    def size(self) -> int:
        """The bytes of its data."""
        paths = [path for root in self.files() for path in (root.rglob("*") if root.is_dir() else (root,))]
        return sum(path.stat().st_size for path in paths)

    def copy_data(self, place: Path) -> None:
        """Copy its data as they stand in the files now, running or not."""
        place.mkdir(parents=True)
        for path in self.files():
            if path.is_dir():
                shutil.copytree(path, place / path.name)
            else:
                shutil.copy2(path, place)

    def set_back(self, place: Path) -> int:
        """Put the data back that `copy_data` kept, while it does not run; return how many bytes that takes away."""
        before = self.size()
        for path in self.files():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in place.iterdir():
            if path.is_dir():
                shutil.copytree(path, self.directory / path.name)
            else:
                shutil.copy2(path, self.directory)
        return before - self.size()
