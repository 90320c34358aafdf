"""What was seen of the servers that a URL leads to. What could not be seen is said, never assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from eventstore.durability import Durability
from eventstore.model.identifiers import TraderId
from eventstore.permissions import Task, Topology

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a database is to be like that is opened there.

    Attributes
    ----------
    trader_id : TraderId or None
        Whose log; None if it was not said.
    task : str
        What the user is there for.
    durability : Durability
    value_bytes_max : int
        The larger one of the bytes of a batch and of a value.
    from_replica : bool
        Whether loads go to a replica.
    """

    trader_id: TraderId | None = None
    task: Task = "writer"
    durability: Durability = field(default_factory=Durability)
    value_bytes_max: int = 8 << 20
    from_replica: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who we are at a server, and what we may do there.

    Attributes
    ----------
    user : str or None
        None if the server does not say.
    may : Mapping[str, bool]
        Commands of which it was seen whether they are allowed.
    unseen : str
        Why the others were not; empty if all were.
    open_to_anybody : bool or None
        Whether who gives no password is let in; None if that was not seen.
    """

    user: str | None = None
    may: Mapping[str, bool] = field(default_factory=dict)
    unseen: str = ""
    open_to_anybody: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """Whether scripts run.

    Attributes
    ----------
    refused : str
        What the server said to a script that does nothing; empty if it ran.
    has_messagepack : bool
    asks_permission : bool
        Whether a script can ask what its user may do.
    """

    refused: str = ""
    has_messagepack: bool = True
    asks_permission: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How far a server's clock is ahead of this host's, in seconds, give or take `error_s`; and a round trip."""

    ahead_s: float
    error_s: float
    round_trip_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server.

    Attributes
    ----------
    address : str
        ``host:port``, or the path of a socket.
    is_replica : bool
        Whether somebody else says that it is a replica, or it does.
    has_log : bool
        Whether it is the one that takes the writes of the trader.
    refused : str
        Why nothing else is known of it; empty if it could be asked.
    refused_us : bool
        Whether that is because of who we are.
    info : Mapping[str, str]
        What ``INFO`` says; empty if it was refused.
    config : Mapping[str, str]
        What ``CONFIG GET`` says.
    config_refused : str
        Why not; empty if it was allowed.
    keeps_halves : bool or None
        Whether it may execute the half of a transaction that a crash broke off; None if unknown.
    """

    address: str
    is_replica: bool = False
    has_log: bool = False
    refused: str = ""
    refused_us: bool = False
    info: Mapping[str, str] = field(default_factory=dict)
    info_refused: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    config_refused: str = ""
    keeps_halves: bool | None = None
    clock: Clock | None = None
    clock_refused: str = ""
    scripts: Scripts | None = None
    access: Access = field(default_factory=Access)

    @property
    def flavour(self) -> str:
        """What it is: ``Redis``, ``Valkey``, or something else."""
        for name, shown in (("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly")):
            if name in self.info:
                return shown
        said = self.info.get("server_name", "redis")
        return "Redis" if said == "redis" else said.title()

    @property
    def version_text(self) -> str:
        """Its own version."""
        names = ("valkey_version", "dragonfly_version", "redis_version")
        return next((self.info[name] for name in names if name in self.info), "?")

    @property
    def version(self) -> Version | None:
        """Major and minor of its own version; None if it does not say."""
        return _version(self.version_text)

    @property
    def compatible(self) -> Version | None:
        """Major and minor of the version of Redis that it is, or says to be like."""
        return _version(self.info.get("redis_version", ""))

    def number(self, name: str) -> int | None:
        """Return a number of ``INFO``, or None."""
        try:
            return int(float(self.info[name]))
        except (KeyError, ValueError):
            return None

    def setting(self, *names: str) -> str | None:
        """Return a setting, which other versions call otherwise; None if it was not seen."""
        return next((self.config[name] for name in names if name in self.config), None)

    def size(self, *names: str) -> int | None:
        """Return a setting that is a number, or None."""
        try:
            return int(self.setting(*names) or "")
        except ValueError:
            return None

    def replicas(self) -> list[dict[str, str]]:
        """Return what ``INFO`` says of the replicas that are connected."""
        told = [text for name, text in self.info.items() if name[:5] == "slave" and name[5:].isdigit()]
        return [dict(part.split("=", 1) for part in text.split(",") if "=" in part) for text in told]


def _version(text: str) -> Version | None:
    parts = text.split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinel:
    """What one sentinel says of the primary; `refused`, if it says nothing."""

    address: str
    refused: str = ""
    primary: str = ""
    quorum: int = 0
    others: int = 0
    flags: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What a node says of its cluster.

    Attributes
    ----------
    refused : str
        Why nothing else is known.
    state : str
        ``ok`` or ``fail``; empty if it could not be seen.
    covered : int
        How many of the 16,384 slots have a primary.
    slot : int or None
        Of the trader.
    owner : str
        Who has that.
    primaries : Mapping[str, int]
        Address → how many replicas it has.
    """

    refused: str = ""
    state: str = ""
    covered: int = 0
    slot: int | None = None
    owner: str = ""
    primaries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """The keys of a trader, as far as their names are fixed.

    Attributes
    ----------
    refused : str
        Why nothing else is known.
    moving_to : str
        The node of a cluster that their slot is being moved to; then nothing else is known. Empty if it is not.
    kinds : Mapping[str, tuple of (str, str)]
        Key → which type it has, and which it should have. Only those that are there.
    expiring : tuple of str
        Those that will vanish by themselves.
    fence_id : str or None
        The last entry by the fence; None without one.
    last_id : str or None
        The last entry of the log; None without one.
    """

    refused: str = ""
    moving_to: str = ""
    kinds: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    expiring: tuple[str, ...] = ()
    fence_id: str | None = None
    last_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was seen.

    Attributes
    ----------
    topology : "plain", "sentinel" or "cluster"
    wire : "socket", "loopback", "tls" or "plain"
        What is between here and there.
    servers : tuple of Server
        Where the log is first; then its replicas; then the other primaries of a cluster.
    recommended : Mapping[str, int]
        The settings that save memory.
    embedded : bool
        Whether it is an embedded server: this library writes its settings, at every start, and only the user of its
        directory reaches it.
    """

    wanted: Wanted
    topology: Topology
    wire: Literal["socket", "loopback", "tls", "plain"]
    servers: tuple[Server, ...]
    sentinels: tuple[Sentinel, ...] = ()
    cluster: Cluster | None = None
    keys: LogKeys | None = None
    recommended: Mapping[str, int] = field(default_factory=dict)
    embedded: bool = False

    def seen(self) -> list[Server]:
        """Return the servers that could be asked."""
        return [server for server in self.servers if not server.refused]

    def replica_count(self) -> int:
        """Return how many replicas a server has, at most, as far as anybody says."""
        return max((len(server.replicas()) for server in self.servers), default=0)
