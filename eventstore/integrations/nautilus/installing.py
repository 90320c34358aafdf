"""`install`: from then on NautilusTrader's nodes and backtests use this library where they said Redis."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from nautilus_trader.common import Environment
from nautilus_trader.system import kernel

from eventstore.config import CacheDatabaseConfig
from eventstore.errors import ConfigError
from eventstore.integrations.nautilus.adapter import CacheDatabaseAdapter
from eventstore.integrations.nautilus.checkpoints import Checkpoints

CHECKPOINT_INTERVAL_S = 30.0
"""Seconds between two checkpoints of a live node's states, if nothing is said."""

_VARIABLE = "EVENTSTORE_CHECKPOINT_INTERVAL_S"

_kernel: Any = kernel  # whose names are replaced
_lock = threading.Lock()


class _Replaced(NamedTuple):
    """What stood there, and what stands there instead."""

    adapter: Any
    init: Any
    our_adapter: Any
    our_init: Any


_replaced: _Replaced | None = None


class _Making(threading.local):
    """The adapters that the kernel which is being made on this thread has asked for."""

    def __init__(self) -> None:
        self.adapters: list[CacheDatabaseAdapter] = []


_making = _Making()


def install(settings: CacheDatabaseConfig | None = None, checkpoint_interval_s: float | None = None) -> None:
    """Make every `TradingNode` and `BacktestEngine` whose `CacheConfig.database` says ``redis`` use this library.

    Two things are replaced, both in ``nautilus_trader.system.kernel``: the name ``CacheDatabaseAdapter``, by which the
    kernel makes its database; and ``NautilusKernel.__init__``, which afterwards gives a live node its checkpoints, and
    its cache the earlier cycles of its positions. `uninstall` puts both back. Calling it again changes the settings.

    Parameters
    ----------
    settings : CacheDatabaseConfig, optional
        Settings of this library's, such as a journal. Default: those of the environment when a node is made, see
        `CacheDatabaseConfig.from_environment`.
    checkpoint_interval_s : float, optional
        How often the states of actors and strategies are saved in a live node that says `save_state`, in seconds; 0
        for never. Default: ``$EVENTSTORE_CHECKPOINT_INTERVAL_S``, else `CHECKPOINT_INTERVAL_S`.

    Raises
    ------
    TypeError
        If `settings` is no `CacheDatabaseConfig`.
    ConfigError
        If `checkpoint_interval_s` is no number of seconds.
    """
    global _replaced
    if settings is not None and not isinstance(settings, CacheDatabaseConfig):
        raise TypeError(f"install: settings: expected CacheDatabaseConfig, got {type(settings).__name__}")
    interval_s = _interval(checkpoint_interval_s)
    with _lock:
        make = functools.partial(_make, settings)
        if _replaced is None:
            theirs = _kernel.CacheDatabaseAdapter, _kernel.NautilusKernel.__init__
        else:
            _put_back(_replaced)
            theirs = _replaced.adapter, _replaced.init
        _replaced = _Replaced(*theirs, make, _attached(_kernel.NautilusKernel.__init__, interval_s))
        _kernel.CacheDatabaseAdapter, _kernel.NautilusKernel.__init__ = make, _replaced.our_init


def uninstall() -> None:
    """Put back what `install` replaced, as far as nobody has replaced it since.

    Nodes that were made meanwhile keep their store.
    """
    global _replaced
    with _lock:
        if _replaced is not None:
            _put_back(_replaced)
            _replaced = None


def _put_back(replaced: _Replaced) -> None:
    if _kernel.CacheDatabaseAdapter is replaced.our_adapter:
        _kernel.CacheDatabaseAdapter = replaced.adapter
    if _kernel.NautilusKernel.__init__ is replaced.our_init:
        _kernel.NautilusKernel.__init__ = replaced.init


def _interval(given: float | None) -> float:
    text = os.environ.get(_VARIABLE)
    try:
        interval_s = float(text) if given is None and text is not None else given
    except ValueError:
        raise ConfigError(f"{_VARIABLE}: expected a number of seconds, got {text!r:.80}") from None
    if interval_s is None:
        return CHECKPOINT_INTERVAL_S
    if isinstance(interval_s, bool) or not isinstance(interval_s, int | float) or not 0 <= interval_s <= 86_400:
        raise ConfigError(f"install: checkpoint_interval_s: {interval_s!r} is not between 0 and 86400 seconds")
    return interval_s


def _make(
    settings: CacheDatabaseConfig | None, trader_id: Any, instance_id: Any, serializer: Any, config: Any
) -> CacheDatabaseAdapter:
    adapter = CacheDatabaseAdapter(trader_id, instance_id, serializer, config, settings)
    _making.adapters.append(adapter)
    return adapter


def _attached(init: Callable[..., None], interval_s: float) -> Callable[..., None]:
    """Return an initializer of kernels that does as `init`, and then what `install` promises."""

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it takes its place
        outer, _making.adapters = _making.adapters, []
        try:
            init(self, *args, **kwargs)
            for adapter in _making.adapters:
                _attach(self, adapter, interval_s)
        except BaseException:
            # A node that is not made must not keep the log: the next attempt would find it taken.
            for adapter in _making.adapters:
                adapter.close()
            raise
        finally:
            _making.adapters = outer

    return __init__


def _attach(node: Any, adapter: CacheDatabaseAdapter, interval_s: float) -> None:
    # A netting position that was opened again has its earlier cycles in the cache's snapshots, from which the portfolio
    # counts what they earned.
    cache = node.cache
    if cache.positions():
        for cycles in adapter.store.load_all_cycles().values():
            for cycle in cycles:
                cache.snapshot_position(cycle)
    if interval_s and node.save_state and node.environment is not Environment.BACKTEST:
        Checkpoints(adapter, node.trader, node.loop, interval_s)
