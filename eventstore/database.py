"""The database behind a node's cache, for orders, positions and accounts of this library's own model."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from eventstore import commands as c
from eventstore.aggregates import account_from, order_from, position_from
from eventstore.errors import UnknownId
from eventstore.facade import CacheDatabase
from eventstore.intake import Intake
from eventstore.ledger import check
from eventstore.loader import collector_paused
from eventstore.model.accounts import Account
from eventstore.model.identifiers import AccountId, ClientOrderId, InstrumentId, PositionId
from eventstore.model.instrument import Instrument
from eventstore.model.orders import Order
from eventstore.model.positions import Position
from eventstore.model.synthetic import SyntheticInstrument
from eventstore.registry import Life
from eventstore.store import check_flag


class RedisCacheDatabase(Intake, CacheDatabase):
    """A cache database that writes behind into Redis: an append-only log, and views of it for the loads.

    A verb that writes checks its arguments, captures what it needs, puts it in a queue and returns; a thread does the
    rest. All verbs may be called from any thread; one aggregate should be updated by one thread at a time.

    Parameters
    ----------
    trader_id : TraderId
        Whose data it is. All keys begin with ``{trader-<trader_id>}``. Opening it takes the log over from whoever wrote
        to it before: that one is refused from then on.
    logger : structlog logger, optional
        Gets what happens in the background. Default: ``structlog.get_logger("eventstore")``; warnings to stderr if the
        process has not configured structlog.
    serializer : Serializer, optional
        Default: ``MsgPackSerializer(timestamps_as_str=False)``, which takes less of the server's memory.
    config : CacheDatabaseConfig, optional
        Default: the embedded server, in the default directory.
    on_health : callable, optional
        Called with the new `Health` whenever it changes, one call at a time, on the thread that log lines come from.

    Raises
    ------
    TypeError
        If an argument is of another type than its own, such as a config that is no `CacheDatabaseConfig`.
    StorageError
        If the server can not be reached, refuses, or holds a log that is not whole.
    ConfigError
        If the server may evict keys and that was not allowed.
    DataLoss
        If the server lost what it had confirmed, and the journal does not have it any more.
    JournalError
        If the journal can not be used, is damaged, or is somebody else's.
    EmbeddedServerError
        If the embedded server can not be started.
    """

    def load_all(self) -> dict[str, dict[Any, Any]]:
        with collector_paused(), self._learning() as meanwhile:
            currencies, instruments, synthetics, accounts, orders, positions = self._load_at_one_moment(
                lambda loader: (
                    loader.currencies(),
                    loader.records(self._keys.instruments, Instrument, InstrumentId),
                    loader.records(self._keys.synthetics, SyntheticInstrument, InstrumentId),
                    loader.accounts(account_from),
                    loader.orders(order_from, open_only=False),
                    loader.positions(position_from, open_only=False),
                )
            )
            return {
                "currencies": currencies,
                "instruments": instruments,
                "synthetics": synthetics,
                "accounts": self._known(self._accounts, meanwhile, accounts, _account_id, _account_life),
                "orders": self._known(self._orders, meanwhile, orders, _order_id, _order_life),
                "positions": self._known(self._positions, meanwhile, positions, _position_id, _position_life),
            }

    def load_account(self, account_id: AccountId) -> Account | None:
        check("load_account", "account_id", account_id, AccountId)
        return self._one_known(
            self._accounts, account_id, lambda loader: loader.account(account_from, account_id), _account_life
        )

    def load_accounts(self) -> dict[AccountId, Account]:
        return self._many_known(
            self._accounts, lambda loader: loader.accounts(account_from), _account_id, _account_life
        )

    def load_order(self, client_order_id: ClientOrderId) -> Order | None:
        check("load_order", "client_order_id", client_order_id, ClientOrderId)
        return self._one_known(
            self._orders, client_order_id, lambda loader: loader.order(order_from, client_order_id), _order_life
        )

    def load_orders(self, open_only: bool = False) -> dict[ClientOrderId, Order]:
        check_flag("load_orders", "open_only", open_only)
        return self._many_known(
            self._orders, lambda loader: loader.orders(order_from, open_only), _order_id, _order_life
        )

    def load_position(self, position_id: PositionId) -> Position | None:
        check("load_position", "position_id", position_id, PositionId)
        return self._one_known(
            self._positions, position_id, lambda loader: loader.position(position_from, position_id), _position_life
        )

    def load_positions(self, open_only: bool = False) -> dict[PositionId, Position]:
        check_flag("load_positions", "open_only", open_only)
        return self._many_known(
            self._positions, lambda loader: loader.positions(position_from, open_only), _position_id, _position_life
        )

    def load_position_cycles(self, position_id: PositionId) -> list[Position]:
        check("load_position_cycles", "position_id", position_id, PositionId)
        return self._load_at_one_moment(lambda loader: loader.position_cycles(position_from, position_id))

    def delete_account_event(self, account_id: AccountId, event_id: str) -> None:
        """Delete one event of an account from the view; the log keeps it. Reads the account to find it.

        Another instance, opened later, does not know of it: if it is given an account that ends with that event, it
        writes that event again.

        Raises
        ------
        UnknownId
            If the account has no such event.
        """
        check("delete_account_event", "account_id", account_id, AccountId)
        check("delete_account_event", "event_id", event_id, str)
        events = self._load(lambda loader: loader.account_events(account_id))
        for version, event in events.items():
            if event.event_id == event_id:
                arguments = (account_id, version, str(event_id))
                self._accept("delete_account_event", account_id, c.DeleteAccountEvent, arguments)
                life = self._accounts.get(account_id)
                if life is not None:
                    life.purged(event, [other for other in events.values() if other is not event])
                return
        raise UnknownId(f"delete_account_event {account_id}: it has no event {event_id!r}")


_account_id: Callable[[Account], AccountId] = attrgetter("id")
_order_id: Callable[[Order], ClientOrderId] = attrgetter("client_order_id")
_position_id: Callable[[Position], PositionId] = attrgetter("id")


def _account_life(account: Account, version: int) -> Life:
    return Life(version, account._events)


def _order_life(order: Order, version: int) -> Life:
    return Life(version, order._events, len(order._amendments or ()))


def _position_life(position: Position, version: int) -> Life:
    return Life(version, position._events)
