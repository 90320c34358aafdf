"""What a user may do at a server, found out without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import redis

from eventstore.doctor.facts import Access
from eventstore.permissions import READS, sample

_CHECK: Final = "return redis.acl_check_cmd(unpack(ARGV)) and 1 or 0"
_ABSENT: Final = "absent"
"""What the key is called that is asked about, behind the trader's prefix. No key has that name."""


def look_for(client: redis.Redis, commands: Iterable[str], prefix: str, user: str | None) -> Access:
    """Return which of `commands` may be used on keys that begin with `prefix`.

    Asked are, in this order, for what is not known yet: ``ACL DRYRUN``; a script, which may ask what it may do; a
    transaction that is given up; and commands that only read, by using them.
    """
    calls = {command: sample(command, f"{prefix}{_ABSENT}") for command in commands}
    may: dict[str, bool] = {}
    for ask in (_by_dry_run, _by_script, _by_transaction, _by_reading):
        unknown = {command: call for command, call in calls.items() if command not in may}
        if unknown:
            may |= ask(client, unknown, user)
    unseen = "" if len(may) == len(calls) else "the server says it neither to ACL DRYRUN, nor to a script, nor in MULTI"
    return Access(user=user, may=may, unseen=unseen)


def _by_dry_run(client: redis.Redis, calls: dict[str, list[str]], user: str | None) -> dict[str, bool]:
    if user is None:
        return {}
    pipeline = client.pipeline(transaction=False)
    for call in calls.values():
        pipeline.execute_command("ACL DRYRUN", user, *call)
    replies = pipeline.execute(raise_on_error=False)
    return {
        command: reply in (b"OK", True)
        for command, reply in zip(calls, replies, strict=True)
        if not isinstance(reply, Exception)
    }


def _by_script(client: redis.Redis, calls: dict[str, list[str]], user: str | None) -> dict[str, bool]:
    pipeline = client.pipeline(transaction=False)
    for call in calls.values():
        pipeline.execute_command("EVAL", _CHECK, 0, *call)
    replies = pipeline.execute(raise_on_error=False)
    return {command: reply == 1 for command, reply in zip(calls, replies, strict=True) if isinstance(reply, int)}


def _by_transaction(client: redis.Redis, calls: dict[str, list[str]], user: str | None) -> dict[str, bool]:
    """Queue them, and close the connection: nothing of it is ever executed."""
    pool = client.connection_pool
    connection = pool.get_connection()
    may: dict[str, bool] = {}
    try:
        reply = _said(connection, ["MULTI"])
        if reply != b"OK":
            return {"multi": False} if "multi" in calls and _is_refusal(reply) else {}
        for command, call in calls.items():
            if command == "multi":
                may[command] = True
            elif command != "exec":
                reply = _said(connection, call)
                if reply == b"QUEUED" or _is_refusal(reply):
                    may[command] = reply == b"QUEUED"
    finally:
        connection.disconnect()
        pool.release(connection)
    if "exec" in calls:
        connection = pool.get_connection()
        try:
            may["exec"] = not _is_refusal(_said(connection, ["EXEC"]))  # "EXEC without MULTI"
        finally:
            pool.release(connection)
    return may


def _by_reading(client: redis.Redis, calls: dict[str, list[str]], user: str | None) -> dict[str, bool]:
    pool = client.connection_pool
    connection = pool.get_connection()
    may = {"client|setname": True} if "client|setname" in calls else {}  # without, there would be no connection
    try:
        for command, call in calls.items():
            if command in READS:
                may[command] = not _is_refusal(_said(connection, call))
    finally:
        pool.release(connection)
    return may


def _said(connection: Any, call: list[str]) -> Any:
    """Return what the server answers, an error as it is."""
    connection.send_command(*call)
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _is_refusal(reply: Any) -> bool:
    return isinstance(reply, redis.exceptions.NoPermissionError) or (
        isinstance(reply, redis.ResponseError) and str(reply).startswith("NOPERM")
    )
