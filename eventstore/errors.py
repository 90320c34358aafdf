"""Errors of this library. Every one derives from :class:`EventStoreError` and says what to do next.

Errors of the trading model (a bad price, an illegal order transition) are in `eventstore.model.errors`.
"""

from pathlib import Path


class EventStoreError(Exception):
    """Root of the errors that this library raises on its own account."""


class EmbeddedServerError(EventStoreError):
    """The embedded server cannot be found, started, attached to or stopped."""


class ConfigError(EventStoreError, ValueError):
    """A setting is out of its bounds, or two settings contradict each other."""


class Refused(EventStoreError, ValueError):
    """A call was refused; nothing of it was accepted and the log is untouched."""


class UnknownId(Refused):
    """An update or snapshot of something that this process neither added nor loaded."""


class AlreadyAdded(Refused):
    """An add of something that was added before and is not new."""


class StaleObject(Refused):
    """The object's history is not a continuation of what was written for it."""


class TooLarge(Refused):
    """A value is over the size that one command may have."""


class BacklogFull(EventStoreError):
    """The backlog is at its bound and the writer did not make room in time. The command was not accepted."""


class Closed(EventStoreError):
    """The database is closed, or was inherited through a fork: it takes no more calls."""


class SyncTimeout(EventStoreError, TimeoutError):
    """What was accepted was not applied in the time given. It is still in the backlog and will be written."""


class CodecError(EventStoreError, ValueError):
    """Bytes that are no record of this library, or a record that can not be stored."""


class UnknownSchema(CodecError):
    """A record of a type or schema version that this version of the library does not know."""


class DamagedRecord(EventStoreError):
    """A stored record can not be read. Carries the `key` and the `field` where it stands."""

    def __init__(self, key: str, field: str, reason: str) -> None:
        super().__init__(
            f"{key} {field}: {reason}; the log still has the original command: "
            "compare with it, or load with strict_loads=False to get the rest"
        )
        self.key = key
        self.field = field
        self.reason = reason


class JournalError(EventStoreError):
    """The journal can not be used, or could not take or give what it was asked for."""


class JournalDamaged(JournalError):
    """A file of the journal is damaged at a place behind which there is more. Carries the `path` and the `offset`."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{path}: offset {offset}: {reason}. Nothing was changed. Keep a copy of the directory; look at it with "
            f"`eventstore journal inspect {path.parent}` and save what is whole with "
            f"`eventstore journal salvage {path.parent}`"
        )
        self.path = path
        self.offset = offset
        self.reason = reason


class JournalRefused(JournalError):
    """The journal is another trader's, of a newer version of this library, or in use by another process."""


class JournalFull(JournalError):
    """The journal has no room: its disk is full, or it is at its bound. The command was not accepted."""


class StorageError(EventStoreError):
    """Root of what goes wrong at the server, classified once, at the edge."""


class Retryable(StorageError):
    """It passes by itself: the same batch is sent again."""


class Held(StorageError):
    """Somebody has to act (memory, disk, credentials): the batch is kept, sent again slowly, and an alarm is logged."""


class Fatal(StorageError):
    """Going on would damage the log: the writer stops and every further call raises."""


class Fenced(Fatal):
    """A newer writer took over this trader's log."""


class Diverged(Fatal):
    """The log at the server is not the one this writer left: a gap, another chain, or a foreign type at a key."""


class DataLoss(Fatal):
    """The log at the server lost positions `first` to `last`, which it had confirmed, and nobody here retains them."""

    def __init__(self, message: str, first: int, last: int) -> None:
        super().__init__(message)
        self.first = first
        self.last = last


class WriterFailed(EventStoreError):
    """The writer has stopped because of a fatal error, the cause of this one; nothing more is accepted."""


class AuditError(EventStoreError):
    """What was asked of a log can not be answered from what there is of it."""


class LogGap(AuditError):
    """Positions `first` to `last` are missing from what there is of a log."""

    def __init__(self, message: str, first: int, last: int) -> None:
        super().__init__(message)
        self.first = first
        self.last = last


class ArchiveError(AuditError):
    """An archive can not be used, is damaged, or is not of this log."""


class ArchiveDamaged(ArchiveError):
    """A file of an archive is not as it was sealed. Carries the `path` and the `offset`, in bytes."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(
            f"{path}: offset {offset}: {reason}. Nothing was changed; bring the file back from a copy of the archive"
        )
        self.path = path
        self.offset = offset
        self.reason = reason
