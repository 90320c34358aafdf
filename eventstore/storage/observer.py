"""Looking at a server without becoming a writer: which traders have a log there, and how each one stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from eventstore.errors import StorageError
from eventstore.keys import Keys
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import TraderId
from eventstore.storage.connect import connect, default_client_name, redact
from eventstore.storage.data_directory import is_data_directory
from eventstore.storage.embedded import EmbeddedServer
from eventstore.storage.faults import translated
from eventstore.storage.reader import Reader
from eventstore.storage.trimmer import Trimmer

_LAUNCH_TIMEOUT_S = 60.0  # an embedded server that was stopped loads all of its log first
_REPLY_TIMEOUT_S = 10.0  # measuring a long log takes the server a while
_READ_RETRIES = 1
_SCAN_COUNT = 1000
_FENCE_HEAD, _FENCE_TAIL = b"{trader-", b"}:writer"


class Observer:
    """Reads of a server that holds the logs of any traders. Never claims a log. Made by `observe`.

    Attributes
    ----------
    url : str
        Where the server is, without password and query.
    launched : bool
        Whether the server was started for this; then no other process of this library uses it.
    """

    def __init__(self, client: redis.Redis, url: str, launched: bool) -> None:
        self.url = redact(url)
        self.launched = launched
        self._client = client

    def traders(self) -> list[TraderId]:
        """Return the traders that have a log here, sorted. Goes through all keys of the server, without blocking it."""
        found = set()
        with translated("look for the fences of traders"):
            for key in self._client.scan_iter(match=b"%b*%b" % (_FENCE_HEAD, _FENCE_TAIL), count=_SCAN_COUNT):
                try:
                    found.add(TraderId(key[len(_FENCE_HEAD) : -len(_FENCE_TAIL)].decode()))
                except (ModelError, UnicodeDecodeError):
                    continue  # somebody else's key: no trader has such an id
        return sorted(found)

    def reader(self, trader_id: TraderId) -> Reader:
        """Return what reads the keys of one trader."""
        return Reader(self._client, Keys(trader_id))

    def trimmer(self, trader_id: TraderId) -> Trimmer:
        """Return what removes from the log of one trader what was archived."""
        return Trimmer(self._client, Keys(trader_id))


@contextmanager
def observe(place: str | Path) -> Iterator[Observer]:
    """Look at the server of `place`: a URL, or the data directory of an embedded server.

    The embedded server is started for as long as this lasts if nobody uses it.

    Raises
    ------
    StorageError
        If `place` is a directory in which no embedded server ever ran, or the server can not be reached.
    ConfigError
        If the URL is not one that can be used.
    EmbeddedServerError
        If the embedded server can not be started.
    """
    if isinstance(place, str) and "://" in place:
        with _observer(place, launched=False) as observer:
            yield observer
        return
    if not is_data_directory(place):
        raise StorageError("no data of an embedded server there; give its directory, or a URL")
    with (
        EmbeddedServer.open(place, timeout_s=_LAUNCH_TIMEOUT_S) as server,
        _observer(server.url, server.launched) as observer,
    ):
        yield observer


@contextmanager
def _observer(url: str, launched: bool) -> Iterator[Observer]:
    client = connect(url, _REPLY_TIMEOUT_S, default_client_name("any", "observer"), _READ_RETRIES)
    try:
        yield Observer(client, url, launched)
    finally:
        client.close()
