"""The bench: each figure beside its floor, measured in the same run. A lone time means nothing on a shared machine.

Everything runs on an embedded server in a temporary directory, with the library's default settings unless it says
otherwise.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgpack
import redis
import structlog
from rich.console import Console
from rich.table import Table

import eventstore
from eventstore import CacheDatabaseConfig, MsgPackSerializer, RedisCacheDatabase
from eventstore.commands import AddOrder, UpdateOrder, decode
from eventstore.encoder import Encoder
from eventstore.keys import Keys
from eventstore.model import (
    UUID4,
    AccountId,
    ClientOrderId,
    InstrumentId,
    LiquiditySide,
    Money,
    Order,
    OrderAccepted,
    OrderFilled,
    OrderInitialized,
    OrderSide,
    OrderSubmitted,
    OrderType,
    PositionId,
    Price,
    Quantity,
    StrategyId,
    TimeInForce,
    TradeId,
    TraderId,
    TriggerType,
    VenueOrderId,
)
from eventstore.model.currencies import USD
from eventstore.recording import Player, read_lines, trader_of
from eventstore.storage.appender import Accepted, Appender, Batch, claim
from eventstore.storage.embedded import EmbeddedServer

TRADER = TraderId("BENCH-001")
EVENTS = 4
BATCH = 256
NEVER_MS = 10_000.0  # a writer that lingers that long does nothing meanwhile
OUTAGE_CALLS_PER_S = 5_000
SPILL_COUNT_MAX = 1_000

Figures = dict[str, float]


def order_id(i: int) -> ClientOrderId:
    return ClientOrderId(f"O-20231114-221320-001-001-{i}")


def history(i: int) -> tuple[OrderInitialized, list[Any]]:
    """The life of one limit order: made, submitted, accepted, filled."""
    now = 1_700_000_000_000_000_000 + i
    ids = {
        "ts_event": now,
        "ts_init": now,
        "trader_id": TRADER,
        "strategy_id": StrategyId("EMACross-001"),
        "instrument_id": InstrumentId("EUR/USD.SIM"),
        "client_order_id": order_id(i),
    }
    account_id, venue_order_id = AccountId("SIM-001"), VenueOrderId(f"SIM-1-{i}")
    init = OrderInitialized(
        event_id=UUID4(),
        order_side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=Quantity("100000"),
        time_in_force=TimeInForce.GTC,
        price=Price("1.10250"),
        emulation_trigger=TriggerType.NO_TRIGGER,
        **ids,
    )
    return init, [
        OrderSubmitted(event_id=UUID4(), account_id=account_id, **ids),
        OrderAccepted(event_id=UUID4(), venue_order_id=venue_order_id, account_id=account_id, **ids),
        OrderFilled(
            event_id=UUID4(),
            venue_order_id=venue_order_id,
            account_id=account_id,
            trade_id=TradeId(f"SIM-1-{i}"),
            order_side=OrderSide.BUY,
            order_type=OrderType.LIMIT,
            last_qty=Quantity("100000"),
            last_px=Price("1.10248"),
            currency=USD,
            commission=Money("2.20", USD),
            liquidity_side=LiquiditySide.MAKER,
            position_id=PositionId(f"P-{i}"),
            **ids,
        ),
    ]


def trade(database: RedisCacheDatabase, histories: list[Any], time_call: Callable[[float], None] | None) -> None:
    """Live all orders, step by step through all of them, as a node does that has many at work."""
    orders = []
    clock = time.perf_counter_ns
    for init, _ in histories:
        order = Order.create(init)
        orders.append(order)
        database.add_order(order)
    for step in range(EVENTS - 1):
        for order, (_, events) in zip(orders, histories, strict=True):
            order.apply(events[step])
            if time_call is None:
                database.update_order(order)
            else:
                start = clock()
                database.update_order(order)
                time_call(clock() - start)


def quantiles(times: list[float]) -> tuple[float, float, float]:
    """p50, p99 and p99.9 of nanoseconds, in microseconds."""
    times = sorted(times)
    return tuple(times[min(int(len(times) * q), len(times) - 1)] / 1000 for q in (0.5, 0.99, 0.999))  # type: ignore[return-value] # three


def opened(url: str, **settings: Any) -> RedisCacheDatabase:
    """A database on an empty namespace."""
    database = RedisCacheDatabase(TRADER, config=CacheDatabaseConfig(url=url, close_timeout_s=120, **settings))
    database.flush()
    return database


def bench_calls(url: str, histories: list[Any], place: Path) -> Figures:
    """What a call costs the caller, without a journal and with one, beside a writer that sleeps and beside one that
    works; and a bare append.
    """
    figures: Figures = {}
    bare: list[float] = []
    queue: deque[Any] = deque()
    clock = time.perf_counter_ns
    item = (1, 2, 3, 4, 5)
    for _ in range(len(histories) * 3):
        start = clock()
        queue.append(item)
        bare.append(clock() - start)
    with tempfile.TemporaryDirectory(dir=place) as journal:
        for name, settings in (
            ("idle", {"linger_ms": NEVER_MS}),
            ("busy", {}),
            ("journal_idle", {"linger_ms": NEVER_MS, "journal": journal}),
            ("journal_busy", {"journal": journal}),
        ):
            times: list[float] = []
            with opened(url, **settings) as database:
                trade(database, histories, times.append)
            p50, p99, p999 = quantiles(times)
            figures |= {f"call_{name}_p50_us": p50, f"call_{name}_p99_us": p99, f"call_{name}_p999_us": p999}
    p50, p99, p999 = quantiles(bare)
    return figures | {"append_p50_us": p50, "append_p99_us": p99, "append_p999_us": p999}


def bench_drain(url: str, histories: list[Any]) -> Figures:
    """Events written a second by the writer, and by a raw socket that blasts the same commands, encoded before."""
    count = len(histories) * EVENTS
    with opened(url, linger_ms=NEVER_MS) as database:
        trade(database, histories, None)
        start = time.perf_counter()
        database.sync(120)
        drained = count / (time.perf_counter() - start)
    opened(url).close()
    batches = list(sealed(url, histories))
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(url.removeprefix("unix://"))
        start = time.perf_counter()
        blast(raw, batches)
        ceiling = count / (time.perf_counter() - start)
    return {"drain_per_s": drained, "raw_per_s": ceiling, "drain_share": drained / ceiling}


def sealed(url: str, histories: list[Any]) -> Iterator[Batch]:
    """The requests that a writer would send for these orders."""
    keys = Keys(TRADER)
    encoder = Encoder(MsgPackSerializer())
    client = redis.Redis.from_url(url, protocol=2)
    claimed = claim(client, keys, "bench", time.time_ns() // 1_000_000)
    appender = Appender(client, keys, claimed)
    client.script_load(appender._source.decode())
    items: list[Accepted] = []
    now = time.time_ns()
    for init, _ in histories:
        arguments = (init.client_order_id, 0, 1, False, (init,), None, None, None)
        items.append(("add_order", init.client_order_id, now, encoder.add_order, *arguments))
    for step, status in enumerate((5, 6, 14)):
        for init, events in histories:
            arguments = (init.client_order_id, step + 1, status, False, (events[step],), None)
            items.append(("update_order", init.client_order_id, now, encoder.update_order, *arguments))
    position = claimed.position
    for i in range(0, len(items), BATCH):
        entries = [appender.encode(item) for item in items[i : i + BATCH]]
        yield appender.seal(position + 1, entries)
        position += len(entries)


def blast(raw: socket.socket, batches: list[Batch]) -> None:
    """Send the batches, two in flight, and check that each is applied."""
    answer = b"*1\r\n$7\r\napplied\r\n"
    waiting = 0

    def receive() -> None:
        got = b""
        while len(got) < len(answer):
            got += raw.recv(len(answer) - len(got))
        if got != answer:
            raise SystemExit(f"the server did not apply a batch: {got!r}")

    for batch in batches:
        if waiting == 2:
            receive()
            waiting -= 1
        raw.sendall(batch.request)
        waiting += 1
    for _ in range(waiting):
        receive()


def bench_loads(url: str, histories: list[Any]) -> Figures:
    """Orders loaded a second, and orders whose bytes are read and unpacked a second with nothing built of them."""
    with opened(url) as database:
        trade(database, histories, None)
        database.sync(120)
        start = time.perf_counter()
        loaded = database.load_orders()
        took = time.perf_counter() - start
        if len(loaded) != len(histories):
            raise SystemExit(f"{len(loaded)} orders came back of {len(histories)}")
        client = redis.Redis.from_url(url, protocol=2)
        keys = Keys(TRADER)
        start = time.perf_counter()
        names = [keys.order(member.decode()) for member in client.smembers(keys.orders)]  # type: ignore[union-attr] # a set
        for i in range(0, len(names), 500):
            pipeline = client.pipeline(transaction=False)
            for name in names[i : i + 500]:
                pipeline.hgetall(name)
            for fields in pipeline.execute():
                for data in fields.values():
                    msgpack.unpackb(data)
        floor = time.perf_counter() - start
        memory = database._persister.reader.memory(database.keys())
    events = len(histories) * EVENTS
    return {
        "load_per_s": len(histories) / took,
        "read_per_s": len(histories) / floor,
        "load_share": floor / took,
        "bytes_per_event": memory / events,
    }


def bench_session(url: str, name: str) -> Figures:
    """Bytes of memory that an event of a recorded session takes, log and views together."""
    path = Path(eventstore.__file__).parent / "sessions" / f"{name}.jsonl.gz"
    config = CacheDatabaseConfig(url=url)
    with RedisCacheDatabase(trader_of(path), config=config) as database:
        database.flush()
        player = Player(database)
        calls = 0
        for line in read_lines(path):
            player.prepare(line)()
            calls += 1
        database.sync(60)
        memory = database._persister.reader.memory(database.keys())
        database.flush()
    return {f"bytes_per_call_{name}": memory / calls}


def server_pid(url: str) -> int:
    with redis.Redis.from_url(url, protocol=2) as client:
        return int(client.info("server")["process_id"])  # type: ignore[index] # a dict


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """A server that holds its connections and answers nothing, meanwhile."""
    pid = server_pid(url)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def in_process(work: Callable[..., Figures], *arguments: Any) -> Figures:
    """Do `work` in a new process, so that its memory is its own; nothing comes back if it kills itself."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            return {}


