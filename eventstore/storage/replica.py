"""Reading from a replica what a writer has written, once the replica has it."""

from __future__ import annotations

import time

import redis

from eventstore.keys import Keys
from eventstore.storage.connect import whereabouts
from eventstore.storage.reader import Reader

LOOK_S = 0.002
"""How long until it is looked again whether a replica has caught up, in seconds."""


class Replica:
    """A server that follows the primary. `client` goes to one.

    Attributes
    ----------
    reader : Reader
        Reads what it has.
    behind : int or None
        How many commands it lacked when it was last asked for some; None before that.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self.reader = Reader(client, keys)
        self.behind: int | None = None

    @property
    def name(self) -> str:
        """Host and port of the one that is read; empty before the first time."""
        return whereabouts(self._client)

    def catch_up(self, epoch: int, position: int, deadline: float) -> bytes | None:
        """Wait until it has `position` of `epoch`, or more; return which rebuild wrote its views last.

        None if it does not have it at the `deadline`, a time of `time.monotonic`. Raises a `StorageError` if it can not
        be asked.
        """
        lacking: int | None = None
        while True:
            fence = self.reader.fence()
            has = 0 if fence is None or fence.epoch < epoch else fence.position
            if lacking is None:
                lacking = self.behind = max(0, position - has)
            if fence is not None and fence.epoch >= epoch and has >= position:
                return fence.rebuilt
            if time.monotonic() >= deadline:
                self.behind = position - has
                return None
            time.sleep(LOOK_S)

    def leave(self) -> None:
        """Look for a replica anew: there is another primary."""
        self._client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
