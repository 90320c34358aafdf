"""A node with this library's adapter goes on with what was imported as one with NautilusTrader's own would."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("nautilus_trader")

import msgspec
import nautilus_trader
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.serialization.serializer import MsgSpecSerializer

from eventstore.importing.decoding import not_kept, read_instrument
from eventstore.integrations.nautilus.conversion.bases import NETS_COMMISSIONS
from tests.support.nautilus.backings import eventstore_backing, nautilus_backing
from tests.support.nautilus.contents import account_contents, order_contents, position_contents
from tests.support.nautilus.instruments import all_instruments
from tests.support.nautilus_keyspaces import NAMES, TRADER, bring, prefix, recorded, restore
from tests.support.redis_server import RedisServer

INSTANCE = "2d89666b-1a1e-4a75-b193-4eb3b454c757"


def is_readable(name: str) -> bool:
    """Whether the NautilusTrader that is installed reads what that version wrote: an older one reads no newer's."""
    return version(name.partition("-")[0]) <= version(nautilus_trader.__version__)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


@pytest.mark.parametrize("name", [name for name in NAMES if is_readable(name)])
def test_both_adapters_load_the_same(wiped_server: RedisServer, name: str) -> None:
    document = recorded(name)
    with wiped_server.client() as client:
        restore(client, document)
    outcome = bring(wiped_server.url, wiped_server.url, is_net=NETS_COMMISSIONS)
    assert outcome.is_whole
    options = {
        "encoding": document["encoding"],
        "timestamps_as_iso8601": document["timestamps_as_iso8601"],
        "use_trader_prefix": prefix(document).startswith("trader-"),
        "use_instance_id": INSTANCE in prefix(document),
    }
    backings = nautilus_backing(wiped_server), eventstore_backing(wiped_server)
    try:
        theirs, ours = (
            loaded(backing.open(TraderId(TRADER), UUID4.from_str(INSTANCE), **options)) for backing in backings
        )
    finally:
        for backing in backings:
            backing.close_all()
    assert ours.keys() == theirs.keys()
    for what, expected in theirs.items():
        assert ours[what].keys() == expected.keys(), what
        for key, value in expected.items():
            assert ours[what][key] == value, (what, key)
    assert len(ours["orders"]) + len(ours["transformed"]) == 15


def loaded(database: Any) -> dict[str, dict[Any, Any]]:
    orders = database.load_orders()
    transformed = {
        key for key, order in orders.items() if sum("Initialized" in type(event).__name__ for event in order.events) > 1
    }
    return {
        # A transformed order gets an event of a new id each time that NautilusTrader's adapter loads it.
        "orders": {key: order_contents(order) for key, order in orders.items() if key not in transformed},
        "transformed": {key: as_text(orders[key].to_dict()) for key in transformed},
        "positions": {key: position_contents(position) for key, position in database.load_positions().items()},
        "accounts": {key: account_of(account) for key, account in database.load_accounts().items()},
        "currencies": {key: repr(currency) for key, currency in database.load_currencies().items()},
        "instruments": {key: type(each).to_dict(each) for key, each in database.load_instruments().items()},
        "synthetics": {key: each.formula for key, each in database.load_synthetics().items()},
        "order_position": {key: {"": value} for key, value in database.load_index_order_position().items()},
        "order_client": {key: {"": value} for key, value in database.load_index_order_client().items()},
    }


def account_of(account: Any) -> dict[str, Any]:
    """Without its margins, which NautilusTrader 1.221 does not load, and what the node's venues say of it."""
    left_out = {"margins", "calculate_account_state"}
    return {name: value for name, value in account_contents(account).items() if name not in left_out}


def as_text(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if name != "init_id"}


FORMS = {
    "msgpack": MsgSpecSerializer(msgspec.msgpack, timestamps_as_str=True),
    "msgpack-iso": MsgSpecSerializer(msgspec.msgpack, timestamps_as_str=True, timestamps_as_iso8601=True),
    "msgpack-numbers": MsgSpecSerializer(msgspec.msgpack),
    "json": MsgSpecSerializer(msgspec.json, timestamps_as_str=True),
    "json-iso": MsgSpecSerializer(msgspec.json, timestamps_as_str=True, timestamps_as_iso8601=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_instrument_is_read_whole(form: str) -> None:
    """In each form of NautilusTrader's serializer; no field is left out, and none is another than there."""
    for instrument in all_instruments():
        record, given = read_instrument(FORMS[form].serialize(instrument))
        assert list(not_kept(given, record)) == [], instrument
