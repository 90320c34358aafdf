"""What is kept here while the server is away: rows 22 to 28."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from typing import Any

import pytest

from eventstore import commands as c
from eventstore.errors import BacklogFull
from eventstore.model.identifiers import ComponentId
from tests.support.databases import open_database
from tests.support.node import State
from tests.support.outages import AWAY, BACK, Told, call, under_load, until, written
from tests.support.redis_server import RedisServer

# -- Row 27: a long outage ---------------------------------------------------------------------------------------------


def until_full(database: Any, size: int = 1000) -> list[c.Command]:
    """Call until a call is refused: what was accepted before it."""
    accepted: list[c.Command] = []
    while len(accepted) < 1_000_000:
        value = b"%09d" % len(accepted) * (size // 9)
        try:
            database.add("key", value)
        except BacklogFull:
            return accepted
        accepted.append(c.Add("key", value))
    raise AssertionError("it never was full")


@pytest.mark.parametrize("bound", [{"backlog_bytes_max": 100_000}, {"backlog_count_max": 100}], ids=["bytes", "count"])
@pytest.mark.parametrize("policy", [{"on_full": "raise"}, {"on_full": "block", "block_timeout_s": 0.05}], ids=str)
def test_row_27_a_long_outage_is_bounded_and_what_is_refused_is_counted(
    bound: dict[str, Any], policy: dict[str, Any], fresh_server: RedisServer, told: Told
) -> None:
    """A server that hangs: calls are accepted up to the bound, in bytes or in commands, and from there on the policy
    applies: refused at once, or after a wait, by name and counted. When the server is back, what was accepted is
    written, all of it and nothing else, and calls are taken again."""
    settings: dict[str, Any] = {"batch_count_max": 5, "timeout_s": 0.2, **bound, **policy}
    with open_database(fresh_server.url, logger=told, **settings) as database:
        database.sync()
        fresh_server.pause()
        try:
            accepted = until_full(database)
            # The writer took some batches before it found out; the rest is what the bound allows.
            assert len(accepted) >= 100 - 10
            assert database.stats().waiting <= 111
            for number in range(3):
                with pytest.raises(
                    BacklogFull, match=r"add late: not accepted, \d+ of \d+ commands and \d+ of \d+ bytes"
                ):
                    database.add("late", b"%d" % number * 1000)
            assert database.stats().refused == 4
            assert bool(database.stats().blocked) is (policy["on_full"] == "block")
        finally:
            fresh_server.resume()
        database.sync()
        database.add("again", b"1")
        assert database.close() == 0
    assert written(fresh_server) == [*accepted, c.Add("again", b"1")]


# -- Row 28: the drain after it ----------------------------------------------------------------------------------------


def test_row_28_the_drain_after_an_outage_keeps_the_order(fresh_server: RedisServer, told: Told) -> None:
    """Thousands of commands of several kinds, in hundreds of batches: in the order of acceptance, with new ones coming
    in meanwhile."""
    with under_load(fresh_server, told, timeout_s=0.5, batch_count_max=32) as (database, load):
        fresh_server.kill()
        load.go_on(5000)
        waiting = database.stats()
        assert waiting.waiting + waiting.in_doubt >= 5000
        fresh_server.start()
        told.wait_for(BACK)
        database.sync()


def test_row_28_what_was_accepted_during_an_outage_is_what_a_load_gives(fresh_server: RedisServer, told: Told) -> None:
    """The state of a component, saved while the server was away."""
    with open_database(fresh_server.url, logger=told) as database:
        database.sync()
        fresh_server.kill()
        database.update_actor(State(ComponentId("Actor-1"), {"x": b"y"}))
        told.wait_for(AWAY)
        fresh_server.start()
        assert database.load_actor(ComponentId("Actor-1")) == {"x": b"y"}


def drained(server: RedisServer, told: Told) -> list[float]:
    """How late the host's loop of half a millisecond is, in seconds, each time, while an outage's calls are written."""
    pause = threading.Event()
    late = []
    told.forget()
    with open_database(server.url, logger=told) as database:
        database.sync()
        server.kill()
        for number in range(20_000):
            call(database, number)
        told.wait_for(AWAY)
        server.start()
        until(lambda: database.stats().in_doubt < database.stats().waiting)
        while database.stats().waiting:
            began = time.perf_counter()
            pause.wait(0.0005)
            late.append(time.perf_counter() - began - 0.0005)
        assert database.close() == 0
    return late


def test_row_28_the_drain_leaves_the_host_its_time(fresh_server: RedisServer, told: Told) -> None:
    """While tens of thousands of commands are written, the loop of another thread is late by much less than the switch
    interval, by which a thread that never lets go of the interpreter delays every other one."""
    medians = []
    for _ in range(3):  # the machine has other things to do, too
        late = drained(fresh_server, told)
        assert len(late) > 20
        medians.append(statistics.median(late))
        if medians[-1] < sys.getswitchinterval() / 2:
            return
    raise AssertionError(f"late by {medians} s")
