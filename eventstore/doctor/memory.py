"""Whether a server keeps what it is given, and for how much more it has room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_FULL: Final = 1.0
_NEARLY_FULL: Final = 0.8
_LESS: Final = "eventstore archive, and purge_closed_after_s"
_ROOM: Final = f"CONFIG SET maxmemory to more; or {_LESS}"
_PACKED: Final = {
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
}


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the memory of the servers means."""
    for server in facts.seen():
        yield _policy(server)
        yield _left(facts, server)
        yield _packing(facts, server)


def _policy(server: Server) -> Finding:
    look = Look("maxmemory_policy", server.address, "INFO memory")
    policy = server.info.get("maxmemory_policy") or server.setting("maxmemory-policy")
    if policy is None:
        return look.unseen(
            server.info_refused or "it does not say", "a server that may evict keys loses views on the quiet", "+info"
        )
    if policy == "noeviction":
        return look.ok(policy, "nothing is evicted: what was applied stays, and a full server refuses writes (held)")
    return look.wrong(
        policy,
        "an evicted view is lost state, and an evicted fence or log stops the writer: a database does not open there",
        "CONFIG SET maxmemory-policy noeviction",
    )


def _left(facts: Facts, server: Server) -> Finding:
    look = Look("memory_left", server.address, "INFO memory")
    used, limit, host = (server.number(name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    if used is None or limit is None:
        return look.unseen(server.info_refused or "it does not say", "a full server holds the writer (OOM)", "+info")
    if limit:
        found = f"{_megabytes(used)} of maxmemory {_megabytes(limit)}"
        if used >= _FULL * limit:
            return look.wrong(found, "writes are refused (OOM): accepted commands wait, and nothing is applied", _ROOM)
        if used >= _NEARLY_FULL * limit:
            return look.warning(found, "when it is full, writes are refused (OOM), and accepted commands wait", _ROOM)
        return look.ok(found, "there is room")
    found = f"{_megabytes(used)}, no maxmemory" + (f", {_megabytes(host)} in the host" if host else "")
    if host and used >= _NEARLY_FULL * host:
        return look.warning(found, "a host without memory kills the server, which loses what it had not saved", _LESS)
    return look.note(
        found,
        "nothing bounds it but the host, which kills a server that takes too much, instead of it refusing writes",
        _LESS if facts.embedded else "CONFIG SET maxmemory to what the host can spare",
    )


def _packing(facts: Facts, server: Server) -> Finding:
    look = Look("packing", server.address, "CONFIG GET " + " ".join(facts.recommended))
    means = "only memory: with those an order event takes 15 % less (docs/operations.md, Memory)"
    found = {name: server.size(name, _PACKED.get(name, name)) for name in facts.recommended}
    if None in found.values():
        return look.unseen(unseen_setting(server), means, "+config|get")
    other = {name: value for name, value in found.items() if value != facts.recommended[name]}
    if not other:
        return look.ok("as docs/operations.md has them", means)
    mend = "; ".join(f"CONFIG SET {name} {facts.recommended[name]}" for name in other)
    return look.note(", ".join(f"{name} {value}" for name, value in other.items()), means, mend)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
