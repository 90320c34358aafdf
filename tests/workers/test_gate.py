"""Gates: each opening lets one through, and nobody who opens ever waits."""

import asyncio
import threading

from workers.gate import Gate, LoopGate

PATIENCE_S = 30.0


def test_an_opening_lets_one_through_now_or_later() -> None:
    gate = Gate()
    assert not gate.wait(0)
    assert not gate.wait(-1)
    gate.open()
    assert gate.wait(0)
    assert not gate.wait(0)


def test_opening_twice_before_anybody_waits_counts_once() -> None:
    gate = Gate()
    gate.open()
    gate.open()
    assert gate.wait()
    assert not gate.wait(0)


def test_who_waits_is_let_through_one_by_one() -> None:
    gate = Gate()
    through = threading.Semaphore(0)

    def wait() -> None:
        assert gate.wait(PATIENCE_S)
        through.release()

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        gate.open()
        assert through.acquire(timeout=PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not gate.wait(0)


def test_a_task_is_let_through_by_an_opening_now_or_later_and_twice_counts_once() -> None:
    async def wait() -> None:
        gate = LoopGate()
        assert not await gate.wait(0)
        assert not await gate.wait(-1)
        gate.open()
        gate.open()
        assert await gate.wait(0)
        assert not await gate.wait(0.001)
        thread = threading.Thread(target=gate.open)
        thread.start()
        assert await gate.wait(PATIENCE_S)
        thread.join(PATIENCE_S)
        # The wakes of those openings do not end a wait before its time.
        assert not await gate.wait(0.001)

    asyncio.run(wait())
