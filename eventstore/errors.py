"""Errors of this library. Every one derives from :class:`EventStoreError` and says what to do next."""


class EventStoreError(Exception):
    """Root of the errors that this library raises on its own account."""


class EmbeddedServerError(EventStoreError):
    """The embedded server cannot be found, started, attached to or stopped."""
