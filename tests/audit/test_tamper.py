"""Whoever changes a log, its archive or its views behind the library's back is found out: what he changed is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from redis import Redis

from eventstore import commands as c
from eventstore.audit import Finding, Noted, anchor, append_anchor, open_log, read_anchors
from tests.support.archives import Writer, archive, put_back, stored
from tests.support.databases import TRADER
from tests.support.effort import effort
from tests.support.redis_server import RedisServer
from tests.support.tampering import KEYS, Row, findings, forge, kinds, order, put, rows, verified, write_story

HEAD = bytes(32)


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    """A server with a log that nobody has touched."""
    with redis_server.client(protocol=2) as connection:
        write_story(connection)
        yield connection


def noted(url: str, path: Path) -> list[Noted]:
    with open_log(url, TRADER) as log:
        append_anchor(path, anchor(log).described())
    return read_anchors(path, TRADER)


def change(client: Redis, how: Callable[[list[Row]], list[Row]]) -> None:
    put(client, how(rows(client)))


def only(found: list[Finding], kind: str) -> Finding:
    """The one finding of that kind."""
    [finding] = [each for each in found if each.kind == kind]
    return finding


def test_a_log_that_nobody_touched_has_no_finding(client: Redis, redis_url: str) -> None:
    report = verified(redis_url)
    assert report.is_clean
    assert not report.findings
    assert (report.entries, report.whole, report.begin) == (len(rows(client)), True, 0)
    assert report.views is not None
    assert report.views_because is None


# -- Entries ---------------------------------------------------------------------------------------------------


def test_an_entry_that_was_changed_is_found_in_its_batch(client: Redis, redis_url: str) -> None:
    changed = c.encode(c.Add("key", b"forged"))
    change(client, lambda log: [row.with_payload(changed) if row.position == 4 else row for row in log])
    finding = only(findings(redis_url), "chain")
    assert (finding.position, finding.last) == (2, 4)


@pytest.mark.parametrize("position", [1, 2, 3, 4, 6])
def test_an_entry_that_was_dropped_is_found_as_a_gap(client: Redis, redis_url: str, position: int) -> None:
    """The first of the log, the first of a batch, one inside, the last of a batch."""
    change(client, lambda log: [row for row in log if row.position != position])
    finding = only(findings(redis_url, views=False), "gap")
    assert (finding.position, finding.last) == (position, position)


def test_a_whole_batch_that_was_dropped_is_found_as_a_gap(client: Redis, redis_url: str) -> None:
    change(client, lambda log: [row for row in log if not 2 <= row.position <= 4])
    [finding] = findings(redis_url, views=False)
    assert (finding.kind, finding.position, finding.last) == ("gap", 2, 4)


def test_an_entry_that_was_inserted_is_found(client: Redis, redis_url: str) -> None:
    """Whatever it looks like and wherever it stands: one that is no entry, a copy of one, one with a large number."""
    log = rows(client)
    ms = log[5].entry_id.partition(b"-")[0]
    payload = log[5].fields[1]
    for place, (row, expected) in enumerate(
        [
            (Row(b"5-0", (b"any", b"thing")), "foreign"),
            (Row(b"%b-0" % ms, (b"any", b"thing")), "foreign"),
            (Row(b"%d-3" % (int(ms) + 1), (b"e", payload)), "order"),
            (Row(b"%d-0" % (int(ms) + 1), (b"e", payload)), "order"),
            (Row(b"%d-777777" % int(ms), (b"e", payload)), "gap"),
            (Row(b"9999999999999-%d" % (len(log) + 1), (b"e", payload)), "fence"),
        ]
    ):
        put(client, [*log, row])
        found = findings(redis_url, views=False)
        assert expected in kinds(found), place
        assert len(found) <= 3, found
        assert any(row.entry_id.decode() in finding.message or finding.kind == "gap" for finding in found), place


def test_entries_that_changed_places_are_found(client: Redis, redis_url: str) -> None:
    log = rows(client)
    ids = [row.entry_id for row in log]
    ids[1], ids[2] = ids[2], ids[1]
    put(client, [Row(entry_id, row.fields) for entry_id, row in zip(ids, log, strict=True)])
    assert only(findings(redis_url), "chain").position == 2
    # Those of two batches, by their positions.
    put(client, [row.with_position({4: 5, 5: 4}.get(row.position, row.position)) for row in log])
    assert {"gap", "order"} <= kinds(findings(redis_url))


def test_a_cut_tail_is_found_by_the_fence(client: Redis, redis_url: str) -> None:
    change(client, lambda log: log[:-2])
    finding = only(findings(redis_url, views=False), "fence")
    assert finding.found is not None
    assert finding.found.endswith(f"-{len(rows(client))}")


def test_a_tail_that_was_cut_with_the_fence_is_found_by_an_anchor_and_by_nothing_else(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """A chain says nothing about what came behind it. Whoever can write the fence can cut."""
    anchors = noted(redis_url, tmp_path / "anchors")
    log = rows(client)
    forge(client, log[:-2])
    assert findings(redis_url, views=False) == []
    finding = only(findings(redis_url, views=False, anchors=anchors), "anchor")
    assert f"the tail was cut: the log ends at position {len(log) - 2}" in finding.message
    assert finding.position == len(log)


def test_a_log_that_was_written_anew_is_found_by_an_anchor_and_by_nothing_else(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """With an entry changed, all chain heads made anew, the fence adjusted, and the views, too."""
    anchors = noted(redis_url, tmp_path / "anchors")
    changed = c.encode(c.Add("key", b"forged"))
    log = rows(client)
    place = next(i for i, row in enumerate(log) if row.fields[1] == c.encode(c.Add("key", b"another value")))
    forge(client, [row.with_payload(changed) if i == place else row for i, row in enumerate(log)])
    client.hset(KEYS.general, "key", b"forged")
    assert findings(redis_url) == []
    finding = only(findings(redis_url, anchors=anchors), "anchor")
    assert finding.expected == anchors[0].anchor.chain.hex()
    # The log goes on behind it, and the anchor still tells.
    forge(
        client, [*rows(client), Row(b"1800000000000-%d" % (len(log) + 1), (b"e", c.encode(c.Heartbeat(1)), b"h", b""))]
    )
    client.hset(KEYS.heartbeat, "timestamp", "1")
    assert findings(redis_url) == []
    assert kinds(findings(redis_url, anchors=anchors)) == {"anchor"}


def test_a_log_that_pretends_to_have_been_flushed_is_found_by_an_anchor(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    anchors = noted(redis_url, tmp_path / "anchors")
    log = rows(client)
    flushed = c.encode(c.Flushed(len(log), HEAD))
    row = Row(b"1800000000000-%d" % (len(log) + 1), (b"e", flushed, b"h", b""))
    forge(client, [row], HEAD)
    for name in client.keys(f"{KEYS.prefix}*"):
        if name.decode() not in (KEYS.log, KEYS.writer):
            client.delete(name)
    assert findings(redis_url) == []
    assert "another chain head" in only(findings(redis_url, anchors=anchors), "anchor").message


def test_a_chain_head_that_was_removed_or_changed_is_found(client: Redis, redis_url: str) -> None:
    log = rows(client)
    put(client, [row._replace(fields=row.fields[:2]) if row.position == 4 else row for row in log])
    assert only(findings(redis_url), "chain").last == 9
    put(client, [row._replace(fields=(*row.fields[:3], HEAD)) if row.position == 4 else row for row in log])
    assert [each.position for each in findings(redis_url)] == [2, 5]
    put(client, [row._replace(fields=row.fields[:2]) if row is log[-1] else row for row in log])
    assert "no chain head" in only(findings(redis_url), "chain").message


def test_an_entry_that_can_not_be_read_is_named(client: Redis, redis_url: str) -> None:
    """Also if its chain head was made for it; one of a newer version is no reason to compare views with half a log."""
    log = rows(client)
    forge(client, [row.with_payload(b"\x93\x01") if row.position == 4 else row for row in log])
    finding = only(findings(redis_url), "undecodable")
    assert (finding.position, finding.entry_id) == (4, log[3].entry_id.decode())
    forge(client, [row.with_payload(b"\x93\x0a\x02\xc0") if row.position == 4 else row for row in log])
    report = verified(redis_url)
    assert kinds(report.findings) == {"undecodable"}
    assert report.views is None
    assert report.views_because is not None
    assert "newer version" in report.views_because


@pytest.mark.parametrize(("field", "value"), [("position", "3"), ("chain", HEAD), ("id", "5-5"), ("epoch", "0")])
def test_a_fence_that_was_changed_is_found(client: Redis, redis_url: str, field: str, value: str) -> None:
    client.hset(KEYS.writer, field, value)
    assert "fence" in kinds(findings(redis_url))


def test_an_epoch_that_does_not_rise_is_found(client: Redis, redis_url: str) -> None:
    log = rows(client)
    forge(client, [row.with_payload(c.encode(c.Opened(1, {}))) if row.position == 14 else row for row in log])
    assert only(findings(redis_url, views=False), "epoch").position == 14


def test_the_description_for_other_readers_is_compared(client: Redis, redis_url: str) -> None:
    client.hset(KEYS.schema, "command:10:1", '{"name": "Subtract", "fields": []}')
    assert only(findings(redis_url), "schema").field == "command:10:1"


# -- Views -----------------------------------------------------------------------------------------------------

VIEWS = {
    "a field of a collection": (KEYS.general, "key"),
    "an event of an order": (KEYS.order("O-1"), "2"),
    "what was set on an order": (KEYS.order("O-2"), "amended"),
    "the only field": (KEYS.heartbeat, "timestamp"),
    "an account": (KEYS.account("SIM-1"), "1"),
    "an earlier cycle": (KEYS.position("P-1") + "{1}", "basis"),
    "how many cycles": (KEYS.lives, KEYS.position("P-1")),
    "an index": (KEYS.index_venue_order_id, "O-1"),
    "nothing": (KEYS.general, "empty"),
}


@pytest.mark.parametrize(("key", "field"), VIEWS.values(), ids=list(VIEWS))
def test_a_view_field_that_was_edited_or_deleted_is_named_with_both_values(
    client: Redis, redis_url: str, key: str, field: str
) -> None:
    before = client.hget(key, field)
    client.hset(key, field, b"edited")
    [finding] = findings(redis_url)
    assert (finding.kind, finding.key, finding.field) == ("view_different", key, field)
    text = key in (KEYS.general, KEYS.heartbeat, KEYS.lives, KEYS.index_venue_order_id)
    assert (finding.expected, finding.found) == (
        (before.decode(), "edited") if text else (before.hex(), b"edited".hex())
    )
    client.hdel(key, field)
    [finding] = findings(redis_url)
    assert (finding.kind, finding.key, finding.field, finding.found) == ("view_missing", key, field, None)
    assert finding.expected == (before.decode() if text else before.hex())


def test_a_view_field_that_was_added_is_named(client: Redis, redis_url: str) -> None:
    client.hset(KEYS.order("O-1"), "4", b"one more")
    client.hset(KEYS.general, b"\xff", b"more")
    client.sadd(KEYS.orders_open, "O-9")
    assert {(each.kind, each.key, each.field) for each in findings(redis_url)} == {
        ("view_extra", KEYS.order("O-1"), "4"),
        ("view_extra", KEYS.general, "\\xff"),
        ("view_extra", KEYS.orders_open, "O-9"),
    }


def test_a_member_that_was_removed_is_named(client: Redis, redis_url: str) -> None:
    client.srem(KEYS.orders_closed, "O-1")
    [finding] = findings(redis_url)
    assert (finding.kind, finding.key, finding.field) == ("view_missing", KEYS.orders_closed, "O-1")


def test_keys_that_were_added_deleted_or_are_of_another_type_are_named(client: Redis, redis_url: str) -> None:
    client.hset(KEYS.order("O-9"), "0", b"nobody's")
    client.set(KEYS.prefix + "anything", b"else")
    client.sadd(KEYS.actors, "a set")
    client.delete(KEYS.order("O-2"), KEYS.strategies)
    client.set(KEYS.general + "!", "x")
    client.delete(KEYS.instruments)
    client.lpush(KEYS.instruments, "a list")
    found = {(each.kind, each.key, each.field) for each in findings(redis_url)}
    assert found == {
        ("view_extra", KEYS.order("O-9"), "0"),
        ("view_extra", KEYS.prefix + "anything", None),
        ("view_extra", KEYS.general + "!", None),
        ("view_extra", KEYS.actors, "a set"),
        ("view_missing", KEYS.strategies, "S-1"),
        ("view_foreign", KEYS.instruments, None),
        *(("view_missing", KEYS.order("O-2"), field) for field in ("0", "1", "2", "3", "amended")),
    }


def test_large_views_are_compared_to_the_last_field(client: Redis, redis_url: str) -> None:
    """A hash that comes in many parts: one field edited, one added and one deleted of 9,000, and of as many members."""
    with Writer(client) as writer:
        for n in range(9):
            made = range(1000 * n, 1000 * (n + 1))
            writer.batch([c.AddOrder(f"L-{i}", 0, 6, False, [b"%d" % i], "P", None, None) for i in made])  # noqa: FBT003
    assert findings(redis_url) == []
    client.hset(KEYS.index_order_position, "L-4567", "Q")
    client.hset(KEYS.index_order_position, "M-1", "Q")
    client.hdel(KEYS.index_order_position, "L-8910")
    client.sadd(KEYS.orders_open, "M-2")
    client.srem(KEYS.orders_open, "L-0")
    assert {(each.kind, each.key, each.field) for each in findings(redis_url)} == {
        ("view_different", KEYS.index_order_position, "L-4567"),
        ("view_extra", KEYS.index_order_position, "M-1"),
        ("view_missing", KEYS.index_order_position, "L-8910"),
        ("view_extra", KEYS.orders_open, "M-2"),
        ("view_missing", KEYS.orders_open, "L-0"),
    }


def test_a_thousand_damages_are_counted_and_not_all_kept(client: Redis, redis_url: str) -> None:
    client.hset(KEYS.general, mapping={f"extra-{n}": b"x" for n in range(1500)})
    report = verified(redis_url)
    assert report.counts == {"view_extra": 1500}
    assert len(report.findings) == 1000


# -- Any byte --------------------------------------------------------------------------------------------------


@effort(150)
@given(st.data())
def test_any_byte_of_any_entry(redis_server: RedisServer, client: Redis, redis_url: str, data: st.DataObject) -> None:
    """Of its command, its chain head, or its id."""
    before = stored(client)
    try:
        log = rows(client)
        place = data.draw(st.integers(0, len(log) - 1))
        row = log[place]
        part = data.draw(st.sampled_from([None, *range(1, len(row.fields), 2)]))
        value = row.entry_id if part is None else row.fields[part]
        at = data.draw(st.integers(0, len(value) - 1))
        if part is None:
            byte = data.draw(st.sampled_from(b"0123456789"))
            assume(value[at : at + 1] != b"-")
        else:
            byte = data.draw(st.integers(0, 255))
        assume(byte != value[at])
        changed = value[:at] + bytes([byte]) + value[at + 1 :]
        if part is None:
            new = Row(b"-".join(b"%d" % int(half) for half in changed.split(b"-")), row.fields)
            assume(order(new) not in {(0, 0), *map(order, log)})
        else:
            new = row._replace(fields=(*row.fields[:part], changed, *row.fields[part + 1 :]))
        put(client, [*log[:place], new, *log[place + 1 :]])
        assert findings(redis_url, views=False)
    finally:
        put_back(client, before)


# -- Archives --------------------------------------------------------------------------------------------------


@pytest.fixture
def archived(client: Redis, redis_url: str, tmp_path: Path) -> Path:
    """The archive of the log's beginning, in several segments."""
    archive(redis_url, tmp_path / "archive", segment_entries=6)
    directory = tmp_path / "archive"
    report = verified(redis_url, directory)
    assert report.is_clean
    assert report.segments >= 3
    assert report.views is not None
    return directory


