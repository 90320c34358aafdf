"""Connections from a URL."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from eventstore.errors import ConfigError, Fatal, Held
from eventstore.storage.credentials import AskedAnew, Credentials, from_file
from eventstore.storage.faults import translated
from eventstore.storage.location import Address, Location, at
from eventstore.storage.routed import Route, RoutedConnection, RoutedSSLConnection
from eventstore.storage.topology import topology_of

_BULK_BYTES_MAX = 512 << 20

_ONCE = Retry(NoBackoff(), 0)

Client = redis.Redis


class Node(NamedTuple):
    """A server that holds keys, and a client for it alone."""

    name: str
    client: Client


def connect(
    url: str,
    timeout_s: float,
    client_name: str,
    retries: int = 0,
    namespace: str = "",
    credentials: Credentials | None = None,
    *,
    to_primary: bool = False,
) -> Client:
    """Return a client for `url`; nothing is sent yet.

    With sentinels or a cluster, each connection that it makes goes to whoever is the primary then; a server that says
    that it is none, or that the keys are elsewhere, is not asked again.

    Parameters
    ----------
    url : str
        See `Location`.
    timeout_s : float
        For connecting, and for each answer.
    client_name : str
        What ``CLIENT LIST`` shows.
    retries : int, default 0
        How often the driver itself sends a command again: never for what writes.
    namespace : str, optional
        What the keys begin with that are asked for: with its hash tag, which says where in a cluster they are.
    credentials : callable, optional
        Gives user name and password, for every connection anew.
    to_primary : bool, default False
        Whether to go to the primary even if the URL says to read from a replica.

    Raises
    ------
    ConfigError
        If the URL is none that can be used.
    """
    location = Location.parse(url)
    options = _options(location, timeout_s, client_name, retries, credentials)
    to_replica = location.from_replica and not to_primary
    pool: redis.ConnectionPool
    if location.kind == "server" and not to_replica:
        pool = _pool(location, options)
    else:
        topology = topology_of(location, namespace, options | {"retry": _ONCE})
        route = Route(topology, to_replica, location.kind == "cluster")
        encrypted = options.pop("connection_class", None) is redis.SSLConnection
        options.pop("path", None)
        kind = RoutedSSLConnection if encrypted else RoutedConnection
        pool = _pool(location, options | {"connection_class": kind, "route": route})
        route.serve(pool)
    return redis.Redis.from_pool(pool)


@contextmanager
def each_primary(url: str, timeout_s: float, client_name: str, retries: int = 0) -> Iterator[list[Node]]:
    """Connect to every server that holds keys: all primaries of a cluster, or the one that there is.

    Raises
    ------
    ConfigError
        If the URL is none that can be used.
    StorageError
        If nobody says where they are.
    """
    location = Location.parse(url)
    options = _options(location, timeout_s, client_name, retries, None)
    with translated("look for the primaries"):
        addresses = topology_of(location, "", options | {"retry": _ONCE}).primaries()
    places = {at((host, port)): {"host": host, "port": port} for host, port in addresses} or {location.shown: {}}
    nodes = [Node(name, redis.Redis.from_pool(_pool(location, options | place))) for name, place in places.items()]
    try:
        yield nodes
    finally:
        for node in nodes:
            node.client.close()


def connect_to(
    location: Location, address: Address | None, timeout_s: float, client_name: str, *, anonymous: bool = False
) -> Client:
    """Return a client for one of the servers that `location` leads to, whatever it is now; nothing is sent yet.

    Parameters
    ----------
    address : (str, int) or None
        None for a unix socket.
    anonymous : bool, default False
        Whether to give no user name and no password.

    Raises
    ------
    ConfigError
        If the URL is none that can be used.
    """
    options = _options(location, timeout_s, client_name, 0, None)
    if anonymous:
        for name in ("username", "password", "credential_provider"):
            options.pop(name, None)
    if address is not None:
        options |= {"host": address[0], "port": address[1]}
    return redis.Redis.from_pool(_pool(location, options))


def follows(client: Client) -> bool:
    """Whether the connections of `client` go to whoever is the primary, or a replica, when they are made."""
    return route_of(client) is not None


def route_of(client: Client) -> Route | None:
    """Return what the connections of `client` go by; None if that is always the server of the URL."""
    route: Route | None = client.connection_pool.connection_kwargs.get("route")
    return route


def leads_to(connection: redis.Connection) -> Address | None:
    """Return where a connection leads; None if that is always the server of the URL."""
    return connection.address if isinstance(connection, RoutedConnection | RoutedSSLConnection) else None


def whereabouts(client: Client) -> str:
    """Return where a connection of `client` was last looked for, for people; empty if that is always the URL's server.

    Of one that is there, see `leads_to`: another one may be made meanwhile, and be told something else.
    """
    route = route_of(client)
    return "" if route is None or route.at is None else at(route.at)


def _options(
    location: Location, timeout_s: float, client_name: str, retries: int, credentials: Credentials | None
) -> dict[str, Any]:
    _refuse_unreadable(location)
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries) if retries else _ONCE
    options = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
        "retry_on_error": [],
        "protocol": 2,
        "client_name": _printable(client_name),
        "decode_responses": False,
        **location.options,
    }
    if credentials is None and location.credentials_file is not None:
        credentials = from_file(location.credentials_file)
    if credentials is not None:
        for name in ("username", "password"):
            options.pop(name, None)
        options["credential_provider"] = AskedAnew(credentials)
    return options


def _refuse_unreadable(location: Location) -> None:
    # The driver's own error, of each connection, does not say which file it is.
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        path = location.options.get(name)
        try:
            if path is not None:
                Path(path).open("rb").close()
        except OSError as error:
            raise ConfigError(f"url {location.shown!r}: {name} {path} can not be read: {error.strerror}") from error


def _pool(location: Location, options: dict[str, Any]) -> redis.ConnectionPool:
    try:
        pool = redis.ConnectionPool(**options)
        pool.connection_class(**pool.connection_kwargs)  # what it does not take shows now
    except (ValueError, TypeError, redis.RedisError) as error:
        raise ConfigError(f"url {location.shown!r}: {error}") from error
    return pool


def _printable(name: str) -> str:
    return "".join(c if "!" <= c <= "~" else "_" for c in name)


def default_client_name(trader_id: str, role: str) -> str:
    """Who a connection belongs to, for people at the server."""
    return f"eventstore:{trader_id}:{role}@{socket.gethostname()}"


def script(name: str) -> bytes:
    """Return the text of a script of this package."""
    return resources.files("eventstore.storage").joinpath(name).read_bytes()


def server_facts(client: redis.Redis, operation: str = "look at the server") -> Mapping[str, Any]:
    """Return what ``INFO`` says of the server. Raises as `translated`, naming `operation`."""
    with translated(operation):
        facts: Mapping[str, Any] = client.info()
    return facts


def bulk_bytes_max(client: redis.Redis) -> int:
    """Return how many bytes the server takes as one argument; what it takes by default if it does not tell."""
    try:
        with translated("CONFIG GET"):
            found = cast(dict[str, str], client.config_get("proto-max-bulk-len"))
    except (Held, Fatal):  # not everybody may ask
        return _BULK_BYTES_MAX
    return int(found.get("proto-max-bulk-len", _BULK_BYTES_MAX))
