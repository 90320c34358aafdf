"""The writer: every item once and in order, whatever the connection does; and nobody is left waiting when it ends."""

import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.backlogs import Values
from tests.support.scripted_sink import RECEIVE, SEND, Batch, Keeping, ScriptedSink
from workers.backlog import BEHIND, Full, Shut
from workers.batch import BatchFormer
from workers.gate import Gate
from workers.sink import Backoff, Regressed, Unavailable
from workers.watermark import Mark, Watermark
from workers.writer import Stopped, Writer

PATIENCE_S = 30.0
AT_ONCE = (0.0, 0.0)


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.retries: list[tuple[bool, int, int]] = []
        self.recoveries: list[int] = []
        self.errors: list[BaseException] = []
        self.regressions: list[tuple[int, int]] = []
        self.retried = threading.Event()
        self.ends = 0

    def retrying(self, error: Unavailable, attempt: int, wait_s: float, waiting: int) -> None:
        self.retries.append((error.held, attempt, waiting))
        self.retried.set()

    def recovered(self, attempts: int) -> None:
        self.recoveries.append(attempts)

    def regressed(self, position: int, applied: int) -> None:
        self.regressions.append((position, applied))

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)

    def ended(self, error: BaseException | None) -> None:
        assert [error] == (self.errors or [None])
        self.ends += 1


class Fixture:
    """A writer with its backlog, on `sink`."""

    def __init__(
        self,
        sink: ScriptedSink,
        count_max: int = 4,
        bytes_max: int = 1000,
        linger_s: float = 0.0,
        last_words: Callable[[], Any] | None = None,
        durable: Watermark | None = None,
        backoff: tuple[float, float] = AT_ONCE,
        backoff_held: tuple[float, float] = AT_ONCE,
        look_s: float | None = None,
        waiting_max: int = 1 << 20,
    ) -> None:
        self.sink = sink
        self.heard = Heard()
        self.backlog = Values(waiting_max, 1 << 20)
        self.writer: Writer[Any, Any, Batch] = Writer(
            self.backlog,
            sink,
            BatchFormer(count_max, bytes_max, linger_s),
            Keeping(),
            self.heard,
            0,
            "writer",
            last_words=last_words,
            durable=durable,
            backoff=Backoff(*backoff),
            backoff_held=Backoff(*backoff_held),
            look_s=look_s,
        )

    def finish(self) -> None:
        self.backlog.close("the end")
        assert self.writer.join(PATIENCE_S), "the writer hangs"

    def sync(self) -> int:
        mark = Mark()
        self.backlog.put_always(mark)
        assert mark.wait(PATIENCE_S)
        assert self.writer.applied.wait_until(mark.position, PATIENCE_S)
        return mark.position


# -- Once and in order ------------------------------------------------------------------------------------------------

items = st.lists(st.sampled_from(("a", "bb", "a long one", "alone")), max_size=40)
scripts = st.lists(st.sampled_from(SEND[1:] + RECEIVE[1:] + (SEND[0], RECEIVE[0])), max_size=30)


