"""Asking a log what happened, without the node that wrote it."""

from eventstore.audit.columns import TABLES
from eventstore.audit.explain import Change, Link, Step, explain
from eventstore.audit.export import Exported, export
from eventstore.audit.facts import FactReader, Facts
from eventstore.audit.filters import Filter, Moment
from eventstore.audit.gist import event_gist, gist
from eventstore.audit.log import Log
from eventstore.audit.places import open_log
from eventstore.audit.plain import iso_ms, iso_ns, plain, plain_command
from eventstore.audit.reading import follow, last, read
from eventstore.audit.rebuild import Rebuilt, rebuild
from eventstore.audit.replay import Fold, Replayed, drive, replay, state_at
from eventstore.audit.state import State
from eventstore.audit.subjects import Subject, find_subjects

__all__ = [
    "TABLES",
    "Change",
    "Exported",
    "FactReader",
    "Facts",
    "Filter",
    "Fold",
    "Link",
    "Log",
    "Moment",
    "Rebuilt",
    "Replayed",
    "State",
    "Step",
    "Subject",
    "drive",
    "event_gist",
    "explain",
    "export",
    "find_subjects",
    "follow",
    "gist",
    "iso_ms",
    "iso_ns",
    "last",
    "open_log",
    "plain",
    "plain_command",
    "read",
    "rebuild",
    "replay",
    "state_at",
]
