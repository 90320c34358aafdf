"""How orders, positions and accounts of this library's own model are written: what each verb checks and captures."""

from __future__ import annotations

from time import time_ns
from typing import Any

from eventstore.catalog import Catalog
from eventstore.errors import AlreadyAdded, Refused
from eventstore.ledger import VALUE_BYTES, check
from eventstore.model.accounts import Account
from eventstore.model.enums import PositionSide, TriggerType
from eventstore.model.events import OrderInitialized
from eventstore.model.identifiers import ClientId, ClientOrderId, PositionId
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.values import Money
from eventstore.registry import Life
from workers.backlog import Full, Shut

_NO_TRIGGER = TriggerType.NO_TRIGGER
_FLAT = PositionSide.FLAT


class Intake(Catalog):
    """The verbs that write: each checks on the caller's thread and does no I/O; nothing of a refused call is kept."""

    def add_account(self, account: Account) -> None:
        check("add_account", "account", account, Account)
        if account.id in self._accounts:
            raise AlreadyAdded(f"add_account {account.id}: it was added or loaded before; use update_account")
        events = tuple(account._events)
        self._accept("add_account", account.id, self._encoder.account, (account.id, 0, events))
        self._accounts[account.id] = Life(len(events), events)

    def add_order(self, order: Order, position_id: PositionId | None = None, client_id: ClientId | None = None) -> None:
        """Add an order with all its events; or, for one that was added, what it was transformed into.

        Raises
        ------
        AlreadyAdded
            If this process added or loaded an order of that id, and this is not what it was transformed into.
        Refused
            If it is another trader's.
        """
        if not isinstance(order, Order):
            check("add_order", "order", order, Order)
        if position_id is not None:
            check("add_order", "position_id", position_id, PositionId)
        if client_id is not None:
            check("add_order", "client_id", client_id, ClientId)
        order_id, trader_id = order.client_order_id, order.trader_id
        if trader_id is not self.trader_id and trader_id != self.trader_id:
            raise Refused(f"add_order {order_id}: it is an order of {trader_id}, this is {self.trader_id}'s database")
        events = order._events
        if order_id not in self._orders:
            if len(events) == 1 and order._amendments is None:
                trigger, make = order._emulation_trigger, self._encode_new_order
                try:
                    self._put("add_order", order_id, time_ns(), make, trigger, events[0], position_id, client_id)
                except (Full, Shut) as error:
                    self._persister.refuse(error, "add_order", order_id)
                self._orders[order_id] = Life(1, events)
                return
            self._begin_order(order, order_id, 0, tuple(events), position_id, client_id)
            self._orders[order_id] = Life(len(events), events, len(order._amendments or ()))
            return
        with self._registering:  # so that it is not purged meanwhile
            life = self._orders.get(order_id) or Life(0, ())
            new = life.tail(events) if life.version else tuple(events)
            if new is None or not any(event.__class__ is OrderInitialized for event in new):
                raise AlreadyAdded(
                    f"add_order {order_id}: an order of that id was added or loaded before; use update_order, or "
                    "another client order id"
                )
            self._begin_order(order, order_id, life.version, new, position_id, client_id)
            life.written(new)
            life.amendments = len(order._amendments or ())
            self._orders[order_id] = life

    def _begin_order(
        self,
        order: Order,
        order_id: ClientOrderId,
        version: int,
        events: tuple[Any, ...],
        position_id: PositionId | None,
        client_id: ClientId | None,
    ) -> None:
        status, emulated = order.status, order._emulation_trigger is not _NO_TRIGGER
        amended = None if order._amendments is None else tuple(order._amendments)
        arguments = (order_id, version, status, emulated, events, position_id, client_id, amended)
        self._accept("add_order", order_id, self._encoder.add_order, arguments)

    def add_position(self, position: Position) -> None:
        """Add a position with all its fills; the id of one that was closed begins a new cycle.

        Raises
        ------
        AlreadyAdded
            If the position was added or loaded before, and this is no new cycle.
        """
        check("add_position", "position", position, Position)
        if position.id not in self._positions:
            self._begin_cycle("add_position", position)
            return
        with self._registering:  # so that it is not purged meanwhile
            life = self._positions.get(position.id)
            if life is not None and (life.tail(position._events) is not None or life.is_forked_by(position._events)):
                raise AlreadyAdded(f"add_position {position.id}: it was added or loaded before; use update_position")
            self._begin_cycle("add_position", position)

    def _begin_cycle(self, operation: str, position: Position) -> None:
        events = tuple(position._events)
        position_id = position.id
        if position.trader_id != self.trader_id:
            raise Refused(
                f"{operation} {position_id}: it is a position of {position.trader_id}, and this database is "
                f"{self.trader_id}'s"
            )
        arguments = (position_id, 0, not position.is_closed, events, position.basis)
        self._accept(operation, position_id, self._encoder.position, arguments)
        self._positions[position_id] = Life(len(events), events)
        self._purged_positions.pop(position_id, None)

    def update_account(self, account: Account) -> None:
        """Write the events of `account` that were not written yet.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        StaleObject
            If its history does not go on from what was written.
        """
        if not isinstance(account, Account):
            check("update_account", "account", account, Account)
        life = self._accounts.get(account.id)
        if life is None:
            self._refuse_unknown("update_account", account.id, "account")
        events = life.tail(account._events)
        if events is None:
            self._refuse_stale("update_account", account.id, life, account._events)
        try:
            self._put("update_account", account.id, time_ns(), self._encode_account, life.version, events, None, None)
        except (Full, Shut) as error:
            self._persister.refuse(error, "update_account", account.id)
        life.written(events)

    def update_order(self, order: Order) -> None:
        """Write the events of `order` that were not written yet.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        StaleObject
            If its history does not go on from what was written.
        """
        # The call that a node makes most: everything on it is there for a reason, and nothing else is. What has the
        # written event before its last is an order: only where that is not so, its type has to be looked at.
        try:
            order_id, events = order.client_order_id, order._events
        except AttributeError:
            check("update_order", "order", order, Order)
            raise
        try:
            life = self._orders[order_id]
        except KeyError:
            check("update_order", "order", order, Order)
            self._refuse_unknown("update_order", order_id, "order")
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            if life.purging and self._is_purged(life):
                self._refuse_unknown("update_order", order_id, "order")
            if len(events) > 1 and events[-2] is life.last and order._amendments is None:
                event, version, status, trigger = events[-1], life.version, order.status, order._emulation_trigger
                make = self._encode_event
                try:
                    self._put("update_order", order_id, time_ns(), make, version, status, trigger, event)
                except (Full, Shut) as error:
                    self._persister.refuse(error, "update_order", order_id)
                life.version = version + 1
                life.last = event
            else:
                self._write_tail(order_id, order, life)
        finally:
            life.busy = False

    def _write_tail(self, order_id: ClientOrderId, order: Order, life: Life) -> None:
        """Write what is not written of `order`, be it no event or several."""
        check("update_order", "order", order, Order)
        events = life.tail(order._events)
        if events is None:
            self._refuse_stale("update_order", order_id, life, order._events)
        amended = life.amended(order)
        emulated = order.emulation_trigger is not _NO_TRIGGER
        arguments = (order_id, life.version, order.status, emulated, events, amended)
        self._accept("update_order", order_id, self._encoder.update_order, arguments)
        life.written(events)
        if amended is not None:
            life.amendments = len(amended)

    def update_position(self, position: Position) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        StaleObject
            If its history does not go on from what was written, and is no new cycle either.
        """
        # As `update_order`, call by call.
        try:
            position_id, events = position.id, position._events
        except AttributeError:
            check("update_position", "position", position, Position)
            raise
        try:
            life = self._positions[position_id]
        except KeyError:
            check("update_position", "position", position, Position)
            self._update_purged(position)
            return
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            if life.purging and self._is_purged(life):
                self._update_purged(position)
            elif len(events) > 1 and events[-2] is life.last:
                event, version, is_open, make = events[-1], life.version, position.side is not _FLAT, self._encode_fill
                try:
                    self._put("update_position", position_id, time_ns(), make, version, is_open, event, None)
                except (Full, Shut) as error:
                    self._persister.refuse(error, "update_position", position_id)
                life.version = version + 1
                life.last = event
            else:
                self._write_fills(position_id, position, life)
        finally:
            life.busy = False

    def _write_fills(self, position_id: PositionId, position: Position, life: Life) -> None:
        """Write what is not written of `position`, be it no fill, several, or a new cycle."""
        check("update_position", "position", position, Position)
        events = life.tail(position._events)
        if events is None:
            if life.is_forked_by(position._events):
                self._refuse_stale("update_position", position_id, life, position._events)
            self._begin_cycle("update_position", position)
            return
        arguments = (position_id, life.version, not position.is_closed, events, None)
        self._accept("update_position", position_id, self._encoder.position, arguments)
        life.written(events)

    def _update_purged(self, position: Position) -> None:
        """Write a position that was purged here anew, with all fills that it has. Raises `UnknownId` for any other."""
        if position.id not in self._purged_positions:
            self._refuse_unknown("update_position", position.id, "position")
        self._begin_cycle("update_position", position)

    def snapshot_order_state(self, order: Order) -> None:
        """Write the state of `order` as it is now. Raises `UnknownId` if this process neither added nor loaded it."""
        check("snapshot_order_state", "order", order, Order)
        order_id = order.client_order_id
        state = order.to_dict()
        size = len(state) * VALUE_BYTES
        with self._registering:  # so that it is not purged meanwhile
            life = self._orders.get(order_id)
            if life is None:
                self._refuse_unknown("snapshot_order_state", order_id, "order")
            amended = life.amended(order)
            arguments = (order_id, state, amended)
            self._accept("snapshot_order_state", order_id, self._encoder.snapshot_order, arguments, size)
            if amended is not None:
                life.amendments = len(amended)

    def snapshot_position_state(
        self, position: Position, ts_snapshot: int, unrealized_pnl: Money | None = None
    ) -> None:
        """Write the state of `position` as it is at `ts_snapshot`, in UNIX nanoseconds.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded the position.
        """
        check("snapshot_position_state", "position", position, Position)
        check("snapshot_position_state", "ts_snapshot", ts_snapshot, int)
        if not 0 <= ts_snapshot < 2**64:
            raise Refused(f"snapshot_position_state {position.id}: ts_snapshot {ts_snapshot} does not fit in 64 bits")
        if unrealized_pnl is not None:
            check("snapshot_position_state", "unrealized_pnl", unrealized_pnl, Money)
        state = position.to_dict()
        state["ts_snapshot"] = ts_snapshot
        state["unrealized_pnl"] = None if unrealized_pnl is None else str(unrealized_pnl)
        arguments = (position.id, state)
        size = len(state) * VALUE_BYTES
        with self._registering:  # so that it is not purged meanwhile
            if position.id not in self._positions:
                self._refuse_unknown("snapshot_position_state", position.id, "position")
            self._accept("snapshot_position_state", position.id, self._encoder.snapshot_position, arguments, size)
