"""``eventstore doctor``: whether servers are set up for what is promised. Only reads."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from eventstore.cli.acl import Role
from eventstore.cli.audited import JsonOption, ServerPlace, named_trader
from eventstore.cli.output import console, counted, iso, naming, print_json, working
from eventstore.config import CacheDatabaseConfig
from eventstore.doctor import SEVERITIES, Finding, examine
from eventstore.doctor.facts import Facts, Wanted
from eventstore.durability import Durability
from eventstore.errors import ConfigError
from eventstore.permissions import Task
from eventstore.storage import examination
from eventstore.storage.location import redact

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""

_SHOWN = {"wrong": "red", "warning": "yellow", "unseen": "magenta", "note": "cyan", "ok": "green"}
_SAID = {"unseen": "not seen"}


def doctor(
    place: ServerPlace,
    trader: Annotated[
        str | None, typer.Option("--trader", metavar="ID", help="Look at this trader's keys, too.")
    ] = None,
    role: Annotated[Role, typer.Option(help="What the user of the URL is there for.")] = Role.WRITER,
    durability: Annotated[
        str | None,
        typer.Option(metavar="D", help="What will be asked for: applied, replicated(n) or aof(local, replicas)."),
    ] = None,
    largest: Annotated[
        int | None,
        typer.Option(
            "--largest", metavar="BYTES", min=1, help="The larger one of batch_bytes_max and value_bytes_max."
        ),
    ] = None,
    all_findings: Annotated[bool, typer.Option("--all", help="Show what is as it should be, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether servers are set up for what is promised, and how to mend what is not. Only reads.

    Exit status 1 if something is wrong.
    """
    config = CacheDatabaseConfig.from_environment()
    try:
        asked = Durability.parse(config.durability if durability is None else durability)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--durability") from error
    wanted = Wanted(
        trader_id=None if trader is None else named_trader(trader),
        task=cast(Task, str(role)),
        durability=asked,
        value_bytes_max=max(config.batch_bytes_max, config.value_bytes_max) if largest is None else largest,
    )
    with naming(place), working("looking"), examination.located(place) as url:
        facts = examination.examine(url, wanted, embedded="://" not in place)
    findings = examine(facts)
    if as_json:
        _print_json(redact(url), facts, findings)
    else:
        _show(redact(url), findings, all_findings=all_findings)
    if any(finding.severity == "wrong" for finding in findings):
        raise typer.Exit(1)


def _print_json(url: str, facts: Facts, findings: list[Finding]) -> None:
    now_ns = time.time_ns()
    count = Counter(finding.severity for finding in findings)
    print_json(
        {
            "format": FORMAT,
            "url": url,
            "read_at": iso(now_ns),
            "read_at_ns": now_ns,
            "topology": facts.topology,
            "trader_id": facts.wanted.trader_id,
            "role": facts.wanted.task,
            "durability": str(facts.wanted.durability),
            "servers": [
                {
                    "address": server.address,
                    "replica": server.is_replica,
                    "version": f"{server.flavour} {server.version_text}" if server.info else None,
                }
                for server in facts.servers
            ],
            "counts": {severity: count[severity] for severity in SEVERITIES},
            "findings": [_described(finding) for finding in findings],
        }
    )


def _described(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"at": finding.at or None}


def _show(url: str, findings: list[Finding], *, all_findings: bool) -> None:
    out = console()
    out.print(url, style="bold", markup=False, soft_wrap=True)
    several = len({finding.at for finding in findings if finding.at}) > 1
    for severity in SEVERITIES:
        if severity == "ok" and not all_findings:
            continue
        alike: dict[tuple[str, str, str | None], list[Finding]] = {}
        for finding in findings:
            if finding.severity == severity:
                alike.setdefault((finding.name, finding.means, finding.mend), []).append(finding)
        for (name, means, mend), these in alike.items():
            line = Text("  ")
            line.append(f"{_SAID.get(severity, severity):<8}  ", _SHOWN[severity])
            line.append(name, "bold")
            line.append(f": {_found(these, several=several)}")
            out.print(line, soft_wrap=True)
            out.print(f"            {means}", markup=False, soft_wrap=True)
            if mend is not None:
                out.print(f"            mend: {mend}", markup=False, soft_wrap=True)
    count = Counter(finding.severity for finding in findings)
    said = [f"{count[severity]} {_SAID.get(severity, severity)}" for severity in SEVERITIES if count[severity]]
    out.print(f"{counted(len(findings), 'thing')} looked at: {', '.join(said)}", markup=False)


def _found(findings: list[Finding], *, several: bool) -> str:
    """Return what was found, and where, if there are several places; each thing once."""
    places: dict[str, list[str]] = {}
    for finding in findings:
        places.setdefault(finding.found, []).extend([finding.at] if several and finding.at else [])
    return "; ".join(f"{found} ({', '.join(ats)})" if ats else found for found, ats in places.items())
