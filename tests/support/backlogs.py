"""Backlogs for tests of the backlog and of the writer, which are not about what an item is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

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


class Asked:
    """Whether the consumer needs help, and how often that was asked and given."""

    def __init__(self, backlog: Backlog[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = False
        self.count = self.helped = 0
        backlog.needs_help = self
        monkeypatch.setattr(time, "sleep", self.sleep)

    def __call__(self) -> bool:
        self.count += 1
        return self.answer

    def sleep(self, seconds: float) -> None:
        self.helped += 1
