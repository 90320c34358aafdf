"""How far what was applied is safe: what a server confirms is so, and what is not so is not confirmed."""

from __future__ import annotations

import contextlib
import itertools
import queue
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.durability import Durability
from eventstore.errors import ConfigError, Held, Retryable, StorageError
from eventstore.keys import Keys
from eventstore.storage.appender import Appender, called, claim
from eventstore.storage.connect import connect
from eventstore.storage.durability import DurabilityProbe, check_supported, patience_s
from eventstore.storage.embedded import find_server_binary
from eventstore.storage.restarts import ServerRun
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.logs import check_log, dump, read_fence
from tests.support.outages import until
from tests.support.redis_server import RedisServer, server_binaries
from workers.confirmer import Confirmation, Confirmer
from workers.sink import Backoff, Regressed, Unavailable
from workers.watermark import Watermark

KEYS = Keys(TRADER)
PATIENCE_S = 30.0
SOON_S, LONG_S = 0.1, 5.0
"""How long a probe lets the server wait: where that is in vain, and where it is not."""
OWNER = '{"host": "first"}'
LAYOUT = Path(__file__).parents[2] / "docs" / "redis-layout.md"
REPLICATED = Durability(replicas=1)
ON_DISK = Durability(on_disk=True, local=1)


BINARIES = server_binaries()
DEFAULT = find_server_binary()
WITH_WAITAOF = {
    name: binary
    for name, binary in BINARIES.items()
    if name.startswith("Valkey") or [int(part) for part in name.rpartition("-")[2].split(".")] >= [7, 2]
}
WITHOUT = {name: binary for name, binary in BINARIES.items() if name not in WITH_WAITAOF}

of_each_kind = pytest.mark.parametrize("binary", list(BINARIES.values()), ids=list(BINARIES))
with_waitaof = pytest.mark.parametrize("binary", list(WITH_WAITAOF.values()), ids=list(WITH_WAITAOF))
without_waitaof = pytest.mark.parametrize("binary", list(WITHOUT.values()), ids=list(WITHOUT))


class Writing:
    """A writer by hand, and the probes and confirmers that go with it."""

    def __init__(self, url: str, owner: str = OWNER) -> None:
        self.url = url
        self.owner = owner
        self.client = connect(url, 5.0, "writer")
        self.claimed = claim(self.client, KEYS, owner, 1)
        self.appender = Appender(self.client, KEYS, self.claimed)
        self.applied = Watermark(self.claimed.position)
        self.durable = Watermark()
        self._open = ExitStack()

    def write(self, count: int = 1) -> int:
        """Append a batch of so many commands; the position of the last."""
        first = self.applied.position + 1
        items = [
            ("add", f"key {first + n}", 1, called, c.Add, (f"key {first + n}", b"value"), None, None)
            for n in range(count)
        ]
        batch = self.appender.seal(first, [self.appender.encode(item) for item in items])
        self.appender.send(batch)
        self.appender.receive(batch)
        self.applied.advance(batch.last)
        return batch.last

    def probe(
        self, durability: Durability, wait_s: float = SOON_S, url: str | None = None, epoch: int | None = None
    ) -> DurabilityProbe:
        client = connect(url or self.url, patience_s(5.0), "probe")
        probe = DurabilityProbe(client, KEYS, epoch or self.claimed.epoch, self.owner, durability, wait_s)
        self._open.callback(probe.close)
        return probe

    def confirmer(self, durability: Durability, wait_s: float = SOON_S) -> tuple[Confirmer, queue.SimpleQueue[Any]]:
        """Start one that moves `durable`; and what it tells."""
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        probe = self.probe(durability, wait_s)
        soon = Backoff(0.001, 0.001)
        confirmer = Confirmer(self.applied, self.durable, probe, Telling(told), "confirming", 0.0, soon, soon)
        confirmer.start()
        self._open.callback(confirmer.stop, PATIENCE_S)
        return confirmer, told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        self.appender.close()
        self.client.close()


