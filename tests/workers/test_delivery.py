"""The writer's decisions, driven without a thread, a clock or a connection: whatever happens on the way, the log gets
every item once and in order, or the delivery ends with what exactly is lost."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.scripted_sink import Ahead, Keeping, Lost
from workers.batch import BatchFormer
from workers.delivery import LOOK_S, LOOKING_S, NAP_S, REFUSALS_MAX, Delivery, Do, Linger, Look, Nap, Receive, Send
from workers.sink import LONE, Backoff, Regressed, Rejected, Unavailable
from workers.watermark import Mark

STEPS_MAX = 5000
LINGER_S = 2**-8
"""So that sums with it are exact."""


class Sealed(NamedTuple):
    first: int
    entries: tuple[str, ...]
    head_before: int
    head: int

    @property
    def last(self) -> int:
        return self.first + len(self.entries) - 1


class Server:
    """A log that takes a batch as ``append.lua`` does, forgets what it was told to, and refuses what is poison."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.head = 0
        self._states: list[tuple[int, int]] = [(0, 0)]

    def apply(self, batch: Sealed) -> str:
        if any(entry.startswith("poison") for entry in batch.entries):
            return "rejected"
        if len(self.log) >= batch.last:
            return "duplicate" if len(self.log) > batch.last or self.head == batch.head else "diverged"
        if len(self.log) != batch.first - 1:
            return "gap"
        if self.head != batch.head_before:
            return "diverged"
        self.log.extend(batch.entries)
        self.head = batch.head
        self._states.append((len(self.log), self.head))
        return "applied"

    def set_back(self, states: int) -> None:
        """Lose the last `states` batches."""
        del self._states[max(1, len(self._states) - states) :]
        length, self.head = self._states[-1]
        del self.log[length:]


