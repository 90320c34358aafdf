"""How the logs of many traders stand, in few round trips: a server is asked about all of its traders at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import redis

from eventstore.chain import LogEntry
from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.faults import translated
from eventstore.storage.reader import Fence, entry_of, fence_of

_PAGE: Final = 250
_SAMPLES: Final = 64
"""Nodes of a stream whose size is looked at: a long log is measured as fast as a short one."""


class Standing(NamedTuple):
    """How the log of one trader stands.

    Attributes
    ----------
    trader_id : TraderId
    fence : Fence or None
        None if it was deleted meanwhile, or is none.
    entries, log_bytes : int
        Of the stream; the bytes are estimated.
    last : LogEntry or None
    heartbeat_ns : int or None
        Time of the last heartbeat.
    wrong : str
        What stands there that does not belong there; empty if nothing.
    """

    trader_id: TraderId
    fence: Fence | None
    entries: int
    log_bytes: int
    last: LogEntry | None
    heartbeat_ns: int | None
    wrong: str


class Follower(NamedTuple):
    """A replica, as its primary sees it: what it was sent of the stream and has not, and when it was heard of."""

    address: str
    state: str
    behind_bytes: int
    heard_s: int


def standings(client: redis.Redis, trader_ids: Sequence[TraderId]) -> Iterator[Standing]:
    """Yield how each of the traders stands, all of whom have their keys where `client` leads to.

    Raises a `StorageError` if the server can not be reached, or refuses.
    """
    client.response_callbacks.pop("XREVRANGE", None)  # as it comes: `entry_of` reads that
    source = iter(trader_ids)
    while page := list(islice(source, _PAGE)):
        named = [Keys(trader_id) for trader_id in page]
        pipeline = client.pipeline(transaction=False)
        for keys in named:
            pipeline.hgetall(keys.writer)
            pipeline.xlen(keys.log)
            pipeline.memory_usage(keys.log, samples=_SAMPLES)
            pipeline.xrevrange(keys.log, count=1)
            pipeline.hget(keys.heartbeat, "timestamp")
        with translated(f"look at {len(page)} traders from {page[0]}"):
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                    raise reply
        for number, trader_id in enumerate(page):
            yield _standing(trader_id, replies[5 * number : 5 * number + 5])


def _standing(trader_id: TraderId, replies: list[Any]) -> Standing:
    keys = Keys(trader_id)
    wrong = [str(reply) for reply in replies if isinstance(reply, Exception)]
    fields, entries, log_bytes, rows, heartbeat = (None if isinstance(one, Exception) else one for one in replies)
    fence = None
    try:
        fence = fence_of(keys.writer, fields or {})
    except DamagedRecord as damage:
        wrong.append(f"{damage.key}: {damage.reason}")
    try:
        heartbeat_ns = None if heartbeat is None else int(heartbeat)
    except ValueError:
        heartbeat_ns = None
        wrong.append(f"{keys.heartbeat}: no time")
    last = entry_of(*rows[0]) if rows else None
    return Standing(trader_id, fence, entries or 0, log_bytes or 0, last, heartbeat_ns, "; ".join(wrong))


def followers(client: redis.Redis) -> list[Follower] | None:
    """Return the replicas of the server that `client` leads to; None if the server does not say."""
    with translated("look for replicas"):
        try:
            info: Any = client.info("replication")
        except redis.ResponseError:
            return None
    end = int(info.get("master_repl_offset", 0))
    told = [said for name, said in info.items() if name[:5] == "slave" and isinstance(said, dict)]
    return [
        Follower(
            address=f"{said.get('ip')}:{said.get('port')}",
            state=str(said.get("state")),
            behind_bytes=max(0, end - int(said.get("offset", 0))),
            heard_s=int(said.get("lag", -1)),
        )
        for said in told
    ]
