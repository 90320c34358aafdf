"""A proxy between a client and a server that loses connections where a test says so, to the byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_CHUNK = 65_536
_PATIENCE_S = 30.0


class Way(Enum):
    """Which way bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Fault(Enum):
    """What happens behind the last byte that gets through."""

    CUT = "both sides see the connection end; what was on its way the other way is lost, too"
    LATE = "the connection stays, and what it carries arrives after `FaultProxy.release` only"


class Plan(NamedTuple):
    """A fault, and the number of bytes that go that way, over all connections, before it happens."""

    way: Way
    after: int
    fault: Fault = Fault.CUT


class Traffic:
    """What got through over one connection, each way; for a proxy that keeps it."""

    def __init__(self) -> None:
        self._parts: dict[Way, list[bytes]] = {way: [] for way in Way}
        self._cut = False

    def note(self, way: Way, part: bytes) -> None:
        if not self._cut:
            self._parts[way].append(part)

    def cut(self) -> None:
        """Nothing gets through from here on."""
        self._cut = True

    def went(self, way: Way) -> bytes:
        return b"".join(self._parts[way])


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to the unix socket `server`.

    What `arm` was given happens, one fault after the other; bytes are counted from the fault before, or from `arm`.
    After the last one everything gets through. With `keep`, `connections` has what got through, in the order in which
    the connections were made.
    """

    def __init__(self, server: Path, *, keep: bool = False) -> None:
        self._server = server
        self._keep = keep
        self.connections: list[Traffic] = []
        self._lock = threading.Lock()
        self._plans: deque[Plan] = deque()
        self._passed = 0
        self._release = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._happened = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._listen)

    @property
    def happened(self) -> int:
        """Faults that happened."""
        with self._lock:
            return self._happened

    def arm(self, plans: Iterable[Plan]) -> None:
        """Let `plans` happen from now on, instead of what is left of earlier ones."""
        with self._lock:
            self._plans = deque(plans)
            self._passed = 0
            self._release.clear()

    def release(self) -> None:
        """Let what is late arrive."""
        self._release.set()

    def point_at(self, server: Path) -> None:
        """Pass new connections on to `server`. Those that there are stay where they are."""
        with self._lock:
            self._server = server

    def drain(self) -> None:
        """Wait until every connection has come to its end at the server, too. The clients have closed theirs."""
        with self._lock:
            pumps = self._threads[1:]
        for thread in pumps:
            thread.join(_PATIENCE_S)
            assert not thread.is_alive(), "a connection does not end"

    def close(self) -> None:
        """End every connection and thread."""
        self._release.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            _end(each)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
            assert not thread.is_alive(), "a thread of the proxy hangs"
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="fault-proxy")
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                path = str(self._server)
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(path)
            except OSError:
                client.close()
                server.close()
                continue
            left = [2]  # pumps that still use the two sockets
            traffic = Traffic()
            with self._lock:
                if self._keep:
                    self.connections.append(traffic)
                self._sockets |= {client, server}
                self._spawn(self._pump, client, server, Way.TO_SERVER, left, traffic)
                self._spawn(self._pump, server, client, Way.TO_CLIENT, left, traffic)

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way, left: list[int], traffic: Traffic) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                for part, fault in self._parts(way, data):
                    if self._keep:
                        traffic.note(way, part)
                    self._pass_on(part, sink, way)
                    if fault is Fault.CUT:
                        traffic.cut()
                        _end(source)
                        _end(sink)
                    elif fault is Fault.LATE:
                        self._release.wait(_PATIENCE_S)
        with contextlib.suppress(OSError):
            # The server has read and answered all that was sent when it closes its side: that ends the other pump.
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            left[0] -= 1
            if not left[0]:
                self._sockets -= {source, sink}
                source.close()
                sink.close()

    @staticmethod
    def _pass_on(part: bytes, sink: socket.socket, way: Way) -> None:
        try:
            sink.sendall(part)
        except OSError:
            if way is Way.TO_SERVER:
                raise
            # The client is gone. What it sent before goes on to arrive, so the server's answers are read.

    def _parts(self, way: Way, data: bytes) -> list[tuple[bytes, Fault | None]]:
        """`data` in the pieces between which something happens."""
        parts: list[tuple[bytes, Fault | None]] = []
        with self._lock:
            while self._plans and self._plans[0].way is way and self._passed + len(data) >= self._plans[0].after:
                count = self._plans[0].after - self._passed
                parts.append((data[:count], self._plans.popleft().fault))
                self._passed = 0
                self._happened += 1
                data = data[count:]
                if parts[-1][1] is Fault.CUT:
                    return parts
            if self._plans and self._plans[0].way is way:
                self._passed += len(data)
        return [*parts, (data, None)]


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
