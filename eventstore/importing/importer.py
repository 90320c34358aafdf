"""An import: read a keyspace, put what it holds in order of time, write it, and compare what was written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer
from eventstore.config import CacheDatabaseConfig
from eventstore.encoder import Encoder
from eventstore.errors import EventStoreError
from eventstore.importing.comparison import Comparison
from eventstore.importing.findings import Findings
from eventstore.importing.histories import OrderHistory
from eventstore.importing.plan import Plan
from eventstore.importing.source import SETS, Source
from eventstore.importing.spool import FIRST, LAST, Spool, Timed
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.events import OrderFilled, OrderUpdated
from eventstore.model.identifiers import ClientId, ClientOrderId, PositionId, TraderId
from eventstore.model.order import Order
from eventstore.persister import Persister, default_logger
from eventstore.storage.data_directory import is_data_directory
from eventstore.storage.location import redact
from eventstore.storage.nautilus import Keyspace, NautilusServer
from eventstore.storage.observer import observe

_BACKLOG: Final = 20_000
_PATIENCE_S: Final = 600.0
"""How long a server may take for what is in the backlog."""


class ImportFailed(EventStoreError):
    """An import can not be made, or did not come to its end; the message says why, and what was written."""


class Progress(Protocol):
    """What is told how far a step is."""

    def advance(self, count: int = 1) -> None:
        """So many more are done."""


Watch = Callable[[str, int | None], AbstractContextManager[Progress]]
"""Begins a step: what is done, and how many there are, if that is known."""


@dataclass(slots=True)
class Outcome:
    """What an import found and did.

    Attributes
    ----------
    log_id : TraderId
        What the log is named after: the trader, and the instance if the source's keys name one.
    keys : int
        Keys of the keyspace that hold objects.
    values : dict
        Values by encoding.
    counts : Counter
        What the store has now, or would have.
    entries : int
        Commands.
    is_net : bool
        Whether commissions in the base currency of a pair come off its positions.
    span_ns : tuple, optional
        Times of the first and the last event, UNIX nanoseconds; None if nothing has a time.
    epoch, position : int, optional
        Of the log behind it; None if nothing was written.
    comparison : Comparison, optional
        None if nothing was written.
    """

    log_id: TraderId
    keyspace: Keyspace
    findings: Findings
    keys: int = 0
    values: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    is_net: bool = True
    span_ns: tuple[int, int] | None = None
    epoch: int | None = None
    position: int | None = None
    comparison: Comparison | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the store has everything, and as the source has it."""
        return self.findings.lost == 0 and (self.comparison is None or self.comparison.count == 0)


def import_keyspace(
    server: NautilusServer, keyspace: Keyspace, to: str, dry_run: bool, watch: Watch, is_net: bool | None = None
) -> Outcome:
    """Bring a keyspace into a store that has no log of its trader yet, and compare.

    It reads the source twice: to write, and to compare with what was written.

    Parameters
    ----------
    to : str
        A URL, or the data directory of an embedded server.
    dry_run : bool
        Whether nothing is written.
    is_net : bool, optional
        Whether a commission in the base currency of a pair comes off the quantity of its position, see
        `eventstore.model.PositionBasis`. Default: what the keyspace tells.

    Raises
    ------
    ImportFailed
        If there is a log already, or not everything was written.
    StorageError
        If a server can not be reached or refuses.
    ModelError
        If the trader's id is not a possible one.
    """
    log_id = TraderId(keyspace.log_id)
    refuse_existing(to, log_id)
    config = replace(CacheDatabaseConfig.at(to), backlog_count_max=_BACKLOG, block_timeout_s=_PATIENCE_S)
    outcome = Outcome(log_id, keyspace, Findings())
    source = Source(server, keyspace, outcome.findings, config.value_bytes_max)
    with Spool() as spool:
        with watch("reading", None) as progress:
            source.on_key = progress.advance
            outcome.keys = source.scan()
        job = _Import(source, spool, outcome, is_net)
        with watch("reading", outcome.keys) as progress:
            source.on_key = progress.advance
            job.plan()
        if not dry_run:
            persister = Persister(log_id, config, default_logger(log_id))
            try:
                job.write(persister, watch)
                with watch("comparing", outcome.keys) as progress:
                    source.on_key = progress.advance
                    source.findings = Findings()  # of the same values: told already
                    job.compare(Comparison(persister.reader, persister.keys, MsgPackSerializer()))
            finally:
                persister.close(config.close_timeout_s)
    return outcome


