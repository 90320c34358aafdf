"""The views of a log of any length: a fold whose memory does not grow with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from eventstore.projections import At, Place

_CACHE_KIB: Final = 48 << 10
_PENDING_MAX: Final = 20_000
_IDS_MAX: Final = 50_000
_ASKED_MAX: Final = 500

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE views (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, kind TEXT NOT NULL);
CREATE TABLE items (view INTEGER, name BLOB, value BLOB, PRIMARY KEY (view, name)) WITHOUT ROWID;
"""

_NONE: Final = 0
"""In the place of a view's id: there is no such view."""

HASH: Final = "hash"
SET: Final = "set"


class DiskViews:
    """The target of projections that `eventstore.projections.MemoryViews` is, in a temporary database.

    The database is a private file that the system deletes: what does not fit into its cache goes there. SQLite puts it
    into the directory that ``SQLITE_TMPDIR`` names, otherwise ``/var/tmp``. Names, fields and members are bytes, as a
    server has them. A member of a set is a field without a value.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")
        self._ids: dict[str, int] = {}
        self._last_id = 0
        self._written_id = 0
        # What was not written yet: views, with their kinds; by view, a value, or None where it was deleted.
        self._made_now: dict[str, tuple[int, str]] = {}
        self._pending: dict[int, dict[bytes, bytes | None]] = {}
        self._pending_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    # -- Target ------------------------------------------------------------------------------------------------

    def hset(self, key: str, field: str, value: bytes | str) -> None:
        self._put(self._made(key, HASH), field.encode(), value if isinstance(value, bytes) else value.encode())

    def hdel(self, key: str, field: str) -> None:
        view = self._id(key)
        if view is not None:
            self._put(view, field.encode(), None)

    def sadd(self, key: str, member: str) -> None:
        self._put(self._made(key, SET), member.encode(), b"")

    def srem(self, key: str, member: str) -> None:
        self.hdel(key, member)

    def place(self, member: str, place: Place) -> None:
        name = member.encode()
        for key in place.inside:
            self._put(self._made(key, SET), name, b"")
        self._remove(place.outside, name)

    def retire(self, key: str, lives: str) -> None:
        view = self._id(key)
        if view is None or not self._has_items(view):
            return
        n = self._number(lives, key) + 1
        kept = f"{key}{{{n}}}"
        self._delete(kept)
        if view > self._written_id:
            self._made_now[kept] = self._made_now.pop(key)
        else:
            self._database.execute("UPDATE views SET name = ? WHERE id = ?", (kept.encode(), view))
        self._remember(key, _NONE)
        self._remember(kept, view)
        self.hset(lives, key, str(n))

    def drop(self, key: str, lives: str, purged: str) -> None:
        for n in range(self._number(purged, key) + 1, self._number(lives, key) + 1):
            self._delete(f"{key}{{{n}}}")
        self._delete(key)
        self.hdel(lives, key)
        self.hdel(purged, key)

    def purge(
        self, key: str, lives: str, purged: str, at: At, member: str, sets: Sequence[str], hashes: Sequence[str]
    ) -> None:
        there = (
            self._number(lives, key) == at.lives
            and self._value(key, str(at.version - 1)) is not None
            and self._value(key, str(at.version)) is None
        )
        if there and self._value(sets[0], member) is not None:
            self.drop(key, lives, purged)
            self._remove((*sets, *hashes), member.encode())

    def forget(self, key: str, lives: str, purged: str, count: int, upto: int) -> None:
        gone = self._number(purged, key)
        if self._number(lives, key) == count and gone < upto <= count:
            for n in range(gone + 1, upto + 1):
                self._delete(f"{key}{{{n}}}")
            self.hset(purged, key, str(upto))

    def trim(self, key: str, lives: str, count: int, below: int) -> None:
        self._flush()
        versions = [int(field) for field in self.items(key.encode())]
        if self._number(lives, key) == count and any(version >= below for version in versions):
            for version in versions:
                if version < below:
                    self.hdel(key, str(version))

    def wipe(self) -> None:
        self._ids.clear()
        self._made_now.clear()
        self._pending.clear()
        self._pending_count = 0
        self._written_id = self._last_id
        self._database.execute("DELETE FROM items")
        self._database.execute("DELETE FROM views")

    # -- Reading -----------------------------------------------------------------------------------------------

    @property
    def age(self) -> int:
        """A mark: what is made later is younger."""
        return self._last_id

    def names(self, after: bytes, count: int, age: int) -> list[tuple[bytes, str]]:
        """Return the next `count` keys behind the name `after` that were made before `age`, each with its kind.

        The kind is ``hash`` or ``set``. Some may be empty.
        """
        self._flush()
        return self._database.execute(
            "SELECT name, kind FROM views WHERE name > ? AND id <= ? ORDER BY name LIMIT ?", (after, age, count)
        ).fetchall()

    def has(self, name: bytes, age: int) -> bool:
        """Whether the key is there, if only empty, and was made before `age`."""
        self._flush()
        view = self._stored_id(name)
        return view is not None and view <= age

    def items(self, name: bytes, after: bytes | None = None, count: int = -1) -> dict[bytes, bytes]:
        """Return fields and values, or members, of a key by their names: all, or `count` behind `after`."""
        self._flush()
        rows = self._database.execute(
            "SELECT items.name, value FROM items JOIN views ON id = view "
            "WHERE views.name = ? AND items.name >= ? AND items.name IS NOT ? ORDER BY items.name LIMIT ?",
            (name, after or b"", after, count),
        )
        return dict(rows.fetchall())

    def those_of(self, name: bytes, fields: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return those of `fields` that the key has, with their values."""
        self._flush()
        view = self._stored_id(name)
        found: dict[bytes, bytes] = {}
        for begin in range(0, len(fields), _ASKED_MAX):
            asked = fields[begin : begin + _ASKED_MAX]
            places = ",".join("?" * len(asked))
            rows = self._database.execute(
                f"SELECT name, value FROM items WHERE view = ? AND name IN ({places})",  # noqa: S608 - question marks
                (view, *asked),
            )
            found.update(rows.fetchall())
        return found

    # -- Storing -----------------------------------------------------------------------------------------------

    def _remove(self, keys: Sequence[str], name: bytes) -> None:
        for key in keys:
            view = self._id(key)
            if view is not None:
                self._put(view, name, None)

    def _put(self, view: int, name: bytes, value: bytes | None) -> None:
        held = self._pending.get(view)
        if held is None:
            held = self._pending[view] = {}
        if name not in held:
            self._pending_count += 1
            if self._pending_count > _PENDING_MAX:
                self._flush()
                self._pending_count = 1
                held = self._pending[view] = {}
        held[name] = value

    def _flush(self) -> None:
        if self._made_now:
            made = [(view, name.encode(), kind) for name, (view, kind) in self._made_now.items()]
            self._database.executemany("INSERT INTO views VALUES (?, ?, ?)", made)
            self._made_now.clear()
        self._written_id = self._last_id
        if not self._pending_count:
            return
        # In the order of the table: what is written together is written where it stands together.
        pending = sorted(self._pending.items())
        kept, deleted = _rows(pending, kept=True), _rows(pending, kept=False)
        self._database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", kept)
        self._database.executemany("DELETE FROM items WHERE view = ? AND name = ? AND ? IS NULL", deleted)
        self._pending.clear()
        self._pending_count = 0

    def _stored_id(self, name: bytes) -> int | None:
        row = self._database.execute("SELECT id FROM views WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _id(self, key: str) -> int | None:
        view = self._ids.get(key)
        if view is None:
            made = self._made_now.get(key)
            view = (self._stored_id(key.encode()) or _NONE) if made is None else made[0]
            self._remember(key, view)
        return view or None

    def _made(self, key: str, kind: str) -> int:
        view = self._id(key)
        if view is None:
            self._last_id = view = self._last_id + 1
            self._made_now[key] = (view, kind)
            self._remember(key, view)
        return view

    def _remember(self, key: str, view: int) -> None:
        if len(self._ids) >= _IDS_MAX:
            self._ids.clear()
        self._ids[key] = view

    def _delete(self, key: str) -> None:
        view = self._id(key)
        if view is None:
            return
        self._pending_count -= len(self._pending.pop(view, ()))
        self._remember(key, _NONE)
        if self._made_now.pop(key, None) is None:
            self._database.execute("DELETE FROM items WHERE view = ?", (view,))
            self._database.execute("DELETE FROM views WHERE id = ?", (view,))

    def _has_items(self, view: int) -> bool:
        held = self._pending.get(view, {})
        if any(value is not None for value in held.values()):
            return True
        if view > self._written_id:
            return False
        rows = self._database.execute("SELECT name FROM items WHERE view = ?", (view,))
        return any(name not in held for (name,) in rows)

    def _value(self, key: str, field: str) -> bytes | None:
        view = self._id(key)
        if view is None:
            return None
        name = field.encode()
        held = self._pending.get(view, {})
        if name in held:
            return held[name]
        if view > self._written_id:
            return None
        row = self._database.execute("SELECT value FROM items WHERE view = ? AND name = ?", (view, name)).fetchone()
        return None if row is None else bytes(row[0])

    def _number(self, key: str, field: str) -> int:
        return int(self._value(key, field) or b"0")


def _rows(
    pending: list[tuple[int, dict[bytes, bytes | None]]], *, kept: bool
) -> Iterator[tuple[int, bytes, bytes | None]]:
    for view, held in pending:
        for name, value in sorted(held.items()):
            if (value is not None) is kept:
                yield view, name, value
