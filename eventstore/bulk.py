"""Many records from bytes at once, column by column. Pure: no I/O.

A load builds records by the hundred thousand, and few of their values are new. Turned into columns, a value that many
records share is looked at once, and what is left runs in the interpreter's own loops: a third of the time of reading
them one by one. Only what is plain is read here. Whatever is not is left out, for the reader of one record, which takes
it or says what is wrong with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

import msgpack

from eventstore.codec import (
    ORDER_ID,
    SKIMMED_MIN,
    TRADER_ID,
    TS_EVENT,
    TS_INIT,
    Convert,
    MsgPackSerializer,
    ReadPlan,
    Remembered,
    Serializer,
    field_readers,
    is_timestamp,
    no_extension,
    read_plain_identifiers,
    unpack,
)
from eventstore.errors import CodecError
from eventstore.model.currency import Currency
from eventstore.model.identifiers import UUID4, Identifier
from eventstore.model.record import EMPTY_INFO, Field, Record
from eventstore.model.values import Money
from eventstore.schema import SHORT_SINCE, TYPES, VERSIONS

Column = Sequence[Any]
ReadColumn = Callable[[Column], Iterable[Any]]

TOGETHER = 1024
"""Records that are read together: more of them would leave the processor's cache."""

_NONE = type(None)
_EQUAL_ALONE = frozenset({str, _NONE})
"""Kinds of stored values that are equal to none of another kind, as 1 is to True."""
_NOT_PLAIN = (CodecError, ValueError, TypeError, LookupError, ArithmeticError)
_UUID_HEX = (*range(8), *range(9, 13), *range(14, 18), *range(19, 23), *range(24, 36))
"""Where the digits of a UUID stand in its text."""
_UUID_BLANK = b"        -    -    -    -             "


def records_from(
    data: Sequence[bytes], serializer: Serializer, trader_id: str | None = None, order_ids: Sequence[str] = ()
) -> Sequence[Record | None]:
    """Return the record that each of `data` is; None for one that `serializer` has to be asked about.

    Parameters
    ----------
    trader_id : str, optional
        Whose log they are of.
    order_ids : sequence of str, optional
        The id of the order of each, if they are events of orders and stand with those.
    """
    if type(serializer).deserialize is not MsgPackSerializer.deserialize:
        return [None] * len(data)
    found: list[Record | None] = []
    for start in range(0, len(data), TOGETHER):
        found += _records_from(data[start : start + TOGETHER], trader_id, order_ids[start : start + TOGETHER])
    return found


def _records_from(data: Sequence[bytes], trader_id: str | None, order_ids: Sequence[str]) -> Sequence[Record | None]:
    nothing = [None] * len(data)
    try:
        rows = _rows(data)
        tags = [row[0] for row in rows]
        if tags.count(tags[0]) == len(tags):
            return _records(tags[0], rows, trader_id, order_ids, is_alone=True)
        places: dict[int, list[int]] = {}
        for place, tag in enumerate(tags):
            places.setdefault(tag, []).append(place)
    except _NOT_PLAIN:
        return nothing
    found: dict[int, Iterator[Record | None]] = {}
    for tag, of_tag in places.items():
        try:
            ids = [*map(order_ids.__getitem__, of_tag)] if order_ids else ()
            found[tag] = iter(_records(tag, [*map(rows.__getitem__, of_tag)], trader_id, ids))
        except _NOT_PLAIN:
            found[tag] = iter(nothing)
    return [*map(next, map(found.__getitem__, tags))]


def _rows(data: Sequence[bytes]) -> list[Any]:
    if data and len(max(data, key=len)) > SKIMMED_MIN:
        return [*map(unpack, data)]
    try:
        # As tuples, which take less memory than lists, and half as many places in it.
        return [msgpack.unpackb(item, use_list=False, ext_hook=no_extension) for item in data]
    except (msgpack.exceptions.UnpackException, RecursionError) as e:
        raise CodecError(str(e)) from e


def _records(
    tag: Any, rows: list[Any], trader_id: str | None, order_ids: Sequence[str], is_alone: bool = False
) -> list[Record]:
    """Return the records of these rows, all of one tag. Raises one of `_NOT_PLAIN` where one is not plain.

    `is_alone`: no records of another kind are beside them, which would name the same.
    """
    columns: list[Column] = [*zip(*rows, strict=True)]
    tags, versions = columns[:2]
    del columns[:2]
    if not set(map(type, tags)) == set(map(type, versions)) == {int}:
        raise CodecError("not plain")
    (version,) = set(versions)
    since = SHORT_SINCE.get(tag)
    # Before fields were left out, the same ones were there.
    if version != VERSIONS[tag] and not (since == VERSIONS[tag] and version == since - 1):
        raise CodecError("not plain")
    kind = TYPES[tag]
    readers = _column_readers(kind, is_alone)
    if order_ids and since is not None and version >= since:
        _fill_in(columns, [trader_id] * len(rows), order_ids)
    values = [read(column) for read, column in zip(readers, columns, strict=True)]
    if since is not None and columns[TS_INIT] == columns[TS_EVENT]:
        values[TS_INIT] = values[TS_EVENT] = [*values[TS_EVENT]]
    records = [*map(tuple.__new__, repeat(kind, len(rows)), zip(*values, strict=True))]
    if kind._validate is not Record._validate:
        for record in records:
            record._validate()
    return records


