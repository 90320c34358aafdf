"""Opening a log: claiming it, and deciding what becomes of the tail of a journal. Afterwards this process writes it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from eventstore import commands as c
from eventstore import schema
from eventstore.aside import diverged_at, set_aside
from eventstore.errors import CodecError
from eventstore.journal import Journal
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.recovery import Tail, tail
from eventstore.storage.appender import Claim, claim, publish
from eventstore.storage.connect import Client
from eventstore.storage.reader import Fence, Reader

Say = Callable[..., None]
"""Logs: level, event, values by name."""

_OPENED = c.encode(c.Opened(0, {}))[:2]
"""How the payload of an `Opened` begins: with its number of fields, and its kind."""


class Opening(NamedTuple):
    """A log that was claimed. `rest` is what of a journal is written to it again, or was set aside."""

    owner: dict[str, Any]
    claimed: Claim
    rest: Tail | None


def open_log(
    client: Client,
    reader: Reader,
    keys: Keys,
    trader_id: TraderId,
    journal: Journal | None,
    instance: str,
    say: Say,
) -> Opening:
    """Claim the log as `instance`, and make `journal` go on behind it.

    Raises
    ------
    DataLoss
        If the log lost what it had confirmed, and the journal does not have it any more. Nothing was changed.
    StorageError
        If the server can not be reached or refuses, or the log is not whole. The log is as it was.
    """
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "instance": instance,
        "library": importlib.metadata.version("eventstore"),
        "python": platform.python_version(),
    }
    while True:
        fence, rest, given = None, None, 0
        if journal is not None:
            # Before the claim: afterwards the fence names this process, and one that dies would leave no trace of whose
            # log it was.
            fence = reader.fence()
            rest = _rest(keys, trader_id, reader, journal, fence, say)
            given = _epoch_given(journal, rest)
        publish(client, keys, schema.describe() | c.describe())
        seen = None if journal is None else 0 if fence is None else fence.epoch
        claimed = claim(client, keys, json.dumps(owner), time.time_ns() // 1_000_000, given, seen)
        if claimed is not None:
            break
    if rest is not None and not rest.strange:
        # A batch that was sent before may have been executed meanwhile.
        rest = rest._replace(first=max(rest.first, claimed.position + 1))
    if journal is not None:
        if claimed.position > journal.position:
            journal.begin(claimed.position)
        if journal.torn is not None:
            path, offset = journal.torn
            say("warning", "dropped a torn record of the journal", path=str(path), offset=offset)
    _report(keys, reader, claimed, rest, say)
    return Opening(owner, claimed, rest)


def _rest(keys: Keys, trader_id: TraderId, reader: Reader, journal: Journal, fence: Fence | None, say: Say) -> Tail:
    """Return what of the journal the log lacks; take it out if it is strange to it."""
    position, owner = (0, "") if fence is None else (fence.position, fence.owner)
    rest = tail(keys.log, position, owner, journal.owners, journal.first, journal.position)
    return _set_aside(trader_id, reader, journal, rest, position, say) if rest.strange else rest


def _epoch_given(journal: Journal, rest: Tail) -> int:
    """Return the highest epoch of what is written again: the log may not know of it."""
    if rest.strange or rest.first > rest.last:
        return 0
    records = journal.read(rest.first - 1)
    opened = [c.decode(record.payload) for record in records if record.payload.startswith(_OPENED)]
    return max((command.epoch for command in opened if isinstance(command, c.Opened)), default=0)


def _set_aside(trader_id: TraderId, reader: Reader, journal: Journal, rest: Tail, position: int, say: Say) -> Tail:
    """Take what somebody else's log, which ends at `position`, does not have out of the journal; return that."""
    oldest = next(journal.read(rest.first - 1), None)
    first = None
    if oldest is not None:
        log = reader.log(rest.first - 1, since_ms=oldest.accepted_ns // 1_000_000)
        first = diverged_at(journal.read(rest.first - 1), log)
    if first is not None:
        path = set_aside(journal.directory / "aside", trader_id, journal.owners[-2], journal.read(first - 1))
        say(
            "error",
            "set aside what the journal had and the log has not: another writer went on without it",
            first=first,
            last=rest.last,
            path=str(path),
        )
    # The log may also end before all that the journal ever had: what comes next is behind that end.
    end = min(position, journal.position if first is None else first - 1)
    if end < journal.position:
        journal.discard_behind(end)
    return Tail(rest.last + 1 if first is None else first, rest.last, strange=True)


def _report(keys: Keys, reader: Reader, claimed: Claim, rest: Tail | None, say: Say) -> None:
    if rest is not None and not rest.strange and rest.first <= rest.last:
        if claimed.owner_before:
            say("warning", "writing what the journal still has", first=rest.first, last=rest.last)
        else:
            say("error", "the log is gone: writing it anew from the journal", first=rest.first, last=rest.last)
    if not claimed.owner_before:
        say("info", "opened a new log", namespace=keys.namespace, epoch=claimed.epoch)
        return
    say(
        "info",
        "took over the log",
        position=claimed.position,
        epoch=claimed.epoch,
        owner_before=claimed.owner_before,
        claimed_before_ms=claimed.claimed_before_ms,
        last_seen_ms=claimed.last_ms,
        closed_well=_ended_well(reader),
    )


def _ended_well(reader: Reader) -> bool:
    last = reader.last()
    try:
        return last is not None and isinstance(c.decode(last.payload), c.ClosedWell)
    except CodecError:
        return False
