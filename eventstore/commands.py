"""Command events: what each cache call asked for, as it stands in the log. Pure: no I/O.

A command is stored as a MessagePack array of its kind, its schema version and its fields. Records inside are bytes, as
`eventstore.codec` makes them: projections move them without looking inside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgpack

from eventstore.codec import check_plain, unpack
from eventstore.errors import CodecError, UnknownSchema
from eventstore.packing import pack

VERSION = 1

_SHORT = 1024
"""Bytes up to which a command can be unpacked without a look at how long it says that its lists are."""


class Opened(NamedTuple):
    """A writer took over the log: the first entry of each epoch. `about` says who it is, as text → text."""

    epoch: int
    about: dict[str, Any]


class ClosedWell(NamedTuple):
    """A writer ended in order; `counts` is what it wrote, by kind of command."""

    epoch: int
    counts: dict[str, int]


class Flushed(NamedTuple):
    """Everything of this trader was deleted, the log too; the last position before and the chain head there."""

    position: int
    chain: bytes


class Quarantined(NamedTuple):
    """A call was accepted but could not be encoded: which, for what, and why."""

    operation: str
    key: str
    error: str


class Heartbeat(NamedTuple):
    """The node was alive at that time, in UNIX nanoseconds."""

    timestamp: int


class Add(NamedTuple):
    """A general object."""

    key: str
    value: bytes


class AddCurrency(NamedTuple):
    """A currency's record."""

    code: str
    record: bytes


class AddInstrument(NamedTuple):
    """An instrument's record."""

    instrument_id: str
    record: bytes


class AddSynthetic(NamedTuple):
    """A synthetic instrument's record."""

    instrument_id: str
    record: bytes


class WriteAccount(NamedTuple):
    """Events of an account; `version` is that of the first. Version 0 begins a new life of the id."""

    account_id: str
    version: int
    events: list[bytes]


class DeleteAccountEvent(NamedTuple):
    """One event of an account was purged."""

    account_id: str
    version: int
    event_id: str


class PurgeAccountEvents(NamedTuple):
    """The events of an account with versions under `below` were purged, if it was in that life and has later ones.

    `lives` says, here and below, how many earlier lives the id had when it was looked at.
    """

    account_id: str
    lives: int
    below: int


class AddOrder(NamedTuple):
    """An order and its events; `version` is that of the first. Version 0 begins a new life of the id.

    Any other says that the order was transformed: it begins anew with the `OrderInitialized` among the events.
    """

    order_id: str
    version: int
    status: int
    emulated: bool
    events: list[bytes]
    position_id: str | None
    client_id: str | None
    amended: bytes | None


class UpdateOrder(NamedTuple):
    """New events of an order. `amended` is all that was ever set on it without an event, None if nothing new was."""

    order_id: str
    version: int
    status: int
    emulated: bool
    events: list[bytes]
    amended: bytes | None


class DeleteOrder(NamedTuple):
    """An order was deleted from the views."""

    order_id: str


class PurgeOrder(NamedTuple):
    """A closed order was purged, if it was still closed, in that life, with `version` as that of its next event."""

    order_id: str
    lives: int
    version: int


class WritePosition(NamedTuple):
    """New fills of a position. With a `basis` they begin a new cycle, and the instrument facts it rests on are that."""

    position_id: str
    version: int
    is_open: bool
    events: list[bytes]
    basis: bytes | None


class DeletePosition(NamedTuple):
    """A position was deleted from the views, its earlier cycles too."""

    position_id: str


class PurgePosition(NamedTuple):
    """A closed position was purged, earlier cycles too, if it was still closed, in that cycle and at that version."""

    position_id: str
    lives: int
    version: int


class PurgePositionCycles(NamedTuple):
    """The earlier cycles of a position up to that number were purged, if it was still in that cycle."""

    position_id: str
    lives: int
    upto: int


class SnapshotOrder(NamedTuple):
    """The state of an order, as the node had it."""

    order_id: str
    record: bytes
    amended: bytes | None


