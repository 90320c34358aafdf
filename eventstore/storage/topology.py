"""Who is the primary now, and who its replicas: asked of the servers, of sentinels, or of the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from eventstore.storage.location import Address, Location, at

ASK_S: Final = 1.0
"""How long one sentinel or node may take to say who is where, in seconds: there are others."""


class Replaced(redis.ConnectionError):
    """Another server takes the place of the primary, or has taken it."""


class Topology(Protocol):
    """Says where a trader's keys are. Every method asks anew, and raises a `redis.RedisError` if nobody can say."""

    def primary(self) -> Address:
        """Return where the keys are written."""

    def replicas(self) -> list[Address]:
        """Return the replicas of that, as far as they are well."""

    def primaries(self) -> list[Address]:
        """Return all servers that hold keys of anybody."""


def topology_of(location: Location, namespace: str, options: dict[str, Any]) -> Topology:
    """Return what finds the servers of `location` that have the keys of `namespace`.

    `options` are those of a connection to such a server.
    """
    if location.kind == "sentinel":
        return SentinelTopology(location, options)
    if location.kind == "cluster":
        return ClusterTopology(location, namespace, options)
    return ServerTopology(location, options)


class ServerTopology:
    """One server, of which its replicas are known to itself only."""

    def __init__(self, location: Location, options: dict[str, Any]) -> None:
        self._addresses = list(location.addresses)
        self._options = options

    def primary(self) -> Address:
        if not self._addresses:  # it is reached by a socket
            raise redis.ConnectionError("the server of the URL has no replica: read from it, without read_from=replica")
        return self._addresses[0]

    def primaries(self) -> list[Address]:
        return self._addresses

    def replicas(self) -> list[Address]:
        with _asking(self._options) as server:
            role: Any = server.execute_command("ROLE")
        if role[0] != b"master":
            raise redis.ConnectionError("the server of the URL is a replica itself: give the primary's address")
        return [(host.decode(), int(port)) for host, port, _ in role[2]]


class _Seen(NamedTuple):
    """What a sentinel says of a primary."""

    by: Address
    epoch: int
    address: Address
    flags: frozenset[str]


_LEAVING: Final = frozenset({"o_down", "failover_in_progress"})
"""Flags of a primary that sentinels are about to give up."""


class SentinelTopology:
    """A primary that sentinels watch, and make another one of if it fails.

    More than half of the sentinels of the URL are asked, and whoever has seen the latest failover is believed. While it
    is being brought about, all are asked who know more, and who knew most is asked first from then.

    For up to a second after another was made one a primary may go on, with its other replicas, and be said to be it.
    """

    def __init__(self, location: Location, options: dict[str, Any]) -> None:
        self._service = location.service
        self._sentinels = list(location.addresses)
        self._options = location.sentinel_options | {
            name: min(options[name], ASK_S) for name in ("socket_timeout", "socket_connect_timeout")
        }
        self._options |= {name: options[name] for name in ("retry", "client_name", "protocol")}

    def primary(self) -> Address:
        seen: list[_Seen] = []
        silent: list[str] = []
        for each in self._ask(silent):
            seen.append(each)
            if len(seen) > len(self._sentinels) // 2 and (address := _agreed(seen)) is not None:
                return address
        if not seen:
            raise redis.ConnectionError(f"no sentinel knows where {self._service} is ({'; '.join(silent)})")
        if (address := _agreed(seen)) is not None:
            return address
        was = max(seen, key=lambda each: each.epoch).address
        raise redis.ConnectionError(f"the sentinels say that {self._service} at {at(was)} is down or being replaced")

    def check(self, primary: Address) -> None:
        """See that `primary` is the one and not being replaced, as far as any of all the sentinels knows.

        One alone may have begun that, asked by ``SENTINEL FAILOVER``.

        Raises
        ------
        Replaced
            If it is not.
        redis.RedisError
            If no more than half of them answer.
        """
        silent: list[str] = []
        seen = [*self._ask(silent)]
        if len(seen) <= len(self._sentinels) // 2:
            raise redis.ConnectionError(f"too few sentinels say where {self._service} is ({'; '.join(silent)})")
        if _agreed(seen) != primary:
            # Of the others more than half may still say that it stays.
            knows = max(seen, key=lambda each: (each.epoch, bool(_LEAVING & each.flags))).by
            self._sentinels.sort(key=lambda address: address != knows)
            raise Replaced(f"the sentinels say that {self._service} at {at(primary)} is being replaced")

    def primaries(self) -> list[Address]:
        return [self.primary()]

    def replicas(self) -> list[Address]:
        for address in self._sentinels:
            try:
                with _asking(self._options, address) as sentinel:
                    found: Any = sentinel.execute_command("SENTINEL REPLICAS", self._service)
            except redis.RedisError:
                continue
            replicas = [_fields(one) for one in found]
            return [
                (each["ip"], int(each["port"]))
                for each in replicas
                if not {"s_down", "o_down", "disconnected"} & {*each["flags"].split(",")}
                and each.get("master-link-status") == "ok"
            ]
        raise redis.ConnectionError("no sentinel says where the replicas are")

    def _ask(self, silent: list[str]) -> Iterator[_Seen]:
        """Yield what each sentinel says. Who does not answer is added to `silent`, and asked last from now."""
        for address in [*self._sentinels]:
            try:
                with _asking(self._options, address) as sentinel:
                    said = _fields(sentinel.execute_command("SENTINEL MASTER", self._service))
            except redis.RedisError as error:
                silent.append(f"{at(address)}: {error}")
                self._sentinels.remove(address)
                self._sentinels.append(address)
                continue
            flags = frozenset(said["flags"].split(","))
            yield _Seen(address, int(said["config-epoch"]), (said["ip"], int(said["port"])), flags)


