"""The bench: every figure has its floor, growth that is known is found, and a revision is level with itself."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.lib.bench import raw, tables
from scripts.lib.bench.compare import Change
from scripts.lib.bench.fitting import growth
from scripts.lib.bench.found import Found
from scripts.lib.bench.plot import plot
from scripts.lib.bench.rows import Row, Target, result
from scripts.lib.bench.subjects import NAMES, subject

ROOT = Path(__file__).parents[1]
SUBJECTS = [subject(name) for name in NAMES]
ROW = Row("a thing", "thing_per_s", "floor_per_s", "less of it", "/s")

costs = st.floats(1e-6, 1e6)
sizes = st.lists(st.integers(1, 10**7), min_size=3, max_size=8, unique=True)


def _bench(*words: str) -> Any:
    command = [sys.executable, "-m", "scripts.lib.bench", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# -- One run ---------------------------------------------------------------------------------------------------


def test_one_run_has_every_row_beside_its_floor(tmp_path: Path) -> None:
    found = _bench("--quick", "--only", *NAMES)
    rows = {(row["figure"], row["floor"]): row for row in found["rows"]}
    assert list(rows) == [(row.figure, row.floor) for each in SUBJECTS for row in each.rows]
    for row in rows.values():
        assert row["measured"]["least"] <= row["measured"]["median"] <= row["measured"]["most"]
        assert row["measured"]["median"] == found["runs"][0][row["figure"]]
        assert row["floor_measured"]["median"] == found["runs"][0][row["floor"]]
        assert row["beside"]
        assert (row["met"] is None) == (row["target"] is None)
    assert found["environment"]["python"]
    assert found["environment"]["server"]
    # What it said can be read back, and shown again: whole, and beside that of another Python.
    (tmp_path / "found.json").write_text(json.dumps(found))
    again = Found.read(tmp_path / "found.json")
    assert again.to_json() == found
    shown = tables.to_markdown([again, again])
    assert all(shown.count(row["what"]) >= 2 for row in rows.values())


def test_no_two_subjects_share_a_figure() -> None:
    figures = [{name for row in each.rows for name in (row.figure, row.floor)} for each in SUBJECTS]
    assert sum(map(len, figures)) == len(set().union(*figures))


def test_ratio_and_difference_are_those_of_the_runs() -> None:
    """Not of the medians: a run and its floor saw the same machine."""
    runs = [{"thing_per_s": 10.0 * slow, "floor_per_s": 20.0 * slow} for slow in (1, 5, 9)]
    found = result(ROW, runs)
    assert (found.ratio.least, found.ratio.median, found.ratio.most) == (0.5, 0.5, 0.5)
    assert found.difference.median == -50


@pytest.mark.parametrize(
    ("target", "figure", "met"),
    [
        (Target(3), 3.0, True),
        (Target(3), 3.1, False),
        (Target(5, "ratio"), 20.0, False),
        (Target(5, "ratio"), 10.0, True),
        (Target(8, "difference"), 10.0, True),
        (Target(7, "difference"), 10.0, False),
        (Target(9, at_least=True), 10.0, True),
        (Target(11, at_least=True), 10.0, False),
    ],
)
def test_a_target_is_met_where_the_median_is_as_it_says(target: Target, figure: float, met: bool) -> None:
    row = Row("a thing", "thing_us", "floor_us", "less of it", "µs", target)
    assert result(row, [{"thing_us": figure, "floor_us": 2.0}]).met is met


# -- Growth ----------------------------------------------------------------------------------------------------


@given(sizes, st.floats(-1, 3), costs)
def test_the_exponent_of_a_power_is_found(counts: list[int], exponent: float, each: float) -> None:
    found = growth([(n, each * n**exponent) for n in counts])
    assert found.exponent == pytest.approx(exponent, abs=1e-6)


@given(sizes, costs, costs)
def test_what_is_fixed_and_what_each_costs_are_found(counts: list[int], fixed: float, each: float) -> None:
    found = growth([(n, fixed + each * n) for n in counts])
    largest = fixed + each * max(counts)
    assert found.each * max(counts) == pytest.approx(each * max(counts), abs=1e-6 * largest)
    assert found.fixed == pytest.approx(fixed, abs=1e-6 * largest)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_growth_is_drawn(tmp_path: Path, suffix: str) -> None:
    points: dict[str, list[tuple[float, float]]] = {
        figure: [(n, 1e-5 * n) for n in (10, 100, 1000)] for figure in ("write_s", "load_s", "server_b", "replay_s")
    }
    path = tmp_path / f"growth{suffix}"
    plot(points, path)
    begin = path.read_bytes()[:200]
    assert begin.startswith(b"\x89PNG") if suffix == ".png" else b"<?xml" in begin


# -- Two revisions ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no revisions here")
def test_a_revision_is_compared_with_itself() -> None:
    found = _bench("--compare", "HEAD", "HEAD", "--quick", "--only", "latency", "size")
    assert found["left_out"] == {}
    assert {row["figure"] for row in found["rows"]} == {
        row.figure for name in ("latency", "size") for row in subject(name).rows
    }
    # What does not depend on time is the same; and one pair says nothing for sure.
    assert all(row["ratio"] == pytest.approx(1, abs=0.05) for row in found["rows"] if row["subject"] == "size")
    assert {row["verdict"] for row in found["rows"]} == {""}


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no revisions here")
def test_a_revision_that_is_none_is_named() -> None:
    command = [sys.executable, "-m", "scripts.lib.bench", "--compare", "no-such-revision", "--quick", "--only", "size"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no-such-revision" in done.stderr


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.30, 1.32, 1.28), "better"),
        ((0.70, 0.72, 0.71), "worse"),
        ((1.02, 0.98, 1.01), ""),  # they do not agree
        ((1.01, 1.20, 1.05), ""),  # they agree, and are far from one another
        ((1.30, 1.32), ""),  # too few
    ],
)
def test_a_change_is_called_one_only_beyond_the_noise_of_its_pairs(ratios: tuple[float, ...], verdict: str) -> None:
    assert Change(ROW, 1.0, 1.0, ratios).verdict == verdict


@given(st.lists(st.floats(0.5, 2), min_size=3, max_size=9))
def test_to_swap_the_revisions_turns_the_verdict(ratios: list[float]) -> None:
    forth = Change(ROW, 1.0, 1.0, tuple(ratios))
    back = Change(ROW, 1.0, 1.0, tuple(1 / ratio for ratio in ratios))
    if not math.isclose(min(ratios), 1) and not math.isclose(max(ratios), 1):
        assert {"better": "worse", "worse": "better", "": ""}[forth.verdict] == back.verdict


# -- The bytes that were sent ----------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6), st.integers(0, 30))
def test_a_stream_is_split_into_the_requests_that_it_is_made_of(requests: list[list[bytes]], cut: int) -> None:
    packed = [
        b"*%d\r\n" % len(each) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in each) for each in requests
    ]
    assert raw.split(b"".join(packed)) == packed
    assert [raw.words(request, 99) for request in packed] == requests
    if packed:  # one that has not come whole is left out
        assert raw.split(b"".join(packed)[: -1 - min(cut, len(packed[-1]) - 1)]) == packed[:-1]


# -- The document ----------------------------------------------------------------------------------------------


def test_the_document_has_a_place_for_the_table() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    once = tables.insert(text, "| a table |")
    assert "| a table |" in once
    assert tables.insert(once, "| another |") == tables.insert(text, "| another |")


def test_a_document_without_such_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        tables.insert("# Something", "| a table |")


@given(st.floats(1e-4, 1e9))
def test_a_number_is_shown_within_a_hundredth(value: float) -> None:
    assert float(tables.number(value).replace(",", "")) == pytest.approx(value, rel=0.01)
