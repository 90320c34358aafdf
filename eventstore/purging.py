"""What can be purged from the views: closed orders and positions, earlier cycles, old account events. It only reads.

Whatever is found here may go on before it is purged. The commands say what they are about exactly, so that they then do
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from eventstore import commands as c
from eventstore.aggregates import order_from, position_from, record_from
from eventstore.codec import Serializer, reads_at_places
from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.model.events import AccountState, OrderEvent, OrderFilled
from eventstore.place import place_in
from eventstore.storage.reader import Reader

A = TypeVar("A")
E = TypeVar("E", OrderEvent, OrderFilled)
R = TypeVar("R")

Fields = Mapping[bytes, bytes]
Build = Callable[[str, Fields, Serializer], tuple[A, int]]

PAGE = 64
"""Aggregates, cycles or events to a read: few, as a node trades meanwhile."""


class Purged(NamedTuple):
    """How much was told to be purged. What goes on before it is applied stays in the views."""

    orders: int = 0
    positions: int = 0
    cycles: int = 0
    account_events: int = 0


class Due(NamedTuple):
    """An order or position that can be purged: the command, and the id of the last event that it has then."""

    command: c.PurgeOrder | c.PurgePosition
    last_event_id: str


class Reading(Protocol):
    """Reads once everything that was accepted before is applied."""

    def __call__(self, read: Callable[[], R]) -> R:
        """Return what `read` returns."""


class Survey:
    """Finds what can be purged.

    It remembers when the last event of each was that is closed and has to stay for a while. So each is read once when
    it is closed, and once when it is due.

    Parameters
    ----------
    on_damage : callable
        Is told of what can not be read, which is left where it is.
    """

    def __init__(
        self,
        reader: Reader,
        keys: Keys,
        serializer: Serializer,
        read: Reading,
        on_damage: Callable[[DamagedRecord], None],
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._serializer = serializer
        self._read = read
        self._on_damage = on_damage
        # The key of something that is closed → when its last event was.
        self._orders: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._cycles: dict[str, int] = {}

    def orders(self, before_ns: int) -> Iterator[Due]:
        """Yield the closed orders whose last event was before `before_ns`.

        One stays as long as its parent, or an order that it is linked to, is not closed.
        """
        k = self._keys
        closed, alive = self._read(
            lambda: (self._reader.members(k.orders_closed), self._reader.difference(k.orders, k.orders_closed))
        )
        for order_id, lives, last, fields in self._due(closed, k.order, OrderEvent, self._orders, before_ns):
            built = self._built(k.order(order_id), fields, order_from)
            if built is not None:
                order, version = built
                linked = {*(order.linked_order_ids or ()), order.parent_order_id}
                if order.is_closed and linked.isdisjoint(alive):
                    yield Due(c.PurgeOrder(order_id, lives, version), last.event_id)

    def positions(self, before_ns: int) -> Iterator[Due]:
        """Yield the closed positions whose last fill was before `before_ns`."""
        k = self._keys
        closed = self._read(lambda: self._reader.members(k.positions_closed))
        for position_id, lives, last, fields in self._due(closed, k.position, OrderFilled, self._positions, before_ns):
            built = self._built(k.position(position_id), fields, position_from)
            if built is not None:
                position, version = built
                if position.is_closed:
                    yield Due(c.PurgePosition(position_id, lives, version), last.event_id)

    def cycles(self, before_ns: int) -> Iterator[tuple[c.PurgePositionCycles, int]]:
        """Yield earlier cycles whose last fill was before `before_ns`, and how many, a page of a position at a time."""
        k = self._keys
        prefix = k.position("")
        lives, purged = self._read(lambda: (self._reader.hash(k.lives), self._reader.hash(k.lives_purged)))
        remembered, self._cycles = self._cycles, {}
        for key in lives:
            first = f"{key}{{{int(purged.get(key, 0)) + 1}}}"
            if not key.startswith(prefix) or int(purged.get(key, 0)) == int(lives[key]):
                continue
            if remembered.get(first, -1) >= before_ns:
                self._cycles[first] = remembered[first]
                continue
            upto = 0
            while True:
                command, due = self._cycles_of(key, before_ns)
                if not due or command.upto - due < upto:
                    break  # no more, or it was opened again before the last purge was applied: the next time
                upto = command.upto
                yield command, due
                if due < PAGE:
                    break

    def _cycles_of(self, key: str, before_ns: int) -> tuple[c.PurgePositionCycles, int]:
        """Return the command to purge what is due of the first page of the earlier cycles, and how many those are."""

        def read() -> tuple[int, int, list[tuple[str, dict[bytes, bytes] | DamagedRecord]]]:
            ((lives, purged),) = self._counts([key])
            names = [f"{key}{{{n}}}" for n in range(purged + 1, min(lives, purged + PAGE) + 1)]
            return lives, purged, list(self._reader.hashes(names))

        lives, purged, hashes = self._read(read)
        due = 0
        for name, fields in hashes:
            last = self._last(name, fields, OrderFilled)
            if last is None or last.ts_event >= before_ns:
                if last is not None:
                    self._cycles[name] = last.ts_event
                break
            due += 1
        position_id = key.removeprefix(self._keys.position(""))
        return c.PurgePositionCycles(position_id, lives, purged + due), due

    def account_events(self, before_ns: int) -> Iterator[tuple[c.PurgeAccountEvents, int]]:
        """Yield what is to be purged of each account with events before `before_ns`, but for its last, and how many."""
        for account_id in sorted(self._read(lambda: self._reader.members(self._keys.accounts))):
            key = self._keys.account(account_id)
            lives, versions = self._read(lambda key=key: self._versions(key))  # type: ignore[misc]
            old = self._count_old(key, versions[:-1], before_ns)
            if old:
                yield c.PurgeAccountEvents(account_id, lives, versions[old]), old

    def _versions(self, key: str) -> tuple[int, list[int]]:
        ((lives, _),) = self._counts([key])
        return lives, sorted(int(name) for name in self._reader.field_names(key))

    def _count_old(self, key: str, versions: Sequence[int], before_ns: int) -> int:
        """Return how many of `versions`, from the first on, were before `before_ns`."""
        count = 0
        for start in range(0, len(versions), PAGE):
            names = [str(version) for version in versions[start : start + PAGE]]
            records = self._read(lambda names=names: self._reader.fields(key, names))  # type: ignore[misc]
            for name, data in zip(names, records, strict=True):
                try:
                    event = record_from(key, name, data, AccountState, self._serializer)
                except DamagedRecord as damage:
                    self._on_damage(damage)
                    return count
                if event.ts_event >= before_ns:
                    return count
                count += 1
            time.sleep(0)
        return count

    # -- Reading -----------------------------------------------------------------------------------------------

    def _due(
        self, ids: set[str], name: Callable[[str], str], kind: type[E], remembered: dict[str, int], before_ns: int
    ) -> Iterator[tuple[str, int, E, Fields]]:
        """Yield each of `ids` whose last event was before `before_ns`; its earlier lives, that event and all fields."""
        keys = {name(one): one for one in ids}
        for key in remembered.keys() - keys.keys():
            del remembered[key]
        wanted = iter(sorted(key for key in keys if remembered.get(key, -1) < before_ns))
        page: list[str]
        while page := list(islice(wanted, PAGE)):
            for (lives, _), (key, fields) in self._read(lambda page=page: self._page(page)):  # type: ignore[misc]
                if not fields:
                    continue  # deleted meanwhile
                last = self._last(key, fields, kind)
                if last is None or isinstance(fields, DamagedRecord):
                    continue
                remembered[key] = last.ts_event
                if last.ts_event < before_ns:
                    yield keys[key], lives, last, fields
                time.sleep(0)  # who waits for the interpreter gets it

    def _page(self, keys: list[str]) -> list[tuple[tuple[int, int], tuple[str, Fields | DamagedRecord]]]:
        return list(zip(self._counts(keys), self._reader.hashes(keys), strict=True))

    def _counts(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """Return how many earlier lives each of `keys` has had, and how many of those are purged."""
        lives = self._reader.fields(self._keys.lives, keys)
        purged = self._reader.fields(self._keys.lives_purged, keys)
        return [(int(n or 0), int(m or 0)) for n, m in zip(lives, purged, strict=True)]

    def _last(self, key: str, fields: Fields | DamagedRecord, kind: type[E]) -> E | None:
        """Return the last event in `fields`, or None if it can not be read."""

        def read(key: str, fields: Fields, serializer: Serializer) -> tuple[E, int]:
            version = max((int(name) for name in fields if name.isdigit()), default=0)
            data = fields.get(b"%d" % version)
            place = place_in(key) if reads_at_places(serializer.__class__) else None
            return record_from(key, str(version), data, kind, serializer, place), version

        built = self._built(key, fields, read)
        return None if built is None else built[0]

    def _built(self, key: str, fields: Fields | DamagedRecord, build: Build[A]) -> tuple[A, int] | None:
        try:
            if isinstance(fields, DamagedRecord):
                raise fields
            return build(key, fields, self._serializer)
        except DamagedRecord as damage:
            self._on_damage(damage)
            return None
