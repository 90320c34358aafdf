"""Kills a trading node, and its server, at any moment, over and over; then accounts for every call that returned.

A round is one log: some dozens of lives of a node on one server and one journal, with settings drawn by the seed. Most
lives end by SIGKILL, while they open, trade or close; meanwhile the server is killed, frozen, or set back to an older
copy of its data. Then one more life opens and closes undisturbed, and the log has to hold every call that returned in
any life, once and in order, byte for byte; at most the one call that a kill cut short may be in it besides.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from eventstore.config import CacheDatabaseConfig
from eventstore.journal import read_records
from eventstore.keys import Keys
from scripts.lib.torture_accounts import Balance, Lived, balance
from scripts.lib.torture_life import STUCK_S, Ledger, Plan, Stage, be_born
from scripts.lib.torture_server import Victim
from scripts.lib.torture_workload import SESSIONS, TRADER, Session, is_call
from tests.support.logs import check_log
from tests.support.redis_server import server_binaries

LIVES_MAX = 30
CALLS_MAX = 80_000
"""When a round ends; its log is then read whole, and folded."""

WINDOW_EVERY = 5
OPENINGS_MAX = 8
"""How old a copy of the server's data may be. A journal remembers the last sixteen openings; others are strangers."""

_TICK_S = 0.0005
_KNOWN = {setting.name for setting in fields(CacheDatabaseConfig)}


class Copied(NamedTuple):
    """A copy of the server's data: where it is, and how many openings there had been before it.

    `life` is the one that traded meanwhile, if one did.
    """

    place: Path
    openings: int
    life: int | None


class Deaths(NamedTuple):
    """How a life ends: `delay_s` behind the moment when it came to `stage`; not killed if `stage` is None."""

    stage: Stage | None
    delay_s: float = 0.0
    server_too: bool = False


@dataclass(slots=True)
class Totals:
    """What all rounds came to."""

    rounds: int = 0
    lives: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    server: Counter[str] = field(default_factory=Counter)
    set_back_bytes: int = 0
    refused: int = 0
    resumed: int = 0
    stopped: int = 0
    openings_us: list[int] = field(default_factory=list)
    balance: Balance = field(default_factory=Balance)
    failures: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.balance.clean and not self.balance.lost_behind_sync and not self.failures

    def met(self, bounds: argparse.Namespace) -> bool:
        """Whether there were as many kills, or lives, as was asked for."""
        enough_kills = bounds.kills is not None and self.kills.total() >= bounds.kills
        return enough_kills or (bounds.lives is not None and self.lives >= bounds.lives)

    def add(self, other: Balance) -> None:
        for item in fields(Balance):
            setattr(self.balance, item.name, getattr(self.balance, item.name) + getattr(other, item.name))

    def line(self) -> str:
        b = self.balance
        return (
            f"rounds {self.rounds}  kills {self.kills.total()}  server: killed {self.server['killed']} "
            f"set back {self.server['set back']} frozen {self.server['frozen']}  calls {b.calls}  lost {b.lost}  "
            f"duplicated {b.duplicated}  misplaced {b.misplaced}  failures {len(self.failures)}"
        )


