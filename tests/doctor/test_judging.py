"""What is said of facts: pure, so any facts will do."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.doctor import SEVERITIES, Finding, examine
from eventstore.doctor.access import needed
from eventstore.doctor.facts import Access, Clock, Cluster, Facts, LogKeys, Scripts, Sentinel, Server, Wanted
from eventstore.durability import Durability
from eventstore.model.identifiers import TraderId
from tests.support.effort import effort
from tests.support.processes import ROOT

TRADER = TraderId("T-1")
COMPACT = {
    "hash-max-ziplist-entries": 128,
    "hash-max-ziplist-value": 1024,
    "stream-node-max-bytes": 16384,
    "stream-node-max-entries": 0,
}
INFO = {
    "redis_version": "7.2.4",
    "valkey_version": "8.1.10",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory_policy": "noeviction",
    "maxmemory": "1000000000",
    "used_memory": "1000000",
    "total_system_memory": "2000000000",
    "role": "master",
    "connected_slaves": "1",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1000,lag=1",
    "master_repl_offset": "1000",
    "connected_clients": "10",
    "maxclients": "10000",
}
CONFIG = {
    "appendfsync": "everysec",
    "aof-load-truncated": "no",
    "save": "",
    "stop-writes-on-bgsave-error": "yes",
    "min-replicas-to-write": "1",
    "min-replicas-max-lag": "10",
    "repl-backlog-size": "67108864",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "replica-read-only": "yes",
    "replica-serve-stale-data": "yes",
    "lua-time-limit": "5000",
    "proto-max-bulk-len": "536870912",
    "client-query-buffer-limit": "1073741824",
    "timeout": "0",
    "tcp-keepalive": "300",
    "cluster-require-full-coverage": "no",
    "cluster-node-timeout": "15000",
    "cluster-allow-reads-when-down": "no",
    **{name: str(value) for name, value in COMPACT.items()},
}


def facts(*changes: dict[str, Any], server: dict[str, Any] | None = None, **others: Any) -> Facts:
    """A cluster at which nothing is to be said against anything, but for `changes` of its facts."""
    made = Facts(
        wanted=Wanted(trader_id=TRADER, durability=Durability(replicas=1)),
        topology="cluster",
        wire="tls",
        servers=(),
        cluster=Cluster(state="ok", covered=16_384, slot=7, owner="a:1", primaries={"a:1": 1, "b:1": 1, "c:1": 1}),
        keys=LogKeys(fence_id="5-2", last_id="5-2"),
        recommended=COMPACT,
    )
    for change in changes:
        made = replace(made, **change)
    may = {command: True for role in ("writer", "reader", "auditor") for command in needed(made, role)}
    one = Server(
        address="a:1",
        has_log=True,
        info=INFO,
        config=CONFIG,
        keeps_halves=False,
        clock=Clock(ahead_s=0.0, error_s=0.001, round_trip_s=0.002),
        scripts=Scripts(),
        access=Access(user="node", may=may, open_to_anybody=False),
    )
    copy = {"role": "slave", "master_host": "a", "master_link_status": "up", "connected_slaves": "0"}
    other = replace(one, address="a:2", has_log=False, is_replica=True, info=INFO | copy)
    made = replace(made, servers=(replace(one, **(server or {})), other))
    return replace(made, **others)


def found(of: Facts, name: str) -> Finding:
    """The first finding of that name."""
    return next(finding for finding in examine(of) if finding.name == name)


def documented() -> set[str]:
    section = (ROOT / "docs" / "cli.md").read_text().partition("## `eventstore doctor ")[2].partition("\n## ")[0]
    table = section.partition("| looked at is |")[2].partition("With `--json`")[0]
    rows = re.findall(r"^\| [^|]+ \| (`[a-z_`, ]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} - set(SEVERITIES)


def test_nothing_is_said_against_what_is_as_it_should_be() -> None:
    said = {finding.name: finding.severity for finding in examine(facts())}
    assert {name for name, severity in said.items() if severity != "ok"} == set()


def test_every_finding_is_documented_and_every_documented_one_is_there() -> None:
    plain = facts({"topology": "plain", "cluster": None})
    sentinels = facts(
        {"topology": "sentinel", "sentinels": (Sentinel(address="s:1", primary="a:1", quorum=2, others=2),)}
    )
    names = {finding.name for each in (plain, sentinels, facts()) for finding in examine(each)}
    assert names == DOCUMENTED


DOCUMENTED = documented()


def _info(**changes: str) -> dict[str, Any]:
    return {"server": {"info": INFO | changes}}


def _config(**changes: str) -> dict[str, Any]:
    return {"server": {"config": CONFIG | {name.replace("_", "-"): value for name, value in changes.items()}}}


def _seen(**changes: Any) -> dict[str, Any]:
    return {"server": changes}


def _lacking(command: str) -> dict[str, Any]:
    access = facts().servers[0].access
    return _seen(access=replace(access, may={**access.may, command: False}))


def _wanted(**changes: Any) -> dict[str, Any]:
    return {"wanted": replace(facts().wanted, **changes)}


def _cluster(**changes: Any) -> dict[str, Any]:
    made = facts().cluster
    assert made is not None
    return {"cluster": replace(made, **changes)}


def _sentinels(*sentinels: dict[str, Any]) -> dict[str, Any]:
    made = [
        Sentinel(**({"primary": "a:1", "quorum": 2, "others": 2} | each), address=f"s:{n}")
        for n, each in enumerate(sentinels)
    ]
    return {"topology": "sentinel", "sentinels": tuple(made)}


AWAY = {"primary": "", "refused": "away"}
ON_DISK = Durability(replicas=1, on_disk=True, local=1)
OLD = {key: value for key, value in INFO.items() if key != "valkey_version"} | {"redis_version": "6.2.14"}


@pytest.mark.parametrize(
    ("name", "severity", "change"),
    [
        ("version", "wrong", {"server": {"info": OLD | {"redis_version": "6.0.16"}}}),
        ("version", "warning", {"server": {"info": OLD | {"server_name": "keydb"}}}),
        ("version", "note", _info(valkey_version="12.0.1")),
        ("version", "unseen", {"server": {"info": {}, "info_refused": "NOPERM"}}),
        ("waitaof", "note", {"server": {"info": OLD}}),
        ("waitaof", "wrong", {"server": {"info": OLD}} | _wanted(durability=ON_DISK)),
        ("script_permissions", "note", {"server": {"scripts": Scripts(asks_permission=False)}}),
        ("half_transactions", "warning", _seen(keeps_halves=True, config=CONFIG | {"aof-load-truncated": "yes"})),
        ("half_transactions", "warning", {"server": {"keeps_halves": True, "config": {}, "config_refused": "no"}}),
        ("half_transactions", "note", {"server": {"keeps_halves": True}}),
        ("maxmemory_policy", "wrong", _info(maxmemory_policy="allkeys-lru")),
        ("memory_left", "wrong", _info(used_memory="1000000000")),
        ("memory_left", "warning", _info(used_memory="800000000")),
        ("memory_left", "warning", _info(maxmemory="0", used_memory="1700000000")),
        ("memory_left", "note", _info(maxmemory="0")),
        ("packing", "note", _config(hash_max_ziplist_value="64")),
        ("aof", "warning", _info(aof_enabled="0")),
        ("aof", "wrong", _info(aof_enabled="0") | _wanted(durability=ON_DISK)),
        ("appendfsync", "warning", _config(appendfsync="no")),
        ("appendfsync", "wrong", _config(appendfsync="no") | _wanted(durability=ON_DISK)),
        ("aof_status", "wrong", _info(aof_last_write_status="err")),
        ("aof_status", "warning", _info(aof_last_bgrewrite_status="err")),
        ("rdb_status", "note", _info(rdb_last_bgsave_status="err")),
        ("rdb_status", "wrong", _seen(info=INFO | {"rdb_last_bgsave_status": "err"}, config=CONFIG | {"save": "60 1"})),
        ("role", "wrong", _info(role="slave")),
        ("replicas", "wrong", _info(connected_slaves="0", slave0="")),
        ("replicas", "note", _info(connected_slaves="0", slave0="") | _wanted(durability=Durability())),
        ("replica_lag", "warning", _info(slave0="ip=10.0.0.2,port=6379,state=online,offset=1,lag=60")),
        ("replica_lag", "warning", _info(slave0="ip=10.0.0.2,port=6379,state=wait_bgsave,offset=1000,lag=0")),
        ("replica_lag", "warning", _info(master_repl_offset="100000000")),
        ("min_replicas_to_write", "warning", _config(min_replicas_to_write="0")),
        ("min_replicas_to_write", "note", _config(min_replicas_to_write="0") | _wanted(durability=Durability())),
        ("min_replicas_to_write", "wrong", {"server": {"info": INFO | {"min_slaves_good_slaves": "0"}}}),
        ("min_replicas_max_lag", "warning", _config(min_replicas_max_lag="0")),
        ("min_replicas_max_lag", "warning", _config(min_replicas_max_lag="60")),
        ("repl_backlog", "note", _config(repl_backlog_size="1048576")),
        ("replica_output_buffer", "warning", _config(client_output_buffer_limit="replica 1000 1000 60")),
        ("replica_output_buffer", "note", _config(client_output_buffer_limit="replica 0 0 0")),
        ("replica_read_only", "wrong", _config(replica_read_only="no")),
        ("replica_serve_stale_data", "note", _wanted(from_replica=True)),
        ("scripts", "wrong", {"server": {"scripts": Scripts(refused="NOPERM eval")}}),
        ("scripts", "note", {"server": {"scripts": Scripts(refused="NOPERM eval")}} | _wanted(task="reader")),
        ("scripts", "unseen", {"server": {"scripts": Scripts(refused="BUSY")}}),
        ("scripts", "wrong", {"server": {"scripts": Scripts(has_messagepack=False)}}),
        ("script_time_limit", "note", _config(lua_time_limit="10")),
        ("argument_size", "wrong", _config(proto_max_bulk_len="1048576")),
        ("argument_size", "wrong", _wanted(value_bytes_max=1 << 29)),
        ("query_buffer", "wrong", _config(client_query_buffer_limit="1048576")),
        ("clients", "warning", _info(connected_clients="9500")),
        ("transport", "warning", {"wire": "plain"}),
        ("timeout", "note", _config(timeout="5")),
        ("tcp_keepalive", "note", _config(tcp_keepalive="0")),
        ("clock", "warning", {"server": {"clock": Clock(ahead_s=-2.0, error_s=0.5, round_trip_s=1.0)}}),
        ("clock", "ok", {"server": {"clock": Clock(ahead_s=2.0, error_s=1.5, round_trip_s=3.0)}}),
        ("round_trip", "note", {"server": {"clock": Clock(ahead_s=0.0, error_s=0.02, round_trip_s=0.04)}}),
        ("default_user", "warning", {"server": {"access": replace(facts().servers[0].access, open_to_anybody=True)}}),
        ("reachable", "wrong", {"server": {"refused": "timed out"}}),
        ("reachable", "unseen", {"server": {"refused": "timed out", "has_log": False}}),
        ("reachable", "wrong", {"server": {"refused": "WRONGPASS", "refused_us": True}}),
        ("reachable", "wrong", {"server": {"refused": "WRONGPASS", "refused_us": True, "has_log": False}}),
        ("permissions_writer", "wrong", _lacking("hset")),
        ("permissions_reader", "note", _lacking("xlen")),
        ("permissions_auditor", "unseen", {"server": {"access": Access(unseen="no")}}),
        ("topology", "note", {"topology": "plain"}),
        ("cluster_state", "wrong", _cluster(covered=16_000)),
        ("cluster_state", "wrong", _cluster(state="fail")),
        ("cluster_state", "unseen", _cluster(refused="NOPERM")),
        ("cluster_slot", "wrong", _cluster(owner="")),
        ("cluster_slot", "warning", {"keys": LogKeys(moving_to="b:1")}),
        ("log", "unseen", {"keys": LogKeys(moving_to="b:1")}),
        ("cluster_primaries", "warning", _cluster(primaries={"a:1": 1})),
        ("cluster_replicas", "warning", _cluster(primaries={"a:1": 0, "b:1": 1, "c:1": 1})),
        ("cluster_full_coverage", "note", _config(cluster_require_full_coverage="yes")),
        ("cluster_node_timeout", "warning", _config(cluster_node_timeout="100")),
        ("cluster_node_timeout", "warning", _config(cluster_node_timeout="600000")),
        ("cluster_reads_when_down", "note", _config(cluster_allow_reads_when_down="yes")),
        ("sentinels", "ok", _sentinels({}, {}, {})),
        ("sentinel", "warning", _sentinels(AWAY, {}, {})),
        ("sentinel", "warning", _sentinels({"flags": "master,o_down"}, {}, {})),
        ("sentinels", "wrong", _sentinels(AWAY)),
        ("sentinels", "warning", _sentinels({}, AWAY, AWAY)),
        ("sentinels", "warning", _sentinels({})),
        ("sentinels", "warning", _sentinels({"others": 1}, {"others": 1})),
        ("quorum", "warning", _sentinels({"quorum": 1}, {}, {})),
        ("quorum", "wrong", _sentinels({"quorum": 4}, {}, {})),
        ("sentinels_agree", "warning", _sentinels({"primary": "b:1"}, {}, {})),
        ("log", "ok", {"keys": LogKeys()}),
        ("log", "wrong", {"keys": LogKeys(last_id="5-2")}),
        ("log", "wrong", {"keys": LogKeys(fence_id="5-2")}),
        ("log", "wrong", {"keys": LogKeys(fence_id="5-2", last_id="4-1")}),
        ("log", "ok", {"keys": LogKeys(fence_id="0-0")}),
        ("log", "unseen", {"keys": LogKeys(refused="NOPERM")}),
        ("foreign_keys", "wrong", {"keys": LogKeys(kinds={"{trader-T-1}:log": ("string", "stream")})}),
        ("expiring_keys", "wrong", {"keys": LogKeys(expiring=("{trader-T-1}:log",))}),
    ],
)  # fmt: skip
def test_what_is_otherwise_is_said(name: str, severity: str, change: dict[str, Any]) -> None:
    others = {key: value for key, value in change.items() if key != "server"}
    finding = found(facts(others, server=change.get("server")), name)
    assert finding.severity == severity, finding
    assert severity not in ("wrong", "warning", "unseen") or finding.mend


_text = st.sampled_from(
    ["", "0", "1", "2", "yes", "no", "ok", "err", "?", "100000000000", "-1", "1.5", "a b c d", "master", "slave"]
)
_few = st.integers(0, 5)
_infos, _configs = (st.dictionaries(st.sampled_from(sorted(each)), _text) for each in (INFO, CONFIG))
_servers = st.builds(
    Server,
    address=st.sampled_from(["a:1", "/a"]),
    is_replica=st.booleans(),
    has_log=st.booleans(),
    refused=st.sampled_from(["", "away"]),
    refused_us=st.booleans(),
    info=_infos | _infos.map(lambda changes: INFO | changes),
    info_refused=st.sampled_from(["", "NOPERM"]),
    config=_configs | _configs.map(lambda changes: CONFIG | changes),
    config_refused=st.sampled_from(["", "NOPERM"]),
    keeps_halves=st.none() | st.booleans(),
    clock=st.none() | st.builds(Clock, ahead_s=st.floats(-9, 9), error_s=st.floats(0, 9), round_trip_s=st.floats(0, 9)),
    scripts=st.none() | st.builds(Scripts, refused=_text, has_messagepack=st.booleans(), asks_permission=st.booleans()),
    access=st.builds(
        Access,
        user=st.none() | _text,
        may=st.dictionaries(st.sampled_from(["eval", "hget", "xlen"]), st.booleans()),
        unseen=_text,
        open_to_anybody=st.none() | st.booleans(),
    ),
)
_any = st.builds(
    Facts,
    wanted=st.builds(
        Wanted,
        trader_id=st.none() | st.just(TRADER),
        task=st.sampled_from(["writer", "reader", "auditor"]),
        durability=st.sampled_from([Durability(), Durability(replicas=2), ON_DISK]),
        value_bytes_max=st.integers(1, 1 << 40),
        from_replica=st.booleans(),
    ),
    topology=st.sampled_from(["plain", "sentinel", "cluster"]),
    wire=st.sampled_from(["socket", "loopback", "tls", "plain"]),
    servers=st.lists(_servers, max_size=3).map(tuple),
    sentinels=st.lists(
        st.builds(
            Sentinel, address=_text, refused=_text, primary=_text, quorum=_few, others=_few, flags=_text,
        ),
        max_size=3,
    ).map(tuple),
    cluster=st.none() | st.builds(Cluster, refused=_text, state=_text, covered=st.integers(0, 16_384), owner=_text),
    keys=st.none() | st.builds(LogKeys, refused=_text, fence_id=st.none() | _text, last_id=st.none() | _text),
    recommended=st.just(COMPACT),
    embedded=st.booleans(),
)  # fmt: skip


@given(_any)
@effort(200)
def test_whatever_was_seen_each_finding_says_what_it_is_and_how_to_mend_it(seen: Facts) -> None:
    for finding in examine(seen):
        assert finding.severity in SEVERITIES
        assert finding.looked_at
        assert finding.means
        assert finding.found
        assert finding.name in DOCUMENTED
        assert finding.mend or finding.severity in ("ok", "note")


@given(_any, st.sampled_from(["info", "config", "access", "scripts", "clock"]))
@effort(200)
def test_what_can_not_be_seen_is_never_taken_for_good(seen: Facts, taken: str) -> None:
    """Whatever is not shown any more, no finding gets better by it."""
    hidden: dict[str, Any] = {
        "info": {"info": {}, "info_refused": "NOPERM", "keeps_halves": None},
        "config": {"config": {}, "config_refused": "NOPERM"},
        "access": {"access": Access(unseen="NOPERM")},
        "scripts": {"scripts": None},
        "clock": {"clock": None, "clock_refused": "NOPERM"},
    }[taken]
    less = replace(seen, servers=tuple(replace(server, **hidden) for server in seen.servers))

    good, before = (Counter(one.name for one in examine(each) if one.severity == "ok") for each in (less, seen))
    assert good <= before
