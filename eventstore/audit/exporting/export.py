"""A log as tables: orders, events, fills, positions, account states and the entries themselves, in files."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from eventstore import commands as c
from eventstore.audit.exporting.columns import TABLES
from eventstore.audit.exporting.folded import FillRows, OrderRows, PositionRows
from eventstore.audit.exporting.rows import Row, account_rows, log_row, order_event_row
from eventstore.audit.exporting.sheets import Csv, Format, JsonLines, Parquet, Sheet
from eventstore.audit.log import Log
from eventstore.audit.reading.entries import EVERYTHING
from eventstore.audit.reading.facts import FactReader, Facts, family_of
from eventstore.audit.reading.filters import Filter
from eventstore.chain import LogEntry
from eventstore.codec import Serializer
from eventstore.errors import AuditError, DamagedRecord
from eventstore.model.events import AccountState, OrderEvent

FORMATS = ("parquet", "jsonl", "csv")

_FAMILIES: dict[str, frozenset[str]] = {
    "orders": frozenset({"order"}),
    "order_events": frozenset({"order"}),
    "fills": frozenset({"order", "position"}),
    "positions": frozenset({"position"}),
    "account_states": frozenset({"account"}),
}
_FOLDED: dict[str, type[OrderRows] | type[PositionRows] | type[FillRows]] = {
    "orders": OrderRows,
    "fills": FillRows,
    "positions": PositionRows,
}


class Exported(NamedTuple):
    """A file that was written: of which table, and how many rows it has."""

    table: str
    path: Path
    rows: int


def export(
    log: Log,
    tables: Iterable[str],
    file_format: str,
    to: str | Path,
    wanted: Filter = EVERYTHING,
    *,
    wide_decimals: bool = False,
    escape_formulas: bool = False,
    serializer: Serializer | None = None,
    on_entry: Callable[[LogEntry], object] | None = None,
) -> list[Exported]:
    """Write tables of `log` as files. What is in memory does not grow with the log.

    A row of ``order_events``, ``account_states`` and ``log`` is there if its event or entry fits `wanted`. A row of
    ``orders``, ``positions`` and ``fills`` is there if one of its entries does; an order or position is shown as it was
    at the end of what `wanted` reaches.

    Parameters
    ----------
    tables : iterable of str
        Names of `TABLES`.
    file_format : str
        One of `FORMATS`.
    to : str or Path
        The directory for the files; it is made if it is not there. For a single table also the name of its file.
    wide_decimals : bool, default False
        Whether decimals in Parquet have 76 digits, 18 of them behind the point, instead of 38.
    escape_formulas : bool, default False
        Whether text in CSV that a spreadsheet would take for a formula gets an apostrophe before it.
    on_entry : callable, optional
        Is told of each entry that is read.

    Returns
    -------
    list of Exported
        In the order of `tables`. All files get their names at the end, or none does.

    Raises
    ------
    ValueError
        If there is no such table or format.
    AuditError
        If Parquet is asked for and pyarrow is not installed, or a value does not fit in its column.
    LogGap
        If entries are missing. Orders, positions and fills need the log from its beginning.
    DamagedRecord
        If an entry that belongs in one of the tables can not be read. The table ``log`` shows it with its error.
    OSError
        If the files can not be written.
    """
    names = list(dict.fromkeys(tables))
    for name in names:
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r:.40}; the tables are {', '.join(TABLES)}")
    if file_format not in FORMATS:
        raise ValueError(f"there is no format {file_format!r:.40}; the formats are {', '.join(FORMATS)}")
    formats: dict[str, Callable[[str, Path], Format]] = {
        "csv": functools.partial(_csv, escape_formulas),
        "jsonl": _jsonl,
        "parquet": functools.partial(_parquet, wide_decimals),
    }
    make = formats[file_format]
    paths = _paths(names, file_format, Path(to))
    with ExitStack() as stack:
        directory = next(iter(paths.values())).parent
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".export-", dir=directory)))
        sheets = {}
        for name, path in paths.items():
            sheets[name] = sheet = Sheet(path, functools.partial(make, name))
            stack.callback(sheet.discard)
        reading = _Reading(log, sheets, scratch, wanted, serializer)
        reading.run(on_entry)
        for sheet in sheets.values():
            sheet.finish()
        for sheet in sheets.values():
            sheet.publish()
    return [Exported(name, sheet.path, sheet.rows) for name, sheet in sheets.items()]


def _csv(escape_formulas: bool, table: str, path: Path) -> Format:
    return Csv(path, TABLES[table], escape_formulas)


def _jsonl(table: str, path: Path) -> Format:
    return JsonLines(path, TABLES[table])


def _parquet(wide: bool, table: str, path: Path) -> Format:
    return Parquet(path, TABLES[table], wide)


def _paths(names: list[str], file_format: str, to: Path) -> dict[str, Path]:
    if not names:
        raise ValueError(f"name a table; the tables are {', '.join(TABLES)}")
    if len(names) == 1 and not to.is_dir():
        if not to.parent.is_dir():
            raise AuditError(f"{to}: its directory is not there")
        return {names[0]: to}
    if to.exists() and not to.is_dir():
        raise AuditError(f"{to} is a file, and {len(names)} tables need a directory; name one, or a single table")
    to.mkdir(parents=True, exist_ok=True)
    return {name: to / f"{name}.{file_format}" for name in names}


class _Reading:
    """One reading of the log, which gives every table what belongs in it."""

    def __init__(
        self, log: Log, sheets: dict[str, Sheet], scratch: Path, wanted: Filter, serializer: Serializer | None
    ) -> None:
        self._log = log
        self._sheets = sheets
        self._wanted = wanted
        self._reader = FactReader(log.trader_id, serializer, remember=wanted.needs_memory)
        entries = max(log.end().position - log.start().position, 0)
        self._folds = {
            name: _FOLDED[name](scratch / name, entries, log.keys, self._reader.serializer)
            for name in sheets
            if name in _FOLDED
        }
        families = frozenset[str]().union(*(_FAMILIES.get(name, frozenset()) for name in sheets))
        self._numbers = frozenset(
            number
            for number, kind in c.COMMANDS.items()
            if family_of(kind) in families or kind in (c.Flushed, c.AddCurrency)
        )

    def run(self, on_entry: Callable[[LogEntry], object] | None) -> None:
        """Read the log, and write the rows."""
        try:
            if self._folds and self._log.archived_elsewhere():
                self._log.refuse_archived(1)
            for entry in self._entries():
                if on_entry is not None:
                    on_entry(entry)
                self._take(entry)
            for name, fold in self._folds.items():
                for row in fold.rows():
                    self._sheets[name].add(row)
        finally:
            for fold in self._folds.values():
                fold.close()

    def _entries(self) -> Iterator[LogEntry]:
        wanted = self._wanted
        after, since_ms = self._log.start().position, None
        if not self._folds and not wanted.needs_memory:
            if wanted.since.position is not None:
                after = max(after, wanted.since.position - 1)
            elif wanted.since.time_ns is not None:
                since_ms = wanted.since.time_ns // 1_000_000
        for entry in self._log.entries(after, wanted.until.position, since_ms):
            if wanted.is_over(entry):
                return
            yield entry

    def _take(self, entry: LogEntry) -> None:
        payload, wanted = entry.payload, self._wanted
        whole = "log" in self._sheets or wanted.needs_memory
        if not whole and len(payload) > 1 and payload[1] not in self._numbers and payload[1] in c.COMMANDS:
            return
        facts = self._reader.read(entry)
        fits = wanted.admits(facts)
        if fits and "log" in self._sheets:
            self._sheets["log"].add(log_row(facts, self._reader.serializer))
        if self._sheets.keys() == {"log"}:
            return
        if facts.command is None or (facts.error is not None and facts.family in ("order", "position", "account")):
            raise DamagedRecord(self._log.keys.log, entry.entry_id, str(facts.error))
        for fold in self._folds.values():
            fold.take(facts, fits)
        if fits and facts.events:
            self._events(facts)

    def _events(self, facts: Facts) -> None:
        name = {"order": "order_events", "account": "account_states"}.get(facts.family, "")
        sheet = self._sheets.get(name)
        if sheet is None:
            return
        for index, event in enumerate(facts.events):
            if self._wanted.fits_event(facts, event):
                for row in _rows(facts, index, event):
                    sheet.add(row)


def _rows(facts: Facts, index: int, event: Any) -> Iterable[Row]:
    if isinstance(event, OrderEvent):
        return [order_event_row(facts, index, event)]
    return account_rows(facts, index, event) if isinstance(event, AccountState) else ()
