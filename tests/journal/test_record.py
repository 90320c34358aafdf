"""Records in their bytes: what is read is what was written, whole, or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from eventstore.journal.record import JournalRecord, pack, parse, record_bytes, start_value

U64 = st.integers(0, 2**64 - 1)
PAYLOADS = st.binary(max_size=80)
STREAMS = st.tuples(st.integers(1, 2**62), st.lists(st.tuples(U64, PAYLOADS), min_size=1, max_size=6))


def stream(first: int, parts: list[tuple[int, bytes]]) -> list[JournalRecord]:
    return [JournalRecord(first + number, *part) for number, part in enumerate(parts)]


@given(STREAMS, st.integers(0, 1 << 40), st.sampled_from((0, 8, 24, 100)))
def test_records_come_back_as_they_were(of: tuple[int, list[tuple[int, bytes]]], number: int, zeros: int) -> None:
    """Any payload, time and position, in any segment; what follows is either nothing or an end."""
    records = stream(*of)
    start = start_value(number)
    data = b"".join(pack(start, record) for record in records)
    found = parse(data + bytes(zeros), start, records[0].position)
    assert found.records == records
    assert found.offset == len(data) == sum(record_bytes(len(record.payload)) for record in records)
    assert found.ending == ("end" if zeros else "more")


@given(STREAMS, st.data())
def test_a_record_that_is_cut_is_not_read(of: tuple[int, list[tuple[int, bytes]]], data: st.DataObject) -> None:
    """Cut anywhere, whole records before the cut are read, and more bytes are asked for."""
    records = stream(*of)
    packed = [pack(7, record) for record in records]
    cut = data.draw(st.integers(0, sum(map(len, packed)) - 1))
    found = parse(b"".join(packed)[:cut], 7, None)
    whole = [record for number, record in enumerate(records) if sum(map(len, packed[: number + 1])) <= cut]
    assert (found.records, found.ending) == (whole, "more")


@given(STREAMS, st.data())
def test_a_byte_that_changed_is_noticed(of: tuple[int, list[tuple[int, bytes]]], data: st.DataObject) -> None:
    """Any change of any one byte, the padding included, ends the records before it."""
    records = stream(*of)
    packed = [pack(7, record) for record in records]
    stored = bytearray(b"".join(packed))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    before = [record for number, record in enumerate(records) if sum(map(len, packed[: number + 1])) <= place]
    found = parse(bytes(stored), 7, records[0].position)
    assert found.records == before
    assert found.ending in ("broken", "more")
    assert found.offset == sum(record_bytes(len(record.payload)) for record in before)


def test_a_record_of_another_segment_or_place_is_none() -> None:
    data = pack(start_value(1), JournalRecord(5, 1, b"five"))
    assert parse(data, start_value(1), 5).records
    assert parse(data, start_value(2), 5).ending == "broken"
    assert "position 5 stands where 4 belongs" in parse(data, start_value(1), 4).reason
    assert parse(data, start_value(1), 4, step=False).records
    assert not parse(data, start_value(1), 6, step=False).records
