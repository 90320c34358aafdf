"""A periodic call: at once, again and again, until it is stopped or what it is for is gone."""

import threading

from workers.periodic import Periodic

PATIENCE_S = 30.0


def test_it_calls_at_once_and_again_until_it_is_stopped() -> None:
    calls = threading.Semaphore(0)
    periodic = Periodic(0.001, calls.release, "calling")
    periodic.start()
    for _ in range(3):
        assert calls.acquire(timeout=PATIENCE_S)
    periodic.stop(PATIENCE_S)
    while calls.acquire(blocking=False):
        pass
    assert not calls.acquire(timeout=0.02)
    assert periodic.error is None


def test_the_first_call_does_not_wait_for_the_interval_nor_does_the_stop() -> None:
    called = threading.Event()
    periodic = Periodic(86_400, called.set, "slow")
    periodic.start()
    assert called.wait(PATIENCE_S)
    periodic.stop(PATIENCE_S)
    assert not periodic._thread.is_alive()


def test_it_ends_with_what_it_is_for_and_says_why() -> None:
    def call() -> None:
        raise RuntimeError("closed")

    periodic = Periodic(0.001, call, "ending")
    periodic.start()
    periodic._thread.join(PATIENCE_S)
    assert str(periodic.error) == "closed"
    periodic.stop()


def test_it_may_be_stopped_from_its_own_call() -> None:
    stopped = threading.Event()

    def call() -> None:
        periodic.stop()
        stopped.set()

    periodic = Periodic(0.001, call, "stopping itself")
    periodic.start()
    assert stopped.wait(PATIENCE_S)
    periodic._thread.join(PATIENCE_S)
    assert not periodic._thread.is_alive()
