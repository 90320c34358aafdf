"""`eventstore demo`: what a newcomer sees is what happened."""

from pathlib import Path
from typing import Any

import pytest
import typer

import eventstore.cli.demo as demo_module
from tests.support.cli import NAMES, Run, assert_one_line_error, assert_wrong_usage, session


def test_every_session_comes_back_equal_and_nothing_is_left_behind(eventstore: Run, scratch: Path) -> None:
    done = eventstore("demo", TMPDIR=str(scratch))
    assert (done.returncode, done.stderr) == (0, ""), done
    for name, calls in zip(NAMES, ("1,517", "2,190", "9,837"), strict=True):
        assert f"{name}  " in done.stdout
        assert f"made {calls} calls" in done.stdout
    assert "✔ Everything came back as it was." in done.stdout
    assert done.stdout.count("✔\N{NO-BREAK SPACE}orders\N{NO-BREAK SPACE}closed") == 3
    assert "✘" not in done.stdout
    assert list(scratch.iterdir()) == []


def test_a_directory_keeps_the_data_and_is_never_overwritten(eventstore: Run, scratch: Path) -> None:
    arguments = ("demo", "--session", "trailing", "--directory", scratch / "kept")
    done = eventstore(*arguments)
    assert done.returncode == 0, done
    assert f"eventstore status {scratch / 'kept' / 'trailing'}" in done.stdout
    assert "119 orders, 59 positions and 1 account" in done.stdout
    assert "RECORDER-001" in eventstore("status", scratch / "kept" / "trailing").stdout
    assert_one_line_error(eventstore(*arguments), str(scratch / "kept" / "trailing"), "name a new directory")


def test_a_temporary_directory_can_be_kept(eventstore: Run, scratch: Path) -> None:
    assert eventstore("demo", "--session", "emacross", "--keep", TMPDIR=str(scratch)).returncode == 0
    [kept] = scratch.iterdir()
    assert eventstore("status", kept / "emacross").returncode == 0


def test_an_unknown_session_is_refused_with_the_names_of_those_that_there_are(eventstore: Run) -> None:
    assert_wrong_usage(eventstore("demo", "--session", "moon"), "'moon'", *NAMES)


def test_a_failure_of_the_writing_process_ends_it(eventstore: Run, scratch: Path) -> None:
    done = eventstore("demo", "--session", "emacross", "--directory", session("emacross"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the process that was to ingest ended with status 1"


def test_what_differs_is_shown_and_exit_status_1(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = demo_module._run

    def tampered(*arguments: str) -> dict[str, Any]:
        said = run(*arguments)
        if arguments[0] == "compare":
            said["checks"][0]["differences"] = ["O-1 price: expected '1', got '2'"]
        return said

    monkeypatch.setattr(demo_module, "_run", tampered)
    with pytest.raises(typer.Exit) as ended:
        demo_module.demo("emacross", scratch / "data", False)  # noqa: FBT003 - as typer calls it
    assert ended.value.exit_code == 1
    shown = capsys.readouterr().out
    assert "✘ orders: 1 differences" in shown
    assert "O-1 price: expected '1', got '2'" in shown
    assert "✘ What came back differs" in shown
