"""What the tortured node calls: recorded sessions, with more verbs in between, as often as it takes.

Every play of a session is a lineage with a number of its own, which stands in its ids: so no two calls of a run ask for
the same, and the payload that each has to have in the log is known beforehand, byte for byte.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import eventstore
from eventstore.commands import KINDS, ClosedWell, Heartbeat, Opened, encode
from eventstore.database import RedisCacheDatabase
from eventstore.keys import Keys
from eventstore.model.identifiers import AccountId, ClientOrderId, PositionId, TraderId
from eventstore.recording import Player, read_lines
from tests.support.databases import open_database
from tests.support.logs import read_log
from tests.support.redis_server import RedisServer

TRADER = TraderId("TORTURE-001")
SESSIONS = ("emacross", "trailing", "bracket")
LAPS_MAX = 256
"""How many lineages one life can begin."""

_TOKEN = "5ca1ab1e"  # noqa: S105 - stands for the lineage's number in a text, and in a payload: both have eight digits
_RAW_TOKEN = bytes.fromhex(_TOKEN)  # in an event's id, which is stored as the 16 bytes that it is
_VALUE_SIZES = (1, 16, 120, 300, 2_000, 20_000)
# A payload is an array of kind, version and fields: fewer than 16, so the kind, a small number, is its second byte.
_LIFE_OF_A_WRITER = frozenset({KINDS[Opened], KINDS[ClosedWell]})


class Session:
    """A session as text and, line by line, the payload of the command that the call leaves in the log."""

    def __init__(self, name: str, lines_max: int | None = None, token: str = _TOKEN) -> None:
        self.name = name
        path = Path(eventstore.__file__).parent / "sessions" / f"{name}.jsonl.gz"
        texts = _enriched(list(islice(read_lines(path), lines_max)), random.Random(name))
        self._lines = [text.replace(_TOKEN, token) for text in texts]
        self._payloads = _reference(self._lines)
        if len(self._payloads) != len(self._lines):
            raise SystemExit(f"{name}: {len(self._lines)} calls left {len(self._payloads)} commands")

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, index: int, lineage: int) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._lines[index].replace(_TOKEN, f"{lineage:08x}"))
        return line

    def payload(self, index: int, lineage: int) -> bytes:
        text, raw = f"{lineage:08x}".encode(), lineage.to_bytes(4, "big")
        return self._payloads[index].replace(_TOKEN.encode(), text).replace(_RAW_TOKEN, raw)


class Place(NamedTuple):
    """A call: the line of a session, in one of its lineages."""

    session: int
    lineage: int
    index: int


def places(sessions: list[Session], life: int, start: Place) -> Iterator[Place]:
    """The calls of a life that begins at `start`: that session to its end, then the next one, and so on."""
    session, lineage, index = start
    for lap in range(1, LAPS_MAX):
        for i in range(index, len(sessions[session])):
            yield Place(session, lineage, i)
        session, lineage, index = (session + 1) % len(sessions), life * LAPS_MAX + lap, 0


def marker_ns(life: int) -> int:
    """The time of the heartbeat that a life begins with, to the microsecond."""
    return (1_600_000_000_000_000 + life) * 1000


def payloads(sessions: list[Session], life: int, start: Place) -> Iterator[bytes]:
    """The payloads that a life's calls leave in the log, its marker first."""
    yield encode(Heartbeat(marker_ns(life)))
    for session, lineage, index in places(sessions, life, start):
        yield sessions[session].payload(index, lineage)


def is_call(payload: bytes) -> bool:
    """Whether a caller asked for this command, and not the writer itself for its own entry."""
    return payload[1] not in _LIFE_OF_A_WRITER


class _Loaded(dict[str, Any]):
    """Objects by id: those of `ids` are loaded when they are asked for, as a node does that has started again."""

    def __init__(self, ids: set[Any], load: Callable[[str], Any]) -> None:
        super().__init__()
        self._ids = {str(key) for key in ids}
        self._load = load

    def __missing__(self, key: str) -> Any:
        loaded = self._load(key) if key in self._ids else None
        if loaded is None:
            raise KeyError(key)
        self[key] = loaded
        return loaded

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def resumed_player(database: RedisCacheDatabase) -> Player:
    """A player that knows what the database knows, and nothing else."""
    player = Player(database)
    accounts = {key.rpartition(":")[2] for key in database.keys("*:account:*")}
    player._orders = _Loaded(database.load_order_ids(), lambda key: database.load_order(ClientOrderId(key)))
    player._positions = _Loaded(database.load_position_ids(), lambda key: database.load_position(PositionId(key)))
    player._accounts = _Loaded(accounts, lambda key: database.load_account(AccountId(key)))
    player._instruments.update(database.load_instruments())
    return player


def _enriched(lines: list[dict[str, Any]], draw: random.Random) -> Iterator[str]:
    """The lines, with the token in their ids, and calls of the other verbs in between."""
    last_of_order = {}
    for i, line in enumerate(lines):
        about = line.get("event") or line.get("order") or line
        last_of_order[about.get("client_order_id")] = i
    for i, line in enumerate(lines):
        yield _with_token(json.dumps(line))
        order_id = (line.get("event") or line.get("order") or line).get("client_order_id")
        if order_id is not None and last_of_order[order_id] == i and draw.random() < 0.2:
            yield _with_token(json.dumps({"call": "delete_order", "client_order_id": order_id}))
        if draw.random() < 0.05:
            yield json.dumps(_another_call(i, draw))


def _another_call(i: int, draw: random.Random) -> dict[str, Any]:
    component = f"Actor-{draw.randrange(5)}"
    value = draw.randbytes(200_000 if draw.random() < 0.002 else draw.choice(_VALUE_SIZES))
    return draw.choice(
        [
            {"call": "add", "key": f"{_TOKEN}-{i % 20}", "value": value.hex()},
            {"call": "update_actor", "actor_id": component, "state": {_TOKEN: list(value[:300]), "i": str(i)}},
            {"call": "update_strategy", "strategy_id": component, "state": {_TOKEN: str(i)}},
            {"call": "delete_actor", "actor_id": f"{component}-{_TOKEN}"},
            {"call": "index_venue_order_id", "client_order_id": f"O-{_TOKEN}-{i}", "venue_order_id": str(i)},
            {"call": "heartbeat", "timestamp": f"2024-01-01T00:00:00.{i:06}+00:00"},
        ]
    )


def _with_token(text: str) -> str:
    text = re.sub(r'"trader_id": "[^"]+"', f'"trader_id": "{TRADER}"', text)
    text = re.sub(r'"(O|OL)-(?=\d)', rf'"\1-{_TOKEN}-', text)
    text = re.sub(r'"account_id": "SIM-[^"]+"', f'"account_id": "SIM-{_TOKEN}"', text)
    return re.sub(r'"(event_id|init_id)": "[0-9a-f]{8}-', rf'"\1": "{_TOKEN}-', text)


def _reference(lines: list[str]) -> list[bytes]:
    """The payloads in the log of a node that nobody disturbs."""
    with RedisServer() as server, server.client() as client:
        with open_database(server.url, TRADER) as database:
            player = Player(database)
            for text in lines:
                player.prepare(json.loads(text))()
            database.sync(120)
        return [entry.payload for entry in read_log(client, Keys(TRADER)) if is_call(entry.payload)]
