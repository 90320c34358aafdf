"""Nodes in processes of their own, forked from one that has everything imported: driven over a socket, and killed.

Of each call that returned a node says so at once, in one byte: what it said outlives it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eventstore import commands as c
from eventstore.database import RedisCacheDatabase
from eventstore.errors import BacklogFull
from eventstore.model.identifiers import ComponentId, PositionId
from tests.support.databases import open_database
from tests.support.processes import ROOT

PATIENCE_S = 30.0
FLUSH = 0
"""The number of a call that flushes. All others begin with 1."""

_ZYGOTE = "import sys; from tests.support.forked_nodes import breed; breed(int(sys.argv[1]))"
_ACCEPTED, _REFUSED = b"+", b"-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- The calls -------------------------------------------------------------------------------------------------------


def command_of(number: int) -> c.Command:
    """What call `number` has to become. Applied twice, or in another order, some of them leave other views."""
    if number == FLUSH:
        return c.Flushed(0, b"")
    match number % 12:
        case 0 | 4 | 8:  # one life more of the position
            return c.WritePosition(f"P-{number % 5}", 0, number % 2 == 0, [b"fill %d" % number], b"basis")
        case 1:
            return c.AddOrder(f"O-{number % 3}", 0, 1, number % 2 == 0, [b"init %d" % number], None, None, None)
        case 2:
            return c.UpdateActor("Actor-1", b"state %d" % number)
        case 5:
            return c.DeleteActor("Actor-1")
        case 7:
            return c.Heartbeat(number * 1000)
        case 10 if number % 5 == 0:
            return c.DeletePosition(f"P-{number % 4}")
        case _:
            return c.Add(f"key-{number % 20}", b"%d" % number + bytes(2500 * (number % 9 == 3)))


def make_call(database: RedisCacheDatabase, number: int) -> None:
    """Make the call that becomes `command_of` that number."""
    command = command_of(number)
    match command:
        case c.Add():
            database.add(command.key, command.value)
        case c.Heartbeat():
            database.heartbeat(_EPOCH + timedelta(microseconds=command.timestamp // 1000))
        case c.DeleteActor():
            database.delete_actor(ComponentId(command.component_id))
        case c.DeletePosition():
            database.delete_position(PositionId(command.position_id))
        case _:  # as the verb does once it has checked; of a flush, without the wait
            database._persister.accept("call", str(command[0]), type(command), tuple(command))


# -- In the node -----------------------------------------------------------------------------------------------------


class _Lines:
    """A logger that writes into a file at once."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115 - for as long as the process lives
        faulthandler.enable(self._file)

    def bind(self, **_: Any) -> Self:
        return self

    def info(self, event: str, **values: Any) -> None:
        self._file.write(f"{time.monotonic():.3f} {os.getpid()} {event} {values}\n")

    debug = warning = error = critical = info


def _serve(line: socket.socket) -> None:
    """Do what is asked for, one thing after the other, until the other side is gone."""
    node = _Node(line)
    for text in line.makefile("rb"):
        request = json.loads(text)
        verb = request.pop("verb")
        try:
            answer = getattr(node, verb)(**request)
        except Exception as error:  # noqa: BLE001 - the other side knows which are right
            cause = error if error.__cause__ is None else error.__cause__
            answer = {
                "error": type(error).__name__,
                "cause": type(cause).__name__,
                "text": "".join(traceback.format_exception(error)),
                "first": getattr(cause, "first", None),
                "last": getattr(cause, "last", None),
            }
        line.sendall(json.dumps(answer).encode() + b"\n")


class _Node:
    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._database: RedisCacheDatabase | None = None

    @property
    def database(self) -> RedisCacheDatabase:
        assert self._database is not None
        return self._database

    def open(self, url: str, log: str, settings: dict[str, Any]) -> dict[str, Any]:
        self._database = open_database(url, logger=_Lines(log), **settings)
        return {"opened_at": self.database._persister._opened_at, "epoch": self.database.stats().epoch}

    def call(self, first: int, count: int) -> dict[str, Any]:
        for number in range(first, first + count):
            try:
                make_call(self.database, number)
            except BacklogFull:
                self._line.sendall(_REFUSED)
            else:
                self._line.sendall(_ACCEPTED)
        return {"accepted": self.database.stats().accepted}

    def sync(self, level: str) -> dict[str, Any]:
        return {"position": self.database.sync(PATIENCE_S, level)}  # type: ignore[arg-type]  # one of them

    def load(self) -> dict[str, Any]:
        """Two views, in two loads."""
        general = {key: value.hex() for key, value in self.database.load().items()}
        return {"general": general, "positions": sorted(self.database.load_position_ids())}

    def close(self, timeout_s: float) -> dict[str, Any]:
        return {"not_written": self.database.close(timeout_s)}


