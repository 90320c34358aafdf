"""What is said of one thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["ok", "note", "warning", "wrong", "unseen"]

SEVERITIES: Final[tuple[Severity, ...]] = ("wrong", "warning", "unseen", "note", "ok")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found where, and what that means.

    Attributes
    ----------
    name : str
        What was looked for; docs/cli.md lists them.
    severity : "ok", "note", "warning", "wrong" or "unseen"
        ``note``: it may be meant so. ``warning``: it costs something that was promised, when something else happens.
        ``wrong``: it does so now, or nothing can be written. ``unseen``: nobody lets us look.
    at : str
        Which server; empty for all of them together.
    looked_at : str
        The setting, or the command that says it.
    found : str
        What it is.
    means : str
        What that means for the guarantees.
    mend : str or None
        The setting or the command that makes it right; None if there is nothing to mend.
    """

    name: str
    severity: Severity
    at: str
    looked_at: str
    found: str
    means: str
    mend: str | None = None


class Look:
    """One thing that is looked at: what is found there becomes a `Finding`."""

    def __init__(self, name: str, at: str, looked_at: str) -> None:
        self._about = (name, at, looked_at)

    def ok(self, found: str, means: str) -> Finding:
        """Nothing to do."""
        return self._finding("ok", found, means)

    def note(self, found: str, means: str, mend: str | None = None) -> Finding:
        """It may be meant so."""
        return self._finding("note", found, means, mend)

    def warning(self, found: str, means: str, mend: str) -> Finding:
        """It costs something when something else happens."""
        return self._finding("warning", found, means, mend)

    def wrong(self, found: str, means: str, mend: str) -> Finding:
        """It costs something now."""
        return self._finding("wrong", found, means, mend)

    def unseen(self, why: str, means: str, mend: str) -> Finding:
        """It could not be seen."""
        return self._finding("unseen", f"could not be seen: {why}", means, mend)

    def _finding(self, severity: Severity, found: str, means: str, mend: str | None = None) -> Finding:
        name, at, looked_at = self._about
        return Finding(name, severity, at, looked_at, found or "nothing", means, mend)