class Line:
    """The packer, and what is on its way to the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.head = 0
        self.answers: deque[str] = deque()
        self.limbo: list[Sealed] = []
        self.encoded: list[str] = []

    def encode(self, item: str) -> str:
        self.encoded.append(item)
        return item

    def size(self, entry: str) -> int:
        return LONE if self.alone(entry) else len(entry)

    def alone(self, entry: str) -> bool:
        return entry.startswith("alone")

    def draft(self) -> list[str]:
        return []

    def seal(self, first_position: int, entries: list[str]) -> Sealed:
        before, self.head = self.head, hash((self.head, *entries))
        return Sealed(first_position, tuple(entries), before, self.head)

    def quarantine(self, entry: str, cause: BaseException) -> str:
        return f"instead of {entry}"

    def lost(self, first: int, last: int) -> Exception:
        return Lost(first, last)

    def ahead(self, position: int, last: int) -> Exception:
        return Ahead(f"{position} is behind {last}")

    def rewind(self) -> int:
        self.head = self.server.head
        return len(self.server.log)


class Drive:
    """Does what a delivery says, and lets go wrong what `data` says."""

    def __init__(
        self, data: st.DataObject, items: list[str], count_max: int, bytes_max: int, kept: int, setbacks: bool
    ) -> None:
        self.data = data
        self.server = Server()
        self.line = Line(self.server)
        self.backlog = deque(items)
        self.retained = Keeping(kept)
        self.delivery: Delivery[str, str, Sealed] = Delivery(
            self.line, BatchFormer(count_max, bytes_max, 1.0), self.retained, 0, 2, Backoff(1, 1), Backoff(1, 1)
        )
        self.count_max, self.bytes_max = count_max, bytes_max
        self.setbacks = setbacks
        self.troubles = 12
        self.now_s = 0.0

    def trouble(self, *kinds: str) -> str:
        """One of `kinds`, or nothing; a bounded number of times in all."""
        if not self.troubles or not self.data.draw(st.booleans()):
            return ""
        self.troubles -= 1
        if self.setbacks and self.data.draw(st.booleans()):
            self.server.set_back(self.data.draw(st.integers(1, 4)))
            # What the old server had not executed died with it.
            self.line.limbo.clear()
            event("set back")
        elif self.line.limbo and self.data.draw(st.booleans()):
            self.server.apply(self.line.limbo.pop(0))
            event("late")
        return self.data.draw(st.sampled_from(kinds))

    def run(self) -> None:
        for _ in range(STEPS_MAX):
            known = self.data.draw(st.booleans())
            do = self.delivery.next(self.now_s, not self.backlog, waiting=len(self.backlog) if known else None)
            if do is Do.END:
                return
            self.perform(do)
            assert self.delivery.in_flight <= 2
            assert self.delivery.applied <= self.delivery.taken
        raise AssertionError("it goes on for ever")

    def run_or_lose(self) -> Lost | None:
        try:
            self.run()
        except Lost as lost:
            return lost
        return None

    def perform(self, do: Do | Send[Sealed] | Receive[Sealed] | Nap | Linger | Look) -> None:
        delivery, line = self.delivery, self.line
        if do is Do.TAKE:
            count = self.data.draw(st.integers(1, 5)) if self.backlog else 0
            delivery.took([self.backlog.popleft() for _ in range(min(count, len(self.backlog)))])
        elif isinstance(do, Send):
            self.check(do.batch)
            how = self.trouble("refused", "swallowed", "cut behind it")
            if how == "refused":
                delivery.failed(Unavailable(ConnectionError(how)))
            elif how == "swallowed":
                line.limbo.append(do.batch)
                line.answers.append("nothing")
                delivery.sent()
            else:
                # On a connection that lost something, nothing that follows arrives either.
                broken = "nothing" in line.answers
                if broken:
                    line.limbo.append(do.batch)
                answer = "nothing" if broken else self.server.apply(do.batch)
                assert answer != "diverged", "it sent what does not follow the log"
                if how == "cut behind it":
                    delivery.failed(Unavailable(ConnectionError(how)))
                else:
                    line.answers.append(answer)
                    delivery.sent()
        elif isinstance(do, Receive):
            answer = "nothing" if self.trouble("lost") else line.answers.popleft()
            self.outcome(answer)
        elif do is Do.RECONNECT:
            line.answers.clear()
        elif do is Do.REWIND:
            if self.trouble("away"):
                delivery.failed(Unavailable(ConnectionError("away"), held=True))
            else:
                delivery.rewound(line.rewind())
        elif do is Do.CONCLUDE:
            delivery.said("last words")
        elif isinstance(do, Linger | Nap):
            self.now_s += do.left_s if isinstance(do, Linger) else do.wait_s
        else:
            assert do is not Do.WAIT, "it waits for what will not come"

    def outcome(self, answer: str) -> None:
        if answer in ("applied", "duplicate"):
            self.delivery.confirmed()
        elif answer == "gap":
            self.delivery.failed(Regressed(ValueError("gap")))
        elif answer == "rejected":
            self.delivery.failed(Rejected(ValueError("poison")))
        else:
            self.delivery.failed(Unavailable(ConnectionError("no answer")))

    def check(self, batch: Sealed) -> None:
        assert 1 <= len(batch.entries) <= self.count_max
        assert len(batch.entries) == 1 or sum(map(len, batch.entries)) <= self.bytes_max
        assert len(batch.entries) == 1 or not any(map(self.line.alone, batch.entries))


kinds = st.lists(st.sampled_from(("a", "bb", "a long one", "alone", "poison")), max_size=30)
bounds = {"count_max": st.integers(1, 5), "bytes_max": st.integers(1, 40)}


def named(kinds: list[str]) -> list[str]:
    return [f"{kind} {number}" for number, kind in enumerate(kinds)]


def written(items: list[str]) -> list[str]:
    """What the log has to be when all is written."""
    return [*(f"instead of {item}" if item.startswith("poison") else item for item in items), "last words"]


@given(data=st.data(), kinds=kinds, setbacks=st.booleans(), **bounds)
@effort(300)
def test_the_log_gets_every_item_once_and_in_order(
    data: st.DataObject, kinds: list[str], setbacks: bool, count_max: int, bytes_max: int
) -> None:
    """Sends that fail or arrive late, lost answers, a server that is set back and forgets what it confirmed, items that
    it refuses: with everything retained nothing is missing or there twice, and only what is refused is replaced."""
    items = named(kinds)
    drive = Drive(data, items, count_max, bytes_max, 1 << 30, setbacks)
    drive.run()
    # A server may forget after the last word; the next batch, which is none here, would have found it out.
    lost = len(items) + 1 - len(drive.server.log)
    assert drive.server.log == written(items)[: len(drive.server.log)]
    assert setbacks or lost == 0
    assert drive.delivery.applied == drive.delivery.taken == len(items) + 1
    assert drive.line.encoded == [*items, "last words"], "an item was encoded twice"


@given(data=st.data(), kinds=kinds, kept=st.integers(0, 6), **bounds)
@effort(300)
def test_what_is_not_retained_is_lost_with_its_exact_range_and_nothing_else_is(
    data: st.DataObject, kinds: list[str], kept: int, count_max: int, bytes_max: int
) -> None:
    """A server that forgets more than is retained: the error names what is gone for good."""
    items = named(kinds)
    drive = Drive(data, items, count_max, bytes_max, kept, setbacks=True)
    lost = drive.run_or_lose()
    if lost is not None:
        event("lost")
        assert lost.first == len(drive.server.log) + 1
        assert lost.first <= lost.last == drive.retained.first - 1
        assert drive.server.log == written(items)[: len(drive.server.log)]
        first, unconfirmed = drive.delivery.unconfirmed()
        assert first == lost.last + 1
        accepted = [*items, "last words"][lost.last : drive.delivery.taken]
        assert [entry.removeprefix("instead of ") for entry in unconfirmed] == accepted
    else:
        assert drive.server.log == written(items)[: len(drive.server.log)]


def test_a_log_that_ends_behind_all_that_was_sent_ends_the_delivery() -> None:
    """Somebody else wrote under this writer's name: going on would bury what they wrote."""
    server = Server()
    line = Line(server)
    delivery: Delivery[str, str, Sealed] = Delivery(line, BatchFormer(10, 100, 0.0), Keeping(), 0)
    delivery.failed(Regressed(ValueError("gap")))
    with pytest.raises(Ahead):
        delivery.rewound(1)


