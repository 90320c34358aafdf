"""Whether the keys of a trader are what a writer would want to find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstore.doctor.facts import Facts, LogKeys
from eventstore.doctor.findings import Finding, Look

_STOPS: Final = "a writer does not open the log: nothing is written"


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what the keys of the trader mean."""
    if facts.keys is None:
        return
    look = Look("log", "", "HMGET of the fence, XREVRANGE of the log")
    if facts.keys.moving_to:
        yield look.unseen("the slot is being moved", "whether log and fence belong together", "run this again then")
        return
    if facts.keys.refused:
        yield look.unseen(facts.keys.refused, "whether log and fence belong together", "eventstore acl --role reader")
        return
    yield _log(look, facts.keys)
    look = Look("foreign_keys", "", "TYPE of the keys whose names are fixed")
    foreign = {key: found for key, found in facts.keys.kinds.items() if found[0] != found[1]}
    if foreign:
        said = ", ".join(f"{key} is a {kind}, not a {expected}" for key, (kind, expected) in sorted(foreign.items()))
        yield look.wrong(said, f"somebody else wrote it: {_STOPS}", "RENAME it, then eventstore rebuild")
    else:
        yield look.ok("none", "a dry look: eventstore verify compares what is in them")
    look = Look("expiring_keys", "", "PTTL of the keys whose names are fixed")
    if facts.keys.expiring:
        yield look.wrong(
            ", ".join(facts.keys.expiring),
            "they vanish by themselves: views are lost, and without log or fence the writer stops",
            "; ".join(f"PERSIST {key}" for key in facts.keys.expiring),
        )
    else:
        yield look.ok("none", "nothing vanishes by itself")


def _log(look: Look, keys: LogKeys) -> Finding:
    fence, last = keys.fence_id, keys.last_id
    if fence is None and last is None:
        return look.ok("there is none yet", "the first writer begins it")
    mend = "restore the server's data, or move what is left away to begin a new log; eventstore verify says more"
    if fence is None:
        return look.wrong("a log without a fence", f"keys were deleted, or a restore was partial: {_STOPS}", mend)
    if (last or "0-0") != fence:
        return look.wrong(
            f"the last entry is {last or 'missing'}, the fence says {fence}",
            f"the log was lost, cut, or written by somebody else: {_STOPS}",
            mend,
        )
    return look.ok(f"ends at {fence}, as its fence says", "a writer can go on with it")
