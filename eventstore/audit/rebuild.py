"""The views written anew from the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from eventstore.audit.log import Log
from eventstore.audit.replay import Fold
from eventstore.audit.verification.chain_check import ChainCheck
from eventstore.audit.verification.findings import Finding
from eventstore.chain import BEGIN, LogEntry
from eventstore.errors import AuditError
from eventstore.loader import collector_paused
from eventstore.storage.shadows import Content, Shadows, shown

Verdict = Literal["missing", "extra", "different"]
"""What is wrong with a view: it is not there, it does not belong there, or it holds something else."""

Step = Literal["clear", "fold", "compare", "shadow", "verify", "swap", "done"]

_ATTEMPTS_MAX = 1000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found, and what it did.

    Attributes
    ----------
    position : int
        The last position of the log that the views were compared with.
    views : int
        How many views the log makes.
    missing, extra, different : list of str
        The names of the views that were not there, did not belong there, or held something else.
    swapped : bool
        Whether they were replaced: False if nothing was wrong, or if nothing was to be changed.
    """

    position: int
    views: int
    missing: list[str]
    extra: list[str]
    different: list[str]
    swapped: bool

    @property
    def wrong(self) -> int:
        """How many views were not as they have to be."""
        return len(self.missing) + len(self.extra) + len(self.different)


def rebuild(
    log: Log,
    *,
    dry_run: bool = False,
    attempts_max: int = _ATTEMPTS_MAX,
    on_step: Callable[[Step], object] = lambda step: None,
    on_entry: Callable[[LogEntry], object] = lambda entry: None,
) -> Rebuilt:
    """Make the views of a server what the log says.

    The log is folded, and its chain checked. Each view that is not the fold is written anew under another name and read
    back. Then all of them are put in their places in one step, and what does not belong there is deleted in the same.
    Until then nothing that anybody reads is changed, and a load that is under way begins again. The log is not written.

    A writer may be at work meanwhile: what it writes is folded, too, and the step is done only where the log ends. If
    this is interrupted, what it had written under other names stays until the next rebuild deletes it.

    Parameters
    ----------
    log : Log
        The whole log, with its archive if a part is only there.
    dry_run : bool, default False
        Whether to change nothing and only say what is wrong.
    attempts_max : int, default 1000
        How often to go on with the log when a writer was faster.
    on_step : callable, optional
        Is told of each step before it is done, and of ``done``.
    on_entry : callable, optional
        Is told of each entry before it is applied.

    Raises
    ------
    AuditError
        If the log is in an archive alone; if its chain is broken; if a writer was always faster, or another rebuild
        came in between. No view was changed.
    LogGap
        If the log is not whole. No view was changed.
    DamagedRecord
        If an entry can not be read. No view was changed.
    StorageError
        If the server can not be reached or refuses. Unless it was the answer to the last step that did not come, no
        view was changed.
    """
    if log.stream is None:
        raise AuditError(
            f"rebuild of {log.trader_id}: an archive has no views; name the server, and the archive with it"
        )
    if log.behind is not None:
        raise AuditError(f"rebuild of {log.trader_id}: a replica can not be written; leave out read_from=replica")
    with collector_paused():
        return _Rebuild(log, Shadows(log.stream, log.keys), on_step, on_entry).run(dry_run, attempts_max)