def _fill_in(columns: list[Column], trader_ids: Column, order_ids: Column) -> None:
    """Put into the columns of orders' events what was left out of them; where all of it was, that is one column."""
    for place, given in ((TS_INIT, columns[TS_EVENT]), (TRADER_ID, trader_ids), (ORDER_ID, order_ids)):
        column = columns[place]
        left_out = column.count(None)
        if left_out == len(column):
            columns[place] = given
        elif left_out:
            columns[place] = [one if stored is None else stored for stored, one in zip(column, given, strict=True)]


@functools.cache
def _column_readers(kind: type[Record], is_alone: bool) -> tuple[ReadColumn, ...]:
    plan = field_readers(kind)
    return tuple(_column_reader(plan, place, is_alone) for place in range(len(plan.specs)))


def _column_reader(plan: ReadPlan, place: int, is_alone: bool) -> ReadColumn:
    spec, convert = plan.specs[place], plan.conversions[place]
    kinds, own = frozenset(plan.kinds[place]), {spec.kind}
    if list in kinds:
        kinds |= {tuple}
    read = _plain_reader(spec, convert, is_alone)

    def read_column(column: Column) -> Iterable[Any]:
        first = column[0]
        kind = first.__class__
        if kind in _EQUAL_ALONE and kind in kinds and first == column[-1] and column.count(first) == len(column):
            return column if first is None or convert is None else repeat(convert(first), len(column))
        found = set(map(type, column))
        if not found <= kinds:
            if found == own:  # what was left out, and is no text any more
                return column
            raise CodecError("not plain")
        if read is None:
            return column
        if _NONE not in found:
            return read(column)
        rest = iter(read([value for value in column if value is not None]))
        return [None if value is None else next(rest) for value in column]

    return read_column


def _plain_reader(spec: Field, convert: Convert | None, is_alone: bool) -> ReadColumn | None:
    """Return what reads a column of stored values of the right type, none of them None; None if it stays as it is."""
    if convert is None:
        return None
    kind = spec.kind
    if is_timestamp(spec):
        return functools.partial(_read_times, convert)
    if kind is UUID4:
        return _read_uuids
    if spec.is_info:
        return functools.partial(_read_infos, convert)
    remembered = getattr(convert, "__self__", None)
    if isinstance(remembered, Remembered):
        return functools.partial(_read_remembered, remembered, is_alone)
    if issubclass(kind, Identifier):
        return functools.partial(_read_new, kind, convert)
    if kind in (Money, Currency) or remembered.__class__ is dict:
        return functools.partial(_read_distinct, convert)
    return functools.partial(map, convert)


def _read_remembered(remembered: Remembered, is_alone: bool, column: Column) -> Iterable[Any]:
    distinct = set(column)
    if len(distinct) == len(column) and column[0] not in remembered:  # most likely all of them are new
        values = remembered.read_plain(column) if is_alone else None
        return remembered.take(column) if values is None else values
    remembered.learn(distinct)
    return map(remembered.__getitem__, column)


def _read_new(kind: type[Identifier], convert: Convert, column: Column) -> Iterable[Any]:
    values = read_plain_identifiers(kind, column)
    return map(convert, column) if values is None else values


def _read_distinct(convert: Convert, column: Column) -> Iterable[Any]:
    if column.count(column[0]) == len(column):
        return repeat(convert(column[0]), len(column))
    values = {value: convert(value) for value in set(column)}
    return map(values.__getitem__, column)


def _read_times(convert: Convert, column: Column) -> Iterable[int]:
    kinds = set(map(type, column))
    if kinds == {int}:
        if min(column) >= 0:  # and none of them has more than 64 bits, in MessagePack
            return column
    elif kinds == {str} and len(max(column, key=len)) < 20 and all(column):
        digits = "".join(column)
        if digits.isascii() and digits.isdigit():
            return map(int, column)
    return map(convert, column)


def _read_uuids(column: Column) -> Iterable[UUID4]:
    if set(map(len, column)) != {16}:
        raise ValueError("not plain")
    # Each digit goes to its place in all the texts at once.
    digits = b"".join(column).hex().encode()
    texts = bytearray(_UUID_BLANK * len(column))
    for digit, place in enumerate(_UUID_HEX):
        texts[place :: len(_UUID_BLANK)] = digits[digit::32]
    return map(str.__new__, repeat(UUID4, len(column)), texts.decode().split())


def _read_infos(convert: Convert, column: Column) -> Iterable[Any]:
    return map(convert, column) if any(column) else repeat(EMPTY_INFO, len(column))
