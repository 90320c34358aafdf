"""The life of an open database, how it loads and what it purges, whatever its orders, positions and accounts are."""

from __future__ import annotations

import fnmatch
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time_ns
from types import TracebackType
from typing import Any, Self, TypeVar, get_args

from eventstore import commands as c
from eventstore.archiving import Archiving
from eventstore.background import Background
from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.config import PURGE_AFTER_S_MAX, CacheDatabaseConfig
from eventstore.encoder import Encoder
from eventstore.errors import Closed, DamagedRecord, Refused
from eventstore.facade import Level
from eventstore.health import Health
from eventstore.ledger import Ledger, check, unix_ns
from eventstore.loader import Loader, collector_paused
from eventstore.model.identifiers import TraderId
from eventstore.persister import Persister, default_logger
from eventstore.purging import Purged, Survey
from eventstore.registry import Life, Meanwhile
from eventstore.stats import Stats
from eventstore.timestamps import EPOCH, LAST
from workers.backlog import Full, Shut

A = TypeVar("A")
K = TypeVar("K")
R = TypeVar("R")

TIMEOUT_S_MAX = 86_400
"""The longest time that a call may be told to wait, in seconds."""


class Store(Ledger):
    """An open database of one trader, but for its verbs. See `eventstore.RedisCacheDatabase`."""

    def __init__(
        self,
        trader_id: TraderId,
        logger: Any = None,
        serializer: Serializer | None = None,
        config: CacheDatabaseConfig | None = None,
        on_health: Callable[[Health], object] | None = None,
    ) -> None:
        name = type(self).__name__
        check(name, "trader_id", trader_id, TraderId)
        if config is not None:
            check(name, "config", config, CacheDatabaseConfig)
        if serializer is not None:
            check(name, "serializer", serializer, Serializer)
        if logger is not None and not callable(getattr(logger, "bind", None)):
            raise TypeError(f"{name}: logger: expected a structlog logger, got {type(logger).__name__}")
        if on_health is not None and not callable(on_health):
            raise TypeError(f"{name}: on_health: expected a callable, got {type(on_health).__name__}")
        config = config or CacheDatabaseConfig()
        log = logger.bind(trader_id=str(trader_id)) if logger is not None else default_logger(trader_id)
        self._serializer = serializer or MsgPackSerializer(timestamps_as_str=False)
        self._encoder = Encoder(self._serializer, trader_id)
        # What a node calls most; to look a method up takes time, too.
        self._encode_new_order = self._encoder.new_order
        self._encode_event = self._encoder.order_event
        self._encode_fill = self._encoder.fill
        self._encode_account = self._encoder.account
        self._encode_heartbeat = self._encoder.heartbeat
        super().__init__(trader_id, config, Persister(trader_id, config, log, on_health))
        self._heartbeat_key = self._keys.heartbeat
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
            # From the primary: before the claim nobody knows how far a replica has to be.
            Loader(
                self._persister.primary, self._keys, self._serializer, config.strict_loads, self._note_damage
            ).currencies()
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

        The next entry of the log says that it happened, and what the last position and chain head were. No other thread
        should change anything meanwhile: an update that is accepted behind it, of what it deletes, is half an object.

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

    def heartbeat(self, timestamp: datetime) -> None:
        """Note that the node was alive at `timestamp`. Raises `Refused` if it has no time zone."""
        if timestamp.__class__ is datetime and timestamp.tzinfo is UTC and EPOCH <= timestamp <= LAST:
            try:  # nothing is wrong with it, and the writer can do the arithmetic
                key, make = self._heartbeat_key, self._encode_heartbeat
                self._put("heartbeat", key, time_ns(), make, timestamp, None, None, None)
            except (Full, Shut) as error:
                self._persister.refuse(error, "heartbeat", self._heartbeat_key)
            return
        check("heartbeat", "timestamp", timestamp, datetime)
        self.beat(unix_ns("heartbeat", timestamp))

    def beat(self, timestamp_ns: int) -> None:
        """Note that the node was alive at `timestamp_ns`, in UNIX nanoseconds. Raises `Refused` for a negative one."""
        if not 0 <= timestamp_ns < 2**64:
            raise Refused(f"heartbeat: {timestamp_ns} ns is before 1970 or beyond what 64 bits hold")
        self._accept("heartbeat", self._keys.heartbeat, c.Heartbeat, (timestamp_ns,))

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
        check_flag("purge", "account_events", account_events)
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

    # -- How it loads ------------------------------------------------------------------------------------------

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
        self,
        lives: dict[str, Life],
        aggregate_id: str,
        load: Callable[[Loader], tuple[A, int] | None],
        life_of: Callable[[A, int], Life],
    ) -> A | None:
        with self._learning() as meanwhile:
            loaded = self._load(load)
            if loaded is None:
                return None
            self._learn_from(lives, meanwhile, {aggregate_id: loaded}, life_of)
            return loaded[0]

    def _many_known(
        self,
        lives: dict[str, Life],
        load: Callable[[Loader], dict[str, tuple[A, int]]],
        id_of: Callable[[A], K],
        life_of: Callable[[A, int], Life],
    ) -> dict[K, A]:
        with collector_paused(), self._learning() as meanwhile:
            return self._known(lives, meanwhile, self._load_at_one_moment(load), id_of, life_of)

    def _known(
        self,
        lives: dict[str, Life],
        meanwhile: Meanwhile,
        loaded: dict[str, tuple[A, int]],
        id_of: Callable[[A], K],
        life_of: Callable[[A, int], Life],
    ) -> dict[K, A]:
        """Note that from now on this process knows what was `loaded`."""
        self._learn_from(lives, meanwhile, loaded, life_of)
        return {id_of(aggregate): aggregate for aggregate, _ in loaded.values()}

    def _learn_from(
        self,
        lives: dict[str, Life],
        meanwhile: Meanwhile,
        loaded: dict[str, tuple[A, int]],
        life_of: Callable[[A, int], Life],
    ) -> None:
        unknown = {
            aggregate_id: life_of(aggregate, version)
            for aggregate_id, (aggregate, version) in loaded.items()
            if aggregate_id not in lives
        }
        self._learn(lives, meanwhile, unknown)

    def _note_damage(self, damage: DamagedRecord) -> None:
        if (damage.key, damage.field) not in self._damaged:
            self._damaged[damage.key, damage.field] = damage
            self._persister.say(
                "error", "left out a damaged record", key=damage.key, field=damage.field, reason=damage.reason
            )


def _dropped(persister: Persister, background: Background[Store]) -> None:
    """Nobody has the database any more."""
    persister.orphan()
    background.stop(0.0)


def _beat(database: Store) -> None:
    database.heartbeat(datetime.now(UTC))


def _purge(database: Store) -> None:
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


def check_flag(operation: str, name: str, value: object) -> None:
    """Raise `TypeError`, naming the operation and its argument, unless `value` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{operation}: {name}: expected bool, got {type(value).__name__}")


def _check_timeout(operation: str, timeout_s: object) -> None:
    if timeout_s is None:
        return
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float):
        raise TypeError(f"{operation}: timeout_s: expected a number of seconds, got {type(timeout_s).__name__}")
    if not 0 <= timeout_s <= TIMEOUT_S_MAX:
        raise Refused(f"{operation}: timeout_s: {timeout_s} is not between 0 and {TIMEOUT_S_MAX}")