@given(
    kinds=items,
    script=scripts,
    late=st.lists(st.booleans(), max_size=20),
    count_max=st.integers(1, 5),
    bytes_max=st.integers(1, 30),
    held=st.booleans(),
)
@example(
    kinds=["a"] * 9,
    script=["swallowed", "sent", "sent"],
    late=[False, False, False, True],
    count_max=2,
    bytes_max=30,
    held=False,
)
@example(
    kinds=["a"] * 9,
    script=["sent", "cut behind it", "answer lost", "refused"],
    late=[],
    count_max=1,
    bytes_max=30,
    held=True,
)
def test_each_item_is_applied_once_and_in_order_whatever_the_connection_does(
    kinds: list[str], script: list[str], late: list[bool], count_max: int, bytes_max: int, held: bool
) -> None:
    """Sends that fail, arrive unseen, get lost or arrive late, answers that get lost: the log has every item once.

    The log itself refuses gaps and takes a batch that it has as done, as ``append.lua`` does; so this holds only
    because what is in doubt is sent again as it was, in order. At most two batches are on their way; an item that
    has to be alone is.
    """
    wanted = [f"{kind} {number}" for number, kind in enumerate(kinds)]
    fixture = Fixture(ScriptedSink(script, late, held), count_max, bytes_max, last_words=lambda: "last words")
    for item in wanted:
        fixture.backlog.put(item)
    fixture.writer.start()
    fixture.finish()
    sink, writer, heard = fixture.sink, fixture.writer, fixture.heard
    assert heard.errors == []
    assert sink.log == [*wanted, "last words"]
    assert sink.inflight_most <= 2
    assert [entry for batch in sink.sealed for entry in batch.entries] == sink.log
    for batch in sink.sealed:
        assert len(batch.entries) <= count_max
        assert len(batch.entries) == 1 or sum(map(sink.size, batch.entries)) <= bytes_max
        assert len(batch.entries) == 1 or not any(map(sink.alone, batch.entries))
    assert (writer.applied.position, writer.taken, writer.in_doubt) == (len(wanted) + 1, len(wanted) + 1, 0)
    assert writer.batches == len(sink.sealed)
    assert sink.closed
    assert sink.resets == len(heard.retries)
    assert all(told == held for told, _, _ in heard.retries)
    assert all(1 <= waiting <= 2 for _, _, waiting in heard.retries)
    assert sum(heard.recoveries) == len(heard.retries)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), scripts)
def test_a_mark_is_reached_when_everything_before_it_is_applied(groups: list[int], script: list[str]) -> None:
    """Waiting for a mark cuts the batch at once, however long it might linger; its position is the one reached."""
    fixture = Fixture(ScriptedSink(script), linger_s=86_400.0)
    fixture.writer.start()
    written = 0
    for size in groups:
        for _ in range(size):
            written += 1
            fixture.backlog.put(f"item {written}")
        assert fixture.sync() == written
        assert len(fixture.sink.log) == written
    fixture.finish()


def test_a_batch_fills_up_while_it_lingers_and_no_longer() -> None:
    """With a linger of a day, a batch goes when it is full, and what is left goes when the backlog is closed."""
    fixture = Fixture(ScriptedSink(), count_max=3, linger_s=86_400.0)
    fixture.writer.start()
    for number in range(7):
        fixture.backlog.put(number)
    assert fixture.writer.applied.wait_until(6, PATIENCE_S)
    assert [len(batch.entries) for batch in fixture.sink.sealed] == [3, 3]
    fixture.finish()
    assert [len(batch.entries) for batch in fixture.sink.sealed] == [3, 3, 1]


def test_a_caller_that_waits_for_room_ends_a_linger() -> None:
    """The backlog may be full long before a batch is, and before the linger is over."""
    fixture = Fixture(ScriptedSink(), count_max=1000, linger_s=86_400.0, waiting_max=3)
    lingering, linger = threading.Event(), fixture.backlog.linger

    def noted(timeout_s: float) -> None:
        lingering.set()
        linger(86_400.0)  # however often it would look by itself

    fixture.backlog.linger = noted  # type: ignore[method-assign]
    fixture.writer.start()
    fixture.backlog.put(0)
    assert lingering.wait(PATIENCE_S)
    for number in range(1, 10):
        fixture.backlog.put(number)
    fixture.finish()
    assert fixture.sink.log == [*range(10)]


def test_a_host_that_lets_go_of_the_interpreter_for_moments_does_not_starve_the_writer() -> None:
    """Native code does so. The interpreter makes nobody let go of it who does so now and then by themselves, however
    short: each time whoever waits wakes up too late. Without help, nothing is written as long as the host works."""
    fixture = Fixture(ScriptedSink(), count_max=256, bytes_max=1 << 20, linger_s=0.002)
    fixture.writer.start()
    moment = bytes(5200)  # of which a checksum is made without the interpreter, in a microsecond
    put = 0
    while fixture.writer.applied.position < 10 * BEHIND and put < 500 * BEHIND:
        for _ in range(12):
            fixture.backlog.put(put)
            put += 1
        for _ in range(30_000):
            pass
        zlib.adler32(moment)
    assert fixture.writer.applied.position >= 10 * BEHIND
    fixture.finish()
    assert fixture.sink.log == [*range(put)]


