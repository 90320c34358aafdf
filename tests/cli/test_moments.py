"""Moments as people write them, and text that a terminal can not show."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from eventstore import commands as c
from eventstore.cli.audited import moment, time_ns
from tests.support.archives import Writer
from tests.support.cli import Run
from tests.support.redis_server import RedisServer

_DAY = int(datetime(2026, 1, 31, tzinfo=UTC).timestamp()) * 1_000_000_000
_MINUTE = 60 * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-01-31", _DAY),
        ("2026-01-31T00:00", _DAY),
        ("2026-01-31 14:03", _DAY + 843 * _MINUTE),
        ("2026-01-31T14:03Z", _DAY + 843 * _MINUTE),
        ("2026-01-31T14:03:00+02:00", _DAY + 723 * _MINUTE),
        ("2026-01-31T14:03:00.000000001Z", _DAY + 843 * _MINUTE + 1),
        ("2026-01-31T14:03:00,5", _DAY + 843 * _MINUTE + 500_000_000),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert time_ns(text) == ns
    assert moment(text).time_ns == ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "-1", "1.5", "2026-01-31Z", "2026-01-31T14", "2026-01-31T14:03.5", "2026-02-30"),
        *("2026-01-31T25:00", "2026-01-31T14:03:00.0000000001Z", "1969-12-31", "٣"),
    ],
)
def test_what_is_no_moment_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(text)


def test_a_terminal_of_another_encoding_is_no_error(eventstore: Run, redis_server: RedisServer, redis_url: str) -> None:
    with redis_server.client() as client, Writer(client) as writer:
        writer.batch([c.Add("clé→", b"1")])
    done = eventstore("log", redis_url, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert " Add cl\\xe9\\u2192 " in done.stdout
