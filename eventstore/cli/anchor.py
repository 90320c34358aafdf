"""``eventstore anchor``: notes where a log ends, to hold it against that later. Only reads the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from eventstore.audit import SigningKey, append_anchor
from eventstore.audit import anchor as anchor_of
from eventstore.cli.audited import ArchiveOption, JsonOption, Place, TraderOption, audited
from eventstore.cli.output import console, iso, print_json


def anchor(
    place: Place,
    archive: ArchiveOption = None,
    trader: TraderOption = None,
    append: Annotated[
        Path | None,
        typer.Option("--append", metavar="FILE", help="Add it to this file, and sync that."),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="PEM", help="Sign it with this private Ed25519 key.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the position and chain head with which the log ends now. `verify --anchor` holds the log against it.

    The log is not verified by this.
    """
    key = None if sign is None else SigningKey(sign)
    with audited(place, trader, archive) as log:
        made = anchor_of(log)
    said = made.described() if key is None else key.signed(made.described())
    if append is not None:
        append_anchor(append, said)
    if as_json:
        print_json(said)
        return
    table = Table.grid(padding=(0, 2))
    table.add_row("  position", f"{made.position:,}, entry {made.entry_id}")
    table.add_row("  chain", made.chain.hex())
    table.add_row("  noted", iso(made.made_ns))
    if key is not None:
        table.add_row("  signature", said["signature"])
    if append is not None:
        table.add_row("  added to", str(append))
    out = console()
    out.print(str(made.trader_id), style="bold", markup=False)
    out.print(table, soft_wrap=True)
