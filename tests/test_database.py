"""The life of a database: opened, used from anywhere, damaged, forked, closed."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore.codec import MsgPackSerializer
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.errors import (
    BacklogFull,
    Closed,
    CodecError,
    DamagedRecord,
    Diverged,
    StorageError,
    SyncTimeout,
    WriterFailed,
)
from eventstore.facade import CacheDatabase
from eventstore.keys import Keys
from eventstore.model.accounts import Account
from eventstore.model.currencies import EUR, USD
from eventstore.model.enums import AccountType
from eventstore.model.events import (
    AccountBalance,
    AccountState,
    OrderAccepted,
    OrderPendingUpdate,
    OrderSubmitted,
    OrderUpdated,
)
from eventstore.model.identifiers import UUID4, AccountId, ClientOrderId, ComponentId, TraderId
from eventstore.model.orders import Order
from eventstore.model.record import Record
from eventstore.model.values import Money
from tests.support.databases import SILENT, TRADER, open_database
from tests.support.logs import check_log, read_log
from tests.support.node import State
from tests.support.orders import happened, initialized, order_after
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)
PATIENCE_S = 30.0


def commands(client: Redis) -> list[c.Command]:
    return [line.command for line in read_log(client, KEYS)]


def order(number: int) -> Order:
    return Order.create(initialized(client_order_id=ClientOrderId(f"O-{number}")))


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Redis:
    return redis_server.client()


class Lines:
    """A logger that keeps its lines; `on` is called with each."""

    def __init__(self, on: Callable[[str, str, dict[str, Any]], object] | None = None) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self._on = on

    def bind(self, **values: Any) -> Lines:
        return self

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level.startswith("_"):
            raise AttributeError(level)

        def log(event: str, **values: Any) -> None:
            self.lines.append((level, event, values))
            if self._on is not None:
                self._on(level, event, values)

        return log


# -- Opening and closing -----------------------------------------------------------------------------------------


def test_a_load_sees_what_this_process_wrote_before_it(redis_url: str) -> None:
    """Read your own writes: without a sync, however long a batch may linger."""
    with open_database(redis_url, linger_ms=10_000.0) as database:
        for number in range(20):
            database.add("key", b"%d" % number)
            assert database.load() == {"key": b"%d" % number}


def test_closing_writes_everything_and_says_so_in_the_log(redis_url: str, client: Redis) -> None:
    """Each epoch begins with who opened it, and ends with how much it wrote; close returns how much was not."""
    logger = Lines()
    with open_database(redis_url, logger=logger, linger_ms=5_000.0) as database:
        for number in range(100):
            database.add("key", b"%d" % number)
        assert database.close() == 0
    opened, *added, closed = commands(client)
    assert isinstance(opened, c.Opened)
    assert opened.about.items() >= {"pid": os.getpid(), "url": redis_url, "owner_before": ""}.items()
    assert opened.about["config"]["linger_ms"] == 5_000.0
    assert [command.value for command in added if isinstance(command, c.Add)] == [b"%d" % n for n in range(100)]
    assert isinstance(closed, c.ClosedWell)
    assert (closed.epoch, closed.counts["commands"]) == (1, 101)
    assert [event for _, event, _ in logger.lines] == ["opened a new log", "closed"]
    check_log(client, KEYS)


def test_no_secret_of_the_url_is_in_the_log_or_the_repr(
    redis_server: RedisServer, redis_url: str, client: Redis
) -> None:
    client.acl_setuser("node", enabled=True, passwords=["+hush"], categories=["+@all"], keys=["*"], channels=["*"])
    try:
        url = redis_url.replace("unix://", "unix://node:hush@")
        logger = Lines()
        with open_database(url, logger=logger) as database:
            database.sync()
            shown = repr(database) + repr(commands(client)) + repr(logger.lines) + repr(database.stats())
            assert "unix://node:***@" in shown
            assert "hush" not in shown
    finally:
        client.acl_deluser("node")


def test_the_embedded_default_keeps_everything_in_its_directory(tmp_path: Path) -> None:
    """Without a URL: a private server, whose data are there when the directory is opened again."""
    config = CacheDatabaseConfig(directory=tmp_path)
    with RedisCacheDatabase(TRADER, SILENT, None, config) as database:
        database.add("key", b"value")
        assert isinstance(database, CacheDatabase)
    with RedisCacheDatabase(TRADER, SILENT, None, config) as database:
        assert database.load() == {"key": b"value"}
        assert database.stats().epoch == 2


def test_a_killed_process_leaves_a_log_that_the_next_one_goes_on_with(redis_url: str, client: Redis) -> None:
    """SIGKILL in the middle of writing: what is there is whole, in order and gapless, and is taken over."""
    script = """
