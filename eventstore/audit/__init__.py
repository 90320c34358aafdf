"""Asking a log what happened, without the node that wrote it."""

from eventstore.audit.log import Log
from eventstore.audit.places import open_log
from eventstore.audit.replay import Fold, state_at
from eventstore.audit.state import State

__all__ = ["Fold", "Log", "State", "open_log", "state_at"]
