"""`rebuild`: the views are what the log says again, in one step, whatever was done to them and whoever is killed."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import open_log, rebuild
from eventstore.audit.rebuild import Rebuilt
from eventstore.chain import link, next_head
from eventstore.errors import AuditError, DamagedRecord, LogGap, StorageError
from eventstore.keys import Keys
from eventstore.model.identifiers import ClientOrderId, TraderId
from eventstore.model.orders import Order
from tests.support.archives import archive
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.logs import check_log, dump, folded, read_log, views_of
from tests.support.orders import initialized
from tests.support.outages import Told, call, under_load
from tests.support.processes import PythonProcess
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)
NEIGHBOUR = TraderId("TRADER-0011")  # its name begins like the other one's


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as connection:
        yield connection


def trade(url: str, count: int = 200, trader_id: TraderId = TRADER, **settings: Any) -> None:
    """Calls whose views are hashes with and without earlier lives, and sets."""
    with open_database(url, trader_id, **settings) as database:
        for number in range(count):
            call(database, number)
            order = c.AddOrder(f"O-{number % 30}", 0, 1 + number % 9, False, [b"init %d" % number], None, "C-1", None)  # noqa: FBT003
            database._persister.accept("add_order", order.order_id, c.AddOrder, tuple(order))


def rebuilt(url: str, **options: Any) -> Rebuilt:
    with open_log(url, TRADER) as log:
        return rebuild(log, **options)


def views(client: Redis) -> dict[str, Any]:
    return views_of(dump(client), KEYS)


def wanted(client: Redis) -> dict[str, Any]:
    return folded(read_log(client, KEYS), KEYS)


# -- Damage ----------------------------------------------------------------------------------------------------

ORDER, FIRST_LIFE = KEYS.order("O-1"), KEYS.order("O-1") + "{1}"
DAMAGES: dict[str, tuple[Callable[[Redis], object], str, str]] = {
    "a field is changed": (lambda r: r.hset(ORDER, "0", "other"), "different", ORDER),
    "a field is added": (lambda r: r.hset(KEYS.general, "mine", "x"), "different", KEYS.general),
    "a field is deleted": (lambda r: r.hdel(KEYS.general, "key-1"), "different", KEYS.general),
    "a member is added": (lambda r: r.sadd(KEYS.orders_open, "O-77"), "different", KEYS.orders_open),
    "a member is removed": (lambda r: r.srem(KEYS.orders, "O-1"), "different", KEYS.orders),
    "a view is deleted": (lambda r: r.delete(ORDER), "missing", ORDER),
    "a set is deleted": (lambda r: r.delete(KEYS.orders), "missing", KEYS.orders),
    "an earlier life is deleted": (lambda r: r.delete(FIRST_LIFE), "missing", FIRST_LIFE),
    "an order nobody added": (lambda r: r.hset(KEYS.order("O-99"), "0", "x"), "extra", KEYS.order("O-99")),
    "a life nobody had": (lambda r: r.hset(ORDER + "{999}", "0", "x"), "extra", ORDER + "{999}"),
    "a collection nobody wrote": (lambda r: r.hset(KEYS.synthetics, "S", "x"), "extra", KEYS.synthetics),
    "a text where a hash belongs": (lambda r: (r.delete(ORDER), r.set(ORDER, "x")), "different", ORDER),
    "a list where a set belongs": (
        lambda r: (r.delete(KEYS.orders), r.rpush(KEYS.orders, "x")),
        "different",
        KEYS.orders,
    ),
    "a text that is no view of the log": (lambda r: r.set(KEYS.position("P-99"), "x"), "extra", KEYS.position("P-99")),
    "a view that would go away": (lambda r: r.expire(ORDER, 1000), "different", ORDER),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_done_to_a_view_is_named_and_undone(name: str, client: Redis, redis_url: str) -> None:
    trade(redis_url)
    before = dump(client)
    damage, verdict, key = DAMAGES[name]
    damage(client)
    damaged = dump(client)
    dry = rebuilt(redis_url, dry_run=True)
    assert dump(client) == damaged, "a dry run has changed something"
    done = rebuilt(redis_url)
    for found in (dry, done):
        assert {verdict: [key]} == {
            kind: names for kind in ("missing", "extra", "different") if (names := getattr(found, kind))
        }
    assert (dry.swapped, done.swapped) == (False, True)
    check_log(client, KEYS)
    after = dump(client)
    assert after[KEYS.writer].pop(b"rebuilt")
    assert after == before
    assert client.ttl(ORDER) == -1
    again = rebuilt(redis_url)
    assert (again.wrong, again.swapped, again.position) == (0, False, done.position)


def test_a_name_that_is_no_text_goes_too(client: Redis, redis_url: str) -> None:
    trade(redis_url, 10)
    client.hset(KEYS.order("").encode() + b"\xff\xfe", "0", "x")
    assert rebuilt(redis_url).extra == [KEYS.order("\\xff\\xfe")]
    assert {name for name in client.keys("*") if b"\xff" in name} == set()


def test_nobody_elses_keys_are_touched(client: Redis, redis_url: str) -> None:
    """Neither another trader's nor what somebody else keeps under the trader's prefix, nor log, fence and schema."""
    trade(redis_url, 50)
    trade(redis_url, 50, NEIGHBOUR)
    client.set(f"{KEYS.prefix}notes", "mine")
    client.hset("orders", "x", "y")
    before = dump(client)
    for name in views(client):
        if name != f"{KEYS.prefix}notes":
            client.delete(name)
    found = rebuilt(redis_url)
    assert (found.swapped, len(found.missing)) == (True, found.views)
    after = dump(client)
    assert after[KEYS.writer].pop(b"rebuilt")
    assert after == before


@effort(12)
@given(data=st.data())
def test_any_damage_is_undone(redis_server: RedisServer, data: st.DataObject) -> None:
    """However many views are changed, deleted, of another type, or too many."""
    with redis_server.client() as client:
        client.flushall()
        trade(redis_server.url, data.draw(st.integers(0, 40), label="calls"))
        names = sorted(wanted(client))
        chosen = data.draw(st.lists(st.sampled_from(names), max_size=8) if names else st.just([]), label="damaged")
        for name in chosen:
            how = data.draw(st.sampled_from(("delete", "text", "rename", "field", "hash")))
            if how in ("delete", "text", "hash"):
                client.delete(name)
            if how == "text":
                client.set(name, "x")
            elif how == "hash":
                client.hset(name, "0", "x")
            elif how == "rename" and client.exists(name) and ":order:" in name:
                client.rename(name, name + "{77}")
            elif how == "field" and client.type(name) in (b"hash", b"set"):
                client.hset(name, "7", "x") if client.type(name) == b"hash" else client.sadd(name, "x")
        rebuilt(redis_server.url)
        check_log(client, KEYS)


def test_views_larger_than_one_command_takes_are_written(client: Redis, redis_url: str) -> None:
    """Many fields, many members, and values that are a page by themselves."""
    with open_database(redis_url) as database:
        for number in range(9_000):
            database.add(f"key-{number}", b"%d" % number)
            order = c.AddOrder(f"O-{number}", 0, 5, False, [b"init"], None, None, None)  # noqa: FBT003
            database._persister.accept("add_order", order.order_id, c.AddOrder, tuple(order))
        for number in range(4):
            database.add(f"large-{number}", bytes(700_000))
    client.delete(*wanted(client))
    assert rebuilt(redis_url).swapped
    check_log(client, KEYS)


# -- What it refuses -------------------------------------------------------------------------------------------


def refused(client: Redis, url: str, error: type[Exception], match: str) -> None:
    """It raises, and nothing at all is changed."""
    before = dump(client)
    with pytest.raises(error, match=match):
        rebuilt(url)
    assert dump(client) == before


def test_a_log_whose_chain_is_broken_is_refused(client: Redis, redis_url: str) -> None:
    """An entry was changed: its batch is named, and the views stay as they are."""
    trade(redis_url)
    client.hset(KEYS.general, "mine", "x")
    rows = client.xrange(KEYS.log)
    client.delete(KEYS.log)
    for number, (entry_id, fields) in enumerate(rows):
        if number == 7:
            fields = {**fields, b"e": c.encode(c.Add("key-1", b"forged"))}
        client.xadd(KEYS.log, fields, id=entry_id)
    refused(client, redis_url, AuditError, r"chain of the log is broken: positions \d+ to \d+: .*No view was changed")


def test_a_log_that_was_cut_is_refused(client: Redis, redis_url: str) -> None:
    """At its end, in the middle, at the beginning: positions are missing, or the fence says something else."""
    trade(redis_url, 30, batch_count_max=10, linger_ms=10_000.0)
    rows = client.xrange(KEYS.log)
    client.xdel(KEYS.log, rows[20][0])
    refused(client, redis_url, LogGap, "position 22 stands where 21 belongs")
    client.xdel(KEYS.log, rows[0][0])
    refused(client, redis_url, LogGap, "position 2 stands where 1 belongs")
    client.delete(KEYS.log)
    heads = [number for number, (_, fields) in enumerate(rows) if b"h" in fields]
    middle = next(number for number in range(len(rows)) if number not in heads and number > heads[0])
    for entry_id, fields in rows[: heads[0] + 1]:
        client.xadd(KEYS.log, fields, id=entry_id)
    refused(client, redis_url, AuditError, rf"it ends at position {heads[0] + 1}, not as the fence says at {len(rows)}")
    for entry_id, fields in rows[heads[0] + 1 : middle + 1]:
        client.xadd(KEYS.log, fields, id=entry_id)
    refused(client, redis_url, AuditError, rf"positions? (\d+ to )?{middle + 1}: no chain head stands behind")


def test_an_entry_that_can_not_be_read_is_refused(client: Redis, redis_url: str) -> None:
    """What is no command stands there, and the chain over it is right: somebody wrote a log of their own."""
    trade(redis_url, 3)
    fence = client.hgetall(KEYS.writer)
    position = int(fence[b"position"]) + 1
    entry_id = b"%d-%d" % (int(fence[b"id"].partition(b"-")[0]), position)
    chain = next_head(fence[b"chain"], [link(entry_id, b"nothing")])
    client.xadd(KEYS.log, {"e": b"nothing", "h": chain}, id=entry_id)
    client.hset(KEYS.writer, mapping={"position": position, "chain": chain, "id": entry_id})
    refused(client, redis_url, DamagedRecord, "not a MessagePack value")


def test_a_log_that_begins_with_a_flush_is_whole(client: Redis, redis_url: str) -> None:
    trade(redis_url, 30)
    with open_database(redis_url) as database:
        database.flush()
        database.add("key", b"value")
    client.hset(KEYS.general, "mine", "x")
    assert rebuilt(redis_url).different == [KEYS.general]
    check_log(client, KEYS)


def test_an_archived_log_is_rebuilt_with_its_archive(client: Redis, redis_url: str, tmp_path: Path) -> None:
    """Without it, the error says where the rest is. A writer that goes on meanwhile, and what is archived, change
    nothing about that; the archive alone has no views."""
    trade(redis_url, 60, batch_count_max=10)
    before = views(client)
    archive(redis_url, tmp_path)
    client.delete(KEYS.general, KEYS.orders)
    refused(client, redis_url, LogGap, "are in the archive; name it, too")
    with open_database(redis_url) as database:

        def go_on(step: str) -> None:
            if step == "compare":
                database.add("key-1", b"new")
                database.sync()
                archive(redis_url, tmp_path)

        with open_log(redis_url, TRADER, tmp_path) as log:
            done = rebuild(log, on_step=go_on)
        assert (done.swapped, done.missing) == (True, [KEYS.orders])
        assert done.different == [KEYS.general]  # the new field alone is there
    assert views(client) == {**before, KEYS.general: {**before[KEYS.general], b"key-1": b"new"}, KEYS.archived: ANY}
    with open_log(tmp_path, TRADER) as log, pytest.raises(AuditError, match="an archive has no views"):
        rebuild(log)


# -- Killed ----------------------------------------------------------------------------------------------------

_CHILD = """
import os, signal, sys
from eventstore.audit import open_log, rebuild
from eventstore.model.identifiers import TraderId
url, last = sys.argv[1], int(sys.argv[2])
steps = 0
def on_step(step):
    global steps
    steps += 1
    os.write(1, (step + "\\n").encode())
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)
with open_log(url, TraderId("TRADER-001")) as log:
    rebuild(log, on_step=on_step)
