"""Any sequence of calls about orders, positions and accounts, with purges: nothing is gone that was not closed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from eventstore import commands as c
from eventstore.model.events import OrderDenied
from eventstore.model.identifiers import AccountId, ClientOrderId, PositionId
from tests.support.effort import effort
from tests.support.redis_server import RedisServer
from tests.test_database_machine import (
    CacheDatabaseMachine,
    WrittenOrder,
    account_ids,
    order_ids,
    position_ids,
    registry,  # noqa: F401 - a fixture
    shown_position,
)


class PurgeMachine(CacheDatabaseMachine):
    """The calls of a node that begins and ends things all the time, and purges them."""

    # What purges have nothing to do with.
    add: Any = None
    add_currency: Any = None
    add_instrument: Any = None
    add_synthetic: Any = None
    update_and_delete_actor: Any = None
    update_and_delete_strategy: Any = None
    heartbeat: Any = None
    sync: Any = None
    flush: Any = None

    @rule(data=st.data(), order_id=order_ids, amend=st.booleans())
    def deny_order(self, data: st.DataObject, order_id: ClientOrderId, amend: bool) -> None:
        """An order that was denied at once; and one of that id that another instance has left begins anew."""
        if order_id in self.known_orders:
            return
        order = self.node.new_order(data, order_id)
        if amend:
            self.node.amend(data, order)
        order.apply(self.node._event(data, order, OrderDenied))
        self.database.add_order(order)
        self.orders[order_id] = order
        self.known_orders.add(order_id)
        self.written.orders[order_id] = WrittenOrder(order)
        self.expected.append(c.AddOrder)

    @rule(data=st.data(), position_id=position_ids, cycles=st.integers(1, 4))
    def round_trips(self, data: st.DataObject, position_id: PositionId, cycles: int) -> None:
        """A position that is opened and closed, again and again, until it is flat."""
        for _ in range(cycles):
            position = self.node.open_position(data, position_id)
            self.database.add_position(position)
            self._begin_cycle(position)
            while position.is_open:
                self.node.fill_position(data, position)
            self.database.update_position(position)
            self.written.positions[position_id] = shown_position(position)
            self.expected.append(c.WritePosition)

    @rule(data=st.data(), account_id=account_ids)
    def account_goes_on(self, data: st.DataObject, account_id: AccountId) -> None:
        if account_id not in self.known_accounts:
            self.add_account(data, account_id, 1)
        else:
            self.update_account(data, account_id, 2)

    def teardown(self) -> None:
        """In the end, what came in the first half is purged, and then what is left."""
        try:
            if hasattr(self, "database"):
                times = self._times()
                for moment_ns in (*times[len(times) // 2 :][:1], 2**62):
                    self._purge(moment_ns, account_events=True)
                    self.everything_is_as_it_was_written()
        finally:
            super().teardown()


@pytest.mark.usefixtures("registry")
def test_any_sequence_of_calls_and_purges(redis_server: RedisServer) -> None:
    """The views equal the fold of the log byte for byte; loads give what was written and is not purged; what was purged
    is what was closed, and old enough; what began again since is whole."""
    machine = type("Machine", (PurgeMachine,), {"server": redis_server})
    run_state_machine_as_test(machine, settings=effort(examples=25, steps=25))
