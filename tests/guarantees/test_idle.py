"""A node that has nothing to write finds out by itself what became of what it wrote."""

from __future__ import annotations

import pytest

from eventstore.errors import Diverged, Fenced
from tests.support.databases import open_database
from tests.support.outages import AWAY, BACK, Told, call, failed, until, written
from tests.support.redis_server import RedisServer

WENT_BACK = "the log went back: what is retained is written again"
LOOK_S = 0.05


@pytest.mark.parametrize("journal", [False, True])
def test_row_14_an_idle_node_writes_again_what_a_restart_lost(
    journal: bool, told: Told, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nobody calls anything any more: what the server lost is there again all the same."""
    directory = tmp_path_factory.mktemp("journal") if journal else None
    with (
        RedisServer() as server,
        open_database(server.url, logger=told, journal=directory, look_interval_s=LOOK_S) as database,
    ):
        accepted = [call(database, 1)]
        saved = database.sync()
        with server.client() as admin:
            admin.save()
        accepted += [call(database, number) for number in range(2, 40)]
        confirmed = database.sync()
        server.restart()
        _, values = told.wait_for(WENT_BACK)
        assert values["applied"] == confirmed
        assert values["position"] == saved
        told.wait_for(BACK)
        until(lambda: database.stats().applied == confirmed)
        assert database.stats().health == "healthy"
        assert written(server) == accepted


def test_row_17_18_an_idle_node_is_told_that_the_server_was_emptied(fresh_server: RedisServer, told: Told) -> None:
    """The alarm comes without a call that could be refused."""
    with (
        fresh_server.client() as admin,
        open_database(fresh_server.url, logger=told, look_interval_s=LOOK_S) as database,
    ):
        call(database, 1)
        database.sync()
        admin.flushall()
        failed(database, told, Diverged, "the fence .* is gone: keys were deleted")
        assert database.close() == 0


def test_row_20_an_idle_writer_is_told_that_it_was_overtaken(fresh_server: RedisServer, told: Told) -> None:
    """It stops, and says so, before it has anything to write."""
    with open_database(fresh_server.url, logger=told, look_interval_s=LOOK_S) as first:
        call(first, 1)
        first.sync()
        with open_database(fresh_server.url) as second:
            failed(first, told, Fenced, "epoch 1 was ended by epoch 2")
            assert second.stats().epoch == 2
        assert first.close() == 0


def test_row_03_an_idle_node_knows_that_the_server_is_away(fresh_server: RedisServer, told: Told) -> None:
    """Health says so without a call, and that it is back."""
    with open_database(fresh_server.url, logger=told, look_interval_s=LOOK_S) as database:
        call(database, 1)
        confirmed = database.sync()
        fresh_server.kill()
        told.wait_for(AWAY)
        assert database.stats().health == "degraded"
        fresh_server.start()
        told.wait_for(BACK)
        until(lambda: database.stats().health == "healthy")
        assert database.sync() == confirmed
        assert not told.all(WENT_BACK)
