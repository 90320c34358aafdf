"""The connections of one database, by what they are for, and the embedded server if that is where they lead."""

from __future__ import annotations

from typing import Final

from eventstore.config import CacheDatabaseConfig, default_directory
from eventstore.durability import Durability
from eventstore.errors import ConfigError
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.connect import Client, bulk_bytes_max, connect, default_client_name, follows, server_facts
from eventstore.storage.durability import check_supported, patience_s
from eventstore.storage.embedded import EmbeddedServer
from eventstore.storage.location import Location, redact
from eventstore.storage.reader import Reader
from eventstore.storage.replica import Replica

READ_RETRIES: Final = 3


class Connections:
    """Each makes its own way to whoever is the primary.

    Attributes
    ----------
    url : str
        Where they lead, for people.
    server : EmbeddedServer or None
    read, write, probe : Client
        For what loads ask of the primary, for the writer, and for whoever asks what is durable.
    primary, reader : Reader
        Reads from the primary; reads what loads read, which may be a replica.
    replica : Replica or None
    moves : bool
        Whether another server may come to be the primary.

    Raises
    ------
    ConfigError
        If the URL is none that can be used.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def __init__(self, trader_id: TraderId, keys: Keys, config: CacheDatabaseConfig) -> None:
        self._trader_id = trader_id
        self._namespace = keys.namespace
        self._config = config
        self.server: EmbeddedServer | None = None
        url = config.url
        if url is None:
            self.server = EmbeddedServer.open(config.directory or default_directory())
            url = self.server.url
        self.url = redact(url)
        self._whole_url = url
        self.read = self.connect("reader", READ_RETRIES)
        self.write = self.connect("writer")
        self.probe = self.connect("probe", timeout_s=patience_s(config.timeout_s))
        self.primary = Reader(self.read, keys)
        self.replica: Replica | None = None
        if Location.parse(url).from_replica:
            replica = self.connect("replica", READ_RETRIES, to_primary=False)
            self.replica = Replica(replica, self.read, keys)
        self.moves = self.replica is not None or follows(self.read)
        self.reader = self.primary if self.replica is None else self.replica.reader

    def connect(
        self, role: str, retries: int = 0, timeout_s: float | None = None, *, to_primary: bool = True
    ) -> Client:
        """Return one more. Whoever asks for it closes it."""
        return connect(
            self._whole_url,
            self._config.timeout_s if timeout_s is None else timeout_s,
            default_client_name(self._trader_id, role),
            retries,
            self._namespace,
            self._config.credentials,
            to_primary=to_primary,
        )

    def check(self, durability: Durability) -> None:
        """See that the server can be used as the settings say.

        Raises
        ------
        StorageError
            If it can not be reached or refuses.
        ConfigError
            If it may evict keys and that was not allowed, takes too little at once, or can not give that durability.
        """
        config = self._config
        facts = server_facts(self.read, f"open the database of {self._trader_id} at {self.url}")
        policy = str(facts.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction" and not config.allow_eviction:
            raise ConfigError(
                f"the server at {self.url} may evict keys (maxmemory-policy {policy}): an evicted view is lost state. "
                "Set maxmemory-policy noeviction there, or allow_eviction=True here"
            )
        largest = max(config.batch_bytes_max, config.value_bytes_max)
        if (limit := bulk_bytes_max(self.read)) < 2 * largest:
            raise ConfigError(
                f"the server at {self.url} takes at most {limit} bytes at once (proto-max-bulk-len), which is not "
                f"twice the {largest} that batch_bytes_max and value_bytes_max allow: raise it there, or lower these"
            )
        check_supported(self.read, durability)

    def read_anew(self) -> None:
        """Look for the primary again at the next reading: an open connection to one that was left behind would stay."""
        if self.moves:
            self.read.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all of them but those that `connect` gave to others, and let the embedded server go."""
        self.read.close()
        self.write.close()
        self.probe.close()
        if self.replica is not None:
            self.replica.close()
        if self.server is not None:
            self.server.close()
