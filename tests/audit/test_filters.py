"""Filters: what is read with one is what is in the whole log and fits, however it is read."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import FactReader, Facts, Filter, Log, Moment, follow, last, open_log, read
from eventstore.audit.reading.facts import FAMILIES, family_of
from eventstore.audit.reading.filters import COMMAND_KINDS, EVENT_KINDS
from eventstore.errors import AuditError, LogGap
from eventstore.model.events import ORDER_EVENTS
from eventstore.model.identifiers import TraderId
from eventstore.recording import play
from tests.support.archives import EVERYTHING, KEYS, Writer, archive
from tests.support.cli import TRADER as RECORDED
from tests.support.cli import session
from tests.support.databases import TRADER, open_database
from tests.support.effort import effort
from tests.support.histories import IDS, histories
from tests.support.redis_server import RedisServer

RECORDER = TraderId(RECORDED)
_NOW_MS = 1_700_000_000_000


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def positions(found: Iterator[Facts] | list[Facts]) -> list[int]:
    return [facts.position for facts in found]


def all_facts(log: Log) -> list[Facts]:
    reader = FactReader(log.trader_id)
    return [reader.read(entry) for entry in log.entries(log.start().position)]


def naive(facts: Facts, wanted: dict[str, list[str]], since: Moment | None, until: Moment | None) -> bool:
    """The definition, as the documents have it."""
    names = {facts.kind, facts.family, *(type(event).__name__ for event in facts.events)}
    for moment, sign in ((since, 1), (until, -1)):
        if moment is not None and moment.position is not None and sign * (facts.position - moment.position) < 0:
            return False
        if (
            moment is not None
            and moment.time_ns is not None
            and sign * (facts.accepted_ms - moment.time_ns // 1_000_000) < 0
        ):
            return False
    ids = set(itertools.chain(*facts.ids().values(), facts.others)) - set(facts.inherited)
    return (
        (not wanted["kinds"] or bool(names & set(wanted["kinds"])))
        and (not wanted["ids"] or bool(ids & set(wanted["ids"])))
        and (not wanted["strategies"] or bool(set(facts.strategies) & set(wanted["strategies"])))
        and (not wanted["instruments"] or bool(set(facts.instruments) & set(wanted["instruments"])))
    )


_moments = (
    st.none()
    | st.builds(Moment, st.integers(0, 60), st.none())
    | st.builds(Moment, st.none(), st.integers(-2, 60).map(lambda ms: (_NOW_MS + ms) * 1_000_000 + ms % 7))
)


@effort(60)
@given(data=st.data(), commands=histories(30))
def test_a_filtered_reading_is_the_whole_one_filtered(
    client: Redis, redis_url: str, data: st.DataObject, commands: list[c.Command]
) -> None:
    """By any filter, for logs of any commands, flushed or not; and the last N are the last N of it."""
    client.flushall()
    with Writer(client, now_ms=_NOW_MS) as writer:
        writer.batch([c.Opened(1, {})])
        for command in commands:
            writer.batch([command], later_ms=data.draw(st.integers(0, 2)))
    kinds = st.sampled_from([*FAMILIES, *COMMAND_KINDS])
    wanted = {
        "kinds": data.draw(st.lists(kinds, max_size=3), label="kinds"),
        "ids": data.draw(st.lists(st.sampled_from(IDS), max_size=2), label="ids"),
        "strategies": data.draw(st.lists(st.sampled_from(IDS), max_size=1), label="strategies"),
        "instruments": data.draw(st.lists(st.sampled_from(IDS), max_size=1), label="instruments"),
    }
    since, until = data.draw(_moments, label="since"), data.draw(_moments, label="until")
    count = data.draw(st.integers(1, 12), label="last")
    with open_log(redis_url, TRADER) as log:
        expected = [facts.position for facts in all_facts(log) if naive(facts, wanted, since, until)]
        made = Filter(**wanted, since=since, until=until)
        assert positions(read(log, made)) == expected
        assert positions(last(log, count, made)) == expected[-count:]


@pytest.fixture(scope="module")
def recorded_url() -> Iterator[str]:
    """The log of a recorded session."""
    with RedisServer() as server:
        with open_database(server.url, RECORDER) as database:
            play(database, session("trailing"), array("q"))
            orders = database.load_orders()
            for order_id in list(orders)[:5]:
                database.delete_order(order_id)
        yield server.url


@pytest.fixture(scope="module")
def everything(recorded_url: str) -> list[Facts]:
    """All of it, read once."""
    with open_log(recorded_url) as log:
        return all_facts(log)


@effort(20)
@given(data=st.data())
def test_a_recorded_session_filtered(recorded_url: str, everything: list[Facts], data: st.DataObject) -> None:
    """With real events, so that kinds of events, strategies and instruments fit, and trades and venues' ids."""
    with open_log(recorded_url) as log:
        pick = st.sampled_from(everything)
        some_ids = [an_id for values in data.draw(pick).ids().values() for an_id in values] or ["none"]
        wanted = {
            "kinds": data.draw(st.lists(st.sampled_from([*FAMILIES, *COMMAND_KINDS, *EVENT_KINDS]), max_size=2)),
            "ids": data.draw(st.lists(st.sampled_from(some_ids), max_size=2)),
            "strategies": data.draw(st.sampled_from([[], ["EMACrossTrailingStop-000"], ["other"]])),
            "instruments": data.draw(st.sampled_from([[], ["USD/JPY.SIM"], ["other"]])),
        }
        since = data.draw(st.none() | pick.map(lambda facts: Moment(facts.position, None)))
        until = data.draw(st.none() | pick.map(lambda facts: Moment(None, facts.accepted_ms * 1_000_000)))
        expected = [facts.position for facts in everything if naive(facts, wanted, since, until)]
        made = Filter(**wanted, since=since, until=until)
        assert positions(read(log, made)) == expected
        assert positions(last(log, 7, made)) == expected[-7:]


