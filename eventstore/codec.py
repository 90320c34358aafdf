"""Records as bytes: positional MessagePack arrays of type tag, schema version and the fields in order.

Decoding never runs code that the bytes name, and allocates no more than a small multiple of their length. Whatever is
wrong with them raises `CodecError`.
"""

from __future__ import annotations

import abc
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import IntEnum
from itertools import repeat
from typing import Any, cast

import msgpack

from eventstore.errors import CodecError, UnknownSchema
from eventstore.model.currency import CRYPTO_PRECISION, Currency
from eventstore.model.enums import CurrencyType
from eventstore.model.events import OrderEvent
from eventstore.model.identifiers import LENGTH_MAX, UUID4, Identifier, TradeId
from eventstore.model.record import EMPTY_INFO, INFO_DEPTH_MAX, Field, Record, freeze, thaw
from eventstore.model.values import Fixed, Money, parse_decimal
from eventstore.packing import pack
from eventstore.place import Place
from eventstore.schema import LEFT_OUT, SHORT_SINCE, TAGS, TYPES, VERSIONS
from eventstore.upcasters import upcast

Convert = Callable[[Any], Any]

TS_EVENT, TS_INIT, TRADER_ID, ORDER_ID = map(
    OrderEvent._fields.index, ("ts_event", "ts_init", "trader_id", "client_order_id")
)
"""Where these fields stand in every order event, in every version."""

_SHORT_SINCE = dict.fromkeys(TYPES, math.inf) | SHORT_SINCE

_REMEMBERED_MAX = 4096
SKIMMED_MIN = 1024
"""Bytes up to which a value can not unfold to much, whatever it is."""
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_TIMES_OF_BETS = frozenset({"event_open_date", "market_start_time"})
_PLAIN_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?", re.ASCII)


class Serializer(abc.ABC):
    """Turns records into bytes and back.

    One whose methods take a `place`, too, as those of `MsgPackSerializer` do, is told where the record of an order's
    event stands: `serialize` may leave out what the place says, `deserialize` puts it in. Another one is not told, and
    does not read what one that is wrote.
    """

    @abc.abstractmethod
    def serialize(self, record: Record) -> bytes:
        """Return `record` as bytes. Raises `CodecError` for what is no record of this library."""

    @abc.abstractmethod
    def deserialize(self, data: bytes) -> Record:
        """Return the record that `serialize` made `data` of. Raises `CodecError` for anything else."""


class MsgPackSerializer(Serializer):
    """Records as positional MessagePack arrays.

    Parameters
    ----------
    timestamps_as_str : bool, default True
        Whether UNIX nanoseconds (19 digits) are stored as text, for readers that take numbers for doubles. Either form
        is read.
    """

    def __init__(self, timestamps_as_str: bool = True) -> None:
        self.timestamps_as_str = timestamps_as_str
        self._writers: dict[type[Record], Convert] = {}
        self._short_writers: dict[type[Record], Callable[[Any, Place], Any]] = {}

    def serialize(self, record: Record, place: Place | None = None) -> bytes:
        """Return `record` as bytes, without what `place` says of it. Raises `CodecError`."""
        kind = record.__class__
        try:
            if place is None:
                return pack((self._writers.get(kind) or self._prepare(kind))(record))
            return pack((self._short_writers.get(kind) or self._prepare_short(kind))(record, place))
        except CodecError:
            raise
        except (TypeError, ValueError, OverflowError) as e:
            raise CodecError(f"{kind.__name__} can not be stored: {e}") from e

    def _prepare(self, kind: type[Record]) -> Convert:
        tag = TAGS.get(kind)
        if tag is None:
            raise CodecError(f"a {kind.__name__} is no record of this library")
        stored = self._writers[kind] = field_writer(kind, self.timestamps_as_str, f"{tag}, {VERSIONS[tag]}, ")
        return stored

    def _prepare_short(self, kind: type[Record]) -> Callable[[Any, Place], Any]:
        whole, tag = self._prepare(kind), TAGS[kind]
        short: Callable[[Any, Place], Any] = lambda record, place: whole(record)  # noqa: E731
        if tag in SHORT_SINCE:
            short = short_field_writer(kind, self.timestamps_as_str, f"{tag}, {VERSIONS[tag]}, ")
        self._short_writers[kind] = short
        return short

    def deserialize(self, data: bytes, place: Place | None = None) -> Record:
        """Return the record that `data` is, at `place`. Raises `CodecError`, also where more was left out than that."""
        fields = unpack(data)
        if fields.__class__ is not list or len(fields) < 2:
            raise CodecError("not a record: no array of a tag, a version and fields")
        tag, version = fields[0], fields[1]
        kind = TYPES.get(tag) if tag.__class__ is int else None
        if kind is None:
            raise UnknownSchema(f"record type {tag!r:.40} is not known to this version of the library; upgrade it")
        del fields[:2]
        if place is not None and len(fields) > ORDER_ID and version.__class__ is int and version >= _SHORT_SINCE[tag]:
            if fields[TS_INIT] is None:
                fields[TS_INIT] = fields[TS_EVENT]
            if fields[TRADER_ID] is None:
                fields[TRADER_ID] = str(place[0])
            if fields[ORDER_ID] is None:
                fields[ORDER_ID] = str(place[1])
        if version != VERSIONS[tag] or version.__class__ is not int:
            fields = upcast(tag, version, fields)
        record: Record = build(kind, fields)
        return record


