"""How long a writer waits before it tries again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from workers.sink import Backoff


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(), st.integers(1, 80))
def test_waits_double_up_to_a_bound_and_are_never_nothing(
    first_s: float, max_s: float, seed: int, attempts: int
) -> None:
    """Wait n is between a half and the whole of ``first_s * 2**n``, or of `max_s` where that is less."""
    backoff = Backoff(first_s, max_s, random.Random(seed))
    for attempt in range(attempts):
        ceiling = min(max_s, first_s * 2 ** min(attempt, 32))
        assert ceiling / 2 <= backoff.next_s() <= ceiling
        assert backoff.attempts == attempt + 1
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_s() <= min(first_s, max_s)


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    waits = {Backoff(1.0, 1.0).next_s() for _ in range(20)}
    assert len(waits) > 1
