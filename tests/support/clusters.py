"""A cluster: primaries with their share of the slots, and replicas of each, as real processes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from eventstore.model.identifiers import TraderId
from tests.support.certificates import Certificates
from tests.support.databases import TRADER
from tests.support.migration import Migration
from tests.support.outages import until
from tests.support.redis_server import RedisServer
from tests.support.topology import CONDITIONS, Topology
from tests.support.users import Task, Users

SLOTS = 16_384

_PASSWORD = "clu@ster:/?#2"
_BUS = 10_000
"""So far above its port a node listens for the others."""


class Seen(NamedTuple):
    """What a node knows of another one, or of itself."""

    id: str
    flags: list[str]
    slots: list[tuple[int, int]]

    @classmethod
    def of(cls, line: str) -> Seen:
        """As a line of CLUSTER NODES says it. What is on its way stands in brackets there, and is left out."""
        node_id, _, flags, *_ = words = line.split()
        ranges = [word.split("-") for word in words[8:] if not word.startswith("[")]
        return cls(node_id, flags.split(","), [(int(each[0]), int(each[-1])) for each in ranges])

    def has(self, slot: int) -> bool:
        return "master" in self.flags and any(first <= slot <= last for first, last in self.slots)


class ClusterNode(RedisServer):
    """One node."""

    def __init__(
        self,
        binary: Path | None,
        node_timeout_ms: int,
        config: Mapping[str, str],
        certificates: Certificates | None,
        users: Sequence[str],
    ) -> None:
        directives = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-replica-validity-factor": "0",  # However long a replica was alone, it may take over.
            "cluster-migration-barrier": "100",  # A replica stays with its primary.
        }
        super().__init__(
            binary=binary,
            tcp=True,
            bus=_BUS,
            password=_PASSWORD,
            certificates=certificates,
            users=users,
            config={**CONDITIONS, **directives, **config},
        )
        if certificates is not None:
            self.config["tls-cluster"] = "yes"
        self.id = ""

    def tell(self, *words: str | int) -> Any:
        """Ask or tell it something: what stands behind CLUSTER."""
        with self.client() as client:
            return client.execute_command("CLUSTER", *words)

    def view(self) -> dict[str, Seen]:
        """What it knows of every node, by id; empty if it does not answer."""
        if not self.alive:
            return {}
        try:
            lines = _text(self.tell("NODES")).splitlines()
        except RedisError:
            return {}
        return {seen.id: seen for seen in map(Seen.of, lines)}

    def owner(self, slot: int) -> str | None:
        """The id of the node that it takes for the owner of `slot`."""
        return next((seen.id for seen in self.view().values() if seen.has(slot)), None)

    def is_well(self) -> bool:
        """Whether it answers, and takes commands for all slots."""
        if not self.alive:
            return False
        try:
            with self.client() as client:
                return client.cluster("INFO")["cluster_state"] == "ok"
        except RedisError:
            return False


class Cluster(Topology):
    """A cluster.

    Parameters
    ----------
    binary : Path, optional
        The server to run.
    primaries : int
        How many share the slots, each with a range of the same length.
    replicas_each : int
        How many replicas each of them has.
    node_timeout_ms : int
        How long a node has to be silent until the others take it for down.
    config : Mapping[str, str], optional
        Directives for all.
    tls : bool
        Whether everybody demands and shows a certificate.
    traders : Sequence[TraderId]
        Traders that have users of their own, who may do what they need and no more. For others, and where there are
        none, the URL is that of somebody who may do everything.

    """

    name = "cluster"
    can = frozenset({"fail over", "restart", "migrate"})

    def __init__(
        self,
        *,
        binary: Path | None = None,
        primaries: int = 3,
        replicas_each: int = 1,
        node_timeout_ms: int = 1_000,
        config: Mapping[str, str] | None = None,
        tls: bool = False,
        traders: Sequence[TraderId] = (),
    ) -> None:
        self._certificates = Certificates("127.0.0.1") if tls else None
        self.replicas_each = replicas_each
        self._users = Users(traders, "cluster", replicas=replicas_each > 0)
        node = partial(ClusterNode, binary, node_timeout_ms, config or {}, self._certificates, self._users.lines)
        self.shards = [[node() for _ in range(1 + replicas_each)] for _ in range(primaries)]
        """Nodes that belong together: whoever is the primary of them."""
        self.nodes = [node for shard in self.shards for node in shard]
        self.servers = list(self.nodes)
        self._running = ExitStack()

    def place(self, trader_id: TraderId = TRADER, task: Task = "writer") -> str:
        who = self._users.of(trader_id, task) or f":{quote(_PASSWORD, safe='')}"
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        if self._certificates is not None:
            return f"rediss+cluster://{who}@{hosts}?{self._certificates.query}"
        return f"redis+cluster://{who}@{hosts}"

    def start(self) -> Self:
        with ExitStack() as running:
            for node in self.nodes:
                running.callback(node.close)
            for node in self.nodes:
                node.start()
                node.id = _text(node.tell("MYID"))
            for number, node in enumerate(self.nodes, 1):
                node.tell("SET-CONFIG-EPOCH", number)
            count = len(self.shards)
            for number, (first, *_) in enumerate(self.shards):
                first.tell("ADDSLOTS", *range(SLOTS * number // count, SLOTS * (number + 1) // count))
            for node, other in itertools.combinations(self.nodes, 2):
                node.tell("MEET", "127.0.0.1", other.port)
            until(self._met, "the nodes do not know one another")
            for first, *others in self.shards:
                for node in others:
                    node.tell("REPLICATE", first.id)
            until(self._is_whole, "the cluster does not come about")
            self._running = running.pop_all()
        return self

    def close(self) -> None:
        self._running.close()
        if self._certificates is not None:
            self._certificates.close()

    def node_of(self, key: str) -> ClusterNode:
        """The node that most take for the primary of `key`."""
        slot = slot_of(key)
        owners = Counter(owner for owner in (node.owner(slot) for node in self.nodes if node.alive) if owner)
        assert owners, f"nobody has slot {slot}"
        owner = owners.most_common(1)[0][0]
        return next(node for node in self.nodes if node.id == owner)

    def primary(self, namespace: str = "") -> ClusterNode:
        return self.node_of(namespace)

    def replicas(self, namespace: str = "") -> list[RedisServer]:
        primary = self.node_of(namespace)
        return [node for node in self._shard(primary) if node is not primary]

    def settled(self, namespace: str = "") -> bool:
        """Whether all nodes that run agree on who has the slot, and everybody of that shard that runs is in step."""
        alive = [node for node in self.nodes if node.alive]
        slot = slot_of(namespace)
        owners = {node.owner(slot) for node in alive}
        if len(owners) != 1 or None in owners or not all(node.is_well() for node in alive):
            return False
        primary = self.node_of(namespace)
        others = [node for node in self._shard(primary) if node is not primary and node.alive]
        return primary.leads() and all(node.follows(primary) for node in others)

    def describe(self) -> str:
        seen = [f"{node.port}, {node.id}, sees {[*node.view().values()]}" for node in self.nodes]
        return "\n".join([super().describe(), *seen])

    def fail_over(self, namespace: str = "") -> RedisServer:
        """Have a replica take over, in order (CLUSTER FAILOVER); the new primary, when everybody knows."""
        before = self.node_of(namespace)
        replica = next(node for node in self._shard(before) if node is not before and node.alive)

        def begun() -> bool:
            try:
                replica.tell("FAILOVER")
            except ResponseError:
                return False  # it is not in touch with its primary yet
            return True

        until(begun, "the replica does not take over")
        return self.wait_for_primary(namespace, besides=before)

    def rolling_restart(self) -> None:
        for shard in self.shards:
            primary = next(node for node in shard if node.leads())
            (first, _), *_ = primary.view()[primary.id].slots
            self._restart_one_by_one(_name_in(first))

    def migrate_slot(self, slot: int, target: ClusterNode) -> Migration:
        """Begin nothing yet: return what moves `slot` to `target`, step by step."""
        source = next(node for node in self.nodes if node.alive and node.owner(slot) == node.id)
        return Migration(slot, source, target, [node for node in self.nodes if node.alive])

    def migrate(self, namespace: str, target: ClusterNode | None = None) -> ClusterNode:
        """Move the slot of that namespace, whole, to another primary; that one."""
        source = self.node_of(namespace)
        if target is None:
            target = next(node for node in self.nodes if node is not source and node.leads())
        migration = self.migrate_slot(slot_of(namespace), target)
        migration.begin()
        while migration.move():
            pass
        migration.finish()
        self.wait_for_primary(namespace, besides=source)
        return target

    def replica_clients(self, namespace: str = "") -> list[Redis]:
        return [server.client(redis_connect_func=_connect_to_read) for server in self.replicas(namespace)]

    def clients(self) -> list[Redis]:
        return [node.client() for node in self.nodes if node.leads()]

    def _shard(self, member: ClusterNode) -> list[ClusterNode]:
        return next(shard for shard in self.shards if member in shard)

    def _met(self) -> bool:
        ids = {node.id for node in self.nodes}
        for node in self.nodes:
            view = node.view()
            if view.keys() != ids or any("handshake" in seen.flags for seen in view.values()):
                return False
        return True

    def _is_whole(self) -> bool:
        return (
            all(node.is_well() for node in self.nodes)
            and all(first.leads() and all(node.follows(first) for node in others) for first, *others in self.shards)
            and all(len({other.owner(slot) for other in self.nodes}) == 1 for slot in (0, SLOTS // 2, SLOTS - 1))
        )


def _connect_to_read(connection: Any) -> None:
    """Connect to a replica that shall answer by itself, rather than name its primary."""
    connection.on_connect()
    connection.send_command("READONLY")
    connection.read_response()


def slot_of(key: str) -> int:
    """The slot of a key, or of all that have that hash tag."""
    return int(key_slot(key.encode()))


def _name_in(slot: int) -> str:
    return next(name for name in map(str, itertools.count()) if slot_of(name) == slot)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
