"""`classify`: what servers really answer, and the network really does, comes out as what to do about it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import Redis

from eventstore.errors import Fatal, Held, Retryable, StorageError
from eventstore.storage.connect import connect, script
from eventstore.storage.faults import classify, translated
from tests.support.redis_server import RedisServer, server_binaries

WRITES = "redis.call('HSET', KEYS[1], 'a', 'b') return 1"
CLAIM = script("claim.lua").decode()
PATIENCE_S = 30.0


@pytest.fixture(scope="module", params=list(server_binaries().values()), ids=list(server_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server of each kind, after the other."""
    with RedisServer(binary=Path(request.param), config={"lua-time-limit": "20"}) as running:
        yield running


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    """Who makes the trouble, and takes it away again."""
    with server.client() as client:
        client.flushall()
        yield client
        client.execute_command("ACL", "DELUSER", "node")
        client.replicaof("NO", "ONE")
        client.config_set("replica-serve-stale-data", "yes")
        client.config_set("min-replicas-to-write", "0")
        client.config_set("maxmemory", "0")


@pytest.fixture
def node(server: RedisServer, admin: Redis) -> Iterator[Redis]:
    """The library's own connection."""
    with connect(server.url, 5.0, "test") as client:
        yield client


def plain(client: Redis) -> object:
    return client.hset("key", "a", "b")


def in_a_pipeline(client: Redis) -> object:
    pipeline = client.pipeline(transaction=False)
    pipeline.hset("key", "a", "b")
    return pipeline.execute()


def inside_a_script(client: Redis) -> object:
    return client.eval(WRITES, 1, "key")


def inside_a_loaded_script(client: Redis) -> object:
    return client.evalsha(client.script_load(WRITES), 1, "key")


def the_claim(client: Redis) -> object:
    return client.eval(CLAIM, 2, "writer", "log", "owner", 1, bytes(32), 0, "")


WRITERS = [plain, in_a_pipeline, inside_a_script, inside_a_loaded_script, the_claim]


def fault(call: Callable[[Redis], object], client: Redis) -> StorageError:
    """What comes out of `call`."""
    with pytest.raises(StorageError) as caught, translated("do it"):
        call(client)
    assert str(caught.value).startswith("do it: ")
    assert isinstance(caught.value.__cause__, redis.RedisError | OSError)
    return caught.value


def held(error: StorageError, *said: str) -> None:
    assert type(error) is Held
    assert all(part in str(error) for part in said), error


def retryable(error: StorageError, *said: str) -> None:
    assert type(error) is Retryable
    assert all(part in str(error) for part in said), error


# -- What a server answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", WRITERS)
def test_out_of_memory_is_held(call: Callable[[Redis], object], node: Redis, admin: Redis) -> None:
    admin.config_set("maxmemory", "1")
    held(fault(call, node), "raise maxmemory")


@pytest.mark.parametrize("call", WRITERS)
def test_a_replica_is_retried(call: Callable[[Redis], object], node: Redis, admin: Redis) -> None:
    admin.replicaof("127.0.0.1", "1")
    retryable(fault(call, node), "this server is a replica")


@pytest.mark.parametrize("call", [plain, inside_a_script])
def test_a_primary_that_is_down_is_retried(call: Callable[[Redis], object], node: Redis, admin: Redis) -> None:
    admin.replicaof("127.0.0.1", "1")
    admin.config_set("replica-serve-stale-data", "no")
    retryable(fault(call, node))
    retryable(fault(lambda client: client.hgetall("key"), node), "the primary is down")


@pytest.mark.parametrize("call", WRITERS)
def test_too_few_replicas_are_retried(call: Callable[[Redis], object], node: Redis, admin: Redis) -> None:
    admin.config_set("min-replicas-to-write", "1")
    retryable(fault(call, node), "too few replicas")


def test_a_script_that_is_not_there_is_retried(node: Redis) -> None:
    retryable(fault(lambda client: client.evalsha("0" * 40, 0), node), "it is loaded again")