class _Rebuild:
    def __init__(
        self,
        log: Log,
        shadows: Shadows,
        on_step: Callable[[Step], object],
        on_entry: Callable[[LogEntry], object],
    ) -> None:
        self._log = log
        self._shadows = shadows
        self._on_step = on_step
        self._on_entry = on_entry
        self._fold = Fold(log.keys)
        self._chain = ChainCheck(BEGIN.position, BEGIN.chain, self._refuse, {})
        self._wrong: dict[bytes, Verdict] = {}
        self._stale: set[bytes] = set()
        """The views whose shadow is to be written, or written anew."""
        self._written: set[bytes] = set()
        """The views that have a shadow. Not all of them are wrong: of what somebody writes, some only seemed to be."""

    def run(self, dry_run: bool, attempts_max: int) -> Rebuilt:
        if not dry_run:
            self._on_step("clear")
            self._shadows.clear()
        self._on_step("fold")
        self._go_on(looking=True)
        noted = self._note()
        self._on_step("compare")
        self._judge(self._all())
        for _ in range(attempts_max):
            # What was read is of this position or of a later one. Where it is of a later one, it is judged again below.
            if not self._wrong:
                self._shadows.drop(self._written)
                return self._rebuilt(swapped=False)
            if dry_run:
                if self._log.end() == self._chain.head:
                    return self._rebuilt(swapped=False)
            else:
                self._write()
                self._on_step("swap")
                if self._swap():
                    self._on_step("done")
                    self._shadows.drop(self._written.difference(self._wrong))
                    return self._rebuilt(swapped=True)
            if not self._go_on(looking=False):
                self._go_on(looking=True)
            touched = noted.take()
            self._judge(self._all() if touched is None else ((name, self._kind(name)) for name in touched))
        self._shadows.drop(self._written)
        raise AuditError(
            f"rebuild of {self._log.keys.prefix}*: somebody wrote all the time, {attempts_max} times faster than this. "
            "No view was changed; run it again when less is written, or while the node is stopped"
        )

    # -- The fold ----------------------------------------------------------------------------------------------

    def _go_on(self, looking: bool) -> bool:
        """Fold the log up to its end, and see that it is whole; with a look at the fence if `looking`.

        Returns whether there was more than before.
        """
        fold, begun = self._fold, self._fold.position
        end = self._log.end() if looking else None
        # The first time from the beginning, which has to be there. Then not again: the check of the chain sees a gap.
        for entry in self._log.entries(begun, since_ms=fold.accepted_ms if begun else None):
            self._on_entry(entry)
            self._chain.take(entry, fold.apply(entry))
        self._chain.finish()
        more = fold.position > begun
        if end is not None and end != self._chain.head and (not more or end.position >= fold.position):
            raise self._broken(f"it ends at position {fold.position}, not as the fence says at {end.position}")
        return more

    def _refuse(self, finding: Finding) -> None:
        raise self._broken(finding.message)

    def _broken(self, wrong: str) -> AuditError:
        return AuditError(
            f"rebuild of {self._log.keys.prefix}*: the chain of the log is broken: {wrong}. No view was changed; "
            "`eventstore verify` says what else is wrong"
        )

    def _note(self) -> _Noted:
        noted = _Noted()
        views = self._fold.views
        views.hashes = _Watched(views.hashes, noted)
        views.sets = _Watched(views.sets, noted)
        return noted

    def _present(self, name: bytes) -> dict[str, bytes] | set[str] | None:
        """What the fold has under that name."""
        text = name.decode(errors="surrogateescape")  # what is no text is no view of the fold
        views = self._fold.views
        found: dict[str, bytes] | set[str] | None = dict.get(views.hashes, text)
        return found if found is not None else dict.get(views.sets, text)

    def _content(self, name: bytes) -> Content | None:
        """What a view has to be at the server."""
        content = self._present(name)
        if isinstance(content, dict):
            return {field.encode(): value for field, value in content.items()}
        return None if content is None else {member.encode() for member in content}

    def _kind(self, name: bytes) -> type:
        return set if isinstance(self._present(name), set) else dict

    # -- What is wrong -----------------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[bytes, type]]:
        self._wrong.clear()
        views = self._fold.views
        for kind, names in ((dict, views.hashes), (set, views.sets)):
            for name in list(names):
                yield name.encode(), kind
        for key in self._shadows.names():
            if self._present(key) is None:
                yield key, dict

    def _judge(self, names: Iterable[tuple[bytes, type]]) -> None:
        """Compare these views with the fold."""
        for name, found in self._shadows.contents(names):
            verdict = self._verdict(name, found)
            self._wrong.pop(name, None)
            self._stale.discard(name)
            if verdict is not None:
                self._wrong[name] = verdict
                if verdict != "extra":
                    self._stale.add(name)

    def _verdict(self, name: bytes, found: Content | None) -> Verdict | None:
        wanted = self._content(name)
        if wanted is None:
            return None if found is not None and not found else "extra"
        if found is not None and not found:
            return "missing"
        return None if found == wanted else "different"

    # -- What is done about it ---------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write the shadows that are stale, and read them back."""
        source = iter(sorted(self._stale))
        while page := list(islice(source, _PAGE)):
            contents = {name: content for name in page if (content := self._content(name)) is not None}
            self._on_step("shadow")
            self._written.update(page)
            self._shadows.write(contents, lambda: self._on_step("shadow"))
            self._on_step("verify")
            for name, found in self._shadows.written((name, type(content)) for name, content in contents.items()):
                if found != contents[name]:
                    raise AuditError(
                        f"rebuild of {self._log.keys.prefix}*: what was written for {shown(name)} reads otherwise: "
                        "another rebuild began, or the server lost it. No view was changed; run it again"
                    )
        self._stale.clear()

    def _swap(self) -> bool:
        replaced: list[tuple[bytes, type, int]] = []
        deleted = []
        for name, verdict in self._wrong.items():
            content: Any = None if verdict == "extra" else self._present(name)
            if content is None:
                deleted.append(name)
            else:
                replaced.append((name, set if isinstance(content, set) else dict, len(content)))
        return self._shadows.swap(self._chain.head, replaced, deleted)

    def _rebuilt(self, *, swapped: bool) -> Rebuilt:
        def of(verdict: Verdict) -> list[str]:
            return sorted(shown(name) for name, found in self._wrong.items() if found == verdict)

        return Rebuilt(
            position=self._fold.position,
            views=len(self._fold.views.hashes) + len(self._fold.views.sets),
            missing=of("missing"),
            extra=of("extra"),
            different=of("different"),
            swapped=swapped,
        )


class _Noted:
    """The names of views that a fold went to since somebody asked."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.all = False

    def take(self) -> set[bytes] | None:
        """Return them, and begin again; None if it went to all."""
        taken = None if self.all else {name.encode() for name in self.names}
        self.names.clear()
        self.all = False
        return taken


class _Watched(dict[str, Any]):
    """The views of a fold, which note what the fold goes to, whatever it does there."""

    def __init__(self, views: dict[str, Any], noted: _Noted) -> None:
        super().__init__(views)
        self._noted = noted

    def __getitem__(self, name: str) -> Any:
        self._noted.names.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, content: Any) -> None:
        self._noted.names.add(name)
        super().__setitem__(name, content)

    def __delitem__(self, name: str) -> None:
        self._noted.names.add(name)
        super().__delitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._noted.names.add(name)
        return super().get(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self._noted.names.add(name)
        return super().setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._noted.names.add(name)
        return super().pop(name, *default)

    def clear(self) -> None:
        self._noted.all = True
        super().clear()
