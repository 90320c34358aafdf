"""What was applied and is kept: always the last of it, as it was, and no more than allowed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.journal import Journal, record_bytes
from eventstore.retained import ENTRY_BYTES, STEPS, JournalWindow, MemoryWindow
from eventstore.storage.appender import Entry
from workers.watermark import Watermark

NOW_NS = 1_700_000_000_000_000_000


def entry(number: int) -> Entry:
    return Entry.of(NOW_NS + number * 1_000_000, c.Add(f"key-{number}", b"x" * (number % 50)))


@given(batches=st.lists(st.integers(1, 10), max_size=12), bytes_max=st.integers(0, 5000), start=st.integers(0, 9))
def test_memory_keeps_the_last_entries_that_fit(batches: list[int], bytes_max: int, start: int) -> None:
    """Of whatever was kept, the newest that fit in the bound come back, from any position on, as they were."""
    window = MemoryWindow(bytes_max, start)
    assert window.first == start + 1
    entries: list[Entry] = []
    for size in batches:
        batch = [entry(start + len(entries) + n + 1) for n in range(size)]
        entries += batch
        window.keep(start + len(entries), batch)
        assert start < window.first <= start + len(entries) + 1
        kept = entries[window.first - start - 1 :]
        assert sum(len(one.payload) + ENTRY_BYTES for one in kept) <= bytes_max
        more = entries[window.first - start - 2 : window.first - start - 1] if window.first > start + 1 else []
        assert not more or sum(len(one.payload) + ENTRY_BYTES for one in more + kept) > bytes_max
        for position in range(window.first - 1, start + len(entries) + 1):
            assert list(window.since(position)) == entries[position - start :]


def test_what_is_read_from_memory_does_not_change_while_more_is_kept() -> None:
    window = MemoryWindow(3 * ENTRY_BYTES + 100, 0)
    window.keep(2, [entry(1), entry(2)])
    reading = window.since(0)
    assert next(reading) == entry(1)
    window.keep(9, [entry(n) for n in range(3, 10)])
    assert list(reading) == [entry(2)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(
        tmp_path, "T-1", schema_version=1, owner="o", fsync="never", segment_bytes=1 << 14, bytes_max=1 << 22
    )
    yield journal
    journal.close()


def test_the_journal_is_let_go_behind_what_is_durable_and_what_is_retained(journal: Journal) -> None:
    """It keeps everything that is not durable, and the last bytes of what is."""
    applied, durable = Watermark(), Watermark()
    trims: list[int] = []
    journal.trim = trims.append  # type: ignore[method-assign]
    window = JournalWindow(journal, 1000, applied, durable)
    sizes = {}
    for number in range(1, 201):
        one = entry(number)
        sizes[number] = record_bytes(len(one.payload))
        assert journal.append(NOW_NS, one.payload) == number
        durable.advance(number - 30)
        applied.advance(number)
        window.keep(number, [one])
        if trims[-1]:
            assert trims[-1] <= durable.position
            assert sum(size for position, size in sizes.items() if trims[-1] < position <= number) >= 1000
    assert trims[-1] > 100, "nothing was let go"
    assert journal.settled == 200, "what is applied needs no sync any more"
    assert window.first == 1
    assert [one.payload for one in window.since(190)] == [entry(number).payload for number in range(191, 201)]


def test_what_is_durable_may_go_where_there_is_no_room_otherwise(journal: Journal) -> None:
    """Though nothing is applied any more: the journal asks when it looks for room. What the server lost is needed."""
    applied, durable = Watermark(), Watermark()
    window = JournalWindow(journal, 1000, applied, durable)
    for number in range(1, 201):
        journal.append(NOW_NS, entry(number).payload)
        applied.advance(number)
        window.keep(number, [entry(number)])
    assert journal.to_trim == journal.spare() == 0
    durable.advance(150)
    assert journal.spare() == 150
    durable.advance(300)
    assert journal.spare() == 200
    applied.retreat(100)
    assert journal.spare() == 100


@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=300), bytes_max=st.integers(0, 100_000))
def test_of_a_journal_so_many_bytes_are_kept_and_little_more(sizes: list[int], bytes_max: int) -> None:
    """Whatever comes in a batch, in few steps."""
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal.open(
            directory, "T-1", schema_version=1, owner="o", fsync="never", segment_bytes=1 << 17, bytes_max=1 << 22
        )
        try:
            applied = Watermark()
            window = JournalWindow(journal, bytes_max, applied, None)
            records = []
            for last, size in enumerate(sizes, 1):
                applied.advance(last)
                window.keep(last, [Entry(0, bytes(size))])
                records.append(record_bytes(size))
                kept = sum(records[journal.to_trim :])
                largest = max(records)
                assert kept >= min(bytes_max, sum(records))
                assert kept < bytes_max + bytes_max // STEPS + 2 * largest
                assert len(window._steps) <= STEPS + 2
        finally:
            journal.close()
