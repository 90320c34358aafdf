"""The journal: accepted commands on the local disk, so that they outlive the process. Knows nothing of Redis."""

from eventstore.journal.aside import read_header, read_records, write_aside
from eventstore.journal.journal import Fsync, Journal
from eventstore.journal.record import JournalRecord

__all__ = ["Fsync", "Journal", "JournalRecord", "read_header", "read_records", "write_aside"]