import itertools, sys
from tests.support.databases import open_database
database = open_database(sys.argv[1], linger_ms=0.0, batch_count_max=7)
for number in itertools.count():
    database.add("key", b"%d" % number)
    if number == 2000:
        database.sync()
        print("go", flush=True)
"""
    with PythonProcess(script, redis_url) as process:
        assert process.line() == "go"
        process.kill()
        logger = Lines()
        with open_database(redis_url, logger=logger) as database:
            database.add("after", b"")
            loaded = database.load()
        level, event, values = logger.lines[0]
        assert (level, event, values["epoch"]) == ("info", "took over the log", 2)
        assert f'"pid": {process.pid}' in values["owner_before"]
    log = check_log(client, KEYS)
    added = [line.command.value for line in log if isinstance(line.command, c.Add) and line.command.key == "key"]
    assert len(added) > 2000
    assert added == [b"%d" % number for number in range(len(added))]
    assert loaded == {"key": added[-1], "after": b""}


@pytest.mark.parametrize("broken", ["log", "fence"])
def test_a_log_that_is_not_whole_is_not_opened_and_not_touched(redis_url: str, client: Redis, broken: str) -> None:
    """A log without its fence, or a fence without its log: never a silent fresh start."""
    with open_database(redis_url) as database:
        database.add("key", b"value")
    client.delete(KEYS.log if broken == "log" else KEYS.writer)
    before = {name: client.dump(name) for name in client.keys("*")}
    with pytest.raises(Diverged, match="claim the log"):
        open_database(redis_url)
    assert {name: client.dump(name) for name in client.keys("*")} == before


def test_an_open_that_fails_shuts_nobody_out(redis_url: str, client: Redis) -> None:
    """The one that has the log goes on writing when another could not be opened, here because a record is damaged."""
    with open_database(redis_url) as first:
        first.add_currency(USD)
        first.sync()
        client.hset(KEYS.currencies, "EUR", b"what is no record")
        threads = threading.active_count()
        with pytest.raises(DamagedRecord, match="currencies EUR"):
            open_database(redis_url)
        assert threading.active_count() == threads
        first.add("key", b"value")
        first.sync()
        assert first.stats().health == "healthy"


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock", "redis://127.0.0.1:1"])
def test_a_server_that_is_not_there_is_told_at_once(url: str) -> None:
    said = f"^open the database of {TRADER} at {url}: the server can not be reached: start it, or correct the URL "
    with pytest.raises(StorageError, match=said):
        open_database(url)


def test_a_wrong_password_is_told_with_whose_database_it_is_and_where() -> None:
    with RedisServer(password="pw") as server:
        said = f"^open the database of {TRADER} at unix://:...@{server.socket_path}: the user name or password is wrong"
        with pytest.raises(StorageError, match=said):
            open_database(f"unix://:secret@{server.socket_path}")


def test_two_databases_of_one_process_close_independently(redis_url: str) -> None:
    other = TraderId("OTHER-002")
    with open_database(redis_url) as first, open_database(redis_url, other) as second:
        first.add("key", b"first")
        second.add("key", b"second")
        assert second.close() == 0
        assert first.load() == {"key": b"first"}
    with open_database(redis_url, other) as second:
        assert second.load() == {"key": b"second"}


# -- Deleted events ----------------------------------------------------------------------------------------------


SIM = AccountId("SIM-001")


def account_state(number: int, account_id: AccountId = SIM) -> AccountState:
    money = Money(number, USD)
    balance = AccountBalance(money, Money(0, USD), money)
    return AccountState(UUID4(), number, number, account_id, AccountType.CASH, USD, (balance,))


@pytest.mark.parametrize("deleted", [[2], [2, 1], [1, 2], [0, 2], [0, 1], [2, 0, 1]], ids=str)
@pytest.mark.parametrize("reload", [False, True])
def test_an_account_goes_on_after_its_events_were_deleted(redis_url: str, deleted: list[int], reload: bool) -> None:
    """The object that still has them, and one that was loaded without them, go on alike: nothing is written twice, and
    nothing that was deleted comes back."""
    events = [account_state(number) for number in range(4)]
    with open_database(redis_url) as database:
        account = Account.from_events(events[:3])
        database.add_account(account)
        for number in deleted:
            database.delete_account_event(account.id, events[number].event_id)
        loaded = database.load_account(account.id)
        if reload and loaded is not None:
            account = loaded
        account.apply(events[3])
        database.update_account(account)
        loaded = database.load_account(account.id)
        assert loaded is not None
        assert loaded.events == [event for number, event in enumerate(events) if number not in deleted]


# -- Called from anywhere ----------------------------------------------------------------------------------------


def test_calls_of_many_threads_are_all_there_each_in_its_own_order(redis_url: str, client: Redis) -> None:
    """Orders of four threads, with loads in between: every event, in the order of its thread."""

    def trade(number: int) -> None:
        mine = order(number)
        database.add_order(mine)
        mine.apply(happened(OrderSubmitted, client_order_id=mine.client_order_id))
        database.update_order(mine)
        for i in range(200):
            mine.apply(happened(OrderAccepted, client_order_id=mine.client_order_id) if i == 0 else pending(mine, i))
            database.update_order(mine)
            if i % 50 == 0:
                loaded = database.load_order(mine.client_order_id)
                assert loaded is not None
                assert loaded.events == mine.events
        done.append(mine)

    def pending(mine: Order, i: int) -> Any:
        return happened(OrderUpdated if i % 2 else OrderPendingUpdate, client_order_id=mine.client_order_id)

    done: list[Order] = []
    with open_database(redis_url, batch_count_max=16) as database:
        threads = [threading.Thread(target=trade, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert len(done) == 4
        loaded = database.load_orders()
        assert {mine.client_order_id: mine.to_dict() for mine in done} == {
            order_id: other.to_dict() for order_id, other in loaded.items()
        }
    check_log(client, KEYS)


def test_a_logger_that_raises_does_not_stop_the_writer(redis_url: str) -> None:
    def on(level: str, event: str, values: dict[str, Any]) -> None:
        raise RuntimeError("no space left on device")

    with open_database(redis_url, logger=Lines(on)) as database:
        database.add("key", b"value")
        assert database.load() == {"key": b"value"}
        assert database.close() == 0


# -- Bounds ------------------------------------------------------------------------------------------------------


def until_full(call: Callable[[Any], None], arguments: Iterable[Any]) -> tuple[int, str]:
    """Call until the backlog is full: how many calls were accepted, and what the one that was not was told."""
    for accepted, argument in enumerate(arguments):
        try:
            call(argument)
        except BacklogFull as error:
            return accepted, str(error)
    raise AssertionError("it never was full")


def test_a_full_backlog_refuses_by_name_and_takes_calls_again_later() -> None:
    """While the server hangs: calls are accepted up to the bound and refused with what to do; then all are written."""
    settings: dict[str, Any] = {"backlog_count_max": 50, "on_full": "raise", "batch_count_max": 5, "timeout_s": 0.2}
    with RedisServer() as server, open_database(server.url, **settings) as database:
        database.sync()
        server.pause()
        values = [b"%d" % number for number in range(1_000_000)]  # a signal takes its time to stop a process
        accepted, message = until_full(lambda value: database.add("key", value), values)
        assert re.match(r"add key: not accepted, 50 of 50 commands.*backlog_count_max", message)
        orders = [order(number) for number in range(1000)]
        accepted_orders, message = until_full(database.add_order, orders)
        assert message.startswith(f"add_order O-{accepted_orders}: not accepted")
        assert database.stats().refused == 2
        with pytest.raises(SyncTimeout, match="they will be written"):
            database.sync(0.05)
        server.resume()
        database.sync()
        database.add_order(orders[accepted_orders])  # the one that was refused: as if it had not been tried
        assert database.load()["key"] == values[accepted - 1]
        assert database.load_orders().keys() == {mine.client_order_id for mine in orders[: accepted_orders + 1]}
        with server.client() as client:
            check_log(client, KEYS)


def test_a_heartbeat_beats_until_the_database_is_closed(redis_url: str, client: Redis) -> None:
    """At once and at the interval; it is what a load gives, and no thread is left behind."""
    threads = threading.active_count()
    start = datetime.now(UTC)
    with open_database(redis_url, heartbeat_interval_s=0.01) as database:
        first = None
        while first is None:
            first = database.load_heartbeat()
        assert first >= start.replace(microsecond=start.microsecond)
        later = first
        while later == first:
            later = database.load_heartbeat()
            assert later is not None
    assert threading.active_count() == threads
    beats = [command for command in commands(client) if isinstance(command, c.Heartbeat)]
    assert len(beats) >= 2
    assert [beat.timestamp for beat in beats] == sorted(beat.timestamp for beat in beats)


# -- What can not be written or read -----------------------------------------------------------------------------


class Choosy(MsgPackSerializer):
    """A serializer that fails for one record, in the writer, where nobody can be told at the call."""

    def serialize(self, record: Record) -> bytes:
        if record == EUR:
            raise CodecError("no euros \udcff here")
        return super().serialize(record)


def test_a_command_that_can_not_be_encoded_is_quarantined_by_name(redis_url: str, client: Redis) -> None:
    """It is in the log in its place, with the reason; it is logged and counted; the commands around it are written."""
    logger = Lines()
    config = CacheDatabaseConfig(url=redis_url)
    with RedisCacheDatabase(TRADER, logger, Choosy(), config) as database:
        database.add("before", b"")
        database.add_currency(EUR)
        database.add_currency(USD)
        database.add("after", b"")
        assert database.load() == {"before": b"", "after": b""}
        assert database.load_currencies() == {"USD": USD}
        assert database.stats().quarantined == 1
    kinds = [type(command) for command in commands(client)]
    assert kinds == [c.Opened, c.Add, c.Quarantined, c.AddCurrency, c.Add, c.ClosedWell]
    quarantined = commands(client)[2]
    assert isinstance(quarantined, c.Quarantined)
    assert (quarantined.operation, quarantined.key) == ("add_currency", "EUR")
    assert "no euros" in quarantined.error
    assert ("critical", "a command could not be written") in [(level, event) for level, event, _ in logger.lines]


DAMAGE: dict[str, tuple[Callable[[], str], str, bytes]] = {
    "an event that is no record": (lambda: KEYS.order("O-1"), "0", b"\xc1"),
    "a gap": (lambda: KEYS.order("O-1"), "0", b""),
    "a field of somebody else": (lambda: KEYS.order("O-1"), "note", b"text"),
    "amendments that are none": (lambda: KEYS.order("O-1"), "amended", b"\xc0"),
    "an event of another order": (lambda: KEYS.order("O-1"), "1", b"other"),
}


@pytest.mark.parametrize(("key", "field", "value"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_order_is_named_and_the_others_are_loaded(
    redis_url: str, client: Redis, key: Callable[[], str], field: str, value: bytes
) -> None:
    """Strict loads raise, naming the key and the field; others leave it out, log it and note it. Never silently."""
    logger = Lines()
    with open_database(redis_url) as database:
        for number in range(3):
            mine = order_after(client_order_id=ClientOrderId(f"O-{number}"))
            mine.apply(happened(OrderSubmitted, client_order_id=mine.client_order_id))
            database.add_order(mine)
        database.sync()
        if value == b"":
            client.hdel(key(), field)
        else:
            other = MsgPackSerializer().serialize(happened(OrderSubmitted, client_order_id=ClientOrderId("O-2")))
            client.hset(key(), field, other if value == b"other" else value)
        for load in (database.load_orders, lambda: database.load_order(ClientOrderId("O-1")), database.load_all):
            with pytest.raises(DamagedRecord) as info:
                load()
            assert info.value.key == key()
            assert "the log still has the original command" in str(info.value)
        assert database.load_order(ClientOrderId("O-0")) is not None
    with open_database(redis_url, logger=logger, strict_loads=False) as database:
        assert database.load_orders().keys() == {"O-0", "O-2"}
        assert database.load_order(ClientOrderId("O-1")) is None
        assert [damage.key for damage in database.damaged] == [key()]
    assert [values["key"] for _, event, values in logger.lines if "damaged" in event][:1] == [key()]


@pytest.mark.parametrize("collection", ["currencies", "instruments", "synthetics", "actors", "order_snapshots"])
def test_a_damaged_record_of_a_collection_is_named(redis_url: str, client: Redis, collection: str) -> None:
    with open_database(redis_url, strict_loads=False) as database:
        database.update_actor(State(ComponentId("A.SYNTH"), {"k": b"v"}))
        database.sync()
        client.hset(getattr(KEYS, collection), "A.SYNTH", b"\xc1")
        loads: dict[str, Callable[[], Any]] = {
            "currencies": database.load_currencies,
            "instruments": database.load_instruments,
            "synthetics": database.load_synthetics,
            "actors": lambda: database.load_actor(ComponentId("A.SYNTH")),
            "order_snapshots": database.load_order_snapshots,
        }
        assert loads[collection]() == {}
        (damage,) = database.damaged
        assert (damage.key, damage.field) == (getattr(KEYS, collection), "A.SYNTH")


def test_after_a_fatal_error_every_call_says_so_and_close_counts(redis_url: str, client: Redis) -> None:
    """Somebody overwrote a view with another type: the writer stops with nothing half written; nothing is accepted any
    more; the last of what was is counted."""
    with open_database(redis_url) as database:
        database.sync()
        client.set(KEYS.general, b"somebody else's")
        before = read_log(client, KEYS)
        database.add("key", b"value")
        with pytest.raises(WriterFailed, match=r"general is a string where a hash belongs") as info:
            database.sync()
        assert isinstance(info.value.__cause__, Diverged)
        for call in (
            lambda: database.add("key", b""),
            lambda: database.add_order(order(1)),
            database.load,
            database.sync,
            database.flush,
        ):
            with pytest.raises((WriterFailed, Closed), match="the writer has stopped"):
                call()
        assert database.stats().health == "failed"
        assert read_log(client, KEYS) == before
        assert database.close() == 1
        assert database.close() == 1


def test_what_a_load_gives_was_all_there_at_one_moment(redis_url: str) -> None:
    """Accounts are updated in turn, in batches that cut anywhere, while others load: no account is ahead of one whose
    turn was before, though they are read a page at a time and one load is longer than a batch."""
    accounts = [account_of(n) for n in range(1200)]
    done = threading.Event()

    def trade() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            for number, account in enumerate(accounts):
                account.apply(account_state(turn, account.id))
                database.update_account(account)
                if number % 60 == 0:
                    done.wait(0.001)

    with open_database(redis_url, batch_count_max=7, linger_ms=0.0) as database:
        for account in accounts:
            database.add_account(account)
        trading = threading.Thread(target=trade)
        trading.start()
        try:
            for _ in range(5):
                found = {loaded.id: loaded.event_count for loaded in database.load_accounts().values()}
                counts = [found[account.id] for account in accounts]
                assert counts == sorted(counts, reverse=True)
                assert counts[0] - counts[-1] <= 1
        finally:
            done.set()
            trading.join()
        assert database.load_accounts() == {account.id: account for account in accounts}


def account_of(number: int) -> Account:
    return Account.create(account_state(0, AccountId(f"SIM-{number:05}")))
