"""Immutable records: the representation of every event, value and instrument.

A record is a tuple with named fields. Construction is checked once, by type and by range, so that nothing further down
has to ask again whether an event can be stored. The representation is chosen by cost: a named tuple of twenty
fields is built about seven times faster than a frozen dataclass, and its fields are read at the speed of C.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from decimal import InvalidOperation
from enum import IntEnum
from typing import Any, ClassVar, Self, dataclass_transform

from eventstore.model.errors import InvalidValue

_namedtuple: Any = namedtuple  # the type checker wants literals; ours come from annotations

U64_MAX = 2**64 - 1
I64_MIN = -(2**63)
TEXT_BYTES_MAX = 1 << 20
INFO_DEPTH_MAX = 32
INFO_BYTES_MAX = 1 << 20

Info = Mapping[str, Any]
"""Free-form data beside an event: text keys; values None, bool, int, float, str, bytes, lists and nested mappings."""

EMPTY_INFO: Info = types.MappingProxyType({})


def check_text(owner: str, name: str, value: str) -> None:
    """Raise `InvalidValue` for text that can not be stored as UTF-8 or is over `TEXT_BYTES_MAX` bytes."""
    if len(value) * 4 > TEXT_BYTES_MAX or not value.isascii():
        try:
            size = len(value.encode())
        except UnicodeEncodeError as e:
            raise InvalidValue(f"{owner}.{name}: text is not valid Unicode ({e.reason} at {e.start}); clean it") from e
        if size > TEXT_BYTES_MAX:
            raise InvalidValue(f"{owner}.{name}: {size} bytes of text, at most {TEXT_BYTES_MAX} can be stored")


def freeze(owner: str, name: str, value: Mapping[str, Any]) -> Info:
    """Return a deep, read-only copy of `value`.

    Raises
    ------
    TypeError
        If a key is no text or a value is of a kind that can not be stored.
    InvalidValue
        If it is nested deeper than `INFO_DEPTH_MAX` or larger than `INFO_BYTES_MAX` bytes.
    """
    size = 0

    def walk(item: Any, depth: int) -> Any:
        nonlocal size
        if depth > INFO_DEPTH_MAX:
            raise InvalidValue(f"{owner}.{name}: nested deeper than {INFO_DEPTH_MAX}; flatten it")
        size += 9
        if isinstance(item, str):
            item = str.__str__(item)
            check_text(owner, name, item)
            size += len(item) if item.isascii() else len(item.encode())
        elif isinstance(item, bytes | bytearray):
            item = bytes(item)
            size += len(item)
        elif isinstance(item, Mapping):
            frozen = {}
            for key, child in item.items():
                if not isinstance(key, str):
                    raise TypeError(f"{owner}.{name}: key {key!r} is a {type(key).__name__}; keys have to be str")
                frozen[walk(key, depth + 1)] = walk(child, depth + 1)
            return types.MappingProxyType(frozen)
        elif isinstance(item, list | tuple):
            return tuple(walk(child, depth + 1) for child in item)
        elif isinstance(item, int) and not isinstance(item, bool):
            if not I64_MIN <= item <= U64_MAX:
                raise InvalidValue(f"{owner}.{name}: {item} does not fit in 64 bits; store it as text")
            item = int(item)
        elif isinstance(item, float):
            item = float(item)
        elif item is not None and not isinstance(item, bool):
            raise TypeError(
                f"{owner}.{name}: a {type(item).__name__} can not be stored; "
                "use None, bool, int, float, str, bytes, lists and mappings"
            )
        if size > INFO_BYTES_MAX:
            raise InvalidValue(f"{owner}.{name}: over {INFO_BYTES_MAX} bytes; keep large data elsewhere")
        return item

    return typing.cast(Info, walk(value, 0))


def thaw(value: Any) -> Any:
    """Return a mutable copy of what `freeze` made: dicts and lists."""
    if isinstance(value, Mapping):
        return {key: thaw(child) for key, child in value.items()}
    if isinstance(value, tuple):
        return [thaw(child) for child in value]
    return value


class Field:
    """What a record knows of one field: its name, the types it takes, and how it is coerced and shown."""

    __slots__ = ("element", "is_info", "is_int", "is_text", "kinds", "name", "optional")

    def __init__(self, name: str, hint: Any) -> None:
        self.name = name
        options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        self.optional = type(None) in options
        (kind,) = [option for option in options if option is not type(None)]
        origin = typing.get_origin(kind)
        self.element: Any = typing.get_args(kind)[0] if origin is tuple else None
        self.is_info = origin is not None and origin is not tuple and issubclass(origin, Mapping)
        base: Any = tuple if origin is tuple else Mapping if self.is_info else kind
        self.is_int = base is int
        self.is_text = base is str
        self.kinds: tuple[type, ...] = (base, type(None)) if self.optional else (base,)

    @property
    def kind(self) -> type:
        """The type of a value that is not None."""
        return self.kinds[0]

    def check(self, owner: str, value: Any) -> None:
        """Raise `TypeError` unless `value` is of a type that this field takes."""
        if isinstance(value, self.kinds) and not (isinstance(value, bool) and bool not in self.kinds):
            return
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in self.kinds)
        raise TypeError(f"{owner}.{self.name}: expected {wanted}, got {type(value).__name__} ({value!r:.80})")

    def coerce(self, owner: str, value: Any) -> Any:
        """Return the immutable form of a sequence or mapping."""
        if value is None:
            return None
        if self.is_info:
            if not isinstance(value, Mapping):
                self.check(owner, value)
            return freeze(owner, self.name, value) if value else EMPTY_INFO
        if not isinstance(value, list | tuple):
            self.check(owner, value)
        for item in value:
            if not isinstance(item, self.element):
                raise TypeError(
                    f"{owner}.{self.name}: expected items of {self.element.__name__}, "
                    f"got {type(item).__name__} ({item!r:.80})"
                )
            if self.element is str:
                check_text(owner, self.name, item)
        return tuple(value)

    def show(self, value: Any) -> Any:
        """Return `value` as it stands in a `to_dict()`: text, numbers, lists and dicts only."""
        if value is None or value.__class__ in (int, bool, str):
            return value
        if isinstance(value, IntEnum):
            return value.name
        if self.is_info:
            return thaw(value)
        if isinstance(value, tuple) and not isinstance(value, Record):
            return [item.to_dict() if isinstance(item, Record) else str(item) for item in value]
        return str(value)

    def parse(self, owner: str, value: Any) -> Any:
        """Return the field's value from what `show` made of it."""
        if value is None:
            return None
        if self.is_info:
            return value
        if self.element is not None:
            if not isinstance(value, list | tuple):
                raise TypeError(f"{owner}.{self.name}: expected a list, got {type(value).__name__}")
            return tuple(self._parse_as(owner, self.element, item) for item in value)
        return self._parse_as(owner, self.kind, value)

    def _parse_as(self, owner: str, kind: Any, value: Any) -> Any:
        if isinstance(value, kind) or kind in (int, bool, str):
            return value
        if not isinstance(value, str):
            if isinstance(value, Mapping) and issubclass(kind, Record):
                return kind.from_dict(value)
            raise TypeError(f"{owner}.{self.name}: expected text, got {type(value).__name__} ({value!r:.80})")
        if issubclass(kind, IntEnum):
            try:
                return kind[value]
            except KeyError:
                raise InvalidValue(f"{owner}.{self.name}: no {kind.__name__} is named {value!r:.80}") from None
        from_str: Callable[[str], Any] | None = getattr(kind, "from_str", None)
        try:
            return kind(value) if from_str is None else from_str(value)
        except InvalidOperation:
            raise InvalidValue(f"{owner}.{self.name}: {value!r:.80} is no number") from None


