"""The command line as users run it: a process."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstore.storage.embedded import EmbeddedServer
from tests.support.cli import Run
from tests.support.processes import ROOT


@pytest.fixture
def eventstore() -> Run:
    """Runs `eventstore` with the arguments given, and returns what came of it."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eventstore", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        )

    return run


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory with a short path: a socket's has 107 bytes. Servers that a failed test left in it are stopped."""
    path = Path(tempfile.mkdtemp(prefix="es-"))
    yield path
    for pid_file in path.rglob("redis.pid"):
        EmbeddedServer.open(pid_file.parent).close()
    shutil.rmtree(path, ignore_errors=True)