def test_items_put_from_many_threads_while_connections_break() -> None:
    """Callers, breaking connections and a drain at once: nothing is lost, doubled or overtaken."""
    script = ["sent", "answered", "answer lost", "swallowed", "sent", "refused", "answered", "cut behind it"] * 50
    fixture = Fixture(ScriptedSink(script, [False, True] * 100), count_max=16)
    fixture.writer.start()

    def put(caller: int) -> None:
        for number in range(1000):
            fixture.backlog.put((caller, number))

    callers = [threading.Thread(target=put, args=(caller,)) for caller in range(3)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(PATIENCE_S)
    fixture.finish()
    log: list[Any] = fixture.sink.log
    assert len(log) == 3000
    for caller in range(3):
        assert [number for of, number in log if of == caller] == list(range(1000))


# -- How it waits -----------------------------------------------------------------------------------------------------


def test_what_somebody_has_to_act_on_is_tried_more_slowly() -> None:
    """An error that does not pass by itself has a backoff of its own, and the listener is told which it is."""
    fixture = Fixture(ScriptedSink(["refused"], held=True), backoff=(86_400.0, 86_400.0))
    fixture.backlog.put("item")
    fixture.writer.start()
    fixture.finish()
    assert fixture.heard.retries == [(True, 1, 1)]
    assert fixture.heard.recoveries == [1]


# -- Endings ----------------------------------------------------------------------------------------------------------


class Away(ScriptedSink):
    """A sink that is never available."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def send(self, batch: Batch) -> None:
        if self._at == "send":
            raise Unavailable(ConnectionError("away"))
        super().send(batch)

    def receive(self, batch: Batch) -> None:
        raise Unavailable(ConnectionError("away"))


@pytest.mark.parametrize("at", ["send", "receive"])
@pytest.mark.parametrize("count", [1, 2, 3, 100])
@pytest.mark.parametrize("backoff", [AT_ONCE, (86_400.0, 86_400.0)])
def test_an_abandoned_writer_ends_at_once_and_leaves_what_is_not_written(
    at: str, count: int, backoff: tuple[float, float]
) -> None:
    """However many batches are in doubt, formed or waiting, whatever it waits for: it ends, and skips nothing."""
    fixture = Fixture(Away(at), count_max=1, backoff=backoff)
    for number in range(count):
        fixture.backlog.put(number)
    fixture.writer.start()
    assert fixture.heard.retried.wait(PATIENCE_S)
    fixture.backlog.close("enough")
    fixture.writer.abandon()
    assert fixture.writer.join(5), "the writer goes on"
    assert fixture.writer.in_doubt + len(fixture.backlog) == count
    assert fixture.writer.applied.position == 0
    assert fixture.sink.closed


class Hanging(ScriptedSink):
    """A sink that waits for an answer until it is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = Gate()
        self.asked = threading.Event()

    def receive(self, batch: Batch) -> None:
        self.asked.set()
        assert self.interrupted.wait(PATIENCE_S)
        raise Unavailable(ConnectionError("interrupted"))

    def interrupt(self) -> None:
        self.interrupted.open()


def test_an_abandoned_writer_does_not_wait_for_an_answer() -> None:
    sink = Hanging()
    fixture = Fixture(sink)
    fixture.backlog.put("item")
    fixture.writer.start()
    assert sink.asked.wait(PATIENCE_S)
    fixture.writer.abandon()
    assert fixture.writer.join(5)
    assert fixture.writer.in_doubt == 1


class Stuck(ScriptedSink):
    """A sink in which one call hangs, whoever interrupts it, as one that looks up a name may."""

    def __init__(self, where: str) -> None:
        super().__init__(["answer lost"] if where == "reset" else [])
        self.reached, self.go_on = threading.Event(), threading.Event()
        setattr(self, where, self._hanging(getattr(self, where)))

    def _hanging(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def hang(*arguments: Any) -> Any:
            self.reached.set()
            assert self.go_on.wait(PATIENCE_S)
            return call(*arguments)

        return hang


@pytest.mark.parametrize("where", ["send", "receive", "reset", "rewind", "check"])
def test_what_a_writer_has_that_hangs_in_the_sink_can_be_taken_from_it(where: str) -> None:
    """It has ended for everybody: who waits is told, nothing more is taken, and nothing happens when it comes back."""
    sink = Stuck(where)
    fixture = Fixture(sink, count_max=1)
    for item in ("a", "b", "c"):
        fixture.backlog.put(item)
    mark = Mark()
    fixture.backlog.put_always(mark)
    if where == "rewind":
        fixture.writer.doubt(Regressed(ValueError("somebody says so")))
    if where == "check":
        fixture.backlog.close("the end")
    fixture.writer.start()
    assert sink.reached.wait(PATIENCE_S)
    fixture.writer.abandon()
    assert not fixture.writer.join(0.01)
    assert fixture.writer.seize(PATIENCE_S)
    assert fixture.writer.ended
    first, entries = fixture.writer.unconfirmed()
    left = [item for item in fixture.backlog.waiting() if item is not mark]
    assert [*"abc"][first - 1 :] == [*entries, *left]
    if where != "check":
        with pytest.raises(Stopped):
            mark.wait(PATIENCE_S)
    sink.go_on.set()
    assert fixture.writer.join(PATIENCE_S)
    assert sink.closed
    assert fixture.writer.unconfirmed() == (first, entries)
    assert [item for item in fixture.backlog.waiting() if item is not mark] == left
    assert fixture.heard.ends == 0


def test_a_writer_that_hangs_elsewhere_keeps_what_it_has() -> None:
    """As in a listener: nobody knows what it is about to do."""
    fixture = Fixture(ScriptedSink(["refused"]))
    reached, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        reached.set()
        assert go_on.wait(PATIENCE_S)

    fixture.heard.retrying = hang  # type: ignore[method-assign]
    fixture.backlog.put("a")
    fixture.writer.start()
    assert reached.wait(PATIENCE_S)
    fixture.writer.abandon()
    assert not fixture.writer.seize(0.01)
    assert not fixture.writer.ended
    go_on.set()
    assert fixture.writer.join(PATIENCE_S)
    assert fixture.writer.seize(0.0)
    assert fixture.heard.ends == 1


@pytest.mark.parametrize("abandoned", [False, True])
def test_who_waits_for_a_writer_that_has_ended_is_told(abandoned: bool) -> None:
    """A position that will never be reached raises `Stopped`; what was reached stays."""
    fixture = Fixture(ScriptedSink())
    fixture.writer.start()
    fixture.backlog.put("item")
    position = fixture.sync()
    if abandoned:
        fixture.writer.abandon()
        assert fixture.writer.join(PATIENCE_S)
    else:
        fixture.finish()
    assert fixture.writer.applied.wait_until(position, 0)
    with pytest.raises(Stopped):
        fixture.writer.applied.wait_until(position + 1, PATIENCE_S)
    with pytest.raises(Shut):
        fixture.backlog.put("too late")
    assert fixture.heard.errors == []


def test_the_writer_knows_its_own_thread() -> None:
    """So that a call from a log handler can be told that it would wait for itself."""
    fixture = Fixture(ScriptedSink(["refused"]))
    known: list[bool] = []
    fixture.heard.recovered = lambda attempts: known.append(fixture.writer.is_current)
    fixture.backlog.put("item")
    fixture.writer.start()
    fixture.finish()
    assert known == [True]
    assert not fixture.writer.is_current


class Broken(ScriptedSink):
    """A sink with a fault that is not the connection's, at the third batch."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at
        self._seen = 0

    def _maybe(self, at: str) -> None:
        if at == self._at:
            self._seen += 1
            if self._seen == 3:
                raise RuntimeError(f"broken at {at}")

    def encode(self, item: object) -> object:
        self._maybe("encode")
        return super().encode(item)

    def seal(self, first_position: int, entries: list[object]) -> Batch:
        self._maybe("seal")
        return super().seal(first_position, entries)

    def send(self, batch: Batch) -> None:
        self._maybe("send")
        super().send(batch)

    def receive(self, batch: Batch) -> None:
        self._maybe("receive")
        super().receive(batch)


@pytest.mark.parametrize("at", ["encode", "seal", "send", "receive"])
def test_a_fatal_error_ends_the_writer_and_reaches_everybody(at: str) -> None:
    """Who waits gets the cause, who puts is refused with it, and what was accepted is counted or still there."""
    fixture = Fixture(Broken(at), count_max=1, last_words=lambda: "last words")
    for number in range(10):
        fixture.backlog.put(number)
    mark = Mark()
    fixture.backlog.put_always(mark)
    fixture.writer.start()
    assert fixture.writer.join(PATIENCE_S)
    (error,) = fixture.heard.errors
    assert str(error) == f"broken at {at}"
    assert fixture.writer.applied.failure is error
    with pytest.raises(RuntimeError, match=f"broken at {at}"):
        mark.wait(PATIENCE_S)
    with pytest.raises(RuntimeError, match=f"broken at {at}"):
        fixture.writer.applied.wait_until(10, PATIENCE_S)
    with pytest.raises(Shut, match=f"the writer failed: broken at {at}"):
        fixture.backlog.put(11)
    # Items are taken in slices: what was in the broken one is neither confirmed nor in the backlog any more.
    assert fixture.sink.log == list(range(len(fixture.sink.log)))
    assert fixture.writer.applied.position <= len(fixture.sink.log) < 10
    assert fixture.sink.closed


@pytest.mark.parametrize("at", ["encode", "seal", "send", "receive"])
def test_after_a_fatal_error_every_accepted_item_is_accounted_for(at: str) -> None:
    """Accepted items are applied, in doubt, or in the backlog: the three add up."""
    fixture = Fixture(Broken(at), count_max=1)
    for number in range(100):
        fixture.backlog.put(number)
    fixture.writer.start()
    assert fixture.writer.join(PATIENCE_S)
    assert fixture.writer.applied.position + fixture.writer.in_doubt + len(fixture.backlog) == 100


def test_the_cause_is_known_before_anybody_is_refused_because_of_it() -> None:
    """Whoever meets the closed backlog finds the failure: it can be told apart from a `close`."""
    fixture = Fixture(Broken("encode"))
    failures: list[BaseException | None] = []
    close = fixture.backlog.close

    def closing(reason: str) -> None:
        failures.append(fixture.writer.applied.failure)
        close(reason)

    fixture.backlog.close = closing
    for number in range(3):
        fixture.backlog.put(number)
    fixture.writer.start()
    assert fixture.writer.join(PATIENCE_S)
    assert str(failures[0]) == "broken at encode"


def test_a_full_backlog_drains_while_the_sink_is_slow() -> None:
    """At the bound of the backlog callers are refused, not the items that were accepted."""
    fixture = Fixture(ScriptedSink(["refused"] * 50), waiting_max=5)
    fixture.backlog.on_full = "raise"
    accepted = []
    for number in range(10):
        try:
            fixture.backlog.put(number)
        except Full:
            continue
        accepted.append(number)
    fixture.writer.start()
    fixture.finish()
    assert accepted == [0, 1, 2, 3, 4]
    assert fixture.sink.log == accepted


# -- Until it is durable ----------------------------------------------------------------------------------------------


def test_it_does_not_end_before_what_was_applied_is_durable_and_writes_again_what_is_lost_until_then() -> None:
    """Closed and drained, it waits; a log that loses entries meanwhile gets them again, and is waited for again."""
    durable = Watermark()
    fixture = Fixture(ScriptedSink(), last_words=lambda: "last words", durable=durable)
    fixture.writer.start()
    fixture.backlog.put("a")
    fixture.backlog.put("b")
    fixture.backlog.close("the end")
    assert fixture.writer.applied.wait_until(3, PATIENCE_S)
    assert not fixture.writer.join(0.05)
    durable.advance(2)
    assert not fixture.writer.join(0.05)
    del fixture.sink.log[2:]
    fixture.writer.doubt(Regressed(ValueError("it ends at 2")))
    while not fixture.heard.recoveries:
        pass
    assert fixture.sink.log == ["a", "b", "last words"]
    assert not fixture.writer.join(0.05)
    durable.advance(3)
    assert fixture.writer.join(PATIENCE_S)
    assert fixture.heard.regressions == [(2, 3)]


class Moving(ScriptedSink):
    """Says so often that another one takes its place. That one lacks everything behind the first entry."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def check(self) -> None:
        if self.left > 0:
            self.left -= 1
            if self.left == 0:
                del self.log[1:]
            raise Regressed(ConnectionError("another one takes its place"))


def test_it_does_not_end_while_the_sink_is_replaced_and_writes_again_what_the_next_one_lacks() -> None:
    """It asks before it ends, and again and again from where the log ends, until it is told that it stays."""
    fixture = Fixture(Moving(3), last_words=lambda: "last words")
    fixture.writer.start()
    fixture.backlog.put("a")
    fixture.backlog.put("b")
    fixture.finish()
    assert fixture.sink.log == ["a", "b", "last words"]
    assert fixture.heard.regressions == [(1, 3)]
    assert not fixture.writer.replaced


def test_it_does_not_wait_for_the_end_of_a_replacement_when_it_is_abandoned() -> None:
    fixture = Fixture(Moving(1 << 30), backoff=(86_400.0, 86_400.0))
    fixture.writer.start()
    fixture.backlog.close("the end")
    while not fixture.writer.replaced:
        assert not fixture.writer.ended
    fixture.writer.abandon()
    assert fixture.writer.join(PATIENCE_S)
    assert fixture.writer.replaced


def test_last_words_that_were_not_said_are_nobodys_items() -> None:
    """It is abandoned between the two, and what it leaves can be looked at."""
    said = threading.Event()

    def last_words() -> str:
        fixture.writer.abandon()
        said.set()
        return "last words"

    fixture = Fixture(ScriptedSink(), last_words=last_words)
    fixture.backlog.put("a")
    fixture.writer.start()
    fixture.finish()
    assert said.is_set()
    assert fixture.writer.spoken
    assert fixture.writer.unsaid
    assert fixture.writer.taken == 1
    assert fixture.backlog.waiting() == []
    assert fixture.writer.unconfirmed() == (2, [])


@pytest.mark.parametrize("how", ["nobody will say", "abandoned"])
def test_it_does_not_wait_for_what_will_not_become_durable(how: str) -> None:
    durable = Watermark()
    fixture = Fixture(ScriptedSink(), durable=durable)
    fixture.writer.start()
    fixture.backlog.put("a")
    fixture.backlog.close("the end")
    assert fixture.writer.applied.wait_until(1, PATIENCE_S)
    if how == "abandoned":
        fixture.writer.abandon()
    else:
        durable.fail(ValueError("it has ended"))
    assert fixture.writer.join(PATIENCE_S)


# -- Holding and doubting ---------------------------------------------------------------------------------------------


def test_while_it_is_held_nothing_is_applied_and_afterwards_everything_is() -> None:
    """What is on its way is finished before the hold is reached; what comes meanwhile waits, however many hold."""
    fixture = Fixture(ScriptedSink(), count_max=1)
    fixture.writer.start()
    fixture.backlog.put("before")
    fixture.sync()
    with fixture.writer.hold(PATIENCE_S) as first:
        assert first.reached
        fixture.backlog.put("meanwhile")
        mark = Mark()
        fixture.backlog.put_always(mark)
        with fixture.writer.hold(PATIENCE_S) as second:
            assert second.reached
        assert not mark.wait(0.05)
        assert fixture.sink.log == ["before"]
    assert fixture.writer.applied.wait_until(2, PATIENCE_S)
    assert fixture.sink.log == ["before", "meanwhile"]
    fixture.finish()


def test_a_hold_of_a_writer_that_can_not_finish_is_not_reached() -> None:
    fixture = Fixture(Away("receive"), backoff=(86_400.0, 86_400.0))
    fixture.backlog.put("item")
    fixture.writer.start()
    assert fixture.heard.retried.wait(PATIENCE_S)
    with fixture.writer.hold(0.01) as hold:
        assert not hold.reached
    fixture.writer.abandon()
    assert fixture.writer.join(PATIENCE_S)


def test_a_writer_that_has_ended_is_held_at_once() -> None:
    fixture = Fixture(ScriptedSink())
    fixture.writer.start()
    fixture.finish()
    with fixture.writer.hold(PATIENCE_S) as hold:
        assert hold.reached


def test_a_writer_that_fails_lets_go_of_who_wants_to_hold_it() -> None:
    """The hold comes while a batch is on its way that ends the writer."""
    sink = Hanging()
    fixture = Fixture(sink)
    fixture.backlog.put("item")
    fixture.writer.start()
    assert sink.asked.wait(PATIENCE_S)
    reached = Gate()

    def hold() -> None:
        with fixture.writer.hold(PATIENCE_S) as held:
            if held.reached:
                reached.open()

    holder = threading.Thread(target=hold)
    holder.start()
    while not fixture.writer._holds:
        pass
    fixture.writer.abandon()
    assert reached.wait(PATIENCE_S)
    holder.join(PATIENCE_S)


def test_the_holds_of_a_thread_are_broken_by_that_thread_only() -> None:
    """Whoever is about to wait for the writer lets it go on; others hold it as before."""
    fixture = Fixture(ScriptedSink(), count_max=1)
    fixture.writer.start()
    other = threading.Thread(target=fixture.writer.break_holds)
    with fixture.writer.hold(PATIENCE_S) as hold:
        other.start()
        other.join(PATIENCE_S)
        assert not hold.broken
        fixture.backlog.put("item")
        fixture.writer.break_holds()
        assert hold.broken
        assert fixture.sync() == 1
    fixture.finish()


def test_a_doubt_makes_an_idle_writer_write_again_what_the_log_lost() -> None:
    """The log lost entries while nobody wrote: who saw that says so, and the listener is told from where to where."""
    fixture = Fixture(ScriptedSink())
    fixture.writer.start()
    for number in range(5):
        fixture.backlog.put(number)
    assert fixture.sync() == 5
    del fixture.sink.log[2:]
    fixture.writer.doubt(Regressed(ValueError("it ends at 2")))
    while not fixture.heard.regressions:
        pass
    assert fixture.writer.applied.wait_until(5, PATIENCE_S)
    assert fixture.sink.log == [0, 1, 2, 3, 4]
    assert fixture.heard.regressions == [(2, 5)]
    while not fixture.heard.recoveries:
        pass
    fixture.writer.doubt(Regressed(ValueError("a mistake")))
    while len(fixture.heard.recoveries) < 2:
        pass
    assert fixture.heard.regressions == [(2, 5)]
    assert not fixture.writer.ended
    fixture.finish()
    assert fixture.writer.ended


def test_a_doubt_waits_for_what_is_in_flight() -> None:
    """Else the same positions could arrive in two forms, the earlier one late. What comes in meanwhile waits, too."""
    answered, asked = threading.Event(), threading.Event()
    sink = ScriptedSink()
    receive, rewind, received, rewinds = sink.receive, sink.rewind, [], []

    def late(batch: Batch) -> None:
        asked.set()
        assert answered.wait(PATIENCE_S)
        receive(batch)
        received.append(batch)

    def counted() -> int:
        rewinds.append((len(sink.sealed), len(received)))
        return rewind()

    sink.receive, sink.rewind = late, counted  # type: ignore[method-assign]
    fixture = Fixture(sink, count_max=1)
    for item in ("a", "b", "c"):
        fixture.backlog.put(item)
    fixture.writer.start()
    assert asked.wait(PATIENCE_S)
    fixture.writer.doubt(Regressed(ValueError("somebody says so")))
    in_flight = len(sink.sealed)
    answered.set()
    fixture.finish()
    assert rewinds == [(in_flight, in_flight)]
    assert sink.log == ["a", "b", "c"]


def test_an_idle_writer_looks_by_itself_whether_the_log_is_where_it_was() -> None:
    """Nobody says that entries are lost: they are written again, and nothing is told where nothing is lost."""
    sink = ScriptedSink()
    fixture = Fixture(sink, look_s=0.001)
    fixture.writer.start()
    for number in range(5):
        fixture.backlog.put(number)
    assert fixture.sync() == 5
    looks = sink.rewinds
    while sink.rewinds < looks + 3:
        pass
    assert not fixture.heard.regressions
    assert not fixture.heard.recoveries
    del sink.log[2:]
    while not fixture.heard.recoveries:
        pass
    assert sink.log == [0, 1, 2, 3, 4]
    assert fixture.heard.regressions == [(2, 5)]
    fixture.finish()
