"""The write side: claims the log for one writer and appends batches to it, each one fenced script call."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
import redis

from eventstore import commands as c
from eventstore.errors import DataLoss, Diverged, Fenced, Held, Retryable, StorageError
from eventstore.keys import Keys
from eventstore.projections import project
from eventstore.storage.connect import script
from eventstore.storage.faults import classify, translated
from workers.sink import Unavailable

CHAIN_BYTES = 32
GENESIS = bytes(CHAIN_BYTES)

# Lua's stack bounds how many arguments one call of a script can pass on.
ARGUMENTS_MAX = 4000


Accepted = tuple[str, str, int, Callable[..., c.Command], tuple[Any, ...]]
"""What a call leaves in the backlog: its name, key and time (UNIX nanoseconds); how to make a command, and of what."""


class Entry(NamedTuple):
    """A command as it goes into the log."""

    accepted_ms: int
    command: c.Command
    payload: bytes


class Batch(NamedTuple):
    """Entries as the one request that appends them; sending it twice appends them once."""

    first: int
    last: int
    request: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write: what the log was when it was claimed, by whom, and whom it was taken from."""

    owner: str
    epoch: int
    position: int
    chain: bytes
    last_ms: int
    owner_before: str
    claimed_before_ms: int | None


def claim(client: redis.Redis, keys: Keys, owner: str, now_ms: int) -> Claim:
    """Become the writer of the log.

    Raises
    ------
    Diverged
        If log and fence do not belong together: something was lost or written by somebody else.
    StorageError
        If the server can not be reached or refuses.
    """
    with translated("claim the log"):
        reply: list[bytes] = client.eval(script("claim.lua").decode(), 2, keys.writer, keys.log, owner, now_ms, GENESIS)
    if reply[0] != b"claimed":
        raise Diverged(
            f"claim the log {keys.log}: {reply[1].decode()}. Nothing was written. Restore the server's data, or move "
            "what is left of this trader's keys away to begin a new log"
        )
    return Claim(
        owner=owner,
        epoch=int(reply[1]),
        position=int(reply[2]),
        chain=reply[3],
        last_ms=int(reply[4].partition(b"-")[0]),
        owner_before=reply[5].decode(),
        claimed_before_ms=int(reply[6]) if reply[6] else None,
    )


