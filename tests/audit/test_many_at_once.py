"""What is done with many entries at once comes out as if they were taken one by one, on any log, damaged or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import Fold
from eventstore.audit.archive.ahead import ahead
from eventstore.audit.archive.check import check
from eventstore.audit.archive.manifest import Segment
from eventstore.audit.archive.segment import SegmentReader, SegmentWriter
from eventstore.chain import BEGIN, GENESIS, LogEntry, Run, link, next_head
from eventstore.errors import CodecError, DamagedRecord
from eventstore.keys import Keys
from tests.support.archives import Writer
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.histories import any_command, histories
from tests.support.redis_server import RedisServer
from tests.support.tampering import Row, put, rows, verified

ONE_BY_ONE = patch.object(Run, "goes_on", lambda *_: False)
"""As if something might be wrong everywhere."""

HEAD = bytes(range(32))
PAYLOADS = st.sampled_from(
    [
        c.encode(c.Add("key", b"another")),
        c.encode(c.Opened(1, {})),
        c.encode(c.Flushed(3, HEAD)),
        msgpack.packb([5, 2, 1]),
        b"\xc1",
        b"",
    ]
)
COMMANDS = st.sampled_from(list(c.KINDS)).flatmap(any_command)


def sealed(commands: list[c.Command], ends: set[int], ms: int = 1_700_000_000_000) -> list[LogEntry]:
    """A log in batches that end at those places and with the last entry."""
    found: list[LogEntry] = []
    head, links = GENESIS, list[bytes]()
    for place, command in enumerate(commands):
        entry_id, payload = f"{ms + place}-{place + 1}", c.encode(command)
        links.append(link(entry_id.encode(), payload))
        ended = place in ends or place == len(commands) - 1
        if ended:
            head = next_head(head, links)
            links = []
        found.append(LogEntry(entry_id, place + 1, ms + place, payload, head if ended else None))
    return found


# -- Verifying -------------------------------------------------------------------------------------------------

Damage = Callable[[list[Row], int], list[Row]]


def changed(log: list[Row], at: int, how: Callable[[Row], Row]) -> list[Row]:
    return [*log[:at], how(log[at]), *log[at + 1 :]]


def moved(row: Row, later_ms: int, further: int) -> Row:
    ms, _, position = row.entry_id.partition(b"-")
    return row._replace(entry_id=b"%d-%d" % (int(ms) + later_ms, max(0, int(position) + further)))


damages: st.SearchStrategy[Damage] = st.one_of(
    st.just(lambda log, at: [*log[:at], *log[at + 1 :]]),
    st.just(lambda log, at: changed(log, at, lambda row: row._replace(fields=row.fields[:2]))),
    st.just(lambda log, at: changed(log, at, lambda row: row._replace(fields=(b"any", b"thing")))),
    st.sampled_from([HEAD, b"", b"short"]).map(
        lambda head: lambda log, at: changed(log, at, lambda row: row._replace(fields=(*row.fields[:2], b"h", head)))
    ),
    PAYLOADS.map(lambda payload: lambda log, at: changed(log, at, lambda row: row.with_payload(payload))),
    st.tuples(st.integers(0, 9), st.integers(-3, 3)).map(
        lambda by: lambda log, at: changed(log, at, lambda row: moved(row, *by))
    ),
    st.tuples(st.integers(0, 9), st.integers(-3, 3)).map(lambda by: lambda log, at: [*log, moved(log[at], *by)]),
)


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client(protocol=2) as connection:
        yield connection


@effort(120)
@given(histories(), st.sets(st.integers(0, 39)), st.lists(st.tuples(damages, st.integers(0, 39)), max_size=3))
def test_a_log_verifies_as_it_does_entry_by_entry(
    redis_server: RedisServer,
    client: Redis,
    commands: list[c.Command],
    ends: set[int],
    damaged: list[tuple[Damage, int]],
) -> None:
    client.flushdb()
    batches: list[list[c.Command]] = [[]]
    for place, command in enumerate([c.Opened(1, {}), *commands]):
        batches[-1].append(command)
        if place in ends:
            batches.append([])
    with Writer(client) as writer:
        for batch in filter(None, batches):
            writer.batch(batch, later_ms=1)
    log = rows(client)
    for damage, at in damaged:
        log = damage(log, at % len(log)) if log else log
    assume(log)
    put(client, {row.entry_id: row for row in log}.values())
    report = verified(redis_server.url)
    with ONE_BY_ONE:
        assert verified(redis_server.url) == report


@effort(150)
@given(
    st.lists(COMMANDS, min_size=1, max_size=30),
    st.sets(st.integers(0, 29)),
    st.lists(
        st.tuples(st.sampled_from(["position", "accepted_ms", "payload", "chain"]), st.integers(0, 29)), max_size=2
    ),
    st.integers(-2, 2),
    st.integers(1, 9),
)
def test_a_segment_is_checked_as_it_is_entry_by_entry(
    tmp_path_factory: pytest.TempPathFactory,
    commands: list[c.Command],
    ends: set[int],
    damaged: list[tuple[str, int]],
    by: int,
    block_entries: int,
) -> None:
    """One that was sealed with such entries in it, so that each of its checksums fits."""
    entries = sealed(commands, ends)
    right = entries[0], entries[-1]
    for name, at in damaged:
        entry = entries[at % len(entries)]
        values: dict[str, Any] = {
            "position": entry.position + by,
            "accepted_ms": entry.accepted_ms + by,
            "payload": entry.payload + b"!" * abs(by),
            "chain": HEAD if by > 0 else None,
        }
        entry = entry._replace(**{name: values[name]})
        entries[at % len(entries)] = entry._replace(entry_id=f"{entry.accepted_ms}-{entry.position}")
    path = tmp_path_factory.mktemp("segment") / "one.seg"
    with patch("eventstore.audit.archive.segment._BLOCK_ENTRIES", block_entries):
        writer = SegmentWriter(path, TRADER, BEGIN, 1)
        writer.append(entries)
        done = writer.finish()
    with SegmentReader(path) as reader:
        assert [entry for run in reader.all(reader.blocks) for entry in run.entries()] == entries
    segment = Segment(
        path.name, 1, right[1].position, right[0].entry_id, right[1].entry_id, len(entries), done.size, done.digest,
        GENESIS, right[1].chain or b"", 1,
    )  # fmt: skip
    found = list(check(path, segment, TRADER))
    with ONE_BY_ONE:
        assert list(check(path, segment, TRADER)) == found
    if not damaged:
        assert found == []


# -- Decoding and folding --------------------------------------------------------------------------------------


def outcome(decode: Callable[[bytes], c.Command], data: bytes) -> str:
    try:
        return repr(decode(data))
    except CodecError as error:
        return f"{type(error).__name__}: {error}"


@effort(600)
@given(
    COMMANDS.map(c.encode),
    st.integers(0, 11),
    st.one_of(st.none(), st.booleans(), st.integers(-2, 300), st.floats(), st.text(max_size=2), st.binary(max_size=2))
    | st.lists(st.none() | st.binary(max_size=2), max_size=2)
    | st.builds(msgpack.ExtType, st.integers(0, 9), st.just(b"")),
)
def test_a_command_is_decoded_in_one_expression_as_field_by_field(data: bytes, place: int, value: Any) -> None:
    """Also one that somebody has changed: what is wrong with it is said in the same words."""
    row = msgpack.unpackb(data)
    row[place % len(row)] = value
    for each in (data, msgpack.packb(row), msgpack.packb(row[:place]), data[:place], data + b"\x00", data[1:]):
        assert outcome(c.decode, each) == outcome(c._decoded, each)


@pytest.mark.parametrize("data", [msgpack.packb(b"\x05\x01\x07"), msgpack.packb({5: 1}), msgpack.packb("abc"), b""])
def test_what_only_looks_like_a_command_is_none(data: bytes) -> None:
    with pytest.raises(CodecError):
        c.decode(data)


@effort(150)
@given(histories(), st.none() | st.tuples(st.integers(0, 39), PAYLOADS))
def test_a_run_is_folded_as_its_entries_are(commands: list[c.Command], damage: tuple[int, bytes] | None) -> None:
    """Where one can not be read, those before it are applied."""
    entries = sealed(commands or [c.Heartbeat(1)], set())
    if damage is not None:
        at = damage[0] % len(entries)
        entries[at] = entries[at]._replace(payload=damage[1])
    run = Run.of(entries)
    assert run.entries() == entries
    one, other = Fold(Keys(TRADER)), Fold(Keys(TRADER))
    said: list[str] = []
    for fold, apply in ((one, lambda: one.apply_all(run)), (other, lambda: [other.apply(each) for each in entries])):
        try:
            apply()
        except (CodecError, DamagedRecord) as error:
            said.append(f"{type(error).__name__}: {error}")
        said.append(f"{fold.position} {fold.accepted_ms} {fold.views.hashes} {sorted(fold.views.sets)}")
    assert said[: len(said) // 2] == said[len(said) // 2 :]


# -- Ahead -----------------------------------------------------------------------------------------------------


def test_what_is_done_ahead_comes_in_order() -> None:
    assert list(ahead(str, range(100))) == [str(number) for number in range(100)]
    assert list(ahead(str, ())) == []


def test_the_first_is_done_without_a_thread() -> None:
    begun = threading.active_count()
    assert next(iter(ahead(lambda _: threading.current_thread(), range(9)))) is threading.current_thread()
    assert threading.active_count() == begun


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    def work(number: int) -> int:
        return 6 // (3 - number)

    source = ahead(work, range(9))
    assert [next(source) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(source)
    assert list(source) == []


def test_whoever_goes_away_leaves_no_thread() -> None:
    begun = threading.active_count()
    source = ahead(str, range(100))
    for _ in range(3):
        next(source)
    source.close()  # type: ignore[attr-defined]
    assert threading.active_count() == begun
