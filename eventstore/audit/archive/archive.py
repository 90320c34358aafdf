"""Reading an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eventstore.chain import Head, LogEntry
from eventstore.errors import ArchiveError
from eventstore.model.identifiers import TraderId


class Archive:
    """The archived part of one trader's log. Made by `open`."""

    @classmethod
    def open(cls, directory: str | Path, trader_id: TraderId) -> Archive:
        """Open the archive of `trader_id` in `directory` for reading."""
        raise ArchiveError(f"{directory} has no archive of {trader_id}")

    def start(self) -> Head:
        """Return the place before the first entry."""
        raise NotImplementedError

    def end(self) -> Head:
        """Return the last position, and the chain head there."""
        raise NotImplementedError

    def refresh(self) -> None:
        """See what was archived since."""
        raise NotImplementedError

    def entries(self, after: int = 0, until: int | None = None, since_ms: int | None = None) -> Iterator[LogEntry]:
        """Yield the entries behind `after` and up to `until`, as they stand."""
        raise NotImplementedError


def is_archive(directory: str | Path) -> bool:
    """Whether there is an archive in `directory`."""
    return False


def archives(directory: str | Path) -> list[TraderId]:
    """Return the traders that have an archive in `directory`, sorted."""
    return []
