"""What is to be thought of servers: pure functions from what was seen to what is said of it."""

from __future__ import annotations

from eventstore.doctor import access, keys, limits, memory, network, persistence, replication, topology, version
from eventstore.doctor.facts import Facts
from eventstore.doctor.findings import SEVERITIES, Finding, Severity

__all__ = ["SEVERITIES", "Facts", "Finding", "Severity", "examine"]

_JUDGES = (topology, access, version, memory, persistence, replication, limits, network, keys)


def examine(facts: Facts) -> list[Finding]:
    """Return what is to be said of what was seen, in a fixed order."""
    return [finding for judge in _JUDGES for finding in judge.judge(facts)]
