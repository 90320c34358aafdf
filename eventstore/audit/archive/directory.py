"""Where archives are: one directory a trader, in a directory that they share."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

from eventstore.audit.archive import manifest
from eventstore.errors import ArchiveError
from eventstore.file_lock import FileLock, LockTaken
from eventstore.journal.files import LOCK as JOURNAL_LOCK
from eventstore.model.identifiers import TraderId
from eventstore.storage.data_directory import is_data_directory

LOCK: Final = "archive.lock"
_NAME_MAX: Final = 200


def trader_directory(directory: str | Path, trader_id: TraderId) -> Path:
    """Return where the archive of `trader_id` is.

    Its name is the id, percent-encoded as in a URL. Where that is longer than a name may be, it is the beginning, ``+``
    and a digest; the manifest has the id.
    """
    name = quote(trader_id, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _NAME_MAX:
        digest = hashlib.blake2b(trader_id.encode(), digest_size=16).hexdigest()
        name = f"{name[: _NAME_MAX - 33]}+{digest}"
    return Path(directory, name)


def is_archive(directory: str | Path) -> bool:
    """Whether there is an archive of anybody in `directory`. Never raises."""
    return bool(_manifests(directory))


def archives(directory: str | Path) -> list[TraderId]:
    """Return the traders that have an archive in `directory`, sorted. Raises as `manifest.load`."""
    loaded = [manifest.load(path.parent) for path in _manifests(directory)]
    return sorted(each.trader_id for each in loaded if each is not None)


def _manifests(directory: str | Path) -> list[Path]:
    return sorted(path for path in Path(directory).glob(f"*/{manifest.NAME}") if path.is_file())


def own_directory(directory: str | Path, trader_id: TraderId) -> Path:
    """Make the directory of `trader_id`, or check that it is ours alone. Raises `ArchiveError`."""
    home = trader_directory(os.path.realpath(directory), trader_id)
    if is_data_directory(directory):
        raise ArchiveError(f"{directory} has the data of an embedded server; name another directory for the archive")
    if (home / JOURNAL_LOCK).exists():
        raise ArchiveError(f"{home} is a journal; name another directory for the archive")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise ArchiveError(
                f"{home} is not a directory of user id {os.geteuid()}, as which this process runs; run as the user "
                "whose it is, or name another directory"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise ArchiveError(
                f"{home} has mode {status.st_mode & 0o7777:04o}, so other users could read what was traded; run "
                f"`chmod 700 '{home}'`"
            )
    except OSError as error:
        raise ArchiveError(f"{home} can not be an archive: {error}; name another directory") from error
    return home


def lock(home: Path) -> FileLock:
    """Say that this process writes to an archive; readers need no lock. Raises `ArchiveError` if another one does."""
    try:
        return FileLock(home / LOCK)
    except LockTaken as taken:
        raise ArchiveError(f"{home}: process {taken.holder} is archiving there; wait until it is done") from taken
