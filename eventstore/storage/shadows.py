"""Views written anew beside the present ones, and put in their place at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

import msgpack
import redis

from eventstore.chain import Head
from eventstore.errors import AuditError, Diverged
from eventstore.keys import Keys
from eventstore.storage.appender import ARGUMENTS_MAX
from eventstore.storage.connect import script
from eventstore.storage.faults import translated
from eventstore.storage.reader import PAGE, Reader

_SCAN_COUNT = 1000
_BYTES_MAX = 1 << 20
_SPECIAL = b"\\*?[]^-"

Content = dict[bytes, bytes] | set[bytes]
"""What a view holds: the fields of a hash, or the members of a set."""


class Shadows:
    """The present views of one trader, and the shadows that one rebuild writes of them.

    The names of views are bytes here: whoever wrote something by hand may have named it anyhow. A shadow is
    ``{ns}:shadow:<id of the rebuild>:<name of the view>``; no view is called that. Each method raises a `StorageError`
    that names what it was doing.

    Attributes
    ----------
    rebuild_id : str
        UNIX milliseconds and a random part.
    """

    def __init__(self, reader: Reader, keys: Keys) -> None:
        self._client = reader.client
        self._keys = keys
        self._view = keys.prefix.encode()
        self.rebuild_id = f"{time.time_ns() // 1_000_000}-{uuid.uuid4().hex}"
        self._any = self._view + b"shadow:"
        self._shadow = self._any + f"{self.rebuild_id}:".encode()

    # -- The present views -------------------------------------------------------------------------------------

    def names(self) -> Iterator[bytes]:
        """Yield the names of the views that are there, known to an index or not, some twice. Goes through all keys."""
        for name in self._scan(self._view):
            if self._keys.is_view(name.decode(errors="surrogateescape")):
                yield name

    def contents(self, views: Iterable[tuple[bytes, type]]) -> Iterator[tuple[bytes, Content | None]]:
        """Yield the name and content of each view, a page to a round trip.

        Parameters
        ----------
        views : iterable of tuple of bytes and type
            Names, and what each has to be: `dict` for a hash, `set` for a set. What is not there is empty. What is of
            another type, or would go away by itself after a time, comes as None.
        """
        source = iter(views)
        while page := list(islice(source, PAGE)):
            with translated(f"read {len(page)} views from {shown(page[0][0])}"):
                pipeline = self._client.pipeline(transaction=False)
                for name, kind in page:
                    pipeline.hgetall(name) if kind is dict else pipeline.smembers(name)
                    pipeline.pttl(name)
                replies = pipeline.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                        raise reply
            for (name, _), content, ttl_ms in zip(page, replies[::2], replies[1::2], strict=True):
                yield name, None if isinstance(content, Exception) or ttl_ms >= 0 else content

    # -- Shadows -----------------------------------------------------------------------------------------------

    def clear(self) -> int:
        """Delete the shadows of every rebuild, which ends one that is under way; return how many there were."""
        count = 0
        found = self._scan(self._any)
        while page := list(islice(found, PAGE)):
            with translated("delete what a rebuild left"):
                count += self._client.unlink(*page)
        return count

    def drop(self, views: Iterable[bytes]) -> None:
        """Delete the shadows of these views."""
        source = map(self._named, views)
        while page := list(islice(source, PAGE)):
            with translated("delete shadows that are not needed"):
                self._client.unlink(*page)

    def write(self, contents: Mapping[bytes, Content], on_page: Callable[[], object] = lambda: None) -> None:
        """Write the shadow of each view in `contents` anew. `on_page` is called behind each round trip."""
        pipeline = self._client.pipeline(transaction=False)
        size = 0
        for name, content in contents.items():
            shadow = self._named(name)
            pipeline.unlink(shadow)
            for part in _parts(content):
                if isinstance(part, dict):
                    pipeline.hset(shadow, mapping=cast(Any, part))
                else:
                    pipeline.sadd(shadow, *part)
                size += _size(part)
                if size >= _BYTES_MAX or len(pipeline) >= PAGE:
                    self._send(pipeline)
                    on_page()
                    size = 0
        if len(pipeline):
            self._send(pipeline)
            on_page()

    def _send(self, pipeline: redis.client.Pipeline) -> None:
        with translated(f"write shadows of {self._keys.prefix}*"):
            pipeline.execute()

    def written(self, views: Iterable[tuple[bytes, type]]) -> Iterator[tuple[bytes, Content | None]]:
        """As `contents`, of the shadows of these views."""
        listed = list(views)
        shadows = self.contents((self._named(name), kind) for name, kind in listed)
        return ((name, content) for (name, _), (_, content) in zip(listed, shadows, strict=True))

    def swap(self, at: Head, replaced: Iterable[tuple[bytes, type, int]], deleted: Iterable[bytes]) -> bool:
        """Put shadows in the place of views and delete others, in one step.

        Returns False, and changes nothing, if the log does not end at `at` any more.

        Parameters
        ----------
        replaced : iterable of tuple of bytes, type and int
            The views that get the place of their shadow: name, `dict` or `set`, and how much the shadow holds.
        deleted : iterable of bytes
            The views that do not belong there.

        Raises
        ------
        AuditError
            If a shadow is not as it was written: another rebuild began, or the server lost it. Nothing was changed.
        Diverged
            If the fence is gone.
        """
        skipped = len(self._view)
        rows: list[Any] = []
        for name, kind, size in replaced:
            rows += (name[skipped:], "hash" if kind is dict else "set", size)
        plan = _packed([rows, [name[skipped:] for name in deleted]])
        with translated("put the shadows in the place of the views"):
            reply: list[bytes] = self._client.eval(
                script("swap.lua").decode(), 1, self._keys.writer,
                at.position, at.chain, self.rebuild_id, self._view, self._shadow, plan,
            )  # fmt: skip
        if reply[0] == b"lost":
            raise AuditError(
                f"rebuild of {self._keys.prefix}*: {shown(reply[1])} is not as it was written: another rebuild began, "
                "or the server lost it. No view was changed; run it again"
            )
        if reply[0] == b"diverged":
            raise Diverged(f"rebuild of {self._keys.prefix}*: {reply[1].decode()}. No view was changed")
        return reply[0] == b"swapped"

    def _named(self, view: bytes) -> bytes:
        return self._shadow + view[len(self._view) :]

    def _scan(self, prefix: bytes) -> Iterator[bytes]:
        pattern = b"".join(b"\\%c" % byte if byte in _SPECIAL else b"%c" % byte for byte in prefix) + b"*"
        with translated(f"look for {shown(prefix)}*"):
            yield from self._client.scan_iter(match=pattern, count=_SCAN_COUNT)


def _parts(content: Content) -> Iterator[Content]:
    """Yield `content` in parts that one command can take."""
    if isinstance(content, set):
        members = iter(content)
        while part := set(islice(members, ARGUMENTS_MAX)):
            yield part
        return
    fields: dict[bytes, bytes] = {}
    size = 0
    for field, value in content.items():
        fields[field] = value
        size += len(value)
        if size >= _BYTES_MAX or len(fields) >= ARGUMENTS_MAX // 2:
            yield fields
            fields, size = {}, 0
    if fields:
        yield fields


def _size(part: Content) -> int:
    if isinstance(part, set):
        return sum(map(len, part))
    return sum(len(field) + len(value) for field, value in part.items())


def _packed(values: list[Any]) -> bytes:
    # The server's MessagePack library knows text ("raw") only, of which its strings of bytes are made.
    return msgpack.packb(values, use_bin_type=False)


def shown(name: bytes) -> str:
    """Return the name of a key as text, whatever it is."""
    return name.decode(errors="backslashreplace")
