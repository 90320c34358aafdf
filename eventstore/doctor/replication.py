"""Who else has it, how far behind, and whether the server waits for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_LAG_S_MAX: Final = 10
_LAG_BYTES_MAX: Final = 64 << 20
_BACKLOG_BYTES: Final = 16 << 20
_CALL_BYTES: Final = 600
"""What one call takes of the stream to the replicas, measured for the recorded sessions: 430 to 620 bytes."""
_BUFFER_BYTES: Final = 64 << 20
_OWN: Final = "a server with replicas, in the place of the embedded one"
_PARTITION: Final = (
    "a primary that was cut off goes on acknowledging: what it applied then is lost when it is back, and is written "
    "again while it is retained"
)


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the replication means, of whoever may take the writes of the log."""
    for server in facts.seen():
        yield _role(server)
        if not server.is_replica:
            yield _replicas(facts, server)
            yield from _lags(server)
        if facts.embedded:
            continue  # nobody copies it
        if facts.replica_count() or facts.wanted.durability.replicas or server.is_replica:
            # A replica may be the primary tomorrow, and then goes by its own settings.
            yield _min_replicas(facts, server)
            yield _max_lag(server)
            yield _backlog(server)
            yield _buffer(server)
            yield _read_only(server)
            yield _stale(facts, server)


def _role(server: Server) -> Finding:
    look = Look("role", server.address, "INFO replication")
    role = server.info.get("role")
    if role is None:
        return look.unseen(server.info_refused or "it does not say", "only a primary can be written to", "+info")
    found = "a primary" if role == "master" else f"a replica of {server.info.get('master_host', '?')}"
    if role == "master" and server.is_replica:
        return look.warning(
            found, "it was said to be a replica: a failover is under way, or two take writes", "run this again"
        )
    if role != "master" and not server.is_replica:
        return look.wrong(
            found,
            "nothing can be written there (READONLY), and what is read may be old",
            "the URL of the primary, or redis+sentinel:// or redis+cluster://, which find it",
        )
    if role != "master" and server.info.get("master_link_status") == "down":
        return look.warning(
            f"{found}, cut off from it",
            "it gets nothing, and may not take over",
            "see its log, and that of its primary",
        )
    return look.ok(found, "as it should be")


def _replicas(facts: Facts, server: Server) -> Finding:
    look = Look("replicas", server.address, "INFO replication")
    asked = facts.wanted.durability
    if "connected_slaves" not in server.info:
        return look.unseen(server.info_refused or "it does not say", "who has a copy is not known", "+info")
    online = sum(replica.get("state") == "online" for replica in server.replicas())
    found = f"{online} online"
    if server.has_log and online < asked.replicas:
        mend = (
            f"as many replicas (REPLICAOF), or durability replicated({online})" if online else "REPLICAOF at a replica"
        )
        return look.wrong(
            f"{found}, {asked.replicas} asked for",
            f"durability {asked} is not reached: the durable position stands still",
            _OWN if facts.embedded else mend,
        )
    if not online:
        return look.note(
            found,
            "there is one copy: with this server the log is lost, but for what a journal or an archive has",
            _OWN if facts.embedded else "a replica, and Sentinel or a cluster",
        )
    return look.ok(found, "a failover can be made good")


def _lags(server: Server) -> Iterator[Finding]:
    end = server.number("master_repl_offset")
    for replica in server.replicas():
        address = f"{replica.get('ip', '?')}:{replica.get('port', '?')}"
        look = Look("replica_lag", address, f"INFO replication at {server.address}")
        try:
            behind, lag_s = max((end or 0) - int(replica["offset"]), 0), int(replica["lag"])
        except (KeyError, ValueError):
            yield look.unseen("the primary does not say", "how much a failover would set back", "see INFO replication")
            continue
        found = f"{replica.get('state', '?')}, {behind:,} bytes behind, heard of {lag_s} s ago"
        means = "what it has not yet is set back by a failover, and written again while it is retained"
        if replica.get("state") != "online" or behind > _LAG_BYTES_MAX or lag_s > _LAG_S_MAX:
            yield look.warning(found, means, "see its log; a larger repl-backlog-size spares it whole copies")
        else:
            yield look.ok(found, means)


