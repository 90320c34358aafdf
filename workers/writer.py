"""The writer: one thread that drains the backlog into a sink, batch by batch, and never skips.

What it does next, `workers.delivery` decides; here it is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from workers.backlog import BEHIND, Backlog
from workers.batch import BatchFormer
from workers.delivery import Delivery, Do, Linger, Look, Nap, Receive, Send
from workers.gate import Gate
from workers.sink import Backoff, Regressed, Retained, Sink, Unavailable
from workers.turn import TURN_ALONE_S, Turn, wake_on_time
from workers.watermark import Mark, Watermark

Item = TypeVar("Item")
Entry = TypeVar("Entry")
Batch = TypeVar("Batch")
R = TypeVar("R")

SLICE = 64
"""How many items are taken at once. A sink that takes long to encode so many looks itself whether its turn is over."""

UNFOLDED = 16
"""The same where each of them is unfolded, which may take as long as to encode it."""

_SPOKEN = (Send, Receive)

PRESSED = 0.1
"""With this part of the backlog's bound waiting, the writer works as long as a host that works on and on, in turns."""

BLOCKED_S = 0.00005
"""What took as long let others have the interpreter meanwhile."""

CONCLUDE_S = 0.001
"""How long a caller that is inside of a call while the backlog is closed gets to finish it, each time."""


class Stopped(Exception):
    """The writer has ended in order, or was abandoned: what is waited for will not come."""


class _Seized(BaseException):
    """What the thread had was taken from it while it was in the sink."""


