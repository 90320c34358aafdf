"""Work that is done ahead of whoever waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

_AHEAD: Final = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` of each item, in their order, each done by a thread while the one before is looked at.

    That pays for work in which other threads can run: reading, inflating, hashing. The first item is worked on at once,
    and the thread begins with the second: who only looks at the first waits for no other.

    Raises
    ------
    Exception
        What `work` raises, in the place of its result.
    """
    source = iter(items)
    for item in source:
        yield work(item)
        break
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in source:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
