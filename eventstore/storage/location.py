"""Where a server is: what a URL says. Pure: nothing is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from redis.connection import parse_url

from eventstore.config import SCHEMES, Kind
from eventstore.errors import ConfigError

Address = tuple[str, int]
"""Host and port."""

_PORTS: Final[dict[Kind, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_OURS: Final = ("read_from", "credentials_file", "sentinel_username", "sentinel_password")
_ANYWHERE: Final = ("db", "username", "password", "socket_timeout", "socket_connect_timeout", "health_check_interval")
_TCP: Final = ("socket_keepalive",)
_TLS: Final = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile",
    "ssl_min_version", "ssl_password",
)  # fmt: skip
_PASSED_ON: Final[dict[str, tuple[str, ...]]] = {
    "unix": _ANYWHERE,
    "redis": (*_ANYWHERE, *_TCP),
    "rediss": (*_ANYWHERE, *_TCP, *_TLS),
}
"""What the driver is told as the URL has it, by the scheme of one of the servers."""

_HIDDEN: Final = "***"
_ENDS_A_NAME, _ENDS_AN_AUTHORITY = re.compile("[:/?#]"), re.compile("[/?#]")


@dataclass(frozen=True, slots=True)
class Location:
    """Where the servers of a log are, and how to speak to them. Made by `parse`.

    Attributes
    ----------
    kind : "server", "sentinel" or "cluster"
        Whether the addresses are those of the server itself, of sentinels that know it, or of nodes of a cluster.
    shown : str
        The URL without password and query.
    addresses : tuple of (str, int)
        Hosts and ports. Empty for a unix socket.
    service : str
        What the sentinels call the primary; empty without them.
    from_replica : bool
        Whether reads go to a replica.
    credentials_file : Path or None
        A file whose first line is the user name, and whose second is the password.
    options : dict
        What the driver's connection takes: user, password, database, TLS and so on.
    sentinel_options : dict
        The same for a connection to a sentinel.
    """

    kind: Kind
    shown: str
    addresses: tuple[Address, ...]
    service: str
    from_replica: bool
    credentials_file: Path | None
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read a URL; see docs/operations.md for all that one may say.

        Raises
        ------
        ConfigError
            If it is none that can be used. The error does not show the password.
        """
        try:
            return _parse(url)
        except (ConfigError, ValueError, TypeError) as error:
            if _is_cut(url):
                # The error may have a part of the password in it.
                hint = "percent-encode special characters in user name and password, such as / as %2F and ? as %3F"
                raise ConfigError(f"url {redact(url)!r}: it can not be read; {hint}") from None
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"url {redact(url)!r}: {error}") from error


def redact(url: str) -> str:
    """Return `url` without its password and query, even if they are not encoded as they should be."""
    scheme, separator, rest = url.partition("://")
    head = rest.partition("?")[0]
    user, at, host = (head if "@" in head else rest).rpartition("@")
    if not at:
        return f"{scheme}{separator}{head}"
    name = _ENDS_A_NAME.split(user, maxsplit=1)[0]
    return f"{scheme}{separator}{name if name == user else f'{name}:{_HIDDEN}'}@{host.partition('?')[0]}"


def _is_cut(url: str) -> bool:
    """Whether there is an @ behind what a reader takes for user, password and hosts."""
    rest = url.partition("://")[2]
    return "@" in rest[len(_ENDS_AN_AUTHORITY.split(rest, maxsplit=1)[0]) :]


def at(address: Address) -> str:
    """Return `address` as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(url: str) -> Location:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigError(f"url {redact(url)!r}: expected one of {', '.join(f'{name}://' for name in SCHEMES)}")
    kind, plain = SCHEMES[scheme]
    if "#" in rest:
        raise ConfigError(f"url {redact(url)!r}: a # has to be percent-encoded, as %23")
    rest, _, query = rest.partition("?")
    said = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    ours = {name: said.pop(name, "") for name in _OURS}
    if unknown := said.keys() - set(_PASSED_ON[plain]):
        there_are = ", ".join(sorted((*_OURS, *_PASSED_ON[plain])))
        raise ConfigError(
            f"url {redact(url)!r}: {scheme}:// has no option {', '.join(sorted(unknown))}; there are {there_are}"
        )
    if ours["read_from"] not in ("", "primary", "replica"):
        raise ConfigError(f"url {redact(url)!r}: read_from is primary or replica, not {ours['read_from']!r}")
    query = f"?{urlencode(said, quote_via=quote)}"
    addresses: tuple[Address, ...] = ()
    service = ""
    if kind == "server":
        options = parse_url(f"{plain}://{rest}{query}")
        if plain != "unix":
            _check_database(rest.partition("/")[2])
            addresses = ((options.setdefault("host", "localhost"), options.setdefault("port", _PORTS[kind])),)
    else:
        authority, _, path = rest.partition("/")
        user, at, hosts = authority.rpartition("@")
        addresses = tuple(_address(host, _PORTS[kind]) for host in hosts.split(","))
        service, _, database = path.partition("/")
        service = unquote(service)
        _check_database(database)
        options = parse_url(f"{plain}://{user}{at}host/{database}{query}")
        del options["host"]
        if kind == "cluster" and (path or options.get("db")):
            raise ConfigError(f"url {redact(url)!r}: a cluster has no databases; end it behind the hosts")
        if kind == "sentinel" and not service:
            raise ConfigError(
                f"url {redact(url)!r}: say behind the hosts what the sentinels call the primary: /mymaster"
            )
    if plain == "rediss" and options.get("ssl_cert_reqs") != "none":
        options.setdefault("ssl_check_hostname", True)  # older drivers do not by themselves
    sentinel_options = {
        name: value for name, value in options.items() if name.startswith("ssl_") or name == "connection_class"
    } | {name: ours[f"sentinel_{name}"] for name in ("username", "password") if ours[f"sentinel_{name}"]}
    if kind != "sentinel" and (ours["sentinel_username"] or ours["sentinel_password"]):
        raise ConfigError(f"url {redact(url)!r}: credentials for sentinels, but it names none")
    return Location(
        kind,
        redact(url),
        addresses,
        service,
        ours["read_from"] == "replica",
        Path(ours["credentials_file"]) if ours["credentials_file"] else None,
        options,
        sentinel_options,
    )


def _check_database(text: str) -> None:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not the number of a database")


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.username is not None:
        raise ValueError(f"{text!r} is not a host, or host:port")
    return parts.hostname, parts.port or port
