"""What `eventstore.permissions` says that a user needs is enough, and no command of it is too many."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import NoPermissionError

from eventstore.cli.status import trader_status
from eventstore.durability import Durability
from eventstore.errors import Held
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.permissions import Grant, Task, as_acl_file, as_command
from eventstore.storage.connect import connect
from eventstore.storage.fleet import followers, standings
from eventstore.storage.observer import observe
from tests.support.databases import TRADER, open_database
from tests.support.duties import DUTIES, Duty, confirms
from tests.support.effort import effort
from tests.support.redis_server import RedisServer, redis_cli

USER = "somebody"


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
        servers[server_binary] = RedisServer(binary=server_binary, config={"appendonly": "yes"}).start()
    return servers[server_binary]


@contextmanager
def user(server: RedisServer, grant: Grant, without: str = "") -> Iterator[tuple[str, Redis]]:
    """The URL of a user with those rights, but for one command; and a client that may do everything."""
    with server.client() as admin:
        admin.flushall()
        rules = [rule for rule in grant.rules("pass") if rule != f"+{without}"]
        admin.execute_command("ACL", "SETUSER", USER, "reset", *rules)
        try:
            yield f"unix://{USER}:pass@{server.socket_path}", admin
        finally:
            admin.acl_deluser(USER)


def version(server: RedisServer) -> tuple[int, ...]:
    """Major and minor version of Redis, or of the one that Valkey is compatible with."""
    with server.client() as client:
        return tuple(map(int, str(client.info("server")["redis_version"]).split(".")[:2]))


def refused(server: RedisServer, grant: Grant, duties: tuple[Duty, ...], without: str, directory: Path) -> str | None:
    """What the first of the duties says that can not be done without that command; None if all can be."""
    for number, duty in enumerate(duties):
        with user(server, grant, without) as (url, admin):
            scratch = directory / f"{without}-{number}".replace("|", "-")
            scratch.mkdir()
            try:
                duty(url, admin, scratch)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                return repr(error)
    return None


@pytest.mark.parametrize("task", DUTIES)
def test_a_user_with_the_rights_of_a_task_can_do_all_of_it(server: RedisServer, task: Task, tmp_path: Path) -> None:
    assert refused(server, Grant(tasks=[task], trader_id=TRADER), DUTIES[task], "", tmp_path) is None


@pytest.mark.parametrize("task", DUTIES)
def test_without_any_one_command_something_of_a_task_can_not_be_done(
    server: RedisServer, task: Task, tmp_path: Path
) -> None:
    grant = Grant(tasks=[task], trader_id=TRADER)
    spare = [command for command in grant.commands() if refused(server, grant, DUTIES[task], command, tmp_path) is None]
    assert spare == []


def test_to_ask_for_files_on_disk_takes_one_command_more(server: RedisServer, tmp_path: Path) -> None:
    if version(server) < (7, 2):
        pytest.skip("it has no WAITAOF")
    asked = Durability.parse("aof(1, 0)")
    grant = Grant(tasks=["writer"], trader_id=TRADER, durability=asked)
    assert "lacks a permission" in str(refused(server, grant, (confirms("aof(1, 0)"),), "waitaof", tmp_path))
    assert refused(server, grant, (confirms("aof(1, 0)"),), "", tmp_path) is None


def test_to_ask_for_replicas_takes_one_command_more(redis_server: RedisServer, tmp_path: Path) -> None:
    """There is none; that it can be asked for is what counts."""
    grant = Grant(tasks=["writer"], trader_id=TRADER, durability=Durability.parse("replicated(1)"))
    for without, expected in (("wait", "lacks a permission"), ("", "0 of 1 replicas")):
        assert expected in str(refused(redis_server, grant, (confirms("replicated(1)"),), without, tmp_path))


def test_another_database_needs_one_command_more(redis_server: RedisServer, redis_url: str) -> None:
    grant = Grant(tasks=["writer"], trader_id=TRADER, database=1)
    for without, can in (("", True), ("select", False)):
        with user(redis_server, grant, without) as (url, _), contextlib.ExitStack() as stack:
            if not can:
                stack.enter_context(pytest.raises(Held, match="permission"))
            open_database(f"{url}?db=1").close()


@pytest.mark.parametrize("task", ["reader", "auditor"])
def test_who_only_reads_needs_no_right_to_write_keys(server: RedisServer, task: Task, tmp_path: Path) -> None:
    if version(server) < (7, 0):
        pytest.skip("it does not tell reading keys from writing them")
    grant = Grant(tasks=[task], trader_id=TRADER, read_only_keys=True)
    assert refused(server, grant, DUTIES[task], "", tmp_path) is None
    with user(server, grant) as (_, admin):
        assert admin.execute_command("ACL", "DRYRUN", USER, "HGET", Keys(TRADER).writer, "x") == b"OK"
        admin.acl_setuser(USER, enabled=True, commands=["+hset"])
        assert b"access" in admin.execute_command("ACL", "DRYRUN", USER, "HSET", Keys(TRADER).writer, "x", "y")


_names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"], exclude_characters="{}"), min_size=1
)
_few_names = st.text("ab*?[]\\-^~+\"' ", min_size=1, max_size=6)
_ids = st.builds("{}-1".format, (_names | _few_names).filter(lambda name: not name.isspace())).map(TraderId)


@given(mine=_ids, other=_ids)
@example(TraderId("A*-1"), TraderId("AB-1"))
@example(TraderId("[ab]-1"), TraderId("a-1"))
@example(TraderId("\\-1"), TraderId("\\\\-1"))
@effort(60)
def test_a_user_gets_to_the_keys_of_its_trader_and_to_nobody_elses(
    redis_server: RedisServer, redis_url: str, mine: TraderId, other: TraderId
) -> None:
    grant = Grant(tasks=["reader"], trader_id=mine)
    alike = len(other.encode()) == len(mine.encode()) and all(
        a in (b, ord(" ")) for a, b in zip(mine.encode(), other.encode(), strict=True)
    )
    with user(redis_server, grant) as (url, _), contextlib.closing(connect(url, 5.0, "test")) as client:
        assert client.hget(Keys(mine).writer, "epoch") is None
        if alike:
            return
        with pytest.raises(NoPermissionError):
            client.hget(Keys(other).writer, "epoch")


def test_without_a_trader_all_of_them_are_looked_for(redis_server: RedisServer, redis_url: str) -> None:
    with user(redis_server, Grant(tasks=["reader"])) as (url, _):
        for name in ("T-1", "T-2"):
            open_database(redis_server.url, TraderId(name)).close()
        with observe(url) as observer:
            assert [trader_status(observer, one).log_entries for one in observer.traders()] == [2, 2]
            [node] = observer.nodes
            assert [one.entries for one in standings(node.client, observer.traders())] == [2, 2]
            assert followers(node.client) is None  # which takes INFO, and is not needed


@pytest.mark.parametrize("trader", ["TRADER-001", "a b*-1", 'it\'s "x"\\-1'])
def test_both_forms_make_the_same_user(server_binary: Path, trader: str, tmp_path: Path) -> None:
    """What is printed for an aclfile and what is printed for ``redis-cli``, taken as each is read."""
    if (cli := redis_cli()) is None:
        pytest.skip("there is no redis-cli")
    grant = Grant(tasks=["writer", "auditor"], trader_id=TraderId(trader))
    acl_file = tmp_path / "users.acl"
    acl_file.write_text(f"user default on nopass ~* &* +@all\n{as_acl_file('one', grant.rules())}\n")
    with RedisServer(binary=server_binary, config={"aclfile": str(acl_file)}) as server, server.client() as client:
        line = as_command("two", grant.rules())
        subprocess.run([cli, "-s", str(server.socket_path)], input=line, text=True, check=True)
        one, two = (client.execute_command("ACL", "GETUSER", name) for name in ("one", "two"))
        shown = [
            dict(zip(each[::2], each[1::2], strict=True)) if isinstance(each, list) else each for each in (one, two)
        ]
        for each in shown:
            each.pop(b"channels", None)  # of which nobody needs any
            each.pop("channels", None)
        assert shown[0] == shown[1]
