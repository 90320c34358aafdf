"""``eventstore tail``: the last entries of a log, and those that come, until interrupted. Only reads."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from eventstore.audit import follow, last
from eventstore.audit.reading.entries import backwards
from eventstore.cli.audited import ArchiveOption, JsonOption, Place, TraderOption, audited
from eventstore.cli.entries import (
    FullOption,
    IdOption,
    InstrumentOption,
    KindOption,
    StrategyOption,
    filter_of,
    show,
    until_the_reader_has_enough,
)


def tail(
    place: Place,
    kind: KindOption = None,
    an_id: IdOption = None,
    strategy: StrategyOption = None,
    instrument: InstrumentOption = None,
    last_n: Annotated[int, typer.Option("--last", metavar="N", min=0, help="How many that fit to begin with.")] = 10,
    full: FullOption = False,
    trader: TraderOption = None,
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last entries of a log, then each that comes, until interrupted. Only reads."""
    wanted = filter_of(kind, an_id, strategy, instrument, None, None)
    with (
        _until_interrupted(),
        until_the_reader_has_enough(),
        audited(place, trader, archive) as opened,
    ):
        end = next(backwards(opened), None)
        seen = [] if end is None else last(opened, last_n, wanted.up_to(end.position))
        for facts in seen:
            show(facts, as_json, full)
        sys.stdout.flush()
        for facts in follow(opened, end, wanted, pause=time.sleep, notice=_notice):
            show(facts, as_json, full)
            sys.stdout.flush()


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """End in order at Ctrl-C and at SIGTERM: to be ended is what a follower is for."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _notice(text: str) -> None:
    sys.stderr.write(f"{' '.join(text.split())}\n")
    sys.stderr.flush()
