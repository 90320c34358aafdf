"""An order's events leave out what their place says: nothing is lost, nothing else is left out, and old logs go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

import eventstore
from eventstore import CacheDatabaseConfig, RedisCacheDatabase
from eventstore import commands as c
from eventstore.audit import FactReader, export, open_log, plain_command, rebuild, replay, state_at, verify
from eventstore.bulk import records_from
from eventstore.codec import MsgPackSerializer, Serializer, read_at, reads_at_places
from eventstore.encoder import Encoder
from eventstore.errors import CodecError, DamagedRecord
from eventstore.keys import Keys
from eventstore.model import events as e
from eventstore.model.enums import OrderStatus, TriggerType
from eventstore.model.identifiers import UUID4, ClientOrderId, PositionId, TraderId
from eventstore.model.orders import Order
from eventstore.model.record import Record
from eventstore.place import place_in, places_in
from eventstore.recording import Player, read_lines, trader_of
from eventstore.schema import LEFT_OUT, SHORT_SINCE, TAGS, TYPES, VERSIONS
from tests.support import specimens
from tests.support import strategies as some
from tests.support.databases import SILENT, TRADER, open_database
from tests.support.effort import effort
from tests.support.former import Former, Whole
from tests.support.orders import happened, initialized, order_after
from tests.support.redis_server import RedisServer

TEXT, NUMBER = SERIALIZERS = (MsgPackSerializer(), MsgPackSerializer(timestamps_as_str=False))
KEYS = Keys(TRADER)
SESSION = Path(eventstore.__file__).parent / "sessions/trailing.jsonl.gz"
PLACES = {name: e.OrderEvent._fields.index(name) + 2 for name in LEFT_OUT}
KINDS = [TYPES[tag] for tag in SHORT_SINCE]
kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


# -- The rule --------------------------------------------------------------------------------------------------


@kinds
@effort(25)
@given(st.data())
def test_an_event_comes_back_at_its_place_and_only_what_is_equal_is_left_out(
    kind: type[Record], data: st.DataObject
) -> None:
    """Whatever of it is equal to what the place says, whichever way times are written, and however it is read."""
    event: Any = data.draw(some.order_events(kind))
    if data.draw(st.booleans()):
        event = event.replace(ts_init=event.ts_event)
    place = (
        str(event.trader_id) if data.draw(st.booleans()) else "ANOTHER-1",
        str(event.client_order_id) if data.draw(st.booleans()) else "another",
    )
    equal = {
        "ts_init": event.ts_init == event.ts_event,
        "trader_id": event.trader_id == place[0],
        "client_order_id": event.client_order_id == place[1],
    }
    for serializer in SERIALIZERS:
        stored = serializer.serialize(event, place)
        row = msgpack.unpackb(stored, strict_map_key=False)
        whole = msgpack.unpackb(serializer.serialize(event), strict_map_key=False)
        assert row[:2] == [TAGS[kind], VERSIONS[TAGS[kind]]]
        left_out = {at for name, at in PLACES.items() if equal[name]}
        assert row == [None if at in left_out else value for at, value in enumerate(whole)]
        assert all(whole[at] is not None for at in PLACES.values())
        for reader in SERIALIZERS:
            again: Any = reader.deserialize(stored, place)
            assert some.same(again, event)
            assert [*map(type, again)] == [*map(type, event)]
            assert reader.deserialize(serializer.serialize(event), place) == event
            many = records_from([stored, serializer.serialize(event)], reader, place[0], [place[1]] * 2)
            assert [one is None or some.same(one, event) for one in many] == [True] * 2


@kinds
@pytest.mark.parametrize("version", ["whole", "former", "short"])
def test_many_at_once_need_no_second_look_whichever_of_the_versions_they_are_of(
    kind: type[Record], version: str
) -> None:
    """Old logs are loaded as fast as new ones."""
    event: Any = specimens.record(kind).replace(ts_init=specimens.TIME + 1)
    place = (str(event.trader_id), str(event.client_order_id))
    stored = {
        "whole": lambda: NUMBER.serialize(event),
        "former": lambda: Former().serialize(event),
        "short": lambda: NUMBER.serialize(event, place),
    }[version]()
    assert records_from([stored] * 3, NUMBER, place[0], [place[1]] * 3) == [event] * 3


def test_events_of_many_orders_are_those_of_their_orders() -> None:
    """Read together, some whole and some short."""
    ids = [ClientOrderId(f"O-{number % 7}") for number in range(40)]
    events = [happened(e.OrderAccepted, client_order_id=order_id) for order_id in ids]
    stored = [
        NUMBER.serialize(event, (TRADER, event.client_order_id)) if number % 3 else NUMBER.serialize(event)
        for number, event in enumerate(events)
    ]
    assert records_from(stored, NUMBER, str(TRADER), [*map(str, ids)]) == events


def test_only_the_records_of_an_order_s_own_events_are_short() -> None:
    """Not the fills of a position, nor anything else; and those of a log that is named after another trader keep it."""
    encoder = Encoder(NUMBER, TRADER)
    fill = happened(e.OrderFilled)
    order_id = fill.client_order_id
    of_order = encoder.order_event(order_id, 1, OrderStatus.FILLED, TriggerType.NO_TRIGGER, fill).events
    assert of_order == encoder.update_order(order_id, 1, OrderStatus.FILLED, False, (fill,), None).events  # noqa: FBT003
    assert of_order == [NUMBER.serialize(fill, (TRADER, order_id))]
    of_position = encoder.position("P-1", 0, True, (fill,), None).events  # noqa: FBT003
    assert of_position == encoder.fill("P-1", 0, True, fill).events == [NUMBER.serialize(fill)]  # noqa: FBT003
    init = initialized()
    added = encoder.new_order(order_id, TriggerType.NO_TRIGGER, init, None, None).events
    assert added == encoder.add_order(order_id, 0, 1, False, (init,), None, None, None).events  # noqa: FBT003
    assert added == [NUMBER.serialize(init, (TRADER, order_id))]
    other = Encoder(NUMBER, TraderId(f"{TRADER}:instance")).new_order(
        order_id, TriggerType.NO_TRIGGER, init, None, None
    )
    assert msgpack.unpackb(other.events[0])[PLACES["trader_id"]] == TRADER
    for kind in TYPES.values():
        if not issubclass(kind, e.OrderEvent):
            record = specimens.record(kind)
            assert NUMBER.serialize(record, (TRADER, order_id)) == NUMBER.serialize(record)


def test_a_serializer_that_takes_no_place_writes_and_reads_records_whole(redis_url: str, client: Redis) -> None:
    """One that others wrote, for the interface as it was."""

    class Other(Serializer):
        def serialize(self, record: Record) -> bytes:
            return NUMBER.serialize(record)

        def deserialize(self, data: bytes) -> Record:
            return NUMBER.deserialize(data)

    assert [reads_at_places(kind) for kind in (Other, Whole, MsgPackSerializer)] == [False, True, True]
    order = order_after(e.OrderSubmitted, e.OrderAccepted)
    with RedisCacheDatabase(TRADER, SILENT, Other(), CacheDatabaseConfig(url=redis_url)) as database:
        database.add_order(order)
        loaded = database.load_order(order.client_order_id)
        assert loaded is not None
        assert loaded.events == order.events
        assert database.load_orders()[order.client_order_id].events == order.events
    stored = client.hgetall(KEYS.order(order.client_order_id))
    assert [stored[b"%d" % version] for version in range(3)] == [*map(NUMBER.serialize, order.events)]


@pytest.mark.parametrize("name", ["O-1", "O-1{1}", "O-1{12}", "a:order:b", "}:order:x".removeprefix("}")])
def test_a_key_says_its_place(name: str) -> None:
    order_id = name.partition("{")[0]
    for trader_id in (TRADER, TraderId("TRADER-001:order:1")):
        keys = Keys(trader_id)
        assert place_in(keys.order(name)) == (trader_id, order_id)
        assert place_in(keys.position(name)) is place_in(keys.account(name)) is place_in(name) is None
        assert places_in([keys.order(name)] * 2) == ((None, []) if "{" in name else (trader_id, [name] * 2))
        assert places_in([keys.order(name), keys.position(name)]) == places_in([]) == (None, [])
        assert places_in([keys.order(name), Keys(TraderId("OTHER-1")).order(name)]) == (None, [])


# -- Where nothing is to be left out ---------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_where_it_is_not_to_be_is_damage_by_name(kind: type[Record], name: str) -> None:
    """In a record for itself, such as a fill of a position; and in one of a version that left nothing out."""
    event: Any = specimens.record(kind)
    place = (str(event.trader_id), str(event.client_order_id))
    row = msgpack.unpackb(TEXT.serialize(event), strict_map_key=False)
    row[PLACES[name]] = None
    data = msgpack.packb(row)
    assert TEXT.deserialize(data, place)[PLACES[name] - 2] is not None
    row[1] -= 1
    former = msgpack.packb(row)
    unplaced: list[Callable[[], Any]] = [lambda: TEXT.deserialize(data), lambda: TEXT.deserialize(former, place)]
    for read in unplaced:
        with pytest.raises(CodecError, match=rf"{kind.__name__}\.{name}: left out"):
            read()
    assert records_from([data], TEXT) == records_from([former], TEXT, place[0], [place[1]]) == [None]


def test_a_short_record_in_a_position_is_damage_and_named(redis_url: str, client: Redis) -> None:
    order = order_after(e.OrderSubmitted, e.OrderAccepted, e.OrderFilled)
    with open_database(redis_url) as database:
        database.add_order(order)
        database.sync()
        fill = client.hget(KEYS.order(order.client_order_id), "3")
        basis = NUMBER.serialize(specimens.records()[3])
        client.hset(KEYS.position("P-1"), mapping={"basis": basis, "0": fill})
        client.sadd(KEYS.positions, "P-1")
        for load in (database.load_positions, lambda: database.load_position(PositionId("P-1"))):  # type: ignore[arg-type]
            with pytest.raises(DamagedRecord, match=r"OrderFilled\.ts_init: left out") as caught:
                load()
            assert (caught.value.key, caught.value.field) == (KEYS.position("P-1"), "0")


def test_an_event_that_was_put_with_another_order_by_hand_is_named_by_verify(redis_url: str, client: Redis) -> None:
    """It does not say whose it is, so a load takes it for that order's; the log has other bytes there."""
    ids = [ClientOrderId("O-1"), ClientOrderId("O-2")]
    with open_database(redis_url) as database:
        for order_id in ids:
            order = Order.create(initialized(client_order_id=order_id))
            order.apply(happened(e.OrderSubmitted, client_order_id=order_id, event_id=UUID4()))
            database.add_order(order)
    client.hset(KEYS.order("O-1"), "1", client.hget(KEYS.order("O-2"), "1"))
    with open_log(redis_url, TRADER) as log:
        assert [(each.key, each.field) for each in verify(log).findings] == [(KEYS.order("O-1"), "1")]