os.write(1, b"ended\\n")
"""


def damage(client: Redis) -> None:
    """Of every sort, in many views."""
    for name in sorted(wanted(client))[::3]:
        client.delete(name)
    client.hset(KEYS.general, "mine", "x")
    client.set(KEYS.order("O-99"), "x")
    client.delete(KEYS.orders)


def without_shadows(content: dict[str, Any]) -> dict[str, Any]:
    """What anybody reads: the fence without its note of a rebuild, and nothing under a shadow's name."""
    read = {name: value for name, value in content.items() if not name.startswith(f"{KEYS.prefix}shadow:")}
    return {**read, KEYS.writer: {k: v for k, v in read[KEYS.writer].items() if k != b"rebuilt"}}


def test_a_rebuild_that_is_killed_at_any_step_has_changed_all_or_nothing(client: Redis, redis_url: str) -> None:
    """With SIGKILL, at each step in turn: the views are as before until they are as they have to be, and the next
    rebuild completes it and leaves nothing behind."""
    trade(redis_url)
    good = dump(client)
    steps: list[str] = []
    for last in range(1, 100):
        damage(client)
        bad = dump(client)
        with PythonProcess(_CHILD, redis_url, last) as child:
            said = []
            while line := child.line():
                said.append(line)
        found = without_shadows(dump(client))
        if "done" in said:
            assert found == good
        else:
            assert found == without_shadows(bad)
        rebuilt(redis_url)
        after = dump(client)
        assert after[KEYS.writer].pop(b"rebuilt")
        assert after == good
        steps = said
        if said[-1] == "ended":
            break
    assert steps == ["clear", "fold", "compare", "shadow", "shadow", "verify", "swap", "done", "ended"]


