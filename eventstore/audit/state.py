"""What a trader had at one place of the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from eventstore.aggregates import account_from, order_from, position_from
from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.loader import Loader, collector_paused
from eventstore.model.accounts import Account
from eventstore.model.currency import Currency
from eventstore.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    InstrumentId,
    PositionId,
    StrategyId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.projections import MemoryViews
from eventstore.timestamps import EPOCH


class MemoryReader:
    """Reads views in memory as `eventstore.storage.reader.Reader` reads those at a server."""

    def __init__(self, views: MemoryViews) -> None:
        self._views = views

    def hash(self, key: str) -> dict[str, bytes]:
        return dict(self._views.hashes.get(key, {}))

    def field(self, key: str, field: str) -> bytes | None:
        return self._views.hashes.get(key, {}).get(field)

    def hashes(self, keys: Iterable[str]) -> Iterator[tuple[str, dict[bytes, bytes] | DamagedRecord]]:
        hashes = self._views.hashes
        return ((key, {name.encode(): value for name, value in hashes.get(key, {}).items()}) for key in keys)

    def is_member(self, key: str, member: str) -> bool:
        return member in self._views.sets.get(key, ())

    def members(self, key: str) -> set[str]:
        return set(self._views.sets.get(key, ()))

    def difference(self, key: str, without: str, parts: Sequence[str] = ()) -> set[str]:
        return self.members(key) - self.members(without)


class State:
    """Orders, positions, accounts and all else, as they were behind entry `position` of the log.

    Each method builds what it returns from the views. Raises `DamagedRecord` for what can not be read, unless it was
    made with ``strict=False``: then such things are left out, and are in `damaged`.

    Attributes
    ----------
    position : int
        The last entry that is in it; 0 if there is none.
    accepted_ms : int
        When that was accepted, UNIX milliseconds; 0 if there is none.
    keys : Keys
        The names of the trader's keys.
    views : MemoryViews
        The views, to the byte.
    damaged : list of DamagedRecord
    """

    def __init__(
        self,
        keys: Keys,
        views: MemoryViews,
        position: int,
        accepted_ms: int,
        serializer: Serializer | None = None,
        strict: bool = True,
    ) -> None:
        self.position = position
        self.accepted_ms = accepted_ms
        self.views = views
        self.damaged: list[DamagedRecord] = []
        self.keys = keys
        self._loader = Loader(MemoryReader(views), keys, serializer or MsgPackSerializer(), strict, self.damaged.append)
        # Money in a currency that this process was not told of has to be read with the right number of decimals.
        self._loader.currencies()

    def __repr__(self) -> str:
        return f"State(position={self.position}, accepted_ms={self.accepted_ms})"

    # -- Aggregates --------------------------------------------------------------------------------------------

    def order(self, order_id: ClientOrderId) -> Order | None:
        """Return one order, or None."""
        found = self._loader.order(order_from, order_id)
        return None if found is None else found[0]

    def orders(self, open_only: bool = False) -> dict[ClientOrderId, Order]:
        """Return the orders, all or those that are not closed."""
        with collector_paused():
            return {order.client_order_id: order for order, _ in self._loader.orders(order_from, open_only).values()}

    def position_of(self, position_id: PositionId) -> Position | None:
        """Return one position, in its present cycle, or None."""
        found = self._loader.position(position_from, position_id)
        return None if found is None else found[0]

    def positions(self, open_only: bool = False) -> dict[PositionId, Position]:
        """Return the positions in their present cycles, all or the open ones."""
        with collector_paused():
            return {position.id: position for position, _ in self._loader.positions(position_from, open_only).values()}

    def position_cycles(self, position_id: PositionId) -> list[Position]:
        """Return the earlier cycles of a position, oldest first."""
        return self._loader.position_cycles(position_from, position_id)

    def account(self, account_id: AccountId) -> Account | None:
        """Return one account, or None."""
        found = self._loader.account(account_from, account_id)
        return None if found is None else found[0]

    def accounts(self) -> dict[AccountId, Account]:
        """Return the accounts."""
        return {account.id: account for account, _ in self._loader.accounts(account_from).values()}

    # -- Collections -------------------------------------------------------------------------------------------

    def general(self) -> dict[str, bytes]:
        """Return what was added by key."""
        return self._loader.values(self.keys.general)

    def currencies(self) -> dict[str, Currency]:
        """Return the currencies by code."""
        return self._loader.currencies()

    def currency(self, code: str) -> Currency | None:
        """Return one currency as it was added, or None."""
        return self._loader.record(self.keys.currencies, code, Currency)

    def instrument(self, instrument_id: InstrumentId) -> Instrument | None:
        """Return one instrument, or None."""
        return self._loader.instrument(instrument_id)

    def synthetic(self, instrument_id: InstrumentId) -> SyntheticInstrument | None:
        """Return one synthetic instrument, or None."""
        return self._loader.synthetic(instrument_id)

    def actor(self, component_id: ComponentId) -> dict[str, bytes]:
        """Return the saved state of one actor; empty if there is none."""
        return self._loader.state(self.keys.actors, component_id)

    def strategy(self, strategy_id: StrategyId) -> dict[str, bytes]:
        """Return the saved state of one strategy; empty if there is none."""
        return self._loader.state(self.keys.strategies, strategy_id)

    def order_snapshot(self, order_id: ClientOrderId) -> dict[str, Any] | None:
        """Return the last snapshot of one order, or None."""
        return self._loader.snapshot(self.keys.order_snapshots, order_id)

    def position_snapshot(self, position_id: PositionId) -> dict[str, Any] | None:
        """Return the last snapshot of one position, or None."""
        return self._loader.snapshot(self.keys.position_snapshots, position_id)

    def instruments(self) -> dict[InstrumentId, Instrument]:
        """Return the instruments."""
        return self._loader.records(self.keys.instruments, Instrument, InstrumentId)

    def synthetics(self) -> dict[InstrumentId, SyntheticInstrument]:
        """Return the synthetic instruments."""
        return self._loader.records(self.keys.synthetics, SyntheticInstrument, InstrumentId)

    def actors(self) -> dict[ComponentId, dict[str, bytes]]:
        """Return the saved states of the actors."""
        return self._loader.states(self.keys.actors, ComponentId)

    def strategies(self) -> dict[StrategyId, dict[str, bytes]]:
        """Return the saved states of the strategies."""
        return self._loader.states(self.keys.strategies, StrategyId)

    def order_snapshots(self) -> dict[ClientOrderId, dict[str, Any]]:
        """Return the last snapshot of each order."""
        return self._loader.snapshots(self.keys.order_snapshots, ClientOrderId)

    def position_snapshots(self) -> dict[PositionId, dict[str, Any]]:
        """Return the last snapshot of each position."""
        return self._loader.snapshots(self.keys.position_snapshots, PositionId)

    def heartbeat(self) -> datetime | None:
        """Return when the node was alive last, to the microsecond, or None."""
        ns = self.heartbeat_ns()
        return None if ns is None else EPOCH + timedelta(microseconds=ns // 1000)

    def heartbeat_ns(self) -> int | None:
        """Return when the node was alive last, UNIX nanoseconds, or None."""
        return self._loader.number(self.keys.heartbeat, "timestamp")

    # -- Indexes -----------------------------------------------------------------------------------------------

    def position_ids_of_orders(self) -> dict[ClientOrderId, PositionId]:
        """Return which position an order belongs to."""
        return self._loader.texts(self.keys.index_order_position, ClientOrderId, PositionId)

    def client_ids_of_orders(self) -> dict[ClientOrderId, ClientId]:
        """Return which client an order was given to."""
        return self._loader.texts(self.keys.index_order_client, ClientOrderId, ClientId)

    def venue_order_ids(self) -> dict[ClientOrderId, VenueOrderId]:
        """Return the ids of orders at their venues."""
        return self._loader.texts(self.keys.index_venue_order_id, ClientOrderId, VenueOrderId)
