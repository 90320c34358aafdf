"""How NautilusTrader's objects are loaded, and become known by it."""

from __future__ import annotations

from typing import Any, cast

from eventstore.catalog import Catalog
from eventstore.errors import DamagedRecord
from eventstore.integrations.nautilus.amendments import Watch
from eventstore.integrations.nautilus.conversion import to_nautilus
from eventstore.integrations.nautilus.lives import AccountLife, OrderLife, PositionLife
from eventstore.integrations.nautilus.views import AccountFound, OrderFound, account_from, order_from, positions_with
from eventstore.loader import Loader
from eventstore.model.currency import Currency
from eventstore.model.identifiers import InstrumentId
from eventstore.model.instrument import Instrument
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument


class NautilusLoads(Catalog):
    """The loads of `NautilusStore`."""

    def as_nautilus(self, record: Record | None) -> Any:
        """Return a currency or instrument as NautilusTrader's, and None for None.

        Raises
        ------
        DamagedRecord
            If the installed release has none like it. If loads are not strict, it is noted instead, and None returned.
        """
        if record is None:
            return None
        try:
            return to_nautilus(record)
        except (TypeError, ValueError) as error:
            if isinstance(record, SyntheticInstrument):
                key, field = self._keys.synthetics, str(record.id)
            elif isinstance(record, Instrument):
                key, field = self._keys.instruments, str(record.id)
            else:
                key, field = self._keys.currencies, cast(Currency, record).code
            damage = DamagedRecord(key, field, str(error))
            if self.config.strict_loads:
                raise damage from error
            self._note_damage(damage)
            return None

    def load_one_order(self, order_id: str) -> Any:
        """Return an order, or None."""
        found = self._one_known(self._orders, order_id, lambda loader: loader.order(order_from, order_id), _order_life)
        return None if found is None else found.order

    def load_all_orders(self) -> dict[Any, Any]:
        """Return all orders by NautilusTrader's id."""
        return _orders(
            self._many_known(
                self._orders, lambda loader: loader.orders(order_from, open_only=False), _order_id, _order_life
            )
        )

    def load_one_position(self, position_id: str) -> Any:
        """Return the present cycle of a position, or None."""
        return self._one_known(
            self._positions,
            position_id,
            lambda loader: loader.position(positions_with(self._instruments(loader)), position_id),
            _position_life,
        )

    def load_all_positions(self) -> dict[Any, Any]:
        """Return the present cycle of all positions by NautilusTrader's id."""
        return self._many_known(self._positions, self._positions_of, _id, _position_life)

    def load_cycles(self, position_id: str) -> list[Any]:
        """Return the earlier cycles of a position, oldest first."""
        return self._load_at_one_moment(
            lambda loader: loader.position_cycles(positions_with(self._instruments(loader)), position_id)
        )

    def load_all_cycles(self) -> dict[str, list[Any]]:
        """Return the earlier cycles of each position that has some, oldest first, by its id."""
        family = self._keys.position("")

        def read(loader: Loader) -> dict[str, list[Any]]:
            fold = positions_with(self._instruments(loader))
            ids = [key.removeprefix(family) for key in loader.values(self._keys.lives) if key.startswith(family)]
            return {position_id: loader.position_cycles(fold, position_id) for position_id in ids}

        return self._load_at_one_moment(read)

    def load_one_account(self, account_id: str) -> Any:
        """Return an account, or None."""
        found = self._one_known(
            self._accounts, account_id, lambda loader: loader.account(account_from, account_id), _account_life
        )
        return None if found is None else found.account

    def load_all_accounts(self) -> dict[Any, Any]:
        """Return all accounts by NautilusTrader's id."""
        return _accounts(
            self._many_known(self._accounts, lambda loader: loader.accounts(account_from), _account_id, _account_life)
        )

    def load_everything(self) -> dict[str, dict[Any, Any]]:
        """Return accounts, orders and positions, and the records of currencies, instruments and synthetics."""
        with self._learning() as meanwhile:
            currencies, instruments, synthetics, accounts, orders, positions = self._load_at_one_moment(
                lambda loader: (
                    loader.currencies(),
                    self._instruments(loader),
                    loader.records(self._keys.synthetics, SyntheticInstrument, InstrumentId),
                    loader.accounts(account_from),
                    loader.orders(order_from, open_only=False),
                    self._positions_of(loader),
                )
            )
            return {
                "currencies": currencies,
                "instruments": instruments,
                "synthetics": synthetics,
                "accounts": _accounts(self._known(self._accounts, meanwhile, accounts, _account_id, _account_life)),
                "orders": _orders(self._known(self._orders, meanwhile, orders, _order_id, _order_life)),
                "positions": self._known(self._positions, meanwhile, positions, _id, _position_life),
            }

    def _instruments(self, loader: Loader) -> dict[InstrumentId, Instrument]:
        return loader.records(self._keys.instruments, Instrument, InstrumentId)

    def _positions_of(self, loader: Loader) -> dict[str, tuple[Any, int]]:
        return loader.positions(positions_with(self._instruments(loader)), open_only=False)


def _id(thing: Any) -> Any:
    return thing.id


def _order_id(found: OrderFound) -> Any:
    return found.order.client_order_id


def _orders(found: dict[Any, OrderFound]) -> dict[Any, Any]:
    return {order_id: order.order for order_id, order in found.items()}


def _account_id(found: AccountFound) -> Any:
    return found.account.id


def _accounts(found: dict[Any, AccountFound]) -> dict[Any, Any]:
    return {account_id: account.account for account_id, account in found.items()}


def _order_life(found: OrderFound, version: int) -> OrderLife:
    order = found.order
    # Whether its venue order id was indexed is not known: a crash may have come between the two entries.
    life = OrderLife(order.client_order_id, version, order.events, None)
    life.loaded_amendments = found.amendments
    if not order.is_closed:
        life.order, life.watch = order, Watch(order, found.amendments)
    return life


def _position_life(position: Any, version: int) -> PositionLife:
    return PositionLife(version, position.events, position.is_closed)


def _account_life(found: AccountFound, version: int) -> AccountLife:
    return AccountLife(found.account.id, version, found.account.events, dict(found.versions))
