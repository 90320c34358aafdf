"""Many hashes, read fast: the server looks up the next page of them while the one at hand is looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, cast

import redis

from eventstore.errors import DamagedRecord
from eventstore.storage.faults import translated

PAGE: Final = 256
"""Keys to a page, at most."""

FIELDS: Final = 4096
"""Fields to a page, about: what nobody has taken yet fills the server's memory."""

_FIRST_PAGE: Final = 8  # before anything is known of the size of the hashes

_REPLIES = (list, dict, Exception)  # what HGETALL is answered with; the parser has another mark for half a reply

Fields = dict[bytes, bytes]


def read_hashes(client: redis.Redis, keys: Iterable[str]) -> Iterator[tuple[str, Fields | DamagedRecord]]:
    """Yield each key and its fields.

    The fields of a key that does not exist are empty; what is no hash comes as a `DamagedRecord`. Raises a
    `StorageError` that names what was read.
    """
    source = iter(keys)
    line = _Line(client)
    width = _FIRST_PAGE
    try:
        page = list(islice(source, width))
        while page:
            following = list(islice(source, width))
            with translated(f"read {len(page)} keys from {page[0]}"):
                hashes = line.read(page, following)
            width = _width(hashes)
            yield from zip(page, hashes, strict=True)
            page = following
    finally:
        line.close()


def _width(hashes: list[Fields | DamagedRecord]) -> int:
    """Return how many keys the page behind the next may have, if its hashes are as large as these."""
    fields = sum(len(found) for found in hashes if not isinstance(found, DamagedRecord))
    return max(1, min(PAGE, FIELDS * len(hashes) // max(fields, 1)))


class _Line:
    """A connection on which pages are asked for before they are read.

    Where it breaks, the page at hand is read by the driver, which connects anew as often as it was told to.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connection: Any = None
        self._asked: deque[list[str]] = deque()

    def read(self, page: list[str], following: list[str]) -> list[Fields | DamagedRecord]:
        """Return the hashes of `page`, and ask for the `following` ones."""
        try:
            if not self._asked:
                self._ask(page)
            if following:
                self._ask(following)
            replies = self._receive(len(page))
            self._asked.popleft()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            replies = self._ask_by_driver(page)
        return [_fields(key, reply) for key, reply in zip(page, replies, strict=True)]

    def _ask(self, page: list[str]) -> None:
        pool = self._client.connection_pool
        if self._connection is None:
            self._connection = pool.get_connection()
        names = [key.encode() for key in page]
        request = b"".join([b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names])
        self._asked.append(page)
        self._connection.send_packed_command([request], check_health=False)

    def _receive(self, count: int) -> list[Any]:
        """Return so many replies, each an error if it is one."""
        parser = self._connection._parser
        next_reply: Any = getattr(getattr(parser, "_reader", None), "gets", None)
        read_more: Any = getattr(parser, "read_from_socket", None)
        if next_reply is None or read_more is None:
            return [self._receive_one() for _ in range(count)]
        # Straight from the parser in C: the driver's way to a reply takes four times as long as parsing it.
        replies = []
        for _ in range(count):
            reply = next_reply()
            while not isinstance(reply, _REPLIES):
                read_more()
                reply = next_reply()
            if isinstance(reply, redis.ResponseError) and not _is_no_hash(reply):
                raise redis.ConnectionError(str(reply))  # the driver asks again, and knows what that means
            replies.append(reply)
        return replies

    def _receive_one(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def _ask_by_driver(self, page: list[str]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for key in page:
            pipeline.hgetall(key)
        return pipeline.execute(raise_on_error=False)

    def close(self) -> None:
        """Give the connection back; one that owes answers is closed first."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._asked:
                connection.disconnect()
            self._client.connection_pool.release(connection)
        self._asked.clear()


def _fields(key: str, reply: Any) -> Fields | DamagedRecord:
    if reply.__class__ is list:
        items = iter(reply)
        return dict(zip(items, items, strict=True))
    if reply.__class__ is dict:
        return cast(Fields, reply)  # so it comes where the protocol has maps
    if not _is_no_hash(reply):
        raise reply
    return DamagedRecord(key, "", "it is no hash: somebody else wrote it")


def _is_no_hash(error: Exception) -> bool:
    return "WRONGTYPE" in str(error)
