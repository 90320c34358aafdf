"""Looking at a server without becoming a writer: which traders have a log there, and how each one stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from eventstore.errors import StorageError
from eventstore.keys import Keys
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import TraderId
from eventstore.storage.connect import Client, Node, connect, default_client_name, each_primary, whereabouts
from eventstore.storage.data_directory import is_data_directory
from eventstore.storage.embedded import EmbeddedServer
from eventstore.storage.faults import translated
from eventstore.storage.location import Location
from eventstore.storage.reader import Reader
from eventstore.storage.trimmer import Trimmer

_LAUNCH_TIMEOUT_S = 60.0  # an embedded server that was stopped loads all of its log first
_REPLY_TIMEOUT_S = 10.0  # measuring a long log takes the server a while
_READ_RETRIES = 1
_SCAN_COUNT = 1000
_FENCE_HEAD, _FENCE_TAIL = b"{trader-", b"}:writer"


class Behind(NamedTuple):
    """A replica that is read, host and port, and how many entries its log lacks of the primary's."""

    replica: str
    entries: int


class Observer:
    """Reads of a server, or of a cluster, that holds the logs of any traders. Never claims a log. Made by `observe`.

    Attributes
    ----------
    url : str
        Where the server is, without password and query.
    launched : bool
        Whether the server was started for this; then no other process of this library uses it.
    nodes : list of Node
        Every server that holds keys: all primaries of a cluster, or the one that there is.
    """

    def __init__(self, url: str, nodes: list[Node], launched: bool) -> None:
        self._location = Location.parse(url)
        self.url = self._location.shown
        self.launched = launched
        self.nodes = nodes
        self._url = url
        self._open = ExitStack()
        self._clients: dict[tuple[str, bool], Client] = {}

    def traders(self) -> list[TraderId]:
        """Return the traders that have a log here, sorted. Goes through all keys of each server, not blocking it."""
        return sorted({trader_id for node in self.nodes for trader_id in self.traders_of(node)})

    def traders_of(self, node: Node) -> list[TraderId]:
        """Return the traders that have a log at one of `nodes`, sorted."""
        found = set()
        with translated(f"look for the fences of traders at {node.name}"):
            for key in node.client.scan_iter(match=b"%b*%b" % (_FENCE_HEAD, _FENCE_TAIL), count=_SCAN_COUNT):
                try:
                    found.add(TraderId(key[len(_FENCE_HEAD) : -len(_FENCE_TAIL)].decode()))
                except (ModelError, UnicodeDecodeError):
                    continue  # somebody else's key: no trader has such an id
        return sorted(found)

    def reader(self, trader_id: TraderId) -> Reader:
        """Return what reads the keys of one trader: from a replica, if the URL says so."""
        return Reader(self._client(trader_id), Keys(trader_id))

    def behind(self, trader_id: TraderId) -> Behind | None:
        """Return which replica `reader` reads from, and how far it is behind now; None if that is the primary.

        Raises
        ------
        StorageError
            If one of the two can not be asked, or the trader's slot of a cluster is being moved: a replica does not
            know that, and lacks what has gone.
        """
        if not self._location.from_replica:
            return None
        keys = Keys(trader_id)
        # The replica first: what comes in between makes it look older than it is, not newer.
        replica = self.reader(trader_id).fence()
        client = self._client(trader_id, to_primary=True)
        primary = Reader(client, keys).fence()
        with translated(f"see that {keys.log} stays where it is"):
            client.type(keys.absent)
        position = 0 if replica is None else replica.position
        lacking = 0 if primary is None else max(0, primary.position - position)
        return Behind(whereabouts(self._client(trader_id)), lacking)

    def _client(self, trader_id: TraderId, *, to_primary: bool = False) -> Client:
        """Return what speaks to the server that has the keys of a trader: everywhere but in a cluster the same."""
        namespace = Keys(trader_id).namespace if self._location.kind == "cluster" else ""
        client = self._clients.get((namespace, to_primary))
        if client is None:
            client = connect(
                self._url,
                _REPLY_TIMEOUT_S,
                default_client_name("any", "observer"),
                _READ_RETRIES,
                namespace,
                to_primary=to_primary,
            )
            self._clients[namespace, to_primary] = client
            self._open.callback(client.close)
        return client

    def close(self) -> None:
        """Close what was connected."""
        self._open.close()

    def trimmer(self, trader_id: TraderId) -> Trimmer:
        """Return what removes from the log of one trader what was archived."""
        return Trimmer(self._client(trader_id, to_primary=True), Keys(trader_id))


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
    name = default_client_name("any", "observer")
    with each_primary(url, _REPLY_TIMEOUT_S, name, _READ_RETRIES) as nodes:
        observer = Observer(url, nodes, launched)
        try:
            yield observer
        finally:
            observer.close()