@effort(100)
@given(st.data())
def test_hostile_bytes_at_a_place_do_no_harm(data: st.DataObject) -> None:
    """A record or a `CodecError`; and many at once never say anything else."""
    kind = data.draw(st.sampled_from(KINDS))
    event: Any = specimens.record(kind)
    place = (str(event.trader_id), str(event.client_order_id))
    stored = bytearray(NUMBER.serialize(event, place))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(stored) - 1, 0)))
        stored[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    found = records_from([bytes(stored)] * 2, NUMBER, place[0], [place[1]] * 2)
    try:
        record: Record | None = NUMBER.deserialize(bytes(stored), place)
    except CodecError:
        record = None
    assert found in ([record] * 2, [None] * 2)
    assert record is None or NUMBER.deserialize(NUMBER.serialize(record, place), place) == record


# -- Old logs, and logs that went on ---------------------------------------------------------------------------


def test_the_former_version_is_written_here_as_it_was() -> None:
    """What these tests call a log of the former version has the golden bytes of that version."""
    golden = json.loads((Path(__file__).parent / "data/golden.json").read_text("utf-8"))
    for tag, since in SHORT_SINCE.items():
        data = Former().serialize(specimens.records()[tag])
        assert data.hex() == golden[f"record:{tag}:{since - 1}"]["hex"]


def played(url: str, *serializers: Serializer | None) -> None:
    """Play the session, a part of it by a process with each of these."""
    lines = [*read_lines(SESSION)]
    size = -(-len(lines) // len(serializers))
    player: Any = None
    for number, serializer in enumerate(serializers):
        config = CacheDatabaseConfig(url=url)
        with RedisCacheDatabase(trader_of(SESSION), SILENT, serializer, config) as database:
            if player is None:
                player = Player(database)
            else:  # the same objects go on, in another database
                database.load_orders(), database.load_positions(), database.load_accounts()
                player._database = database
            for line in lines[number * size : (number + 1) * size]:
                player.prepare(line)()


def seen(url: str, directory: Path) -> dict[str, Any]:
    """Everything that can be read of the session at that server, but for when it was played."""
    directory.mkdir()
    with RedisCacheDatabase(trader_of(SESSION), SILENT, None, CacheDatabaseConfig(url=url)) as database:
        found: dict[str, Any] = {
            "orders": {key: order.to_dict() for key, order in database.load_orders().items()},
            "events": {key: order.events for key, order in database.load_orders().items()},
            "one": [database.load_order(key).to_dict() for key in database.load_orders()],  # type: ignore[union-attr]
            "positions": {key: position.to_dict() for key, position in database.load_positions().items()},
            "accounts": {key: account.to_dict() for key, account in database.load_accounts().items()},
        }
    with open_log(url, trader_of(SESSION)) as log:
        assert verify(log).findings == []
        found["replayed"] = [(type(each.command).__name__, each.events()) for each in replay(log) if each.events()]
        state = state_at(log)
        found["state"] = {key: order.to_dict() for key, order in state.orders().items()}
        reader = FactReader(log.trader_id)
        facts = [reader.read(entry) for entry in log.entries()]
        assert [each.error for each in facts if each.error] == []
        found["shown"] = [
            plain_command(each.command, TEXT, log.trader_id)
            for each in facts
            if each.command is not None and each.family == "order"
        ]
        for made in export(log, ["order_events", "fills", "orders", "positions"], "jsonl", directory):
            rows = map(json.loads, made.path.read_text("utf-8").splitlines())
            numbers = {"accepted_at", "removed_at", "log_position", "first_log_position", "last_log_position"}
            numbers |= {"position_log_position", "removed_log_position"}
            found[made.path.name] = [{k: v for k, v in row.items() if k not in numbers} for row in rows]
    return found


@pytest.mark.parametrize(
    "serializers",
    [(None,), (Former(),), (Former(), None), (Former(), None, Whole(), Former(timestamps_as_str=False), None)],
    ids=["short", "former", "half and half", "back and forth"],
)
def test_a_log_of_any_versions_gives_the_same_as_one_of_whole_records(
    serializers: tuple[Serializer | None, ...], redis_url: str, client: Redis, tmp_path: Path
) -> None:
    """Loaded, replayed, shown, exported; verified, and rebuilt of nothing but the log."""
    played(redis_url, Whole())
    expected = seen(redis_url, tmp_path / "whole")
    assert len(expected["orders"]) > 50
    client.flushall()
    played(redis_url, *serializers)
    found = seen(redis_url, tmp_path / "found")
    for name in expected:
        assert found[name] == expected[name], name
    keys = Keys(trader_of(SESSION))
    client.delete(*client.keys(keys.order("*")))
    with open_log(redis_url, trader_of(SESSION)) as log:
        rebuild(log)
    assert seen(redis_url, tmp_path / "rebuilt") == expected


def test_earlier_lives_of_an_order_are_read_at_its_place(redis_url: str, client: Redis) -> None:
    """The hash of an earlier life has another name, and is the same order's."""
    again = initialized()
    with open_database(redis_url) as database:
        order = order_after(e.OrderSubmitted, e.OrderRejected)
        database.add_order(order)
        database.sync()
        client.srem(KEYS.orders, order.client_order_id)
    with open_database(redis_url) as database:  # which does not know of it, and begins it anew
        database.add_order(Order.create(again))
        database.sync()
    keys = sorted(client.keys(KEYS.order("*")))
    for key in keys:
        place = place_in(key.decode())
        assert place == (TRADER, order.client_order_id)
        for version, data in client.hgetall(key).items():
            record = read_at(NUMBER, data, place)
            assert record in (order.events[int(version)], again)
            with pytest.raises(CodecError, match="left out"):
                NUMBER.deserialize(data)


def test_a_command_shows_its_events_whole() -> None:
    event = happened(e.OrderAccepted)
    command = Encoder(NUMBER, TRADER).order_event(
        event.client_order_id, 1, OrderStatus.ACCEPTED, TriggerType.NO_TRIGGER, event
    )
    assert plain_command(command, TEXT, TRADER)["events"] == [json.loads(json.dumps(event.to_dict()))]
    position = c.WritePosition("P-1", 0, True, command.events, None)  # noqa: FBT003
    assert plain_command(position, TEXT, TRADER)["events"] == [command.events[0].hex()]
