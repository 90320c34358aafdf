"""What only the C side of NautilusTrader's objects can set: through the state that they pickle.

Every one of these objects gives its whole state as a tuple and takes it back. Which place of the tuple is which
attribute is found out by trying, on a copy that nobody else has: change one place, and look which attribute has
changed. So nothing here depends on the order of attributes in a release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_FAULTS = (TypeError, ValueError, OverflowError, AttributeError)

_places: dict[tuple[type, str], int] = {}


def state_of(thing: Any) -> tuple[Any, ...]:
    """Return the state of one of NautilusTrader's objects: references to what it has, not copies."""
    reduced = thing.__reduce_cython__()
    state: tuple[Any, ...] = reduced[2] if len(reduced) > 2 else reduced[1][2]
    return state


def set_inside(thing: Any, changes: Mapping[str, Any]) -> None:
    """Set attributes that can not be set from Python. Each value has to differ from what the attribute has.

    Raises
    ------
    TypeError
        If the installed release has no such attribute, or it takes no such value.
    """
    state = list(state_of(thing))
    for name, value in changes.items():
        place = _places.get((type(thing), name))
        if place is None:
            place = _places[type(thing), name] = _find(thing, name, value)
        state[place] = value
    try:
        thing.__setstate_cython__(tuple(state))
    except _FAULTS as e:
        raise TypeError(f"{type(thing).__name__}: {', '.join(changes)} can not be set so: {e}") from e


def _find(thing: Any, name: str, value: Any) -> int:
    kind: Any = type(thing)
    state = state_of(thing)
    before = getattr(thing, name)
    for place in range(len(state)):
        copy = kind.__new__(kind)
        copy.__setstate_cython__(state)
        try:
            copy.__setstate_cython__((*state[:place], value, *state[place + 1 :]))
            after = getattr(copy, name)
        except _FAULTS:
            continue
        if after is value or (after is not before and after == value and after != before):
            return place
    raise TypeError(f"{type(thing).__name__}.{name} of the installed NautilusTrader can not be set to {value!r:.80}")


def held_list(thing: Any, first: Any) -> list[Any]:
    """Return the list inside `thing` that begins with the very object `first`. It is no copy: changes stay."""
    kind = type(thing)
    state = state_of(thing)
    place = _places.get((kind, "[]"))
    if place is None or not _begins(state[place], first):
        place = next((i for i, value in enumerate(state) if _begins(value, first)), None)
        if place is None:
            raise TypeError(f"the events of a {kind.__name__} of the installed NautilusTrader can not be found")
        _places[kind, "[]"] = place
    found: list[Any] = state[place]
    return found


def _begins(value: Any, first: Any) -> bool:
    return value.__class__ is list and bool(value) and value[0] is first


def held_dict(thing: Any, name: str, shown: Callable[[], Mapping[Any, Any]], key: Any) -> dict[Any, Any]:
    """Return the dict inside `thing` that `shown` copies; `key` is put into it for a moment to tell which it is."""
    state = state_of(thing)
    place = _places.get((type(thing), name))
    if place is None:
        for i, value in enumerate(state):
            if value.__class__ is dict and key not in value:
                value[key] = None
                is_it = key in shown()
                del value[key]
                if is_it:
                    place = _places[type(thing), name] = i
                    break
        else:
            raise TypeError(f"{name} of a {type(thing).__name__} of the installed NautilusTrader can not be found")
    found: dict[Any, Any] = state[place]
    return found
