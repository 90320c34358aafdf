"""Kills, freezes and replaces primaries under a node that trades, over and over; then accounts for every call.

A round is one log on servers that stand in for each other: a primary with its replicas and sentinels, or a cluster. One
trouble comes after the other (`torture_troubles`), and the node goes on. In a round of the kind

- "safe", ``min-replicas-to-write`` is 1 and durability ``replicated(1)``: nothing may be lost, and nobody may say so;
- "journal", the node is killed, too, and what it has in its journal is written by the next one: nothing may be lost;
- "window", failovers lose what was confirmed, and the node has it in memory: nothing may be lost;
- "loss", its memory is too small for that: the log ends where `DataLoss` says that the loss begins, and nothing that
  was accepted before that place is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from eventstore.config import CacheDatabaseConfig
from eventstore.keys import Keys
from scripts.lib.torture import show
from scripts.lib.torture_accounts import Balance, Lived, balance
from scripts.lib.torture_life import STUCK_S, Ledger, Plan, Stage, be_born
from scripts.lib.torture_troubles import Stuck, Troubles
from scripts.lib.torture_workload import SESSIONS, TRADER, Session, is_call
from tests.support.clusters import Cluster
from tests.support.logs import check_log
from tests.support.redis_server import server_binaries
from tests.support.sentinels import Sentinels
from tests.support.topology import Topology

KINDS = ("safe", "journal", "window", "loss")
TOPOLOGIES: dict[str, type[Sentinels | Cluster]] = {"sentinel": Sentinels, "cluster": Cluster}
TROUBLES_MAX = 12
"""When a round ends; its log is then read whole, and folded."""
CALLS_MAX = 100_000
_TICK_S = 0.001
_LOSS = re.compile(r"had confirmed positions (\d+) to (\d+) and lost them")


@dataclass(slots=True)
class Totals:
    """What all rounds came to."""

    rounds: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    kills: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    """Rounds in which a loss was raised, with the right range."""
    lost_as_raised: int = 0
    """Calls that were lost, all of them in such a range or behind it."""
    set_back: int = 0
    stuck: list[str] = field(default_factory=list)
    """Rounds without an account: the servers did not come to rest."""
    took_s: dict[str, list[float]] = field(default_factory=dict)
    balance: Balance = field(default_factory=Balance)
    failures: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.balance.clean and not self.balance.lost_behind_sync and not self.failures

    def line(self) -> str:
        b = self.balance
        return (
            f"rounds {self.rounds.total()}  troubles {self.troubles.total()}  node killed {self.kills}  "
            f"calls {b.calls}  lost {b.lost}  duplicated {b.duplicated}  misplaced {b.misplaced}  "
            f"losses raised {self.losses}  failures {len(self.failures)}"
        )


class Round:
    """One log, from its first opening to its balance."""

    def __init__(
        self,
        number: int,
        arguments: argparse.Namespace,
        kind: str,
        sessions: list[Session],
        totals: Totals,
        place: Path,
    ) -> None:
        self._draw = draw = random.Random(f"{arguments.seed} {number}")
        self._number = number
        self._kind = kind
        self._sessions = sessions
        self._totals = totals
        self._place = place
        self._lives: list[Lived] = []
        self._trouble: list[str] = []
        self._living: int | None = None
        place.mkdir()
        server, binary = draw.choice(sorted(server_binaries().items()))
        config = {"min-replicas-to-write": "1", "min-replicas-max-lag": "2"} if kind == "safe" else {}
        self._topology: Topology = TOPOLOGIES[arguments.topology](binary=binary, config=config)
        self._troubles = Troubles(
            self._topology, Keys(TRADER).namespace, draw, may_lose=kind in ("window", "loss", "journal")
        )
        self._settings = self._drawn_settings()
        self._calls_per_s = draw.choice((500, 2_000, 5_000))
        described = {"seed": arguments.seed, "round": number, "kind": kind, "server": server, **self._settings}
        (place / "round.json").write_text(json.dumps(described, indent=2, default=str))

    def _drawn_settings(self) -> dict[str, Any]:
        draw = self._draw
        settings: dict[str, Any] = {
            "timeout_s": draw.choice((0.3, 1.0)),
            "load_timeout_s": STUCK_S,
            "linger_ms": draw.choice((0.0, 4.0, 20.0)),
            "batch_count_max": draw.choice((3, 64, 256)),
            "block_timeout_s": STUCK_S,
            "durability": "replicated(1)" if self._kind == "safe" else "applied",
            "aside": self._place / "aside",
        }
        if self._kind == "journal":
            settings |= {"journal": self._place / "journal", "durability": draw.choice(("applied", "replicated(1)"))}
        if self._kind == "loss":
            settings["retained_bytes_max"] = draw.choice((1_024, 8_192))
        return settings

    def run(self, bounds: argparse.Namespace, ends_s: float) -> None:
        """Trade, settle and account, until so many troubles are over or the time is."""
        with self._topology:
            self._config = CacheDatabaseConfig(url=self._topology.place(), **self._settings)
            self._left = bounds.troubles or TROUBLES_MAX
            self._next = self._troubles.rest()
            self._called = ""
            try:
                while not self._over(ends_s):
                    self._live()
                self._end_well()
                if not self._trouble:
                    self._account()
            except Stuck as error:
                # Servers that do not agree again among themselves are not what is tortured.
                self._totals.stuck.append(f"round {self._number}, {self._called}: {error}")
            except Exception:  # noqa: BLE001 - whatever it is, the other rounds go on
                self._fail(traceback.format_exc())
            finally:
                if self._living is not None:
                    os.kill(self._living, signal.SIGKILL)
                    os.waitpid(self._living, 0)
                self._totals.rounds[self._kind] += 1
                for name, took in self._troubles.took_s.items():
                    self._totals.took_s.setdefault(name, []).extend(took)
                self._end()

    def _over(self, ends_s: float) -> bool:
        return self._left <= 0 or time.monotonic() >= ends_s or bool(self._trouble)

    # -- The node --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Let a life go by; with a journal it is killed sooner or later, else it lives until the troubles are over."""
        draw, journal = self._draw, self._kind == "journal"
        plan = Plan(
            number=len(self._lives) + 1,
            session=draw.randrange(len(self._sessions)),
            after=None,
            sync_every=draw.choice((0, 50, 500)),
            calls_max=CALLS_MAX,
            level="durable",
            calls_per_s=self._calls_per_s,
        )
        ledger, pid = self._born(plan)
        dies_s = time.monotonic() + draw.uniform(0.2, 6.0) if journal else float("inf")
        killed = False
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            # A log that nobody but its primary has heard of would be gone with it, which is an alarm.
            if self._called or ledger.stage >= Stage.TRADING:
                self._step()
            if self._left <= 0 or self._trouble:
                ledger.enough = 1
            if time.monotonic() >= dies_s and not killed:
                os.kill(pid, signal.SIGKILL)
                self._totals.kills += 1
                killed = True
            time.sleep(_TICK_S)
        self._lived(plan, ledger, pid)

    def _born(self, plan: Plan) -> tuple[Ledger, int]:
        ledger = Ledger(self._place / f"ledger-{plan.number:04}")
        self._totals.lives += 1
        log = self._place / "lives.log"
        self._living = pid = be_born(plan, self._config, self._sessions, ledger, log, 3 * STUCK_S)
        return ledger, pid

    def _lived(self, plan: Plan, ledger: Ledger, pid: int) -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._living = None
        self._lives.append(Lived(plan.number, ledger.start, ledger.returned, ledger.synced, status == -signal.SIGKILL))
        if status in (0, -signal.SIGKILL):
            return
        if self._kind == "loss" and ledger.stage == Stage.STOPPED and _LOSS.search(self._log()):
            self._left = 0
            return
        self._fail(f"life {plan.number} ended with status {status} while {Stage(ledger.stage).name.lower()}")

    def _step(self) -> None:
        """Let a trouble go one step further; begin another one behind it."""
        try:
            next(self._next)
        except StopIteration:
            if self._called:
                self._totals.troubles[self._called] += 1
                self._left -= 1
            first = not self._called
            if self._left <= 0:
                self._called, self._next = "", iter(())
            elif first and self._kind == "loss":
                self._called, self._next = self._troubles.loss()
            else:
                self._called, self._next = self._troubles.drawn()

    # -- The end ---------------------------------------------------------------------------------------------------

    def _end_well(self) -> None:
        """Let the last trouble end, and one more life open and close with nobody in its way, if one was killed."""
        for _ in self._next:
            time.sleep(_TICK_S)
        for _ in self._troubles.rest():
            time.sleep(_TICK_S)
        if self._kind == "journal" and not self._trouble:
            plan = Plan(len(self._lives) + 1, 0, None, 0, 0)
            ledger, pid = self._born(plan)
            self._lived(plan, ledger, pid)

    def _account(self) -> None:
        with self._topology.client_of(Keys(TRADER).namespace) as client:
            try:
                log = check_log(client, Keys(TRADER))
            except AssertionError as error:
                broken = traceback.extract_tb(error.__traceback__)[-1].line
                self._fail(f"the log is not whole: not {broken}: {str(error)[:2000]}")
                return
        calls = [line.payload for line in log if is_call(line.payload)]
        said = self._log()
        self._totals.set_back += said.count("the log went back")
        raised = _LOSS.search(said)
        if raised is not None:
            self._expect_loss(int(raised[1]), int(raised[2]), len(log), len(calls))
        result = balance(calls, self._lives, self._sessions)
        _add(self._totals.balance, result)
        if not result.clean or result.lost_behind_sync:
            self._trouble.extend(result.differences)
        if raised is None and (aside := [str(path) for path in self._place.rglob("aside/*")]):
            self._fail(f"commands were set aside, though nobody else wrote: {aside}")

    def _expect_loss(self, first: int, last: int, end: int, calls: int) -> None:
        """See that the log has everything before the loss, and nothing of what was lost or behind it."""
        if self._kind != "loss":
            self._fail(f"positions {first} to {last} were said to be lost")
        if end != first - 1 or last < first:
            self._fail(f"positions {first} to {last} were said to be lost, but the log ends at {end}")
        (life,) = self._lives
        self._totals.losses += 1
        self._totals.lost_as_raised += life.returned - calls
        # What is left has to be the first calls, in order.
        self._lives = [Lived(life.number, life.start, calls, 0, killed=False)]

    def _log(self) -> str:
        path = self._place / "lives.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _fail(self, what: str) -> None:
        self._trouble.append(what)
        self._totals.failures.append(
            {"round": self._number, "kind": self._kind, "what": f"{what} ...{self._log()[-800:]}"}
        )

    def _end(self) -> None:
        if not self._trouble:
            shutil.rmtree(self._place)
            return
        for number, server in enumerate(self._topology.servers):
            (self._place / f"server-{number}.log").write_text(server.log())
        lives = "\n".join(str(life) for life in self._lives)
        (self._place / "trouble.txt").write_text("\n".join((*self._trouble, lives, "")))
        self._totals.evidence.append(str(self._place))


