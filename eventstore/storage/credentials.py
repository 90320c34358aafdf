"""Who we say that we are, asked anew for every connection: a password that was changed is used from then on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import redis

Credentials = Callable[[], tuple[str, str]]
"""Gives user name and password; the name may be empty, for the default user."""


class NoCredentials(redis.AuthenticationError):
    """Whoever is to say who we are did not: somebody has to act, and it is tried again."""


class AskedAnew(redis.CredentialProvider):
    """Asks `credentials` for every connection that is made."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return what the driver authenticates with.

        Raises
        ------
        NoCredentials
            If they can not be had.
        """
        try:
            username, password = self._credentials()
        except Exception as error:
            raise NoCredentials(str(error) or type(error).__name__) from error
        return (username, password) if username else (password,)


def from_file(path: Path) -> Credentials:
    """Return what reads `path`: the first line is the user name, or empty, and the second the password."""

    def read() -> tuple[str, str]:
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"credentials_file {path} can not be read: {reason}") from error
        if len(lines) < 2:
            raise ValueError(f"credentials_file {path} has to have two lines, user name and password")
        return lines[0], lines[1]

    return read
