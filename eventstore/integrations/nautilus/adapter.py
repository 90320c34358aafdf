"""`CacheDatabaseAdapter`: NautilusTrader's interface of a cache database, over a store of this library."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.facade import CacheDatabaseFacade
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    InstrumentId,
    PositionId,
    StrategyId,
    TraderId,
    VenueOrderId,
)
from nautilus_trader.model.objects import Currency
from nautilus_trader.serialization.base import Serializer

from eventstore import model as m
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import Closed, EventStoreError
from eventstore.health import Health
from eventstore.integrations.nautilus.settings import store_config, store_id
from eventstore.integrations.nautilus.store import HELD_AS_CALLED, NautilusStore
from eventstore.ledger import check


class CacheDatabaseAdapter(CacheDatabaseFacade):  # type: ignore[misc] # it is compiled, and has no types
    """A cache database for NautilusTrader: takes and gives its objects, and keeps them in a store of this library.

    A verb that writes captures what it needs and returns, without I/O; a thread writes behind. Loads wait for what was
    written before them.

    Parameters
    ----------
    trader_id : nautilus_trader.model.identifiers.TraderId
    instance_id : nautilus_trader.core.uuid.UUID4
        Part of the name of the store if the configuration says `use_instance_id`.
    serializer : nautilus_trader.serialization.base.Serializer
        Not used: the log has a form of its own. It is here because NautilusTrader passes one.
    config : nautilus_trader.cache.config.CacheConfig, optional
        NautilusTrader's settings: see `eventstore.integrations.nautilus.settings` for what each means here.
    settings : CacheDatabaseConfig, optional
        Settings of this library's, such as a journal. A `url` or `directory` in there goes before the host and port of
        `config`. Default: those of the environment.

    Raises
    ------
    TypeError
        If an argument is of another type than its own.
    EventStoreError
        As `eventstore.RedisCacheDatabase`.
    """

    def __init__(
        self,
        trader_id: TraderId,
        instance_id: UUID4,
        serializer: Serializer,
        config: CacheConfig | None = None,
        settings: CacheDatabaseConfig | None = None,
    ) -> None:
        check("CacheDatabaseAdapter", "trader_id", trader_id, TraderId)
        check("CacheDatabaseAdapter", "instance_id", instance_id, UUID4)
        check("CacheDatabaseAdapter", "serializer", serializer, Serializer)
        config = CacheConfig() if config is None else config
        check("CacheDatabaseAdapter", "config", config, CacheConfig)
        super().__init__(config)
        self._closing: list[Callable[[], object]] = []
        name = store_id(trader_id, instance_id, config)
        self.store = NautilusStore(name, trader_id.value, config=store_config(name, config, settings))
        """The store behind it: `sync`, `health`, `stats` and `purge` are there."""
        # NautilusTrader looks for these on the instance first. A frame less, on what it calls most.
        for verb, own in _OWN.items():
            if getattr(type(self), verb) is own:  # a subclass, or whoever patched this one, may have another
                setattr(self, verb, getattr(self.store, verb))

    @property
    def health(self) -> Health:
        """How the store is. Reading it costs no I/O and waits for nobody."""
        return self.store.health

    # -- Life --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what was accepted, within `close_timeout_s`, and stop. What could not be written is kept, see the log.

        May be called again: a node does, when it is disposed of.
        """
        try:
            while self._closing:
                self._closing.pop()()
            self.store.write_amendments()
        except Closed:
            pass  # by whoever closed it first, who wrote them
        except EventStoreError as error:
            # What keeps these from being written must not keep the rest, and the journal's lock, from being let go of.
            self.store.say("error", "what was set on orders without an event could not be written", error=str(error))
        finally:
            self.store.close()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have `callback` called when this is closed, before it is."""
        self._closing.append(callback)

    def flush(self) -> None:
        """Delete everything of this trader, and nothing else, and wait until it is done."""
        self.store.flush()

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the names of this trader's keys that match the glob-style `pattern`, which is without the prefix."""
        check("keys", "pattern", pattern, str)
        if not pattern.strip():
            raise ValueError("keys: pattern: an empty pattern matches nothing; '*' matches all")
        prefix = self.store.prefix
        names = self.store.keys()
        return [name for name in names if fnmatch.fnmatchcase(name.removeprefix(prefix), pattern)]

    # -- Loads -------------------------------------------------------------------------------------------------

    def load_all(self) -> dict[str, dict[Any, Any]]:
        """Return currencies, instruments, synthetics, accounts, orders and positions, under those names."""
        found = self.store.load_everything()
        for name in ("currencies", "instruments", "synthetics"):
            found[name] = self._by_id(found[name])
        return found

    def load(self) -> dict[str, bytes]:
        """Return all general objects."""
        return self.store.load()

    def load_currencies(self) -> dict[str, Currency]:
        """Return all currencies by code."""
        return self._by_id(self.store.load_currencies())

    def load_instruments(self) -> dict[InstrumentId, Any]:
        """Return all instruments."""
        return self._by_id(self.store.load_instruments())

    def load_synthetics(self) -> dict[InstrumentId, Any]:
        """Return all synthetic instruments."""
        return self._by_id(self.store.load_synthetics())

    def load_accounts(self) -> dict[AccountId, Any]:
        """Return all accounts."""
        return self.store.load_all_accounts()

    def load_orders(self) -> dict[ClientOrderId, Any]:
        """Return all orders."""
        return self.store.load_all_orders()

    def load_positions(self) -> dict[PositionId, Any]:
        """Return the present cycle of all positions."""
        return self.store.load_all_positions()

    def load_position_cycles(self, position_id: PositionId) -> list[Any]:
        """Return the earlier cycles of a position, oldest first; NautilusTrader's own database does not keep them."""
        check("load_position_cycles", "position_id", position_id, PositionId)
        return self.store.load_cycles(position_id.value)

    def load_index_order_position(self) -> dict[ClientOrderId, PositionId]:
        """Return which position each order belongs to."""
        found = self.store.load_index_order_position()
        return {ClientOrderId(str(order_id)): PositionId(str(position_id)) for order_id, position_id in found.items()}

    def load_index_order_client(self) -> dict[ClientOrderId, ClientId]:
        """Return which execution client each order went through."""
        found = self.store.load_index_order_client()
        return {ClientOrderId(str(order_id)): ClientId(str(client_id)) for order_id, client_id in found.items()}

    def load_index_venue_order_id(self) -> dict[ClientOrderId, VenueOrderId]:
        """Return which id each order has at its venue."""
        found = self.store.load_index_venue_order_id()
        return {ClientOrderId(str(order_id)): VenueOrderId(str(venue_id)) for order_id, venue_id in found.items()}

    def load_currency(self, code: str) -> Currency | None:
        """Return a currency, or None."""
        return self.store.as_nautilus(self.store.load_currency(code))

    def load_instrument(self, instrument_id: InstrumentId) -> Any:
        """Return an instrument, or None."""
        check("load_instrument", "instrument_id", instrument_id, InstrumentId)
        return self.store.as_nautilus(self.store.load_instrument(m.InstrumentId(instrument_id.value)))

    def load_synthetic(self, instrument_id: InstrumentId) -> Any:
        """Return a synthetic instrument, or None. Raises `ValueError` for an id that is not a synthetic one's."""
        check("load_synthetic", "instrument_id", instrument_id, InstrumentId)
        return self.store.as_nautilus(self.store.load_synthetic(m.InstrumentId(instrument_id.value)))

    def load_account(self, account_id: AccountId) -> Any:
        """Return an account, or None."""
        check("load_account", "account_id", account_id, AccountId)
        return self.store.load_one_account(account_id.value)

    def load_order(self, client_order_id: ClientOrderId) -> Any:
        """Return an order, or None."""
        check("load_order", "client_order_id", client_order_id, ClientOrderId)
        return self.store.load_one_order(client_order_id.value)

    def load_position(self, position_id: PositionId) -> Any:
        """Return the present cycle of a position, or None."""
        check("load_position", "position_id", position_id, PositionId)
        return self.store.load_one_position(position_id.value)

    def load_actor(self, component_id: ComponentId) -> dict[str, bytes]:
        """Return the saved state of an actor; empty if there is none."""
        check("load_actor", "component_id", component_id, ComponentId)
        return self.store.load_actor(m.ComponentId(component_id.value))

    def load_strategy(self, strategy_id: StrategyId) -> dict[str, bytes]:
        """Return the saved state of a strategy; empty if there is none."""
        check("load_strategy", "strategy_id", strategy_id, StrategyId)
        return self.store.load_strategy(m.StrategyId(strategy_id.value))

    def load_order_snapshot(self, client_order_id: ClientOrderId) -> dict[str, Any] | None:
        """Return the last snapshot of an order, or None. NautilusTrader's own database can not load them."""
        check("load_order_snapshot", "client_order_id", client_order_id, ClientOrderId)
        return self.store.load_order_snapshot(m.ClientOrderId(client_order_id.value))

    def load_position_snapshot(self, position_id: PositionId) -> dict[str, Any] | None:
        """Return the last snapshot of a position, or None; with ``ts_snapshot`` and ``unrealized_pnl`` in it."""
        check("load_position_snapshot", "position_id", position_id, PositionId)
        return self.store.load_position_snapshot(m.PositionId(position_id.value))

    def load_heartbeat(self) -> datetime | None:
        """Return the time of the last heartbeat, in UTC and to the microsecond, or None."""
        return self.store.load_heartbeat()

    def _by_id(self, records: Mapping[Any, Any]) -> dict[Any, Any]:
        values = [self.store.as_nautilus(record) for record in records.values()]
        return {value.code if isinstance(value, Currency) else value.id: value for value in values if value is not None}

    # -- Writes ------------------------------------------------------------------------------------------------

    def add(self, key: str, value: bytes) -> None:
        """Add a general object: `value` under `key`."""
        self.store.add(key, value)

    def add_currency(self, currency: Currency) -> None:
        """Add a currency."""
        self.store.add_record("add_currency", "currency", currency, m.Currency)

    def add_instrument(self, instrument: Any) -> None:
        """Add an instrument, in place of one of the same id. Raises `TypeError` for a class that can not be stored."""
        self.store.add_record("add_instrument", "instrument", instrument, m.Instrument)

    def add_synthetic(self, synthetic: Any) -> None:
        """Add a synthetic instrument, in place of one of the same id."""
        self.store.add_record("add_synthetic", "synthetic", synthetic, m.SyntheticInstrument)

    def add_account(self, account: Any) -> None:
        """Write an account with all its events, or those that were not written yet."""
        self.store.add_account(account)

    def add_order(self, order: Any, position_id: PositionId | None = None, client_id: ClientId | None = None) -> None:
        """Write an order with all its events; or, of one that was written, what it was transformed into."""
        self.store.add_order(order, position_id, client_id)

    def add_position(self, position: Any) -> None:
        """Write a position with all its fills; the id of one that was closed begins a new cycle."""
        self.store.add_position(position)

    def index_venue_order_id(self, client_order_id: ClientOrderId, venue_order_id: VenueOrderId) -> None:
        """Note which id an order has at its venue."""
        check("index_venue_order_id", "client_order_id", client_order_id, ClientOrderId)
        check("index_venue_order_id", "venue_order_id", venue_order_id, VenueOrderId)
        self.store.index_venue_order_id(m.ClientOrderId(client_order_id.value), m.VenueOrderId(venue_order_id.value))

    def index_order_position(self, client_order_id: ClientOrderId, position_id: PositionId) -> None:
        """Note which position an order belongs to."""
        check("index_order_position", "client_order_id", client_order_id, ClientOrderId)
        check("index_order_position", "position_id", position_id, PositionId)
        self.store.index_order_position(m.ClientOrderId(client_order_id.value), m.PositionId(position_id.value))

    def update_account(self, account: Any) -> None:
        """Write the events of `account` that were not written yet."""
        self.store.update_account(account)

    def update_order(self, order: Any) -> None:
        """Write the events of `order` that were not written yet, and what was set on it without an event."""
        self.store.update_order(order)

    def update_position(self, position: Any) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle."""
        self.store.update_position(position)

    def update_actor(self, actor: Any) -> None:
        """Write what `actor.save()` returns."""
        self.store.save_actor(m.ComponentId(actor.id.value), actor.save())

    def update_strategy(self, strategy: Any) -> None:
        """Write what `strategy.save()` returns."""
        self.store.save_strategy(m.StrategyId(strategy.id.value), strategy.save())

    def snapshot_order_state(self, order: Any) -> None:
        """Write the state of `order` as it is now."""
        self.store.snapshot_order_state(order)

    def snapshot_position_state(self, position: Any, ts_snapshot: int, unrealized_pnl: Any = None) -> None:
        """Write the state of `position` as it is at `ts_snapshot`, in UNIX nanoseconds."""
        self.store.snapshot_position_state(position, ts_snapshot, unrealized_pnl)

    def heartbeat(self, timestamp: datetime) -> None:
        """Note that the node was alive at `timestamp`, which has a time zone."""
        self.store.heartbeat(timestamp)

    # -- Deletes -----------------------------------------------------------------------------------------------

    def delete_order(self, client_order_id: ClientOrderId) -> None:
        """Delete an order from the views and their indexes; the log keeps it."""
        check("delete_order", "client_order_id", client_order_id, ClientOrderId)
        self.store.delete_order(m.ClientOrderId(client_order_id.value))

    def delete_position(self, position_id: PositionId) -> None:
        """Delete a position and its earlier cycles from the views; the log keeps them."""
        check("delete_position", "position_id", position_id, PositionId)
        self.store.delete_position(m.PositionId(position_id.value))

    def delete_account_event(self, account_id: AccountId, event_id: str) -> None:
        """Delete one event of an account from the view; the log keeps it. One that it does not have is logged."""
        check("delete_account_event", "account_id", account_id, AccountId)
        check("delete_account_event", "event_id", event_id, str)
        self.store.delete_account_event(account_id.value, event_id)

    def delete_actor(self, component_id: ComponentId) -> None:
        """Delete the saved state of an actor."""
        check("delete_actor", "component_id", component_id, ComponentId)
        self.store.delete_actor(m.ComponentId(component_id.value))

    def delete_strategy(self, strategy_id: StrategyId) -> None:
        """Delete the saved state of a strategy."""
        check("delete_strategy", "strategy_id", strategy_id, StrategyId)
        self.store.delete_strategy(m.StrategyId(strategy_id.value))


_OWN = {verb: getattr(CacheDatabaseAdapter, verb) for verb in HELD_AS_CALLED}
