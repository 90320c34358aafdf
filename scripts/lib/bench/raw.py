"""The bytes that a writer sends, recorded on their way to the server, and sent again over a bare socket.

So the ceiling has the identical requests with as many of them in flight, whatever the library makes them of.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis

from scripts.lib.bench.places import Place

IN_FLIGHT = 2
APPLIED = b"*1\r\n$7\r\napplied\r\n"
_CHUNK = 1 << 18
# What an opening writes; what it merely asks is not sent again.
_WRITES = (b"EVAL", b"EVALSHA", b"SCRIPT", b"HSET", b"HSETNX")


def split(stream: bytes) -> list[bytes]:
    """The requests in `stream`, each as it was sent; one that is not whole is left out."""
    requests = []
    at = 0
    while at < len(stream):
        try:
            end = _end(stream, at)
        except ValueError:  # a line that has not come whole
            break
        if end > len(stream):
            break
        requests.append(stream[at:end])
        at = end
    return requests


def _end(stream: bytes, at: int) -> int:
    """Where the request at `at` ends: an array of bulk strings."""
    end = stream.index(b"\r\n", at) + 2
    for _ in range(int(stream[at + 1 : end - 2])):
        line = stream.index(b"\r\n", end) + 2
        end = line + int(stream[end + 1 : line - 2]) + 2
    return end


def words(request: bytes, count: int) -> list[bytes]:
    """The first words of a request."""
    found: list[bytes] = []
    at = request.index(b"\r\n") + 2
    while len(found) < count and at < len(request):
        line = request.index(b"\r\n", at) + 2
        size = int(request[at + 1 : line - 2])
        found.append(request[line : line + size])
        at = line + size + 2
    return found


class Recording:
    """What a writer has sent: what made it the writer, and its batches."""

    def __init__(self, url: str) -> None:
        self.url = url
        """Where a database that is recorded connects to."""
        self._streams: list[bytearray] = []
        self.opening: list[bytes] = []
        self.batches: list[bytes] = []

    def _note(self, stream: bytearray) -> None:
        self._streams.append(stream)

    def finish(self) -> None:
        """Sort what was sent: the script that was called most often is the one that appends."""
        requests = [request for stream in self._streams for request in split(bytes(stream))]
        named = [(words(request, 2), request) for request in requests]
        called = Counter(each[1] for each, _ in named if each[0].upper() == b"EVALSHA")
        if not called:
            raise SystemExit("nothing was recorded that appends to a log")
        appending = called.most_common(1)[0][0]
        for each, request in named:
            if each[0].upper() == b"EVALSHA" and each[1] == appending:
                self.batches.append(request)
            elif each[0].upper() in _WRITES:
                self.opening.append(request)

    def _open(self, place: Place) -> socket.socket:
        """A bare connection to an empty server at which the recorded writer has just become the writer."""
        with place.client() as client:
            connection = client.connection_pool.get_connection()
            # By kind: what claims and loads scripts was sent over several connections, before all batches.
            for request in sorted(self.opening, key=lambda each: words(each, 1)[0] not in (b"SCRIPT", b"EVAL")):
                connection.send_packed_command([request])
                with suppress(redis.ResponseError):
                    connection.read_response()
            client.connection_pool.release(connection)
        line = socket.socket(socket.AF_UNIX)
        line.connect(place.url.removeprefix("unix://"))
        return line

    def blast(self, place: Place) -> float:
        """Send all batches, two in flight, see that each is applied, and return the seconds that it took."""
        with self._open(place) as line:
            answers = _Answers(line)
            start = time.perf_counter()
            for sent, batch in enumerate(self.batches):
                answers.wait(sent + 1 - IN_FLIGHT)
                line.sendall(batch)
            answers.wait(len(self.batches))
            took = time.perf_counter() - start
        place.wipe()
        return took

    def paced(self, place: Place, seconds: float) -> float:
        """Send all batches evenly over so many seconds, and return the per cent of a core that this thread took."""
        with self._open(place) as line:
            answers = _Answers(line)
            step_s = seconds / len(self.batches)
            start, begun_s = time.perf_counter(), time.thread_time()
            for sent, batch in enumerate(self.batches):
                ahead_s = start + sent * step_s - time.perf_counter()
                if ahead_s > 0:
                    time.sleep(ahead_s)
                line.sendall(batch)
                answers.wait(sent + 1)
            share = 100 * (time.thread_time() - begun_s) / (time.perf_counter() - start)
        place.wipe()
        return share


class _Answers:
    """Counts the batches that were applied. Any other answer ends the bench."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._bytes = 0

    def wait(self, count: int) -> None:
        """Wait until so many are applied."""
        while self._bytes < count * len(APPLIED):
            got = self._line.recv(_CHUNK)
            at = self._bytes % len(APPLIED)
            if not got or not (APPLIED * (len(got) // len(APPLIED) + 2)).startswith(got, at):
                raise SystemExit(f"a batch was not applied: {got[:200]!r}")
            self._bytes += len(got)


@contextmanager
def recorded(place: Place) -> Iterator[Recording]:
    """A way to the server that records what is sent; whole once the block is left."""
    path = place.directory / "recorded.sock"
    recording = Recording(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        acceptor = threading.Thread(target=_accept, args=(listening, place, recording), daemon=True)
        acceptor.start()
        yield recording
        listening.shutdown(socket.SHUT_RDWR)
        acceptor.join()
    path.unlink()
    recording.finish()


def _accept(listening: socket.socket, place: Place, recording: Recording) -> None:
    pumps: list[threading.Thread] = []
    while True:
        try:
            near, _ = listening.accept()
        except OSError:
            break
        far = socket.socket(socket.AF_UNIX)
        far.connect(place.url.removeprefix("unix://"))
        sent = bytearray()
        recording._note(sent)
        for source, to, kept in ((near, far, sent), (far, near, None)):
            pump = threading.Thread(target=_pump, args=(source, to, kept), daemon=True)
            pump.start()
            pumps.append(pump)
    for pump in pumps:
        pump.join()


def _pump(source: socket.socket, to: socket.socket, kept: bytearray | None) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            if kept is not None:
                kept += data
            to.sendall(data)
    for each in (source, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
