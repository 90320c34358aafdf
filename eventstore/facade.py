"""The interface of a cache database: what a node's cache calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

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
from eventstore.model.values import Money

Level = Literal["accepted", "journaled", "applied", "durable"]
"""How far a command has come: in the backlog; in the journal; in the log; as safe there as was asked for."""


@runtime_checkable
class Component(Protocol):
    """An actor or strategy: whatever has an `id` and can `save` its state."""

    @property
    def id(self) -> ComponentId:
        """What its state is kept under."""

    def save(self) -> dict[str, bytes]:
        """Return its state."""


class CacheDatabase(ABC):
    """What a node's in-memory cache is kept in.

    Adds, updates and deletes return before they are written; loads wait for what was accepted before them.

    Every verb raises `TypeError` for an argument of another type than its own, before anything is accepted.
    """

    # -- Life --------------------------------------------------------------------------------------------------

    @abstractmethod
    def close(self, timeout_s: float | None = None) -> int:
        """Write what was accepted, stop, and return how many commands were not written within `timeout_s` seconds."""

    @abstractmethod
    def sync(self, timeout_s: float | None = None, level: Level = "applied") -> int:
        """Wait until what was accepted before the call has come to `level`; return its last position in the log."""

    @abstractmethod
    def flush(self) -> None:
        """Delete everything of this trader, the log too. Positions go on from where they were."""

    @abstractmethod
    def keys(self, pattern: str = "*") -> list[str]:
        """Return the names of this trader's keys that match the shell-style `pattern`, sorted."""

    # -- Writes ------------------------------------------------------------------------------------------------

    @abstractmethod
    def add(self, key: str, value: bytes) -> None:
        """Add a general object: `value` under `key`."""

    @abstractmethod
    def add_currency(self, currency: Currency) -> None:
        """Add a currency."""

    @abstractmethod
    def add_instrument(self, instrument: Instrument) -> None:
        """Add an instrument, in place of one of the same id."""

    @abstractmethod
    def add_synthetic(self, synthetic: SyntheticInstrument) -> None:
        """Add a synthetic instrument, in place of one of the same id."""

    @abstractmethod
    def add_account(self, account: Account) -> None:
        """Add an account with all its events."""

    @abstractmethod
    def add_order(self, order: Order, position_id: PositionId | None = None, client_id: ClientId | None = None) -> None:
        """Add an order with all its events; or, for one that was added, what it was transformed into.

        `position_id` and `client_id` are indexed with it.
        """

    @abstractmethod
    def add_position(self, position: Position) -> None:
        """Add a position with all its fills; the id of one that was closed begins a new cycle."""

    @abstractmethod
    def update_account(self, account: Account) -> None:
        """Write the events of `account` that were not written yet."""

    @abstractmethod
    def update_order(self, order: Order) -> None:
        """Write the events of `order` that were not written yet."""

    @abstractmethod
    def update_position(self, position: Position) -> None:
        """Write the fills of `position` that were not written yet."""

    @abstractmethod
    def update_actor(self, actor: Component) -> None:
        """Write the saved state of `actor`."""

    @abstractmethod
    def update_strategy(self, strategy: Component) -> None:
        """Write the saved state of `strategy`."""

    @abstractmethod
    def snapshot_order_state(self, order: Order) -> None:
        """Write the state of `order` as it is now."""

    @abstractmethod
    def snapshot_position_state(
        self, position: Position, ts_snapshot: int, unrealized_pnl: Money | None = None
    ) -> None:
        """Write the state of `position` as it is at `ts_snapshot`, in UNIX nanoseconds."""

    @abstractmethod
    def index_order_position(self, client_order_id: ClientOrderId, position_id: PositionId) -> None:
        """Note which position an order belongs to."""

    @abstractmethod
    def index_venue_order_id(self, client_order_id: ClientOrderId, venue_order_id: VenueOrderId) -> None:
        """Note which id an order has at its venue."""

    @abstractmethod
    def heartbeat(self, timestamp: datetime) -> None:
        """Note that the node was alive at `timestamp`, which has a time zone."""

    # -- Deletes -----------------------------------------------------------------------------------------------

    @abstractmethod
    def delete_actor(self, component_id: ComponentId) -> None:
        """Delete the state of an actor."""

    @abstractmethod
    def delete_strategy(self, strategy_id: StrategyId) -> None:
        """Delete the state of a strategy."""

    @abstractmethod
    def delete_order(self, client_order_id: ClientOrderId) -> None:
        """Delete an order from the views and their indexes; the log keeps it."""

    @abstractmethod
    def delete_position(self, position_id: PositionId) -> None:
        """Delete a position and its earlier cycles from the views; the log keeps them."""

    @abstractmethod
    def delete_account_event(self, account_id: AccountId, event_id: str) -> None:
        """Delete one event of an account from the view; the log keeps it."""

    # -- Loads -------------------------------------------------------------------------------------------------

    @abstractmethod
    def load(self) -> dict[str, bytes]:
        """Return all general objects."""

    @abstractmethod
    def load_all(self) -> dict[str, dict[Any, Any]]:
        """Return currencies, instruments, synthetics, accounts, orders and positions, under those names."""

    @abstractmethod
    def load_currency(self, code: str) -> Currency | None:
        """Return a currency, or None."""

    @abstractmethod
    def load_currencies(self) -> dict[str, Currency]:
        """Return all currencies by code."""

    @abstractmethod
    def load_instrument(self, instrument_id: InstrumentId) -> Instrument | None:
        """Return an instrument, or None."""

    @abstractmethod
    def load_instruments(self) -> dict[InstrumentId, Instrument]:
        """Return all instruments."""

    @abstractmethod
    def load_synthetic(self, instrument_id: InstrumentId) -> SyntheticInstrument | None:
        """Return a synthetic instrument, or None. Raises `ValueError` for an id that is not a synthetic one's."""

    @abstractmethod
    def load_synthetics(self) -> dict[InstrumentId, SyntheticInstrument]:
        """Return all synthetic instruments."""

    @abstractmethod
    def load_account(self, account_id: AccountId) -> Account | None:
        """Return an account, or None."""

    @abstractmethod
    def load_accounts(self) -> dict[AccountId, Account]:
        """Return all accounts."""

    @abstractmethod
    def load_order(self, client_order_id: ClientOrderId) -> Order | None:
        """Return an order, or None."""

    @abstractmethod
    def load_orders(self, open_only: bool = False) -> dict[ClientOrderId, Order]:
        """Return all orders, or only those that are not closed."""

    @abstractmethod
    def load_position(self, position_id: PositionId) -> Position | None:
        """Return the present cycle of a position, or None."""

    @abstractmethod
    def load_positions(self, open_only: bool = False) -> dict[PositionId, Position]:
        """Return the present cycle of all positions, or only those that are open."""

    @abstractmethod
    def load_position_cycles(self, position_id: PositionId) -> list[Position]:
        """Return the earlier cycles of a position, oldest first."""

    @abstractmethod
    def load_actor(self, component_id: ComponentId) -> dict[str, bytes]:
        """Return the saved state of an actor; empty if there is none."""

    @abstractmethod
    def load_strategy(self, strategy_id: StrategyId) -> dict[str, bytes]:
        """Return the saved state of a strategy; empty if there is none."""

    @abstractmethod
    def load_order_snapshot(self, client_order_id: ClientOrderId) -> dict[str, Any] | None:
        """Return the last snapshot of an order, or None."""

    @abstractmethod
    def load_order_snapshots(self) -> dict[ClientOrderId, dict[str, Any]]:
        """Return the last snapshot of each order that has one."""

    @abstractmethod
    def load_position_snapshot(self, position_id: PositionId) -> dict[str, Any] | None:
        """Return the last snapshot of a position, or None; with ``ts_snapshot`` and ``unrealized_pnl`` in it."""

    @abstractmethod
    def load_position_snapshots(self) -> dict[PositionId, dict[str, Any]]:
        """Return the last snapshot of each position that has one."""

    @abstractmethod
    def load_index_order_position(self) -> dict[ClientOrderId, PositionId]:
        """Return which position each order belongs to."""

    @abstractmethod
    def load_index_order_client(self) -> dict[ClientOrderId, ClientId]:
        """Return which execution client each order went through."""

    @abstractmethod
    def load_index_venue_order_id(self) -> dict[ClientOrderId, VenueOrderId]:
        """Return which id each order has at its venue. By order: two venues may give the same id."""

    @abstractmethod
    def load_order_ids(self, state: str = "all") -> set[ClientOrderId]:
        """Return the ids of the orders that are in `state`: all, open, closed, inflight or emulated."""

    @abstractmethod
    def load_position_ids(self, state: str = "all") -> set[PositionId]:
        """Return the ids of the positions that are in `state`: all, open or closed."""

    @abstractmethod
    def load_heartbeat(self) -> datetime | None:
        """Return the time of the last heartbeat, in UTC and to the microsecond, or None."""
