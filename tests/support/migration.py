"""A slot of a cluster on its way from one primary to another, step by step, so that a test can stop anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from redis import Redis


class Node(Protocol):
    """What a migration needs of a node."""

    id: str
    port: int
    password: str | None

    def client(self) -> Redis: ...

    def leads(self) -> bool: ...


class Migration:
    """Moves `slot` from `source` to `target`; `nodes` are all of the cluster.

    Until `begin` nothing has changed. Between that and `finish`, the source answers ASK for what it has not any more.
    """

    def __init__(self, slot: int, source: Node, target: Node, nodes: Sequence[Node]) -> None:
        self.slot = slot
        self.source = source
        self.target = target
        self._nodes = nodes

    def begin(self) -> None:
        """Say at both ends that the slot is on its way."""
        self._tell(self.target, "IMPORTING", self.source.id)
        self._tell(self.source, "MIGRATING", self.target.id)

    def waiting(self, count: int = 10_000) -> list[bytes]:
        """Return the names of up to `count` keys that are still at the source."""
        with self.source.client() as client:
            return cast(list[bytes], client.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, count))

    def move(self, count: int = 100) -> int:
        """Move up to `count` keys; how many there were."""
        return self.move_keys(self.waiting(count))

    def move_keys(self, names: Sequence[bytes | str]) -> int:
        """Move these keys; how many there were."""
        if names:
            auth = [] if self.target.password is None else ["AUTH", self.target.password]
            with self.source.client() as client:
                client.execute_command("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5_000, *auth, "KEYS", *names)
        return len(names)

    def finish(self) -> None:
        """Give the slot to the target, first there; then tell everybody who would hear of it anyway."""
        for node in [self.target, self.source, *self._nodes]:
            if node.leads():
                self._tell(node, "NODE", self.target.id)

    def abandon(self) -> None:
        """Call it off at both ends. What has moved stays where it is."""
        for node in (self.source, self.target):
            self._tell(node, "STABLE")

    def _tell(self, node: Node, *words: str) -> None:
        with node.client() as client:
            client.execute_command("CLUSTER", "SETSLOT", self.slot, *words)
