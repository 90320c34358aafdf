"""The torture tells a log that is right from one that is not; a short run of it."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import commands as c
from scripts.lib.torture_accounts import Lived, balance
from scripts.lib.torture_workload import LAPS_MAX, SESSIONS, Place, Session, is_call, payloads, places
from tests.support.effort import effort

ROOT = Path(__file__).parents[1]
FOREIGN = c.encode(c.Add("nobody", b"wrote this"))


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return [Session(name, 120) for name in SESSIONS]


def calls(sessions: list[Session], life: Lived, count: int) -> list[bytes]:
    return list(islice(payloads(sessions, life.number, life.start), count))


def three_lives(returned: tuple[int, int, int], killed: bool = True) -> list[Lived]:
    first = Lived(1, Place(0, LAPS_MAX, 0), returned[0], 0, killed)
    second = Lived(2, Place(1, 2 * LAPS_MAX, 0), returned[1], 0, killed)
    return [first, second, Lived(3, Place(2, 3 * LAPS_MAX, 0), returned[2], 0, killed)]


some_lives = st.builds(three_lives, st.tuples(*[st.integers(0, 400)] * 3))


@pytest.mark.parametrize("name", SESSIONS)
def test_the_payload_of_every_call_is_known_beforehand(name: str) -> None:
    session = Session(name, 300)
    other = Session(name, 300, token=f"{77:08x}")
    assert [session.payload(i, 77) for i in range(len(session))] == [other.payload(i, 77) for i in range(len(other))]


def test_no_two_lineages_have_a_payload_in_common_but_for_calls_that_name_no_id(sessions: list[Session]) -> None:
    for session in sessions:
        shared = {session.payload(i, 1) for i in range(len(session))} & {
            session.payload(i, 2) for i in range(len(session))
        }
        assert {type(c.decode(payload)) for payload in shared} <= {c.AddInstrument, c.UpdateStrategy, c.Heartbeat}


def test_a_life_goes_from_session_to_session_and_never_plays_a_lineage_twice(sessions: list[Session]) -> None:
    start = Place(1, 5 * LAPS_MAX, 7)
    length = 3 * sum(map(len, sessions))
    seen = list(islice(places(sessions, 5, start), length))
    assert seen[0] == start
    assert len(set(seen)) == length


@given(lives=some_lives, unfinished=st.tuples(*[st.booleans()] * 3))
@effort(40)
def test_all_that_returned_and_at_most_what_a_kill_cut_short_is_a_clean_log(
    sessions: list[Session], lives: list[Lived], unfinished: tuple[bool, bool, bool]
) -> None:
    log = [
        call
        for life, more in zip(lives, unfinished, strict=True)
        for call in calls(sessions, life, life.returned + more)
    ]
    result = balance(log, lives, sessions)
    assert result.clean, result.differences
    assert result.in_log == result.calls + result.unfinished == len(log)
    assert result.unfinished == sum(unfinished)


@given(lives=some_lives, data=st.data())
@effort(100)
def test_every_call_that_is_taken_out_twice_in_or_elsewhere_is_found(
    sessions: list[Session], lives: list[Lived], data: st.DataObject
) -> None:
    log = [call for life in lives for call in calls(sessions, life, life.returned)]
    damage = data.draw(st.sampled_from(["lose", "lose the end", "repeat", "repeat a stretch", "swap", "add"]))
    before = list(log)
    i = data.draw(st.integers(0, max(len(log) - 1, 0)))
    j = data.draw(st.integers(0, max(len(log) - 1, 0)))
    if damage == "lose":
        del log[i : i + 1]
    elif damage == "lose the end":
        del log[i:]
    elif damage == "repeat" and log:
        log.insert(j, log[i])
    elif damage == "repeat a stretch":
        log += log[i:]
    elif damage == "swap" and log:
        log[i], log[j] = log[j], log[i]
    elif damage == "add":
        log.insert(i, FOREIGN)
    result = balance(log, lives, sessions)
    # What was done is found, unless it is what a kill may leave: the call behind the last one that returned.
    allowed = result.unfinished and len(log) == len(before) + 1
    assert result.clean == (log == before) or allowed, damage
    if damage.startswith("lose"):
        assert result.lost == len(before) - len(log)


def test_a_call_that_was_synced_and_is_gone_is_told_apart(sessions: list[Session]) -> None:
    life = Lived(1, Place(0, LAPS_MAX, 0), 30, 20, killed=True)
    assert balance(calls(sessions, life, 25), [life], sessions).lost_behind_sync == 0
    assert balance(calls(sessions, life, 18), [life], sessions).lost_behind_sync == 2


def test_a_life_that_closed_has_nothing_unfinished(sessions: list[Session]) -> None:
    life = Lived(1, Place(0, LAPS_MAX, 0), 30, 0, killed=False)
    assert balance(calls(sessions, life, 30), [life], sessions).clean
    assert not balance(calls(sessions, life, 31), [life], sessions).clean


def test_what_the_writer_says_of_itself_is_no_call() -> None:
    assert not is_call(c.encode(c.Opened(1, {})))
    assert not is_call(c.encode(c.ClosedWell(1, {})))
    assert is_call(c.encode(c.Flushed(1, b"")))
    assert is_call(FOREIGN)


def torture(directory: Path, *arguments: str, module: str = "torture") -> tuple[int, dict[str, Any]]:
    """Run it; its exit status and its figures."""
    report = directory / "report.json"
    options = ("--directory", directory, "--report", report, "--lines", "400", "--minutes", "2")
    command = [sys.executable, "-m", f"scripts.lib.{module}", *map(str, options), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr
    return done.returncode, json.loads(report.read_text())


def test_without_a_journal_calls_are_lost_and_the_torture_finds_them(tmp_path: Path) -> None:
    status, figures = torture(tmp_path, "--without-journal", "--kills", "8", "--seed", "3")
    assert status == 1
    assert figures["kills"] == 8
    assert figures["lost"] > 0
    # What was written is what was called all the same, and what `sync` said is true.
    assert figures["duplicated"] == figures["misplaced"] == figures["lost_behind_sync"] == 0
    assert not figures["failures"]
    assert all(Path(path, "trouble.txt").exists() for path in figures["evidence"])


def test_with_a_journal_nothing_is_lost_and_nothing_is_in_the_log_twice(tmp_path: Path) -> None:
    status, figures = torture(tmp_path, "--kills", "14", "--seed", "1")
    assert figures["kills"] == 14
    assert status == 0, figures["failures"] or figures["differences"]
    assert figures["lost"] == figures["duplicated"] == figures["misplaced"] == 0
    assert figures["in_log"] == figures["calls"] + figures["unfinished"]
    assert figures["in_log"] == figures["calls"] + figures["unfinished"] > 00


def test_a_server_that_is_killed_and_set_back_gets_what_a_living_node_retains(tmp_path: Path) -> None:
    status, figures = torture(tmp_path, "--server-only", "--lives", "5", "--seed", "2")
    assert status == 0, figures["failures"] or figures["differences"]
    assert figures["calls"] == figures["in_log"] > 1000
    assert figures["server"]["killed"] > 0


@pytest.mark.parametrize(("topology", "kind", "seed"), [("sentinel", "safe", "1"), ("cluster", "loss", "1")])
def test_primaries_that_are_killed_frozen_and_replaced_lose_nothing_but_what_is_raised(
    topology: str, kind: str, seed: str, tmp_path: Path
) -> None:
    options = ("--topology", topology, "--kind", kind, "--rounds", "1", "--troubles", "1", "--seed", seed)
    status, figures = torture(tmp_path, *options, module="torture_failovers")
    assert status == 0, figures["failures"] or figures["differences"]
    assert figures["lost"] == figures["duplicated"] == figures["misplaced"] == figures["lost_behind_sync"] == 0
    assert figures["losses_raised"] == (kind == "loss")
    assert figures["in_log"] == figures["calls"] + figures["unfinished"] > 0
