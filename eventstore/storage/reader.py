"""The read side: few round trips, no SCAN."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

import redis

from eventstore.chain import LogEntry, Run
from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.storage.faults import translated
from eventstore.storage.hashes import read_hashes
from eventstore.storage.pages import read_pages

PAGE = 500


@dataclass(frozen=True, slots=True)
class Fence:
    """The state of the log: the last position and who may write; and which rebuild wrote the views last."""

    epoch: int
    position: int
    chain: bytes
    last_id: str
    owner: str
    claimed_ms: int
    rebuilt: bytes


def fence_of(key: str, fields: Mapping[bytes, bytes]) -> Fence | None:
    """Return the fence that the hash `key` is, or None if it has no fields. Raises `DamagedRecord`."""
    if not fields:
        return None
    try:
        return Fence(
            epoch=int(fields[b"epoch"]),
            position=int(fields[b"position"]),
            chain=fields[b"chain"],
            last_id=fields[b"id"].decode(),
            owner=fields[b"owner"].decode(),
            claimed_ms=int(fields[b"claimed_ms"] or 0),
            rebuilt=fields.get(b"rebuilt", b""),
        )
    except (KeyError, ValueError) as error:
        raise DamagedRecord(key, "", f"not a fence: {error}") from error


@dataclass(frozen=True, slots=True)
class Archived:
    """How far the log was archived: what is up to there is in the archive, and may be gone from the stream."""

    position: int
    chain: bytes
    last_id: str


class Reader:
    """Reads the keys of one trader. Each method raises a `StorageError` that names what it was reading."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        # As it comes: the driver's own form of it, a dict an entry, takes as long as reading it does.
        for command in ("XRANGE", "XREVRANGE", "XREAD"):
            client.set_response_callback(command, _as_it_is)

    @property
    def client(self) -> redis.Redis:
        """What it reads through."""
        return self._client

    def fence(self) -> Fence | None:
        """Return the fence, or None where this trader has no log."""
        with translated("read the fence"):
            fields = cast(dict[bytes, bytes], self._client.hgetall(self._keys.writer))
        return fence_of(self._keys.writer, fields)

    def hash(self, key: str) -> dict[str, bytes]:
        """Return all fields of a hash; empty if there is none."""
        with translated(f"read {key}"):
            fields = cast(dict[bytes, bytes], self._client.hgetall(key))
        return {_text(key, name): value for name, value in fields.items()}

    def field(self, key: str, field: str) -> bytes | None:
        """Return one field of a hash, or None."""
        with translated(f"read {key} {field}"):
            return cast("bytes | None", self._client.hget(key, field))

    def fields(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """Return some fields of a hash, None for each that is not there."""
        if not fields:
            return []
        with translated(f"read {len(fields)} fields of {key}"):
            return cast("list[bytes | None]", self._client.hmget(key, list(fields)))

    def field_names(self, key: str) -> list[str]:
        """Return the names of the fields of a hash; none if there is no such hash."""
        with translated(f"read the names in {key}"):
            return [_text(key, name) for name in cast(list[bytes], self._client.hkeys(key))]

    def hashes(self, keys: Iterable[str]) -> Iterator[tuple[str, dict[bytes, bytes] | DamagedRecord]]:
        """Yield each key and its fields, a page of keys to a round trip, and the next one asked for meanwhile.

        The fields of a key that does not exist are empty; what is no hash comes as a `DamagedRecord`.
        """
        return read_hashes(self._client, keys)

    def existing(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield those of `keys` that exist, a page to a round trip."""
        source = iter(keys)
        while page := list(islice(source, PAGE)):
            with translated(f"look for {len(page)} keys from {page[0]}"):
                pipeline = self._client.pipeline(transaction=False)
                for key in page:
                    pipeline.exists(key)
                found = pipeline.execute()
            yield from (key for key, count in zip(page, found, strict=True) if count)

    def is_member(self, key: str, member: str) -> bool:
        """Return whether the set `key` has `member`."""
        with translated(f"read {key}"):
            return bool(self._client.sismember(key, member))

    def members(self, key: str) -> set[str]:
        """Return the members of a set; empty if there is none."""
        with translated(f"read {key}"):
            members = cast(set[bytes], self._client.smembers(key))
        return _texts(key, members)

    def difference(self, key: str, without: str, parts: Sequence[str] = ()) -> set[str]:
        """Return the members of the set `key` that are not in the set `without`.

        `parts` are sets of such members. If they have all of them, it takes no longer than those are large.
        """
        with translated(f"read {key} without {without}"):
            if parts:
                pipeline = self._client.pipeline(transaction=False)
                pipeline.scard(key)
                pipeline.scard(without)
                for part in parts:
                    pipeline.smembers(part)
                count, others, *found = pipeline.execute()
                members: set[bytes] = set().union(*found)
                if len(members) == count - others:
                    return _texts(key, members)
            members = cast(set[bytes], self._client.sdiff([key, without]))
        return _texts(key, members)

    def log(self, after: int = 0, count: int = 1000, since_ms: int | None = None) -> Iterator[LogEntry]:
        """As `runs`, one by one."""
        return chain.from_iterable(run.entries() for run in self.runs(after, count, since_ms))

    def runs(self, after: int = 0, count: int = 1000, since_ms: int | None = None) -> Iterator[Run]:
        """Yield the entries of the log behind position `after`, `count` to a round trip.

        `since_ms`, in UNIX milliseconds, leaves out what was accepted before, without reading it. What no writer of
        this library wrote comes without a payload.
        """
        # Positions rise with ids, so the first page is found from the start of the log only once.
        low = b"-" if since_ms is None else b"%d" % since_ms
        for rows in read_pages(self._client, self._keys.log, low, count):
            run = _run(rows)
            if min(run.positions) <= after:
                run = run.only(position > after for position in run.positions)
            if len(run):
                yield run

    def back(self, count: int = 1000) -> Iterator[LogEntry]:
        """Yield the entries of the log from the last one to the first, `count` to a round trip, as `log` does."""
        high = b"+"
        while True:
            with translated(f"read {self._keys.log} back from {high.decode()}"):
                rows = cast(list[Any], self._client.xrevrange(self._keys.log, max=high, min="-", count=count))
            for entry_id, fields in rows:
                yield entry_of(entry_id, fields)
            if len(rows) < count:
                return
            high = b"(" + rows[-1][0]

    def behind(self, last_id: str, wait_s: float, count: int = 1000) -> list[LogEntry]:
        """Return up to `count` entries behind the one with id `last_id`; waits up to `wait_s` seconds for the first."""
        with translated(f"wait for {self._keys.log} behind {last_id}"):
            found = cast(
                "list[Any] | None",
                self._client.xread({self._keys.log: last_id}, count=count, block=max(1, int(wait_s * 1000))),
            )
        return [entry_of(entry_id, fields) for _, rows in found or () for entry_id, fields in rows]

    def first(self) -> LogEntry | None:
        """Return the first entry of the log, or None if it has none."""
        return next(self.log(count=1), None)

    def last(self) -> LogEntry | None:
        """Return the last entry of the log, or None if it has none."""
        with translated(f"read the end of {self._keys.log}"):
            rows = cast(list[Any], self._client.xrevrange(self._keys.log, count=1))
        return entry_of(*rows[0]) if rows else None

    def last_before(self, ms: int) -> LogEntry | None:
        """Return the last entry that was accepted before `ms`, UNIX milliseconds, or None if there is none."""
        if ms <= 0:
            return None
        with translated(f"read {self._keys.log} back from {ms}"):
            rows = cast(list[Any], self._client.xrevrange(self._keys.log, max=b"%d" % (ms - 1), count=1))
        return entry_of(*rows[0]) if rows else None

    def archived(self) -> Archived | None:
        """Return how far the log was archived, or None if it never was."""
        with translated(f"read {self._keys.archived}"):
            fields = cast(dict[bytes, bytes], self._client.hgetall(self._keys.archived))
        if not fields:
            return None
        try:
            return Archived(int(fields[b"position"]), fields[b"chain"], fields[b"id"].decode())
        except (KeyError, ValueError) as error:
            raise DamagedRecord(self._keys.archived, "", f"not how far a log was archived: {error}") from error

    def sizes(self) -> dict[str, int]:
        """Return how many entries each collection, index and set has, by the last part of its key's name."""
        names = [*self._keys.fixed_views()]
        with translated("count the views"):
            kinds = self._client.pipeline(transaction=False)
            for name in names:
                kinds.type(name)
            counts = self._client.pipeline(transaction=False)
            for name, kind in zip(names, kinds.execute(), strict=True):
                if kind == b"set":
                    counts.scard(name)
                else:
                    counts.hlen(name)
            found = counts.execute()
        return {name.removeprefix(self._keys.prefix): count for name, count in zip(names, found, strict=True)}

    def names(self) -> list[str]:
        """Return the name of every key of this trader that exists, sorted; from the indexes, without a scan."""
        k = self._keys
        purged = self.hash(k.lives_purged)
        names = [
            *(k.prefix + name for name, count in self.sizes().items() if count),
            *(k.order(member) for member in self.members(k.orders)),
            *(k.position(member) for member in self.members(k.positions)),
            # An account has no key once all its events are deleted.
            *self.existing(map(k.account, self.members(k.accounts))),
            *(
                f"{key}{{{n}}}"
                for key, count in self.hash(k.lives).items()
                for n in range(int(purged.get(key, 0)) + 1, int(count) + 1)
            ),
        ]
        if self.fence() is not None:
            names += [k.log, k.schema, k.writer, *self.existing([k.archived])]
        return sorted(names)

    def log_size(self) -> tuple[int, int]:
        """Return how many entries the log has, and the bytes of memory that it takes."""
        with translated(f"measure {self._keys.log}"):
            entries = self._client.xlen(self._keys.log)
            memory = self._client.memory_usage(self._keys.log, samples=0) if entries else 0
        return entries, memory or 0

    def memory(self, keys: Iterable[str]) -> int:
        """Return the bytes of memory that `keys` take together."""
        total = 0
        source = iter(keys)
        while page := list(islice(source, PAGE)):
            with translated("measure the views"):
                pipeline = self._client.pipeline(transaction=False)
                for key in page:
                    pipeline.memory_usage(key, samples=0)
                total += sum(size or 0 for size in pipeline.execute())
        return total


def _texts(key: str, values: set[bytes]) -> set[str]:
    try:
        return set(map(bytes.decode, values))
    except UnicodeDecodeError:
        return {_text(key, value) for value in values}  # which names it


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DamagedRecord(key, repr(value), f"not UTF-8: {error}") from error


def _as_it_is(reply: Any, **options: Any) -> Any:
    return reply


def entry_of(entry_id: bytes, fields: list[bytes] | None) -> LogEntry:
    """Return an entry of a log as the server gives it. What no writer of this library wrote has no payload."""
    text = entry_id.decode()
    ms, _, position = text.partition("-")
    return LogEntry(text, int(position), int(ms), *_stored(fields))


def _run(rows: list[Any]) -> Run:
    ids, fields = zip(*rows, strict=True)
    numbers = [*map(int, b"-".join(ids).split(b"-"))]
    payloads, heads = zip(*map(_stored, fields), strict=True)
    return Run(numbers[::2], numbers[1::2], payloads, heads, ids)


def _stored(fields: list[bytes] | None) -> tuple[bytes, bytes | None]:
    match fields:
        case [b"e", payload]:
            return payload, None
        case [b"e", payload, b"h", head]:
            return payload, head
        case _:
            return b"", None