@contextmanager
def under_load(writing: Writing) -> Iterator[None]:
    """A thread writes batches of any size until the server is gone, which it is at the end of this."""

    def write() -> None:
        with contextlib.suppress(Unavailable):
            for count in itertools.cycle((1, 7, 30)):
                writing.write(count)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class Telling:
    """A listener that puts what it is told in a queue."""

    def __init__(self, told: queue.SimpleQueue[Any]) -> None:
        self._told = told
        self.doubts: list[str] = []

    def short(self, reason: str, held: bool) -> None:
        self._told.put((reason, held))

    def behind(self, error: Regressed) -> None:
        self.doubts.append(str(error.cause))

    def met_again(self) -> None:
        self._told.put("met again")

    def failed(self, error: BaseException) -> None:
        self._told.put(error)


def all_told(told: queue.SimpleQueue[Any]) -> list[Any]:
    return [told.get() for _ in range(told.qsize())]


@contextmanager
def pair(binary: Path, primary: dict[str, str] | None = None, replica: dict[str, str] | None = None) -> Iterator[Any]:
    """A primary and its replica, in step."""
    with (
        RedisServer(binary=binary, tcp=True, config=primary) as first,
        RedisServer(binary=binary, config=replica) as second,
    ):
        second.follow(first)
        yield first, second


def waits(server: RedisServer) -> bool:
    """Whether somebody waits at the server for replicas or disks."""
    with server.client() as admin:
        return any(each["cmd"] in ("wait", "waitaof") and "b" in each["flags"] for each in admin.client_list())


