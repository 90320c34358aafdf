"""Where a log goes on without the journal that it has in common with it at the beginning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.aside import diverged_at
from eventstore.chain import LogEntry
from eventstore.journal import JournalRecord

MINE = st.sampled_from((c.Add("a", b"1"), c.Add("b", b"2"), c.Flushed(0, b"")))
THEIRS = st.sampled_from((c.Opened(9, {}), c.Add("c", b"3")))


def records(commands: list[c.Command], first: int) -> list[JournalRecord]:
    return [JournalRecord(first + n, 0, c.encode(command)) for n, command in enumerate(commands)]


def entries(commands: list[c.Command], first: int) -> list[LogEntry]:
    """As the log has them: a flush says what it deleted."""
    written = [c.Flushed(5, b"h") if isinstance(command, c.Flushed) else command for command in commands]
    return [LogEntry("", first + n, 0, c.encode(command), None) for n, command in enumerate(written)]


@given(
    before=st.lists(st.sampled_from((c.Add("x", b""), c.Heartbeat(1))), max_size=4),
    common=st.lists(MINE, max_size=6),
    rest=st.lists(MINE, max_size=4),
    theirs=st.lists(THEIRS, max_size=4),
    trimmed=st.integers(0, 4),
)
def test_what_is_not_in_the_log_is_told_from_what_is(
    before: list[c.Command], common: list[c.Command], rest: list[c.Command], theirs: list[c.Command], trimmed: int
) -> None:
    """The journal has what is common, unless it let go of some, and a rest; the log has what is common, but for what a
    flush in it deleted, and what somebody else wrote behind it."""
    journal = records([*before, *common, *rest], 1)[trimmed:]
    log = entries([*before, *common, *theirs], 1)
    flushes = [n for n, command in enumerate([*before, *common]) if isinstance(command, c.Flushed)]
    if flushes:
        log = log[flushes[-1] :]
    log = [entry for entry in log if not journal or entry.position >= journal[0].position]
    missing = [record.position for record in journal if record.position > len(before) + len(common)]
    assert diverged_at(iter(journal), iter(log)) == (missing[0] if missing else None)


def test_a_log_that_somebody_else_flushed_has_nothing_of_the_journal() -> None:
    """Whether what they deleted was in it can not be told: all of it is kept."""
    mine = records([c.Add("a", b"1"), c.Add("b", b"2")], 1)
    assert diverged_at(iter(mine), iter(entries([c.Flushed(0, b""), c.Add("c", b"3")], 4))) == 1
    assert diverged_at(iter(mine), iter(entries([c.Flushed(0, b"")], 2))) == 1
    assert diverged_at(iter(mine), iter([])) == 1


def test_what_could_not_be_written_is_there_by_name() -> None:
    mine = records([c.Add("a", b"1"), c.Add("b", b"2")], 1)
    assert diverged_at(iter(mine), iter(entries([c.Quarantined("add", "a", "why"), c.Add("b", b"2")], 1))) is None
