"""What goes wrong at the server, classified once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import redis

from eventstore.errors import Fatal, Held, Retryable, StorageError

# Replies that somebody has to act on, by the first word of the error.
_HELD: dict[str, str] = {
    "OOM": "the server is out of memory: raise maxmemory or free some",
    "MISCONF": "the server can not persist to its disk: free space, or see its log",
    "NOAUTH": "the server wants a password: put it in the URL",
    "NOPERM": "this user lacks a permission: see docs/redis-layout.md for the commands and keys that are used",
    "WRONGPASS": "the user name or password is wrong: correct it in the URL",
}
_RETRYABLE: dict[str, str] = {
    "LOADING": "the server is loading its data",
    "MASTERDOWN": "the primary is down",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "a slot is being moved",
    "BUSY": "the server runs a long script",
    "READONLY": "this server is a replica",
    "NOREPLICAS": "too few replicas are in sync",
    "NOSCRIPT": "the server does not have the script; it is loaded again",
    "UNBLOCKED": "the server's role changed",
}


def classify(error: Exception, operation: str) -> StorageError:
    """Return `error`, which a driver call of `operation` raised, as one of ours: `Retryable`, `Held` or `Fatal`."""
    if isinstance(error, StorageError):
        return error
    text = str(error) or type(error).__name__
    # The driver takes the first word off some errors and makes a class of it.
    word = text.partition(" ")[0]
    by_class: dict[type[Exception], str] = {
        redis.exceptions.BusyLoadingError: "LOADING",
        redis.exceptions.ReadOnlyError: "READONLY",
        redis.exceptions.NoScriptError: "NOSCRIPT",
        redis.exceptions.OutOfMemoryError: "OOM",
        redis.exceptions.NoPermissionError: "NOPERM",
        redis.exceptions.AuthenticationError: "WRONGPASS",
    }
    for kind, name in by_class.items():
        if isinstance(error, kind):
            word = name
    if word in _HELD:
        return Held(f"{operation}: {_HELD[word]} ({text})")
    if word in _RETRYABLE:
        return Retryable(f"{operation}: {_RETRYABLE[word]} ({text})")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return Retryable(f"{operation}: the server can not be reached ({text})")
    if "OOM" in text.split()[:8]:  # inside a script: "... command not allowed when used memory > 'maxmemory'"
        return Held(f"{operation}: {_HELD['OOM']} ({text})")
    return Fatal(f"{operation}: the server refused it ({text})")


@contextlib.contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise the driver's errors inside as ours, naming `operation`."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise classify(error, operation) from error