class Round:
    """One log, from its first opening to its balance."""

    def __init__(
        self, number: int, seed: int, mode: str, sessions: list[Session], totals: Totals, place: Path, heal: bool = True
    ) -> None:
        self._draw = random.Random(f"{seed} {number}")
        self._number = number
        self._mode = mode
        self._sessions = sessions
        self._totals = totals
        self._place = place
        self._lives: list[Lived] = []
        self._openings = 0
        self._pending: list[tuple[float, int, Callable[[], None]]] = []
        self._copy: Copied | None = None
        self._ledger: Ledger | None = None
        self._may_stop = False
        self._trouble: list[str] = []
        place.mkdir()
        fsync = self._draw.choice(("always", "everysec"))
        if mode == "window":
            # While a sync takes long, a server that syncs every second answers before it writes. What it loses if it is
            # killed then, behind the end of a life, is in nobody's memory any more.
            fsync = "always"
        kind, binary = self._draw.choice(sorted(server_binaries().items()))
        self._server = Victim(
            binary=binary,
            config={"appendonly": "yes", "appendfsync": fsync, "auto-aof-rewrite-percentage": "0"},
            heal=heal and not kind.startswith("Valkey"),
        ).start()
        self._settings = self._drawn_settings(kind)
        self._config = CacheDatabaseConfig(url=self._server.url, **self._settings)
        described = {
            "seed": seed,
            "round": number,
            "mode": mode,
            "server": kind,
            "appendfsync": fsync,
            **self._settings,
        }
        (place / "round.json").write_text(json.dumps(described, indent=2, default=str))

    def run(self, bounds: argparse.Namespace, ends_at: float) -> None:
        """Live, settle and account, until one of the bounds is met."""
        try:
            while (
                len(self._lives) < LIVES_MAX
                and sum(life.returned for life in self._lives) < CALLS_MAX
                and not self._totals.met(bounds)
                and time.monotonic() < ends_at
                and not self._trouble
            ):
                self._live_and_die()
            if not self._trouble:
                self._settle()
            if not self._trouble:
                self._account()
        finally:
            self._totals.rounds += 1
            self._end()

    # -- Settings ----------------------------------------------------------------------------------------------

    def _drawn_settings(self, kind: str) -> dict[str, Any]:
        draw = self._draw
        fsyncs = kind.startswith("Valkey")  # and can be asked whether it did
        settings: dict[str, Any] = {
            "timeout_s": draw.choice((0.25, 5.0)),
            "load_timeout_s": STUCK_S,
            "linger_ms": draw.choice((0.0, 4.0, 20.0)),
            "batch_count_max": draw.choice((3, 64, 256)),
            "backlog_count_max": draw.choice((200, 500_000)),
            "on_full": draw.choice(("block", "raise")),
            "durability": draw.choice(("applied", "aof(1,0)" if fsyncs else "applied")),
            "aside": self._place / "aside",
        }
        if self._mode == "journal":
            settings |= {
                "journal": self._place / "journal",
                "journal_fsync": draw.choice(("never", "interval", "interval", "always")),
                "journal_segment_bytes": draw.choice((1 << 20, 4 << 20, 64 << 20)),
                "on_full": draw.choice(("block", "raise", "spill")),
            }
        return {name: value for name, value in settings.items() if name in _KNOWN}

    # -- Lives -------------------------------------------------------------------------------------------------

    def _live_and_die(self) -> None:
        draw = self._draw
        before = self._lives[-1] if self._lives and draw.random() < 0.4 else None
        plan = Plan(
            number=len(self._lives) + 1,
            session=draw.randrange(len(self._sessions)),
            after=before,
            sync_every=draw.choice((0, 0, 50, 500)),
            calls_max=draw.choice((2, 200, 5_000)) if draw.random() < 0.2 else CALLS_MAX,
        )
        self._plan_trouble()
        ledger, status = self._live(plan, self._drawn_death())
        killed = status == signal.SIGKILL
        if ledger.stage == Stage.STOPPED and self._may_stop:
            self._totals.stopped += 1
        elif not killed and status:
            self._fail_life(plan, ledger, status)
        if before is not None and ledger.stage >= Stage.TRADING and ledger.lineage // 256 != plan.number:
            self._totals.resumed += 1
        self._lives.append(Lived(plan.number, ledger.start, ledger.returned, ledger.synced, killed))

    def _drawn_death(self) -> Deaths:
        draw = self._draw
        if self._mode == "window":
            return Deaths(None)
        way = draw.random()
        server_too = draw.random() < 0.1
        if way < 0.2:
            return Deaths(Stage.OPENING, draw.uniform(0, 0.08), server_too)
        if way < 0.9:
            return Deaths(Stage.TRADING, draw.choice((draw.uniform(0, 0.02), draw.uniform(0, 0.4))), server_too)
        if way < 0.96:
            return Deaths(Stage.CLOSING, draw.uniform(0, 0.01), server_too)
        return Deaths(None)

    def _live(self, plan: Plan, death: Deaths) -> tuple[Ledger, int]:
        """Let a life go by; return what it noted, and its exit status, or the signal that killed it."""
        self._ledger = ledger = Ledger(self._place / f"ledger-{plan.number:04}")
        self._may_stop = False
        # A life that is not killed before it closes trades that long.
        lives_until = time.monotonic() + self._draw.uniform(0.05, 0.6)
        pid = be_born(plan, self._config, self._sessions, ledger, self._place / "lives.log")
        dies_at: float | None = None
        while True:
            now = time.monotonic()
            self._do_what_is_due(now)
            if death.stage is not None and dies_at is None and ledger.stage >= death.stage:
                dies_at = now + death.delay_s
            if dies_at is not None and now >= dies_at:
                stage = Stage(ledger.stage)
                os.kill(pid, signal.SIGKILL)
                if death.server_too:
                    self._kill_server()
                    self._totals.server["with the node"] += 1
                self._totals.kills[stage.name.lower()] += 1
                break
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            if death.stage in (None, Stage.CLOSING) and now >= lives_until:
                ledger.enough = 1
            time.sleep(_TICK_S)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._totals.lives += 1
        self._totals.refused += ledger.refused
        self._openings += ledger.openings
        if ledger.stage >= Stage.OPENED:
            self._totals.openings_us.append(ledger.opened_us)
        return ledger, abs(status)

    # -- The server --------------------------------------------------------------------------------------------

    def _plan_trouble(self) -> None:
        draw = self._draw
        for chance, do in (
            (0.25, self._kill_server),
            (0.06, self._freeze),
            (0.30, self._keep_copy),
            (0.12, self._set_back),
        ):
            if draw.random() < chance:
                self._at(time.monotonic() + draw.uniform(0, 0.4), do)

    def _at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._pending, (moment, len(self._pending) + id(do), do))

    def _do_what_is_due(self, now: float) -> None:
        while self._pending and self._pending[0][0] <= now:
            heapq.heappop(self._pending)[2]()
        if self._server.exit_status is not None and not self._trouble:
            self._fail(f"the server ended with status {self._server.exit_status}: {self._server.log()[-1000:]}")

    def _kill_server(self) -> None:
        if self._server.launched:
            self._server.kill()
            self._totals.server["killed"] += 1
            down_s = self._draw.choice((0.0, 0.02, self._draw.uniform(0, 0.5)))
            self._at(time.monotonic() + down_s, self._launch)

    def _launch(self) -> None:
        if not self._server.launched:
            self._server.launch()

    def _freeze(self) -> None:
        if self._server.launched:
            self._server.signal(signal.SIGSTOP)
            self._totals.server["frozen"] += 1
            self._at(time.monotonic() + self._draw.choice((0.05, 0.5)), self._thaw)

    def _thaw(self) -> None:
        if self._server.launched:
            self._server.signal(signal.SIGCONT)

    def _trading_life(self) -> int | None:
        """The life that trades at this moment, if one does."""
        trading = self._ledger is not None and self._ledger.stage == Stage.TRADING
        return len(self._lives) + 1 if trading else None

    def _keep_copy(self) -> None:
        life = self._trading_life()
        if life is None and not any(life.returned for life in self._lives):
            return  # there is nothing yet that a server could be set back to
        self._forget_copy()
        place = self._place / f"copy-{self._openings:04}"
        self._server.copy_data(place)
        self._copy = Copied(place, self._openings, life)
        if self._draw.random() < 0.5:
            self._at(time.monotonic() + self._draw.uniform(0, 0.15), self._set_back)

    def _forget_copy(self) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy.place)
            self._copy = None

    def _set_back(self) -> None:
        if self._mode == "memory" or self._copy is None or self._openings - self._copy.openings > OPENINGS_MAX:
            return
        self._kill_server()
        within_life = self._copy.life is not None and self._copy.life == self._trading_life()
        if self._mode == "window" and not within_life:
            return  # what a process that has ended, or is about to, kept in memory can not be written again
        # A writer goes on by itself from what it has seen; what is older takes an opening to be sorted out.
        self._may_stop = self._may_stop or not within_life
        self._totals.set_back_bytes += self._server.set_back(self._copy.place)
        self._totals.server["set back"] += 1
        self._launch()

    # -- The end -----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let one more life open and close with nobody in its way: then everything has to be in the log."""
        self._pending.clear()
        self._thaw()
        self._launch()
        plan = Plan(len(self._lives) + 1, 0, None, 0, 0)
        ledger, status = self._live(plan, Deaths(None))
        if status:
            self._fail_life(plan, ledger, status)

    def _account(self) -> None:
        with self._server.client() as client:
            try:
                log = check_log(client, Keys(TRADER))
            except AssertionError as error:
                broken = traceback.extract_tb(error.__traceback__)[-1].line
                self._fail(f"the log is not whole: not {broken}: {str(error)[:2000]}")
                return
        calls = [line.payload for line in log if is_call(line.payload)]
        result = balance(calls, self._lives, self._sessions)
        self._totals.add(result)
        if not result.clean or result.lost_behind_sync:
            self._trouble.extend(result.differences)
        self._compare_journal({line.position: line.payload for line in log})
        aside = [str(path) for path in self._place.rglob("aside/*")]
        if aside:
            self._fail(f"commands were set aside, though nobody else wrote: {aside}")

    def _compare_journal(self, log: dict[int, bytes]) -> None:
        """See that what the journal still has is in the log at the same positions."""
        for path in sorted((self._place / "journal").glob("*.seg")):
            for record in read_records(path):
                if log.get(record.position) != record.payload:
                    self._fail(f"{path} has another command at position {record.position} than the log")
                    return

    def _fail_life(self, plan: Plan, ledger: Ledger, status: int) -> None:
        stage, log = Stage(ledger.stage).name.lower(), (self._place / "lives.log").read_text(errors="replace")
        self._fail(f"life {plan.number} ended with status {status} while {stage}: ...{log[-1000:]}")

    def _fail(self, what: str) -> None:
        self._trouble.append(what)
        self._totals.failures.append({"round": self._number, "what": what})

    def _end(self) -> None:
        self._server.kill()
        if self._trouble:
            self._forget_copy()
            shutil.copytree(self._server.directory, self._place / "server", ignore=shutil.ignore_patterns("*.sock"))
            lives = "\n".join(str(life) for life in self._lives)
            (self._place / "trouble.txt").write_text("\n".join((*self._trouble, lives, "")))
            self._totals.evidence.append(str(self._place))
        else:
            shutil.rmtree(self._place)
        self._server.close()


