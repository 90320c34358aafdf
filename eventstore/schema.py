"""What a record's type tag means, and the names of its fields. Pure: no I/O.

The numbers are in every log that has such a record: they never change and are never given again. The field names of
each (tag, version) are stored once beside the log, so any language can read it. Each tag has a version of its own: a
record that did not change is written to the byte as before, and older readers go on reading it.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

from eventstore.model import enums
from eventstore.model import events as e
from eventstore.model import instruments as i
from eventstore.model.currency import Currency
from eventstore.model.enums import OrderType
from eventstore.model.errors import ModelError
from eventstore.model.position_basis import PositionBasis
from eventstore.model.record import Record
from eventstore.model.synthetic import SyntheticInstrument

TYPES: dict[int, type[Record]] = {
    1: Currency,
    2: e.AccountState,
    3: PositionBasis,
    10: e.OrderInitialized,
    11: e.OrderDenied,
    12: e.OrderEmulated,
    13: e.OrderReleased,
    14: e.OrderSubmitted,
    15: e.OrderAccepted,
    16: e.OrderRejected,
    17: e.OrderCanceled,
    18: e.OrderExpired,
    19: e.OrderTriggered,
    20: e.OrderPendingUpdate,
    21: e.OrderPendingCancel,
    22: e.OrderModifyRejected,
    23: e.OrderCancelRejected,
    24: e.OrderUpdated,
    25: e.OrderFilled,
    50: i.CurrencyPair,
    51: i.Equity,
    52: i.FuturesContract,
    53: i.FuturesSpread,
    54: i.OptionContract,
    55: i.OptionSpread,
    56: i.CryptoPerpetual,
    57: i.CryptoFuture,
    58: i.CryptoOption,
    59: i.Cfd,
    60: i.Commodity,
    61: i.IndexInstrument,
    62: i.BinaryOption,
    63: i.BettingInstrument,
    64: SyntheticInstrument,
    65: i.CryptoFuturesSpread,
    66: i.CryptoOptionSpread,
    67: i.PerpetualContract,
    68: i.TokenizedAsset,
}
TAGS: dict[type[Record], int] = {kind: tag for tag, kind in TYPES.items()}

STATE_TAG = 100
AMENDMENTS_TAG = 101
POSITION_SNAPSHOT_TAG = 110
_ORDER_SNAPSHOT_BASE = 110  # tag of an order's snapshot: this and the number of its type

_HEAD = (
    "trader_id strategy_id instrument_id client_order_id venue_order_id position_id account_id last_trade_id type side "
    "quantity"
)
_FILLS = "filled_qty liquidity_side avg_px slippage commissions"
_LINKS = "contingency_type order_list_id linked_order_ids parent_order_id"
_EXEC = "exec_algorithm_id exec_algorithm_params exec_spawn_id tags init_id ts_init ts_last"
_FLAGS = "is_reduce_only is_quote_quantity"
_EMULATION = "emulation_trigger trigger_instrument_id"
_TRIGGERED = f"expire_time_ns time_in_force {_FILLS} status {_FLAGS} {_EMULATION} {_LINKS} {_EXEC}"
_LIMITED = (
    f"expire_time_ns time_in_force {_FILLS} status is_post_only {_FLAGS} display_qty {_EMULATION} {_LINKS} {_EXEC}"
)

# The names of a snapshot's values, which are NautilusTrader's keys of a `to_dict()`.
_SNAPSHOTS: dict[int, str] = {
    POSITION_SNAPSHOT_TAG: (
        "position_id trader_id strategy_id instrument_id account_id opening_order_id closing_order_id entry side "
        "signed_qty quantity peak_qty ts_init ts_opened ts_last ts_closed duration_ns avg_px_open avg_px_close "
        "quote_currency base_currency settlement_currency commissions realized_return realized_pnl ts_snapshot "
        "unrealized_pnl"
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.MARKET: (
        f"{_HEAD} time_in_force {_FLAGS} {_FILLS} emulation_trigger status {_LINKS} {_EXEC}"
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.LIMIT: (
        f"{_HEAD} price time_in_force expire_time_ns {_FILLS} status is_post_only {_FLAGS} display_qty {_EMULATION} "
        f"{_LINKS} {_EXEC}"
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.STOP_MARKET: f"{_HEAD} trigger_price trigger_type {_TRIGGERED}",
    _ORDER_SNAPSHOT_BASE + OrderType.STOP_LIMIT: (
        f"{_HEAD} price trigger_price trigger_type init_id " + _LIMITED.replace("init_id ", "")
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.MARKET_TO_LIMIT: (
        f"{_HEAD} price time_in_force expire_time_ns {_FLAGS} display_qty {_FILLS} status {_LINKS} {_EXEC}"
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.MARKET_IF_TOUCHED: f"{_HEAD} trigger_price trigger_type {_TRIGGERED}",
    _ORDER_SNAPSHOT_BASE + OrderType.LIMIT_IF_TOUCHED: f"{_HEAD} price trigger_price trigger_type {_LIMITED}",
    _ORDER_SNAPSHOT_BASE + OrderType.TRAILING_STOP_MARKET: (
        f"{_HEAD} activation_price trigger_price trigger_type trailing_offset trailing_offset_type {_TRIGGERED}"
    ),
    _ORDER_SNAPSHOT_BASE + OrderType.TRAILING_STOP_LIMIT: (
        f"{_HEAD} price activation_price trigger_price trigger_type limit_offset trailing_offset trailing_offset_type "
        f"{_LIMITED}"
    ),
}
SNAPSHOTS: dict[int, tuple[str, ...]] = {tag: tuple(names.split()) for tag, names in _SNAPSHOTS.items()}

LEFT_OUT = {"ts_init": "ts_event", "trader_id": "the log's trader", "client_order_id": "the order"}
"""What the record of an order's event says by nil where that order's events stand: whatever is equal to this."""

SHORT_SINCE: dict[int, int] = {tag: 2 for tag, kind in TYPES.items() if issubclass(kind, e.OrderEvent)} | {24: 3}
"""Tag → the version since which fields are left out. The one before has the same fields, none of these nil."""

FORMER: dict[tuple[int, int], tuple[str, ...]] = {
    (3, 1): (
        *("instrument_id", "size_precision", "multiplier", "is_inverse", "quote_currency", "settlement_currency"),
        "base_currency",
    ),
    (24, 1): (
        *("event_id", "ts_event", "ts_init", "trader_id", "strategy_id", "instrument_id", "client_order_id"),
        *("quantity", "price", "trigger_price", "venue_order_id", "account_id", "reconciliation"),
    ),
}
FORMER |= {(tag, since - 1): FORMER.get((tag, since), TYPES[tag]._fields) for tag, since in SHORT_SINCE.items()}
"""(tag, version) → the names of its fields, for every version but the present one."""

VERSIONS: dict[int, int] = dict.fromkeys((*TYPES, STATE_TAG, AMENDMENTS_TAG, *SNAPSHOTS), 1) | {
    tag: version + 1 for tag, version in sorted(FORMER)
}
"""The version in which what has that tag is written."""

_PART_VERSION = 1

# Members that came later, by the version of the enumeration that has them first.
_LATER_MEMBERS: dict[enum.IntEnum, int] = {enums.AccountType.WALLET: 2, enums.OrderStatus.VOIDED: 2}


def snapshot_tag(values: Mapping[str, Any]) -> int:
    """Return the tag of the snapshot of an order or position with this `to_dict()`.

    Raises
    ------
    ModelError
        If it is neither's.
    """
    if "ts_snapshot" in values:
        return POSITION_SNAPSHOT_TAG
    try:
        return _ORDER_SNAPSHOT_BASE + OrderType[values["type"]]
    except KeyError:
        raise ModelError(f"not the state of an order: its type is {values.get('type')!r:.40}") from None


def describe() -> dict[str, str]:
    """Return what is stored beside the log for other readers: ``<kind>:<number>:<version>`` → JSON.

    ``record`` and ``snapshot`` say the names of the fields, and where nil has a meaning of its own, which; ``part``
    those of records inside records, ``enum`` the names of an enumeration's numbers.
    """
    names = {(tag, VERSIONS[tag]): kind._fields for tag, kind in TYPES.items()} | FORMER
    shown: dict[str, Any] = {
        f"record:{tag}:{version}": {"name": TYPES[tag].__name__, "fields": fields}
        | ({"nil": LEFT_OUT} if version >= SHORT_SINCE.get(tag, version + 1) else {})
        for (tag, version), fields in names.items()
    }
    parts = {spec.element for kind in TYPES.values() for spec in kind._specs}
    shown |= {
        f"part:{part.__name__}:{_PART_VERSION}": {"fields": part._fields}
        for part in sorted(parts - {None}, key=str)
        if issubclass(part, Record)
    }
    shown[f"record:{STATE_TAG}:{VERSIONS[STATE_TAG]}"] = {"name": "ComponentState", "fields": ["state"]}
    shown[f"record:{AMENDMENTS_TAG}:{VERSIONS[AMENDMENTS_TAG]}"] = {"name": "OrderAmendments", "fields": ["amendments"]}
    shown |= {f"snapshot:{tag}:{VERSIONS[tag]}": {"fields": names} for tag, names in SNAPSHOTS.items()}
    for kind in enum.IntEnum.__subclasses__():
        if kind.__module__ == enums.__name__:
            since = {item: _LATER_MEMBERS.get(item, 1) for item in kind}
            shown |= {
                f"enum:{kind.__name__}:{version}": {item.name: item.value for item in kind if since[item] <= version}
                for version in range(1, max(since.values()) + 1)
            }
    return {field: json.dumps(value) for field, value in shown.items()}
