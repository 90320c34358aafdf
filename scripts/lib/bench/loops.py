"""A host's loops that wake every half millisecond, and how late each wakes: nanoseconds, wake by wake."""

from __future__ import annotations

import asyncio
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.lib.bench import ticker
from scripts.lib.bench.ticker import PERIOD_NS

GoOn = Callable[[int], bool]
"""Asked behind every wake, with their number."""

STAMP_BYTES = 8
_SKIPPED = 20
"""Wakes of a new ticker that are not counted."""


@contextmanager
def ticks() -> Iterator[socket.socket]:
    """A socket that becomes readable every half millisecond; what is read is when it was sent, eight bytes each."""
    own, other = socket.socketpair()
    with own:
        with other:
            process = subprocess.Popen([sys.executable, str(Path(ticker.__file__))], stdin=other)
        try:
            own.recv(_SKIPPED * STAMP_BYTES, socket.MSG_WAITALL)
            own.settimeout(0)
            yield own
        finally:
            own.close()
            process.wait()


def sleeping(go_on: GoOn) -> list[int]:
    """A loop that sleeps."""
    clock, sleep = time.perf_counter_ns, time.sleep
    late: list[int] = []
    wakes = 0
    while go_on(wakes):
        start = clock()
        sleep(PERIOD_NS / 1e9)
        late.append(clock() - start - PERIOD_NS)
        wakes += 1
    return late


def _late(now: int, line: socket.socket) -> list[int]:
    """How late a wake at `now` is for each time that has come meanwhile. What came behind it needs no other wake."""
    data = line.recv(1 << 16)
    sent = (int.from_bytes(data[i : i + STAMP_BYTES], "big") for i in range(0, len(data), STAMP_BYTES))
    return [max(now - each, 0) for each in sent]


def reading(go_on: GoOn) -> list[int]:
    """A loop that waits for a socket to become readable: from when it was written to, to when the wait is over."""
    clock = time.perf_counter_ns
    late: list[int] = []
    wakes = 0
    with ticks() as line, selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        while go_on(wakes):
            selector.select()
            now = clock()
            late += _late(now, line)
            wakes += 1
    return late


def in_asyncio(go_on: GoOn) -> list[int]:
    """An asyncio loop with a callback for such a socket: to when the callback is called."""
    return asyncio.run(_in_asyncio(go_on))


async def _in_asyncio(go_on: GoOn) -> list[int]:
    clock = time.perf_counter_ns
    late: list[int] = []
    wakes = 0
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def woken() -> None:
        nonlocal wakes
        now = clock()
        late.extend(_late(now, line))
        wakes += 1
        if not go_on(wakes):
            loop.remove_reader(line)
            done.set_result(None)

    with ticks() as line:
        loop.add_reader(line, woken)
        await done
    return late


LOOPS: dict[str, Callable[[GoOn], list[int]]] = {"sleep": sleeping, "socket": reading, "asyncio": in_asyncio}
