"""What goes wrong at the server, classified once."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import redis

from eventstore.errors import Fatal, Held, Retryable, StorageError
from eventstore.storage.credentials import NoCredentials

# Replies that somebody has to act on, by the first word of the error.
_HELD: dict[str, str] = {
    "OOM": "the server is out of memory: raise maxmemory or free some",
    "MISCONF": "the server can not persist to its disk: free space, or see its log",
    "NOAUTH": "the server wants a password: put it in the URL",
    "NOCREDENTIALS": "user name and password can not be had: see to the credentials_file, or the program's own",
    "NOPERM": "this user lacks a permission: see docs/redis-layout.md for the commands and keys that are used",
    "WRONGPASS": "the user name or password is wrong: correct it in the URL",
    "NOAOF": "the append-only file is off: set appendonly yes at the server, or ask for another durability",
    "NOWAITAOF": "the server does not know WAITAOF: use Redis 7.2, Valkey, or newer, or ask for another durability",
}
_RETRYABLE: dict[str, str] = {
    "LOADING": "the server is loading its data",
    "MASTERDOWN": "the primary is down",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "a slot is being moved",
    "ASK": "a slot is being moved",
    "MOVED": "the slot is at another node",
    "BUSY": "the server runs a long script",
    "READONLY": "this server is a replica",
    "NOREPLICAS": "too few replicas are in sync",
    "NOSCRIPT": "the server does not have the script; it is loaded again",
    "UNBLOCKED": "the server's role changed",
    "KILLED": "somebody killed the script; it had written nothing",
}

# The driver takes the first word off some errors and makes a class of it. The first class that fits counts.
_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (redis.exceptions.BusyLoadingError, "LOADING"),
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.NoScriptError, "NOSCRIPT"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
    (redis.exceptions.MovedError, "MOVED"),
    (redis.exceptions.AskError, "ASK"),  # of which the other is a kind
    (NoCredentials, "NOCREDENTIALS"),  # of which the next one is the root
    (redis.exceptions.AuthenticationError, "WRONGPASS"),
)
# Redis 6.2 says "Error running script (call to f_<sha>): @user_script:1: @user_script: 1: -OOM command not allowed".
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -([A-Z]+) ")
_IN_PIPELINE = " of pipeline caused error: "
# What has no first word of its own, or lost it; servers differ in how they begin a sentence.
_BY_TEXT: tuple[tuple[str, str], ...] = (
    ("The user executing the script can't", "NOPERM"),  # Redis 6.2 and 7.0
    ("ACL failure in script", "NOPERM"),  # newer ones, and Valkey
    ("Script killed by user", "KILLED"),
    ("attempted to access a non local key", "TRYAGAIN"),  # inside a script, where a slot is being moved
    ("while the cluster is down", "CLUSTERDOWN"),  # inside a script
    ("Authentication required", "NOAUTH"),
    ("must be called with the client already authenticated", "NOAUTH"),
    ("WAITAOF cannot be used when numlocal is set but appendonly is disabled", "NOAOF"),
    ("unknown command 'WAITAOF'", "NOWAITAOF"),
    ("unknown command `WAITAOF`", "NOWAITAOF"),  # Redis 6.2
    ("cannot be used with replica instances", "READONLY"),  # WAIT and WAITAOF
)


def classify(error: Exception, operation: str) -> StorageError:
    """Return `error`, which a driver call of `operation` raised, as one of ours: `Retryable`, `Held` or `Fatal`."""
    if isinstance(error, StorageError):
        return error
    text = str(error) or type(error).__name__
    word = word_of(error)
    if word in _HELD:
        return Held(f"{operation}: {_HELD[word]} ({text})")
    if word in _RETRYABLE:
        return Retryable(f"{operation}: {_RETRYABLE[word]} ({text})")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        # The driver says of a handshake that nobody answered what it says of a connection.
        if "handshake operation timed out" in str(error.__context__):
            text += "; it may not speak TLS at that port, as rediss:// asks it to"
        return Retryable(f"{operation}: the server can not be reached: start it, or correct the URL ({text})")
    return Fatal(f"{operation}: the server refused it ({text})")


def word_of(error: Exception) -> str:
    """Return the word that the reply began with, such as ``READONLY``, wherever server and driver left it."""
    text = str(error)
    if (inside := _IN_SCRIPT.search(text)) is not None:
        return inside[1]
    lowered = text.lower()
    for part, word in _BY_TEXT:
        if part.lower() in lowered:
            return word
    for kind, word in _BY_CLASS:
        if isinstance(error, kind):
            return word
    # In a pipeline the driver puts the command before the reply.
    return text.rpartition(_IN_PIPELINE)[2].partition(" ")[0]


@contextlib.contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise the driver's errors inside as ours, naming `operation`."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise classify(error, operation) from error
