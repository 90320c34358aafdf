"""`eventstore acl`: a rule that a server takes, for what was asked for. What it allows: tests/test_permissions.py."""

import pytest
from typer.testing import CliRunner

from eventstore.cli import app
from eventstore.permissions import NEEDED
from tests.support.cli import Run, assert_wrong_usage
from tests.support.redis_server import RedisServer


def allowed(*arguments: str, trader: str = "T-1") -> list[str]:
    """The words of the one line that is printed; in this process, as many are asked for."""
    done = CliRunner().invoke(app, ["acl", *(["--trader", trader] if trader else []), *arguments])
    assert (done.exit_code, done.stderr) == (0, ""), done
    [line] = done.stdout.splitlines()
    return line.split()


def test_it_is_one_line_that_makes_a_user(eventstore: Run, redis_server: RedisServer) -> None:
    done = eventstore("acl", "--trader", "T-1")
    assert (done.returncode, done.stderr) == (0, "")
    rule = done.stdout.split()
    assert rule == ["ACL", "SETUSER", "writer", *allowed()[3:]]
    with redis_server.client() as client:
        client.execute_command(*rule)
        assert "writer" in client.acl_users()
        client.acl_deluser("writer")


def test_each_option_adds_what_it_needs() -> None:
    plain = set(allowed())
    for options, more in (
        (["--durability", "replicated(2)"], {"+wait"}),
        (["--durability", "aof(1,1)"], {"+waitaof"}),
        (["--sentinel"], {"+role"}),
        (["--cluster", "--from-replica"], {"+cluster|slots", "+readonly"}),
        (["--database", "3"], {"+select"}),
        (["--archive"], {"+xtrim", "+xlen", "+memory|usage"}),
    ):
        assert set(allowed(*options)) - plain == more
    for task in ("rebuild", "doctor"):
        assert {f"+{command}" for command in NEEDED[task]} <= set(allowed(f"--{task}"))
    both = allowed("--role", "reader", "--role", "auditor", "--name", "ops", "--read-only-keys")
    assert {"ops", "%R~{trader-T-1}:*", "+scan", "+xlen"} <= set(both)
    assert {"+sentinel|master"} <= set(allowed("--sentinel-user"))
    assert allowed("--aclfile")[:3] == ["user", "writer", "on"]
    everybody = allowed("--role", "reader", trader="")
    assert {"~{trader-*}:*", "+scan"} <= set(everybody)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--durability", "soon"],
        ["--role", "king"],
        ["--sentinel", "--cluster"],
        ["--read-only-keys"],
        ["--name", "a b"],
    ],
)
def test_what_makes_no_sense_is_wrong_usage(wrong: list[str]) -> None:
    done = CliRunner().invoke(app, ["acl", *wrong])
    assert (done.exit_code, done.stdout) == (2, "")


def test_what_is_no_trader_is_said(eventstore: Run) -> None:
    for text in ("{", "a b"):
        assert_wrong_usage(eventstore("acl", "--trader", text), "--trader", "TraderId")
