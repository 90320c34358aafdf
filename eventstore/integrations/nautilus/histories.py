"""What was written of NautilusTrader's orders and positions, and what a call adds to that: the writer's half.

NautilusTrader's cache calls with whatever it has: an order that was never added, one whose id comes again, a position
whose fills were purged. None of that is refused. What goes on is continued, anything else begins anew, and the log
keeps both. Which of them it is, is known only where all calls before are: so it is decided when a call's turn comes, on
the writer's thread. With a journal that is in the call itself, as its commands have to be there when it returns.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from nautilus_trader.model.enums import OrderStatus

from eventstore import commands as c
from eventstore.encoder import Encoder
from eventstore.integrations.nautilus.amendments import Watch
from eventstore.integrations.nautilus.capturing import NO_TRIGGER, Filled, Seen, as_frozen, freeze
from eventstore.integrations.nautilus.conversion import CapturedInit
from eventstore.integrations.nautilus.lives import OrderLife
from eventstore.integrations.nautilus.position_histories import Call, Emit, PositionHistories, text_of
from eventstore.integrations.nautilus.snapshots import order_state
from eventstore.ledger import PurgeOne
from eventstore.model.enums import TriggerType
from eventstore.model.order_amendments import Amendment
from eventstore.registry import Life, Meanwhile
from eventstore.storage.appender import called

_NO_IDS = (None, None)
_NO_TRIGGER = TriggerType.NO_TRIGGER


class Histories(PositionHistories):
    """The lives of orders and positions, changed in the order in which calls were accepted.

    Each verb is given what takes its commands, and the call. That may come to one command, to two, or to none.

    Not for two threads at once; `lock` is for what others add or ask meanwhile.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.orders: dict[str, Life] = {}
        self.order_lives: dict[Any, OrderLife] = {}
        """The lives of orders once more, by NautilusTrader's ids: those are hashed faster than their text is made."""
        self.open: dict[str, OrderLife] = {}
        """And those of orders that are not closed: the others are many, in the end."""
        self._encode_add_order = encoder.add_order
        self._encode_order_event = encoder.order_event
        self._encode_update_order = encoder.update_order
        self._encode_snapshot_order = encoder.snapshot_order

    def is_call(self, item: Any) -> bool:
        """Whether `item` is a call that is still to be made into commands."""
        if item.__class__ is not tuple:
            return False
        make = item[3]
        return make.__class__ is MethodType and make.__self__ is self

    def unfold(self, item: Any, taken: list[Any]) -> None:
        """Append to `taken` what `item` comes to. Does not raise: what can not be made is named in its place."""
        if not self.is_call(item):
            taken.append(item)
            return
        try:
            item[3](taken.append, item)
        except Exception as error:  # noqa: BLE001 - whatever it is, the calls behind it must go on
            taken.append((item[0], text_of(item[1]), item[2], called, _fail, (error,), None, None))

    # -- What is known -----------------------------------------------------------------------------------------

    def learn(self, lives: dict[str, Life], meanwhile: Meanwhile, loaded: dict[str, Life]) -> None:
        """Note what was loaded, where nothing is known that is further, and it was not forgotten meanwhile."""
        with self.lock:
            for aggregate_id, life in loaded.items():
                if aggregate_id in lives or meanwhile.is_gone(lives, aggregate_id):
                    continue
                lives[aggregate_id] = life
                if isinstance(life, OrderLife):
                    self.order_lives[life.nautilus_id] = life
                    self._watch(life, life.order)

    def _forget(self, lives: dict[str, Life], aggregate_id: str) -> None:
        with self.lock:
            for load in self.loads:
                load.forget(lives, aggregate_id)
            life = lives.pop(aggregate_id, None)
            if isinstance(life, OrderLife):
                self.order_lives.pop(life.nautilus_id, None)
                self._watch(life, None)

    def _watch(self, life: OrderLife, order: Any) -> None:
        """Note which object `life` is that of, and that it is not closed; None if it is."""
        life.order = order
        if order is None:
            self.open.pop(life.order_id, None)
        else:
            self.open[life.order_id] = life

    # -- Orders ------------------------------------------------------------------------------------------------

    def update_order(self, emit: Emit, item: Call) -> None:
        """Take an order that is neither emulated nor trailing, and whose last event says its status."""
        order, taken, closed, liquidity_side = item[4:]
        self._update(emit, item[2], Seen.plain(order, taken, closed, liquidity_side))

    def update_any_order(self, emit: Emit, item: Call) -> None:
        """Take an order of any kind."""
        self._update(emit, item[2], item[4])

    def _update(self, emit: Emit, accepted_ns: int, seen: Seen) -> None:
        life = self.order_lives.get(seen.nautilus_id)
        new = None if life is None else life.new_events(seen)
        if life is None or new is None:
            self._begin_order(emit, accepted_ns, seen, None, None)
            return
        event = seen.last_event
        closed = seen.is_closed
        watch = life.watch or _watcher(seen, life)
        amended = None
        if not watch.is_explained(seen, event, seen.emulation_trigger) or (closed and event.__class__ is not Filled):
            amended = watch.look(seen, life.version)
        self._write_update(emit, accepted_ns, life, watch, seen, new, amended)
        if closed:  # and most stay so: what is kept of them is kept small
            life.loaded_amendments, life.watch = watch.amendments, None
        # It may be another object than was added: a cache loads an order that it has once more.
        self._came(emit, accepted_ns, life, seen)

    def _write_update(
        self,
        emit: Emit,
        accepted_ns: int,
        life: OrderLife,
        watch: Watch,
        seen: Seen,
        new: tuple[Any, ...],
        amended: tuple[Amendment, ...] | None,
    ) -> None:
        order_id = life.order_id
        try:
            version, status, emulation = life.version, seen.status, seen.emulation_trigger
            if len(new) == 1 and amended is None and seen.frozen is None:  # as nearly always
                event, make = freeze("update_order", order_id, new[0]), self._encode_order_event
                trigger = _NO_TRIGGER if emulation is NO_TRIGGER else TriggerType.DEFAULT
                emit(("update_order", order_id, accepted_ns, make, version, status, trigger, event))
            else:
                captured = as_frozen("update_order", order_id, new, seen.frozen)
                arguments = (order_id, version, status, emulation is not NO_TRIGGER, captured, amended)
                emit(("update_order", order_id, accepted_ns, called, self._encode_update_order, arguments, None, None))
        except BaseException:
            watch.again()
            raise
        life.written(new)

    def add_order(self, emit: Emit, item: Call) -> None:
        """Take an order with all its events; or, of one that was written, what it was transformed into."""
        accepted_ns, seen = item[2], item[4]
        position_id, client_id = item[5] or _NO_IDS
        life = self.order_lives.get(seen.nautilus_id)
        new = None if life is None else life.new_events(seen)
        if life is None or new is None:
            self._begin_order(emit, accepted_ns, seen, position_id, client_id)
            return
        watch = Watch(seen)  # What it was transformed into is another object.
        watch.amendments = tuple(life.loaded_amendments) if life.watch is None else life.watch.amendments
        self._write_order(emit, accepted_ns, seen, life, watch, new, watch.look(seen), position_id, client_id)

    def add_new_order(self, emit: Emit, item: Call) -> None:
        """Take an order that is neither emulated nor trailing, and has no event but its first; and the tags of that."""
        order, taken, frozen, ids = item[4:]
        if frozen.__class__ is tuple:
            frozen = {id(taken[2]): CapturedInit(taken[2], frozen)}
        self.add_order(emit, (*item[:4], Seen(order, taken, OrderStatus.INITIALIZED, frozen=frozen), ids))

    def _begin_order(
        self, emit: Emit, accepted_ns: int, seen: Seen, position_id: str | None, client_id: str | None
    ) -> None:
        watch = Watch(seen)
        life = OrderLife(seen.nautilus_id, 0, (), watch)
        events = tuple(seen.events)
        is_new = len(events) == 1 and watch.begin(seen, events[0], seen.emulation_trigger)
        amended = None if is_new else watch.look(seen)
        self._write_order(emit, accepted_ns, seen, life, watch, events, amended, position_id, client_id)

    def _write_order(
        self,
        emit: Emit,
        accepted_ns: int,
        seen: Seen,
        life: OrderLife,
        watch: Watch,
        events: tuple[Any, ...],
        amended: tuple[Amendment, ...] | None,
        position_id: str | None,
        client_id: str | None,
    ) -> None:
        order_id, emulated = life.order_id, seen.emulation_trigger != NO_TRIGGER
        captured = as_frozen("add_order", order_id, events, seen.frozen)
        arguments = (order_id, life.version, seen.status, emulated, captured, position_id, client_id, amended)
        emit(("add_order", order_id, accepted_ns, called, self._encode_add_order, arguments, None, None))
        life.written(events)
        life.watch = watch
        # Before anything else can be refused: otherwise the next call would begin it once more.
        with self.lock:
            self.orders[order_id] = self.order_lives[life.nautilus_id] = life
        self._came(emit, accepted_ns, life, seen)

    def _came(self, emit: Emit, accepted_ns: int, life: OrderLife, seen: Seen) -> None:
        """Note how far the object came, and what else is to be said of it."""
        closed = seen.is_closed
        life.count = seen.event_count
        if closed or life.order is not seen.order:
            self._watch(life, None if closed else seen.order)
        venue_order_id, known = seen.venue_order_id, life.venue_order_id
        if venue_order_id is known:
            return
        # The order's events say it, too; the index is for whoever looks from the other side.
        is_new = venue_order_id is not None and (known is None or venue_order_id != known)  # which takes no None
        if is_new and venue_order_id.value.isprintable():  # as the event says it, it could not be stored either
            arguments = (life.order_id, venue_order_id.value)
            emit(
                ("index_venue_order_id", life.order_id, accepted_ns, called, c.IndexVenueOrderId, arguments, None, None)
            )
        life.venue_order_id = venue_order_id

    def amend_open_orders(self, emit: Emit, item: Call) -> None:
        """Write what was set on open orders without an event since they were last written."""
        for life in list(self.open.values()):
            order, watch = life.order, life.watch
            if order is None or watch is None:
                continue
            seen = Seen.whole(order)
            amended = watch.look(seen, life.version)
            if amended is not None:
                self._write_update(emit, item[2], life, watch, seen, (), amended)

    def snapshot_order(self, emit: Emit, item: Call) -> None:
        """Write the state at the call of an order that is neither emulated nor trailing."""
        order, taken, closed, liquidity_side = item[4:]
        self._snapshot(emit, item, Seen.plain(order, taken, closed, liquidity_side), None)

    def snapshot_any_order(self, emit: Emit, item: Call) -> None:
        """Write the state of an order, which may be put together already."""
        self._snapshot(emit, item, item[4], item[5])

    def _snapshot(self, emit: Emit, item: Call, seen: Seen, state: dict[str, Any] | None) -> None:
        order_id = text_of(item[1])
        if seen.nautilus_id not in self.order_lives:
            self._begin_order(emit, item[2], seen, None, None)
        life = self.order_lives[seen.nautilus_id]
        watch = life.watch or _watcher(seen, life)
        amended = watch.look(seen, life.version)
        if life.order is not seen.order:
            life.count = -1  # it may have events that are not written
        self._watch(life, None if seen.is_closed else seen.order)
        try:
            if state is None:
                state = order_state(seen, watch.amendments)
            emit((*item[:3], called, self._encode_snapshot_order, (order_id, state, amended), None, None))
        except BaseException:
            watch.again()
            raise

    # -- What is not only written ------------------------------------------------------------------------------

    def index_order_position(self, emit: Emit, item: Call) -> None:
        """Write which position an order belongs to, and whether this process wrote that order."""
        order_id, position_id, _, _ = item[4:]
        arguments = (order_id, position_id, order_id in self.orders)
        emit((*item[:3], called, c.IndexOrderPosition, arguments, None, None))

    def delete_order(self, emit: Emit, item: Call) -> None:
        """Delete an order, and forget it."""
        emit((*item[:3], called, c.DeleteOrder, (item[4],), None, None))
        self._forget(self.orders, item[4])

    def delete_position(self, emit: Emit, item: Call) -> None:
        """Delete a position, and forget it."""
        emit((*item[:3], called, c.DeletePosition, (item[4],), None, None))
        self._forget(self.positions, item[4])

    def purge(self, emit: Emit, item: Call) -> None:
        """Purge one order or position, unless it went on since it was looked at."""
        command: PurgeOne
        command, last_event_id, _, _ = item[4:]
        lives = self.orders if isinstance(command, c.PurgeOrder) else self.positions
        life = lives.get(command[0])
        if life is not None and (life.version != command.version or life.last_event_id != last_event_id):
            return
        emit((*item[:3], called, command.__class__, tuple(command), None, None))
        self._forget(lives, command[0])

    def flush(self, emit: Emit, item: Call) -> None:
        """Delete everything, and forget it."""
        emit((*item[:3], called, c.Flushed, (0, b""), None, None))
        with self.lock:
            for load in self.loads:
                load.forget_all()
            for known in (self.orders, self.order_lives, self.open, self.positions):
                known.clear()


def _watcher(seen: Seen, life: OrderLife) -> Watch:
    """Return what finds the amendments of an order that was closed when it was loaded."""
    life.watch = Watch(seen, life.loaded_amendments)
    return life.watch


def _fail(error: Exception) -> c.Command:
    raise error
