"""How safe what was applied has to be before it counts as durable: what is asked of the server. Pure."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from eventstore.errors import ConfigError

REPLICAS_MAX = 100
"""More than this is a slip of the pen."""

_REPLICATED = re.compile(r"replicated\( *([0-9]{1,9}) *\)")
_AOF = re.compile(r"aof\( *([0-9]{1,9}) *, *([0-9]{1,9}) *\)")


@dataclass(frozen=True, slots=True)
class Durability:
    """Where a command has to be before it counts as durable; by default it is enough that the server applied it.

    Parameters
    ----------
    replicas : int, default 0
        How many replicas have to have it.
    on_disk : bool, default False
        Whether they have to have it on disk, in the append-only file, or only in memory.
    local : int, default 0
        With `on_disk`: 1 if the server itself has to have it on its disk, too.

    Raises
    ------
    ConfigError
        If a number is out of its bounds, or it has to be on no disk at all.
    """

    replicas: int = 0
    on_disk: bool = False
    local: int = 0

    def __post_init__(self) -> None:
        in_bounds = 0 <= self.replicas <= REPLICAS_MAX and self.local in ((0, 1) if self.on_disk else (0,))
        if not in_bounds or (self.on_disk and not self.asks):
            raise _not_one(repr(self))

    @classmethod
    def parse(cls, text: str) -> Durability:
        """Return what `text` says: ``applied``, ``replicated(n)`` or ``aof(local, replicas)``.

        Raises
        ------
        ConfigError
            If it says something else.
        """
        if text == "applied":
            return cls()
        if isinstance(text, str):
            with contextlib.suppress(ConfigError):  # out of bounds: refused below, in the words that were given
                if (found := _REPLICATED.fullmatch(text)) and int(found[1]):
                    return cls(replicas=int(found[1]))
                if found := _AOF.fullmatch(text):
                    return cls(replicas=int(found[2]), on_disk=True, local=int(found[1]))
        raise _not_one(repr(text))

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask for beyond that it is applied."""
        return self.local + self.replicas > 0

    def __str__(self) -> str:
        if self.on_disk:
            return f"aof({self.local}, {self.replicas})"
        return f"replicated({self.replicas})" if self.replicas else "applied"


def _not_one(what: str) -> ConfigError:
    return ConfigError(
        f"durability: {what} is none of 'applied' (the server has it), 'replicated(n)' (so have n replicas, 1 to "
        f"{REPLICAS_MAX}) and 'aof(local, replicas)' (it is on the server's disk, local 1 or 0, and on those of so "
        f"many replicas, 0 to {REPLICAS_MAX}; on one disk at least)"
    )