class Hold:
    """While it is reached and not broken, nothing is applied."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.thread = threading.get_ident()
        self.reached = False
        self.broken = False


class Listener(Protocol):
    """Told of what happens to the writer, on its thread. Must not raise."""

    def retrying(self, error: Unavailable, attempt: int, wait_s: float, waiting: int) -> None:
        """The sink is not available; it is tried again in `wait_s` seconds. `waiting` batches are in doubt."""

    def recovered(self, attempts: int) -> None:
        """The sink is back after so many attempts."""

    def regressed(self, position: int, applied: int) -> None:
        """The log ended at `position` though `applied` was confirmed: what follows is written again."""

    def failed(self, error: BaseException) -> None:
        """The writer ends because of `error`. Nobody has been told yet."""

    def ended(self, error: BaseException | None) -> None:
        """The writer has ended, in order or because of `error`. Nothing more is accepted."""


class Writer(Generic[Item, Entry, Batch]):
    """Drains `backlog` into `sink` from a thread of its own.

    Parameters
    ----------
    retained : Retained
        Keeps what was applied, in case the sink loses it.
    position : int
        The last position that is in the log already.
    durable : Watermark, optional
        Moved behind `applied` by somebody else, from when on what was applied is safe. The writer does not end in order
        before that has come as far, and the sink is not being replaced, because what is lost until then has to be
        written again.
    last_words : callable, optional
        Called when the writer ends in order, with everything drained; what it returns is written last, if not None.
    turn : Turn, optional
        That of the thread, where the sink works in pieces, too.
    look_s : float, optional
        After so many seconds with nothing to write, and again and again, the sink is asked where the log ends: nothing
        else would show that it lost something. Default: never.
    applied : Watermark, optional
        Stands at `position`, and is moved with what is applied, back where the sink lost something. Default: its own.
    """

    def __init__(
        self,
        backlog: Backlog[Item | Mark],
        sink: Sink[Item, Entry, Batch],
        former: BatchFormer[Entry],
        retained: Retained[Entry],
        listener: Listener,
        position: int,
        name: str,
        inflight_max: int = 2,
        durable: Watermark | None = None,
        last_words: Callable[[], Item | None] | None = None,
        backoff: Backoff | None = None,
        backoff_held: Backoff | None = None,
        turn: Turn | None = None,
        look_s: float | None = None,
        applied: Watermark | None = None,
    ) -> None:
        self.applied = Watermark(position) if applied is None else applied
        self.spoken = False
        """Whether there are last words. If they got as far, they are the last entry."""
        self.replaced = False
        """Whether the writer waits, before it ends, for what takes the place of the sink."""
        self._delivery: Delivery[Item, Entry, Batch] = Delivery(
            sink, former, retained, position, inflight_max, backoff, backoff_held
        )
        self._backlog = backlog
        self._sink = sink
        self._listener = listener
        self._durable = durable
        self._last_words = last_words
        self._turn = turn or Turn()
        backlog.needs_help = self._turn.needs_help
        self._look_s = look_s
        self._abandoned = False
        self._ended = False
        # Held by the thread wherever it is not in the sink: whoever else has it may touch what is the thread's.
        self._mine = threading.Lock()
        self._holds: dict[int, Hold] = {}
        self._doubt: Regressed | None = None
        self._resume = Gate()  # opened when there is one more or less
        self._nap = Gate()  # opened to end a wait between two attempts
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def ended(self) -> bool:
        """Whether the thread takes and writes nothing any more, and leaves alone what it has not written."""
        return self._ended

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the writer's own."""
        return threading.current_thread() is self._thread

    @property
    def taken(self) -> int:
        """The last position that was given to an entry."""
        return self._delivery.taken

    @property
    def batches(self) -> int:
        """Batches that were applied."""
        return self._delivery.batches

    @property
    def in_doubt(self) -> int:
        """Entries that were taken from the backlog and are not confirmed."""
        return self._delivery.taken - self._delivery.applied

    @property
    def unsaid(self) -> bool:
        """Whether it ended before the last words got a position."""
        return self._delivery.unsaid

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end, which it does once the backlog is closed and drained; return whether it did."""
        self._thread.join(max(timeout_s, 0.0))
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """End as soon as possible, leaving what is not written."""
        self._abandoned = True
        self._nap.open()
        self._resume.open()
        self._backlog.wake()
        self._sink.interrupt()

    def seize(self, timeout_s: float) -> bool:
        """End an abandoned writer that hangs in the sink, where nothing may interrupt it, and leave the thread there.

        When it comes back it touches nothing any more, and tells nobody. Return whether the writer has ended, which
        takes up to `timeout_s` seconds more if the thread hangs elsewhere.
        """
        if not self._mine.acquire(timeout=max(timeout_s, 0.0)):
            return False
        try:
            if not self._ended:
                self._end(Stopped("the writer was given up"))
        finally:
            self._mine.release()
        return True

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[Hold]:
        """Let nothing be applied meanwhile, if that is reached within `timeout_s` seconds.

        For whoever reads more than the sink gives in one piece. Several may hold at once. Not on the writer's thread.
        """
        hold = Hold()
        self._holds[id(hold)] = hold
        if self.applied.failure is not None:  # looked at behind the line above: it has ended, or will open the gate
            hold.gate.open()
        self._resume.open()  # if it holds already
        self._backlog.wake()
        try:
            hold.reached = hold.gate.wait(timeout_s)
            yield hold
        finally:
            self._let_go(hold)

    def break_holds(self) -> None:
        """End the holds of the calling thread: it is about to wait for the writer, as in a signal handler."""
        for hold in list(self._holds.values()):
            if hold.thread == threading.get_ident():
                hold.broken = True
                self._let_go(hold)
                hold.gate.open()  # if it is still waited for, that is over

    def _let_go(self, hold: Hold) -> None:
        self._holds.pop(id(hold), None)
        self._resume.open()

    def doubt(self, reason: Regressed) -> None:
        """Ask the sink where the log ends, and go on from there: somebody has seen that it is not where it was."""
        self._doubt = reason
        self._resume.open()
        self._backlog.wake()

    def unconfirmed(self) -> tuple[int, list[Entry]]:
        """Return the entries that were taken and never confirmed, and the position of the first. Once it has ended."""
        return self._delivery.unconfirmed()

    # -- On the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        end: BaseException = Stopped("the writer has ended")
        wake_on_time()
        with self._mine:
            try:
                self._drain()
            except BaseException as error:  # noqa: BLE001 - nothing may end the thread unseen
                end = error
            if not self._ended:
                self._end(end)
        self._sink.close()
        if not isinstance(end, _Seized):
            self._listener.ended(None if isinstance(end, Stopped) else end)

    def _end(self, end: BaseException) -> None:
        """Tell everybody, and leave what is not written as it is."""
        failed = not isinstance(end, Stopped)
        if failed:
            self._listener.failed(end)
        # In this order: whoever is refused finds the cause, and whoever waits is either told here or finds it too.
        self.applied.fail(end)
        self._backlog.close(f"the writer failed: {end}" if failed else str(end))
        self._backlog.put_back(self._delivery.untaken())
        for item in self._backlog.waiting():
            if isinstance(item, Mark):
                item.fail(end)
        self._open_holds()
        self._ended = True

    def _outside(self, call: Callable[..., R], *arguments: Any) -> R:
        """Call the sink, which may hang. What is the thread's may be taken from it meanwhile: see `seize`."""
        self._mine.release()
        try:
            return call(*arguments)
        finally:
            self._mine.acquire()
            if self._ended:
                raise _Seized

    def _drain(self) -> None:
        backlog, delivery = self._backlog, self._delivery
        turn, pressed = self._turn, max(1.0, PRESSED * backlog.count_max)
        while not self._abandoned:
            now_s = time.monotonic()
            if self._doubt is not None and not delivery.in_flight:
                doubt, self._doubt = self._doubt, None
                if not delivery.rewinding:
                    self._failed(doubt)
            pressing, closed = backlog.pressing(), backlog.closed is not None
            waiting = len(backlog)
            turn.share = min(max(waiting - BEHIND, 0) / pressed, 1.0)
            # What is in flight is waited for first: the same positions may not come in other batches beside it.
            held = bool(self._holds) or self._doubt is not None
            do = delivery.next(now_s, closed and not waiting, held, None if pressing or closed else waiting)
            if do is Do.TAKE:
                turn.check()
                delivery.took(backlog.take(SLICE if backlog.unfold is None else UNFOLDED))
            elif isinstance(do, _SPOKEN) or do is Do.REWIND:
                began_s = time.monotonic()
                try:
                    self._speak(do)
                except Unavailable as error:
                    self._failed(error)
                if time.monotonic() - began_s >= BLOCKED_S:
                    turn.begin()
                elif isinstance(do, Receive):
                    turn.check()
            elif isinstance(do, Linger):
                backlog.linger(do.left_s)
                turn.begin(TURN_ALONE_S)
            elif isinstance(do, Look):
                backlog.look(do.every_s, do.times)
                turn.begin(TURN_ALONE_S)
            elif isinstance(do, Nap):
                self._nap.wait(do.wait_s)
            elif do is Do.RECONNECT:
                self._outside(self._sink.reset)
            elif do is Do.WAIT:
                if not backlog.wait(self._look_s):
                    self._look()
                turn.begin(TURN_ALONE_S)
            elif do is Do.HOLD:
                self._open_holds()
                self._resume.wait()
            elif do is Do.CONCLUDE:
                self._conclude()
            elif not self._is_safe():
                self._resume.wait()
            elif self._is_there():
                return

    def _look(self) -> None:
        """See whether the log still ends where it did; if not, or if nobody says so, go the way of what failed."""
        applied = self._delivery.applied
        try:
            position = self._outside(self._sink.rewind)
        except Unavailable as error:
            self._failed(Regressed(error.cause, error.held))
        else:
            if position != applied:
                self._failed(Regressed(LookupError(f"the log ends at position {position}, {applied} was confirmed")))

    def _failed(self, error: Unavailable) -> None:
        nap = self._delivery.failed(error)
        self._listener.retrying(error, self._delivery.attempts, nap.wait_s, self._delivery.in_flight)

    def _speak(self, do: Send[Batch] | Receive[Batch] | Do) -> None:
        """Do what goes over the line."""
        delivery = self._delivery
        if isinstance(do, Send):
            self._outside(self._sink.send, do.batch)
            delivery.sent()
            return
        if isinstance(do, Receive):
            self._outside(self._sink.receive, do.batch)
            failed = delivery.confirmed()
        else:
            position = self._outside(self._sink.rewind)
            applied = delivery.applied
            if position < applied:
                # Before anything else: whoever asks from now on has to wait until it is there again.
                self.applied.retreat(position)
                self._listener.regressed(position, applied)
            failed = delivery.rewound(position)
        self.applied.advance(delivery.applied)
        if failed:
            self._listener.recovered(failed)

    def _is_safe(self) -> bool:
        """Whether all that was applied is durable, or nobody will say so any more; if not, be woken when it is."""
        durable = self._durable
        if durable is None:
            return True
        durable.watch(self._resume)
        if durable.position < self.applied.position and durable.failure is None:
            return False
        durable.unwatch(self._resume)
        return True

    def _is_there(self) -> bool:
        """Whether what was applied stays where it is, as far as the sink can say. If not, go the way of what failed."""
        try:
            self._outside(self._sink.check)
        except Regressed as error:
            self.replaced = True
            self._failed(error)
        else:
            self.replaced = False
        return not self.replaced

    def _open_holds(self) -> None:
        for hold in list(self._holds.values()):
            hold.gate.open()

    def _conclude(self) -> None:
        if not self._backlog.conclude():
            self._nap.wait(CONCLUDE_S)  # something came in before the door was shut, or is about to
            return
        last_words = None if self._last_words is None else self._last_words()
        self.spoken = last_words is not None
        self._delivery.said(last_words)


Work = Writer[Any, Any, Any]