def trade_and_die(url: str, count: int, journal: str) -> Figures:
    """Make calls that come no further than to the journal."""
    histories = [history(i) for i in range(count // EVENTS)]
    database = opened(url, linger_ms=NEVER_MS, journal=journal)
    with frozen(url):
        trade(database, histories, None)
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def bench_recovery(url: str, place: Path, count: int) -> Figures:
    """Commands a second from a journal that a killed process left into the log, from opening it on; and the drain speed
    of the same commands from memory.
    """
    histories = [history(i) for i in range(count // EVENTS)]
    with opened(url, linger_ms=NEVER_MS) as database:
        trade(database, histories, None)
        start = time.perf_counter()
        database.sync(120)
        drained = count / (time.perf_counter() - start)
    check_order(url, count)
    with tempfile.TemporaryDirectory(dir=place) as journal:
        pid = server_pid(url)
        try:
            in_process(trade_and_die, url, count, journal)
        finally:
            os.kill(pid, signal.SIGCONT)
        start = time.perf_counter()
        with RedisCacheDatabase(TRADER, config=CacheDatabaseConfig(url=url, journal=journal)) as database:
            database.sync(120)
            recovered = count / (time.perf_counter() - start)
        check_order(url, count)
    return {"recovered_per_s": recovered, "recovery_drain_per_s": drained}


def bench_outage(url: str, place: Path, outage_s: float) -> Figures:
    """What a process that goes on trading needs while the server is away, and how fast it drains afterwards."""
    figures: Figures = {}
    count = int(OUTAGE_CALLS_PER_S * outage_s) // EVENTS * EVENTS
    for name, journals, settings in (
        ("memory", False, {}),
        ("journal", True, {}),
        ("spill", True, {"on_full": "spill", "backlog_count_max": SPILL_COUNT_MAX}),
    ):
        with tempfile.TemporaryDirectory(dir=place) as journal:
            endured = in_process(outage, url, count, settings | ({"journal": journal} if journals else {}))
            figures |= {f"outage_{name}_{figure}": value for figure, value in endured.items()}
            check_order(url, count)
    return figures


def outage(url: str, count: int, settings: dict[str, Any]) -> Figures:
    """Trade at a steady rate while the server is away, then let it come back."""
    histories = [history(i) for i in range(count // EVENTS)]
    with opened(url, **settings) as database:
        database.sync()
        before = own_memory_bytes()
        with frozen(url):
            trade_at(database, histories, OUTAGE_CALLS_PER_S)
            most = own_memory_bytes()  # from here on it gets less
        # From the first answer on: how long the writer took to find that the server is back is another matter.
        applied = database.stats().applied
        while (begun := database.stats().applied) == applied:
            time.sleep(0.001)
        start = time.perf_counter()
        drained = database.sync(600) - begun
        took = time.perf_counter() - start
        return {"drain_per_s": drained / took, "bytes_per_call": (most - before) / count}


def trade_at(database: RedisCacheDatabase, histories: list[Any], calls_per_s: float) -> None:
    """As `trade`, at a steady rate, one order behind the other."""
    start = time.perf_counter()
    calls = 0
    for init, events in histories:
        order = Order.create(init)
        database.add_order(order)
        for event in events:
            order.apply(event)
            database.update_order(order)
        calls += EVENTS
        ahead_s = calls / calls_per_s - (time.perf_counter() - start)
        if ahead_s > 0:
            time.sleep(ahead_s)


def check_order(url: str, count: int) -> None:
    """End the bench unless the log has `count` calls: of as many orders as that makes, each event of them in order."""
    client = redis.Redis.from_url(url, protocol=2)
    rows: Any = client.xrange(Keys(TRADER).log)
    ids: list[list[str]] = [[] for _ in range(EVENTS)]
    for _, fields in rows:
        command = decode(fields[b"e"])
        if isinstance(command, AddOrder | UpdateOrder):
            ids[command.version].append(command.order_id)
    if ids != [[order_id(i) for i in range(count // EVENTS)]] * EVENTS:
        raise SystemExit("the log does not have the calls in the order in which they were made")


def own_memory_bytes() -> int:
    """The memory that this process has, without the pages of mapped files: those are the page cache's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


ROWS: list[tuple[str, str, str, str]] = [
    # what, figure, its floor, unit
    ("update_order, writer asleep: p50", "call_idle_p50_us", "append_p50_us", "µs"),
    ("update_order, writer asleep: p99", "call_idle_p99_us", "append_p99_us", "µs"),
    ("update_order, writer asleep: p99.9", "call_idle_p999_us", "append_p999_us", "µs"),
    ("update_order, writer at full rate: p50", "call_busy_p50_us", "append_p50_us", "µs"),
    ("update_order, writer at full rate: p99", "call_busy_p99_us", "append_p99_us", "µs"),
    ("update_order, writer at full rate: p99.9", "call_busy_p999_us", "append_p999_us", "µs"),
    ("update_order, journal, writer asleep: p50", "call_journal_idle_p50_us", "call_idle_p50_us", "µs"),
    ("update_order, journal, writer asleep: p99", "call_journal_idle_p99_us", "call_idle_p99_us", "µs"),
    ("update_order, journal, writer at full rate: p50", "call_journal_busy_p50_us", "call_busy_p50_us", "µs"),
    ("update_order, journal, writer at full rate: p99", "call_journal_busy_p99_us", "call_busy_p99_us", "µs"),
    ("events written, against the same bytes over a raw socket", "drain_per_s", "raw_per_s", "/s"),
    ("commands recovered from a journal, against drained from memory", "recovered_per_s", "recovery_drain_per_s", "/s"),
    ("commands drained after an outage, from memory", "outage_memory_drain_per_s", "recovery_drain_per_s", "/s"),
    ("the same with a journal", "outage_journal_drain_per_s", "recovery_drain_per_s", "/s"),
    ("the same, spilled to the journal", "outage_spill_drain_per_s", "recovery_drain_per_s", "/s"),
    ("memory at the end of such an outage, a call", "outage_memory_bytes_per_call", "", "B"),
    ("the same with a journal", "outage_journal_bytes_per_call", "outage_memory_bytes_per_call", "B"),
    ("the same, spilled to the journal", "outage_spill_bytes_per_call", "outage_memory_bytes_per_call", "B"),
    ("orders of 4 events loaded, against only read and unpacked", "load_per_s", "read_per_s", "/s"),
    ("memory an event of such an order, log and views", "bytes_per_event", "", "B"),
    ("memory a call of the session emacross", "bytes_per_call_emacross", "", "B"),
    ("memory a call of the session trailing", "bytes_per_call_trailing", "", "B"),
    ("memory a call of the session bracket", "bytes_per_call_bracket", "", "B"),
]


def show(runs: list[Figures]) -> None:
    """Print the medians for people, each with its spread and its ratio to the floor, run by run."""
    table = Table(title=f"medians of {len(runs)} runs (least to most)")
    for name in ("", "figure", "spread", "floor", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    for what, figure, floor, unit in ROWS:
        values = [run[figure] for run in runs]
        cells = [what, f"{statistics.median(values):,.2f} {unit}", f"{min(values):,.2f} to {max(values):,.2f}"]
        if floor:
            ratio = statistics.median(run[figure] / run[floor] for run in runs)
            cells += [f"{statistics.median(run[floor] for run in runs):,.2f} {unit}", f"{ratio:.2f}"]
        table.add_row(*cells)
    Console(width=150).print(table)


def main() -> None:
    """Run the bench as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--orders", type=int, default=5000)
    parser.add_argument("--recovery-commands", type=int, default=100_000, help="in the journal that is recovered")
    parser.add_argument("--outage-s", type=float, default=3.0, help="how long the server is away")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    runs: list[Figures] = []
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer.open(Path(directory) / "data") as server:
        for _ in range(arguments.repeat):
            histories = [history(i) for i in range(arguments.orders)]
            figures = bench_calls(server.url, histories, Path(directory))
            figures |= bench_drain(server.url, histories)
            figures |= bench_recovery(server.url, Path(directory), arguments.recovery_commands)
            figures |= bench_outage(server.url, Path(directory), arguments.outage_s)
            figures |= bench_loads(server.url, histories)
            for name in ("emacross", "trailing", "bracket"):
                figures |= bench_session(server.url, name)
            runs.append(figures)
    if arguments.json:
        print(json.dumps({"runs": runs}, indent=2))
    else:
        show(runs)


if __name__ == "__main__":
    main()
