"""What the user of the URL may do, beside what each role needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, Server
from eventstore.doctor.findings import Finding, Look
from eventstore.permissions import Grant, Task

_ROLES: Final[tuple[Task, ...]] = ("writer", "reader", "auditor")


def judge(facts: Facts) -> Iterator[Finding]:
    """Say who can be asked, and what is not allowed there."""
    for server in facts.servers:
        yield _reachable(server)
    for server in facts.seen():
        for role in _ROLES:
            yield _permissions(facts, server, role)


def needed(facts: Facts, role: Task) -> list[str]:
    """Return the commands that `role` needs at the servers."""
    wanted = facts.wanted
    grant = Grant(
        tasks=[role],
        trader_id=wanted.trader_id,
        durability=wanted.durability,
        topology=facts.topology,
        replicas=wanted.from_replica,
    )
    return grant.commands()


def _reachable(server: Server) -> Finding:
    look = Look("reachable", server.address, "a connection")
    if not server.refused:
        return look.ok("it answers", "it was looked at")
    if server.refused_us and server.has_log:
        return look.wrong(
            server.refused,
            "nothing can be written or read: a writer is held",
            "user name and password in the URL; or ACL SETUSER there, as eventstore acl prints it",
        )
    if server.refused_us:
        return look.wrong(
            server.refused,
            "it does not know the user of the URL: a writer is held there, also after a failover to it",
            "ACL SETUSER there, too, as eventstore acl prints it: servers do not tell each other of users",
        )
    if server.has_log:
        return look.wrong(
            server.refused,
            "the log is there: nothing can be written or read until it is back, or another server takes over",
            "start it, or see what is between",
        )
    return look.unseen(
        server.refused, "nothing is known of it: it may be down, or not reached from here", "run this there"
    )


def _permissions(facts: Facts, server: Server, role: Task) -> Finding:
    look = Look(
        f"permissions_{role}", server.address, "ACL DRYRUN, or acl_check_cmd in a script, or MULTI without EXEC"
    )
    commands = needed(facts, role)
    access = server.access
    lacking = [command for command in commands if access.may.get(command) is False]
    unseen = [command for command in commands if command not in access.may]
    who = "" if access.user is None else f"user {access.user} "
    trader = facts.wanted.trader_id
    mend = f"ACL SETUSER {access.user or 'USER'} {' '.join(f'+{command}' for command in lacking or unseen)}"
    mend += f", or eventstore acl --trader {trader or 'ID'} --role {role}"
    if lacking:
        found = f"{who}lacks {', '.join(lacking)} on {_keys(facts)}"
        if role != facts.wanted.task:
            return look.note(found, f"it can not be {_a(role)}", mend)
        if role == "writer":
            return look.wrong(found, "the writer is held (NOPERM): accepted commands wait", mend)
        return look.wrong(found, f"{_a(role)} is refused in the middle of its work", mend)
    if unseen:
        return look.unseen(access.unseen, f"whether it has {', '.join(unseen)}, as {_a(role)} needs", mend)
    return look.ok(f"{who}has all that {_a(role)} needs", "nothing is refused for want of a permission")


def _keys(facts: Facts) -> str:
    return Grant(tasks=[], trader_id=facts.wanted.trader_id).pattern()


def _a(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
