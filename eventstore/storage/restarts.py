"""Restarts of a server that may bring back half a batch: seen, so that somebody can act before the next one.

A server that was killed in the middle of writing a transaction to its append-only file, and is not among the fixed
versions, leaves the half in the file, and executes it at the restart after the next, with what stands behind it then.
For an embedded server `eventstore.storage.torn_end` sees to that. Other servers are somebody else's: docs/operations.md
says what there is to do.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import redis

from eventstore.errors import StorageError
from eventstore.storage.connect import server_facts

_FIXED: Final = {(7, 2): 15, (8, 0): 11, (8, 1): 10, (9, 0): 6, (9, 1): 2}
"""Series of Valkey, and the first release of each that cuts such a half off (its pull request 4342); no Redis does."""


class ServerRun(NamedTuple):
    """One life of a server process: who it is, as ``INFO`` says, and whether it is one that keeps half transactions."""

    run_id: str
    name: str
    keeps_halves: bool
    uptime_s: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> ServerRun:
        """What the answer to ``INFO`` says of it."""
        valkey = facts.get("valkey_version")
        version = str(valkey or facts.get("redis_version", "?"))
        keeps_halves = bool(int(facts.get("aof_enabled", 0))) and not (valkey and _is_fixed(version))
        name = f"{'Valkey' if valkey else 'Redis'} {version}"
        return cls(str(facts.get("run_id", "")), name, keeps_halves, int(facts.get("uptime_in_seconds", 0)))


def _is_fixed(version: str) -> bool:
    major, minor, patch, *_ = [*map(int, re.findall(r"\d+", version)), 0, 0, 0]
    series = (major, minor)
    return patch >= _FIXED[series] if series in _FIXED else series > max(_FIXED)


def restart_warning(before: ServerRun, now: ServerRun, since_s: float = math.inf) -> str | None:
    """What to tell people of a server that was `before` and is `now`; None if it goes on living, or takes no harm.

    A server that ran already when `before` was seen, `since_s` seconds ago, has taken over: it was not restarted.
    """
    if now.run_id == before.run_id or not now.keeps_halves or now.uptime_s > since_s:
        return None
    return (
        f"the server, {now.name}, was restarted or replaced, and writes an append-only file: if it was killed, the"
        " beginning of a batch may stand there, and be executed with a later batch at the next restart. Run"
        " BGREWRITEAOF there now, and see 'Servers that are killed' in docs/operations.md"
    )


class RestartWatch:
    """Looks, after every interruption, whether the server is still the process that it was.

    Parameters
    ----------
    client : redis.Redis
        Asked once now, and once at every look.

    Raises
    ------
    StorageError
        If the server can not be asked now.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._run = ServerRun.of(server_facts(client))
        self._seen_s = time.monotonic()

    def look(self) -> str | None:
        """Return `restart_warning` for what happened since the last look; None, too, if the server can not be asked.

        What could not be seen now is seen at the next look. Takes one ``INFO``; does not raise.
        """
        try:
            now = ServerRun.of(server_facts(self._client))
        except StorageError:
            return None
        before, self._run = self._run, now
        seen_s, self._seen_s = self._seen_s, time.monotonic()
        return restart_warning(before, now, self._seen_s - seen_s)
