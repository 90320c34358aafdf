"""The journal: accepted commands on the local disk, so that they outlive the process. Knows nothing of Redis."""

from eventstore.journal.aside import read_header, read_records, write_aside
from eventstore.journal.inspection import JournalReport, SegmentReport, inspect
from eventstore.journal.journal import Fsync, Journal
from eventstore.journal.record import JournalRecord, record_bytes
from eventstore.journal.salvaging import Lost, Salvaged, salvage

__all__ = [
    "Fsync",
    "Journal",
    "JournalRecord",
    "JournalReport",
    "Lost",
    "Salvaged",
    "SegmentReport",
    "inspect",
    "read_header",
    "read_records",
    "record_bytes",
    "salvage",
    "write_aside",
]
