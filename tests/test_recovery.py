"""What of a journal is written again when a database is opened: the decision, for every state that log and journal can
be in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.errors import DataLoss
from eventstore.recovery import instance_of, tail

OWNERS = ("a", "b", "c")


def owner(instance: str) -> str:
    return json.dumps({"host": "h", "instance": instance})


positions = st.integers(0, 50)


@given(position=positions, first=st.integers(1, 50), count=st.integers(0, 20), who=st.sampled_from(OWNERS))
def test_what_the_log_lacks_is_written_again_or_raised(position: int, first: int, count: int, who: str) -> None:
    """The log is one of ours: exactly what the journal has behind its end is written again. If positions between the
    two are in neither, the error names them all, and no other."""
    last = first + count - 1
    in_log = set(range(1, position + 1))
    in_journal = set(range(first, last + 1))
    missing = set(range(1, last + 1)) - in_log - in_journal
    if missing:
        with pytest.raises(DataLoss) as raised:
            tail("log", position, owner(who), OWNERS, first, last)
        assert set(range(raised.value.first, raised.value.last + 1)) == missing
        assert f"ends at position {position}, " in str(raised.value)
        assert f"positions {min(missing)} to {max(missing)} are lost" in str(raised.value)
    else:
        rest = tail("log", position, owner(who), OWNERS, first, last)
        assert not rest.strange
        assert set(range(rest.first, rest.last + 1)) == in_journal - in_log


@given(first=st.integers(1, 50), count=st.integers(0, 20))
def test_a_log_that_is_gone_is_written_anew_only_if_all_of_it_is_there(first: int, count: int) -> None:
    """Without a log, the journal has to reach back to the first position; one that never had any asks nothing."""
    last = first + count - 1
    if first == 1:
        assert tail("log", 0, "", OWNERS, first, last) == (1, last, False)
    else:
        with pytest.raises(DataLoss) as raised:
            tail("log", 0, "", OWNERS, first, last)
        assert (raised.value.first, raised.value.last) == (1, first - 1)
        assert "the log is gone, " in str(raised.value)


@given(position=positions, first=st.integers(1, 50), count=st.integers(0, 20))
@pytest.mark.parametrize("who", [owner("somebody else"), "no json", "[]", '{"instance": 7}', "{}"])
def test_the_tail_behind_somebody_elses_log_is_never_written(position: int, first: int, count: int, who: str) -> None:
    """Whoever went on with the log is not known here: all that the journal has is strange to it."""
    assert tail("log", position, who, OWNERS, first, first + count - 1) == (first, first + count - 1, True)


def test_an_owner_is_known_by_its_instance() -> None:
    assert instance_of(owner("a")) == "a"