def segments(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.seg"))


@effort(100)
@given(st.data())
def test_any_byte_of_any_segment(archived: Path, redis_url: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(segments(archived)))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    flipped = before[at] ^ data.draw(st.integers(1, 255))
    try:
        path.chmod(0o600)
        path.write_bytes(before[:at] + bytes([flipped]) + before[at + 1 :])
        report = verified(redis_url, archived)
        assert only(report.findings, "segment").file == str(path)
        assert report.views is None
        assert report.views_because is not None
    finally:
        path.write_bytes(before)


def test_segments_that_were_swapped_cut_or_removed_are_found(archived: Path, redis_url: str) -> None:
    one, other, *_ = segments(archived)
    contents = {path: path.read_bytes() for path in (one, other)}
    one.write_bytes(contents[other])
    other.write_bytes(contents[one])
    assert [each.file for each in findings(redis_url, archived)] == [str(one), str(other)]
    one.write_bytes(contents[one][:-40])
    other.write_bytes(contents[other])
    assert [each.file for each in findings(redis_url, archived)] == [str(one)]
    one.unlink()
    assert [(each.kind, each.file) for each in findings(redis_url, archived)] == [("segment", str(one))]


def test_a_segment_that_is_missing_in_the_manifest_too_is_found(archived: Path, redis_url: str) -> None:
    """The first of them, one inside, or the last: the chain does not go on where it ended."""
    path = next(archived.rglob("manifest.json"))
    before = path.read_bytes()
    count = len(json.loads(before)["segments"])
    for number in range(count):
        manifest = json.loads(before)
        gone = manifest["segments"].pop(number)
        path.write_text(json.dumps(manifest))
        found = findings(redis_url, archived)
        if number == 0:  # what is left is right, but the log does not begin there
            assert found == []
            report = verified(redis_url, archived)
            assert (report.begin, report.whole, report.views) == (gone["last"], False, None)
            continue
        assert "gap" in kinds(found)
        assert any((each.position, each.last) == (gone["first"], gone["last"]) for each in found)


def test_an_entry_that_is_another_in_archive_and_log_is_found(client: Redis, redis_url: str, archived: Path) -> None:
    """As when a copy of the server is put back that somebody has changed."""
    client.flushall()
    write_story(client)
    assert findings(redis_url, archived) == []
    assert verified(redis_url, archived).shared > 10
    changed = c.encode(c.Add("key", b"forged"))
    forge(client, [row.with_payload(changed) if row.position == 4 else row for row in rows(client)])
    found = findings(redis_url, archived)
    assert only([each for each in found if each.position == 4], "archive_differs").entry_id is not None


def test_the_note_how_far_the_log_was_archived_is_compared(client: Redis, redis_url: str, archived: Path) -> None:
    mark = client.hgetall(KEYS.archived)
    client.hset(KEYS.archived, "chain", HEAD)
    assert "archived" in kinds(findings(redis_url, archived))
    assert "chain" in kinds(findings(redis_url))
    client.hset(KEYS.archived, mapping={**mark, b"position": b"9999"})
    assert "archived" in kinds(findings(redis_url, archived))
    assert "archived" in kinds(findings(redis_url))
    client.hset(KEYS.archived, "position", "none")
    assert "archived" in kinds(findings(redis_url, archived))