def test_a_server_that_refuses_everything_is_not_a_poisoned_item() -> None:
    """When not even the entry that stands in for the refused one is taken, the delivery ends with the reason."""
    line = Line(Server())
    delivery: Delivery[str, str, Sealed] = Delivery(line, BatchFormer(10, 100, 0.0), Keeping(), 0)
    delivery.took(["a", "b"])
    refusal = ValueError("no")
    sent: list[tuple[str, ...]] = []

    def drive() -> None:
        for _ in range(100):
            do = delivery.next(0.0, closed=False)
            if isinstance(do, Send):
                sent.append(do.batch.entries)
                delivery.sent()
            elif isinstance(do, Receive):
                delivery.failed(Rejected(refusal))
            elif do is Do.REWIND:
                delivery.rewound(0)
            elif do is Do.TAKE:
                delivery.took([])

    with pytest.raises(ValueError, match="no") as raised:
        drive()
    assert raised.value is refusal
    assert [entries for entries in sent if entries[0] != "b"] == [
        ("a", "b"),
        *[("a",)] * REFUSALS_MAX,
        *[("instead of a",)] * REFUSALS_MAX,
    ]
    assert delivery.unconfirmed() == (1, ["a", "b"]), "what was refused is kept as it was"


def test_a_batch_that_somebody_waits_for_goes_at_once() -> None:
    line = Line(Server())
    delivery: Delivery[str, str, Sealed] = Delivery(line, BatchFormer(10, 100, 60.0), Keeping(), 7)
    mark = Mark()
    delivery.took(["a", mark, "b"])
    do = delivery.next(0.0, closed=False)
    assert isinstance(do, Send)
    assert do.batch.entries == ("a", "b")
    assert (mark.known, mark.position) == (True, 8)


def test_a_doubt_that_was_for_nothing_is_over_when_the_log_was_asked() -> None:
    """Nobody has to write anything for it to be known that the log is where it was."""
    line = Line(Server())
    delivery: Delivery[str, str, Sealed] = Delivery(line, BatchFormer(10, 100, 0.0), Keeping(position=7), 7)
    delivery.failed(Regressed(ValueError("somebody saw another position")))
    delivery.failed(Unavailable(ConnectionError("away")))
    assert delivery.attempts == 2
    assert delivery.rewound(7) == 2
    assert delivery.attempts == 0


