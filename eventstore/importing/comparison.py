"""What the new store has, object by object, beside what the source's events make of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from eventstore.aggregates import account_from, order_from, position_from, record_from
from eventstore.audit.diff import ABSENT, differing
from eventstore.audit.plain import plain
from eventstore.audit.values import account_values, order_values, position_values
from eventstore.codec import Serializer
from eventstore.errors import CodecError, DamagedRecord
from eventstore.importing.histories import OrderHistory, PositionHistory
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.record import Record
from eventstore.states import unpack_snapshot, unpack_state
from eventstore.storage.reader import Reader

T = TypeVar("T")
A = TypeVar("A")

LISTED_MAX: Final = 1000
_PAGE: Final = 200


class Difference(NamedTuple):
    """One place where the store has not what belongs there. `field` is empty for the whole."""

    family: str
    id: str
    field: str
    expected: Any
    found: Any


class Comparison:
    """Compares what a store has with what it has to have: how many things were compared, and what differs."""

    def __init__(self, reader: Reader, keys: Keys, serializer: Serializer) -> None:
        self.compared = 0
        self.count = 0
        """How many differences there are."""
        self.listed: list[Difference] = []
        """The first `LISTED_MAX` of them."""
        self._reader = reader
        self._keys = keys
        self._serializer = serializer

    # -- Aggregates --------------------------------------------------------------------------------------------

    def orders(self, histories: Iterable[OrderHistory]) -> None:
        """Compare orders: their state, their events, and what was set on them without one."""
        for page in _pages(histories):
            expected = {str(history.order.client_order_id): order_values(history.order) for history in page}
            self._aggregates("order", expected, self._keys.order, order_from, order_values)

    def accounts(self, accounts: Iterable[Account]) -> None:
        """Compare accounts: their balances and margins, and their events."""
        for page in _pages(accounts):
            expected = {str(account.id): _account_values(account) for account in page}
            self._aggregates("account", expected, self._keys.account, account_from, _account_values)

    def positions(self, histories: Iterable[tuple[str, PositionHistory]]) -> None:
        """Compare positions: their state, their fills, and those of their earlier cycles."""
        for page in _pages(histories):
            cycles: dict[str, dict[str, Any]] = {}
            for position_id, history in page:
                *earlier, last = map(position_values, history.cycles)
                cycles[position_id] = last
                cycles |= {f"{position_id}{{{n}}}": values for n, values in enumerate(earlier, 1)}
            self._aggregates("position", cycles, self._keys.position, position_from, position_values)

    def _aggregates(
        self,
        family: str,
        expected: Mapping[str, Any],
        name: Callable[[str], str],
        fold: Callable[[str, Mapping[bytes, bytes], Serializer], tuple[A, int]],
        values: Callable[[A], Any],
    ) -> None:
        hashes = self._reader.hashes(map(name, expected))
        for (an_id, wanted), (key, fields) in zip(expected.items(), hashes, strict=True):
            try:
                if isinstance(fields, DamagedRecord):
                    raise fields
                found = values(fold(key, fields, self._serializer)[0]) if fields else ABSENT
            except DamagedRecord as error:
                self._differ(family, an_id, "", wanted, str(error))
                continue
            self._compare(family, an_id, wanted, found)

    # -- Collections -------------------------------------------------------------------------------------------

    def records(self, family: str, key: str, records: Iterable[tuple[str, Record]]) -> None:
        """Compare the records of a view by id."""

        def read(field: str, data: bytes, expected: Record) -> Any:
            return record_from(key, field, data, type(expected), self._serializer)

        self._fields(family, key, records, read, lambda record: plain(record.to_dict()))

    def states(self, family: str, key: str, states: Iterable[tuple[str, dict[str, bytes]]]) -> None:
        """Compare saved states by id."""
        self._fields(family, key, states, lambda field, data, _: unpack_state(data), plain)

    def snapshots(self, family: str, key: str, snapshots: Iterable[tuple[str, list[dict[str, Any]]]]) -> None:
        """Compare the last snapshots by id."""
        last = ((an_id, states[-1]) for an_id, states in snapshots)
        self._fields(family, key, last, lambda field, data, _: unpack_snapshot(data), plain)

    def general(self, key: str, values: Iterable[tuple[str, bytes]]) -> None:
        """Compare general values by key."""
        self._fields("general", key, values, lambda field, data, _: data, plain)

    def texts(self, family: str, key: str, texts: Iterable[tuple[str, str]]) -> None:
        """Compare an index, or another view of texts."""
        self._fields(family, key, texts, lambda field, data, _: data.decode(), str)

    def _fields(
        self,
        family: str,
        key: str,
        expected: Iterable[tuple[str, T]],
        read: Callable[[str, bytes, T], T],
        show: Callable[[T], Any],
    ) -> None:
        """Compare the fields of the hash `key`, and see that it has no others."""
        names: set[str] = set()
        for page in _pages(expected):
            names.update(field for field, _ in page)
            values = self._reader.fields(key, [field for field, _ in page])
            for (field, wanted), data in zip(page, values, strict=True):
                try:
                    found = ABSENT if data is None else show(read(field, data, wanted))
                except (CodecError, DamagedRecord, UnicodeDecodeError) as error:
                    found = str(error)
                self._compare(family, field, show(wanted), found)
        self._differ_in_ids(family, names, self._reader.field_names(key))

    def members(self, family: str, key: str, expected: Iterable[str]) -> None:
        """See that the set `key` has those members and no others."""
        self.compared += 1
        self._differ_in_ids(family, expected, self._reader.members(key))

    def _differ_in_ids(self, family: str, expected: Iterable[str], found: Iterable[str]) -> None:
        wanted, there = set(expected), set(found)
        for an_id in sorted(wanted - there):
            self._differ(family, an_id, "", "present", None)
        for an_id in sorted(there - wanted):
            self._differ(family, an_id, "", None, "present")

    # -- What differs ------------------------------------------------------------------------------------------

    def _compare(self, family: str, an_id: str, expected: Any, found: Any) -> None:
        self.compared += 1
        for path, wanted, there in differing(expected, found):
            self._differ(family, an_id, ".".join(path).replace(".[", "["), wanted, there)

    def _differ(self, family: str, an_id: str, field: str, expected: Any, found: Any) -> None:
        self.count += 1
        if len(self.listed) < LISTED_MAX:
            shown = [None if value is ABSENT else value for value in (expected, found)]
            self.listed.append(Difference(family, an_id, field, *shown))


def _account_values(account: Account) -> dict[str, Any]:
    return {**account_values(account), "events": [plain(event.to_dict()) for event in account._events]}


def _pages(items: Iterable[T]) -> Iterator[Sequence[T]]:
    remaining = iter(items)
    while page := list(islice(remaining, _PAGE)):
        yield page