class Operations:
    """The view operations of a batch, merged: one call a key where the order of things allows it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._calls: list[list[Any]] = []
        self._hset: dict[str, list[Any]] = {}
        self._members: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def hset(self, key: str, field: str, value: bytes | str) -> None:
        call = self._hset.get(key)
        if call is None or len(call) > ARGUMENTS_MAX:
            call = ["HSET", key]
            self._hset[key] = call
            self._calls.append(call)
        call.append(field)
        call.append(value)

    def hdel(self, key: str, field: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["HDEL", key, field])

    def sadd(self, key: str, member: str) -> None:
        self._members[key][member] = "SADD"  # the last one wins

    def srem(self, key: str, member: str) -> None:
        self._members[key][member] = "SREM"

    def retire(self, key: str, lives: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["RETIRE", key, lives])

    def drop(self, key: str, lives: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["DROP", key, lives])

    def wipe(self) -> None:
        # The command that wipes is alone in its batch.
        k = self._keys
        self._calls.append(["WIPE", k.orders, k.positions, k.accounts, k.lives, k.prefix, *k.fixed_views()])

    def packed(self) -> bytes:
        """All of them, in order, as the script takes them."""
        for key, members in self._members.items():
            for name in ("SADD", "SREM"):
                chosen = [member for member, last in members.items() if last == name]
                for i in range(0, len(chosen), ARGUMENTS_MAX):
                    self._calls.append([name, key, *chosen[i : i + ARGUMENTS_MAX]])
        return _for_lua(self._calls)


class Appender:
    """The sink of one writer: `client` must not send anything again by itself.

    Not for more than one thread. `on_quarantine` is told the operation, key and error of a call that can not be
    encoded.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        claimed: Claim,
        on_quarantine: Callable[[str, str, Exception], None] = lambda operation, key, error: None,
    ) -> None:
        self._client = client
        self._on_quarantine = on_quarantine
        self._keys = keys
        self._epoch = claimed.epoch
        self._chain = claimed.chain
        self._last_ms = claimed.last_ms
        self._owner = claimed.owner.encode()
        self._connection: redis.Connection | None = None
        source = script("append.lua")
        self._source = source
        self._head = _arguments(
            b"EVALSHA",
            hashlib.sha1(source, usedforsecurity=False).hexdigest().encode(),
            b"2",
            keys.log.encode(),
            keys.writer.encode(),
            str(claimed.epoch).encode(),
        )

    # -- Encoding ----------------------------------------------------------------------------------------------

    def encode(self, item: Accepted) -> Entry:
        """Make the command that `item` stands for. One that can not be made is quarantined by name, in its place."""
        operation, key, accepted_ns, make, arguments = item
        command: c.Command
        try:
            command = make(*arguments)
            payload = c.encode(command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the commands behind it must go on
            reason = f"{type(error).__name__}: {error}"[:2000].encode(errors="replace").decode()
            command = c.Quarantined(operation, key, reason)
            self._on_quarantine(operation, key, error)
            payload = c.encode(command)
        return Entry(accepted_ns // 1_000_000, command, payload)

    def size(self, entry: Entry) -> int:
        return len(entry.payload)

    def alone(self, entry: Entry) -> bool:
        return entry.command.__class__ is c.Flushed

    def seal(self, first_position: int, entries: list[Entry]) -> Batch:
        position = first_position
        operations = Operations(self._keys)
        chain = hashlib.blake2b(self._chain, digest_size=CHAIN_BYTES)
        stream: list[bytes] = []
        chained: list[bytes] = []
        ms = self._last_ms
        for entry in entries:
            command = entry.command
            payload = entry.payload
            if command.__class__ is c.Flushed:
                command = c.Flushed(position - 1, self._chain)
                payload = c.encode(command)
            project(self._keys, command, operations)
            if entry.accepted_ms > ms:
                ms = entry.accepted_ms
            entry_id = b"%d-%d" % (ms, position)
            chained.append(b"%b %d\n" % (entry_id, len(payload)))
            chained.append(payload)
            stream.append(entry_id)
            stream.append(payload)
            position += 1
        chain.update(b"".join(chained))
        head = chain.digest()
        last = position - 1
        request = (
            b"*13\r\n"
            + self._head
            + _arguments(
                b"%d" % first_position,
                b"%d" % last,
                self._chain,
                head,
                _for_lua(stream),
                operations.packed(),
                self._owner,
            )
        )
        self._chain = head
        self._last_ms = ms
        return Batch(first_position, last, request)

    # -- Sending -----------------------------------------------------------------------------------------------

    def send(self, batch: Batch) -> None:
        try:
            connection = self._connection or self._connect()
            connection.send_packed_command([batch.request], check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error, batch) from error

    def receive(self, batch: Batch) -> None:
        connection = self._connection
        try:
            if connection is None:
                raise redis.ConnectionError("the connection was closed")
            reply: Any = connection.read_response()
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error, batch) from error
        status = reply[0]
        if status in (b"applied", b"duplicate"):
            return
        where = f"append positions {batch.first} to {batch.last} to {self._keys.log}"
        if status == b"fenced":
            epoch, owner = int(reply[1]), reply[2].decode()
            if epoch <= self._epoch:
                raise DataLoss(
                    f"{where}: the server's data are older than this writer: they are of epoch {epoch}, owner {owner}, "
                    f"and this is epoch {self._epoch}, owner {self._owner.decode()}. It was set back, by a restore or "
                    "a failover, and lost what was confirmed since. Stop this node, and find the newer data before "
                    "anybody writes again"
                )
            raise Fenced(
                f"{where}: epoch {self._epoch} was ended by epoch {epoch}, owner {owner}. "
                "Stop this node: another one trades for this trader"
            )
        if status == b"gap":
            position = int(reply[1])
            if position < batch.first - 1:
                raise DataLoss(
                    f"{where}: the server had confirmed position {batch.first - 1} but its log ends at {position}: it "
                    f"lost positions {position + 1} to {batch.first - 1}. Check its persistence and failover settings"
                )
            raise Diverged(f"{where}: the log already ends at {position}, inside this batch")
        raise Diverged(f"{where}: {reply[1].decode()}. Nothing of the batch was written")

    def reset(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)

    def interrupt(self) -> None:
        connection = self._connection
        raw = None if connection is None else getattr(connection, "_sock", None)
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.reset()

    def _connect(self) -> redis.Connection:
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            # Loaded with every connection: a server that restarted or took over does not have it.
            connection.send_command("SCRIPT", "LOAD", self._source)
            connection.read_response()
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        self._connection = connection
        return connection

    def _unavailable(self, error: Exception, batch: Batch) -> Exception:
        known: StorageError = classify(error, f"append positions {batch.first} to {batch.last} to {self._keys.log}")
        return Unavailable(known, held=isinstance(known, Held)) if isinstance(known, Held | Retryable) else known


def _arguments(*values: bytes) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])


def _for_lua(value: list[Any]) -> bytes:
    # The server's MessagePack library knows text ("raw") only, of which its strings of bytes are made.
    return msgpack.packb(value, use_bin_type=False)
