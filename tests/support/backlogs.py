"""Backlogs for tests of the backlog and of the writer, which are not about what an item is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workers.backlog import WIDTH, Backlog
from workers.watermark import Mark


class Values(Backlog[Any]):
    """A backlog whose items are told by one value each; their other objects are None, or the size."""

    def put(self, value: Any, *others: Any) -> None:
        super().put(value, *(others or (None,) * (WIDTH - 1)))

    def put_sized(self, value: Any, size: int) -> None:
        super().put_sized(value, *(None,) * (WIDTH - 2), size)

    def take(self, count: int) -> list[Any]:
        return self._told(super().take(count))

    def waiting(self) -> list[Any]:
        return self._told(super().waiting())

    def put_back(self, items: Sequence[Any]) -> None:
        super().put_back([item if isinstance(item, Mark) else (item, *(None,) * (WIDTH - 1)) for item in items])

    def _told(self, items: list[Any]) -> list[Any]:
        """The value of each item, all of which was given back, and the marks."""
        for item in items:
            assert isinstance(item, Mark) or (len(item) == WIDTH and item[1:-1] == (None,) * (WIDTH - 2))
        return [item if isinstance(item, Mark) else item[0] for item in items]
