"""Reading what NautilusTrader's own cache database keeps at a Redis server. Nothing there is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple, cast

import redis

from eventstore.storage.connect import connect, default_client_name
from eventstore.storage.faults import translated
from eventstore.storage.location import redact

_REPLY_TIMEOUT_S: Final = 30.0
_RETRIES: Final = 3
_SCAN_COUNT: Final = 1000
_LISTS_PAGE: Final = 100
_VALUES_PAGE: Final = 500

_UUID: Final = rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_KEY: Final = re.compile(
    rb"(?P<prefix>(?P<marked>trader-)?(?P<trader>[^:]*[^:-]-[^:-][^:]*)(?::(?P<instance>" + _UUID + rb"))?):(?P<rest>"
    rb"(?P<sure>index:(?:order_ids|order_position|order_client|(?:orders|positions)(?:_[a-z]+)?)|health:heartbeat)"
    rb"|(?:general|currencies|instruments|synthetics|accounts|orders|positions|actors|strategies|snapshots):.+)",
    re.DOTALL,
)


class Keyspace(NamedTuple):
    """Where the keys of one trader begin: `prefix` with a colon behind it.

    ``trader-<id>`` or, with NautilusTrader's ``use_trader_prefix=False``, the id alone; and the id of the node's
    instance behind it with ``use_instance_id=True``.
    """

    prefix: str
    trader_id: str
    instance: str | None

    @property
    def log_id(self) -> str:
        """What the log is named after that such a node has: the trader, and the instance where its keys name that."""
        return self.trader_id if self.instance is None else f"{self.trader_id}:{self.instance}"


class WrongType(NamedTuple):
    """What stands in the place of a value that is of another type of Redis."""

    expected: str


class NautilusServer:
    """Reads of a server that NautilusTrader writes to: SCAN, and commands that read. Made by `nautilus_server`.

    Attributes
    ----------
    url : str
        Where the server is, without password and query.
    """

    def __init__(self, client: redis.Redis, url: str) -> None:
        self.url = redact(url)
        self._client = client

    def keyspaces(self, on_key: Callable[[int], None] = lambda count: None) -> list[Keyspace]:
        """Return the keyspaces that there are, sorted. Goes through the names of all keys of the server.

        Where the keys do not begin with ``trader-`` and name no instance, they could be anybody's: they are a trader's
        if one of NautilusTrader's indexes is among them.
        """
        found: set[Keyspace] = set()
        seen: set[bytes] = set()
        with translated("look for the keys of traders"):
            for key in self._client.scan_iter(count=_SCAN_COUNT):
                on_key(1)
                match = _KEY.fullmatch(key)
                if match is None or match["prefix"] in seen:
                    continue
                if match["marked"] is None and match["instance"] is None and match["sure"] is None:
                    continue
                seen.add(match["prefix"])
                try:
                    instance = None if match["instance"] is None else match["instance"].decode()
                    found.add(Keyspace(match["prefix"].decode(), match["trader"].decode(), instance))
                except UnicodeDecodeError:
                    continue  # no trader has such an id
        return sorted(found, key=lambda keyspace: keyspace.prefix)

    def names(self, keyspace: Keyspace, on_key: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
        """Yield what the names of the keyspace's keys have behind the prefix; one may come twice, as with any SCAN."""
        begin = f"{keyspace.prefix}:".encode()
        pattern = re.sub(rb"([\\*?\[\]^-])", rb"\\\1", begin) + b"*"
        with translated(f"look for the keys of {keyspace.prefix}"):
            for key in self._client.scan_iter(match=pattern, count=_SCAN_COUNT):
                on_key(1)
                yield key[len(begin) :]

    def lists(self, keyspace: Keyspace, names: Sequence[str]) -> Iterator[tuple[str, list[bytes] | WrongType]]:
        """Yield each of the lists with its values; one that is gone by now has none."""
        return self._read(keyspace, names, _LISTS_PAGE, "list", lambda pipeline, key: pipeline.lrange(key, 0, -1))

    def strings(self, keyspace: Keyspace, names: Sequence[str]) -> Iterator[tuple[str, bytes | WrongType | None]]:
        """Yield each of the strings with its value; one that is gone by now has none."""
        return self._read(keyspace, names, _VALUES_PAGE, "string", lambda pipeline, key: pipeline.get(key))

    def hash(self, keyspace: Keyspace, name: str) -> dict[bytes, bytes] | WrongType:
        """Return the fields of a hash; none if there is no such key."""
        ((_, found),) = self._read(keyspace, [name], 1, "hash", lambda pipeline, key: pipeline.hgetall(key))
        return cast("dict[bytes, bytes] | WrongType", found)

    def members(self, keyspace: Keyspace, name: str) -> set[bytes] | WrongType:
        """Return the members of a set; none if there is no such key."""
        ((_, found),) = self._read(keyspace, [name], 1, "set", lambda pipeline, key: pipeline.smembers(key))
        return cast("set[bytes] | WrongType", found)

    def kinds(self, keyspace: Keyspace, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield each of the keys with its type of Redis."""
        for name, kind in self._read(keyspace, names, _VALUES_PAGE, "", lambda pipeline, key: pipeline.type(key)):
            yield name, kind.decode()

    def _read(
        self, keyspace: Keyspace, names: Sequence[str], page: int, kind: str, ask: Callable[[Any, str], Any]
    ) -> Iterator[tuple[str, Any]]:
        remaining = iter(names)
        while asked := list(islice(remaining, page)):
            with translated(f"read {len(asked)} keys from {keyspace.prefix}:{asked[0]}"):
                pipeline = self._client.pipeline(transaction=False)
                for name in asked:
                    ask(pipeline, f"{keyspace.prefix}:{name}")
                replies = pipeline.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                        raise reply
            for name, reply in zip(asked, replies, strict=True):
                yield name, WrongType(kind) if isinstance(reply, Exception) else reply


@contextmanager
def nautilus_server(url: str) -> Iterator[NautilusServer]:
    """Read from the server at `url`. Raises `ConfigError` if it is no URL; reading raises `StorageError`."""
    client = connect(url, _REPLY_TIMEOUT_S, default_client_name("any", "import"), _RETRIES)
    try:
        yield NautilusServer(client, url)
    finally:
        client.close()
