"""What differs between two states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from eventstore.audit.state import State
from eventstore.audit.values import FAMILIES, Family

Path = tuple[str, ...]
"""Where in a plain value something is: names, and places in lists, such as ``events`` and ``[3]``."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()
"""What is at a place where nothing is."""


class Difference(NamedTuple):
    """One thing that is not the same in two states.

    Attributes
    ----------
    family : str
        What kind of thing: the `name` of one of `eventstore.audit.values.FAMILIES`.
    id : str
    field : str
        Which part of it, such as ``status``, ``balances.USD.free`` or ``events[3]``; empty for the whole.
    change : str
        ``added`` and ``removed`` say that it is only in the second or the first state.
    before, after : any
        Plain values; None where there is nothing.
    """

    family: str
    id: str
    field: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


def diff(before: State, after: State) -> Iterator[Difference]:
    """Yield what is not the same in two states, by family and id.

    It compares what the records say, not how they are stored. What is stored the same is not looked into.

    Raises
    ------
    DamagedRecord
        If a record that differs can not be read.
    """
    for family in FAMILIES:
        stored = family.stored(before), family.stored(after)
        for an_id in sorted(stored[0].keys() | stored[1].keys()):
            if an_id in stored[0] and an_id in stored[1] and stored[0][an_id] == stored[1][an_id]:
                continue
            was = _value(family, before, an_id) if an_id in stored[0] else ABSENT
            now = _value(family, after, an_id) if an_id in stored[1] else ABSENT
            for path, old, new in differing(was, now):
                yield _difference(family.name, an_id, path, old, new)


def _value(family: Family, state: State, an_id: str) -> Any:
    value = family.value(state, an_id)
    return ABSENT if value is None else value


def _difference(family: str, an_id: str, path: Path, old: Any, new: Any) -> Difference:
    field = ".".join(path).replace(".[", "[")
    if old is ABSENT:
        return Difference(family, an_id, field, "added", None, new)
    if new is ABSENT:
        return Difference(family, an_id, field, "removed", old, None)
    return Difference(family, an_id, field, "changed", old, new)


def exactly(one: Any, other: Any) -> bool:
    """Whether two plain values that hold no others are the same: of the same type, and not a number to another."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(exactly, one, other))
    return bool(one == other) or (one != one and other != other)


def differing(
    one: Any, other: Any, same: Callable[[Any, Any], bool] = exactly, path: Path = ()
) -> Iterator[tuple[Path, Any, Any]]:
    """Yield each place where two plain values differ, and what is there: `ABSENT` where nothing is.

    Lists are compared place by place if they hold records, and as one value otherwise.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in [*one, *(name for name in other if name not in one)]:
            yield from differing(one.get(name, ABSENT), other.get(name, ABSENT), same, (*path, str(name)))
    elif _is_records(one) and _is_records(other):
        for place in range(max(len(one), len(other))):
            was, now = (values[place] if place < len(values) else ABSENT for values in (one, other))
            yield from differing(was, now, same, (*path, f"[{place}]"))
    elif one is not other and (one is ABSENT or other is ABSENT or not same(one, other)):
        yield path, one, other


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