def breed(descriptor: int) -> None:
    """Fork a node for each socket that comes through the socket `descriptor`, and say its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead leave nothing behind
    with socket.socket(fileno=descriptor) as line:
        while True:
            _, sockets, _, _ = socket.recv_fds(line, 1, 1)
            if not sockets:
                return
            pid = os.fork()
            if pid == 0:
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    line.close()
                    with socket.socket(fileno=sockets[0]) as own, contextlib.suppress(ConnectionError):
                        _serve(own)
                finally:
                    os._exit(0)
            os.close(sockets[0])
            line.sendall(pid.to_bytes(4, "big"))


# -- Where the nodes are driven --------------------------------------------------------------------------------------


class Zygote:
    """A process that forks nodes."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ZYGOTE, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )
        theirs.close()

    def fork(self) -> Node:
        """Return a new node, which has nothing open."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self._line, [b"."], [theirs.fileno()])
        theirs.close()
        return Node(int.from_bytes(self._line.recv(4), "big"), ours)

    def close(self) -> None:
        self._line.close()
        self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Node:
    """A node that was forked. It is asked one thing at a time."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.verdicts: list[bool] = []
        """Of each call of the last `call` that returned: whether it was accepted."""
        self._line = line
        self._process = os.pidfd_open(pid)
        self._heard = b""
        self._answers: list[dict[str, Any]] = []

    def ask(self, verb: str, **arguments: Any) -> None:
        """Send a request; `answer` has to be called before the next one."""
        self.verdicts = []
        self._line.sendall(json.dumps({"verb": verb, **arguments}, default=str).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """Wait for what it answers."""
        deadline = time.monotonic() + PATIENCE_S + 5
        while not self._answers:
            if not self.listen(deadline - time.monotonic()):
                signal.pidfd_send_signal(self._process, signal.SIGABRT)  # it tells its log where it hangs
                raise AssertionError("a node died, or did not answer in time: see what it logged")
        return self._answers.pop()

    def answered(self) -> bool:
        """Whether the answer is there."""
        return bool(self._answers)

    def listen(self, timeout_s: float) -> bool:
        """Wait for anything it says; return whether it said something."""
        if not select.select([self._line], [], [], max(timeout_s, 0))[0]:
            return False
        try:
            said = self._line.recv(65_536)
        except ConnectionError:
            return False
        self._hear(said)
        return bool(said)

    def wait_for_calls(self, count: int) -> None:
        """Wait until so many calls have returned, or all that it was asked for."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.verdicts) < count and not self._answers:
            assert self.listen(deadline - time.monotonic()), "a call does not return"

    def kill(self) -> None:
        """Kill it with SIGKILL, wait for its end, and hear what it had said."""
        signal.pidfd_send_signal(self._process, signal.SIGKILL)
        assert select.select([self._process], [], [], PATIENCE_S)[0], "it survives SIGKILL"
        while self.listen(0):
            pass
        self._release()

    def end(self) -> None:
        """Let it end, with whatever it has open."""
        self._line.shutdown(socket.SHUT_WR)
        assert select.select([self._process], [], [], PATIENCE_S)[0], "it does not end"
        self._release()

    @property
    def ended(self) -> bool:
        """Whether `kill` or `end` was called."""
        return self._line.fileno() < 0

    def _release(self) -> None:
        self._line.close()
        os.close(self._process)

    def _hear(self, said: bytes) -> None:
        self._heard += said
        while self._heard:
            if self._heard[:1] in (_ACCEPTED, _REFUSED):
                self.verdicts.append(self._heard[:1] == _ACCEPTED)
                self._heard = self._heard[1:]
                continue
            text, end, rest = self._heard.partition(b"\n")
            if not end:
                return
            self._answers.append(json.loads(text))
            self._heard = rest
