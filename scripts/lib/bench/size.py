"""What the server's memory holds of an event, the log and the views together.

What an event of an order takes is measured where nothing but orders was written: all keys, but for the schema and the
fence, which are there once a trader and do not grow. A call is one of any kind, of a whole session.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def weigh(place: Place, keys: Keys) -> tuple[int, int]:
    """Bytes of all keys that grow, and of the commands alone that are in the log, stored once."""
    total = sum(size for name, size in place.key_bytes().items() if name not in (keys.schema, keys.writer))
    commands = 0
    with place.client() as client:
        low: Any = "-"
        while rows := client.xrange(keys.log, low, count=1000):
            for entry_id, fields in rows:  # type: ignore[union-attr] # no awaitable
                commands += len(fields[b"e"])
                low = b"(" + entry_id
    return total, commands


def measure(sizes: Sizes) -> Figures:
    """Bytes an event and a call of the sessions, and of orders of four events, few and ten times as many."""
    figures: Figures = {}
    with served() as place:
        for name in SESSIONS:
            path = session(name)
            keys = Keys(trader_of(path))
            for figure, orders_only in ((f"event_{name}", True), (f"call_{name}", False)):
                count = play(place, path, orders_only)
                total, commands = weigh(place, keys)
                figures |= {f"{figure}_b": total / count, f"{figure}_commands_b": commands / count}
                place.wipe()
        for figure, count in (("event_few", sizes.weighed), ("event_many", 10 * sizes.weighed)):
            with opened(place.url) as database:
                events = nodes.trade(database, (nodes.history(i) for i in range(count)))
            total, commands = weigh(place, Keys(nodes.TRADER))
            figures |= {f"{figure}_b": total / events, f"{figure}_commands_b": commands / events}
            place.wipe()
    return figures


def _session_rows() -> Iterator[Row]:
    for name in SESSIONS:
        yield Row(
            f"an order's event, session `{name}`",
            f"event_{name}_b",
            f"event_{name}_commands_b",
            "the commands, once",
            "B",
            Target(450),
        )
    for name in SESSIONS:
        yield Row(
            f"a call, session `{name}` whole",
            f"call_{name}_b",
            f"call_{name}_commands_b",
            "the commands, once",
            "B",
        )


SIZE = Subject(
    "size",
    "Memory at the server, log and views",
    (
        *_session_rows(),
        Row("an event of an order of four", "event_few_b", "event_few_commands_b", "the commands, once", "B"),
        Row(
            "the same, of ten times as many",
            "event_many_b",
            "event_few_b",
            "of fewer",
            "B",
            Target(1.02, "ratio"),
        ),
    ),
    measure,
)
