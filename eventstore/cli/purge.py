"""``eventstore purge``: take what is closed out of the views of a node that does not run."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstore.audit.places import only
from eventstore.cli.audited import JsonOption, ServerPlace, TraderOption, named_trader, observed
from eventstore.cli.output import CommandFailed, console, counted, print_json, working
from eventstore.cli.status import trader_status
from eventstore.cli.units import age_s
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase

FORMAT = 1
"""Version of what ``--json`` prints; see docs/cli.md."""


def purge(
    place: ServerPlace,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Purge what had its last event longer ago, such as 30d, 12h, 90m.")
    ],
    account_events: Annotated[
        bool, typer.Option("--account-events", help="Purge old account events, too, but the last of each account.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Even if the last writer has not closed. If it runs, it stops.")
    ] = False,
    trader: TraderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take closed orders and positions out of the views. The log keeps them, and says that it was done.

    This writes to the log, so it is for a node that does not run. One that runs purges by itself, if it is configured
    to.
    """
    age = age_s(older_than)
    with observed(place) as observer:
        trader_id = only(observer.traders(), observer.url) if trader is None else named_trader(trader)
        if not trader_status(observer, trader_id).closed and not take_over:
            raise CommandFailed(
                f"{trader_id}: the last writer has not closed; if it runs, purging from here would stop it. Let the "
                "node purge (purge_closed_after_s), end it first, or say --take-over"
            )
        config = CacheDatabaseConfig.at(place)
        with RedisCacheDatabase(trader_id, config=config) as database, working("purging"):
            purged = database.purge(older_than_s=age, account_events=account_events)
            position = database.sync(config.close_timeout_s)
    if as_json:
        print_json({"format": FORMAT, "trader_id": trader_id, "position": position} | purged._asdict())
        return
    out = console()
    out.print(trader_id, style="bold", markup=False)
    out.print(
        f"  purged {counted(purged.orders, 'order')}, {counted(purged.positions, 'position')}, "
        f"{counted(purged.cycles, 'earlier cycle')} of positions, {counted(purged.account_events, 'account event')}"
    )
