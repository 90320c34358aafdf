"""The journal: accepted commands on the local disk, so that they outlive the process. Knows nothing of Redis."""

from eventstore.journal.journal import Fsync, Journal
from eventstore.journal.record import JournalRecord

__all__ = ["Fsync", "Journal", "JournalRecord"]
