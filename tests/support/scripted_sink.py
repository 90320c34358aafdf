"""A sink of one process that loses connections where a script says so, before a log that enforces positions.

Its log takes a batch as ``append.lua`` does: behind the last position, or not at all. Nothing here knows of Redis, and
nothing is random.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from workers.sink import LONE, Unavailable

SEND = ("sent", "refused", "cut behind it", "swallowed")
RECEIVE = ("answered", "answer lost")


class Gap(Exception):
    """A batch came that does not follow the last one."""


class Lost(Exception):
    """Positions are gone and not retained."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"{first} to {last}")
        self.first = first
        self.last = last


class Ahead(Exception):
    """The log ends behind all that was ever sent."""


class Keeping:
    """Retains the last `count_max` entries."""

    def __init__(self, count_max: int = 1 << 30, position: int = 0) -> None:
        self.entries: deque[object] = deque(maxlen=count_max)
        self.last = position

    @property
    def first(self) -> int:
        return self.last + 1 - len(self.entries)

    def keep(self, last: int, entries: list[object]) -> None:
        assert last == self.last + len(entries), "something is kept twice, or not at all"
        self.entries.extend(entries)
        self.last = last

    def since(self, position: int) -> Iterator[object]:
        return iter(list(self.entries)[position + 1 - self.first :])


class Batch(NamedTuple):
    first: int
    entries: tuple[object, ...]

    @property
    def last(self) -> int:
        return self.first + len(self.entries) - 1


class ScriptedSink:
    """Takes any items. `script` says what happens at each `send` and `receive`; behind its end all goes well.

    ``refused``: the send raises, nothing was sent. ``cut behind it``: it raises, and the batch has arrived.
    ``swallowed``: nothing raises, nothing arrives, and nothing will on this connection. ``answer lost``: the batch was
    applied and the receive raises. What was swallowed arrives late, on its own, when `late` has a True.
    """

    def __init__(self, script: Iterable[str] = (), late: Iterable[bool] = (), held: bool = False) -> None:
        self._script = deque(script)
        self._late = deque(late)
        self._held = held
        self.log: list[object] = []
        self.duplicates = 0
        self.rewinds = 0
        self.sealed: list[Batch] = []
        self.inflight_most = 0
        self.resets = 0
        self.closed = False
        self._answers: deque[Batch] = deque()
        self._sent = 0
        self._broken = False
        self._limbo: deque[Batch] = deque()

    def encode(self, item: object) -> object:
        return item

    def size(self, entry: object) -> int:
        return LONE if self.alone(entry) else len(str(entry))

    def alone(self, entry: object) -> bool:
        return str(entry).startswith("alone")

    def draft(self) -> list[object]:
        return []

    def seal(self, first_position: int, entries: list[object]) -> Batch:
        batch = Batch(first_position, tuple(entries))
        self.sealed.append(batch)
        return batch

    def quarantine(self, entry: object, cause: BaseException) -> object:
        return f"instead of {entry}"

    def lost(self, first: int, last: int) -> Exception:
        return Lost(first, last)

    def ahead(self, position: int, last: int) -> Exception:
        return Ahead(f"{position} is behind {last}")

    def rewind(self) -> int:
        self.rewinds += 1
        return len(self.log)

    def send(self, batch: Batch) -> None:
        action = self._next(SEND)
        if self._late and self._late.popleft() and self._limbo:
            self._arrive(self._limbo.popleft())
        if self._broken:
            # The kernel takes what it can not deliver any more.
            self._limbo.append(batch)
            self._note_sent()
        elif action == "swallowed":
            self._broken = True
            self._limbo.append(batch)
            self._note_sent()
        elif action == "refused":
            self._fail("refused")
        else:
            self._arrive(batch)
            if action == "cut behind it":
                self._fail("cut")
            self._answers.append(batch)
            self._note_sent()

    def receive(self, batch: Batch) -> None:
        action = self._next(RECEIVE)
        if self._broken or action == "answer lost":
            self._fail("no answer")
        assert self._answers.popleft() == batch, "an answer to another batch"
        self._sent -= 1

    def reset(self) -> None:
        self.resets += 1
        self._answers.clear()
        self._sent = 0
        self._broken = False

    def check(self) -> None:
        """Nobody replaces it."""

    def interrupt(self) -> None:
        """Nothing in here waits."""

    def close(self) -> None:
        self.closed = True

    def _next(self, kinds: tuple[str, ...]) -> str:
        if self._script and self._script[0] in kinds:
            return self._script.popleft()
        return kinds[0]

    def _note_sent(self) -> None:
        self._sent += 1
        self.inflight_most = max(self.inflight_most, self._sent)

    def _fail(self, why: str) -> None:
        self._broken = True
        raise Unavailable(ConnectionError(why), held=self._held)

    def _arrive(self, batch: Batch) -> None:
        if batch.last <= len(self.log):
            self.duplicates += 1
        elif batch.first != len(self.log) + 1:
            raise Gap(f"{batch} came behind {len(self.log)}")
        else:
            self.log.extend(batch.entries)
