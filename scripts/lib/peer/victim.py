"""A process that makes a node's calls at a steady rate, and says of each, once it has returned, what it wrote.

Its arguments, one JSON text: the peer's name, the port, the directory, how many calls, how many a second. One line a
call on its standard output: the kind of object and the id of the event that was written, or ``-`` if the call raised.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position

from scripts.lib.peer import objects, written
from scripts.lib.peer.peers import BY_NAME, open_adapter, wait_written

WRITTEN_WITHIN_S = 20.0


def kind_of(thing: Any) -> str:
    """As NautilusTrader's keys call it."""
    return "orders" if isinstance(thing, Order) else "positions" if isinstance(thing, Position) else "accounts"


def main() -> None:
    name, port, directory, calls, per_s = json.loads(sys.argv[1])
    peer = BY_NAME[name]
    opened = open_adapter(peer, port, Path(directory))
    for instrument in objects.INSTRUMENTS:
        opened.add_instrument(instrument)
    wait_written(peer, opened, port)
    trades = list(objects.trades(calls // written.MIXED_PER_TRADE + 1))
    states = list(objects.account_states(2 * len(trades) + 1))
    os.write(1, b"begun\n")
    start = time.perf_counter()
    for number, (call, (thing,)) in enumerate(written.mixed(opened, trades, states)):
        if number == calls:
            break
        ahead_s = number / per_s - (time.perf_counter() - start)
        if ahead_s > 0:
            time.sleep(ahead_s)
        try:
            call(thing)
        except Exception:  # noqa: BLE001 # whatever it is, the caller was told
            os.write(1, b"-\n")
        else:
            os.write(1, f"{kind_of(thing)} {thing.last_event.id}\n".encode())
    os.write(1, b"ended\n")
    wait_written(peer, opened, port, WRITTEN_WITHIN_S)
    opened.close()


if __name__ == "__main__":
    main()
