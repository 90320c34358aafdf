"""What is found in a keyspace as the commands that a node would have written, each with its time. Pure: no I/O.

The time of a command is when the node had the event: its `ts_init`. What has no time goes where a reader expects it:
currencies and instruments before everything, saved states and general values, which are the last ones, behind
everything. At one time, orders come before positions, and those before the states of accounts, as in a node; but for
the first state of an account, which orders rest on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from eventstore import commands as c
from eventstore.encoder import Encoder
from eventstore.importing.histories import OrderHistory, PositionHistory, times_of
from eventstore.importing.spool import FIRST, LAST, Timed
from eventstore.model.accounts import Account
from eventstore.model.currency import Currency
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import ClientId, PositionId
from eventstore.model.instrument import Instrument
from eventstore.model.synthetic import SyntheticInstrument

CURRENCY: Final = 0
INSTRUMENT: Final = 1
SYNTHETIC: Final = 2
NEW_ACCOUNT: Final = 3
ORDER: Final = 4
POSITION: Final = 5
ACCOUNT: Final = 6
SNAPSHOT: Final = 7
STATE: Final = 8


class Plan:
    """Turns what is found into commands."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def currency(self, currency: Currency) -> Timed:
        return Timed(FIRST, CURRENCY, currency.code, self._encoder.currency(currency.code, currency))

    def instrument(self, instrument: Instrument) -> Timed:
        return Timed(FIRST, INSTRUMENT, instrument.id, self._encoder.instrument(instrument.id, instrument))

    def synthetic(self, synthetic: SyntheticInstrument) -> Timed:
        return Timed(FIRST, SYNTHETIC, synthetic.id, self._encoder.synthetic(synthetic.id, synthetic))

    def account(self, account: Account) -> Iterator[Timed]:
        """Yield a command for each state of an account."""
        events = account._events
        for version, (at, event) in enumerate(zip(times_of(events), events, strict=True)):
            rank = ACCOUNT if version else NEW_ACCOUNT
            yield Timed(at, rank, account.id, self._encoder.account(account.id, version, (event,)))

    def order(
        self, history: OrderHistory, position_id: PositionId | None, client_id: ClientId | None
    ) -> Iterator[Timed]:
        """Yield a command for each event of an order, and those that index it.

        Which position it belongs to is said behind the fill that names it, or else behind the last event. What the
        venue calls it, behind each event that says something new.
        """
        order_id = history.order.client_order_id
        times = times_of([step.event for step in history.steps])
        indexed_at = _indexed_at(history, position_id)
        for version, (at, step) in enumerate(zip(times, history.steps, strict=True)):
            state = (order_id, version, step.status, step.emulated, (step.event,))
            command: c.Command = (
                self._encoder.add_order(*state, None, client_id, None)
                if step.begins
                else self._encoder.update_order(*state, None)
            )
            yield Timed(at, ORDER, order_id, command)
            if step.venue_order_id is not None:
                yield Timed(at, ORDER, order_id, c.IndexVenueOrderId(order_id, step.venue_order_id))
            if version == indexed_at and position_id is not None:
                added = True  # the order is there, so it is told, too
                yield Timed(at, ORDER, order_id, c.IndexOrderPosition(order_id, position_id, added))

    def position_of_nothing(self, order_id: str, position_id: str) -> Timed:
        """Return the command that keeps the position of an order that is not there."""
        added = False
        return Timed(LAST, ORDER, order_id, c.IndexOrderPosition(order_id, position_id, added))

    def position(self, position_id: str, history: PositionHistory) -> Iterator[Timed]:
        """Yield a command for each fill of a position, cycle by cycle."""
        fills = [(cycle, version) for cycle in history.cycles for version in range(len(cycle._events))]
        times = times_of([cycle._events[version] for cycle, version in fills])
        for at, (cycle, version) in zip(times, fills, strict=True):
            # A cycle is open behind each of its fills but the one that closes it, which is its last one.
            is_open = cycle.is_open or version < len(cycle._events) - 1
            basis = None if version else history.basis
            events = (cycle._events[version],)
            yield Timed(at, POSITION, position_id, self._encoder.position(position_id, version, is_open, events, basis))

    def order_snapshot(self, order_id: str, state: dict[str, Any]) -> Timed:
        return Timed(state["ts_last"], SNAPSHOT, order_id, self._encoder.snapshot_order(order_id, state, None))

    def position_snapshot(self, position_id: str, state: dict[str, Any]) -> Timed:
        return Timed(state["ts_snapshot"], SNAPSHOT, position_id, self._encoder.snapshot_position(position_id, state))

    def general(self, key: str, value: bytes) -> Timed:
        return Timed(LAST, STATE, key, c.Add(key, value))

    def actor(self, component_id: str, state: dict[str, bytes]) -> Timed:
        return Timed(LAST, STATE, component_id, self._encoder.actor(component_id, state))

    def strategy(self, strategy_id: str, state: dict[str, bytes]) -> Timed:
        return Timed(LAST, STATE, strategy_id, self._encoder.strategy(strategy_id, state))

    def heartbeat(self, timestamp: int) -> Timed:
        return Timed(timestamp, STATE, "", c.Heartbeat(timestamp))


def _indexed_at(history: OrderHistory, position_id: PositionId | None) -> int:
    for version, step in enumerate(history.steps):
        if isinstance(step.event, OrderFilled) and step.event.position_id == position_id:
            return version
    return len(history.steps) - 1
