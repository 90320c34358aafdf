"""Old records, read as new ones: one step from each schema version to the next. Pure: no I/O.

A step takes the stored fields of a record of one (tag, version) and returns those of the next version. Steps stay
forever, as do the golden bytes of every version in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventstore.errors import CodecError, UnknownSchema
from eventstore.schema import TYPES, VERSION

Step = Callable[[list[Any]], list[Any]]

STEPS: dict[tuple[int, int], Step] = {}
"""(tag, version) → the step to version + 1. A version that changed nothing for a tag has none."""


def upcast(tag: int, version: Any, fields: list[Any]) -> list[Any]:
    """Return `fields` of a record of `version` as those of the present one.

    Raises
    ------
    UnknownSchema
        If `version` is none that was ever written, or newer than this library.
    CodecError
        If a step can not make anything of `fields`.
    """
    if version.__class__ is not int or not 1 <= version <= VERSION:
        raise UnknownSchema(
            f"{TYPES[tag].__name__ if tag in TYPES else tag}: schema version {version!r:.40} is not known, "
            f"this version of the library reads 1 to {VERSION}; upgrade it"
        )
    for step in range(version, VERSION):
        try:
            fields = STEPS.get((tag, step), _unchanged)(fields)
        except (LookupError, TypeError, ValueError, ArithmeticError) as e:
            raise CodecError(f"record type {tag}, schema version {step}: not fields of that version: {e!r:.200}") from e
    return fields


def _unchanged(fields: list[Any]) -> list[Any]:
    return fields
