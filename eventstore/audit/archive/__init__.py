"""Archives: the part of a log that is not at the server any more, in files that never change."""

from eventstore.audit.archive.archive import Archive
from eventstore.audit.archive.check import Problem
from eventstore.audit.archive.directory import archives, is_archive
from eventstore.audit.archive.manifest import Segment

__all__ = ["Archive", "Problem", "Segment", "archives", "is_archive"]
