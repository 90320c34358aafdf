"""Functions that are compiled of expressions: one for all fields of an event takes half the time of a loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from eventstore.model.identifiers import ClientOrderId, OrderListId, PositionId, TradeId, VenueOrderId

FRESH = frozenset({ClientOrderId, OrderListId, PositionId, TradeId, VenueOrderId})
"""Identifiers of which there are ever new ones. To look at their text takes less time than to remember all of them."""

is_plain = re.compile(r"[!-z|~][ -z|~]{0,35}").fullmatch
"""Whether text is an identifier of any of these classes, here and in every release of NautilusTrader."""


class Expression:
    """The source of one function, and the names that it uses."""

    def __init__(self, **scope: Any) -> None:
        self.scope = scope

    def name(self, thing: Any) -> str:
        """Return a name that stands for `thing` in the source."""
        name = f"n{len(self.scope)}"
        self.scope[name] = thing
        return name

    def compile(self, arguments: str, body: str, before: str = "pass") -> Callable[..., Any]:
        """Return the function of `arguments` that does `before` and returns `body`."""
        # Nothing but names of fields and of what is in `scope` is in the source.
        exec(f"def convert({arguments}):\n {before}\n return {body}", self.scope)  # noqa: S102 - see above
        return cast(Callable[..., Any], self.scope["convert"])
