"""Where a log is: at a server, in the data directory of an embedded one, in an archive, or in two of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventstore.audit.archive import Archive, archives, is_archive
from eventstore.audit.log import Log
from eventstore.errors import AuditError
from eventstore.model.identifiers import TraderId
from eventstore.storage.observer import observe


@contextmanager
def open_log(place: str | Path, trader_id: TraderId | None = None, archive: str | Path | None = None) -> Iterator[Log]:
    """Open a log for reading: nothing is claimed, and nothing is written.

    Parameters
    ----------
    place : str or Path
        A URL, the data directory of an embedded server (which is started for as long as this lasts if nobody uses it),
        or the directory of an archive.
    trader_id : TraderId, optional
        Whose log. Default: the only one that there is.
    archive : str or Path, optional
        The directory of the archive that has what `place` has not any more.

    Raises
    ------
    AuditError
        If the trader has no log there, or no trader is named and there are several.
    ArchiveError
        If the archive can not be read.
    StorageError, ConfigError, EmbeddedServerError
        As `eventstore.storage.observer.observe`.
    """
    if "://" not in str(place) and is_archive(place):
        trader_id = trader_id if trader_id is not None else only(archives(place), place)
        yield Log(trader_id, None, Archive.open(place, trader_id))
        return
    with observe(place) as observer:
        trader_id = trader_id if trader_id is not None else only(observer.traders(), observer.url)
        archived = None if archive is None else Archive.open(archive, trader_id)
        stream = observer.reader(trader_id)
        if archived is None and stream.fence() is None:
            raise AuditError(f"{trader_id} has no log at {observer.url}: `eventstore status` shows who has one")
        yield Log(trader_id, stream, archived, observer.behind(trader_id))


def only(traders: list[TraderId], place: str | Path) -> TraderId:
    """Return the one trader who has a log at `place`. Raises `AuditError` if there are several, or none."""
    if len(traders) != 1:
        names = f" ({', '.join(traders)})" if traders else ""
        raise AuditError(
            f"{place} has logs of {len(traders)} traders{names}; name one, with --trader on the command line"
            if traders
            else f"{place} has no log of anybody"
        )
    return traders[0]
