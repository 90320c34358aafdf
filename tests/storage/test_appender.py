"""``append.lua`` and ``claim.lua`` through the appender: a batch is applied whole and once, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.errors import Diverged, Fenced, Held
from eventstore.keys import Keys
from eventstore.model.enums import OrderStatus
from eventstore.model.identifiers import TraderId
from eventstore.storage.appender import ARGUMENTS_MAX, Appender, Batch, Claim, called, claim
from eventstore.storage.connect import connect
from tests.support.effort import effort
from tests.support.logs import check_log, dump, folded, read_fence, read_log, views_of
from tests.support.redis_server import RedisServer, server_binaries
from workers.sink import Regressed, Rejected, Unavailable

KEYS = Keys(TraderId("TRADER-001"))
NOW_MS = 1_700_000_000_000
HERE = False
"""An order that is not emulated."""
OPEN, FLAT = True, False


class Writing:
    """A writer by hand: it claims the log, and sends the batches that it is told to."""

    def __init__(self, url: str, owner: str = "first", keys: Keys = KEYS) -> None:
        self.client = connect(url, 5.0, "test")
        self.claimed: Claim = claim(self.client, keys, json.dumps({"host": owner}), NOW_MS)
        self.appender = Appender(self.client, keys, self.claimed)
        self.position = self.claimed.position

    def seal(self, *commands: c.Command, at_ms: int = NOW_MS) -> Batch:
        items = [
            ("verb", "key", at_ms * 1_000_000, called, lambda command=command: command, (), None, None)
            for command in commands
        ]
        batch = self.appender.seal(self.position + 1, [self.appender.encode(item) for item in items])
        self.position = batch.last
        return batch

    def send(self, batch: Batch) -> None:
        self.appender.send(batch)
        self.appender.receive(batch)

    def write(self, *commands: c.Command, at_ms: int = NOW_MS) -> Batch:
        batch = self.seal(*commands, at_ms=at_ms)
        self.send(batch)
        return batch

    def rewind(self) -> int:
        self.appender.reset()
        self.position = self.appender.rewind()
        return self.position

    def close(self) -> None:
        self.appender.close()
        self.client.close()


@pytest.fixture(scope="module", params=list(server_binaries().values()), ids=list(server_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server of each kind, after the other."""
    with RedisServer(binary=Path(request.param)) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with server.client() as connection:
        connection.flushall()
        yield connection
        connection.execute_command("ACL", "DELUSER", "node")


@pytest.fixture
def open_writer(server: RedisServer, client: Redis) -> Iterator[Callable[..., Writing]]:
    opened: list[Writing] = []

    def opener(*arguments: Any, url: str = server.url, **options: Any) -> Writing:
        opened.append(Writing(url, *arguments, **options))
        return opened[-1]

    yield opener
    for writing in opened:
        writing.close()


@pytest.fixture
def first(open_writer: Callable[..., Writing]) -> Writing:
    """A writer that has written two batches."""
    writing = open_writer()
    writing.write(c.Opened(writing.claimed.epoch, {}), *HISTORY)
    writing.write(c.Add("more", b"1"))
    return writing


# One of every kind of view operation: HSET, HDEL, SADD, SREM, RETIRE, DROP.
HISTORY: tuple[c.Command, ...] = (
    c.Add("a", b"1"),
    c.WriteAccount("SIM-001", 0, [b"state"]),
    c.WriteAccount("SIM-001", 0, [b"another life"]),
    c.AddOrder("O-1", 0, 1, HERE, [b"init"], "P-1", None, None),
    c.AddOrder("O-2", 0, 1, HERE, [b"init"], None, "CLIENT", b"amended"),
    c.UpdateOrder("O-1", 1, 5, HERE, [b"submitted", b"accepted"], None),
    c.DeleteOrder("O-2"),
    c.WritePosition("P-1", 0, OPEN, [b"fill"], b"basis"),
    c.WritePosition("P-1", 0, FLAT, [b"fill"], b"basis"),
    c.UpdateActor("Actor-1", b"state"),
    c.DeleteActor("Actor-1"),
)

