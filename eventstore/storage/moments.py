"""Reads of the views that say of which moment they are: with each answer comes where the log ended then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import redis

from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.storage.faults import translated

SCAN_COUNT: Final = 1000
PAGE_COUNT: Final = 200


class Part(NamedTuple):
    """Some of what a key holds: fields and values, or members, each with an empty value.

    `cursor` is 0 where nothing follows. `wrong` says, where it is not None, that another type stands there.
    """

    cursor: int
    items: dict[bytes, bytes]
    wrong: str | None = None


class Moments:
    """Reads a server that a writer may move meanwhile. Each method raises a `StorageError`.

    A read and the position that it is of are one transaction: no batch comes between.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def last_id(self) -> tuple[bytes | None, dict[bytes, bytes]]:
        """Return the id of the last entry of the log, None if it has none, and the fence, at one moment."""

        def ask(pipeline: Any) -> None:
            pipeline.xrevrange(self._keys.log, count=1)
            pipeline.hgetall(self._keys.writer)

        rows, fence = self._at_once("read the end of the log", ask)
        return (rows[0][0] if rows else None), fence

    def names(self) -> Iterator[bytes]:
        """Yield every key of this trader, some of them twice; what comes or goes meanwhile may be missing."""
        pattern = "".join(f"\\{letter}" if letter in "\\*?[]" else letter for letter in self._keys.namespace)
        cursor = 0
        while True:
            with translated(f"look for keys of {self._keys.namespace}"):
                answer = self._client.scan(cursor, match=f"{pattern}*", count=SCAN_COUNT)
            cursor, names = cast(tuple[int, list[bytes]], answer)
            yield from names
            if cursor == 0:
                return

    def kinds(self, names: Sequence[bytes]) -> list[str]:
        """Return the type of each key: ``hash``, ``set``, ``string``, …, or ``none``."""
        with translated(f"look at {len(names)} keys"):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.type(name)
            return [kind.decode() for kind in pipeline.execute()]

    def parts(self, wanted: Sequence[tuple[bytes, bool, int]]) -> tuple[int, list[Part]]:
        """Return the position of the moment, and of each key what a scan gives from a cursor on.

        Parameters
        ----------
        wanted : sequence of (bytes, bool, int)
            Key, whether it is a set, and the cursor, 0 to begin.
        """

        def ask(pipeline: Any) -> None:
            for name, is_set, cursor in wanted:
                (pipeline.sscan if is_set else pipeline.hscan)(name, cursor, count=PAGE_COUNT)

        position, replies = self._of_a_moment(f"read {len(wanted)} keys from {wanted[0][0]!r}", ask)
        parts = []
        for reply in replies:
            if isinstance(reply, Exception):
                parts.append(Part(0, {}, str(reply)))
            else:
                cursor, items = reply
                parts.append(Part(int(cursor), items if isinstance(items, dict) else dict.fromkeys(items, b"")))
        return position, parts

    def those_of(self, name: bytes, is_set: bool, fields: Sequence[bytes]) -> tuple[int, Part]:
        """Return the position of the moment, and those of `fields` that the key has, with their values."""

        def ask(pipeline: Any) -> None:
            if is_set:
                pipeline.smismember(name, fields)
            else:
                pipeline.hmget(name, fields)

        position, [reply] = self._of_a_moment(f"read {len(fields)} fields of {name!r}", ask)
        if isinstance(reply, Exception):
            return position, Part(0, {}, str(reply))
        if is_set:
            return position, Part(0, {field: b"" for field, there in zip(fields, reply, strict=True) if there})
        return position, Part(0, {k: value for k, value in zip(fields, reply, strict=True) if value is not None})

    def _of_a_moment(self, operation: str, ask: Callable[[Any], None]) -> tuple[int, list[Any]]:
        def ask_all(pipeline: Any) -> None:
            ask(pipeline)
            pipeline.hget(self._keys.writer, "position")

        *replies, position = self._at_once(operation, ask_all)
        try:
            return int(position), replies
        except (TypeError, ValueError) as error:
            raise DamagedRecord(self._keys.writer, "position", f"not a position: {position!r:.40}") from error

    def _at_once(self, operation: str, ask: Callable[[Any], None]) -> list[Any]:
        with translated(operation):
            pipeline = self._client.pipeline(transaction=True)
            ask(pipeline)
            replies = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                    raise reply
        return replies
