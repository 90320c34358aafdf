"""Any sequence of calls: the views are the fold of the log, loads give what was written, nobody else's keys change."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis import Redis

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.errors import AlreadyAdded, UnknownId
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.currencies import USD
from eventstore.model.currency import Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TraderId,
    VenueOrderId,
)
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money
from tests.support import node as n
from tests.support import strategies as some
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.logs import check_log, dump
from tests.support.redis_server import RedisServer

NEIGHBOUR = TraderId("TRADER-0011")  # its name begins like the other one's
KEYS = Keys(TRADER)
FOREIGN: dict[str, Any] = {
    "trader-TRADER-001:orders": {b"O-1"},
    "{trader-TRADER-001}": b"the tag alone",
    "{trader-TRADER-001}x:orders": {b"0": b"what is no record"},
    "orders": b"1",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPONENTS = (ComponentId("Actor-1"), ComponentId("EMACross-001"))
SYNTHETICS = tuple(
    SyntheticInstrument(
        Symbol("SPREAD"), precision, (InstrumentId("A.X"), InstrumentId("B.Y")), formula, 1_700_000_000_000_000_000, 0
    )
    for precision, formula in ((2, "A.X - B.Y"), (5, "(A.X + B.Y) / 2"))
)
CURRENCIES = tuple(Currency(f"NEW{i}", i, 0, f"new currency {i}", CurrencyType.CRYPTO) for i in (0, 7, 18))
GENERAL_KEYS = ("a", "with:colon", "with space", "日本", "*", "x" * 255)

order_ids = st.sampled_from(n.ORDERS)
position_ids = st.sampled_from(n.POSITIONS)
account_ids = st.sampled_from(sorted(n.ACCOUNT_TYPES))
states = st.dictionaries(some.texts(6), st.binary(max_size=40), max_size=3)


class WrittenOrder:
    """An order as it was at the last call that wrote it."""

    def __init__(self, order: Order) -> None:
        self.position_id: PositionId | None = None
        """What was indexed for it since it was added, or was transformed."""
        self.note(order)

    def note(self, order: Order) -> None:
        self.kind = type(order)
        self.shown = order.to_dict()
        self.events = order.events
        self.amendments = len(order.amendments)
        self.states = n.written_states(order)

    def loaded(self) -> dict[str, Any]:
        position_id = self.shown["position_id"] or (self.position_id and str(self.position_id))
        return self.shown | {"position_id": position_id}


class Written:
    """What was written, as plain values: what each load has to give, kept without the log and without the views."""

    def __init__(self) -> None:
        self.general: dict[str, bytes] = {}
        self.currencies: dict[str, Currency] = {}
        self.instruments: dict[str, Any] = {}
        self.synthetics: dict[str, SyntheticInstrument] = {}
        self.accounts: dict[str, list[Any]] = {}
        self.orders: dict[str, WrittenOrder] = {}
        self.positions: dict[str, tuple[dict[str, Any], list[Any], bool]] = {}
        self.cycles: dict[str, list[tuple[dict[str, Any], list[Any], bool]]] = {}
        self.actors: dict[str, dict[str, bytes]] = {}
        self.strategies: dict[str, dict[str, bytes]] = {}
        self.order_snapshots: dict[str, dict[str, Any]] = {}
        self.position_snapshots: dict[str, dict[str, Any]] = {}
        self.order_position: dict[str, str] = {}
        self.order_client: dict[str, str] = {}
        self.venue_order_id: dict[str, str] = {}
        self.heartbeat: datetime | None = None


def shown_position(position: Position) -> tuple[dict[str, Any], list[Any], bool]:
    return position.to_dict(), position.events, position.is_open


class CacheDatabaseMachine(RuleBasedStateMachine):
    """Calls of every verb in any order, with closes, crashes and other instances in between."""

    server: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.client = Redis(unix_socket_path=str(self.server.socket_path))
        self.client.flushall()
        self.node = n.Node(TRADER)
        self.written = Written()
        self.orders: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        self.accounts: dict[str, Account] = {}
        # What the present instance was told of, or has loaded.
        self.known_orders: set[str] = set()
        self.known_positions: set[str] = set()
        self.known_accounts: set[str] = set()
        # What the present instance has purged, and not begun again; and the account events that it has deleted.
        self.purged_positions: set[str] = set()
        self.deleted_events: list[Any] = []
        self.expected: list[type[c.Command]] = []
        with self._open(NEIGHBOUR) as neighbour:
            neighbour.add("a", b"the neighbour's")
            neighbour.update_actor(n.State(COMPONENTS[0], {"x": b"y"}))
        for name, value in FOREIGN.items():
            if isinstance(value, bytes):
                self.client.set(name, value)
            elif isinstance(value, set):
                self.client.sadd(name, *value)
            else:
                self.client.hset(name, mapping=value)
        self.others = self._others()

    def _open(self, trader_id: TraderId, **settings: Any) -> RedisCacheDatabase:
        return open_database(self.server.url, trader_id, **settings)

    def _others(self) -> dict[str, Any]:
        return {name: value for name, value in dump(self.client).items() if not name.startswith(KEYS.prefix)}

    @initialize(batch_count_max=st.sampled_from((1, 3, 10_000)))
    def first_open(self, batch_count_max: int) -> None:
        # Batches are cut by count and by whoever waits, never by the clock: a run that fails can be repeated.
        self.settings = {"batch_count_max": batch_count_max, "linger_ms": 10_000.0}
        self.database = self._open(TRADER, **self.settings)
        self.expected = [c.Opened]

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        try:
            self.everything_is_as_it_was_written()
            assert self.database.close() == 0
            log = check_log(self.client, KEYS)
            assert isinstance(log[-1].command, c.ClosedWell)
            assert self._others() == self.others
        finally:
            self.database.close()
            self.client.close()

    # -- General objects, currencies, instruments, components ----------------------------------------------------

    @rule(key=st.sampled_from(GENERAL_KEYS), value=st.binary(max_size=300))
    def add(self, key: str, value: bytes) -> None:
        self.database.add(key, value)
        self.written.general[key] = value
        self.expected.append(c.Add)

    @rule(currency=some.currencies() | st.sampled_from(CURRENCIES))
    def add_currency(self, currency: Currency) -> None:
        self.database.add_currency(currency)
        self.written.currencies[currency.code] = currency
        self.expected.append(c.AddCurrency)

    @rule(instrument=st.sampled_from(sorted(n.INSTRUMENTS.values(), key=lambda i: i.id)), later=st.booleans())
    def add_instrument(self, instrument: Any, later: bool) -> None:
        if later:
            instrument = instrument.replace(ts_init=2**64 - 1)
        self.database.add_instrument(instrument)
        self.written.instruments[instrument.id] = instrument
        self.expected.append(c.AddInstrument)

    @rule(synthetic=st.sampled_from(SYNTHETICS))
    def add_synthetic(self, synthetic: SyntheticInstrument) -> None:
        self.database.add_synthetic(synthetic)
        self.written.synthetics[synthetic.id] = synthetic
        self.expected.append(c.AddSynthetic)

    @rule(component_id=st.sampled_from(COMPONENTS), steps=st.lists(st.none() | states, min_size=1, max_size=4))
    def update_and_delete_actor(self, component_id: ComponentId, steps: list[dict[str, bytes] | None]) -> None:
        """Written and (None) deleted in turns. What `save` returned is copied at the call: it may change afterwards."""
        for state in steps:
            if state is None:
                self.database.delete_actor(component_id)
                self.written.actors.pop(component_id, None)
                self.expected.append(c.DeleteActor)
            else:
                given = dict(state)
                self.database.update_actor(n.State(component_id, given))
                given["later"] = b"x"
                self.written.actors[component_id] = state
                self.expected.append(c.UpdateActor)

    @rule(strategy_id=st.sampled_from(n.STRATEGIES), steps=st.lists(st.none() | states, min_size=1, max_size=4))
    def update_and_delete_strategy(self, strategy_id: StrategyId, steps: list[dict[str, bytes] | None]) -> None:
        for state in steps:
            if state is None:
                self.database.delete_strategy(strategy_id)
                self.written.strategies.pop(strategy_id, None)
                self.expected.append(c.DeleteStrategy)
            else:
                self.database.update_strategy(n.State(strategy_id, state))
                self.written.strategies[strategy_id] = state
                self.expected.append(c.UpdateStrategy)

    @rule(timestamp=st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1)), hours=st.integers(-12, 12))  # noqa: DTZ001
    def heartbeat(self, timestamp: datetime, hours: int) -> None:
        shifted = (timestamp.replace(tzinfo=UTC) + timedelta(days=1)).astimezone(
            datetime.now(UTC).astimezone().tzinfo if hours == 0 else UTC
        )
        self.database.heartbeat(shifted)
        self.written.heartbeat = shifted
        self.expected.append(c.Heartbeat)

    # -- Accounts ------------------------------------------------------------------------------------------------

    @rule(data=st.data(), account_id=account_ids, more=st.integers(0, 2))
    def add_account(self, data: st.DataObject, account_id: AccountId, more: int) -> None:
        if account_id in self.known_accounts:
            with pytest.raises(AlreadyAdded, match=f"add_account {account_id}"):
                self.database.add_account(self.node.new_account(data, account_id))
            return
        account = self.node.new_account(data, account_id)
        for _ in range(more):
            account.apply(self.node.account_state(data, account_id))
        self.database.add_account(account)
        self.accounts[account_id] = account
        self.known_accounts.add(account_id)
        self.written.accounts[account_id] = account.events
        self.expected.append(c.WriteAccount)

    @rule(data=st.data(), account_id=account_ids, count=st.integers(0, 2))
    def update_account(self, data: st.DataObject, account_id: AccountId, count: int) -> None:
        account = self.accounts.get(account_id) or self.node.new_account(data, account_id)
        new = [self.node.account_state(data, account_id) for _ in range(count)]
        if account_id not in self.known_accounts:
            with pytest.raises(UnknownId, match=f"update_account {account_id}"):
                self.database.update_account(account)
            return
        written = self.written.accounts[account_id]
        # What another instance deleted is behind all that this one knows of, if the node's object still has it.
        known = [*written, *self.deleted_events]
        behind = list(takewhile(lambda event: event not in known, reversed(account.events)))[::-1]
        for state in new:
            account.apply(state)
        self.database.update_account(account)
        written += [*behind, *new]
        self.expected.append(c.WriteAccount)

    @rule(data=st.data(), account_id=account_ids)
    def delete_account_event(self, data: st.DataObject, account_id: AccountId) -> None:
        events = self.written.accounts.get(account_id, [])
        if not events:
            with pytest.raises(UnknownId, match=f"delete_account_event {account_id}"):
                self.database.delete_account_event(account_id, "00000000-0000-0000-0000-000000000000")
            return
        event = data.draw(st.sampled_from(events))
        self.database.delete_account_event(account_id, event.event_id)
        events.remove(event)
        self.deleted_events.append(event)
        self.expected.append(c.DeleteAccountEvent)

    # -- Orders --------------------------------------------------------------------------------------------------

    @rule(
        data=st.data(),
        order_id=order_ids,
        events=st.integers(0, 4),
        position_id=st.none() | position_ids,
        client_id=st.none() | st.sampled_from((ClientId("BINANCE"), ClientId("SIM"))),
    )
    def add_order(
        self,
        data: st.DataObject,
        order_id: ClientOrderId,
        events: int,
        position_id: PositionId | None,
        client_id: ClientId | None,
    ) -> None:
        order = self.node.new_order(data, order_id)
        if order_id in self.known_orders:
            with pytest.raises(AlreadyAdded, match="add_order"):
                self.database.add_order(order)
            return
        for _ in range(events):
            self.node.happen(data, order)
        if data.draw(st.booleans()):
            self.node.amend(data, order)
        self.database.add_order(order, position_id, client_id)
        self.orders[order_id] = order
        self.known_orders.add(order_id)
        self.written.orders[order_id] = WrittenOrder(order)
        self._note_indexes(order_id, position_id, client_id)
        self.expected.append(c.AddOrder)

    def _note_indexes(self, order_id: str, position_id: PositionId | None, client_id: ClientId | None) -> None:
        if position_id is not None:
            self.written.order_position[order_id] = position_id
        if client_id is not None:
            self.written.order_client[order_id] = client_id

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), events=st.integers(0, 4), amend=st.booleans())
    def update_order(self, data: st.DataObject, events: int, amend: bool) -> None:
        """Some events at once, or none, or only what was set without an event."""
        order = self._any(data, self.orders)
        order_id = order.client_order_id
        if order_id not in self.known_orders:
            with pytest.raises(UnknownId, match="update_order"):
                self.database.update_order(order)
            return
        for _ in range(events):
            self.node.happen(data, order)
            if amend:
                self.node.amend(data, order)
        self.database.update_order(order)
        self.written.orders[order_id].note(order)
        self.expected.append(c.UpdateOrder)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), client_id=st.none() | st.just(ClientId("EMULATOR")))
    def add_transformed_order(self, data: st.DataObject, client_id: ClientId | None) -> None:
        """An order that was not sent yet becomes another: its history is kept, what was set on it is gone."""
        order = self._any(data, self.orders)
        order_id = order.client_order_id
        if order_id not in self.known_orders:
            return
        self.node.happen(data, order)
        transformed = self.node.transformed(data, order)
        if transformed is None:
            self.database.update_order(order)
            self.written.orders[order_id].note(order)
            self.expected.append(c.UpdateOrder)
            return
        with pytest.raises(AlreadyAdded, match="add_order"):
            self.database.add_order(order)
        self.database.add_order(transformed, None, client_id)
        self.orders[order_id] = transformed
        self.written.orders[order_id] = WrittenOrder(transformed)
        self._note_indexes(order_id, None, client_id)
        self.expected.append(c.AddOrder)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def snapshot_order(self, data: st.DataObject) -> None:
        order = self._any(data, self.orders)
        order_id = order.client_order_id
        if order_id not in self.known_orders:
            with pytest.raises(UnknownId, match="snapshot_order_state"):
                self.database.snapshot_order_state(order)
            return
        self.node.amend(data, order)
        self.database.snapshot_order_state(order)
        # The snapshot brings what was set without an event; the sets are those of the last call that wrote events.
        states = self.written.orders[order_id].states
        self.written.orders[order_id].note(order)
        self.written.orders[order_id].states = states
        self.written.order_snapshots[order_id] = order.to_dict()
        self.expected.append(c.SnapshotOrder)

    @rule(order_id=order_ids)
    def delete_order(self, order_id: ClientOrderId) -> None:
        self.database.delete_order(order_id)
        written = self.written
        self.orders.pop(order_id, None)
        self.known_orders.discard(order_id)
        held: tuple[dict[str, Any], ...] = (
            written.orders,
            written.order_snapshots,
            written.order_position,
            written.order_client,
            written.venue_order_id,
        )
        for collection in held:
            collection.pop(order_id, None)
        self.expected.append(c.DeleteOrder)

    @rule(order_id=order_ids, position_id=position_ids, noted=st.booleans())
    def index_order_position(self, order_id: ClientOrderId, position_id: PositionId, noted: bool) -> None:
        """Of an order that is there, that is not, or that another instance added; noted on the order itself, or not."""
        order = self.orders.get(order_id)
        if noted and order is not None and order.position_id is None:
            order.position_id = position_id
        self.database.index_order_position(order_id, position_id)
        self.written.order_position[order_id] = position_id
        if order_id in self.known_orders:
            self.written.orders[order_id].position_id = position_id
        self.expected.append(c.IndexOrderPosition)

    @rule(order_id=order_ids, number=st.integers(0, 3))
    def index_venue_order_id(self, order_id: ClientOrderId, number: int) -> None:
        venue_order_id = VenueOrderId(f"V {number}")
        self.database.index_venue_order_id(order_id, venue_order_id)
        self.written.venue_order_id[order_id] = venue_order_id
        self.expected.append(c.IndexVenueOrderId)

    # -- Positions -----------------------------------------------------------------------------------------------

    @rule(data=st.data(), position_id=position_ids, fills=st.integers(0, 2))
    def add_position(self, data: st.DataObject, position_id: PositionId, fills: int) -> None:
        """A new position; or one of an id that is there: a new cycle of it, whoever added the one before."""
        position = self.node.open_position(data, position_id)
        for _ in range(fills):
            if position.is_open:
                self.node.fill_position(data, position)
        self.database.add_position(position)
        self._begin_cycle(position)
        with pytest.raises(AlreadyAdded, match="add_position"):
            self.database.add_position(position)

    def _begin_cycle(self, position: Position) -> None:
        position_id = position.id
        before = self.written.positions.get(position_id)
        if before is not None:
            self.written.cycles.setdefault(position_id, []).append(before)
        self.positions[position_id] = position
        self.known_positions.add(position_id)
        self.purged_positions.discard(position_id)
        self.written.positions[position_id] = shown_position(position)
        self.expected.append(c.WritePosition)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), fills=st.integers(0, 3))
    def update_position(self, data: st.DataObject, fills: int) -> None:
        """Fills that add, reduce, close, turn over, or open again what was flat: that is a new cycle."""
        position = self._any(data, self.positions)
        if position.id in self.purged_positions:
            self.database.update_position(position)
            self._begin_cycle(position)
        elif position.id not in self.known_positions:
            with pytest.raises(UnknownId, match="update_position"):
                self.database.update_position(position)
            return
        for _ in range(fills):
            was_flat = position.is_closed
            self.node.fill_position(data, position)
            self.database.update_position(position)
            if was_flat:
                self._begin_cycle(position)
            else:
                self.written.positions[position.id] = shown_position(position)
                self.expected.append(c.WritePosition)
        self.database.update_position(position)
        self.expected.append(c.WritePosition)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), pnl=st.none() | st.just(Money("-12.34", USD)), ts=some.timestamps())
    def snapshot_position(self, data: st.DataObject, pnl: Money | None, ts: int) -> None:
        position = self._any(data, self.positions)
        if position.id not in self.known_positions:
            with pytest.raises(UnknownId, match="snapshot_position_state"):
                self.database.snapshot_position_state(position, ts, pnl)
            return
        self.database.snapshot_position_state(position, ts, pnl)
        state = position.to_dict() | {"ts_snapshot": ts, "unrealized_pnl": None if pnl is None else str(pnl)}
        self.written.position_snapshots[position.id] = state
        self.expected.append(c.SnapshotPosition)

    @rule(position_id=position_ids)
    def delete_position(self, position_id: PositionId) -> None:
        self.database.delete_position(position_id)
        self.positions.pop(position_id, None)
        self.known_positions.discard(position_id)
        self.purged_positions.discard(position_id)
        for collection in (self.written.positions, self.written.cycles, self.written.position_snapshots):
            collection.pop(position_id, None)
        self.expected.append(c.DeletePosition)

    # -- What is closed ------------------------------------------------------------------------------------------

    @rule(data=st.data(), account_events=st.booleans())
    def purge(self, data: st.DataObject, account_events: bool) -> None:
        """What is closed and had its last event before a time is gone, whoever wrote it; all else is as it was."""
        self._purge(data.draw(st.sampled_from([*self._times(), 2**62]), label="before"), account_events)

    def _times(self) -> list[int]:
        """When something had its last event, in UNIX nanoseconds, and a little later."""
        events = [was.events[-1] for was in self.written.orders.values()]
        events += [held[-1] for _, held, _ in self.written.positions.values()]
        return sorted({event.ts_event + later for event in events for later in (0, 1_000)})

    def _purge(self, moment_ns: int, account_events: bool) -> None:
        before = EPOCH + timedelta(microseconds=moment_ns // 1000)
        before_ns = int((before - EPOCH) / timedelta(microseconds=1)) * 1000
        orders = self._purge_orders(before_ns)
        positions = self._purge_positions(before_ns)
        cycles = self._purge_cycles(before_ns)
        purged = self._purge_accounts(before_ns) if account_events else []
        found = self.database.purge(before, account_events=account_events)
        assert found == (orders, positions, sum(cycles), sum(purged))
        self.expected += [c.PurgeOrder] * orders + [c.PurgePosition] * positions
        self.expected += [c.PurgePositionCycles] * len(cycles) + [c.PurgeAccountEvents] * len(purged)

    def _purge_orders(self, before_ns: int) -> int:
        written = self.written
        alive = {order_id for order_id, was in written.orders.items() if not was.states["closed"]}
        gone = [
            order_id
            for order_id, was in written.orders.items()
            if was.states["closed"]
            and was.events[-1].ts_event < before_ns
            and not alive & {*(was.shown["linked_order_ids"] or ()), was.shown["parent_order_id"]}
        ]
        held = (written.orders, written.order_snapshots)
        indexes = (written.order_position, written.order_client, written.venue_order_id)
        for order_id in gone:
            self.known_orders.discard(order_id)
            for collection in (*held, *indexes):
                collection.pop(order_id, None)  # type: ignore[attr-defined]
        return len(gone)

    def _purge_positions(self, before_ns: int) -> int:
        written = self.written
        gone = [
            position_id
            for position_id, (_, events, is_open) in written.positions.items()
            if not is_open and events[-1].ts_event < before_ns
        ]
        for position_id in gone:
            self.known_positions.discard(position_id)
            self.purged_positions.add(position_id)
            for collection in (written.positions, written.cycles, written.position_snapshots):
                collection.pop(position_id, None)
        return len(gone)

    def _purge_cycles(self, before_ns: int) -> list[int]:
        counts = []
        for cycles in self.written.cycles.values():
            count = 0
            while cycles and cycles[0][1][-1].ts_event < before_ns:
                del cycles[0]
                count += 1
            if count:
                counts.append(count)
        return counts

    def _purge_accounts(self, before_ns: int) -> list[int]:
        counts = []
        for events in self.written.accounts.values():
            count = 0
            while len(events) > 1 and events[0].ts_event < before_ns:
                del events[0]
                count += 1
            if count:
                counts.append(count)
        return counts

    # -- Life ----------------------------------------------------------------------------------------------------

    @rule()
    def flush(self) -> None:
        """Everything of this trader is gone, but for one entry that says so; positions and chain go on."""
        self.database.sync()
        before = check_log(self.client, KEYS)
        self.database.flush()
        (entry,) = check_log(self.client, KEYS)
        assert isinstance(entry.command, c.Flushed)
        assert (entry.command.position, entry.command.chain) == (before[-1].position, before[-1].head)
        assert entry.position == before[-1].position + 1
        self.written = Written()
        self.orders, self.positions, self.accounts = {}, {}, {}
        self.known_orders, self.known_positions, self.known_accounts = set(), set(), set()
        self.purged_positions, self.deleted_events = set(), []
        self.expected = [c.Flushed]

    @rule(
        load=st.sampled_from(("nothing", "everything", "one by one")),
        replace=st.booleans(),
        crash=st.booleans(),
        as_text=st.booleans(),
    )
    def open_another(self, load: str, replace: bool, crash: bool, as_text: bool) -> None:
        """Another instance goes on, after the first one was closed, or takes the log over from it; loading or not.

        With what was loaded in place of the node's objects, or with those: both have the same history.
        """
        former = self.database
        former.sync()
        if not crash:
            assert former.close() == 0
            self.expected.append(c.ClosedWell)
        self.database = self._open(TRADER, **self.settings)
        self.expected.append(c.Opened)
        if crash:
            assert former.close() <= 1  # its last words were refused
        self.known_orders, self.known_positions, self.known_accounts = set(), set(), set()
        self.purged_positions, self.deleted_events = set(), []
        if load == "everything":
            self._adopt(self.database.load_all(), replace)
        elif load == "one by one":
            found = {
                "orders": {i: self.database.load_order(i) for i in n.ORDERS},
                "positions": {i: self.database.load_position(i) for i in n.POSITIONS},
                "accounts": {i: self.database.load_account(i) for i in n.ACCOUNT_TYPES},
            }
            self._adopt({name: {i: o for i, o in group.items() if o} for name, group in found.items()}, replace)

    @rule()
    def reload(self) -> None:
        """The node goes on with what it has just loaded, in place of the objects that it had."""
        self._adopt(self.database.load_all(), replace=True)

    def _adopt(self, loaded: dict[str, dict[Any, Any]], replace: bool) -> None:
        for name in ("orders", "positions", "accounts"):
            getattr(self, f"known_{name}").update(loaded[name])
            if replace:
                getattr(self, name).update(loaded[name])

    @rule()
    def sync(self) -> None:
        position = self.database.sync()
        assert position == self.database.stats().applied
        assert self.database.stats().waiting == self.database.stats().in_doubt == 0

    # -- What has to hold ----------------------------------------------------------------------------------------

    @rule()
    def everything_is_as_it_was_written(self) -> None:
        """The log is whole and says each call; views, loads and reference agree; nobody else's keys were touched."""
        self.database.sync()
        log = check_log(self.client, KEYS)
        assert [type(line.command) for line in log] == self.expected
        assert self._others() == self.others
        self._check_collections()
        self._check_orders()
        self._check_positions()
        self._check_accounts()
        self._check_names()

    def _check_collections(self) -> None:
        database, written = self.database, self.written
        assert database.load() == written.general
        same(database.load_currencies(), written.currencies)
        same(database.load_instruments(), written.instruments)
        same(database.load_synthetics(), written.synthetics)
        for code in ("NEW7", "USD", "nothing"):
            assert database.load_currency(code) == written.currencies.get(code)
        for instrument_id in (*list(n.INSTRUMENTS)[:3], InstrumentId("NO.WHERE")):
            assert database.load_instrument(instrument_id) == written.instruments.get(instrument_id)
        for synthetic_id in (SYNTHETICS[0].id, InstrumentId("NO.SYNTH")):
            assert database.load_synthetic(synthetic_id) == written.synthetics.get(synthetic_id)
        for component_id in (*COMPONENTS, ComponentId("nobody")):
            assert database.load_actor(component_id) == written.actors.get(component_id, {})
        for strategy_id in (*n.STRATEGIES, StrategyId("nobody")):
            assert database.load_strategy(strategy_id) == written.strategies.get(strategy_id, {})
        assert database.load_heartbeat() == written.heartbeat
        assert database.load_index_order_position() == written.order_position
        assert database.load_index_order_client() == written.order_client
        assert database.load_index_venue_order_id() == written.venue_order_id

    def _check_orders(self) -> None:
        database, written = self.database, self.written
        loaded = database.load_orders()
        self.known_orders.update(loaded)
        assert loaded.keys() == written.orders.keys()
        assert all(type(order_id) is ClientOrderId for order_id in loaded)
        for order_id, order in loaded.items():
            was = written.orders[order_id]
            assert type(order) is was.kind
            assert order.to_dict() == was.loaded()
            assert order.events == was.events
        open_only = {order_id for order_id, was in written.orders.items() if not was.states["closed"]}
        assert database.load_orders(open_only=True).keys() == open_only
        for state in ("all", "open", "closed", "inflight", "emulated"):
            assert database.load_order_ids(state) == {i for i, was in written.orders.items() if was.states[state]}
        assert database.load_order_snapshots() == written.order_snapshots
        for order_id in n.ORDERS[:2]:
            one = database.load_order(order_id)
            assert (one and one.to_dict()) == (written.orders[order_id].loaded() if order_id in loaded else None)
            assert database.load_order_snapshot(order_id) == written.order_snapshots.get(order_id)

    def _check_positions(self) -> None:
        database, written = self.database, self.written
        loaded = database.load_positions()
        self.known_positions.update(loaded)
        assert {i: shown_position(position) for i, position in loaded.items()} == written.positions
        open_ids = {i for i, (_, _, is_open) in written.positions.items() if is_open}
        assert database.load_positions(open_only=True).keys() == open_ids
        assert database.load_position_ids() == written.positions.keys()
        assert database.load_position_ids("open") == open_ids
        assert database.load_position_ids("closed") == written.positions.keys() - open_ids
        assert database.load_position_snapshots() == written.position_snapshots
        for position_id in n.POSITIONS:
            one = database.load_position(position_id)
            assert (one and shown_position(one)) == written.positions.get(position_id)
            cycles = database.load_position_cycles(position_id)
            assert [shown_position(cycle) for cycle in cycles] == written.cycles.get(position_id, [])
            assert database.load_position_snapshot(position_id) == written.position_snapshots.get(position_id)

    def _check_accounts(self) -> None:
        loaded = self.database.load_accounts()
        self.known_accounts.update(loaded)
        expected = {i: Account.from_events(events) for i, events in self.written.accounts.items() if events}
        assert {i: account.to_dict() for i, account in loaded.items()} == {
            i: account.to_dict() for i, account in expected.items()
        }
        for account_id in n.ACCOUNT_TYPES:
            one = self.database.load_account(account_id)
            events = self.written.accounts.get(account_id)
            assert (one.events if one else None) == (events or None)

    def _check_names(self) -> None:
        """`keys` gives the names of the keys that exist, and no other trader's."""
        names = [name for name in dump(self.client) if name.startswith(KEYS.prefix)]
        assert self.database.keys() == sorted(names)
        pattern = KEYS.prefix.replace("{", "[{]") + "order*"
        assert self.database.keys(pattern) == fnmatch.filter(sorted(names), pattern)

    # -- Helpers -------------------------------------------------------------------------------------------------

    @staticmethod
    def _any(data: st.DataObject, objects: dict[str, Any]) -> Any:
        return objects[data.draw(st.sampled_from(sorted(objects)), label="which")]


def same(loaded: dict[Any, Any], written: dict[str, Any]) -> None:
    """Equal, key by key, down to the decimals that a value was written with."""
    assert loaded.keys() == written.keys()
    for key, record in loaded.items():
        assert some.same(record, written[key])


@pytest.fixture
def registry() -> Iterator[None]:
    """The currencies that are known, as they were before."""
    from eventstore.model.currency import _REGISTRY

    before = copy.copy(_REGISTRY)
    yield
    _REGISTRY.clear()
    _REGISTRY.update(before)


@pytest.mark.usefixtures("registry")
def test_any_sequence_of_calls(server_of_each_kind: RedisServer) -> None:
    """For any calls: views equal the fold of the log byte for byte; the log is gapless and chained; loads give what was
    written; a flush, close or takeover in between changes none of that; other traders and foreign keys stay untouched.
    """
    machine = type("Machine", (CacheDatabaseMachine,), {"server": server_of_each_kind})
    run_state_machine_as_test(machine, settings=effort(examples=25, steps=30))
