"""Anchors: chain heads that are noted somewhere else, so that a log can be held against them later.

A file of anchors has one JSON object a line. What each line says is in docs/audit.md.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from eventstore.audit.log import Log
from eventstore.chain import CHAIN_BYTES
from eventstore.errors import AuditError
from eventstore.journal.files import sync_directory
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import TraderId

FORMAT: Final = 1
KEY: Final = "public_key"
SIGNATURE: Final = "signature"


class Anchor(NamedTuple):
    """What the log of a trader was at one moment.

    Attributes
    ----------
    trader_id : TraderId
    position : int
        Where it ended.
    chain : bytes
        The chain head there.
    entry_id : str
        The last entry; ``0-0`` if there was none.
    accepted_ms : int
        When that was accepted, UNIX milliseconds.
    made_ns : int
        When this was noted, UNIX nanoseconds.
    host : str
        Where.
    library : str
        The version of this library.
    """

    trader_id: TraderId
    position: int
    chain: bytes
    entry_id: str
    accepted_ms: int
    made_ns: int
    host: str
    library: str

    def described(self) -> dict[str, Any]:
        """Return it as it is written, without a signature."""
        return {"format": FORMAT} | self._asdict() | {"trader_id": str(self.trader_id), "chain": self.chain.hex()}


class Noted(NamedTuple):
    """A line of a file of anchors."""

    anchor: Anchor
    path: Path
    line: int
    said: dict[str, Any]
    """All that the line says, a signature included."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def anchor(log: Log) -> Anchor:
    """Return where the log ends now, to be noted. It is not verified.

    Raises
    ------
    AuditError
        If the log has no entry.
    """
    fence = None if log.stream is None else log.stream.fence()
    if fence is not None:
        position, chain, entry_id = fence.position, fence.chain, fence.last_id
    else:
        position, chain = log.end()
        entry_id = next((entry.entry_id for entry in log.raw(position - 1)), "0-0") if position else "0-0"
    if position == 0:
        raise AuditError(f"the log of {log.trader_id} is empty: there is nothing to note")
    return Anchor(
        log.trader_id,
        position,
        chain,
        entry_id,
        int(entry_id.partition("-")[0]),
        time.time_ns(),
        socket.gethostname(),
        importlib.metadata.version("eventstore"),
    )


def canonical(said: dict[str, Any]) -> bytes:
    """Return the bytes that are signed: all that a line says but the signature."""
    rest = {name: value for name, value in said.items() if name != SIGNATURE}
    return b"eventstore anchor\n" + json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def append_anchor(path: str | Path, said: dict[str, Any]) -> None:
    """Add a line to a file of anchors, which is made if there is none, and wait until it is on the disk.

    Raises
    ------
    AuditError
        If the file can not be written.
    """
    path = Path(path)
    line = json.dumps(said).encode() + b"\n"
    try:
        is_new = not path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with open(os.open(path, flags, 0o644), "r+b", buffering=0) as file:  # noqa: PTH123
            end = file.seek(0, os.SEEK_END)
            if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                line = b"\n" + line  # somebody's write was cut off; that line will be named when the file is read
            file.write(line)
            os.fsync(file.fileno())
        if is_new:
            sync_directory(path.absolute().parent)
    except OSError as error:
        raise AuditError(f"write the anchor to {path}: {error}") from error


def read_anchors(
    path: str | Path, trader_id: TraderId, check: Callable[[Noted], None] = lambda noted: None
) -> list[Noted]:
    """Return the anchors of a trader in a file, in the order of the file; what there is of others is left out.

    Parameters
    ----------
    check : callable
        Raises `AuditError` for an anchor that is not to be trusted.

    Raises
    ------
    AuditError
        If the file can not be read, a line is no anchor, or there is none of this trader.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise AuditError(f"read the anchors in {path}: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            noted = _noted(path, number, line)
            if noted.anchor.trader_id == trader_id:
                check(noted)
                found.append(noted)
    if not found:
        raise AuditError(f"{path} has no anchor of {trader_id}")
    return found


def _noted(path: Path, number: int, line: bytes) -> Noted:
    try:
        said = json.loads(line)
        if not isinstance(said, dict):
            raise TypeError("no object")
        if type(said["format"]) is not int or said["format"] != FORMAT:
            raise ValueError(f"format {said['format']!r:.20} is not known to this version of the library; upgrade it")
        made = Anchor(
            TraderId(said["trader_id"]),
            said["position"],
            bytes.fromhex(said["chain"]),
            said["entry_id"],
            said["accepted_ms"],
            said["made_ns"],
            said["host"],
            said["library"],
        )
        numbers = (made.position, made.accepted_ms, made.made_ns)
        if any(type(value) is not int or value < 0 for value in numbers) or len(made.chain) != CHAIN_BYTES:
            raise ValueError("a number or the chain head is not one")
    except (KeyError, TypeError, ValueError, ModelError, RecursionError) as error:
        raise AuditError(
            f"{path}:{number}: not an anchor ({error!r:.200}): the file was changed, or is another"
        ) from error
    return Noted(made, path, number, said)
