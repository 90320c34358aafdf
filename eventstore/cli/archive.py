"""``eventstore archive``: move the beginning of a log into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eventstore.audit.archive import Segment
from eventstore.audit.archive.archiver import Archiver, Outcome
from eventstore.audit.archive.retention import Criterion
from eventstore.audit.places import only
from eventstore.cli.audited import JsonOption, ServerPlace, TraderOption, Watched, named_trader, observed
from eventstore.cli.output import CommandFailed, bytes_text, console, counted, print_json
from eventstore.cli.units import age_s, size_bytes
from eventstore.model.identifiers import TraderId

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""


def archive(
    place: ServerPlace,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The archive's directory.")],
    before: Annotated[
        int | None, typer.Option(metavar="POSITION", min=1, help="Archive what is before this position.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Archive what was accepted longer ago, such as 30d, 12h, 90m.")
    ] = None,
    keep: Annotated[int | None, typer.Option(metavar="N", min=0, help="Archive all but the last N entries.")] = None,
    keep_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Archive all but the last entries of this size, such as 500MB.")
    ] = None,
    trader: TraderOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Seal what may go into files, verify them, and only then trim the log. A run that was interrupted is completed.

    With several conditions, those entries go for which all of them hold. The writer may be at work meanwhile.
    """
    if before is None and older_than is None and keep is None and keep_bytes is None:
        raise typer.BadParameter("say what may go: --before, --older-than, --keep or --keep-bytes")
    criterion = Criterion(
        before_position=before,
        older_than_s=None if older_than is None else age_s(older_than),
        keep_entries=keep,
        keep_bytes=None if keep_bytes is None else size_bytes(keep_bytes),
    )
    with observed(place) as observer:
        trader_id = only(observer.traders(), observer.url) if trader is None else named_trader(trader)
        stream = observer.reader(trader_id)
        if stream.fence() is None:
            raise CommandFailed(f"{trader_id} has no log at {observer.url}, so there is nothing to archive")
        with Watched("looking" if dry_run else "archiving") as watched:
            archiver = Archiver(to, trader_id, stream, observer.trimmer(trader_id), on_entries=watched.advance)
            done = archiver.look(criterion) if dry_run else archiver.run(criterion)
        entries, log_bytes = stream.log_size()
    if as_json:
        print_json(
            {
                "format": FORMAT,
                "trader_id": trader_id,
                "directory": str(to),
                "dry_run": dry_run,
                "entries": done.entries,
                "trimmed": done.trimmed,
                "end": {"position": done.end.position, "chain": done.end.chain.hex()},
                "segments": [_described(segment) for segment in done.segments],
                "log": {"entries": entries, "memory_bytes": log_bytes},
            }
        )
        return
    _show(trader_id, to, done, dry_run)
    console().print(f"  the log at the server has {counted(entries, 'entry', 'entries')}, {bytes_text(log_bytes)}")


def _described(segment: Segment) -> dict[str, Any]:
    return {
        "file": segment.file,
        "first": segment.first,
        "last": segment.last,
        "entries": segment.entries,
        "bytes": segment.size,
        "digest": segment.digest,
    }


def _show(trader_id: TraderId, to: Path, done: Outcome, dry_run: bool) -> None:
    out = console()
    out.print(trader_id, style="bold", markup=False)
    if dry_run:
        out.print(f"  {counted(done.entries, 'entry', 'entries')} would be archived, up to {done.end.position:,}")
        return
    if not done.segments:
        out.print(f"  nothing to archive: the archive ends at {done.end.position:,}")
    for segment in done.segments:
        out.print(
            f"  {segment.file}: {counted(segment.entries, 'entry', 'entries')}, {bytes_text(segment.size)}",
            soft_wrap=True,
        )
    out.print(
        f"  archived {counted(done.entries, 'entry', 'entries')} and trimmed {done.trimmed:,}; {to} ends at "
        f"{done.end.position:,}, chain head {done.end.chain.hex()}",
        markup=False,
        soft_wrap=True,
    )
