"""`state_at`: at any place of a log, what the node had there; at its end, what loads return."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.audit import Fold, State, open_log, state_at
from eventstore.codec import MsgPackSerializer
from eventstore.database import RedisCacheDatabase
from eventstore.errors import LogGap
from eventstore.model.accounts import Account
from eventstore.model.identifiers import ClientOrderId, PositionId
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.projections import MemoryViews, project
from eventstore.recording import Player, read_lines, trader_of
from tests.support import node as n
from tests.support.cli import NAMES, session
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.histories import histories
from tests.support.outages import KEYS
from tests.support.redis_server import RedisServer

_FIRST = 2
"""The position of the first call: the entry before says who writes."""


def account_shown(account: Any) -> dict[str, Any]:
    return {"balances": account.balances(), "events": account.events, "type": type(account)}


def order_shown(order: Order) -> dict[str, Any]:
    return {**order.to_dict(), "events": order.events, "amendments": order.amendments}


def position_shown(position: Position) -> dict[str, Any]:
    return {**position.to_dict(), "events": position.events}


def held(state: State) -> dict[str, Any]:
    """All that there is in a state, in the form of `loaded`."""
    positions = state.positions()
    return {
        "orders": {key: order_shown(order) for key, order in state.orders().items()},
        "positions": {key: position_shown(position) for key, position in positions.items()},
        "accounts": {key: account_shown(account) for key, account in state.accounts().items()},
        "open orders": set(state.orders(open_only=True)),
        "open positions": set(state.positions(open_only=True)),
        "cycles": {key: list(map(position_shown, state.position_cycles(key))) for key in positions},
        "instruments": state.instruments(),
        "synthetics": state.synthetics(),
        "currencies": state.currencies(),
        "general": state.general(),
        "actors": state.actors(),
        "strategies": state.strategies(),
        "heartbeat": state.heartbeat(),
        "order snapshots": state.order_snapshots(),
        "position snapshots": state.position_snapshots(),
        "positions of orders": state.position_ids_of_orders(),
        "clients of orders": state.client_ids_of_orders(),
        "venue order ids": state.venue_order_ids(),
    }


def loaded(database: RedisCacheDatabase, state: State) -> dict[str, Any]:
    """All that loads return. Of actors and strategies, which are loaded one by one, those in `state`."""
    found = database.load_all()
    return {
        "orders": {key: order_shown(order) for key, order in found["orders"].items()},
        "positions": {key: position_shown(position) for key, position in found["positions"].items()},
        "accounts": {key: account_shown(account) for key, account in found["accounts"].items()},
        "open orders": set(database.load_orders(open_only=True)),
        "open positions": set(database.load_positions(open_only=True)),
        "cycles": {key: list(map(position_shown, database.load_position_cycles(key))) for key in found["positions"]},
        "instruments": found["instruments"],
        "synthetics": found["synthetics"],
        "currencies": found["currencies"],
        "general": database.load(),
        "actors": {key: database.load_actor(key) for key in state.actors()},
        "strategies": {key: database.load_strategy(key) for key in state.strategies()},
        "heartbeat": database.load_heartbeat(),
        "order snapshots": database.load_order_snapshots(),
        "position snapshots": database.load_position_snapshots(),
        "positions of orders": database.load_index_order_position(),
        "clients of orders": database.load_index_order_client(),
        "venue order ids": database.load_index_venue_order_id(),
    }


# -- Recorded sessions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_at_every_position_of_a_recorded_session_the_state_is_what_the_node_had(
    name: str, redis_server: RedisServer, redis_url: str
) -> None:
    """Behind every call, the object that it was about is as the node's own object was at that call; what else there is
    stays as it was. At the end, every load returns the same."""
    path = session(name)
    trader_id = trader_of(path)
    touched: list[tuple[str, str, Any] | None] = []
    with open_database(redis_url, trader_id) as database:
        player = Player(database)
        for line in read_lines(path):
            player.prepare(line)()
            touched.append(noted(player, line))
    with open_database(redis_url, trader_id) as database, open_log(redis_url, trader_id) as log:
        fold = Fold(log.keys)
        now: dict[str, dict[str, Any]] = {"order": {}, "position": {}, "account": {}}
        entries = log.entries()
        fold.apply(next(entries))
        for number, (entry, told) in enumerate(zip(entries, touched, strict=False)):
            fold.apply(entry)
            state = fold.state()
            if told is not None:
                family, an_id, shown = told
                now[family][an_id] = shown
                assert one_of(state, family, an_id) == shown, f"position {entry.position}"
            if number % 997 == 0 or number == len(touched) - 1:
                assert {key: order.to_dict() for key, order in state.orders().items()} == now["order"]
                assert {key: each.to_dict() for key, each in state.positions().items()} == now["position"]
                found = state.accounts().items()
                assert {key: (account.event_count, account.last_event) for key, account in found} == now["account"]
                again = state_at(log, entry.position)
                assert (again.position, again.accepted_ms) == (entry.position, entry.accepted_ms)
                assert (again.views.hashes, again.views.sets) == (fold.views.hashes, fold.views.sets)
        assert number == len(touched) - 1
        last = state_at(log)
        assert held(last) == loaded(database, last)
        assert len(last.orders()) > 10


def noted(player: Player, line: dict[str, Any]) -> tuple[str, str, Any] | None:
    """The object that a call was about, as the node has it: its family, its id, and what it shows."""
    call, event = line["call"], line.get("event", {})
    if call in ("add_order", "update_order", "index_order_position", "snapshot_order_state"):
        order_id = {**line.get("order", {}), **event, **line}["client_order_id"]
        order = player._orders.get(order_id)  # some are indexed before they are added
        return None if order is None else ("order", order_id, order.to_dict())
    if call in ("add_position", "update_position"):
        return "position", line["position_id"], player._positions[line["position_id"]].to_dict()
    if call in ("add_account", "update_account"):
        account = player._accounts[event["account_id"]]
        return "account", event["account_id"], (account.event_count, account.last_event)
    return None


def one_of(state: State, family: str, an_id: str) -> Any:
    if family == "order":
        order = state.order(ClientOrderId(an_id))
        return None if order is None else order.to_dict()
    if family == "position":
        position = state.position_of(PositionId(an_id))
        return None if position is None else position.to_dict()
    # It has thousands of states, each of which is checked when it comes.
    states = state.views.hashes[state.keys.account(an_id)]
    return len(states), MsgPackSerializer().deserialize(states[str(len(states) - 1)])


# -- Any history -----------------------------------------------------------------------------------------------


@effort(40)
@given(histories(30))
def test_at_every_position_the_views_are_the_fold_of_the_calls_up_to_there(
    redis_server: RedisServer, commands: list[c.Command]
) -> None:
    """Of any calls, to the byte; behind a flush, which deletes what was before, from there on."""
    with redis_server.client() as client:
        client.flushall()
    with open_database(redis_server.url) as database:
        for command in commands:
            database._persister.accept("call", str(command[0]), type(command), tuple(command))
    views = MemoryViews()
    flushes = [number for number, command in enumerate(commands) if isinstance(command, c.Flushed)]
    with open_log(redis_server.url, TRADER) as log:
        for number, command in enumerate(commands):
            project(KEYS, command, views)
            if flushes and number < flushes[-1]:
                with pytest.raises(LogGap, match="deleted by a flush"):
                    state_at(log, number + 2)
                continue
            state = state_at(log, number + 2, strict=False)
            assert state.position == number + 2
            assert (state.views.hashes, state.views.sets) == (views.hashes, views.sets)
        if not flushes:
            assert not state_at(log, 0, strict=False).views.hashes


@effort(20)
@given(data=st.data())
def test_at_every_position_the_objects_are_those_of_the_node(redis_server: RedisServer, data: st.DataObject) -> None:
    """Orders that change in any legal way, with and without events, positions that are closed and opened again, and
    accounts: behind each call all of them are what the node had then; the last state is what loads return."""
    with redis_server.client() as client:
        client.flushall()
    node = n.Node(TRADER)
    orders: dict[str, Order] = {}
    positions: dict[str, Position] = {}
    accounts: dict[str, Account] = {}
    wanted: list[dict[str, Any]] = []
    with open_database(redis_server.url) as database:
        for _ in range(data.draw(st.integers(1, 25), label="calls")):
            made = act(data, node, database, orders, positions, accounts)
            if made:
                shown = {
                    "orders": {key: order_shown(order) for key, order in orders.items()},
                    "positions": {key: position_shown(position) for key, position in positions.items()},
                    "accounts": {key: account_shown(account) for key, account in accounts.items()},
                }
                wanted.append(copy.deepcopy(shown))
        with open_log(redis_server.url, TRADER) as log:
            database.sync()
            assert log.end().position == len(wanted) + 1
            for number, shown in enumerate(wanted):
                found = held(state_at(log, number + _FIRST))
                assert {name: found[name] for name in shown} == shown
            last = state_at(log)
            assert held(last) == loaded(database, last)


def act(
    data: st.DataObject,
    node: n.Node,
    database: RedisCacheDatabase,
    orders: dict[str, Order],
    positions: dict[str, Position],
    accounts: dict[str, Account],
) -> bool:
    """Do something to an object and make the call for it; whether a call was made."""
    what = data.draw(st.sampled_from(("order", "order", "position", "account")))
    if what == "order":
        order_id = data.draw(st.sampled_from(n.ORDERS))
        if order_id not in orders:
            orders[order_id] = node.new_order(data, order_id)
            database.add_order(orders[order_id])
            return True
        if data.draw(st.booleans()):
            node.amend(data, orders[order_id])
            database.snapshot_order_state(orders[order_id])
            return True
        if node.happen(data, orders[order_id]):
            database.update_order(orders[order_id])
            return True
        return False
    if what == "position":
        position_id = data.draw(st.sampled_from(n.POSITIONS))
        position = positions.get(position_id)
        if position is None or position.is_closed:
            positions[position_id] = node.open_position(data, position_id)
            database.add_position(positions[position_id])
        else:
            node.fill_position(data, position)
            database.update_position(position)
        return True
    account_id = data.draw(st.sampled_from(sorted(n.ACCOUNT_TYPES)))
    if account_id not in accounts:
        accounts[account_id] = node.new_account(data, account_id)
        database.add_account(accounts[account_id])
    else:
        accounts[account_id].apply(node.account_state(data, account_id))
        database.update_account(accounts[account_id])
    return True


# -- Times -----------------------------------------------------------------------------------------------------


def test_at_a_time_is_what_was_accepted_up_to_its_millisecond(redis_server: RedisServer) -> None:
    """Before the first, between two, in the millisecond of several, to the nanosecond of its end, and behind all."""
    now_ms, times_ms = 1_800_000_000_000, (0, 0, 7, 7, 7, 20)
    with redis_server.client() as client:
        client.flushall()
        for position, ms in enumerate(times_ms, 1):
            payload = c.encode(c.Add(f"key-{position}", b"x"))
            client.xadd(KEYS.log, {"e": payload}, id=f"{now_ms + ms}-{position}")
        fence = {"epoch": 1, "position": 6, "chain": bytes(32), "id": f"{now_ms + 20}-6", "owner": "", "claimed_ms": 1}
        client.hset(KEYS.writer, mapping=fence)
    with open_log(redis_server.url, TRADER) as log:
        for ns, position in (
            (0, 0),
            (now_ms * 1_000_000 - 1, 0),
            (now_ms * 1_000_000, 2),
            ((now_ms + 7) * 1_000_000 - 1, 2),
            ((now_ms + 7) * 1_000_000, 5),
            ((now_ms + 8) * 1_000_000 - 1, 5),
            ((now_ms + 20) * 1_000_000 - 1, 5),
            ((now_ms + 20) * 1_000_000, 6),
            (2**63, 6),
        ):
            state = state_at(log, time_ns=ns)
            assert (state.position, len(state.general())) == (position, position), ns
        assert state_at(log, 3).general().keys() == {"key-1", "key-2", "key-3"}


def test_a_time_before_a_flush_is_refused(redis_url: str) -> None:
    """What was there then is deleted; nothing is not what it was."""
    with open_database(redis_url) as database:
        database.add("key", b"1")
        database.flush()
        database.add("key", b"2")
    with open_log(redis_url, TRADER) as log:
        with pytest.raises(LogGap, match="deleted by a flush") as caught:
            state_at(log, time_ns=1_000_000)
        assert (caught.value.first, caught.value.last) == (1, 2)
        assert state_at(log).general() == {"key": b"2"}


def test_what_no_log_can_say_is_refused(redis_url: str) -> None:
    with open_database(redis_url) as database:
        database.add("key", b"1")
    with open_log(redis_url, TRADER) as log:
        for arguments, said in (
            ({"position": 4}, "position 4 is not in the log, which ends at 3"),
            ({"position": -1}, "position -1"),
            ({"time_ns": -1}, "before 1970"),
            ({"position": 1, "time_ns": 1}, "not both"),
        ):
            with pytest.raises(ValueError, match=said):
                state_at(log, **arguments)
