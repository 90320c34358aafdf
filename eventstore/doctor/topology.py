"""How many servers there are, who would take over, and who decides that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Cluster, Facts, Sentinel, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_SLOTS: Final = 16_384
_SENTINELS_LEAST: Final = 3
_PRIMARIES_LEAST: Final = 3
_NODE_TIMEOUT_MS: Final = (1_000, 60_000)
_NOBODY: Final = "when the primary is lost nobody takes over by itself: accepted commands wait until somebody acts"


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the arrangement of the servers means."""
    yield _shape(facts)
    if facts.topology == "sentinel":
        yield from _sentinels(facts)
    if facts.topology == "cluster":
        yield from _cluster(facts, facts.cluster or Cluster(refused="no node was asked"))


def _shape(facts: Facts) -> Finding:
    primaries = sum(not server.is_replica for server in facts.servers)
    replicas = max(sum(server.is_replica for server in facts.servers), facts.replica_count())
    if facts.embedded:
        look = Look("topology", "", "the directory")
        return look.note("an embedded server", "when it ends nobody takes over: whoever opens next starts it again")
    if facts.topology == "plain":
        look = Look("topology", "", "the URL, INFO replication")
        found = f"one server, {replicas} replicas"
        return look.note(found, _NOBODY, "Sentinel (redis+sentinel://) or a cluster (redis+cluster://)")
    if facts.topology == "sentinel":
        answering = sum(not sentinel.refused for sentinel in facts.sentinels)
        look = Look("topology", "", "SENTINEL MASTER, INFO replication")
        found = (
            f"Sentinel: one primary, {replicas} replicas, {answering} of {len(facts.sentinels)} sentinels of the URL"
        )
        return look.ok(found, "another server takes over when the primary is lost")
    cluster = facts.cluster or Cluster()
    look = Look("topology", "", "CLUSTER SLOTS")
    found = f"a cluster: {len(cluster.primaries) or primaries} primaries, {sum(cluster.primaries.values())} replicas"
    return look.ok(found, "another node takes over when a primary is lost")


def _sentinels(facts: Facts) -> Iterator[Finding]:
    for sentinel in facts.sentinels:
        yield _sentinel(sentinel)
    answering = [sentinel for sentinel in facts.sentinels if not sentinel.refused]
    yield _count(facts, answering)
    if answering:
        yield _quorum(answering)
        yield _agreement(answering)


def _sentinel(sentinel: Sentinel) -> Finding:
    look = Look("sentinel", sentinel.address, "SENTINEL MASTER")
    if sentinel.refused:
        return look.warning(
            sentinel.refused,
            "it is not asked where the primary is, and may not be there to vote",
            "start it, or correct the URL, or sentinel_username and sentinel_password",
        )
    if set(sentinel.flags.split(",")) & {"s_down", "o_down"}:
        return look.warning(
            f"the primary is {sentinel.primary}, {sentinel.flags}",
            "it takes the primary for down: a failover may be under way",
            "wait for it; if none comes, see the sentinel's log",
        )
    return look.ok(f"the primary is {sentinel.primary}", "it knows where the log is")


def _count(facts: Facts, answering: list[Sentinel]) -> Finding:
    look = Look("sentinels", "", "the URL, SENTINEL MASTER")
    named = len(facts.sentinels)
    known = max((sentinel.others + 1 for sentinel in answering), default=0)
    found = f"{len(answering)} of the {named} in the URL answer; they know of {known}"
    if not answering:
        return look.wrong(found, "nobody says where the primary is: nothing can be written", "start the sentinels")
    if len(answering) == 1 and named > 1:
        return look.warning(
            found, "with that one gone, nobody says where the primary is", "start the others, or correct the URL"
        )
    if named == 1 and known > 1:
        return look.warning(found, "with that one gone, the library finds nobody to ask", "name all of them in the URL")
    if known < _SENTINELS_LEAST:
        return look.warning(found, "the loss of one is the loss of their majority: then there is no failover", "three")
    return look.ok(found, "one may be lost, and there still is a failover")


def _quorum(answering: list[Sentinel]) -> Finding:
    look = Look("quorum", "", "SENTINEL MASTER")
    known = max(sentinel.others + 1 for sentinel in answering)
    found = ", ".join(f"{quorum}" for quorum in sorted({sentinel.quorum for sentinel in answering}))
    shown = f"{found} of {known}"
    if any(sentinel.quorum > known for sentinel in answering):
        return look.wrong(shown, "there are not so many: there is no failover", "SENTINEL SET NAME quorum 2")
    if known >= _SENTINELS_LEAST and any(sentinel.quorum < 2 for sentinel in answering):
        return look.warning(
            shown, "one sentinel that is cut off begins a failover of a healthy primary", "SENTINEL SET NAME quorum 2"
        )
    return look.ok(shown, "so many have to agree that the primary is down")


