"""What can be seen of the servers that a URL leads to. It only reads, and takes no permission for granted."""

from __future__ import annotations

import ipaddress
import statistics
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import redis
from redis.crc import key_slot

from eventstore.doctor.access import needed
from eventstore.doctor.facts import Access, Cluster, Facts, LogKeys, Sentinel, Server, Wanted
from eventstore.errors import StorageError
from eventstore.keys import Keys
from eventstore.permissions import Task
from eventstore.storage import looking
from eventstore.storage.connect import connect_to, default_client_name
from eventstore.storage.data_directory import is_data_directory
from eventstore.storage.embedded import COMPACT, EmbeddedServer
from eventstore.storage.faults import classify, translated
from eventstore.storage.location import Address, Location
from eventstore.storage.permitting import look_for
from eventstore.storage.restarts import ServerRun

_TIMEOUT_S: Final = 5.0
_LAUNCH_TIMEOUT_S: Final = 60.0
_ROLES: Final[tuple[Task, ...]] = ("writer", "reader", "auditor")


@contextmanager
def located(place: str | Path) -> Iterator[str]:
    """Yield the URL of `place`, the data directory of an embedded server or a URL. Raises as `observer.observe`."""
    if "://" in str(place):
        yield str(place)
        return
    if not is_data_directory(place):
        raise StorageError("no data of an embedded server there; give its directory, or a URL")
    with EmbeddedServer.open(place, timeout_s=_LAUNCH_TIMEOUT_S) as server:
        yield server.url


def examine(url: str, wanted: Wanted, *, embedded: bool = False) -> Facts:
    """Look at all that `url` leads to, which is an embedded server or not.

    Raises
    ------
    ConfigError
        If the URL is none that can be used.
    StorageError
        If there is no server that can be asked.
    """
    return replace(_Examination(url, wanted).run(), embedded=embedded)


