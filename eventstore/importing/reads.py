"""Reads of a keyspace's keys, one page at a time, that tell of what stands where something else belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from eventstore.importing.decoding import Unreadable, is_json, not_kept
from eventstore.importing.findings import Findings
from eventstore.model.errors import ModelError
from eventstore.model.identifiers import Identifier
from eventstore.model.record import Record
from eventstore.storage.nautilus import Keyspace, NautilusServer, WrongType

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound=Identifier)


class Reads:
    """What the methods that read a keyspace have in common.

    Parameters
    ----------
    value_bytes_max : int
        How large a general value or saved state may be.

    Attributes
    ----------
    findings : Findings
        What is told of.
    on_key : callable
        Told how many keys were read.
    names : dict
        The ids that there are, by family.
    values : dict
        How many values there are in each encoding.
    """

    def __init__(self, server: NautilusServer, keyspace: Keyspace, findings: Findings, value_bytes_max: int) -> None:
        self.findings = findings
        self.on_key: Callable[[int], None] = lambda count: None
        self.keyspace = keyspace
        self.names: dict[str, list[str]] = {}
        self.values = {"msgpack": 0, "json": 0}
        self._server = server
        self._value_bytes_max = value_bytes_max

    def _key(self, *parts: str) -> str:
        return ":".join((self.keyspace.prefix, *parts))

    def _strings(self, family: str, ending: str = "", has_encoding: bool = True) -> Iterator[tuple[str, bytes]]:
        names = [f"{family}:{an_id}{ending}" for an_id in self.names[family]]
        found = self._server.strings(self.keyspace, names)
        for an_id, (name, data) in zip(self.names[family], found, strict=True):
            self.on_key(1)
            checked = self._checked(name, data)
            if checked is not None:
                if has_encoding:
                    self._count(checked)
                yield an_id, checked

    def _lists(self, family: str) -> Iterator[tuple[str, list[bytes]]]:
        found = self._server.lists(self.keyspace, [f"{family}:{an_id}" for an_id in self.names[family]])
        for an_id, (name, values) in zip(self.names[family], found, strict=True):
            self.on_key(1)
            checked = self._checked(name, values)
            if checked:
                for data in checked:
                    self._count(data)
                yield an_id, checked

    def _count(self, data: bytes) -> None:
        self.values["json" if is_json(data) else "msgpack"] += 1

    def _checked(self, name: str, value: Any) -> Any:
        if isinstance(value, WrongType):
            self.findings.add("unreadable", self._key(name), f"the key is no {value.expected}")
            return None
        return value

    def _read(self, family: str, an_id: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return read(*args, **kwargs)
        except Unreadable as error:
            self.findings.add("unreadable", self._key(family, an_id), error)
            return None

    def _identifier(self, kind: type[A], family: str, an_id: str) -> A | None:
        try:
            return kind(an_id)
        except ModelError as error:
            self.findings.add("unreadable", self._key(family, an_id), error)
            return None

    def _is_named(self, family: str, an_id: str, given: str) -> bool:
        if an_id == given:
            return True
        self.findings.add("unreadable", self._key(family, an_id), f"it is {given}")
        return False

    def _fits(self, family: str, an_id: str, size: int) -> bool:
        if size <= self._value_bytes_max:
            return True
        self.findings.add(
            "refused", self._key(family, an_id), f"{size} bytes; a store takes {self._value_bytes_max} as one value"
        )
        return False

    def _tell_not_kept(self, family: str, an_id: str, record: Record, values: dict[str, Any]) -> None:
        for name in not_kept(values, record):
            text = f"{type(record).__name__}.{name}: {values[name]!r:.100}"
            self.findings.add("not_kept", self._key(family, an_id), text)
