"""Hypothesis strategies for commands: any of them alone, and sequences of those that calls can leave in a log."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from eventstore import commands as c
from eventstore.keys import Keys
from eventstore.model.enums import OrderStatus
from eventstore.model.identifiers import TraderId
from eventstore.model.record import U64_MAX
from eventstore.projections import CLOSED, MemoryViews, project

IDS = ("O-1", "ü 2", "X:3")
"""Few, so that commands meet: an order, a position and an account may have the same."""

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), U64_MAX) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
_TEXT = st.text(max_size=20)
_BYTES = st.binary(max_size=40)
_FIELDS: dict[str, SearchStrategy[Any]] = {
    "int": st.integers(0, U64_MAX),
    "str": _TEXT,
    "bytes": _BYTES,
    "bool": st.booleans(),
    "dict[str, Any]": st.dictionaries(_TEXT, _JSON, max_size=4),
    "dict[str, int]": st.dictionaries(_TEXT, st.integers(0, U64_MAX), max_size=4),
    "list[bytes]": st.lists(_BYTES, max_size=4),
}


def any_command(kind: type[c.Command]) -> SearchStrategy[c.Command]:
    """Commands of that kind with any values; not only those that a call would make."""
    drawn = []
    for hint in kind.__annotations__.values():
        name, _, optional = str(getattr(hint, "__forward_arg__", hint)).partition(" | ")
        drawn.append(st.none() | _FIELDS[name] if optional else _FIELDS[name])
    made: Any = kind
    return st.tuples(*drawn).map(lambda fields: made(*fields))


_id = st.sampled_from(IDS)
_records = st.lists(_BYTES, min_size=1, max_size=3)
_status = st.sampled_from([int(status) for status in OrderStatus])
_maybe = st.none() | _BYTES
_version = st.integers(0, 4)
_few = st.integers(0, 3)
_flag = st.booleans()

_CALLS: tuple[SearchStrategy[c.Command], ...] = (
    st.builds(c.Heartbeat, st.integers(0, U64_MAX)),
    st.builds(c.Add, _id, _BYTES),
    st.builds(c.AddCurrency, _id, _BYTES),
    st.builds(c.AddInstrument, _id, _BYTES),
    st.builds(c.AddSynthetic, _id, _BYTES),
    st.builds(c.WriteAccount, _id, _version, _records),
    st.builds(c.DeleteAccountEvent, _id, _version, _id),
    st.builds(c.PurgeAccountEvents, _id, _few, _version),
    st.builds(c.AddOrder, _id, _version, _status, _flag, _records, st.none() | _id, st.none() | _id, _maybe),
    st.builds(c.AddOrder, _id, st.just(0), _status, _flag, _records, st.none() | _id, st.none() | _id, _maybe),
    st.builds(c.UpdateOrder, _id, _version, _status, _flag, st.lists(_BYTES, max_size=3), _maybe),
    st.builds(c.DeleteOrder, _id),
    st.builds(c.PurgeOrder, _id, _few, _version),
    st.builds(c.SnapshotOrder, _id, _BYTES, _maybe),
    st.builds(c.WritePosition, _id, _version, _flag, _records, st.none()),
    st.builds(c.WritePosition, _id, st.just(0), _flag, _records, _BYTES),
    st.builds(c.DeletePosition, _id),
    st.builds(c.PurgePosition, _id, _few, _version),
    st.builds(c.PurgePositionCycles, _id, _few, _few),
    st.builds(c.SnapshotPosition, _id, _BYTES),
    st.builds(c.IndexOrderPosition, _id, _id, _flag),
    st.builds(c.IndexVenueOrderId, _id, _id),
    st.builds(c.UpdateActor, _id, _BYTES),
    st.builds(c.DeleteActor, _id),
    st.builds(c.UpdateStrategy, _id, _BYTES),
    st.builds(c.DeleteStrategy, _id),
    st.builds(c.Quarantined, _id, _id, _id),
    st.just(c.Flushed(0, b"")),
)


def histories(max_size: int = 40) -> SearchStrategy[list[c.Command]]:
    """Sequences of commands that calls can leave: nothing continues what was not begun, or was deleted."""
    return st.lists(st.one_of(_CALLS), max_size=max_size).map(_possible)


_closed = st.sampled_from([int(status) for status in CLOSED])
_one = st.just(IDS[0])
_BRIEF: tuple[SearchStrategy[c.Command], ...] = (
    st.builds(c.AddOrder, _one, st.just(0), _closed, _flag, _records, st.none() | _id, st.none() | _id, _maybe),
    st.builds(c.UpdateOrder, _one, _version, _status, _flag, st.lists(_BYTES, max_size=3), _maybe),
    st.builds(c.PurgeOrder, _one, _few, _version),
    st.builds(c.SnapshotOrder, _one, _BYTES, _maybe),
    st.builds(c.IndexVenueOrderId, _one, _id),
    st.builds(c.DeleteOrder, _one),
    st.builds(c.WritePosition, _one, _version, _flag, _records, st.none()),
    st.builds(c.WritePosition, _one, st.just(0), st.just(False), _records, _BYTES),  # noqa: FBT003
    st.builds(c.PurgePosition, _one, _few, _version),
    st.builds(c.PurgePositionCycles, _one, _few, _few),
    st.builds(c.SnapshotPosition, _one, _BYTES),
    st.builds(c.DeletePosition, _one),
    st.builds(c.WriteAccount, _one, _version, _records),
    st.builds(c.PurgeAccountEvents, _one, _few, _version),
)


def brief_histories(max_size: int = 40) -> SearchStrategy[list[c.Command]]:
    """As `histories`, of one order, one position and one account, that are closed, begun again and purged."""
    calls = st.one_of(_BRIEF)
    return st.lists(calls, min_size=max_size // 2, max_size=max_size).map(_possible)


def _possible(drawn: list[c.Command]) -> list[c.Command]:
    known: set[tuple[str, str]] = set()
    views = MemoryViews()
    made = []
    for command in drawn:
        possible = command
        if isinstance(command, c.Flushed):
            known.clear()
        elif isinstance(command, c.WriteAccount):
            if ("account", command.account_id) not in known:
                possible = command._replace(version=0)
            known.add(("account", command.account_id))
        elif isinstance(command, c.AddOrder | c.UpdateOrder):
            if ("order", command.order_id) not in known:
                possible = command._replace(version=0)
                if isinstance(possible, c.UpdateOrder):
                    possible = c.AddOrder(*possible[:4], [*command.events, b"first"], None, None, command.amended)
            known.add(("order", command.order_id))
        elif isinstance(command, c.SnapshotOrder):
            if ("order", command.order_id) not in known:
                possible = command._replace(amended=None)
        elif isinstance(command, c.IndexOrderPosition):
            possible = command._replace(added=("order", command.order_id) in known)
        elif isinstance(command, c.DeleteOrder):
            known.discard(("order", command.order_id))
        elif isinstance(command, c.WritePosition):
            if ("position", command.position_id) not in known:
                possible = command._replace(version=0, basis=command.basis or b"basis")
            known.add(("position", command.position_id))
        elif isinstance(command, c.DeletePosition):
            known.discard(("position", command.position_id))
        elif isinstance(command, _PURGES):
            possible = _looked(command, views)
        project(_KEYS, possible, views)
        if isinstance(command, c.PurgeOrder) and _KEYS.order(command.order_id) not in views.hashes:
            known.discard(("order", command.order_id))
        elif isinstance(command, c.PurgePosition) and _KEYS.position(command.position_id) not in views.hashes:
            known.discard(("position", command.position_id))
        made.append(possible)
    return made


_KEYS = Keys(TraderId("TRADER-001"))
_PURGES = (c.PurgeOrder, c.PurgePosition, c.PurgePositionCycles, c.PurgeAccountEvents)


def _looked(command: Any, views: MemoryViews) -> c.Command:
    """`command` as who looks at `views` makes it; every fourth one as it was drawn: by then it is out of date."""
    if command.lives == 3:
        return command  # type: ignore[no-any-return]
    family = {c.PurgeOrder: _KEYS.order, c.PurgeAccountEvents: _KEYS.account}.get(type(command), _KEYS.position)
    key = family(command[0])
    lives = int(views.hashes.get(_KEYS.lives, {}).get(key, b"0"))
    if isinstance(command, c.PurgeOrder | c.PurgePosition):
        versions = [int(field) for field in views.hashes.get(key, {}) if field.isdigit()]
        return command._replace(lives=lives, version=max(versions, default=-1) + 1)
    if isinstance(command, c.PurgePositionCycles):
        return command._replace(lives=lives, upto=min(command.upto, lives))
    return command._replace(lives=lives)  # type: ignore[no-any-return]
