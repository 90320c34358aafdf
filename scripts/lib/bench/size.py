"""What the server's memory holds of an event, the log and the views together.

What an event of an order takes is measured where nothing but orders was written: all keys, but for the schema and the
fence, which are there once a trader and do not grow. A call is one of any kind, of a whole session.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import eventstore
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore.keys import Keys
from eventstore.recording import Player, read_lines, trader_of
from scripts.lib.bench import nodes
from scripts.lib.bench.places import Place, opened, served
from scripts.lib.bench.rows import Figures, Row, Subject, Target
from scripts.lib.bench.sizes import Sizes

SESSIONS = ("emacross", "trailing", "bracket")
ORDER_CALLS = frozenset(("add_order", "update_order", "index_order_position", "index_venue_order_id"))
"""The calls of a session that are about its orders; the first two write an event each."""
REDIS_DEFAULTS = {
    "hash-max-ziplist-entries": 128,
    "hash-max-ziplist-value": 64,
    "stream-node-max-bytes": 4096,
    "stream-node-max-entries": 100,
}
"""What the embedded server sets otherwise."""


def session(name: str) -> Path:
    return Path(eventstore.__file__).parent / "sessions" / f"{name}.jsonl.gz"


def play(place: Place, path: Path, orders_only: bool) -> int:
    """Play a recorded session, or only its calls about orders; returns the calls, or those of them that write events.

    What the calls that are not made are about is made all the same: the node lives as it did.
    """
    made = 0
    with RedisCacheDatabase(trader_of(path), config=CacheDatabaseConfig(url=place.url)) as database:
        player = Player(database)
        for line in read_lines(path):
            call = player.prepare(line)
            if orders_only and line["call"] not in ORDER_CALLS:
                continue
            call()
            made += not orders_only or not line["call"].startswith("index")
    return made


class Weight(NamedTuple):
    """Bytes of memory of what grows; of what is there once a trader; and of the commands in the log, stored once."""

    growing: int
    once: int
    commands: int


def weigh(place: Place, keys: Keys) -> Weight:
    """Weigh everything at the server."""
    sizes = place.key_bytes()
    once = sum(sizes.pop(name, 0) for name in (keys.schema, keys.writer))
    commands = 0
    with place.client() as client:
        low: Any = "-"
        while rows := client.xrange(keys.log, low, count=1000):
            for entry_id, fields in rows:  # type: ignore[union-attr] # no awaitable
                commands += len(fields[b"e"])
                low = b"(" + entry_id
    return Weight(sum(sizes.values()), once, commands)


def _once_bare(place: Place, keys: Keys) -> int:
    """Bytes of the fields and values alone of what is there once a trader."""
    with place.client() as client:
        hashes: Any = [client.hgetall(name) for name in (keys.schema, keys.writer)]
    return sum(len(field) + len(value) for fields in hashes for field, value in fields.items())


def _as_redis_comes(place: Place) -> None:
    with place.client() as client:
        for name, value in REDIS_DEFAULTS.items():
            client.config_set(name, value)


def measure(sizes: Sizes) -> Figures:
    """Bytes an event and a call of the sessions, and of orders of four events, few and ten times as many."""
    figures: Figures = {}
    with served() as place:
        for name in SESSIONS:
            path = session(name)
            keys = Keys(trader_of(path))
            for figure, orders_only in (("event", True), ("call", False)):
                count = play(place, path, orders_only)
                weight = weigh(place, keys)
                figures[f"{figure}_{name}_b"] = weight.growing / count
                figures[f"{figure}_{name}_commands_b"] = weight.commands / count
                figures["once_b"], figures["once_bare_b"] = weight.once, _once_bare(place, keys)
                place.wipe()
        for figure, count in (("few", sizes.weighed), ("many", 10 * sizes.weighed)):
            with opened(place.url) as database:
                events = nodes.trade(database, (nodes.history(i) for i in range(count)))
            weight = weigh(place, Keys(nodes.TRADER))
            figures[f"event_{figure}_b"] = weight.growing / events
            figures[f"event_{figure}_commands_b"] = weight.commands / events
            place.wipe()
    with served() as place:
        _as_redis_comes(place)
        for name in SESSIONS:
            path = session(name)
            count = play(place, path, orders_only=True)
            figures[f"plain_{name}_b"] = weigh(place, Keys(trader_of(path))).growing / count
            place.wipe()
    return figures


def _rows() -> Iterator[Row]:
    once = "the commands, once"
    for name in SESSIONS:
        title = f"an order's event, session `{name}`"
        yield Row(title, f"event_{name}_b", f"event_{name}_commands_b", once, "B", Target(450))
    for name in SESSIONS:
        title = f"an order's event, `{name}`, Redis's own settings"
        yield Row(title, f"plain_{name}_b", f"event_{name}_b", "the embedded server's", "B")
    for name in SESSIONS:
        yield Row(f"a call, session `{name}` whole", f"call_{name}_b", f"call_{name}_commands_b", once, "B")
    yield Row("an event of an order of four", "event_few_b", "event_few_commands_b", once, "B")
    yield Row("the same, of ten times as many", "event_many_b", "event_few_b", "of fewer", "B", Target(1.05, "ratio"))
    yield Row("a trader, once: schema and fence", "once_b", "once_bare_b", "fields and values", "B")


SIZE = Subject("size", "Memory at the server, log and views", tuple(_rows()), measure)
