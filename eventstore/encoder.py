"""What a call captured, made into the command that the log gets: the writer's half of each verb. Pure: no I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from eventstore import commands as c
from eventstore import states
from eventstore.codec import MsgPackSerializer, Serializer, writer_at
from eventstore.model.enums import OrderStatus, TriggerType
from eventstore.model.identifiers import TraderId
from eventstore.model.order_amendments import Amendment
from eventstore.model.record import Record
from eventstore.timestamps import unix_ns_of

_NO_TRIGGER = TriggerType.NO_TRIGGER
_INITIALIZED = int(OrderStatus.INITIALIZED)

# Makes a command of what a node calls all the time, in half of the time that calling its class takes.
_new = tuple.__new__


class Encoder:
    """Turns captured records into commands. Each method's arguments are what its verb put in the backlog.

    Those that are put there as they are, without `called`, get what they do not need, too.

    Parameters
    ----------
    trader_id : TraderId
        The log's: the events of orders do not say it once more.
    """

    def __init__(self, serializer: Serializer, trader_id: TraderId) -> None:
        self._record = serializer.serialize
        self._order_event = writer_at(serializer)
        self._trader_id = trader_id
        self._timestamps_as_str = serializer.timestamps_as_str if isinstance(serializer, MsgPackSerializer) else True

    def heartbeat(self, key: str, timestamp: datetime, *rest: None) -> c.Heartbeat:
        return c.Heartbeat(unix_ns_of(timestamp))

    def currency(self, code: str, record: Record) -> c.AddCurrency:
        return c.AddCurrency(code, self._record(record))

    def instrument(self, instrument_id: str, record: Record) -> c.AddInstrument:
        return c.AddInstrument(instrument_id, self._record(record))

    def synthetic(self, instrument_id: str, record: Record) -> c.AddSynthetic:
        return c.AddSynthetic(instrument_id, self._record(record))

    def account(self, account_id: str, version: int, events: tuple[Record, ...], *rest: None) -> c.WriteAccount:
        return c.WriteAccount(account_id, version, list(map(self._record, events)))

    def add_order(
        self,
        order_id: str,
        version: int,
        status: int,
        emulated: bool,
        events: tuple[Record, ...],
        position_id: str | None,
        client_id: str | None,
        amended: tuple[Amendment, ...] | None,
    ) -> c.AddOrder:
        write, place = self._order_event, (self._trader_id, order_id)
        return c.AddOrder(
            order_id,
            version,
            int(status),
            emulated,
            [write(event, place) for event in events],
            position_id,
            client_id,
            _amended(amended),
        )

    def new_order(
        self,
        order_id: str,
        emulation_trigger: TriggerType,
        event: Record,
        position_id: str | None,
        client_id: str | None,
    ) -> c.AddOrder:
        """As `add_order`, for an order to which nothing has happened, which is what nearly all are."""
        emulated = emulation_trigger is not _NO_TRIGGER
        written = [self._order_event(event, (self._trader_id, order_id))]
        return _new(c.AddOrder, (order_id, 0, _INITIALIZED, emulated, written, position_id, client_id, None))

    def update_order(
        self,
        order_id: str,
        version: int,
        status: int,
        emulated: bool,
        events: tuple[Record, ...],
        amended: tuple[Amendment, ...] | None,
    ) -> c.UpdateOrder:
        write, place = self._order_event, (self._trader_id, order_id)
        written = [write(event, place) for event in events]
        return c.UpdateOrder(order_id, version, int(status), emulated, written, _amended(amended))

    def order_event(
        self, order_id: str, version: int, status: int, emulation_trigger: TriggerType, event: Record
    ) -> c.UpdateOrder:
        """As `update_order`, for one event and no amendments, which is what nearly all calls are."""
        emulated = emulation_trigger is not _NO_TRIGGER
        written = [self._order_event(event, (self._trader_id, order_id))]
        return _new(c.UpdateOrder, (order_id, version, int(status), emulated, written, None))

    def position(
        self, position_id: str, version: int, is_open: bool, events: tuple[Record, ...], basis: Record | None
    ) -> c.WritePosition:
        return c.WritePosition(
            position_id,
            version,
            is_open,
            list(map(self._record, events)),
            None if basis is None else self._record(basis),
        )

    def fill(self, position_id: str, version: int, is_open: bool, fill: Record, *rest: None) -> c.WritePosition:
        """As `position`, for one fill of a cycle that has begun."""
        return _new(c.WritePosition, (position_id, version, is_open, [self._record(fill)], None))

    def snapshot_order(
        self, order_id: str, state: dict[str, Any], amended: tuple[Amendment, ...] | None
    ) -> c.SnapshotOrder:
        return c.SnapshotOrder(order_id, states.pack_snapshot(state, self._timestamps_as_str), _amended(amended))

    def snapshot_position(self, position_id: str, state: dict[str, Any]) -> c.SnapshotPosition:
        return c.SnapshotPosition(position_id, states.pack_snapshot(state, self._timestamps_as_str))

    def actor(self, component_id: str, state: dict[str, bytes]) -> c.UpdateActor:
        return c.UpdateActor(component_id, states.pack_state(state))

    def strategy(self, strategy_id: str, state: dict[str, bytes]) -> c.UpdateStrategy:
        return c.UpdateStrategy(strategy_id, states.pack_state(state))


def _amended(amendments: tuple[Amendment, ...] | None) -> bytes | None:
    return None if amendments is None else states.pack_amended(amendments)
