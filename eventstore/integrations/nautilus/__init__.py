"""Behind NautilusTrader's cache: after ``install()``, every node that says ``redis`` uses this library."""

from eventstore.integrations.nautilus.adapter import CacheDatabaseAdapter
from eventstore.integrations.nautilus.installing import install, uninstall

__all__ = ["CacheDatabaseAdapter", "install", "uninstall"]
