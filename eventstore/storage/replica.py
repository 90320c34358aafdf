"""Reading from a replica what a writer has written, once the replica has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import redis

from eventstore.errors import DamagedRecord, Retryable, SyncTimeout
from eventstore.keys import Keys
from eventstore.storage.connect import route_of, whereabouts
from eventstore.storage.faults import translated
from eventstore.storage.reader import Reader

R = TypeVar("R")

LOOK_S = 0.002
"""How long until it is looked again whether a replica has caught up, in seconds."""


class Replica:
    """A server that follows the primary. `client` goes to one, and `primary` to what it follows.

    Attributes
    ----------
    reader : Reader
        Reads what it has.
    behind : int or None
        How many commands it lacked when it was last asked for some; None before that.
    """

    def __init__(self, client: redis.Redis, primary: redis.Redis, keys: Keys) -> None:
        route = route_of(client)
        if route is None:
            raise ValueError("a client that always goes to the server of its URL reads from no replica")
        self._client = client
        self._route = route
        self._primary = primary
        self._keys = keys
        self._follows = ""
        self.reader = Reader(client, keys)
        self.behind: int | None = None

    def read(self, read: Callable[[], R], epoch: int, position: int, deadline: float) -> R:
        """Return what `read` reads, by `reader`, where everything up to `position` of `epoch` is, all the time.

        Parameters
        ----------
        deadline : float
            Until when to wait for that, a time of `time.monotonic`.

        Raises
        ------
        SyncTimeout
            If the replica did not have it by then.
        Retryable
            If it began anew meanwhile, or follows another server, or what it has is being moved elsewhere.
        StorageError
            If one of the two servers can not be asked.
        """
        primary = whereabouts(self._primary)
        if self._follows != primary:
            self._follows = primary
            self._client.connection_pool.disconnect(inuse_connections=False)
        before = self._catch_up(epoch, position, deadline)
        looked = self._route.looked
        try:
            found = read()
        except DamagedRecord:
            if self._is_as(before, looked, self._catch_up(epoch, position, deadline)) and self._stays(primary):
                raise
        else:
            if self._is_as(before, looked, self._catch_up(epoch, position, deadline)) and self._stays(primary):
                return found
        name = whereabouts(self._client)
        raise Retryable(f"read {self._keys.log} from {name}: it was written anew or moved meanwhile")

    def _is_as(self, before: bytes, looked: int, rebuilt: bytes) -> bool:
        """Whether the views are of the same rebuild as `before`, and one server gave all answers.

        Whoever looked for another one meanwhile may have read there, before that one had caught up.
        """
        return before == rebuilt and looked == self._route.looked

    def _stays(self, primary: str) -> bool:
        """Whether that still is the primary, and has all keys: what it gives away is just gone at its replicas.

        Raises `Retryable` while its slot of a cluster is being moved: then even what never is there may be elsewhere.
        """
        with translated(f"see that {self._keys.log} stays where it is"):
            self._primary.type(self._keys.absent)
        return whereabouts(self._primary) == primary

    def _catch_up(self, epoch: int, position: int, deadline: float) -> bytes:
        """Wait until it has `position`; return which rebuild wrote its views last."""
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
                raise SyncTimeout(
                    f"load: the replica {whereabouts(self._client)} is {self.behind} commands behind position "
                    f"{position}; wait, or read from the primary, without read_from=replica in the URL"
                )
            time.sleep(LOOK_S)

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()