def torture(arguments: argparse.Namespace) -> Totals:
    """Round after round, until the time or the kills are used up; the last round is always accounted for."""
    sessions = [Session(name, arguments.lines) for name in SESSIONS]
    totals = Totals()
    base = Path(tempfile.mkdtemp(prefix="torture-", dir=arguments.directory))
    ends_at = time.monotonic() + arguments.minutes * 60
    said_at = time.monotonic()
    number = 0
    try:
        while time.monotonic() < ends_at and not totals.met(arguments) and len(totals.evidence) < 5:
            number += 1
            mode = _mode(number, arguments)
            place = base / f"round-{number}"
            Round(number, arguments.seed, mode, sessions, totals, place, not arguments.leave_aof).run(
                arguments, ends_at
            )
            if time.monotonic() >= said_at + 10:
                said_at = time.monotonic()
                print(totals.line(), file=sys.stderr, flush=True)
    finally:
        if not totals.evidence:
            shutil.rmtree(base)
    return totals


def _mode(number: int, arguments: argparse.Namespace) -> str:
    """What is tortured in a round: a node with a journal; every fifth time its server alone, which a node without one
    has to outlive too. A node without a journal that is killed shows that losses are found.
    """
    if arguments.without_journal:
        return "memory"
    if arguments.server_only:
        return "window"
    return "window" if number % WINDOW_EVERY == 0 else "journal"


