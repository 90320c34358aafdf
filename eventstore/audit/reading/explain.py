"""The life of an order, position, account, trade, strategy or actor: every entry that concerns it, and what it changed.

What caused an entry is a link back to an earlier one. The log says where an order's fill came into a position: both
entries hold the trade. It does not say which fills an account's state follows from: those links are marked as not
certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from eventstore import commands as c
from eventstore.audit.log import Log
from eventstore.audit.plain import NS_IN_MS
from eventstore.audit.reading.facts import FactReader, Facts
from eventstore.audit.reading.folds import AccountFold, OrderFold, PositionFold, Shown, StateFold
from eventstore.audit.reading.gist import event_gist, gist
from eventstore.audit.reading.subjects import Subject, find_subjects
from eventstore.chain import LogEntry
from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.errors import CodecError, DamagedRecord
from eventstore.model.errors import ModelError
from eventstore.model.events import AccountState, OrderFilled

_FILLS_MAX = 10_000  # of one account between two of its states


class Change(NamedTuple):
    """A value of the state that is another than before; None where there was none, or is none any more."""

    name: str
    before: Any
    after: Any


class Link(NamedTuple):
    """An earlier entry that this one follows from: `relation` says how.

    `certain` is whether the log says so. If not, it is only the order of things that does.
    """

    relation: str
    position: int
    certain: bool
    about: str


class Step(NamedTuple):
    """One event in the life of `subject`, or one entry without events.

    Parameters
    ----------
    subject : Subject
        Whose life it is.
    of : Subject
        What the entry is about: the subject itself, or what it had an effect on.
    facts : Facts
        The entry.
    event : Event or None
    says : str
        The gist of it.
    changes : list of Change
        What is other than before in the state of `of`.
    causes : list of Link
    epoch : int or None
        The writer that wrote it; None where what was read does not begin with its opening.
    """

    subject: Subject
    of: Subject
    facts: Facts
    event: Any
    says: str
    changes: list[Change]
    causes: list[Link]
    epoch: int | None

    @property
    def position(self) -> int:
        """The place of the entry in the log."""
        return self.facts.position

    @property
    def accepted_ns(self) -> int:
        """When the call was accepted, UNIX nanoseconds, as the log knows it: to the millisecond."""
        return self.facts.accepted_ms * NS_IN_MS


def explain(
    log: Log,
    an_id: str,
    *,
    subjects: list[Subject] | None = None,
    serializer: Serializer | None = None,
    on_entry: Callable[[LogEntry], object] | None = None,
) -> Iterator[Step]:
    """Yield the life of whatever has `an_id`, in the order of the log. What is several things has several lives.

    The log is read twice, the first time to find what `an_id` is. What is kept in memory is the state of what concerns
    it: of a strategy its orders and positions.

    Parameters
    ----------
    subjects : list of Subject, optional
        What `find_subjects` found, if that is known.
    on_entry : callable, optional
        Is told of each entry that is read.

    Raises
    ------
    AuditError
        If nothing has that id.
    LogGap
        If entries are missing.
    DamagedRecord
        If an entry that concerns it can not be read, or the events do not follow from each other.
    """
    if subjects is None:
        subjects = find_subjects(log, an_id, serializer, on_entry)
    lives = [_Life(subject, log, serializer) for subject in subjects]
    needles = [subject.needle for subject in subjects]
    reader = FactReader(log.trader_id, serializer)
    epoch = None
    remembers = any(subject.role == "strategy" for subject in subjects)
    for entry in log.entries(log.start().position):
        if on_entry is not None:
            on_entry(entry)
        number = entry.payload[1] if len(entry.payload) > 1 else 0
        if not (
            number in _ALWAYS
            or (remembers and number in _WITHOUT_ORIGIN)
            or any(needle in entry.payload for needle in needles)
            or any(life.waits_for(entry.payload) for life in lives)
        ):
            continue
        facts = reader.read(entry)
        if isinstance(facts.command, c.Opened):
            epoch = facts.command.epoch
        for life in lives:
            yield from life.steps(facts, epoch)


# What tells of writers and flushes; and what does not say itself whose it is.
_ALWAYS = frozenset(c.KINDS[kind] for kind in (c.Opened, c.Flushed))
_WITHOUT_ORIGIN = frozenset(
    number for number, kind in c.COMMANDS.items() if "order_id" in kind._fields or "position_id" in kind._fields
)


class _Fill(NamedTuple):
    position: int
    trade_id: str
    ts_event: int
    about: str


class _Life:
    """What one subject has come to."""

    def __init__(self, subject: Subject, log: Log, serializer: Serializer | None) -> None:
        self.subject = subject
        self._log = log
        self._serializer = serializer or MsgPackSerializer()
        self._orders: dict[str, OrderFold] = {}
        self._positions: dict[str, PositionFold] = {}
        self._accounts: dict[str, AccountFold] = {}
        self._states: dict[Subject, StateFold] = {}
        self._trades: dict[tuple[str, str], int] = {}
        self._last: dict[Subject, int] = {}
        self._fills: dict[str, dict[tuple[str, str], _Fill]] = {}

    def waits_for(self, payload: bytes) -> bool:
        """Whether an entry may be the state of an account that a fill of the subject is followed by."""
        return any(account.encode() in payload for account in self._fills)

    def steps(self, facts: Facts, epoch: int | None) -> Iterator[Step]:
        """Yield what an entry means for the subject."""
        if isinstance(facts.command, c.Flushed):
            yield from self._flushed(facts, epoch)
            return
        concerned = self._concerned(facts)
        for_account = facts.family == "account" and not concerned and self._fills.keys() & set(facts.accounts)
        if not (concerned or for_account):
            self._other_fills(facts)
            return
        if facts.command is None or facts.error is not None:
            raise DamagedRecord(self._log.keys.log, facts.entry.entry_id, str(facts.error))
        of = self._of(facts)
        try:
            yield from self._folded(facts, of, epoch)
        except (ModelError, CodecError, TypeError) as error:
            raise DamagedRecord(
                self._log.keys.log, facts.entry.entry_id, f"it does not follow from the history of {of}: {error}"
            ) from error

    def _concerned(self, facts: Facts) -> bool:
        role, an_id = self.subject
        if role == "order":
            return an_id in facts.orders
        if role == "trade":
            return an_id in facts.trades
        if role == "position":
            # Orders that were filled into it, and the notes that they belong to it, too.
            return an_id in facts.positions
        if role == "account":
            return an_id in facts.accounts and (facts.family == "account" or bool(facts.trades))
        if role == "strategy":
            return an_id in facts.strategies
        return an_id in facts.components

    @staticmethod
    def _of(facts: Facts) -> Subject:
        role = facts.family if facts.family in ("order", "position", "account", "strategy", "actor") else "?"
        return Subject(role, facts.key or "?")

    def _folded(self, facts: Facts, of: Subject, epoch: int | None) -> Iterator[Step]:
        command: Any = facts.command  # which `steps` has looked at
        fold: OrderFold | PositionFold | AccountFold | StateFold | None
        if of.role == "order":
            fold = self._orders.setdefault(of.id, OrderFold())
            states: Iterator[Any] = fold.apply(command, facts.events)
        elif of.role == "position":
            fold = self._positions.setdefault(of.id, PositionFold())
            states = fold.apply(command, facts.events, self._serializer)
        elif of.role == "account":
            fold = self._accounts.setdefault(of.id, AccountFold())
            states = fold.apply(command, facts.events)
        elif of.role in ("strategy", "actor"):
            fold = self._states.setdefault(of, StateFold())
            states = fold.apply(command)
        else:
            fold, states = None, iter([None])
        partial = self._is_partial(of)
        before: Shown = fold.shown() if fold is not None and not partial else {}
        if partial:
            fold, states = None, iter(facts.events or [None])
        for event in states:
            if not self._mine(event):
                before = before if fold is None else fold.shown()
                continue
            after: Shown = {} if fold is None else fold.shown()
            says = gist(facts) if event is None else f"{type(event).__name__} {event_gist(event)}".rstrip()
            causes = self._causes(facts, of, event)
            yield Step(self.subject, of, facts, event, says, _changes(before, after), causes, epoch)
            before = after
            self._note(facts, of, event)
        self._last[of] = facts.position

    def _is_partial(self, of: Subject) -> bool:
        """Whether only some of what concerns `of` is read for this subject, so that there is no state of it."""
        role = self.subject.role
        if of == self.subject or of.role in ("strategy", "actor"):
            return False
        return not (role == "strategy" and of.role in ("order", "position"))

    def _mine(self, event: Any) -> bool:
        """Whether an event of an entry that holds several is about the subject."""
        if event is None or not isinstance(event, OrderFilled):
            return event is None or self.subject.role not in ("trade", "account") or isinstance(event, AccountState)
        role, an_id = self.subject
        if role == "order":
            return event.client_order_id == an_id
        if role == "trade":
            return event.trade_id == an_id
        return role != "account" or event.account_id == an_id

    # -- Causes ------------------------------------------------------------------------------------------------

    def _note(self, facts: Facts, of: Subject, event: Any) -> None:
        if not isinstance(event, OrderFilled):
            return
        if of.role == "order":
            self._trades[event.client_order_id, event.trade_id] = facts.position
        fills = self._fills.setdefault(event.account_id, {})
        about = f"{event.order_side.name} {event.last_qty} @ {event.last_px} of order {event.client_order_id}"
        # The position's copy of a fill comes behind the order's.
        fills.setdefault(
            (event.client_order_id, event.trade_id), _Fill(facts.position, event.trade_id, event.ts_event, about)
        )
        if len(fills) > _FILLS_MAX:
            del fills[next(iter(fills))]

    def _other_fills(self, facts: Facts) -> None:
        """Behind a fill of another order, the next state of the account is that one's."""
        if facts.family == "order" and self._fills and self.subject.role != "account":
            for event in facts.events:
                if isinstance(event, OrderFilled):
                    self._fills.pop(event.account_id, None)

    def _causes(self, facts: Facts, of: Subject, event: Any) -> list[Link]:
        causes = []
        if isinstance(event, OrderFilled) and of.role == "position":
            at = self._trades.pop((event.client_order_id, event.trade_id), None)
            if at is not None:
                causes.append(
                    Link("fill", at, certain=True, about=f"trade {event.trade_id} of order {event.client_order_id}")
                )
        if isinstance(event, AccountState):
            for fill in self._fills.pop(event.account_id, {}).values():
                same = "at the same time" if fill.ts_event == event.ts_event else "next account state"
                causes.append(Link(same, fill.position, certain=False, about=f"trade {fill.trade_id}: {fill.about}"))
        before = self._last.get(of)
        if before is not None and before != facts.position:
            causes.append(Link("before", before, certain=True, about=str(of)))
        return causes

    def _flushed(self, facts: Facts, epoch: int | None) -> Iterator[Step]:
        if not self._last:
            return
        yield Step(self.subject, self.subject, facts, None, gist(facts), [], [], epoch)
        for known in (self._orders, self._positions, self._accounts, self._states):
            known.clear()
        for noted in (self._trades, self._last, self._fills):
            noted.clear()


def _changes(before: Shown, after: Shown) -> list[Change]:
    names = [*after, *(name for name in before if name not in after)]
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]
