"""`explain`: the life of an order is its events, in order, and ends in the state that it has."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from eventstore.audit import Change, Subject, explain, find_subjects, open_log, read, state_at
from eventstore.errors import AuditError
from eventstore.model.events import AccountState, OrderFilled
from eventstore.model.identifiers import ClientOrderId, TraderId
from eventstore.recording import play
from tests.support.cli import TRADER, session
from tests.support.databases import open_database
from tests.support.redis_server import RedisServer

_TRADER = TraderId(TRADER)


@pytest.fixture(scope="module", params=["emacross", "trailing"])
def recorded(request: pytest.FixtureRequest) -> Iterator[str]:
    """The log of a recorded session."""
    with RedisServer() as server:
        with open_database(server.url, _TRADER) as database:
            play(database, session(request.param), array("q"))
        yield server.url


def changed(state: dict[str, Any], changes: list[Change]) -> None:
    """Follow the changes, which have to begin where the state is."""
    for change in changes:
        assert state.get(change.name) == change.before, change
        state[change.name] = change.after


def test_every_order_has_its_events_in_order_and_ends_as_it_is(recorded: str) -> None:
    with open_log(recorded) as log:
        orders = state_at(log).orders()
        some = list(orders.items())[:: max(1, len(orders) // 40)]
        for order_id, order in some:
            steps = list(explain(log, order_id))
            own = [step for step in steps if step.of == Subject("order", order_id)]
            assert [step.event for step in own if step.event is not None] == order.events
            assert [step.position for step in steps] == sorted(step.position for step in steps)
            assert {step.epoch for step in steps} == {1}
            state: dict[str, Any] = {}
            for step in own:
                changed(state, step.changes)
            assert {name: value for name, value in state.items() if value is not None} == {
                name: value for name, value in order.to_dict().items() if value is not None
            }


def test_every_position_ends_as_it_is_and_each_fill_came_from_its_order(recorded: str) -> None:
    with open_log(recorded) as log:
        positions = list(state_at(log).positions().values())
        entries = {facts.position: facts for facts in read(log)}
        for position in positions[:: max(1, len(positions) // 20)]:
            state: dict[str, Any] = {}
            for step in explain(log, position.id):
                if step.of != Subject("position", position.id):
                    continue
                changed(state, step.changes)
                if isinstance(step.event, OrderFilled):
                    [cause] = [link for link in step.causes if link.relation == "fill"]
                    assert cause.certain
                    [fill] = [event for event in entries[cause.position].events if isinstance(event, OrderFilled)]
                    assert (fill.trade_id, fill.client_order_id) == (step.event.trade_id, step.event.client_order_id)
                    assert entries[cause.position].family == "order"
            assert {name: value for name, value in state.items() if value is not None} == {
                name: value for name, value in position.to_dict().items() if value is not None
            }


def test_an_account_ends_with_its_balances_and_says_which_fills_came_before(recorded: str) -> None:
    with open_log(recorded) as log:
        [account] = state_at(log).accounts().values()
        steps = list(explain(log, account.id))
        fills = {
            (event.client_order_id, event.trade_id)
            for facts in read(log)
            for event in facts.events
            if isinstance(event, OrderFilled)
        }
    own = [step for step in steps if step.of.role == "account"]
    assert [step.event for step in own] == account.events
    state: dict[str, Any] = {}
    for step in own:
        changed(state, step.changes)
    for currency, balance in account.balances().items():
        for name in ("total", "locked", "free"):
            assert state[f"{currency.code} {name}"] == f"{getattr(balance, name).amount:f}"
    links = [link for step in own for link in step.causes if link.relation != "before"]
    assert not any(link.certain for link in links), "the log does not say which fill an account's state follows from"
    assert len(links) <= len(fills)
    assert len({(link.position, link.about) for link in links}) == len(links)


def test_an_order_shows_what_its_fill_did_to_position_and_account(redis_url: str) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
    with open_log(redis_url) as log:
        order = next(order for order in state_at(log).orders().values() if order.filled_qty)
        steps = list(explain(log, order.client_order_id))
    filled = next(step for step in steps if isinstance(step.event, OrderFilled))
    roles = [step.of.role for step in steps if step.position >= filled.position]
    assert roles[0] == "order"
    assert {"position", "account"} <= set(roles)
    in_position = next(step for step in steps if step.of.role == "position")
    assert [(link.relation, link.position) for link in in_position.causes] == [("fill", filled.position)]
    behind = next(step for step in steps if isinstance(step.event, AccountState))
    assert [link.position for link in behind.causes] == [filled.position]
    assert sum(isinstance(step.event, AccountState) for step in steps) == 1, "only the one behind the fill"


def test_other_ids_lead_to_the_same_things(redis_url: str) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
    with open_log(redis_url) as log:
        order = next(order for order in state_at(log).orders().values() if order.filled_qty)
        # This venue calls its orders and trades by the same names.
        assert order.venue_order_id is not None
        assert find_subjects(log, order.venue_order_id) == [
            Subject("order", order.client_order_id),
            Subject("trade", order.trade_ids[0]),
        ]
        trade = [step for step in explain(log, order.trade_ids[0]) if step.subject.role == "trade"]
        assert [(step.of.role, type(step.event)) for step in trade] == [
            ("order", OrderFilled),
            ("position", OrderFilled),
            ("account", AccountState),
        ]
        assert find_subjects(log, "SIM-001") == [Subject("account", "SIM-001")]
        assert find_subjects(log, order.strategy_id) == [Subject("strategy", order.strategy_id)]
        # A part of an id is no id.
        with pytest.raises(AuditError, match="has the id"):
            find_subjects(log, order.client_order_id[:-1])


def test_a_strategy_has_all_of_its_orders_and_its_saved_states(redis_url: str) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
        order_id = next(iter(database.load_orders()))
        database.delete_order(order_id)
    with open_log(redis_url) as log:
        state = state_at(log)
        strategy_id = next(iter(state.orders().values())).strategy_id
        steps = list(explain(log, strategy_id))
    of_orders: dict[str, dict[str, Any]] = {}
    for step in steps:
        if step.of.role == "order":
            changed(of_orders.setdefault(step.of.id, {}), step.changes)
    deleted = of_orders.pop(order_id)
    assert {name for name, value in deleted.items() if value is not None} == set()
    for known, order in state.orders().items():
        assert of_orders[known]["status"] == order.to_dict()["status"]
    assert of_orders.keys() == state.orders().keys()
    assert steps[-1].facts.kind == "DeleteOrder", "which does not name its strategy"


def test_lives_ends_and_writers_are_told(redis_url: str) -> None:
    with open_database(redis_url, _TRADER) as database:
        play(database, session("emacross"), array("q"))
        order = next(iter(database.load_orders().values()))
    with open_database(redis_url, _TRADER) as database:
        loaded = database.load_order(ClientOrderId(order.client_order_id))
        assert loaded is not None
        database.delete_order(loaded.client_order_id)
        database.add_order(loaded)
    with open_log(redis_url) as log:
        own = [
            step for step in explain(log, order.client_order_id) if step.of == Subject("order", order.client_order_id)
        ]
    kinds = [step.facts.kind for step in own if step.epoch == 2]
    assert kinds == ["DeleteOrder"] + ["AddOrder"] * order.event_count
    state: dict[str, Any] = {}
    for step in own:
        changed(state, step.changes)
    assert state["status"] == order.to_dict()["status"]
