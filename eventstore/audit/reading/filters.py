"""Which entries of a log somebody wants to see. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from eventstore import commands as c
from eventstore.audit.plain import NS_IN_MS
from eventstore.audit.reading.facts import FAMILIES, Facts, family_of
from eventstore.chain import LogEntry
from eventstore.model.events import ORDER_EVENTS, AccountState

EVENT_KINDS = (*ORDER_EVENTS, AccountState.__name__)
COMMAND_KINDS = tuple(kind.__name__ for kind in c.KINDS)
_NAMED = {name.lower(): name for name in (*FAMILIES, *COMMAND_KINDS, *EVENT_KINDS)}
_FIXARRAY, _FIXARRAY_MASK = 0x90, 0xF0


class Moment(NamedTuple):
    """A place in a log: a position, or a time in UNIX nanoseconds."""

    position: int | None
    time_ns: int | None


class Filter:
    """Which entries: those that fit every one of the arguments that are given.

    Parameters
    ----------
    kinds : iterable of str
        Names of commands (``UpdateOrder``), of events (``OrderFilled``) or families (``order``), in any case of
        letters. An entry fits if its command or one of its events is one of them.
    ids : iterable of str
        An entry fits if it names one of these: a client order, venue order, trade, position, account, strategy,
        actor or instrument id, the key of a general object, the code of a currency, a client.
    strategies, instruments : iterable of str
        An entry fits if it is about an order, position or saved state of one of the strategies; about one of the
        instruments.
    since, until : Moment, optional
        The first and the last position. Of a time counts the millisecond in which a call was accepted: the one that has
        begun then is in.

    Raises
    ------
    ValueError
        For a kind that there is not, or a moment before the beginning.
    """

    def __init__(
        self,
        kinds: Iterable[str] = (),
        ids: Iterable[str] = (),
        strategies: Iterable[str] = (),
        instruments: Iterable[str] = (),
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> None:
        self.kinds = frozenset(map(_kind, kinds))
        self.ids = frozenset(ids)
        self.strategies = frozenset(strategies)
        self.instruments = frozenset(instruments)
        for moment in (since, until):
            if moment is not None and min(value for value in (*moment, 0) if value is not None) < 0:
                raise ValueError(f"a moment of a log is not negative: {moment}")
        self.since = since or Moment(None, None)
        self.until = until or Moment(None, None)
        self._since_ms = None if self.since.time_ns is None else self.since.time_ns // NS_IN_MS
        self._until_ms = None if self.until.time_ns is None else self.until.time_ns // NS_IN_MS
        self._numbers = self._possible()
        self._needles = [an_id.encode(errors="surrogatepass") for an_id in self.ids]

    def _possible(self) -> frozenset[int] | None:
        """The numbers of the commands that can fit; None if all can."""
        if not self.kinds:
            return None
        possible = set()
        for number, kind in c.COMMANDS.items():
            family = family_of(kind)
            by_event = "events" in kind._fields and any(
                (name == AccountState.__name__) == (family == "account")
                for name in self.kinds.intersection(EVENT_KINDS)
            )
            if by_event or family in self.kinds or kind.__name__ in self.kinds:
                possible.add(number)
        return frozenset(possible)

    def up_to(self, position: int) -> Filter:
        """Return the same filter, with `position` as the last one."""
        until = Moment(position, None)
        return Filter(self.kinds, self.ids, self.strategies, self.instruments, self.since, until)

    @property
    def needs_memory(self) -> bool:
        """Whether it asks for what some entries only show beside earlier ones: strategies and instruments."""
        return bool(self.strategies or self.instruments)

    def begins_by(self, entry: LogEntry) -> bool:
        """Whether `entry` is not before the first one."""
        position, _ = self.since
        return (position is None or entry.position >= position) and (
            self._since_ms is None or entry.accepted_ms >= self._since_ms
        )

    def is_over(self, entry: LogEntry) -> bool:
        """Whether `entry` is behind the last one; then all that follow are."""
        position, _ = self.until
        return (position is not None and entry.position > position) or (
            self._until_ms is not None and entry.accepted_ms > self._until_ms
        )

    def may_fit(self, payload: bytes) -> bool:
        """Whether a command can fit, as far as its bytes say before they are decoded."""
        if self._needles and not any(needle in payload for needle in self._needles):
            return False
        if self._numbers is None or len(payload) < 2 or payload[0] & _FIXARRAY_MASK != _FIXARRAY:
            return True
        number = payload[1]
        return number in self._numbers or number not in c.COMMANDS

    def fits(self, facts: Facts) -> bool:
        """Whether an entry fits, its place aside. One that can not be read fits where no id is asked for."""
        if facts.command is None:
            return not (self.ids or self.strategies or self.instruments)
        if self.kinds and not (
            facts.kind in self.kinds
            or facts.family in self.kinds
            or any(event.__class__.__name__ in self.kinds for event in facts.events)
        ):
            return False
        if self.ids and not any(map(facts.names, self.ids)):
            return False
        if self.strategies and self.strategies.isdisjoint(facts.strategies):
            return False
        return not (self.instruments and self.instruments.isdisjoint(facts.instruments))

    def fits_event(self, facts: Facts, event: Any) -> bool:
        """Whether one event of an entry that fits is asked for: by its own kind, or with its command."""
        return not self.kinds or not self.kinds.isdisjoint((facts.kind, facts.family, event.__class__.__name__))

    def admits(self, facts: Facts) -> bool:
        """Whether an entry fits, its place included."""
        return self.begins_by(facts.entry) and not self.is_over(facts.entry) and self.fits(facts)


def _kind(name: str) -> str:
    found = _NAMED.get(name.lower())
    if found is None:
        raise ValueError(
            f"no kind is called {name!r:.40}; a kind is one of {', '.join(FAMILIES)}, or the name of a command or "
            "event as `eventstore log` shows it"
        )
    return found
