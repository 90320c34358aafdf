"""Health: what several parts say, put together; readable at any time, and told once for each change."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from eventstore.health import Health, HealthBoard

steps = st.lists(
    st.tuples(
        st.sampled_from(("trouble", "well", "fail")), st.sampled_from(("server", "journal")), st.sampled_from("xy")
    )
)


@given(steps)
def test_the_state_is_the_worst_that_any_part_says(steps: list[tuple[str, str, str]]) -> None:
    """Degraded while any part has trouble, failed for good once it failed; every change is told, nothing else is."""
    told: list[Health] = []
    board = HealthBoard(told.append)
    troubles: dict[str, str] = {}
    failed: str | None = None
    expected: list[tuple[str, str | None]] = []
    before: tuple[str, str | None] = ("healthy", None)
    for what, part, reason in steps:
        if what == "trouble":
            board.trouble(part, reason)
            troubles[part] = reason
        elif what == "well":
            board.well(part)
            troubles.pop(part, None)
        else:
            board.fail(reason)
            failed = failed or reason
        state = "failed" if failed else "degraded" if troubles else "healthy"
        now = (state, failed or "; ".join(troubles.values()) or None)
        assert board.now[:2] == now
        if now != before:
            expected.append(now)
            before = now
    assert [health[:2] for health in told] == expected
    for one, other in itertools.pairwise(told):
        assert one.since_ns <= other.since_ns
        assert one.state != other.state or one.since_ns == other.since_ns


def test_a_callback_may_change_the_health_again() -> None:
    """As when a host closes the database because of it: no deadlock, and the last word is the last change."""
    board = HealthBoard(lambda health: board.fail("closed") if health.state == "degraded" else None)
    board.trouble("server", "away")
    assert board.now[:2] == ("failed", "closed")
