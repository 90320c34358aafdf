"""The write side: claims the log for one writer and appends batches to it, each one fenced script call."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from eventstore import commands as c
from eventstore.chain import GENESIS, NextHead
from eventstore.errors import DataLoss, Diverged, Fatal, Fenced, Held, Retryable, StorageError
from eventstore.keys import Keys
from eventstore.packing import array_head, pack_old, pack_old_items
from eventstore.projections import PROJECTIONS, At, Place
from eventstore.storage.answers import Answers
from eventstore.storage.connect import leads_to, route_of, script, whereabouts
from eventstore.storage.faults import classify, translated
from eventstore.storage.location import at
from eventstore.storage.topology import Replaced
from workers.sink import LONE, Regressed, Rejected, Unavailable
from workers.turn import Turn

# Lua's stack bounds how many arguments one call of a script can pass on.
ARGUMENTS_MAX = 4000

PIECE = 8
"""Of how many entries the operations are made at once, and after how many it is looked whether the turn is over."""

HASHED = 16
"""The same for entries that are hashed, which takes less."""

PACKED = 256
"""The same for arguments of operations, which are packed."""

# What the entry begins with that has to be a batch of its own.
_FLUSHED = c.encode(c.Flushed(0, b""))[:2]


Make = Callable[..., c.Command]

Accepted = tuple[str, Any, int, Make, Any, Any, Any, Any]
"""What a call leaves in the backlog: its name, key and time (UNIX nanoseconds), how to make a command, and of what.

