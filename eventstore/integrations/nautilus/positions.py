"""How NautilusTrader's positions are written: what a call takes of them."""

from __future__ import annotations

from time import time_ns
from typing import Any

from eventstore.errors import Refused
from eventstore.integrations.nautilus.accounts import NautilusAccounts
from eventstore.integrations.nautilus.capturing import CHECKED_FILLS, check_key, frozen
from eventstore.integrations.nautilus.snapshots import take_position
from eventstore.model.identifiers import PositionId
from workers.backlog import Full, Shut


class NautilusPositions(NautilusAccounts):
    """The verbs of `NautilusStore` for positions."""

    _node_id: str
    _verbs: Any
    """What is put in the backlog to be called there: the methods of `Histories`."""
    _write_position: Any
    _makes_at_once: bool
    _checked_positions: set[Any]
    """NautilusTrader's ids of positions that were looked at."""
    _many_fills: dict[Any, int]
    """How many fills a position with many had at the last call."""
    _trader: Any
    """The last trader id that was the node's: NautilusTrader's objects share it."""

    def add_position(self, position: Any) -> None:
        """Write a position with all its fills. The id of one that was written begins a new cycle, unless it goes on."""
        nautilus_id = position.id
        fills = position.events
        if nautilus_id not in self._checked_positions:
            self._check_position("add_position", position, nautilus_id)
        held = None
        if len(fills) != 1 or fills[0].info:
            held = frozen("add_position", nautilus_id.value, fills)
        verb = self._verbs.add_position
        try:
            self._put("add_position", nautilus_id, time_ns(), verb, position, position.is_closed, fills, held)
        except (Full, Shut) as error:
            self._persister.refuse(error, "add_position", nautilus_id.value)

    def update_position(self, position: Any) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle."""
        nautilus_id = position.id
        if position.event_count > CHECKED_FILLS or nautilus_id not in self._checked_positions:
            self._update_any_position(position, nautilus_id)
            return
        if self._many_fills:
            self._many_fills.pop(nautilus_id, None)
        fills = position.events
        held = None
        if fills and fills[-1].info:
            held = frozen("update_position", nautilus_id.value, fills[-1:])
        verb, closed = self._write_position, position.is_closed
        try:
            self._put("update_position", nautilus_id, time_ns(), verb, position, closed, fills, held)
        except (Full, Shut) as error:
            self._persister.refuse(error, "update_position", nautilus_id.value)

    def _update_any_position(self, position: Any, nautilus_id: Any) -> None:
        operation, verb, count = "update_position", self._write_position, position.event_count
        if nautilus_id not in self._checked_positions:
            self._check_position(operation, position, nautilus_id)
            fills = position.events
            held = frozen(operation, nautilus_id.value, fills)
        else:
            # To copy all its fills takes a while: if it had one less at the last call, the last one is what is new.
            last = position.last_event
            fills = (count, last) if self._many_fills.pop(nautilus_id, None) == count - 1 else position.events
            held = frozen(operation, nautilus_id.value, (last,))
        self._call(operation, nautilus_id, verb, position, position.is_closed, fills, held)
        if count > CHECKED_FILLS:
            self._many_fills[nautilus_id] = count  # not if it was refused

    def _check_position(self, operation: str, position: Any, nautilus_id: Any) -> None:
        position_id = nautilus_id.value
        check_key(PositionId, position_id)
        trader = position.trader_id
        if trader is not self._trader:
            self._check_trader(operation, position_id, trader)
        self._checked_positions.add(nautilus_id)

    def snapshot_position_state(self, position: Any, ts_snapshot: int, unrealized_pnl: Any = None) -> None:
        """Write the state of `position` as it is at `ts_snapshot`, in UNIX nanoseconds."""
        nautilus_id = position.id
        if nautilus_id not in self._checked_positions:
            self._check_position("snapshot_position_state", position, nautilus_id)
        state = position.to_dict() if self._makes_at_once else take_position(position)
        verb, commissions = self._verbs.snapshot_position, position.commissions()
        about = (ts_snapshot, unrealized_pnl)
        try:
            self._put("snapshot_position_state", nautilus_id, time_ns(), verb, position, state, commissions, about)
        except (Full, Shut) as error:
            self._persister.refuse(error, "snapshot_position_state", nautilus_id.value)

    # -- For all of them -----------------------------------------------------------------------------------------

    def _call(self, operation: str, key: Any, verb: Any, *captured: Any) -> None:
        a, b, c, d = (*captured, None, None, None, None)[:4]
        try:
            self._put(operation, key, time_ns(), verb, a, b, c, d)
        except (Full, Shut) as error:
            self._persister.refuse(error, operation, str(key))

    def _check_trader(self, operation: str, key: str, trader_id: Any) -> None:
        if trader_id.value != self._node_id:
            raise Refused(f"{operation} {key}: it is one of {trader_id.value}, this is {self._node_id}'s database")
        self._trader = trader_id
