"""Old records, read as new ones: one step from each schema version to the next. Pure: no I/O.

A step takes the stored fields of a record of one (tag, version) and returns those of the next version. Steps stay
forever, as do the golden bytes of every version in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventstore.errors import CodecError, UnknownSchema
from eventstore.schema import SHORT_SINCE, TYPES, VERSIONS

Step = Callable[[list[Any]], list[Any]]


def _adding(**values: Any) -> Step:
    def step(fields: list[Any]) -> list[Any]:
        return [*fields, *values.values()]

    return step


STEPS: dict[tuple[int, int], Step] = {
    (3, 1): _adding(quantity_net_of_commission=False),  # no position was
    (24, 1): _adding(is_quote_quantity=None),  # the event says nothing of it
    **{(tag, since - 1): list for tag, since in SHORT_SINCE.items()},  # all was said, as it may be still
}
"""(tag, version) → the step to version + 1."""


def upcast(tag: int, version: Any, fields: list[Any]) -> list[Any]:
    """Return `fields` of a record of `version` as those of the present one.

    Raises
    ------
    UnknownSchema
        If `version` is none that was ever written, or newer than this library.
    CodecError
        If a step can not make anything of `fields`.
    """
    present = VERSIONS[tag]
    if version.__class__ is not int or not 1 <= version <= present:
        raise UnknownSchema(
            f"{TYPES[tag].__name__ if tag in TYPES else tag}: schema version {version!r:.40} is not known, "
            f"this version of the library reads 1 to {present}; upgrade it"
        )
    for step in range(version, present):
        try:
            fields = STEPS[tag, step](fields)
        except (LookupError, TypeError, ValueError, ArithmeticError) as e:
            raise CodecError(f"record type {tag}, schema version {step}: not fields of that version: {e!r:.200}") from e
    return fields
