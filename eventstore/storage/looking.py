"""What one server says of itself, as it says it: nothing is written, and what is refused is said."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, Final, cast

import redis

from eventstore.doctor.facts import Clock, LogKeys, Scripts
from eventstore.keys import Keys

_ROUNDS: Final = 9
_READS_MAX: Final = 5
_SETTINGS: Final = (
    "appendfsync", "aof-load-truncated", "save", "stop-writes-on-bgsave-error", "maxmemory-policy",
    "hash-max-ziplist-entries", "hash-max-ziplist-value", "hash-max-listpack-entries", "hash-max-listpack-value",
    "stream-node-max-bytes", "stream-node-max-entries",
    "min-replicas-to-write", "min-replicas-max-lag", "min-slaves-to-write", "min-slaves-max-lag", "repl-backlog-size",
    "client-output-buffer-limit", "replica-read-only", "slave-read-only", "replica-serve-stale-data",
    "slave-serve-stale-data",
    "lua-time-limit", "busy-reply-threshold", "proto-max-bulk-len", "client-query-buffer-limit", "maxclients",
    "timeout", "tcp-keepalive",
    "cluster-require-full-coverage", "cluster-node-timeout", "cluster-allow-reads-when-down",
)  # fmt: skip
_PROBE: Final = "return {cmsgpack and 1 or 0, redis.acl_check_cmd and 1 or 0}"
_RAW: Final = (
    "INFO", "CONFIG GET", "TIME", "PING", "ACL WHOAMI", "ACL DRYRUN", "CLUSTER SLOTS", "CLUSTER INFO", "XREVRANGE",
    "SENTINEL MASTER",
)  # fmt: skip
"""Answers that are taken as they come: the driver's own forms of them differ from version to version."""


def info(client: redis.Redis) -> tuple[dict[str, str], str]:
    """Return what ``INFO`` says; or why it does not."""
    try:
        lines = text(client.execute_command("INFO")).splitlines()
    except redis.ResponseError as error:
        return {}, str(error)
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#")), ""


def config(client: redis.Redis) -> tuple[dict[str, str], str]:
    """Return the settings that matter; or why they were not seen."""
    pipeline = client.pipeline(transaction=False)
    for name in _SETTINGS:
        pipeline.execute_command("CONFIG GET", name)
    found: dict[str, str] = {}
    refused = ""
    for reply in pipeline.execute(raise_on_error=False):
        if isinstance(reply, Exception):
            refused = str(reply)
        else:
            found |= fields(reply)
    return found, refused


def clock(client: redis.Redis) -> tuple[Clock | None, str]:
    """Return what time it is there; or why that was not seen. Asks several times, and believes the quickest answer."""
    best: tuple[float, float] | None = None
    rounds = []
    try:
        for _ in range(_ROUNDS):
            begin = time.perf_counter()
            before = time.time()
            seconds, micros = cast(Any, client.execute_command("TIME"))
            took = time.perf_counter() - begin
            rounds.append(took)
            ahead = int(seconds) + int(micros) / 1e6 - (before + took / 2)
            best = min(best or (took, ahead), (took, ahead))
    except redis.ResponseError as error:
        return None, str(error)
    assert best is not None  # noqa: S101 - there is at least one round
    return Clock(ahead_s=best[1], error_s=best[0] / 2, round_trip_s=statistics.median(rounds)), ""


def scripts(client: redis.Redis) -> Scripts:
    """Return whether scripts run, by one that does nothing."""
    try:
        packs, asks = cast(Any, client.execute_command("EVAL", _PROBE, 0))
        client.execute_command("EVALSHA", redis.commands.core.Script(client, _PROBE).sha, 0)
    except redis.ResponseError as error:
        said = str(error)
        return Scripts(refused=f"NOPERM {said}" if isinstance(error, redis.exceptions.NoPermissionError) else said)
    return Scripts(has_messagepack=bool(packs), asks_permission=bool(asks))


def log_keys(client: redis.Redis, keys: Keys) -> LogKeys:
    """Return what stands at the keys of a trader whose names are fixed. Raises a `redis.RedisError`."""
    expected = {name: _kind(keys, name) for name in (keys.log, keys.writer, keys.schema, keys.archived)}
    expected |= {name: _kind(keys, name) for name in keys.fixed_views()}
    pipeline = client.pipeline(transaction=False)
    for name in expected:
        pipeline.type(name)
        pipeline.pttl(name)
    replies = pipeline.execute()
    kinds = {name: text(kind) for name, kind in zip(expected, replies[::2], strict=True)}
    expiring = tuple(name for name, left in zip(expected, replies[1::2], strict=True) if left >= 0)
    there = {name: (kind, expected[name]) for name, kind in kinds.items() if kind != "none"}
    fence, last = _ends(client, keys, has_fence=kinds[keys.writer] == "hash", has_log=kinds[keys.log] == "stream")
    return LogKeys(kinds=there, expiring=expiring, fence_id=fence, last_id=last)


def _ends(client: redis.Redis, keys: Keys, *, has_fence: bool, has_log: bool) -> tuple[str | None, str | None]:
    """Return where the log ends by its fence, and where it does. A writer may be at work."""

    def by_fence() -> str | None:
        if not has_fence:
            return None
        [found] = cast("list[bytes | None]", client.hmget(keys.writer, ["id"]))
        return text(found)

    fence = by_fence()
    last: str | None = None
    for _ in range(_READS_MAX):
        rows = cast(Any, client.execute_command("XREVRANGE", keys.log, "+", "-", "COUNT", 1)) if has_log else None
        last = text(rows[0][0]) if rows else None
        again = by_fence()
        if again == fence or last == fence:
            return fence, last
        fence = again
    return last, last  # it went on at every look: so somebody writes, and both belong together


def _kind(keys: Keys, name: str) -> str:
    if name == keys.log:
        return "stream"
    sets = (
        keys.accounts, keys.orders, keys.orders_open, keys.orders_closed, keys.orders_inflight, keys.orders_emulated,
        keys.positions, keys.positions_open, keys.positions_closed,
    )  # fmt: skip
    return "set" if name in sets else "hash"


def raw(client: redis.Redis) -> redis.Redis:
    """Let the answers of `client` come as they are."""
    for command in _RAW:
        client.response_callbacks.pop(command, None)
    return client


def fields(reply: Any) -> dict[str, str]:
    """Return names and values that come one behind the other."""
    if isinstance(reply, dict):
        return {text(name): text(value) for name, value in reply.items()}
    words = [text(word) for word in cast(Sequence[bytes], reply)]
    return dict(zip(words[::2], words[1::2], strict=True))


def text(word: Any) -> str:
    """Return what came as bytes, or not at all."""
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word or "")
