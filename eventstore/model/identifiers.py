"""Identifiers: text of a named kind, checked once when it is made.

They are `str` subclasses: hashing and comparing run at the speed of `str`, which is what the caller's thread pays on
every call, and they compare equal to the plain text they hold.
"""

from __future__ import annotations

import re
import uuid
from typing import ClassVar, Self

from eventstore.model.errors import InvalidIdentifier

LENGTH_MAX = 255

# Braces would end the hash tag that keeps one trader's keys in one slot; control characters and lone surrogates
# break every tool that has to show the key later.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f{}\u2028\u2029\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Identifier(str):
    """Base of all identifiers.

    Raises
    ------
    TypeError
        If the value is no `str`.
    InvalidIdentifier
        If it is empty or blank, longer than `LENGTH_MAX` characters, or holds a control character or a brace. What only
        a venue names, and no key is named after, may hold braces.
    """

    __slots__ = ()
    _needs: ClassVar[str] = ""
    _forbidden: ClassVar[re.Pattern[str]] = _FORBIDDEN

    def __new__(cls, value: str) -> Self:
        if value.__class__ is cls:
            return value
        if not isinstance(value, str):
            raise TypeError(f"{cls.__name__}: expected str, got {type(value).__name__} ({value!r:.80})")
        if not value or value.isspace():
            raise InvalidIdentifier(f"{cls.__name__}: the text is empty; give it at least one visible character")
        if len(value) > LENGTH_MAX:
            raise InvalidIdentifier(f"{cls.__name__}: {len(value)} characters, at most {LENGTH_MAX} are allowed")
        found = cls._forbidden.search(value)
        if found:
            raise InvalidIdentifier(
                f"{cls.__name__}: {value!r} holds {found.group()!r} at {found.start()}; "
                f"control characters {'' if cls._forbidden is _CONTROL else 'and braces '}are not allowed, remove it"
            )
        if cls._needs and not (cls._needs in value and all(part.strip() for part in value.rpartition(cls._needs)[::2])):
            raise InvalidIdentifier(f"{cls.__name__}: {value!r} has to have text on both sides of a {cls._needs!r}")
        return str.__new__(cls, value)

    @classmethod
    def unchecked(cls, value: str) -> Self:
        """Build from text that was checked when it was stored."""
        return str.__new__(cls, value)

    @property
    def value(self) -> str:
        """The plain text."""
        return str(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class TraderId(Identifier):
    """A trading node, such as ``TRADER-001``: a name and a tag joined by a hyphen."""

    __slots__ = ()
    _needs = "-"


class ComponentId(Identifier):
    """An actor or other component of a node."""

    __slots__ = ()


class StrategyId(ComponentId):
    """A strategy, such as ``EMACross-001``."""

    __slots__ = ()


class Symbol(Identifier):
    """A symbol at a venue."""

    __slots__ = ()


class Venue(Identifier):
    """A trading venue."""

    __slots__ = ()


SYNTHETIC_VENUE = Venue("SYNTH")


class InstrumentId(Identifier):
    """An instrument: ``SYMBOL.VENUE``. The symbol may hold dots, the venue not."""

    __slots__ = ()
    _needs = "."

    @property
    def symbol(self) -> Symbol:
        """What is before the last dot."""
        return Symbol.unchecked(self.rpartition(".")[0])

    @property
    def venue(self) -> Venue:
        """What is behind the last dot."""
        return Venue.unchecked(self.rpartition(".")[2])

    @property
    def is_synthetic(self) -> bool:
        """Whether the venue is ``SYNTH``."""
        return self.endswith(".SYNTH")

    @classmethod
    def from_parts(cls, symbol: Symbol, venue: Venue) -> Self:
        """Build ``symbol.venue``."""
        return cls(f"{symbol}.{venue}")


class AccountId(Identifier):
    """An account, such as ``SIM-001``: issuer and number joined by a hyphen."""

    __slots__ = ()
    _needs = "-"


class ClientId(Identifier):
    """An execution or data client."""

    __slots__ = ()


class ClientOrderId(Identifier):
    """An order, as the node names it."""

    __slots__ = ()


class VenueOrderId(Identifier):
    """An order, as the venue names it."""

    __slots__ = ()
    _forbidden = _CONTROL


class OrderListId(Identifier):
    """A list of orders that were submitted together."""

    __slots__ = ()


class PositionId(Identifier):
    """A position."""

    __slots__ = ()


class TradeId(Identifier):
    """A trade (fill), as the venue names it."""

    __slots__ = ()
    _forbidden = _CONTROL


class ExecAlgorithmId(Identifier):
    """An execution algorithm."""

    __slots__ = ()


class UUID4(Identifier):
    """The id of an event: a UUID in its canonical lower-case text form."""

    __slots__ = ()

    def __new__(cls, value: str | None = None) -> Self:
        if value is None:
            return str.__new__(cls, str(uuid.uuid4()))
        self = super().__new__(cls, value)
        if not _UUID.fullmatch(self):
            raise InvalidIdentifier(f"UUID4: {value!r} is no UUID in canonical form (8-4-4-4-12, lower case)")
        return self