def _agreement(answering: list[Sentinel]) -> Finding:
    look = Look("sentinels_agree", "", "SENTINEL MASTER")
    primaries = sorted({sentinel.primary for sentinel in answering})
    if len(primaries) > 1:
        return look.warning(
            " and ".join(primaries),
            "they name different primaries: a failover is under way, or some are cut off. The latest one is believed",
            "run this again; if it stays, see their logs",
        )
    return look.ok(primaries[0], "all name the same primary")


def _cluster(facts: Facts, cluster: Cluster) -> Iterator[Finding]:
    yield _state(cluster)
    if cluster.refused:
        return
    if facts.wanted.trader_id is not None:
        yield _slot(cluster, "" if facts.keys is None else facts.keys.moving_to)
    look = Look("cluster_primaries", "", "CLUSTER SLOTS")
    if len(cluster.primaries) < _PRIMARIES_LEAST:
        yield look.warning(
            str(len(cluster.primaries)),
            "a failover needs the votes of more than half of the primaries: with fewer than three there may be none",
            "three primaries",
        )
    else:
        yield look.ok(str(len(cluster.primaries)), "one may be lost, and its replica takes over")
    for address, count in sorted(cluster.primaries.items()):
        look = Look("cluster_replicas", address, "CLUSTER SLOTS")
        if count:
            yield look.ok(str(count), "one of them takes over")
        else:
            yield look.warning(
                "0", f"of the traders there: {_NOBODY}", "redis-cli --cluster add-node ... --cluster-slave"
            )
    for server in facts.seen():
        yield _coverage(server)
        yield _node_timeout(server)
        yield _reads_when_down(facts, server)


def _state(cluster: Cluster) -> Finding:
    look = Look("cluster_state", "", "CLUSTER INFO, CLUSTER SLOTS")
    means = "traders whose slot nobody has can not write (CLUSTERDOWN): accepted commands wait"
    if cluster.refused:
        return look.unseen(cluster.refused, means, "+cluster|slots +cluster|info")
    shown = f"{cluster.state or 'CLUSTER INFO could not be seen'}, {cluster.covered:,} of {_SLOTS:,} slots"
    if cluster.state == "fail" or cluster.covered < _SLOTS:
        return look.wrong(shown, means, "redis-cli --cluster fix, or bring the missing nodes back")
    return look.ok(shown, "every trader has a node")


def _slot(cluster: Cluster, moving_to: str) -> Finding:
    look = Look("cluster_slot", "", "CLUSTER SLOTS")
    if not cluster.owner:
        return look.wrong(
            f"nobody has slot {cluster.slot}",
            "nothing can be written for this trader (CLUSTERDOWN)",
            "redis-cli --cluster fix, or bring its node back",
        )
    if moving_to:
        return look.warning(
            f"slot {cluster.slot} is at {cluster.owner}, and is being moved to {moving_to}",
            "nothing is written for this trader while it is: accepted commands wait",
            "let it come to its end; redis-cli --cluster fix, if that was interrupted",
        )
    return look.ok(f"slot {cluster.slot} is at {cluster.owner}", "all keys of the trader are there")


def _coverage(server: Server) -> Finding:
    look = Look("cluster_full_coverage", server.address, "CONFIG GET cluster-require-full-coverage")
    means = "yes: when any slot has nobody, all traders stop; no: only those whose slot it is"
    value = server.setting("cluster-require-full-coverage")
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; no lets the others go on")
    if value == "yes":
        return look.note(value, means, "CONFIG SET cluster-require-full-coverage no")
    return look.ok(value, means)


def _node_timeout(server: Server) -> Finding:
    look = Look("cluster_node_timeout", server.address, "CONFIG GET cluster-node-timeout")
    means = "for about that long a lost primary is waited for, and one that is cut off goes on acknowledging"
    value = server.size("cluster-node-timeout")
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; 5000 to 15000 is usual")
    least, most = _NODE_TIMEOUT_MS
    if value < least:
        return look.warning(
            f"{value} ms", "a pause of the host begins a failover", "CONFIG SET cluster-node-timeout 5000"
        )
    if value > most:
        return look.warning(f"{value} ms", means, "CONFIG SET cluster-node-timeout 15000")
    return look.ok(f"{value} ms", means)


def _reads_when_down(facts: Facts, server: Server) -> Finding:
    look = Look("cluster_reads_when_down", server.address, "CONFIG GET cluster-allow-reads-when-down")
    means = "yes: a node that lost its cluster answers reads with what it had; no: loads wait (CLUSTERDOWN)"
    value = server.setting("cluster-allow-reads-when-down")
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; no is the default")
    if value == "yes":
        return look.note(
            value,
            "what the command line reads then may be old; a database that is open notices by its fence",
            "CONFIG SET cluster-allow-reads-when-down no",
        )
    return look.ok(value, means)
