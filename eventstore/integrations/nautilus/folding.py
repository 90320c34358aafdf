"""NautilusTrader's orders, positions and accounts from their events: what the live ones were, to the last attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

import nautilus_trader
from nautilus_trader.accounting.accounts.cash import CashAccount
from nautilus_trader.accounting.error import AccountBalanceNegative
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.model import events as nautilus_events
from nautilus_trader.model import objects
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.instruments import Instrument as NautilusInstrument
from nautilus_trader.model.orders.unpacker import OrderUnpacker
from nautilus_trader.model.position import Position

from eventstore.integrations.nautilus.amendments import UPDATES_QUOTE, amend, end_emulation
from eventstore.integrations.nautilus.conversion import basis_of, to_nautilus, values
from eventstore.integrations.nautilus.conversion.bases import NETS_COMMISSIONS
from eventstore.integrations.nautilus.conversion.events import nautilus_identifiers
from eventstore.integrations.nautilus.inside import held_dict, held_list, set_inside
from eventstore.model.enums import AccountType, AssetClass, InstrumentClass
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import InstrumentId
from eventstore.model.instrument import Instrument
from eventstore.model.order_amendments import Amendment
from eventstore.model.order_status import LOCAL
from eventstore.model.position_basis import PositionBasis

_Initialized = nautilus_events.OrderInitialized
_Updated = nautilus_events.OrderUpdated
_ENDS = frozenset({nautilus_events.OrderCanceled, nautilus_events.OrderExpired})
_LOCAL = frozenset(int(status) for status in LOCAL)
_instrument_ids = nautilus_identifiers(InstrumentId)


class NotFoldable(ModelError):
    """Events that NautilusTrader makes no order, position or account of."""


# What NautilusTrader raises over an event that it does not take has no common base; one of them is a plain Exception.
_REFUSED = (Exception,)


def order_from_events(
    events: Sequence[Any], amendments: Sequence[Amendment] = (), quotes: Mapping[int, bool | None] | None = None
) -> Any:
    """Return the order that NautilusTrader's `events` make, with `amendments` between them.

    An `OrderInitialized` that is not the first says what the order was transformed into. NautilusTrader's own loader
    gives that event a new id and knows only market and limit orders; here it is kept as it is, whatever the type.

    Raises
    ------
    NotFoldable
        If the events make no order.
    """
    if not events or events[0].__class__ is not _Initialized:
        raise NotFoldable("an order begins with its OrderInitialized, and there is none")
    order: Any = None
    for count, event in enumerate(events, 1):
        try:
            if event.__class__ is _Initialized:
                order = _made(event) if order is None else _transformed(order, event)
            elif event.__class__ is _Updated:
                _update(order, event, quotes is not None and count in quotes, (quotes or {}).get(count))
            else:
                order.apply(event)
                if event.__class__ in _ENDS:
                    end_emulation(order)
        except NotFoldable:
            raise
        except _REFUSED as e:
            _refuse("order", events[0].client_order_id, event, e)
        if amendments:
            _amend_at(order, count, amendments)
    return order


def _update(order: Any, event: Any, says_otherwise: bool, is_quote: bool | None) -> None:
    if not UPDATES_QUOTE and event.quantity.raw < order.filled_qty.raw:
        raise ValueError(f"{order.filled_qty} is filled already")  # a release before 1.231 counts below zero there
    before = order.is_quote_quantity
    order.apply(event)
    if says_otherwise:
        order.set_quote_quantity(before if is_quote is None else is_quote)


def _made(init: Any) -> Any:
    order = OrderUnpacker.from_init(init)
    held_list(order, order.init_event)[0] = init  # it made one like it, without what an order does not need
    return order


def _transformed(order: Any, init: Any) -> Any:
    if init.client_order_id != order.client_order_id or init.side != order.side:
        raise NotFoldable(f"order {order.client_order_id}: it can not become the order of {init!r:.200}")
    if order.status not in _LOCAL:
        raise NotFoldable(f"order {order.client_order_id}: it is {order.status_string()}, and can not be made anew")
    made = OrderUnpacker.from_init(init)
    held_list(made, made.init_event)[:] = [*order.events, init]
    if made.ts_init != order.ts_init:
        set_inside(made, {"ts_init": order.ts_init})
    return made


def _amend_at(order: Any, count: int, amendments: Sequence[Amendment]) -> None:
    for after, name, value in amendments:
        if after == count:
            try:
                amend(order, name, value)
            except (TypeError, ValueError, AttributeError) as e:
                raise NotFoldable(f"order {order.client_order_id}: it can not have {name} {value}: {e}") from e


def _refuse(what: str, name: Any, event: Any, error: BaseException) -> NoReturn:
    raise NotFoldable(
        f"{what} {name}: NautilusTrader does not take {type(event).__name__} {event.id}: {type(error).__name__} {error}"
    ) from error


# -- Positions -------------------------------------------------------------------------------------------------


class _StandIn(NautilusInstrument):  # type: ignore[misc] # compiled, and without types
    """Stands for the instrument of a position where there is none, or one that has changed."""

    def __init__(self, basis: PositionBasis, price_precision: int) -> None:
        step = objects.Quantity.from_raw(10 ** (values.DECIMALS_MAX - basis.size_precision), basis.size_precision)
        instrument_id = _instrument_ids[basis.instrument_id]
        super().__init__(
            instrument_id=instrument_id,
            raw_symbol=instrument_id.symbol,
            asset_class=AssetClass.ALTERNATIVE,
            instrument_class=InstrumentClass.SPOT,
            quote_currency=values.currency_to_nautilus(basis.quote_currency),
            is_inverse=basis.is_inverse,
            price_precision=price_precision,
            size_precision=basis.size_precision,
            size_increment=step,
            multiplier=values.quantity_to_nautilus(basis.multiplier),
            margin_init=Decimal(0),
            margin_maint=Decimal(0),
            maker_fee=Decimal(0),
            taker_fee=Decimal(0),
            ts_event=0,
            ts_init=0,
        )
        self._base = None if basis.base_currency is None else values.currency_to_nautilus(basis.base_currency)
        self._cost = values.currency_to_nautilus(basis.settlement_currency)

    def get_base_currency(self) -> Any:
        """What the basis says."""
        return self._base

    def get_cost_currency(self) -> Any:
        """What the basis says."""
        return self._cost


def _stand_in(basis: PositionBasis, fills: Sequence[Any]) -> Any:
    decimals = fills[0].last_px.precision
    if not basis.quantity_net_of_commission:
        return _StandIn(basis, decimals)
    if NETS_COMMISSIONS:
        return _currency_pair(basis, decimals)
    base = basis.base_currency
    if base is not None and any(fill.commission.currency.code == base.code for fill in fills):
        raise NotFoldable(
            f"position {fills[0].position_id}: commissions in {base} come off its quantity, which the installed "
            f"NautilusTrader {nautilus_trader.__version__} does not do; the release that wrote it does"
        )
    return _StandIn(basis, decimals)


def _currency_pair(basis: PositionBasis, price_precision: int) -> Any:
    """Return a currency pair as the stand-in: NautilusTrader takes commissions in base currency off their positions."""
    instrument_id = _instrument_ids[basis.instrument_id]
    units = 10 ** (values.DECIMALS_MAX - price_precision), 10 ** (values.DECIMALS_MAX - basis.size_precision)
    return CurrencyPair(
        instrument_id=instrument_id,
        raw_symbol=instrument_id.symbol,
        base_currency=values.currency_to_nautilus(basis.base_currency or basis.quote_currency),
        quote_currency=values.currency_to_nautilus(basis.quote_currency),
        price_precision=price_precision,
        size_precision=basis.size_precision,
        price_increment=objects.Price.from_raw(units[0], price_precision),
        size_increment=objects.Quantity.from_raw(units[1], basis.size_precision),
        multiplier=values.quantity_to_nautilus(basis.multiplier),
        ts_event=0,
        ts_init=0,
    )


_known_instruments: dict[Instrument, tuple[Any, PositionBasis | None]] = {}


def _known(instrument: Instrument) -> tuple[Any, PositionBasis | None]:
    found = _known_instruments.get(instrument)
    if found is None:
        try:
            made = to_nautilus(instrument)
            found = made, basis_of(made)
        except (ModelError, TypeError):  # the installed release has none like it: its positions have a stand-in
            found = None, None
        if len(_known_instruments) >= values.REMEMBERED_MAX:
            _known_instruments.clear()
        _known_instruments[instrument] = found
    return found


def position_from_fills(instrument: Instrument | None, basis: PositionBasis, fills: Sequence[Any]) -> Any:
    """Return the position that NautilusTrader's `fills` make, the first of which opened it.

    Parameters
    ----------
    instrument : Instrument, optional
        The stored instrument (of the built-in model). It is used if it has the `basis` that the position was opened
        with; otherwise a stand-in is made of that.
    basis : PositionBasis
    fills : sequence of OrderFilled
        NautilusTrader's.

    Raises
    ------
    NotFoldable
        If the fills make no position.
    """
    if not fills:
        raise NotFoldable(f"a position of {basis.instrument_id} begins with a fill, and there is none")
    fill = fills[0]
    try:
        theirs, its_basis = (None, None) if instrument is None else _known(instrument)
        if its_basis != basis:
            theirs = _stand_in(basis, fills)
        position = Position(theirs, fill)
        for fill in fills[1:]:
            position.apply(fill)
    except NotFoldable:
        raise
    except _REFUSED as e:
        _refuse("position", fills[0].position_id, fill, e)
    return position


# -- Accounts --------------------------------------------------------------------------------------------------


def account_from_events(events: Sequence[Any]) -> Any:
    """Return the account that NautilusTrader's `events` make, of the class that is registered for its issuer.

    The venues say what accounts may do when their clients are made, and NautilusTrader loads before that. So it is told
    from what happened: a negative total shows that borrowing was allowed, and a state that no venue reported, that the
    node calculates them.

    Raises
    ------
    NotFoldable
        If the events make no account.
    """
    if not events:
        raise NotFoldable("an account begins with a state, and there is none")
    try:
        account = _account(events, borrows=False)
    except AccountBalanceNegative as e:
        first = events[0]
        if first.account_type != AccountType.CASH:
            _refuse("account", first.account_id, first, e)
        account = _account(events, borrows=True)
    if not account.calculate_account_state and not all(event.is_reported for event in events):
        set_inside(account, {"calculate_account_state": True})
    if account.is_margin_account and not events[-1].is_reported:
        _restore_margins(account, events[-1].margins)
    return account


def _account(events: Sequence[Any], borrows: bool) -> Any:
    event = events[0]
    try:
        account = _borrower(event) if borrows else AccountFactory.create(event)
        for event in events[1:]:
            account.apply(event)
    except AccountBalanceNegative as e:
        if not borrows:
            raise
        _refuse("account", event.account_id, event, e)
    except _REFUSED as e:
        _refuse("account", event.account_id, event, e)
    return account


def _borrower(event: Any) -> Any:
    """Return a cash account that may be in debt, otherwise as the factory makes those of its issuer."""
    nothing = objects.Money.from_raw(0, event.balances[0].currency)
    harmless = nautilus_events.AccountState(
        event.account_id,
        event.account_type,
        event.base_currency,
        event.is_reported,
        [objects.AccountBalance(nothing, nothing, nothing)],
        [],
        {},
        event.id,
        event.ts_event,
        event.ts_init,
    )
    like = AccountFactory.create(harmless)
    kind = type(like) if isinstance(like, CashAccount) else CashAccount
    return kind(event, like.calculate_account_state, True)  # noqa: FBT003 - allow_borrowing, positional in some releases


def _restore_margins(account: Any, margins: Sequence[Any]) -> None:
    """Give `account` the margins of the last state that the node calculated: some releases take them from the first."""
    wanted = {margin.instrument_id: margin for margin in margins if margin.instrument_id is not None}
    if account.margins() != wanted:
        held = held_dict(account, "margins", account.margins, _NOWHERE)
        held.clear()
        held.update(wanted)


_NOWHERE = _instrument_ids[InstrumentId("NOWHERE.NOWHERE")]
