"""What happens to servers that stand in for each other: each trouble step by step, so that others happen meanwhile.

A trouble is a generator: it does something, yields for as long as it waits for the servers, and leaves them as well as
it found them. Nothing is kept on disk: a server that was killed gets everything from whoever took over.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import RedisError

from tests.support.clusters import Cluster, slot_of
from tests.support.redis_server import RedisServer
from tests.support.sentinels import NAME, Sentinels
from tests.support.topology import Topology

Steps = Iterator[None]

_LOSS = "primary killed, replicas behind"
_LOOK_S = 0.02
_PATIENCE_S = 40.0
_ASK_AGAIN_S = 6.0
"""A node gives up what it was asked for after five seconds."""


class Stuck(Exception):
    """The servers do not come to rest."""


class Troubles:
    """The troubles of one arrangement of servers, which are all well between two of them.

    Attributes
    ----------
    took_s : dict[str, list[float]]
        How long it took, by kind of trouble, until there was another primary.
    """

    def __init__(self, topology: Topology, namespace: str, draw: random.Random, *, may_lose: bool) -> None:
        self.took_s: dict[str, list[float]] = {}
        self._topology = topology
        self._namespace = namespace
        self._draw = draw
        self._kinds: dict[str, tuple[float, Callable[[], Steps]]] = {
            "primary killed": (3, self._kill),
            "primary frozen": (3, self._freeze),
            "primary hangs": (2, self._hang),
            "handed over": (3, self._hand_over),
            "replica restarted": (2, self._restart_replica),
            "connections cut": (1, self._cut),
        }
        if isinstance(topology, Cluster):
            self._kinds |= {
                "slot moved": (5, lambda: self._move_slot(topology)),
                "other primary killed": (1, lambda: self._kill_other(topology)),
            }
        if isinstance(topology, Sentinels):
            self._kinds["sentinel restarted"] = (1, lambda: self._restart_sentinel(topology))
        if may_lose:
            self._kinds[_LOSS] = (4, self._lose)

    def loss(self) -> tuple[str, Steps]:
        """What loses something for certain."""
        return _LOSS, self._lose(0.3)

    def drawn(self) -> tuple[str, Steps]:
        """What happens next, and what it is called."""
        names = list(self._kinds)
        (name,) = self._draw.choices(names, [weight for weight, _ in self._kinds.values()])
        return name, self._after_a_while(self._kinds[name][1]())

    def _after_a_while(self, steps: Steps) -> Steps:
        yield from self._pause(self._draw.choice((0.0, self._draw.uniform(0, 1.5))))
        yield from steps

    def rest(self) -> Steps:
        """Wait until everybody is in step."""
        yield from self._until(self._in_step)

    # -- Each of them ----------------------------------------------------------------------------------------------

    def _kill(self) -> Steps:
        before = self._primary()
        before.kill()
        yield from self._another(before, "primary killed")
        before.start()
        yield from self.rest()

    def _freeze(self) -> Steps:
        """Longer than anybody waits for it; then it wakes up, and thinks for a moment that nothing has happened."""
        before = self._primary()
        before.pause()
        yield from self._another(before, "primary frozen")
        yield from self._pause(self._draw.choice((0.0, self._draw.uniform(0, 0.5))))
        before.resume()
        yield from self.rest()

    def _hang(self) -> Steps:
        """Not long enough for anybody to take over."""
        before = self._primary()
        before.pause()
        yield from self._pause(self._draw.uniform(0, 0.6))
        before.resume()
        yield from self.rest()

    def _hand_over(self) -> Steps:
        before = self._primary()
        began_s = time.monotonic()
        asked_s = float("-inf")

        def done() -> bool:
            nonlocal asked_s
            if self._leader() is not before:
                return True
            if time.monotonic() - asked_s > _ASK_AGAIN_S:
                asked_s = time.monotonic()
                if not self._ask_to_take_over():
                    asked_s = float("-inf")  # not now
            return False

        yield from self._until(done)
        self.took_s.setdefault("handed over", []).append(time.monotonic() - began_s)
        yield from self.rest()

    def _ask_to_take_over(self) -> bool:
        """Whether whoever was asked wants to."""
        try:
            if isinstance(self._topology, Sentinels):
                with self._draw.choice(self._topology.sentinels).client() as client:
                    client.execute_command("SENTINEL", "FAILOVER", NAME)
            else:
                replica: Any = self._draw.choice(self._topology.replicas(self._namespace))
                replica.tell("FAILOVER")
        except RedisError:
            return False
        return True

    def _restart_replica(self) -> Steps:
        replica = self._draw.choice(self._topology.replicas(self._namespace))
        replica.restart(kill=self._draw.random() < 0.5)
        yield from self.rest()

    def _restart_sentinel(self, topology: Sentinels) -> Steps:
        sentinel = self._draw.choice(topology.sentinels)
        sentinel.kill()
        yield from self._pause(self._draw.uniform(0, 0.5))
        sentinel.start()
        yield from self.rest()

    def _cut(self) -> Steps:
        self._topology.cut(self._namespace)
        yield

    def _kill_other(self, topology: Cluster) -> Steps:
        """Somebody else's primary: nobody takes anything until its replica has taken over."""
        ours = topology.node_of(self._namespace)
        other = next(node for node in topology.nodes if node.leads() and node is not ours)
        other.kill()
        yield from self._until(lambda: all(node.is_well() for node in topology.nodes if node.alive))
        other.start()
        yield from self.rest()

    def _move_slot(self, topology: Cluster) -> Steps:
        source = topology.node_of(self._namespace)
        target = self._draw.choice([node for node in topology.nodes if node.leads() and node is not source])
        moving = topology.migrate_slot(slot_of(self._namespace), target)
        moving.begin()
        began_s = time.monotonic()
        count = len(moving.waiting()) // self._draw.choice((1, 3, 20)) + 1
        while moving.move(count):
            yield from self._pause(self._draw.choice((0.0, 0.05)))
        moving.finish()
        self.took_s.setdefault("slot moved", []).append(time.monotonic() - began_s)
        yield from self.rest()

    def _lose(self, least_s: float = 0.05) -> Steps:
        """Nobody hears of what the primary confirms, for a while, and then it dies."""
        before = self._primary()
        replicas = self._topology.replicas(self._namespace)
        for replica in replicas:
            replica.pause()
        with before.client() as client:
            client.client_kill_filter(_type="slave")
        yield from self._pause(self._draw.uniform(least_s, 0.5))
        before.kill()
        for replica in replicas:
            replica.resume()
        yield from self._another(before, _LOSS)
        before.start()
        yield from self.rest()

    # -- Waiting -----------------------------------------------------------------------------------------------------

    def _primary(self) -> RedisServer:
        return self._topology.primary(self._namespace)

    def _leader(self) -> RedisServer | None:
        """Who is the primary, if somebody is."""
        try:
            primary = self._primary()
        except (AssertionError, RedisError):
            return None
        return primary if primary.leads() else None

    def _another(self, before: RedisServer, kind: str) -> Steps:
        began_s = time.monotonic()
        yield from self._until(lambda: self._leader() not in (None, before))
        self.took_s.setdefault(kind, []).append(time.monotonic() - began_s)

    def _in_step(self) -> bool:
        try:
            if not self._topology.settled(self._namespace) or not self._idle():
                return False
            with self._topology.client_of(self._namespace) as client:
                client.publish("anything", "that is replicated")
                return int(client.wait(self._topology.replicas_each, 100)) >= self._topology.replicas_each
        except (AssertionError, RedisError):
            return False

    def _idle(self) -> bool:
        """Whether no sentinel is in the middle of a failover any more."""
        if not isinstance(self._topology, Sentinels):
            return True
        return all(
            "failover_in_progress" not in _flags(sentinel) for sentinel in self._topology.sentinels if sentinel.alive
        )

    def _until(self, condition: Callable[[], bool]) -> Steps:
        ends_s = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > ends_s:
                running = {server.port: server.alive for server in self._topology.servers}
                raise Stuck(f"the servers do not come to rest; by port, whether they run: {running}")
            yield from self._pause(_LOOK_S)

    @staticmethod
    def _pause(wait_s: float) -> Steps:
        ends_s = time.monotonic() + wait_s
        yield
        while time.monotonic() < ends_s:
            yield


def _flags(sentinel: RedisServer) -> str:
    with sentinel.client() as client:
        return str(client.sentinel_master(NAME)["flags"])  # type: ignore[index]  # Not awaitable.
