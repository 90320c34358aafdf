"""Restarts of servers that keep half transactions are told, once; restarts of others are nobody's business."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import StorageError
from eventstore.storage.restarts import RestartWatch, ServerRun, restart_warning
from tests.support.effort import effort
from tests.support.redis_server import RedisServer

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
AOF = {"appendonly": "yes", "appendfsync": "always"}


def run(aof_enabled: int = 1, run_id: str = "now", **facts: str) -> ServerRun:
    return ServerRun.of({"run_id": run_id, "aof_enabled": aof_enabled, **facts})


def valkey(version: str) -> ServerRun:
    return run(valkey_version=version, redis_version="7.2.4", server_name="valkey")


BEFORE = run(run_id="before")


@pytest.mark.parametrize("version", ["6.2.14", "7.0.15", "7.2.4", "8.10.2", "255.255.255", "6.3.4"])
def test_every_redis_is_warned_of(version: str) -> None:
    warning = restart_warning(BEFORE, run(redis_version=version))
    assert warning is not None
    assert f"Redis {version}" in warning
    assert "BGREWRITEAOF" in warning


@pytest.mark.parametrize(
    "version", ["7.2.14", "8.0.10", "8.1.9", "9.0.5", "9.1.1", "9.1.0-rc1", "8.0", "7.2.4-rc1", "?"]
)
def test_a_valkey_of_before_the_fix_is_warned_of(version: str) -> None:
    assert f"Valkey {version}" in (restart_warning(BEFORE, valkey(version)) or "")


@pytest.mark.parametrize(
    "version", ["7.2.15", "8.0.11", "8.1.10", "9.0.6", "9.1.2", "9.1.10", "9.2.0", "10.0.0", "255.255.255"]
)
def test_a_valkey_of_since_the_fix_is_not(version: str) -> None:
    assert restart_warning(BEFORE, valkey(version)) is None


def test_a_server_without_such_a_file_is_not_warned_of() -> None:
    assert restart_warning(BEFORE, run(aof_enabled=0, redis_version="7.0.15")) is None
    assert restart_warning(BEFORE, ServerRun.of({"run_id": "now", "redis_version": "7.0.15"})) is None


@effort(100)
@given(version=st.text(max_size=10), aof_enabled=st.integers(0, 1))
def test_a_server_that_went_on_living_is_not_warned_of(version: str, aof_enabled: int) -> None:
    same = run(aof_enabled, redis_version=version)
    assert restart_warning(same, same) is None
    assert restart_warning(valkey(version), valkey(version)) is None


def test_a_restart_is_told_once_of_the_servers_it_matters_for(server_binary: Path) -> None:
    with RedisServer(binary=server_binary, config=AOF) as server, server.client() as client:
        watch = RestartWatch(client)
        fixed = ServerRun.of(client.info()).name.startswith("Valkey")
        assert watch.look() is None
        server.restart()
        assert (watch.look() is None) == fixed
        assert watch.look() is None


def test_what_could_not_be_seen_is_seen_later(server_binary: Path) -> None:
    with RedisServer(binary=server_binary, config=AOF) as server, server.client() as client:
        watch = RestartWatch(client)
        server.kill()
        assert watch.look() is None
        with pytest.raises(StorageError):
            RestartWatch(client)
        server.start()
        assert (watch.look() is None) == ServerRun.of(client.info()).name.startswith("Valkey")


def test_the_operations_name_the_versions_that_are_fixed() -> None:
    text = OPERATIONS.read_text()
    named = re.findall(r"\b\d+\.\d+\.\d+\b", re.search(r"Valkey has the fix.*?\n\n", text, re.DOTALL)[0])  # type: ignore[index]  # Nothing there fails, too.
    assert named == ["7.2.15", "8.0.11", "8.1.10", "9.0.6", "9.1.2"]
    assert all(restart_warning(BEFORE, valkey(version)) is None for version in named)