The command is what the fourth gives when it is called with the key and the last four. The key may be anything that
`str` makes the key of.
"""


def called(key: Any, make: Make, arguments: tuple[Any, ...], *rest: Any) -> c.Command:
    """Make a command of any number of arguments."""
    return make(*arguments)


class Entry(NamedTuple):
    """A command as it goes into the log."""

    accepted_ms: int
    payload: bytes

    @classmethod
    def of(cls, accepted_ns: int, command: c.Command) -> Entry:
        """Return `command`, accepted at `accepted_ns` (UNIX nanoseconds), as an entry."""
        return _new(cls, (accepted_ns // 1_000_000, c.encode(command)))

    @property
    def command(self) -> c.Command:
        """What it says."""
        return c.decode(self.payload)


_new = tuple.__new__


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
    epoch_before: int
    owner_before: str
    claimed_before_ms: int | None

    @classmethod
    def of(cls, owner: str, reply: list[bytes]) -> Claim:
        """Return what ``claim.lua`` answered to `owner`."""
        return cls(
            owner=owner,
            epoch=int(reply[1]),
            position=int(reply[2]),
            chain=reply[3],
            last_ms=int(reply[4].partition(b"-")[0]),
            epoch_before=int(reply[5]),
            owner_before=reply[6].decode(),
            claimed_before_ms=int(reply[7]) if reply[7] else None,
        )


def claim(
    client: redis.Redis, keys: Keys, owner: str, now_ms: int, epoch_given: int = 0, epoch_seen: int | None = None
) -> Claim | None:
    """Become the writer of the log, in an epoch above all before it and above `epoch_given`.

    Returns None, and changes nothing, if the fence is of another epoch than `epoch_seen`, where that is given: 0 for
    none.

    Raises
    ------
    Diverged
        If log and fence do not belong together: something was lost or written by somebody else.
    StorageError
        If the server can not be reached or refuses.
    """
    seen = "" if epoch_seen is None else epoch_seen
    with translated("claim the log"):
        reply: list[bytes] = client.eval(
            script("claim.lua").decode(), 2, keys.writer, keys.log, owner, now_ms, GENESIS, epoch_given, seen
        )
    if reply[0] == b"moved":
        return None
    if reply[0] != b"claimed":
        raise Diverged(
            f"claim the log {keys.log}: {reply[1].decode()}. Nothing was written. Restore the server's data, or move "
            "what is left of this trader's keys away to begin a new log"
        )
    return Claim.of(owner, reply)


def publish(client: redis.Redis, keys: Keys, meanings: Mapping[str, str]) -> None:
    """Say what records and commands mean, for other readers of the log; what was said before stays.

    Raises
    ------
    StorageError
        If the server can not be reached or refuses.
    """
    with translated("publish the schema"):
        pipeline = client.pipeline(transaction=False)
        for field, fields in meanings.items():
            pipeline.hsetnx(keys.schema, field, fields)
        pipeline.execute()


class Operations:
    """The view operations of a batch, merged: one call a key where the order of things allows it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._calls: list[list[Any]] = []
        self._hset: dict[str, list[Any]] = {}
        self._members: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._placed: dict[str, Place] = {}  # behind whatever `_members` has on the same sets
        self.place: Callable[[str, Place], None] = self._placed.__setitem__  # without a call of its own

    def hset(self, key: str, field: str, value: bytes | str) -> None:
        call = self._hset.get(key)
        if call is None or len(call) > ARGUMENTS_MAX:
            call = self._hset[key] = ["HSET", key, field, value]
            self._calls.append(call)
        else:
            call += field, value

    def hdel(self, key: str, field: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["HDEL", key, field])

    def sadd(self, key: str, member: str) -> None:
        self._place_now(member)
        self._members[key][member] = "SADD"  # the last one wins

    def srem(self, key: str, member: str) -> None:
        self._place_now(member)
        self._members[key][member] = "SREM"

    def _place_now(self, member: str) -> None:
        """Put the place of `member` in front of what comes next."""
        place = self._placed.pop(member, None)
        if place is not None:
            for key in place.inside:
                self._members[key][member] = "SADD"
            for key in place.outside:
                self._members[key][member] = "SREM"

    def retire(self, key: str, lives: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["RETIRE", key, lives])

    def drop(self, key: str, lives: str, purged: str) -> None:
        self._hset.pop(key, None)
        self._calls.append(["DROP", key, lives, purged])

    def purge(
        self, key: str, lives: str, purged: str, at: At, member: str, sets: Sequence[str], hashes: Sequence[str]
    ) -> None:
        place = (str(at.lives), str(at.version - 1), str(at.version))
        self._in_place("PURGE", key, lives, purged, *place, member, len(sets), *sets, *hashes)

    def forget(self, key: str, lives: str, purged: str, count: int, upto: int) -> None:
        self._in_place("FORGET", key, lives, purged, str(count), str(upto))

    def trim(self, key: str, lives: str, count: int, below: int) -> None:
        self._in_place("TRIM", key, lives, str(count), str(below))

    def _in_place(self, *call: str | int) -> None:
        """Add a call that looks at the views: what came before it is applied before it, what comes later behind it."""
        self._settle()
        self._hset.clear()
        self._calls.append([*call])

    def wipe(self) -> None:
        # The command that wipes is alone in its batch.
        k = self._keys
        self._calls.append(
            ["WIPE", k.orders, k.positions, k.accounts, k.lives, k.lives_purged, k.prefix, *k.fixed_views()]
        )

    def packed(self, turn: Turn) -> bytes:
        """All of them, in order, as the script takes them. Part by part: a large batch has thousands of arguments."""
        self._settle()
        turn.check()
        calls = self._calls
        parts = [array_head(len(calls))]
        begun = size = 0
        for end, call in enumerate(calls, 1):
            size += len(call)
            if size >= PACKED or end == len(calls):
                parts.append(pack_old_items(calls[begun:end]))
                begun, size = end, 0
                turn.check()
        return b"".join(parts)

    def _settle(self) -> None:
        """Make calls of what is known of members of sets: at the end, or where something comes that looks there."""
        chosen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for (inside, outside), members in self._by_place():
            for name, keys in (("SADD", inside), ("SREM", outside)):
                for key in keys:
                    chosen[name, key] += members
                    if key in self._members:
                        for member in members:
                            self._members[key].pop(member, None)
        for key, names in self._members.items():
            for member, name in names.items():
                chosen[name, key].append(member)
        self._members.clear()
        for (name, key), members in chosen.items():
            for i in range(0, len(members), ARGUMENTS_MAX):
                self._calls.append([name, key, *members[i : i + ARGUMENTS_MAX]])

    def _by_place(self) -> list[tuple[Place, list[str]]]:
        """Return each place and who is there: there are few, so they are told apart by what they are, not say."""
        found: dict[int, tuple[Place, list[str]]] = {}
        for member, place in self._placed.items():
            there = found.get(id(place))
            if there is None:
                there = found[id(place)] = (place, [])
            there[1].append(member)
        self._placed.clear()
        return list(found.values())


