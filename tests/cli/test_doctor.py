"""`eventstore doctor`: what real servers are set to, as it sees it. What is said of that: tests/doctor."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from typer.testing import CliRunner

from eventstore.cli import app
from eventstore.cli.doctor import FORMAT
from eventstore.doctor import Finding, examine
from eventstore.doctor.facts import Facts, Wanted
from eventstore.durability import Durability
from eventstore.errors import StorageError
from eventstore.keys import Keys
from eventstore.model import TraderId
from eventstore.permissions import Grant, Task
from eventstore.storage.examination import examine as look
from tests.support.cli import Run, assert_documented, assert_one_line_error
from tests.support.databases import TRADER, open_database
from tests.support.outages import until
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[Path, RedisServer]]:
    """A server of each kind, started when it is first asked for."""
    started: dict[Path, RedisServer] = {}
    yield started
    for server in started.values():
        server.close()


@pytest.fixture
def server(servers: dict[Path, RedisServer], server_binary: Path) -> RedisServer:
    if server_binary not in servers:
        servers[server_binary] = RedisServer(binary=server_binary, tcp=True).start()
    with servers[server_binary].client() as client:
        client.flushall()
    return servers[server_binary]


def findings(url: str, **wanted: Any) -> dict[str, Finding]:
    """What is said of the server, by name; the last one where there are several."""
    return {finding.name: finding for finding in examine(look(url, Wanted(trader_id=TRADER, **wanted)))}


@contextmanager
def user(server: RedisServer, *rules: str) -> Iterator[str]:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "somebody", "reset", *rules)
        try:
            yield f"unix://somebody:PASSWORD@{server.socket_path}"
        finally:
            admin.acl_deluser("somebody")


def test_json_is_the_documented_contract(eventstore: Run, redis_server: RedisServer, redis_url: str) -> None:
    done = eventstore("doctor", redis_url, "--trader", TRADER, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert_documented(said, "doctor")
    assert (said["format"], said["topology"], said["durability"]) == (FORMAT, "plain", "applied")
    assert sum(said["counts"].values()) == len(said["findings"])
    assert [server["replica"] for server in said["servers"]] == [False]


def test_what_is_wrong_is_said_with_what_mends_it_and_is_the_status(eventstore: Run, redis_server: RedisServer) -> None:
    with redis_server.client() as client, setting(client, "maxmemory-policy", "allkeys-lru"):
        done = eventstore("doctor", redis_server.url)
    assert done.returncode == 1
    assert "wrong     maxmemory_policy: allkeys-lru" in done.stdout
    assert "mend: CONFIG SET maxmemory-policy noeviction" in done.stdout
    done = eventstore("doctor", redis_server.url, "--all")
    assert done.returncode == 0
    assert "ok        maxmemory_policy: noeviction" in done.stdout


def test_wrong_usage_and_servers_that_are_not_there(eventstore: Run, redis_server: RedisServer) -> None:
    assert CliRunner().invoke(app, ["doctor", redis_server.url, "--durability", "soon"]).exit_code == 2
    assert_one_line_error(eventstore("doctor", "redis://127.0.0.1:1"), "127.0.0.1:1", "can not be reached")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1"):
        findings("redis+cluster://127.0.0.1:1")
    done = CliRunner().invoke(app, ["doctor", f"unix://nobody:secret@{redis_server.socket_path}"])
    assert done.exit_code == 1
    assert "reachable: log in: the user name or password is wrong: correct it in the URL (" in done.stdout
    assert "mend: user name and password in the URL" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    with RedisServer(password="pw") as locked:
        done = CliRunner().invoke(app, ["doctor", locked.url])
    assert "reachable: log in: the server wants a password: put it in the URL (" in done.stdout


def test_credentials_that_can_not_be_read_are_said(eventstore: Run, redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?credentials_file=/nowhere"
    done = eventstore("doctor", url)
    assert "user name and password can not be had" in done.stdout
    assert "credentials_file /nowhere can not be read" in done.stdout
    assert_one_line_error(eventstore("status", url), "credentials_file /nowhere can not be read")


def test_it_only_reads(server: RedisServer) -> None:
    """Neither a key nor what a replica would be sent is another afterwards, and nobody is known who was not."""
    with server.client() as client:
        with open_database(server.url) as database:
            database.add("key", b"value")

        def state() -> object:
            info: Any = client.info()
            return (
                {name: client.dump(name) for name in client.scan_iter()},
                [info[name] for name in ("rdb_changes_since_last_save", "master_repl_offset")],
                client.config_get("*"),
                client.acl_list(),
            )

        before = state()
        findings(server.url)
        with user(server, *Grant(tasks=["writer"], trader_id=TRADER).rules()) as url:
            findings(url)
        with user(server, "on", ">PASSWORD", "~*", "+@all", "-acl", "-eval") as url:
            findings(url)
        assert state() == before


@contextmanager
def setting(client: Redis, name: str, value: str) -> Iterator[None]:
    before: Any = client.config_get(name)
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, before[name])


@pytest.mark.parametrize(
    ("name", "value", "finding", "severity"),
    [
        ("maxmemory-policy", "allkeys-lru", "maxmemory_policy", "wrong"),
        ("maxmemory", "100kb", "memory_left", "wrong"),
        ("appendfsync", "no", "appendfsync", "ok"),  # without such a file
        ("hash-max-ziplist-value", "100", "packing", "note"),
        ("min-replicas-to-write", "1", "min_replicas_to_write", "wrong"),
        ("min-replicas-max-lag", "0", "min_replicas_max_lag", "ok"),  # without the other one
        ("replica-read-only", "no", "replica_read_only", "wrong"),
        ("client-output-buffer-limit", "replica 1mb 1mb 60", "replica_output_buffer", "warning"),
        ("repl-backlog-size", "1mb", "repl_backlog", "note"),
        ("lua-time-limit", "50", "script_time_limit", "note"),
        ("proto-max-bulk-len", "1mb", "argument_size", "wrong"),
        ("client-query-buffer-limit", "2mb", "query_buffer", "wrong"),
        ("timeout", "1", "timeout", "note"),
    ],
)
def test_a_setting_is_seen(server: RedisServer, name: str, value: str, finding: str, severity: str) -> None:
    with server.client() as client:
        try:
            with setting(client, name, value):
                found = findings(server.url, durability=Durability(replicas=1))[finding]
        except ResponseError as error:
            pytest.skip(f"it can not be set so: {error}")
        assert found.severity == severity
        assert findings(server.url)["replicas"].severity == "note"


def test_what_a_server_does_not_let_be_seen_is_named_and_not_assumed(server: RedisServer) -> None:
    """Much as where the server is somebody else's: no CONFIG, no INFO, no ACL."""
    whole = findings(server.url, durability=Durability(replicas=1))
    with user(server, "on", ">PASSWORD", "~*", "+@all", "-config", "-info", "-acl", "-time") as url:
        found = findings(url, durability=Durability(replicas=1))
    for name in (
        "version", "maxmemory_policy", "memory_left", "aof", "appendfsync", "aof_status", "rdb_status",
        "half_transactions", "packing", "min_replicas_to_write", "repl_backlog", "argument_size", "clock", "timeout",
        "clients", "role",
    ):  # fmt: skip
        assert found[name].severity == "unseen", name
        assert found[name].mend
    assert found["permissions_writer"].severity == "wrong"
    assert "lacks info" in found["permissions_writer"].found
    assert {name for name, one in found.items() if one.severity == "ok"} <= {
        name for name, one in whole.items() if one.severity == "ok"
    }


