"""Commands to view operations. Pure: no I/O, no clock, no state.

`project` turns each command into calls on a `Target`. The appender is one (it merges and sends them), `MemoryViews` is
another: both get the same calls, so folding the log in memory gives what the views at the server have to be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.model.enums import OrderStatus

AMENDED = "amended"
POSITION = "position"
BASIS = "basis"


class At(NamedTuple):
    """A place in the history of an aggregate: how many earlier lives it has, and the version of its next event."""

    lives: int
    version: int


class Place(NamedTuple):
    """Of some sets, those that a member belongs in and those that it does not."""

    inside: tuple[str, ...]
    outside: tuple[str, ...]


class Target(Protocol):
    """What a view can be asked to do. A batch of calls is applied in their order."""

    def hset(self, key: str, field: str, value: bytes | str) -> None:
        """Set a field of a hash."""

    def hdel(self, key: str, field: str) -> None:
        """Delete a field of a hash."""

    def sadd(self, key: str, member: str) -> None:
        """Add a member to a set."""

    def srem(self, key: str, member: str) -> None:
        """Remove a member from a set."""

    def place(self, member: str, place: Place) -> None:
        """Add a member to some sets and remove it from others: the same sets together, every time for a member."""

    def retire(self, key: str, lives: str) -> None:
        """If the hash `key` exists, keep it as ``key{n}``, and count `n` up in the hash `lives` under `key`."""

    def drop(self, key: str, lives: str, purged: str) -> None:
        """Delete the hash `key` and every earlier life of it, and what the hashes `lives` and `purged` have on it."""

    def purge(
        self, key: str, lives: str, purged: str, at: At, member: str, sets: Sequence[str], hashes: Sequence[str]
    ) -> None:
        """If `member` is in the first of `sets`, and the hash `key` is still `at` that place: delete all of it.

        That is: drop `key`, remove `member` from the `sets`, and delete the field of that name in the `hashes`.
        """

    def forget(self, key: str, lives: str, purged: str, count: int, upto: int) -> None:
        """If `key` has exactly `count` earlier lives: delete the first ones up to `upto`, and note that in `purged`."""

    def trim(self, key: str, lives: str, count: int, below: int) -> None:
        """If `key` has exactly `count` earlier lives, and an event from version `below` on: delete those before."""

    def wipe(self) -> None:
        """Delete every view and the log."""


OPEN = frozenset(
    {
        OrderStatus.ACCEPTED,
        OrderStatus.TRIGGERED,
        OrderStatus.PENDING_UPDATE,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PARTIALLY_FILLED,
    }
)
CLOSED = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.REJECTED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.FILLED,
        OrderStatus.VOIDED,
    }
)
INFLIGHT = frozenset({OrderStatus.SUBMITTED, OrderStatus.PENDING_UPDATE, OrderStatus.PENDING_CANCEL})


def project(keys: Keys, command: c.Command, target: Target) -> None:
    """Apply `command` to `target`, under the names of `keys`."""
    PROJECTIONS[command.__class__](keys, command, target)


def _nothing(keys: Keys, command: Any, target: Target) -> None:
    pass


def _flushed(keys: Keys, command: c.Flushed, target: Target) -> None:
    target.wipe()


def _heartbeat(keys: Keys, command: c.Heartbeat, target: Target) -> None:
    target.hset(keys.heartbeat, "timestamp", str(command.timestamp))


def _add(keys: Keys, command: c.Add, target: Target) -> None:
    target.hset(keys.general, command.key, command.value)


def _add_currency(keys: Keys, command: c.AddCurrency, target: Target) -> None:
    target.hset(keys.currencies, command.code, command.record)


def _add_instrument(keys: Keys, command: c.AddInstrument, target: Target) -> None:
    target.hset(keys.instruments, command.instrument_id, command.record)


def _add_synthetic(keys: Keys, command: c.AddSynthetic, target: Target) -> None:
    target.hset(keys.synthetics, command.instrument_id, command.record)


def _events(key: str, version: int, events: list[bytes], target: Target) -> None:
    for record in events:
        target.hset(key, str(version), record)
        version += 1


def _write_account(keys: Keys, command: c.WriteAccount, target: Target) -> None:
    key = keys.account(command.account_id)
    if command.version == 0:
        target.retire(key, keys.lives)
        target.sadd(keys.accounts, command.account_id)
    _events(key, command.version, command.events, target)


def _delete_account_event(keys: Keys, command: c.DeleteAccountEvent, target: Target) -> None:
    target.hdel(keys.account(command.account_id), str(command.version))


def _purge_account_events(keys: Keys, command: c.PurgeAccountEvents, target: Target) -> None:
    target.trim(keys.account(command.account_id), keys.lives, command.lives, command.below)


@functools.lru_cache(maxsize=1024)
def _place(keys: Keys, status: int, emulated: bool) -> Place:
    """Which of the sets of orders by status an order is in: nearly every call asks, and there are few answers."""
    # The rules of `Order.is_closed`, `is_open`, `is_inflight` and `is_emulated`: what the node emulates is not open.
    sets = {
        keys.orders_closed: status in CLOSED,
        keys.orders_open: status in OPEN and not emulated,
        keys.orders_inflight: status in INFLIGHT,
        keys.orders_emulated: status == OrderStatus.EMULATED,
    }
    return Place(tuple(key for key in sets if sets[key]), tuple(key for key in sets if not sets[key]))


def _add_order(keys: Keys, command: c.AddOrder, target: Target) -> None:
    order_id = command.order_id
    key = keys.order(order_id)
    if command.version == 0:
        target.retire(key, keys.lives)
        target.sadd(keys.orders, order_id)
    else:  # what was set on the order that it was before is gone
        target.hdel(key, AMENDED)
        target.hdel(key, POSITION)
    _events(key, command.version, command.events, target)
    if command.amended is not None:
        target.hset(key, AMENDED, command.amended)
    target.place(order_id, _place(keys, command.status, command.emulated))
    if command.position_id is not None:
        target.hset(keys.index_order_position, order_id, command.position_id)
    if command.client_id is not None:
        target.hset(keys.index_order_client, order_id, command.client_id)


def _update_order(keys: Keys, command: c.UpdateOrder, target: Target) -> None:
    # What nearly every call of a node comes to: a tuple is taken apart in a third of the time that its fields take.
    order_id, version, status, emulated, events, amended = command
    key, hset = keys.order(order_id), target.hset
    for record in events:
        hset(key, str(version), record)
        version += 1
    if amended is not None:
        hset(key, AMENDED, amended)
    target.place(order_id, _place(keys, status, emulated))


def _sets_of_orders(keys: Keys) -> tuple[str, ...]:
    # The closed ones first: what is purged has to be in there.
    return keys.orders_closed, keys.orders, keys.orders_open, keys.orders_inflight, keys.orders_emulated


def _hashes_of_orders(keys: Keys) -> tuple[str, ...]:
    return keys.index_order_position, keys.index_order_client, keys.index_venue_order_id, keys.order_snapshots


def _delete_order(keys: Keys, command: c.DeleteOrder, target: Target) -> None:
    order_id = command.order_id
    target.drop(keys.order(order_id), keys.lives, keys.lives_purged)
    for members in _sets_of_orders(keys):
        target.srem(members, order_id)
    for index in _hashes_of_orders(keys):
        target.hdel(index, order_id)


def _purge_order(keys: Keys, command: c.PurgeOrder, target: Target) -> None:
    order_id, at = command.order_id, At(command.lives, command.version)
    names = keys.order(order_id), keys.lives, keys.lives_purged
    target.purge(*names, at, order_id, _sets_of_orders(keys), _hashes_of_orders(keys))


def _write_position(keys: Keys, command: c.WritePosition, target: Target) -> None:
    position_id = command.position_id
    key = keys.position(position_id)
    if command.basis is not None:
        target.retire(key, keys.lives)
        target.sadd(keys.positions, position_id)
        target.hset(key, BASIS, command.basis)
    _events(key, command.version, command.events, target)
    (target.sadd if command.is_open else target.srem)(keys.positions_open, position_id)
    (target.srem if command.is_open else target.sadd)(keys.positions_closed, position_id)


def _sets_of_positions(keys: Keys) -> tuple[str, ...]:
    return keys.positions_closed, keys.positions, keys.positions_open


def _delete_position(keys: Keys, command: c.DeletePosition, target: Target) -> None:
    target.drop(keys.position(command.position_id), keys.lives, keys.lives_purged)
    for members in _sets_of_positions(keys):
        target.srem(members, command.position_id)
    target.hdel(keys.position_snapshots, command.position_id)


def _purge_position(keys: Keys, command: c.PurgePosition, target: Target) -> None:
    position_id, at = command.position_id, At(command.lives, command.version)
    names = keys.position(position_id), keys.lives, keys.lives_purged
    target.purge(*names, at, position_id, _sets_of_positions(keys), (keys.position_snapshots,))


def _purge_position_cycles(keys: Keys, command: c.PurgePositionCycles, target: Target) -> None:
    key = keys.position(command.position_id)
    target.forget(key, keys.lives, keys.lives_purged, command.lives, command.upto)


def _snapshot_order(keys: Keys, command: c.SnapshotOrder, target: Target) -> None:
    target.hset(keys.order_snapshots, command.order_id, command.record)
    if command.amended is not None:
        target.hset(keys.order(command.order_id), AMENDED, command.amended)


def _snapshot_position(keys: Keys, command: c.SnapshotPosition, target: Target) -> None:
    target.hset(keys.position_snapshots, command.position_id, command.record)


def _index_order_position(keys: Keys, command: c.IndexOrderPosition, target: Target) -> None:
    target.hset(keys.index_order_position, command.order_id, command.position_id)
    if command.added:
        target.hset(keys.order(command.order_id), POSITION, command.position_id)


def _index_venue_order_id(keys: Keys, command: c.IndexVenueOrderId, target: Target) -> None:
    target.hset(keys.index_venue_order_id, command.order_id, command.venue_order_id)


def _update_actor(keys: Keys, command: c.UpdateActor, target: Target) -> None:
    target.hset(keys.actors, command.component_id, command.state)


def _delete_actor(keys: Keys, command: c.DeleteActor, target: Target) -> None:
    target.hdel(keys.actors, command.component_id)


def _update_strategy(keys: Keys, command: c.UpdateStrategy, target: Target) -> None:
    target.hset(keys.strategies, command.strategy_id, command.state)


def _delete_strategy(keys: Keys, command: c.DeleteStrategy, target: Target) -> None:
    target.hdel(keys.strategies, command.strategy_id)


PROJECTIONS: dict[type[c.Command], Callable[[Keys, Any, Target], None]] = {
    c.Opened: _nothing,
    c.ClosedWell: _nothing,
    c.Quarantined: _nothing,
    c.Flushed: _flushed,
    c.Heartbeat: _heartbeat,
    c.Add: _add,
    c.AddCurrency: _add_currency,
    c.AddInstrument: _add_instrument,
    c.AddSynthetic: _add_synthetic,
    c.WriteAccount: _write_account,
    c.DeleteAccountEvent: _delete_account_event,
    c.PurgeAccountEvents: _purge_account_events,
    c.AddOrder: _add_order,
    c.UpdateOrder: _update_order,
    c.DeleteOrder: _delete_order,
    c.PurgeOrder: _purge_order,
    c.SnapshotOrder: _snapshot_order,
    c.WritePosition: _write_position,
    c.DeletePosition: _delete_position,
    c.PurgePosition: _purge_position,
    c.PurgePositionCycles: _purge_position_cycles,
    c.SnapshotPosition: _snapshot_position,
    c.IndexOrderPosition: _index_order_position,
    c.IndexVenueOrderId: _index_venue_order_id,
    c.UpdateActor: _update_actor,
    c.DeleteActor: _delete_actor,
    c.UpdateStrategy: _update_strategy,
    c.DeleteStrategy: _delete_strategy,
}


class MemoryViews:
    """The views as plain dicts and sets: what folding the log gives, without the script that does it in Redis."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, bytes]] = {}
        self.sets: dict[str, set[str]] = {}

    def hset(self, key: str, field: str, value: bytes | str) -> None:
        stored: bytes = value.encode() if value.__class__ is str else value  # type: ignore[assignment]
        fields = self.hashes.get(key)
        if fields is None:
            self.hashes[key] = {field: stored}
        else:
            fields[field] = stored

    def hdel(self, key: str, field: str) -> None:
        fields = self.hashes.get(key)
        if fields is not None and field in fields:
            del fields[field]
            if not fields:
                del self.hashes[key]

    def sadd(self, key: str, member: str) -> None:
        members = self.sets.get(key)
        if members is None:
            self.sets[key] = {member}
        else:
            members.add(member)

    def srem(self, key: str, member: str) -> None:
        members = self.sets.get(key)
        if members is not None and member in members:
            members.remove(member)
            if not members:
                del self.sets[key]

    def place(self, member: str, place: Place) -> None:
        # As `sadd` and `srem`: most of what a fold does is this, and a call takes longer than what is in it.
        sets = self.sets
        for key in place.inside:
            members = sets.get(key)
            if members is None:
                sets[key] = {member}
            else:
                members.add(member)
        for key in place.outside:
            members = sets.get(key)
            if members is not None and member in members:
                members.remove(member)
                if not members:
                    del sets[key]

    def retire(self, key: str, lives: str) -> None:
        fields = self.hashes.pop(key, None)
        if fields is not None:
            n = self._number(lives, key) + 1
            self.hashes[f"{key}{{{n}}}"] = fields
            self.hset(lives, key, str(n))

    def drop(self, key: str, lives: str, purged: str) -> None:
        for n in range(1, self._number(lives, key) + 1):
            self.hashes.pop(f"{key}{{{n}}}", None)
        self.hashes.pop(key, None)
        self.hdel(lives, key)
        self.hdel(purged, key)

    def purge(
        self, key: str, lives: str, purged: str, at: At, member: str, sets: Sequence[str], hashes: Sequence[str]
    ) -> None:
        events = self.hashes.get(key, {})
        there = self._number(lives, key) == at.lives and str(at.version - 1) in events and str(at.version) not in events
        if there and member in self.sets.get(sets[0], ()):
            self.drop(key, lives, purged)
            for name in sets:
                self.srem(name, member)
            for name in hashes:
                self.hdel(name, member)

    def forget(self, key: str, lives: str, purged: str, count: int, upto: int) -> None:
        gone = self._number(purged, key)
        if self._number(lives, key) == count and gone < upto <= count:
            for n in range(gone + 1, upto + 1):
                self.hashes.pop(f"{key}{{{n}}}", None)
            self.hset(purged, key, str(upto))

    def trim(self, key: str, lives: str, count: int, below: int) -> None:
        versions = [int(field) for field in self.hashes.get(key, {})]
        if self._number(lives, key) == count and any(version >= below for version in versions):
            for version in versions:
                if version < below:
                    self.hdel(key, str(version))

    def wipe(self) -> None:
        self.hashes.clear()
        self.sets.clear()

    def _number(self, key: str, field: str) -> int:
        return int(self.hashes.get(key, {}).get(field, b"0"))
