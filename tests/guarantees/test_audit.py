"""What somebody does to the server behind the library's back: row 38."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from redis import Redis

from eventstore.audit import Finding, open_log, rebuild
from tests.support.archives import Writer
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.histories import histories
from tests.support.logs import dump
from tests.support.redis_server import RedisServer
from tests.support.tampering import KEYS, verified

WRITTEN = b"written by hand"


def write_by_hand(client: Redis, data: st.DataObject) -> tuple[str, str, str]:
    """Edit, add or delete one field or member of one view, whichever; what has to be found."""
    others = {KEYS.log, KEYS.writer, KEYS.schema, KEYS.archived}
    names = sorted(name.decode() for name in client.keys(f"{KEYS.prefix}*") if name.decode() not in others)
    assume(names)
    key = data.draw(st.sampled_from(names))
    is_set = client.type(key) == b"set"
    held: Any = dict.fromkeys(client.smembers(key), b"") if is_set else client.hgetall(key)
    field = data.draw(st.sampled_from([*sorted(held), b"one more"]))
    if field not in held:
        (client.sadd(key, field) if is_set else client.hset(key, field, WRITTEN))
        return "view_extra", key, field.decode()
    if is_set or data.draw(st.booleans()):
        (client.srem if is_set else client.hdel)(key, field)
        return "view_missing", key, field.decode()
    client.hset(key, field, WRITTEN)
    return "view_different", key, field.decode()


def place(finding: Finding) -> tuple[str, str | None, str | None]:
    return finding.kind, finding.key, finding.field


@effort(80)
@given(histories(), st.data())
def test_row_38_what_somebody_wrote_into_the_views_is_named_by_verify(
    redis_server: RedisServer, commands: list[Any], data: st.DataObject
) -> None:
    """Any field of any view, edited, added or deleted: that one, and no other. Written back, nothing is found."""
    with redis_server.client(protocol=2) as client:
        client.flushdb()
        with Writer(client) as writer:
            for command in commands:
                writer.batch([command], later_ms=1)
        assert verified(redis_server.url).is_clean
        expected = write_by_hand(client, data)
        report = verified(redis_server.url)
        assert [place(finding) for finding in report.findings] == [expected]
        [finding] = report.findings
        assert (finding.found is None) is (expected[0] == "view_missing")
        assert (finding.expected is None) is (expected[0] == "view_extra")


@effort(40)
@given(histories(), st.data())
def test_row_38_what_somebody_wrote_into_the_views_is_rebuilt(
    redis_server: RedisServer, commands: list[Any], data: st.DataObject
) -> None:
    """Whichever fields of whichever views were edited, added or deleted: rebuilt, they are to the byte what they were
    before, nothing else has changed, and `verify` finds nothing."""
    with redis_server.client(protocol=2) as client:
        client.flushdb()
        with Writer(client) as writer:
            for command in commands:
                writer.batch([command], later_ms=1)
        before = dump(client)
        keys = {write_by_hand(client, data)[1] for _ in range(data.draw(st.integers(1, 3)))}
        with open_log(redis_server.url, TRADER) as log:
            done = rebuild(log)
        assert {*done.missing, *done.extra, *done.different} <= keys
        after = dump(client)
        after[KEYS.writer].pop(b"rebuilt", None)
        assert after == before
        assert verified(redis_server.url).is_clean
