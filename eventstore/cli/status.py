"""``eventstore status``: how the logs at a server stand. Only reads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from eventstore.cli.audited import named_trader, observed
from eventstore.cli.fleet import show_all
from eventstore.cli.output import CommandFailed, age_text, bytes_text, console, iso, print_json
from eventstore.cli.owners import closed, owner_of
from eventstore.errors import DamagedRecord
from eventstore.keys import Keys
from eventstore.model.identifiers import TraderId
from eventstore.storage.observer import Observer
from eventstore.storage.reader import Fence, Reader

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class TraderStatus:
    """How the log of one trader stands, as read at `read_ns`."""

    trader_id: TraderId
    fence: Fence
    owner: Mapping[str, Any]
    closed: bool | None
    log_entries: int
    log_bytes: int
    views: dict[str, int]
    heartbeat_ns: int | None
    read_ns: int

    def to_json(self) -> dict[str, Any]:
        """Return the documented form of it."""
        fence, owner = self.fence, self.owner
        since_ns = fence.claimed_ms * 1_000_000
        heartbeat = None
        if self.heartbeat_ns is not None:
            heartbeat = {
                "at": iso(self.heartbeat_ns),
                "at_ns": self.heartbeat_ns,
                "age_s": self._age_s(self.heartbeat_ns),
            }
        return {
            "trader_id": str(self.trader_id),
            "position": fence.position,
            "last_entry_id": fence.last_id,
            "chain": fence.chain.hex(),
            "writer": {
                "epoch": fence.epoch,
                "host": owner.get("host"),
                "pid": owner.get("pid"),
                "instance": owner.get("instance"),
                "library": owner.get("library"),
                "python": owner.get("python"),
                "since": iso(since_ns),
                "since_ns": since_ns,
                "closed": self.closed,
            },
            "log": {"entries": self.log_entries, "memory_bytes": self.log_bytes},
            "views": self.views,
            "heartbeat": heartbeat,
        }

    def _age_s(self, ns: int) -> float:
        return round((self.read_ns - ns) / 1e9, 3)

    def show(self, launched: bool) -> None:
        """Print it for people. `launched`: the server was not running, so nobody writes."""
        fence, owner = self.fence, self.owner
        if self.closed:
            end = "closed in order"
        elif launched:
            end = "[red]ended without closing[/]"
        else:
            end = "not closed: it runs, or it died"
        since_ns = fence.claimed_ms * 1_000_000
        views = [f"{name} {count:,}" for name, count in self.views.items() if count]
        table = Table.grid(padding=(0, 2))
        table.add_row("  position", f"{fence.position:,}, entry {fence.last_id}")
        table.add_row("  log", f"{self.log_entries:,} entries, {bytes_text(self.log_bytes)}")
        table.add_row(
            "  writer", f"epoch {fence.epoch:,}, host {owner.get('host', '?')}, pid {owner.get('pid', '?')}: {end}"
        )
        table.add_row("", f"since {iso(since_ns)}, {age_text(self._age_s(since_ns))}")
        if self.heartbeat_ns is None:
            table.add_row("  heartbeat", "none")
        else:
            table.add_row("  heartbeat", f"{iso(self.heartbeat_ns)}, {age_text(self._age_s(self.heartbeat_ns))}")
        table.add_row("  views", ", ".join(views) or "empty")
        out = console()
        out.print(str(self.trader_id), style="bold", markup=False)
        out.print(table)


def status(
    place: Annotated[str, typer.Argument(metavar="URL|DIR", help="The server, or an embedded server's directory.")],
    trader: Annotated[str | None, typer.Option(metavar="ID", help="Only this trader; otherwise all of them.")] = None,
    all_traders: Annotated[bool, typer.Option("--all", help="One line a trader, over a server or cluster.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document; see docs/cli.md.")] = False,
) -> None:
    """Show how far the log is, who writes it, and what the views hold. Only reads."""
    if all_traders and trader is not None:
        raise typer.BadParameter("it shows all traders, and --trader one of them", param_hint="--all")
    with observed(place) as observer:
        if all_traders:
            show_all(observer, as_json=as_json)
            return
        traders = observer.traders() if trader is None else [named_trader(trader)]
        found = [trader_status(observer, trader_id) for trader_id in traders]
    if as_json:
        now_ns = time.time_ns()
        described = [each.to_json() for each in found]
        print_json(
            {"format": FORMAT, "url": observer.url, "read_at": iso(now_ns), "read_at_ns": now_ns, "traders": described}
        )
        return
    for each in found:
        each.show(observer.launched)
    if not found:
        console().print(f"no trader has a log at {observer.url}", markup=False, soft_wrap=True)


def trader_status(observer: Observer, trader_id: TraderId) -> TraderStatus:
    """Read how the log of `trader_id` stands, one thing after the other: a writer at work may move it meanwhile.

    Raises
    ------
    CommandFailed
        If the trader has no log there.
    """
    reader = observer.reader(trader_id)
    fence = reader.fence()
    if fence is None:
        raise CommandFailed(f"{trader_id} has no log at {observer.url}; without --trader, those who have one are shown")
    entries, log_bytes = reader.log_size()
    views = reader.sizes()
    views.pop(_HEARTBEAT)  # shown by its time
    return TraderStatus(
        trader_id=trader_id,
        fence=fence,
        owner=owner_of(fence),
        closed=closed(fence, reader.last()),
        log_entries=entries,
        log_bytes=log_bytes,
        views=views,
        heartbeat_ns=_heartbeat_ns(reader, Keys(trader_id).heartbeat),
        read_ns=time.time_ns(),
    )


def _heartbeat_ns(reader: Reader, key: str) -> int | None:
    text = reader.field(key, "timestamp")
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise DamagedRecord(key, "timestamp", f"no time: {error}") from error