def _add(total: Balance, other: Balance) -> None:
    for item in fields(Balance):
        setattr(total, item.name, getattr(total, item.name) + getattr(other, item.name))


def torture(arguments: argparse.Namespace) -> Totals:
    """Round after round, until the time is used up, or the rounds; the last one is always accounted for."""
    sessions = [Session(name, arguments.lines) for name in SESSIONS]
    totals = Totals()
    base = Path(tempfile.mkdtemp(prefix="torture-", dir=arguments.directory))
    ends_s = time.monotonic() + arguments.minutes * 60
    kinds = (arguments.kind,) if arguments.kind else KINDS
    number = 0
    try:
        while time.monotonic() < ends_s and number != arguments.rounds and len(totals.evidence) < 5:
            kind = kinds[number % len(kinds)]
            number += 1
            Round(number, arguments, kind, sessions, totals, base / f"round-{number}").run(arguments, ends_s)
            print(totals.line(), file=sys.stderr, flush=True)
    finally:
        if not totals.evidence:
            shutil.rmtree(base)
    return totals


def report(totals: Totals, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, for programs."""
    return {
        "topology": arguments.topology,
        "seed": arguments.seed,
        "clean": totals.clean,
        "rounds": dict(totals.rounds),
        "lives": totals.lives,
        "kills": totals.kills,
        "troubles": dict(totals.troubles),
        "set_back": totals.set_back,
        "stuck": totals.stuck,
        "losses_raised": totals.losses,
        "lost_as_raised": totals.lost_as_raised,
        "until_another_primary_s": {
            name: f"{sorted(took)[len(took) // 2]:.2f} (at most {max(took):.2f})"
            for name, took in sorted(totals.took_s.items())
        },
        **asdict(totals.balance),
        "failures": totals.failures,
        "evidence": totals.evidence,
    }


def main() -> None:
    """Torture as the arguments say; exit with 1 if a call is not where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", choices=list(TOPOLOGIES), required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, help="stop behind that many")
    parser.add_argument("--troubles", type=int, help=f"so many a round; default: {TROUBLES_MAX}")
    parser.add_argument("--kind", choices=KINDS, help="rounds of that kind only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, help="play that many lines of each session; all if not given")
    parser.add_argument("--directory", type=Path, help="where journals are, and evidence is kept; default: temporary")
    parser.add_argument("--report", type=Path, help="write all figures there, as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers and files are removed
    totals = torture(arguments)
    figures = report(totals, arguments)
    if arguments.report:
        arguments.report.write_text(json.dumps(figures, indent=2))
    show(figures)
    for path in totals.evidence:
        print(f"evidence: {path} (seed {arguments.seed})", file=sys.stderr)
    sys.exit(not totals.clean)


if __name__ == "__main__":
    main()
