"""Recorded sessions: the calls that a node's cache made on its database, a JSON object a line, played through the API.

A recording has the events, not the live objects; `Player` keeps those as the node had them. Where a node changes an
object without an event (NautilusTrader's emulator, matching and execution engines do), the rules here say what it did,
and the recorded snapshots have the last word.
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, cast

from eventstore.errors import EventStoreError
from eventstore.facade import CacheDatabase
from eventstore.model.accounts import Account
from eventstore.model.currency import CRYPTO_PRECISION, Currency
from eventstore.model.enums import CurrencyType, LiquiditySide, OrderSide, OrderType, TrailingOffsetType, TriggerType
from eventstore.model.events import (
    ORDER_EVENTS,
    AccountState,
    OrderEmulated,
    OrderEvent,
    OrderFilled,
    OrderInitialized,
    OrderTriggered,
    OrderUpdated,
)
from eventstore.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    PositionId,
    StrategyId,
    TraderId,
    VenueOrderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import instrument_from_dict
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.model.values import Money, Price

Line = Mapping[str, Any]


class RecordingError(EventStoreError, ValueError):
    """A recording, or a line of one, that can not be played; the message names the file, the line and the call."""


FINAL_SECTIONS = (
    "orders",
    "positions",
    "orders_open",
    "orders_closed",
    "positions_open",
    "positions_closed",
    "account_balances",
)
"""What the expected final state of a recording consists of."""

_DAMAGE = (OSError, EOFError, ValueError, RecursionError, zlib.error)


def read_numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line and the call on it, of the recording at `path` (``.jsonl`` or ``.jsonl.gz``).

    Raises
    ------
    RecordingError
        If the file can not be read, or a line is no JSON object with a call.
    """
    for number, text in enumerate(_read_lines(path), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except _DAMAGE as error:
            raise RecordingError(f"{path} line {number}: {error}") from error
        if not isinstance(line, dict) or not isinstance(line.get("call"), str):
            raise RecordingError(f"{path} line {number}: not a JSON object with a 'call'")
        yield number, line


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the calls of the recording at `path`; see `read_numbered`."""
    return (line for _, line in read_numbered(path))


def count_calls(path: Path) -> int:
    """Return how many calls the recording at `path` has, without looking at them. Raises as `read_numbered`."""
    return sum(not text.isspace() for text in _read_lines(path))


def _read_lines(path: Path) -> Iterator[bytes]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for text in lines:
                number += 1
                yield text
    except _DAMAGE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecordingError(f"{path}{f' behind line {number}' if number else ''}: {reason}") from error


def read_final(path: Path) -> dict[str, Any]:
    """Return the expected final state in the file at `path` (``NAME.final.json.gz``).

    Raises
    ------
    RecordingError
        If the file can not be read, or lacks one of `FINAL_SECTIONS`.
    """
    try:
        final = json.loads(b"".join(_read_lines(path)))
    except _DAMAGE as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path}: {error}") from error
    missing = [name for name in FINAL_SECTIONS if not isinstance(final, dict) or name not in final]
    if missing:
        raise RecordingError(f"{path}: not the final state of a recording, it has no {', '.join(missing)}")
    return cast(dict[str, Any], final)


def trader_of(path: Path) -> TraderId:
    """Return the trader whose recording `path` is. Raises `RecordingError`, also if no call names one."""
    named = named_in(path)
    if named is None:
        raise RecordingError(f"{path}: no call names a trader; name one, with --trader on the command line")
    return named


def named_in(path: Path) -> TraderId | None:
    """Return the first trader that an event of the recording at `path` names, if any does. Raises `RecordingError`."""
    for number, line in read_numbered(path):
        for part in (line.get("event"), line.get("order"), line.get("position")):
            trader_id = part.get("trader_id") if isinstance(part, dict) else None
            if trader_id is not None:
                try:
                    return TraderId(trader_id)
                except (TypeError, ValueError) as error:
                    raise RecordingError(f"{path} line {number}: {error}") from error
    return None


def play(
    database: CacheDatabase, path: Path, durations_ns: array[int], on_call: Callable[[], None] | None = None
) -> None:
    """Play the recording at `path` on `database`, in order, as fast as it goes.

    Parameters
    ----------
    durations_ns : array of "q"
        Gets the time that each database call took on this thread, and nothing else. Its length is the number of calls.
    on_call : callable, optional
        Called behind each call.

    Raises
    ------
    RecordingError
        At the first line that can not be played, or whose call the database refuses; the calls before it were made.
    EventStoreError
        If the database fails otherwise: its backlog is full, or its writer has stopped.
    """
    player = Player(database)
    clock = time.perf_counter_ns
    for number, line in read_numbered(path):
        try:
            call = player.prepare(line)
            start = clock()
            call()
            durations_ns.append(clock() - start)
        except (TypeError, ValueError) as error:  # RecordingError, Refused and the errors of the model among them
            what = "" if isinstance(error, RecordingError) else f"{line['call']}: "
            raise RecordingError(f"{path} line {number}: {what}{error}") from error
        if on_call is not None:
            on_call()


class _SavedState:
    """An actor or strategy of which a recording has the saved state."""

    def __init__(self, component_id: ComponentId, state: Mapping[str, Any]) -> None:
        self.id = component_id
        self._state = {key: _bytes(value) for key, value in dict(state).items()}

    def save(self) -> dict[str, bytes]:
        return self._state


def _bytes(value: Any) -> bytes:
    """The bytes that JSON can hold as text, or as a list of numbers."""
    if not isinstance(value, str | list):
        raise TypeError(f"expected text or a list of bytes, got {type(value).__name__}")
    return value.encode() if isinstance(value, str) else bytes(value)


class Player:
    """Plays recorded calls on `database`.

    `prepare` does a node's work, keeping the live objects, and returns the database call that it then makes: so the
    call can be timed by itself.
    """

    def __init__(self, database: CacheDatabase) -> None:
        self._database = database
        self._orders: dict[str, Order] = {}
        self._positions: dict[str, Position] = {}
        self._accounts: dict[str, Account] = {}
        self._instruments: dict[str, Instrument] = {}

    def prepare(self, line: Line) -> Callable[[], None]:
        """Return the call that `line` records, ready to be made.

        Raises
        ------
        RecordingError
            If the call is not known, a field is missing, or its event does not fit what came before.
        """
        call = line["call"]
        prepare = _CALLS.get(call)
        if prepare is None:
            raise RecordingError(f"call {call!r:.60} is none of the database's")
        try:
            return prepare(self, line)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise RecordingError(f"{call}: {reason}") from error

    # -- What is only passed on ----------------------------------------------------------------------------------

    def _add(self, line: Line) -> Callable[[], None]:
        key, value = line["key"], bytes.fromhex(line["value"])
        return lambda: self._database.add(key, value)

    def _add_currency(self, line: Line) -> Callable[[], None]:
        currency = Currency.from_dict(line["currency"])
        return lambda: self._database.add_currency(currency)

    def _add_instrument(self, line: Line) -> Callable[[], None]:
        instrument = instrument_from_dict(line["instrument"])
        self._instruments[instrument.id] = instrument
        return lambda: self._database.add_instrument(instrument)

    def _add_synthetic(self, line: Line) -> Callable[[], None]:
        synthetic = SyntheticInstrument.from_dict(line["synthetic"])
        return lambda: self._database.add_synthetic(synthetic)

    def _update_actor(self, line: Line) -> Callable[[], None]:
        actor = _SavedState(ComponentId(line["actor_id"]), line["state"])
        return lambda: self._database.update_actor(actor)

    def _update_strategy(self, line: Line) -> Callable[[], None]:
        strategy = _SavedState(StrategyId(line["strategy_id"]), line["state"])
        return lambda: self._database.update_strategy(strategy)

    def _index_venue_order_id(self, line: Line) -> Callable[[], None]:
        ids = ClientOrderId(line["client_order_id"]), VenueOrderId(line["venue_order_id"])
        return lambda: self._database.index_venue_order_id(*ids)

    def _heartbeat(self, line: Line) -> Callable[[], None]:
        timestamp = datetime.fromisoformat(line["timestamp"])
        return lambda: self._database.heartbeat(timestamp)

    def _flush(self, line: Line) -> Callable[[], None]:
        return self._database.flush

    def _delete_actor(self, line: Line) -> Callable[[], None]:
        component_id = ComponentId(line["actor_id"])
        return lambda: self._database.delete_actor(component_id)

    def _delete_strategy(self, line: Line) -> Callable[[], None]:
        strategy_id = StrategyId(line["strategy_id"])
        return lambda: self._database.delete_strategy(strategy_id)

    def _delete_order(self, line: Line) -> Callable[[], None]:
        order_id = ClientOrderId(line["client_order_id"])
        self._orders.pop(order_id, None)
        return lambda: self._database.delete_order(order_id)

    def _delete_position(self, line: Line) -> Callable[[], None]:
        position_id = PositionId(line["position_id"])
        self._positions.pop(position_id, None)
        return lambda: self._database.delete_position(position_id)

    def _delete_account_event(self, line: Line) -> Callable[[], None]:
        account_id, event_id = AccountId(line["account_id"]), line["event_id"]
        return lambda: self._database.delete_account_event(account_id, event_id)

    # -- Accounts and positions ----------------------------------------------------------------------------------

    def _add_account(self, line: Line) -> Callable[[], None]:
        account = Account.create(AccountState.from_dict(_with_known_currencies(line["event"])))
        self._accounts[account.id] = account
        return lambda: self._database.add_account(account)

    def _update_account(self, line: Line) -> Callable[[], None]:
        event = AccountState.from_dict(_with_known_currencies(line["event"]))
        account = self._accounts[event.account_id]
        account.apply(event)
        return lambda: self._database.update_account(account)

    def _add_position(self, line: Line) -> Callable[[], None]:
        fill = self._fill(line)
        position = Position(self._instruments[fill.instrument_id], fill)
        self._positions[position.id] = position
        return lambda: self._database.add_position(position)

    def _update_position(self, line: Line) -> Callable[[], None]:
        position = self._positions[line["position_id"]]
        position.apply(self._fill(line))
        return lambda: self._database.update_position(position)

    @staticmethod
    def _fill(line: Line) -> OrderFilled:
        fill = OrderFilled.from_dict(_with_known_currencies(line["event"]))
        position_id = PositionId(line["position_id"])
        # On a netting venue the fill may name the position that the venue had in mind.
        return fill if fill.position_id == position_id else fill.replace(position_id=position_id)

    def _snapshot_position_state(self, line: Line) -> Callable[[], None]:
        position = self._positions[line["position"]["position_id"]]
        ts_snapshot, text = line["ts_snapshot"], line.get("unrealized_pnl")
        pnl = None if text is None else Money.from_str(text)
        return lambda: self._database.snapshot_position_state(position, ts_snapshot, pnl)

    # -- Orders --------------------------------------------------------------------------------------------------

    def _add_order(self, line: Line) -> Callable[[], None]:
        init = OrderInitialized.from_dict(line["event"])
        before = self._orders.get(init.client_order_id)
        order = Order.create(init) if before is None else before.transform(init)
        if before is not None:
            _mark_transformed(before, order)
        self._orders[init.client_order_id] = order
        position_id = None if line.get("position_id") is None else PositionId(line["position_id"])
        client_id = None if line.get("client_id") is None else ClientId(line["client_id"])
        return lambda: self._database.add_order(order, position_id, client_id)

    def _update_order(self, line: Line) -> Callable[[], None]:
        values = _with_known_currencies(line["event"])
        event = ORDER_EVENTS[values["type"]].from_dict(values)
        order = self._orders[event.client_order_id]
        order.apply(event)
        self._imply(order, event)
        return lambda: self._database.update_order(order)

    def _index_order_position(self, line: Line) -> Callable[[], None]:
        order_id, position_id = ClientOrderId(line["client_order_id"]), PositionId(line["position_id"])
        order = self._orders.get(order_id)
        if order is not None and order.position_id is None:
            order.position_id = position_id  # the node's cache notes it on the order too
        return lambda: self._database.index_order_position(order_id, position_id)

    def _snapshot_order_state(self, line: Line) -> Callable[[], None]:
        order = self._orders[line["order"]["client_order_id"]]
        order.amend_from_dict(line["order"])
        return lambda: self._database.snapshot_order_state(order)

    def _imply(self, order: Order, event: OrderEvent) -> None:
        if isinstance(event, OrderUpdated):
            self._activate(order, event)
        elif isinstance(event, OrderTriggered):
            order.liquidity_side = _side_when_triggered(order)

    def _activate(self, order: Order, event: OrderUpdated) -> None:
        """Set the activation price of a trailing stop that started without: the market's at its first update."""
        init = order.init_event
        if (
            init.trailing_offset is None
            or init.trigger_type is not TriggerType.BID_ASK
            or init.trigger_price is not None
            or event.trigger_price is None
            or getattr(order, "activation_price", None) is not None
        ):
            return
        instrument = self._instruments.get(order.instrument_id)
        if instrument is not None:
            price = _market_price(init, event.trigger_price, instrument)
            if price is not None:
                order.amend({"activation_price": price})


_CALLS: dict[str, Callable[[Player, Line], Callable[[], None]]] = {
    "add": Player._add,
    "add_currency": Player._add_currency,
    "add_instrument": Player._add_instrument,
    "add_synthetic": Player._add_synthetic,
    "update_actor": Player._update_actor,
    "update_strategy": Player._update_strategy,
    "index_venue_order_id": Player._index_venue_order_id,
    "heartbeat": Player._heartbeat,
    "flush": Player._flush,
    "delete_actor": Player._delete_actor,
    "delete_strategy": Player._delete_strategy,
    "delete_order": Player._delete_order,
    "delete_position": Player._delete_position,
    "delete_account_event": Player._delete_account_event,
    "add_account": Player._add_account,
    "update_account": Player._update_account,
    "add_position": Player._add_position,
    "update_position": Player._update_position,
    "snapshot_position_state": Player._snapshot_position_state,
    "add_order": Player._add_order,
    "update_order": Player._update_order,
    "index_order_position": Player._index_order_position,
    "snapshot_order_state": Player._snapshot_order_state,
}


def _with_known_currencies(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event`; a currency in it that nobody registered is taken for a crypto one, as NautilusTrader does."""
    amounts = [*event.get("balances", ()), *event.get("margins", ())]
    codes = [event.get("base_currency"), event.get("currency"), *(amount.get("currency") for amount in amounts)]
    codes.append(str(event.get("commission") or "").partition(" ")[2])
    for code in codes:
        if code and Currency.find(code) is None:
            Currency.register(Currency(code, CRYPTO_PRECISION, 0, code, CurrencyType.CRYPTO))
    return event


def _mark_transformed(before: Order, order: Order) -> None:
    """An emulated order that turns into a limit order is marked with the liquidity that it will make or take."""
    if order.order_type is not OrderType.LIMIT or getattr(before, "trigger_price", None) is None:
        return
    emulated = any(isinstance(event, OrderEmulated) for event in before._events)
    order.liquidity_side = _side_when_triggered(before) if emulated else LiquiditySide.TAKER


def _side_when_triggered(order: Any) -> LiquiditySide:
    price, trigger = order.price, order.trigger_price
    if price is None or trigger is None:
        return LiquiditySide.TAKER
    behind = trigger > price if order.side is OrderSide.BUY else trigger < price
    return LiquiditySide.MAKER if behind else LiquiditySide.TAKER


def _market_price(init: OrderInitialized, trigger: Price, instrument: Instrument) -> Price | None:
    """Return the market price from which `trigger` is the trailing offset away, or None if that can not be told."""
    offset = Decimal(init.trailing_offset or 0)
    sign = -1 if init.order_side is OrderSide.BUY else 1
    precision = instrument.price_precision
    if init.trailing_offset_type is TrailingOffsetType.PRICE:
        return Price(trigger + sign * offset, precision)
    if init.trailing_offset_type is TrailingOffsetType.TICKS:
        return Price(trigger + sign * offset * instrument.price_increment, precision)
    if init.trailing_offset_type is not TrailingOffsetType.BASIS_POINTS:
        return None
    ratio = offset / 10_000
    tick = Decimal(1).scaleb(-precision)
    guess = (trigger / (1 - sign * ratio)).quantize(tick)
    for distance in (0, 1, -1, 2, -2):
        price = guess + distance * tick
        if (price - sign * price * ratio).quantize(tick, rounding=ROUND_HALF_UP) == trigger:
            return Price(price, precision)
    return None
