"""What an open database archives by itself, every now and then."""

from __future__ import annotations

import time
from pathlib import Path

from eventstore.audit.archive.archiver import Archiver
from eventstore.audit.archive.retention import Criterion
from eventstore.config import CacheDatabaseConfig
from eventstore.errors import Closed, EventStoreError
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.persister import Persister
from eventstore.storage.reader import Reader
from eventstore.storage.trimmer import Trimmer

_PART = "archive"


class Archiving:
    """Archives the log that `persister` writes, as far as it is durable, on a connection of its own.

    Calling it does what there is to do. A failure shows in the health until a call succeeds; trading goes on. A call
    that is under way when the database is closed ends at its next step, and the next run completes it.
    """

    def __init__(
        self, directory: str | Path, trader_id: TraderId, config: CacheDatabaseConfig, persister: Persister
    ) -> None:
        self._persister = persister
        self._least = config.archive_least_entries
        self._criterion = Criterion(older_than_s=config.archive_after_s, keep_entries=config.archive_keep_entries)
        keys = Keys(trader_id)
        self._client = persister.client("archiver")
        self._archiver = Archiver(
            directory,
            trader_id,
            Reader(self._client, keys),
            Trimmer(self._client, keys),
            on_entries=self._pause,
            on_step=self._pause,
        )

    def __call__(self) -> None:
        """Archive what may go. Raises `Closed` once the database is closed or its writer has failed."""
        persister = self._persister
        self._pause()
        try:
            done = self._archiver.run(self._criterion, persister.durable.position, self._least)
        except Closed:
            raise
        except Exception as error:
            persister.say("warning", "the log could not be archived; it is tried again", error=str(error))
            persister.board.trouble(_PART, f"the log is not archived: {error}")
            if not isinstance(error, EventStoreError):
                raise
        else:
            persister.board.well(_PART)
            if done.segments:
                persister.say("info", "archived the log", entries=done.entries, position=done.end.position)
        finally:
            self._client.connection_pool.disconnect()  # it is idle for a while

    def _pause(self, _: object = None) -> None:
        """Between two steps: let others have the interpreter, and see whether it is over."""
        if self._persister.durable.failure is not None or self._persister.closed:
            raise Closed("archive: the database is closed, or its writer has failed")
        time.sleep(0)