@dataclass_transform(frozen_default=True)
class Record(tuple[Any, ...]):
    """Base of all records.

    A class declares its fields as annotations; it has those of its base first, and those without a default before those
    with one. That order is the order in which they are stored. A class whose base already has fields with a default
    says ``kw_only=True`` when it adds fields without one.
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _specs: ClassVar[tuple[Field, ...]] = ()
    _defaults: ClassVar[tuple[Any, ...]] = ()
    _build: ClassVar[Callable[..., Any]]
    _seen: ClassVar[set[tuple[type, ...]]]
    _coerced: ClassVar[tuple[int, ...]]
    _ints: ClassVar[tuple[int, ...]]
    _texts: ClassVar[tuple[int, ...]]

    def __init_subclass__(cls, kw_only: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.get_annotations(cls, eval_str=True)
        if not own:
            return
        required = len(cls._fields) - len(cls._defaults)
        known = dict(zip(cls._fields, cls._specs, strict=True)) | {
            name: Field(name, hint) for name, hint in own.items()
        }
        defaults = dict(zip(cls._fields[required:], cls._defaults, strict=True))
        defaults |= {name: cls.__dict__[name] for name in own if name in cls.__dict__}
        names = [name for name in known if name not in defaults] + [name for name in known if name in defaults]
        specs = tuple(known[name] for name in names)
        template = _namedtuple(cls.__name__, names, defaults=[defaults[name] for name in names if name in defaults])
        for name in names:
            setattr(cls, name, template.__dict__[name])
        cls._fields = tuple(names)
        cls._specs = specs
        cls._defaults = tuple(defaults[name] for name in names if name in defaults)
        cls._build = template.__new__
        cls._seen = set()
        cls._coerced = tuple(i for i, spec in enumerate(specs) if spec.is_info or spec.element is not None)
        cls._ints = tuple(i for i, spec in enumerate(specs) if spec.is_int)
        cls._texts = tuple(i for i, spec in enumerate(specs) if spec.is_text)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self: Self = cls._build(cls, *args, **kwargs)
        if cls._coerced:
            values = list(self)
            for i in cls._coerced:
                if values[i] is not None:
                    values[i] = cls._specs[i].coerce(cls.__name__, values[i])
            self = tuple.__new__(cls, values)
        signature = tuple(map(type, self))
        if signature not in cls._seen:
            for spec, value in zip(cls._specs, self, strict=True):
                spec.check(cls.__name__, value)
            cls._seen.add(signature)
        for i in cls._ints:
            value = self[i]
            if value is not None and not 0 <= value <= U64_MAX:
                raise InvalidValue(f"{cls.__name__}.{cls._fields[i]}: {value} is not between 0 and {U64_MAX}")
        for i in cls._texts:
            if self[i] is not None:
                check_text(cls.__name__, cls._fields[i], self[i])
        self._validate()
        return self

    def _validate(self) -> None:
        """Raise `InvalidValue` where single fields are fine but the record as a whole is not."""

    @classmethod
    def unchecked(cls, fields: Iterable[Any]) -> Self:
        """Build from fields that are known to be right, in order: what a decoder has just checked."""
        return tuple.__new__(cls, fields)

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with the fields in `changes` exchanged."""
        return type(self)(**(dict(zip(self._fields, self, strict=True)) | changes))

    def __eq__(self, other: object) -> bool:
        return self.__class__ is other.__class__ and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.__class__, *self))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({inner})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), tuple(thaw(v) if isinstance(v, types.MappingProxyType) else v for v in self))

    def to_dict(self) -> dict[str, Any]:
        """Return the record as text, numbers, lists and dicts, its class's name under ``type``."""
        shown = {spec.name: spec.show(value) for spec, value in zip(self._specs, self, strict=True)}
        return {"type": type(self).__name__} | shown

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returns.

        Raises
        ------
        InvalidValue
            If ``type`` is another class's, a field is missing, or a value can not be read.
        TypeError
            If a value is of the wrong kind.
        """
        name = values.get("type", cls.__name__)
        if name != cls.__name__:
            raise InvalidValue(f"{cls.__name__}: the values are of a {name!r:.80}")
        return cls(**cls._parse_fields(values))

    @classmethod
    def _parse_fields(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        required = cls._fields[: len(cls._fields) - len(cls._defaults)]
        missing = [name for name in required if name not in values]
        if missing:
            raise InvalidValue(f"{cls.__name__}: no value for {', '.join(missing)}")
        return {spec.name: spec.parse(cls.__name__, values[spec.name]) for spec in cls._specs if spec.name in values}
