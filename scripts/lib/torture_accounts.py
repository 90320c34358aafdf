"""The balance of a log: what every life called, against what the log has. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from scripts.lib.torture_workload import Place, Session, payloads


@dataclass(frozen=True, slots=True)
class Lived:
    """What is known of a life that is over.

    `returned` calls came back to their caller, of which the first `synced` were applied, says `sync`. A life that was
    `killed` may have been inside of one call more.
    """

    number: int
    start: Place
    returned: int
    synced: int
    killed: bool

    @property
    def begun(self) -> int:
        """How many of its calls may be in the log."""
        return self.returned + self.killed


@dataclass(slots=True)
class Balance:
    """`lost` calls returned and are not in the log, `duplicated` ones are in it too often or were never made.

    `misplaced` ones are in it once, but not where they belong. `unfinished` calls were cut short by a kill and are in
    the log all the same, which is allowed.
    """

    calls: int = 0
    in_log: int = 0
    unfinished: int = 0
    lost: int = 0
    lost_behind_sync: int = 0
    duplicated: int = 0
    misplaced: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.misplaced)


def balance(log: Sequence[bytes], lives: Sequence[Lived], sessions: list[Session]) -> Balance:
    """Compare `log`, the payloads of all calls in it, with what the lives called, in order."""
    result = Balance(calls=sum(life.returned for life in lives), in_log=len(log))
    required: Counter[bytes] = Counter()
    at = 0
    for life in lives:
        begun = list(islice(payloads(sessions, life.number, life.start), life.begun))
        required.update(begun[: life.returned])
        found = 0
        while found < len(begun) and at + found < len(log) and log[at + found] == begun[found]:
            found += 1
        at += found
        result.unfinished += max(found - life.returned, 0)
        result.lost_behind_sync += max(life.synced - found, 0)
        if found < life.returned:
            result.differences.append(
                f"life {life.number}: {life.returned} calls returned, {life.synced} were synced, the log goes on with "
                f"its first {found}, then {_shown(log, at)} where {begun[found]!r:.300} belongs"
            )
    if at < len(log):
        result.differences.append(f"behind the last life the log goes on: {_shown(log, at)}")
    if result.differences:
        _count(result, Counter(log), required, len(log) - at)
    return result


def _count(result: Balance, log: Counter[bytes], required: Counter[bytes], behind: int) -> None:
    result.lost = (required - log).total()
    # Calls that a kill cut short may be there, each once.
    result.duplicated = max((log - required).total() - result.unfinished, 0)
    if not result.lost and not result.duplicated:
        result.misplaced = max(behind, 1)


def _shown(log: Sequence[bytes], at: int) -> str:
    return repr(log[at])[:300] if at < len(log) else "its end"
