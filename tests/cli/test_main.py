"""What all verbs have in common: the version, the help, and a standard output that takes nothing."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventstore.cli import app
from tests.support.cli import Run
from tests.support.databases import open_database
from tests.support.processes import ROOT


def test_the_version_is_that_of_the_package(eventstore: Run) -> None:
    done = eventstore("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"eventstore {importlib.metadata.version('eventstore')}\n"


def test_the_help_shows_every_summary_whole(eventstore: Run) -> None:
    said = eventstore("--help").stdout
    assert all(f"  {command.name or command.callback.__name__}" in said for command in app.registered_commands[:-1])
    assert "..." not in said.partition("Commands:")[2]


@pytest.mark.parametrize("arguments", [("log",), ("log", "--json"), ("status",), ("status", "--json"), ("replay",)])
def test_a_standard_output_that_takes_nothing_is_one_line(arguments: tuple[str, ...], redis_url: str) -> None:
    """As on a full disk: here, a file that is open for reading alone."""
    with open_database(redis_url) as database:
        database.add("key", b"value")
    verb, *options = arguments
    with Path(os.devnull).open() as nothing:
        done = subprocess.run(
            [sys.executable, "-m", "eventstore", verb, redis_url, *options],
            stdout=nothing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert (done.returncode, done.stderr) == (1, "error: standard output: Bad file descriptor\n")
