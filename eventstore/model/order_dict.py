"""How an order is shown as a dict: the keys of each type, in NautilusTrader's order, and the value of each key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eventstore.model.enums import OrderType
from eventstore.model.record import thaw

# `Any` stands for an order below: a type without the attribute has no such key.
Shown = Callable[[Any], Any]


def _text(name: str) -> Shown:
    def show(order: Any) -> str | None:
        value = getattr(order, name)
        return None if value is None else str(value)

    return show


def _name(name: str) -> Shown:
    def show(order: Any) -> str:
        return str(getattr(order, name).name)

    return show


def _plain(name: str) -> Shown:
    def show(order: Any) -> Any:
        return getattr(order, name)

    return show


def _texts(name: str) -> Shown:
    def show(order: Any) -> list[str] | None:
        value = getattr(order, name)
        return None if value is None else [str(item) for item in value]

    return show


def _commissions(order: Any) -> list[str] | None:
    return [str(amount) for amount in order.commissions()] or None


def _expire_time_ns(order: Any) -> int | None:
    return order.expire_time_ns or None


def _price(order: Any) -> str | None:
    # A market-to-limit order without a price yet is shown with the text "None", as NautilusTrader has it.
    price = order.price
    return None if price is None and order.order_type is not OrderType.MARKET_TO_LIMIT else str(price)


SHOW: Mapping[str, Shown] = {
    "trader_id": _text("trader_id"),
    "strategy_id": _text("strategy_id"),
    "instrument_id": _text("instrument_id"),
    "client_order_id": _text("client_order_id"),
    "venue_order_id": _text("venue_order_id"),
    "position_id": _text("position_id"),
    "account_id": _text("account_id"),
    "last_trade_id": _text("last_trade_id"),
    "type": _name("order_type"),
    "side": _name("side"),
    "quantity": _text("quantity"),
    "price": _price,
    "activation_price": _text("activation_price"),
    "trigger_price": _text("trigger_price"),
    "trigger_type": _name("trigger_type"),
    "limit_offset": _text("limit_offset"),
    "trailing_offset": _text("trailing_offset"),
    "trailing_offset_type": _name("trailing_offset_type"),
    "expire_time_ns": _expire_time_ns,
    "time_in_force": _name("time_in_force"),
    "filled_qty": lambda order: order._shown_filled(),
    "liquidity_side": _name("liquidity_side"),
    "avg_px": lambda order: order._shown_average(),
    "slippage": lambda order: order._shown_slippage(),
    "commissions": _commissions,
    "status": _name("status"),
    "is_post_only": _plain("is_post_only"),
    "is_reduce_only": _plain("is_reduce_only"),
    "is_quote_quantity": _plain("is_quote_quantity"),
    "display_qty": _text("display_qty"),
    "emulation_trigger": _name("emulation_trigger"),
    "trigger_instrument_id": _text("trigger_instrument_id"),
    "contingency_type": _name("contingency_type"),
    "order_list_id": _text("order_list_id"),
    "linked_order_ids": _texts("linked_order_ids"),
    "parent_order_id": _text("parent_order_id"),
    "exec_algorithm_id": _text("exec_algorithm_id"),
    "exec_algorithm_params": lambda order: thaw(order.exec_algorithm_params),
    "exec_spawn_id": _text("exec_spawn_id"),
    "tags": _texts("tags"),
    "init_id": _text("init_id"),
    "ts_init": _plain("ts_init"),
    "ts_last": _plain("ts_last"),
}

_HEAD = (
    *("trader_id", "strategy_id", "instrument_id", "client_order_id", "venue_order_id", "position_id", "account_id"),
    *("last_trade_id", "type", "side", "quantity"),
)
_FILLS = ("filled_qty", "liquidity_side", "avg_px", "slippage", "commissions")
_MARKET_FLAGS = ("is_reduce_only", "is_quote_quantity")
_LIMIT_FLAGS = ("is_post_only", "is_reduce_only", "is_quote_quantity", "display_qty")
_EMULATION = ("emulation_trigger", "trigger_instrument_id")
_RELATIONS = (
    *("contingency_type", "order_list_id", "linked_order_ids", "parent_order_id"),
    *("exec_algorithm_id", "exec_algorithm_params", "exec_spawn_id", "tags"),
)
_END = ("init_id", "ts_init", "ts_last")
_EXPIRY = ("expire_time_ns", "time_in_force")
_TRIGGER = ("trigger_price", "trigger_type")
_TRAILING = ("trailing_offset", "trailing_offset_type")

_AFTER_STOP_MARKET = (*_EXPIRY, *_FILLS, "status", *_MARKET_FLAGS, *_EMULATION, *_RELATIONS, *_END)
_AFTER_STOP_LIMIT = (*_EXPIRY, *_FILLS, "status", *_LIMIT_FLAGS, *_EMULATION, *_RELATIONS)

ORDER_KEYS: Mapping[OrderType, tuple[str, ...]] = {
    OrderType.MARKET: (
        *_HEAD,
        "time_in_force",
        *_MARKET_FLAGS,
        *_FILLS,
        "emulation_trigger",
        "status",
        *_RELATIONS,
        *_END,
    ),
    OrderType.LIMIT: (
        *_HEAD,
        "price",
        "time_in_force",
        "expire_time_ns",
        *_FILLS,
        "status",
        *_LIMIT_FLAGS,
        *_EMULATION,
        *_RELATIONS,
        *_END,
    ),
    OrderType.STOP_MARKET: (*_HEAD, *_TRIGGER, *_AFTER_STOP_MARKET),
    OrderType.STOP_LIMIT: (*_HEAD, "price", *_TRIGGER, "init_id", *_AFTER_STOP_LIMIT, "ts_init", "ts_last"),
    OrderType.MARKET_TO_LIMIT: (
        *_HEAD,
        "price",
        "time_in_force",
        "expire_time_ns",
        *_MARKET_FLAGS,
        "display_qty",
        *_FILLS,
        "status",
        *_RELATIONS,
        *_END,
    ),
    OrderType.MARKET_IF_TOUCHED: (*_HEAD, *_TRIGGER, *_AFTER_STOP_MARKET),
    OrderType.LIMIT_IF_TOUCHED: (*_HEAD, "price", *_TRIGGER, *_AFTER_STOP_LIMIT, *_END),
    OrderType.TRAILING_STOP_MARKET: (*_HEAD, "activation_price", *_TRIGGER, *_TRAILING, *_AFTER_STOP_MARKET),
    OrderType.TRAILING_STOP_LIMIT: (
        *_HEAD,
        "price",
        "activation_price",
        *_TRIGGER,
        "limit_offset",
        *_TRAILING,
        *_AFTER_STOP_LIMIT,
        *_END,
    ),
}
"""The keys of each type's `to_dict()`, in order."""
