"""The comparison can fail: whatever differs is named."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstore.cli.comparison import LoadedState, compare_state
from tests.support.cli import Run, assert_one_line_error, final, session

Final = dict[str, Any]


def first(final: Final, section: str) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(final[section].values()))
    return found


TAMPERED: dict[str, tuple[Callable[[Final], object], str]] = {
    "a text in an order": (
        lambda f: first(f, "orders").update(status="DENIED"),
        "status: expected 'DENIED', got 'FILLED'",
    ),
    "an average, by a billionth and more": (
        lambda f: first(f, "orders").update(avg_px=first(f, "orders")["avg_px"] * (1 + 2e-9)),
        "avg_px: expected",
    ),
    "a number for a flag": (
        lambda f: first(f, "orders").update(is_reduce_only=0),
        "is_reduce_only: expected 0, got False",
    ),
    "a key more": (lambda f: first(f, "orders").update(colour="red"), "colour: missing"),
    "a key less": (lambda f: first(f, "orders").pop("tags"), "tags: not expected"),
    "an order more": (lambda f: f["orders"].update({"O-1": {}}), "O-1: missing"),
    "an order less": (lambda f: f["orders"].pop(next(iter(f["orders"]))), "not expected"),
    "a position": (
        lambda f: first(f, "positions").update(realized_pnl="0.00 USD"),
        "realized_pnl: expected '0.00 USD'",
    ),
    "a closed order less": (lambda f: f["orders_closed"].pop(), "not expected"),
    "an open order more": (lambda f: f["orders_open"].append("O-1"), "O-1: missing"),
    "an open position more": (lambda f: f["positions_open"].append("P-1"), "P-1: missing"),
    "a balance": (
        lambda f: f["account_balances"][0]["balances"]["USD"].update(total="1.00 USD"),
        "USD total: expected '1.00 USD'",
    ),
    "an account less": (lambda f: f["account_balances"].clear(), "not expected"),
}


@pytest.fixture(scope="module")
def expected() -> bytes:
    return gzip.decompress(final("emacross").read_bytes())


def state_of(final: Final) -> LoadedState:
    """The state that was expected, as if it had been loaded."""
    return LoadedState(
        orders=final["orders"],
        positions=final["positions"],
        accounts={
            account["id"]: {name: value for name, value in account.items() if name != "commissions"}
            for account in final["account_balances"]
        },
        ids={name: set(final[name]) for name in ("orders_open", "orders_closed", "positions_open", "positions_closed")},
        seconds=0.0,
    )


@pytest.mark.parametrize("what", TAMPERED)
def test_a_change_of_the_expected_state_is_reported(what: str, expected: bytes) -> None:
    tampered = json.loads(expected)
    change, reported = TAMPERED[what]
    change(tampered)
    checks = compare_state(state_of(json.loads(expected)), tampered)
    [difference] = [difference for check in checks for difference in check.differences]
    assert reported in difference


def test_floats_may_differ_by_a_billionth_and_commissions_of_accounts_are_not_compared(expected: bytes) -> None:
    close = json.loads(expected)
    first(close, "orders")["avg_px"] *= 1 + 1e-12
    close["account_balances"][0]["commissions"] = {"USD": "1.00 USD"}
    checks = compare_state(state_of(json.loads(expected)), close)
    assert [check.differences for check in checks] == [[]] * 7
    assert {check.name: check.compared for check in checks}["orders"] == 178


def test_no_number_equals_itself_only_as_no_number() -> None:
    def checked(got: object, expected: object) -> bool:
        sections = ("orders_open", "orders_closed", "positions_open", "positions_closed", "account_balances")
        final = {"orders": {"O": {"x": expected}}, "positions": {}} | {name: [] for name in sections}
        return not compare_state(state_of({**final, "orders": {"O": {"x": got}}}), final)[0].differences

    assert checked(math.nan, math.nan)
    assert not checked(math.nan, 0.0)
    assert not checked(1, 1.0)
    assert checked([1.0, "a"], [1.0 + 1e-12, "a"])
    assert not checked([1], [1, 2])


def test_what_differs_is_shown_in_red_ink_and_exit_status_1(
    eventstore: Run, redis_url: str, scratch: Path, expected: bytes
) -> None:
    assert eventstore("ingest", session("emacross"), "--to", redis_url).returncode == 0
    tampered = json.loads(expected)
    order_id = next(iter(tampered["orders"]))
    tampered["orders"][order_id]["quantity"] = "1"
    path = scratch / "tampered.json"
    path.write_text(json.dumps(tampered))
    done = eventstore("compare", path, "--at", redis_url)
    assert done.returncode == 1
    assert "✘ orders: 1 differences" in done.stdout
    assert f"{order_id} quantity: expected '1', got '" in done.stdout
    assert "✔ positions: 1 equal" in done.stdout
    report = json.loads(eventstore("compare", path, "--at", redis_url, "--json").stdout)
    assert [check["name"] for check in report["checks"] if check["differences"]] == ["orders"]


def test_a_place_without_the_one_trader_and_a_file_without_a_state_are_errors(
    eventstore: Run, redis_url: str, scratch: Path
) -> None:
    assert_one_line_error(eventstore("compare", final("emacross"), "--at", redis_url), "logs of 0 traders", "--trader")
    for text in ("{}", "[]", "{", '{"orders": {}}'):
        path = scratch / "final.json"
        path.write_text(text)
        assert_one_line_error(eventstore("compare", path, "--at", redis_url), str(path))
