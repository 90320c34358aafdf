"""Which commands and keys each role needs at the server: the one place that says so. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from eventstore.durability import Durability
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId

Task = Literal["writer", "reader", "auditor", "archive", "rebuild", "doctor"]
Topology = Literal["plain", "sentinel", "cluster"]

EVERYBODY: Final = ("client|setname",)
"""A connection says whose it is."""

NEEDED: Final[dict[Task, tuple[str, ...]]] = {
    # Opens, writes, loads, purges and flushes; the scripts call most of it.
    "writer": (
        "eval", "evalsha", "script|load", "info",
        "type", "exists", "rename", "unlink",
        "hget", "hgetall", "hkeys", "hexists", "hlen", "hmget", "hset", "hsetnx", "hdel", "hincrby",
        "sadd", "srem", "scard", "smembers", "sismember", "sdiff",
        "xadd", "xrange", "xrevrange", "xinfo|stream",
    ),
    # Reads views, and how the log stands: `status`.
    "reader": (
        "type", "hget", "hgetall", "hlen", "scard", "smembers", "sismember", "sdiff", "xlen", "xrevrange",
        "memory|usage",
    ),
    # Reads the log, and compares the views: `log`, `tail`, `explain`, `export`, `replay`, `diff`, `verify`, `anchor`.
    "auditor": (
        "scan", "type", "multi", "exec", "hget", "hgetall", "hmget", "hscan", "sscan", "smismember",
        "xrange", "xread", "xrevrange",
    ),
    # Moves the beginning of the log into files, in a node or by `archive`.
    "archive": ("evalsha", "script|load", "hgetall", "hmget", "hset", "xlen", "xrange", "xtrim", "memory|usage"),
    # Writes views anew.
    "rebuild": (
        "scan", "eval", "type", "rename", "unlink", "pttl", "hgetall", "hlen", "hmget", "hset", "sadd", "scard",
        "smembers", "xrange",
    ),
    # Lets `doctor` see all that it looks for, beside what else its user does.
    "doctor": ("time", "info", "config|get", "type", "pttl", "hmget", "xrevrange", "acl|whoami", "acl|dryrun"),
}  # fmt: skip
"""What each task needs at a server, as an ACL rule names it."""

ALL_TRADERS: Final = ("scan",)
"""Who does not name a trader looks for all of them."""

_WAY: Final[dict[Topology, tuple[str, ...]]] = {
    "plain": (),
    "sentinel": ("role",),  # Whoever is said to be the primary is asked whether it is.
    "cluster": ("cluster|slots",),
}
_WAY_TO_REPLICAS: Final[dict[Topology, tuple[str, ...]]] = {
    "plain": ("role",),
    "sentinel": (),
    "cluster": ("readonly",),
}

_SAMPLES: Final = {
    "eval": "EVAL 'return 1' 0",
    "evalsha": f"EVALSHA {'0' * 40} 0",
    "script|load": "SCRIPT LOAD 'return 1'",
    "client|setname": "CLIENT SETNAME a",
    "config|get": "CONFIG GET maxmemory",
    "memory|usage": "MEMORY USAGE KEY",
    "xinfo|stream": "XINFO STREAM KEY",
    "acl|whoami": "ACL WHOAMI",
    "acl|dryrun": "ACL DRYRUN default PING",
    "cluster|slots": "CLUSTER SLOTS",
    "cluster|info": "CLUSTER INFO",
    "rename": "RENAME KEY KEY",
    "hget": "HGET KEY a",
    "hexists": "HEXISTS KEY a",
    "hmget": "HMGET KEY a",
    "hset": "HSET KEY a b",
    "hsetnx": "HSETNX KEY a b",
    "hdel": "HDEL KEY a",
    "hincrby": "HINCRBY KEY a 1",
    "hscan": "HSCAN KEY 0",
    "sscan": "SSCAN KEY 0",
    "sadd": "SADD KEY a",
    "srem": "SREM KEY a",
    "sismember": "SISMEMBER KEY a",
    "smismember": "SMISMEMBER KEY a",
    "xadd": "XADD KEY * a b",
    "xrange": "XRANGE KEY - +",
    "xrevrange": "XREVRANGE KEY + -",
    "xread": "XREAD STREAMS KEY 0",
    "xtrim": "XTRIM KEY MINID 0",
    "scan": "SCAN 0",
    "select": "SELECT 0",
    "wait": "WAIT 0 1",
    "waitaof": "WAITAOF 0 0 1",
}
"""A call of each command, for a server that is asked whether it would be allowed. Without one: ``COMMAND KEY``."""

_NO_KEY: Final = frozenset({"info", "ping", "time", "role", "readonly", "multi", "exec"})

READS: Final = frozenset({
    "type", "exists", "hget", "hgetall", "hkeys", "hexists", "hlen", "hmget", "hscan", "scard", "smembers", "sismember",
    "smismember", "sscan", "sdiff", "xlen", "xrevrange", "xread", "pttl", "ping", "time", "info", "role", "config|get",
    "acl|whoami", "cluster|slots", "cluster|info",
})  # fmt: skip
"""Those that can be tried on a key that is not there: they change nothing, and take no time."""


def sample(command: str, key: str) -> list[str]:
    """Return a call of `command` that has `key` where it has one."""
    text = _SAMPLES.get(command) or (command.upper() if command in _NO_KEY else f"{command.upper()} KEY")
    return [key if word == "KEY" else word for word in shlex.split(text)]


_SPECIAL: Final = "\\*?[]"


def escaped(text: str) -> str:
    """Return a pattern of keys that matches `text`, and nothing else if it has no blank.

    A rule can not hold a blank; the pattern has a question mark there, which matches any one byte.
    """
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text).replace(" ", "?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one user may do.

    Parameters
    ----------
    tasks : sequence of str
        What for; see `NEEDED`.
    trader_id : TraderId, optional
        Whose keys. None: those of all traders.
    durability : Durability
        What a writer may ask for.
    topology : "plain", "sentinel" or "cluster", default "plain"
        How its server is found.
    replicas : bool, default False
        Whether it reads from replicas.
    database : int, default 0
        The number of the server's database.
    read_only_keys : bool, default False
        Whether the keys themselves are for reading only, which a server of version 7.0 or newer can say.
    """

    tasks: Sequence[Task]
    trader_id: TraderId | None = None
    durability: Durability = field(default_factory=Durability)
    topology: Topology = "plain"
    replicas: bool = False
    database: int = 0
    read_only_keys: bool = False

    def commands(self) -> list[str]:
        """Return the commands, each once."""
        found = [*EVERYBODY]
        if self.database:
            found.append("select")
        if self.trader_id is None:
            found += ALL_TRADERS
        for task in self.tasks:
            found += NEEDED[task]
        if "writer" in self.tasks:
            found += asked_for(self.durability)
        found += _WAY[self.topology]
        if "doctor" in self.tasks and self.topology == "cluster":
            found.append("cluster|info")
        if self.replicas:
            found += _WAY_TO_REPLICAS[self.topology]
        return list(dict.fromkeys(found))

    def pattern(self) -> str:
        """Return the pattern of the keys."""
        return "{trader-*}:*" if self.trader_id is None else f"{escaped(Keys(self.trader_id).prefix)}*"

    def rules(self, password: str = "PASSWORD") -> list[str]:  # noqa: S107 - a word for people to replace
        """Return the rules of the user, one by one."""
        access = "%R~" if self.read_only_keys else "~"
        return ["on", f">{password}", "resetkeys", access + self.pattern(), *_allowed(self.commands())]


