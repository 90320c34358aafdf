"""The states of a live node's actors and strategies, saved while it runs and not only when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from eventstore.errors import BacklogFull, Closed, EventStoreError, JournalError, WriterFailed
from eventstore.integrations.nautilus.adapter import CacheDatabaseAdapter


class Checkpoints:
    """Writes a heartbeat and the states that have changed, every `interval_s` seconds, on the node's event loop.

    On the loop because `on_save` is the strategy's own code, which is not made to be called while it trades.

    Parameters
    ----------
    adapter : CacheDatabaseAdapter
    trader : nautilus_trader.trading.trader.Trader
    loop : asyncio.AbstractEventLoop
        The node's. It need not run yet.
    interval_s : float
        Seconds.
    """

    def __init__(
        self, adapter: CacheDatabaseAdapter, trader: Any, loop: asyncio.AbstractEventLoop, interval_s: float
    ) -> None:
        self._adapter = adapter
        self._trader = trader
        self._loop = loop
        self._interval_s = interval_s
        self._saved: dict[str, Mapping[str, bytes]] = {}
        self._stopped = False
        self._timer = loop.call_later(interval_s, self._beat)
        adapter.on_close(self.stop)

    def stop(self) -> None:
        """Save nothing more by itself."""
        self._stopped = True
        self._timer.cancel()

    def _beat(self) -> None:
        if self._stopped:
            return
        try:
            if self._trader.is_running:
                self.save()
        finally:
            self._timer = self._loop.call_later(self._interval_s, self._beat)
            if self._stopped:  # meanwhile, on another thread
                self._timer.cancel()

    def save(self) -> None:
        """Write a heartbeat and the states that are not as they were written last. One that fails is logged."""
        store = self._adapter.store
        try:
            store.heartbeat(datetime.now(UTC))
            store.write_amendments()
            self._save(self._trader.actors(), store.save_actor)
            self._save(self._trader.strategies(), store.save_strategy)
        except EventStoreError as error:
            # The next call of the node meets the same, and is told; its loop goes on.
            store.say("error", "the states of the node could not be saved", error=str(error))

    def _save(self, components: Iterable[Any], write: Callable[[str, Mapping[str, bytes]], None]) -> None:
        for component in components:
            name = component.id.value
            try:
                state = component.save()
                # An empty one, too: the one that was saved before the node was started may not be empty.
                if name not in self._saved or state != self._saved[name]:
                    write(name, state)
                    self._saved[name] = dict(state)
            except (BacklogFull, Closed, JournalError, WriterFailed):
                raise  # it is not the component's, and the others meet the same
            except Exception as error:  # noqa: BLE001 - on_save is anybody's code, and the others are saved all the same
                self._adapter.store.say("error", "a state could not be saved", component=name, error=repr(error))