def writer_at(serializer: Serializer) -> Callable[[Any, Place], bytes]:
    """Return what serializes the record of an order's event at a place; whole, if `serializer` takes none."""
    serialize: Any = serializer.serialize
    # What it leaves out, it has to put in again.
    if _takes_place(serializer.__class__.serialize) and reads_at_places(serializer.__class__):
        return cast(Callable[[Any, Place], bytes], serialize)
    return lambda record, place: serialize(record)


def read_at(serializer: Serializer, data: bytes, place: Place | None) -> Record:
    """Return the record that `data` is and that stands at `place`, if it is an order's event. Raises `CodecError`."""
    if place is None or not reads_at_places(serializer.__class__):
        return serializer.deserialize(data)
    deserialize: Any = serializer.deserialize
    record: Record = deserialize(data, place)
    return record


@functools.cache
def reads_at_places(kind: type[Serializer]) -> bool:
    """Whether serializers of that kind are told where the record of an order's event stands."""
    return _takes_place(kind.deserialize)


def _takes_place(method: Callable[..., Any]) -> bool:
    return "place" in inspect.signature(method).parameters


def unpack(data: bytes) -> Any:
    """Unpack one MessagePack value.

    What comes out is made of lists, dicts, text, bytes and numbers; and MessagePack's own timestamps, which no field of
    a record takes and `check_plain` refuses.

    Raises
    ------
    CodecError
        If `data` is not exactly one well-formed value.
    """
    try:
        if len(data) > SKIMMED_MIN:
            # The unpacker makes each list as long as it is declared. A thousand nested ones, each declared as long as
            # `data`, take thousands of times its memory before they turn out to be empty; skipping takes none.
            skimmed = msgpack.Unpacker(max_buffer_size=len(data))
            skimmed.feed(data)
            skimmed.skip()
        return msgpack.unpackb(data, use_list=True, strict_map_key=True, ext_hook=no_extension)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as e:
        raise CodecError(f"not a MessagePack value: {str(e) or type(e).__name__}") from e


def no_extension(code: int, data: bytes) -> Any:
    """Raise `CodecError`: no record has a value of an extension type."""
    raise CodecError(f"extension type {code} is not allowed in a record")


def check_plain(what: str, value: Any, depth: int = INFO_DEPTH_MAX + 2) -> None:
    """Raise `CodecError`, naming `what`, unless `value` is scalars, lists and dicts by text, `depth` deep."""
    if value.__class__ in _SCALARS:
        return
    if depth == 0:
        raise CodecError(f"{what}: nested too deep")
    if value.__class__ is dict:
        for key in value:
            if key.__class__ is not str:
                raise CodecError(f"{what}: a key is a {type(key).__name__}")
        value = value.values()
    elif value.__class__ is not list:
        raise CodecError(f"{what}: a {type(value).__name__} is stored where none belongs")
    for item in value:
        check_plain(what, item, depth - 1)


def build(kind: type[Record], fields: Sequence[Any]) -> Any:
    """Build the record of `kind` from its stored fields. Raises `CodecError` if they are not of its shape."""
    plan = field_readers(kind)
    if len(fields) != len(plan.kinds):
        raise CodecError(f"a {kind.__name__} has {len(plan.kinds)} fields, the stored one has {len(fields)}")
    signature = tuple([value.__class__ for value in fields])
    if signature not in plan.seen:
        plan.check(fields)
        plan.seen.add(signature)
    try:
        record = plan.make(fields)
    except CodecError:
        raise
    except (ValueError, TypeError, KeyError, ArithmeticError) as e:
        raise CodecError(f"{kind.__name__}.{plan.culprit(fields)}: {e}") from e
    if plan.validate is not None:
        try:
            plan.validate(record)
        except (ValueError, TypeError, ArithmeticError) as e:
            raise CodecError(str(e)) from e
    return record


