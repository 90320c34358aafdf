"""What kind of server it is, and what that kind lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look

_LEAST: Final = (6, 2)
_TESTED: Final = {"Redis": (8, 99), "Valkey": (9, 99)}
_OTHER: Final = "use Redis 6.2 or newer, or Valkey"


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the versions of the servers mean."""
    for server in facts.seen():
        yield _version(server)
        yield _waitaof(facts, server)
        yield _script_permissions(facts, server)
        yield _half_transactions(facts, server)


def _version(server: Server) -> Finding:
    look = Look("version", server.address, "INFO server")
    found = f"{server.flavour} {server.version_text}"
    if server.info_refused or server.version is None:
        why = server.info_refused or "it does not say its version"
        return look.unseen(why, "a database does not open without INFO", "+info, as eventstore acl prints it")
    if server.flavour not in _TESTED:
        return look.warning(found, "neither Redis nor Valkey: no guarantee was ever shown there", _OTHER)
    if server.compatible is not None and server.compatible < _LEAST:
        return look.wrong(found, "the scripts do not run there: nothing can be written", _OTHER)
    if server.version > _TESTED[server.flavour]:
        return look.note(found, "newer than any with which the guarantees were shown")
    return look.ok(found, "the guarantees hold there, as far as its settings let them")


def _waitaof(facts: Facts, server: Server) -> Finding:
    look = Look("waitaof", server.address, "INFO server")
    needs = "durability aof(local, replicas) asks it with WAITAOF"
    if server.compatible is None:
        return look.unseen(server.info_refused or "it does not say its version", needs, "+info")
    if server.compatible >= (7, 2):
        return look.ok("it knows WAITAOF", needs)
    asked = facts.wanted.durability
    if asked.on_disk:
        return look.wrong(
            "it does not know WAITAOF",
            f"a database with durability {asked} does not open there",
            "Redis 7.2 or newer, or Valkey; or durability 'replicated(n)' or 'applied'",
        )
    return look.note("it does not know WAITAOF", f"{needs}, which can not be asked for there")


def _script_permissions(facts: Facts, server: Server) -> Finding:
    look = Look("script_permissions", server.address, "EVAL 'return redis.acl_check_cmd ~= nil' 0")
    means = "before Redis 7.0 a script can not ask whether it may write: a user who lacks a command leaves half a batch"
    if server.scripts is None or server.scripts.refused:
        why = "" if server.scripts is None else server.scripts.refused
        return look.unseen(why or "no script was tried", means, "+eval, as eventstore acl prints it")
    if server.scripts.asks_permission:
        return look.ok("scripts can ask what they may do", "what is not allowed shows before a batch writes anything")
    if facts.embedded:
        return look.ok("scripts can not ask what they may do", "its only user may do everything")
    return look.note("scripts can not ask what they may do", means, "give the writer all that eventstore acl prints")


def _half_transactions(facts: Facts, server: Server) -> Finding:
    look = Look("half_transactions", server.address, "INFO server, CONFIG GET aof-load-truncated")
    means = (
        "killed in the middle of a batch, it keeps the half of it in its append-only file, and executes that at the "
        "restart after the next: docs/operations.md, Servers that are killed"
    )
    if server.keeps_halves is None:
        return look.unseen(server.info_refused or "it does not say", means, "+info")
    if not server.keeps_halves:
        return look.ok("not affected: of a version with the fix, or without an append-only file", "no half is kept")
    found = f"{server.flavour} {server.version_text} with an append-only file"
    if facts.embedded:
        return look.ok(found, "a half that a crash left is cut off before the server is started again")
    truncated = server.setting("aof-load-truncated")
    if truncated == "no":
        return look.note(
            f"{found}, and aof-load-truncated no",
            "it refuses to start with a file that a crash has torn, so no half is executed",
            "redis-check-aof --fix before a start that follows a kill",
        )
    mend = "aof-load-truncated no, and redis-check-aof --fix before a start behind a kill; or, after one, BGREWRITEAOF"
    if truncated is None:
        return look.warning(f"{found}; aof-load-truncated could not be seen: {unseen_setting(server)}", means, mend)
    return look.warning(f"{found}, and aof-load-truncated {truncated}", means, mend)


def unseen_setting(server: Server) -> str:
    """Return why a setting was not seen."""
    return server.config_refused or "the server has no such setting"
