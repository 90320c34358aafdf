"""Making room at the server: what is in an archive goes from the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import redis

from eventstore.errors import Diverged
from eventstore.keys import Keys
from eventstore.storage.connect import script
from eventstore.storage.faults import translated
from eventstore.storage.reader import Archived

_ENTRIES_A_CALL = 2000
"""So many are gone in well under a millisecond, in which the server serves nobody else."""


class Trimmer:
    """Trims the log of one trader. Beside a writer at work, which does not notice."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._script = client.register_script(script("trim.lua"))

    def trim(self, archived: Archived) -> Iterator[int]:
        """Remove everything up to `archived`, and note how far that is; yield behind each call how many entries went.

        Raises
        ------
        Diverged
            If the log has another entry there, or none, or would lose its last one. Nothing was removed by that call.
        StorageError
            If the server can not be reached or refuses.
        """
        ms, _, position = archived.last_id.partition("-")
        stays = f"{ms}-{int(position) + 1}"
        while gone := self._call(archived, stays, _ENTRIES_A_CALL):
            yield gone
        yield self._call(archived, stays, 0)  # what is left is less than a node of the stream

    def _call(self, archived: Archived, stays: str, limit: int) -> int:
        keys = [self._keys.log, self._keys.writer, self._keys.archived]
        arguments: list[bytes | str | int] = [archived.position, archived.chain, archived.last_id, stays, limit]
        with translated(f"trim {self._keys.log}"):
            answer, what = cast(list[Any], self._script(keys, arguments))
        if answer != b"trimmed":
            raise Diverged(
                f"trim {self._keys.log} up to position {archived.position}: {what.decode()}. Nothing was removed"
            )
        return int(what)