# -- How a field is written ------------------------------------------------------------------------------------


def compiled(
    specs: Sequence[Field],
    conversions: Sequence[Convert | None],
    begin: str,
    end: str,
    scope: Any,
    equals: Mapping[str, str] | None = None,
) -> Callable[..., Any]:
    """Return a function that takes a record's fields and returns ``begin field, field, ... end``, each field converted.

    With `equals` it takes a place, too, and those fields are None where they are equal to what that says.

    One expression for all of them takes half the time of a loop, and there is little else to do in a load or in the
    writer's thread. Nothing but the number of fields, and which of them are converted, gets into the source.
    """
    names = [f"f{i}" for i in range(len(specs))]
    values = []
    for name, spec, convert in zip(names, specs, conversions, strict=True):
        taken = f"{name}.replace('-', '')" if convert is _bytes_of_digits else name  # here, as a call takes longer
        value = name if convert is None else f"c{name}({taken})"
        equal = equals and equals.get(spec.name)
        absent = f"{name} is {equal} or {name} == {equal}" if equal else ""
        absent = absent or (f"{name} is None" if convert and spec.optional else "")
        values.append(f"None if {absent} else {value}" if absent else value)
    arguments, unfold = ("fields, place", " trader_id, order_id = place\n") if equals else ("fields", "")
    source = (
        f"def convert({arguments}):\n{unfold} {', '.join(names)}, = fields\n return {begin}{', '.join(values)}, {end}"
    )
    names_known: dict[str, Any] = {f"cf{i}": convert for i, convert in enumerate(conversions)} | scope
    exec(source, names_known)  # noqa: S102 - see above
    return cast(Callable[..., Any], names_known["convert"])


@functools.cache
def field_writer(kind: type[Record], timestamps_as_str: bool, begin: str) -> Convert:
    """Return a function that gives a record of `kind` as MessagePack takes it: `begin`, then the fields."""
    conversions = [_writer(spec, timestamps_as_str) for spec in kind._specs]
    return compiled(kind._specs, conversions, f"({begin}", ")", {})


@functools.cache
def short_field_writer(kind: type[Record], timestamps_as_str: bool, begin: str) -> Callable[[Any, Place], Any]:
    """As `field_writer`, for an order's event at a place."""
    conversions = [_writer(spec, timestamps_as_str) for spec in kind._specs]
    equals = {"ts_init": f"f{TS_EVENT}", "trader_id": "trader_id", "client_order_id": "order_id"}
    return compiled(kind._specs, conversions, f"({begin}", ")", {}, equals)


def _writer(spec: Field, timestamps_as_str: bool) -> Convert | None:
    kind = spec.kind
    if spec.is_info:
        return _write_info
    if spec.element is not None:
        if issubclass(spec.element, Record):
            return functools.partial(_write_records, field_writer(spec.element, timestamps_as_str, ""))
        return list
    if kind is int:
        return str if timestamps_as_str and is_timestamp(spec) else None
    if kind is UUID4:
        return _bytes_of_digits
    if kind is Currency:
        return _currency_code
    if issubclass(kind, Decimal):
        return kind.__str__ if issubclass(kind, Fixed) else _plain_decimal
    if kind is Money:
        return str
    if issubclass(kind, Record):
        return field_writer(kind, timestamps_as_str, "")
    return None  # text, identifiers, flags and enums are packed as they are


def is_timestamp(spec: Field) -> bool:
    """Whether a field holds UNIX nanoseconds."""
    return spec.is_int and names_time(spec.name)


def names_time(name: str) -> bool:
    """Whether that is the name of a field in UNIX nanoseconds, or of a duration in them."""
    return name.startswith("ts_") or name.endswith("_ns") or name in _TIMES_OF_BETS


def _write_info(value: Any) -> Any:
    return thaw(value) if value else {}


def _plain_decimal(value: Decimal) -> str:
    return format(value, "f")


_bytes_of_digits: Convert = bytes.fromhex
"""Of the digits of a UUID, without its hyphens."""


def _currency_code(value: Currency) -> str:
    return value.code


def _write_records(stored: Convert, records: tuple[Record, ...]) -> list[Any]:
    return [stored(record) for record in records]


# -- How a field is read ---------------------------------------------------------------------------------------