PURGES: tuple[c.Command, ...] = (
    c.AddOrder("O-9", 0, OrderStatus.FILLED, HERE, [b"init"], None, None, None),
    c.PurgeOrder("O-9", 0, 1),
    c.WritePosition("P-9", 0, FLAT, [b"fill"], b"basis"),
    c.WritePosition("P-9", 0, FLAT, [b"fill"], b"basis"),
    c.PurgePositionCycles("P-9", 1, 1),
    c.PurgePosition("P-9", 1, 1),
    c.WriteAccount("SIM-009", 0, [b"first", b"second"]),
    c.PurgeAccountEvents("SIM-009", 0, 1),
)


# -- Applied once -----------------------------------------------------------------------------------------------------


def test_a_batch_is_in_the_log_with_its_views_and_the_fence_follows(first: Writing, client: Redis) -> None:
    """What a batch holds is in the log, in order, gapless and chained; the views are its fold."""
    log = check_log(client, KEYS)
    assert [line.command for line in log] == [c.Opened(1, {}), *HISTORY, c.Add("more", b"1")]
    assert read_fence(client, KEYS)["position"] == b"%d" % first.position


def test_a_batch_that_is_sent_again_changes_nothing(first: Writing, client: Redis) -> None:
    """Sent twice, and as the older of two, it is taken as done: the log has it once, and no life is counted twice."""
    one = first.write(c.WritePosition("P-1", 0, OPEN, [b"fill"], b"basis"), c.Add("a", b"2"))
    before = dump(client)
    first.send(one)
    assert dump(client) == before
    two = first.write(c.Add("a", b"3"))
    before = dump(client)
    first.send(one)
    first.send(two)
    assert dump(client) == before
    check_log(client, KEYS)


def test_batches_under_way_together_are_applied_in_order(first: Writing, client: Redis) -> None:
    """The second may be sent before the first is answered; sent anew on a new connection, each is there once."""
    one, two = first.seal(c.Add("a", b"one")), first.seal(c.Add("a", b"two"))
    first.appender.send(one)
    first.appender.send(two)
    first.appender.reset()  # whether they arrived is not known
    first.appender.send(one)
    first.appender.send(two)
    first.appender.receive(one)
    first.appender.receive(two)
    log = check_log(client, KEYS)
    assert [line.command for line in log[-2:]] == [c.Add("a", b"one"), c.Add("a", b"two")]


def test_each_answer_is_read_though_they_are_of_two_kinds_and_come_together(first: Writing, client: Redis) -> None:
    """What a batch is told when it was applied before, and when it is applied now, on one connection, in any order."""
    known = first.write(c.Add("a", b"known"))
    for number in range(3):
        new, newer = first.seal(c.Add("a", b"new %d" % number)), first.seal(c.Add("a", b"newer %d" % number))
        for batch in (known, new, known, newer):
            first.appender.send(batch)
        while read_fence(client, KEYS)["position"] != b"%d" % newer.last:
            pass  # so that all four answers are there
        for batch in (known, new, known, newer):
            first.appender.receive(batch)
        first.send(first.seal(c.Add("a", b"by itself")))
    check_log(client, KEYS)


