"""A process that trades until it is killed, and says of each call that it returned: what it said outlives it."""

from __future__ import annotations

import json
from typing import Any

from eventstore import commands as c
from tests.support.outages import written
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

_SCRIPT = """
import itertools, json, os, sys
from tests.support.databases import open_database
database = open_database(sys.argv[1] or None, **json.loads(sys.argv[2]))
os.write(1, b"open\\n")
for number in itertools.count(int(sys.argv[3])):
    database.add("key-%d" % (number % 50), b"%d" % number)
    os.write(1, b"%d\\n" % number)
"""


class Life(PythonProcess):
    """A node that makes calls number `first`, `first` + 1, and so on. Without a URL, the settings say where.

    It stops for as long as nobody reads what it says.
    """

    def __init__(self, url: str | None, first: int = 0, **settings: Any) -> None:
        super().__init__(_SCRIPT, url or "", json.dumps(settings, default=str), first)
        self.returned = first
        """The number of calls, of all lives, that are known to have returned."""

    def opened(self) -> None:
        """Wait until it has opened its database."""
        assert self.line() == "open"

    def go_on(self, count: int) -> None:
        """Wait until so many more calls have returned."""
        for _ in range(count):
            self._heard(self.line())

    def die(self) -> int:
        """Kill it with SIGKILL; the number of calls that returned."""
        self.kill()
        while line := self.line():
            self._heard(line)
        return self.returned

    def _heard(self, line: str) -> None:
        assert line == str(self.returned)
        self.returned += 1


def call_of(number: int) -> c.Command:
    """What call `number` has to become."""
    return c.Add(f"key-{number % 50}", b"%d" % number)


def accounted(server: RedisServer, returned: int) -> int:
    """Assert that the log has every call that returned, once and in order, and at most the one that was being made when
    the node was killed; the number of calls that are in it."""
    log = written(server)
    assert returned <= len(log) <= returned + 1
    assert log == [call_of(number) for number in range(len(log))]
    return len(log)
