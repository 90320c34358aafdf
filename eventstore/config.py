"""Settings, checked when they are made. The one place where environment variables are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from eventstore.durability import Durability
from eventstore.errors import ConfigError
from workers.backlog import OnFull

Fsync = Literal["never", "interval", "always"]
Kind = Literal["server", "sentinel", "cluster"]

SCHEMES: Final[dict[str, tuple[Kind, str]]] = {
    "redis": ("server", "redis"),
    "rediss": ("server", "rediss"),
    "unix": ("server", "unix"),
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
}
"""What each scheme of a URL leads to, and the scheme of one of its servers. Two s mean TLS."""

PURGE_AFTER_S_MAX = 3_155_760_000
"""The longest time that something may have to be closed to be purged, in seconds: a hundred years."""

# annotation → what it says to people, and to Python
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("a bool", (bool,)),
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "str": ("text", (str,)),
    "str | Path": ("a path", (str, Path)),
}

# name → (least, most): a setting outside is a slip of the pen, not a wish.
_BOUNDS: dict[str, tuple[float, float]] = {
    "timeout_s": (0.001, 3600),
    "load_timeout_s": (0.001, 86_400),
    "close_timeout_s": (0, 86_400),
    "block_timeout_s": (0, 86_400),
    "batch_count_max": (1, 10_000),
    "batch_bytes_max": (1024, 64 << 20),
    "linger_ms": (0, 10_000),
    "look_interval_s": (0.01, 86_400),
    "backlog_count_max": (1, 100_000_000),
    "backlog_bytes_max": (1024, 1 << 40),
    "purge_interval_s": (0.01, 86_400),
    "value_bytes_max": (1, 256 << 20),
    "retained_bytes_max": (1024, 1 << 40),
    "journal_fsync_interval_ms": (1, 60_000),
    "journal_bytes_max": (1 << 15, 1 << 44),
    "journal_segment_bytes": (1 << 14, 1 << 32),
    "archive_least_entries": (1, 1_000_000),
    "archive_interval_s": (0.01, 86_400),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDatabaseConfig:
    """How a database connects, batches and waits.

    Parameters
    ----------
    url : str, optional
        ``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://`` or ``redis+cluster://``: see
        docs/operations.md. None: the embedded server of `directory`.
    credentials : callable, optional
        Gives user name and password as a tuple, instead of the URL. It is called for every connection, on whatever
        thread makes it; so also again when the server says that a password is wrong. The name may be empty.
    directory : str or Path, optional
        Where the embedded server keeps its data. None: see `default_directory`.
    timeout_s : float, default 5.0
        For connecting, and for each answer of the server.
    load_timeout_s : float, default 30.0
        How long a load waits until what was accepted before it is applied.
    close_timeout_s : float, default 10.0
        How long `close` waits until everything is written.
    batch_count_max : int, default 256
        Commands in a batch.
    batch_bytes_max : int, default 1 MiB
        Bytes of commands in a batch; a larger single command is a batch of its own.
    linger_ms : float, default 4.0
        How long the first command of a batch waits for others at most.
    look_interval_s : float, default 5.0
        How long the writer may have nothing to write before it looks whether the server still has what it confirmed,
        and whether somebody took over. Otherwise the next call finds that out.
    backlog_count_max : int, default 500,000
        Commands that may wait to be written.
    backlog_bytes_max : int, default 256 MiB
        Bytes that waiting values, component states and snapshots may hold together; with a journal, all commands.
    on_full : "block", "raise" or "spill", default "block"
        What a call does when the backlog is full: wait up to `block_timeout_s`, raise `BacklogFull` at once, or leave
        the command in the journal alone, from where it is read back. When that is full, too, "spill" raises.
    block_timeout_s : float, default 5.0
        See `on_full`.
    value_bytes_max : int, default 8 MiB
        Bytes of one general value, or of one component's state.
    heartbeat_interval_s : float, optional
        Write a heartbeat that often. None: only when `heartbeat` is called.
    purge_closed_after_s : float, optional
        Purge orders and positions from the views that long after their last event, if they are closed. None: only when
        `purge` is called.
    purge_account_events : bool, default False
        Whether account events that are older than that are purged, too, but for the last one of each account.
    purge_interval_s : float, default 300
        How often it is looked what can be purged.
    strict_loads : bool, default True
        Whether a load raises at a damaged record. If not, it leaves the object out, logs it, and notes it in `damaged`.
    allow_eviction : bool, default False
        Whether a server that may evict keys is accepted.
    retained_bytes_max : int, default 32 MiB
        Bytes of commands that were applied and are kept, in case the server is set back: written again then. With a
        journal, bytes of its files; less where `journal_bytes_max` leaves no room for it.
    durability : str, default "applied"
        When a command counts as durable: ``applied``, when the server has it; ``replicated(n)``, when `n` replicas have
        it, too; ``aof(local, replicas)``, when it is on the disk of the server (`local` 1) and of so many replicas.
    journal : str or Path, optional
        Directory of the journal, on a local disk. What a call returned from is in it, and survives this process.
    journal_fsync : "never", "interval" or "always", default "interval"
        When the journal goes to the disk itself, so that it survives this host, too: when the system likes, every
        `journal_fsync_interval_ms`, or before each call returns.
    journal_fsync_interval_ms : float, default 100
        See `journal_fsync`.
    journal_bytes_max : int, default 4 GiB
        Bytes of the journal's files together; at least twice `journal_segment_bytes`.
    journal_segment_bytes : int, default 64 MiB
        Bytes of one of them.
    aside : str or Path, optional
        Directory of the files for commands that can not be written any more, where there is no journal: when another
        writer took over, the writer failed, or `close` had no time. None: beside `default_directory`, under its name
        with ``-aside`` behind it.
    archive : str or Path, optional
        Directory of the archive. What is old enough goes there from the server in the background, as far as it is
        durable, so that the log does not grow for ever. Needs at least one of the next two.
    archive_after_s : float, optional
        Seconds after which an entry may go.
    archive_keep_entries : int, optional
        How many entries stay at least. With `archive_after_s`, an entry goes when both let it.
    archive_least_entries : int, default 8192
        How many entries have to have come together before a file is made of them.
    archive_interval_s : float, default 60.0
        Seconds between two looks.
    close_on_sigterm : bool, default True
        Whether SIGTERM closes the database before it ends the process, where nobody else handles that signal.

    Raises
    ------
    ConfigError
        If a setting is of another type or out of its bounds, or both `url` and `directory` are given.
    """

    url: str | None = field(default=None, repr=False)  # which may have a password in it
    directory: str | Path | None = None
    credentials: Callable[[], tuple[str, str]] | None = field(default=None, repr=False)
    timeout_s: float = 5.0
    load_timeout_s: float = 30.0
    close_timeout_s: float = 10.0
    batch_count_max: int = 256
    batch_bytes_max: int = 1 << 20
    linger_ms: float = 4.0
    look_interval_s: float = 5.0
    backlog_count_max: int = 500_000
    backlog_bytes_max: int = 256 << 20
    on_full: OnFull = "block"
    block_timeout_s: float = 5.0
    value_bytes_max: int = 8 << 20
    heartbeat_interval_s: float | None = None
    purge_closed_after_s: float | None = None
    purge_account_events: bool = False
    purge_interval_s: float = 300.0
    strict_loads: bool = True
    allow_eviction: bool = False
    retained_bytes_max: int = 32 << 20
    durability: str = "applied"
    journal: str | Path | None = None
    journal_fsync: Fsync = "interval"
    journal_fsync_interval_ms: float = 100.0
    journal_bytes_max: int = 4 << 30
    journal_segment_bytes: int = 64 << 20
    aside: str | Path | None = None
    archive: str | Path | None = None
    archive_after_s: float | None = None
    archive_keep_entries: int | None = None
    archive_least_entries: int = 8192
    archive_interval_s: float = 60.0
    close_on_sigterm: bool = True

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check_type(setting.name, str(setting.type), getattr(self, setting.name))
        if self.url is not None and self.url.partition("://")[0] not in SCHEMES:
            raise ConfigError(f"url: expected one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        if self.url is not None and self.directory is not None:
            raise ConfigError("give either url or directory, not both: directory is for the embedded server")
        if self.credentials is not None and not callable(self.credentials):
            raise ConfigError("credentials: expected something that returns user name and password when it is called")
        if self.on_full not in ("block", "raise", "spill"):
            raise ConfigError(f"on_full: expected 'block', 'raise' or 'spill', got {self.on_full!r}")
        if self.on_full == "spill" and self.journal is None:
            raise ConfigError("on_full: 'spill' needs a journal to spill to; give its directory as journal")
        if self.journal_fsync not in ("never", "interval", "always"):
            raise ConfigError(f"journal_fsync: expected 'never', 'interval' or 'always', got {self.journal_fsync!r}")
        Durability.parse(self.durability)
        for name, (least, most) in _BOUNDS.items():
            self._check(name, getattr(self, name), least, most)
        if 2 * self.journal_segment_bytes > self.journal_bytes_max:
            raise ConfigError(
                f"journal_segment_bytes: {self.journal_segment_bytes} is more than half of journal_bytes_max, "
                f"{self.journal_bytes_max}: one file is written while the next one is made"
            )
        if self.heartbeat_interval_s is not None:
            self._check("heartbeat_interval_s", self.heartbeat_interval_s, 0.01, 86_400)
        if self.purge_closed_after_s is not None:
            self._check("purge_closed_after_s", self.purge_closed_after_s, 0, PURGE_AFTER_S_MAX)
        if self.purge_account_events and self.purge_closed_after_s is None:
            raise ConfigError("purge_account_events: say after how long, with purge_closed_after_s")
        self._check_archive()

    def _check_archive(self) -> None:
        if self.archive_after_s is not None:
            self._check("archive_after_s", self.archive_after_s, 0, 10**9)
        if self.archive_keep_entries is not None:
            self._check("archive_keep_entries", self.archive_keep_entries, 0, 10**12)
        said = self.archive_after_s is not None or self.archive_keep_entries is not None
        if self.archive is None and said:
            raise ConfigError("archive_after_s and archive_keep_entries need a directory: give it as archive")
        if self.archive is not None and not said:
            raise ConfigError("archive: say which entries may go, by archive_after_s or archive_keep_entries or both")

    @staticmethod
    def _check(name: str, value: float, least: float, most: float) -> None:
        if not least <= value <= most:
            raise ConfigError(f"{name}: {value} is not between {least} and {most}")

    @classmethod
    def at(cls, place: str | Path) -> CacheDatabaseConfig:
        """Return the default settings for `place`: a URL, or the data directory of an embedded server."""
        if isinstance(place, str) and "://" in place:
            return cls(url=place)
        return cls(directory=place)

    @classmethod
    def from_environment(cls) -> CacheDatabaseConfig:
        """Return the settings of the environment: ``EVENTSTORE_JOURNAL`` is `journal`, and so on for every setting
        but `credentials`.

        A flag is ``true`` or ``false``; what is not set has its default.

        Raises
        ------
        ConfigError
            If a setting can not be read, or is out of its bounds.
        """
        given: dict[str, Any] = {}
        for setting in fields(cls):
            if setting.name == "credentials":
                continue  # a program gives them; a URL may name a file
            variable = f"EVENTSTORE_{setting.name.upper()}"
            text = os.environ.get(variable)
            if text is not None:
                given[setting.name] = _read(variable, text, str(setting.type))
        return cls(**given)


def _check_type(name: str, annotation: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is of the type that the annotation of a setting says."""
    kind = annotation.removesuffix(" | None")
    if kind not in _TYPES or (value is None and kind != annotation):
        return
    wanted, types = _TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ConfigError(f"{name}: expected {wanted}, got {type(value).__name__}")
    if kind == "str | Path" and not str(value):  # which would be the present directory
        raise ConfigError(f"{name}: it is empty; leave it out, or say what it is to be")


def _read(variable: str, text: str, kind: str) -> object:
    """Return the setting of that `kind`, an annotation, that `text` says."""
    kind = kind.removesuffix(" | None")
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except (KeyError, ValueError):
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
        raise ConfigError(f"{variable}: expected {wanted}, got {text!r:.80}") from None
    if not text:  # which would be the present directory
        raise ConfigError(f"{variable}: it is empty; unset it, or say what it is to be")
    return text


def aside_directory(config: CacheDatabaseConfig) -> Path:
    """Where what can not be written is set aside if there is no journal."""
    if config.aside is not None:
        return Path(config.aside)
    data = default_directory()  # in which an embedded server wants to be alone
    return data.with_name(f"{data.name}-aside")


def default_directory() -> Path:
    """Where the embedded server keeps its data if nothing is said.

    ``$EVENTSTORE_DIR``, else ``eventstore`` in ``$XDG_DATA_HOME``, else in ``~/.local/share``.
    """
    chosen = os.environ.get("EVENTSTORE_DIR")
    if chosen:
        return Path(chosen)
    data_home = os.environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "eventstore"
