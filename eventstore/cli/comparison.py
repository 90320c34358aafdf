"""What came back compared with what was expected. Pure but for the loading itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventstore.audit.diff import ABSENT, differing
from eventstore.audit.values import account_values
from eventstore.facade import CacheDatabase
from eventstore.model.accounts import Account

FLOAT_TOLERANCE = 1e-9
"""Relative: NautilusTrader computes averages and returns as floats."""


@dataclass(frozen=True, slots=True)
class LoadedState:
    """Everything that a database holds for a node that starts, as plain values."""

    orders: dict[str, dict[str, Any]]
    positions: dict[str, dict[str, Any]]
    accounts: dict[str, dict[str, Any]]
    ids: dict[str, set[str]]
    seconds: float
    """What the loads took."""


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the state: how many things were compared, and what differs."""

    name: str
    compared: int
    differences: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What was compared, for people."""
        return self.name.replace("_", " ")


def load_state(database: CacheDatabase) -> LoadedState:
    """Load everything from `database`, as a node that starts does."""
    start = time.perf_counter()
    loaded = database.load_all()
    ids: dict[str, set[str]] = {
        "orders_open": set(database.load_order_ids("open")),
        "orders_closed": set(database.load_order_ids("closed")),
        "positions_open": set(database.load_position_ids("open")),
        "positions_closed": set(database.load_position_ids("closed")),
    }
    seconds = time.perf_counter() - start
    return LoadedState(
        orders={str(key): order.to_dict() for key, order in loaded["orders"].items()},
        positions={str(key): position.to_dict() for key, position in loaded["positions"].items()},
        accounts={str(key): _account(account) for key, account in loaded["accounts"].items()},
        ids=ids,
        seconds=seconds,
    )


def _account(account: Account) -> dict[str, Any]:
    return {name: value for name, value in account_values(account).items() if not name.endswith("margins")}


def compare_state(state: LoadedState, final: Mapping[str, Any]) -> list[Check]:
    """Compare `state` with the expected final state of a recording, part by part.

    Orders and positions are compared key for key; floats with a relative tolerance of `FLOAT_TOLERANCE`, everything
    else exactly. The commissions of accounts are left out: no event has them, so they can not be rebuilt. A position
    that NautilusTrader's cache lists as open and as closed, which it does between a flip and the next fill, is open.
    """
    accounts = {
        account["id"]: {name: value for name, value in account.items() if name != "commissions"}
        for account in final["account_balances"]
    }
    expected_ids = {name: set(final[name]) for name in state.ids}
    expected_ids["positions_closed"] -= expected_ids["positions_open"]
    return [
        _check("orders", state.orders, final["orders"]),
        _check("positions", state.positions, final["positions"]),
        *(_check_ids(name, ids, expected_ids[name]) for name, ids in state.ids.items()),
        _check("account_balances", state.accounts, accounts),
    ]


def _check(name: str, got: Mapping[str, Any], expected: Mapping[str, Any]) -> Check:
    return Check(name, len(expected), list(_differences(got, expected)))


def _check_ids(name: str, got: set[str], expected: set[str]) -> Check:
    missing = [f"{key}: missing" for key in sorted(expected - got)]
    return Check(name, len(expected), missing + [f"{key}: not expected" for key in sorted(got - expected)])


def _differences(got: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each place where `got` is not what is expected."""
    for path, wanted, found in differing(expected, got, _same):
        place = " ".join(path)
        if found is ABSENT:
            yield f"{place}: missing"
        elif wanted is ABSENT:
            yield f"{place}: not expected"
        else:
            yield f"{place}: expected {wanted!r:.200}, got {found!r:.200}"


def _same(expected: Any, got: Any) -> bool:
    if isinstance(got, list | tuple) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(_same, expected, got))
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, float) and isinstance(expected, float):
        return math.isclose(got, expected, rel_tol=FLOAT_TOLERANCE) or (math.isnan(got) and math.isnan(expected))
    if isinstance(got, float) or isinstance(expected, float):
        return False
    return bool(got == expected)