def report(totals: Totals, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, for programs."""
    openings = sorted(totals.openings_us)
    return {
        "seed": arguments.seed,
        "clean": totals.clean,
        "rounds": totals.rounds,
        "lives": totals.lives,
        "resumed": totals.resumed,
        "stopped": totals.stopped,
        "kills": totals.kills.total(),
        "kills_while": dict(totals.kills),
        "server": dict(totals.server) | {"set_back_bytes": totals.set_back_bytes},
        "refused": totals.refused,
        "opening_ms": {
            "p50": openings[len(openings) // 2] / 1000 if openings else None,
            "max": openings[-1] / 1000 if openings else None,
        },
        **asdict(totals.balance),
        "failures": totals.failures,
        "evidence": totals.evidence,
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures for people."""
    table = Table(show_header=False)
    for name, value in figures.items():
        shown = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        if isinstance(value, list):
            shown = "\n".join(str(item) for item in value[:10])
        table.add_row(name.replace("_", " "), str(shown))
    Console(width=150).print(table)


def main() -> None:
    """Torture as the arguments say; exit with 1 if a call is not where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--kills", type=int, help="stop behind that many kills of the node")
    parser.add_argument("--lives", type=int, help="stop behind that many lives of it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, help="play that many lines of each session; all if not given")
    parser.add_argument("--without-journal", action="store_true", help="calls get lost: shows that this can tell")
    parser.add_argument("--server-only", action="store_true", help="no journal, and the node itself is not killed")
    parser.add_argument(
        "--leave-aof",
        action="store_true",
        help="do not cut transactions that a killed server wrote by half off its file",
    )
    parser.add_argument("--directory", type=Path, help="where journals are, and evidence is kept; default: temporary")
    parser.add_argument("--report", type=Path, help="write all figures there, as JSON")
    arguments = parser.parse_args()
    if "journal" not in _KNOWN and not (arguments.without_journal or arguments.server_only):
        parser.error("this version has no journal: --without-journal")
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
