"""``eventstore acl``: the least that a user of the server has to be allowed. Talks to nobody."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, cast

import typer

from eventstore.cli.audited import named_trader
from eventstore.cli.entries import write_line
from eventstore.durability import Durability
from eventstore.errors import ConfigError
from eventstore.permissions import Grant, Task, Topology, as_acl_file, as_command, sentinel_commands, sentinel_rules


class Role(StrEnum):
    """What the user is for."""

    WRITER = "writer"
    READER = "reader"
    AUDITOR = "auditor"


def acl(
    trader: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose keys; otherwise those of all traders.")
    ] = None,
    role: Annotated[
        list[Role] | None, typer.Option(help="What the user is for; may be given several times.", show_default="writer")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The user's; otherwise that of the role.")] = None,
    durability: Annotated[
        str, typer.Option(metavar="D", help="What a writer asks for: applied, replicated(n) or aof(local, replicas).")
    ] = "applied",
    archive: Annotated[bool, typer.Option("--archive", help="It also archives the log.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="It also rebuilds views.")] = False,
    doctor: Annotated[bool, typer.Option("--doctor", help="It also runs `eventstore doctor`.")] = False,
    sentinel: Annotated[bool, typer.Option("--sentinel", help="Its servers are found by Sentinel.")] = False,
    cluster: Annotated[bool, typer.Option("--cluster", help="Its servers are a cluster.")] = False,
    from_replica: Annotated[bool, typer.Option("--from-replica", help="It reads from replicas.")] = False,
    sentinel_user: Annotated[
        bool, typer.Option("--sentinel-user", help="Print the rule of the user at the sentinels instead.")
    ] = False,
    database: Annotated[int, typer.Option(metavar="N", min=0, help="The number of the server's database.")] = 0,
    read_only_keys: Annotated[
        bool, typer.Option("--read-only-keys", help="Keys for reading only: Redis 7.0 or newer, or Valkey.")
    ] = False,
    acl_file: Annotated[bool, typer.Option("--aclfile", help="Print the line of an aclfile instead.")] = False,
) -> None:
    """Print the least ACL rule that a writer, a reader or an auditor of a log needs. Put a password in its place."""
    roles = role or [Role.WRITER]
    line = as_acl_file if acl_file else as_command
    if sentinel_user:
        commands = sentinel_commands(replicas=from_replica)
        write_line(line(_name(name, "sentinel-user"), sentinel_rules(commands)))
        return
    if sentinel and cluster:
        raise typer.BadParameter("servers are found by Sentinel, or they are a cluster", param_hint="--cluster")
    tasks = [cast(Task, str(each)) for each in roles]
    also: dict[Task, bool] = {"archive": archive, "rebuild": rebuild, "doctor": doctor}
    tasks += [task for task, wanted in also.items() if wanted]
    if read_only_keys and {"writer", "archive", "rebuild"} & set(tasks):
        raise typer.BadParameter(
            "only readers and auditors can do with keys for reading", param_hint="--read-only-keys"
        )
    topology: Topology = "sentinel" if sentinel else "cluster" if cluster else "plain"
    try:
        asked = Durability.parse(durability)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--durability") from error
    grant = Grant(
        tasks=tasks,
        trader_id=None if trader is None else named_trader(trader),
        durability=asked,
        topology=topology,
        replicas=from_replica,
        database=database,
        read_only_keys=read_only_keys,
    )
    write_line(line(_name(name, "-".join(roles)), grant.rules()))


def _name(given: str | None, default: str) -> str:
    if given is None:
        return default
    if not given or not given.isprintable() or " " in given:
        raise typer.BadParameter(f"{given!r:.60}: a user's name has no blanks", param_hint="--name")
    return given