class _Examination:
    def __init__(self, url: str, wanted: Wanted) -> None:
        self._location = Location.parse(url)
        self._wanted = replace(wanted, from_replica=self._location.from_replica)
        self._name = default_client_name(str(wanted.trader_id or "any"), "doctor")

    def run(self) -> Facts:
        if self._location.kind == "sentinel":
            return self._by_sentinel()
        if self._location.kind == "cluster":
            return self._of_cluster()
        addresses = self._location.addresses
        return self._with_replicas(addresses[0] if addresses else None)

    # -- Where everybody is ------------------------------------------------------------------------------------

    def _with_replicas(self, address: Address | None) -> Facts:
        return self._facts(self._shard(address))

    def _shard(self, address: Address | None, known: Sequence[Address] = ()) -> list[Server]:
        """Return the server with the log and its replicas: those that are known of, and those that it knows of."""
        first = self._server(address, has_log=True)
        told = [(each["ip"], int(each["port"])) for each in first.replicas() if {"ip", "port"} <= each.keys()]
        return [first, *(self._server(each, is_replica=True) for each in dict.fromkeys([*known, *told]))]

    def _by_sentinel(self) -> Facts:
        sentinels = tuple(map(self._sentinel, self._location.addresses))
        votes = [sentinel.primary for sentinel in sentinels if sentinel.primary]
        if not votes:
            return self._facts([], sentinels=sentinels)
        host, _, port = statistics.mode(votes).rpartition(":")
        facts = self._with_replicas((host, int(port)))
        return replace(facts, sentinels=sentinels)

    def _sentinel(self, address: Address) -> Sentinel:
        options = self._location.sentinel_options | {
            "host": address[0], "port": address[1], "socket_timeout": _TIMEOUT_S, "protocol": 2,
            "socket_connect_timeout": _TIMEOUT_S, "client_name": self._name,
        }  # fmt: skip
        with closing(looking.raw(redis.Redis.from_pool(redis.ConnectionPool(**options)))) as client:
            try:
                said = looking.fields(client.execute_command("SENTINEL MASTER", self._location.service))
            except (redis.RedisError, OSError) as error:
                return Sentinel(address=_named(address), refused=str(error))
        return Sentinel(
            address=_named(address),
            primary=f"{said['ip']}:{said['port']}",
            quorum=int(said["quorum"]),
            others=int(said["num-other-sentinels"]),
            flags=said["flags"],
        )

    def _of_cluster(self) -> Facts:
        ranges, state = self._slots()
        slot = None if self._wanted.trader_id is None else key_slot(Keys(self._wanted.trader_id).namespace.encode())
        replicas: dict[Address, list[Address]] = {}
        for _, _, (primary, *others) in ranges:
            replicas.setdefault(primary, others)
        owner = next((nodes[0] for first, last, nodes in ranges if slot is not None and first <= slot <= last), None)
        cluster = Cluster(
            state=state,
            covered=sum(last - first + 1 for first, last, _ in ranges),
            slot=slot,
            owner="" if owner is None else _named(owner),
            primaries={_named(primary): len(others) for primary, others in replicas.items()},
        )
        servers = [] if owner is None else self._shard(owner, replicas[owner])
        servers += [self._server(each) for each in replicas if each != owner]
        return replace(self._facts(servers), cluster=cluster)

    def _slots(self) -> tuple[list[tuple[int, int, list[Address]]], str]:
        with translated("look for the nodes of the cluster"):
            failure: Exception | None = None
            for address in self._location.addresses:
                with closing(self._client(address)) as client:
                    try:
                        found = cast(Any, client.execute_command("CLUSTER SLOTS"))
                    except (redis.RedisError, OSError) as error:
                        failure = error
                        continue
                    try:
                        lines = looking.text(client.execute_command("CLUSTER INFO")).splitlines()
                        state = dict(line.split(":", 1) for line in lines if ":" in line).get("cluster_state", "")
                    except redis.ResponseError:
                        state = ""
                    return [
                        (
                            int(first),
                            int(last),
                            [(looking.text(host) or address[0], int(port)) for host, port, *_ in nodes],
                        )
                        for first, last, *nodes in found
                    ], state
            raise failure or redis.ConnectionError("the URL names no node")

    # -- One server --------------------------------------------------------------------------------------------

    def _client(self, address: Address | None, *, anonymous: bool = False) -> redis.Redis:
        return looking.raw(connect_to(self._location, address, _TIMEOUT_S, self._name, anonymous=anonymous))

    def _server(self, address: Address | None, *, has_log: bool = False, is_replica: bool = False) -> Server:
        name = self._location.shown if address is None else _named(address)
        server = Server(address=name, has_log=has_log, is_replica=is_replica)
        with closing(self._client(address)) as client:
            try:
                if (refusal := _refusal_of_us(client)) is not None:
                    # Of a replica that does not know a user whom the primary knows, the URL is right.
                    refused = str(classify(refusal, "log in")) if has_log else str(refusal)
                    return replace(server, refused=refused, refused_us=True)
                return self._seen(server, client, address)
            except (redis.RedisError, OSError) as error:
                if has_log and self._location.kind == "server":
                    with translated("look at the server"):
                        raise
                return replace(server, refused=str(error) or type(error).__name__)

    def _seen(self, server: Server, client: redis.Redis, address: Address | None) -> Server:
        info, info_refused = looking.info(client)
        config, config_refused = looking.config(client)
        clock, clock_refused = looking.clock(client)
        try:
            user = looking.text(client.execute_command("ACL WHOAMI"))
        except redis.ResponseError:
            user = None
        # What is needed where a sentinel, a cluster or a replica says, is asked for of each server alike.
        facts = Facts(wanted=self._wanted, topology=self._topology, wire="loopback", servers=())
        commands = dict.fromkeys(command for role in _ROLES for command in needed(facts, role))
        trader_id = self._wanted.trader_id
        prefix = "{trader-}:" if trader_id is None else Keys(trader_id).prefix
        try:
            access = look_for(client, commands, prefix, user)
        except (redis.RedisError, OSError) as error:
            access = Access(user=user, unseen=str(error))
        return replace(
            server,
            info=info,
            info_refused=info_refused,
            config=config,
            config_refused=config_refused,
            keeps_halves=ServerRun.of(info).keeps_halves if info else None,
            clock=clock,
            clock_refused=clock_refused,
            scripts=looking.scripts(client),
            access=replace(access, open_to_anybody=self._opens_to_anybody(address, prefix)),
        )

    def _opens_to_anybody(self, address: Address | None, prefix: str) -> bool | None:
        """Whether who says nothing of himself may read a key; None if that could not be tried."""
        with closing(self._client(address, anonymous=True)) as client:
            try:
                client.execute_command("HGET", f"{prefix}absent", "a")
            except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
                return False
            except redis.ResponseError as error:
                return {"NOAUTH": False, "NOPERM": False, "MOVED": True}.get(str(error).partition(" ")[0])
            except (redis.RedisError, OSError):
                return None
            return True

    # -- All of it ---------------------------------------------------------------------------------------------

    @property
    def _topology(self) -> Literal["plain", "sentinel", "cluster"]:
        kind = self._location.kind
        return "plain" if kind == "server" else kind

    def _facts(self, servers: list[Server], sentinels: tuple[Sentinel, ...] = ()) -> Facts:
        return Facts(
            wanted=self._wanted,
            topology=self._topology,
            wire=self._wire(servers),
            servers=tuple(servers),
            sentinels=sentinels,
            keys=self._keys(servers),
            recommended=COMPACT,
        )

    def _wire(self, servers: list[Server]) -> Literal["socket", "loopback", "tls", "plain"]:
        kind = self._location.options.get("connection_class")
        if kind is redis.UnixDomainSocketConnection:
            return "socket"
        if kind is not None and issubclass(kind, redis.SSLConnection):
            return "tls"
        hosts = [host for host, _ in self._location.addresses]
        hosts += [server.address.rpartition(":")[0] for server in servers]
        return "loopback" if all(map(_is_here, hosts)) else "plain"

    def _keys(self, servers: list[Server]) -> LogKeys | None:
        if self._wanted.trader_id is None or not servers or servers[0].refused:
            return None
        address = self._location.addresses[0] if self._location.addresses else None
        if self._location.kind != "server":
            host, _, port = servers[0].address.rpartition(":")
            address = (host, int(port))
        with closing(self._client(address)) as client:
            try:
                return looking.log_keys(client, Keys(self._wanted.trader_id))
            except redis.exceptions.AskError as error:  # one that is not there may be at the other node already
                return LogKeys(moving_to=f"{error.host}:{error.port}")
            except (redis.RedisError, OSError) as error:
                return LogKeys(refused=str(error))


def _refusal_of_us(client: redis.Redis) -> redis.RedisError | None:
    """Return why the server has nothing to do with this user; None if it has, whatever he may do then."""
    try:
        client.execute_command("PING")
    except redis.exceptions.NoPermissionError as error:
        return None if "ping" in str(error).lower() else error  # else not even a name may be given
    except redis.AuthenticationError as error:
        return error
    except redis.ResponseError as error:
        return error if str(error).startswith(("NOAUTH", "WRONGPASS")) else None
    return None


def _named(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