@pytest.mark.parametrize("call", WRITERS)
def test_a_missing_permission_for_a_command_is_held(
    call: Callable[[Redis], object], server: RedisServer, admin: Redis
) -> None:
    admin.execute_command("ACL", "SETUSER", "node", "on", ">pw", "~*", "+@all", "-hset")
    with connect(server.url.replace("unix://", "unix://node:pw@"), 5.0, "test") as client:
        held(fault(call, client), "lacks a permission")


@pytest.mark.parametrize("call", WRITERS)
def test_a_missing_permission_for_a_key_is_held(
    call: Callable[[Redis], object], server: RedisServer, admin: Redis
) -> None:
    admin.execute_command("ACL", "SETUSER", "node", "on", ">pw", "~other", "+@all")
    with connect(server.url.replace("unix://", "unix://node:pw@"), 5.0, "test") as client:
        held(fault(call, client), "lacks a permission")


def test_a_key_that_a_script_may_not_touch_is_held(server: RedisServer, admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "node", "on", ">pw", "~key", "+@all")
    with connect(server.url.replace("unix://", "unix://node:pw@"), 5.0, "test") as client:
        held(fault(lambda c: c.eval("return redis.call('HGETALL', 'other')", 0), client), "lacks a permission")


@pytest.mark.parametrize("command", ["evalsha", "script"])
def test_a_missing_permission_for_scripts_is_held(command: str, server: RedisServer, admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "node", "on", ">pw", "~*", "+@all", f"-{command}")
    with connect(server.url.replace("unix://", "unix://node:pw@"), 5.0, "test") as client:
        held(fault(inside_a_loaded_script, client), "lacks a permission")


@pytest.mark.parametrize("user", ["node:wrong", "nobody:pw", ":wrong"])
def test_a_wrong_password_is_held(user: str, server: RedisServer, admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "node", "on", ">pw", "~*", "+@all")
    admin.config_set("requirepass", "right")
    try:
        with connect(server.url.replace("unix://", f"unix://{user}@"), 5.0, "test") as client:
            held(fault(plain, client), "user name or password is wrong")
    finally:
        admin.config_set("requirepass", "")


def test_a_missing_password_is_held(node: Redis, admin: Redis) -> None:
    admin.config_set("requirepass", "right")
    try:
        held(fault(plain, node), "the server wants a password")
    finally:
        admin.config_set("requirepass", "")


@pytest.mark.parametrize("call", WRITERS)
def test_a_disk_that_does_not_take_snapshots_is_held(
    call: Callable[[Redis], object], node: Redis, admin: Redis, server: RedisServer
) -> None:
    obstacle = server.directory / "dump.rdb" / "full"
    obstacle.parent.mkdir(exist_ok=True)  # a directory where the snapshot should be
    obstacle.touch()
    admin.config_set("save", "3600 1")
    if admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        admin.bgsave()
        until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    try:
        held(fault(call, node), "can not persist to its disk")
    finally:
        admin.config_set("save", "")


@pytest.fixture
def busy(server: RedisServer, admin: Redis) -> Iterator[list[Exception]]:
    """The server runs a script that does not end; what its caller gets."""
    got: list[Exception] = []

    def run() -> None:
        with connect(server.url, PATIENCE_S, "busy") as client:
            try:
                client.eval("while true do end", 0)
            except redis.RedisError as error:
                got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: _refuses(server))
    yield got
    if not got:
        admin.script_kill()
    thread.join(PATIENCE_S)


def _refuses(server: RedisServer) -> bool:
    with server.client() as probe:
        try:
            probe.ping()
        except redis.ResponseError:
            return True
    return False


@pytest.mark.parametrize("call", WRITERS)
def test_a_busy_server_is_retried(call: Callable[[Redis], object], node: Redis, busy: list[Exception]) -> None:
    retryable(fault(call, node), "runs a long script")