def asked_for(durability: Durability) -> tuple[str, ...]:
    """Return the command that asks whether `durability` is reached."""
    return (("waitaof",) if durability.on_disk else ("wait",)) if durability.asks else ()


def sentinel_commands(*, replicas: bool = False) -> list[str]:
    """Return the commands of the user that asks the sentinels where the servers are; also where replicas are."""
    return [*EVERYBODY, "sentinel|master", *(["sentinel|replicas"] if replicas else [])]


def sentinel_rules(commands: Iterable[str], password: str = "PASSWORD") -> list[str]:  # noqa: S107 - as above
    """Return the rules of the user that asks the sentinels."""
    return ["on", f">{password}", "resetkeys", *_allowed(commands)]


def _allowed(commands: Iterable[str]) -> list[str]:
    return ["-@all", *(f"+{command}" for command in commands)]


def as_command(name: str, rules: Iterable[str]) -> str:
    """Return the line that makes the user, for ``redis-cli``."""
    return " ".join(["ACL", "SETUSER", *map(_quoted, [name, *rules])])


def as_acl_file(name: str, rules: Iterable[str]) -> str:
    """Return the line of a server's ``aclfile``."""
    return " ".join(["user", name, *rules])


def _quoted(text: str) -> str:
    if not any(letter in text for letter in "\"'"):
        return text
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