class SnapshotPosition(NamedTuple):
    """The state of a position, as the node had it."""

    position_id: str
    record: bytes


class IndexOrderPosition(NamedTuple):
    """An order belongs to a position. `added` says whether the order was there already: then it knows, too."""

    order_id: str
    position_id: str
    added: bool


class IndexVenueOrderId(NamedTuple):
    """An order has that id at its venue."""

    order_id: str
    venue_order_id: str


class UpdateActor(NamedTuple):
    """The saved state of an actor."""

    component_id: str
    state: bytes


class DeleteActor(NamedTuple):
    """An actor's state was deleted."""

    component_id: str


class UpdateStrategy(NamedTuple):
    """The saved state of a strategy."""

    strategy_id: str
    state: bytes


class DeleteStrategy(NamedTuple):
    """A strategy's state was deleted."""

    strategy_id: str


Command = (
    Opened
    | ClosedWell
    | Flushed
    | Quarantined
    | Heartbeat
    | Add
    | AddCurrency
    | AddInstrument
    | AddSynthetic
    | WriteAccount
    | DeleteAccountEvent
    | PurgeAccountEvents
    | AddOrder
    | UpdateOrder
    | DeleteOrder
    | PurgeOrder
    | WritePosition
    | DeletePosition
    | PurgePosition
    | PurgePositionCycles
    | SnapshotOrder
    | SnapshotPosition
    | IndexOrderPosition
    | IndexVenueOrderId
    | UpdateActor
    | DeleteActor
    | UpdateStrategy
    | DeleteStrategy
)

# A kind's number is in every log that has one: it never changes and is never given again.
COMMANDS: dict[int, type[Command]] = {
    1: Opened,
    2: ClosedWell,
    3: Flushed,
    4: Quarantined,
    5: Heartbeat,
    10: Add,
    11: AddCurrency,
    12: AddInstrument,
    13: AddSynthetic,
    20: WriteAccount,
    21: DeleteAccountEvent,
    22: PurgeAccountEvents,
    30: AddOrder,
    31: UpdateOrder,
    32: DeleteOrder,
    33: SnapshotOrder,
    34: PurgeOrder,
    40: WritePosition,
    41: DeletePosition,
    42: SnapshotPosition,
    43: PurgePosition,
    44: PurgePositionCycles,
    50: IndexOrderPosition,
    51: IndexVenueOrderId,
    60: UpdateActor,
    61: DeleteActor,
    62: UpdateStrategy,
    63: DeleteStrategy,
}
KINDS: dict[type[Command], int] = {command: kind for kind, command in COMMANDS.items()}


def encode(command: Command) -> bytes:
    """Return `command` as it is stored in the log."""
    return pack((KINDS[command.__class__], VERSION, *command))


def decode(data: bytes) -> Command:
    """Return the command that `encode` made `data` of.

    Raises
    ------
    CodecError
        If the bytes are no command.
    UnknownSchema
        If they are one of a kind or version that this version of the library does not know.
    """
    if len(data) <= _SHORT:
        # Whatever is not as it has to be is looked at again below, which says what it is.
        try:
            fields = msgpack.unpackb(data)
            if fields.__class__ is list:
                command = _MAKERS[fields[0]](fields)
                if command is not None:
                    return command
        except (ValueError, TypeError, LookupError, msgpack.UnpackException, RecursionError):
            pass
    return _decoded(data)


def _decoded(data: bytes) -> Command:
    fields = unpack(data)
    if fields.__class__ is not list or len(fields) < 2:
        raise CodecError("not a command: no array of a kind, a version and fields")
    number, version = fields[0], fields[1]
    del fields[:2]
    kind = COMMANDS.get(number) if number.__class__ is int else None
    if kind is None:
        raise UnknownSchema(f"command kind {number!r:.40} is not known to this version of the library; upgrade it")
    if version != VERSION or version.__class__ is not int:
        raise UnknownSchema(f"{kind.__name__}: schema version {version!r:.40} is not known; upgrade the library")
    _SHAPES[kind].check(fields)
    command: Command = tuple.__new__(kind, fields)  # their number was checked
    return command


