"""Packers that are used again give what a new one gives, whatever happened before."""

from __future__ import annotations

import threading
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.packing import array_head, pack, pack_old, pack_old_items

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(values | st.just(object()), max_size=5))
def test_a_value_is_packed_as_a_new_packer_does_also_behind_one_that_can_not_be(several: list[Any]) -> None:
    """What a value left in a packer, one that was refused in its middle too, is not in the next one."""
    for value in several:
        if value.__class__ is object:
            with pytest.raises(TypeError):
                pack(["before it", value])
            with pytest.raises(TypeError):
                pack_old(["before it", value])
        else:
            assert pack(value) == msgpack.packb(value)
            assert pack_old(value) == msgpack.packb(value, use_bin_type=False)


def test_values_of_any_size_are_packed_in_turns() -> None:
    for size in (1, 1 << 20, 1, 4 << 20, 1):
        assert pack(bytes(size)) == msgpack.packb(bytes(size))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 0xFFFF, 0x10000])
@pytest.mark.parametrize("part", [1000, 1 << 20])
def test_an_array_in_parts_is_the_array(count: int, part: int) -> None:
    """A head, and the items in parts of any size: what a packer makes of all of them at once."""
    items = [b"%d" % (number % 300) for number in range(count)]
    parts = [pack_old_items(items[i : i + part]) for i in range(0, count, part)]
    assert array_head(count) + b"".join(parts) == pack_old(items)


def test_threads_do_not_get_into_each_others_way() -> None:
    wrong: list[bytes] = []

    def work(number: int) -> None:
        value = [number] * 1000
        expected = msgpack.packb(value)
        wrong.extend(data for data in (pack(value) for _ in range(200)) if data != expected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
