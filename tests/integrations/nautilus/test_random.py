"""Whatever a node does with its cache: a cache that loads is as the one that was there all the time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("nautilus_trader")

from hypothesis import given
from nautilus_trader.model.enums import OmsType

from tests.support.effort import effort
from tests.support.nautilus.backings import Backing
from tests.support.nautilus.random_node import STEPS, Node


@pytest.mark.parametrize("oms_type", [OmsType.NETTING, OmsType.HEDGING], ids=lambda one: one.name)
def test_a_cache_that_loads_is_as_the_one_that_was_there(ours: Backing, oms_type: OmsType) -> None:
    @effort(examples=30)
    @given(steps=STEPS)
    def run(steps: list[tuple[Callable[[Node, int, int], None], int, int]]) -> None:
        node = Node(ours, oms_type)
        try:
            for step, a, b in steps:
                step(node, a, b)
            node.assert_loads()
        finally:
            ours.close_all()

    run()
