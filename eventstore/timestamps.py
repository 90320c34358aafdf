"""Moments as UNIX nanoseconds. Pure: no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = EPOCH + timedelta(microseconds=(2**64 - 1) // 1000)
"""The last moment whose nanoseconds fit in 64 bits, to the microsecond."""


def unix_ns_of(moment: datetime) -> int:
    """Return `moment`, which has a time zone, as UNIX nanoseconds; negative before 1970."""
    since = moment - EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
