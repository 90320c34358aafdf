"""An event-sourced write-behind persister behind a trading node's in-memory cache.

The calls of a cache become command events on an in-process queue; a background thread writes them into Redis, as an
append-only log and the views that loads read.
"""

from eventstore.codec import MsgPackSerializer, Serializer
from eventstore.config import CacheDatabaseConfig
from eventstore.database import RedisCacheDatabase
from eventstore.facade import CacheDatabase, Component
from eventstore.health import Health
from eventstore.stats import Stats

__all__ = [
    "CacheDatabase",
    "CacheDatabaseConfig",
    "Component",
    "Health",
    "MsgPackSerializer",
    "RedisCacheDatabase",
    "Serializer",
    "Stats",
]
