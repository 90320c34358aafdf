"""Watermarks only rise; whoever waits for a position gets it, a timeout, or the reason why it never comes."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.watermark import Mark, Watermark

PATIENCE_S = 30.0


@given(st.integers(0, 50), st.lists(st.integers(0, 100)))
def test_a_watermark_never_goes_back(start: int, positions: list[int]) -> None:
    """After any positions in any order it stands at the highest, and only what is beyond that has to be waited for."""
    watermark = Watermark(start)
    for position in positions:
        watermark.advance(position)
    highest = max([start, *positions])
    assert watermark.position == highest
    assert watermark.wait_until(highest, 0)
    assert not watermark.wait_until(highest + 1, 0)


def test_everybody_who_waits_is_woken_at_its_position() -> None:
    watermark = Watermark()
    reached: list[int] = []
    lock = threading.Lock()

    def wait(position: int) -> None:
        assert watermark.wait_until(position, PATIENCE_S)
        with lock:
            reached.append(position)
        assert watermark.position >= position

    threads = [threading.Thread(target=wait, args=(position,)) for position in range(1, 9)]
    for thread in threads:
        thread.start()
    for position in range(1, 9):
        watermark.advance(position)
        threads[position - 1].join(PATIENCE_S)
        assert not threads[position - 1].is_alive()
    assert sorted(reached) == list(range(1, 9))


def test_a_failure_reaches_who_waits_now_and_later() -> None:
    """What was reached before the failure stays reached; the rest raises its cause."""
    watermark = Watermark(5)
    cause = RuntimeError("gone")
    caught: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(RuntimeError) as info:
            watermark.wait_until(6, PATIENCE_S)
        caught.append(info.value)

    thread = threading.Thread(target=wait)
    thread.start()
    watermark.fail(cause)
    thread.join(PATIENCE_S)
    assert caught == [cause]
    assert watermark.failure is cause
    assert watermark.wait_until(5, 0)
    with pytest.raises(RuntimeError, match="gone"):
        watermark.wait_until(6, PATIENCE_S)


def test_a_mark_says_its_position_or_why_there_is_none() -> None:
    mark = Mark()
    assert not mark.wait(0)
    assert not mark.wait(-1)
    mark.reach(7)
    assert mark.wait(0)
    assert mark.position == 7
    lost = Mark()
    lost.fail(RuntimeError("gone"))
    with pytest.raises(RuntimeError, match="gone"):
        lost.wait(PATIENCE_S)