@pytest.mark.parametrize("task", ["writer", "reader", "auditor"])
def test_what_a_user_may_do_is_found_out(server: RedisServer, task: Task) -> None:
    """Never wrongly; and everything, if the user may ask, or the version tells."""
    for more in ([], ["doctor"]):
        tasks: list[Any] = [task, *more]
        grant = Grant(tasks=tasks, trader_id=TRADER)
        with user(server, *grant.rules()) as url:
            access = look(url, Wanted(trader_id=TRADER, task=task)).servers[0].access
            assert access.user in ("somebody", None)
            for command, may in access.may.items():
                assert may == (command in grant.commands()), command
            said = findings(url, task=task)[f"permissions_{task}"]
        if more and "6.2" not in _version(server):
            assert said.severity == "ok"
            assert not access.unseen
        assert said.severity in ("ok", "unseen")


def test_with_the_rights_that_are_printed_for_it_all_is_seen_and_each_is_needed(server: RedisServer) -> None:
    """For a writer; for a reader all but what scripts would say. On 6.2 nobody says what a user may do."""
    open_database(server.url).close()
    for task in ("writer", "reader"):
        tasks: list[Any] = [task, "doctor"]
        commands = Grant(tasks=tasks, trader_id=TRADER).commands()

        def unseen(without: str = "", task: Any = task, commands: list[str] = commands) -> set[str]:
            rules = [f"+{command}" for command in commands if command != without]
            with user(server, "on", ">PASSWORD", f"~{KEYS.prefix}*", "-@all", *rules) as url:
                found = findings(url, task=task)
            assert without or not [one for one in found.values() if one.severity == "wrong"]
            return {name for name, one in found.items() if one.severity == "unseen"}

        whole = unseen()
        if "6.2" in _version(server):
            whole -= {"permissions_writer", "permissions_reader", "permissions_auditor"}
        assert whole == (set() if task == "writer" else {"script_permissions"})
        if task == "reader" and "6.2" not in _version(server):
            for command in {*commands} - {*Grant(tasks=["reader"], trader_id=TRADER).commands()}:
                assert unseen(command) > whole, command


