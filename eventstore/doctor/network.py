"""What is between here and there: who may listen, how far it is, and what time it is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.doctor.version import unseen_setting

_IDLE_S_LEAST: Final = 30
_AHEAD_S_MAX: Final = 1.0
_FAR_S: Final = 0.02


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the way to the servers means."""
    yield _transport(facts)
    for server in facts.seen():
        yield _timeout(server)
        yield _keepalive(facts, server)
        yield _clock(server)
        yield _round_trip(server)
        yield _default_user(facts, server)


def _transport(facts: Facts) -> Finding:
    look = Look("transport", "", "the URL")
    if facts.wire == "plain":
        return look.warning(
            "plain text over a network",
            "whoever is between reads every order and the password, and can write what they like",
            "rediss://, rediss+sentinel:// or rediss+cluster://, and tls-port at the servers",
        )
    found = {"socket": "a unix socket", "loopback": "this host", "tls": "TLS"}[facts.wire]
    return look.ok(found, "nobody between reads it or changes it")


def _timeout(server: Server) -> Finding:
    look = Look("timeout", server.address, "CONFIG GET timeout")
    means = "connections that are idle for longer are closed by the server; the next call connects anew"
    value = server.size("timeout")
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; 0 is best")
    if value and value < _IDLE_S_LEAST:
        return look.note(f"{value} s", means, "CONFIG SET timeout 0")
    return look.ok(f"{value} s" if value else "never", means)


def _keepalive(facts: Facts, server: Server) -> Finding:
    look = Look("tcp_keepalive", server.address, "CONFIG GET tcp-keepalive")
    means = "without, a server does not notice that a host is gone, and keeps its connections"
    value = server.size("tcp-keepalive")
    if value is None:
        return look.unseen(unseen_setting(server), means, "+config|get; 300 is the default")
    if not value and facts.wire != "socket":
        return look.note("off", means, "CONFIG SET tcp-keepalive 300")
    return look.ok(f"{value} s", means)


def _clock(server: Server) -> Finding:
    look = Look("clock", server.address, "TIME")
    means = (
        "entries have the time of the writer's host; ages that are told by another clock, and --older-than, are off by "
        "the difference; positions and order never are"
    )
    clock = server.clock
    if clock is None:
        return look.unseen(server.clock_refused or "it was not asked", means, "+time")
    way = "ahead of" if clock.ahead_s > 0 else "behind"
    found = f"{abs(clock.ahead_s):.4f} s {way} this host's, give or take {clock.error_s:.4f} s"
    if abs(clock.ahead_s) - clock.error_s > _AHEAD_S_MAX:
        return look.warning(found, means, "NTP or chrony on both hosts")
    return look.ok(found, means)


def _round_trip(server: Server) -> Finding:
    look = Look("round_trip", server.address, "PING")
    means = "a batch takes one, and a load at least two; calls do not wait for it"
    clock = server.clock
    if clock is None:
        return look.unseen(server.clock_refused or "it was not asked", means, "+ping +time")
    found = f"{clock.round_trip_s * 1e3:.3f} ms"
    if clock.round_trip_s > _FAR_S:
        return look.note(
            found, f"{means}. What waits in memory meanwhile is lost with the process, without a journal", None
        )
    return look.ok(found, means)


def _default_user(facts: Facts, server: Server) -> Finding:
    look = Look("default_user", server.address, "HGET without a password")
    means = "whoever reaches it may read and write every log, or what the default user may"
    mend = "CONFIG SET requirepass, or ACL SETUSER default off; eventstore acl --trader ID for each node"
    opened = server.access.open_to_anybody
    if opened is None:
        return look.unseen("it could not be tried", means, mend)
    if not opened:
        return look.ok("who gives no password may not read", "only who has one gets in")
    if facts.embedded:
        return look.ok("who gives no password may read", "its socket is for the user of its directory alone")
    found = "who gives no password may read"
    if facts.wire in ("socket", "loopback"):
        return look.note(found, f"{means}; from this host it was reached without a network", mend)
    return look.warning(found, means, mend)