class ReadPlan:
    """How the stored fields of one kind of record are checked and turned into values."""

    def __init__(self, kind: type[Record]) -> None:
        self.kind = kind
        self.name = kind.__name__
        self.specs = kind._specs
        self.kinds = tuple(_stored_kinds(spec) for spec in self.specs)
        self.seen: set[tuple[type, ...]] = set()
        self.conversions = [_reader(kind.__name__, spec) for spec in self.specs]
        scope = {"new": tuple.__new__, "kind": kind}
        self.make = compiled(self.specs, self.conversions, "new(kind, (", "))", scope)
        """Returns the record of fields that `check` lets pass."""
        self.validate: Callable[[Any], None] | None = None if kind._validate is Record._validate else kind._validate
        """Raises for a record whose fields do not go together; None where any do."""

    def culprit(self, fields: Sequence[Any]) -> str:
        """Return the name of the first field that can not be converted."""
        for spec, convert, value in zip(self.specs, self.conversions, fields, strict=True):
            try:
                if convert is not None and value is not None:
                    convert(value)
            except (ValueError, TypeError, KeyError, ArithmeticError):
                return spec.name
        return "?"

    def check(self, fields: Sequence[Any]) -> None:
        """Raise `CodecError` unless every field is of a stored kind of its own."""
        for spec, kinds, value in zip(self.specs, self.kinds, fields, strict=True):
            if value.__class__ not in kinds:
                if value is None and spec.name in LEFT_OUT and issubclass(self.kind, OrderEvent):
                    raise CodecError(f"{self.name}.{spec.name}: left out where only an order's own events leave it out")
                raise CodecError(f"{self.name}.{spec.name}: a {type(value).__name__} is stored where none belongs")


@functools.cache
def field_readers(kind: type[Record]) -> ReadPlan:
    """The plan by which records of `kind` are read."""
    return ReadPlan(kind)


def _stored_kinds(spec: Field) -> tuple[type, ...]:
    kind = spec.kind
    stored: tuple[type, ...]
    if spec.is_info:
        stored = (dict,)
    elif spec.element is not None:
        stored = (list,)
    elif kind is bool:
        stored = (bool,)
    elif kind is int:
        stored = (int, str) if is_timestamp(spec) else (int,)
    elif issubclass(kind, IntEnum):
        stored = (int,)
    elif kind is UUID4:
        stored = (bytes,)
    elif issubclass(kind, Record) and kind not in (Money, Currency):
        stored = (list,)
    else:
        stored = (str,)
    return (*stored, type(None)) if spec.optional else stored


def _reader(owner: str, spec: Field) -> Convert | None:
    kind = spec.kind
    if spec.is_info:
        return functools.partial(_read_info, owner, spec.name)
    if spec.element is not None:
        element = spec.element
        if issubclass(element, Record):
            return lambda rows: tuple(_read_record(element, row) for row in rows)
        return functools.partial(_read_texts, element)
    if kind is int:
        return read_timestamp if is_timestamp(spec) else _read_count
    if kind in (bool, str):
        return None
    if kind is UUID4:
        return _read_uuid
    if kind is Currency:
        return _read_currency
    if kind is Money:
        return _read_money
    if issubclass(kind, Fixed):
        return _remembered(cast(Any, kind)).__getitem__
    if issubclass(kind, Decimal):
        return functools.partial(parse_decimal, f"{owner}.{spec.name}")
    if issubclass(kind, IntEnum):
        return dict(kind._value2member_map_).__getitem__
    if kind is TradeId:  # which hardly two records share
        return functools.partial(_read_identifier, kind, kind.unchecked)
    if issubclass(kind, Identifier):
        return _remembered(kind).__getitem__
    return functools.partial(_read_record, cast(type[Record], kind))


class Remembered(dict[Any, Any]):
    """Values by what they are stored as. Few are new: an order's events name the same ids, prices and amounts.

    Parameters
    ----------
    read : callable
        Returns the value of what is stored.
    read_plain : callable
        Returns the values of several; None if one of them has to be looked at by itself.
    """

    def __init__(self, read: Convert, read_plain: Callable[[Sequence[Any]], Iterable[Any] | None]) -> None:
        super().__init__()
        self._read = read
        self.read_plain = read_plain

    def __missing__(self, stored: Any) -> Any:
        value = self._read(stored)
        self._make_room()
        self[stored] = value
        return value

    def learn(self, stored: set[Any]) -> None:
        """Read those of `stored` that are not known, all at once. Raises as reading one by one does."""
        if not self.keys() >= stored:
            new = [one for one in stored if one not in self]
            self.take(new)

    def take(self, stored: Sequence[Any]) -> list[Any]:
        """Read all of `stored`, known or not."""
        plain = self.read_plain(stored)
        values = list(map(self._read, stored) if plain is None else plain)
        self._make_room()
        self.update(zip(stored, values, strict=True))
        return values

    def _make_room(self) -> None:
        if len(self) >= _REMEMBERED_MAX:
            self.clear()


