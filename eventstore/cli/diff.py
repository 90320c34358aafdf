"""``eventstore diff``: what differs between two states. Only reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from eventstore.audit import Difference, State, iso_ms, iso_ns
from eventstore.audit import diff as differences
from eventstore.cli.audited import ArchiveOption, JsonOption, Place, TraderOption, audited, state_at_moment
from eventstore.cli.entries import one_line, until_the_reader_has_enough, write_line
from eventstore.cli.output import counted

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_MOMENT = "A position, or a time in ISO 8601 (UTC)."
_SHOWN_MAX = 100
_MARKS = {"added": "+", "removed": "-", "changed": " "}


def diff(
    place: Place,
    before: Annotated[str | None, typer.Argument(metavar="FROM", help=_MOMENT)] = None,
    after: Annotated[str | None, typer.Argument(metavar="TO", help=f"{_MOMENT} By default the end.")] = None,
    other: Annotated[
        str | None, typer.Option("--with", metavar="URL|DIR", help="Compare with this place, instead of two moments.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="MOMENT", help="With --with: when. By default now.")] = None,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    other_archive: Annotated[
        Path | None, typer.Option("--with-archive", metavar="DIR", help="The archive of the place in --with.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what differs between two moments of one log, or between the logs of two places. Status 1 if anything does."""
    if (before is None) == (other is None):
        raise typer.BadParameter(
            "give two moments (diff URL|DIR FROM TO), or another place (diff URL|DIR --with OTHER)"
        )
    if other is None and (at is not None or other_archive is not None):
        raise typer.BadParameter("--at and --with-archive go with --with")
    with audited(place, trader, archive) as log:
        if other is None:
            states = state_at_moment(log, before), state_at_moment(log, after)
        else:
            with audited(other, trader or log.trader_id, other_archive) as second:
                states = state_at_moment(log, at), state_at_moment(second, at)
    found = differences(*states)
    count = 1  # of those that were printed when the reader had enough
    with until_the_reader_has_enough():
        count = _print_json(found) if as_json else _show(found, *states)
    if count:
        raise typer.Exit(1)


def _print_json(found: Iterable[Difference]) -> int:
    count = 0
    for each in found:
        write_line(json.dumps({"format": FORMAT, **each._asdict()}, ensure_ascii=False))
        count += 1
    return count


def _show(found: Iterator[Difference], before: State, after: State) -> int:
    count = things = 0
    for (family, an_id), group in groupby(found, lambda each: (each.family, each.id)):
        listed = list(group)
        things += 1
        count += len(listed)
        for line in _lines(family, an_id, listed):
            write_line(one_line(line))
    where = f"{_place(before)} and {_place(after)}"
    if count:
        write_line(f"{counted(count, 'difference')} in {counted(things, 'thing')} between {where}")
    else:
        write_line(f"no difference between {where}")
    return count


def _place(state: State) -> str:
    if not state.position:
        return "the beginning"
    return f"position {state.position:,} ({iso_ms(state.accepted_ms)})"


def _lines(family: str, an_id: str, listed: list[Difference]) -> Iterator[str]:
    if not listed[0].field:
        each = listed[0]
        value = each.before if each.change == "removed" else each.after
        changed = each.change == "changed"
        said = f"{_text(each.before)} -> {_text(value)}" if changed else "" if value is True else _text(value)
        yield f"{_MARKS[each.change]} {family} {an_id}  {said}".rstrip()
        return
    yield f"  {family} {an_id}"
    for each in listed:
        before, after = _text(each.before, each.field), _text(each.after, each.field)
        said = f"{before} -> {after}" if each.change == "changed" else before if each.change == "removed" else after
        yield f"    {_MARKS[each.change]} {each.field}  {said}"


def _text(value: Any, field: str = "") -> str:
    """A value for people: of an event or an object what it is, a time as such, of anything long its beginning."""
    if value is None:
        return "-"
    if isinstance(value, int) and field.rpartition(".")[2].startswith("ts_"):
        return iso_ns(value)
    if isinstance(value, dict):
        told = [str(value[name]) for name in ("type", "status", "side", "quantity", "instrument_id") if name in value]
        if told:
            return " ".join(told)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
