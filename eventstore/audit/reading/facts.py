"""What an entry of the log is about: which ids, strategies and instruments, which events, and when. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventstore import commands as c
from eventstore.audit.decoding import place_of
from eventstore.chain import LogEntry
from eventstore.codec import MsgPackSerializer, Serializer, read_at
from eventstore.errors import CodecError
from eventstore.model.currency import Currency
from eventstore.model.events import ORDER_EVENTS, AccountState, OrderEvent
from eventstore.model.identifiers import TraderId
from eventstore.place import Place
from eventstore.states import unpack_snapshot

FAMILIES = ("order", "position", "account", "instrument", "currency", "actor", "strategy", "general", "writer")
"""What a command can be about. ``writer`` is what the library says of itself and the heartbeat of the node."""

ID_NAMES = ("orders", "venue_orders", "trades", "positions", "accounts", "strategies", "instruments", "components")

# Which ids the fields of a command and of an event are; any other text field that names something is in `others`.
_OF_FIELD = {
    "order_id": "orders",
    "client_order_id": "orders",
    "venue_order_id": "venue_orders",
    "trade_id": "trades",
    "position_id": "positions",
    "account_id": "accounts",
    "strategy_id": "strategies",
    "instrument_id": "instruments",
    "component_id": "components",
    "key": "others",
    "code": "others",
    "client_id": "others",
    "event_id": "others",
}
_WORDS = (
    *(("Order", "order"), ("Position", "position"), ("Account", "account"), ("Actor", "actor")),
    *(("Strategy", "strategy"), ("Instrument", "instrument"), ("Synthetic", "instrument"), ("Currency", "currency")),
)


def family_of(kind: type[Any]) -> str:
    """Return which of `FAMILIES` a kind of command belongs to: the first thing that its name names."""
    if kind is c.Add:
        return "general"
    found = [(kind.__name__.index(word), family) for word, family in _WORDS if word in kind.__name__]
    return min(found)[1] if found else "writer"


def _ids_of(names: tuple[str, ...], left_out: str = "") -> tuple[tuple[int, str], ...]:
    return tuple((i, _OF_FIELD[name]) for i, name in enumerate(names) if name in _OF_FIELD and name != left_out)


_KINDS: tuple[Any, ...] = tuple(c.KINDS)
_EVENTS: tuple[Any, ...] = (*ORDER_EVENTS.values(), AccountState)
_FAMILY = {kind: family_of(kind) for kind in _KINDS}
_IN_COMMAND = {kind: _ids_of(kind._fields) for kind in _KINDS}
# An event's own id is no id that anybody looks for, and there is one in every event.
_IN_EVENT = {kind: _ids_of(kind._fields, "event_id") for kind in _EVENTS}
ENDS = tuple(
    kind for kind in _KINDS if kind.__name__.startswith(("Delete", "Purge")) and kind is not c.PurgePositionCycles
)
"""The commands that take away an order, a position, an account's events or a saved state."""


class Facts:
    """One entry of the log, read.

    Attributes
    ----------
    entry : LogEntry
    trader_id : TraderId
        Whose log it is of.
    command : Command or None
        None if it can not be read; `error` says why.
    kind : str
        The name of the command; ``?`` if it can not be read.
    family : str
        One of `FAMILIES`.
    events : list of OrderEvent or AccountState
        Those in the command that can be read, in order.
    ts_event : int or None
        When the last of them happened, or the time of a heartbeat, UNIX nanoseconds.
    orders, venue_orders, trades, positions, accounts, strategies, instruments, components : list of str
        The ids that are involved, each once. `components` are actors and strategies with a saved state.
    others : list of str
        The key of a general object or of a call that was quarantined, the code of a currency, the client of an order.
    inherited : tuple of str
        Those of the strategies and instruments that the entry does not name, but earlier ones of the same order or
        position.
    error : str or None
        What of it can not be read.
    """

    __slots__ = (
        *("command", "entry", "error", "events", "family", "inherited", "kind", "others", "trader_id", "ts_event"),
        *ID_NAMES,
    )

    orders: list[str]
    venue_orders: list[str]
    trades: list[str]
    positions: list[str]
    accounts: list[str]
    strategies: list[str]
    instruments: list[str]
    components: list[str]

    def __init__(
        self, entry: LogEntry, trader_id: TraderId, command: c.Command | None, error: str | None = None
    ) -> None:
        self.entry = entry
        self.trader_id = trader_id
        self.command = command
        self.kind = "?" if command is None else command.__class__.__name__
        self.family = "writer" if command is None else _FAMILY[command.__class__]
        self.events: list[Any] = []
        self.ts_event: int | None = None
        self.error = error
        self.others: list[str] = []
        self.inherited: tuple[str, ...] = ()
        for name in ID_NAMES:
            setattr(self, name, [])

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self.entry.position

    @property
    def accepted_ms(self) -> int:
        """When the call was accepted, UNIX milliseconds."""
        return self.entry.accepted_ms

    @property
    def key(self) -> str | None:
        """What the command itself names first: an order, a position, an account, and so on."""
        if self.command is None:
            return None
        first = next(iter(_IN_COMMAND[self.command.__class__]), None)
        return None if first is None else str(self.command[first[0]])

    def ids(self) -> dict[str, list[str]]:
        """Return the ids by what they are ids of."""
        return {name: list(getattr(self, name)) for name in ID_NAMES}

    def names(self, an_id: str) -> bool:
        """Whether the entry itself names that id."""
        if an_id in self.inherited:
            return False
        return an_id in self.others or any(an_id in getattr(self, name) for name in ID_NAMES)

    def add(self, name: str, an_id: str) -> None:
        """Note an id of the kind `name`, once."""
        known = getattr(self, name)
        if an_id not in known:
            known.append(an_id)


