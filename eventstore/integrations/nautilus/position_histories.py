"""What was written of NautilusTrader's positions, and what a call adds to that: see `histories.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from eventstore.encoder import Encoder
from eventstore.integrations.nautilus.capturing import SeenPosition, as_frozen
from eventstore.integrations.nautilus.lives import PositionLife
from eventstore.integrations.nautilus.snapshots import position_state
from eventstore.registry import Life, Meanwhile
from eventstore.storage.appender import called

Call = tuple[Any, ...]
"""A call as it lies in the backlog, shaped as `Accepted`: operation, key, time in UNIX nanoseconds, the verb of
`Histories` that it is for, and what was captured.
"""

Emit = Callable[[Call], object]
"""Takes what a command is made of. If it raises, that was not accepted."""


class PositionHistories:
    """The lives of positions. See `Histories`, of which this is the half."""

    def __init__(self, encoder: Encoder) -> None:
        self.positions: dict[str, Life] = {}
        self.loads: set[Meanwhile] = set()
        # Held to learn, to begin and to forget. Reentrant: a signal handler may come in between.
        self.lock = threading.RLock()
        self._encode_position = encoder.position
        self._encode_snapshot_position = encoder.snapshot_position

    def add_position(self, emit: Emit, item: Call) -> None:
        """Take a position with all its fills. The id of one that was written begins a new cycle, unless it goes on."""
        self._take_position(emit, item, may_be_another=True)

    def update_position(self, emit: Emit, item: Call) -> None:
        """Take the fills that are not written yet. A position that was opened again begins a new cycle."""
        self._take_position(emit, item, may_be_another=False)

    def _take_position(self, emit: Emit, item: Call, *, may_be_another: bool) -> None:
        operation, accepted_ns = item[0], item[2]
        seen = SeenPosition.of(*item[4:])
        position_id: str = item[1].value
        life: Any = self.positions.get(position_id)
        fills = None if life is None else life.new_fills(seen)
        if fills is None or (may_be_another and life.is_another(seen)):
            self._begin_cycle(emit, operation, accepted_ns, position_id, seen)
            return
        if fills:
            captured = as_frozen(operation, position_id, fills, seen.frozen)
            try:
                arguments = (position_id, life.version, not seen.closed, captured, None)
                emit((operation, position_id, accepted_ns, called, self._encode_position, arguments, None, None))
            except BaseException:
                life.count = -1  # so that the next call looks at all of them
                raise
        life.took(seen, fills)

    def _begin_cycle(self, emit: Emit, operation: str, accepted_ns: int, position_id: str, seen: SeenPosition) -> None:
        fills = tuple(seen.all_fills())
        if not fills:
            return  # All of its fills were purged, and it was written before or never: there is nothing to say.
        captured = as_frozen(operation, position_id, fills, seen.frozen)
        # What the basis is made of never changes on a position.
        arguments = (position_id, 0, not seen.closed, captured, seen.position)
        emit((operation, position_id, accepted_ns, called, self._encode_position, arguments, None, None))
        with self.lock:
            self.positions[position_id] = PositionLife(len(fills), fills, seen.closed)

    def snapshot_position(self, emit: Emit, item: Call) -> None:
        """Write the state of a position as it was at the call: as it was taken, or put together already."""
        position, taken, commissions, (ts_snapshot, unrealized_pnl) = item[4:]
        operation, position_id, accepted_ns = item[0], text_of(item[1]), item[2]
        if position_id not in self.positions:
            seen = SeenPosition.of(position, position.is_closed, position.events, None)
            self._begin_cycle(emit, operation, accepted_ns, position_id, seen)
        state = taken if taken.__class__ is dict else position_state(position, taken, commissions)
        state["ts_snapshot"] = ts_snapshot
        state["unrealized_pnl"] = None if unrealized_pnl is None else str(unrealized_pnl)
        make = self._encode_snapshot_position
        emit((operation, position_id, accepted_ns, called, make, (position_id, state), None, None))


def text_of(key: Any) -> str:
    """Return the text of an id of ours or of NautilusTrader's."""
    return key if isinstance(key, str) else str(key.value)