def test_an_entry_without_events_belongs_to_the_strategy_of_its_order(recorded_url: str) -> None:
    """Also where the reading begins behind the order's last event."""
    with open_log(recorded_url) as log:
        deleted = [facts for facts in all_facts(log) if facts.kind == "DeleteOrder"]
        assert len(deleted) == 5
        made = Filter(["DeleteOrder"], strategies=["EMACrossTrailingStop-000"], since=Moment(deleted[0].position, None))
        assert positions(read(log, made)) == positions(deleted)
        # The registry lets go of what was deleted.
        reader = FactReader(log.trader_id)
        for entry in log.entries():
            reader.read(entry)
        assert not {facts.key for facts in deleted} & reader._orders.keys()


def test_the_last_entries_are_read_from_archive_and_stream(client: Redis, redis_url: str, tmp_path: Path) -> None:
    with Writer(client, now_ms=_NOW_MS) as writer:
        for number in range(60):
            writer.batch([c.Add(f"key-{number % 3}", b"")], later_ms=1)
            if number == 40:
                archive(redis_url, tmp_path / "archive", EVERYTHING, segment_entries=7)
    with open_log(redis_url, TRADER, tmp_path / "archive") as log:
        for count in (1, 19, 20, 21, 60, 99):
            assert positions(last(log, count)) == list(range(max(1, 61 - count), 61))
        assert positions(last(log, 15, Filter(ids=["key-0"]))) == [n + 1 for n in range(60) if n % 3 == 0][-15:]
    with open_log(redis_url, TRADER) as log:
        assert positions(last(log, 99)) == list(range(log.start().position + 1, 61))


def test_missing_entries_are_not_passed_over(client: Redis, redis_url: str) -> None:
    with Writer(client, now_ms=_NOW_MS) as writer:
        writer.batch([c.Add(f"key-{n}", b"") for n in range(9)])
    client.xdel(KEYS.log, f"{_NOW_MS}-5", f"{_NOW_MS}-6")
    with open_log(redis_url, TRADER) as log:
        assert positions(last(log, 3)) == [7, 8, 9]
        for reading in (lambda: last(log, 4), lambda: list(read(log))):
            with pytest.raises(LogGap) as gap:
                reading()
            assert (gap.value.first, gap.value.last) == (5, 6)
    client.xdel(KEYS.log, f"{_NOW_MS}-9")
    with open_log(redis_url, TRADER) as log, pytest.raises(LogGap):
        last(log, 1)


