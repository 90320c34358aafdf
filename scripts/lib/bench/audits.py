"""How fast a log is replayed and verified. `scripts/bench audit` has more, and the memory that it takes."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.lib import bench_audit, long_log
from scripts.lib.bench.places import own_garbage, served
from scripts.lib.bench.rows import Figures, Row, Subject, Target
from scripts.lib.bench.sizes import Sizes

TURNS = 3
_FRAME = struct.Struct(">II")
_END = struct.Struct(">Q32s")


def blocks(directory: str) -> Iterator[bytes]:
    """The unpacked bytes of an archive, block by block, and nothing made of them. See `archive/segment.py`."""
    for path in sorted(Path(directory).rglob("*")):
        if not path.is_file() or not (data := path.read_bytes()).startswith(b"eventlog"):
            continue
        footer, _ = _END.unpack_from(data, len(data) - _END.size)
        at = len(b"eventlog")
        is_header = True
        while at < footer:
            size, _ = _FRAME.unpack_from(data, at)
            at += _FRAME.size
            if not is_header:
                yield zlib.decompress(data[at : at + size])
            is_header = False
            at += size


def read(directory: str) -> None:
    """Read and unpack, no more."""
    if not sum(len(block) for block in blocks(directory)):
        raise SystemExit("the archive is empty")


def read_and_hash(directory: str) -> None:
    """Read, unpack and hash as one text."""
    text = hashlib.blake2b(digest_size=32)
    for block in blocks(directory):
        text.update(block)


def measure(sizes: Sizes) -> Figures:
    """Entries a second of a log of the recorded sessions, each with its floor in turns."""
    with served() as place:
        long_log.write(place.url, sizes.entries, purge=True)
        archived = str(place.directory / "archive")
        at_server: dict[str, Callable[[], Any]] = {
            "server_replay_per_s": lambda: bench_audit.replay(place.url),
            "server_verify_per_s": lambda: bench_audit.verify_chain(place.url),
            "server_hash_per_s": lambda: bench_audit.read_and_hash(place.url),
            "server_read_per_s": lambda: bench_audit.read(place.url),
        }
        figures = _in_turns(at_server, sizes.entries)
        bench_audit.archive(place.url, archived)
        in_archive: dict[str, Callable[[], Any]] = {
            "archive_replay_per_s": lambda: bench_audit.replay(archived),
            "archive_verify_per_s": lambda: bench_audit.verify_chain(archived),
            "archive_hash_per_s": lambda: read_and_hash(archived),
            "archive_read_per_s": lambda: read(archived),
        }
        figures |= _in_turns(in_archive, sizes.entries)
        text = b"".join(blocks(archived))
        return figures | _in_turns({"bare_hash_per_s": lambda: hashlib.blake2b(text, digest_size=32)}, sizes.entries)


def _in_turns(works: dict[str, Callable[[], Any]], entries: int) -> Figures:
    took = dict.fromkeys(works, 0.0)
    for turn in range(TURNS):
        for name in sorted(works, reverse=turn % 2 == 1):
            with own_garbage():
                start = time.perf_counter()
                works[name]()
                took[name] += time.perf_counter() - start
    return {name: TURNS * entries / seconds for name, seconds in took.items()}


REPLAY = Subject(
    "replay",
    "Entries of a log, read back",
    (
        Row(
            "replayed into state, from the archive",
            "archive_replay_per_s",
            "archive_read_per_s",
            "only unpacked",
            "/s",
            Target(200_000, at_least=True),
        ),
        Row("replayed into state, from the server", "server_replay_per_s", "server_read_per_s", "only read", "/s"),
        Row(
            "chain verified, from the archive",
            "archive_verify_per_s",
            "bare_hash_per_s",
            "BLAKE2b, bytes in memory",
            "/s",
            Target(1 / 1.5, "ratio", at_least=True),
        ),
        Row(
            "chain verified, beside unpacking and hashing",
            "archive_verify_per_s",
            "archive_hash_per_s",
            "unpacked and hashed",
            "/s",
        ),
        Row("chain verified, from the server", "server_verify_per_s", "server_hash_per_s", "read and hashed", "/s"),
    ),
    measure,
)
