"""A database for orders, positions and accounts of NautilusTrader, in the log and views of the built-in model."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, cast

from nautilus_trader.model.identifiers import ClientOrderId as NautilusOrderId

from eventstore import commands as c
from eventstore.config import CacheDatabaseConfig
from eventstore.encoder import Encoder
from eventstore.health import Health
from eventstore.integrations.nautilus.accounts import teller
from eventstore.integrations.nautilus.capturing import (
    ENDS,
    LEADS_TO,
    NO_TRIGGER,
    TRAILING,
    Filled,
    Initialized,
    Seen,
    Taken,
    are_plain,
    check_key,
    frozen,
    take_order,
)
from eventstore.integrations.nautilus.conversion import to_record
from eventstore.integrations.nautilus.histories import Histories
from eventstore.integrations.nautilus.lives import AccountLife
from eventstore.integrations.nautilus.position_histories import Call
from eventstore.integrations.nautilus.positions import NautilusPositions
from eventstore.integrations.nautilus.serializing import NautilusSerializer
from eventstore.ledger import PurgeOne, check
from eventstore.model.currency import Currency
from eventstore.model.identifiers import ClientId, ClientOrderId, PositionId, TraderId
from eventstore.model.instrument import Instrument
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.registry import Life, Meanwhile
from workers.backlog import Full, Shut

HELD_AS_CALLED = (
    "add_account",
    "add_order",
    "add_position",
    "heartbeat",
    "snapshot_order_state",
    "snapshot_position_state",
    "update_account",
    "update_order",
    "update_position",
)
"""The verbs that take just what NautilusTrader's cache calls them with, so that nothing needs to come in between."""


