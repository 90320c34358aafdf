"""A database for orders, positions and accounts of NautilusTrader, in the log and views of the built-in model."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, cast

from nautilus_trader.model.enums import TriggerType
from nautilus_trader.model.events import OrderFilled, OrderInitialized

from eventstore import commands as c
from eventstore.catalog import Catalog
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import DamagedRecord, Refused
from eventstore.health import Health
from eventstore.integrations.nautilus.amendments import Watch
from eventstore.integrations.nautilus.conversion import capture, to_nautilus, to_record
from eventstore.integrations.nautilus.lives import AccountLife, OrderLife, PositionLife
from eventstore.integrations.nautilus.serializing import NautilusSerializer
from eventstore.integrations.nautilus.views import AccountFound, OrderFound, account_from, order_from, positions_with
from eventstore.ledger import VALUE_BYTES, PurgeOne, check
from eventstore.loader import Loader
from eventstore.model.currency import Currency
from eventstore.model.identifiers import (
    LENGTH_MAX,
    AccountId,
    ClientId,
    ClientOrderId,
    Identifier,
    InstrumentId,
    PositionId,
    TraderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.order_amendments import Amendment
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.registry import Life, Meanwhile
from workers.backlog import Full, Shut

_NO_TRIGGER = TriggerType.NO_TRIGGER


class NautilusStore(Catalog):
    """What `CacheDatabaseAdapter` writes to and loads from.

    NautilusTrader's cache calls it with whatever it has: an order that was never added, one whose id comes again, a
    position whose fills were purged. None of that is refused. What goes on is continued, anything else begins anew, and
    the log keeps both.

    Parameters
    ----------
    node_id : str
        The trader id that its orders and positions have to have.
    """

    def __init__(
        self,
        trader_id: TraderId,
        node_id: str,
        logger: Any = None,
        config: CacheDatabaseConfig | None = None,
        on_health: Callable[[Health], object] | None = None,
    ) -> None:
        self._node_id = node_id
        # The lives of orders once more, by NautilusTrader's ids: those are hashed faster than their text is made.
        self._order_lives: dict[Any, OrderLife] = {}
        # And those of orders that are not closed: the others are many, in the end.
        self._open: dict[str, OrderLife] = {}
        # Its lives are this module's; the ledger only asks them what any life knows.
        super().__init__(trader_id, logger, NautilusSerializer(timestamps_as_str=False), config, on_health)
        self._encode_add_order = self._encoder.add_order

    # -- What is known -----------------------------------------------------------------------------------------

    def _learn(self, lives: dict[str, Life], meanwhile: Meanwhile, loaded: dict[str, Life]) -> None:
        with self._registering:
            super()._learn(lives, meanwhile, loaded)
            for aggregate_id, life in loaded.items():
                if isinstance(life, OrderLife) and lives.get(aggregate_id) is life:
                    self._order_lives[life.nautilus_id] = life
                    self._watch(life, life.order)

    def _forget(self, lives: dict[str, Life], aggregate_id: str) -> None:
        with self._registering:
            life = lives.get(aggregate_id)
            super()._forget(lives, aggregate_id)
            if isinstance(life, OrderLife):
                self._order_lives.pop(life.nautilus_id, None)
                self._watch(life, None)

    def _forget_all(self) -> None:
        with self._registering:
            super()._forget_all()
            self._order_lives, self._open = {}, {}

    def _purged(self, lives: dict[str, Life], command: PurgeOne, life: Life | None) -> None:
        super()._purged(lives, command, life)
        if isinstance(life, OrderLife):
            self._order_lives.pop(life.nautilus_id, None)
            self._watch(life, None)

    def _watch(self, life: OrderLife, order: Any) -> None:
        """Note which object `life` is that of, and that it is not closed; None if it is."""
        life.order = order
        if order is None:
            self._open.pop(life.order_id, None)
        else:
            self._open[life.order_id] = life

    # -- Orders ------------------------------------------------------------------------------------------------

    def add_order(self, order: Any, position_id: str | None, client_id: str | None) -> None:
        """Write an order with all its events; or, of one that was written, what it was transformed into."""
        nautilus_id = order.client_order_id
        if nautilus_id not in self._order_lives:
            self._begin_order(order, nautilus_id, position_id, client_id)
            return
        with self._registering:  # so that it is not purged meanwhile
            life = self._order_lives.get(nautilus_id)
            new = None if life is None or life.purging else life.tail(order.events)
            if life is None or new is None:
                self._begin_order(order, nautilus_id, position_id, client_id)
                return
            watch = Watch(order)  # What it was transformed into is another object.
            watch.amendments = tuple(life.loaded_amendments) if life.watch is None else life.watch.amendments
            self._write_order(order, life, watch, new, watch.look(order), position_id, client_id)

    def _begin_order(self, order: Any, nautilus_id: Any, position_id: str | None, client_id: str | None) -> None:
        watch = Watch(order)
        life = OrderLife(nautilus_id, 0, (), watch)
        _check_key(ClientOrderId, life.order_id)
        self._check_trader("add_order", life.order_id, order.trader_id)
        events = tuple(order.events)
        is_new = len(events) == 1 and watch.begin(order, events[0], order.emulation_trigger)
        self._write_order(order, life, watch, events, None if is_new else watch.look(order), position_id, client_id)

    def _write_order(
        self,
        order: Any,
        life: OrderLife,
        watch: Watch,
        events: tuple[Any, ...],
        amended: tuple[Amendment, ...] | None,
        position_id: str | None,
        client_id: str | None,
    ) -> None:
        order_id, emulated = life.order_id, order.emulation_trigger != _NO_TRIGGER
        # They go into indexes, which no event is encoded for.
        if position_id is not None:
            _check_key(PositionId, position_id)
        if client_id is not None:
            _check_key(ClientId, client_id)
        captured = _captured("add_order", order_id, events)
        arguments = (order_id, life.version, order.status, emulated, captured, position_id, client_id, amended)
        self._accept("add_order", order_id, self._encode_add_order, arguments)
        life.written(events)
        life.watch = watch
        # Before anything else can be refused: otherwise the next call would begin it once more.
        self._orders[order_id] = self._order_lives[life.nautilus_id] = life
        self._watch(life, None if order.is_closed else order)
        if order.venue_order_id is not None:
            self._index_venue_order(order.venue_order_id, life)

    def update_order(self, order: Any) -> None:
        """Write the events of `order` that were not written yet, and what was set on it without an event."""
        # The call that a node makes most: everything on it is there for a reason, and nothing else is.
        life: Any = self._order_lives.get(order.client_order_id)
        if life is None:
            self.add_order(order, None, None)
            return
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            if life.purging and self._is_purged(life):
                self.add_order(order, None, None)
                return
            events = order.events
            event = events[-1]
            new: tuple[Any, ...] = (event,)
            if len(events) < 2 or events[-2] is not life.last:
                tail = life.tail(events)
                if tail is None:
                    self.add_order(order, None, None)
                    return
                new = tail
            order_id = life.order_id
            captured = new
            if len(new) != 1 or (event.__class__ is OrderFilled and event.info):
                captured = _captured("update_order", order_id, new)
            emulation = order.emulation_trigger
            closed = order.is_closed
            watch = life.watch or self._watcher(order, life)
            amended = None
            if not watch.is_explained(order, event, emulation) or (closed and event.__class__ is not OrderFilled):
                amended = watch.look(order, life.version)
            arguments = (order_id, life.version, order.status, emulation is not _NO_TRIGGER, captured, amended)
            try:
                self._put(("update_order", order_id, time_ns(), self._encode_update_order, *arguments))
            except BaseException as error:
                watch.again()
                if isinstance(error, Full | Shut):
                    self._persister.refuse(error, "update_order", order_id)
                raise
            life.version += len(new)
            life.last = event
            # It may be another object than was added: a cache loads an order that it has once more.
            if closed or life.order is not order:
                self._watch(life, None if closed else order)
            if closed:  # and most stay so: what is kept of them is kept small
                life.loaded_amendments, life.watch = watch.amendments, None
            if order.venue_order_id is not life.venue_order_id:
                self._index_venue_order(order.venue_order_id, life)
        finally:
            life.busy = False

    def _index_venue_order(self, venue_order_id: Any, life: Any) -> None:
        # The order's events say it, too; the index is for whoever looks from the other side.
        known = life.venue_order_id  # NautilusTrader's ids can not be compared with None
        is_new = venue_order_id is not None and (known is None or venue_order_id != known)
        if is_new and venue_order_id.value.isprintable():  # as the event says it, it could not be stored either
            order_id = life.order_id
            arguments = (order_id, venue_order_id.value)
            try:
                self._put(("index_venue_order_id", order_id, time_ns(), c.IndexVenueOrderId, *arguments))
            except (Full, Shut) as error:
                self._persister.refuse(error, "index_venue_order_id", order_id)
        life.venue_order_id = venue_order_id

    def _watcher(self, order: Any, life: OrderLife) -> Watch:
        """Return what finds the amendments of an order that was closed when it was loaded."""
        life.watch = Watch(order, life.loaded_amendments)
        return life.watch

    def write_amendments(self) -> None:
        """Write what was set on open orders without an event since they were last written."""
        with self._registering:  # so that none is purged meanwhile
            for order_id, life in list(self._open.items()):
                order, watch = life.order, life.watch
                if order is None or watch is None:
                    continue
                amended = watch.look(order, life.version)
                if amended is not None:
                    emulated = order.emulation_trigger != _NO_TRIGGER
                    arguments = (order_id, life.version, order.status, emulated, (), amended)
                    try:
                        self._accept("update_order", order_id, self._encode_update_order, arguments)
                    except BaseException:
                        watch.again()
                        raise

    def snapshot_order(self, order: Any) -> None:
        """Write the state of `order` as it is now."""
        order_id = order.client_order_id.value
        with self._registering:  # so that it is not purged meanwhile
            life: Any = self._orders.get(order_id)
            if life is None or life.purging:
                self.add_order(order, None, None)
                life = self._orders[order_id]
            state = order.to_dict()
            watch = life.watch or self._watcher(order, life)
            arguments = (order_id, state, watch.look(order, life.version))
            self._watch(life, None if order.is_closed else order)
            size = len(state) * VALUE_BYTES
            try:
                self._accept("snapshot_order_state", order_id, self._encoder.snapshot_order, arguments, size)
            except BaseException:
                watch.again()
                raise

    # -- Positions ---------------------------------------------------------------------------------------------

    def add_position(self, position: Any) -> None:
        """Write a position with all its fills. The id of one that was written begins a new cycle, unless it goes on."""
        position_id = position.id.value
        with self._registering:  # so that it is not purged meanwhile
            life: Any = self._positions.get(position_id)
            fills = None if life is None or life.purging else life.new_fills(position)
            if fills is None or life.is_another(position):
                self._begin_cycle("add_position", position_id, position)
            else:
                self._write_fills("add_position", position_id, position, life, fills)

    def update_position(self, position: Any) -> None:
        """Write the fills of `position` that were not written yet. One that was opened again begins a new cycle."""
        position_id = position.id.value
        life: Any = self._positions.get(position_id)
        if life is None:
            self._begin_cycle("update_position", position_id, position)
            return
        life.busy = True  # before `purging` is looked at, see `Life`
        try:
            fills = None if life.purging and self._is_purged(life) else life.new_fills(position)
            if fills is None:
                self._begin_cycle("update_position", position_id, position)
            else:
                self._write_fills("update_position", position_id, position, life, fills)
        finally:
            life.busy = False

    def _begin_cycle(self, operation: str, position_id: str, position: Any) -> None:
        fills = tuple(position.events)
        if not fills:
            return  # All of its fills were purged, and it was written before or never: there is nothing to say.
        _check_key(PositionId, position_id)
        self._check_trader(operation, position_id, position.trader_id)
        closed = position.is_closed
        # What the basis is made of never changes on a position.
        arguments = (position_id, 0, not closed, _captured(operation, position_id, fills), position)
        self._accept(operation, position_id, self._encode_position, arguments)
        self._positions[position_id] = PositionLife(len(fills), fills, closed)
        self._purged_positions.pop(position_id, None)

    def _write_fills(
        self, operation: str, position_id: str, position: Any, life: PositionLife, fills: tuple[Any, ...]
    ) -> None:
        if fills:
            captured = _captured(operation, position_id, fills)
            arguments = (position_id, life.version, not position.is_closed, captured, None)
            try:
                self._put((operation, position_id, time_ns(), self._encode_position, *arguments))
            except (Full, Shut) as error:
                life.count = -1  # so that the next call looks at all of them
                self._persister.refuse(error, operation, position_id)
        life.took(position, fills)

    def snapshot_position(self, position: Any, ts_snapshot: int, unrealized_pnl: Any) -> None:
        """Write the state of `position` as it is at `ts_snapshot`, in UNIX nanoseconds."""
        position_id = position.id.value
        with self._registering:  # so that it is not purged meanwhile
            life = self._positions.get(position_id)
            if life is None or life.purging:
                self._begin_cycle("snapshot_position_state", position_id, position)
            state = position.to_dict()
            state["ts_snapshot"] = ts_snapshot
            state["unrealized_pnl"] = None if unrealized_pnl is None else str(unrealized_pnl)
            self._accept(
                "snapshot_position_state",
                position_id,
                self._encoder.snapshot_position,
                (position_id, state),
                len(state) * VALUE_BYTES,
            )

    # -- Accounts ----------------------------------------------------------------------------------------------

    def write_account(self, operation: str, account: Any) -> None:
        """Write the events of `account` that were not written yet."""
        account_id = account.id.value
        life: Any = self._accounts.get(account_id)
        if life is None:
            _check_key(AccountId, account_id)
            life = AccountLife(0, (), {})
        events = life.new_events(account)
        if events:
            arguments = (account_id, life.version, tuple(map(capture, events)))
            self._accept(operation, account_id, self._encode_account, arguments)
            life.took(account, events)
            self._accounts[account_id] = life

    def delete_account_event(self, account_id: str, event_id: str) -> bool:
        """Delete one event of an account from the view; the log keeps it. Return whether the account had it."""
        life: Any = self._accounts.get(account_id)
        version = None if life is None else life.delete(event_id)
        if version is None:
            self.say("warning", "an event to delete is not there", account_id=account_id, event_id=event_id)
            return False
        self._accept("delete_account_event", account_id, c.DeleteAccountEvent, (account_id, version, event_id))
        return True

    # -- The rest ----------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """How the names of its keys begin."""
        return self._keys.prefix

    def say(self, level: str, event: str, **values: object) -> None:
        """Log something of this store, at a `level` such as "warning"."""
        self._persister.say(level, event, **values)

    def add_record(self, operation: str, name: str, value: Any, kind: type) -> None:
        """Write a currency, instrument or synthetic instrument. Raises `TypeError` for what is not of `kind`."""
        record = to_record(value)
        check(operation, name, record, kind)
        if isinstance(record, SyntheticInstrument):
            self.add_synthetic(record)
        elif isinstance(record, Instrument):
            self.add_instrument(record)
        else:
            self.add_currency(cast(Currency, record))

    def _check_trader(self, operation: str, key: str, trader_id: Any) -> None:
        if trader_id.value != self._node_id:
            raise Refused(f"{operation} {key}: it is one of {trader_id.value}, this is {self._node_id}'s database")

    # -- Loads -------------------------------------------------------------------------------------------------

    def as_nautilus(self, record: Record | None) -> Any:
        """Return a currency or instrument as NautilusTrader's, and None for None.

        Raises
        ------
        DamagedRecord
            If the installed release has none like it. If loads are not strict, it is noted instead, and None returned.
        """
        if record is None:
            return None
        try:
            return to_nautilus(record)
        except (TypeError, ValueError) as error:
            if isinstance(record, SyntheticInstrument):
                key, field = self._keys.synthetics, str(record.id)
            elif isinstance(record, Instrument):
                key, field = self._keys.instruments, str(record.id)
            else:
                key, field = self._keys.currencies, cast(Currency, record).code
            damage = DamagedRecord(key, field, str(error))
            if self.config.strict_loads:
                raise damage from error
            self._note_damage(damage)
            return None

    def load_one_order(self, order_id: str) -> Any:
        """Return an order, or None."""
        found = self._one_known(self._orders, order_id, lambda loader: loader.order(order_from, order_id), _order_life)
        return None if found is None else found.order

    def load_all_orders(self) -> dict[Any, Any]:
        """Return all orders by NautilusTrader's id."""
        return _orders(
            self._many_known(
                self._orders, lambda loader: loader.orders(order_from, open_only=False), _order_id, _order_life
            )
        )

    def load_one_position(self, position_id: str) -> Any:
        """Return the present cycle of a position, or None."""
        return self._one_known(
            self._positions,
            position_id,
            lambda loader: loader.position(positions_with(self._instruments(loader)), position_id),
            _position_life,
        )

    def load_all_positions(self) -> dict[Any, Any]:
        """Return the present cycle of all positions by NautilusTrader's id."""
        return self._many_known(self._positions, self._positions_of, _id, _position_life)

    def load_cycles(self, position_id: str) -> list[Any]:
        """Return the earlier cycles of a position, oldest first."""
        return self._load_at_one_moment(
            lambda loader: loader.position_cycles(positions_with(self._instruments(loader)), position_id)
        )

    def load_all_cycles(self) -> dict[str, list[Any]]:
        """Return the earlier cycles of each position that has some, oldest first, by its id."""
        family = self._keys.position("")

        def read(loader: Loader) -> dict[str, list[Any]]:
            fold = positions_with(self._instruments(loader))
            ids = [key.removeprefix(family) for key in loader.values(self._keys.lives) if key.startswith(family)]
            return {position_id: loader.position_cycles(fold, position_id) for position_id in ids}

        return self._load_at_one_moment(read)

    def load_one_account(self, account_id: str) -> Any:
        """Return an account, or None."""
        found = self._one_known(
            self._accounts, account_id, lambda loader: loader.account(account_from, account_id), _account_life
        )
        return None if found is None else found.account

    def load_all_accounts(self) -> dict[Any, Any]:
        """Return all accounts by NautilusTrader's id."""
        return _accounts(
            self._many_known(self._accounts, lambda loader: loader.accounts(account_from), _account_id, _account_life)
        )

    def load_everything(self) -> dict[str, dict[Any, Any]]:
        """Return accounts, orders and positions, and the records of currencies, instruments and synthetics."""
        with self._learning() as meanwhile:
            currencies, instruments, synthetics, accounts, orders, positions = self._load_at_one_moment(
                lambda loader: (
                    loader.currencies(),
                    self._instruments(loader),
                    loader.records(self._keys.synthetics, SyntheticInstrument, InstrumentId),
                    loader.accounts(account_from),
                    loader.orders(order_from, open_only=False),
                    self._positions_of(loader),
                )
            )
            return {
                "currencies": currencies,
                "instruments": instruments,
                "synthetics": synthetics,
                "accounts": _accounts(self._known(self._accounts, meanwhile, accounts, _account_id, _account_life)),
                "orders": _orders(self._known(self._orders, meanwhile, orders, _order_id, _order_life)),
                "positions": self._known(self._positions, meanwhile, positions, _id, _position_life),
            }

    def _instruments(self, loader: Loader) -> dict[InstrumentId, Instrument]:
        return loader.records(self._keys.instruments, Instrument, InstrumentId)

    def _positions_of(self, loader: Loader) -> dict[str, tuple[Any, int]]:
        return loader.positions(positions_with(self._instruments(loader)), open_only=False)


