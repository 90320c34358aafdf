"""Whether scripts run, and what a server bounds: how long, how large, how many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_SCRIPT_MS_LEAST: Final = 1000
_CLIENTS_MANY: Final = 0.9


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the servers take."""
    for server in facts.seen():
        yield _scripts(facts, server)
        yield _script_time(server)
        yield _argument(facts, server)
        yield _query(facts, server)
        yield _clients(server)


def _scripts(facts: Facts, server: Server) -> Finding:
    look = Look("scripts", server.address, "EVAL, EVALSHA of a script that does nothing")
    means = "every batch is a script: without, nothing can be written"
    mend = "+eval +evalsha +script|load, as eventstore acl prints it"
    scripts = server.scripts
    if scripts is None:
        return look.unseen("no script was tried", means, mend)
    if scripts.refused:
        if not scripts.refused.startswith(("NOPERM", "ERR unknown command")):
            return look.unseen(scripts.refused, means, mend)
        if facts.wanted.task != "writer":
            return look.note(scripts.refused, f"{means}; who only reads needs none", mend)
        return look.wrong(scripts.refused, means, mend)
    if not scripts.has_messagepack:
        return look.wrong("they run, without cmsgpack", "the scripts unpack batches with it", "Redis or Valkey itself")
    return look.ok("they run, with cmsgpack", "batches can be applied whole, or not at all")


def _script_time(server: Server) -> Finding:
    look = Look("script_time_limit", server.address, "CONFIG GET busy-reply-threshold lua-time-limit")
    means = "behind that time the server answers others BUSY, who wait; it does not end the script"
    limit = server.size("busy-reply-threshold", "lua-time-limit")
    if limit is None:
        return look.unseen(unseen_setting(server), means, "+config|get; 5000 is the default")
    found = f"{limit} ms" if limit else "no limit"
    if 0 < limit < _SCRIPT_MS_LEAST:
        return look.note(
            found,
            "a flush, or a rebuild of many views, may take longer: others are answered BUSY, and wait",
            "CONFIG SET lua-time-limit 5000",
        )
    return look.ok(found, means)


def _argument(facts: Facts, server: Server) -> Finding:
    look = Look("argument_size", server.address, "CONFIG GET proto-max-bulk-len")
    needed = 2 * facts.wanted.value_bytes_max
    means = f"a database opens only where twice the largest batch and value fit, {needed:,} bytes"
    limit = server.size("proto-max-bulk-len")
    if limit is None:
        return look.unseen(unseen_setting(server), f"{means}; the default of 512 MB is assumed", "+config|get")
    if limit < needed:
        return look.wrong(
            f"{limit:,} bytes", means, f"CONFIG SET proto-max-bulk-len {needed}, or lower value_bytes_max"
        )
    return look.ok(f"{limit:,} bytes", means)


def _query(facts: Facts, server: Server) -> Finding:
    look = Look("query_buffer", server.address, "CONFIG GET client-query-buffer-limit")
    needed = 4 * facts.wanted.value_bytes_max
    means = f"a batch may take {needed:,} bytes on its way: a connection that sends more than the limit is closed"
    limit = server.size("client-query-buffer-limit")
    if limit is None:
        return look.unseen(unseen_setting(server), f"{means}; the default is 1 GB", "+config|get")
    if limit < needed:
        return look.wrong(f"{limit:,} bytes", means, f"CONFIG SET client-query-buffer-limit {needed}")
    return look.ok(f"{limit:,} bytes", means)


def _clients(server: Server) -> Finding:
    look = Look("clients", server.address, "INFO clients, CONFIG GET maxclients")
    means = "a database has three to six connections; behind the limit none can be made, and openings fail"
    count, limit = server.number("connected_clients"), server.number("maxclients") or server.size("maxclients")
    if count is None or limit is None:
        return look.unseen(server.info_refused or unseen_setting(server), means, "+info +config|get")
    found = f"{count:,} of {limit:,}"
    if count >= _CLIENTS_MANY * limit:
        return look.warning(found, means, f"CONFIG SET maxclients {2 * limit}")
    return look.ok(found, means)
