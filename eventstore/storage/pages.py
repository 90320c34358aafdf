"""A stream, a page at a time: the server looks up the next page while the one at hand is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import redis

from eventstore.storage.faults import translated


def read_pages(client: redis.Redis, key: str, low: bytes, count: int) -> Iterator[list[Any]]:
    """Yield the entries of the stream `key` from the id `low` on, as they come, `count` to a page; none is empty.

    Nothing is asked for ahead before somebody comes for the second page: most who look into a log want one entry.
    Raises a `StorageError` that names what was read.
    """
    line = _Line(client, key, count)
    ahead = False
    try:
        while True:
            with translated(f"read {key} from {low.decode()}"):
                rows = line.read(low)
            if not rows:
                return
            low = b"(" + rows[-1][0]
            is_last = len(rows) < count
            if ahead and not is_last:
                line.ask(low)
            yield rows
            if is_last:
                return
            ahead = True
    finally:
        line.close()


class _Line:
    """A connection on which a page is asked for before it is read.

    Where it breaks, the page is read by the driver, which connects anew as often as it was told to.
    """

    def __init__(self, client: redis.Redis, key: str, count: int) -> None:
        self._client = client
        self._key = key
        self._count = count
        self._connection: Any = None
        self._is_owed = False

    def ask(self, low: bytes) -> None:
        """Ask for the page from `low` on, which has to be the one that is read next."""
        pool = self._client.connection_pool
        try:
            if self._connection is None:
                self._connection = pool.get_connection()
            self._is_owed = True
            self._connection.send_command("XRANGE", self._key, low, "+", "COUNT", self._count, check_health=False)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()

    def read(self, low: bytes) -> list[Any]:
        """Return the page from `low` on."""
        if self._is_owed:
            try:
                rows = self._connection.read_response()
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self.close()
            else:
                self._is_owed = False
                return cast(list[Any], rows)
        return cast(list[Any], self._client.xrange(self._key, min=low, max="+", count=self._count))

    def close(self) -> None:
        """Give the connection back; one that owes an answer is closed first."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._is_owed:
                connection.disconnect()
            self._client.connection_pool.release(connection)
        self._is_owed = False
