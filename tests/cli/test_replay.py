"""`eventstore replay`, `diff` and `rebuild`, as users run them."""

import json
import subprocess
from array import array
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from eventstore.audit import open_log, state_at, values_of
from eventstore.audit.values import FAMILIES
from eventstore.cli import app
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.recording import play
from tests.support.cli import (
    TRADER,
    Run,
    assert_documented,
    assert_one_line_error,
    documented_commands,
    documented_fields,
    first_lines,
    write_session,
)
from tests.support.databases import open_database
from tests.support.processes import ROOT
from tests.support.redis_server import RedisServer

CALLS = 60
KEYS = Keys(TraderId(TRADER))


@pytest.fixture
def written(redis_url: str, tmp_path: Path) -> str:
    """The beginning of a recorded session, at a server: its URL."""
    path = write_session(tmp_path / "short.jsonl", first_lines("emacross", CALLS))
    with open_database(redis_url, TraderId(TRADER)) as database:
        play(database, path, array("q"))
    return redis_url


def is_wrong_usage(*arguments: object) -> bool:
    return CliRunner().invoke(app, list(map(str, arguments))).exit_code == 2


def lines(done: subprocess.CompletedProcess[str], status: int = 0) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (status, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- replay ----------------------------------------------------------------------------------------------------


def test_the_state_at_a_position_is_printed_thing_by_thing_as_documented(eventstore: Run, written: str) -> None:
    """The first line says where; the others are every value that there was, each of a documented family."""
    head, *things = lines(eventstore("replay", written, "--at", 40, "--json"))
    assert_documented(head, "replay")
    assert (head["position"], head["trader_id"]) == (40, TRADER)
    with open_log(written, TraderId(TRADER)) as log:
        expected = list(values_of(state_at(log, 40)))
    assert [[each["family"], each["id"], each["value"]] for each in things] == json.loads(json.dumps(expected))
    assert {"order", "position", "account", "instrument"} <= {each["family"] for each in things}
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    section = text.partition("## `eventstore replay ")[2].partition("\n## ")[0]
    for family in FAMILIES:
        assert f"`{family.name}`" in section


def test_the_beginning_and_the_end_have_a_state(eventstore: Run, written: str) -> None:
    [head] = lines(eventstore("replay", written, "--at", 0, "--json"))
    assert (head["position"], head["accepted"], head["accepted_ns"]) == (0, None, None)
    head = lines(eventstore("replay", written, "--json"))[0]
    assert head["position"] == CALLS + 2
    at_time = lines(eventstore("replay", written, "--at", head["accepted"], "--json"))[0]
    assert at_time == head


def test_people_see_what_is_open_and_how_much_there_is_of_the_rest(eventstore: Run, written: str) -> None:
    with open_log(written, TraderId(TRADER)) as log:
        states = (state_at(log, position) for position in range(CALLS))
        state = next(each for each in states if each.positions(open_only=True) and each.orders(open_only=True))
    done = eventstore("replay", written, "--at", state.position)
    assert done.returncode == 0
    assert f"{TRADER} behind position {state.position}, accepted 20" in done.stdout
    assert f"{len(state.orders())} orders: " in done.stdout
    for order in state.orders(open_only=True).values():
        assert f"    {order.client_order_id}  {order.status.name} {order.side.name} {order.quantity} " in done.stdout
    for position in state.positions(open_only=True).values():
        assert f"    {position.id}  {position.side.name} {position.quantity} " in done.stdout
    for account in state.accounts().values():
        assert all(f"    {account.id}  {total}, of that " in done.stdout for total in account.balances_total().values())


def test_paced_entries_are_those_in_between(eventstore: Run, written: str) -> None:
    """In the form of `log`, from the first to the last that was asked for."""
    paced = lines(eventstore("replay", written, "--speed", 1e6, "--since", 10, "--until", 14, "--json"))
    assert [each["position"] for each in paced] == [10, 11, 12, 13, 14]
    assert paced == lines(eventstore("log", written, "--since", 10, "--until", 14, "--json"))


@pytest.mark.parametrize(
    "arguments",
    [("--speed", 0), ("--speed", -1), ("--since", 3), ("--speed", 1, "--at", 3), ("--at", "noon"), ("--full",)],
)
def test_what_makes_no_sense_is_wrong_usage(written: str, arguments: tuple[object, ...]) -> None:
    assert is_wrong_usage("replay", written, *arguments)


def test_a_position_behind_the_end_is_an_error(eventstore: Run, written: str) -> None:
    assert_one_line_error(eventstore("replay", written, "--at", 999), "position 999", f"ends at {CALLS + 2}")
    assert_one_line_error(eventstore("diff", written, 1, 999), "position 999")


# -- diff ------------------------------------------------------------------------------------------------------


def test_the_differences_of_two_moments_are_printed_one_a_line(eventstore: Run, written: str) -> None:
    """With --json as documented; exit status 1. People read the same."""
    found = lines(eventstore("diff", written, 20, 40, "--json"), status=1)
    fields = documented_fields("diff")
    assert all(each.keys() == fields.keys() for each in found)
    assert {each["change"] for each in found} <= {"added", "removed", "changed"}
    done = eventstore("diff", written, 20, 40)
    assert (done.returncode, done.stderr) == (1, "")
    assert all(each["id"] in done.stdout for each in found)
    things = len({(each["family"], each["id"]) for each in found})
    assert f"{len(found)} differences in {things} things between position 20 (" in done.stdout


def test_without_a_difference_the_status_is_zero(eventstore: Run, written: str) -> None:
    assert lines(eventstore("diff", written, 40, 40, "--json")) == []
    done = eventstore("diff", written, CALLS + 1)
    assert (done.returncode, "no difference between" in done.stdout) == (0, True)


def test_two_places_are_compared_at_a_moment(eventstore: Run, written: str, scratch: Path) -> None:
    """The same calls, written twice, make the same state; one call more makes a difference."""
    longer = write_session(scratch / "longer.jsonl", first_lines("emacross", CALLS + 20))
    assert eventstore("ingest", longer, "--to", scratch / "data", "--trader", TRADER).returncode == 0
    assert lines(eventstore("diff", written, "--with", scratch / "data", "--at", CALLS + 1, "--json")) == []
    assert lines(eventstore("diff", written, "--with", scratch / "data", "--json"), status=1)


@pytest.mark.parametrize("arguments", [(), ("--at", 3), (3, "--with", "redis://x"), (3, "--with-archive", "x")])
def test_a_comparison_with_nothing_or_with_two_things_is_wrong_usage(
    written: str, arguments: tuple[object, ...]
) -> None:
    assert is_wrong_usage("diff", written, *arguments)


# -- rebuild ---------------------------------------------------------------------------------------------------


def damaged(client: Redis) -> list[dict[str, str]]:
    client.hset(KEYS.order("O-X"), "0", "by hand")
    client.delete(KEYS.orders)
    client.hset(KEYS.instruments, "X.Y", "by hand")
    return [
        {"key": KEYS.orders, "was": "missing"},
        {"key": KEYS.order("O-X"), "was": "extra"},
        {"key": KEYS.instruments, "was": "different"},
    ]


def test_what_was_wrong_is_put_right_and_named(eventstore: Run, written: str, redis_server: RedisServer) -> None:
    """A dry run names it and has status 1; the second rebuild finds nothing."""
    with redis_server.client() as client:
        wrong = damaged(client)
    dry = eventstore("rebuild", written, "--dry-run", "--json")
    assert (dry.returncode, dry.stderr) == (1, "")
    done = eventstore("rebuild", written, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    for said, swapped in ((json.loads(dry.stdout), False), (json.loads(done.stdout), True)):
        assert_documented(said, "rebuild")
        assert (said["wrong"], said["swapped"], said["position"]) == (wrong, swapped, CALLS + 2)
    again = eventstore("rebuild", written)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


def test_people_read_what_was_wrong(eventstore: Run, written: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        damaged(client)
    dry = eventstore("rebuild", written, "--dry-run")
    assert "3 views are not what the log says; nothing was changed" in dry.stdout
    done = eventstore("rebuild", written)
    assert (done.returncode, "3 views put right, in one step" in done.stdout) == (0, True)
    for text in (dry.stdout, done.stdout):
        assert f"{KEYS.orders} was not there" in text
        assert f"{KEYS.order('O-X')} did not belong there" in text
        assert f"{KEYS.instruments} held something else" in text


def test_a_log_that_is_not_whole_is_an_error(eventstore: Run, written: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.xdel(KEYS.log, client.xrange(KEYS.log)[30][0])
    assert_one_line_error(eventstore("rebuild", written), "position 32 stands where 31 belongs")


def test_a_user_with_the_documented_permissions_can_rebuild(
    eventstore: Run, written: str, redis_server: RedisServer
) -> None:
    """Who may only read is told which permission is missing, and has changed nothing that anybody reads."""
    with redis_server.client() as client:
        wrong = damaged(client)
        user = ("ACL", "SETUSER", "auditor", "on", ">pass", "resetkeys", f"~{KEYS.prefix}*", "-@all")
        url = f"unix://auditor:pass@{redis_server.socket_path}"
        try:
            client.execute_command(*user, "+@read", "+@connection")
            assert_one_line_error(eventstore("rebuild", url, "--trader", TRADER), "lacks a permission")
            assert (
                len(json.loads(eventstore("rebuild", url, "--trader", TRADER, "--dry-run", "--json").stdout)["wrong"])
                == 3
            )
            client.execute_command(*user, *documented_commands("rebuild"))
            done = eventstore("rebuild", url, "--trader", TRADER, "--json")
            assert json.loads(done.stdout)["wrong"] == wrong
        finally:
            client.acl_deluser("auditor")
    assert eventstore("rebuild", written, "--dry-run").returncode == 0
