"""What a fence says of the writer, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from eventstore import commands
from eventstore.chain import LogEntry
from eventstore.errors import CodecError
from eventstore.storage.reader import Fence


def owner_of(fence: Fence) -> Mapping[str, Any]:
    """Return who claimed the log last; nothing if that can not be read."""
    with suppress(ValueError):
        owner = json.loads(fence.owner)
        if isinstance(owner, dict):
            return owner
    return {}


def closed(fence: Fence, last: LogEntry | None) -> bool | None:
    """Whether the writer's last words are in the log; None if the last entry can not be read."""
    if last is None:
        return False
    try:
        command = commands.decode(last.payload)
    except CodecError:
        return None
    return isinstance(command, commands.ClosedWell) and command.epoch == fence.epoch
