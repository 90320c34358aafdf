"""Opening a log on a journal that has nothing in common with it any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from eventstore import commands as c
from eventstore import opening
from eventstore.journal import Journal, read_records
from eventstore.keys import Keys
from tests.support.databases import TRADER, open_database
from tests.support.logs import check_log
from tests.support.redis_server import RedisServer

KEYS = Keys(TRADER)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as connection:
        yield connection


@pytest.mark.parametrize("ends_at", [3, 100])
def test_a_strangers_log_is_gone_on_with_wherever_it_ends(
    ends_at: int, redis_url: str, client: Redis, tmp_path: Path
) -> None:
    """The log was lost and somebody else went on, so that it ends before all that the journal ever had, or behind it:
    what is in the journal is set aside, and what comes next is behind the end of the log, in both."""
    home = tmp_path / "journal"
    journal = Journal.open(home, str(TRADER), schema_version=c.VERSION, owner="an earlier life")
    journal.begin(41)
    mine = [c.Add(f"key-{number}", b"mine") for number in range(3)]
    for command in mine:
        journal.append(1, c.encode(command))
    journal.close()
    with open_database(redis_url) as other:
        for number in range(ends_at - 2):
            other.add(f"key-{number}", b"theirs")
    for turn in range(2):
        with open_database(redis_url, journal=home) as database:
            database.add("after", b"%d" % turn)
            position = database.sync()
            assert database.stats().accepted == position == ends_at + 2 + 3 * turn
    log = check_log(client, KEYS)
    assert [line.command for line in log if isinstance(line.command, c.Add)][-2:] == [
        c.Add("after", b"0"),
        c.Add("after", b"1"),
    ]
    (aside,) = (home / "aside").iterdir()
    found = [(record.position, c.decode(record.payload)) for record in read_records(aside)]
    assert found == [(42, mine[0]), (43, mine[1]), (44, mine[2])]


def test_an_opening_that_somebody_else_overtakes_decides_anew(
    redis_url: str, client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the log and the claim another writer takes over: the journal's tail is not written."""
    with open_database(redis_url, journal=tmp_path) as database:
        database.add("mine", b"1")
        database.sync()
    before = client.hget(KEYS.writer, "epoch")
    journal = Journal.open(tmp_path, str(TRADER), schema_version=c.VERSION, owner="cut short")
    journal.append(1, c.encode(c.Add("tail", b"1")))
    journal.close()

    overtaken: list[bool] = []

    publish = opening.publish

    def overtake(*arguments: object) -> None:
        publish(*arguments)  # type: ignore[arg-type]
        if not overtaken:
            overtaken.append(True)
            with open_database(redis_url) as other:
                other.add("theirs", b"1")

    # The last thing before the claim, where nobody else can be let in from outside.
    monkeypatch.setattr(opening, "publish", overtake)
    with open_database(redis_url, journal=tmp_path) as database:
        database.add("mine", b"2")
    log = [line.command for line in check_log(client, KEYS)]
    assert [command for command in log if isinstance(command, c.Add)] == [
        c.Add("mine", b"1"),
        c.Add("theirs", b"1"),
        c.Add("mine", b"2"),
    ]
    (aside,) = (tmp_path / "aside").iterdir()
    assert [c.decode(record.payload) for record in read_records(aside)] == [c.Add("tail", b"1")]
    assert int(client.hget(KEYS.writer, "epoch") or 0) == int(before or 0) + 2