def refuse_existing(to: str, log_id: TraderId) -> None:
    """Raise `ImportFailed` if there is a log of that name at `to`."""
    if "://" not in to and not is_data_directory(to):
        return
    with observe(to) as observer:
        fence = observer.reader(log_id).fence()
    if fence is not None:
        raise ImportFailed(
            f"{redact(to)}: {log_id} has a log there already, with {fence.position} entries, and an import begins "
            f"one. Name another place; or, if an import left it that failed, delete the keys {Keys(log_id).prefix}* "
            "there"
        )


class _Import:
    def __init__(self, source: Source, spool: Spool, outcome: Outcome, is_net: bool | None) -> None:
        self._is_net = is_net
        self._updates_say: bool | None = None
        self._source = source
        self._spool = spool
        self._outcome = outcome
        self._serializer = MsgPackSerializer(timestamps_as_str=False)
        self._plan = Plan(Encoder(self._serializer, outcome.log_id))
        self._now = time.time_ns()
        self._position_of: dict[ClientOrderId, PositionId] = {}
        self._client_of: dict[ClientOrderId, ClientId] = {}
        self._venue_id_of: dict[str, str] = {}
        self._sets: dict[str, set[str]] = {name: set() for name in SETS}

    # -- Reading -----------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Put everything that is found into the spool."""
        source, plan, put, counts = self._source, self._plan, self._spool.put, self._outcome.counts
        for currency in source.currencies():
            put(plan.currency(currency))
            counts["currencies"] += 1
        for instrument in source.instruments():
            put(plan.instrument(instrument))
            counts["instruments"] += 1
        for synthetic in source.synthetics():
            put(plan.synthetic(synthetic))
            counts["synthetics"] += 1
        for account in source.accounts():
            self._put_all("account_events", plan.account(account))
            counts["accounts"] += 1
        self._plan_orders()
        self._outcome.is_net = source.decide_net(self._is_net, self._updates_say)
        self._plan_positions()
        for order_id, states in source.snapshots("orders"):
            self._put_all("order_snapshots", (plan.order_snapshot(order_id, state) for state in states))
        for position_id, states in source.snapshots("positions"):
            self._put_all("position_snapshots", (plan.position_snapshot(position_id, state) for state in states))
        self._put_all("general", (plan.general(*each) for each in source.general()))
        self._put_all("actors", (plan.actor(*each) for each in source.states("actors")))
        self._put_all("strategies", (plan.strategy(*each) for each in source.states("strategies")))
        heartbeat = source.heartbeat()
        self._put_all("heartbeats", () if heartbeat is None else (plan.heartbeat(heartbeat),))
        for name in SETS:
            source.compare_set(name, self._sets[name])
        outcome = self._outcome
        outcome.values = dict(source.values)
        outcome.entries = len(self._spool)
        outcome.span_ns = self._spool.span()

    def _put_all(self, name: str, commands: Iterable[Timed]) -> None:
        for timed in commands:
            self._spool.put(timed)
            self._outcome.counts[name] += 1

    def _plan_orders(self) -> None:
        source, counts = self._source, self._outcome.counts
        self._position_of = source.positions_of_orders()
        self._client_of = source.clients_of_orders()
        for history in source.orders():
            order_id = history.order.client_order_id
            position_id = self._position_of.get(order_id)
            for timed in self._plan.order(history, position_id, self._client_of.get(order_id)):
                self._spool.put(timed)
            counts["orders"] += 1
            counts["order_events"] += len(history.steps)
            self._note(history)
        self._spool.index_fills()
        there = self._sets["orders"]
        for order_id, position_id in self._position_of.items():
            if order_id not in there:
                self._spool.put(self._plan.position_of_nothing(order_id, position_id))
        strays = [order_id for order_id in self._client_of if order_id not in there]
        for order_id in strays:
            del self._client_of[order_id]
        if strays:
            source.tell_index("order_client", f"{len(strays)} are of orders that are not there, such as {strays[0]}")
        counts["positions_of_orders"] = len(self._position_of)
        counts["clients_of_orders"] = len(self._client_of)
        counts["venue_order_ids"] = len(self._venue_id_of)

    def _note(self, history: OrderHistory) -> None:
        """Note what follows from an order: the sets that it is in, and the fills that positions may need."""
        order, order_id = history.order, history.order.client_order_id
        for name, is_in in _memberships(order).items():
            if is_in:
                self._sets[name].add(order_id)
        if order.venue_order_id is not None:
            self._venue_id_of[order_id] = order.venue_order_id
        for step in history.steps:
            event = step.event
            if isinstance(event, OrderFilled) and event.position_id is not None:
                self._spool.put_fill(event.position_id, event.ts_init, self._serializer.serialize(event))
            elif isinstance(event, OrderUpdated):
                self._updates_say = bool(self._updates_say) or event.is_quote_quantity is not None

    def _plan_positions(self) -> None:
        counts = self._outcome.counts
        for position_id, history in self._source.positions(self._spool):
            self._put_all("position_events", self._plan.position(position_id, history))
            counts["positions"] += 1
            counts["position_cycles"] += len(history.cycles)
            self._sets["positions"].add(position_id)
            self._sets["positions_open" if history.cycles[-1].is_open else "positions_closed"].add(position_id)

    # -- Writing -----------------------------------------------------------------------------------------------

    def write(self, persister: Persister, watch: Watch) -> None:
        """Write what is in the spool, each entry with its own time, but none with one that is still to come.

        Raises
        ------
        ImportFailed
            If somebody else has begun the log meanwhile, or not everything was written.
        """
        first, last = self._outcome.span_ns or (self._now, self._now)
        times = {FIRST: min(first, self._now), LAST: min(last, self._now)}
        persister.start(opened_ns=times[FIRST])
        if persister.epoch != 1:
            raise ImportFailed(f"somebody else began a log of {self._outcome.log_id} there meanwhile")
        with watch("writing", len(self._spool)) as progress:
            for at, name, payload in self._spool.in_order():
                at_ns = times.get(at, min(at, self._now))
                persister.accept("import", name, c.decode, (payload,), len(payload), accepted_ns=at_ns)
                progress.advance()
            self._outcome.position = persister.sync(_PATIENCE_S)
        self._outcome.epoch = persister.epoch
        if quarantined := persister.stats().quarantined:
            raise ImportFailed(f"{quarantined} of {len(self._spool)} commands could not be written; see the log")

    # -- Comparing ---------------------------------------------------------------------------------------------

    def compare(self, comparison: Comparison) -> None:
        """Read the source again, and compare what it holds with what the store has now."""
        source, keys = self._source, Keys(self._outcome.log_id)
        self._outcome.comparison = comparison
        comparison.records("currency", keys.currencies, ((each.code, each) for each in source.currencies()))
        comparison.records("instrument", keys.instruments, ((each.id, each) for each in source.instruments()))
        comparison.records("synthetic", keys.synthetics, ((each.id, each) for each in source.synthetics()))
        accounts: set[str] = set()
        comparison.accounts(_noting(accounts, source.accounts()))
        comparison.members("account", keys.accounts, accounts)
        comparison.orders(map(self._indexed, source.orders()))
        comparison.positions(source.positions(self._spool))
        for name in SETS[1:]:  # the venue order ids are a hash here
            comparison.members(name, getattr(keys, name), self._sets[name])
        comparison.snapshots("order_snapshot", keys.order_snapshots, source.snapshots("orders"))
        comparison.snapshots("position_snapshot", keys.position_snapshots, source.snapshots("positions"))
        comparison.general(keys.general, source.general())
        comparison.states("actor", keys.actors, source.states("actors"))
        comparison.states("strategy", keys.strategies, source.states("strategies"))
        heartbeat = source.heartbeat()
        comparison.texts("heartbeat", keys.heartbeat, [] if heartbeat is None else [("timestamp", str(heartbeat))])
        comparison.texts("position_of_order", keys.index_order_position, self._position_of.items())
        comparison.texts("client_of_order", keys.index_order_client, self._client_of.items())
        comparison.texts("venue_order_id", keys.index_venue_order_id, self._venue_id_of.items())

    def _indexed(self, history: OrderHistory) -> OrderHistory:
        """Return the order as a load gives it: one that no fill names a position of gets that of the index."""
        order = history.order
        position_id = self._position_of.get(order.client_order_id)
        if order.position_id is None and position_id is not None:
            order.position_id = position_id
        return history


def _memberships(order: Order) -> dict[str, bool]:
    return {
        "orders": True,
        "orders_open": order.is_open,
        "orders_closed": order.is_closed,
        "orders_inflight": order.is_inflight,
        "orders_emulated": order.is_emulated,
        "order_ids": order.venue_order_id is not None,
    }


def _noting(ids: set[str], accounts: Iterable[Account]) -> Iterator[Account]:
    for account in accounts:
        ids.add(account.id)
        yield account
