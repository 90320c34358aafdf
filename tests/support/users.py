"""The users of a server that is shared by several traders: one for each trader and task, with the least rights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args
from urllib.parse import quote

from eventstore.durability import Durability
from eventstore.model.identifiers import TraderId
from eventstore.permissions import Grant, Task, Topology, as_acl_file

__all__ = ["Task", "Users"]

_PASSWORD = "s3cret:@/?#"


class Users:
    """The users of `traders` at servers of that `topology`, with replicas to read from or without.

    A writer may ask for "replicated(1)".

    Attributes
    ----------
    lines : list[str]
        The users, as lines of an aclfile.

    """

    def __init__(self, traders: Sequence[TraderId], topology: Topology = "plain", *, replicas: bool = False) -> None:
        self._names: dict[tuple[TraderId, Task], str] = {}
        self.lines: list[str] = []
        durability = Durability(replicas=1)
        for number, trader_id in enumerate(traders):
            for task in get_args(Task):
                name = self._names[trader_id, task] = f"{task}-{number}"
                grant = Grant(
                    tasks=[task], trader_id=trader_id, durability=durability, topology=topology, replicas=replicas
                )
                self.lines.append(as_acl_file(name, grant.rules(_PASSWORD)))

    def of(self, trader_id: TraderId, task: Task) -> str | None:
        """Name and password of that user, as a URL has them in front of the host; None if there is none."""
        name = self._names.get((trader_id, task))
        return None if name is None else f"{quote(name, safe='')}:{quote(_PASSWORD, safe='')}"
