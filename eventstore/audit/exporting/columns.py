"""The columns of the tables that a log is exported as. Pure: no I/O."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "decimal", "time", "flag", "integer", "unsigned", "float", "json", "bytes"]
"""``time`` is in UNIX nanoseconds; ``json`` is any JSON value; ``unsigned`` may have 64 bits."""


class Column(NamedTuple):
    """A column: its name, and what its values are; any may be absent."""

    name: str
    kind: Kind


def columns(text: str) -> tuple[Column, ...]:
    """Return the columns that `text` lists: names, those that are no text with ``:`` and their kind behind them."""
    made = []
    for word in text.split():
        name, _, kind = word.partition(":")
        made.append(Column(name, _KINDS[kind]))
    return tuple(made)


_KINDS: dict[str, Kind] = {
    "": "text",
    "decimal": "decimal",
    "time": "time",
    "flag": "flag",
    "integer": "integer",
    "unsigned": "unsigned",
    "float": "float",
    "json": "json",
    "bytes": "bytes",
}

_IDS = "trader_id strategy_id instrument_id client_order_id venue_order_id account_id position_id"
_REMOVED = "removed_by removed_log_position:integer removed_at:time"
_COMMISSIONS = "commission:decimal commission_currency commissions"

TABLES: dict[str, tuple[Column, ...]] = {
    "orders": columns(
        f"first_log_position:integer last_log_position:integer life:integer {_IDS} status order_type side "
        "quantity:decimal filled_qty:decimal leaves_qty:decimal overfill_qty:decimal avg_px:float slippage:float "
        "price:decimal "
        "trigger_price:decimal trigger_type activation_price:decimal limit_offset:decimal trailing_offset:decimal "
        "trailing_offset_type display_qty:decimal time_in_force expire_time:time expire_time_ns:unsigned "
        f"{_COMMISSIONS} liquidity_side last_trade_id is_post_only:flag is_reduce_only:flag is_quote_quantity:flag "
        "emulation_trigger trigger_instrument_id contingency_type order_list_id linked_order_ids:json parent_order_id "
        "exec_algorithm_id exec_algorithm_params:json exec_spawn_id tags:json init_id event_count:integer is_open:flag "
        f"is_closed:flag ts_init:time ts_submitted:time ts_accepted:time ts_last:time ts_closed:time {_REMOVED}"
    ),
    "order_events": columns(
        "log_position:integer event_index:integer accepted_at:time event_type event_id ts_event:time ts_init:time "
        f"{_IDS} version:integer trade_id order_side order_type time_in_force quantity:decimal price:decimal "
        "trigger_price:decimal activation_price:decimal limit_offset:decimal trailing_offset:decimal "
        "display_qty:decimal released_price:decimal last_qty:decimal last_px:decimal currency commission:decimal "
        "commission_currency liquidity_side reason reconciliation:flag details:json"
    ),
    "fills": columns(
        "log_position:integer position_log_position:integer accepted_at:time event_id ts_event:time ts_init:time "
        f"{_IDS} trade_id order_side order_type last_qty:decimal last_px:decimal currency commission:decimal "
        "commission_currency liquidity_side reconciliation:flag info:json"
    ),
    "positions": columns(
        "first_log_position:integer last_log_position:integer position_id cycle:integer trader_id strategy_id "
        "instrument_id account_id opening_order_id closing_order_id entry side is_open:flag signed_qty:decimal "
        "quantity:decimal peak_qty:decimal avg_px_open:float avg_px_close:float realized_return:float "
        "realized_pnl:decimal settlement_currency quote_currency base_currency "
        f"{_COMMISSIONS} fill_count:integer ts_init:time ts_opened:time ts_last:time ts_closed:time "
        f"duration_ns:unsigned {_REMOVED}"
    ),
    "account_states": columns(
        "log_position:integer event_index:integer accepted_at:time event_id ts_event:time ts_init:time account_id "
        "version:integer account_type base_currency currency total:decimal locked:decimal free:decimal "
        "margin_initial:decimal margin_maintenance:decimal margins:json reported:flag info:json"
    ),
    "log": columns(
        "log_position:integer entry_id accepted_at:time kind family key ts_event:time command:json payload:bytes "
        "chain:bytes error"
    ),
}
"""The columns of each table."""