def test_what_can_not_be_read_is_shown_and_not_left_out(client: Redis, redis_url: str) -> None:
    with Writer(client, now_ms=_NOW_MS) as writer:
        writer.batch(
            [c.UpdateOrder("O-1", 1, 5, emulated=False, events=[b"nonsense"], amended=None), c.Add("key", b"")]
        )
    with open_log(redis_url, TRADER) as log:
        [broken] = read(log, Filter(ids=["O-1"]))
        assert broken.error is not None
        assert broken.events == []


def test_followers_see_what_comes_over_a_flush_and_a_trim(client: Redis, redis_url: str, tmp_path: Path) -> None:
    notices: list[str] = []
    with Writer(client, now_ms=_NOW_MS) as writer, open_log(redis_url, TRADER) as log:
        writer.batch([c.Add("before", b"")])
        end = last(log, 1)[0].entry
        coming = follow(log, end, Filter(["Add", "Flushed"]), pause=pytest.fail, notice=notices.append)
        writer.batch([c.Add("one", b""), c.Heartbeat(1)])
        assert next(coming).key == "one"
        writer.batch([c.Flushed(writer.position, b"\x01" * 32)])
        assert next(coming).kind == "Flushed"
        writer.batch([c.Add("two", b""), c.Add("three", b"")])
        archive(redis_url, tmp_path / "archive", EVERYTHING)
        assert [next(coming).key, next(coming).key] == ["two", "three"]
    assert notices == []


def test_an_outage_is_waited_out_and_told_once(fresh_server: RedisServer) -> None:
    notices: list[str] = []
    with fresh_server.client() as client, Writer(client, now_ms=_NOW_MS) as writer:
        writer.batch([c.Add("one", b""), c.Add("two", b"")])
    with open_log(fresh_server.url, TRADER) as log:
        first = last(log, 2)[0].entry
        fresh_server.kill()
        pauses = itertools.count()

        def pause(seconds: float) -> None:
            if next(pauses) == 1:
                fresh_server.start()

        coming = follow(log, first, pause=pause, notice=notices.append)
        assert next(coming).key == "two"
    assert len(notices) == 2
    assert notices[0].endswith("trying again")
    assert notices[1] == "connected again"


def test_an_archive_alone_is_not_followed(client: Redis, redis_url: str, tmp_path: Path) -> None:
    with Writer(client, now_ms=_NOW_MS) as writer:
        writer.batch([c.Add("one", b"")])
        writer.batch([c.Add("two", b"")])
    archive(redis_url, tmp_path / "archive", EVERYTHING)
    with open_log(tmp_path / "archive") as log, pytest.raises(AuditError, match="can not be followed"):
        next(follow(log, None, pause=pytest.fail, notice=pytest.fail))


def test_kinds_are_named_in_any_case_and_unknown_ones_are_refused() -> None:
    assert Filter(["orderfilled", "WRITER"]).kinds == {"OrderFilled", "writer"}
    with pytest.raises(ValueError, match="no kind is called 'Filled'"):
        Filter(["Filled"])
    with pytest.raises(ValueError, match="not negative"):
        Filter(since=Moment(-1, None))


def test_every_command_has_a_family() -> None:
    of_writer = {kind for kind in c.KINDS if family_of(kind) == "writer"}
    assert of_writer == {c.Opened, c.ClosedWell, c.Flushed, c.Quarantined, c.Heartbeat}
    assert {family_of(kind) for kind in c.KINDS} == set(FAMILIES)
    for kind, family in (
        (c.IndexOrderPosition, "order"),
        (c.SnapshotPosition, "position"),
        (c.DeleteAccountEvent, "account"),
        (c.AddSynthetic, "instrument"),
        (c.UpdateStrategy, "strategy"),
    ):
        assert family_of(kind) == family
    assert set(ORDER_EVENTS) < set(EVENT_KINDS)
