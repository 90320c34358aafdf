"""`diff`: nothing where two states are the same; where not, each thing and each part that differs, and what it was."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventstore.audit import Difference, State, diff, open_log, state_at, values_of
from eventstore.audit.diff import ABSENT, differing
from eventstore.audit.values import FAMILIES
from eventstore.codec import MsgPackSerializer
from eventstore.database import RedisCacheDatabase
from eventstore.errors import AlreadyAdded
from eventstore.model import events as e
from eventstore.model.identifiers import ClientId, ClientOrderId, PositionId, StrategyId, VenueOrderId
from eventstore.model.orders import Order
from eventstore.projections import MemoryViews
from tests.support import node as n
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.orders import happened, initialized
from tests.support.outages import KEYS
from tests.support.redis_server import RedisServer

ORDER = ClientOrderId("O-1")


def order_states(url: str) -> tuple[list[State], Order]:
    """The state behind each call on an order: added, submitted, accepted, deleted."""
    order = Order.create(initialized(client_order_id=ORDER))
    with open_database(url) as database:
        database.add_order(order, None, ClientId("C-1"))
        for kind in (e.OrderSubmitted, e.OrderAccepted):
            order.apply(happened(kind, client_order_id=ORDER))
            database.update_order(order)
        database.delete_order(ORDER)
    with open_log(url, TRADER) as log:
        return [state_at(log, position) for position in range(1, 6)], order


def test_an_order_is_added_changed_and_removed(redis_url: str) -> None:
    """Part by part, with what was there and what is; and the indexes that it is in."""
    (empty, added, submitted, accepted, deleted), order = order_states(redis_url)
    first = {(each.family, each.id): each for each in diff(empty, added)}
    assert first.keys() == {("order", ORDER), ("client_of_order", ORDER)}
    whole = first["order", ORDER]
    assert (whole.field, whole.change, whole.before) == ("", "added", None)
    assert (whole.after["status"], len(whole.after["events"])) == ("INITIALIZED", 1)
    assert first["client_of_order", ORDER] == Difference("client_of_order", ORDER, "", "added", None, "C-1")

    found = {(each.family, each.field): each for each in diff(submitted, accepted)}
    assert found["order", "status"][3:] == ("changed", "SUBMITTED", "ACCEPTED")
    assert found["order", "venue_order_id"][3:] == ("changed", None, str(order.venue_order_id))
    assert found["order", "events[2]"][3:5] == ("added", None)
    assert found["order", "events[2]"].after["event_id"] == order.events[2].event_id
    assert found["orders_open", ""][3:] == ("added", None, True)
    assert found["orders_inflight", ""][3:] == ("removed", True, None)
    assert "instrument_id" not in {field for _, field in found}

    gone = {each.family: each for each in diff(accepted, deleted)}
    assert gone.keys() == {"order", "client_of_order", "orders_open"}
    assert {each.change for each in gone.values()} == {"removed"}


def test_the_other_way_round_everything_is_the_other_way_round(redis_url: str) -> None:
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    states, _ = order_states(redis_url)
    for i, one in enumerate(states):
        for k, other in enumerate(states):
            forth = sorted(diff(one, other), key=lambda each: each[:3])
            back = sorted(diff(other, one), key=lambda each: each[:3])
            assert back == [
                each._replace(change=turned[each.change], before=each.after, after=each.before) for each in forth
            ]
            assert bool(forth) == (i % 4 != k % 4)  # behind its deletion all is as it was before


def test_what_is_stored_otherwise_and_says_the_same_is_no_difference(redis_url: str) -> None:
    """Times as text or as numbers; an event that both have."""
    states, order = order_states(redis_url)
    accepted = states[3]
    other = MemoryViews()
    other.hashes = copy.deepcopy(accepted.views.hashes)
    other.sets = copy.deepcopy(accepted.views.sets)
    fields = other.hashes[KEYS.order(ORDER)]
    otherwise = MsgPackSerializer(timestamps_as_str=True)
    for version, event in enumerate(order.events):
        assert fields[str(version)] != otherwise.serialize(event)
        fields[str(version)] = otherwise.serialize(event)
    assert list(diff(accepted, State(KEYS, other, 4, 0))) == []


@effort(25)
@given(data=st.data())
def test_a_diff_is_empty_exactly_where_everything_is_equal(redis_server: RedisServer, data: st.DataObject) -> None:
    """Of any two moments of any history of orders, accounts, positions, states and indexes: what `diff` names is what
    the plain values of the two states, one by one, differ in."""
    with redis_server.client() as client:
        client.flushall()
    node = n.Node(TRADER)
    with open_database(redis_server.url) as database:
        for _ in range(data.draw(st.integers(0, 8), label="calls")):
            what = data.draw(st.integers(0, 5), label="what")
            with contextlib.suppress(AlreadyAdded):
                write_any(data, node, database, what)
    with open_log(redis_server.url, TRADER) as log:
        end = log.end().position
        one, other = (state_at(log, data.draw(st.integers(0, end))) for _ in range(2))
    before, after = all_values(one), all_values(other)
    found = list(diff(one, other))
    assert {each[:2] for each in found} == {
        thing for thing in before.keys() | after.keys() if before.get(thing) != after.get(thing)
    }
    for each in found:
        thing = each.family, each.id
        assert (each.change == "added") <= (each.before is None)
        if not each.field:
            assert (each.before, each.after) == (before.get(thing), after.get(thing))


def write_any(data: st.DataObject, node: n.Node, database: RedisCacheDatabase, what: int) -> None:
    order_id = data.draw(st.sampled_from(n.ORDERS[:2]))
    if what == 0:
        database.add_order(node.new_order(data, order_id))
    elif what == 1:
        account_id = data.draw(st.sampled_from(sorted(n.ACCOUNT_TYPES)))
        database.add_account(node.new_account(data, account_id))
    elif what == 2:
        database.add_position(node.open_position(data, PositionId("P-1")))
    elif what == 3:
        database.update_strategy(n.State(StrategyId("S-1"), {"x": data.draw(st.binary(max_size=2))}))
    elif what == 4:
        database.add("key", data.draw(st.binary(max_size=2)))
    else:
        database.index_venue_order_id(order_id, VenueOrderId("V-1"))


def all_values(state: State) -> dict[tuple[str, str], Any]:
    found = {(family, an_id): value for family, an_id, value in values_of(state)}
    assert {family for family, _ in found} <= {family.name for family in FAMILIES}
    return found


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@effort(150)
@given(_PLAIN, _PLAIN)
def test_putting_the_differences_into_the_first_value_makes_the_second(one: Any, other: Any) -> None:
    """Of any two values: each place is named once, and nothing is left out."""
    assert not list(differing(one, copy.deepcopy(one)))
    found = list(differing(one, other))
    assert len({path for path, _, _ in found}) == len(found)
    made = [copy.deepcopy(one)]
    for path, _, new in sorted(found, key=lambda each: each[0], reverse=True):
        place: Any = made
        steps: list[Any] = [0, *(int(step[1:-1]) if step.startswith("[") else step for step in path)]
        for step in steps[:-1]:
            place = place[step]
        if new is ABSENT:
            del place[steps[-1]]
        elif isinstance(place, list) and steps[-1] == len(place):
            place.append(new)
        elif isinstance(place, list) and steps[-1] > len(place):
            place.extend([None] * (steps[-1] - len(place)))
            place.append(new)
        else:
            place[steps[-1]] = new
    assert not list(differing(made[0], other))


def test_a_flag_is_no_number() -> None:
    assert list(differing({"a": True}, {"a": 1})) == [(("a",), True, 1)]
    assert list(differing({"a": 1}, {"a": 1.0})) == [(("a",), 1, 1.0)]
    assert not list(differing({"a": float("nan")}, {"a": float("nan")}))
