"""Files of rows: CSV, JSON lines and Parquet. A file has its name only once it is whole."""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from eventstore.audit.exporting.columns import Column
from eventstore.audit.exporting.rows import TIME_MAX, Row
from eventstore.audit.plain import iso_ns
from eventstore.errors import AuditError

ROWS_PER_GROUP = 5_000
DECIMALS = 18
DIGITS, DIGITS_WIDE = 38, 76
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Format(Protocol):
    """How rows become bytes."""

    def write(self, rows: list[Row]) -> None:
        """Write a group of rows."""

    def end(self) -> None:
        """Write what comes behind the last row."""


class Sheet:
    """A file that rows are written to, a group at a time.

    Parameters
    ----------
    path : Path
        Its name once `finish` and `publish` were called.
    make : callable
        Returns the format, from the path of the file that is written meanwhile.
    """

    def __init__(self, path: Path, make: Callable[[Path], Format]) -> None:
        self.path = path
        self.rows = 0
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._format = make(self._part)
        self._group: list[Row] = []
        self._ended = False

    def add(self, row: Row) -> None:
        """Add a row."""
        self._group.append(row)
        if len(self._group) >= ROWS_PER_GROUP:
            self._write()

    def _write(self) -> None:
        self._format.write(self._group)
        self.rows += len(self._group)
        self._group = []

    def finish(self) -> None:
        """Write what is left, to the disk."""
        if self._group:
            self._write()
        self._ended = True
        self._format.end()
        with self._part.open("rb") as file:
            os.fsync(file.fileno())

    def publish(self) -> None:
        """Give the file its name."""
        self._part.replace(self.path)

    def discard(self) -> None:
        """Leave nothing behind of a file that was not published."""
        if not self._ended:
            with contextlib.suppress(OSError):  # a full disk may be why it is discarded
                self._format.end()
        self._part.unlink(missing_ok=True)


# -- CSV -------------------------------------------------------------------------------------------------------


class Csv:
    """RFC 4180: a line of names, then one a row; what is absent is an empty field.

    Parameters
    ----------
    escape_formulas : bool
        Whether text that a spreadsheet would take for a formula gets an apostrophe before it.
    """

    def __init__(self, path: Path, columns: Sequence[Column], escape_formulas: bool) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        self._writer.writerow([column.name for column in columns])
        self._shown = [_CSV.get(column.kind, _same) for column in columns]
        if escape_formulas:
            self._shown = [
                _escaped if column.kind == "text" else show for column, show in zip(columns, self._shown, strict=True)
            ]

    def write(self, rows: list[Row]) -> None:
        shown = self._shown
        self._writer.writerows(
            [None if value is None else show(value) for show, value in zip(shown, row, strict=True)] for row in rows
        )

    def end(self) -> None:
        self._file.close()


def _same(value: Any) -> Any:
    return value


def _plain_decimal(value: Decimal) -> str:
    return format(value, "f")


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _hex(value: bytes) -> str:
    return value.hex()


def _escaped(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


_CSV: dict[str, Callable[[Any], Any]] = {
    "decimal": _plain_decimal,
    "time": iso_ns,
    "flag": _flag,
    "float": repr,
    "json": _json,
    "bytes": _hex,
}


# -- JSON lines ------------------------------------------------------------------------------------------------


class JsonLines:
    """One object a line, with every column; what is absent is null. Decimals are text, as are times, in ISO 8601."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._names = [column.name for column in columns]
        self._shown = [_JSON_LINES.get(column.kind, _same) for column in columns]

    def write(self, rows: list[Row]) -> None:
        names, shown = self._names, self._shown
        for row in rows:
            values = [None if value is None else show(value) for show, value in zip(shown, row, strict=True)]
            self._file.write(_json(dict(zip(names, values, strict=True))) + "\n")

    def end(self) -> None:
        self._file.close()


_JSON_LINES: dict[str, Callable[[Any], Any]] = {"decimal": _plain_decimal, "time": iso_ns, "bytes": _hex}


# -- Parquet ---------------------------------------------------------------------------------------------------


class Parquet:
    """Columns with types: decimals as decimals, times as timestamps in UTC with nanoseconds.

    Parameters
    ----------
    wide : bool
        Whether decimals have 76 digits instead of 38.

    Raises
    ------
    AuditError
        If pyarrow is not installed; and by `write`, if a value does not fit in its column.
    """

    def __init__(self, path: Path, columns: Sequence[Column], wide: bool) -> None:
        try:
            self._pa: Any = importlib.import_module("pyarrow")
            parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise AuditError(
                "Parquet needs pyarrow: install it with `pip install eventstore[parquet]`, or export as csv or jsonl"
            ) from error
        pa = self._pa
        decimal = pa.decimal256(DIGITS_WIDE, DECIMALS) if wide else pa.decimal128(DIGITS, DECIMALS)
        types = {
            "text": pa.string(),
            "decimal": decimal,
            "time": pa.timestamp("ns", tz="UTC"),
            "flag": pa.bool_(),
            "integer": pa.int64(),
            "unsigned": pa.uint64(),
            "float": pa.float64(),
            "json": pa.string(),
            "bytes": pa.binary(),
        }
        self._columns = columns
        self._wide = wide
        self._schema = pa.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        values = zip(*rows, strict=True)
        arrays = [
            self._array(column, field.type, list(found), rows)
            for column, field, found in zip(self._columns, self._schema, values, strict=True)
        ]
        self._writer.write_batch(self._pa.record_batch(arrays, schema=self._schema))

    def _array(self, column: Column, kind: Any, values: list[Any], rows: list[Row]) -> Any:
        pa = self._pa
        if column.kind == "json":
            values = [None if value is None else _json(value) for value in values]
        elif column.kind == "time":
            for value, row in zip(values, rows, strict=True):
                if value is not None and value > TIME_MAX:
                    raise AuditError(
                        f"log position {row[0]}: {column.name} is {iso_ns(value)}, which a Parquet timestamp can not "
                        "hold; export as csv or jsonl"
                    )
            return pa.array(values, pa.int64()).cast(kind)
        try:
            return pa.array(values, kind)
        except pa.ArrowInvalid as error:
            for value, row in zip(values, rows, strict=True):
                self._check(column, value, row)
            raise AuditError(f"{column.name}: {error}") from error

    def _check(self, column: Column, value: Any, row: Row) -> None:
        digits = DIGITS_WIDE if self._wide else DIGITS
        if column.kind == "decimal" and value is not None and value.adjusted() >= digits - DECIMALS:
            raise AuditError(
                f"log position {row[0]}: {column.name} is {value:f}, and there is room for {digits - DECIMALS} digits "
                "before the point; export with wide decimals, or as csv or jsonl"
            )

    def end(self) -> None:
        self._writer.close()
