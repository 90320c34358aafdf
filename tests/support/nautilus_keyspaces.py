"""Keyspaces that real NautilusTrader wrote, recorded by scripts/record-nautilus, put into a server as they were."""

from __future__ import annotations

import base64
import copy
import functools
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from eventstore.importing.importer import Outcome, import_keyspace
from eventstore.storage.nautilus import nautilus_server
from tests.support.processes import ROOT

DIRECTORY = ROOT / "tests" / "data" / "nautilus"
PATHS = sorted(DIRECTORY.glob("*.json.gz"))
NAMES = [path.name.removesuffix(".json.gz") for path in PATHS]
TRADER = "TRADER-001"
POSITION = "AUD/USD.SIM-Scripted-001"
STRATEGY = "Scripted-001"

Document = dict[str, Any]


@functools.cache
def _read(name: str) -> Document:
    document: Document = json.loads(gzip.decompress((DIRECTORY / f"{name}.json.gz").read_bytes()))
    return document


def recorded(name: str) -> Document:
    """A copy of the recording: `keys` by name, each with `type` and `value`; and `loaded`, NautilusTrader's own."""
    return copy.deepcopy(_read(name))


def prefix(document: Document) -> str:
    """What the names of the keys begin with."""
    return str(next(key for key in document["keys"] if key.endswith(":index:orders"))).removesuffix(":index:orders")


def log_id(document: Document) -> str:
    """What the log is named after that the keyspace becomes."""
    return prefix(document).removeprefix("trader-")


def decoded(value: str) -> bytes:
    return base64.b64decode(value)


def restore(client: Redis, document: Document) -> None:
    """Put the keys into a server."""
    pipeline = client.pipeline(transaction=False)
    for key, each in document["keys"].items():
        put(pipeline, key, each)
    pipeline.execute()


def put(client: Any, key: str, each: Mapping[str, Any]) -> None:
    value = each["value"]
    if each["type"] == "string":
        client.set(key, decoded(value))
    elif each["type"] == "list":
        client.rpush(key, *map(decoded, value))
    elif each["type"] == "set":
        client.sadd(key, *map(decoded, value))
    else:
        client.hset(key, mapping={name: decoded(each) for name, each in value.items()})


class Quiet:
    """A watch of an import that shows nothing."""

    def advance(self, count: int = 1) -> None:
        pass


@contextmanager
def quiet(what: str, total: int | None = None) -> Iterator[Quiet]:
    yield Quiet()


def bring(
    source: str, to: str | Path, dry_run: bool = False, watch: Any = quiet, is_net: bool | None = None
) -> Outcome:
    """Import the only keyspace of `source`, in this process."""
    with nautilus_server(source) as server:
        (keyspace,) = server.keyspaces()
        return import_keyspace(server, keyspace, str(to), dry_run, watch, is_net)
