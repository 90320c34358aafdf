"""Where a writer stands, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """Where a writer stands. Reading it costs no I/O.

    `applied` and `durable` are positions of the log, and so are `accepted` and `journaled`, which only a journal knows:
    without one they are None. `waiting` commands are in the backlog, `in_doubt` ones were taken from it and are not
    confirmed yet; `spilled` ones were in the journal alone; `quarantined` ones could not be written, and are in the log
    by name only. `retained_from` is the oldest position that could be written again. `set_back` says how often the
    server was found to have lost what it had confirmed. `server` is the one that was last connected to for writing, and
    `replica_behind` how many commands the replica that loads read from lacked when the last load began: None if they
    read from the primary, or there was none yet. `health` is healthy, degraded or failed.
    """

    epoch: int
    accepted: int | None
    journaled: int | None
    applied: int
    durable: int
    retained_from: int
    waiting: int
    in_doubt: int
    batches: int
    blocked: int
    refused: int
    spilled: int
    retries: int
    set_back: int
    quarantined: int
    journal_bytes: int
    server: str
    replica_behind: int | None
    health: str
    reason: str | None
