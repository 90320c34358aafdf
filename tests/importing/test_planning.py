"""Events of many objects become one sequence in time; cycles that were deleted are rebuilt from orders."""

import json
import math
from collections import defaultdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from eventstore.audit.decoding import event_in
from eventstore.codec import MsgPackSerializer
from eventstore.encoder import Encoder
from eventstore.importing.cycles import earlier_cycles
from eventstore.importing.findings import Findings
from eventstore.importing.histories import account_history, add_fill, order_history, times_of
from eventstore.importing.plan import Plan
from eventstore.importing.spool import FIRST, LAST, Spool, Timed
from eventstore.model import TraderId
from eventstore.model.currency import Currency
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import InstrumentId
from eventstore.model.position_basis import PositionBasis
from eventstore.model.positions import Position
from eventstore.model.values import Quantity
from tests.support.effort import effort

USD = Currency.from_str("USD")
TRADER = TraderId("T-1")
BASIS = PositionBasis(
    InstrumentId("A.B"), 0, Quantity("1"), is_inverse=False, quote_currency=USD, settlement_currency=USD
)


def values(kind: str, number: int, ts_init: int, **others: object) -> dict[str, Any]:
    common = {"type": kind, "event_id": str(UUID(int=number)), "ts_event": ts_init, "ts_init": ts_init}
    return common | {"trader_id": TRADER, "strategy_id": "S-1", "instrument_id": "A.B"} | others


def fill(number: int, ts_init: int, order_id: str, side: str, quantity: int, commission: str) -> dict[str, Any]:
    return values(
        "OrderFilled",
        number,
        ts_init,
        client_order_id=order_id,
        venue_order_id=f"V-{order_id}",
        account_id="B-1",
        trade_id=f"E-{number}",
        position_id="P-1",
        order_side=side,
        order_type="MARKET",
        last_qty=str(quantity),
        last_px="1.25",
        currency="USD",
        commission=f"{commission} USD",
        liquidity_side="TAKER",
    )


def order_events(order_id: str, times: list[int]) -> list[bytes]:
    """As many events as there are times: made, submitted, and filled one by one."""
    base = int.from_bytes(order_id.encode()) << 32
    made = values(
        "OrderInitialized",
        base,
        times[0],
        client_order_id=order_id,
        order_side="BUY",
        order_type="MARKET",
        quantity=str(len(times)),
        time_in_force="GTC",
        options={},
    )
    sent = values("OrderSubmitted", base + 1, times[1], client_order_id=order_id, account_id="B-1")
    fills = [fill(base + n, ts, order_id, "BUY", 1, "0.10") for n, ts in enumerate(times[2:], 2)]
    return [json.dumps(each).encode() for each in (made, sent, *fills)]


def account_events(account_id: str, times: list[int]) -> list[bytes]:
    base = int.from_bytes(account_id.encode()) << 32
    states = [
        values(
            "AccountState", base + n, ts, account_id=account_id, account_type="CASH", base_currency="USD", balances=[]
        )
        for n, ts in enumerate(times)
    ]
    foreign = ("trader_id", "strategy_id", "instrument_id")
    return [json.dumps({name: each[name] for name in each if name not in foreign}).encode() for each in states]


clocks = st.lists(st.integers(1, 60), min_size=2, max_size=6)