def _captured(operation: str, key: str, events: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `events`, those that hold what their maker can change later as the records that they are now.

    Raises
    ------
    Refused
        If one of those can not be stored.
    """
    found: list[Any] | None = None
    for i, event in enumerate(events):
        kind = event.__class__
        if kind is OrderFilled:
            if not event.info:
                continue
        elif kind is not OrderInitialized or not (event.exec_algorithm_params or event.tags):
            continue
        found = list(events) if found is None else found
        try:
            found[i] = to_record(event)
        except (TypeError, ValueError) as error:
            raise Refused(f"{operation} {key}: it can not be stored ({error}); nothing was accepted") from error
    return events if found is None else tuple(found)


def _check_key(kind: type[Identifier], text: str) -> None:
    """Raise `InvalidIdentifier` for an id that can not be part of a key."""
    if not text.isprintable() or "{" in text or "}" in text or len(text) > LENGTH_MAX:
        kind(text)  # which says what is wrong with it


def _id(thing: Any) -> Any:
    return thing.id


def _order_id(found: OrderFound) -> Any:
    return found.order.client_order_id


def _orders(found: dict[Any, OrderFound]) -> dict[Any, Any]:
    return {order_id: order.order for order_id, order in found.items()}


def _account_id(found: AccountFound) -> Any:
    return found.account.id


def _accounts(found: dict[Any, AccountFound]) -> dict[Any, Any]:
    return {account_id: account.account for account_id, account in found.items()}


def _order_life(found: OrderFound, version: int) -> OrderLife:
    order = found.order
    # Whether its venue order id was indexed is not known: a crash may have come between the two entries.
    life = OrderLife(order.client_order_id, version, order.events, None)
    life.loaded_amendments = found.amendments
    if not order.is_closed:
        life.order, life.watch = order, Watch(order, found.amendments)
    return life


def _position_life(position: Any, version: int) -> PositionLife:
    return PositionLife(version, position.events, position.is_closed)


def _account_life(found: AccountFound, version: int) -> AccountLife:
    return AccountLife(version, found.account.events, dict(found.versions))
