"""The batch former: entries in order, bounded in count and bytes, never kept longer than asked."""

from hypothesis import given
from hypothesis import strategies as st

from workers.batch import BatchFormer

sizes = st.integers(0, 120)
bounds = st.tuples(st.integers(1, 6), st.integers(1, 100))


@given(bounds, st.lists(sizes))
def test_batches_keep_the_order_and_the_bounds(bound: tuple[int, int], entries: list[int]) -> None:
    """Every entry is in one batch, in its place; a batch is within both bounds, or one entry over `bytes_max`."""
    count_max, bytes_max = bound
    former: BatchFormer[tuple[int, int]] = BatchFormer(count_max, bytes_max, 1.0)
    batches: list[list[tuple[int, int]]] = []
    for number, size in enumerate(entries):
        if not former.fits(size):
            batches.append(former.cut())
        if former.add((number, size), size, 0.0):
            batches.append(former.cut())
    batches.append(former.cut())
    assert [entry for batch in batches for entry in batch] == list(enumerate(entries))
    for batch in batches:
        assert len(batch) <= count_max
        assert sum(size for _, size in batch) <= bytes_max or len(batch) == 1
    assert len(former) == 0


@given(bounds, st.lists(sizes, min_size=1))
def test_full_and_fits_agree(bound: tuple[int, int], entries: list[int]) -> None:
    """A batch that is full takes nothing that has a size; one that is empty takes anything."""
    former: BatchFormer[int] = BatchFormer(*bound, 1.0)
    assert former.fits(10**9)
    for size in entries:
        if former.add(size, size, 0.0):
            assert not former.fits(1)
            former.cut()
    former.cut()
    assert former.fits(10**9)


@given(st.floats(0, 10), st.lists(st.floats(0, 100), min_size=1))
def test_the_oldest_entry_lingers_no_longer_than_asked(linger_s: float, waits: list[float]) -> None:
    """A batch is due `linger_s` after its first entry, whenever the others came, and the next one counts anew."""
    former: BatchFormer[int] = BatchFormer(1000, 1000, linger_s)
    for start in (50.0, 7_000.0):
        now = start
        for wait in waits:
            former.add(0, 1, now)
            now += wait
        assert former.due_in(start) == start + linger_s - start
        assert (former.due_in(now) <= 0) == (start + linger_s <= now)
        former.cut()
