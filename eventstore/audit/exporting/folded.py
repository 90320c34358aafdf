"""The tables whose rows need a history: orders, positions and fills, folded group by group from the disk."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eventstore import commands as c
from eventstore.audit.decoding import place_of
from eventstore.audit.exporting.rows import Removed, Row, fill_row, order_row, position_row
from eventstore.audit.exporting.spool import Spool, merged
from eventstore.audit.plain import NS_IN_MS
from eventstore.audit.reading.facts import FactReader, Facts
from eventstore.audit.reading.folds import OrderFold, PositionFold
from eventstore.chain import LogEntry
from eventstore.codec import Serializer, read_at
from eventstore.errors import CodecError, DamagedRecord
from eventstore.keys import Keys
from eventstore.model.errors import ModelError
from eventstore.model.events import OrderFilled


class _Tracked:
    """An order or position between its first entry and its removal: its fold, and where it was seen."""

    def __init__(self, fold: Any) -> None:
        self.fold = fold
        self.first = self.last = 0
        self.fits = False
        self.rows: list[Row] = []


class _Folded(abc.ABC):
    """What orders and positions have in common.

    Parameters
    ----------
    directory : Path
        A name for a private directory on a disk with room for the entries.
    entries : int
        About how many the log has.
    """

    _family = ""
    _begin: type[Any] = object

    def __init__(self, directory: Path, entries: int, keys: Keys, serializer: Serializer) -> None:
        self._spool = Spool(directory, entries)
        self._merging = directory.with_name(f"{directory.name}-rows")
        self._keys = keys
        self._reader = FactReader(keys.trader_id, serializer, remember=False)

    def take(self, facts: Facts, fits: bool) -> None:
        """Keep an entry for later; `fits` is whether it was asked for."""
        entry = facts.entry
        record = (entry.entry_id, entry.position, entry.accepted_ms, entry.payload, fits)
        if facts.family == self._family:
            self._spool.put(facts.key or "", record)
        elif isinstance(facts.command, c.Flushed):
            self._spool.put_everywhere(record)

    def rows(self) -> Iterator[Row]:
        """Yield the rows, in the order in which what they are about began. Raises `DamagedRecord`."""
        yield from merged(self._merging, map(self._part, self._spool.parts()))

    def close(self) -> None:
        """Close the files."""
        self._spool.close()

    def _part(self, records: Iterator[Any]) -> list[Row]:
        found: list[Row] = []
        tracked: dict[str, _Tracked] = {}
        for entry_id, position, accepted_ms, payload, fits in records:
            facts = self._reader.read(LogEntry(entry_id, position, accepted_ms, payload, None))
            if isinstance(facts.command, c.Flushed):
                for each in tracked.values():
                    self._end(each, facts, found)
                tracked.clear()
                continue
            key = facts.key or ""
            each = tracked.get(key) or tracked.setdefault(key, _Tracked(self._fold()))
            try:
                self._apply(each, facts, fits, found)
            except (ModelError, CodecError, TypeError) as error:
                raise DamagedRecord(
                    self._keys.log, entry_id, f"it does not follow from the history of {self._family} {key}: {error}"
                ) from error
        for each in tracked.values():
            self._emit(each, None, found)
        return found

    def _apply(self, each: _Tracked, facts: Facts, fits: bool, found: list[Row]) -> None:
        command = facts.command
        if isinstance(command, self._begin) and self._begins(command):
            self._emit(each, None, found)
            each.first, each.fits = facts.position, False
        there = self._state(each)
        each.fits = each.fits or fits
        before = self._row(each, None) if there and type(command).__name__.startswith(("Delete", "Purge")) else None
        if before is not None:
            each.last = facts.position
            removed = Removed(type(command).__name__, facts.position, facts.accepted_ms * NS_IN_MS)
            before = self._row(each, removed)
        self._step(each, facts)
        if self._state(each) is not None:
            each.last = facts.position
        elif before is not None:
            if each.fits:
                found.append(before)
            each.fits = False

    def _end(self, each: _Tracked, facts: Facts, found: list[Row]) -> None:
        self._emit(each, Removed(type(facts.command).__name__, facts.position, facts.accepted_ms * NS_IN_MS), found)

    def _emit(self, each: _Tracked, removed: Removed | None, found: list[Row]) -> None:
        if self._state(each) is not None and each.fits:
            found.append(self._row(each, removed))

    @abc.abstractmethod
    def _fold(self) -> Any: ...

    @abc.abstractmethod
    def _begins(self, command: Any) -> bool: ...

    @abc.abstractmethod
    def _state(self, each: _Tracked) -> Any: ...

    @abc.abstractmethod
    def _step(self, each: _Tracked, facts: Facts) -> None: ...

    @abc.abstractmethod
    def _row(self, each: _Tracked, removed: Removed | None) -> Row: ...


class OrderRows(_Folded):
    """The rows of ``orders``: one for each life of an order."""

    _family = "order"
    _begin = c.AddOrder

    def _fold(self) -> OrderFold:
        return OrderFold()

    def _begins(self, command: c.AddOrder) -> bool:
        return command.version == 0

    def _state(self, each: _Tracked) -> Any:
        return each.fold.order

    def _step(self, each: _Tracked, facts: Facts) -> None:
        for _ in each.fold.apply(facts.command, facts.events):
            pass

    def _row(self, each: _Tracked, removed: Removed | None) -> Row:
        fold: OrderFold = each.fold
        order: Any = fold.order
        return order_row(order, fold.position_id, fold.life, each.first, each.last, removed)


class PositionRows(_Folded):
    """The rows of ``positions``: one for each cycle of a position."""

    _family = "position"
    _begin = c.WritePosition

    def _fold(self) -> PositionFold:
        return PositionFold()

    def _begins(self, command: c.WritePosition) -> bool:
        return command.basis is not None

    def _state(self, each: _Tracked) -> Any:
        return each.fold.position

    def _step(self, each: _Tracked, facts: Facts) -> None:
        for _ in each.fold.apply(facts.command, facts.events, self._reader.serializer):
            pass

    def _row(self, each: _Tracked, removed: Removed | None) -> Row:
        fold: PositionFold = each.fold
        position: Any = fold.position
        return position_row(position, fold.cycle, each.first, each.last, removed)


class FillRows:
    """The rows of ``fills``: each fill once, though the log has it with its order and again with its position.

    A node may divide a fill that turns a position over: the position then has two parts under the trade of one fill.
    So what an order was filled with is what counts, and a position only says where that went. Fills that the log has
    with a position alone are rows of their own.
    """

    def __init__(self, directory: Path, entries: int, keys: Keys, serializer: Serializer) -> None:
        self._spool = Spool(directory, entries)
        self._merging = directory.with_name(f"{directory.name}-rows")
        self._keys = keys
        self._serializer = serializer

    def take(self, facts: Facts, fits: bool) -> None:
        """Keep the fills of an entry for later; `fits` is whether it was asked for."""
        command: Any = facts.command
        if facts.family == "order":
            position_id = None
        elif isinstance(command, c.WritePosition):
            position_id = command.position_id
        else:
            return
        at_ns = facts.accepted_ms * NS_IN_MS
        place = place_of(command, facts.trader_id)
        for event, data in zip(facts.events, command.events if facts.events else (), strict=True):
            if isinstance(event, OrderFilled):
                self._spool.put(event.client_order_id, (facts.position, at_ns, position_id, data, place, fits))

    def rows(self) -> Iterator[Row]:
        """Yield the rows, in the order of the log."""
        yield from merged(self._merging, map(self._part, self._spool.parts()))

    def close(self) -> None:
        """Close the files."""
        self._spool.close()

    def _part(self, records: Iterator[Any]) -> list[Row]:
        fills: dict[tuple[str, str], _Fill] = {}
        of_trade: dict[tuple[str, str], _Fill] = {}
        behind = []
        for position, at_ns, position_id, data, place, fits in records:
            event: Any = read_at(self._serializer, data, place)
            if position_id is not None:
                behind.append((position, at_ns, position_id, event, fits))
                continue
            fill = fills.setdefault((event.client_order_id, event.event_id), _Fill(position, at_ns, event))
            fill.fits = fill.fits or fits
            of_trade[event.client_order_id, event.trade_id] = fill
        for position, at_ns, position_id, event, fits in behind:
            found = of_trade.get((event.client_order_id, event.trade_id)) or fills.setdefault(
                (event.client_order_id, event.event_id), _Fill(position, at_ns, event)
            )
            found.fits = found.fits or fits
            if found.position_at is None:
                found.position_at, found.position_id = position, position_id
        return [
            fill_row(fill.position, fill.at_ns, fill.position_at, fill.position_id, fill.event)
            for fill in fills.values()
            if fill.fits
        ]


class _Fill:
    """A fill: where the log has it first, and where its position took it."""

    __slots__ = ("at_ns", "event", "fits", "position", "position_at", "position_id")

    def __init__(self, position: int, at_ns: int, event: OrderFilled) -> None:
        self.position = position
        self.at_ns = at_ns
        self.event = event
        self.fits = False
        self.position_at: int | None = None
        self.position_id: str | None = None