def _agreed(seen: Sequence[_Seen]) -> Address | None:
    """Return the primary that those name who have seen the latest failover; None if it is down or being replaced.

    Who brings a failover about has its epoch before everybody else, and names the old primary until its end.
    """
    epoch = max(each.epoch for each in seen)
    latest = [each for each in seen if each.epoch == epoch]
    leaving = {each.address for each in latest if _LEAVING & each.flags or "master" not in each.flags}
    return next((each.address for each in latest if each.address not in leaving), None)


_Range = tuple[int, int, list[Address]]


def _slots(ranges: Sequence[_Range]) -> int:
    return sum(last - first + 1 for first, last, _ in ranges)


class ClusterTopology:
    """The nodes of a cluster, one of which has the slot of `namespace`.

    Whoever was the primary is asked last: one that was cut off, and is back, may not know yet that it is none any more.
    Of the others, each is asked in turn: one may have an old map for long, or none.
    """

    def __init__(self, location: Location, namespace: str, options: dict[str, Any]) -> None:
        self._seeds = list(location.addresses)
        self._known: list[Address] = []
        self._last: Address | None = None
        self._asked: dict[Address, int] = {}  # when each was: the first, the second, …
        self._slot = key_slot(namespace.encode())
        times = {name: min(options[name], ASK_S) for name in ("socket_timeout", "socket_connect_timeout")}
        self._options = options | times

    def primary(self) -> Address:
        self._last = self._of_slot()[0]
        return self._last

    def replicas(self) -> list[Address]:
        return self._of_slot()[1:]

    def primaries(self) -> list[Address]:
        most: list[_Range] = []
        for ranges in self._maps():
            most = max(most, ranges, key=_slots)  # who was reset, or has just come, knows of few
            if _slots(most) == REDIS_CLUSTER_HASH_SLOTS:
                break
        return list(dict.fromkeys(nodes[0] for _, _, nodes in most))

    def _of_slot(self) -> list[Address]:
        for ranges in self._maps():
            for first, last, nodes in ranges:
                if first <= self._slot <= last:
                    return nodes
        raise redis.ConnectionError(f"CLUSTERDOWN no node of the cluster has slot {self._slot}")

    def _maps(self) -> Iterator[list[_Range]]:
        """Yield, from one node after the other, first and last slot of each range, and who has it: its primary first.

        Raises a `redis.RedisError` if none answers.
        """
        silent: list[str] = []
        nodes = dict.fromkeys([*self._known, *self._seeds])
        for address in sorted(nodes, key=lambda node: (node == self._last, self._asked.get(node, 0))):
            self._asked[address] = 1 + max(self._asked.values(), default=0)
            try:
                with _asking(self._options, address) as node:
                    found: Any = node.execute_command("CLUSTER SLOTS")
            except redis.RedisError as error:
                silent.append(f"{at(address)}: {error}")
                continue
            # A node that does not know its own name leaves it out.
            ranges: list[_Range] = [
                (int(first), int(last), [(_text(host) or address[0], int(port)) for host, port, *_ in members])
                for first, last, *members in found
            ]
            if ranges:
                self._known = list(dict.fromkeys(node for *_, members in ranges for node in members))
            yield ranges
        if len(silent) == len(nodes):
            raise redis.ConnectionError(f"no node of the cluster can be asked ({'; '.join(silent)})")


def _asking(options: dict[str, Any], address: Address | None = None) -> redis.Redis:
    """Return a client that asks one question."""
    told = options if address is None else options | {"host": address[0], "port": address[1]}
    client = redis.Redis.from_pool(redis.ConnectionPool(**told))
    # As they come: the driver's own forms of them differ from version to version.
    for command in ("ROLE", "SENTINEL MASTER", "SENTINEL REPLICAS", "CLUSTER SLOTS"):
        client.response_callbacks.pop(command, None)
    return client


def _fields(reply: Sequence[bytes]) -> dict[str, str]:
    words = [_text(word) for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def _text(word: bytes | None) -> str:
    return (word or b"").decode(errors="replace")
