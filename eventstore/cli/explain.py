"""``eventstore explain``: the life of an order, position, account, trade, strategy or actor. Only reads."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from typing import Annotated, Any

import typer

from eventstore.audit import Change, Step, Subject, find_subjects, iso_ms, iso_ns, plain
from eventstore.audit import explain as explained
from eventstore.cli.audited import ArchiveOption, JsonOption, Place, TraderOption, Watched, audited, tell_of_archive
from eventstore.cli.entries import one_line, until_the_reader_has_enough, write_line
from eventstore.cli.output import counted

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_SHOWN_MAX = 120


def explain(
    place: Place,
    an_id: Annotated[str, typer.Argument(metavar="ID", help="Of an order, position, account, trade, strategy, ...")],
    last_n: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last N steps.")] = None,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the life of what has an id: each event, what it changed, and what it follows from. Only reads."""
    with until_the_reader_has_enough(), audited(place, trader, archive) as log:
        tell_of_archive(log)
        total = max(log.end().position - log.start().position, 0)
        with Watched("looking for it", total) as watched:
            subjects = find_subjects(log, an_id, on_entry=lambda _: watched.advance())
        tally = {subject: Tally() for subject in subjects}
        with Watched("reading", total) as watched:
            on_entry = None if sys.stdout.isatty() else lambda _: watched.advance()
            if not as_json:
                write_line(one_line(", ".join(map(str, subjects))))
            steps = explained(log, an_id, subjects=subjects, on_entry=on_entry)
            kept: deque[Step] = deque(maxlen=last_n)
            for step in steps:
                tally[step.subject].add(step)
                if last_n is None:
                    _show(step, as_json, len(subjects) > 1)
                else:
                    kept.append(step)
            for step in kept:
                _show(step, as_json, len(subjects) > 1)
        if not as_json:
            for subject in subjects:
                write_line(one_line(f"{subject}: {tally[subject]}"))


class Tally:
    """What a life came to."""

    def __init__(self) -> None:
        self.steps = 0
        self._states: dict[Subject, dict[str, Any]] = {}

    def add(self, step: Step) -> None:
        """Count a step."""
        self.steps += 1
        if step.of.role in ("order", "position"):
            state = self._states.setdefault(step.of, {})
            state.update((change.name, change.after) for change in step.changes if change.name in _TALLIED)

    def __str__(self) -> str:
        said = [counted(self.steps, "step")]
        for role in ("order", "position"):
            states = [state for of, state in self._states.items() if of.role == role and state]
            if states:
                shown = Counter(str(state.get("status") or state.get("side") or "deleted") for state in states)
                kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(shown.items()))
                said.append(f"{counted(len(states), role)} ({kinds})")
        return "; ".join(said)


_TALLIED = ("status", "side")


def to_json(step: Step) -> dict[str, Any]:
    """Return the documented form of a step."""
    event = step.event
    return {
        "format": FORMAT,
        "subject": {"role": step.subject.role, "id": step.subject.id},
        "of": {"role": step.of.role, "id": step.of.id},
        "position": step.position,
        "entry_id": step.facts.entry.entry_id,
        "accepted": iso_ms(step.facts.accepted_ms),
        "accepted_ns": step.accepted_ns,
        "epoch": step.epoch,
        "kind": step.facts.kind,
        "event": None if event is None else plain(event.to_dict()),
        "ts_event": None if event is None else iso_ns(event.ts_event),
        "ts_event_ns": None if event is None else event.ts_event,
        "says": step.says,
        "changes": [
            {"name": change.name, "before": plain(change.before), "after": plain(change.after)}
            for change in step.changes
        ],
        "causes": [
            {"relation": link.relation, "position": link.position, "certain": link.certain, "about": link.about}
            for link in step.causes
        ],
    }


def _show(step: Step, as_json: bool, several: bool) -> None:
    if as_json:
        write_line(json.dumps(to_json(step), ensure_ascii=False))
        return
    written = [step.facts.kind]
    if step.event is not None:
        written.append(f"ts_event {iso_ns(step.event.ts_event)}")
    if step.epoch is not None:
        written.append(f"epoch {step.epoch}")
    about = f"[{step.subject}] " if several else ""
    named = "" if step.of == step.subject else f"{step.of}: "
    head = f"{step.position:>9}  {iso_ms(step.facts.accepted_ms)}"
    write_line(one_line(f"{head}  {about}{named}{step.says}  ({', '.join(written)})"))
    for link in step.causes:
        if link.relation != "before":
            sure = "from" if link.certain else f"probably from ({link.relation})"
            write_line(one_line(f"{'':>11}{sure} {link.position}: {link.about}"))
    for change in step.changes:
        write_line(
            one_line(f"{'':>11}{change.name}: {_shown(change, change.before)} -> {_shown(change, change.after)}")
        )


def _shown(change: Change, value: Any) -> str:
    if value is not None and change.name.startswith("ts_"):
        return iso_ns(value)
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
