"""Loads: objects from the views."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ParamSpec, Protocol, TypeVar

from eventstore.aggregates import Fold, many_from, record_from
from eventstore.codec import Serializer
from eventstore.errors import CodecError, DamagedRecord
from eventstore.keys import Keys
from eventstore.model.currency import Currency
from eventstore.model.events import AccountState
from eventstore.model.instrument import Instrument
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.states import unpack_snapshot, unpack_state

A = TypeVar("A")
P = ParamSpec("P")
I = TypeVar("I", bound=str)  # noqa: E741 - an identifier
R = TypeVar("R", bound=Record)

Hash = tuple[str, dict[bytes, bytes] | DamagedRecord]

EVENTS = 1024
"""Events that are read from their bytes together, about."""

SEARCHED = 20_000
"""Objects that the collector searches at a time, about, if it has to search what is built."""

AT_ONCE = -1
"""A threshold of the collector: what it finds alive once is old."""

FROZEN_MAX = 1000
"""Objects that the interpreter itself keeps from the collector. Where there are more, the host does so on purpose."""


class Views(Protocol):
    """What reads the views of one trader: `eventstore.storage.reader.Reader`, whose docstrings say what each gives."""

    def hash(self, key: str) -> dict[str, bytes]: ...
    def field(self, key: str, field: str) -> bytes | None: ...
    def hashes(self, keys: Iterable[str]) -> Iterator[tuple[str, dict[bytes, bytes] | DamagedRecord]]: ...
    def is_member(self, key: str, member: str) -> bool: ...
    def members(self, key: str) -> set[str]: ...
    def difference(self, key: str, without: str, parts: Sequence[str] = ()) -> set[str]: ...


class Loader:
    """Builds what the views of one trader hold.

    Parameters
    ----------
    strict : bool
        Whether a damaged record raises. If not, the object is left out and `on_damage` is told.
    """

    def __init__(
        self,
        reader: Views,
        keys: Keys,
        serializer: Serializer,
        strict: bool,
        on_damage: Callable[[DamagedRecord], None],
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._serializer = serializer
        self._strict = strict
        self._on_damage = on_damage

    def _guarded(self, build: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> A | None:
        try:
            return build(*args, **kwargs)
        except DamagedRecord as damage:
            if self._strict:
                raise
            self._on_damage(damage)
            return None

    # -- Collections -------------------------------------------------------------------------------------------

    def records(self, key: str, kind: type[R], make_id: Callable[[str], I]) -> dict[I, R]:
        """Return every record of the hash `key` by id."""
        found: dict[I, R] = {}
        for field, data in self._reader.hash(key).items():
            record = self._guarded(record_from, key, field, data, kind, self._serializer)
            if record is not None:
                found[make_id(field)] = record
        return found

    def record(self, key: str, field: str, kind: type[R]) -> R | None:
        """Return one record of the hash `key`, or None."""
        data = self._reader.field(key, field)
        if data is None:
            return None
        return self._guarded(record_from, key, field, data, kind, self._serializer)

    def currencies(self) -> dict[str, Currency]:
        """Return every currency by code, and make those known that were not."""
        found = self.records(self._keys.currencies, Currency, str)
        for currency in found.values():
            Currency.register(currency)
        return found

    def instrument(self, instrument_id: str) -> Instrument | None:
        """Return one instrument, or None."""
        return self.record(self._keys.instruments, instrument_id, Instrument)

    def synthetic(self, instrument_id: str) -> SyntheticInstrument | None:
        """Return one synthetic instrument, or None."""
        return self.record(self._keys.synthetics, instrument_id, SyntheticInstrument)

    def state(self, key: str, component_id: str) -> dict[str, bytes]:
        """Return the saved state of a component; empty if there is none."""
        data = self._reader.field(key, component_id)
        return (self._unpacked(key, component_id, data, unpack_state) if data is not None else None) or {}

    def states(self, key: str, make_id: Callable[[str], I]) -> dict[I, dict[str, bytes]]:
        """Return the saved state of each component."""
        return self._all_unpacked(key, make_id, unpack_state)

    def snapshot(self, key: str, aggregate_id: str) -> dict[str, Any] | None:
        """Return the last snapshot of an order or position, or None."""
        data = self._reader.field(key, aggregate_id)
        return None if data is None else self._unpacked(key, aggregate_id, data, unpack_snapshot)

    def snapshots(self, key: str, make_id: Callable[[str], I]) -> dict[I, dict[str, Any]]:
        """Return the last snapshot of each order or position."""
        return self._all_unpacked(key, make_id, unpack_snapshot)

    def _all_unpacked(self, key: str, make_id: Callable[[str], I], unpack: Callable[[bytes], A]) -> dict[I, A]:
        found: dict[I, A] = {}
        for field, data in self._reader.hash(key).items():
            value = self._unpacked(key, field, data, unpack)
            if value is not None:
                found[make_id(field)] = value
        return found

    def _unpacked(self, key: str, field: str, data: bytes, unpack: Callable[[bytes], A]) -> A | None:
        def build() -> A:
            try:
                return unpack(data)
            except CodecError as error:
                raise DamagedRecord(key, field, str(error)) from error

        return self._guarded(build)

    def texts(self, key: str, make_id: Callable[[str], I], make_value: Callable[[str], A]) -> dict[I, A]:
        """Return an index: the hash `key` as identifiers."""
        found: dict[I, A] = {}
        for field, value in self._reader.hash(key).items():
            read_id = self._guarded(_read, key, field, field, make_id)
            read_value = self._guarded(_read, key, field, value, make_value)
            if read_id is not None and read_value is not None:
                found[read_id] = read_value
        return found

    def number(self, key: str, field: str) -> int | None:
        """Return a field that holds a number that is not negative, or None if there is none."""
        data = self._reader.field(key, field)
        return None if data is None else self._guarded(_read, key, field, data, _number)

    # -- Aggregates --------------------------------------------------------------------------------------------

    def _fold(self, key: str, fields: Mapping[bytes, bytes] | DamagedRecord, fold: Fold[A]) -> tuple[A, int] | None:
        def build() -> tuple[A, int]:
            if isinstance(fields, DamagedRecord):
                raise fields
            return fold(key, fields, self._serializer)

        return self._guarded(build)

    def _one(
        self, aggregate_id: str, name: Callable[[str], str], fold: Fold[A], index: str | None = None
    ) -> tuple[A, int] | None:
        return self._many([aggregate_id], name, fold, index).get(aggregate_id)

    def _many(
        self, ids: Iterable[str], name: Callable[[str], str], fold: Fold[A], index: str | None = None
    ) -> dict[str, tuple[A, int]]:
        """Return the aggregates by id. With an `index`, one that is in there has to have events."""
        wanted = sorted(ids)
        remaining = iter(wanted)
        found: dict[str, tuple[A, int]] = {}
        for page in _pages(self._reader.hashes(map(name, wanted))):
            folds = many_from(page, fold, self._serializer)
            for aggregate_id, (key, fields), folded in zip(islice(remaining, len(page)), page, folds, strict=True):
                if folded is None:
                    if not isinstance(fields, DamagedRecord) and not fields:
                        # Deleted between the two reads, or never there; otherwise its events were taken away.
                        if index is None or not self._reader.is_member(index, aggregate_id):
                            continue
                        fields = DamagedRecord(key, "", f"there are no events, and {index} has the id")
                    folded = self._fold(key, fields, fold)
                if folded is not None:
                    found[aggregate_id] = folded
            del page, folds
            if gc.get_threshold()[1] == AT_ONCE:
                gc.collect(1)  # now, as nothing is left but what stays
        return found

    # What an order, position or account is made of is its caller's: `fold` gives it from the fields of its hash, with
    # the version of its next event.

    def order(self, fold: Fold[A], order_id: str) -> tuple[A, int] | None:
        """Return one order and the version of its next event, or None."""
        return self._one(order_id, self._keys.order, fold, self._keys.orders)

    def orders(self, fold: Fold[A], open_only: bool) -> dict[str, tuple[A, int]]:
        """Return the orders by id, each with the version of its next event."""
        k = self._keys
        if open_only:
            ids = self._reader.difference(
                k.orders, k.orders_closed, (k.orders_open, k.orders_inflight, k.orders_emulated)
            )
        else:
            ids = self._reader.members(k.orders)
        return self._many(ids, k.order, fold, k.orders)

    def position(self, fold: Fold[A], position_id: str) -> tuple[A, int] | None:
        """Return one position and the version of its next fill, or None."""
        return self._one(position_id, self._keys.position, fold, self._keys.positions)

    def positions(self, fold: Fold[A], open_only: bool) -> dict[str, tuple[A, int]]:
        """Return the positions by id, each with the version of its next fill."""
        k = self._keys
        ids = self._reader.members(k.positions_open if open_only else k.positions)
        return self._many(ids, k.position, fold, k.positions)

    def position_cycles(self, fold: Fold[A], position_id: str) -> list[A]:
        """Return the earlier cycles of a position that are not purged, oldest first."""
        key = self._keys.position(position_id)
        count = self.number(self._keys.lives, key) or 0
        purged = self.number(self._keys.lives_purged, key) or 0
        cycles = []
        for name, fields in self._reader.hashes(f"{key}{{{n}}}" for n in range(purged + 1, count + 1)):
            folded = self._fold(name, fields, fold)
            if folded is not None:
                cycles.append(folded[0])
        return cycles

    def account(self, fold: Fold[A], account_id: str) -> tuple[A, int] | None:
        """Return one account and the version of its next event, or None."""
        return self._one(account_id, self._keys.account, fold)

    def account_events(self, account_id: str) -> dict[int, AccountState]:
        """Return the events of one account by version, oldest first; empty if there is none. Raises `DamagedRecord`."""
        key = self._keys.account(account_id)
        return {
            int(version): record_from(key, version, data, AccountState, self._serializer)
            for version, data in sorted(self._reader.hash(key).items(), key=lambda item: (len(item[0]), item[0]))
        }

    def accounts(self, fold: Fold[A]) -> dict[str, tuple[A, int]]:
        """Return the accounts by id, each with the version of its next event."""
        return self._many(self._reader.members(self._keys.accounts), self._keys.account, fold)

    def values(self, key: str) -> dict[str, bytes]:
        """Return a collection of plain values."""
        return self._reader.hash(key)

    def ids(self, key: str, make_id: Callable[[str], I]) -> set[I]:
        """Return an index set as identifiers."""
        read = (self._guarded(_read, key, member, member, make_id) for member in self._reader.members(key))
        return {member for member in read if member is not None}


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from searching what a load has just built: all of it stays.

    Otherwise it would search it again and again, and once more behind the load's end.
    """
    if not gc.isenabled():
        yield
    elif gc.get_freeze_count() > FROZEN_MAX:
        with _searched_once():
            yield
    else:
        gc.disable()
        try:
            yield
        finally:
            # Both at once make what is new as old as what was there: nothing but a full collection looks at it.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def _searched_once() -> Iterator[None]:
    """Let the collector search what is built once, while the processor still has it in its cache, and call it old.

    For a host that has frozen what it had: to call all that is new old at the end would thaw that.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(SEARCHED, AT_ONCE, 2**31 - 1)
    try:
        yield
    finally:
        if gc.get_count()[0] > thresholds[0]:
            gc.collect(1)
        gc.set_threshold(*thresholds)


def _read(key: str, field: str, value: str | bytes, make: Callable[[str], A]) -> A:
    try:
        return make(value.decode() if isinstance(value, bytes) else value)
    except ValueError as error:
        raise DamagedRecord(key, field, str(error)) from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 2**64):
        raise ValueError(f"{text!r:.40} is no number that belongs there")
    return int(text)


def _pages(hashes: Iterable[Hash]) -> Iterator[list[Hash]]:
    """Yield the hashes in lists of about `EVENTS` fields."""
    page: list[Hash] = []
    count = 0
    for item in hashes:
        page.append(item)
        fields = item[1]
        count += 1 if isinstance(fields, DamagedRecord) else len(fields) + 1
        if count >= EVENTS:
            yield page
            page, count = [], 0
    if page:
        yield page