def _kinds(annotation: str) -> tuple[type, ...]:
    names = {"int": int, "str": str, "bytes": bytes, "bool": bool, "None": type(None), "list": list, "dict": dict}
    return tuple(names[part.strip().partition("[")[0]] for part in annotation.split("|"))


class _Shape:
    """What the stored fields of one kind of command have to be, by the annotations of its class, which are text."""

    def __init__(self, kind: type[Command]) -> None:
        self.kind = kind
        self.kinds = [_kinds(str(getattr(hint, "__forward_arg__", hint))) for hint in kind.__annotations__.values()]

    def check(self, fields: list[Any]) -> None:
        """Raise `CodecError` unless there is one value a field, each one that belongs there."""
        name = self.kind.__name__
        if len(fields) != len(self.kinds):
            raise CodecError(f"{name} has {len(self.kinds)} fields, the stored one has {len(fields)}")
        checked = list(zip(self.kind._fields, self.kinds, fields, strict=True))
        for field, kinds, value in checked:
            if value.__class__ not in kinds:
                raise CodecError(f"{name}.{field}: a {type(value).__name__} is stored where none belongs")
        for field, _, value in checked:
            if value.__class__ is int and value < 0:
                raise CodecError(f"{name}.{field}: {value} is negative")
            if value.__class__ is list and not _all_bytes(value):
                raise CodecError(f"{name}.{field}: something other than records is stored there")
            if value.__class__ is dict:
                check_plain(f"{name}.{field}", value)

    def maker(self) -> Callable[[list[Any]], Command | None]:
        """Return a function that makes the command of what was unpacked, or gives None where `check` has to look.

        One expression for all fields takes a third of the time of loops over them, and a log has millions. Nothing but
        the number of fields, and the types that each may have, gets into the source.
        """
        names = [f"f{i}" for i in range(len(self.kinds))]
        right = ["number.__class__ is version.__class__ is int", f"version == {VERSION}"]
        for name, kinds in zip(names, self.kinds, strict=True):
            right.append(" or ".join(_RIGHT[kind].format(name) for kind in kinds))
        source = (
            f"def make(fields):\n number, version, {', '.join(names)} = fields\n"
            f" return new(kind, ({', '.join(names)},)) if {' and '.join(f'({each})' for each in right)} else None"
        )
        known: dict[str, Any] = {"new": tuple.__new__, "kind": self.kind, "all_bytes": _all_bytes}
        exec(source, known)  # noqa: S102 - see above
        return cast("Callable[[list[Any]], Command | None]", known["make"])


_RIGHT: dict[type, str] = {
    int: "{0}.__class__ is int and {0} >= 0",
    str: "{0}.__class__ is str",
    bytes: "{0}.__class__ is bytes",
    bool: "{0}.__class__ is bool",
    type(None): "{0} is None",
    list: "{0}.__class__ is list and all_bytes({0})",
    dict: "False",  # what is in there can be anything, and few commands have one
}


def _all_bytes(items: list[Any]) -> bool:
    for item in items:  # noqa: SIM110 - most have one, and then a generator takes longer than looking
        if item.__class__ is not bytes:
            return False
    return True


_SHAPES: dict[type[Command], _Shape] = {kind: _Shape(kind) for kind in COMMANDS.values()}
_MAKERS = {number: _SHAPES[kind].maker() for number, kind in COMMANDS.items()}


def describe() -> dict[str, str]:
    """Return the meaning of every kind for other readers: ``command:<kind>:<version>`` → name and fields, as JSON."""
    return {
        f"command:{kind}:{VERSION}": json.dumps({"name": command.__name__, "fields": command._fields})
        for kind, command in COMMANDS.items()
    }
