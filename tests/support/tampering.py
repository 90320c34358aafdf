"""Somebody who can write to the server, and changes a log there: as bytes, without the library's own writer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from redis import Redis

from eventstore import commands as c
from eventstore.audit import Finding, Report, open_log, verify
from eventstore.keys import Keys
from tests.support.archives import Writer
from tests.support.databases import TRADER

KEYS = Keys(TRADER)


class Row(NamedTuple):
    """An entry of a stream: its id, and names and values as they come."""

    entry_id: bytes
    fields: tuple[bytes, ...]

    @property
    def position(self) -> int:
        return int(self.entry_id.partition(b"-")[2])

    def with_payload(self, payload: bytes) -> Row:
        return self._replace(fields=(b"e", payload, *self.fields[2:]))

    def with_position(self, position: int) -> Row:
        return self._replace(entry_id=b"%b-%d" % (self.entry_id.partition(b"-")[0], position))


def order(row: Row) -> tuple[int, int]:
    ms, _, position = row.entry_id.partition(b"-")
    return int(ms), int(position)


def rows(client: Redis) -> list[Row]:
    """The stream as it stands."""
    found = cast(list[Any], client.execute_command("XRANGE", KEYS.log, "-", "+"))
    return [
        Row(
            entry_id,
            tuple(part for pair in fields.items() for part in pair) if isinstance(fields, dict) else tuple(fields),
        )
        for entry_id, fields in found
    ]


def put(client: Redis, changed: Iterable[Row]) -> None:
    """Put such entries in the place of the stream, in the order of their ids, and leave its last id as it was."""
    last = client.xinfo_stream(KEYS.log)["last-generated-id"]
    client.delete(KEYS.log)
    for row in sorted(changed, key=order):
        client.execute_command("XADD", KEYS.log, row.entry_id, *row.fields)
    ms, _, position = last.partition(b"-")
    if not client.exists(KEYS.log) or order(Row(client.xinfo_stream(KEYS.log)["last-generated-id"], ())) < (
        int(ms),
        int(position),
    ):
        client.execute_command("XSETID", KEYS.log, last)


def forge(client: Redis, changed: Sequence[Row], head: bytes = bytes(32)) -> None:
    """Put such entries there as one who knows how: with the chain heads that they give, and the fence at their end."""
    said, forged = head, []
    for row in changed:
        said += b"%b %d\n%b" % (row.entry_id, len(row.fields[1]), row.fields[1])
        if len(row.fields) > 2 or row is changed[-1]:
            head = said = hashlib.blake2b(said, digest_size=32).digest()
            forged.append(Row(row.entry_id, (b"e", row.fields[1], b"h", head)))
        else:
            forged.append(row)
    client.delete(KEYS.log)
    for row in forged:
        client.execute_command("XADD", KEYS.log, row.entry_id, *row.fields)
    client.hset(KEYS.writer, mapping={"position": changed[-1].position, "chain": head, "id": changed[-1].entry_id})


def write_story(client: Redis) -> None:
    """A log of one epoch with some of everything in it, in batches of several sizes."""
    with Writer(client, now_ms=1_700_000_000_000) as writer:
        for batch in STORY:
            writer.batch(batch, later_ms=7)


def _order(n: int) -> list[c.Command]:
    order_id = f"O-{n}"
    return [
        c.AddOrder(order_id, 0, 1, False, [b"initialized %d" % n], None, "CLIENT", None),  # noqa: FBT003
        c.UpdateOrder(order_id, 1, 5, False, [b"submitted %d" % n], None),  # noqa: FBT003
        c.UpdateOrder(order_id, 2, 6, False, [b"accepted %d" % n], b"amended"),  # noqa: FBT003
        c.IndexVenueOrderId(order_id, f"V-{n}"),
        c.UpdateOrder(order_id, 3, 14, False, [b"filled %d" % n], None),  # noqa: FBT003
    ]


STORY: list[list[c.Command]] = [
    [c.Opened(1, {"host": "here"})],
    [c.AddCurrency("XYZ", b"a currency"), c.AddInstrument("A.X", b"an instrument"), c.Add("key", b"value")],
    _order(1),
    [c.WriteAccount("SIM-1", 0, [b"an account", b"its second state"])],
    [*_order(2), c.WritePosition("P-1", 0, True, [b"a fill"], b"basis")],  # noqa: FBT003
    [c.WritePosition("P-1", 1, False, [b"another fill"], None)],  # noqa: FBT003
    [c.WritePosition("P-1", 0, True, [b"the next cycle"], b"basis"), c.UpdateStrategy("S-1", b"its state")],  # noqa: FBT003
    [c.Heartbeat(1_700_000_000_123_456_789), c.Add("key", b"another value"), c.Add("empty", b"")],
    [c.AddOrder("O-3", 0, 4, False, [b"emulated"], None, None, None), c.ClosedWell(1, {})],  # noqa: FBT003
]


def verified(url: str, archive: Path | None = None, **options: Any) -> Report:
    with open_log(url, TRADER, archive) as log:
        return verify(log, **options)


def findings(url: str, archive: Path | None = None, **options: Any) -> list[Finding]:
    return verified(url, archive, **options).findings


def kinds(found: Iterable[Finding]) -> set[str]:
    return {finding.kind for finding in found}
