"""What is written as a whole: general objects, currencies, instruments, saved states, indexes; and deletes by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from eventstore import commands as c
from eventstore.errors import Refused
from eventstore.facade import Component
from eventstore.ledger import check
from eventstore.model.currency import Currency
from eventstore.model.errors import InvalidIdentifier
from eventstore.model.identifiers import (
    ClientId,
    ClientOrderId,
    ComponentId,
    Identifier,
    InstrumentId,
    PositionId,
    StrategyId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.schema import TAGS
from eventstore.store import Store
from eventstore.timestamps import EPOCH


class Catalog(Store):
    """The verbs for what is written as a whole. Those that write check on the caller's thread, and do no I/O."""

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

    def update_actor(self, actor: Component) -> None:
        """Write what `actor.save()` returns. Raises `TooLarge` if that is over `value_bytes_max`."""
        _check_component("update_actor", "actor", actor)
        self.save_actor(actor.id, actor.save())

    def update_strategy(self, strategy: Component) -> None:
        """Write what `strategy.save()` returns. Raises `TooLarge` if that is over `value_bytes_max`."""
        _check_component("update_strategy", "strategy", strategy)
        self.save_strategy(strategy.id, strategy.save())

    def save_actor(self, component_id: str, saved: Mapping[str, bytes]) -> None:
        """Write `saved` as the state of an actor. Raises `TooLarge` if that is over `value_bytes_max`."""
        self._save("update_actor", component_id, saved, self._encoder.actor)

    def save_strategy(self, strategy_id: str, saved: Mapping[str, bytes]) -> None:
        """Write `saved` as the state of a strategy. Raises `TooLarge` if that is over `value_bytes_max`."""
        self._save("update_strategy", strategy_id, saved, self._encoder.strategy)

    def _save(
        self, operation: str, component_id: str, saved: Mapping[str, bytes], encode: Callable[..., c.Command]
    ) -> None:
        if not isinstance(saved, Mapping):
            raise TypeError(f"{operation} {component_id}: save() has to return a dict, got {type(saved).__name__}")
        state = dict(saved)
        size = 1
        for key, value in state.items():
            if not isinstance(key, str) or not isinstance(value, bytes):
                raise TypeError(
                    f"{operation} {component_id}: save() has to return dict[str, bytes], got "
                    f"{type(key).__name__} {key!r:.40} with {type(value).__name__} behind it"
                )
            try:
                size += len(key.encode()) + len(value)
            except UnicodeEncodeError:
                raise Refused(f"{operation} {component_id}: the key {key!r:.40} is not valid Unicode") from None
        self._check_size(operation, component_id, size)
        self._accept(operation, component_id, encode, (component_id, state), size)

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

    # -- Loads -------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, bytes]:
        return self._load(lambda loader: loader.values(self._keys.general))

    def load_currency(self, code: str) -> Currency | None:
        check("load_currency", "code", code, str)
        return self._load(lambda loader: loader.record(self._keys.currencies, code, Currency))

    def load_currencies(self) -> dict[str, Currency]:
        return self._load(lambda loader: loader.currencies())

    def load_instrument(self, instrument_id: InstrumentId) -> Instrument | None:
        check("load_instrument", "instrument_id", instrument_id, InstrumentId)
        return self._load(lambda loader: loader.record(self._keys.instruments, instrument_id, Instrument))

    def load_instruments(self) -> dict[InstrumentId, Instrument]:
        return self._load(lambda loader: loader.records(self._keys.instruments, Instrument, InstrumentId))

    def load_synthetic(self, instrument_id: InstrumentId) -> SyntheticInstrument | None:
        check("load_synthetic", "instrument_id", instrument_id, InstrumentId)
        if not instrument_id.is_synthetic:
            raise ValueError(f"load_synthetic: {instrument_id} is not synthetic; its venue would be SYNTH")
        return self._load(lambda loader: loader.record(self._keys.synthetics, instrument_id, SyntheticInstrument))

    def load_synthetics(self) -> dict[InstrumentId, SyntheticInstrument]:
        return self._load(lambda loader: loader.records(self._keys.synthetics, SyntheticInstrument, InstrumentId))

    def load_actor(self, component_id: ComponentId) -> dict[str, bytes]:
        check("load_actor", "component_id", component_id, ComponentId)
        return self._load(lambda loader: loader.state(self._keys.actors, component_id))

    def load_strategy(self, strategy_id: StrategyId) -> dict[str, bytes]:
        check("load_strategy", "strategy_id", strategy_id, StrategyId)
        return self._load(lambda loader: loader.state(self._keys.strategies, strategy_id))

    def load_order_snapshot(self, client_order_id: ClientOrderId) -> dict[str, Any] | None:
        check("load_order_snapshot", "client_order_id", client_order_id, ClientOrderId)
        return self._load(lambda loader: loader.snapshot(self._keys.order_snapshots, client_order_id))

    def load_order_snapshots(self) -> dict[ClientOrderId, dict[str, Any]]:
        return self._load(lambda loader: loader.snapshots(self._keys.order_snapshots, ClientOrderId))

    def load_position_snapshot(self, position_id: PositionId) -> dict[str, Any] | None:
        check("load_position_snapshot", "position_id", position_id, PositionId)
        return self._load(lambda loader: loader.snapshot(self._keys.position_snapshots, position_id))

    def load_position_snapshots(self) -> dict[PositionId, dict[str, Any]]:
        return self._load(lambda loader: loader.snapshots(self._keys.position_snapshots, PositionId))

    def load_index_order_position(self) -> dict[ClientOrderId, PositionId]:
        return self._load(lambda loader: loader.texts(self._keys.index_order_position, ClientOrderId, PositionId))

    def load_index_order_client(self) -> dict[ClientOrderId, ClientId]:
        return self._load(lambda loader: loader.texts(self._keys.index_order_client, ClientOrderId, ClientId))

    def load_index_venue_order_id(self) -> dict[ClientOrderId, VenueOrderId]:
        return self._load(lambda loader: loader.texts(self._keys.index_venue_order_id, ClientOrderId, VenueOrderId))

    def load_order_ids(self, state: str = "all") -> set[ClientOrderId]:
        k = self._keys
        named = {
            "all": k.orders,
            "open": k.orders_open,
            "closed": k.orders_closed,
            "inflight": k.orders_inflight,
            "emulated": k.orders_emulated,
        }
        key = _choose("load_order_ids", state, named)
        return self._load(lambda loader: loader.ids(key, ClientOrderId))

    def load_position_ids(self, state: str = "all") -> set[PositionId]:
        k = self._keys
        named = {"all": k.positions, "open": k.positions_open, "closed": k.positions_closed}
        key = _choose("load_position_ids", state, named)
        return self._load(lambda loader: loader.ids(key, PositionId))

    def load_heartbeat(self) -> datetime | None:
        ns = self._load(lambda loader: loader.number(self._keys.heartbeat, "timestamp"))
        return None if ns is None else EPOCH + timedelta(microseconds=ns // 1000)


def _check_component(operation: str, name: str, component: Component) -> None:
    if not callable(getattr(component, "save", None)) or not hasattr(component, "id"):
        raise TypeError(
            f"{operation}: {name}: expected something with an id and save(), got {type(component).__name__}"
        )
    check(operation, f"{name}.id", component.id, ComponentId)


def check_kind(operation: str, record: Record) -> None:
    """Raise `TypeError` for a record of a class that is not in the schema, such as a subclass of one that is."""
    if record.__class__ not in TAGS:
        raise TypeError(
            f"{operation}: a {type(record).__name__} can not be stored: it is none of the model's classes; build one "
            "of those"
        )


def _choose(operation: str, state: str, named: dict[str, str]) -> str:
    check(operation, "state", state, str)
    if state not in named:
        raise ValueError(f"{operation}: state {state!r} is none of {', '.join(named)}")
    return named[state]
