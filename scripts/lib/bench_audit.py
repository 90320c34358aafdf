"""The bench of the audit verbs: entries a second and peak memory, on a log of the recorded sessions played for months.

Each figure stands beside a floor of the same run: the same entries read and nothing done with them, or the same bytes
hashed. Everything is measured in a process of its own, for a tenth of the log's length and for all of it: the memory of
both should be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from eventstore import audit
from eventstore.audit.archive.archiver import Archiver
from eventstore.audit.archive.retention import Criterion
from eventstore.audit.log import Log
from eventstore.keys import Keys
from eventstore.storage.embedded import EmbeddedServer
from eventstore.storage.observer import observe
from scripts.lib import long_log
from scripts.lib.long_log import TRADER

PAGE = 1000
MB = 1_000_000

Figures = dict[str, float]


def peak_bytes() -> int:
    """The most memory that this process had at once."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measured(work: Callable[..., int], *arguments: Any) -> Figures:
    """Do `work`, which returns how many entries it was, and measure it. Runs in a process of its own."""
    start = time.perf_counter()
    entries = work(*arguments)
    return {"per_s": entries / (time.perf_counter() - start), "peak_mb": peak_bytes() / MB}


def alone(work: Callable[..., int], *arguments: Any) -> Figures:
    """As `measured`, in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measured, work, *arguments).result()


def _log(stack: ExitStack, place: str) -> Log:
    return stack.enter_context(audit.open_log(place, TRADER))


def read(url: str) -> int:
    """Only read, as the driver gives it: the floor of all that reads a log at a server."""
    entries, low = 0, b"-"
    with redis.Redis.from_url(url, protocol=2) as client:
        client.set_response_callback("XRANGE", lambda reply, **options: reply)
        while rows := client.xrange(Keys(TRADER).log, low, count=PAGE):
            entries += len(rows)  # type: ignore[arg-type] # no awaitable
            low = b"(" + rows[-1][0]  # type: ignore[index]
    return entries


def read_and_hash(url: str) -> int:
    """Read, and hash the bytes as one text: the floor of what verifies the chain."""
    entries, low, text = 0, b"-", hashlib.blake2b(digest_size=32)
    with redis.Redis.from_url(url, protocol=2) as client:
        client.set_response_callback("XRANGE", lambda reply, **options: reply)
        while rows := client.xrange(Keys(TRADER).log, low, count=PAGE):
            text.update(b"".join([fields[1] for _, fields in rows]))  # type: ignore[union-attr]
            entries += len(rows)  # type: ignore[arg-type]
            low = b"(" + rows[-1][0]  # type: ignore[index]
    return entries


def replay(place: str) -> int:
    """Fold the log into the state at its end, and build every object of it."""
    with ExitStack() as stack:
        state = audit.state_at(_log(stack, place))
        state.orders(), state.positions(), state.accounts(), state.strategies()
        return state.position


def verify_chain(place: str) -> int:
    """Verify the chain, and nothing else."""
    with ExitStack() as stack:
        log = _log(stack, place)
        report = audit.verify(log, views=False)
        if report.findings:
            raise SystemExit(f"the log does not verify: {report.findings[:3]}")
        return log.end().position


def verify(place: str) -> int:
    """Verify the chain, and the views."""
    with ExitStack() as stack:
        log = _log(stack, place)
        report = audit.verify(log)
        if report.findings:
            raise SystemExit(f"the log does not verify: {report.findings[:3]}")
        return log.end().position


def archive(url: str, directory: str) -> int:
    """Archive all but the last batch."""
    with observe(url) as observer:
        archiver = Archiver(directory, TRADER, observer.reader(TRADER), observer.trimmer(TRADER))
        return archiver.run(Criterion(keep_entries=1)).entries


def export(file_format: str, place: str, directory: str) -> int:
    """Export every table."""
    with ExitStack() as stack:
        log = _log(stack, place)
        audit.export(log, audit.TABLES, file_format, directory)
        return log.end().position


# what, figure, its floor
ROWS: list[tuple[str, str, str]] = [
    ("replayed into state, from the server, against only read", "replay", "read"),
    ("replayed into state, from the archive", "replay_archive", "read"),
    ("chain verified, from the server, against read and hashed", "verify_chain", "hash"),
    ("chain verified, from the archive", "verify_chain_archive", "hash"),
    ("chain and views verified", "verify", "hash"),
    ("exported, all tables, Parquet", "export_parquet", "read"),
    ("exported, all tables, JSON lines", "export_jsonl", "read"),
    ("archived: sealed, verified, trimmed", "archive", "read"),
]


def measure(entries: int, purge: bool) -> dict[str, Figures]:
    """Measure everything on a log of so many entries."""
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer.open(Path(directory) / "data") as server:
        long_log.write(server.url, entries, purge)
        archived = str(Path(directory) / "archive")
        figures = {
            "read": alone(read, server.url),
            "hash": alone(read_and_hash, server.url),
            "replay": alone(replay, server.url),
            "verify_chain": alone(verify_chain, server.url),
            "verify": alone(verify, server.url),
        }
        for file_format in ("parquet", "jsonl"):
            to = str(Path(directory) / file_format)
            figures[f"export_{file_format}"] = alone(export, file_format, server.url, to)
        figures["archive"] = alone(archive, server.url, archived)
        figures["replay_archive"] = alone(replay, archived)
        figures["verify_chain_archive"] = alone(verify_chain, archived)
    return figures


def show(lengths: list[int], runs: list[list[dict[str, Figures]]]) -> None:
    """Print the medians for people: for each length, entries a second, the ratio to the floor, and peak memory."""
    table = Table(title=f"entries a second, medians of {len(runs)} runs")
    table.add_column()
    for entries in lengths:
        for name in (f"{entries:,} entries", "floor", "ratio", "peak"):
            table.add_column(name, justify="right")
    for what, figure, floor in ROWS:
        cells = [what]
        for i in range(len(lengths)):
            each = [run[i] for run in runs]
            cells += [
                f"{statistics.median(run[figure]['per_s'] for run in each):,.0f}",
                f"{statistics.median(run[floor]['per_s'] for run in each):,.0f}",
                f"{statistics.median(run[figure]['per_s'] / run[floor]['per_s'] for run in each):.2f}",
                f"{statistics.median(run[figure]['peak_mb'] for run in each):,.0f} MB",
            ]
        table.add_row(*cells)
    Console(width=190).print(table)


def main() -> None:
    """Run the bench as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--no-purge", action="store_true", help="nothing that is closed is purged: the state grows")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    lengths = [arguments.entries // 10, arguments.entries]
    runs = [[measure(entries, not arguments.no_purge) for entries in lengths] for _ in range(arguments.repeat)]
    if arguments.json:
        print(json.dumps({"entries": lengths, "runs": runs}, indent=2))
    else:
        show(lengths, runs)


if __name__ == "__main__":
    main()
