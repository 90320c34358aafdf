"""The heartbeat: at once, again and again, until it is stopped or what it beats for is gone."""

import threading

from workers.heartbeat import Heartbeat

PATIENCE_S = 30.0


def test_it_beats_at_once_and_again_until_it_is_stopped() -> None:
    beats = threading.Semaphore(0)
    heartbeat = Heartbeat(0.001, beats.release, "beating")
    heartbeat.start()
    for _ in range(3):
        assert beats.acquire(timeout=PATIENCE_S)
    heartbeat.stop(PATIENCE_S)
    while beats.acquire(blocking=False):
        pass
    assert not beats.acquire(timeout=0.02)
    assert heartbeat.error is None


def test_the_first_beat_does_not_wait_for_the_interval_nor_does_the_stop() -> None:
    beaten = threading.Event()
    heartbeat = Heartbeat(86_400, beaten.set, "slow")
    heartbeat.start()
    assert beaten.wait(PATIENCE_S)
    heartbeat.stop(PATIENCE_S)
    assert not heartbeat._thread.is_alive()


def test_it_ends_with_what_it_beats_for_and_says_why() -> None:
    def beat() -> None:
        raise RuntimeError("closed")

    heartbeat = Heartbeat(0.001, beat, "ending")
    heartbeat.start()
    heartbeat._thread.join(PATIENCE_S)
    assert str(heartbeat.error) == "closed"
    heartbeat.stop()


def test_it_may_be_stopped_from_its_own_beat() -> None:
    stopped = threading.Event()

    def beat() -> None:
        heartbeat.stop()
        stopped.set()

    heartbeat = Heartbeat(0.001, beat, "stopping itself")
    heartbeat.start()
    assert stopped.wait(PATIENCE_S)
    heartbeat._thread.join(PATIENCE_S)
    assert not heartbeat._thread.is_alive()