@effort(60)
@given(
    st.dictionaries(st.sampled_from([f"O-{n}" for n in range(12)]), clocks, max_size=6),
    st.dictionaries(st.sampled_from(["A-1", "A-2"]), clocks, max_size=2),
    st.randoms(use_true_random=False),
)
def test_the_log_is_in_order_of_time_and_each_object_in_its_own(
    orders: dict[str, list[int]], accounts: dict[str, list[int]], shuffle: Any
) -> None:
    """Times never go back; every event is there once; an object's events stay in the order of its list.

    Also where the clock of one went back, and in whatever order the objects are read.
    """
    plan, findings, serializer = Plan(Encoder(MsgPackSerializer(), TRADER)), Findings(), MsgPackSerializer()
    found: list[list[Timed]] = []
    expected: dict[str, list[str]] = {}
    for order_id, times in orders.items():
        history = order_history("key", order_id, TRADER, order_events(order_id, times), findings)
        assert history is not None
        found.append(list(plan.order(history, None, None)))
        expected[order_id] = [event.event_id for event in history.order.events]
        assert len(expected[order_id]) == len(times)
    for account_id, times in accounts.items():
        account = account_history("key", account_id, account_events(account_id, times), findings)
        assert account is not None
        found.append(list(plan.account(account)))
        expected[account_id] = [event.event_id for event in account.events]
    assert not findings.counts
    found += [[Timed(FIRST, 0, "first", c.Add("first", b""))], [Timed(LAST, 0, "last", c.Add("last", b""))]]
    shuffle.shuffle(found)
    with Spool() as spool:
        for timed in (each for group in found for each in group):
            spool.put(timed)
        rows = list(spool.in_order())
        every = [ts for times in (*orders.values(), *accounts.values()) for ts in times]
        span = spool.span()
        assert span is None if not every else span is not None and span[0] >= min(every) and span[1] == max(every)
    assert [at for at, _, _ in rows] == sorted(at for at, _, _ in rows)
    assert (rows[0][1], rows[-1][1]) == ("first", "last")
    seen: dict[str, list[str]] = defaultdict(list)
    indexed: list[str] = []
    for at, name, payload in rows[1:-1]:
        command = c.decode(payload)
        if isinstance(command, c.IndexVenueOrderId):
            indexed.append(name)
            continue
        assert isinstance(command, c.AddOrder | c.UpdateOrder | c.WriteAccount)
        assert command.version == len(seen[name])
        event: Any = event_in(command, command.events[0], TRADER, serializer)
        seen[name].append(event.event_id)
        times = orders[name] if name in orders else accounts[name]
        assert at == max(times[: command.version + 1])
    assert seen == expected
    assert sorted(indexed) == sorted(order_id for order_id, times in orders.items() if len(times) > 2)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_an_object_whose_clock_never_went_back_keeps_its_times(times: list[int]) -> None:
    class Event:
        def __init__(self, ts_init: int) -> None:
            self.ts_init = ts_init

    found = times_of([Event(ts) for ts in times])
    assert found == sorted(found)
    if times == sorted(times):
        assert found == times


trades = st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(1, 9)), min_size=1, max_size=12)


@effort(150)
@given(trades, st.data())
def test_cycles_that_were_deleted_are_rebuilt_from_the_fills_of_orders(
    traded: list[tuple[str, int]], data: st.DataObject
) -> None:
    """A node divides each fill that turns the position over; what it deleted comes back fill by fill."""
    orders = [
        OrderFilled.from_dict(fill(n, n, f"O-{n}", side, quantity, f"{quantity}.{n:02}"))
        for n, (side, quantity) in enumerate(traded, 1)
    ]
    cycles = as_a_node_does(orders)
    kept = data.draw(st.integers(0, len(cycles) - 1))
    first = cycles[kept].events[0]
    found = earlier_cycles("P-1", BASIS, first, orders)
    assert found is not None
    assert [list(map(shown, cycle.events)) for cycle in found] == [
        list(map(shown, cycle.events)) for cycle in cycles[:kept]
    ]
    assert [cycle.realized_pnl for cycle in found] == [cycle.realized_pnl for cycle in cycles[:kept]]
    again = earlier_cycles("P-1", BASIS, first, orders)
    assert again is not None
    assert [cycle.events for cycle in again] == [cycle.events for cycle in found], "not the same each time"


def test_cycles_of_which_an_order_is_gone_are_not_made_up() -> None:
    orders = [
        OrderFilled.from_dict(fill(n, n, f"O-{n}", side, quantity, "0.01"))
        for n, (side, quantity) in enumerate([("BUY", 5), ("SELL", 5), ("BUY", 3)], 1)
    ]
    assert earlier_cycles("P-1", BASIS, orders[2], orders[1:]) is None
    assert earlier_cycles("P-1", BASIS, orders[2], orders[:2]) is None
    assert earlier_cycles("P-1", BASIS, orders[2], []) is None
    assert earlier_cycles("P-1", BASIS, orders[2], [orders[2]]) == []


def shown(event: OrderFilled) -> tuple[object, ...]:
    return event.trade_id, event.client_order_id, event.order_side, event.last_qty, event.commission, event.ts_init


def as_a_node_does(orders: list[OrderFilled]) -> list[Position]:
    cycles: list[Position] = []
    for number, each in enumerate(orders):
        held = cycles[-1] if cycles and cycles[-1].is_open else None
        if held is None or held.is_long is each.is_buy or each.last_qty <= held.quantity:
            add_fill(cycles, BASIS, each)
            continue
        share = Decimal(held.quantity) / Decimal(each.last_qty)
        paid = Decimal(math.floor(float(each.commission.amount * share) * 100 + 0.5)) / 100
        rest = each.commission.amount - paid
        left = Quantity(each.last_qty - held.quantity)
        money = type(each.commission)
        add_fill(cycles, BASIS, each.replace(last_qty=Quantity(held.quantity), commission=money(paid, USD)))
        second = type(each.event_id)(str(UUID(int=10_000 + number)))
        add_fill(cycles, BASIS, each.replace(event_id=second, last_qty=left, commission=money(rest, USD)))
    return cycles
