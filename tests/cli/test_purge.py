"""`eventstore purge`."""

import json

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.audit import open_log, state_at
from eventstore.model import TraderId
from tests.support.cli import TRADER, Run, assert_documented, assert_one_line_error, session


def test_what_is_closed_leaves_the_views_and_stays_in_the_log(eventstore: Run, redis_url: str) -> None:
    assert eventstore("ingest", session("trailing"), "--to", redis_url).returncode == 0
    with open_log(redis_url) as log:
        before = log.end().position
        orders = state_at(log).orders()
    done = eventstore("purge", redis_url, "--older-than", "1d", "--account-events", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert_documented(said, "purge")
    assert said["orders"] == sum(order.is_closed for order in orders.values()) > 0
    assert said["account_events"] > 0
    with open_log(redis_url) as log:
        left = state_at(log).orders()
        assert left.keys() == {order_id for order_id, order in orders.items() if not order.is_closed}
        assert state_at(log, position=before).orders().keys() == orders.keys()
    text = eventstore("purge", redis_url, "--older-than", "1d").stdout
    assert "purged 0 orders, 0 positions, 0 earlier cycles of positions, 0 account events" in text


def test_a_node_that_may_run_is_not_shut_out_by_mistake(eventstore: Run, redis_url: str) -> None:
    """It is refused beside a writer that has not closed, and the writer goes on; with --take-over it is done."""
    with RedisCacheDatabase(TraderId(TRADER), config=CacheDatabaseConfig(url=redis_url)) as database:
        database.add("key", b"value")
        database.sync()
        refused = eventstore("purge", redis_url, "--older-than", "0s")
        assert_one_line_error(refused, TRADER, "has not closed", "--take-over")
        database.add("key", b"other")
        database.sync()
        assert database.health.state == "healthy"
        assert eventstore("purge", redis_url, "--older-than", "0s", "--take-over").returncode == 0


def test_an_age_that_is_none_is_wrong_usage(eventstore: Run, redis_url: str) -> None:
    done = eventstore("purge", redis_url, "--older-than", "yesterday")
    assert done.returncode == 2
    assert "30d" in done.stderr