def test_a_server_that_is_killed_during_a_rebuild_has_all_or_nothing(fresh_server: RedisServer) -> None:
    """At each step, and at any moment of the last one: it comes back with the views as they were or as they have to
    be, and the next rebuild completes it."""
    url = fresh_server.url
    trade(url)
    with fresh_server.client() as client:
        good = dump(client)
    swapped = 0
    for at in ("shadow", "verify", "swap", "swap", "swap", "done"):
        with fresh_server.client() as client:
            damage(client)
            bad = dump(client)
        killer = threading.Timer(random.random() * 0.003, fresh_server.kill)

        def on_step(step: str, at: str = at, killer: threading.Timer = killer) -> None:
            if step == at == "swap":
                killer.start()
            elif step == at:
                fresh_server.kill()

        with contextlib.suppress(StorageError):
            rebuilt(url, on_step=on_step)
        if at == "swap":
            killer.join()
        fresh_server.start()
        with fresh_server.client() as client:
            found = without_shadows(dump(client))
            assert found in (without_shadows(bad), good)
            swapped += found == good
            rebuilt(url)
            assert without_shadows(dump(client)) == good
            assert not client.keys(f"{KEYS.prefix}shadow:*")
    assert swapped


_REBUILDER = """
import sys
from eventstore.audit import open_log, rebuild
from eventstore.model.identifiers import TraderId
while input():
    with open_log(sys.argv[1], TraderId("TRADER-001")) as log:
        found = rebuild(log)
        assert found.swapped
        print(found.extra, flush=True)
"""


