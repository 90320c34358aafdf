"""Answers of a script: each is read whole, in whatever pieces the bytes come."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from eventstore.storage.answers import Answers

TEXTS = st.binary(max_size=30)


def said(answer: list[bytes] | str) -> bytes:
    """How a server says `answer`; text is an error."""
    if isinstance(answer, str):
        return f"-{answer}\r\n".encode()
    return b"*%d\r\n" % len(answer) + b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in answer])


class Pieces(socket.socket):
    """A line whose bytes come in pieces that are as long as `sizes` say."""

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        super().__init__()
        self._data, self._sizes = data, sizes

    def recv(self, size: int, flags: int = 0) -> bytes:
        piece = self._data[: min(size, next(self._sizes, size))]
        self._data = self._data[len(piece) :]
        return piece


@contextmanager
def reading(data: bytes, *sizes: int) -> Iterator[Answers]:
    with Pieces(data, iter(sizes)) as line:
        yield Answers(line)


@given(
    st.lists(
        st.just([b"applied"])
        | st.lists(TEXTS, max_size=4)
        | st.sampled_from(("NOSCRIPT no matching script", "ERR broken")),
        max_size=8,
    ),
    st.lists(st.integers(1, 40), max_size=60),
)
def test_each_answer_is_read_as_it_was_said(answers: list[list[bytes] | str], sizes: list[int]) -> None:
    """Several at once, or one in pieces: none is lost, and an error is that of its own batch only."""
    with reading(b"".join(map(said, answers)), *sizes) as line:
        for answer in answers:
            if isinstance(answer, str):
                with pytest.raises(redis.ResponseError) as raised:
                    line.next()
                assert str(raised.value) == answer.removeprefix("ERR ")
            else:
                assert line.next() == answer


@pytest.mark.parametrize("data", [b"", b"*1\r\n", b"*1\r\n$7\r\nappl"])
def test_a_connection_that_ends_in_an_answer_is_no_answer(data: bytes) -> None:
    with reading(data) as line, pytest.raises(redis.ConnectionError):
        line.next()


def test_what_is_no_answer_of_a_script_is_refused() -> None:
    with reading(b"HTTP/1.1 400 Bad Request\r\n") as line, pytest.raises(redis.InvalidResponse, match="HTTP"):
        line.next()
