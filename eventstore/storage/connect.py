"""Connections from a URL."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib import resources
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from eventstore.errors import ConfigError
from eventstore.storage.faults import translated

_BULK_BYTES_MAX = 512 << 20

Client = redis.Redis

SCHEMES = ("redis://", "rediss://", "unix://")


def connect(url: str, timeout_s: float, client_name: str, retries: int = 0) -> redis.Redis:
    """Return a client for `url`; nothing is sent yet.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` (TLS; files as query, such as ``?ssl_ca_certs=/path``) or ``unix://``.
    timeout_s : float
        For connecting, and for each answer.
    client_name : str
        What ``CLIENT LIST`` shows.
    retries : int, default 0
        How often the driver itself sends a command again: never for what writes.
    """
    if not url.startswith(SCHEMES):
        raise ConfigError(f"url {redact(url)!r}: expected one of {', '.join(SCHEMES)}")
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries) if retries else Retry(NoBackoff(), 0)
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=retry,
            retry_on_error=[],
            protocol=2,
            client_name=_printable(client_name),
            decode_responses=False,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"url {redact(url)!r}: {error}") from error


def redact(url: str) -> str:
    """Return `url` without its password and query."""
    scheme, separator, rest = url.partition("://")
    rest = rest.partition("?")[0]
    user, at, host = rest.rpartition("@")
    if at:
        rest = f"{user.partition(':')[0]}:***@{host}" if ":" in user else f"{user}@{host}"
    return f"{scheme}{separator}{rest}"


def _printable(name: str) -> str:
    return "".join(c if "!" <= c <= "~" else "_" for c in name)


def default_client_name(trader_id: str, role: str) -> str:
    """Who a connection belongs to, for people at the server."""
    return f"eventstore:{trader_id}:{role}@{socket.gethostname()}"


def script(name: str) -> bytes:
    """Return the text of a script of this package."""
    return resources.files("eventstore.storage").joinpath(name).read_bytes()


def server_facts(client: redis.Redis) -> Mapping[str, Any]:
    """Return what ``INFO`` says of the server. Raises as `translated`."""
    with translated("INFO"):
        facts: Mapping[str, Any] = client.info()
    return facts


def bulk_bytes_max(client: redis.Redis) -> int:
    """Return how many bytes the server takes as one argument; what it takes by default if it does not tell."""
    try:
        found = cast(dict[str, str], client.config_get("proto-max-bulk-len"))
    except redis.ResponseError:  # not everybody may ask
        return _BULK_BYTES_MAX
    return int(found.get("proto-max-bulk-len", _BULK_BYTES_MAX))