# -- Beside a writer -------------------------------------------------------------------------------------------


def test_beside_a_writer_everything_accepted_and_everything_rebuilt_is_there(
    redis_server: RedisServer, redis_url: str
) -> None:
    """Views are damaged and rebuilt while a node writes, which it does to some of the damaged ones as well. At the end
    the log has every call, once and in order, and the views are its fold."""
    told = Told()
    with (
        PythonProcess(_REBUILDER, redis_url) as rebuilder,
        redis_server.client() as client,
        under_load(redis_server, told, redis_url) as (_, load),
    ):
        for number in range(6):
            client.hdel(KEYS.general, f"key-{number}")
            client.hset(KEYS.order(f"O-{number}"), "0", "x")
            client.delete(KEYS.position("P-1"), KEYS.positions)
            rebuilder.tell("rebuild")
            assert KEYS.order(f"O-{number}") in rebuilder.line()
            load.go_on()


def test_a_writer_that_is_always_faster_ends_it_with_an_error(client: Redis, redis_url: str) -> None:
    """It gives up after a number of attempts, and the views are as the writer left them."""
    with open_database(redis_url) as database:
        database.add("key", b"0")
        database.sync()
        client.sadd(KEYS.orders, "O-99")

        def write(step: str) -> None:
            if step == "swap":
                database.add("key", b"1")
                database.sync()

        with pytest.raises(AuditError, match=r"3 times faster.*No view was changed"):
            rebuilt(redis_url, attempts_max=3, on_step=write)
        assert client.smembers(KEYS.orders) == {b"O-99"}
        assert rebuilt(redis_url).extra == [KEYS.orders]