def test_a_script_that_somebody_killed_is_retried(admin: Redis, busy: list[Exception]) -> None:
    """A server lets only those be killed that have written nothing."""
    admin.script_kill()
    until(lambda: bool(busy))
    retryable(classify(busy[0], "do it"), "somebody killed the script")


def test_a_server_that_loads_its_data_is_retried(server_binary: Path) -> None:
    # A server answers while it loads, once in a thousand commands.
    config = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": "0"}
    with RedisServer(binary=server_binary, config=config) as server:
        with server.client() as client:
            client.eval("for n = 1, 6000 do redis.call('SET', 'key' .. n, n) end", 0)
        server.config["key-load-delay"] = "50"  # microseconds
        server.kill()
        start = threading.Thread(target=server.start)
        start.start()
        seen: list[StorageError] = []

        def loaded() -> bool:
            with connect(server.url, 5.0, "test") as client:
                try:
                    with translated("do it"):
                        plain(client)
                except Retryable as error:
                    if "is loading its data" in str(error):
                        seen.append(error)
                    return False
            return True

        until(loaded)
        start.join(PATIENCE_S)
        assert seen


# -- What a server says that nobody can wait for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.hset("text", "a", "b"),
        lambda client: client.eval(WRITES, 1, "text"),
        lambda client: client.eval("no lua", 0),
        lambda client: client.eval("nobody()", 0),
        lambda client: client.execute_command("NOSUCHCOMMAND"),
        # Text of somebody else in an error is not an error of that kind.
        lambda client: client.eval("return redis.error_reply('ERR they said -OOM and READONLY')", 0),
    ],
)
def test_a_mistake_is_fatal(call: Callable[[Redis], Any], node: Redis) -> None:
    node.set("text", "x")
    error = fault(call, node)
    assert type(error) is Fatal
    assert "the server refused it" in str(error)


# -- What the network does --------------------------------------------------------------------------------------------


def test_nobody_listening_is_retried(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/none", 5.0, "test") as client:
        retryable(fault(plain, client), "can not be reached")


def test_no_answer_in_time_is_retried(server: RedisServer, admin: Redis) -> None:
    server.pause()
    try:
        with connect(server.url, 0.05, "test") as client:
            retryable(fault(plain, client), "can not be reached")
    finally:
        server.resume()


def test_a_handshake_that_nobody_answers_is_retried_and_may_mean_that_there_is_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with connect(f"rediss://127.0.0.1:{port}", 0.1, "") as client:
            retryable(fault(plain, client), "it may not speak TLS at that port")


def test_an_answer_that_breaks_off_is_retried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"$100\r\nhalf")

        thread = threading.Thread(target=answer)
        thread.start()
        with connect(f"redis://127.0.0.1:{listener.getsockname()[1]}", 5.0, "") as client:
            retryable(fault(plain, client), "can not be reached")
        thread.join(PATIENCE_S)


# -- Texts that no server here gives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), Retryable),
        (redis.exceptions.ClusterDownError("The cluster is down"), Retryable),
        (redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"), Retryable),
        (redis.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"), Retryable),
        (redis.ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), Retryable),
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), Retryable),
        (redis.exceptions.MasterDownError("Link with MASTER is down and replica-serve-stale-data is 'no'."), Retryable),
        (redis.exceptions.AuthenticationError("Authentication required."), Held),
        (redis.ResponseError("NOAUTH Authentication required."), Held),
        (ConnectionResetError(104, "Connection reset by peer"), Retryable),
        (TimeoutError("timed out"), Retryable),
        (redis.ConnectionError(), Retryable),
        (redis.ResponseError("ERR anything else"), Fatal),
        (redis.DataError("not a value"), Fatal),
    ],
)
def test_every_error_has_one_meaning(error: Exception, kind: type[StorageError]) -> None:
    known = classify(error, "do it")
    assert type(known) is kind
    assert str(known).startswith("do it: ")


def test_what_is_known_already_stays_as_it_is() -> None:
    known = Held("memory")
    assert classify(known, "do it") is known


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, a bounded time."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it does not come to that")