class Draft(list[Entry]):
    """The entries of a batch, and the operations that they come to: made as they are appended, piece by piece.

    So most of the commands are gone by then, and the collector does not get to see them.
    """

    __slots__ = ("_appender", "_commands", "_operations")

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._commands: list[c.Command] = []
        self._operations = Operations(appender._keys)

    def append(self, entry: Entry) -> None:
        appender, commands = self._appender, self._commands
        # The command that was just encoded is at hand.
        commands.append(appender._command if entry is appender._entry else entry.command)
        list.append(self, entry)
        if len(commands) >= PIECE:
            self._project()
            appender._turn.check()

    def _project(self) -> None:
        keys, operations = self._appender._keys, self._operations
        for command in self._commands:
            PROJECTIONS[command.__class__](keys, command, operations)
        self._commands.clear()

    def finish(self) -> Operations:
        """Return the operations of all entries. They are gone from here then: entries are kept for longer."""
        self._project()
        operations = self._operations
        del self._operations
        return operations


class Appender:
    """The sink of one writer: `client` must not send anything again by itself.

    Not for more than one thread. `on_quarantine` is told the operation, key and error of a call that can not be
    encoded. `is_gone` says of an owner of the log before this one whether it certainly has ended. `turn` is that of the
    thread.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        claimed: Claim,
        on_quarantine: Callable[[str, str, BaseException], None] = lambda operation, key, error: None,
        is_gone: Callable[[str], bool] = lambda owner: False,
        turn: Turn | None = None,
    ) -> None:
        self._client = client
        self._on_quarantine = on_quarantine
        self._is_gone = is_gone
        self._turn = turn or Turn()
        self._keys = keys
        self._claimed = claimed
        # The entry that was encoded last, and what of.
        self._entry: Entry | None = None
        self._command: c.Command
        self._chain = claimed.chain
        self._last_ms = claimed.last_ms
        self._owner = claimed.owner.encode()
        self.server = whereabouts(client)
        """Where it writes, for people; empty if that is always the server of the URL."""
        self._connection: redis.Connection | None = None
        self._answers: Answers | None = None  # to batches, on that connection
        self._interrupted = False
        source = script("append.lua")
        self._source = source
        self._head = _request(
            b"*13\r\n",
            (
                b"EVALSHA",
                hashlib.sha1(source, usedforsecurity=False).hexdigest().encode(),
                b"2",
                keys.log.encode(),
                keys.writer.encode(),
                str(claimed.epoch).encode(),
            ),
        )

    # -- Encoding ----------------------------------------------------------------------------------------------

    def encode(self, item: Accepted | Entry) -> Entry:
        """Make the command that `item` stands for. One that can not be made is quarantined by name, in its place."""
        if isinstance(item, Entry):
            return item  # it went through the journal
        operation, key, accepted_ns, make, first, second, third, fourth = item
        try:
            self._command = command = make(key, first, second, third, fourth)
            self._entry = entry = _new(Entry, (accepted_ns // 1_000_000, c.encode(command)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the commands behind it must go on
            self._entry = None
            return self._quarantined(accepted_ns // 1_000_000, operation, str(key), error)
        return entry

    def quarantine(self, entry: Entry, cause: BaseException) -> Entry:
        """Return what stands in the log in the place of `entry`, which the server refuses for what is in it."""
        # Its second field says which aggregate it is about, whatever the kind.
        command = entry.command
        return self._quarantined(entry.accepted_ms, type(command).__name__, str(command[0])[:200], cause)

    def _quarantined(self, accepted_ms: int, operation: str, key: str, error: BaseException) -> Entry:
        reason = f"{type(error).__name__}: {error}"[:2000].encode(errors="replace").decode()
        self._on_quarantine(operation, key, error)
        return Entry.of(accepted_ms * 1_000_000, c.Quarantined(operation, key, reason))

    def size(self, entry: Entry) -> int:
        payload = entry[1]
        return LONE if payload.startswith(_FLUSHED) else len(payload)

    def draft(self) -> Draft:
        return Draft(self)

    def seal(self, first_position: int, entries: list[Entry]) -> Batch:
        turn = self._turn
        if entries.__class__ is Draft:
            draft = entries
        else:
            draft = self.draft()
            for entry in entries:
                draft.append(entry)
        payloads = [entry[1] for entry in draft]
        if self.size(draft[0]) == LONE:
            payloads[0] = c.encode(c.Flushed(first_position - 1, self._chain))
        head, last_ms = NextHead(self._chain), self._last_ms
        entry_ids: list[str] = []
        for i in range(0, len(draft), HASHED):
            for position, (accepted_ms, _) in enumerate(draft[i : i + HASHED], first_position + i):
                if accepted_ms > last_ms:
                    last_ms = accepted_ms
                entry_ids.append(f"{last_ms}-{position}")
            head.extend(entry_ids[i:], payloads[i : i + HASHED])
            turn.check()
        stream: list[str | bytes] = [b""] * (2 * len(entry_ids))
        stream[::2] = entry_ids
        stream[1::2] = payloads
        packed = pack_old(stream)
        turn.check()
        operations = draft.finish().packed(turn)
        chain, last_position = head.digest(), first_position + len(draft) - 1
        numbers = b"%d" % first_position, b"%d" % last_position
        request = _request(self._head, (*numbers, self._chain, chain, packed, operations, self._owner))
        self._chain = chain
        self._last_ms = last_ms
        return Batch(first_position, last_position, request)

    # -- Sending -----------------------------------------------------------------------------------------------

    def send(self, batch: Batch) -> None:
        try:
            connection = self._line()
            connection.send_packed_command([batch.request], check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error, _named(self._keys, batch)) from error

    def receive(self, batch: Batch) -> None:
        try:
            if self._answers is None:
                raise redis.ConnectionError("the connection was closed")
            reply = self._answers.next()
        except (redis.RedisError, OSError) as error:
            known = self._unavailable(error, _named(self._keys, batch))
            if isinstance(known, Fatal) and isinstance(error, redis.ResponseError):
                # The script checks and unpacks everything before its first write: nothing was written.
                raise Rejected(known) from error
            raise known from error
        status = reply[0]
        if status in (b"applied", b"duplicate"):
            return
        where = _named(self._keys, batch)
        if status == b"fenced":
            epoch, owner = int(reply[1]), reply[2].decode()
            if epoch >= self._claimed.epoch:
                raise self._fenced(where, epoch, owner)
            raise Regressed(Retryable(f"{where}: the server was set back to epoch {epoch}, owner {owner}"))
        if status == b"gap":
            raise Regressed(Retryable(f"{where}: the log ends at position {int(reply[1])}: the server was set back"))
        raise Diverged(f"{where}: {reply[1].decode()}. Nothing of the batch was written")

    def rewind(self) -> int:
        """Ask where the log ends, claim it again if the server lost the claim, and go on from there.

        Raises
        ------
        Fenced
            If another writer took over.
        Diverged
            If log and fence do not belong together.
        """
        claimed = self._claimed
        where = f"go on with {self._keys.log}"
        try:
            connection = self._line()
            connection.send_command("HMGET", self._keys.writer, "epoch", "owner", "position", "chain")
            seen: Any = _unless_foreign(connection)
            if seen[0] is not None and not self._may_claim(
                where, int(seen[0]), seen[1].decode(), int(seen[2]), seen[3]
            ):
                return int(seen[2])
            connection.send_command(
                "EVAL", script("claim.lua"), 2, self._keys.writer, self._keys.log, claimed.owner,
                time.time_ns() // 1_000_000, GENESIS, "0", seen[0] or b"", str(claimed.epoch), seen[1] or b"",
                seen[2] or b"",
            )  # fmt: skip
            reply: Any = connection.read_response()
        except (redis.RedisError, OSError) as error:
            raise self._unavailable(error, where) from error
        if reply[0] == b"fenced":
            raise self._fenced(where, int(reply[1]), reply[2].decode())
        if reply[0] != b"claimed":
            raise Diverged(f"{where}: {reply[1].decode()}")
        now = Claim.of(claimed.owner, reply)
        self._chain, self._last_ms = now.chain, now.last_ms
        return now.position

    def check(self) -> None:
        route, connection = route_of(self._client), self._connection
        address = None if connection is None else leads_to(connection)
        if route is None or address is None:
            return
        try:
            route.check(address)
        except Replaced as error:
            raise Regressed(classify(error, f"see that {self._keys.log} stays where it is")) from error
        except (redis.RedisError, OSError):
            pass  # nobody can say

    def _may_claim(self, where: str, epoch: int, owner: str, position: int, chain: bytes) -> bool:
        """Whether the log is this writer's, or was before the server lost the claim. Raises if somebody else went on.

        Where it ends before the claim, it can be claimed again only if the owner then has certainly ended: otherwise
        what it ends with can not be told from what a writer wrote that was let in again.
        """
        claimed = self._claimed
        if epoch > claimed.epoch or (epoch == claimed.epoch and owner != claimed.owner):
            raise self._fenced(where, epoch, owner)
        if epoch == claimed.epoch or (position, chain) == (claimed.position, claimed.chain):
            return True
        if position >= claimed.position:
            raise self._fenced(where, epoch, owner)  # who was shut out was let in again by the loss, and wrote
        return self._is_gone(owner)

    def lost(self, first: int, last: int) -> DataLoss:
        return DataLoss(
            f"write to {self._keys.log}: the server had confirmed positions {first} to {last} and lost them, by a "
            "restore or a failover, and they are not retained here any more. Stop this node, and find the newer data "
            "before anybody writes again",
            first,
            last,
        )

    def ahead(self, position: int, last: int) -> Diverged:
        return Diverged(
            f"write to {self._keys.log}: the log ends at position {position}, but this writer never went beyond "
            f"{last}: somebody else wrote in its name"
        )

    def _fenced(self, where: str, epoch: int, owner: str) -> Fenced:
        return Fenced(
            f"{where}: epoch {self._claimed.epoch} was ended by epoch {epoch}, owner {owner}. "
            "Stop this node: another one trades for this trader"
        )

    def reset(self) -> None:
        connection, self._connection, self._answers = self._connection, None, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)

    def interrupt(self) -> None:
        self._interrupted = True  # before the look at the connection: one that is being made sees it
        connection = self._connection
        raw = None if connection is None else getattr(connection, "_sock", None)
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.reset()

    def _line(self) -> redis.Connection:
        """Return a connection, unless there is to be none any more: it may have taken long to be made."""
        connection = self._connection or self._connect()
        if self._interrupted:
            raise redis.ConnectionError("interrupted")
        return connection

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
        line: Any = connection._sock
        self._connection, self._answers = connection, Answers(line)
        if (address := leads_to(connection)) is not None:
            self.server = at(address)
        return connection

    def _unavailable(self, error: Exception, operation: str) -> Exception:
        known: StorageError = classify(error, operation)
        return Unavailable(known, held=isinstance(known, Held)) if isinstance(known, Held | Retryable) else known


def _unless_foreign(connection: redis.Connection) -> Any:
    """Return four fields, or Nones where something that has no fields stands: the script says what that is."""
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return [None] * 4


def _named(keys: Keys, batch: Batch) -> str:
    return f"append positions {batch.first} to {batch.last} to {keys.log}"


def _request(head: bytes, arguments: Sequence[bytes]) -> bytes:
    """Return a command that begins with `head`, an array's length and its first elements, and goes on with those."""
    parts = [head]
    for argument in arguments:
        parts += b"$%d\r\n" % len(argument), argument, b"\r\n"
    return b"".join(parts)
