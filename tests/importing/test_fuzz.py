"""Whatever stands in a keyspace, an import comes to its end, tells of it, and loses nothing else by it."""

import base64
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.model import TraderId
from tests.support.effort import effort
from tests.support.nautilus_keyspaces import NAMES, bring, decoded, log_id, prefix, recorded, restore
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    with RedisServer() as source, RedisServer() as to:
        yield source, to


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


@st.composite
def damages(draw: st.DrawFn, document: dict[str, Any]) -> set[str]:
    """Damage some keys of `document`; return which."""
    keys = draw(st.sets(st.sampled_from(sorted(document["keys"])), min_size=1, max_size=4))
    for key in sorted(keys):
        each = document["keys"][key]
        how = draw(st.sampled_from(["value", "value", "value", "again", "gone", "type"]))
        if how == "type":
            document["keys"][key] = draw(
                st.sampled_from(
                    [
                        {"type": "string", "value": encoded(b"text")},
                        {"type": "list", "value": [encoded(b"text")]},
                        {"type": "set", "value": [encoded(b"text")]},
                        {"type": "hash", "value": {"field": encoded(b"text")}},
                    ]
                )
            )
        elif each["type"] in ("list", "set"):
            place = draw(st.integers(0, len(each["value"]) - 1))
            if how == "again":
                each["value"].append(each["value"][place])
            elif how == "gone" and len(each["value"]) > 1:
                each["value"].pop(place)
            else:
                each["value"][place] = encoded(draw(damaged_bytes(decoded(each["value"][place]))))
        elif each["type"] == "hash":
            name = draw(st.sampled_from(sorted(each["value"])))
            each["value"][name] = encoded(draw(damaged_bytes(decoded(each["value"][name]))))
        else:
            each["value"] = encoded(draw(damaged_bytes(decoded(each["value"]))))
    return keys


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(max_size=40))
    place = draw(st.integers(0, len(data)))
    return data[:place] + draw(st.binary(max_size=3)) + data[place + draw(st.integers(0, 5)) :]


@effort(25)
@given(st.sampled_from(NAMES), st.data())
def test_damage_is_told_and_nothing_else_is_lost(
    servers: tuple[RedisServer, RedisServer], name: str, data: st.DataObject
) -> None:
    """What was read and what the store has are the same; an order whose keys are whole is as NautilusTrader has it."""
    whole = recorded(name)
    document = copy.deepcopy(whole)
    begin = prefix(document)
    touched = data.draw(damages(document))
    source, to = servers
    with source.client() as client, to.client() as target:
        client.flushall()
        target.flushall()
        restore(client, document)
        outcome = bring(source.url, to.url)
        assert outcome.comparison is not None
        assert outcome.comparison.listed == []
        assert {finding.key for finding in outcome.findings.listed if finding.kind != "corrected"} <= {
            key for key in (*document["keys"], *touched) if key.startswith(begin)
        }
    untouched = {
        key.removeprefix(f"{begin}:orders:")
        for key in document["keys"]
        if key.startswith(f"{begin}:orders:") and key not in touched
    }
    with RedisCacheDatabase(TraderId(log_id(whole)), config=CacheDatabaseConfig(url=to.url)) as database:
        orders = {str(key): order for key, order in database.load_orders().items()}
        assert untouched <= orders.keys()
        for key in untouched:
            expected = whole["loaded"]["orders"][key]
            found = orders[key].to_dict()
            assert {
                each: found[each] for each in ("status", "filled_qty", "ts_last", "quantity", "venue_order_id")
            } == {each: expected[each] for each in ("status", "filled_qty", "ts_last", "quantity", "venue_order_id")}
