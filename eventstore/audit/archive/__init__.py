"""Archives: the part of a log that is not at the server any more, in files that never change."""

from eventstore.audit.archive.archive import Archive, archives, is_archive

__all__ = ["Archive", "archives", "is_archive"]