def test_entry_ids_rise_though_the_clock_jumps_back(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """An entry accepted on an earlier clock gets the time of the one before it, across batches and writers too."""
    first.write(c.Add("a", b"1"), at_ms=NOW_MS + 5000)
    first.write(c.Add("a", b"2"), at_ms=5)
    open_writer("second").write(c.Opened(2, {}), at_ms=7)
    log = check_log(client, KEYS)
    assert [line.ms for line in log[-3:]] == [NOW_MS + 5000] * 3


def test_a_server_that_forgot_the_script_gets_it_again(first: Writing, client: Redis) -> None:
    """SCRIPT FLUSH makes the outcome `Unavailable`; the same batch on a new connection is applied."""
    batch = first.seal(c.Add("a", b"2"))
    client.script_flush()
    before = dump(client)
    with pytest.raises(Unavailable, match="does not have the script"):
        first.send(batch)
    assert dump(client) == before
    first.appender.reset()
    first.send(batch)
    assert check_log(client, KEYS)[-1].command == c.Add("a", b"2")


def test_a_batch_of_many_fields_and_members_is_applied_whole(first: Writing, client: Redis) -> None:
    """More arguments than one call of a script can have: views are the fold of the log all the same."""
    count = ARGUMENTS_MAX + 1000
    first.write(*(c.Add(f"k{n}", b"v") for n in range(count)))
    first.write(*(c.AddOrder(f"N-{n}", 0, 1, HERE, [b"init"], None, None, None) for n in range(count)))
    check_log(client, KEYS)
    assert client.hlen(KEYS.general) == count + 2
    assert client.scard(KEYS.orders) == count + 1


def test_flushing_leaves_an_entry_that_says_so_and_other_keys_alone(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """Views, earlier lives and the log go; the log goes on at the next position, from the chain head that it had."""
    other_keys = Keys(TraderId("TRADER-0011"))
    other = open_writer(keys=other_keys)
    other.write(c.Opened(1, {}), *HISTORY)
    client.set("foreign", "x")
    chain = read_fence(client, KEYS)["chain"]
    position = first.position
    first.write(c.Flushed(0, b""))
    first.write(c.Add("a", b"1"))
    log = check_log(client, KEYS)
    assert [line.command for line in log] == [c.Flushed(position, chain), c.Add("a", b"1")]
    assert check_log(client, other_keys)
    assert client.get("foreign") == b"x"


commands = st.sampled_from((*HISTORY, c.DeletePosition("P-1"), c.DeleteStrategy("S"), c.Heartbeat(7)))


@given(batches=st.lists(st.lists(commands, min_size=1, max_size=6), max_size=6), again=st.sets(st.integers(0, 5)))
@effort(25)
def test_the_views_are_the_fold_however_commands_are_cut_into_batches(
    server: RedisServer, batches: list[list[c.Command]], again: set[int]
) -> None:
    """Operations of a batch are merged, and batches are sent again: the views are what the log says, one by one."""
    with server.client() as connection:
        connection.flushall()
        writing = Writing(server.url)
        try:
            for number, batch in enumerate(batches):
                sealed = writing.write(*batch)
                if number in again:
                    writing.send(sealed)
        finally:
            writing.close()
        log = read_log(connection, KEYS)
        assert [line.command for line in log] == [command for batch in batches for command in batch]
        assert views_of(dump(connection), KEYS) == folded(log, KEYS)


# -- Refused whole ----------------------------------------------------------------------------------------------------


def test_a_writer_is_fenced_by_the_next_one(first: Writing, client: Redis, open_writer: Callable[..., Writing]) -> None:
    """From the second claim on nothing of the first writer applies, and the error names who took over."""
    open_writer("the other host")
    before = dump(client)
    with pytest.raises(Fenced, match=r"positions 14 to 14 .* epoch 1 was ended by epoch 2, owner .*the other host"):
        first.write(c.Add("a", b"2"))
    assert dump(client) == before


def test_a_batch_that_was_applied_before_the_fence_is_not_taken_as_done_by_the_older_writer(
    first: Writing, open_writer: Callable[..., Writing]
) -> None:
    """A paused writer that wakes up learns of the newer one with the first thing that it sends, old or new."""
    batch = first.write(c.Add("a", b"2"))
    open_writer("the other host")
    with pytest.raises(Fenced, match="the other host"):
        first.send(batch)


def test_a_batch_behind_a_gap_is_refused_and_the_writer_learns_where_the_log_ends(
    first: Writing, client: Redis
) -> None:
    """A log that ends before the batch: nothing is applied, and what is missing can be sent again behind that end."""
    before = dump(client)
    missing = (c.Add("lost", b"1"), c.Add("lost", b"2"))
    first.seal(*missing)
    with pytest.raises(Regressed, match=r"positions 16 to 16 .*the log ends at position 13"):
        first.write(c.Add("a", b"2"))
    assert dump(client) == before
    assert first.rewind() == 13
    assert dump(client) == before
    first.write(*missing)
    first.write(c.Add("a", b"2"))
    assert [line.command for line in check_log(client, KEYS)][13:] == [*missing, c.Add("a", b"2")]


def test_a_batch_that_begins_before_the_end_of_the_log_is_refused_and_goes_on_from_there(
    first: Writing, client: Redis
) -> None:
    """Batches of this writer can have been cut in another way: what is there already is not written again."""
    first.position -= 1
    before = dump(client)
    with pytest.raises(Regressed, match="the log ends at position 13"):
        first.write(c.Add("a", b"2"), c.Add("a", b"3"))
    assert dump(client) == before
    assert first.rewind() == 13
    first.write(c.Add("a", b"3"))
    assert len(check_log(client, KEYS)) == 14


def test_another_batch_at_the_same_position_is_not_a_duplicate(first: Writing, client: Redis) -> None:
    """Only the batch that stands there counts as applied."""
    first.position -= 1
    before = dump(client)
    with pytest.raises(Diverged, match="another batch stands at position 13"):
        first.write(c.Add("a", b"2"))
    assert dump(client) == before


def test_another_chain_is_refused(first: Writing, client: Redis) -> None:
    """A log of the right length with another history is not written on."""
    client.hset(KEYS.writer, "chain", b"\x07" * 32)
    before = dump(client)
    with pytest.raises(Diverged, match="chain head at position 13 is not the one that this writer left"):
        first.write(c.Add("a", b"2"))
    assert dump(client) == before


def _fence_deleted(client: Redis) -> None:
    client.delete(KEYS.writer)


def _log_deleted(client: Redis) -> None:
    client.delete(KEYS.log)


def _all_deleted(client: Redis) -> None:
    client.flushall()


def _entry_added(client: Redis) -> None:
    client.xadd(KEYS.log, {"e": b"by hand"})


def _entry_deleted(client: Redis) -> None:
    """The last entry is gone and the log was rebuilt without it, as a tool might."""
    entries = client.xrange(KEYS.log)
    client.delete(KEYS.log)
    for entry_id, fields in entries[:-1]:
        client.xadd(KEYS.log, fields, id=entry_id)


def _foreign_log(client: Redis) -> None:
    client.delete(KEYS.log)
    client.rpush(KEYS.log, "x")


def _foreign(name: str, kind: str) -> Callable[[Redis], None]:
    def replace(client: Redis) -> None:
        client.delete(name)
        if kind == "string":
            client.set(name, "x")
        elif kind == "list":
            client.rpush(name, "x")
        elif kind == "hash":
            client.hset(name, "x", "y")
        else:
            client.sadd(name, "x")

    return replace


BEHIND_THE_BACK: dict[str, tuple[Callable[[Redis], None], str]] = {
    "the fence is deleted": (_fence_deleted, "the fence .* is gone"),
    "the log is deleted": (_log_deleted, "the last entry of .*:log is 0-0 but the fence says"),
    "everything is deleted": (_all_deleted, "the fence .* is gone"),
    "an entry is added": (_entry_added, "the last entry of .* but the fence says"),
    "an entry is deleted": (_entry_deleted, "the last entry of .* but the fence says"),
    "a list at the log": (_foreign_log, ":log is a list, not a log"),
    "a hash at the log": (_foreign(KEYS.log, "hash"), ":log is a hash, not a log"),
    "a string at an aggregate's key": (_foreign(KEYS.order("O-1"), "string"), "order:O-1 is a string where a hash"),
    "a set at a hash": (_foreign(KEYS.general, "set"), ":general is a set where a hash belongs"),
    "a hash at a set": (_foreign(KEYS.orders_open, "hash"), ":orders_open is a hash where a set belongs"),
    "a list at the lives": (_foreign(KEYS.lives, "list"), ":lives is a list where a hash belongs"),
}


@pytest.mark.parametrize("name", BEHIND_THE_BACK)
def test_what_was_done_behind_the_writers_back_stops_it_with_nothing_written(
    name: str, first: Writing, client: Redis
) -> None:
    """Whatever is found wrong is found before the first write, wherever in the batch it would have shown."""
    change, said = BEHIND_THE_BACK[name]
    change(client)
    before = dump(client)
    with pytest.raises(Diverged, match=said):
        first.write(c.Add("fine", b"1"), *HISTORY, c.Add("fine", b"2"))
    assert dump(client) == before


@pytest.mark.parametrize("kind", ["string", "list", "set"])
def test_a_foreign_type_at_the_fence_stops_writer_and_claim(
    kind: str, first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """Another type where the fence was: nothing is written, and a look at where the log ends says what is wrong."""
    _foreign(KEYS.writer, kind)(client)
    before = dump(client)
    with pytest.raises(Rejected, match="wrong kind of value"):
        first.write(c.Add("a", b"2"))
    with pytest.raises(Diverged, match=f"writer is a {kind}, not the fence of a log"):
        first.rewind()
    with pytest.raises(Diverged, match=f"writer is a {kind}, not the fence of a log"):
        open_writer()
    assert dump(client) == before


@pytest.mark.parametrize(
    "wrong",
    [
        *(KEYS.order("O-9"), KEYS.lives, KEYS.lives_purged, KEYS.orders, KEYS.orders_closed, KEYS.orders_emulated),
        *(KEYS.index_order_position, KEYS.order_snapshots, KEYS.position("P-9"), KEYS.position_snapshots),
        *(KEYS.positions_open, KEYS.account("SIM-009")),
    ],
)
def test_a_purge_finds_a_foreign_type_before_it_deletes(wrong: str, first: Writing, client: Redis) -> None:
    """Of whatever it looks at, or deletes."""
    purges = [command for command in PURGES if type(command).__name__.startswith("Purge")]
    first.write(*(command for command in PURGES if command not in purges))
    _foreign(wrong, "string")(client)
    before = dump(client)
    for_it = "SIM-009" if "account" in wrong else "P-9" if "position" in wrong.replace("_order_position", "") else "O-9"
    with pytest.raises(Diverged, match=rf"{wrong} is a string where a".replace("{", "[{]")):
        first.write(c.Add("fine", b"1"), *(command for command in purges if command[0] == for_it))
    assert dump(client) == before


@pytest.mark.parametrize("wrong", [KEYS.orders, KEYS.positions, KEYS.accounts, KEYS.lives, KEYS.lives_purged])
def test_a_flush_finds_a_foreign_type_before_it_deletes(wrong: str, first: Writing, client: Redis) -> None:
    """A flush that can not be done whole is not begun."""
    _foreign(wrong, "string")(client)
    before = dump(client)
    with pytest.raises(Diverged, match="is a string where a"):
        first.write(c.Flushed(0, b""))
    assert dump(client) == before


# -- A server that was set back ---------------------------------------------------------------------------------------


def _saved(client: Redis) -> dict[bytes, bytes]:
    return {name: client.dump(name) for name in client.keys("*")}


def _set_back(client: Redis, saved: dict[bytes, bytes]) -> None:
    client.flushall()
    for name, value in saved.items():
        client.restore(name, 0, value)


def test_a_server_that_lost_the_claim_gets_it_again(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """The fence is that of the owner before, as it was when this writer took over: it takes over again, in its own
    epoch, and the owner before stays shut out."""
    old = _saved(client)
    second = open_writer("second")
    commands = (c.Opened(2, {}), c.Add("a", b"2"))
    second.write(*commands)
    _set_back(client, old)
    before = dump(client)
    with pytest.raises(Regressed, match=r"positions 16 to 16 .*set back to epoch 1, owner .*first"):
        second.write(c.Add("a", b"3"))
    assert dump(client) == before
    assert second.rewind() == 13
    assert second.rewind() == 13, "asking twice is the same as once"
    second.write(*commands, c.Add("a", b"3"))
    assert len(check_log(client, KEYS)) == 16
    with pytest.raises(Fenced):
        first.write(c.Add("a", b"4"))


def test_a_server_that_lost_the_claim_is_not_claimed_again_over_what_somebody_wrote_since(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """The owner before was let in again by the loss, and went on: two histories are never merged."""
    old = _saved(client)
    second = open_writer("second")
    second.write(c.Opened(2, {}))
    _set_back(client, old)
    first.write(c.Add("a", b"the first's"))
    before = dump(client)
    with pytest.raises(Fenced, match="first"):
        second.rewind()
    assert dump(client) == before


@pytest.mark.parametrize("gone", [True, False])
def test_a_server_that_was_set_back_before_the_claim_says_what_is_lost(
    gone: bool, first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """Entries of earlier writers are lost, too. If those may still live, what is there now could be theirs, and it is
    left alone. If they have certainly ended, the claim is put back, for whoever can write all of it again."""
    old = _saved(client)
    first.write(c.Add("a", b"2"), c.Add("a", b"3"))
    second = open_writer("second")
    second.write(c.Opened(2, {}))
    third = open_writer("third")
    third.appender._is_gone = lambda owner: gone
    third.write(c.Opened(3, {}))
    _set_back(client, old)
    with pytest.raises(Regressed):
        third.write(c.Add("a", b"4"))
    if gone:
        assert third.rewind() == 13
        assert read_fence(client, KEYS)["epoch"] == b"3"
        return
    before = dump(client)
    assert third.rewind() == 13, "nobody retains 14 to 16: that is for whoever writes again to say"
    assert dump(client) == before


@pytest.mark.parametrize("emptied", [True, False])
def test_a_fence_that_is_gone_is_not_made_anew(emptied: bool, first: Writing, client: Redis) -> None:
    """A writer that finds nothing where its log was says so, and does not begin a new one."""
    if emptied:
        client.flushall()
    else:
        client.delete(KEYS.writer)
    before = dump(client)
    with pytest.raises(Diverged, match="is gone"):
        first.rewind()
    assert dump(client) == before


def test_a_server_that_was_set_back_within_an_epoch_says_where_it_ends(first: Writing, client: Redis) -> None:
    """The same writer's own older state: what is behind it can be written again."""
    old = _saved(client)
    lost = (c.Add("a", b"2"), c.Add("a", b"3"))
    first.write(*lost)
    _set_back(client, old)
    with pytest.raises(Regressed, match="ends at position 13"):
        first.write(c.Add("a", b"4"))
    assert first.rewind() == 13
    first.write(*lost, c.Add("a", b"4"))
    assert [line.command for line in check_log(client, KEYS)][13:] == [*lost, c.Add("a", b"4")]


def test_an_epoch_that_was_claimed_twice_is_no_reason_to_take_anothers_batches_for_ones_own(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """After a restore the next writer gets the epoch of one that still lives, and writes further than that one had:
    the old one's batch must not be answered as a duplicate."""
    old = _saved(client)
    second = open_writer("second")
    batch = second.seal(c.Opened(2, {}), c.Add("a", b"the second's"))
    _set_back(client, old)
    third = open_writer("third")
    assert third.claimed.epoch == second.claimed.epoch
    third.write(c.Opened(2, {}), *HISTORY)
    before = dump(client)
    with pytest.raises(Fenced, match="third"):
        second.send(batch)
    with pytest.raises(Fenced, match="third"):
        second.rewind()
    assert dump(client) == before


# -- Claims -----------------------------------------------------------------------------------------------------------


def test_a_claim_goes_on_where_the_log_ends_and_counts_the_epoch_up(
    first: Writing, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """The next writer learns position, chain, time and owner before, and goes on without a seam."""
    second = open_writer("second")
    claimed = second.claimed
    assert (claimed.epoch, claimed.position, claimed.last_ms) == (2, first.position, NOW_MS)
    assert (claimed.owner_before, claimed.claimed_before_ms) == ('{"host": "first"}', NOW_MS)
    second.write(c.Opened(2, {}), c.Add("a", b"2"))
    assert len(check_log(client, KEYS)) == first.position + 2


@pytest.mark.parametrize(
    "name",
    ["the fence is deleted", "the log is deleted", "an entry is added", "an entry is deleted", "a list at the log"],
)
def test_a_log_that_is_not_whole_can_not_be_claimed(
    name: str, first: Writing, client: Redis, server: RedisServer
) -> None:
    """Log and fence that do not belong together: refused with what is wrong, and nothing is touched."""
    BEHIND_THE_BACK[name][0](client)
    before = dump(client)
    with connect(server.url, 5.0, "test") as connection, pytest.raises(Diverged, match="Nothing was written"):
        claim(connection, KEYS, "second", NOW_MS)
    assert dump(client) == before


def test_a_claim_of_what_was_seen_fails_if_it_is_not_that_any_more(
    first: Writing, client: Redis, server: RedisServer
) -> None:
    """Whoever decided by what it saw does not get something else."""
    before = dump(client)
    with connect(server.url, 5.0, "test") as connection:
        for seen in (0, 2):
            assert claim(connection, KEYS, "second", NOW_MS, epoch_seen=seen) is None
        assert dump(client) == before
        second = claim(connection, KEYS, "second", NOW_MS, epoch_seen=1)
        assert second is not None
        assert (second.epoch, second.epoch_before) == (2, 1)
        client.flushall()
        assert claim(connection, KEYS, "third", NOW_MS, epoch_seen=2) is None
        assert dump(client) == {}
        assert claim(connection, KEYS, "third", NOW_MS, 7, 0).epoch == 8


# -- Permissions ------------------------------------------------------------------------------------------------------


COMMANDS = ("xadd", "hset", "hdel", "sadd", "srem", "rename", "hincrby", "unlink", "hexists", "hkeys", "sismember")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_permission_that_is_missing_is_an_alarm_and_leaves_no_half_a_batch(
    command: str, server: RedisServer, client: Redis, open_writer: Callable[..., Writing]
) -> None:
    """Held until somebody gives it back, whatever command it is for. A server that can not be asked beforehand, Redis
    6.2, may have changed views by then; but not the log."""
    client.execute_command("ACL", "SETUSER", "node", "on", ">pw", f"~{KEYS.namespace}*", "+@all")
    writing = open_writer(url=server.url.replace("unix://", "unix://node:pw@"))
    writing.write(c.Opened(1, {}), *HISTORY)
    client.execute_command("ACL", "SETUSER", "node", f"-{command}")
    batch = writing.seal(*HISTORY, *PURGES, c.DeleteOrder("O-1"))
    before = dump(client)
    with pytest.raises(Unavailable, match="lacks a permission") as caught:
        writing.send(batch)
    assert caught.value.held
    assert isinstance(caught.value.cause, Held)
    asks_first = not str(client.info("server")["redis_version"]).startswith("6.")
    if asks_first:
        assert dump(client) == before
    assert len(read_log(client, KEYS)) == batch.first - 1
    client.execute_command("ACL", "SETUSER", "node", f"+{command}")
    writing.send(batch)
    if asks_first:
        check_log(client, KEYS)
    else:
        assert len(read_log(client, KEYS)) == batch.last
