"""Reading beside the writing: everything once and in order, or an error that says what is gone."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import JournalDamaged, JournalError
from eventstore.journal import JournalRecord
from eventstore.journal.header import HEADER_BYTES
from tests.support.effort import effort
from tests.support.journals import PATIENCE_S, crash, flip, oldest, opened, payload, segments, until, write

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 6000)),
        st.tuples(st.just("read"), st.integers(1, 20)),
        st.tuples(st.just("open"), st.integers(0, 50)),
        st.tuples(st.just("life"), st.integers(0, 1)),
    ),
    max_size=60,
)


@effort(60)
@given(STEPS)
def test_a_reader_sees_every_record_behind_its_place_whenever_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """From any place, in any number of steps between the appends; after its end it goes on when there is more."""
    home = tmp_path_factory.mktemp("journal") / "j"
    journal = opened(home)
    model: list[JournalRecord] = []
    reader, place = journal.read(0), 0
    for step, number in steps:
        if step == "append":
            model += write(journal, [payload(len(model), number)])
            model[-1] = model[-1]._replace(position=len(model))
        elif step == "read":
            for _ in range(number):
                record = next(reader, None)
                assert record == (model[place] if place < len(model) else None)
                place += record is not None
                assert reader.position == place
        elif step == "open":
            place = min(number, len(model))
            reader = journal.read(place)
        else:
            crash(journal) if number else journal.close()
            with pytest.raises(JournalError, match="nothing more is read"):
                journal.extent(0)
            journal = opened(home)
            reader = journal.read(place)
    assert list(reader) == model[place:]
    journal.close()


def test_a_reader_follows_the_appender_from_another_thread(tmp_path: Path) -> None:
    """While thousands of records go into many files, and those that were read are trimmed."""
    journal = opened(tmp_path / "j", fsync="interval", fsync_interval_s=0.001)
    count = 5000
    problems: list[BaseException] = []

    def follow() -> None:
        try:
            reader = journal.read(0)
            position = 0
            while position < count:
                for record in reader:
                    position += 1
                    assert record == JournalRecord(position, position, payload(position, position % 300))
                    if position % 50 == 0:
                        journal.trim(position - 10)
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            problems.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    for position in range(1, count + 1):
        assert journal.append(position, payload(position, position % 300)) == position
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    if problems:
        raise problems[0]
    until(lambda: journal.first > count - 400)
    assert len(segments(tmp_path / "j")) < 20
    journal.close()


def test_what_was_trimmed_before_it_was_read_is_an_error_and_a_file_that_was_begun_is_read_to_its_end(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path / "j")
    write(journal, [payload(number, 1000) for number in range(100)])
    at_start, begun = journal.read(0), journal.read(0)
    assert next(begun).position == 1
    journal.trim(60)
    until(lambda: oldest(journal).last > 60)
    first = journal.first
    assert 1 < first <= 61
    with pytest.raises(JournalError, match=rf"positions 1 to {first - 1} were trimmed before they were read"):
        next(at_start)
    ready = len(begun._ready)
    assert [next(begun).position for _ in range(ready)] == list(range(2, ready + 2))
    with pytest.raises(JournalError, match=rf"positions {ready + 2} to {first - 1} were trimmed"):
        next(begun)
    with pytest.raises(JournalError, match=rf"positions 5 to {first - 1} are not in here any more"):
        journal.read(4)
    assert [record.position for record in journal.read(first - 1)] == list(range(first, 101))
    journal.close()


def test_a_trim_takes_whole_files_of_what_is_not_needed_and_never_the_last(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    write(journal, [payload(number, 1000) for number in range(100)])
    for position in range(0, journal.position + 1, 7):
        journal.trim(position)
        until(lambda position=position: oldest(journal).last > position or len(journal.segments) < 3)
        assert journal.first <= position + 1
        records = list(journal.read(journal.first - 1))
        assert [record.position for record in records] == list(range(journal.first, journal.position + 1))
    position = journal.position
    journal.trim(position + 1000)
    crash(journal)
    journal = opened(tmp_path / "j")
    assert journal.position == position
    journal.trim(position)
    until(lambda: journal.first > position)
    assert (journal.first, journal.position) == (position + 1, position)
    assert list(journal.read(position)) == []
    journal.close()


def test_damage_that_comes_while_it_runs_is_named(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    write(journal, [payload(number, 100) for number in range(5)])
    [path] = segments(tmp_path / "j")[:1]
    flip(path, HEADER_BYTES + 2 * 128 + 30)
    reader = journal.read(0)
    assert [next(reader).position for _ in range(2)] == [1, 2]
    with pytest.raises(JournalDamaged, match="checksum") as raised:
        next(reader)
    assert (raised.value.path, raised.value.offset) == (path, HEADER_BYTES + 2 * 128)
    journal.close()


def test_a_file_that_somebody_deletes_is_named(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    write(journal, [b"a"])
    segments(tmp_path / "j")[0].unlink()
    with pytest.raises(JournalError, match="is gone: somebody else deleted it"):
        next(journal.read(0))
    journal.close()
