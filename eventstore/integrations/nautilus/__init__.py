"""Behind NautilusTrader's cache: after ``install()``, every node that says ``redis`` uses this library."""

try:
    from eventstore.integrations.nautilus.adapter import CacheDatabaseAdapter
    from eventstore.integrations.nautilus.installing import install, uninstall
except ModuleNotFoundError as error:
    if error.name != "nautilus_trader":
        raise
    raise ModuleNotFoundError(
        f"{__name__} needs NautilusTrader: pip install 'eventstore[nautilus]'", name=error.name
    ) from error

__all__ = ["CacheDatabaseAdapter", "install", "uninstall"]