def _min_replicas(facts: Facts, server: Server) -> Finding:
    look = Look("min_replicas_to_write", server.address, "CONFIG GET min-replicas-to-write")
    least = server.size("min-replicas-to-write", "min-slaves-to-write")
    asked = facts.wanted.durability.replicas
    mend = f"CONFIG SET min-replicas-to-write {max(asked, 1)}"
    if least is None:
        return look.unseen(unseen_setting(server), _PARTITION, f"+config|get; {mend}")
    if not server.is_replica:
        good = server.number("min_slaves_good_slaves")
        if least and good is not None and good < least:
            return look.wrong(
                f"{least}, and {good} in sync",
                "writes are refused (NOREPLICAS): accepted commands wait, and nothing is applied",
                "bring the replicas back, or lower it",
            )
    if least < asked:
        return look.warning(f"{least}, durability asks for {asked}", _PARTITION, mend)
    if not least:
        return look.note(str(least), _PARTITION, mend)
    return look.ok(str(least), "a primary whose replicas are away stops taking writes after min-replicas-max-lag")


def _max_lag(server: Server) -> Finding:
    look = Look("min_replicas_max_lag", server.address, "CONFIG GET min-replicas-max-lag")
    least = server.size("min-replicas-to-write", "min-slaves-to-write")
    lag_s = server.size("min-replicas-max-lag", "min-slaves-max-lag")
    if lag_s is None or least is None:
        return look.unseen(unseen_setting(server), _PARTITION, "+config|get; it should be 10 or less")
    if not least:
        return look.ok(f"{lag_s} s", "it counts only with min-replicas-to-write")
    if not lag_s:
        return look.warning(
            "0", f"that turns min-replicas-to-write off: {_PARTITION}", "CONFIG SET min-replicas-max-lag 10"
        )
    if lag_s > _LAG_S_MAX:
        return look.warning(f"{lag_s} s", f"for that long {_PARTITION}", "CONFIG SET min-replicas-max-lag 10")
    return look.ok(f"{lag_s} s", "for that long a primary that is cut off goes on acknowledging")


def _backlog(server: Server) -> Finding:
    look = Look("repl_backlog", server.address, "CONFIG GET repl-backlog-size")
    means = "a replica that was away for longer than it reaches back copies everything, and can not take over meanwhile"
    mend = f"CONFIG SET repl-backlog-size {4 * _BACKLOG_BYTES}"
    size = server.size("repl-backlog-size")
    if size is None:
        return look.unseen(unseen_setting(server), means, f"+config|get; {mend}")
    found = f"{size:,} bytes: about {size // _CALL_BYTES:,} calls"
    if size < _BACKLOG_BYTES:
        return look.note(found, means, mend)
    return look.ok(found, means)


def _buffer(server: Server) -> Finding:
    look = Look("replica_output_buffer", server.address, "CONFIG GET client-output-buffer-limit")
    means = "a replica that does not keep up with so much is cut off, and copies everything, again and again"
    mend = 'CONFIG SET client-output-buffer-limit "replica 256mb 64mb 60"'
    words = (server.setting("client-output-buffer-limit") or "").split()
    limits = {words[i]: words[i + 1 : i + 4] for i in range(0, len(words) - 3, 4)}
    found = limits.get("slave") or limits.get("replica")
    if found is None or not all(word.isdigit() for word in found):
        return look.unseen(unseen_setting(server), means, f"+config|get; {mend}")
    hard, soft, seconds = map(int, found)
    shown = f"{hard:,} bytes; {soft:,} bytes for {seconds} s"
    if any(limit and limit < _BUFFER_BYTES for limit in (hard, soft)):
        return look.warning(shown, means, mend)
    if not hard:
        return look.note(f"no limit; {shown}", "a replica that hangs takes the primary's memory", mend)
    return look.ok(shown, means)


def _read_only(server: Server) -> Finding:
    look = Look("replica_read_only", server.address, "CONFIG GET replica-read-only")
    value = server.setting("replica-read-only", "slave-read-only")
    means = "a replica that takes writes is not a copy: what it was given is lost, and its views are not the log's"
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; it should be yes")
    if value != "yes":
        return look.wrong(value, means, "CONFIG SET replica-read-only yes")
    return look.ok(value, "nobody writes to a replica")


def _stale(facts: Facts, server: Server) -> Finding:
    look = Look("replica_serve_stale_data", server.address, "CONFIG GET replica-serve-stale-data")
    value = server.setting("replica-serve-stale-data", "slave-serve-stale-data")
    means = "a replica that lost its primary answers with what it had"
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get")
    if value == "yes" and facts.wanted.from_replica:
        return look.note(
            value,
            f"{means}: an open database waits until it has what it knows, the command line says how far behind it is",
            "CONFIG SET replica-serve-stale-data no",
        )
    return look.ok(value, "loads go to the primary" if value == "yes" else "such a replica answers MASTERDOWN")
