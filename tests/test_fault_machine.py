"""Whatever happens to the connection, the server and the process, in whatever order: every call that returned is
accounted for, by its position.

What is promised depends on what there is: with a journal nothing that was accepted is lost, but to a server that loses
more than the journal goes back, which is raised; without one a kill loses what was not written yet.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from redis.exceptions import RedisError

from eventstore import commands as c
from eventstore.keys import Keys
from scripts.lib.torture_server import Victim
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.expected_log import CLOSED, OPENED, Expected, journaled, logged, recorded, same
from tests.support.fault_proxy import Fault, FaultProxy, Plan, Way
from tests.support.forked_nodes import FLUSH, PATIENCE_S, Node, Zygote, command_of
from tests.support.logs import check_log, read_fence, read_log
from tests.support.outages import until
from tests.support.redis_server import server_binaries

KEYS = Keys(TRADER)
BINARIES = server_binaries()
OPENINGS_MAX = 40
"""Openings of one journal that are made: it remembers the last 64, and others are strangers."""
HASTE_S = 0.05
NO_WINDOW, SOME_WINDOW, ANY_WINDOW = 1024, 8192, 32 << 20

settings_with = st.fixed_dictionaries(
    {
        "linger_ms": st.sampled_from((0.0, 4.0)),
        "batch_count_max": st.sampled_from((1, 3, 16, 256)),
        "batch_bytes_max": st.sampled_from((1024, 1 << 20)),
        "backlog_count_max": st.sampled_from((500_000, 12)),
        "retained_bytes_max": st.sampled_from((ANY_WINDOW, SOME_WINDOW, NO_WINDOW)),
    }
)
settings_with_journal = st.fixed_dictionaries(
    {
        "journal_fsync": st.sampled_from(("never", "interval", "always")),
        "journal_segment_bytes": st.sampled_from((1 << 14, 1 << 20)),
        "journal_bytes_max": st.sampled_from((1 << 30, 1 << 21)),
        "on_full": st.sampled_from(("block", "raise", "spill")),
    }
)
ways = st.sampled_from(Way)
counts_of_bytes = st.one_of(st.integers(0, 400), st.integers(0, 6000), st.integers(0, 40_000))
counts_of_calls = st.one_of(st.integers(1, 10), st.integers(1, 40), st.integers(60, 120))
rarely = st.sampled_from((*[False] * 9, True))
within_opening = st.tuples(ways, st.one_of(st.integers(0, 1000), st.integers(600, 1000)))
"""A way, and how many thousandths of the bytes that an opening takes; it claims the log late."""


def step(**drawn: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule, until something is wrong: what was drawn must not depend on that, which may not come again."""

    def decorate(do: Callable[..., None]) -> Any:
        @functools.wraps(do)
        def careful(self: FaultMachine, **arguments: Any) -> None:
            if self.within:
                do(self, **arguments)  # a part of another step
            elif self.wrong is None:
                self.within = True
                try:
                    do(self, **arguments)
                except Exception as error:  # noqa: BLE001 - raised at the end
                    self.wrong = error
                self.within = False

        decorated: Callable[[Callable[..., None]], Any] = rule(**drawn)
        return decorated(careful)

    return decorate


