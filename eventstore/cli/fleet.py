"""The table of ``eventstore status --all``: one line a trader, over a whole server or cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from eventstore.cli.entries import one_line, write_line
from eventstore.cli.output import bytes_text, counted, iso, print_json
from eventstore.cli.owners import closed, owner_of
from eventstore.storage.fleet import Follower, Standing, followers, standings
from eventstore.storage.observer import Observer

FORMAT: Final = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_HEADS: Final = ("trader", "node", "position", "entries", "memory", "heartbeat", "last entry", "replicas", "writer")
_NUMBERS: Final = frozenset({"position", "entries", "memory", "heartbeat", "last entry"})


class Line(NamedTuple):
    """How the log of one trader stands, and where it is."""

    node: str
    standing: Standing
    read_ns: int

    def to_json(self) -> dict[str, Any]:
        """Return the documented form of it."""
        standing = self.standing
        fence, last = standing.fence, standing.last
        owner = {} if fence is None else owner_of(fence)
        return {
            "trader_id": standing.trader_id,
            "node": self.node,
            "position": None if fence is None else fence.position,
            "entries": standing.entries,
            "memory_bytes": standing.log_bytes,
            "epoch": None if fence is None else fence.epoch,
            "host": owner.get("host"),
            "pid": owner.get("pid"),
            "closed": None if fence is None else closed(fence, last),
            "heartbeat_age_s": self._age_s(standing.heartbeat_ns),
            "last_age_s": self._age_s(None if last is None else last.accepted_ms * 1_000_000),
            "wrong": standing.wrong or None,
        }

    def _age_s(self, ns: int | None) -> float | None:
        return None if ns is None else round((self.read_ns - ns) / 1e9, 3)


def show_all(observer: Observer, *, as_json: bool) -> None:
    """Print how all traders stand who have a log there."""
    lines: list[Line] = []
    nodes: list[tuple[str, list[Follower] | None]] = []
    for node in observer.nodes:
        nodes.append((node.name, followers(node.client)))
        found = list(standings(node.client, observer.traders_of(node)))
        read_ns = time.time_ns()
        lines += [Line(node.name, standing, read_ns) for standing in found]
    lines.sort(key=lambda line: line.standing.trader_id)
    if as_json:
        _print_json(observer.url, nodes, lines)
    else:
        _show(observer.url, nodes, lines)


def _print_json(url: str, nodes: Sequence[tuple[str, list[Follower] | None]], lines: Sequence[Line]) -> None:
    now_ns = time.time_ns()
    print_json(
        {
            "format": FORMAT,
            "url": url,
            "read_at": iso(now_ns),
            "read_at_ns": now_ns,
            "nodes": [
                {
                    "node": name,
                    "traders": sum(line.node == name for line in lines),
                    "replicas": None if replicas is None else [replica._asdict() for replica in replicas],
                }
                for name, replicas in nodes
            ],
            "traders": [line.to_json() for line in lines],
        }
    )


def _show(url: str, nodes: Sequence[tuple[str, list[Follower] | None]], lines: Sequence[Line]) -> None:
    if not lines:
        write_line(f"no trader has a log at {url}")
        return
    behind = {name: _behind(replicas) for name, replicas in nodes}
    rows = [_HEADS, *(_cells(line, behind[line.node]) for line in lines)]
    if len(nodes) == 1:
        rows = [(row[0], *row[2:]) for row in rows]
    # A table of rich's takes seconds for a thousand lines.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
            for cell, width, head in zip(row, widths, rows[0], strict=True)
        ]
        write_line("  ".join(cells).rstrip())
    write_line(f"{counted(len(lines), 'trader')} at {counted(len(nodes), 'node')}")


def _cells(line: Line, behind: str) -> tuple[str, ...]:
    said = line.to_json()
    return (
        one_line(said["trader_id"]),
        line.node,
        "?" if said["position"] is None else f"{said['position']:,}",
        f"{said['entries']:,}",
        bytes_text(said["memory_bytes"]),
        _ago(said["heartbeat_age_s"]),
        _ago(said["last_age_s"]),
        behind,
        _writer(said),
    )


def _writer(said: dict[str, Any]) -> str:
    if said["position"] is None:
        return one_line(said["wrong"] or "its fence is gone")
    end = {True: "closed", False: "open", None: "?"}[said["closed"]]
    wrong = f" {said['wrong']}" if said["wrong"] else ""
    return one_line(f"{said['epoch']:,} {said['host'] or '?'}:{said['pid'] or '?'} {end}{wrong}")


def _behind(replicas: list[Follower] | None) -> str:
    """Return how far the replica is behind that is furthest."""
    if replicas is None:
        return "?"
    if not replicas:
        return "none"
    worst = max(replicas, key=lambda replica: (replica.state != "online", replica.behind_bytes))
    state = "" if worst.state == "online" else f"{worst.state}, "
    return f"{len(replicas)}, {state}{bytes_text(worst.behind_bytes)} behind"


def _ago(seconds: float | None) -> str:
    """Return an age in as little room as it takes."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.1f} s"
