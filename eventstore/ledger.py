"""What this process has written of each aggregate, and what of that becomes unknown: the part all databases share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

from eventstore import commands as c
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import EventStoreError, Refused, StaleObject, TooLarge, UnknownId
from eventstore.model.identifiers import TraderId
from eventstore.persister import Persister
from eventstore.registry import Life, Meanwhile
from eventstore.timestamps import unix_ns_of

VALUE_BYTES = 64
"""What one value of a snapshot is counted as in the backlog: about what it takes there."""

PURGED_POSITIONS_MAX = 100_000
"""Positions that are remembered as purged, some hundred bytes each: the last ones."""

PurgeOne = c.PurgeOrder | c.PurgePosition


class Ledger:
    """The lives of orders, positions and accounts, and the way into the backlog."""

    def __init__(self, trader_id: TraderId, config: CacheDatabaseConfig, persister: Persister) -> None:
        self.trader_id = trader_id
        self.config = config
        self._persister = persister
        self._keys = persister.keys
        self._put = persister.put
        self._accept = persister.accept
        self._orders: dict[str, Life] = {}
        self._positions: dict[str, Life] = {}
        self._accounts: dict[str, Life] = {}
        # Positions that were purged here, the last ones: a node that has one still may open it again.
        self._purged_positions: dict[str, None] = {}
        # Held to decide whether something is purged, and to learn and forget. A signal handler may come in between.
        self._registering = threading.RLock()
        self._loads: set[Meanwhile] = set()

    def _forget_all(self) -> None:
        with self._registering:
            for load in self._loads:
                load.forget_all()
            self._orders, self._positions, self._accounts = {}, {}, {}
            self._purged_positions.clear()

    def _forget(self, lives: dict[str, Life], aggregate_id: str) -> None:
        with self._registering:
            for load in self._loads:
                load.forget(lives, aggregate_id)
            lives.pop(aggregate_id, None)
            if lives is self._positions:
                self._purged_positions.pop(aggregate_id, None)

    @contextmanager
    def _learning(self) -> Iterator[Meanwhile]:
        """Collect what becomes unknown while something is loaded, which began before and still has it."""
        meanwhile = Meanwhile()
        with self._registering:
            self._loads.add(meanwhile)
        try:
            yield meanwhile
        finally:
            with self._registering:
                self._loads.discard(meanwhile)

    def _learn(self, lives: dict[str, Life], meanwhile: Meanwhile, loaded: dict[str, Life]) -> None:
        with self._registering:
            quiet = meanwhile.is_quiet
            for aggregate_id, life in loaded.items():
                if quiet or not meanwhile.is_gone(lives, aggregate_id):
                    lives.setdefault(aggregate_id, life)  # what was written meanwhile is further than what was read

    def _purge(self, lives: dict[str, Life], command: PurgeOne, last_event_id: str) -> bool:
        """Accept `command`, unless what it purges went on since it was looked at; return whether it was.

        It was looked at when its last event was that of `last_event_id`. Raises as `Persister.accept`.
        """
        aggregate_id = command[0]
        with self._registering:
            life = lives.get(aggregate_id)
            if life is not None:
                life.purging = True
                if life.busy or life.version != command.version or life.last_event_id != last_event_id:
                    life.purging = False
                    return False
            accepted = True
            try:
                self._accept("purge", aggregate_id, command.__class__, tuple(command))
            except EventStoreError:
                accepted = False
                raise
            finally:  # a signal handler that raises leaves it open whether it was: then it was
                if accepted:
                    self._purged(lives, command, life)
                elif life is not None:
                    life.purging = False
            return True

    def _purged(self, lives: dict[str, Life], command: PurgeOne, life: Life | None) -> None:
        aggregate_id = command[0]
        for load in self._loads:
            load.forget(lives, aggregate_id)
        # One that was not known then may have been added since.
        if life is not None:
            lives.pop(aggregate_id, None)
        if command.__class__ is c.PurgePosition:
            self._purged_positions[aggregate_id] = None
            if len(self._purged_positions) > PURGED_POSITIONS_MAX:
                del self._purged_positions[next(iter(self._purged_positions))]

    def _is_purged(self, life: Life) -> bool:
        """Whether `life`, which was `purging`, is purged; waits until that is decided."""
        with self._registering:
            return life.purging

    def _refuse_unknown(self, operation: str, aggregate_id: str, what: str) -> NoReturn:
        raise UnknownId(
            f"{operation} {aggregate_id}: this process neither added nor loaded this {what}; call add_{what} or "
            f"load_{what} first"
        )

    def _refuse_stale(self, operation: str, aggregate_id: str, life: Life, events: Sequence[Any]) -> NoReturn:
        what = operation.removeprefix("update_")
        raise StaleObject(
            f"{operation} {aggregate_id}: the last event written ({type(life.last).__name__} "
            f"{getattr(life.last, 'event_id', '')}) is not among its {len(events)}; load the {what} and apply the new "
            "events to that one"
        )

    def _check_size(self, operation: str, key: str, size: int) -> None:
        if size > self.config.value_bytes_max:
            raise TooLarge(
                f"{operation} {key}: {size} bytes, at most {self.config.value_bytes_max} are allowed; split it, or "
                "raise value_bytes_max"
            )


def check(operation: str, name: str, value: object, kind: type) -> None:
    """Raise `TypeError`, naming the operation and its argument, unless `value` is of `kind`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        hint = _how_to_make(kind, value) if isinstance(value, str) else ""
        raise TypeError(f"{operation}: {name}: expected {kind.__name__}, got {type(value).__name__}{hint}")


def _how_to_make(kind: type, text: str) -> str:
    """Return how to make what is of `kind` from `text`, to go on an error; empty where text alone does not do."""
    if kind is bytes:
        return "; encode it: value.encode()"
    if kind is datetime:
        return "; read it: datetime.fromisoformat(value), with a time zone"
    if kind is CacheDatabaseConfig:
        return "; wrap it: CacheDatabaseConfig.at(value), of a URL or a directory"
    # Identifiers, of this model and of NautilusTrader's.
    return f"; wrap it: {kind.__name__}({str(text)!r:.60})" if kind.__name__.endswith("Id") else ""


def unix_ns(operation: str, moment: datetime) -> int:
    """Return `moment` as UNIX nanoseconds. Raises `Refused` if it has no time zone or does not fit in 64 bits."""
    if moment.utcoffset() is None:
        raise Refused(f"{operation}: {moment} has no time zone; pass datetime.now(UTC), say")
    ns = unix_ns_of(moment)
    if not 0 <= ns < 2**64:
        raise Refused(f"{operation}: {moment} is before 1970 or beyond what 64 bits of nanoseconds hold")
    return ns