class FaultMachine(RuleBasedStateMachine):
    """A node, another one that may take over, and a server. Each step does what it can, and else nothing."""

    zygote: ClassVar[Zygote]

    def __init__(self) -> None:
        super().__init__()
        self.wrong: Exception | None = None
        self.within = False
        self.place = Path(tempfile.mkdtemp(prefix="faults-"))
        self.nodes: list[Node] = []
        self.node: Node | None = None
        self.up = False
        self.paused = False
        self.strange = False  # whether another one ever took over
        self.over = False  # whether the server lost what nobody has, and no node can be opened any more

        self.mine = Expected()
        """What the node was told that it accepted."""
        self.theirs: Expected | None = None
        """What the log has to be, if another one took over and the node was not opened since."""
        self.forked_at = 0
        """Where that one took over."""
        self.epoch_of_theirs = 0
        self.number = 1
        self.openings = 0
        self.epoch = 0

        # Of the node's present life, or its last one:
        self.began_at = 0
        self.safe = 0  # up to here it was confirmed, by a server that lost nothing since
        self.killed = False
        self.failure: dict[str, Any] | None = None
        self.emptied = False
        self.lossy = False  # the server lost something, or may have
        self.calls_since_loss = 0
        self.asides_before: set[Path] = set()

    # -- Beginning ---------------------------------------------------------------------------------------------------

    @initialize(
        binary=st.sampled_from(sorted(BINARIES)),
        aof=st.sampled_from(("always", "always", "everysec", "off")),
        settings=settings_with,
        journal=st.one_of(settings_with_journal, settings_with_journal, st.none()),
        on_full=st.sampled_from(("block", "raise")),
    )
    def begin(
        self, binary: str, aof: str, settings: dict[str, Any], journal: dict[str, Any] | None, on_full: str
    ) -> None:
        self.aof = aof
        self.journal = self.place / "journal" if journal is not None else None
        self.aside = self.place / "aside" if self.journal is None else self.journal / "aside"
        self.settings = settings | {
            "timeout_s": 0.4,
            "block_timeout_s": 0.02,
            "load_timeout_s": PATIENCE_S,
            "on_full": on_full,
            "aside": self.place / "aside",
        }
        if journal is not None:
            self.settings |= {"journal": self.journal, **journal}
        config = {"appendonly": "no" if aof == "off" else "yes", "auto-aof-rewrite-percentage": "0"}
        if aof != "off":
            config["appendfsync"] = aof
        self.server = Victim(binary=BINARIES[binary], config=config, heal=not binary.startswith("Valkey"))
        self.proxy = FaultProxy(self.server.socket_path, keep=True)
        self.opening_bytes = {Way.TO_SERVER: 38_000, Way.TO_CLIENT: 7_000}
        self.copy: Path | None = None
        self.newest: Path | None = None
        self.launch()

    @property
    def reachable(self) -> bool:
        return self.up and not self.paused

    # -- What the node is asked for ----------------------------------------------------------------------------------

    @step(count=counts_of_calls, flushes=rarely)
    def calls(self, count: int, *, flushes: bool) -> None:
        if self.ready() and flushes and self.reachable:
            self.call(FLUSH, 1)
        if self.ready():
            self.call(self.numbers(count), count)

    @step(level=st.sampled_from(("applied", "applied", "durable", "journaled")))
    def sync(self, level: str) -> None:
        self.heal_server()
        if not self.ready():
            return
        if self.journal is None and level == "journaled":
            level = "applied"
        answer = self.told("sync", level=level)
        if "error" in answer:
            return
        assert answer["position"] == self.mine.last
        if level != "journaled":
            self.is_safe(answer["position"])

    @step()
    def load(self) -> None:
        """A load sees all that was accepted before, whatever the server lost meanwhile."""
        self.heal_server()
        if not self.ready():
            return
        answer = self.told("load")
        if "error" in answer or self.theirs is not None:
            return
        views = self.mine.fold(KEYS)
        general = {key: value.hex() for key, value in views.hashes.get(KEYS.general, {}).items()}
        assert answer["general"].items() ^ general.items() == set(), self.difference()
        assert answer["positions"] == sorted(views.sets.get(KEYS.positions, ()))

    @step(in_haste=st.booleans())
    def close(self, *, in_haste: bool) -> None:
        """What close could not write is counted."""
        node, self.node = self.node, None
        if node is None:
            return
        in_haste = in_haste or not self.reachable
        node.ask("close", timeout_s=HASTE_S / 2 if in_haste else PATIENCE_S)
        answer = node.answer()
        assert "error" not in answer, answer
        node.end()
        self.ended(killed=False)
        self.mine.doubtful = [CLOSED]
        undisturbed = self.theirs is None and not self.lossy and self.failure is None
        if undisturbed and not in_haste:
            assert answer["not_written"] == 0
            self.is_safe(self.mine.last)
        if undisturbed and self.reachable:
            missing = [at for at in self.mine.behind(self.fence_position()) if at != self.began_at]
            assert len(missing) <= answer["not_written"]

    # -- The node dies -----------------------------------------------------------------------------------------------

    @step(count=counts_of_calls, returned=st.integers(0, 40))
    def kill(self, count: int, returned: int) -> None:
        """Kill it among `count` calls, some behind the moment when so many have returned."""
        if not self.ready():
            return
        node = self.node
        assert node is not None
        first = self.numbers(count)
        node.ask("call", first=first, count=count)
        node.wait_for_calls(min(returned, count))
        self.node = None
        node.kill()
        self.returned(node, first)
        if len(node.verdicts) < count:
            self.mine.doubtful = [command_of(first + len(node.verdicts))]
        self.ended(killed=True)

    @step(place=within_opening, releases=st.booleans())
    def kill_at_opening(self, place: tuple[Way, int], *, releases: bool) -> None:
        """Kill it when so many bytes have gone by; what it sent then arrives late, or at once."""
        if self.over or self.openings > OPENINGS_MAX or not self.reachable:
            return
        way, thousandths = place
        self.kill_idle()
        self.look_into_journal()
        if self.journal is None and self.theirs is None:
            self.proxy.release()
            self.proxy.drain()  # what the one before sent has arrived
            self.goes_on_at(self.fence_position())
        node = self.fork()
        self.openings += 1
        self.kill_at(
            node, Plan(way, self.opening_bytes[way] * thousandths // 1000, Fault.LATE), "open", **self.opening()
        )
        if releases:
            self.proxy.release()
        (self.mine if self.theirs is None else self.theirs).doubtful.append(OPENED)
        self.killed = True

    @step(way=ways, after=counts_of_bytes, releases=st.booleans())
    def kill_at_closing(self, way: Way, after: int, *, releases: bool) -> None:
        if not self.reachable or not self.ready():
            return
        node, self.node = self.node, None
        assert node is not None
        self.kill_at(node, Plan(way, after, Fault.LATE), "close", timeout_s=PATIENCE_S)
        if releases:
            self.proxy.release()
        self.mine.doubtful = [CLOSED]
        self.ended(killed=True)

    def kill_idle(self) -> None:
        node, self.node = self.node, None
        if node is not None:
            node.kill()
            self.ended(killed=True)

    def kill_at(self, node: Node, plan: Plan, verb: str, **arguments: Any) -> None:
        self.proxy.arm([plan])
        happened = self.proxy.happened
        node.ask(verb, **arguments)
        until(lambda: node.listen(0) or node.answered() or self.proxy.happened > happened)
        event(f"killed at {verb}, answered: {node.answered()}")
        node.kill()
        self.proxy.arm([])

    # -- The connection ----------------------------------------------------------------------------------------------

    @step(plans=st.lists(st.builds(Plan, ways, counts_of_bytes, st.sampled_from(Fault)), min_size=1, max_size=3))
    def lose_connections(self, plans: list[Plan]) -> None:
        self.proxy.arm(plans)

    @step()
    def release(self) -> None:
        """What was late arrives."""
        self.proxy.release()

    # -- The server --------------------------------------------------------------------------------------------------

    @step(comes_back=st.sampled_from((True, True, False)))
    def kill_server(self, *, comes_back: bool) -> None:
        if not self.up:
            self.launch()
            return
        if self.strange and self.aof == "off":
            return  # what is lost then is another one's, too
        self.server.kill()
        self.up = self.paused = False
        if self.aof == "off":
            self.emptied = True
        if self.aof != "always":
            self.has_lost()  # of what it had not given to the system yet, a server that syncs behind may lose some
        if comes_back:
            self.launch()

    @step()
    def pause_server(self) -> None:
        """Freeze it, or let it go on."""
        if self.paused:
            self.heal_server()
        elif self.up:
            self.server.pause()
            self.paused = True

    @step(begins=rarely, within_a_life=st.booleans(), count=counts_of_calls)
    def set_server_back(self, count: int, *, begins: bool, within_a_life: bool) -> None:
        """Keep a copy of its data; or, if there is one, let it come back with that. Behind either, it goes on."""
        if self.theirs is not None or self.aof == "off":
            return
        if within_a_life:  # what has been confirmed to the node that is open is lost
            self.sync(level="applied")
        begins = begins or within_a_life or self.copy is None
        if begins:
            self.copy = self.place / f"copy-{len(list(self.place.glob('copy-*')))}"
            self.server.copy_data(self.copy)
            self.calls(count=count, flushes=False)
        if within_a_life:
            self.sync(level="applied")
        elif begins:
            return
        assert self.copy is not None
        event(f"set back, with a node: {self.node is not None}")
        self.server.kill()
        self.up = self.paused = False
        if self.newest is None or not self.lossy:
            self.newest = self.place / f"newest-{len(list(self.place.glob('newest-*')))}"
            self.server.copy_data(self.newest)
        self.server.set_back(self.copy)
        self.has_lost()
        self.launch()
        with self.server.client() as client:
            self.emptied = self.emptied or not read_fence(client, KEYS)  # the copy may be from before the log began
        self.calls(count=count, flushes=False)

    # -- Another writer ----------------------------------------------------------------------------------------------

    @step(count=st.integers(0, 8), unaware=st.integers(0, 20), place=st.one_of(st.none(), within_opening))
    def stranger(self, count: int, unaware: int, place: tuple[Way, int] | None) -> None:
        """Another one takes over, writes a little, and ends. The node makes some calls more before it knows; it may be
        killed when it opens again.
        """
        if self.over or self.emptied or self.openings > OPENINGS_MAX:
            return
        self.heal_server()
        if self.node is None:
            self.look_into_journal()
        other = self.fork()
        self.openings += 1
        settings = {"aside": self.place / "none"}
        other.ask("open", url=self.server.url, log=str(self.place / "nodes.log"), settings=settings)
        answer = other.answer()
        assert "error" not in answer, answer
        self.strange = True
        self.copy = self.newest = None
        position = answer["opened_at"] - 1
        if self.theirs is None:
            self.goes_on_at(position)
            self.forked_at = position
            self.epoch_of_theirs = answer["epoch"]
            self.theirs = self.mine.copy()
            self.theirs.cut(position)
        self.goes_on_behind_theirs(position)
        self.theirs.add(c.Opened(answer["epoch"], {}))
        first = self.numbers(count)
        other.ask("call", first=first, count=count)
        other.answer()
        for number in range(first, first + count):
            self.theirs.add(command_of(number))
        other.ask("close", timeout_s=PATIENCE_S)
        assert other.answer() == {"not_written": 0}
        self.theirs.add(CLOSED)
        other.end()
        if self.node is not None and unaware:
            self.call(self.numbers(unaware), unaware)
        if place is not None:
            self.kill_at_opening(place=place, releases=True)

    # -- What the steps have in common -------------------------------------------------------------------------------

    def numbers(self, count: int) -> int:
        first = self.number
        self.number += count
        return first

    def fork(self) -> Node:
        self.nodes.append(self.zygote.fork())
        return self.nodes[-1]

    def launch(self) -> None:
        self.server.launch()
        until(self.answers)
        self.up = True

    def heal_server(self) -> None:
        if self.paused:
            self.server.resume()
            self.paused = False
        if not self.up:
            self.launch()

    def answers(self) -> bool:
        try:
            with self.server.client(socket_timeout=1.0) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def difference(self) -> str:
        """Where the log at the server is not what is expected."""
        with self.server.client() as client:
            log = {line.position: line.command for line in read_log(client, KEYS)}
        return "\n".join(
            f"{at}: {log.get(at)!s:.60}, expected {self.mine.at.get(at)!s:.60}"
            for at in sorted(log.keys() | self.mine.at.keys())
            if at not in log or at not in self.mine.at or not same(log[at], self.mine.at[at])
        )

    def fence_position(self) -> int:
        with self.server.client() as client:
            return int(read_fence(client, KEYS).get("position", 0))

    def call(self, first: int, count: int) -> None:
        """Make calls, which return whether the server is there or not."""
        assert self.node is not None
        self.node.ask("call", first=first, count=count)
        answer = self.node.answer()
        self.returned(self.node, first)
        if "error" in answer:
            self.failed(answer)
        elif self.journal is not None:
            assert answer["accepted"] == self.mine.last

    def returned(self, node: Node, first: int) -> None:
        for number, accepted in enumerate(node.verdicts, first):
            if accepted:
                self.mine.add(command_of(number))
                self.calls_since_loss += 1

    def told(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the node for what waits for the server. An error is one that has to be."""
        assert self.node is not None
        self.node.ask(verb, **arguments)
        answer = self.node.answer()
        if "error" in answer:
            self.failed(answer)
        return answer

    def is_safe(self, position: int) -> None:
        """It was confirmed: then the server has it, if it has had to say so since it lost something."""
        if self.theirs is not None:
            assert position <= self.forked_at, "confirmed, though another one had taken over"
        elif not self.lossy or self.calls_since_loss:
            assert self.fence_position() >= position
            self.safe = position

    def has_lost(self) -> None:
        self.lossy = True
        self.calls_since_loss = 0
        self.safe = 0

    # -- The beginning and the end of a life -------------------------------------------------------------------------

    def opening(self) -> dict[str, Any]:
        return {"url": self.proxy.url, "log": str(self.place / "nodes.log"), "settings": self.settings}

    def ready(self) -> bool:
        """Have a node that is open, if that can be."""
        if self.node is None and self.reachable and not self.over and self.openings <= OPENINGS_MAX:
            self.open()
        return self.node is not None

    def open(self) -> None:
        self.look_into_journal()
        for _ in range(10):
            self.openings += 1
            node = self.fork()
            self.proxy.connections.clear()
            node.ask("open", **self.opening())
            answer = node.answer()
            if "error" not in answer:
                for way in Way:
                    self.opening_bytes[way] = sum(len(each.went(way)) for each in list(self.proxy.connections))
                self.opened(node, answer)
                return
            node.end()
            if answer["error"] == "DataLoss":
                self.lost_for_good(answer)
                return
            assert answer["error"] == "Retryable", answer
            self.proxy.arm([])
        raise AssertionError("it can not be opened")

    def opened(self, node: Node, answer: dict[str, Any]) -> None:
        position = answer["opened_at"] - 1
        if self.theirs is not None:
            self.goes_on_behind_theirs(position)
            self.is_back()
        elif self.journal is not None:
            assert position == self.mine.last
        else:
            self.goes_on_at(position)
        assert answer["epoch"] <= self.openings, "an opening counts the epoch up by one at most"
        assert self.journal is None or answer["epoch"] > self.epoch
        self.epoch = answer["epoch"]
        self.mine.add(c.Opened(self.epoch, {}))
        self.node = node
        self.began_at = position + 1
        self.killed = self.emptied = self.lossy = False
        self.failure = None
        self.asides_before = set(self.aside.glob("*.seg"))

    def ended(self, *, killed: bool) -> None:
        self.killed = killed

    def look_into_journal(self) -> None:
        """What was being done when the node ended is in its journal, or is not."""
        if self.journal is None:
            return
        records = journaled(self.journal)
        if self.theirs is not None:
            opened = records.get(self.theirs.last + 1)
            if isinstance(opened, c.Opened) and opened.epoch > self.epoch_of_theirs:
                self.is_back()  # an opening that was killed had come so far
        rest = sorted(at for at in records if at > self.mine.last)
        assert rest == list(range(self.mine.last + 1, self.mine.last + 1 + len(rest)))
        self.mine.found([records[at] for at in rest])
        for at, command in records.items():
            assert same(command, self.mine.at[at]), f"position {at} of the journal: {command}, not {self.mine.at[at]}"

    def goes_on_at(self, position: int) -> None:
        """Somebody went on behind `position` of the log: what the node has beyond is missing there."""
        assert position >= self.safe, f"{self.safe} was confirmed"
        if position > self.mine.last:
            assert self.node is None
            with self.server.client() as client:
                self.mine.found(logged(client, KEYS, self.mine.last, position))
            assert position == self.mine.last
        elif self.node is None and self.journal is None:
            self.mine.doubtful = []
            self.check_aside(position)
            self.mine.cut(position)

    def check_aside(self, position: int) -> None:
        """Without a journal, what is behind `position` is lost by a kill, or by the server, or is set aside.

        A node that is killed while it sets something aside leaves a file that has another name.
        """
        aside = recorded(sorted(set(self.aside.glob("*.seg")) - self.asides_before))
        for at, command in aside.items():
            assert at > self.mine.last or same(command, self.mine.at[at]), f"set aside at {at}: {command}"
        if self.killed:
            return
        missing = self.mine.behind(position)
        if self.failure is not None and self.failure["cause"] == "DataLoss" and self.theirs is None:
            assert self.failure["first"] == position + 1
            missing = self.mine.behind(self.failure["last"])
        elif self.lossy:  # what it had confirmed may be missing: not what comes behind the first that it had not
            missing = {at: command for at, command in missing.items() if aside and at >= min(aside)}
        assert missing.keys() <= aside.keys(), f"neither in the log, nor set aside: {missing.keys() - aside.keys()}"

    def goes_on_behind_theirs(self, position: int) -> None:
        assert self.theirs is not None
        with self.server.client() as client:
            self.theirs.found(logged(client, KEYS, self.theirs.last, position))
        assert position == self.theirs.last, "the log is not what the one before left"

    def is_back(self) -> None:
        """The node goes on behind another writer."""
        assert self.theirs is not None
        self.check_strange_tail()
        self.asides_before = set(self.aside.glob("*.seg"))
        self.mine, self.theirs = self.theirs, None

    def check_strange_tail(self) -> None:
        """What another writer's log has not, and exactly that, is set aside."""
        if self.journal is None:
            self.check_aside(self.forked_at)
            return
        aside = recorded(sorted(set(self.aside.glob("*.seg")) - self.asides_before))
        missing = self.mine.behind(self.forked_at)
        event(f"taken over, with a tail: {bool(missing)}")
        if self.lossy:
            missing = {at: command for at, command in missing.items() if aside and at >= min(aside)}
        assert aside.keys() == missing.keys(), f"set aside is not what is missing: {list(aside)}, {list(missing)}"
        assert all(same(aside[at], command) for at, command in missing.items())

    def failed(self, answer: dict[str, Any]) -> None:
        """The node's writer has stopped: for a good reason, and it says so."""
        assert answer["error"] == "WriterFailed", answer["text"]
        cause = answer["cause"]
        allowed = {
            "Fenced": self.theirs is not None,
            "Diverged": self.emptied,
            "DataLoss": self.lossy,
        }
        event(f"the writer stopped: {cause}")
        assert allowed.get(cause), answer["text"]
        self.failure = answer
        if cause == "DataLoss":
            assert answer["first"] <= answer["last"]
            assert self.settings["retained_bytes_max"] != ANY_WINDOW or answer["first"] < self.began_at, answer["text"]
            if self.theirs is None and self.aof == "always":
                assert answer["first"] == self.fence_position() + 1
        self.close(in_haste=True)
        if cause == "DataLoss" and self.journal is not None:
            self.look_into_journal()
            assert answer["last"] < min(journaled(self.journal), default=self.mine.last + 1)

    def lost_for_good(self, answer: dict[str, Any]) -> None:
        """What the server lost is not in the journal any more: exactly that is said. Its data are restored, if kept."""
        event("DataLoss at an opening")
        assert self.journal is not None, answer["text"]
        assert self.lossy, answer["text"]
        first_kept = min(journaled(self.journal), default=self.mine.last + 1)
        assert (answer["first"], answer["last"]) == (self.fence_position() + 1, first_kept - 1)
        if self.newest is None:
            self.over = True
            return
        self.server.kill()
        self.server.set_back(self.newest)
        self.newest = None
        self.launch()
        self.open()

    # -- The end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.wrong is not None:
                raise self.wrong
            if hasattr(self, "proxy") and sys.exception() is None:
                self.settle()
        finally:
            if sys.exception() is not None and (log := self.place / "nodes.log").exists():
                note(log.read_text()[-6000:])
            for node in self.nodes:
                if not node.ended:
                    node.kill()
            if hasattr(self, "proxy"):
                self.server.close()
                self.proxy.close()
            shutil.rmtree(self.place)

    def settle(self) -> None:
        """Everything is healed; the node is opened once more, and closed. Then the log is what it has to be."""
        self.within = True
        self.proxy.arm([])
        self.proxy.release()
        self.heal_server()
        self.openings = min(self.openings, OPENINGS_MAX)
        if self.node is not None:
            self.sync(level="applied")
        self.close(in_haste=False)
        self.load()
        self.sync(level="applied")
        if not self.ready():
            return
        self.sync(level="applied")
        self.close(in_haste=False)
        self.proxy.drain()
        with self.server.client() as client:
            log = check_log(client, KEYS)
        self.mine.found([line.command for line in log if line.position > self.mine.last])
        assert isinstance(self.mine.at[self.mine.last], c.ClosedWell)
        self.mine.check(log)
        assert not (self.place / "none").exists(), "the other one set something aside"


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


@pytest.mark.timeout(1800)  # Each wait has a bound of its own; making a failure small takes minutes.
def test_every_call_is_accounted_for(zygote: Zygote) -> None:
    FaultMachine.zygote = zygote
    run_state_machine_as_test(FaultMachine, settings=effort(18, 24))
