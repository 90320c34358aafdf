"""What went over a connection to a server, cut into the requests that it was made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tests.support.fault_proxy import Traffic, Way

_FIRST, _LAST = 6, 7
"""Where the arguments of EVALSHA have a batch's first and last position; see ``append.lua``."""


class Sent(NamedTuple):
    """A batch that reached the server whole, and its bytes."""

    first: int
    last: int
    request: bytes


def requests(stream: bytes) -> list[tuple[bytes, list[bytes]]]:
    """The requests in `stream`, each as its bytes and its arguments. What broke off at the end is left out."""
    found = []
    at = 0
    while at < len(stream):
        begin = at
        try:
            at, count = _number(stream, at, b"*")
            arguments = []
            for _ in range(count):
                at, size = _number(stream, at, b"$")
                if at + size + 2 > len(stream):
                    return found
                arguments.append(stream[at : at + size])
                at += size + 2
        except IndexError:
            return found
        found.append((stream[begin:at], arguments))
    return found


def _number(stream: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = stream.find(b"\r\n", at)
    if end < 0:
        raise IndexError
    assert stream[at : at + 1] == mark, f"no request at byte {at}"
    return end + 2, int(stream[at + 1 : end])


def batches(connections: Iterable[Traffic]) -> list[Sent]:
    """The batches that reached the server, in the order of the connections."""
    return [
        Sent(int(arguments[_FIRST]), int(arguments[_LAST]), request)
        for traffic in connections
        for request, arguments in requests(traffic.went(Way.TO_SERVER))
        if arguments[0] == b"EVALSHA"
    ]


def answers(connections: Iterable[Traffic], word: str) -> int:
    """How often the server answered `word` to a batch."""
    reply = b"\r\n%s\r\n" % word.encode()
    return sum(traffic.went(Way.TO_CLIENT).count(reply) for traffic in connections)
