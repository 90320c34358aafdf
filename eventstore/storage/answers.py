"""Reads what a script answers off a connection's socket: arrays, texts and errors of RESP2.

The driver takes longer to read the nineteen bytes that nearly all answers are than the server to write a small batch.
"""

from __future__ import annotations

import socket
from typing import Any

import redis

_APPLIED = b"*1\r\n$7\r\napplied\r\n"
_CHUNK = 1 << 12


class Answers:
    """What comes in on `line`, answer by answer, as long as nobody else reads there."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._data = b""

    def next(self) -> Any:
        """Wait for an answer and return it.

        Raises
        ------
        redis.RedisError
            What the answer says, if it is an error. If the connection was closed, or what comes is not RESP2.
        OSError
            If nothing comes within the timeout of the socket, or the connection is broken.
        """
        if not self._data:
            self._read_on()
        if self._data.startswith(_APPLIED):
            self._data = self._data[len(_APPLIED) :]
            return [b"applied"]
        return self._value()

    def _value(self) -> Any:
        while b"\r\n" not in self._data:
            self._read_on()
        head, _, self._data = self._data.partition(b"\r\n")
        kind, said = head[:1], head[1:].decode(errors="replace")
        if kind == b"-":
            raise redis.ResponseError(said.removeprefix("ERR "))
        if kind == b"*":
            return [self._value() for _ in range(int(said))]
        if kind == b"$":
            size = int(said)
            while len(self._data) < size + 2:
                self._read_on()
            value, self._data = self._data[:size], self._data[size + 2 :]
            return value
        raise redis.InvalidResponse(f"a script answered {head!r:.100}")

    def _read_on(self) -> None:
        data = self._line.recv(_CHUNK)
        if not data:
            raise redis.ConnectionError("the server closed the connection")
        self._data += data