class NautilusStore(NautilusPositions):
    """What `CacheDatabaseAdapter` writes to and loads from.

    A call takes what it needs of an object, and returns; what that adds to what is written, `Histories` finds out
    behind it. Ids that are new here are looked at in the call, as they go into keys.

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
        serializer = NautilusSerializer(timestamps_as_str=False)
        self._histories = histories = Histories(Encoder(serializer, trader_id))
        self._verbs: Any = histories  # what is put in the backlog to be called there
        self._write_order: Any = self._verbs.update_order
        self._write_new_order: Any = self._verbs.add_new_order
        self._write_position: Any = self._verbs.update_position
        # The ids that were looked at: of orders that are neither emulated nor trailing, of the others, of positions.
        # Only calls change them, so that what a call takes does not depend on how far the writer is.
        self._plain: set[Any] = set()
        self._special: set[Any] = set()
        self._checked_positions: set[Any] = set()
        # How many fills a position with many had at the last call.
        self._many_fills: dict[Any, int] = {}
        # The last trader id that was the node's: NautilusTrader's objects share it.
        self._trader: Any = None
        self._account_lives: dict[Any, AccountLife] = {}
        super().__init__(trader_id, logger, serializer, config, on_health)
        self._encode_told = teller(self._encoder)
        # What is known is the histories', but for accounts.
        self._orders, self._positions = histories.orders, histories.positions
        self._registering, self._loads = histories.lock, histories.loads
        self._makes_at_once = not self._persister.unfold_with(histories.unfold)
        if self._makes_at_once:
            self._put = self._put_at_once

    def _put_at_once(self, *item: Any) -> None:
        """Make the commands of a call in the call: with a journal, they have to be there when it returns."""
        histories = self._histories
        if histories.is_call(item):
            with histories.lock:
                item[3](self._emit, item)
        else:
            self._persister.put(*item)

    def _emit(self, item: Call) -> None:
        try:
            self._persister.put(*item)
        except (Full, Shut) as error:
            self._persister.refuse(error, item[0], item[1])

    # -- What is known -----------------------------------------------------------------------------------------

    def _learn(self, lives: dict[str, Life], meanwhile: Meanwhile, loaded: dict[str, Life]) -> None:
        self._histories.learn(lives, meanwhile, loaded)
        for life in loaded.values():
            if isinstance(life, AccountLife) and lives.get(life.account_id) is life:
                self._account_lives[life.nautilus_id] = life

    def _purge(self, lives: dict[str, Life], command: PurgeOne, last_event_id: str) -> bool:
        """Accept `command`. Whether what it purges went on since it was looked at shows when its turn comes."""
        self._call("purge", command[0], self._verbs.purge, command, last_event_id)
        if isinstance(command, c.PurgeOrder):
            self._look_again(command.order_id)
        return True

    def _look_again(self, order_id: str) -> None:
        """Look at that order whole when it is told of again: it may begin anew."""
        nautilus_id = NautilusOrderId(str(order_id))
        self._plain.discard(nautilus_id)
        self._special.discard(nautilus_id)

    def flush(self) -> None:
        self._persister.refuse_to_wait_for_itself("flush")  # before anything is accepted
        self._call("flush", self._keys.namespace, self._verbs.flush)
        with self._registering:
            for load in self._loads:
                load.forget_all()
            self._accounts.clear()
            self._account_lives.clear()
        for looked_at in (self._plain, self._special, self._checked_positions):
            looked_at.clear()
        self._many_fills.clear()
        self.sync()

    def delete_order(self, client_order_id: ClientOrderId) -> None:
        check("delete_order", "client_order_id", client_order_id, ClientOrderId)
        self._call("delete_order", client_order_id, self._verbs.delete_order, client_order_id)
        self._look_again(client_order_id)

    def delete_position(self, position_id: PositionId) -> None:
        check("delete_position", "position_id", position_id, PositionId)
        self._call("delete_position", position_id, self._verbs.delete_position, position_id)

    def index_order_position(self, client_order_id: ClientOrderId, position_id: PositionId) -> None:
        check("index_order_position", "client_order_id", client_order_id, ClientOrderId)
        check("index_order_position", "position_id", position_id, PositionId)
        verb = self._verbs.index_order_position
        self._call("index_order_position", client_order_id, verb, client_order_id, position_id)

    # -- Orders ------------------------------------------------------------------------------------------------

    def update_order(self, order: Any) -> None:
        """Write the events of `order` that were not written yet, and what was set on it without an event."""
        # The call that a node makes most: everything on it is there for a reason, and nothing else is.
        taken = take_order(order)
        event = taken[2]
        kind = event.__class__
        closed = None
        if kind is Filled:
            closed = order.is_closed
        if taken[0] not in self._plain or (kind not in LEADS_TO and (closed is None or event.info)):
            self._update_other_order(order, taken)
            return
        try:
            self._put("update_order", taken[0], time_ns(), self._write_order, order, taken, closed, None)
        except (Full, Shut) as error:
            self._persister.refuse(error, "update_order", taken[0].value)

    def _update_other_order(self, order: Any, taken: Taken) -> None:
        nautilus_id = taken[0]
        if nautilus_id in self._plain and taken[2].__class__ in ENDS:
            self._call("update_order", nautilus_id, self._write_order, order, taken, None, order.liquidity_side)
            return
        self._call("update_order", nautilus_id, self._verbs.update_any_order, self._seen("update_order", order))
        self._note_checked(order, nautilus_id, order.emulation_trigger)

    def add_order(self, order: Any, position_id: Any = None, client_id: Any = None) -> None:
        """Write an order with all its events; or, of one that was written, what it was transformed into.

        Parameters
        ----------
        order : nautilus_trader.model.orders.Order
        position_id : nautilus_trader.model.identifiers.PositionId, optional
            Which position it belongs to.
        client_id : nautilus_trader.model.identifiers.ClientId, optional
            Which execution client it goes through.
        """
        taken = take_order(order)
        nautilus_id, event = taken[0], taken[2]
        emulation = order.emulation_trigger
        ids = None
        if position_id is not None or client_id is not None:
            ids = _index_ids(position_id, client_id)
        if taken[1] != 1 or emulation is not NO_TRIGGER or event.__class__ is not Initialized or _trails(order):
            seen = self._seen("add_order", order)
            self._call("add_order", nautilus_id, self._verbs.add_order, seen, ids)
            self._note_checked(order, nautilus_id, emulation)
            return
        if nautilus_id not in self._plain:
            self._check_order("add_order", order, nautilus_id.value)
        held: Any = event.tags
        if held is not None:
            held = tuple(held)
        if event.exec_algorithm_params or (held and not are_plain(held)):
            held = frozen("add_order", nautilus_id.value, (event,))
        try:
            self._put("add_order", nautilus_id, time_ns(), self._write_new_order, order, taken, held, ids)
        except (Full, Shut) as error:
            self._persister.refuse(error, "add_order", nautilus_id.value)
        self._plain.add(nautilus_id)
        if self._special:
            self._special.discard(nautilus_id)

    def _seen(self, operation: str, order: Any) -> Seen:
        """Take all of `order`, with what its maker may change: in all its events if it is new here, or in the last."""
        nautilus_id = order.client_order_id
        order_id = nautilus_id.value
        if nautilus_id in self._plain or nautilus_id in self._special:
            return Seen.whole(order, frozen(operation, order_id, (order.last_event,)))
        self._check_order(operation, order, order_id)
        return Seen.whole(order, frozen(operation, order_id, order.events))

    def _check_order(self, operation: str, order: Any, order_id: str) -> None:
        check_key(ClientOrderId, order_id)
        trader = order.trader_id
        if trader is not self._trader:
            self._check_trader(operation, order_id, trader)

    def _note_checked(self, order: Any, nautilus_id: Any, emulation: Any) -> None:
        if emulation is NO_TRIGGER and not _trails(order):
            self._plain.add(nautilus_id)
            if self._special:
                self._special.discard(nautilus_id)
        else:
            self._special.add(nautilus_id)
            self._plain.discard(nautilus_id)

    def write_amendments(self) -> None:
        """Write what was set on open orders without an event since they were last written."""
        self._call("update_order", self._keys.orders_open, self._verbs.amend_open_orders)

    def snapshot_order_state(self, order: Any) -> None:
        """Write the state of `order` as it is now."""
        state = order.to_dict() if self._makes_at_once else None
        taken = take_order(order)
        nautilus_id, event = taken[0], taken[2]
        closed = order.is_closed if event.__class__ is Filled else None
        item: tuple[Any, ...]
        if nautilus_id in self._plain and (
            closed is not None or event.__class__ in LEADS_TO or event.__class__ in ENDS
        ):
            item = (self._verbs.snapshot_order, order, taken, closed, order.liquidity_side)
            if state is not None:
                item = (self._verbs.snapshot_any_order, Seen.whole(order), state, None, None)
        else:
            item = (self._verbs.snapshot_any_order, self._seen("snapshot_order_state", order), state, None, None)
        try:
            self._put("snapshot_order_state", nautilus_id, time_ns(), *item)
        except (Full, Shut) as error:
            self._persister.refuse(error, "snapshot_order_state", nautilus_id.value)

    # -- The rest ----------------------------------------------------------------------------------------------

    def heartbeat(self, timestamp: Any) -> None:
        """Note that the node was alive at `timestamp`, which has a time zone."""
        # NautilusTrader's own takes a pandas Timestamp alone. That counts nanoseconds, and is slow to reckon with.
        ns = getattr(timestamp, "value", None)
        if ns is None or timestamp.tzinfo is None:
            super().heartbeat(timestamp)
        else:
            self.beat(ns)

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


def _trails(order: Any) -> bool:
    return order.__class__ in TRAILING


def _index_ids(position_id: Any, client_id: Any) -> tuple[str | None, str | None]:
    """Return the texts of ids that go into indexes, which no event is encoded for. Raises as `check_key`."""
    position = None if position_id is None else position_id.value
    client = None if client_id is None else client_id.value
    if position is not None:
        check_key(PositionId, position)
    if client is not None:
        check_key(ClientId, client)
    return position, client
