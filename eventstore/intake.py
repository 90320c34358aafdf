"""The write half of the database: what each verb checks, captures and puts in the backlog."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import time_ns
from typing import Any, NoReturn

from eventstore import commands as c
from eventstore.codec import Serializer
from eventstore.config import CacheDatabaseConfig
from eventstore.encoder import Encoder
from eventstore.errors import AlreadyAdded, EventStoreError, Refused, StaleObject, TooLarge, UnknownId
from eventstore.facade import CacheDatabase, Component
from eventstore.model.accounts import Account
from eventstore.model.currency import Currency
from eventstore.model.enums import TriggerType
from eventstore.model.errors import InvalidIdentifier
from eventstore.model.events import OrderInitialized
from eventstore.model.identifiers import (
    ClientId,
    ClientOrderId,
    ComponentId,
    Identifier,
    PositionId,
    StrategyId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money
from eventstore.persister import Persister
from eventstore.registry import Life, Meanwhile
from eventstore.schema import TAGS
from workers.backlog import Full, Shut

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUE_BYTES = 64
"""What one value of a snapshot is counted as in the backlog: about what it takes there."""

PURGED_POSITIONS_MAX = 100_000
"""Positions that are remembered as purged, some hundred bytes each: the last ones."""

PurgeOne = c.PurgeOrder | c.PurgePosition

_NO_TRIGGER = TriggerType.NO_TRIGGER


class Intake(CacheDatabase):
    """The verbs that write: each checks on the caller's thread and does no I/O; nothing of a refused call is kept."""

    def __init__(
        self, trader_id: TraderId, config: CacheDatabaseConfig, serializer: Serializer, persister: Persister
    ) -> None:
        self.trader_id = trader_id
        self.config = config
        self._persister = persister
        self._keys = persister.keys
        self._put = persister.put
        self._accept = persister.accept
        self._encoder = Encoder(serializer)
        self._encode_update_order = self._encoder.update_order
        self._encode_position = self._encoder.position
        self._encode_account = self._encoder.account
        self._orders: dict[str, Life] = {}
        self._positions: dict[str, Life] = {}
        self._accounts: dict[str, Life] = {}
        # Positions that were purged here, the last ones: a node that has one still may open it again.
        self._purged_positions: dict[str, None] = {}
        # Held to decide whether something is purged, and to learn and forget. A signal handler may come in between.
        self._registering = threading.RLock()
        self._loads: set[Meanwhile] = set()

    def _forget_all(self) -> None:
        with self._registering:
            for load in self._loads:
                load.forget_all()
            self._orders, self._positions, self._accounts = {}, {}, {}
            self._purged_positions.clear()

    def _forget(self, lives: dict[str, Life], aggregate_id: str) -> None:
        with self._registering:
            for load in self._loads:
                load.forget(lives, aggregate_id)
            lives.pop(aggregate_id, None)
            if lives is self._positions:
                self._purged_positions.pop(aggregate_id, None)

    @contextmanager
    def _learning(self) -> Iterator[Meanwhile]:
        """Collect what becomes unknown while something is loaded, which began before and still has it."""
        meanwhile = Meanwhile()
        with self._registering:
            self._loads.add(meanwhile)
        try:
            yield meanwhile
        finally:
            with self._registering:
                self._loads.discard(meanwhile)

    def _learn(self, lives: dict[str, Life], meanwhile: Meanwhile, aggregate_id: str, life: Life) -> None:
        # What was written meanwhile is further than what was read.
        with self._registering:
            if not meanwhile.is_gone(lives, aggregate_id):
                lives.setdefault(aggregate_id, life)

    def _purge(self, lives: dict[str, Life], command: PurgeOne, last_event_id: str) -> bool:
        """Accept `command`, unless what it purges went on since it was looked at; return whether it was.

        It was looked at when its last event was that of `last_event_id`. Raises as `Persister.accept`.
        """
        aggregate_id = command[0]
        with self._registering:
            life = lives.get(aggregate_id)
            if life is not None:
                life.purging = True
                if life.busy or life.version != command.version or life.last_event_id != last_event_id:
                    life.purging = False
                    return False
            accepted = True
            try:
                self._accept("purge", aggregate_id, command.__class__, tuple(command))
            except EventStoreError:
                accepted = False
                raise
            finally:  # a signal handler that raises leaves it open whether it was: then it was
                if accepted:
                    self._purged(lives, command, life)
                elif life is not None:
                    life.purging = False
            return True

    def _purged(self, lives: dict[str, Life], command: PurgeOne, life: Life | None) -> None:
        aggregate_id = command[0]
        for load in self._loads:
            load.forget(lives, aggregate_id)
        # One that was not known then may have been added since.
        if life is not None:
            lives.pop(aggregate_id, None)
        if command.__class__ is c.PurgePosition:
            self._purged_positions[aggregate_id] = None
            if len(self._purged_positions) > PURGED_POSITIONS_MAX:
                del self._purged_positions[next(iter(self._purged_positions))]

    def _is_purged(self, life: Life) -> bool:
        """Whether `life`, which was `purging`, is purged; waits until that is decided."""
        with self._registering:
            return life.purging

    # -- Writes ------------------------------------------------------------------------------------------------

    def add(self, key: str, value: bytes) -> None:
        """Add a general object. Raises `TooLarge` if `value` is over `value_bytes_max`."""
        check("add", "key", key, str)
        check("add", "value", value, bytes)
        try:
            Identifier(key)
        except InvalidIdentifier as error:
            raise Refused(f"add {key!r:.80}: not a possible key: {error}") from error
        self._check_size("add", key, len(value))
        self._accept("add", key, c.Add, (key, value), len(value) or 1)

    def add_currency(self, currency: Currency) -> None:
        check("add_currency", "currency", currency, Currency)
        check_kind("add_currency", currency)
        self._accept("add_currency", currency.code, self._encoder.currency, (currency.code, currency))

    def add_instrument(self, instrument: Instrument) -> None:
        check("add_instrument", "instrument", instrument, Instrument)
        check_kind("add_instrument", instrument)
        self._accept("add_instrument", instrument.id, self._encoder.instrument, (instrument.id, instrument))

    def add_synthetic(self, synthetic: SyntheticInstrument) -> None:
        check("add_synthetic", "synthetic", synthetic, SyntheticInstrument)
        check_kind("add_synthetic", synthetic)
        self._accept("add_synthetic", synthetic.id, self._encoder.synthetic, (synthetic.id, synthetic))

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
        check("add_order", "order", order, Order)
        if position_id is not None:
            check("add_order", "position_id", position_id, PositionId)
        if client_id is not None:
            check("add_order", "client_id", client_id, ClientId)
        order_id = order.client_order_id
        if order.trader_id != self.trader_id:
            raise Refused(
                f"add_order {order_id}: it is an order of {order.trader_id}, this is {self.trader_id}'s database"
            )
        if order_id not in self._orders:
            self._begin_order(order, Life(0, ()), tuple(order._events), position_id, client_id)
            return
        with self._registering:  # so that it is not purged meanwhile
            life = self._orders.get(order_id) or Life(0, ())
            events = life.tail(order._events) if life.version else tuple(order._events)
            if events is None or not any(event.__class__ is OrderInitialized for event in events):
                raise AlreadyAdded(
                    f"add_order {order_id}: an order of that id was added or loaded before; use update_order, or "
                    "another client order id"
                )
            self._begin_order(order, life, events, position_id, client_id)

    def _begin_order(
        self,
        order: Order,
        life: Life,
        events: tuple[Any, ...],
        position_id: PositionId | None,
        client_id: ClientId | None,
    ) -> None:
        order_id = order.client_order_id
        self._accept(
            "add_order",
            order_id,
            self._encoder.add_order,
            (
                order_id,
                life.version,
                order.status,
                order.emulation_trigger is not _NO_TRIGGER,
                events,
                position_id,
                client_id,
                None if order._amendments is None else tuple(order._amendments),
            ),
        )
        life.written(events)
        life.amendments = len(order._amendments or ())
        self._orders[order_id] = life

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
        self._accept(operation, position_id, self._encode_position, arguments)
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
        self._accept("update_account", account.id, self._encode_account, (account.id, life.version, events))
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
        # The call that a node makes most: everything on it is there for a reason, and nothing else is.
        if not isinstance(order, Order):
            check("update_order", "order", order, Order)
        order_id = order.client_order_id
        life = self._orders.get(order_id)
        if life is None:
            self._refuse_unknown("update_order", order_id, "order")
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            if life.purging and self._is_purged(life):
                self._refuse_unknown("update_order", order_id, "order")
            events = order._events
            last = events[-1]
            if len(events) > 1 and events[-2] is life.last:
                new: tuple[Any, ...] = (last,)
            else:
                new = self._order_tail(life, order)
            amended = None if order._amendments is None else life.amended(order)
            arguments = (
                order_id,
                life.version,
                order.status,
                order.emulation_trigger is not _NO_TRIGGER,
                new,
                amended,
            )
            try:
                self._put(("update_order", order_id, time_ns(), self._encode_update_order, arguments))
            except (Full, Shut) as error:
                self._persister.refuse(error, "update_order", order_id)
            life.version += len(new)
            life.last = last
            if amended is not None:
                life.amendments = len(amended)
        finally:
            life.busy = False

    def _order_tail(self, life: Life, order: Order) -> tuple[Any, ...]:
        events = life.tail(order._events)
        if events is None:
            self._refuse_stale("update_order", order.client_order_id, life, order._events)
        return events

    def update_position(self, position: Position) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        StaleObject
            If its history does not go on from what was written, and is no new cycle either.
        """
        if not isinstance(position, Position):
            check("update_position", "position", position, Position)
        position_id = position.id
        life = self._positions.get(position_id)
        if life is None:
            self._update_purged(position)
            return
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            if life.purging and self._is_purged(life):
                self._update_purged(position)
                return
            events = life.tail(position._events)
            if events is None:
                if life.is_forked_by(position._events):
                    self._refuse_stale("update_position", position_id, life, position._events)
                self._begin_cycle("update_position", position)
                return
            arguments = (position_id, life.version, not position.is_closed, events, None)
            try:
                self._put(("update_position", position_id, time_ns(), self._encode_position, arguments))
            except (Full, Shut) as error:
                self._persister.refuse(error, "update_position", position_id)
            life.written(events)
        finally:
            life.busy = False

    def _update_purged(self, position: Position) -> None:
        """Write a position that was purged here anew, with all fills that it has. Raises `UnknownId` for any other."""
        if position.id not in self._purged_positions:
            self._refuse_unknown("update_position", position.id, "position")
        self._begin_cycle("update_position", position)

    def update_actor(self, actor: Component) -> None:
        """Write what `actor.save()` returns. Raises `TooLarge` if that is over `value_bytes_max`."""
        component_id, state, size = self._saved("update_actor", "actor", actor)
        self._accept("update_actor", component_id, self._encoder.actor, (component_id, state), size)

    def update_strategy(self, strategy: Component) -> None:
        """Write what `strategy.save()` returns. Raises `TooLarge` if that is over `value_bytes_max`."""
        component_id, state, size = self._saved("update_strategy", "strategy", strategy)
        self._accept("update_strategy", component_id, self._encoder.strategy, (component_id, state), size)

    def _saved(self, operation: str, name: str, component: Component) -> tuple[str, dict[str, bytes], int]:
        if not callable(getattr(component, "save", None)) or not hasattr(component, "id"):
            raise TypeError(
                f"{operation}: {name}: expected something with an id and save(), got {type(component).__name__}"
            )
        check(operation, f"{name}.id", component.id, ComponentId)
        saved = component.save()
        if not isinstance(saved, Mapping):
            raise TypeError(f"{operation} {component.id}: save() has to return a dict, got {type(saved).__name__}")
        state = dict(saved)
        size = 1
        for key, value in state.items():
            if not isinstance(key, str) or not isinstance(value, bytes):
                raise TypeError(
                    f"{operation} {component.id}: save() has to return dict[str, bytes], got "
                    f"{type(key).__name__} {key!r:.40} with {type(value).__name__} behind it"
                )
            try:
                size += len(key.encode()) + len(value)
            except UnicodeEncodeError:
                raise Refused(f"{operation} {component.id}: the key {key!r:.40} is not valid Unicode") from None
        self._check_size(operation, component.id, size)
        return component.id, state, size

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

    def index_order_position(self, client_order_id: ClientOrderId, position_id: PositionId) -> None:
        check("index_order_position", "client_order_id", client_order_id, ClientOrderId)
        check("index_order_position", "position_id", position_id, PositionId)
        with self._registering:  # so that it is not purged meanwhile
            arguments = (client_order_id, position_id, client_order_id in self._orders)
            self._accept("index_order_position", client_order_id, c.IndexOrderPosition, arguments)

    def index_venue_order_id(self, client_order_id: ClientOrderId, venue_order_id: VenueOrderId) -> None:
        check("index_venue_order_id", "client_order_id", client_order_id, ClientOrderId)
        check("index_venue_order_id", "venue_order_id", venue_order_id, VenueOrderId)
        self._accept("index_venue_order_id", client_order_id, c.IndexVenueOrderId, (client_order_id, venue_order_id))

    def heartbeat(self, timestamp: datetime) -> None:
        """Note that the node was alive at `timestamp`. Raises `Refused` if it has no time zone."""
        check("heartbeat", "timestamp", timestamp, datetime)
        self._accept("heartbeat", self._keys.heartbeat, c.Heartbeat, (unix_ns("heartbeat", timestamp),))

    # -- Deletes -----------------------------------------------------------------------------------------------

    def delete_actor(self, component_id: ComponentId) -> None:
        check("delete_actor", "component_id", component_id, ComponentId)
        self._accept("delete_actor", component_id, c.DeleteActor, (component_id,))

    def delete_strategy(self, strategy_id: StrategyId) -> None:
        check("delete_strategy", "strategy_id", strategy_id, StrategyId)
        self._accept("delete_strategy", strategy_id, c.DeleteStrategy, (strategy_id,))

    def delete_order(self, client_order_id: ClientOrderId) -> None:
        check("delete_order", "client_order_id", client_order_id, ClientOrderId)
        self._accept("delete_order", client_order_id, c.DeleteOrder, (client_order_id,))
        self._forget(self._orders, client_order_id)

    def delete_position(self, position_id: PositionId) -> None:
        check("delete_position", "position_id", position_id, PositionId)
        self._accept("delete_position", position_id, c.DeletePosition, (position_id,))
        self._forget(self._positions, position_id)

    # -- What the verbs have in common ---------------------------------------------------------------------------

    def _refuse_unknown(self, operation: str, aggregate_id: str, what: str) -> NoReturn:
        raise UnknownId(
            f"{operation} {aggregate_id}: this process neither added nor loaded this {what}; call add_{what} or "
            f"load_{what} first"
        )

    def _refuse_stale(self, operation: str, aggregate_id: str, life: Life, events: Sequence[Any]) -> NoReturn:
        what = operation.removeprefix("update_")
        raise StaleObject(
            f"{operation} {aggregate_id}: the last event written ({type(life.last).__name__} "
            f"{getattr(life.last, 'event_id', '')}) is not among its {len(events)}; load the {what} and apply the new "
            "events to that one"
        )

    def _check_size(self, operation: str, key: str, size: int) -> None:
        if size > self.config.value_bytes_max:
            raise TooLarge(
                f"{operation} {key}: {size} bytes, at most {self.config.value_bytes_max} are allowed; split it, or "
                "raise value_bytes_max"
            )


def check(operation: str, name: str, value: object, kind: type) -> None:
    """Raise `TypeError`, naming the operation and its argument, unless `value` is of `kind`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        hint = f"; wrap it: {kind.__name__}({value!r:.60})" if isinstance(value, str) else ""
        raise TypeError(f"{operation}: {name}: expected {kind.__name__}, got {type(value).__name__}{hint}")


def unix_ns(operation: str, moment: datetime) -> int:
    """Return `moment` as UNIX nanoseconds. Raises `Refused` if it has no time zone or does not fit in 64 bits."""
    if moment.utcoffset() is None:
        raise Refused(f"{operation}: {moment} has no time zone; pass datetime.now(UTC), say")
    since = moment - EPOCH
    ns = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    if not 0 <= ns < 2**64:
        raise Refused(f"{operation}: {moment} is before 1970 or beyond what 64 bits of nanoseconds hold")
    return ns


def check_kind(operation: str, record: Record) -> None:
    """Raise `TypeError` for a record of a class that is not in the schema, such as a subclass of one that is."""
    if record.__class__ not in TAGS:
        raise TypeError(
            f"{operation}: a {type(record).__name__} can not be stored: it is none of the model's classes; build one "
            "of those"
        )