Origin = tuple[str, str]
"""The strategy and the instrument of an order or position."""


class FactReader:
    """Reads entries in the order of the log, and remembers whose each order and position is.

    Entries that hold no event (a deletion, an index, a purge) do not name their strategy and instrument. They get those
    that the log said before, so a reading that begins in the middle of a log may not know them. What is deleted is
    forgotten: the memory is that of the orders and positions that there are.

    Parameters
    ----------
    trader_id : TraderId
        Whose log it is.
    remember : bool, default True
        Whether to keep them. Not needed where nobody asks for strategies and instruments.
    """

    def __init__(self, trader_id: TraderId, serializer: Serializer | None = None, remember: bool = True) -> None:
        self.trader_id = trader_id
        self.serializer = serializer or MsgPackSerializer()
        self._remember = remember
        self._shared: dict[Origin, Origin] = {}
        self._orders: dict[str, tuple[Origin, int]] = {}
        self._positions: dict[str, tuple[Origin, int]] = {}

    def read(self, entry: LogEntry) -> Facts:
        """Return what `entry` is about. What can not be read is in its `error`; nothing raises."""
        try:
            command = c.decode(entry.payload)
        except CodecError as error:
            return Facts(entry, self.trader_id, None, str(error))
        facts = Facts(entry, self.trader_id, command)
        for place, name in _IN_COMMAND[command.__class__]:
            if command[place] is not None:
                facts.add(name, str(command[place]))
        if isinstance(command, c.UpdateStrategy | c.DeleteStrategy):
            facts.add("components", command.strategy_id)
        elif isinstance(command, c.Heartbeat):
            facts.ts_event = command.timestamp
        elif isinstance(command, c.AddCurrency):
            self._register(facts, command)
        elif isinstance(command, c.SnapshotOrder | c.SnapshotPosition):
            self._snapshot(facts, command)
        at = place_of(command, self.trader_id)
        for data in getattr(command, "events", ()):
            self._event(facts, data, at)
        if self._remember:
            self._know(facts, command)
        return facts

    def _event(self, facts: Facts, data: bytes, at: Place | None) -> None:
        try:
            event = read_at(self.serializer, data, at)
        except CodecError as error:
            facts.error = str(error)
            return
        if not isinstance(event, OrderEvent | AccountState):
            facts.error = f"a {type(event).__name__} stands where an event belongs"
            return
        facts.events.append(event)
        facts.ts_event = event.ts_event
        for place, name in _IN_EVENT[event.__class__]:
            value = event[place]
            if value is not None:
                facts.add(name, value)

    def _register(self, facts: Facts, command: c.AddCurrency) -> None:
        # Amounts in a currency that this process was not told of have to be read with the right number of decimals.
        try:
            currency = self.serializer.deserialize(command.record)
        except CodecError as error:
            facts.error = str(error)
            return
        if isinstance(currency, Currency):
            Currency.register(currency)

    def _snapshot(self, facts: Facts, command: c.SnapshotOrder | c.SnapshotPosition) -> None:
        try:
            values: Mapping[str, Any] = unpack_snapshot(command.record)
        except CodecError as error:
            facts.error = str(error)
            return
        for name in ("strategy_id", "instrument_id"):
            if isinstance(values[name], str):
                facts.add(_OF_FIELD[name], values[name])

    def _know(self, facts: Facts, command: c.Command) -> None:
        if isinstance(command, c.Flushed):
            self._orders.clear()
            self._positions.clear()
            return
        known, name = (self._positions, "position_id") if facts.family == "position" else (self._orders, "order_id")
        an_id = getattr(command, name, None)
        if an_id is None:
            return
        known_origin, version = known.get(an_id, (None, 0))
        if facts.events and isinstance(facts.events[0], OrderEvent):
            version = getattr(command, "version", 0) + len(facts.events)
            origin: Origin = (facts.events[0].strategy_id, facts.events[0].instrument_id)
            known[an_id] = (self._shared.setdefault(origin, origin), version)
        elif known_origin is not None:
            strategy_id, instrument_id = known_origin
            named = (*facts.strategies, *facts.instruments)
            facts.inherited = tuple(an_id for an_id in known_origin if an_id not in named)
            facts.add("strategies", strategy_id)
            facts.add("instruments", instrument_id)
        # A purge does nothing if the order or position went on in the meantime.
        if isinstance(command, ENDS) and getattr(command, "version", version) == version:
            known.pop(an_id, None)
