"""What of it is on a server's disk, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_ON: Final = "CONFIG SET appendonly yes, then CONFIG REWRITE"
_LOSS: Final = "what is lost is written again while a writer retains it or its journal has it; else DataLoss is raised"


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the files of the servers mean."""
    for server in facts.seen():
        yield _aof(facts, server)
        yield _fsync(facts, server)
        yield _aof_status(server)
        yield _rdb(server)


def _has_to_be_on_disk(facts: Facts, server: Server) -> bool:
    asked = facts.wanted.durability
    return asked.on_disk and bool(asked.replicas if server.is_replica else asked.local)


def _aof(facts: Facts, server: Server) -> Finding:
    look = Look("aof", server.address, "INFO persistence, CONFIG GET save")
    on = server.info.get("aof_enabled")
    if on is None:
        return look.unseen(server.info_refused or "it does not say", _LOSS, "+info")
    if on == "1":
        return look.ok("appendonly yes", "what was applied is in its file, as appendfsync has it")
    if _has_to_be_on_disk(facts, server):
        return look.wrong(
            "appendonly no",
            f"durability {facts.wanted.durability} is never reached: the durable position stands still",
            _ON,
        )
    save = server.setting("save")
    if save == "":
        if server.is_replica or facts.replica_count():
            return look.warning("appendonly no, no snapshots", f"all that it has is lost at a restart: {_LOSS}", _ON)
        return look.warning(
            "appendonly no, no snapshots, no replica",
            f"applied is as safe as this one process: at a restart the log is gone: {_LOSS}",
            _ON,
        )
    snapshots = f"snapshots {save}" if save else f"snapshots could not be seen: {unseen_setting(server)}"
    return look.warning(
        f"appendonly no, {snapshots}", f"a restart brings back the last snapshot, if there is one: {_LOSS}", _ON
    )


def _fsync(facts: Facts, server: Server) -> Finding:
    look = Look("appendfsync", server.address, "CONFIG GET appendfsync")
    value = server.setting("appendfsync")
    if value is None:
        return look.unseen(unseen_setting(server), _LOSS, "+config|get; it should be everysec or always")
    if value == "always":
        return look.ok(value, "what was applied survives a crash of its host")
    if value == "everysec":
        return look.ok(value, f"a crash of its host loses up to two seconds: {_LOSS}")
    if _has_to_be_on_disk(facts, server):
        return look.wrong(
            value,
            f"durability {facts.wanted.durability} is never known to be reached",
            "CONFIG SET appendfsync everysec",
        )
    if server.info.get("aof_enabled") == "0":
        return look.ok(value, "there is no append-only file")
    return look.warning(
        value, f"a crash of its host loses up to half a minute: {_LOSS}", "CONFIG SET appendfsync everysec"
    )


def _aof_status(server: Server) -> Finding:
    look = Look("aof_status", server.address, "INFO persistence")
    write, rewrite = (server.info.get(name) for name in ("aof_last_write_status", "aof_last_bgrewrite_status"))
    if write is None or rewrite is None:
        return look.unseen(server.info_refused or "it does not say", "a disk error holds the writer (MISCONF)", "+info")
    if write != "ok":
        return look.wrong(
            f"the last write was {write}",
            "the server refuses writes (MISCONF): accepted commands wait, and nothing is applied",
            "make room on its disk, or see its log",
        )
    if rewrite != "ok":
        return look.warning(
            f"the last rewrite was {rewrite}",
            "the file grows until its disk is full; then writes are refused (MISCONF)",
            "make room on its disk and memory for a fork, then BGREWRITEAOF",
        )
    return look.ok("the last write and rewrite were well", "it can persist")


def _rdb(server: Server) -> Finding:
    look = Look("rdb_status", server.address, "INFO persistence, CONFIG GET save stop-writes-on-bgsave-error")
    status = server.info.get("rdb_last_bgsave_status")
    if status is None:
        return look.unseen(server.info_refused or "it does not say", "a snapshot that fails may stop writes", "+info")
    if status == "ok":
        return look.ok("the last snapshot was well, or there was none", "it can persist")
    save, stops = server.setting("save"), server.setting("stop-writes-on-bgsave-error")
    mend = "make room on its disk and memory for a fork, then BGSAVE"
    if save == "":
        return look.note(f"the last snapshot was {status}, none are made by themselves", "nothing for now", mend)
    if stops == "no":
        return look.warning(f"the last snapshot was {status}", f"it goes on without snapshots: {_LOSS}", mend)
    means = "the server refuses writes (MISCONF): accepted commands wait, and nothing is applied"
    if save is None or stops is None:
        unseen = f"stop-writes-on-bgsave-error could not be seen: {unseen_setting(server)}"
        return look.wrong(f"the last snapshot was {status}; {unseen}", f"by default {means}", mend)
    return look.wrong(f"the last snapshot was {status}", means, mend)
