"""Asking a log what happened, without the node that wrote it."""

from eventstore.audit.diff import Difference, diff
from eventstore.audit.exporting.columns import TABLES
from eventstore.audit.exporting.export import Exported, export
from eventstore.audit.log import Log
from eventstore.audit.places import open_log
from eventstore.audit.plain import iso_ms, iso_ns, plain, plain_command
from eventstore.audit.reading.entries import follow, last, read
from eventstore.audit.reading.explain import Change, Link, Step, explain
from eventstore.audit.reading.facts import FactReader, Facts
from eventstore.audit.reading.filters import Filter, Moment
from eventstore.audit.reading.gist import event_gist, gist
from eventstore.audit.reading.subjects import Subject, find_subjects
from eventstore.audit.rebuild import Rebuilt, rebuild
from eventstore.audit.replay import Fold, Replayed, drive, replay, state_at
from eventstore.audit.state import State
from eventstore.audit.values import values_of
from eventstore.audit.verification.anchor import Anchor, Noted, anchor, append_anchor, read_anchors
from eventstore.audit.verification.findings import Finding
from eventstore.audit.verification.report import Report
from eventstore.audit.verification.signing import SigningKey, VerifyingKey
from eventstore.audit.verification.verify import verify

__all__ = [
    "TABLES",
    "Anchor",
    "Change",
    "Difference",
    "Exported",
    "FactReader",
    "Facts",
    "Filter",
    "Finding",
    "Fold",
    "Link",
    "Log",
    "Moment",
    "Noted",
    "Rebuilt",
    "Replayed",
    "Report",
    "SigningKey",
    "State",
    "Step",
    "Subject",
    "VerifyingKey",
    "anchor",
    "append_anchor",
    "diff",
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
    "read_anchors",
    "rebuild",
    "replay",
    "state_at",
    "values_of",
    "verify",
]