def unavailable(probe: DurabilityProbe, kind: type[StorageError], *said: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        probe.confirm()
    assert type(caught.value.cause) is kind
    assert caught.value.held is (kind is Held)
    for part in said:
        assert part in str(caught.value)
    return caught.value


class Attempt:
    """A `confirm` in a thread of its own."""

    def __init__(self, probe: DurabilityProbe) -> None:
        self._probe = probe
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._probe.confirm()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self._outcome = error

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def outcome(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self._outcome


# -- Replicas ---------------------------------------------------------------------------------------------------------


@of_each_kind
def test_replicas_that_are_counted_have_the_batch(binary: Path) -> None:
    """Looked at the moment it is confirmed: log, views and fence."""
    with pair(binary) as (primary, replica), Writing(primary.url) as writing, replica.client() as there:
        probe = writing.probe(REPLICATED, LONG_S)
        for count in range(1, 60):
            position = writing.write(count)
            assert probe.confirm() == Confirmation(position, met=True, reached="1 of 1 replicas")
            assert read_fence(there, KEYS)["position"] == b"%d" % position
        assert len(check_log(there, KEYS)) == position


@of_each_kind
def test_a_replica_that_hangs_holds_the_watermark_and_says_so_until_it_goes_on(binary: Path) -> None:
    with pair(binary) as (primary, replica), Writing(primary.url) as writing:
        confirmer, told = writing.confirmer(REPLICATED)
        before = writing.write()
        assert writing.durable.wait_until(before, PATIENCE_S)
        replica.pause()
        position = writing.write()
        until(lambda: confirmer.reason == "0 of 1 replicas")
        assert writing.durable.position == before
        replica.resume()
        assert writing.durable.wait_until(position, PATIENCE_S)
        until(lambda: confirmer.reason is None)
        assert confirmer.stop(PATIENCE_S)
        assert all_told(told)[-2:] == [("0 of 1 replicas", False), "met again"]


def test_too_few_replicas_are_not_enough() -> None:
    with pair(DEFAULT) as (primary, _), Writing(primary.url) as writing:
        position = writing.write()
        probe = writing.probe(Durability(replicas=2))
        until(lambda: probe.confirm() == Confirmation(position, met=False, reached="1 of 2 replicas"))
        with RedisServer() as another:
            another.follow(primary)
            until(lambda: probe.confirm() == Confirmation(position, met=True, reached="2 of 2 replicas"))


@of_each_kind
def test_a_primary_that_is_cut_off_from_its_replicas_confirms_nothing_that_they_do_not_have(binary: Path) -> None:
    """They follow another one, and it goes on taking batches: applied there, and lost with it."""
    with pair(binary) as (primary, replica), Writing(primary.url) as writing, replica.client() as there:
        confirmer, _ = writing.confirmer(REPLICATED)
        before = writing.write(5)
        assert writing.durable.wait_until(before, PATIENCE_S)
        replica.promote()
        for _ in range(5):
            writing.write(5)
        until(lambda: confirmer.reason == "0 of 1 replicas")
        assert writing.durable.position == before
        assert writing.applied.position == before + 25
        assert len(check_log(there, KEYS)) == before


@of_each_kind
@pytest.mark.parametrize("seed", range(4))
def test_what_is_replicated_survives_the_death_of_the_primary(binary: Path, seed: int) -> None:
    """It keeps nothing on disk, is killed at any moment under load, and its replica takes over."""
    wanted = random.Random(seed).randrange(1, 2000)
    with pair(binary) as (primary, replica), Writing(primary.url) as writing:
        confirmer, _ = writing.confirmer(REPLICATED, LONG_S)
        with under_load(writing):
            assert writing.durable.wait_until(wanted, PATIENCE_S)
            primary.kill()
        assert confirmer.stop(PATIENCE_S)
        replica.promote()
        with replica.client() as there:
            assert len(check_log(there, KEYS)) >= writing.durable.position >= wanted


@of_each_kind
def test_who_writes_does_not_wait_for_who_asks(binary: Path) -> None:
    """While the server waits for a replica for one connection, it applies the batches of another."""
    with pair(binary) as (primary, replica), Writing(primary.url) as writing:
        asked_at = writing.write()
        replica.pause()
        attempt = Attempt(writing.probe(REPLICATED, LONG_S))
        until(lambda: waits(primary))
        for _ in range(50):
            writing.write(10)
        assert attempt.goes_on
        assert waits(primary)
        replica.resume()
        confirmation = attempt.outcome()
        assert (confirmation.position, confirmation.met) == (asked_at, True)


# -- Disks ------------------------------------------------------------------------------------------------------------


@with_waitaof
def test_a_server_without_an_append_only_file_is_held_with_the_setting_to_change(binary: Path) -> None:
    with RedisServer(binary=binary) as server, Writing(server.url) as writing:
        confirmer, told = writing.confirmer(ON_DISK, LONG_S)
        position = writing.write()
        reason, held = told.get(timeout=PATIENCE_S)
        assert held
        assert "set appendonly yes" in reason
        assert writing.durable.position == 0
        with server.client() as admin:
            admin.config_set("appendonly", "yes")
        assert writing.durable.wait_until(position, PATIENCE_S)
        assert confirmer.reason is None


@with_waitaof
def test_what_is_never_known_to_be_on_disk_is_never_confirmed(binary: Path) -> None:
    """With appendfsync no the server writes its file, and leaves it to the system when that is on disk."""
    config = {"appendonly": "yes", "appendfsync": "no"}
    with RedisServer(binary=binary, config=config) as server, Writing(server.url) as writing:
        probe = writing.probe(ON_DISK)
        for _ in range(3):
            writing.write()
            _, met, reached = probe.confirm()
            assert not met
            assert reached.startswith("0 of 1 local disk (with appendfsync no, ")
        with server.client() as admin:
            admin.config_set("appendfsync", "always")
        position = writing.write()
        until(lambda: probe.confirm() == (position, True, reached.replace("0 of 1", "1 of 1")))


@with_waitaof
@pytest.mark.parametrize(("fsync", "rounds"), [("everysec", 2), ("always", 15)])
def test_what_is_on_disk_survives_the_death_of_the_server(binary: Path, fsync: str, rounds: int) -> None:
    """It is killed at any moment under load, again and again. Where it may have kept half a batch in its file, what the
    documentation asks for is done before the next kill."""
    draw = random.Random(fsync)
    config = {"appendonly": "yes", "appendfsync": fsync}
    with RedisServer(binary=binary, config=config) as server:
        for number in range(rounds):
            with Writing(server.url, f"round {number}") as writing:
                confirmer, _ = writing.confirmer(ON_DISK, LONG_S)
                wanted = writing.applied.position + draw.randrange(1, 1000)
                with under_load(writing):
                    assert writing.durable.wait_until(wanted, PATIENCE_S)
                    server.kill()
                assert confirmer.stop(PATIENCE_S)
            server.start()
            with server.client() as client:
                assert int(read_fence(client, KEYS)["position"]) >= writing.durable.position >= wanted
                if ServerRun.of(client.info()).keeps_halves:
                    client.bgrewriteaof()
                    until(lambda client=client: not client.info("persistence")["aof_rewrite_in_progress"])
        with server.client() as client:
            check_log(client, KEYS)


@with_waitaof
@pytest.mark.parametrize("local", [0, 1])
def test_a_replica_without_an_append_only_file_has_nothing_on_disk(binary: Path, local: int) -> None:
    config = {"appendonly": "yes", "appendfsync": "always"}
    asked = Durability(replicas=1, on_disk=True, local=local)
    with pair(binary, primary=config) as (primary, replica), Writing(primary.url) as writing:
        position = writing.write()
        probe = writing.probe(asked)
        confirmation = probe.confirm()
        assert not confirmation.met
        assert "0 of 1 replicas' disks" in confirmation.reached
        assert ("1 of 1 local disk" in confirmation.reached) is bool(local)
        with replica.client() as there:
            there.config_set("appendfsync", "always")
            there.config_set("appendonly", "yes")
        until(lambda: probe.confirm().met)
        assert probe.confirm().position == position


@of_each_kind
def test_a_server_is_asked_before_anything_else_what_it_knows(binary: Path) -> None:
    """One without WAITAOF is refused by name and version; the rest is supported, and asking changes nothing."""
    with RedisServer(binary=binary) as server, connect(server.url, 5.0, "test") as client:
        before = dump(client)
        for supported in (Durability(), REPLICATED):
            check_supported(client, supported)
        if binary in WITHOUT.values():
            with pytest.raises(
                ConfigError, match=rf"redis {version_of(binary)}, lacks WAITAOF, .* Redis has from 7.2 on"
            ):
                check_supported(client, ON_DISK)
        else:
            check_supported(client, ON_DISK)
        assert dump(client) == before


@of_each_kind
def test_a_replica_is_asked_again_when_it_has_become_a_primary(binary: Path) -> None:
    asked = [REPLICATED, ON_DISK] if binary in WITH_WAITAOF.values() else [REPLICATED]
    with RedisServer(binary=binary) as server, connect(server.url, 5.0, "test") as client:
        client.replicaof("127.0.0.1", "1")
        for each in asked:
            with pytest.raises(Retryable, match="this server is a replica"):
                check_supported(client, each)
        server.promote()
        for each in asked:
            check_supported(client, each)


def version_of(binary: Path) -> str:
    name = next(name for name, each in BINARIES.items() if each == binary)
    return re.escape(name.rpartition("-")[2])


@without_waitaof
def test_a_server_without_waitaof_that_took_over_is_held(binary: Path) -> None:
    with RedisServer(binary=binary) as server, Writing(server.url) as writing:
        writing.write()
        unavailable(writing.probe(ON_DISK), Held, "does not know WAITAOF: use Redis 7.2, Valkey, or newer")


# -- Who asks ---------------------------------------------------------------------------------------------------------


@of_each_kind
def test_asking_writes_where_the_log_ended_into_the_fence_and_nothing_else(binary: Path) -> None:
    with RedisServer(binary=binary) as server, Writing(server.url) as writing, server.client() as client:
        position = writing.write(3)
        before = dump(client)
        assert writing.probe(REPLICATED).confirm() == Confirmation(position, met=False, reached="0 of 1 replicas")
        after = dump(client)
        assert after[KEYS.writer].pop(b"probed") == b"%d" % position
        assert after == before
        check_log(client, KEYS)


def fences(client: Redis) -> dict[str, tuple[Callable[[], object], type[StorageError], str]]:
    """What may have become of the fence, and what is said then."""
    return {
        "taken over": (lambda: claim(client, KEYS, "second", 2), Held, "epoch 1 was ended by epoch 2, owner second"),
        "claimed twice": (lambda: client.hset(KEYS.writer, "owner", "second"), Held, "by epoch 1, owner second"),
        "set back": (lambda: client.hset(KEYS.writer, "epoch", "0"), Retryable, "was set back to epoch 0"),
        "gone": (lambda: client.delete(KEYS.writer), Held, "its fence is gone"),
    }


@of_each_kind
@pytest.mark.parametrize("fate", list(fences(Redis())))
def test_a_log_that_is_not_this_writers_is_not_confirmed_and_not_touched(binary: Path, fate: str) -> None:
    """Nor is that fatal here: the writer itself finds out, and stops or goes on."""
    with RedisServer(binary=binary) as server, Writing(server.url) as writing, server.client() as client:
        writing.write()
        happen, kind, said = fences(client)[fate]
        happen()
        before = dump(client)
        assert isinstance(unavailable(writing.probe(REPLICATED), kind, said), Regressed), "the writer has to look"
        assert dump(client) == before


@of_each_kind
def test_a_server_that_becomes_a_replica_confirms_nothing(binary: Path) -> None:
    with pair(binary) as (primary, replica), Writing(primary.url) as writing, primary.client() as admin:
        writing.write()
        replica.pause()
        probe = writing.probe(REPLICATED, LONG_S)
        attempt = Attempt(probe)
        until(lambda: waits(primary))
        admin.replicaof("127.0.0.1", "1")
        error = attempt.outcome()
        assert isinstance(error, Unavailable)
        assert not error.held
        unavailable(probe, Retryable, "this server is a replica")


@of_each_kind
def test_a_server_that_was_killed_or_hangs_is_asked_again_on_a_new_connection(binary: Path) -> None:
    config = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(binary=binary, config=config) as server, Writing(server.url) as writing:
        position = writing.write()
        client = connect(server.url, 0.4, "probe")
        probe = DurabilityProbe(client, KEYS, writing.claimed.epoch, OWNER, REPLICATED, SOON_S)
        assert probe.confirm().position == position
        server.kill()
        unavailable(probe, Retryable, "can not be reached")
        server.start()
        assert probe.confirm().position == position
        server.pause()
        unavailable(probe, Retryable, "can not be reached")
        server.resume()
        assert probe.confirm().position == position
        probe.close()


def test_one_who_waits_for_an_answer_is_interrupted_until_it_connects_anew() -> None:
    with pair(DEFAULT) as (primary, replica), Writing(primary.url) as writing:
        position = writing.write()
        probe = writing.probe(REPLICATED, LONG_S)
        probe.interrupt()
        unavailable(probe, Retryable, "interrupted")
        probe.reset()
        assert probe.confirm().met
        replica.pause()
        attempt = Attempt(probe)
        until(lambda: waits(primary))
        probe.interrupt()
        assert isinstance(attempt.outcome(), Unavailable)
        until(lambda: not waits(primary))
        unavailable(probe, Retryable, "interrupted")
        replica.resume()
        probe.reset()
        assert probe.confirm() == Confirmation(position, met=True, reached="1 of 1 replicas")


@given(plans=st.lists(st.builds(Plan, st.sampled_from(Way), st.integers(0, 1400), st.just(Fault.CUT)), max_size=2))
@effort(20)
def test_a_connection_that_breaks_at_any_byte_confirms_nothing_that_is_not_so(
    hanging: tuple[RedisServer, Writing, FaultProxy], plans: list[Plan]
) -> None:
    """Least of all on a new connection, on which nothing was written that could be waited for."""
    replica, writing, proxy = hanging
    proxy.arm([])
    position = writing.write()
    probe = writing.probe(REPLICATED, url=proxy.url)
    replica.pause()
    proxy.arm(plans)
    try:
        for _ in range(len(plans) + 1):
            with contextlib.suppress(Unavailable):
                assert probe.confirm() == Confirmation(position, met=False, reached="0 of 1 replicas")
    finally:
        replica.resume()
        proxy.arm([])
        probe.reset()
    assert probe.confirm().position == position
    probe.close()


def test_a_connection_that_is_closed_between_the_write_and_the_wait_confirms_nothing(
    hanging: tuple[RedisServer, Writing, FaultProxy],
) -> None:
    """A driver that connects anew by itself would wait there for nothing, which is there at once."""
    replica, writing, _ = hanging
    probe = writing.probe(REPLICATED)
    probe.confirm()
    connection = probe._connection
    assert connection is not None
    read = connection.read_response

    def read_and_close(*arguments: Any, **options: Any) -> Any:
        answer = read(*arguments, **options)
        connection.disconnect()
        return answer

    connection.read_response = read_and_close  # type: ignore[method-assign]
    replica.pause()
    try:
        unavailable(probe, Retryable, "can not be reached")
    finally:
        replica.resume()
        del connection.read_response


@pytest.fixture(scope="module")
def hanging() -> Iterator[tuple[RedisServer, Writing, FaultProxy]]:
    """A replica to pause, a writer at its primary, and a proxy before that."""
    with (
        pair(DEFAULT) as (primary, replica),
        FaultProxy(primary.socket_path) as proxy,
        Writing(primary.url) as writing,
    ):
        yield replica, writing, proxy


def as_documented(password: str) -> list[str]:
    """The permissions that docs/redis-layout.md lists."""
    shown = re.search(r"```acl\nACL SETUSER node (.*?)```", LAYOUT.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    return shown[1].replace("PASSWORD", password).split()


@pytest.mark.parametrize(
    ("binary", "asked"),
    [(binary, REPLICATED) for binary in BINARIES.values()] + [(binary, ON_DISK) for binary in WITH_WAITAOF.values()],
    ids=[f"{name}-wait" for name in BINARIES] + [f"{name}-waitaof" for name in WITH_WAITAOF],
)
def test_the_documented_permissions_are_enough_and_one_less_is_held(binary: Path, asked: Durability) -> None:
    command = "waitaof" if asked.on_disk else "wait"
    with RedisServer(binary=binary, config={"appendonly": "yes", "appendfsync": "always"}) as server:
        url = server.url.replace("unix://", "unix://node:pw@")
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "node", *as_documented("pw"))
            with connect(url, 5.0, "test") as client, Writing(url) as writing:
                position = writing.write()
                with pytest.raises(Held, match="lacks a permission"):
                    check_supported(client, asked)
                probe = writing.probe(asked)
                unavailable(probe, Held, "lacks a permission")
                assert f"`+{command}`" in LAYOUT.read_text("utf-8")
                admin.execute_command("ACL", "SETUSER", "node", f"+{command}")
                check_supported(client, asked)
                assert probe.confirm().position == position


def test_a_client_that_would_give_up_before_the_server_answers_is_refused() -> None:
    client = connect("unix:///nowhere", 3.1, "test")
    with pytest.raises(ValueError, match=r"3.1 s is too short for a wait of 3.0 s"):
        DurabilityProbe(client, KEYS, 1, OWNER, REPLICATED)
    DurabilityProbe(connect("unix:///nowhere", patience_s(0.0), "test"), KEYS, 1, OWNER, REPLICATED)
