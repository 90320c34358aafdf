"""The confirmer: a thread that finds out how far what was applied would survive, and moves a watermark that far.

Between two questions it sleeps; while nothing is behind, it asks nothing. It never confirms what the probe did not say,
and never what the probe was asked before the log was set back.
"""

from __future__ import annotations

import contextlib
import threading
from typing import NamedTuple, Protocol

from workers.gate import Gate
from workers.sink import Backoff, Regressed, Unavailable
from workers.watermark import Watermark
from workers.writer import Stopped


class Confirmation(NamedTuple):
    """What a probe found: whether everything up to `position` is as safe as was asked for, and in words, how safe."""

    position: int
    met: bool
    reached: str


class Probe(Protocol):
    """Finds out how safe the log is."""

    def confirm(self) -> Confirmation:
        """Ask, and wait for the answer, a bounded time.

        May raise `Unavailable`; then the next call connects anew: as `Regressed`, if the log is not there any more. Any
        other exception ends the confirmer.
        """

    def reset(self) -> None:
        """Connect anew for the next `confirm`, and forget an `interrupt` that came before. Does not raise."""

    def interrupt(self) -> None:
        """Make `confirm` raise `Unavailable` soon, and from now on until `reset`. From any thread; does not raise."""

    def close(self) -> None:
        """Give up what is held. Does not raise."""


class Listener(Protocol):
    """Told of what the confirmer finds, on its thread. Must not raise."""

    def short(self, reason: str, held: bool) -> None:
        """What was applied is not as safe as was asked for, or nobody can say. Told again when the reason changes.

        `held` says that this does not pass by itself: somebody has to act.
        """

    def behind(self, error: Regressed) -> None:
        """What was applied is not where it was asked for: whoever writes has to look. Told before `short`, as often."""

    def met_again(self) -> None:
        """It is as safe as was asked for again, as far as `durable` has come."""

    def failed(self, error: BaseException) -> None:
        """The confirmer has ended because of `error`."""


class Confirmer:
    """Moves `durable` behind `applied`, as far as `probe` confirms, from a thread of its own.

    It ends by `stop`, or when `applied` has failed and all of it is confirmed, or by what a probe raises but
    `Unavailable`. Whoever waits for `durable` then gets why.

    Parameters
    ----------
    pace_s : float
        How long to let more come in after an answer, in seconds, so that a busy log is not asked about without pause.
    """

    def __init__(
        self,
        applied: Watermark,
        durable: Watermark,
        probe: Probe,
        listener: Listener,
        name: str,
        pace_s: float = 0.005,
        backoff: Backoff | None = None,
        backoff_held: Backoff | None = None,
    ) -> None:
        self.reason: str | None = None
        """Why `durable` is behind, where it is for another reason than that it takes a moment."""
        self._applied = applied
        self._durable = durable
        self._probe = probe
        self._listener = listener
        self._pace_s = pace_s
        self._backoff = backoff or Backoff(0.01, 2.0)
        self._backoff_held = backoff_held or Backoff(0.5, 10.0)
        self._moved = Gate()  # opened when there may be something to confirm
        self._nap = Gate()  # opened to end a wait between two questions
        self._stopping = False
        self._stale = False  # whether the question that is under way does not count any more
        # Between the thread and `retreat`, for a moment only: a late answer must not undo what was set back.
        self._settling = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End at once, confirmed or not, and give up the probe; return whether it did within `timeout_s` seconds."""
        self._stopping = True
        if self._thread.ident is None:
            self._probe.close()
            return True
        if not self._thread.is_alive():  # done, or left behind by a fork: then the probe is the parent's
            return True
        self._cut_short()
        if threading.current_thread() is self._thread:
            return False
        self._thread.join(max(timeout_s, 0.0))
        return not self._thread.is_alive()

    def renew(self) -> None:
        """Ask on a new connection, and at once: who writes has connected anew, maybe to another server."""
        self._stale = True
        self._cut_short()

    def retreat(self, position: int) -> None:
        """Set `durable` back to `position`, where the log ends now, and go on as `renew`.

        When it returns, only what is asked from now on counts. For the thread that moves `applied`, and has set it
        back before.
        """
        with self._settling:
            self._stale = True
            self._durable.retreat(position)
        self._cut_short()

    def _cut_short(self) -> None:
        self._probe.interrupt()
        self._nap.open()
        self._moved.open()

    # -- On the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        self._applied.watch(self._moved)
        try:
            end = self._follow()
        except BaseException as raised:  # noqa: BLE001 - nothing may end the thread unseen
            end = error = raised
        self._applied.unwatch(self._moved)
        self._durable.fail(end)
        if error is not None:
            self.reason = str(error)
            with contextlib.suppress(Exception):  # it is too late to do anything about it
                self._listener.failed(error)
        self._probe.close()

    def _follow(self) -> BaseException:
        """Confirm until there is nothing more to come; return why."""
        while not self._stopping:
            end = self._applied.failure  # looked at before the position, which is the last one if there is a failure
            if self._applied.position > self._durable.position:
                wait_s = self._ask()
                if wait_s:
                    self._nap.wait(wait_s)
            elif end is not None:
                return end
            else:
                self._moved.wait()
        return Stopped("the confirmer was stopped")

    def _ask(self) -> float:
        """Ask the probe once; return how many seconds to wait before the next time."""
        self._nap.wait(0)  # whatever was to end the wait before this question has done so
        while self._stale:  # again: the reset may have forgotten an interrupt of just now
            self._stale = False
            self._probe.reset()
        if self._stopping:
            return 0
        applied = self._applied.position
        try:
            position, met, reached = self._probe.confirm()
        except Unavailable as error:
            return 0 if self._stopping or self._stale else self._short(error)
        if self._stale:
            return 0
        if position < applied:
            # It has not seen what the writer knows to be applied, so whatever it says is not about that.
            self._stale = True
            return self._short(
                Regressed(
                    ValueError(
                        f"the server that was asked ends at position {position}, before what was applied: it is not "
                        "the one that is written to, or was set back"
                    )
                )
            )
        if not met:
            return self._short(Unavailable(ValueError(reached)))
        with self._settling:
            if self._stale:
                return 0
            # Not beyond `applied`: what is on its way may be confirmed before its writer knows that it is applied.
            self._durable.advance(min(position, self._applied.position))
        self._backoff.reset()
        self._backoff_held.reset()
        if self.reason is not None:
            self.reason = None
            self._listener.met_again()
        return self._pace_s

    def _short(self, error: Unavailable) -> float:
        reason = str(error.cause)
        if reason != self.reason:
            self.reason = reason
            if isinstance(error, Regressed):
                self._listener.behind(error)
            self._listener.short(reason, error.held)
        return (self._backoff_held if error.held else self._backoff).next_s()