@functools.cache
def _remembered(kind: type[Any]) -> Remembered:
    """The values of one kind, wherever they stand."""
    if issubclass(kind, Fixed):
        read_fixed = functools.partial(_read_fixed, kind, kind.unchecked)
        return Remembered(read_fixed, functools.partial(_read_plain_fixed, kind))
    if kind._needs:
        return Remembered(kind, lambda values: None)
    read_identifier = functools.partial(_read_identifier, kind, kind.unchecked)
    return Remembered(read_identifier, functools.partial(read_plain_identifiers, kind))


def _read_identifier(kind: type[Identifier], unchecked: Convert, value: str) -> Any:
    # Most identifiers need no second look; the constructor explains what is wrong with one.
    plain = value.isprintable() and "{" not in value and "}" not in value and 0 < len(value) <= LENGTH_MAX
    return unchecked(value) if plain and not value.isspace() else kind(value)


def read_plain_identifiers(kind: type[Identifier], values: Sequence[str]) -> Iterable[Any] | None:
    """Return the identifiers of `kind` that `values` are, or None if one of them needs a second look."""
    text = "".join(values)
    plain = text.isprintable() and "{" not in text and "}" not in text and len(max(values, key=len)) <= LENGTH_MAX
    if plain and all(values) and not any(map(str.isspace, values)):
        return map(str.__new__, repeat(kind), values)
    return None


def _read_texts(kind: type[str], values: list[Any]) -> tuple[Any, ...]:
    for value in values:
        if value.__class__ is not str:
            raise TypeError(f"a {type(value).__name__} is stored where text belongs")
    return tuple(values) if kind is str else tuple(kind(value) for value in values)


def _read_info(owner: str, name: str, value: dict[str, Any]) -> Any:
    return freeze(owner, name, value) if value else EMPTY_INFO


def read_timestamp(value: Any) -> int:
    """Return a time as it was stored, as text or number, in nanoseconds. Raises `ValueError` for anything else."""
    if value.__class__ is int:
        return _read_count(value)
    if len(value) < 20 and value.isdigit() and value.isascii():
        return int(value)
    if not (len(value) == 20 and value.isdigit() and value.isascii()):
        raise ValueError(f"{value!r:.40} is no time in nanoseconds")
    return _read_count(int(value))


def _read_count(value: int) -> int:
    if not 0 <= value < 2**64:
        raise ValueError(f"{value} does not fit in 64 bits")
    return value


def _read_uuid(value: bytes) -> UUID4:
    if len(value) != 16:
        raise ValueError(f"{len(value)} bytes are no UUID")
    text = value.hex()
    return UUID4.unchecked(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def _read_fixed(kind: type[Fixed], unchecked: Convert, value: str) -> Any:
    # Plain digits need no second look; the constructor explains whatever else it is.
    return unchecked(value) if _PLAIN_NUMBER.fullmatch(value) else kind(value)


def _read_plain_fixed(kind: type[Fixed], values: Sequence[str]) -> Iterable[Any] | None:
    return map(Decimal.__new__, repeat(kind), values) if all(map(_PLAIN_NUMBER.fullmatch, values)) else None


def _read_money(value: str) -> Money:
    amount, _, code = value.partition(" ")
    decimals = len(amount.partition(".")[2])
    currency = Currency.find(code) or _unregistered(code, decimals)
    if decimals > currency.precision:
        # Known here with fewer decimals than where it was written: nothing that was stored is rounded.
        currency = currency.replace(precision=decimals)
    if decimals == currency.precision and _PLAIN_NUMBER.fullmatch(amount):
        return Money.unchecked((Decimal(amount), currency))
    return Money(parse_decimal("Money", amount), currency)


def _read_currency(code: str) -> Currency:
    return Currency.find(code) or _unregistered(code, CRYPTO_PRECISION)


def _unregistered(code: str, precision: int) -> Currency:
    # Written by a process that knew the currency, read by one that was not told of it: the amount's own decimals are
    # the currency's precision, and nothing that was stored depends on more.
    return Currency(code, precision, 0, code, CurrencyType.CRYPTO)


def _read_record(kind: type[Record], row: Any) -> Record:
    if row.__class__ not in (list, tuple):
        raise TypeError(f"a {type(row).__name__} is stored where a {kind.__name__} belongs")
    return cast(Record, build(kind, row))
