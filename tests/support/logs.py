"""A trader's log and views, read from the server without the library's own reader, and what they have to be."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple, cast

from redis import Redis

from eventstore import commands
from eventstore.keys import Keys
from eventstore.projections import MemoryViews, project

Value = Any
GENESIS = bytes(32)


class Line(NamedTuple):
    """An entry of the log as it stands there."""

    entry_id: bytes
    payload: bytes
    head: bytes | None

    @property
    def ms(self) -> int:
        return int(self.entry_id.partition(b"-")[0])

    @property
    def position(self) -> int:
        return int(self.entry_id.partition(b"-")[2])

    @property
    def command(self) -> commands.Command:
        return commands.decode(self.payload)


def read_log(client: Redis, keys: Keys) -> list[Line]:
    rows = cast(list[Any], client.xrange(keys.log))
    for _, fields in rows:
        assert fields.keys() <= {b"e", b"h"}
    return [Line(entry_id, fields[b"e"], fields.get(b"h")) for entry_id, fields in rows]


def read_fence(client: Redis, keys: Keys) -> dict[str, bytes]:
    return {name.decode(): value for name, value in cast(dict[bytes, bytes], client.hgetall(keys.writer)).items()}


def dump(client: Redis) -> dict[str, Value]:
    """Every key of the server with its content: strings, hashes, sets, lists; streams as their entries."""
    names = sorted(cast(list[bytes], client.keys("*")))
    kinds = client.pipeline(transaction=False)
    for name in names:
        kinds.type(name)
    values = client.pipeline(transaction=False)
    for name, kind in zip(names, kinds.execute(), strict=True):
        if kind == b"hash":
            values.hgetall(name)
        elif kind == b"set":
            values.smembers(name)
        elif kind == b"stream":
            values.xrange(name)
        elif kind == b"list":
            values.lrange(name, 0, -1)
        else:
            values.get(name)
    return {name.decode(): value for name, value in zip(names, values.execute(), strict=True)}


def views_of(content: dict[str, Value], keys: Keys) -> dict[str, Value]:
    """What `dump` has of a trader's views."""
    others = (keys.log, keys.writer, keys.schema)
    return {name: value for name, value in content.items() if name.startswith(keys.prefix) and name not in others}


def folded(log: list[Line], keys: Keys) -> dict[str, Value]:
    """What the views have to be: the log, projected in memory, in the form of `dump`."""
    views = MemoryViews()
    for line in log:
        project(keys, line.command, views)
    hashes = {name: {k.encode(): v for k, v in fields.items()} for name, fields in views.hashes.items()}
    sets = {name: {member.encode() for member in members} for name, members in views.sets.items()}
    assert not hashes.keys() & sets.keys()
    return hashes | sets


def chain(log: list[Line], head: bytes = GENESIS) -> bytes:
    """Recompute the chain over `log`, which begins at chain head `head`, and return the last head.

    The rule: the head behind a batch is the BLAKE2b-256 of the head before it and, of each entry of the batch, its id,
    a space, the decimal length of its payload, a newline and the payload. The last entry of a batch shows the head.
    """
    said = head
    for line in log:
        said += b"%s %d\n%s" % (line.entry_id, len(line.payload), line.payload)
        if line.head is not None:
            head = said = hashlib.blake2b(said, digest_size=32).digest()
            assert line.head == head, f"another chain head stands at {line.entry_id!r}"
    assert said == head, "the last entry shows no chain head"
    return head


def check_log(client: Redis, keys: Keys) -> list[Line]:
    """Assert all that a log promises by itself, and return it: gapless, rising, chained, in step with fence and views.

    The log begins at position 1, or with the entry that says what was flushed before it.
    """
    log = read_log(client, keys)
    fence = read_fence(client, keys)
    assert fence.keys() - {"probed", "rebuilt"} == {"epoch", "position", "chain", "id", "owner", "claimed_ms"}
    start, head = 0, GENESIS
    if log and isinstance(log[0].command, commands.Flushed):
        start, head = log[0].command.position, log[0].command.chain
    assert [line.position for line in log] == list(range(start + 1, start + 1 + len(log)))
    times = [line.ms for line in log]
    assert times == sorted(times)
    head = chain(log, head)
    assert fence["position"] == b"%d" % (start + len(log))
    assert fence["chain"] == head
    assert fence["id"] == (log[-1].entry_id if log else b"0-0")
    epochs = [line.command.epoch for line in log if isinstance(line.command, commands.Opened)]
    assert epochs == sorted(set(epochs))
    if epochs:
        assert fence["epoch"] == b"%d" % epochs[-1]
    assert views_of(dump(client), keys) == folded(log, keys)
    return log
