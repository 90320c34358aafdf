"""The database behind a node's cache: its life and its loads. What it writes is in `eventstore.intake`."""

from __future__ import annotations

import fnmatch
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, Self, TypeVar, get_args

from eventstore import commands as c
from eventstore.archiving import Archiving
from eventstore.background import Background
from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.config import PURGE_AFTER_S_MAX, CacheDatabaseConfig
from eventstore.errors import Closed, DamagedRecord, Refused, UnknownId
from eventstore.facade import Level
from eventstore.health import Health
from eventstore.intake import EPOCH, Intake, check, unix_ns
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
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.persister import Persister, default_logger
from eventstore.purging import Purged, Survey
from eventstore.registry import Life, Meanwhile
from eventstore.stats import Stats

A = TypeVar("A", Order, Position, Account)
K = TypeVar("K", bound=str)
R = TypeVar("R")

TIMEOUT_S_MAX = 86_400
"""The longest time that a call may be told to wait, in seconds."""


class RedisCacheDatabase(Intake):
    """A cache database that writes behind into Redis: an append-only log, and views of it for the loads.

    A verb that writes checks its arguments, captures what it needs, puts it in a queue and returns; a thread does the
    rest. All verbs may be called from any thread; one aggregate should be updated by one thread at a time.

    Parameters
    ----------
    trader_id : TraderId
        Whose data it is. All keys begin with ``{trader-<trader_id>}``. Opening it takes the log over from whoever wrote
        to it before: that one is refused from then on.
    logger : structlog logger, optional
        Gets what happens in the background. Default: ``structlog.get_logger("eventstore")``; warnings to stderr if the
        process has not configured structlog.
    serializer : Serializer, optional
        Default: ``MsgPackSerializer(timestamps_as_str=True)``.
    config : CacheDatabaseConfig, optional
        Default: the embedded server, in the default directory.
    on_health : callable, optional
        Called with the new `Health` whenever it changes, on the thread that noticed: it must return soon, and may not
        wait for the database.

    Raises
    ------
    TypeError
        If an argument is of another type than its own, such as a config that is no `CacheDatabaseConfig`.
    StorageError
        If the server can not be reached, refuses, or holds a log that is not whole.
    ConfigError
        If the server may evict keys and that was not allowed.
    DataLoss
        If the server lost what it had confirmed, and the journal does not have it any more.
    JournalError
        If the journal can not be used, is damaged, or is somebody else's.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def __init__(
        self,
        trader_id: TraderId,
        logger: Any = None,
        serializer: Serializer | None = None,
        config: CacheDatabaseConfig | None = None,
        on_health: Callable[[Health], object] | None = None,
    ) -> None:
        check("RedisCacheDatabase", "trader_id", trader_id, TraderId)
        if config is not None:
            check("RedisCacheDatabase", "config", config, CacheDatabaseConfig)
        if serializer is not None:
            check("RedisCacheDatabase", "serializer", serializer, Serializer)
        if logger is not None and not callable(getattr(logger, "bind", None)):
            raise TypeError(f"RedisCacheDatabase: logger: expected a structlog logger, got {type(logger).__name__}")
        if on_health is not None and not callable(on_health):
            raise TypeError(f"RedisCacheDatabase: on_health: expected a callable, got {type(on_health).__name__}")
        config = config or CacheDatabaseConfig()
        log = logger.bind(trader_id=str(trader_id)) if logger is not None else default_logger(trader_id)
        self._serializer = serializer or MsgPackSerializer(timestamps_as_str=True)
        super().__init__(trader_id, config, self._serializer, Persister(trader_id, config, log, on_health))
        self._damaged: dict[tuple[str, str], DamagedRecord] = {}
        self._loader = Loader(
            self._persister.reader, self._keys, self._serializer, config.strict_loads, self._note_damage
        )
        self._survey = Survey(
            self._persister.reader, self._keys, self._serializer, self._read_applied, self._note_damage
        )
        # Two at a time would tell the same twice.
        self._purging = threading.RLock()
        try:
            # Money in a currency that this process was not told of has to be read with the right number of decimals.
            self._loader.currencies()
            # Last: a node that can not open must not shut out the one that trades.
            self._persister.start()
        except BaseException:
            self._persister.discard()
            raise
        self._background = Background(self, self._persister.say)
        weakref.finalize(self, _dropped, self._persister, self._background).atexit = False
        if config.heartbeat_interval_s is not None:
            self._background.every(config.heartbeat_interval_s, f"eventstore-heartbeat-{trader_id}", _beat)
        if config.archive is not None:
            archiving = Archiving(config.archive, trader_id, config, self._persister)
            self._background.every(config.archive_interval_s, f"eventstore-archiver-{trader_id}", lambda _: archiving())
        if config.purge_closed_after_s is not None:
            self._background.every(config.purge_interval_s, f"eventstore-purge-{trader_id}", _purge)

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
        _check_timeout("close", timeout_s)
        timeout_s = self.config.close_timeout_s if timeout_s is None else timeout_s
        deadline = monotonic() + timeout_s
        self._persister.refuse_more()  # which also ends a heartbeat that waits for room
        self._background.stop(timeout_s)
        return self._persister.close(max(deadline - monotonic(), 0.0))

    @property
    def damaged(self) -> list[DamagedRecord]:
        """What loads left out because it could not be read, if `strict_loads` is off; each record once."""
        return list(self._damaged.values())

    def sync(self, timeout_s: float | None = None, level: Level = "applied") -> int:
        """Wait until what was accepted before the call has come to `level`, and return its last position in the log.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds to wait. Default: `load_timeout_s`.
        level : "accepted", "journaled", "applied" or "durable", default "applied"
            How far: in the backlog, which it is; in the journal, and on the local disk unless `journal_fsync` is
            "never"; in the log; as safe there as `durability` asks for.

        Raises
        ------
        SyncTimeout
            If it takes longer; it stays accepted.
        WriterFailed
            If the writer has ended because of a fatal error.
        Refused
            If `level` is "journaled" and there is no journal, or on the writer's own thread.
        """
        return self._persister.sync(*self._waiting_for(timeout_s, level))

    async def synced(self, timeout_s: float | None = None, level: Level = "applied") -> int:
        """As `sync`, for an asyncio task: the loop goes on meanwhile."""
        return await self._persister.synced(*self._waiting_for(timeout_s, level))

    def _waiting_for(self, timeout_s: float | None, level: Level) -> tuple[float, Level]:
        _check_timeout("sync", timeout_s)
        check("sync", "level", level, str)
        if level not in get_args(Level):
            raise Refused(f"sync: level {level!r:.40} is none of {', '.join(get_args(Level))}")
        return self.config.load_timeout_s if timeout_s is None else timeout_s, level

    @property
    def health(self) -> Health:
        """How the database is. Reading it costs no I/O and waits for nobody."""
        return self._persister.board.now

    def flush(self) -> None:
        """Delete everything of this trader, the log too, and wait until it is done.

        The next entry of the log says that it happened, and what the last position and chain head were.

        Raises
        ------
        SyncTimeout
            If it takes longer than `load_timeout_s`; it will happen.
        Refused
            If it is called on the writer's own thread, as from a log handler: it would wait for itself.
        """
        self._persister.refuse_to_wait_for_itself("flush")  # before anything is accepted
        self._accept("flush", self._keys.namespace, c.Flushed, (0, b""))
        # Behind it: what another thread added in between is refused at its next update rather than half written.
        self._forget_all()
        self.sync()

    def stats(self) -> Stats:
        """Return where the writer stands, without I/O."""
        return self._persister.stats()

    def keys(self, pattern: str = "*") -> list[str]:
        check("keys", "pattern", pattern, str)
        return fnmatch.filter(self._load_at_one_moment(lambda _: self._persister.reader.names()), pattern)

    # -- The one delete that has to read ---------------------------------------------------------------------------

    def delete_account_event(self, account_id: AccountId, event_id: str) -> None:
        """Delete one event of an account from the view; the log keeps it. Reads the account to find it.

        Another instance, opened later, does not know of it: if it is given an account that ends with that event, it
        writes that event again.

        Raises
        ------
        UnknownId
            If the account has no such event.
        """
        check("delete_account_event", "account_id", account_id, AccountId)
        check("delete_account_event", "event_id", event_id, str)
        events = self._load(lambda loader: loader.account_events(account_id))
        for version, event in events.items():
            if event.event_id == event_id:
                arguments = (account_id, version, str(event_id))
                self._accept("delete_account_event", account_id, c.DeleteAccountEvent, arguments)
                life = self._accounts.get(account_id)
                if life is not None:
                    life.purged(event, [other for other in events.values() if other is not event])
                return
        raise UnknownId(f"delete_account_event {account_id}: it has no event {event_id!r}")

    # -- What is closed ----------------------------------------------------------------------------------------

    def purge(
        self,
        closed_before: datetime | None = None,
        *,
        older_than_s: float | None = None,
        account_events: bool = False,
    ) -> Purged:
        """Take what is closed out of the views, so that they stay small; the log keeps it, and says that it was done.

        That are the closed orders whose last event, and the closed positions and earlier cycles of positions whose last
        fill was before a time. An order stays as long as its parent, or an order that it is linked to, is not closed.
        It does not matter which position an order belongs to. What goes on before the purge is applied stays, whole.

        An update of an order that was purged raises `UnknownId`. A position that was purged may be opened again by an
        update: it begins anew.

        Reads what may be due, in small pieces. Call it on a thread that may wait, and not in a signal handler, which
        could wait for the thread that it interrupted.

        Parameters
        ----------
        closed_before : datetime
            The time, with a time zone.
        older_than_s : float
            Instead of it: how many seconds ago, by this host's clock.
        account_events : bool, default False
            Whether account events from before that time are purged, too, but for the last one of each account.

        Returns
        -------
        Purged
            How much was accepted to be purged. `sync` waits until it is done.

        Raises
        ------
        SyncTimeout
            If what was accepted before is not applied within `load_timeout_s`.
        BacklogFull
            If there is no room for what is to be purged. What was accepted before that is purged.
        Refused
            If none or both of `closed_before` and `older_than_s` are given, or one is out of its bounds.
        """
        before_ns = _purge_before_ns(closed_before, older_than_s)
        _check_flag("purge", "account_events", account_events)
        self._persister.refuse_to_wait_for_itself("purge")
        survey = self._survey
        with self._purging:
            orders = sum(self._purge(self._orders, *due) for due in survey.orders(before_ns))
            positions = sum(self._purge(self._positions, *due) for due in survey.positions(before_ns))
            cycles = sum(map(self._accept_purge, survey.cycles(before_ns)))
            events = sum(map(self._accept_purge, survey.account_events(before_ns))) if account_events else 0
        return Purged(orders, positions, cycles, events)

    def _accept_purge(self, found: tuple[c.PurgePositionCycles | c.PurgeAccountEvents, int]) -> int:
        command, count = found
        self._accept("purge", command[0], command.__class__, tuple(command))
        return count

    def _read_applied(self, read: Callable[[], R]) -> R:
        return self._load(lambda _: read())

    # -- Loads -------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, bytes]:
        return self._load(lambda loader: loader.values(self._keys.general))

    def load_all(self) -> dict[str, dict[Any, Any]]:
        with self._learning() as meanwhile:
            currencies, instruments, synthetics, accounts, orders, positions = self._load_at_one_moment(
                lambda loader: (
                    loader.currencies(),
                    loader.records(self._keys.instruments, Instrument, InstrumentId),
                    loader.records(self._keys.synthetics, SyntheticInstrument, InstrumentId),
                    loader.accounts(),
                    loader.orders(open_only=False),
                    loader.positions(open_only=False),
                )
            )
            return {
                "currencies": currencies,
                "instruments": instruments,
                "synthetics": synthetics,
                "accounts": self._known(self._accounts, meanwhile, accounts, _account_id),
                "orders": self._known(self._orders, meanwhile, orders, _order_id),
                "positions": self._known(self._positions, meanwhile, positions, _position_id),
            }

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

    def load_account(self, account_id: AccountId) -> Account | None:
        check("load_account", "account_id", account_id, AccountId)
        return self._one_known(self._accounts, account_id, lambda loader: loader.account(account_id))

    def load_accounts(self) -> dict[AccountId, Account]:
        return self._many_known(self._accounts, lambda loader: loader.accounts(), _account_id)

    def load_order(self, client_order_id: ClientOrderId) -> Order | None:
        check("load_order", "client_order_id", client_order_id, ClientOrderId)
        return self._one_known(self._orders, client_order_id, lambda loader: loader.order(client_order_id))

    def load_orders(self, open_only: bool = False) -> dict[ClientOrderId, Order]:
        _check_flag("load_orders", "open_only", open_only)
        return self._many_known(self._orders, lambda loader: loader.orders(open_only), _order_id)

    def load_position(self, position_id: PositionId) -> Position | None:
        check("load_position", "position_id", position_id, PositionId)
        return self._one_known(self._positions, position_id, lambda loader: loader.position(position_id))

    def load_positions(self, open_only: bool = False) -> dict[PositionId, Position]:
        _check_flag("load_positions", "open_only", open_only)
        return self._many_known(self._positions, lambda loader: loader.positions(open_only), _position_id)

    def load_position_cycles(self, position_id: PositionId) -> list[Position]:
        check("load_position_cycles", "position_id", position_id, PositionId)
        return self._load_at_one_moment(lambda loader: loader.position_cycles(position_id))

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

    # -- What the verbs have in common ---------------------------------------------------------------------------

    def _load(self, read: Callable[[Loader], R]) -> R:
        """Return what `read` reads, which sees all that was accepted before it."""
        self._refuse_closed()
        return self._persister.read(lambda: read(self._loader), self.config.load_timeout_s)

    def _load_at_one_moment(self, read: Callable[[Loader], R]) -> R:
        """As `_load`, for what takes several reads."""
        self._refuse_closed()
        with collector_paused():
            return self._persister.read(lambda: read(self._loader), self.config.load_timeout_s, at_one_moment=True)

    def _refuse_closed(self) -> None:
        if self._persister.closed:
            raise Closed(f"{self!r} is closed: open one to load from")

    def _one_known(
        self, lives: dict[str, Life], aggregate_id: str, load: Callable[[Loader], tuple[A, int] | None]
    ) -> A | None:
        with self._learning() as meanwhile:
            loaded = self._load(load)
            if loaded is None:
                return None
            self._learn_from(lives, meanwhile, aggregate_id, *loaded)
            return loaded[0]

    def _many_known(
        self, lives: dict[str, Life], load: Callable[[Loader], dict[str, tuple[A, int]]], id_of: Callable[[A], K]
    ) -> dict[K, A]:
        with self._learning() as meanwhile:
            return self._known(lives, meanwhile, self._load_at_one_moment(load), id_of)

    def _known(
        self, lives: dict[str, Life], meanwhile: Meanwhile, loaded: dict[str, tuple[A, int]], id_of: Callable[[A], K]
    ) -> dict[K, A]:
        """Note that from now on this process knows what was `loaded`."""
        found: dict[K, A] = {}
        for aggregate_id, (aggregate, version) in loaded.items():
            self._learn_from(lives, meanwhile, aggregate_id, aggregate, version)
            found[id_of(aggregate)] = aggregate
        return found

    def _learn_from(
        self, lives: dict[str, Life], meanwhile: Meanwhile, aggregate_id: str, aggregate: A, version: int
    ) -> None:
        if aggregate_id not in lives:
            amendments = len(aggregate._amendments or ()) if isinstance(aggregate, Order) else 0
            self._learn(lives, meanwhile, aggregate_id, Life(version, aggregate._events, amendments))

    def _note_damage(self, damage: DamagedRecord) -> None:
        if (damage.key, damage.field) not in self._damaged:
            self._damaged[damage.key, damage.field] = damage
            self._persister.say(
                "error", "left out a damaged record", key=damage.key, field=damage.field, reason=damage.reason
            )


def _account_id(account: Account) -> AccountId:
    return account.id


def _order_id(order: Order) -> ClientOrderId:
    return order.client_order_id


def _position_id(position: Position) -> PositionId:
    return position.id


def _dropped(persister: Persister, background: Background[RedisCacheDatabase]) -> None:
    """Nobody has the database any more."""
    persister.orphan()
    background.stop(0.0)


def _beat(database: RedisCacheDatabase) -> None:
    database.heartbeat(datetime.now(UTC))


def _purge(database: RedisCacheDatabase) -> None:
    config = database.config
    purged = database.purge(older_than_s=config.purge_closed_after_s, account_events=config.purge_account_events)
    if any(purged):
        database._persister.say("info", "purged what is closed", **purged._asdict())


def _purge_before_ns(closed_before: datetime | None, older_than_s: float | None) -> int:
    if (closed_before is None) == (older_than_s is None):
        raise Refused("purge: give either closed_before or older_than_s")
    if older_than_s is None:
        check("purge", "closed_before", closed_before, datetime)
        assert closed_before is not None  # noqa: S101 - it was checked
        return unix_ns("purge", closed_before)
    if isinstance(older_than_s, bool) or not isinstance(older_than_s, int | float):
        raise TypeError(f"purge: older_than_s: expected a number of seconds, got {type(older_than_s).__name__}")
    if not 0 <= older_than_s <= PURGE_AFTER_S_MAX:
        raise Refused(f"purge: older_than_s: {older_than_s} is not between 0 and {PURGE_AFTER_S_MAX}")
    return time_ns() - int(older_than_s * 1_000_000_000)


def _check_flag(operation: str, name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{operation}: {name}: expected bool, got {type(value).__name__}")


def _check_timeout(operation: str, timeout_s: object) -> None:
    if timeout_s is None:
        return
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float):
        raise TypeError(f"{operation}: timeout_s: expected a number of seconds, got {type(timeout_s).__name__}")
    if not 0 <= timeout_s <= TIMEOUT_S_MAX:
        raise Refused(f"{operation}: timeout_s: {timeout_s} is not between 0 and {TIMEOUT_S_MAX}")


def _choose(operation: str, state: str, named: dict[str, str]) -> str:
    check(operation, "state", state, str)
    if state not in named:
        raise ValueError(f"{operation}: state {state!r} is none of {', '.join(named)}")
    return named[state]
