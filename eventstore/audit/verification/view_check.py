"""Whether the views at a server are what the log gives, beside a writer that moves both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from eventstore.audit.verification.both_values import BothValues
from eventstore.audit.verification.disk_views import SET, DiskViews
from eventstore.audit.verification.findings import Finding
from eventstore.keys import Keys
from eventstore.storage.moments import Moments, Part

_KEYS_PAGE: Final = 100
_FIELDS_PAGE: Final = 500
_WHOLE_MAX: Final = 2000
"""Fields of a key that are compared at once."""


class ViewCheck:
    """Compares all keys of a trader with a fold.

    Each read of the server is of a moment, and the fold is brought to the same one before they are compared: so it does
    not matter what a writer does meanwhile, and nothing that is wrong can hide behind it.

    Parameters
    ----------
    fold : DiskViews
    moments : Moments
    bring_to : callable
        Applies the entries of the log to `fold` up to a position.
    report : callable
        Is told each finding.
    on_keys : callable
        Is told how many more keys were compared.

    Attributes
    ----------
    compared : int
        Keys that were compared.
    leftovers : int
        Keys that a rebuild left which was interrupted. They are no views, and nobody reads them.
    """

    def __init__(
        self,
        keys: Keys,
        fold: DiskViews,
        moments: Moments,
        bring_to: Callable[[int], None],
        report: Callable[[Finding], None],
        on_keys: Callable[[int], object],
    ) -> None:
        self.compared = 0
        self.leftovers = 0
        self._keys = keys
        self._fold = fold
        self._moments = moments
        self._bring_to = bring_to
        self._report = report
        self._on_keys = on_keys
        self._show = BothValues(keys)
        self._shadows = f"{keys.prefix}shadow:".encode()
        self._fixed = frozenset(name.encode() for name in keys.fixed_views())
        self._others = frozenset(name.encode() for name in (keys.log, keys.archived, keys.writer, keys.schema))

    def run(self) -> None:
        """Compare: first what the fold has, then what else the server has, or a writer has begun meanwhile."""
        begun = self._fold.age
        self._compare(self._folded(begun))
        self._compare(self._others_there(begun))

    def _folded(self, begun: int) -> Iterable[tuple[bytes, bool]]:
        after = b""
        while page := self._fold.names(after, _KEYS_PAGE, begun):
            for name, kind in page:
                yield name, kind == SET
            after = page[-1][0]

    def _others_there(self, begun: int) -> Iterable[tuple[bytes, bool]]:
        names = self._moments.names()
        while page := list(islice(names, _KEYS_PAGE * 10)):
            unknown = []
            for name in set(page) - self._others:
                if name.startswith(self._shadows):
                    self.leftovers += 1
                elif not self._fold.has(name, begun):
                    unknown.append(name)
            for name, kind in zip(unknown, self._moments.kinds(unknown) if unknown else (), strict=True):
                if kind not in ("hash", "set", "none"):
                    self._report(self._extra(name, None, f"a {kind}"))
                elif kind != "none":
                    yield name, kind == SET

    def _compare(self, names: Iterable[tuple[bytes, bool]]) -> None:
        source = iter(names)
        while page := list(islice(source, _KEYS_PAGE)):
            position, parts = self._moments.parts([(name, is_set, 0) for name, is_set in page])
            self._bring_to(position)
            large = []
            for (name, is_set), part in zip(page, parts, strict=True):
                if part.wrong is not None:
                    self._wrong(name, is_set)
                    continue
                whole = {} if part.cursor else self._fold.items(name, None, _WHOLE_MAX + 1)
                if part.cursor or len(whole) > _WHOLE_MAX:
                    self._compare_items(name, part.items, self._fold.those_of(name, list(part.items)))
                    large.append((name, is_set, part.cursor))
                else:
                    self._compare_items(name, part.items, whole)
            for name, is_set, cursor in large:
                self._rest_of(name, is_set, cursor)
            self.compared += len(page)
            self._on_keys(len(page))

    def _rest_of(self, name: bytes, is_set: bool, cursor: int) -> None:
        """Compare what a key has behind a cursor, and then look for each field that it has to have."""
        while cursor:
            position, [part] = self._moments.parts([(name, is_set, cursor)])
            self._bring_to(position)
            if not self._is_right(name, is_set, part):
                return
            self._compare_items(name, part.items, self._fold.those_of(name, list(part.items)))
            cursor = part.cursor
        after: bytes | None = None
        while fields := list(self._fold.items(name, after, _FIELDS_PAGE)):
            position, part = self._moments.those_of(name, is_set, fields)
            self._bring_to(position)
            if not self._is_right(name, is_set, part):
                return
            for field, value in self._fold.those_of(name, fields).items():
                if field not in part.items:
                    self._missing(name, field, value)
            after = fields[-1]

    def _is_right(self, name: bytes, is_set: bool, part: Part) -> bool:
        if part.wrong is not None:
            self._wrong(name, is_set)
        return part.wrong is None

    def _compare_items(self, name: bytes, found: dict[bytes, bytes], expected: dict[bytes, bytes]) -> None:
        if found == expected:
            return
        for field, value in expected.items():
            there = found.get(field)
            if there is None:
                self._missing(name, field, value)
            elif there != value:
                self._different(name, field, value, there)
        for field, there in found.items():
            if field not in expected:
                self._report(self._extra(name, field, self._shown(name, field, None, there)[1]))

    # -- Findings ----------------------------------------------------------------------------------------------

    def _missing(self, name: bytes, field: bytes, value: bytes) -> None:
        key, text = _text(name), _text(field)
        shown = self._shown(name, field, value, None)[0]
        message = f"{key} {text} is missing" + (f": the log gives {shown}" if shown else "")
        self._report(Finding("view_missing", message, key=key, field=text, expected=shown))

    def _different(self, name: bytes, field: bytes, value: bytes, there: bytes) -> None:
        key, text = _text(name), _text(field)
        expected, found = self._shown(name, field, value, there)
        message = f"{key} {text} is {found}, and the log gives {expected}"
        self._report(Finding("view_different", message, key=key, field=text, expected=expected, found=found))

    def _extra(self, name: bytes, field: bytes | None, shown: str | None) -> Finding:
        key = _text(name)
        text = None if field is None else _text(field)
        what = key if text is None else f"{key} {text}"
        message = f"{what} is not from the log" + (f": {shown}" if shown else "")
        return Finding("view_extra", message, key=key, field=text, found=shown)

    def _wrong(self, name: bytes, is_set: bool) -> None:
        [kind] = self._moments.kinds([name])
        key, expected = _text(name), "set" if is_set else "hash"
        message = f"{key} is a {kind} where a {expected} belongs: somebody else wrote it"
        self._report(Finding("view_foreign", message, key=key, expected=expected, found=kind))

    def _shown(
        self, name: bytes, field: bytes, expected: bytes | None, found: bytes | None
    ) -> tuple[str | None, str | None]:
        if not (expected or found):  # a member of a set has no value
            return None if expected is None else "", None if found is None else ""
        return self._show(_text(name), _text(field), expected, found)


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
