"""The thread that keeps a journal: it syncs, makes the next file ahead of time, and deletes what was trimmed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workers.gate import Gate
from workers.sink import Backoff

if TYPE_CHECKING:
    from eventstore.journal.journal import Journal

_WAIT_S_MAX: Final = 1.0


class Keeper:
    """Keeps `journal` from a thread of its own. With an `interval_s`, it syncs that often if there is anything new."""

    def __init__(self, journal: Journal, interval_s: float | None, on_trouble: Callable[[str | None], None]) -> None:
        self._journal = journal
        self._interval_s = interval_s
        self._on_trouble = on_trouble
        self._reported: str | None = None
        self._unkept: str | None = None  # why a round was not finished
        self._backoff = Backoff(0.05, _WAIT_S_MAX)
        self._gate = Gate()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have it look at once. From anywhere."""
        self._gate.open()

    def stop(self) -> None:
        """End the thread, and do what is left to do."""
        self._stopping = True
        self._gate.open()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._sync()
        self._report()

    def _run(self) -> None:
        due_s = retry_s = time.monotonic()
        while True:
            self._gate.wait(self._wait_s(due_s, retry_s))
            if self._stopping:
                return
            self._unkept = None
            self._attempt(self._trim)
            self._attempt(self._prepare)
            now_s = time.monotonic()
            if self._interval_s is None or now_s >= due_s:
                self._attempt(self._sync)
                due_s = time.monotonic() + (self._interval_s or 0.0)
            if self._in_vain():
                retry_s = time.monotonic() + self._backoff.next_s()
            else:
                self._backoff.reset()
            self._report()

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it goes on with what it can do, and says what it can not
            self._unkept = f"{type(error).__name__}: {error}"

    def _in_vain(self) -> bool:
        return self._unkept is not None or self._journal.no_room is not None

    def _wait_s(self, due_s: float, retry_s: float) -> float | None:
        moments = [] if self._interval_s is None else [due_s]
        if self._in_vain():
            moments.append(retry_s)
        return min(moments) - time.monotonic() if moments else None

    def _trim(self) -> None:
        """Delete the oldest files while they hold nothing that is needed. Raises `OSError`."""
        while self._delete_oldest(self._journal.to_trim):
            pass

    def _delete_oldest(self, upto: int) -> bool:
        """Delete the oldest file if it holds nothing behind `upto`; return whether it did. Raises `OSError`."""
        journal = self._journal
        current, _, position = journal.tail
        oldest, following, *_ = [*journal.segments.values(), current, current]
        last = position if following is current else following.last
        # The last file with records stays until another one tells as well how far the log went.
        told = last > following.before or following.base >= oldest.last
        if oldest is current or oldest.last > upto or not told:
            return False
        journal.trimmed = oldest.last  # before it goes, so that whoever misses it finds out why
        oldest.discard()
        journal.segments.pop(oldest.number, None)
        return True

    def _prepare(self) -> None:
        """Have a segment ready when the one that is written is half used."""
        journal = self._journal
        current, _, position = journal.tail
        if journal.prepared:
            self._report()
            journal.no_room = None
            return
        if journal.no_room is None and not current.passed:
            return
        if not journal.making.acquire(blocking=False):
            return  # the appending thread makes one
        try:
            while journal.bytes + journal.segment_bytes > journal.bytes_max and self._delete_oldest(journal.spare()):
                pass
            segment = journal.make_segment(after=None, base=position)
            if journal.fsync != "never":
                try:
                    segment.sync()
                except OSError:
                    segment.discard()
                    raise
            journal.prepared.append(segment)
        except OSError as error:
            journal.no_room = str(error)
            return
        finally:
            journal.making.release()
        self._report()  # whoever was refused is told of the reason before it is over
        journal.no_room = None

    def _sync(self) -> None:
        """Bring what was appended to the disk, in order, and move the watermark as far as that is sure."""
        journal = self._journal
        current, _, position = journal.tail
        due = journal.fsync == "interval"  # with "always", the appending thread did it
        synced = journal.synced
        sure = True
        for segment in list(journal.segments.values()):
            is_current = segment is current
            last = position if is_current else segment.last
            if segment.synced < last and segment.failed is None and due:
                try:
                    segment.sync()
                    segment.synced = last
                except OSError as error:
                    # What the disk refused may be gone, whatever it says the next time: it is not asked again.
                    segment.failed = str(error)
                    segment.limit = 0
            if segment.failed is not None and segment.synced < last <= max(journal.to_trim, journal.settled):
                segment.synced = last
            if sure:
                synced = max(synced, segment.synced)
                sure = segment.synced >= last
            if is_current:
                break
            if segment.fd >= 0:
                segment.release()
        if due:
            journal.advance_synced(synced)

    def _report(self) -> None:
        journal = self._journal
        current, _, position = journal.tail
        reason = self._unkept or journal.no_room
        for segment in list(journal.segments.values()):
            last = position if segment is current else segment.last
            if segment.failed is not None and (segment is current or segment.synced < last):
                reason = f"{segment.path} could not be synced: {segment.failed}"
        if reason != self._reported:
            self._reported = reason
            with contextlib.suppress(Exception):
                self._on_trouble(reason)