def test_what_was_taken_is_accounted_for_wherever_it_stands() -> None:
    """Items without a position, entries that are formed, sealed or confirmed: nothing is in two places, or in none."""
    line = Line(Server())
    delivery: Delivery[str, str, Any] = Delivery(line, BatchFormer(2, 100, 60.0), Keeping(), 0, inflight_max=1)
    delivery.took(["a", "b", "c", "d", "e"])
    assert isinstance(delivery.next(0.0, closed=False), Send)
    delivery.sent()
    assert isinstance(delivery.next(0.0, closed=False), Receive)
    assert delivery.unconfirmed() == (1, ["a", "b", "c", "d"])
    assert delivery.untaken() == ["e"]
    delivery.confirmed()
    assert delivery.unconfirmed() == (3, ["c", "d"])


def _write(delivery: Delivery[str, str, Sealed], server: Server, now_s: float, *items: str) -> None:
    """Have `items` taken and written, as a batch that is due."""
    delivery.took([*items, Mark()])
    do = delivery.next(now_s, closed=False, waiting=0)
    assert isinstance(do, Send)
    assert server.apply(do.batch) == "applied"
    delivery.sent()
    assert isinstance(delivery.next(now_s, closed=False, waiting=0), Receive)
    delivery.confirmed()


def test_behind_a_batch_the_backlog_is_looked_into_before_callers_have_to_wake_the_writer() -> None:
    """What has come in until a look has lingered, and is taken at once; what comes behind the last look lingers."""
    server = Server()
    delivery: Delivery[str, str, Sealed] = Delivery(Line(server), BatchFormer(10, 100, LINGER_S), Keeping(), 0)
    for start_s, item in ((0.0, "a"), (10.0, "b")):
        _write(delivery, server, start_s, item)
        assert delivery.next(start_s, closed=False, waiting=0) == Look(LINGER_S, int(LOOKING_S / LINGER_S))
        assert delivery.next(start_s + LINGER_S, closed=False, waiting=3) is Do.TAKE
    _write(delivery, server, 20.0, "c")
    assert isinstance(delivery.next(20.0, closed=False, waiting=0), Look)
    assert delivery.next(20.0 + LOOKING_S, closed=False, waiting=0) is Do.WAIT
    assert delivery.next(30.0, closed=False, waiting=1) == Linger(LINGER_S)


@pytest.mark.parametrize("linger_s", [0.0, 0.9 * LOOK_S, 2 * LOOKING_S], ids=["at once", "in no time", "in a while"])
def test_a_writer_does_not_look(linger_s: float) -> None:
    """It would have to look all the time, or keep waiting what comes next."""
    server = Server()
    delivery: Delivery[str, str, Sealed] = Delivery(Line(server), BatchFormer(10, 100, linger_s), Keeping(), 0)
    _write(delivery, server, 0.0, "a")
    assert delivery.next(0.0, closed=False, waiting=0) is Do.WAIT


def test_a_look_that_was_interrupted_cuts_no_linger_short() -> None:
    """Whoever ends it early, as a load does that wants nothing to be applied, is not who the items are for."""
    server = Server()
    delivery: Delivery[str, str, Sealed] = Delivery(Line(server), BatchFormer(10, 100, 0.1), Keeping(), 0)
    _write(delivery, server, 0.0, "a")
    assert isinstance(delivery.next(0.0, closed=False, waiting=0), Look)
    do = delivery.next(0.04, closed=False, waiting=1)
    assert isinstance(do, Linger)
    assert do.left_s == pytest.approx(0.06)


def test_what_fills_a_batch_during_a_long_linger_is_seen() -> None:
    """Whether enough is there is looked at again and again, be it in the backlog or in the batch already."""
    delivery: Delivery[str, str, Sealed] = Delivery(Line(Server()), BatchFormer(3, 100, 86_400.0), Keeping(), 0)
    for now_s in (0.0, NAP_S, 2 * NAP_S):
        assert delivery.next(now_s, closed=False, waiting=1) == Linger(NAP_S)
    assert delivery.next(3 * NAP_S, closed=False, waiting=3) is Do.TAKE
    delivery.took(["a", "b"])
    assert delivery.next(3 * NAP_S, closed=False, waiting=1) is Do.TAKE
    delivery.took([])
    assert delivery.next(3 * NAP_S, closed=False, waiting=0) == Linger(NAP_S)
    assert delivery.next(4 * NAP_S, closed=False, waiting=1) is Do.TAKE
    delivery.took(["c"])
    do = delivery.next(4 * NAP_S, closed=False, waiting=0)
    assert isinstance(do, Send)
    assert do.batch.entries == ("a", "b", "c")
