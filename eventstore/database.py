"""The database behind a node's cache: the trading verbs."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import time_ns
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.config import CacheDatabaseConfig
from eventstore.encoder import Encoder
from eventstore.errors import AlreadyAdded, Closed, DamagedRecord, Refused, StaleObject, TooLarge, UnknownId
from eventstore.facade import CacheDatabase, Component
from eventstore.loader import Loader, collector_paused
from eventstore.model.accounts import Account
from eventstore.model.currency import Currency
from eventstore.model.enums import TriggerType
from eventstore.model.events import AccountState, OrderInitialized
from eventstore.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    Identifier,
    InstrumentId,
    PositionId,
    StrategyId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money
from eventstore.persister import Persister, Stats, default_logger
from eventstore.registry import Life
from workers.backlog import Full, Shut
from workers.heartbeat import Heartbeat

A = TypeVar("A", Order, Position, Account)
K = TypeVar("K", bound=str)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TRIGGER = TriggerType.NO_TRIGGER


class RedisCacheDatabase(CacheDatabase):
    """A cache database that writes behind into Redis: an append-only log, and views of it for the loads.

    A verb that writes checks its arguments, captures what it needs, puts it in a queue and returns; a thread does the
    rest. All verbs may be called from any thread; one aggregate should be updated by one thread at a time.

    Parameters
    ----------
    trader_id : TraderId
        Whose data it is. All keys begin with ``{trader-<trader_id>}``. Opening it takes the log over from whoever wrote
        to it before: that one is refused from then on.
    logger : structlog logger, optional
        Gets what happens in the background. Default: ``structlog.get_logger("eventstore")``.
    serializer : Serializer, optional
        Default: ``MsgPackSerializer(timestamps_as_str=True)``.
    config : CacheDatabaseConfig, optional
        Default: the embedded server, in the default directory.

    Raises
    ------
    TypeError
        If an argument is of another type than its own, such as a config that is no `CacheDatabaseConfig`.
    StorageError
        If the server can not be reached, refuses, or holds a log that is not whole.
    ConfigError
        If the server may evict keys and that was not allowed.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def __init__(
        self,
        trader_id: TraderId,
        logger: Any = None,
        serializer: Serializer | None = None,
        config: CacheDatabaseConfig | None = None,
    ) -> None:
        _check("RedisCacheDatabase", "trader_id", trader_id, TraderId)
        if config is not None:
            _check("RedisCacheDatabase", "config", config, CacheDatabaseConfig)
        if serializer is not None:
            _check("RedisCacheDatabase", "serializer", serializer, Serializer)
        if logger is not None and not callable(getattr(logger, "bind", None)):
            raise TypeError(f"RedisCacheDatabase: logger: expected a structlog logger, got {type(logger).__name__}")
        self.trader_id = trader_id
        self.config = config or CacheDatabaseConfig()
        self.damaged: list[DamagedRecord] = []
        """What loads left out because it could not be read, if `strict_loads` is off."""
        self._serializer = serializer or MsgPackSerializer(timestamps_as_str=True)
        self._log = logger.bind(trader_id=str(trader_id)) if logger is not None else default_logger(trader_id)
        self._persister = Persister(trader_id, self.config, self._log)
        self._keys = self._persister.keys
        self._put = self._persister.put
        self._accept = self._persister.accept
        self._encoder = Encoder(self._serializer)
        self._encode_update_order = self._encoder.update_order
        self._encode_position = self._encoder.position
        self._encode_account = self._encoder.account
        self._loader = Loader(
            self._persister.reader, self._keys, self._serializer, self.config.strict_loads, self._note_damage
        )
        self._orders: dict[str, Life] = {}
        self._positions: dict[str, Life] = {}
        self._accounts: dict[str, Life] = {}
        self._heartbeat: Heartbeat | None = None
        try:
            # Money in a currency that this process was not told of has to be read with the right number of decimals.
            self._loader.currencies()
        except BaseException:
            self._persister.close(0)
            raise
        if self.config.heartbeat_interval_s is not None:
            self._heartbeat = Heartbeat(
                self.config.heartbeat_interval_s,
                lambda: self.heartbeat(datetime.now(UTC)),
                name=f"eventstore-heartbeat-{trader_id}",
            )
            self._heartbeat.start()

    # -- Life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RedisCacheDatabase({self.trader_id!r}, {self._persister.url})"

    def close(self, timeout_s: float | None = None) -> int:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        return self._persister.close(self.config.close_timeout_s if timeout_s is None else timeout_s)

    def sync(self, timeout_s: float | None = None) -> int:
        """Wait until what was accepted before the call is applied, and return its last position in the log.

        Raises
        ------
        SyncTimeout
            If it takes longer than `timeout_s` seconds (default: `load_timeout_s`); it stays accepted.
        WriterFailed
            If the writer has ended because of a fatal error.
        """
        return self._persister.sync(self.config.load_timeout_s if timeout_s is None else timeout_s)

    def flush(self) -> None:
        """Delete everything of this trader, the log too, and wait until it is done.

        The next entry of the log says that it happened, and what the last position and chain head were.

        Raises
        ------
        SyncTimeout
            If it takes longer than `load_timeout_s`; it will happen.
        """
        self._accept("flush", self._keys.namespace, c.Flushed, (0, b""))
        self._orders.clear()
        self._positions.clear()
        self._accounts.clear()
        self.sync()

    def stats(self) -> Stats:
        """Return where the writer stands, without I/O."""
        return self._persister.stats()

    def keys(self, pattern: str = "*") -> list[str]:
        _check("keys", "pattern", pattern, str)
        return fnmatch.filter(self._fresh().keys(), pattern)

    # -- Writes ------------------------------------------------------------------------------------------------

    def add(self, key: str, value: bytes) -> None:
        """Add a general object. Raises `TooLarge` if `value` is over `value_bytes_max`."""
        _check("add", "key", key, str)
        _check("add", "value", value, bytes)
        Identifier(key)
        self._check_size("add", key, len(value))
        self._accept("add", key, c.Add, (key, value), len(value) or 1)

    def add_currency(self, currency: Currency) -> None:
        _check("add_currency", "currency", currency, Currency)
        self._accept("add_currency", currency.code, self._encoder.currency, (currency.code, currency))

    def add_instrument(self, instrument: Instrument) -> None:
        _check("add_instrument", "instrument", instrument, Instrument)
        self._accept("add_instrument", instrument.id, self._encoder.instrument, (instrument.id, instrument))

    def add_synthetic(self, synthetic: SyntheticInstrument) -> None:
        _check("add_synthetic", "synthetic", synthetic, SyntheticInstrument)
        self._accept("add_synthetic", synthetic.id, self._encoder.synthetic, (synthetic.id, synthetic))

    def add_account(self, account: Account) -> None:
        _check("add_account", "account", account, Account)
        if account.id in self._accounts:
            raise AlreadyAdded(f"add_account {account.id}: it was added or loaded before; use update_account")
        events = tuple(account._events)
        self._accept("add_account", account.id, self._encoder.account, (account.id, 0, events))
        self._accounts[account.id] = Life(len(events), events[-1])

    def add_order(self, order: Order, position_id: PositionId | None = None, client_id: ClientId | None = None) -> None:
        """Add an order with all its events; or, for one that was added, what it was transformed into.

        Raises
        ------
        AlreadyAdded
            If this process added or loaded an order of that id, and this is not what it was transformed into.
        Refused
            If it is another trader's.
        """
        _check("add_order", "order", order, Order)
        if position_id is not None:
            _check("add_order", "position_id", position_id, PositionId)
        if client_id is not None:
            _check("add_order", "client_id", client_id, ClientId)
        order_id = order.client_order_id
        if order.trader_id != self.trader_id:
            raise Refused(
                f"add_order {order_id}: it is an order of {order.trader_id}, this is {self.trader_id}'s database"
            )
        life = self._orders.get(order_id)
        events: tuple[Any, ...] | None
        if life is None:
            life, events = Life(0, None), tuple(order._events)
        else:
            events = life.tail(order._events)
            if events is None or not any(event.__class__ is OrderInitialized for event in events):
                raise AlreadyAdded(
                    f"add_order {order_id}: an order of that id was added or loaded before; use update_order, or "
                    "another client order id"
                )
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
        _check("add_position", "position", position, Position)
        life = self._positions.get(position.id)
        if life is not None and life.tail(position._events) is not None:
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
        self._positions[position_id] = Life(len(events), events[-1])

    def update_account(self, account: Account) -> None:
        """Write the events of `account` that were not written yet.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        """
        if not isinstance(account, Account):
            _check("update_account", "account", account, Account)
        life = self._accounts.get(account.id)
        if life is None:
            self._refuse_unknown("update_account", account.id, "account")
        events = life.tail(account._events)
        if events is None:  # the last one written was purged from the account: all that is left came after it
            events = tuple(account._events)
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
            _check("update_order", "order", order, Order)
        order_id = order.client_order_id
        life = self._orders.get(order_id)
        if life is None:
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
            raise self._persister.refusal(error, "update_order", order_id) from error
        life.version += len(new)
        life.last = last
        if amended is not None:
            life.amendments = len(amended)

    def _order_tail(self, life: Life, order: Order) -> tuple[Any, ...]:
        events = life.tail(order._events)
        if events is None:
            raise StaleObject(
                f"update_order {order.client_order_id}: the last event written ({type(life.last).__name__} "
                f"{life.last.event_id}) is not among its {len(order._events)}; load the order and apply the new events "
                "to that one"
            )
        return events

    def update_position(self, position: Position) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle.

        Raises
        ------
        UnknownId
            If this process neither added nor loaded it.
        """
        if not isinstance(position, Position):
            _check("update_position", "position", position, Position)
        position_id = position.id
        life = self._positions.get(position_id)
        if life is None:
            self._refuse_unknown("update_position", position_id, "position")
        events = life.tail(position._events)
        if events is None:
            self._begin_cycle("update_position", position)
            return
        arguments = (position_id, life.version, not position.is_closed, events, None)
        try:
            self._put(("update_position", position_id, time_ns(), self._encode_position, arguments))
        except (Full, Shut) as error:
            raise self._persister.refusal(error, "update_position", position_id) from error
        life.written(events)

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
        _check(operation, f"{name}.id", component.id, ComponentId)
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
        _check("snapshot_order_state", "order", order, Order)
        order_id = order.client_order_id
        life = self._orders.get(order_id)
        if life is None:
            self._refuse_unknown("snapshot_order_state", order_id, "order")
        amended = life.amended(order)
        arguments = (order_id, order.to_dict(), amended)
        self._accept("snapshot_order_state", order_id, self._encoder.snapshot_order, arguments)
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
        _check("snapshot_position_state", "position", position, Position)
        _check("snapshot_position_state", "ts_snapshot", ts_snapshot, int)
        if not 0 <= ts_snapshot < 2**64:
            raise Refused(f"snapshot_position_state {position.id}: ts_snapshot {ts_snapshot} does not fit in 64 bits")
        if unrealized_pnl is not None:
            _check("snapshot_position_state", "unrealized_pnl", unrealized_pnl, Money)
        if position.id not in self._positions:
            self._refuse_unknown("snapshot_position_state", position.id, "position")
        state = position.to_dict()
        state["ts_snapshot"] = ts_snapshot
        state["unrealized_pnl"] = None if unrealized_pnl is None else str(unrealized_pnl)
        self._accept("snapshot_position_state", position.id, self._encoder.snapshot_position, (position.id, state))

    def index_order_position(self, client_order_id: ClientOrderId, position_id: PositionId) -> None:
        _check("index_order_position", "client_order_id", client_order_id, ClientOrderId)
        _check("index_order_position", "position_id", position_id, PositionId)
        arguments = (client_order_id, position_id, client_order_id in self._orders)
        self._accept("index_order_position", client_order_id, c.IndexOrderPosition, arguments)

    def index_venue_order_id(self, client_order_id: ClientOrderId, venue_order_id: VenueOrderId) -> None:
        _check("index_venue_order_id", "client_order_id", client_order_id, ClientOrderId)
        _check("index_venue_order_id", "venue_order_id", venue_order_id, VenueOrderId)
        self._accept("index_venue_order_id", client_order_id, c.IndexVenueOrderId, (client_order_id, venue_order_id))

    def heartbeat(self, timestamp: datetime) -> None:
        """Note that the node was alive at `timestamp`. Raises `Refused` if it has no time zone."""
        _check("heartbeat", "timestamp", timestamp, datetime)
        if timestamp.tzinfo is None:
            raise Refused(f"heartbeat: {timestamp} has no time zone; pass datetime.now(UTC), say")
        since = timestamp - _EPOCH
        ns = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
        if not 0 <= ns < 2**64:
            raise Refused(f"heartbeat: {timestamp} is before 1970 or beyond what 64 bits of nanoseconds hold")
        self._accept("heartbeat", self._keys.heartbeat, c.Heartbeat, (ns,))

    # -- Deletes -----------------------------------------------------------------------------------------------

    def delete_actor(self, component_id: ComponentId) -> None:
        _check("delete_actor", "component_id", component_id, ComponentId)
        self._accept("delete_actor", component_id, c.DeleteActor, (component_id,))

    def delete_strategy(self, strategy_id: StrategyId) -> None:
        _check("delete_strategy", "strategy_id", strategy_id, StrategyId)
        self._accept("delete_strategy", strategy_id, c.DeleteStrategy, (strategy_id,))

    def delete_order(self, client_order_id: ClientOrderId) -> None:
        _check("delete_order", "client_order_id", client_order_id, ClientOrderId)
        self._accept("delete_order", client_order_id, c.DeleteOrder, (client_order_id,))
        self._orders.pop(client_order_id, None)

    def delete_position(self, position_id: PositionId) -> None:
        _check("delete_position", "position_id", position_id, PositionId)
        self._accept("delete_position", position_id, c.DeletePosition, (position_id,))
        self._positions.pop(position_id, None)

    def delete_account_event(self, account_id: AccountId, event_id: str) -> None:
        """Delete one event of an account from the view; the log keeps it. Reads the account to find it.

        Raises
        ------
        UnknownId
            If the account has no such event.
        """
        _check("delete_account_event", "account_id", account_id, AccountId)
        _check("delete_account_event", "event_id", event_id, str)
        self._fresh()
        for version, data in self._persister.reader.hash(self._keys.account(account_id)).items():
            record = self._serializer.deserialize(data)
            if isinstance(record, AccountState) and record.event_id == event_id:
                arguments = (account_id, int(version), str(event_id))
                self._accept("delete_account_event", account_id, c.DeleteAccountEvent, arguments)
                return
        raise UnknownId(f"delete_account_event {account_id}: it has no event {event_id!r}")

    # -- Loads -------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, bytes]:
        self._fresh()
        return self._persister.reader.hash(self._keys.general)

    def load_all(self) -> dict[str, dict[Any, Any]]:
        return {
            "currencies": self.load_currencies(),
            "instruments": self.load_instruments(),
            "synthetics": self.load_synthetics(),
            "accounts": self.load_accounts(),
            "orders": self.load_orders(),
            "positions": self.load_positions(),
        }

    def load_currency(self, code: str) -> Currency | None:
        _check("load_currency", "code", code, str)
        return self._fresh().record(self._keys.currencies, code, Currency)

    def load_currencies(self) -> dict[str, Currency]:
        return self._fresh().currencies()

    def load_instrument(self, instrument_id: InstrumentId) -> Instrument | None:
        _check("load_instrument", "instrument_id", instrument_id, InstrumentId)
        return self._fresh().record(self._keys.instruments, instrument_id, Instrument)

    def load_instruments(self) -> dict[InstrumentId, Instrument]:
        return self._fresh().records(self._keys.instruments, Instrument, InstrumentId)

    def load_synthetic(self, instrument_id: InstrumentId) -> SyntheticInstrument | None:
        _check("load_synthetic", "instrument_id", instrument_id, InstrumentId)
        if not instrument_id.is_synthetic:
            raise ValueError(f"load_synthetic: {instrument_id} is not synthetic; its venue would be SYNTH")
        return self._fresh().record(self._keys.synthetics, instrument_id, SyntheticInstrument)

    def load_synthetics(self) -> dict[InstrumentId, SyntheticInstrument]:
        return self._fresh().records(self._keys.synthetics, SyntheticInstrument, InstrumentId)

    def load_account(self, account_id: AccountId) -> Account | None:
        _check("load_account", "account_id", account_id, AccountId)
        return self._known(self._accounts, account_id, self._fresh().account(account_id))

    def load_accounts(self) -> dict[AccountId, Account]:
        return self._all_known(self._accounts, lambda account: account.id, self._fresh().accounts)

    def load_order(self, client_order_id: ClientOrderId) -> Order | None:
        _check("load_order", "client_order_id", client_order_id, ClientOrderId)
        return self._known(self._orders, client_order_id, self._fresh().order(client_order_id))

    def load_orders(self, open_only: bool = False) -> dict[ClientOrderId, Order]:
        loader = self._fresh()
        return self._all_known(self._orders, lambda order: order.client_order_id, lambda: loader.orders(open_only))

    def load_position(self, position_id: PositionId) -> Position | None:
        _check("load_position", "position_id", position_id, PositionId)
        return self._known(self._positions, position_id, self._fresh().position(position_id))

    def load_positions(self, open_only: bool = False) -> dict[PositionId, Position]:
        loader = self._fresh()
        return self._all_known(self._positions, lambda position: position.id, lambda: loader.positions(open_only))

    def load_position_cycles(self, position_id: PositionId) -> list[Position]:
        _check("load_position_cycles", "position_id", position_id, PositionId)
        return self._fresh().position_cycles(position_id)

    def load_actor(self, component_id: ComponentId) -> dict[str, bytes]:
        _check("load_actor", "component_id", component_id, ComponentId)
        return self._fresh().state(self._keys.actors, component_id)

    def load_strategy(self, strategy_id: StrategyId) -> dict[str, bytes]:
        _check("load_strategy", "strategy_id", strategy_id, StrategyId)
        return self._fresh().state(self._keys.strategies, strategy_id)

    def load_order_snapshot(self, client_order_id: ClientOrderId) -> dict[str, Any] | None:
        _check("load_order_snapshot", "client_order_id", client_order_id, ClientOrderId)
        return self._fresh().snapshot(self._keys.order_snapshots, client_order_id)

    def load_order_snapshots(self) -> dict[ClientOrderId, dict[str, Any]]:
        return self._fresh().snapshots(self._keys.order_snapshots, ClientOrderId)

    def load_position_snapshot(self, position_id: PositionId) -> dict[str, Any] | None:
        _check("load_position_snapshot", "position_id", position_id, PositionId)
        return self._fresh().snapshot(self._keys.position_snapshots, position_id)

    def load_position_snapshots(self) -> dict[PositionId, dict[str, Any]]:
        return self._fresh().snapshots(self._keys.position_snapshots, PositionId)

    def load_index_order_position(self) -> dict[ClientOrderId, PositionId]:
        return self._fresh().texts(self._keys.index_order_position, ClientOrderId, PositionId)

    def load_index_order_client(self) -> dict[ClientOrderId, ClientId]:
        return self._fresh().texts(self._keys.index_order_client, ClientOrderId, ClientId)

    def load_index_venue_order_id(self) -> dict[ClientOrderId, VenueOrderId]:
        return self._fresh().texts(self._keys.index_venue_order_id, ClientOrderId, VenueOrderId)

    def load_order_ids(self, state: str = "all") -> set[ClientOrderId]:
        k = self._keys
        named = {
            "all": k.orders,
            "open": k.orders_open,
            "closed": k.orders_closed,
            "inflight": k.orders_inflight,
            "emulated": k.orders_emulated,
        }
        return self._fresh().ids(_choose("load_order_ids", state, named), ClientOrderId)

    def load_position_ids(self, state: str = "all") -> set[PositionId]:
        k = self._keys
        named = {"all": k.positions, "open": k.positions_open, "closed": k.positions_closed}
        return self._fresh().ids(_choose("load_position_ids", state, named), PositionId)

    def load_heartbeat(self) -> datetime | None:
        self._fresh()
        data = self._persister.reader.field(self._keys.heartbeat, "timestamp")
        return None if data is None else _EPOCH + timedelta(microseconds=int(data) // 1000)

    # -- What the verbs have in common ---------------------------------------------------------------------------

    def _fresh(self) -> Loader:
        """Wait until a load sees what was accepted before it."""
        if self._persister.closed:
            raise Closed(f"{self!r} is closed: open one to load from")
        self._persister.sync(self.config.load_timeout_s)
        return self._loader

    def _known(self, lives: dict[str, Life], aggregate_id: str, loaded: tuple[A, int] | None) -> A | None:
        if loaded is None:
            return None
        aggregate, version = loaded
        # What was written meanwhile is further than what was read.
        if aggregate_id not in lives:
            amendments = len(aggregate._amendments or ()) if isinstance(aggregate, Order) else 0
            lives[aggregate_id] = Life(version, aggregate._events[-1], amendments)
        return aggregate

    def _all_known(
        self, lives: dict[str, Life], id_of: Callable[[A], K], load: Callable[[], dict[str, tuple[A, int]]]
    ) -> dict[K, A]:
        found: dict[K, A] = {}
        with collector_paused():
            for aggregate_id, loaded in load().items():
                aggregate = self._known(lives, aggregate_id, loaded)
                if aggregate is not None:
                    found[id_of(aggregate)] = aggregate
        return found

    def _refuse_unknown(self, operation: str, aggregate_id: str, what: str) -> NoReturn:
        raise UnknownId(
            f"{operation} {aggregate_id}: this process neither added nor loaded this {what}; call add_{what} or "
            f"load_{what} first"
        )

    def _check_size(self, operation: str, key: str, size: int) -> None:
        if size > self.config.value_bytes_max:
            raise TooLarge(
                f"{operation} {key}: {size} bytes, at most {self.config.value_bytes_max} are allowed; split it, or "
                "raise value_bytes_max"
            )

    def _note_damage(self, damage: DamagedRecord) -> None:
        self.damaged.append(damage)
        self._log.error("left out a damaged record", key=damage.key, field=damage.field, reason=damage.reason)


def _check(operation: str, name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        hint = f"; wrap it: {kind.__name__}({value!r:.60})" if isinstance(value, str) else ""
        raise TypeError(f"{operation}: {name}: expected {kind.__name__}, got {type(value).__name__}{hint}")


def _choose(operation: str, state: str, named: dict[str, str]) -> str:
    if state not in named:
        raise ValueError(f"{operation}: state {state!r} is none of {', '.join(named)}")
    return named[state]
