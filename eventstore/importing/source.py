"""A keyspace of NautilusTrader's cache database, object by object.

It holds the names of the keyspace's keys, and what positions have to know of each instrument; beside those, one page of
objects at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from eventstore.codec import MsgPackSerializer
from eventstore.importing import decoding
from eventstore.importing.cycles import earlier_cycles
from eventstore.importing.decoding import Unreadable
from eventstore.importing.findings import Findings
from eventstore.importing.histories import (
    OrderHistory,
    PositionHistory,
    account_history,
    order_history,
    position_history,
)
from eventstore.importing.reads import Reads
from eventstore.importing.spool import Spool
from eventstore.model.accounts import Account
from eventstore.model.currency import Currency
from eventstore.model.errors import ModelError
from eventstore.model.events import OrderFilled
from eventstore.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    ComponentId,
    Identifier,
    PositionId,
    StrategyId,
    TraderId,
)
from eventstore.model.instrument import Instrument
from eventstore.model.instruments import CurrencyPair
from eventstore.model.position_basis import PositionBasis
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.states import pack_snapshot, unpack_snapshot
from eventstore.storage.nautilus import Keyspace, NautilusServer, WrongType

B = TypeVar("B", bound=Identifier)

SETS: Final = (
    "order_ids",
    "orders",
    "orders_open",
    "orders_closed",
    "orders_inflight",
    "orders_emulated",
    "positions",
    "positions_open",
    "positions_closed",
)
"""The indexes that are sets of ids. They follow from the events, so they are not imported, but compared."""

_FAMILIES: Final = (
    "currencies",
    "instruments",
    "synthetics",
    "accounts",
    "orders",
    "positions",
    "general",
    "actors",
    "strategies",
)
_SNAPSHOTS: Final = ("snapshots:orders", "snapshots:positions")
_STATE: Final = ":state"
_INDEXES: Final = frozenset(f"index:{name}" for name in (*SETS, "order_position", "order_client"))
_HEARTBEAT: Final = "health:heartbeat"
_OF_AN_INSTANCE: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:", re.ASCII)


class Source(Reads):
    """What a keyspace holds. The methods that yield objects tell `findings` of what can not be read."""

    def __init__(self, server: NautilusServer, keyspace: Keyspace, findings: Findings, value_bytes_max: int) -> None:
        super().__init__(server, keyspace, findings, value_bytes_max)
        self.trader_id = TraderId(keyspace.trader_id)
        self._bases: dict[str, PositionBasis] = {}
        self._pairs: set[str] = set()
        self._is_net = True
        self._is_net_known = False
        self._serializer = MsgPackSerializer()

    def scan(self) -> int:
        """Find the names of all keys; return how many there are."""
        found: dict[str, set[str]] = {name: set() for name in (*_FAMILIES, *_SNAPSHOTS)}
        others: set[str] = set()
        for raw in self._server.names(self.keyspace, self.on_key):
            try:
                name = raw.decode()
            except UnicodeDecodeError:
                self.findings.add("foreign", self._key(repr(raw)), "the name is not UTF-8")
                continue
            family, _, an_id = name.partition(":")
            if family == "snapshots":
                kind, _, an_id = an_id.partition(":")
                family = f"snapshots:{kind}"
            elif family in ("actors", "strategies"):
                an_id = an_id.removesuffix(_STATE) if an_id.endswith(_STATE) else ""
            if family in found and an_id:
                found[family].add(an_id)
            elif name not in _INDEXES and name != _HEARTBEAT and not _OF_AN_INSTANCE.match(name):
                others.add(name)
        # The message bus writes its streams under the same prefix.
        for name, kind in self._server.kinds(self.keyspace, sorted(others)):
            if kind != "stream":
                self.findings.add("foreign", self._key(name), f"a {kind} that is none of the cache's")
        self.names = {family: sorted(ids, key=lambda each: (len(each), each)) for family, ids in found.items()}
        return sum(map(len, self.names.values()))

    # -- What has no history -----------------------------------------------------------------------------------

    def currencies(self) -> Iterator[Currency]:
        """Yield the currencies, and make them known."""
        for code, data in self._strings("currencies"):
            currency = self._read("currencies", code, decoding.read_currency, code, data)
            if currency is not None:
                Currency.register(currency)
                yield currency

    def instruments(self) -> Iterator[Instrument]:
        """Yield the instruments."""
        for instrument_id, data in self._strings("instruments"):
            found = self._read("instruments", instrument_id, decoding.read_instrument, data)
            if found is not None and self._is_named("instruments", instrument_id, found[0].id):
                self._tell_not_kept("instruments", instrument_id, *found)
                self._note_basis(instrument_id, found[0])
                yield found[0]

    def _note_basis(self, instrument_id: str, instrument: Instrument) -> None:
        try:
            self._bases[instrument.id] = PositionBasis.from_instrument(instrument)
            if isinstance(instrument, CurrencyPair):
                self._pairs.add(instrument.id)
        except ModelError as error:
            key = self._key("instruments", instrument_id)
            self.findings.add("unreadable", key, f"no position can have it: {error}")

    def synthetics(self) -> Iterator[SyntheticInstrument]:
        """Yield the synthetic instruments."""
        for instrument_id, data in self._strings("synthetics"):
            found = self._read("synthetics", instrument_id, decoding.read_synthetic, data)
            if found is not None and self._is_named("synthetics", instrument_id, found[0].id):
                self._tell_not_kept("synthetics", instrument_id, *found)
                yield found[0]

    def general(self) -> Iterator[tuple[str, bytes]]:
        """Yield the general values by key."""
        for key, data in self._strings("general", has_encoding=False):
            if self._identifier(Identifier, "general", key) is not None and self._fits("general", key, len(data)):
                yield key, data

    def states(self, family: str) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield the saved states of "actors" or "strategies"."""
        kind = StrategyId if family == "strategies" else ComponentId
        for an_id, data in self._strings(family, _STATE):
            read = self._read(family, an_id + _STATE, decoding.read_state, data)
            if read is None or self._identifier(kind, family, an_id) is None:
                continue
            state, repaired, left = read
            key = self._key(family, an_id + _STATE)
            for name in repaired:
                self.findings.add("corrected", key, f"{name!r} was written as text for what is bytes")
            for name in left:
                self.findings.add("unreadable", key, f"the value of {name!r} is no bytes")
            size = sum(len(name.encode()) + len(value) for name, value in state.items())
            if self._fits(family, an_id + _STATE, size):
                yield an_id, state

    def heartbeat(self) -> int | None:
        """Return the last heartbeat, UNIX nanoseconds."""
        for _, data in self._server.strings(self.keyspace, [_HEARTBEAT]):
            checked = self._checked(_HEARTBEAT, data)
            if checked is not None:
                return self._read("health", "heartbeat", decoding.read_heartbeat, checked)
        return None

    def decide_net(self, chosen: bool | None, updates_say: bool | None) -> bool:
        """Decide whether commissions come off positions, and return that: NautilusTrader's versions differ in it.

        It is not written anywhere. Older versions leave other traces: events among the ids of `index:positions_open`
        and `index:positions_closed`, and an `OrderUpdated` that does not say whether its quantity is in quote currency.

        Parameters
        ----------
        chosen : bool, optional
            What somebody knows.
        updates_say : bool, optional
            Whether any `OrderUpdated` says that of its quantity; None if there is none.
        """
        self._is_net_known = chosen is not None
        if chosen is not None:
            self._is_net = chosen
        elif updates_say is not None:
            self._is_net = updates_say
        else:
            found = (self._server.members(self.keyspace, f"index:positions_{state}") for state in ("open", "closed"))
            self._is_net = not any(
                _is_map(member) for members in found if not isinstance(members, WrongType) for member in members
            )
        return self._is_net

    def _basis_of(self, instrument_id: str) -> PositionBasis | None:
        basis = self._bases.get(instrument_id)
        if basis is None or basis.base_currency is None or instrument_id not in self._pairs:
            return basis
        return basis.replace(quantity_net_of_commission=self._is_net)

    def _tell_of_commissions(self, key: str, history: PositionHistory) -> None:
        base = history.basis.base_currency
        if self._is_net_known or base is None or history.basis.instrument_id not in self._pairs:
            return
        if any(fill.commission.currency == base for cycle in history.cycles for fill in cycle._events):
            text = f"commissions in {base} {'come' if self._is_net else 'do not come'} off its quantity, as in the"
            version = "1.231" if self._is_net else "1.221"
            self.findings.add("assumed", key, f"{text} NautilusTrader {version} that seems to have written it")

    # -- What has one ------------------------------------------------------------------------------------------

    def accounts(self) -> Iterator[Account]:
        """Yield the accounts."""
        for account_id, values in self._lists("accounts"):
            if self._identifier(AccountId, "accounts", account_id) is not None:
                key = self._key("accounts", account_id)
                account = account_history(key, account_id, values, self.findings)
                if account is not None:
                    yield account

    def orders(self) -> Iterator[OrderHistory]:
        """Yield the orders."""
        for order_id, values in self._lists("orders"):
            history = order_history(self._key("orders", order_id), order_id, self.trader_id, values, self.findings)
            if history is not None:
                yield history

    def positions(self, spool: Spool) -> Iterator[tuple[str, PositionHistory]]:
        """Yield the positions by id, with the earlier cycles that follow from the fills of orders in `spool`."""
        for position_id, values in self._lists("positions"):
            if self._identifier(PositionId, "positions", position_id) is None:
                continue
            key = self._key("positions", position_id)
            history = position_history(key, position_id, self.trader_id, values, self._basis_of, self.findings)
            if history is not None:
                history = self._with_earlier_cycles(key, position_id, history, spool)
                self._tell_of_commissions(key, history)
                yield position_id, history

    def _with_earlier_cycles(
        self, key: str, position_id: str, history: PositionHistory, spool: Spool
    ) -> PositionHistory:
        first = history.cycles[0]._events[0]
        fills = [self._serializer.deserialize(data) for data in spool.fills(position_id)]
        earlier = earlier_cycles(
            position_id, history.basis, first, (fill for fill in fills if isinstance(fill, OrderFilled))
        )
        if earlier is None:
            if any(isinstance(fill, OrderFilled) and fill.ts_init < first.ts_init for fill in fills):
                self.findings.add("gone", key, "orders have earlier fills of it, which do not make whole cycles")
            return history
        if earlier:
            count = len(earlier)
            self.findings.add("rebuilt", key, f"{count} earlier cycle{'s' * (count > 1)}, from the fills of its orders")
        return history._replace(cycles=[*earlier, *history.cycles])

    def snapshots(self, family: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the snapshots of "orders" or "positions" by id, the oldest first."""
        id_name, time_name = ("client_order_id", "ts_last") if family == "orders" else ("position_id", "ts_snapshot")
        for an_id, values in self._lists(f"snapshots:{family}"):
            states = []
            for place, data in enumerate(values):
                try:
                    states.append(_snapshot(data, an_id, id_name, time_name))
                except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
                    self.findings.add("unreadable", self._key(f"snapshots:{family}", an_id), error, place)
            states.sort(key=lambda state: state[time_name])
            if states:
                yield an_id, states

    # -- Indexes -----------------------------------------------------------------------------------------------

    def positions_of_orders(self) -> dict[ClientOrderId, PositionId]:
        """Return which position each order belongs to."""
        return self._index("order_position", PositionId)

    def clients_of_orders(self) -> dict[ClientOrderId, ClientId]:
        """Return which client each order went through."""
        return self._index("order_client", ClientId)

    def _index(self, name: str, kind: type[B]) -> dict[ClientOrderId, B]:
        found: dict[ClientOrderId, B] = {}
        fields = self._checked(f"index:{name}", self._server.hash(self.keyspace, f"index:{name}"))
        for field, value in sorted((fields or {}).items()):
            try:
                found[ClientOrderId(field.decode())] = kind(value.decode())
            except ValueError as error:
                self.findings.add("unreadable", self._key("index", name), f"{field!r:.80}: {error}")
        return found

    def compare_set(self, name: str, expected: set[str]) -> None:
        """Tell if one of `SETS` is not what the events say."""
        key = f"index:{name}"
        members = self._checked(key, self._server.members(self.keyspace, key))
        if members is None:
            return
        wanted = {member.encode() for member in expected}
        extra, absent = len(members - wanted), len(wanted - members)
        if extra or absent:
            text = f"{extra} members do not belong there and {absent} are missing, by what the events say"
            self.findings.add("corrected", self._key(key), text)

    def tell_index(self, name: str, reason: str) -> None:
        """Tell what is wrong with an index."""
        self.findings.add("corrected", self._key("index", name), reason)


def _is_map(member: bytes) -> bool:
    """Whether a member of a set of ids is an event instead, in either encoding."""
    return member[:1] == b"{" or member[:1] >= b"\x80"


def _snapshot(data: bytes, an_id: str, id_name: str, time_name: str) -> dict[str, Any]:
    """Return the snapshot that `data` is, as a store gives it back."""
    values = decoding.read_values(data)
    if values.get(id_name) != an_id:
        raise Unreadable(f"it is of {values.get(id_name)!r:.60}")
    if id_name == "position_id":
        values.setdefault("unrealized_pnl", None)  # NautilusTrader leaves it out where it knows no price
    if not isinstance(values.get(time_name), int):
        raise Unreadable(f"it has no {time_name}")
    return unpack_snapshot(pack_snapshot(values, timestamps_as_str=True))
