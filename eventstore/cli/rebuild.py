"""``eventstore rebuild``: the views written anew from the log, where they are not what it says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eventstore.audit import Rebuilt
from eventstore.audit import rebuild as rebuild_views
from eventstore.audit.rebuild import Step
from eventstore.cli.audited import ArchiveOption, JsonOption, ServerPlace, TraderOption, Watched, audited
from eventstore.cli.entries import one_line, write_line
from eventstore.cli.output import counted, print_json
from eventstore.model.identifiers import TraderId

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_SHOWN_MAX = 20
_SAID = {"missing": "was not there", "extra": "did not belong there", "different": "held something else"}


def rebuild(
    place: ServerPlace,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what is wrong.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the views of a server what its log says, in one step. Nobody sees half of it; a writer may be at work."""
    with audited(place, trader, archive) as log, Watched("reading the log", log.end().position) as watched:
        # The last step may take a while, and nothing else shows that it has begun.
        on_step = _told if sys.stderr.isatty() else lambda step: None
        done = rebuild_views(log, dry_run=dry_run, on_step=on_step, on_entry=lambda _: watched.advance())
        trader_id = log.trader_id
    if as_json:
        print_json(
            {
                "format": FORMAT,
                "trader_id": trader_id,
                "position": done.position,
                "views": done.views,
                "dry_run": dry_run,
                "swapped": done.swapped,
                "wrong": [{"key": key, "was": was} for was, key in _named(done)],
            }
        )
    else:
        _show(trader_id, done, dry_run)
    if dry_run and done.wrong:
        raise typer.Exit(1)


def _told(step: Step) -> None:
    if step == "swap":
        sys.stderr.write("putting the views in their places\n")


def _named(done: Rebuilt) -> list[tuple[str, str]]:
    return [(was, key) for was in _SAID for key in getattr(done, was)]


def _show(trader_id: TraderId, done: Rebuilt, dry_run: bool) -> None:
    views = f"{counted(done.views, 'view')} of position {done.position:,}"
    if not done.wrong:
        write_line(f"{trader_id}: all {views} are what the log says; nothing to do")
        return
    for was, key in _named(done)[:_SHOWN_MAX]:
        write_line(one_line(f"  {key} {_SAID[was]}"))
    if done.wrong > _SHOWN_MAX:
        write_line(f"  … and {done.wrong - _SHOWN_MAX:,} more")
    wrong = f"{counted(done.wrong, 'view')} {'is' if done.wrong == 1 else 'are'} not what the log says"
    verb = f"{wrong}; nothing was changed" if dry_run else f"{counted(done.wrong, 'view')} put right, in one step"
    write_line(f"{trader_id}: {verb}; the log makes {views}")