def test_what_is_flushed_meanwhile_does_not_come_back(client: Redis, redis_url: str) -> None:
    """A node deletes everything, and writes anew, between the fold and the swap: the views are those of the new log."""
    with open_database(redis_url) as database:
        for number in range(40):
            call(database, number)
        database.sync()
        client.sadd(KEYS.orders, "O-99")
        flushed = []

        def flush(step: str) -> None:
            if step == "swap" and not flushed:
                flushed.append(step)
                database.flush()
                database.add("key", b"new")
                database.sync()
                client.sadd(KEYS.orders_open, "O-98")

        assert rebuilt(redis_url, on_step=flush).extra == [KEYS.orders_open]
        assert views(client) == {KEYS.general: {b"key": b"new"}}
        assert not flush("later")
    check_log(client, KEYS)


def test_another_rebuild_that_begins_ends_the_one_before(client: Redis, redis_url: str) -> None:
    """The one that began last does it; the other one raises, and has changed nothing."""
    trade(redis_url, 20)
    client.sadd(KEYS.orders, "O-99")
    found: list[Rebuilt] = []

    def other(step: str) -> None:
        if step == "swap":
            client.hset(KEYS.general, "mine", "x")
            found.append(rebuilt(redis_url, dry_run=True))
            shadows = client.keys(f"{KEYS.prefix}shadow:*")
            assert len(shadows) == 1
            client.unlink(*shadows)

    with pytest.raises(AuditError, match=r"another rebuild began.*No view was changed"):
        rebuilt(redis_url, on_step=other)
    assert found[0].different == [KEYS.general, KEYS.orders]
    assert rebuilt(redis_url).different == [KEYS.general, KEYS.orders]
    check_log(client, KEYS)


def test_a_load_that_is_under_way_sees_no_half_of_it(client: Redis, redis_url: str) -> None:
    """All orders are damaged in one way. Between two reads of a load they are rebuilt: the load begins again."""
    with open_database(redis_url) as database:
        for order in n_orders(3):
            database.add_order(order)
        database.sync()
        client.srem(KEYS.orders, "O-2")
        reader = database._persister.reader
        read = reader.hashes
        count = []

        def hashes(names: Any) -> Any:
            count.append(1)
            if len(count) == 1:
                rebuilt(redis_url)
            return read(names)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "hashes", hashes)
            assert database.load_orders().keys() == {"O-0", "O-1", "O-2"}
        assert len(count) == 2


def n_orders(count: int) -> list[Order]:
    return [Order.create(initialized(client_order_id=ClientOrderId(f"O-{number}"))) for number in range(count)]
