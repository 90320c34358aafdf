"""Which events are gone although the call that wrote them returned: the server was killed, or the process was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from typing import IO, cast

import msgpack

from scripts.lib.peer.objects import TRADER
from scripts.lib.peer.peers import NAUTILUS, NAUTILUS_100, OURS, OURS_JOURNAL, Peer, adapter, server
from scripts.lib.peer.victim import kind_of
from tests.support.redis_server import RedisServer

CALLS_PER_S = 1_000
PATIENCE_S = 120.0
PEERS = (NAUTILUS, NAUTILUS_100, OURS, OURS_JOURNAL)

Figures = dict[str, float]


class Victim:
    """A node in a process of its own, whose every call that returned is known."""

    def __init__(self, peer: Peer, port: int, directory: Path, calls: int) -> None:
        arguments = json.dumps([peer.name, port, str(directory), calls, CALLS_PER_S])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.lib.peer.victim", arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._lines = cast(IO[bytes], self._process.stdout)
        self.written: list[str] = []
        self.raised = 0
        self.begun = self.ended = False
        self._heard = Condition()
        # A thread, so that the node never waits for somebody to listen.
        self._listener = Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._lines:
            with self._heard:
                if line in (b"begun\n", b"ended\n"):
                    self.begun, self.ended = True, line == b"ended\n"
                elif line == b"-\n":
                    self.raised += 1
                elif line.endswith(b"\n"):
                    self.written.append(line.decode().strip())
                self._heard.notify_all()
        with self._heard:
            self.ended = True
            self._heard.notify_all()

    @property
    def calls(self) -> int:
        """How many returned or raised."""
        return len(self.written) + self.raised

    def live(self, calls: int) -> None:
        """Wait until so many calls have been made, or the node makes no more."""
        with self._heard:
            self._heard.wait_for(lambda: self.calls >= calls or self.ended, PATIENCE_S)
            if not self.begun:
                raise SystemExit("a node ended before it began")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def end(self) -> int:
        """Wait until it has ended, by itself if it can, and return how."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
        finally:
            self._listener.join()


def server_killed(victim: Victim, redis: RedisServer, calls: int, down_s: float) -> None:
    """Kill the server in the middle, and start it again from its file after a while."""
    victim.live(calls // 2)
    redis.kill()
    time.sleep(down_s)  # the node goes on meanwhile
    redis.start()
    victim.live(calls)


def process_killed(victim: Victim, redis: RedisServer, calls: int, down_s: float) -> None:
    """Kill the node in the middle."""
    victim.live(calls // 2)
    victim.kill()


SCENARIOS: dict[str, tuple[str, int, Callable[[Victim, RedisServer, int, float], None]]] = {
    "server_killed": ("always", 1, server_killed),  # so that the server itself loses nothing
    "process_killed": ("everysec", 10, process_killed),  # a node that is not done before it is killed
}
"""How the server syncs its file, how many times the calls the node would make, and what happens."""


def suffer(peer: Peer, scenario: str, calls: int, down_s: float) -> Figures:
    """How many of the calls that returned left nothing behind, and whether what is there can be loaded at all."""
    appendfsync, times, happen = SCENARIOS[scenario]
    with TemporaryDirectory(prefix="bench-peer-") as at, server(appendfsync) as redis:
        directory = Path(at)
        victim = Victim(peer, redis.port, directory, calls * times)
        try:
            happen(victim, redis, calls, down_s)
        except BaseException:
            victim.kill()
            raise
        finally:
            status = victim.end()
        found, loadable = loaded(peer, redis.port, directory)
        if not peer.ours:
            found = listed(redis)  # also of what can not be loaded
        return {
            "calls": victim.calls,
            "raised": victim.raised,
            "lost": len(set(victim.written) - found),
            "loadable": loadable,
            "exit_status": status,
        }


def loaded(peer: Peer, port: int, directory: Path) -> tuple[set[str], bool]:
    """Every event of every object, as a new adapter gets them; and whether it gets them."""
    found: set[str] = set()
    with adapter(peer, port, directory) as opened:
        try:
            for each in (opened.load_orders(), opened.load_positions(), opened.load_accounts()):
                found.update(f"{kind_of(thing)} {event.id}" for thing in each.values() for event in thing.events)
        except Exception:  # noqa: BLE001 # whatever it is, a node does not start
            return set(), False
    return found, True


def listed(redis: RedisServer) -> set[str]:
    """Every event in NautilusTrader's lists, once they do not grow any more."""
    found: set[str] = set()
    with redis.client() as client:
        before = -1
        while before < (commands := int(client.info("stats")["total_commands_processed"]) - 1):
            before = commands + 1
            time.sleep(0.2)
        for kind in ("orders", "positions", "accounts"):
            for key in client.scan_iter(f"trader-{TRADER}:{kind}:*", count=1000):
                found.update(f"{kind} {msgpack.unpackb(data)['event_id']}" for data in client.lrange(key, 0, -1))
    return found


def measure(calls: int, down_s: float) -> dict[str, dict[str, Figures]]:
    """One run: scenario → peer → figures."""
    return {name: {peer.name: suffer(peer, name, calls, down_s) for peer in PEERS} for name in SCENARIOS}