@pytest.mark.parametrize("lacking", ["hset", "smembers", "script|load"])
def test_a_command_that_is_lacking_is_named(server: RedisServer, lacking: str) -> None:
    commands = {*Grant(tasks=["writer", "auditor"], trader_id=TRADER).commands()} - {lacking}
    with user(server, "on", ">PASSWORD", "~*", "-@all", *(f"+{command}" for command in sorted(commands))) as url:
        found = findings(url)["permissions_writer"]
        assert (found.severity, lacking in found.found) == ("wrong", True)
        assert f"+{lacking}" in str(found.mend)


def test_keys_of_somebody_else_are_forbidden_ground(server: RedisServer) -> None:
    other = Grant(tasks=["writer", "doctor"], trader_id=TraderId("OTHER-1"))
    with user(server, *other.rules()) as url:
        found = findings(url)
    assert found["log"].severity == "unseen"
    assert found["permissions_writer"].severity == "wrong"
    assert "on {trader-TRADER-001}:*" in found["permissions_writer"].found


def test_a_log_that_is_not_whole_is_found_before_a_writer_is(redis_server: RedisServer, redis_url: str) -> None:
    assert findings(redis_url)["log"].severity == "ok"
    with open_database(redis_url) as database:
        database.add("key", b"value")
    assert findings(redis_url)["log"].severity == findings(redis_url)["foreign_keys"].severity == "ok"
    with redis_server.client() as client:
        kept = client.dump(KEYS.writer)
        for spoil, name in (
            (lambda: client.delete(KEYS.writer), "log"),
            (lambda: client.delete(KEYS.log), "log"),
            (lambda: client.xadd(KEYS.log, {"e": "?"}), "log"),
            (lambda: client.set(KEYS.orders, "?"), "foreign_keys"),
            (lambda: client.expire(KEYS.general, 1000), "expiring_keys"),
        ):
            spoil()
            assert findings(redis_url)[name].severity == "wrong"
            client.restore(KEYS.writer, 0, kept, replace=True)


def test_a_replica_is_looked_at_too_and_who_it_does_not_know_is_told(server: RedisServer) -> None:
    """Users are not replicated: after a failover to it, the writer would be held."""
    with RedisServer(binary=server.binary, tcp=True) as replica:
        url = f"redis://127.0.0.1:{server.port}"
        with server.client() as client, replica.client() as other:
            other.replicaof("127.0.0.1", server.port)
            until(lambda: dict(other.info("replication")).get("master_link_status") == "up")
            seen: Facts = look(url, Wanted(trader_id=TRADER, durability=Durability(replicas=1)))
            assert [each.is_replica for each in seen.servers] == [False, True]
            assert {one.name: one.severity for one in examine(seen)}["role"] == "ok"
            client.execute_command("ACL", "SETUSER", "somebody", "on", ">PASSWORD", "~*", "+@all")
            try:
                mine = f"redis://somebody:PASSWORD@127.0.0.1:{server.port}"
                said = [one for one in examine(look(mine, Wanted())) if one.name == "reachable"]
                assert [one.severity for one in said] == ["ok", "wrong"]
            finally:
                client.acl_deluser("somebody")
        assert findings(f"redis://127.0.0.1:{replica.port}")["role"].severity == "wrong"


def test_an_embedded_server_is_looked_at(eventstore: Run, scratch: Path) -> None:
    open_database(None, directory=scratch / "data").close()
    done = eventstore("doctor", scratch / "data", "--json")
    assert done.returncode == 0, done
    found = {finding["name"]: finding["severity"] for finding in json.loads(done.stdout)["findings"]}
    assert {found[name] for name in ("packing", "aof", "half_transactions", "default_user")} == {"ok"}
    assert_one_line_error(eventstore("doctor", scratch), "no data of an embedded server")


def test_of_an_embedded_server_nothing_is_advised_that_the_next_start_undoes(eventstore: Run, scratch: Path) -> None:
    open_database(None, directory=scratch / "data").close()
    for options in ([], ["--durability", "replicated(1)"]):
        found = json.loads(eventstore("doctor", scratch / "data", "--json", *options).stdout)["findings"]
        advice = [finding["mend"] for finding in found if finding["mend"] is not None]
        assert advice
        for word in ("CONFIG", "REPLICAOF", "Sentinel", "ACL", "redis-check-aof"):
            assert not any(word in mend for mend in advice), advice


def _version(server: RedisServer) -> str:
    with server.client() as client:
        return str(client.info("server")["redis_version"])
